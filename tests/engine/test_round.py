"""Rounds over the in-memory log: what comes out is the same, exactly once, whatever fails and wherever rounds end."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from processors.engine.errors import AbortableError, FencedError, StuckRecordError
from processors.engine.memory import FailAt, MemoryLog, run_memory
from processors.engine.names import Names
from processors.engine.round import EMISSIONS_PER_STEP, RECORDS_PER_STEP, Batch, Change, Limits, RoundRunner, Target
from schemas.emission import Emission
from schemas.records import LogRecord
from schemas.topics import LEDGER
from tests.engine.toy import ToyFold, ToyStore

NAMES = Names()
STEPS = ["begin", "send", "flush", "offsets", "commit"]
PARTITIONS = 3


def record(partition: int, offset: int, value: bytes, key: bytes = b"u") -> LogRecord:
    return LogRecord(partition, offset, 1_700_000_000_000 + offset, key, value)


def sample(count: int = 1000) -> dict[int, list[LogRecord]]:
    """Records of three partitions: numbers, a few refused ones, and one that is larger than a round. Offsets have
    holes, as transaction markers leave them."""
    records: dict[int, list[LogRecord]] = {partition: [] for partition in range(PARTITIONS)}
    for number in range(count):
        partition = number % PARTITIONS
        value = b"BIG 57" if number % 211 == 7 else b"what" if number % 37 == 5 else b"%d" % (number % 11)
        records[partition].append(record(partition, number // PARTITIONS * 2, value, b"u%d" % (number % 17)))
    return records


def run(
    records: Mapping[int, Sequence[LogRecord]], round_size: int, limit: int, fail: FailAt | None = None
) -> tuple[list[Emission], MemoryLog, dict[int, ToyFold]]:
    folds = {partition: ToyFold(partition) for partition in records}
    seen: list[Emission] = []
    log = asyncio.run(
        run_memory(
            records,
            folds,
            round_size=round_size,
            on_emit=lambda _, emission: seen.append(emission),
            limits=Limits(effects=limit),
            fail=fail,
        )
    )
    return seen, log, folds


@pytest.fixture(scope="module")
def undisturbed() -> tuple[list[Emission], MemoryLog, dict[int, ToyFold]]:
    return run(sample(), round_size=10_000, limit=20_000)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("round_size", [1, 7, 500, 10_000])
def test_outputs_are_the_same_and_once_whatever_step_fails(
    step: str, round_size: int, undisturbed: tuple[list[Emission], MemoryLog, dict[int, ToyFold]]
) -> None:
    def fail(name: str, call: int) -> BaseException | None:
        return OSError("broken") if name == step and call % 5 == 1 else None

    seen, log, folds = run(sample(), round_size, 20, fail)
    expected, expected_log, expected_folds = undisturbed
    assert log.aborted > 0
    assert seen == expected
    for partition in range(PARTITIONS):
        target = (NAMES.output(LEDGER), partition)
        assert log.records[target] == expected_log.records[target]
        assert folds[partition].state == expected_folds[partition].state
        assert folds[partition].counters["skipped_offsets"] == 0
    assert log.offsets == expected_log.offsets


@pytest.mark.parametrize("round_size", [1, 7, 500])
def test_a_fold_recovered_from_the_changelog_equals_the_one_that_wrote_it(round_size: int) -> None:
    _, log, folds = run(sample(), round_size, 20)
    for partition, fold in folds.items():
        again = ToyFold(partition)
        log.recover(again, partition, NAMES)
        assert (again.state, again.next_offset) == (fold.state, fold.next_offset)


def test_a_record_larger_than_a_round_is_cut_into_transactions_that_do_not_pass_it() -> None:
    offsets: list[int] = []

    class Spy(MemoryLog):
        async def commit(self) -> None:
            await super().commit()
            offsets.append(self.offsets[NAMES.input, 0])

    fold = ToyFold(0)
    log = Spy()
    batch = Batch({0: [record(0, 4, b"1"), record(0, 5, b"BIG 10"), record(0, 6, b"2")]})
    asyncio.run(RoundRunner({0: fold}, log, NAMES, limits=Limits(effects=4)).run(batch))
    assert offsets == [5, 5, 7]
    assert len(log.records[NAMES.output(LEDGER), 0]) == 12


def test_a_restart_goes_on_where_the_last_slice_ended() -> None:
    log = MemoryLog()
    record_big = record(0, 0, b"BIG 10")
    slices = iter([True, False])
    first = RoundRunner({0: ToyFold(0)}, log, NAMES, limits=Limits(effects=4))
    asyncio.run(first.run(Batch({0: [record_big]}), lambda: next(slices)))
    assert log.offsets[NAMES.input, 0] == 0
    again = ToyFold(0)
    log.recover(again, 0, NAMES)
    asyncio.run(RoundRunner({0: again}, log, NAMES, limits=Limits(effects=4)).run(Batch({0: [record_big]})))
    values = [value for _, value, _ in log.records[NAMES.output(LEDGER), 0]]
    assert values == [b"%d" % index for index in range(10)]
    assert log.offsets[NAMES.input, 0] == 1


def test_time_ends_a_round_but_changes_nothing() -> None:
    ticks = iter(range(1_000_000))
    fold, log = ToyFold(0), MemoryLog()
    records = [record(0, offset, b"1") for offset in range(50)]
    runner = RoundRunner({0: fold}, log, NAMES, limits=Limits(duration_s=5.0), clock=lambda: float(next(ticks)))
    asyncio.run(runner.run(Batch({0: records})))
    assert log.transactions > 5
    assert len(log.records[NAMES.output(LEDGER), 0]) == 50


def test_go_stops_between_rounds_and_leaves_the_rest_unread() -> None:
    answers = iter([True, False])
    batch = Batch({0: [record(0, offset, b"1") for offset in range(10)]})
    runner = RoundRunner({0: ToyFold(0)}, MemoryLog(), NAMES, limits=Limits(effects=3))
    asyncio.run(runner.run(batch, lambda: next(answers)))
    assert batch.next_offsets() == {0: 3}
    assert not batch.finished


def test_offsets_are_sent_after_all_outputs_are_acknowledged() -> None:
    """Mistake (c) of faust.md section 6: the port refuses the other order, and sees this one."""
    steps: list[str] = []

    class Spy(MemoryLog):
        def _step(self, name: str) -> None:
            steps.append(name)
            super()._step(name)

    asyncio.run(RoundRunner({0: ToyFold(0)}, Spy(), NAMES).run(Batch({0: [record(0, 0, b"1")]})))
    assert steps == ["begin", "send", "flush", "offsets", "commit"]


def test_a_fence_rolls_back_and_leaves_the_transaction_alone() -> None:
    fold, log = ToyFold(0), MemoryLog(lambda step, _: FencedError(step, "gone") if step == "offsets" else None)
    with pytest.raises(FencedError):
        asyncio.run(RoundRunner({0: fold}, log, NAMES).run(Batch({0: [record(0, 0, b"1")]})))
    assert (fold.state, fold.next_offset, log.aborted) == ({}, 0, 0)


def test_an_error_of_the_fold_is_not_taken_for_one_of_the_broker() -> None:
    class Broken(ToyFold):
        def process(self, record: LogRecord, out: list[Emission], limit: int) -> bool:
            if record.offset == 2:
                raise ZeroDivisionError
            return super().process(record, out, limit)

    fold = Broken(0)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(RoundRunner({0: fold}, MemoryLog(), NAMES).run(Batch({0: [record(0, n, b"1") for n in range(3)]})))
    assert fold.state == {}


def test_a_record_that_never_ends_is_reported() -> None:
    class Endless(ToyFold):
        def process(self, record: LogRecord, out: list[Emission], limit: int) -> bool:
            return False

    runner = RoundRunner({0: Endless(0)}, MemoryLog(), NAMES, limits=Limits(empty_slices=100))
    with pytest.raises(StuckRecordError, match="offset 0 of partition 0"):
        asyncio.run(runner.run(Batch({0: [record(0, 0, b"1")]})))


@pytest.mark.parametrize("published", [True, False])
def test_a_missing_catalog_is_read_and_then_given_up(published: bool) -> None:
    store = ToyStore()
    refreshed: list[str] = []

    class Source:
        async def refresh(self) -> None:
            refreshed.append("read")
            if published:
                store.add(b"v2")

        def give_up(self, tenant: str, version: str) -> None:
            refreshed.append("gave up")
            store.give_up(tenant, version)

    runner = RoundRunner({0: ToyFold(0, store)}, MemoryLog(), NAMES, catalogs=Source())
    asyncio.run(runner.run(Batch({0: [record(0, 0, b"NEED v2")]})))
    assert refreshed == (["read"] if published else ["read", "gave up"])


def test_a_round_that_goes_on_failing_is_reported() -> None:
    with pytest.raises(AbortableError, match="flush"):
        run({0: [record(0, 0, b"1")]}, 1, 10, lambda step, _: OSError("down") if step == "flush" else None)


def test_the_changelog_of_a_round_is_in_its_transaction() -> None:
    committed: list[dict[Target, int]] = []

    class Spy(MemoryLog):
        async def commit(self) -> None:
            committed.append({target: len(records) for target, records in self._staged.items()})
            await super().commit()

    asyncio.run(RoundRunner({0: ToyFold(0)}, Spy(), NAMES).run(Batch({0: [record(0, 0, b"1")]})))
    assert committed == [{(NAMES.output(LEDGER), 0): 1, (NAMES.changelog, 0): 2}]


class Sends(MemoryLog):
    """Notes what is handed over: partition, number of emissions, whether with the changelog."""

    def __init__(self, fail: FailAt | None = None) -> None:
        super().__init__(fail)
        self.sends: list[tuple[int, int, bool]] = []

    async def send(
        self, names: Names, partition: int, emissions: Sequence[Emission], changes: Sequence[Change] | None
    ) -> None:
        self.sends.append((partition, len(emissions), changes is not None))
        await super().send(names, partition, emissions, changes)


def test_outputs_are_handed_over_while_the_round_is_folded_and_others_get_the_loop() -> None:
    log, turns, step = Sends(), 0, RECORDS_PER_STEP
    folded: list[int] = []

    class Watched(ToyFold):
        def process(self, record: LogRecord, out: list[Emission], limit: int) -> bool:
            folded.append(len(log.sends))
            return super().process(record, out, limit)

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def both() -> None:
        task = asyncio.create_task(other())
        batch = Batch({number: [record(number, offset, b"1") for offset in range(2 * step + 3)] for number in (0, 1)})
        await RoundRunner({0: Watched(0), 1: Watched(1)}, log, NAMES).run(batch)
        task.cancel()

    asyncio.run(both())
    sizes = [step, step, 3]
    assert log.sends == [(number, size, size == 3) for number in (0, 1) for size in sizes]
    assert folded == [number for number, size in enumerate(sizes * 2) for _ in range(size)]
    assert (log.transactions, turns >= 4) == (1, True)


@pytest.mark.parametrize("call", range(1, 6))
def test_a_failure_while_others_are_folded_rolls_all_touched_folds_back(call: int) -> None:
    log = Sends(lambda step, number: OSError("broken") if step == "send" and number == call else None)
    folds = {0: ToyFold(0), 1: ToyFold(1)}
    batch = Batch({number: [record(number, offset, b"1") for offset in range(300)] for number in folds})
    runner = RoundRunner(folds, log, NAMES)
    with pytest.raises(AbortableError, match="send"):
        asyncio.run(runner.run(batch))
    assert [(fold.state, fold.next_offset) for fold in folds.values()] == [({}, 0), ({}, 0)]
    assert (log.aborted, log.transactions, dict(log.records)) == (1, 0, {})
    asyncio.run(runner.run(batch))
    assert log.offsets == {(NAMES.input, 0): 300, (NAMES.input, 1): 300}
    assert len(log.records[NAMES.output(LEDGER), 1]) == 300


def test_no_catalog_is_looked_for_while_a_transaction_is_open() -> None:
    """It could run out meanwhile."""
    store, log, seen = ToyStore(), Sends(), []

    class Source:
        async def refresh(self) -> None:
            seen.append((log._open, log.transactions))
            store.add(b"v2")

        def give_up(self, tenant: str, version: str) -> None:
            raise AssertionError

    folds = {0: ToyFold(0, store), 1: ToyFold(1, store)}
    first, second = [record(0, 0, b"1")], [record(1, 0, b"1"), record(1, 1, b"NEED v2"), record(1, 2, b"3")]
    asyncio.run(RoundRunner(folds, log, NAMES, catalogs=Source()).run(Batch({0: first, 1: second})))
    assert seen == [(False, 1)]
    assert log.transactions == 2
    assert log.offsets == {(NAMES.input, 0): 1, (NAMES.input, 1): 3}


def test_bytes_end_a_round() -> None:
    log = Sends()
    records = [record(0, offset, b"1") for offset in range(1000)]
    asyncio.run(RoundRunner({0: ToyFold(0)}, log, NAMES, limits=Limits(size_bytes=10_000)).run(Batch({0: records})))
    assert log.transactions > 2
    assert log.offsets[NAMES.input, 0] == 1000


def test_others_do_not_wait_for_a_record_in_slices() -> None:
    """Records that come meanwhile join the next round, which folds them first."""
    order: list[str] = []
    arrivals = [{1: [record(1, offset, b"1")], 2: [record(2, offset, b"1")]} for offset in range(1, 4)]

    async def more(busy: set[int]) -> Mapping[int, Sequence[LogRecord]]:
        assert busy == {0}
        return arrivals.pop(0) if arrivals else {}

    class Watched(ToyFold):
        def process(self, record: LogRecord, out: list[Emission], limit: int) -> bool:
            done = super().process(record, out, limit)
            order.append(f"{record.partition}:{record.offset}" if done else "slice")
            return done

    log = MemoryLog()
    folds = {number: Watched(number) for number in range(3)}
    size = EMISSIONS_PER_STEP
    runner = RoundRunner(folds, log, NAMES, limits=Limits(effects=2 * size + 1, slices_s=0.0))
    big = [record(0, 0, b"BIG %d" % (5 * size)), record(0, 1, b"1")]
    asyncio.run(runner.run(Batch({0: big, 1: [record(1, 0, b"1")]}, more)))
    slices = (
        ("slice", "1:0", "slice"),
        ("1:1", "2:1", "slice"),
        ("1:2", "2:2", "slice"),
        ("1:3", "2:3", "0:0"),
        ("0:1",),
    )
    assert order == [step for one in slices for step in one]
    assert log.offsets == {(NAMES.input, 0): 2, (NAMES.input, 1): 4, (NAMES.input, 2): 4}
    emitted = [value for _, value, _ in log.records[NAMES.output(LEDGER), 0]]
    assert emitted[:-1] == [b"%d" % index for index in range(5 * size)]
