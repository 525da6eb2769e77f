"""Random histories to the production fold and to an oracle written from the chapters; and what must be conserved."""

from typing import Any

import pytest
from hypothesis import given

from schemas.instants import format_instant
from tests.properties import points_worlds as worlds
from tests.properties.points_conservation import check_conservation
from tests.properties.points_facts import Json
from tests.properties.points_pair import BIG, Pair

PAYS = {"id": "t", "type": "metric", "status": "active", "metric": "m1", "metricThreshold": 1, "points": 1}
EVENT = {"op": "event", "user": "ann", "profile": {}, "bare": True, "metric": "m1", "value": 1, "gap": worlds.MINUTE}

LIMITS = (BIG, 3)


class History:
    """A history in progress: turns operations into records."""

    def __init__(self, config: Json, limit: int) -> None:
        self.pair, self.config = Pair(limit), config
        self.now = self.version_at = worlds.START
        self.pair.publish(config, self.now, self.now)

    def run(self, operation: Json) -> None:
        """Carry out one operation."""
        self.now += operation.get("gap", 0)
        kind = operation["op"]
        if kind in ("commit", "redo", "restart"):
            getattr(self.pair, kind)()
        elif kind == "tick":
            self.pair.tick(self.now, self.now)
        elif kind == "edit":
            self.edit(operation)
        else:
            self.send(kind, operation)

    def edit(self, operation: Json) -> None:
        """Publish an edited catalog; its instant may lie before its place in the log."""
        for edit in operation["edits"]:
            self.config = worlds.edited(self.config, edit)
        self.version_at = max(self.now - operation.get("late", 0), self.version_at + 1)
        self.now = max(self.now, self.version_at)
        self.pair.publish(self.config, self.version_at, self.now)

    def send(self, kind: str, operation: Json) -> None:
        """Send a record of a user."""
        user: Any = {"id": operation["user"], **operation["profile"]}
        if operation["bare"] and not operation["profile"]:
            user = operation["user"]
        record: Json = {"user": user}
        if "eventId" in operation:
            record["eventId"] = operation["eventId"]
        timestamp = self.now - operation.get("behind", 0)
        if "late" in operation:
            record["occurredAt"] = format_instant(self.now - operation["late"])
        if kind == "event":
            record |= {"metric": operation["metric"], "value": operation["value"]}
            if "attributes" in operation:
                record["attributes"] = operation["attributes"]
            if "key" in operation:
                record["idempotencyKey"] = operation["key"]
        elif kind == "identify":
            record["type"] = "identify"
        else:
            keys = [one["key"] for one in self.config["achievements"] if "key" in one]
            number = operation["achievement"]
            called = keys[number % len(keys)] if keys and number < 5 else "nope"
            record |= {"type": "achievement.complete", "achievement": called}
        self.pair.send(record, timestamp)


def check(config: Json, history: list[Json], limit: int) -> None:
    """Run a history: every comparison with the oracle, and conservation."""
    run = History(config, limit)
    for operation in history:
        run.run(operation)
    check_conservation(run.pair)
    run.run({"op": "tick", "gap": 16 * worlds.MINUTE})
    run.pair.totals()
    run.pair.publish(worlds.EMPTY, run.now + 1, run.now + 1)  # ends every throttle window (D-22)
    check_conservation(run.pair, all_shown=True)


@given(config=worlds.configs(), history=worlds.everything, limit=worlds.pick(LIMITS))
def test_points(config: Json, history: list[Json], limit: int) -> None:
    """Every outcome, award, level change, throttled event and completion is what the chapters say."""
    check(config, history, limit)


@given(config=worlds.configs(), history=worlds.unlocks)
def test_completions_and_backdating(config: Json, history: list[Json]) -> None:
    """The same with many versions that edit achievements (A22-A26)."""
    check(config, history, BIG)


@given(history=worlds.counters)
def test_counters_of_new_filters(history: list[Json]) -> None:
    """The same with many versions that bring event filters: counters hold the true history (P12, P18, A6)."""
    check({**worlds.EMPTY, "systems": [{"key": "s1", "triggers": [PAYS]}]}, history, BIG)


@given(config=worlds.configs(), history=worlds.purchases)
def test_boosts(config: Json, history: list[Json]) -> None:
    """The same with events spread over the days and zones in which boosts begin and end (P34-P42)."""
    check(config, history, BIG)


def test_a_full_window() -> None:
    """A throttle window holds a hundred awards; one more ends it at once (D-01)."""
    config = {**worlds.EMPTY, "systems": [{"key": "s1", "triggers": [PAYS, {**PAYS, "id": "u", "metricThreshold": 2}]}]}
    check(config, [{**EVENT, "gap": 4_000}] * 180, BIG)


@pytest.mark.parametrize("held", [0, 1])
def test_a_system_that_goes_and_comes_back(held: int) -> None:
    """What its window holds comes out at the switch (D-22); fifteen minutes without another event all the same (P85)."""
    config = {**worlds.EMPTY, "systems": [{"key": "s1", "triggers": [PAYS]}]}
    gone, back = (
        {"op": "edit", "gap": worlds.MINUTE, "edits": [("system", 0, 0, {"status": status})]}
        for status in ("archived", "active")
    )
    check(config, [EVENT] * (1 + held) + [gone, back, EVENT], BIG)
