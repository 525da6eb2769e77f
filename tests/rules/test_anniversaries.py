"""Anniversary achievements: due instants in local time, backdating, what a mismatch in time means (A31, D-30, D-31)."""

from typing import Any

import pytest

from processors.rules.anniversaries import anniversary
from schemas.instants import format_day, parse_day
from tests.rules.story import Json, Story


def years(number: int, **more: Any) -> Json:
    """An achievement for so many years."""
    return {"id": f"y{number}", "trigger": "anniversary", "anniversaryYears": number, "status": "active", **more}


def config(*achievements: Json, **more: Any) -> Json:
    """A catalog with a metric and achievements."""
    return {"metrics": ["m"], "userAttributes": ["plan"], "achievements": list(achievements), **more}


def completed(story: Story) -> list[tuple[str, str]]:
    """Return what completed when; each has the achievement's `achievedAt` and no cause."""
    events = story.derived("achievement.completed")
    for event in events:
        assert event["data"]["achievement"]["achievedAt"] == event["occurredAt"]
    return [(event["data"]["achievement"]["id"], event["occurredAt"]) for event in events]


def backdated(story: Story) -> list[tuple[str, str]]:
    """Return what completed silently, with `achievedAt`."""
    achievements = [event["data"]["achievement"] for event in story.derived("achievement.backdated")]
    return [(achievement["id"], achievement["achievedAt"]) for achievement in achievements]


@pytest.mark.parametrize(
    ("sign_up", "number", "day"),
    [
        ("2023-06-01", 1, "2024-06-01"),
        ("2024-02-29", 1, "2025-02-28"),
        ("2024-02-29", 4, "2028-02-29"),
        ("1896-02-29", 4, "1900-02-28"),
        ("2024-02-28", 1, "2025-02-28"),
        ("0001-01-01", 1000, "1001-01-01"),
    ],
)
def test_the_day_of_an_anniversary(sign_up: str, number: int, day: str) -> None:
    found = anniversary(parse_day(sign_up), number)
    assert found is not None
    assert format_day(found) == day


def test_an_anniversary_beyond_the_calendar_never_comes() -> None:
    assert anniversary(parse_day("9100-01-01"), 1000) is None


@pytest.mark.parametrize(
    ("tz", "instant"),
    [
        (None, "2025-06-01T00:00:00.000Z"),
        ("Europe/Berlin", "2025-05-31T22:00:00.000Z"),
        ("Pacific/Kiritimati", "2025-05-31T10:00:00.000Z"),
        ("Pacific/Pago_Pago", "2025-06-01T11:00:00.000Z"),
        ("+14:00", "2025-05-31T10:00:00.000Z"),
        ("-11:00", "2025-06-01T11:00:00.000Z"),
    ],
)
def test_it_completes_as_the_local_day_begins(tz: str | None, instant: str) -> None:
    story = Story(config(years(1)))
    story.identify("2024-06-01T12:00:00Z", tz=tz, signUpDate="2024-06-01")
    story.tick("2025-05-30T00:00:00Z", "2025-06-02T00:00:00Z", "2027-01-01T00:00:00Z")
    assert completed(story) == [("y1", instant)]
    (event,) = story.derived("achievement.completed")
    assert "causationId" not in event
    assert event["emittedAt"] == "2025-06-02T00:00:00.000Z"
    assert event["data"]["achievement"]["anniversaryYears"] == 1


def test_a_midnight_that_clocks_skip() -> None:
    """Cairo went from 00:00 to 01:00 on 26 April 2024: the day begins at 22:00Z, which is 01:00 local."""
    story = Story(config(years(1)))
    story.identify("2023-05-01T12:00:00Z", tz="Africa/Cairo", signUpDate="2023-04-26")
    story.tick("2024-04-25T21:59:59Z")
    assert completed(story) == []
    story.tick("2024-04-25T22:00:00Z")
    assert completed(story) == [("y1", "2024-04-25T22:00:00.000Z")]


def test_leap_day() -> None:
    story = Story(config(years(1), years(4)))
    story.identify("2024-03-01T12:00:00Z", signUpDate="2024-02-29")
    story.tick("2030-01-01T00:00:00Z")
    assert completed(story) == [("y1", "2025-02-28T00:00:00.000Z"), ("y4", "2028-02-29T00:00:00.000Z")]


def test_a_record_of_the_user_runs_what_is_due_before_it() -> None:
    """F1: no tick is needed; the completion is no effect of the event and not in its outcome."""
    story = Story(config(years(1)))
    story.identify("2024-06-01T12:00:00Z", signUpDate="2024-06-01")
    story.event("2025-08-01T12:00:00Z")
    emitted = story.fold()
    types = [event["type"] for event in emitted if "emittedAt" in event]
    assert types.index("achievement.completed") < types.index("metric.changed")
    (outcome,) = [event["outcome"] for event in emitted if event.get("metric") == "m"]
    assert outcome["achievements"] == []


def test_without_a_sign_up_date_nobody_is_eligible() -> None:
    story = Story(config(years(1)))
    story.identify("2024-06-01T12:00:00Z")
    story.tick("2026-01-01T00:00:00Z")
    assert completed(story) == []
    assert backdated(story) == []


def test_what_is_past_when_the_date_becomes_known_is_backdated_silently() -> None:
    """E4: with the user's first record, and when the date is set later; `achievedAt` = time of the record (A17)."""
    pays = {"id": "t", "type": "achievement", "achievement": "y1", "points": 10, "status": "active"}
    catalog = config(years(1), years(5), systems=[{"key": "xp", "triggers": [pays]}])
    story = Story(catalog)
    story.identify("2024-06-01T12:00:00Z", "a", signUpDate="2022-01-01")
    story.event("2024-06-01T12:00:00Z", "b")
    story.event("2024-07-01T12:00:00Z", "b", signUpDate="2023-07-01")
    story.tick("2030-01-01T00:00:00Z")
    assert backdated(story) == [("y1", "2024-06-01T12:00:00.000Z"), ("y1", "2024-07-01T12:00:00.000Z")]
    assert completed(story) == [("y5", "2027-01-01T00:00:00.000Z"), ("y5", "2028-07-01T00:00:00.000Z")]
    assert story.derived("points.awarded") == []
    first, second = story.derived("achievement.backdated")
    assert first["causationId"] == "plaudit.events-0-1"
    assert second["causationId"] == "plaudit.events-0-3"


def test_backdating_follows_to_composites_and_no_further() -> None:
    """A26: composites that a gained completion leads to, silently."""
    both = {"id": "both", "trigger": "achievement", "achievementIds": ["y1", "y2"], "status": "active"}
    story = Story(config(years(1), years(2), both))
    story.identify("2024-06-01T12:00:00Z", signUpDate="2020-01-01")
    assert [name for name, _ in backdated(story)] == ["y1", "y2", "both"]
    assert completed(story) == []


def test_composites_and_points_follow_a_completion_in_time() -> None:
    """A13, A32: also without any event of the user; the awards are dated by the due instant."""
    top = {"id": "top", "trigger": "achievement", "achievementIds": ["y1"], "status": "active"}
    pays = [
        {"id": f"t-{name}", "type": "achievement", "achievement": name, "points": points, "status": "active"}
        for name, points in (("y1", 10), ("top", 5))
    ]
    levels = [{"key": "gold", "points": 12}]
    story = Story(config(years(1), top, systems=[{"key": "xp", "triggers": pays, "levels": levels}]))
    story.identify("2024-06-01T12:00:00Z", signUpDate="2024-06-01", tz="+02:00")
    story.tick("2026-01-01T00:00:00Z")
    due = "2025-05-31T22:00:00.000Z"
    assert completed(story) == [("y1", due), ("top", due)]
    awards = story.derived("points.awarded")
    assert [(a["data"]["award"]["awarded"], a["data"]["total"]) for a in awards] == [(10, 10), (5, 15)]
    assert {a["occurredAt"] for a in awards} == {due}
    assert awards[0]["data"]["cause"] == {"type": "time", "id": due}
    assert awards[0]["data"]["award"]["localDate"] == "2025-06-01"
    (level,) = story.derived("points.level_changed")
    assert level["data"]["newLevel"]["key"] == "gold"


def test_two_achievements_of_one_day_complete_in_the_order_of_their_ids() -> None:
    story = Story(config(years(1, id="b"), years(1, id="a"), years(2, id="0")))
    story.identify("2024-06-01T12:00:00Z", signUpDate="2024-06-01")
    story.tick("2025-06-01T00:00:00Z")
    assert [name for name, _ in completed(story)] == ["a", "b"]


def test_at_one_instant_settlement_then_anniversary_then_time_triggers() -> None:
    """D-31."""
    hourly = {"id": "t", "type": "time", "timeUnit": "hour", "timeInterval": 1, "points": 1, "status": "active"}
    streak = {"metrics": [{"key": "m", "threshold": 1}]}
    story = Story(config(years(1), streak=streak, systems=[{"key": "xp", "triggers": [hourly]}]))
    story.event("2025-05-30T23:00:00Z", signUpDate="2024-06-01")
    story.tick("2025-06-01T00:00:00Z")
    last = [e["type"] for e in story.fold() if e.get("occurredAt") == "2025-06-01T00:00:00.000Z" and "emittedAt" in e]
    assert last.index("streak.lost") < last.index("achievement.completed") < last.index("points.awarded")


def test_activation_of_a_past_anniversary_backdates_and_a_locked_one_completes_for_nobody() -> None:
    """A1, A3, A22-A24: `achievedAt` is the instant of the version; what comes later completes in time."""
    story = Story(config(years(1, status="locked"), years(2, status="inactive"), years(3)))
    story.identify("2022-06-01T12:00:00Z", signUpDate="2022-06-01")
    story.tick("2024-07-01T00:00:00Z")
    assert completed(story) == []
    story.publish(config(years(1), years(2), years(3)), "2024-08-01T00:00:00Z")
    story.tick("2026-01-01T00:00:00Z")
    assert backdated(story) == [("y1", "2024-08-01T00:00:00.000Z"), ("y2", "2024-08-01T00:00:00.000Z")]
    assert completed(story) == [("y3", "2025-06-01T00:00:00.000Z")]


def test_anniversaries_that_are_new_in_a_catalog_complete_from_then_on() -> None:
    """Before, nobody kept track of them."""
    story = Story(config())
    story.identify("2020-06-01T12:00:00Z", signUpDate="2020-06-01")
    story.tick("2023-01-01T00:00:00Z")
    story.publish(config(years(2), years(3)), "2023-01-02T00:00:00Z")
    story.tick("2024-01-01T00:00:00Z")
    assert backdated(story) == [("y2", "2023-01-02T00:00:00.000Z")]
    assert completed(story) == [("y3", "2023-06-01T00:00:00.000Z")]


def test_an_edit_to_fewer_years_backdates_and_one_to_more_takes_nothing() -> None:
    """A22, A25."""
    story = Story(config(years(3, id="y")))
    story.identify("2020-06-01T12:00:00Z", signUpDate="2020-06-01")
    story.publish(config(years(1, id="y")), "2022-01-01T00:00:00Z")
    story.publish(config(years(5, id="y")), "2022-02-01T00:00:00Z")
    story.tick("2030-01-01T00:00:00Z")
    assert backdated(story) == [("y", "2022-01-01T00:00:00.000Z")]
    assert completed(story) == []


def test_a_zone_change_moves_what_is_to_come_and_leaves_what_is_done() -> None:
    story = Story(config(years(1), years(2)))
    story.identify("2024-06-01T12:00:00Z", tz="Pacific/Kiritimati", signUpDate="2024-06-01")
    story.tick("2025-05-31T10:00:00Z")  # 1 June, 00:00 in Kiritimati
    story.identify("2025-05-31T11:00:00Z", tz="America/New_York")  # 31 May there
    story.tick("2027-01-01T00:00:00Z")
    assert completed(story) == [("y1", "2025-05-31T10:00:00.000Z"), ("y2", "2026-06-01T04:00:00.000Z")]


def test_an_anniversary_that_a_zone_change_skips_completes_at_the_change() -> None:
    """As due freezes do (S48, C13): with the append time of the record that carries the zone."""
    story = Story(config(years(1)))
    story.identify("2024-06-01T12:00:00Z", tz="-11:00", signUpDate="2024-06-01")
    story.event(
        "2025-05-31T23:00:00Z", tz="+14:00", occurred="2025-05-31T20:00:00Z"
    )  # 12:00 before, 13:00 of 1 June after
    story.tick("2026-01-01T00:00:00Z")
    assert completed(story) == [("y1", "2025-05-31T23:00:00.000Z")]


def test_a_user_created_by_a_late_record_has_its_anniversaries_with_their_own_times() -> None:
    """C1: past is what its effectiveAt is past; the rest is overdue and runs before the user's next record."""
    story = Story(config(years(1), years(2), years(3)))
    story.event("2024-12-01T12:00:00Z", occurred="2023-01-15T12:00:00Z", signUpDate="2021-06-01")
    story.event("2024-12-02T12:00:00Z")
    assert backdated(story) == [("y1", "2023-01-15T12:00:00.000Z")]
    assert completed(story) == [("y2", "2023-06-01T00:00:00.000Z"), ("y3", "2024-06-01T00:00:00.000Z")]


def test_a_sign_up_date_that_moves() -> None:
    """An earlier one makes more past, a later one postpones what is to come; completions stay (A9)."""
    story = Story(config(years(1), years(2), years(3)))
    story.identify("2024-06-01T12:00:00Z", signUpDate="2023-01-01")
    story.identify("2024-06-02T12:00:00Z", signUpDate="2022-01-01")
    story.identify("2024-06-03T12:00:00Z", signUpDate="2024-06-03")
    story.tick("2030-01-01T00:00:00Z")
    assert backdated(story) == [("y1", "2024-06-01T12:00:00.000Z"), ("y2", "2024-06-02T12:00:00.000Z")]
    assert completed(story) == [("y3", "2027-06-03T00:00:00.000Z")]


def test_a_user_filter_that_does_not_match_in_time_leaves_it_to_the_next_event() -> None:
    """A7, A8: an attribute alone completes nothing, the next metric event does, as its own effect."""
    story = Story(config(years(1, userAttributes={"plan": "pro"}), years(2)))
    story.identify("2024-06-01T12:00:00Z", signUpDate="2024-06-01", attributes={"plan": "free"})
    story.event("2025-06-10T12:00:00Z")
    story.identify("2025-06-11T12:00:00Z", attributes={"plan": "pro"})
    story.tick("2025-06-12T12:00:00Z")
    assert completed(story) == []
    story.event("2025-06-13T12:00:00Z", occurred="2025-05-01T12:00:00Z")  # before the anniversary: not by this one
    assert completed(story) == []
    story.event("2025-06-14T12:00:00Z")
    story.event("2025-06-15T12:00:00Z")
    assert completed(story) == [("y1", "2025-06-14T12:00:00.000Z")]
    (event,) = story.derived("achievement.completed")
    assert event["causationId"] == "plaudit.events-0-6"
    outcomes = [e["outcome"] for e in story.fold() if e.get("metric") == "m"]
    assert [len(outcome["achievements"]) for outcome in outcomes] == [0, 0, 1, 0]


def test_state_holds_one_number_whatever_the_years() -> None:
    story = Story(config(*(years(number) for number in range(1, 51)), years(60)), "1970-01-01T00:00:00Z")
    story.identify("1970-06-01T12:00:00Z", signUpDate="1970-06-01")
    before = len(story.records)
    story.tick(*(f"{year}-06-01T12:00:00Z" for year in range(1971, 2021)))
    assert len(story.records) == before + 50
    assert len(completed(story)) == 50
    assert story.user().state.anniversary_day == parse_day("2020-06-01")
