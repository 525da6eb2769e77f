"""Between the consumer and the rounds: decodes polls, repeats aborted rounds, and starts over when fenced."""

import asyncio
import time
from collections import deque
from typing import Final

import structlog
from aiokafka.errors import KafkaError

from processors.engine.consumer import BatchConsumer, BatchHandler, Go, PollMore, Records
from processors.engine.errors import AbortableError, FencedError, RetriableError, RoundFailedError, StartupError
from processors.engine.fold import CatalogSource
from processors.engine.instruments import FENCES
from processors.engine.kip447 import GroupMember
from processors.engine.names import Names
from processors.engine.producer import KafkaPort
from processors.engine.round import Batch, RoundRunner
from processors.engine.table import StateTable
from schemas.records import LogRecord

log = structlog.get_logger(__name__)

MAX_ATTEMPTS: Final = 10
"""Times the same round may fail before the worker stops, if it is not the brokers that do not answer (D-70)."""

BACKOFF_S: Final = 0.05
BACKOFF_MAX_S: Final = 2.0

MAX_FENCES: Final = 20
FENCES_WINDOW_S: Final = 300.0
"""A worker that lost its membership MAX_FENCES times within this is not the only one of its instance."""


class RoundWorker(BatchHandler):
    """Processes the partitions of one worker."""

    def __init__(
        self, names: Names, table: StateTable, port: KafkaPort, runner: RoundRunner, catalogs: CatalogSource
    ) -> None:
        """`runner` works on `table.folds` and `port`."""
        self.input_topic = names.input
        self.table = table
        self._port = port
        self._runner = runner
        self._catalogs = catalogs
        self._member: GroupMember | None = None
        self._lost = True
        """State may not be used any more: a fence, or others may have had our partitions."""
        self._port_started = False
        self._fences: deque[float] = deque(maxlen=MAX_FENCES)

    @property
    def member(self) -> GroupMember | None:
        """Who we were at the last assignment."""
        return self._member

    @property
    def lost(self) -> bool:
        """Whether this worker has no partitions it may work on, until it has joined anew."""
        return self._lost

    def assigned(self, member: GroupMember) -> None:
        """Take the name in which offsets are committed; forget state that others may have taken further.

        State is kept only if nobody else can have had our partitions since: same member, next generation (or the same
        one, which a static member gets back).
        """
        before = self._member
        follows = (
            before is not None
            and member.member_id == before.member_id
            and member.generation - before.generation in (0, 1)
        )
        if self._lost or not follows:
            self.table.drop_all()
            if before is not None:
                self._count_fence()
        self._lost = False
        self._member = member
        self._port.adopt(member)
        log.info("assigned", generation=member.generation, member=member.member_id, kept=sorted(self.table.folds))

    async def ensure_port(self) -> None:
        """Start the producer, unless it is."""
        if not self._port_started:
            await self._port.restart()
            self._port_started = True

    async def read_catalogs(self) -> None:
        """Have every catalog version that state to be recovered may name."""
        await self._catalogs.refresh()

    async def handle(self, records: Records, go: Go, more: PollMore | None = None) -> bool:
        """Run the rounds of a poll (see BatchHandler). False after a fence: this worker joins anew by itself."""

        async def meanwhile(busy: set[int]) -> dict[int, list[LogRecord]]:
            return {} if more is None else by_partition(await more(busy))

        batch = Batch(by_partition(records), meanwhile)
        attempts, done = 0, 0
        while not batch.finished and go():
            try:
                await self._runner.run(batch, go)
            except AbortableError as error:
                attempts, done = (attempts + 1, done) if batch.rounds == done else (1, batch.rounds)
                log.warning("round_aborted", step=error.step, error=str(error), attempt=attempts)
                if is_outage(error.cause):
                    attempts = min(attempts, MAX_ATTEMPTS - 1)
                if attempts >= MAX_ATTEMPTS:
                    raise RoundFailedError(f"the same round failed {attempts} times; the last time, {error}") from error
                await asyncio.sleep(min(BACKOFF_S * 2**attempts, BACKOFF_MAX_S))
            except FencedError as error:
                await self._fenced(error)
                return False
        return True

    async def _fenced(self, error: FencedError) -> None:
        """Drop all state, end the open transaction and join anew; recovery does the rest."""
        FENCES.inc()
        log.warning("fenced", step=error.step, error=str(error), member=self._member)
        self._lost = True
        self._port_started = False
        self.table.drop_all()
        try:
            await self.ensure_port()
        except RetriableError as cause:  # recovery tries again
            log.warning("producer_not_restarted", error=repr(cause))
        consumer = self.table.app.consumer
        assert isinstance(consumer, BatchConsumer)
        await consumer.thread.run(consumer.thread.in_thread_rejoin())

    def _count_fence(self) -> None:
        """A worker that loses its membership again and again shares its name: they replace each other for ever."""
        self._fences.append(time.monotonic())
        seconds = self._fences[-1] - self._fences[0]
        if len(self._fences) == MAX_FENCES and seconds < FENCES_WINDOW_S:
            raise StartupError(
                f"this worker lost its membership {MAX_FENCES} times within {seconds:.0f} s: another worker has the same "
                "instance name. Give every worker a PLAUDIT_INSTANCE of its own."
            )


def is_outage(error: BaseException) -> bool:
    """Whether brokers, or replicas, are away: then the round is run again until they are back, however long."""
    return isinstance(error, TimeoutError) or (isinstance(error, KafkaError) and error.retriable)


def by_partition(records: Records) -> dict[int, list[LogRecord]]:
    """Return what a poll brought as the rounds take it."""
    return {tp.partition: [to_log_record(record) for record in run] for tp, run in records.items()}


def to_log_record(record: object) -> LogRecord:
    """Return aiokafka's record as the rules see it."""
    return LogRecord(
        record.partition,  # type: ignore[attr-defined]
        record.offset,  # type: ignore[attr-defined]
        record.timestamp,  # type: ignore[attr-defined]
        record.key,  # type: ignore[attr-defined]
        record.value,  # type: ignore[attr-defined]
        tuple(record.headers),  # type: ignore[attr-defined]
    )
