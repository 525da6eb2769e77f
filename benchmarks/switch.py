"""`python -m benchmarks.switch`: what tallies cost, and a catalog switch that brings new event filters (D-25).

Synthetic users of a language app: two metrics, two event attributes (five courses, of which a user takes one to three, and
three devices), a long-tailed number of events, one in a hundred a correction downwards. They go through `Partition.process`;
their changelog is recovered into fresh partitions, each of which then carries out one kind of switch from cold state.
Times are CPU time, the least of several runs: the machine may have other things to do. `scan_us_per_event` is what the
alternative, reading the log again at a switch, would take for decoding and matching alone.
"""

import argparse
import gc
import json
import random
import statistics
import time
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET

from processors.rules.catalogs import CatalogStore
from processors.rules.decode import decode
from processors.rules.entries import TALLIES_PREFIX, USER_PREFIX
from processors.rules.filters import matches
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from schemas.catalog_file import encode_config
from schemas.emission import Emission
from schemas.instants import DAY_MS, format_instant, parse_instant
from schemas.numbers import parse_scaled
from schemas.records import LogRecord, MetricEvent

USERS: Final = 20_000
PEOPLE: Final = 10_000_000
"""For how many users the figures are extrapolated."""

ROUND_RECORDS: Final = 5_000
SLICE: Final = 5_000
UNLIMITED: Final = 10**9
START_MS: Final = parse_instant("2025-01-01T00:00:00Z")
SEED: Final = 5

COURSES: Final = ("spanish", "french", "german", "japanese", "italian")
DEVICES: Final = ("ios", "android", "web")

_encode: Final = msgspec.json.Encoder().encode


def catalog(filters: int, name: str = "XP") -> dict[str, Any]:
    """Return a catalog with a total trigger, a streak and this many event filters."""
    pairs = [{"course": course} for course in COURSES] + [{"device": device} for device in DEVICES]
    pairs += [{"course": course, "device": device} for course in COURSES for device in DEVICES]
    made = {"type": "metric", "metric": "words", "metricThreshold": 100, "points": 5, "status": "active"}
    triggers = [{**made, "id": "total"}]
    triggers += [{**made, "id": f"filter{number}", "eventAttributes": pairs[number]} for number in range(filters)]
    return {
        "metrics": ["words", "lessons"],
        "eventAttributes": ["course", "device"],
        "streak": {"metrics": [{"key": "lessons", "threshold": 1}]},
        "systems": [{"key": "xp", "name": name, "triggers": triggers}],
    }


KINDS: Final = {
    "a name changes": catalog(0, "Points"),
    "one new filter": catalog(1),
    "five new filters": catalog(5),
    "twenty new filters": catalog(20),
}


def events(users: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield timestamp, key and value of each event, in the order of time."""
    chance = random.Random(SEED)
    found = []
    for number in range(users):
        user = f"user-{number:08d}"
        courses = chance.sample(COURSES, chance.choice((1, 1, 1, 2, 2, 3)))
        for _ in range(max(1, min(2_000, round(chance.lognormvariate(3.3, 1.25))))):
            at = START_MS + chance.randrange(90 * DAY_MS)
            given = {"course": chance.choice(courses), "device": chance.choices(DEVICES, (6, 3, 1))[0]}
            value = chance.randint(1, 60) * (-1 if chance.random() < 0.01 else 1)
            metric = chance.choice(("words", "words", "lessons"))
            record = {"metric": metric, "user": user, "value": value, "attributes": given}
            found.append((at, user.encode(), _encode(record)))
    found.sort()
    yield from found


def store() -> CatalogStore:
    """Return the first version, and one version for each kind of switch."""
    catalogs = CatalogStore()
    for number, config in enumerate((catalog(0), *KINDS.values())):
        at_ms = START_MS if number == 0 else START_MS + 100 * DAY_MS + number
        record = {"tenant": "", "version": str(number), "atMs": at_ms, "config": msgspec.Raw(encode_config(config))}
        catalogs.add(_encode(record))
    return catalogs


def switch(partition: Partition, version: int, changelog: dict[bytes, bytes | None]) -> None:
    """Carry out the switch to a version in slices, as an engine would."""
    at_ms = START_MS if version == 0 else START_MS + 100 * DAY_MS + version
    value = _encode({"type": "catalog", "version": str(version), "at": format_instant(at_ms)})
    record = LogRecord(0, partition.next_offset, at_ms, None, value)
    done = False
    while not done:
        out: list[Emission] = []
        done = partition.process(record, out, SLICE)
        assert not [emission for emission in out if emission.topic == "rejected"]
        changelog.update(partition.changes(record.offset + done))
        partition.commit()


def feed(catalogs: CatalogStore, users: int) -> tuple[dict[bytes, bytes | None], list[LogRecord]]:
    """Fold all events; return the changelog and the log."""
    partition = Partition(0, FoldSettings(), catalogs)
    changelog: dict[bytes, bytes | None] = {}
    switch(partition, 0, changelog)
    log = [LogRecord(0, offset, *one) for offset, one in enumerate(events(users), 1)]
    for start in range(0, len(log), ROUND_RECORDS):
        out: list[Emission] = []
        for record in log[start : start + ROUND_RECORDS]:
            partition.process(record, out, UNLIMITED)
        changelog.update(partition.changes(log[start : start + ROUND_RECORDS][-1].offset + 1))
        partition.commit()
    assert partition.counters == {"applied": len(log)}, partition.counters
    return changelog, log


def scan(log: list[LogRecord]) -> float:
    """Decode every event and match it with a filter; return CPU seconds."""
    wanted = (("course", COURSES[0]),)
    sums: Counter[bytes | None] = Counter()
    began = time.process_time()
    for record in log:
        event = decode(record.value)
        assert isinstance(event, MetricEvent) and event.attributes is not UNSET
        if event.metric == "words" and matches(wanted, event.attributes):
            sums[record.key] += parse_scaled(bytes(event.value))
    assert sums
    return time.process_time() - began


def recover(catalogs: CatalogStore, changelog: Mapping[bytes, bytes | None]) -> Partition:
    """Return a partition as a worker has it after a start: nothing decoded."""
    partition = Partition(0, FoldSettings(), catalogs)
    for key, value in changelog.items():
        partition.load(bytes(key), None if value is None else bytes(value))
    partition.loaded()
    return partition


def sizes(changelog: Mapping[bytes, bytes | None], prefix: bytes) -> list[int]:
    """Return the sizes of the records of a kind, key included, sorted."""
    return sorted(len(key) + len(value or b"") for key, value in changelog.items() if key[:1] == prefix)


def memory(catalogs: CatalogStore, changelog: Mapping[bytes, bytes | None]) -> int:
    """Return the bytes of memory that a recovered partition takes beyond the values themselves, which it shares."""
    gc.collect()
    tracemalloc.start()
    partition = recover(catalogs, changelog)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert partition.keys()
    return taken + sum(len(value or b"") for value in changelog.values())


def measure(users: int, runs: int) -> dict[str, Any]:
    """Return everything by name; µs are the least of `runs` switches, each from a partition just recovered."""
    catalogs = store()
    changelog, log = feed(catalogs, users)
    tallies, states = sizes(changelog, TALLIES_PREFIX), sizes(changelog, USER_PREFIX)
    without = {key: value for key, value in changelog.items() if key[:1] != TALLIES_PREFIX}
    spent: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(runs):
        for version, kind in enumerate(KINDS, 1):
            partition = recover(catalogs, changelog)
            gc.collect()
            began = time.process_time()
            switch(partition, version, {})
            spent[kind].append(time.process_time() - began)
    switches = {kind: round(min(seconds) / users * 10**6, 1) for kind, seconds in spent.items()}
    with_tallies = memory(catalogs, changelog)
    return {
        "users": users,
        "events": len(log),
        "scan_us_per_event": round(min(scan(log) for _ in range(runs)) / len(log) * 10**6, 2),
        "state_bytes_mean": round(statistics.mean(states)),
        "tallies_bytes_mean": round(statistics.mean(tallies)),
        "tallies_bytes_median": tallies[len(tallies) // 2],
        "tallies_bytes_p99": tallies[len(tallies) * 99 // 100],
        "tallies_bytes_max": tallies[-1],
        "memory_bytes": round(with_tallies / users),
        "memory_bytes_of_tallies": round((with_tallies - memory(catalogs, without)) / users),
        "switch_us_per_user": switches,
    }


def extrapolated(found: Mapping[str, Any]) -> dict[str, str]:
    """Return what PEOPLE users of this kind come to."""
    switches: Mapping[str, float] = found["switch_us_per_user"]
    scan_minutes = found["scan_us_per_event"] * found["events"] / found["users"] * PEOPLE / 60e6
    return {
        "tallies on the changelog": f"{found['tallies_bytes_mean'] * PEOPLE / 10**9:.1f} GB",
        "tallies in memory": f"{found['memory_bytes_of_tallies'] * PEOPLE / 10**9:.1f} GB",
        "reading the log again, decoding and matching": f"{scan_minutes:.0f} core minutes",
        **{f"switch, {kind}": f"{micros * PEOPLE / 60e6:.1f} core minutes" for kind, micros in switches.items()},
    }


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.switch", description=__doc__)
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    found = measure(options.users, options.runs)
    print(json.dumps({**found, f"at {PEOPLE:,} users": extrapolated(found)}, indent=2))


if __name__ == "__main__":
    main()
