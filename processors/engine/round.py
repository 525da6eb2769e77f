"""One round: fold records, publish what they cause, move the offsets, all in one transaction. Knows no Kafka."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
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

SLICES_S: Final = 0.3
"""Folding time that records larger than a slice get in a round, after everything else: others wait no longer for them."""

EMPTY_SLICES: Final = 100_000
"""Slices of one record without an emission after which the fold is taken to be stuck: 50 million users."""

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
    """Where a round ends: emissions, bytes of emissions, seconds of folding, seconds of them for slices; and how many empty
    slices in a row are too many."""

    effects: int = EFFECTS_PER_ROUND
    size_bytes: int = BYTES_PER_ROUND
    duration_s: float = SECONDS_PER_ROUND
    slices_s: float = SLICES_S
    empty_slices: int = EMPTY_SLICES


More = Callable[[set[int]], Awaitable[Mapping[int, Sequence[LogRecord]]]]
"""Returns the records that have come meanwhile, of all partitions but those given; does not wait for any."""


class Batch:
    """Records fetched at once, by partition, and how far they are committed.

    While a record is carried out in slices, those of other partitions that come meanwhile join the batch.
    """

    def __init__(self, records: Mapping[int, Sequence[LogRecord]], more: More | None = None) -> None:
        """Take runs of records, each in the order of its partition. `more` = None: nothing joins."""
        self.records = {partition: run for partition, run in records.items() if run}
        self.done = dict.fromkeys(self.records, 0)
        """By partition: number of records committed."""
        self.large: dict[int, None] = {}
        """Partitions whose next record is being carried out in slices, the first to begin first."""
        self.rounds = 0
        """Number of rounds committed."""
        self._more = more

    @property
    def finished(self) -> bool:
        """Whether all records are committed."""
        return not self._unfinished()

    def waiting(self) -> list[int]:
        """Return the partitions that have records left, but for those in slices."""
        left = self._unfinished() - self.large.keys()
        return [partition for partition in self.records if partition in left]

    def committed(self, runs: Iterable["Run"]) -> None:
        """Note what a round has done."""
        self.rounds += 1
        for run in runs:
            self.done[run.partition] = run.index
            if run.large:
                self.large.setdefault(run.partition)
            else:
                self.large.pop(run.partition, None)

    async def refill(self) -> None:
        """Take what has come of partitions that have nothing left."""
        if self._more is not None:
            for partition, run in (await self._more(self._unfinished())).items():
                self.records[partition], self.done[partition] = run, 0

    def next_offsets(self) -> dict[int, int]:
        """Return, by partition, the offset after the last committed record: what is from there on is un-read."""
        return {
            partition: run[self.done[partition]].offset if self.done[partition] < len(run) else run[-1].offset + 1
            for partition, run in self.records.items()
        }

    def _unfinished(self) -> set[int]:
        return {partition for partition, run in self.records.items() if self.done[partition] < len(run)}


class Work:
    """What a round has folded, and how far it is published."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.folds: dict[int, Fold] = {}
        """Touched folds, by partition: what is rolled back if the round fails."""
        self.emissions: dict[int, list[Emission]] = {}
        """By touched partition, in the order of emission."""
        self.next: dict[int, int] = {}
        """By touched partition: next input offset."""
        self.effects = 0
        self.size_bytes = 0
        self.records = 0
        self.begun = False
        """Whether the transaction is begun."""
        self.ended = False
        """Whether the phase in hand takes no more records."""
        self.stopped = False
        """Whether the round must end: what comes next cannot be folded while a transaction is open."""
        self.most_effects = 0
        self.deadline = began

    def phase(self, most_effects: int, deadline: float, limits: Limits) -> None:
        """Begin a phase of the round, which ends at so many emissions of the whole round, or at a time."""
        self.most_effects, self.deadline = most_effects, deadline
        self.ended = self.stopped or self.effects >= most_effects or self.size_bytes >= limits.size_bytes


class Run:
    """The part of a round that belongs to one partition."""

    def __init__(self, partition: int, records: Sequence[LogRecord], index: int, fold: Fold) -> None:
        self.partition = partition
        self.records = records
        self.begin = index
        self.index = index
        """Records that are passed."""
        self.fold = fold
        self.out: list[Emission] = []
        self.sent = 0
        """Emissions that are handed over."""
        self.large = False
        """Whether the next record has begun and needs more slices."""


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
            if batch.large:
                await batch.refill()
            await self._round(batch)

    async def _round(self, batch: Batch) -> None:
        work = Work(self._clock())
        try:
            runs = await self._fold_all(batch, work)
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
        batch.committed(runs)
        if self._observer is not None:
            self._observer.committed(work, self._folds, self._clock() - work.began)

    async def _fold_all(self, batch: Batch, work: Work) -> list[Run]:
        """Fold one partition after another, then go on with the records that are larger than a slice, one after another.
        As long as there are such, all else gets half of the round at most."""
        limits, share = self._limits, 2 if batch.large else 1
        work.phase(max(1, limits.effects // share), work.began + limits.duration_s / share, limits)
        runs: list[Run] = []
        large = [self._run(batch, partition) for partition in batch.large]
        for partition in batch.waiting():
            if work.ended:
                break
            run = self._run(batch, partition)
            runs.append(run)
            await self._fold(run, work, slices=False)
            if run.large:
                large.append(run)
            else:
                await self._close(run, work)
        work.phase(limits.effects, self._clock() + limits.slices_s, limits)
        for run in large:
            if not work.ended:
                if run not in runs:
                    runs.append(run)
                await self._fold(run, work, slices=True)
            if run in runs:
                await self._close(run, work)
        return runs

    def _run(self, batch: Batch, partition: int) -> Run:
        return Run(partition, batch.records[partition], batch.done[partition], self._folds[partition])

    async def _fold(self, run: Run, work: Work, *, slices: bool) -> None:
        """Fold the records of a partition, handing outputs over on the way: they are sent meanwhile. Without `slices`, up to
        the first slice of a record that needs more."""
        work.folds[run.partition] = run.fold
        work.emissions[run.partition] = run.out
        while True:
            try:
                self._advance(run, work, RECORDS_PER_STEP)
            except CatalogMissingError as missing:
                await self._look_up(missing, run, work)
            if work.ended or run.index == len(run.records) or (run.large and not slices):
                return
            await self._send(run, work, None)
            await asyncio.sleep(0)

    async def _close(self, run: Run, work: Work) -> None:
        """Hand over the rest, and what is in the changelog of it."""
        records = run.records
        work.records += run.index - run.begin
        after = records[run.index].offset if run.index < len(records) else records[-1].offset + 1
        work.next[run.partition] = after
        await self._send(run, work, run.fold.changes(after))

    def _advance(self, run: Run, work: Work, most: int) -> None:
        """Fold up to `most` records, until a step is full or the phase."""
        records, out, process, clock = run.records, run.out, run.fold.process, self._clock
        begin = len(out)
        full = begin + work.most_effects - work.effects
        end = min(run.index + most, len(records))
        while run.index < end:
            before = len(out)
            if process(records[run.index], out, min(full, before + EMISSIONS_PER_STEP)):
                run.index += 1
                run.large = False
            else:
                run.large = True
                self._count_slice(records[run.index], len(out) > before)
            if len(out) >= full or clock() >= work.deadline:
                work.ended = True
                break
            if run.large or len(out) - run.sent >= EMISSIONS_PER_STEP:
                break
        work.effects += len(out) - begin
        work.size_bytes += sum([len(emission.value) for emission in out[begin:]])
        if work.size_bytes >= self._limits.size_bytes:
            work.ended = True

    async def _look_up(self, missing: CatalogMissingError, run: Run, work: Work) -> None:
        """Read the catalog that the next record names, and fold that record. Not while a transaction is open, which
        would run out: then the round ends before the record."""
        if self._catalogs is None:
            raise missing
        if work.begun:
            work.ended = work.stopped = True
            return
        await _step("catalogs", self._catalogs.refresh())
        try:
            self._advance(run, work, 1)
        except CatalogMissingError:
            self._catalogs.give_up(missing.tenant, missing.version)
            self._advance(run, work, 1)

    def _count_slice(self, record: LogRecord, emitted: bool) -> None:
        self._empty_slices = 0 if emitted else self._empty_slices + 1
        if self._empty_slices > self._limits.empty_slices:
            raise StuckRecordError(
                f"the record at offset {record.offset} of partition {record.partition} asked for "
                f"{self._limits.empty_slices} slices without emitting anything"
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
