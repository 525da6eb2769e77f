"""What must hold when a schedule has come to rest: nothing lost, doubled, reordered or wrong, in topics and tables."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from aiokafka.structs import TopicPartition

from projections.rows import Rows
from projections.sink.batch import MAX_PARTITIONS
from projections.tables import PROJECTED_TOPICS, TABLES
from schemas.topics import REJECTED, full_name
from tests.simulation.clickhouse import VIEWS
from tests.simulation.installed import LOG
from tests.simulation.kafka.log import Record
from tests.simulation.scenario import NAMES, PARTITIONS, Output, digest

if TYPE_CHECKING:
    from tests.simulation.schedule import World

SHOWN = 5

SECOND_LINE = (
    "changelog_behind_offset",
    "committed_offset_missing",
    "records_deleted_before_projection",
    "bad_records",
)
"""Log events of a second line of defence. The first two may come when a worker slept in its recovery while others went on;
otherwise none may."""

assert MAX_PARTITIONS > PARTITIONS


def problems(world: "World") -> list[str]:
    """Return everything that is not as it must be."""
    found = [*world.crashes, *world.loop.errors]
    found += _topics(world)
    found += _states(world)
    found += _tables(world)
    skipped = sum(worker.observer.skipped for worker in world.observers)
    if skipped:
        found.append(f"skipped_offsets is {skipped}")
    for event in SECOND_LINE:
        count = LOG.counts[event] - (LOG.of_expired[event] if event in SECOND_LINE[:2] else 0)
        if count:
            found.append(f"a second line of defence had to act: {event} × {count}")
    return found


def _topics(world: "World") -> list[str]:
    expected = world.scenario.expected.outputs
    found = []
    for tp, log in world.cluster.logs.items():
        if tp.topic in (NAMES.input, NAMES.catalog, NAMES.changelog):
            continue
        wanted = expected.get((tp.topic, tp.partition), [])
        records = log.committed()
        actual: list[Output] = [(record.key, record.value, record.headers) for record in records]
        if world.scenario.by_user:
            actual.sort(key=_key)
            wanted = sorted(wanted, key=_key)
        if actual != wanted:
            found.append(f"{tp.topic}-{tp.partition}: {_difference(actual, wanted)}")
    return found


def _key(output: Output) -> bytes:
    return output[0] or b""


def _difference(actual: list[Output], wanted: list[Output]) -> str:
    have, want = Counter(actual), Counter(wanted)
    lost, more = want - have, have - want
    doubled = sum(count for output, count in more.items() if output in want)
    wrong = sum(count for output, count in more.items() if output not in want)
    if not lost and not more:
        first = next(number for number, pair in enumerate(zip(actual, wanted, strict=True)) if pair[0] != pair[1])
        return f"reordered, first at record {first}: {_named(actual[first])} for {_named(wanted[first])}"
    names = ", ".join(_named(output) for output in [*lost, *more][:SHOWN])
    return f"{sum(lost.values())} lost, {doubled} doubled, {wrong} wrong: {names}"


def _named(output: Output) -> str:
    headers = dict(output[2])
    return headers.get("id", b"").decode() or str(output[1])[:80]


def _states(world: "World") -> list[str]:
    expected, found = world.scenario.expected, []
    offsets = world.cluster.group(NAMES.group).offsets
    for partition in range(PARTITIONS):
        committed = offsets.get(TopicPartition(NAMES.input, partition))
        end = expected.offsets[partition]
        if committed is None or committed.offset != end:
            found.append(f"partition {partition}: committed offset {committed}, expected {end}")
        make_fold, store = world.scenario.folds()
        for record in world.cluster.log(TopicPartition(NAMES.catalog, 0)).committed():
            store.add(record.value or b"")
        fold = make_fold(partition)
        for record in world.cluster.log(TopicPartition(NAMES.changelog, partition)).committed():
            fold.load(record.key or b"", record.value)
        fold.loaded()
        if fold.next_offset != end:
            found.append(f"partition {partition}: the changelog stands at {fold.next_offset}, the log at {end}")
        if digest(fold) != expected.states[partition]:
            found.append(f"partition {partition}: the recovered state is not that of the fold")
    for slot in world.slots:
        if slot.worker is not None and slot.process.alive:
            for partition, live in slot.worker.app.table.folds.items():
                if live.next_offset == expected.offsets[partition] and digest(live) != expected.states[partition]:
                    found.append(f"partition {partition}: the state in {slot.process.name} is not that of the fold")
    return found


def _tables(world: "World") -> list[str]:
    rows = Rows(0, full_name(REJECTED))
    for name in PROJECTED_TOPICS:
        for partition in range(PARTITIONS):
            for record in world.cluster.log(TopicPartition(full_name(name), partition)).committed():
                _add(rows, record)
    found = []
    for table in TABLES:
        wanted = Counter(map(_hashable, rows.rows(table)))
        for target in (table.name, *VIEWS.get(table.name, ())):
            actual = Counter(map(_hashable, world.clickhouse.tables.get(target, [])))
            if actual != wanted:
                lost, more = sum((wanted - actual).values()), sum((actual - wanted).values())
                found.append(f"table {target}: {lost} rows lost, {more} too many")
    return found


def _add(rows: Rows, record: Record) -> None:
    type_name = next((value.decode() for name, value in record.headers if name == "type"), "")
    rows.add(record.topic, record.partition, record.offset, record.timestamp, type_name, record.value, record.key)


def _hashable(row: Any) -> Any:
    """A row by where its record stands, and its text: rows hold lists and maps."""
    return (*row[-4:], str(row))
