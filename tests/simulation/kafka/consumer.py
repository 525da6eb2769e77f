"""In place of aiokafka's consumer: the same names as far as engine and sink use them, on the simulated cluster."""

import asyncio
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import Any

from aiokafka import errors
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from tests.simulation.kafka.cluster import Cluster
from tests.simulation.kafka.group import Client
from tests.simulation.kafka.log import Record
from tests.simulation.loop import Lane, current_lane

BACKOFF_S = 0.05
MOST_AT_ONCE = 12
"""Records of one partition that a fetch brings at most: less than logs hold, so that polls differ."""

NO_GENERATION = -1
NO_MEMBER = ""

Fetched = dict[TopicPartition, list[Record]]


class State:
    """aiokafka's state of an assigned partition."""

    def __init__(self) -> None:
        self._position: int | None = None
        self._paused = False

    @property
    def has_valid_position(self) -> bool:
        """Whether it is known where to read."""
        return self._position is not None

    def seek(self, offset: int) -> None:
        """Set the position."""
        self._position = offset

    def pause(self) -> None:
        """Fetch nothing."""
        self._paused = True


class Assignment:
    """aiokafka's assignment."""

    def __init__(self, tps: Iterable[TopicPartition]) -> None:
        self.states = {tp: State() for tp in sorted(tps)}

    @property
    def tps(self) -> frozenset[TopicPartition]:
        """Assigned partitions."""
        return frozenset(self.states)

    def state_value(self, tp: TopicPartition) -> State | None:
        """State of one, or None."""
        return self.states.get(tp)


class Subscription:
    """aiokafka's two nested subscription states in one."""

    def __init__(self) -> None:
        self.assignment: Assignment | None = None
        self.settled = asyncio.Event()
        """Cleared from the beginning of a rebalance to the assignment: no records are handed out meanwhile."""

    def assign(self, tps: Iterable[TopicPartition]) -> None:
        """Take these partitions."""
        self.assignment = Assignment(tps)
        self.settled.set()

    @property
    def reassignment_in_progress(self) -> bool:
        """Whether a rebalance is under way."""
        return not self.settled.is_set()

    @property
    def subscription(self) -> "Subscription":
        """Itself."""
        return self


class Coordinator:
    """aiokafka's group coordinator: joins, and joins again when its heartbeats are refused."""

    def __init__(self, consumer: "SimConsumer", group: str, instance: str | None) -> None:
        self.generation = NO_GENERATION
        self.member_id = NO_MEMBER
        self.group_id = group
        self._group_instance_id = instance
        self._consumer = consumer
        self._error: Exception | None = None
        self._rejoin = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, topics: Iterable[str], listener: Any) -> None:
        """Begin to join."""
        consumer = self._consumer
        lane = current_lane()
        client = Client(
            lane.process,
            self._group_instance_id,
            frozenset(topics),
            consumer.session_s,
            consumer.rebalance_s,
            self._told(lane),
        )
        self._rejoin.set()
        self._task = consumer.cluster.loop.start_in(lane, self._run(client, listener))

    def _told(self, lane: Lane) -> Any:
        def told(member_id: str, error: Exception) -> None:
            self._consumer.cluster.loop.call_soon(self._refused, member_id, error, context=lane.context)

        return told

    def _refused(self, member_id: str, error: Exception) -> None:
        """A heartbeat was refused."""
        if member_id != self.member_id:
            return
        if not isinstance(error, errors.RebalanceInProgressError):
            self.reset_generation()
        self.request_rejoin()

    def reset_generation(self) -> None:
        """Be nobody."""
        self.generation, self.member_id = NO_GENERATION, NO_MEMBER
        self.request_rejoin()

    def request_rejoin(self) -> None:
        """Join anew."""
        self._rejoin.set()

    def check_errors(self) -> None:
        """Raise what keeps the member out."""
        if self._error is not None:
            raise self._error

    async def _run(self, client: Client, listener: Any) -> None:
        consumer, revoked = self._consumer, False
        request, group = consumer.cluster.request, consumer.cluster.group(self.group_id)
        while True:
            await self._rejoin.wait()
            if not revoked:
                consumer._subscription.settled.clear()
                before = consumer._subscription.assignment
                await listener.on_partitions_revoked(set(before.tps) if before is not None else set())
                revoked = True
            try:
                joined = await request("JoinGroup", lambda: group.join(self.member_id, client))
                self.member_id, self.generation = joined
                self._rejoin.clear()
                id, generation = joined
                assigned = await request("SyncGroup", lambda id=id, generation=generation: group.sync(id, generation))
            except (errors.UnknownMemberIdError, errors.IllegalGenerationError):
                self.reset_generation()
            except errors.KafkaError as error:
                if not error.retriable and not isinstance(error, errors.RebalanceInProgressError):
                    self._error = error
                self.request_rejoin()
                await asyncio.sleep(BACKOFF_S)
            else:
                self.member_id, self.generation = joined
                consumer._subscription.assign(assigned)
                revoked = False
                await listener.on_partitions_assigned(set(assigned))

    async def close(self) -> None:
        """Leave the group."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        cluster = self._consumer.cluster
        if self.generation > 0:
            id = self.member_id
            with suppress(errors.KafkaError):  # the session would end by itself
                await cluster.request("LeaveGroup", lambda: cluster.group(self.group_id).leave(id))
        self.generation, self.member_id = NO_GENERATION, NO_MEMBER

    async def fetch_committed_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata]:
        """Committed offsets, once they are stable (kip447.stable_offsets)."""
        cluster, wanted = self._consumer.cluster, set(tps)
        while True:
            try:
                found: dict[TopicPartition, OffsetAndMetadata] = await cluster.request(
                    "OffsetFetch", lambda: cluster.group(self.group_id).fetch(wanted, stable=True)
                )
                return found
            except errors.KafkaError as error:
                if not error.retriable:
                    raise
            await asyncio.sleep(BACKOFF_S)


class Fetcher:
    """aiokafka's fetcher."""

    def __init__(self, consumer: "SimConsumer", isolation_level: str) -> None:
        self._consumer = consumer
        self._closed = False
        self._isolation_level: Any = isolation_level
        self._subscriptions = self

    def fetch_context(self) -> AbstractContextManager[None]:
        """Nothing: idle time is not counted."""
        return nullcontext()

    @property
    def committed(self) -> bool:
        """Whether only committed records are read."""
        return self._isolation_level == "read_committed"

    async def end_offsets(self, tps: Iterable[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """Where logs end for this isolation level."""
        wanted, committed = list(tps), self.committed
        logs = self._consumer.cluster.logs
        found: dict[TopicPartition, int] = await self._consumer.retried(
            "ListOffsets", lambda: {tp: logs[tp].stable if committed else logs[tp].end for tp in wanted}
        )
        return found

    async def fetched_records(
        self, tps: Iterable[TopicPartition], timeout: float = 0, max_records: int | None = None
    ) -> Fetched:
        """Records of some partitions; moves positions. Waits up to `timeout` seconds for some."""
        consumer, found = self._consumer, Fetched()
        cluster = consumer.cluster
        end = cluster.loop.time() + timeout
        left = max_records or 1_000_000
        while True:
            await consumer._subscription.settled.wait()
            assignment = consumer._subscription.assignment
            states = assignment.states if assignment is not None else {}
            places = {tp: states[tp]._position for tp in tps if tp in states and not states[tp]._paused}
            positions = {tp: place for tp, place in places.items() if place is not None}
            wait_s = max(0.0, end - cluster.loop.time())
            if not positions:
                await asyncio.sleep(wait_s)
                return found
            most = min(left, 1 + int(cluster.rng.random() * MOST_AT_ONCE))
            try:
                fetch = partial(cluster.fetch, positions, most, wait_s, committed=self.committed)
                # Who does not wait gets what was fetched ahead, and at once: no rebalance comes between.
                answer: Any = await cluster.request("Fetch", fetch) if timeout else fetch()
            except errors.KafkaError:
                answer = {}
                await asyncio.sleep(BACKOFF_S)
            if not consumer._subscription.settled.is_set():
                continue
            for tp, (records, position) in answer.items():
                state = states[tp]
                if state._position != positions[tp] or consumer._subscription.assignment is not assignment or left <= 0:
                    continue
                if len(records) > left:
                    records = records[:left]
                    position = records[-1].offset + 1
                state._position = position
                if records:
                    found[tp] = records
                    left -= len(records)
            if found or cluster.loop.time() >= end:
                return found


class SimConsumer:
    """aiokafka.AIOKafkaConsumer. Belongs to the process that makes it."""

    cluster: Cluster
    """Set for each simulated world (see worker.installed)."""

    def __init__(self, *topics: str, **options: Any) -> None:
        self._closed = False
        self._subscription = Subscription()
        self._fetcher = Fetcher(self, options.get("isolation_level", "read_uncommitted"))
        self.session_s = options.get("session_timeout_ms", 10_000) / 1000
        self.rebalance_s = options.get("rebalance_timeout_ms", 15_000) / 1000
        group = options.get("group_id")
        self._coordinator = Coordinator(self, group, options.get("group_instance_id")) if group else None

    async def retried(self, name: str, operation: Any) -> Any:
        """A request that is repeated until brokers answer, as aiokafka does with what only asks."""
        while True:
            try:
                return await self.cluster.request(name, operation)
            except errors.KafkaError as error:
                if not error.retriable:
                    raise
            await asyncio.sleep(BACKOFF_S)

    async def start(self) -> None:
        """Connect."""
        await self.cluster.request("Metadata", lambda: None)

    async def stop(self) -> None:
        """Leave the group and close."""
        if self._closed:
            return
        self._closed = self._fetcher._closed = True
        if self._coordinator is not None:
            await self._coordinator.close()

    def subscribe(self, topics: Iterable[str], listener: Any) -> None:
        """Join the group."""
        assert self._coordinator is not None
        self._coordinator.start(topics, listener)

    def assign(self, tps: Iterable[TopicPartition]) -> None:
        """Take partitions without a group."""
        self._subscription.assign(tps)

    def assignment(self) -> set[TopicPartition]:
        """Assigned partitions."""
        found = self._subscription.assignment
        return set(found.tps) if found is not None else set()

    def _state(self, tp: TopicPartition) -> State:
        found = self._subscription.assignment
        state = found.state_value(tp) if found is not None else None
        if state is None:
            raise errors.IllegalStateError(f"No current assignment for partition {tp}")
        return state

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Set a position."""
        self._state(TopicPartition(*tp))._position = offset

    async def seek_to_beginning(self, *tps: TopicPartition) -> None:
        """Set positions to where logs begin."""
        for tp in tps:
            self.seek(tp, 0)

    async def position(self, tp: TopicPartition) -> int:
        """The next offset to be read; at first where the group is, or the beginning."""
        state = self._state(tp)
        if state._position is None:
            await self._set_positions([tp])
        return state._position or 0

    async def _set_positions(self, tps: list[TopicPartition]) -> None:
        committed = await self._coordinator.fetch_committed_offsets(tps) if self._coordinator is not None else {}
        for tp in tps:
            assignment = self._subscription.assignment
            state = assignment.state_value(tp) if assignment is not None else None
            if state is not None and state._position is None:
                state._position = committed[tp].offset if tp in committed else 0

    async def beginning_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Where logs begin."""
        wanted = list(tps)
        found: dict[TopicPartition, int] = await self.retried("ListOffsets", lambda: dict.fromkeys(wanted, 0))
        return found

    async def end_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Where logs end for this consumer."""
        return await self._fetcher.end_offsets(tps, 0)

    async def getmany(
        self, *tps: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[Record]]:
        """Records of the given or of all assigned partitions."""
        if self._closed:
            raise errors.ConsumerStoppedError()
        assignment = self._subscription.assignment
        wanted = list(tps) or (list(assignment.states) if assignment is not None else [])
        unset = [
            tp for tp in wanted if assignment is not None and (s := assignment.state_value(tp)) and s._position is None
        ]
        if unset:
            await self._set_positions(unset)
        if not timeout_ms:
            await asyncio.sleep(0)  # in a simulation time does not pass while code runs
        return await self._fetcher.fetched_records(wanted, timeout_ms / 1000, max_records)

    async def commit(self, offsets: dict[TopicPartition, tuple[int, str]]) -> None:
        """Commit offsets with their metadata; raises what the broker says."""
        coordinator, cluster = self._coordinator, self.cluster
        assert coordinator is not None
        given = {tp: OffsetAndMetadata(*offset) for tp, offset in offsets.items()}
        assigned = self.assignment()
        if not given.keys() <= assigned:
            raise errors.IllegalStateError("not assigned")
        group = cluster.group(coordinator.group_id)
        while True:
            id, generation = coordinator.member_id, coordinator.generation  # as aiokafka: those of this very moment
            try:
                await cluster.request("OffsetCommit", partial(group.commit, id, generation, given))
            except (errors.UnknownMemberIdError, errors.IllegalGenerationError) as error:
                coordinator.reset_generation()
                raise errors.CommitFailedError(str(error)) from error
            except errors.KafkaError as error:
                if not error.retriable:
                    raise
            else:
                return
            await asyncio.sleep(BACKOFF_S)
