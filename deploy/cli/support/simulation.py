"""The fold over a log without a server: the engine's own round code on a log in memory (X16)."""

import asyncio
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from itertools import islice

from deploy.cli.support.folding import Folding
from deploy.cli.support.sources import LogSource
from processors.engine.errors import AbortableError
from processors.engine.memory import MAX_ATTEMPTS, FailAt, Listener, MemoryLog
from processors.engine.names import Names
from processors.engine.round import Batch, Change, RoundRunner
from processors.rules.catalogs import CatalogStore
from processors.rules.partition import Partition
from schemas.emission import Emission, Measures
from schemas.records import LogRecord

OnEmission = Callable[[Emission], None]

Effects = Generator[tuple[LogRecord, Sequence[Emission]], None, None]
"""Records and what each of them emitted; close it to end early."""


class Simulation:
    """One run over a log."""

    def __init__(self, source: LogSource, folding: Folding) -> None:
        """`folding` makes the folds of the source; it has not folded anything yet."""
        self._source = source
        self._folding = folding
        self._folds: dict[int, _Traced] = {}

    def run(
        self,
        round_size: int | None,
        on_emission: OnEmission,
        *,
        fail: FailAt | None = None,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> MemoryLog:
        """Fold everything, `round_size` records at a time (None = all at once); return the log with its counts.

        Each committed emission is handed over once, in the order of the records of the log, whatever the round size.
        `fail` may break any step of a transaction; the round is then rolled back and run again. `on_progress` hears how
        many records were folded since its last call.
        """
        log = _ForgetfulLog(fail)
        for _, emissions in self._effects(round_size, None, log, on_progress):
            for emission in emissions:
                on_emission(emission)
        return log

    def effects(
        self,
        round_size: int | None,
        partitions: Collection[int] | None = None,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> Effects:
        """Yield every record, of some partitions or of all, and what it emitted once its round is committed."""
        return self._effects(round_size, partitions, _ForgetfulLog(None), on_progress)

    def run_unordered(
        self,
        round_size: int | None,
        on_emission: OnEmission,
        *,
        fail: FailAt | None = None,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`run`, but emissions are handed over as their rounds commit, in the order of each user only: rounds of any size
        need no memory for what they emit."""
        folds: dict[int, Partition] = {}
        log = _ForgetfulLog(fail)
        listener = Listener(lambda _, emission: on_emission(emission))
        catalogs = _NoMore(self._folding.catalogs)
        runner = RoundRunner(folds, log, Names(), catalogs=catalogs, observer=listener)
        rest = self._source.records()
        loop = asyncio.new_event_loop()
        try:
            while run := list(islice(rest, round_size)):
                folds.update({record.partition: self._folding.fold(record) for record in run})
                loop.run_until_complete(_carry_out(runner, _by_partition(run), log))
                on_progress(len(run))
        finally:
            loop.close()

    def _effects(
        self,
        round_size: int | None,
        partitions: Collection[int] | None,
        log: "_ForgetfulLog",
        on_progress: Callable[[int], None],
    ) -> Effects:
        rest = self._source.records(partitions)  # a topic brings a loop of its own, which must not run inside ours
        loop = asyncio.new_event_loop()  # asyncio.run would keep Ctrl-C back until the loop is idle, which it never is
        runner = RoundRunner(self._folds, log, Names(), catalogs=_NoMore(self._folding.catalogs))
        try:
            while run := list(islice(rest, round_size)):
                for record in run:
                    if record.partition not in self._folds:
                        self._folds[record.partition] = _Traced(self._folding.fold(record))
                loop.run_until_complete(_carry_out(runner, _by_partition(run), log))
                emitted = {number: fold.take() for number, fold in self._folds.items()}
                for record in run:
                    yield record, emitted[record.partition].get(record.offset, ())
                on_progress(len(run))
        finally:
            loop.close()


class _Traced:
    """A fold that notes which record emitted what, and forgets what is rolled back."""

    def __init__(self, inner: Partition) -> None:
        self._inner = inner
        self._open: list[tuple[int, list[Emission]]] = []
        self._committed: dict[int, list[Emission]] = {}

    @property
    def next_offset(self) -> int:
        return self._inner.next_offset

    @property
    def counters(self) -> Mapping[str, int]:
        return self._inner.counters

    def measures(self, overdue_at_ms: int) -> Measures:
        return self._inner.measures(overdue_at_ms)

    def load(self, key: bytes, value: bytes | None) -> None:
        self._inner.load(key, value)

    def loaded(self) -> None:
        self._inner.loaded()

    def process(self, record: LogRecord, out: list[Emission], limit: int) -> bool:
        begin = len(out)
        done = self._inner.process(record, out, limit)
        if len(out) > begin:
            self._open.append((record.offset, out[begin:]))
        return done

    def changes(self, next_offset: int) -> list[tuple[bytes, bytes | None]]:
        return self._inner.changes(next_offset)

    def commit(self) -> None:
        self._inner.commit()
        for offset, emissions in self._open:
            self._committed.setdefault(offset, []).extend(emissions)
        self._open = []

    def rollback(self) -> None:
        self._inner.rollback()
        self._open = []

    def take(self) -> dict[int, list[Emission]]:
        """Return what was committed since the last call, by offset."""
        taken, self._committed = self._committed, {}
        return taken


class _ForgetfulLog(MemoryLog):
    """What is committed is handed over elsewhere; kept here, it would fill the memory."""

    async def send(
        self, names: Names, partition: int, emissions: Sequence[Emission], changes: Sequence[Change] | None
    ) -> None:
        """See TransactionPort."""
        await super().send(names, partition, (), None if changes is None else ())


class _NoMore:
    """All catalogs of the file are in the store already."""

    def __init__(self, store: CatalogStore) -> None:
        self._store = store

    async def refresh(self) -> None:
        """There is nothing to read."""

    def give_up(self, tenant: str, version: str) -> None:
        """See CatalogSource."""
        self._store.give_up(tenant, version)


async def _carry_out(runner: RoundRunner, batch: Batch, log: MemoryLog) -> None:
    attempts, committed = 0, log.transactions
    while not batch.finished:
        try:
            await runner.run(batch)
        except AbortableError:
            attempts = attempts + 1 if log.transactions == committed else 1
            committed = log.transactions
            if attempts >= MAX_ATTEMPTS:
                raise


def _by_partition(run: Iterable[LogRecord]) -> Batch:
    records: dict[int, list[LogRecord]] = {}
    for record in run:
        records.setdefault(record.partition, []).append(record)
    return Batch(records)
