"""Faust's consumer with a batch path: whole polls go to one function, and nothing is lost on the way.

Why not Faust's own path: it loses records in recoveries and rebalances, and is slow (faust.md sections 3 and 4).
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final, TypeVar, cast

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.subscription_state import Assignment
from aiokafka.errors import ConsumerStoppedError, KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service
from mode.utils.queues import FlowControlEvent

from processors.engine.errors import EngineError, StartupError
from processors.engine.kip447 import GroupMember, heartbeat, is_refusal, leave_group, stable_offsets
from processors.engine.log_ends import log_ends

log = structlog.get_logger(__name__)

POLL_IDLE_RECORDS: Final = 500
POLL_BEHIND_RECORDS: Final = 8_000
POLL_TIMEOUT_S: Final = 1.0
MEMBERSHIP_CHECK_S: Final = 1.0
RECOVERY_POLL_RECORDS: Final = 20_000
RECOVERY_POLL_TIMEOUT_S: Final = 0.25
START_RETRY_S: Final = 1.0
FETCH_WAIT_MS: Final = 100
"""Longest a fetch waits at the broker. A partition read meanwhile waits with it, so Faust's 1.5 s are latency."""

Records = dict[TP, list[Any]]
"""What a poll brings: aiokafka's records by partition, none of the lists empty."""

Go = Callable[[], bool]

PollMore = Callable[[set[int]], Coroutine[Any, Any, Records]]
"""Fetches what is there by now, of all partitions but those given, without waiting."""

T = TypeVar("T")


def patch_flow_control() -> None:
    """Let a second `resume` do nothing: Faust's would clear queues that are already filled again (F1 of faust.md)."""
    resume = FlowControlEvent.resume
    if getattr(resume, "patched", False):
        return

    def resume_once(self: FlowControlEvent) -> None:
        if not self.is_active():
            resume(self)

    resume_once.patched = True  # type: ignore[attr-defined]
    FlowControlEvent.resume = resume_once  # type: ignore[method-assign]


async def update_positions(fetcher: Fetcher, assignment: Assignment, node_id: int, tps: list[TopicPartition]) -> Any:
    """Look for positions where there are none (takes the place of the fetcher's own method, which it calls).

    A broker that has lost a partition answers that it does not lead it. aiokafka then asks the same broker again, and
    nothing else of it, until its view of the cluster expires after minutes.
    """
    found = await Fetcher._update_fetch_positions(fetcher, assignment, node_id, tps)
    if assignment.active and not all(assignment.state_value(tp).has_valid_position for tp in tps):
        fetcher._client.force_metadata_update()
    return found


class EngineThread(driver.AIOKafkaConsumerThread):
    """The thread that owns the aiokafka consumer. What starts with `in_thread` is run there by `run`."""

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    async def on_start(self) -> None:
        """Start the aiokafka consumer, and teach its coordinator KIP-447. Waits for brokers that do not answer."""
        while True:
            try:
                await super().on_start()
                break
            except KafkaError as error:
                if not error.retriable:
                    raise
                log.warning("kafka_not_ready", error=repr(error), again_in_s=START_RETRY_S)
            await self._ensure_consumer().stop()
            await asyncio.sleep(START_RETRY_S)
        consumer = self._ensure_consumer()
        consumer._fetcher._update_fetch_positions = partial(update_positions, consumer._fetcher)
        coordinator = consumer._coordinator
        coordinator._do_fetch_commit_offsets = partial(stable_offsets, coordinator)
        coordinator._do_heartbeat = partial(heartbeat, coordinator)
        coordinator._maybe_leave_group = partial(leave_group, coordinator)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work` in the thread. Not Faust's method queue: its two workers could both be waiting for records."""
        try:
            running = asyncio.run_coroutine_threadsafe(work, self.thread_loop)
        except RuntimeError as error:  # its loop is closed
            work.close()
            raise ConsumerStoppedError() from error
        return await asyncio.wrap_future(running)

    def member(self) -> GroupMember:
        """Return who we are in the group, right now. Only to be asked while the thread waits in a rebalance."""
        coordinator = self._ensure_consumer()._coordinator
        return GroupMember(coordinator.generation, coordinator.member_id, coordinator._group_instance_id)

    async def in_thread_poll(
        self, partitions: set[TP], max_records: int, timeout_s: float, current: Go
    ) -> tuple[Records, dict[TP, int]]:
        """Fetch records of `partitions`; return them with the positions after them.

        If the assignment is no longer `current` when they come, they are put back and nothing is returned. `partitions`
        must be a copy and not empty: aiokafka takes an empty set for all (F2).
        """
        assert partitions
        consumer = self._ensure_consumer()
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError()
        wanted = {TopicPartition(tp.topic, tp.partition) for tp in partitions}
        with fetcher._subscriptions.fetch_context():
            fetched = await fetcher.fetched_records(wanted, timeout=timeout_s, max_records=max_records)
        if not current():
            for tp, records in fetched.items():
                if self._state(tp) is not None:
                    consumer.seek(tp, records[0].offset)
            return {}, {}
        positions = await self.in_thread_positions(partitions)
        return {TP(tp.topic, tp.partition): records for tp, records in fetched.items()}, positions

    async def in_thread_poll_more(
        self, partitions: set[TP], max_records: int, current: Go
    ) -> tuple[Records, dict[TP, int]]:
        """As `in_thread_poll`, without waiting; `partitions` may be empty: then only the group hears of us, which gives up a
        member that asks for nothing for long. The same in a rebalance: aiokafka would wait for its end, and the rebalance
        waits for the round that asks."""
        if partitions and not self._ensure_consumer()._subscription.reassignment_in_progress:
            return await self.in_thread_poll(partitions, max_records, 0.0, current)
        with self._ensure_consumer()._fetcher._subscriptions.fetch_context():
            return {}, {}

    async def in_thread_seek(self, offsets: Mapping[TP, int | None], current: Go) -> dict[TP, int]:
        """Set positions, None to where the log begins; return them. Nothing happens if no longer `current`."""
        consumer = self._ensure_consumer()
        keyed = {TopicPartition(tp.topic, tp.partition): offset for tp, offset in offsets.items()}
        begins = [tp for tp, offset in keyed.items() if offset is None]
        found = await consumer.beginning_offsets(begins) if begins else {}
        if not current():
            return {}
        positions = {}
        for tp, offset in keyed.items():
            position = found[tp] if offset is None else offset
            consumer.seek(tp, position)
            positions[TP(tp.topic, tp.partition)] = position
        return positions

    async def in_thread_rest(self, partitions: set[TP]) -> None:
        """Fetch nothing from these partitions, and do not look for a position in them: aiokafka asks nothing else of a
        broker while it looks for one, and would fetch what nobody takes."""
        for tp in partitions:
            state = self._state(TopicPartition(tp.topic, tp.partition))
            if state is not None:
                if not state.has_valid_position:
                    state.seek(0)
                state.pause()

    async def in_thread_log_ends(self, partitions: set[TP]) -> dict[TP, int]:
        """Return the ends of the logs, not the last stable offsets: recovery must also wait for a transaction that is
        still being ended."""
        wanted = [TopicPartition(tp.topic, tp.partition) for tp in partitions]
        ends = await log_ends(self._ensure_consumer(), wanted)
        return {TP(tp.topic, tp.partition): end for tp, end in ends.items()}

    async def in_thread_positions(self, partitions: set[TP]) -> dict[TP, int]:
        """Return the next offset to fetch of each partition that has one. Asks nobody."""
        states = {tp: self._state(TopicPartition(tp.topic, tp.partition)) for tp in partitions}
        return {tp: state._position for tp, state in states.items() if state is not None and state._position}

    async def in_thread_committed(self, partitions: set[TP]) -> dict[TP, int]:
        """Return committed offsets once they are stable, that is once no transaction holds newer ones. What has none is
        left out."""
        if not partitions:
            return {}
        coordinator = self._ensure_consumer()._coordinator
        offsets = await coordinator.fetch_committed_offsets(
            [TopicPartition(tp.topic, tp.partition) for tp in partitions]
        )
        return {TP(tp.topic, tp.partition): committed.offset for tp, committed in offsets.items()}

    async def in_thread_check_membership(self) -> None:
        """Raise what keeps the member out of the group. aiokafka waits for someone to ask, and does nothing meanwhile."""
        consumer = self._consumer
        if consumer is not None and consumer._coordinator is not None and not consumer._closed:  # None before its start
            consumer._coordinator.check_errors()

    def coordination_has_ended(self) -> bool:
        """Whether aiokafka has given the membership up, after an error of its own."""
        coordinator = self._ensure_consumer()._coordinator
        return coordinator is not None and coordinator._coordination_task.done()

    async def in_thread_rejoin(self) -> None:
        """Join the group anew."""
        self._ensure_consumer()._coordinator.request_rejoin()

    def _state(self, tp: TopicPartition) -> Any:
        """aiokafka's state of an assigned partition, or None."""
        subscription = self._ensure_consumer()._subscription.subscription
        assignment = subscription.assignment if subscription is not None else None
        return assignment.state_value(tp) if assignment is not None and tp in assignment.tps else None


class BatchHandler:
    """What the consumer calls. Implemented by worker.RoundWorker."""

    input_topic: str

    def assigned(self, member: GroupMember) -> None:
        """The group has given out partitions; `member` is who got them. Recovery follows."""
        raise NotImplementedError

    async def handle(self, records: Records, go: Go, more: PollMore | None = None) -> bool:
        """Process the records of a poll until `go` is false; what takes long asks for `more` meanwhile. False: they must
        be recovered first; do not go on."""
        raise NotImplementedError


class BatchConsumer(driver.Consumer):
    """Hands polls of the input topic to the handler of the transport, one at a time."""

    _thread: EngineThread

    def __init__(self, *args: Any, **options: Any) -> None:
        """As Faust's."""
        super().__init__(*args, **options)
        self._epoch = 0
        """Changes with every revocation and assignment; records fetched in another epoch are not used."""
        self._busy = asyncio.Lock()
        self._poll_records = POLL_IDLE_RECORDS

    @property
    def thread(self) -> EngineThread:
        """The thread with the aiokafka consumer."""
        return self._thread

    @property
    def busy(self) -> bool:
        """Whether a poll is being processed."""
        return self._busy.locked()

    @property
    def handler(self) -> BatchHandler:
        """Who takes the records."""
        return cast(EngineTransport, self.transport).handler

    def epoch_watch(self) -> Go:
        """Return a function that says whether the assignment is still the present one."""
        epoch = self._epoch
        return lambda: self._epoch == epoch

    def _new_consumer_thread(self) -> EngineThread:
        return EngineThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let the round in hand end, then let go."""
        self.stop_flow()
        self._epoch += 1
        async with self._busy:
            await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Take note of who we are now, and recover."""
        self._epoch += 1
        try:
            self.handler.assigned(self._thread.member())
            await super().on_partitions_assigned(assigned, generation_id)
        except Exception as error:  # aiokafka would log it and go on
            await self.crash(error)

    async def quiesce(self, timeout_s: float) -> None:
        """Take no more records and wait for the round in hand."""
        self.stop_flow()
        self._epoch += 1
        async with asyncio.timeout(timeout_s), self._busy:
            pass

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Do nothing: offsets are committed in the transaction of their round, and nowhere else."""
        return False

    async def verify_all_partitions_active(self) -> None:
        """Do nothing: Faust would miss its own commits."""

    @Service.task
    async def _watch_membership(self) -> None:
        """Stop the worker if the group will not have it. Other errors pass: asked for, they let aiokafka try again."""
        while True:
            await self.sleep(MEMBERSHIP_CHECK_S)
            if self.should_stop:
                return
            try:
                await self._thread.run(self._thread.in_thread_check_membership())
            except ConsumerStoppedError:
                return
            except KafkaError as error:
                log.warning("membership_trouble", error=repr(error))
                if not self.should_stop and is_refusal(error):
                    raise StartupError(
                        f"the consumer group refuses this worker: {error!r}. If it says FencedInstanceId, another worker "
                        "has taken this one's instance name: give every worker a PLAUDIT_INSTANCE of its own."
                    ) from error
                if not self.should_stop and self._thread.coordination_has_ended():
                    raise EngineError(f"the membership in the consumer group has failed for good: {error!r}") from error

    async def _drain_messages(self, fetcher: Any) -> None:
        """Run by Faust's fetcher for as long as the worker lives."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                await self._poll_once()
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not self.app.should_stop:
                raise

    async def _poll_once(self) -> None:
        if not self.flow_active:
            await self.wait(self.can_resume_flow)  # type: ignore[arg-type]
            return
        partitions = self._input_partitions()
        if not partitions:
            await self.sleep(0.05)
            return
        current = self.epoch_watch()
        limit = self._poll_records
        records, _ = await self._thread.run(self._thread.in_thread_poll(partitions, limit, POLL_TIMEOUT_S, current))
        count = sum(map(len, records.values()))
        self._poll_records = min(limit * 2, POLL_BEHIND_RECORDS) if count >= limit else POLL_IDLE_RECORDS
        if not records:
            return
        async with self._busy:
            more = partial(self._poll_more, current)
            if self.flow_active and current() and not await self.handler.handle(records, self._go(current), more):
                self.stop_flow()
                self._epoch += 1
        # What was not processed is not put back: `go` is only false when a recovery follows, which sets positions.

    async def _poll_more(self, current: Go, busy: set[int]) -> Records:
        """Fetch without waiting while a poll is in hand. That we are asked tells the group that we are alive."""
        wanted = {tp for tp in self._input_partitions() if tp.partition not in busy}
        records, _ = await self._thread.run(self._thread.in_thread_poll_more(wanted, POLL_IDLE_RECORDS, current))
        return records

    def _input_partitions(self) -> set[TP]:
        return {tp for tp in self._get_active_partitions() if tp.topic == self.handler.input_topic}

    def _go(self, current: Go) -> Go:
        return lambda: self.flow_active and current()


class EngineTransport(driver.Transport):
    """Faust's Kafka transport with the batch consumer."""

    Consumer = BatchConsumer
    handler: BatchHandler
