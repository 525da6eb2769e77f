"""One round: fold records, publish what they cause, move the offsets, all in one transaction. Knows no Kafka."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from processors.engine.errors import AbortableError, FencedError, StuckRecordError
from processors.engine.fold import CatalogSource, Fold
from processors.engine.names import Names
from schemas.emission import CatalogMissingError, Emission
from schemas.records import LogRecord

EFFECTS_PER_ROUND: Final = 20_000
"""Emissions after which a round takes no more records, and a record larger than the rest is cut into slices."""

BYTES_PER_ROUND: Final = 32 * 1024 * 1024
"""Bytes of emissions after which a round takes no more records."""

SECONDS_PER_ROUND: Final = 1.0
"""Folding time after which a round takes no more records; far below the transaction and session timeouts."""

RECORDS_PER_STEP: Final = 32
EMISSIONS_PER_STEP: Final = 500
"""Records or emissions after which the outputs so far are handed over, and the event loop gets to send them."""

EMPTY_SLICES: Final = 1_000
"""Slices of one record without an emission after which the fold is taken to be stuck."""

Headers = list[tuple[str, bytes]]

"""A list, because aiokafka's encoder takes nothing else."""

NO_HEADERS: Final[Headers] = []

Target = tuple[str, int]
"""Topic and partition."""


Change = tuple[bytes, bytes | None]
"""A changelog record: key, value."""


class TransactionPort(Protocol):
    """Where rounds are published. Every call but the last of a transaction may raise AbortableError or FencedError;
    `commit` raises AbortableError only if nothing was committed, FencedError if it cannot know."""

    async def begin(self) -> None:
        """Begin a transaction. Never without `send` after it."""

    async def send(
        self, names: Names, partition: int, emissions: Sequence[Emission], changes: Sequence[Change] | None
    ) -> None:
        """Take outputs of an input partition, in order; they go out while the caller goes on. A user's facts and
        consequences have the same partition number. `changes` is the changelog of the partition, given with its last
        emissions of the transaction; None: more follow."""

    async def flush(self) -> None:
        """Return when all that was sent is acknowledged."""

    async def send_offsets(self, offsets: Mapping[Target, int]) -> None:
        """Put next input offsets into the transaction. Never before `flush`: the offsets could be accepted although
        outputs are lost."""

    async def commit(self) -> None:
        """Commit the transaction."""

    async def abort(self) -> None:
        """Give the transaction up, whatever state it is in."""


class Limits(msgspec.Struct, frozen=True):
    """Where a round ends: emissions, bytes of emissions, seconds of folding."""

    effects: int = EFFECTS_PER_ROUND
    size_bytes: int = BYTES_PER_ROUND
    duration_s: float = SECONDS_PER_ROUND


class Batch:
    """Records fetched at once, by partition, and how far they are committed."""

    def __init__(self, records: Mapping[int, Sequence[LogRecord]]) -> None:
        """Take non-empty runs of records, each in the order of its partition."""
        self.records = {partition: run for partition, run in records.items() if run}
        self.done = dict.fromkeys(self.records, 0)
        """By partition: number of records committed."""

    @property
    def finished(self) -> bool:
        """Whether all records are committed."""
        return all(self.done[partition] == len(run) for partition, run in self.records.items())

    def next_offsets(self) -> dict[int, int]:
        """Return, by partition, the offset after the last committed record: what is from there on is un-read."""
        return {
            partition: run[self.done[partition]].offset if self.done[partition] < len(run) else run[-1].offset + 1
            for partition, run in self.records.items()
        }


class Work:
    """What a round has folded, and how far it is published."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.folds: dict[int, Fold] = {}
        """Touched folds, by partition: what is rolled back if the round fails."""
        self.emissions: dict[int, list[Emission]] = {}
        """By touched partition, in the order of emission."""
        self.done: dict[int, int] = {}
        """By touched partition: records of the batch that are passed."""
        self.next: dict[int, int] = {}
        """By touched partition: next input offset."""
        self.effects = 0
        self.size_bytes = 0
        self.records = 0
        self.begun = False
        """Whether the transaction is begun."""
        self.ended = False
        """Whether the round takes no more records."""


class Run:
    """The part of a round that belongs to one partition."""

    def __init__(self, partition: int, records: Sequence[LogRecord], index: int, fold: Fold) -> None:
        self.partition = partition
        self.records = records
        self.index = index
        """Records that are passed."""
        self.fold = fold
        self.out: list[Emission] = []
        self.sent = 0
        """Emissions that are handed over."""


class RoundObserver(Protocol):
    """Hears of rounds; for metrics and for whoever wants the committed emissions in order."""

    def committed(self, work: Work, folds: Mapping[int, Fold], seconds: float) -> None:
        """A round was committed."""

    def aborted(self, error: BaseException) -> None:
        """A round was rolled back."""


class RoundRunner:
    """Carries batches out in rounds."""

    def __init__(
        self,
        folds: Mapping[int, Fold],
        port: TransactionPort,
        names: Names,
        *,
        limits: Limits | None = None,
        catalogs: CatalogSource | None = None,
        observer: RoundObserver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`folds` is the live mapping of partitions at hand. `clock` (seconds) may decide where a round ends, never
        what comes out."""
        self._folds = folds
        self._port = port
        self._names = names
        self._limits = limits or Limits()
        self._catalogs = catalogs
        self._observer = observer
        self._clock = clock
        self._empty_slices = 0

    async def run(self, batch: Batch, go: Callable[[], bool] = lambda: True) -> None:
        """Run rounds until the batch is finished or `go` is false; `batch` holds how far it came.

        Raises AbortableError after a round that was rolled back (call again with the same batch), FencedError if the
        folds must be dropped.
        """
        while not batch.finished and go():
            await self._round(batch)

    async def _round(self, batch: Batch) -> None:
        work = Work(self._clock())
        try:
            for partition, records in batch.records.items():
                if batch.done[partition] < len(records):
                    await self._fold(Run(partition, records, batch.done[partition], self._folds[partition]), work)
                    if work.ended:
                        break
            await self._conclude(work)
        except BaseException as error:
            for fold in work.folds.values():
                fold.rollback()
            if self._observer is not None:
                self._observer.aborted(error)
            if not isinstance(error, FencedError):  # the fenced have no transaction of their own left
                await self._port.abort()
            raise
        for fold in work.folds.values():
            fold.commit()
        batch.done.update(work.done)
        if self._observer is not None:
            self._observer.committed(work, self._folds, self._clock() - work.began)

    async def _fold(self, run: Run, work: Work) -> None:
        """Fold the records of a partition, handing outputs over on the way: they are sent meanwhile."""
        work.folds[run.partition] = run.fold
        work.emissions[run.partition] = run.out
        records, begin = run.records, run.index
        while True:
            try:
                self._advance(run, work, RECORDS_PER_STEP)
            except CatalogMissingError as missing:
                await self._look_up(missing, run, work)
            if work.ended or run.index == len(records):
                break
            await self._send(run, work, None)
            await asyncio.sleep(0)
        work.done[run.partition] = run.index
        work.records += run.index - begin
        work.effects += len(run.out)
        work.next[run.partition] = after = (
            records[run.index].offset if run.index < len(records) else records[-1].offset + 1
        )
        await self._send(run, work, run.fold.changes(after))

    def _advance(self, run: Run, work: Work, most: int) -> None:
        """Fold up to `most` records, until a step is full or the round."""
        records, out, process, clock = run.records, run.out, run.fold.process, self._clock
        room = self._limits.effects - work.effects
        end = min(run.index + most, len(records))
        deadline = work.began + self._limits.duration_s
        begin = len(out)
        while run.index < end:
            before = len(out)
            if not process(records[run.index], out, room):
                self._count_slice(records[run.index], len(out) > before)
                work.ended = True
                break
            run.index += 1
            if len(out) >= room or clock() >= deadline:
                work.ended = True
                break
            if len(out) - run.sent >= EMISSIONS_PER_STEP:
                break
        work.size_bytes += sum([len(emission.value) for emission in out[begin:]])
        if work.size_bytes >= self._limits.size_bytes:
            work.ended = True

    async def _look_up(self, missing: CatalogMissingError, run: Run, work: Work) -> None:
        """Read the catalog that the next record names, and fold that record. Not while a transaction is open, which
        would run out: then the round ends before the record."""
        if self._catalogs is None:
            raise missing
        if work.begun:
            work.ended = True
            return
        await _step("catalogs", self._catalogs.refresh())
        try:
            self._advance(run, work, 1)
        except CatalogMissingError:
            self._catalogs.give_up(missing.tenant, missing.version)
            self._advance(run, work, 1)

    def _count_slice(self, record: LogRecord, emitted: bool) -> None:
        self._empty_slices = 0 if emitted else self._empty_slices + 1
        if self._empty_slices > EMPTY_SLICES:
            raise StuckRecordError(
                f"the record at offset {record.offset} of partition {record.partition} asked for {EMPTY_SLICES} slices "
                "without emitting anything"
            )

    async def _send(self, run: Run, work: Work, changes: Sequence[Change] | None) -> None:
        """Hand over what was emitted since the last time. The first one of a round begins the transaction."""
        if changes is None and run.sent == len(run.out):
            return
        if not work.begun:
            work.begun = True
            await _step("begin", self._port.begin())
        emissions = run.out[run.sent :]
        run.sent = len(run.out)
        await _step("send", self._port.send(self._names, run.partition, emissions, changes))

    async def _conclude(self, work: Work) -> None:
        port = self._port
        await _step("flush", port.flush())
        offsets = {(self._names.input, partition): offset for partition, offset in work.next.items()}
        await _step("offsets", port.send_offsets(offsets))
        await _step("commit", port.commit())


_encoded_types: dict[str, bytes] = {}


def headers_of(emission: Emission) -> Headers:
    """Return the headers of an emission's record."""
    kind, id = emission.type, emission.id
    if not kind:
        return [("id", id.encode())] if id else NO_HEADERS
    encoded = _encoded_types.get(kind)
    if encoded is None:
        encoded = _encoded_types[kind] = kind.encode()
    return [("type", encoded), ("id", id.encode())] if id else [("type", encoded)]


async def _step(name: str, call: Awaitable[None]) -> None:
    """Any failure of a step but a fence leaves a transaction that can be given up."""
    try:
        await call
    except (AbortableError, FencedError):
        raise
    except Exception as error:
        raise AbortableError(name, error) from error
