"""Boosts are announced when they start and finish (E9, P35, P41, P87, C37, D-26)."""

import json
from typing import Any

import pytest

from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from schemas.instants import format_instant, parse_instant
from schemas.records import LogRecord
from tests.rules.fold import HOUR, START, Fold, Json

DAY = 24
BOOST = {"id": "b", "name": "B", "start": "2025-01-05", "end": "2025-01-06", "multiplier": 1.5, "enabled": True}
OWN = {**BOOST, "userId": "u"}


def catalog(*boosts: Json, **more: Any) -> Json:
    """A catalog with one system and these boosts."""
    return {
        "metrics": ["m"],
        "userAttributes": ["p"],
        "systems": [{"key": "xp", "name": "XP", "boosts": boosts, **more}],
    }


def without(**changes: Any) -> Json:
    """The boost with other fields; None leaves one out."""
    return {name: value for name, value in {**BOOST, **changes}.items() if value is not None}


def hour(text: str) -> float:
    """Return an instant in hours after START."""
    return (parse_instant(text) - START) / HOUR


def notices(events: list[Json]) -> list[tuple[str, str, str]]:
    """Return kind, boost and instant of the notices among events."""
    found = []
    for event in events:
        kind = event.get("type", "").removeprefix("points.boost_")
        if kind in ("started", "finished"):
            data = event["data"]
            assert data["timestamp"] == event["occurredAt"]
            assert data["boost"]["status"] == {"started": "active", "finished": "finished"}[kind]
            found.append((kind, data["boost"]["id"], event["occurredAt"].removesuffix(":00.000Z")))
    return found


def identify(fold: Fold, at: float, user: str = "u", **fields: Any) -> list[Json]:
    """Send an identify call."""
    return fold.send({"type": "identify", "user": {"id": user, **fields}}, at, user)


def test_a_boost_for_everybody_starts_the_day_before_and_finishes_the_day_after() -> None:
    """P87: 10:00 UTC the day before `start`, 13:00 UTC the day after `end`; once, with everything about it."""
    fold = Fold()
    fold.publish(catalog(BOOST), 0)
    assert notices(fold.tick(hour("2025-01-04T09:59:59Z"))) == []
    (event,) = fold.tick(hour("2025-01-04T10:00:30Z"))
    assert notices([event]) == [("started", "b", "2025-01-04T10:00")]
    assert event["emittedAt"] == "2025-01-04T10:00:30.000Z"
    assert "userId" not in event and "causationId" not in event
    system = event["data"]["boost"].pop("pointsSystemId")
    assert event["data"] == {
        "type": "points.boost_started",
        "timestamp": "2025-01-04T10:00:00.000Z",
        "boost": {
            "id": "b",
            "name": "B",
            "status": "active",
            "userId": None,
            "pointsSystemKey": "xp",
            "pointsSystemName": "XP",
            "start": "2025-01-05",
            "end": "2025-01-06",
            "multiplier": 1.5,
            "rounding": "down",
        },
    }
    assert system
    assert notices(fold.tick(hour("2025-01-07T12:59:59Z"))) == []
    assert notices(fold.tick(hour("2025-01-07T13:00:00Z"))) == [("finished", "b", "2025-01-07T13:00")]
    assert notices(fold.tick(1_000)) == []


def test_the_key_is_the_points_system() -> None:
    """E3."""
    fold = Fold()
    fold.publish(catalog(BOOST, id="the-system"), 0)
    out: list[Any] = []
    at = START + 200 * HOUR
    tick = json.dumps({"type": "tick", "at": format_instant(at)}).encode()
    assert fold.partition.process(LogRecord(0, fold.partition.next_offset, at, None, tick), out, 10)
    assert [(emission.topic, emission.key, emission.type) for emission in out] == [
        ("awards", b"the-system", "points.boost_started"),
        ("awards", b"the-system", "points.boost_finished"),
    ]
    assert len({emission.id for emission in out}) == 2


def test_other_partitions_are_silent_about_boosts_for_everybody() -> None:
    """C37: partition 0 alone."""
    fold = Fold()
    fold.partition = Partition(1, FoldSettings(), fold.store)
    fold.publish(catalog(BOOST, without(id="f", userAttributes={"p": "1"})), 0)
    assert notices(fold.tick(1_000)) == []


def test_boosts_by_attributes_are_announced_like_global_ones_and_open_ended_ones_do_not_finish() -> None:
    """E9."""
    fold = Fold()
    fold.publish(catalog(without(userAttributes={"p": "1"}), without(id="open", end=None)), 0)
    assert notices(fold.tick(10_000)) == [
        ("started", "b", "2025-01-04T10:00"),
        ("started", "open", "2025-01-04T10:00"),
        ("finished", "b", "2025-01-07T13:00"),
    ]


def test_after_downtime_everything_due_comes_in_order_whatever_the_slices() -> None:
    """Several notices due at once; the limit of a slice loses and doubles none."""
    boosts = [BOOST, without(id="a", start="2025-01-01", end="2025-01-20"), without(id="c", start="2025-01-06")]
    expected = [
        ("started", "b", "2025-01-04T10:00"),
        ("started", "c", "2025-01-05T10:00"),
        ("finished", "b", "2025-01-07T13:00"),
        ("finished", "c", "2025-01-07T13:00"),
        ("finished", "a", "2025-01-21T13:00"),
    ]
    for limit in (1, 10**6):
        fold = Fold()
        version = fold.add(catalog(*boosts), 0)
        assert notices(fold.switch(version, 0, limit=limit)) == [("started", "a", "2025-01-01T00:00")]
        for user in ("u", "v", "w"):
            identify(fold, 1, user)
        assert notices(fold.tick(1_000, limit=limit)) == expected
        assert notices(fold.tick(1_001, limit=limit)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"boosts": []},
        {"boosts": [without(enabled=False)]},
        {"boosts": [without(status="archived", enabled=None)]},
        {"boosts": [BOOST], "status": "archived"},
        {"boosts": [without(start="2025-02-01", end=None)]},
        {"boosts": [without(end="2025-01-05")], "at": "2025-01-06T13:00"},
    ],
)
def test_a_running_boost_that_a_version_ends_finishes_at_the_version(change: Json) -> None:
    """E9: removed, switched off, archived with or without its system, moved away; open ends too."""
    at = change.pop("at", "2025-01-05T12:00")
    boosts = change.pop("boosts")
    for end in ("2025-01-06", None):
        fold = Fold()
        fold.publish(catalog(without(end=end)), 0)
        fold.tick(hour("2025-01-05T11:00:00Z"))
        fold.event(hour("2025-01-05T11:00:00Z"))
        moment = hour(f"{at}:00Z")
        version = fold.add(catalog(*boosts, **change), moment)
        assert notices(fold.switch(version, moment)) == [("finished", "b", at)]
        assert notices(fold.tick(hour("2025-01-20T00:00:00Z"))) == []


def test_versions_that_leave_a_boost_alone_announce_nothing() -> None:
    """Nor does what is scheduled or finished, when it changes."""
    fold = Fold()
    fold.publish(catalog(BOOST), 0)
    fold.event(0)
    fold.tick(hour("2025-01-04T11:00:00Z"))
    for day in (5, 8):
        at = hour(f"2025-01-0{day}T00:00:00Z")
        fold.tick(at)
        version = fold.add(catalog(without(name=f"B{day}")), at)
        assert notices(fold.switch(version, at)) == []
    at = hour("2025-01-09T00:00:00Z")
    assert notices(fold.switch(fold.add(catalog(), at), at)) == []


def test_a_boost_that_comes_late_starts_with_its_version_and_one_that_is_over_is_not_mentioned() -> None:
    """D-26."""
    fold = Fold()
    fold.publish(catalog(), 0)
    at = hour("2025-01-06T00:00:00Z")
    over = without(id="over", start="2025-01-02", end="2025-01-04")
    version = fold.add(catalog(BOOST, over), at)
    assert notices(fold.switch(version, at)) == [("started", "b", "2025-01-06T00:00")]
    assert notices(fold.tick(1_000)) == [("finished", "b", "2025-01-07T13:00")]


def test_a_boost_that_is_switched_off_and_on_has_notices_of_their_own() -> None:
    """Four notices, four ids; an end that moves on after it finished starts it again."""
    fold = Fold()
    found = []
    for at, boost in (
        ("2025-01-05T00:00:00Z", BOOST),
        ("2025-01-05T01:00:00Z", without(enabled=False)),
        ("2025-01-05T02:00:00Z", BOOST),
    ):
        found += fold.switch(fold.add(catalog(boost), hour(at)), hour(at))
    found += fold.tick(hour("2025-01-08T00:00:00Z"))
    at = hour("2025-01-08T01:00:00Z")
    found += fold.switch(fold.add(catalog(without(end=None)), at), at)
    assert notices(found) == [
        ("started", "b", "2025-01-05T00:00"),
        ("finished", "b", "2025-01-05T01:00"),
        ("started", "b", "2025-01-05T02:00"),
        ("finished", "b", "2025-01-07T13:00"),
        ("started", "b", "2025-01-08T01:00"),
    ]
    assert len({event["id"] for event in found}) == 5


@pytest.mark.parametrize(
    ("zone", "started", "finished"),
    [
        (None, "2025-03-30T00:00", "2025-03-31T00:00"),
        ("Europe/Berlin", "2025-03-29T23:00", "2025-03-30T22:00"),  # 23 hours
        ("America/New_York", "2025-03-30T04:00", "2025-03-31T04:00"),
        ("Africa/Cairo", "2025-03-29T22:00", "2025-03-30T22:00"),
        ("+05:45", "2025-03-29T18:15", "2025-03-30T18:15"),
    ],
)
def test_a_users_own_boost_starts_and_finishes_at_local_midnight(zone: str | None, started: str, finished: str) -> None:
    """P87, P35; in any partition, under the user's key, for that user alone."""
    fold = Fold()
    fold.partition = Partition(3, FoldSettings(), fold.store)
    fold.publish(catalog({**OWN, "start": "2025-03-30", "end": "2025-03-30"}), 0)
    for user in ("u", "other"):
        identify(fold, 0, user, **({"tz": zone} if zone else {}))
    begun, ended = hour(f"{started}:00Z"), hour(f"{finished}:00Z")
    assert notices(fold.tick(begun - 0.001)) == []
    events = fold.tick(begun)
    assert notices(events) == [("started", "b", started)]
    assert (events[0]["userId"], events[0]["data"]["boost"]["userId"]) == ("u", "u")
    assert notices(fold.tick(ended - 0.001)) == []
    assert notices(fold.tick(ended)) == [("finished", "b", finished)]
    assert notices(fold.tick(10_000)) == []


def test_the_start_of_a_users_boost_comes_before_the_award_of_that_instant() -> None:
    """Cause before effect: a time tick at local midnight is boosted."""
    hourly = {"id": "t", "type": "time", "timeUnit": "hour", "timeInterval": 1, "points": 2, "status": "active"}
    fold = Fold()
    fold.publish(catalog(OWN, triggers=[hourly]), 0)
    identify(fold, hour("2025-01-04T23:00:00Z"))
    events = fold.tick(hour("2025-01-05T00:00:00Z"))
    assert [event["type"] for event in events[:2]] == ["points.boost_started", "points.awarded"]
    assert events[1]["data"]["award"]["awarded"] == 3


def test_an_event_is_preceded_by_what_is_due() -> None:
    """F1: without a tick, the user's next record announces first."""
    fold = Fold()
    fold.publish(catalog(OWN), 0)
    identify(fold, 1)
    events = fold.event(hour("2025-01-05T03:00:00Z"))
    assert notices(events[:1]) == [("started", "b", "2025-01-05T00:00")]
    assert "causationId" not in events[0]


def test_a_user_who_comes_into_being_while_the_boost_runs_hears_of_it_then() -> None:
    """D-26: at the creation; not of one that is over, and of one that is to come at its time."""
    later = {**OWN, "id": "later", "start": "2025-02-01", "end": None}
    over = {**OWN, "id": "over", "start": "2025-01-01", "end": "2025-01-02"}
    fold = Fold()
    fold.publish(catalog(OWN, {key: value for key, value in later.items() if value}, over), 0)
    fold.tick(hour("2025-01-05T06:00:00Z"))
    assert notices(identify(fold, hour("2025-01-05T06:00:00Z"))) == [("started", "b", "2025-01-05T06:00")]
    assert notices(fold.tick(10_000)) == [
        ("finished", "b", "2025-01-07T00:00"),
        ("started", "later", "2025-02-01T00:00"),
    ]


def test_a_version_that_gives_or_takes_a_users_boost_is_heard_by_that_user_alone() -> None:
    """E9, D-26."""
    fold = Fold()
    fold.publish(catalog(), 0)
    for user in ("t", "u", "v"):
        identify(fold, 0, user)
    at = hour("2025-01-05T12:00:00Z")
    fold.tick(at)
    events = fold.switch(fold.add(catalog(OWN), at), at, limit=1)
    assert notices(events) == [("started", "b", "2025-01-05T12:00")] and events[0]["userId"] == "u"
    events = fold.switch(fold.add(catalog(), at + 1), at + 1, limit=1)
    assert notices(events) == [("finished", "b", "2025-01-05T13:00")] and events[0]["userId"] == "u"
    state = fold.partition.user(b"u")
    assert state is not None and state.boosts == {}


def test_a_late_switch_record_does_not_undo_what_ticks_have_announced() -> None:
    """A version's `at` may lie before ticks that came first (C38)."""
    fold = Fold()
    fold.publish(catalog(OWN, without(id="all")), 0)
    identify(fold, 0)
    at = hour("2025-01-04T09:00:00Z")
    version = fold.add(catalog({**OWN, "name": "N"}, without(id="all", name="N")), at)
    assert len(notices(fold.tick(hour("2025-01-05T00:00:00Z")))) == 2
    assert notices(fold.switch(version, at, sent=hour("2025-01-05T00:01:00Z"))) == []
    assert len(notices(fold.tick(1_000))) == 2


@pytest.mark.parametrize(
    ("first", "then", "moved", "expected"),
    [
        # east, over the start: at once
        (
            "America/New_York",
            "Asia/Tokyo",
            "2025-01-04T18:00",
            [("started", "2025-01-04T18:00"), ("finished", "2025-01-06T15:00")],
        ),
        # west after the start: not again
        (
            "Asia/Tokyo",
            "America/New_York",
            "2025-01-04T16:00",
            [("started", "2025-01-04T15:00"), ("finished", "2025-01-07T05:00")],
        ),
        # east, over the end: at once
        (
            "America/New_York",
            "Asia/Tokyo",
            "2025-01-07T00:00",
            [("started", "2025-01-05T05:00"), ("finished", "2025-01-07T00:00")],
        ),
        # west after the end: not again
        (
            "Asia/Tokyo",
            "America/New_York",
            "2025-01-06T16:00",
            [("started", "2025-01-04T15:00"), ("finished", "2025-01-06T15:00")],
        ),
    ],
)
def test_a_zone_change_neither_doubles_nor_loses_a_notice(
    first: str, then: str, moved: str, expected: list[tuple[str, str]]
) -> None:
    """P35: the window is local; what has been announced stays announced."""
    fold = Fold()
    fold.publish(catalog(OWN), 0)
    identify(fold, 0, tz=first)
    events = identify(fold, hour(f"{moved}:00Z"), tz=then)
    events += identify(fold, hour(f"{moved}:00Z") + 0.1, tz=first)
    events += identify(fold, hour(f"{moved}:00Z") + 0.2, tz=then)
    events += fold.tick(10_000)
    assert [(kind, at) for kind, _, at in notices(events)] == expected


def test_a_boost_that_a_zone_change_jumps_over_is_not_mentioned() -> None:
    """Its local day never came for the user."""
    fold = Fold()
    fold.publish(catalog({**OWN, "end": "2025-01-05"}), 0)
    identify(fold, 0, tz="-12:00")
    assert notices(identify(fold, hour("2025-01-05T11:00:00Z"), tz="+14:00")) == []
    assert notices(fold.tick(10_000)) == []


@pytest.mark.parametrize(
    ("start", "end"), [("0001-01-01", "9999-12-31"), ("9999-12-31", None), ("0001-01-01", "0001-01-01")]
)
def test_dates_at_the_ends_of_the_calendar_break_nothing(start: str, end: str | None) -> None:
    """Written to mean since ever, for ever."""
    dates = {"start": start, **({"end": end} if end else {})}
    plain = {key: value for key, value in BOOST.items() if key not in ("start", "end")}
    fold = Fold()
    fold.publish(catalog({**plain, **dates}, {**plain, **dates, "id": "own", "userId": "u"}), 0)
    running = start < "2025" < (end or "9")
    assert len(notices(identify(fold, 1, tz="America/New_York"))) == running
    assert notices(fold.tick(100_000)) == []


def test_the_same_log_gives_the_same_notices_after_a_restart_and_a_roll_back() -> None:
    """What was announced is part of the state."""
    fold = Fold()
    changelog: dict[bytes, bytes | None] = {}

    class Noting:
        """The partition, noting its changelog."""

        def __init__(self, partition: Partition) -> None:
            self.partition = partition

        def changes(self, next_offset: int) -> list[tuple[bytes, bytes | None]]:
            records = self.partition.changes(next_offset)
            changelog.update(records)
            return records

        def __getattr__(self, name: str) -> Any:
            return getattr(self.partition, name)

    fold.partition = Noting(fold.partition)  # type: ignore[assignment]
    fold.publish(catalog(BOOST, {**OWN, "id": "own"}), 0)
    identify(fold, 0)
    assert len(notices(fold.tick(hour("2025-01-05T00:00:00Z")))) == 2
    again = Partition(0, FoldSettings(), fold.store)
    for key, value in changelog.items():
        again.load(key, value)
    again.loaded()
    fold.partition = again
    assert notices(fold.tick(hour("2025-01-05T01:00:00Z"))) == []
    at = START + 1_000 * HOUR
    tick = json.dumps({"type": "tick", "at": format_instant(at)}).encode()
    emitted: list[list[bytes]] = []
    for _ in range(2):
        out: list[Any] = []
        assert again.process(LogRecord(0, again.next_offset, at, None, tick), out, 10)
        again.changes(again.next_offset + 1)
        again.rollback()
        emitted.append([emission.value for emission in out])
    assert emitted[0] == emitted[1] and len(emitted[0]) == 2


def test_a_tenants_boosts_are_announced_for_that_tenant() -> None:
    """C42: each with its own id."""
    fold = Fold()
    for tenant in ("", "t"):
        config = catalog(without(id="b"))
        config["systems"][0]["id"] = "same"
        record = {"tenant": tenant, "version": "1", "atMs": START, "config": config}
        fold.store.add(json.dumps(record).encode())
        fold.send({"type": "catalog", "tenant": tenant, "version": "1", "at": format_instant(START)}, 0)
    events = fold.tick(hour("2025-01-04T10:00:00Z"))
    assert [event["tenantId"] for event in events] == ["", "t"]
    assert len({event["id"] for event in events}) == 2
