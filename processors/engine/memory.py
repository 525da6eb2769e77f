"""An in-memory log with transactions, so that rounds run, and fail, without Kafka."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

from processors.engine.errors import AbortableError
from processors.engine.fold import CatalogSource, Fold
from processors.engine.names import Names
from processors.engine.round import NO_HEADERS, Batch, Change, Headers, Limits, RoundRunner, Target, Work, headers_of
from schemas.emission import Emission
from schemas.records import LogRecord

MAX_ATTEMPTS = 10
"""Times a failing round is run before the failure is passed on."""

FailAt = Callable[[str, int], BaseException | None]
"""Step ("begin", "send", "flush", "offsets", "commit") and how many times it was called, from 1: the error to raise."""


Output = tuple[bytes | None, bytes | None, Headers]
"""A published record: key, value, headers."""


class MemoryLog:
    """A transaction port whose committed records and offsets can be looked at."""

    def __init__(self, fail: FailAt | None = None) -> None:
        """`fail` may break any step; a commit that it breaks has committed nothing."""
        self.records: dict[Target, list[Output]] = defaultdict(list)
        """Committed records, as a reader with read_committed sees them."""
        self.offsets: dict[Target, int] = {}
        """Committed input offsets."""
        self.transactions = 0
        """Number of committed transactions."""
        self.aborted = 0
        """Number of transactions given up."""
        self._fail = fail
        self._calls: Counter[str] = Counter()
        self._open = False
        self._ended: dict[int, bool] = {}
        """By partition of the open transaction: whether its changelog has come."""
        self._staged: dict[Target, list[Output]] = defaultdict(list)
        self._staged_offsets: dict[Target, int] = {}
        self._flushed = False

    async def begin(self) -> None:
        """See TransactionPort."""
        assert not self._open, "the transaction before is still open"
        self._step("begin")
        self._open = True
        self._flushed = False

    async def send(
        self, names: Names, partition: int, emissions: Sequence[Emission], changes: Sequence[Change] | None
    ) -> None:
        """See TransactionPort."""
        self._step("send")
        assert self._open, "no transaction is open"
        assert not self._flushed, "outputs after the flush"
        assert not self._ended.get(partition), "outputs after the changelog of the partition"
        self._ended[partition] = changes is not None
        for emission in emissions:
            output = (emission.key, emission.value, headers_of(emission))
            self._staged[names.output(emission.topic), partition].append(output)
        if changes is not None:
            self._staged[names.changelog, partition].extend((key, value, NO_HEADERS) for key, value in changes)

    async def flush(self) -> None:
        """See TransactionPort."""
        self._step("flush")
        assert self._ended and all(self._ended.values()), "a partition without changelog"
        self._flushed = True

    async def send_offsets(self, offsets: Mapping[Target, int]) -> None:
        """See TransactionPort."""
        assert self._flushed, "offsets were sent before the outputs were acknowledged"
        self._step("offsets")
        self._staged_offsets.update(offsets)

    async def commit(self) -> None:
        """See TransactionPort."""
        self._step("commit")
        for target, records in self._staged.items():
            self.records[target].extend(records)
        self.offsets.update(self._staged_offsets)
        self.transactions += 1
        self._close()

    async def abort(self) -> None:
        """See TransactionPort."""
        self.aborted += 1
        self._close()

    def recover(self, fold: Fold, partition: int, names: Names) -> None:
        """Load a new fold from the committed changelog, as a worker does after a restart."""
        for key, value, _ in self.records[names.changelog, partition]:
            assert key is not None
            fold.load(key, value)
        fold.loaded()
        assert fold.next_offset == self.offsets.get((names.input, partition), 0)

    def _step(self, name: str) -> None:
        self._calls[name] += 1
        error = self._fail(name, self._calls[name]) if self._fail is not None else None
        if error is not None:
            raise error

    def _close(self) -> None:
        self._open = False
        self._ended = {}
        self._staged = defaultdict(list)
        self._staged_offsets = {}


class Listener:
    """Passes committed emissions on."""

    def __init__(self, on_emit: Callable[[int, Emission], None]) -> None:
        self._on_emit = on_emit

    def committed(self, work: Work, folds: Mapping[int, Fold], seconds: float) -> None:
        for partition, emissions in work.emissions.items():
            for emission in emissions:
                self._on_emit(partition, emission)

    def aborted(self, error: BaseException) -> None:
        pass


async def run_memory(
    records: Mapping[int, Iterable[LogRecord]],
    folds: Mapping[int, Fold],
    *,
    round_size: int,
    on_emit: Callable[[int, Emission], None],
    catalogs: CatalogSource | None = None,
    limits: Limits | None = None,
    fail: FailAt | None = None,
    names: Names | None = None,
) -> MemoryLog:
    """Run the engine's round code over records, `round_size` of one partition at a time, partition after partition.

    `on_emit(partition, emission)` gets each committed emission once, in an order that does not depend on
    `round_size`. Rounds that `fail` breaks are rolled back and run again; the error is raised after MAX_ATTEMPTS.
    """
    assert round_size > 0
    names = names or Names()
    log = MemoryLog(fail)
    runner = RoundRunner(folds, log, names, limits=limits, catalogs=catalogs, observer=Listener(on_emit))
    for partition in sorted(records):
        rest = iter(records[partition])
        while run := list(islice(rest, round_size)):
            batch = Batch({partition: run})
            attempts, committed = 0, log.transactions
            while not batch.finished:
                try:
                    await runner.run(batch)
                except AbortableError:
                    attempts = attempts + 1 if log.transactions == committed else 1
                    committed = log.transactions
                    if attempts >= MAX_ATTEMPTS:
                        raise
    return log
