"""Time triggers: a tick costs what is due, and gives the same whenever it comes (P24-P27, P44, P45, P85, E7, L32)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.rules.effects import Effects
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from schemas.emission import Emission
from schemas.instants import DAY_MS, format_instant
from schemas.records import LogRecord
from tests.rules.fold import HOUR, START, Fold, Json, config

REFILL = {"id": "t", "type": "time", "timeUnit": "hour", "timeInterval": 1, "points": 1}
DECAY = {**REFILL, "id": "d", "points": -1}
SPEND = {"id": "s", "type": "metric", "metric": "m", "metricThreshold": 1, "points": -1}
EARN = {**SPEND, "id": "e", "points": 1}
YEARS = 20 * 365 * 24


def capped(cap: int | None, *triggers: Json, **more: Any) -> Json:
    """A catalog with a cap on the balance."""
    made = config(*triggers, **more)
    if cap is not None:
        made["systems"][0]["maxPoints"] = cap
    return made


def awarded(events: list[Json]) -> list[tuple[int, str]]:
    """Return points and instant of the awards among events."""
    return [
        (event["data"]["award"]["awarded"], event["data"]["award"]["date"])
        for event in events
        if event["type"] == "points.awarded"
    ]


def due_of(fold: Fold) -> list[float]:
    """Return when the user's triggers are due, in hours."""
    state = fold.partition.user(b"u")
    assert state is not None
    return [(trigger.due - START) / HOUR for trigger in state.time_triggers.values()]


class Counting:
    """Counts the users for whom effects are made: those that a record looks at."""

    def __init__(self) -> None:
        self.users: list[str] = []

    def __call__(self, out: list[Emission], user: Any, environment: str, cause: str | None, at: int) -> Effects:
        self.users.append(user.state.id)
        return Effects(out, user, environment, cause, at)


def test_a_tick_touches_no_user_for_whom_nothing_is_due() -> None:
    """Full refills, filters that fail, empty balances, idle streaks, quiet windows: none of a hundred users is looked at."""
    counting = Counting()
    fold = Fold()
    fold.partition = Partition(0, FoldSettings(), fold.store, counting)
    nobody = {**REFILL, "id": "n", "userAttributes": {"p": "none"}}
    streak = {"metrics": [{"key": "m", "threshold": 1}], "freezes": {"startCount": 1, "maxCount": 1}}
    full = capped(2, {**REFILL, "timeInterval": 2}, nobody, EARN, streak={**streak})
    full["systems"].append({"key": "empty", "triggers": [{**DECAY, "status": "active"}]})
    fold.publish(full, 0)
    users = [f"u{number}" for number in range(100)]
    for user in users:
        fold.event(0.5, user, value=1)
    fold.tick(24 * 75)  # refills are full, streaks of all frequencies are lost
    counting.users.clear()
    value = f'{{"type":"tick","at":"{format_instant(START + YEARS * HOUR)}"}}'.encode()
    record = LogRecord(0, fold.partition.next_offset, START + YEARS * HOUR, None, value)
    out: list[Emission] = []
    assert fold.partition.process(record, out, 10**6)
    assert (counting.users, out) == ([], [])
    assert len(fold.partition.changes(record.offset + 1)) == 1  # the marker
    fold.partition.commit()
    fold.event(YEARS + 1, "u7", value=-1)  # nothing is spent: a fall pays nothing
    counting.users.clear()
    fold.tick(YEARS + 40)
    assert counting.users == []


def test_of_many_users_a_tick_looks_at_those_who_are_due() -> None:
    """One user of a hundred has spent: the refill is that user's."""
    counting = Counting()
    fold = Fold()
    fold.partition = Partition(0, FoldSettings(), fold.store, counting)
    fold.publish(capped(1, REFILL, SPEND), 0)
    for number in range(100):
        fold.event(0.5, f"u{number}", value=0)
    fold.tick(10)
    fold.event(10.2, "u42", value=1)
    counting.users.clear()
    assert awarded(fold.tick(10.4)) == [] and counting.users == []
    assert awarded(fold.tick(10.6)) == [(1, "2025-01-01T10:30:00.000Z")]
    assert counting.users == ["u42"]


def test_a_full_refill_starts_again_at_its_next_tick() -> None:
    """P26: a tick that comes to nothing is skipped, not saved up; the rhythm stays (P25)."""
    fold = Fold()
    fold.publish(capped(2, REFILL, SPEND), 0)
    fold.event(0.25, value=0)
    assert len(awarded(fold.tick(2.5))) == 2
    assert awarded(fold.tick(100)) == []
    assert due_of(fold) == [3.25]  # nobody has looked at it since it was full
    assert awarded(fold.event(200.5, value=2))[-1][0] == -2
    assert due_of(fold) == [201.25]
    assert awarded(fold.tick(300)) == [(1, "2025-01-09T09:15:00.000Z"), (1, "2025-01-09T10:15:00.000Z")]


def test_a_filter_that_begins_to_match_pays_from_the_next_tick_on() -> None:
    """P26."""
    fold = Fold()
    fold.publish(config({**REFILL, "userAttributes": {"p": "1"}}), 0)
    fold.event(0)
    fold.tick(50)
    fold.send({"type": "identify", "user": {"id": "u", "attributes": {"p": "1"}}}, 99.5, "u")
    assert fold.balance() == 0
    assert len(awarded(fold.tick(102))) == 3


@pytest.mark.parametrize("late", [0.0, 1.5])
def test_a_version_that_wakes_a_trigger_pays_nothing_for_the_past(late: float) -> None:
    """P8: a cap raised, a filter dropped; also if ticks came before the switch record (C38)."""
    for before, after in (
        (capped(2, REFILL), capped(9, REFILL)),
        (config({**REFILL, "userAttributes": {"p": "1"}}), config(REFILL)),
    ):
        fold = Fold()
        fold.publish(before, 0)
        fold.event(0)
        fold.tick(40)
        held = fold.balance()
        version = fold.add(after, 50.5)
        if late:
            fold.tick(50.5 + late)
        fold.switch(version, 50.5, sent=50.5 + late)
        assert fold.balance() == held
        fold.tick(50.5 + late + 1)
        assert fold.balance() == held + 1


def test_decay_takes_what_an_anniversary_gave_from_then_on() -> None:
    """A trigger sleeps at an empty balance; what time alone pays in between wakes it at that moment, in one go too."""
    achievement = {"id": "g", "name": "G", "trigger": "anniversary", "anniversaryYears": 1, "status": "active"}
    gift = {"id": "gift", "type": "achievement", "achievement": "g", "points": 5}
    results = []
    for ticks in ([8_900.0], [float(hour) for hour in range(1, 8_901, 7)] + [8_900.0]):
        fold = Fold()
        fold.publish(config({**DECAY, "timeInterval": 50}, gift, achievements=[achievement]), 0)
        fold.send({"type": "identify", "user": {"id": "u", "signUpDate": "2025-01-01"}}, 0.5, "u")
        events = [event for hour in ticks for event in fold.tick(hour)]
        results.append(awarded(events))
    assert results[0] == results[1]
    assert [points for points, _ in results[0]] == [5, -1, -1]


def test_triggers_of_both_directions_are_not_left_asleep() -> None:
    """A full refill next to a decay goes on: each decay makes room for the next refill."""
    fold = Fold()
    fold.publish(capped(1, REFILL, {**DECAY, "timeInterval": 3}), 0)
    fold.event(0)
    assert [points for points, _ in awarded(fold.tick(7))] == [1, -1, 1, -1, 1]


operations = st.lists(
    st.one_of(
        st.tuples(st.just("event"), st.integers(-2, 4)),
        st.tuples(st.just("attribute"), st.sampled_from(("1", "2"))),
        st.tuples(st.just("version"), st.integers(0, 3)),
        st.tuples(st.just("late user"), st.integers(0, 40)),
    ),
    max_size=8,
)
VERSIONS = (
    capped(3, {**REFILL, "timeInterval": 2}, SPEND),
    capped(5, {**REFILL, "timeInterval": 2, "userAttributes": {"p": "1"}}, DECAY, EARN),
    capped(None, {**DECAY, "userAttributes": {"p": "2"}}, EARN, {**EARN, "id": "e2"}),
    capped(4, REFILL, {**REFILL, "id": "t3", "timeInterval": 3, "points": 2}, SPEND),
)


@given(operations, st.integers(1, 30), st.integers(1, 50))
def test_what_time_does_is_the_same_whenever_ticks_come(steps: list[Any], between: int, cadence: int) -> None:
    """Awards, throttled changes and level of a user depend on the log's records, not on when a tick looks (P26, E7)."""
    found = []
    for every in (cadence / 4, 10**6):
        fold, events = Fold(), []
        fold.publish(VERSIONS[0], 0)
        events += fold.event(0.1, eventId="first")
        now, ticked = 0.1, 0.0
        for number, (kind, value) in enumerate(steps):
            then = now + between * 0.7
            while ticked + every < then:
                ticked += every
                events += fold.tick(ticked)
            now = then
            if kind == "event":
                events += fold.event(now, value=value, eventId=f"e{number}")
            elif kind == "attribute":
                given_user = {"id": "u", "attributes": {"p": value}}
                events += fold.send({"type": "identify", "user": given_user, "eventId": f"e{number}"}, now, "u")
            elif kind == "version":
                events += fold.switch(fold.add(VERSIONS[value], now), now)
            else:
                occurred = format_instant(START + int((now - value) * HOUR))
                occurred = max(occurred, format_instant(START))
                events += fold.event(now, f"late{value}", occurredAt=occurred, eventId=f"e{number}")
        events += fold.tick(now + 20)
        by_user: dict[str, list[Any]] = {}
        for event in events:
            if event.get("type", "").startswith("points."):
                by_user.setdefault(event["userId"], []).append([event["id"], event["occurredAt"], event["data"]])
        found.append(by_user)
    assert found[0] == found[1]


# throttling


def changes(events: list[Json]) -> list[tuple[int, int, int, str]]:
    """Return sum, number of awards, total and instant of each `points.changed`."""
    return [
        (points["added"], len(points["awards"]), points["total"], event["occurredAt"].removesuffix(":00.000Z"))
        for event in events
        if event["type"] == "points.changed"
        for points in (event["data"]["points"],)
    ]


def test_points_changed_comes_at_once_then_once_a_window() -> None:
    """L32: the first at once, what follows at the end of the window, nothing if nothing followed."""
    fold = Fold()
    fold.publish(config(EARN), 0)
    minute = 1 / 60
    assert changes(fold.event(1, value=1)) == [(1, 1, 1, "2025-01-01T01:00")]
    assert changes(fold.event(1 + 5 * minute, value=2)) == []
    assert changes(fold.event(1 + 14 * minute, value=3)) == []
    assert changes(fold.tick(1 + 14.9 * minute)) == []
    assert changes(fold.tick(1 + 20 * minute)) == [(5, 2, 6, "2025-01-01T01:15")]
    assert changes(fold.event(1 + 21 * minute, value=1)) == []  # the window that opened at 01:15
    assert changes(fold.tick(1 + 40 * minute)) == [(1, 1, 7, "2025-01-01T01:30")]
    assert changes(fold.tick(2)) == []  # idle
    assert changes(fold.event(2, value=1)) == [(1, 1, 8, "2025-01-01T02:00")]


def test_a_change_at_the_end_of_a_window_belongs_to_the_next() -> None:
    """C23: the window closes first."""
    fold = Fold()
    fold.publish(config(EARN), 0)
    fold.event(1, value=1)
    fold.event(1.1, value=1)
    assert changes(fold.event(1.25, value=1)) == [(1, 1, 2, "2025-01-01T01:15")]
    assert changes(fold.tick(1.5)) == [(1, 1, 3, "2025-01-01T01:30")]


def test_windows_are_the_users_and_the_systems_own() -> None:
    """P85: per user and system."""
    both = config(EARN)
    both["systems"].append({"key": "gems", "triggers": [{**EARN, "status": "active", "metricThreshold": 3}]})
    fold = Fold()
    fold.publish(both, 0)
    assert len(changes(fold.event(1, value=1))) == 1
    assert len(changes(fold.event(1, "other", value=1))) == 1
    assert [c[0] for c in changes(fold.event(1.1, value=2))] == [1]  # gems; xp is held back
    assert [c[0] for c in changes(fold.tick(1.3))] == [2]


def test_a_held_back_change_shows_the_level_since_the_last_event() -> None:
    """E7: `level` is there if it differs from that of the last event; level changes themselves are not held back (P85)."""
    made = config(EARN)
    made["systems"][0]["levels"] = [{"key": "one", "points": 2}]
    fold = Fold()
    fold.publish(made, 0)
    fold.event(1, value=1)
    assert [e["type"] for e in fold.event(1.1, value=1) if e.get("type", "").startswith("points.")] == [
        "points.awarded",
        "points.level_changed",
    ]
    (event,) = [e for e in fold.tick(1.3) if e["type"] == "points.changed"]
    assert event["data"]["points"]["level"]["key"] == "one"
    (event,) = [e for e in fold.event(2, value=1) if e.get("type") == "points.changed"]
    assert "level" not in event["data"]["points"]


def test_windows_of_ticks_run_on_their_own_instants() -> None:
    """After downtime the windows are those that timely ticks would have given (P26)."""
    fold = Fold()
    fold.publish(config({**REFILL, "timeInterval": 1}, {**REFILL, "id": "t2"}), 0)
    fold.event(0)
    assert changes(fold.tick(DAY_MS / HOUR))[:4] == [
        (1, 1, 1, "2025-01-01T01:00"),
        (1, 1, 2, "2025-01-01T01:15"),
        (1, 1, 3, "2025-01-01T02:00"),
        (1, 1, 4, "2025-01-01T02:15"),
    ]
