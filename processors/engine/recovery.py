"""From an assignment to the first record: what is committed, then the changelog to its end, then the check that both
tell the same, then the input from there on."""

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, cast

import structlog
from aiokafka.errors import IllegalStateError, KafkaError
from faust.tables.recovery import Recovery
from faust.types import TP
from mode import Service

from processors.engine.consumer import RECOVERY_POLL_RECORDS, RECOVERY_POLL_TIMEOUT_S, BatchConsumer, Go
from processors.engine.errors import RetriableError, StartupError
from processors.engine.kip447 import FORBIDDEN
from processors.engine.metrics import RECOVERIES, RECOVERY_RECORDS
from schemas.state import NewerStateError

if TYPE_CHECKING:
    from processors.engine.table import StateTable

log = structlog.get_logger(__name__)

MARKER_DEADLINE_S: Final = 30.0
"""How long a changelog whose offset marker is behind the committed offset is read on; more than a transaction lasts."""

OFFSET_DEADLINE_S: Final = 5.0
"""How long a committed offset that is behind its offset marker is asked for again."""

STALL_LOG_S: Final = 10.0
RETRY_S: Final = 1.0


class ChangelogRecovery(Recovery):
    """Takes the place of Faust's recovery, which counts delivered records: transaction markers are not delivered, and
    its ends are last stable offsets, where the last round of the owner before may be missing."""

    @Service.task
    async def _restart_recovery(self) -> None:
        while not self.should_stop:
            if await self.wait_for_stopped(self.signal_recovery_start):  # type: ignore[arg-type]
                return
            self.signal_recovery_start.clear()
            await self._recover_unless_rebalanced()

    @Service.task
    async def _publish_stats(self) -> None:
        """Nothing: Faust's would take our recovery for a hanging one."""

    @Service.task
    async def _slurp_changelogs(self) -> None:
        """Nothing: the changelog is read by `recover`."""

    async def _recover_unless_rebalanced(self) -> None:
        """Recover; a new rebalance breaks it off, and begins another one."""
        recovery = asyncio.ensure_future(self._recover_in_the_end())
        again = asyncio.ensure_future(self.signal_recovery_start.wait())
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait({recovery, again, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if recovery.done():
                try:
                    recovery.result()
                except IllegalStateError:  # a partition is gone: the rebalance that took it is on its way
                    log.info("recovery_overtaken")
        finally:
            for task in (recovery, again, stopped):
                task.cancel()
            await asyncio.gather(recovery, again, stopped, return_exceptions=True)

    async def _recover_in_the_end(self) -> None:
        """Recover; begin again if the brokers fail meanwhile. Nothing is lost by that but time."""
        while True:
            try:
                await self.recover()
            except IllegalStateError:
                raise
            except NewerStateError as error:
                raise StartupError(
                    f"{error}: a newer version of Plaudit has written to the changelog of {self.app.conf.id}. Start that "
                    "version; how to go back: docs/upgrades.md"
                ) from error
            except FORBIDDEN as error:
                raise StartupError(f"the brokers refuse this worker: {error!r}") from error
            except (KafkaError, RetriableError, TimeoutError) as error:
                log.warning("recovery_failed", error=repr(error), again_in_s=RETRY_S)
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def recover(self) -> None:
        """Bring the folds of all active partitions to the committed offsets, and let the input flow."""
        consumer = cast(BatchConsumer, self.app.consumer)
        handler = cast(Any, consumer.handler)
        table: StateTable = handler.table
        current = consumer.epoch_watch()
        self._set_recovery_started()
        began = time.monotonic()
        await handler.ensure_port()  # ends what an earlier worker of this instance left open
        changelogs = set(self.active_tps)
        inputs = {tp: TP(handler.input_topic, tp.partition) for tp in changelogs}
        thread = consumer.thread
        committed = await thread.run(thread.in_thread_committed(set(inputs.values())))
        # The order matters: what a committed offset stands for is in the changelog by now, so before these ends.
        await handler.read_catalogs()
        missing = {tp for tp in changelogs if tp.partition not in table.folds}
        for tp in missing:
            table.begin(tp.partition)
        await thread.run(thread.in_thread_rest(changelogs - missing))
        records = await self.read(consumer, table, missing, current)
        offsets: dict[TP, int | None] = {}
        for tp in changelogs:
            offsets[inputs[tp]] = await self.check_marker(consumer, table, tp, committed.get(inputs[tp]), current)
        if not current():  # what is loaded may be incomplete
            return
        for tp in missing:
            table.loaded(tp.partition)
        await thread.run(thread.in_thread_rest(missing))
        await thread.run(thread.in_thread_seek(offsets, current))
        if current():
            await self._let_flow(consumer, set(inputs.values()))
            seconds = time.monotonic() - began
            RECOVERIES.observe(seconds)
            partitions = sorted(tp.partition for tp in changelogs)
            log.info("recovered", partitions=partitions, records=records, s=round(seconds, 3))

    async def read(self, consumer: BatchConsumer, table: "StateTable", changelogs: set[TP], current: Go) -> int:
        """Load `changelogs` from their beginnings to their present ends; return the number of records."""
        thread = consumer.thread
        ends = await thread.run(thread.in_thread_log_ends(changelogs))
        positions = await thread.run(thread.in_thread_seek(dict.fromkeys(changelogs), current))
        return await self._read_to(consumer, table, ends, positions, current)

    async def _read_to(
        self, consumer: BatchConsumer, table: "StateTable", ends: dict[TP, int], positions: dict[TP, int], current: Go
    ) -> int:
        """Go on reading to `ends`. Counted by fetch position: transaction markers and aborted records are never
        delivered. An open transaction before an end is waited for."""
        thread = consumer.thread
        count, moved_at = 0, time.monotonic()
        while current():
            behind = {tp for tp, end in ends.items() if positions.get(tp, 0) < end}
            if not behind:
                break
            poll = thread.in_thread_poll(behind, RECOVERY_POLL_RECORDS, RECOVERY_POLL_TIMEOUT_S, current)
            polled, now = await thread.run(poll)
            for tp, records in polled.items():
                table.apply_raw(tp.partition, records)
                count += len(records)
            if any(now[tp] > positions.get(tp, 0) for tp in now):
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > STALL_LOG_S:
                log.warning(
                    "recovery_waits",
                    for_="an open transaction or a broker",
                    partitions=sorted(tp.partition for tp in behind),
                )
                moved_at = time.monotonic()
            positions.update(now)
        RECOVERY_RECORDS.inc(count)
        return count

    async def check_marker(
        self, consumer: BatchConsumer, table: "StateTable", changelog: TP, committed: int | None, current: Go
    ) -> int | None:
        """Return where the input goes on: where state and committed offset agree. None: at the beginning.

        StartupError if they cannot be brought to agree.
        """
        partition = changelog.partition
        input_log = TP(cast(Any, consumer.handler).input_topic, partition)
        thread, began = consumer.thread, time.monotonic()
        while current():
            marker, waited_s = table.marker(partition), time.monotonic() - began
            if marker < (committed or 0) and waited_s < MARKER_DEADLINE_S:
                log.warning("changelog_behind_offset", partition=partition, committed=committed, marker=marker)
                await asyncio.sleep(RECOVERY_POLL_TIMEOUT_S)
                table.folds.pop(partition, None)
                table.begin(partition)
                await self.read(consumer, table, {changelog}, current)
            elif committed is not None and committed < marker and waited_s < OFFSET_DEADLINE_S:
                # Others have taken the partition further while this worker slept, or a coordinator that has just woken up
                # does not know yet that another one has taken its place, and answers with what was.
                log.warning("offset_behind_changelog", partition=partition, committed=committed, marker=marker)
                await asyncio.sleep(RECOVERY_POLL_TIMEOUT_S)
                committed = (await thread.run(thread.in_thread_committed({input_log}))).get(input_log, committed)
            else:
                break
        if not current():
            return committed
        marker = table.marker(partition)
        if committed is None:
            if marker > 0:  # Kafka forgets the offsets of a group that was away for a week; the marker does not age
                log.warning("committed_offset_missing", partition=partition, marker=marker)
            return marker or None
        if marker != committed:
            raise StartupError(
                f"partition {partition}: the state in {changelog.topic} stands at input offset {marker}, but the "
                f"consumer group has committed {committed}. One of them was changed from outside. To keep the state, set "
                f"the group's offset to {marker} while no worker runs; to compute everything anew, delete the changelog "
                "topic, the derived topics and the group."
            )
        return committed

    async def _let_flow(self, consumer: BatchConsumer, inputs: set[TP]) -> None:
        app = cast(Any, self.app)
        await app.on_rebalance_complete.send()
        self._set_recovery_ended()
        consumer.resume_partitions(inputs)
        self.completed.set()
        app.flow_control.resume()
        consumer.resume_flow()
        await app._fetcher.maybe_start()
        self.tables.on_actives_ready()
        self.tables.on_standbys_ready()
        app.on_rebalance_end()
