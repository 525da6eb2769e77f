"""Records larger than a slice: whatever fills it, they end, and do what they would do in one go."""

import json
from typing import Any

import pytest

from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from schemas.emission import Emission
from schemas.instants import format_instant
from schemas.records import LogRecord
from tests.rules.fold import HOUR, HOURLY, START, Fold

MANY = 25
LIMIT = 4

Json = dict[str, Any]


def publish(fold: Fold, config: Json, hour: float, version: str, tenant: str = "") -> LogRecord:
    """Put a version of a tenant on the catalog topic; return the record that switches to it."""
    at = START + int(hour * HOUR)
    fold.store.add(json.dumps({"tenant": tenant, "version": version, "atMs": at, "config": config}).encode())
    switch = {"type": "catalog", "tenant": tenant, "version": version, "at": format_instant(at)}
    return LogRecord(0, fold.partition.next_offset, at, None, json.dumps(switch).encode())


def in_slices(
    fold: Fold, record: LogRecord, limit: int, changelog: dict[bytes, bytes | None] | None = None
) -> list[bytes]:
    """Carry a record out in slices of a round each; with a changelog, recover from it after each. Return what came out."""
    found: list[bytes] = []
    for _ in range(10 * MANY):
        out: list[Emission] = []
        done = fold.partition.process(record, out, limit)
        changes = fold.partition.changes(record.offset + done)
        fold.partition.commit()
        found += [emission.value for emission in out]
        if changelog is not None:
            changelog.update(changes)
            fold.partition = Partition(0, FoldSettings(), fold.store)
            for key, value in changelog.items():
                fold.partition.load(key, value)
            fold.partition.loaded()
        if done:
            return found
    raise AssertionError("it does not end")


def catalog(**system: Any) -> Json:
    return {"metrics": ["m"], "systems": [{"id": "s", "key": "xp", "name": "XP", **system}]}


def test_users_of_other_tenants_that_are_due_do_not_keep_a_switch_from_ending() -> None:
    """There are more of them than a slice looks at; they stay due."""
    fold = Fold()
    hourly = catalog(triggers=[{**HOURLY, "status": "active"}])
    for tenant in ("", "t"):
        in_slices(fold, publish(fold, hourly, 0, "1", tenant), 10**6)
    for number in range(MANY):
        fold.send({"metric": "m", "user": f"u{number}", "value": 1}, 0, f"u{number}")
    fold.send({"metric": "m", "user": "u", "tenant": "t", "value": 1}, 0.5, "t\0u")
    found = in_slices(fold, publish(fold, {**hourly, "metrics": ["m", "n"]}, 5, "2", "t"), LIMIT)
    assert len(found) == 2 * 4  # the hours of the one user of this tenant: points.awarded and points.changed
    assert len(fold.tick(5)) == MANY * 5 * 2


def boosts(count: int, status: str = "active") -> list[Json]:
    return [
        {"id": f"b{n:02d}", "name": "B", "start": "2025-01-03", "end": "2025-01-05", "multiplier": 2, "status": status}
        for n in range(count)
    ]


@pytest.mark.parametrize("restarts", [False, True])
def test_notices_of_everybodys_boosts_are_sliced(restarts: bool) -> None:
    """Those of a tick, and those of a switch that drops them all while they run."""
    results: list[list[list[bytes]]] = []
    for limit in (10**6, LIMIT):
        fold, changelog = Fold(), dict[bytes, bytes | None]()
        kept = changelog if restarts else None
        in_slices(fold, publish(fold, catalog(boosts=boosts(MANY)), 0, "1"), limit, kept)
        at = START + 60 * HOUR
        tick = json.dumps({"type": "tick", "at": format_instant(at)}).encode()
        started = in_slices(fold, LogRecord(0, fold.partition.next_offset, at, None, tick), limit, kept)
        dropped = in_slices(fold, publish(fold, catalog(), 61, "2"), limit, kept)
        results.append([started, dropped])
    assert results[0] == results[1]
    assert [len(values) for values in results[0]] == [MANY, MANY]


def test_a_slice_looks_at_no_more_users_than_it_has_room_for() -> None:
    """Also when nothing comes out: the round's time is looked at between slices."""
    fold = Fold()
    in_slices(fold, publish(fold, catalog(), 0, "1"), 10**6)
    for number in range(MANY):
        fold.send({"metric": "m", "user": f"u{number}", "value": 1}, 0, f"u{number}")
    record = publish(fold, {**catalog(), "metrics": ["m", "n"]}, 1, "2")
    slices = 0
    while not fold.partition.process(record, out := [], LIMIT):
        slices += 1
        assert out == []
    assert slices == (MANY - 1) // LIMIT
