"""One round: fold records, publish what they cause, move the offsets, all in one transaction. Knows no Kafka."""

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

EMPTY_SLICES: Final = 1_000
"""Slices of one record without an emission after which the fold is taken to be stuck."""

Headers = list[tuple[str, bytes]]

Output = tuple[bytes | None, bytes | None, Headers]
"""A record to publish: key, value, headers. A list, because aiokafka's encoder takes nothing else."""

NO_HEADERS: Final[Headers] = []

Target = tuple[str, int]
"""Topic and partition."""


class TransactionPort(Protocol):
    """Where rounds are published. Every call but the last of a transaction may raise AbortableError or FencedError;
    `commit` raises AbortableError only if nothing was committed, FencedError if it cannot know."""

    async def begin(self, outputs: set[Target]) -> None:
        """Begin a transaction that will write to `outputs`."""

    async def send(self, topic: str, partition: int, records: Sequence[Output]) -> None:
        """Hand records over, in order. At most once per topic and partition in a transaction."""

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
    """What a round has folded but not yet published."""

    def __init__(self) -> None:
        self.emissions: dict[int, list[Emission]] = {}
        """By touched partition, in the order of emission."""
        self.done: dict[int, int] = {}
        """By touched partition: records of the batch that are passed."""
        self.next: dict[int, int] = {}
        """By touched partition: next input offset."""
        self.effects = 0
        self.size_bytes = 0
        self.records = 0

    def add(self, emissions: list[Emission], begin: int) -> None:
        """Count what a record has appended to `emissions` from index `begin` on."""
        self.effects += len(emissions) - begin
        for emission in emissions[begin:]:
            self.size_bytes += len(emission.value)

    def full(self, limits: Limits) -> bool:
        """Whether the round takes no more records."""
        return self.effects >= limits.effects or self.size_bytes >= limits.size_bytes


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
        self._headers: dict[str, bytes] = {}

    async def run(self, batch: Batch, go: Callable[[], bool] = lambda: True) -> None:
        """Run rounds until the batch is finished or `go` is false; `batch` holds how far it came.

        Raises AbortableError after a round that was rolled back (call again with the same batch), FencedError if the
        folds must be dropped.
        """
        while not batch.finished and go():
            await self._round(batch)

    async def _round(self, batch: Batch) -> None:
        began = self._clock()
        work = Work()
        try:
            await self._fold(batch, work, began)
            await self._publish(work)
        except BaseException as error:
            for partition in work.emissions:
                self._folds[partition].rollback()
            if self._observer is not None:
                self._observer.aborted(error)
            if not isinstance(error, FencedError):  # the fenced have no transaction of their own left
                await self._port.abort()
            raise
        for partition in work.emissions:
            self._folds[partition].commit()
        batch.done.update(work.done)
        if self._observer is not None:
            self._observer.committed(work, self._folds, self._clock() - began)

    async def _fold(self, batch: Batch, work: Work, began: float) -> None:
        limits = self._limits
        for partition, run in batch.records.items():
            index = batch.done[partition]
            if index == len(run):
                continue
            fold = self._folds[partition]
            out = work.emissions[partition] = []
            passed = True
            while index < len(run) and passed and not work.full(limits):
                begin = len(out)
                passed = await self._process(fold, run[index], out, begin + limits.effects - work.effects)
                work.add(out, begin)
                if passed:
                    index += 1
                    work.records += 1
                else:
                    self._count_slice(run[index], len(out) > begin)
                if self._clock() - began >= limits.duration_s:
                    break
            work.done[partition] = index
            work.next[partition] = run[index].offset if index < len(run) else run[-1].offset + 1
            if not passed or work.full(limits) or self._clock() - began >= limits.duration_s:
                return

    async def _process(self, fold: Fold, record: LogRecord, out: list[Emission], limit: int) -> bool:
        try:
            return fold.process(record, out, limit)
        except CatalogMissingError as missing:
            if self._catalogs is None:
                raise
            await _step("catalogs", self._catalogs.refresh())
            try:
                return fold.process(record, out, limit)
            except CatalogMissingError:
                self._catalogs.give_up(missing.tenant, missing.version)
                return fold.process(record, out, limit)

    def _count_slice(self, record: LogRecord, emitted: bool) -> None:
        self._empty_slices = 0 if emitted else self._empty_slices + 1
        if self._empty_slices > EMPTY_SLICES:
            raise StuckRecordError(
                f"the record at offset {record.offset} of partition {record.partition} asked for {EMPTY_SLICES} slices "
                "without emitting anything"
            )

    async def _publish(self, work: Work) -> None:
        port = self._port
        outputs = self._outputs(work)
        await _step("begin", port.begin(set(outputs)))
        for (topic, partition), records in outputs.items():
            await _step("send", port.send(topic, partition, records))
        await _step("flush", port.flush())
        offsets = {(self._names.input, partition): offset for partition, offset in work.next.items()}
        await _step("offsets", port.send_offsets(offsets))
        await _step("commit", port.commit())

    def _outputs(self, work: Work) -> dict[Target, Sequence[Output]]:
        """Derived events and changelog of the round, by topic and partition: a user's facts and consequences have the
        same partition number."""
        outputs: dict[Target, list[Output]] = {}
        for partition, emissions in work.emissions.items():
            by_topic: dict[str, list[Output]] = {}
            for emission in emissions:
                records = by_topic.get(emission.topic)
                if records is None:
                    records = by_topic[emission.topic] = outputs[self._names.output(emission.topic), partition] = []
                records.append((emission.key, emission.value, self._header(emission)))
            changes = self._folds[partition].changes(work.next[partition])
            outputs[self._names.changelog, partition] = [(key, value, NO_HEADERS) for key, value in changes]
        return dict(outputs)

    def _header(self, emission: Emission) -> Headers:
        headers: Headers = []
        if emission.type:
            encoded = self._headers.get(emission.type)
            if encoded is None:
                encoded = self._headers[emission.type] = emission.type.encode()
            headers.append(("type", encoded))
        if emission.id:
            headers.append(("id", emission.id.encode()))
        return headers


async def _step(name: str, call: Awaitable[None]) -> None:
    """Any failure of a step but a fence leaves a transaction that can be given up."""
    try:
        await call
    except (AbortableError, FencedError):
        raise
    except Exception as error:
        raise AbortableError(name, error) from error
