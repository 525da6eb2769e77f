"""Messages due: what comes when in the user's zone, to whom, and what is never sent twice or late (E12-E17, D-32 to D-39)."""

from typing import Any

import pytest

from processors.rules.messages import MAX_WAITING
from processors.rules.user import in_control_group
from tests.rules.story import Json, Story

ALL = {"recap": "weekly", "reactivation": True, "streakReminder": True, "achievement": True}
KINDS = tuple(f"emails.{name}_due" for name in ("recap", "reactivation", "streak_reminder", "achievement"))
CLOCK = "2024-01-01T00:00:00Z"
FIRST = {"id": "first", "trigger": "metric", "metric": "m", "metricValue": 1, "status": "active"}
SECOND = {"id": "second", "trigger": "metric", "metric": "m", "metricValue": 2, "status": "active"}


def config(messages: Json | None = None, **more: Any) -> Json:
    """A catalog with a metric, a daily streak and messages."""
    streak = {"metrics": [{"key": "m", "threshold": 1}], **more.pop("streak", {})}
    return {"metrics": ["m"], "streak": streak, **({} if messages is None else {"messages": messages}), **more}


def live(messages: Json, **more: Any) -> Story:
    """A log on which the clock runs already."""
    story = Story(config(messages, **more))
    story.tick(CLOCK)
    return story


def hours(story: Story, first: str, last: str) -> None:
    """Append a tick every hour between two instants of one month, both included."""
    month, begin, end = first[:8], int(first[8:10]), int(last[8:10])
    for day in range(begin, end + 1):
        for hour in range(24):
            at = f"{month}{day:02d}T{hour:02d}:00:00Z"
            if first <= at <= last:
                story.tick(at)


def messages(story: Story, kind: str | None = None) -> list[Json]:
    """Return the messages due; each has its due instant as its time, in `data` too, and no cause."""
    found = story.derived(*(KINDS if kind is None else (f"emails.{kind}_due",)))
    for event in found:
        assert event["data"]["timestamp"] == event["occurredAt"]
        assert event["data"]["type"] == event["type"]
        assert "causationId" not in event
    assert len({event["id"] for event in found}) == len(found)
    return found


def times(story: Story, kind: str | None = None) -> list[str]:
    """Return when messages were due, to the minute."""
    return [event["occurredAt"][:16] for event in messages(story, kind)]


# recap


@pytest.mark.parametrize(
    ("tz", "due"),
    [
        ("Europe/Berlin", "2024-06-09T07:00"),
        ("UTC", "2024-06-09T09:00"),
        (None, "2024-06-09T13:00"),  # America/New_York
        ("+14:00", "2024-06-08T19:00"),
        ("-11:00", "2024-06-09T20:00"),
    ],
)
def test_a_recap_is_due_in_the_morning_after_the_week(tz: str | None, due: str) -> None:
    """E13, E14: Sunday 2 to Saturday 8 June 2024."""
    story = live({"recap": "weekly"})
    story.event("2024-06-05T12:00:00Z", tz=tz)
    hours(story, "2024-06-08T12:00:00Z", "2024-06-10T12:00:00Z")
    story.tick("2024-07-20T00:00:00Z")
    (event,) = messages(story)
    assert event["occurredAt"][:16] == due
    assert event["data"]["recap"] == {"periodStart": "2024-06-02", "periodEnd": "2024-06-08"}
    assert event["data"]["user"]["id"] == "u"


def test_weeks_begin_with_week_start_and_months_with_their_first() -> None:
    """S3, S4."""
    week = live({"recap": "weekly"}, streak={"weekStart": "monday"})
    month = live({"recap": "monthly"})
    for story in (week, month):
        story.event("2024-02-29T12:00:00Z", tz="UTC")
        story.tick("2024-03-01T09:00:00Z", "2024-03-03T09:00:00Z", "2024-03-04T09:00:00Z")
    assert times(week) == ["2024-03-04T09:00"]
    assert times(month) == ["2024-03-01T09:00"]
    assert messages(month)[0]["data"]["recap"] == {"periodStart": "2024-02-01", "periodEnd": "2024-02-29"}


def test_no_event_in_the_period_no_recap() -> None:
    story = live({"recap": "weekly"})
    story.event("2024-06-05T12:00:00Z", tz="UTC")
    hours(story, "2024-06-09T00:00:00Z", "2024-06-12T11:00:00Z")
    story.identify("2024-06-12T12:00:00Z", name="N")
    hours(story, "2024-06-16T00:00:00Z", "2024-06-16T23:00:00Z")
    story.event("2024-06-23T07:00:00Z")  # before the hour of a recap that nobody waits for
    hours(story, "2024-06-23T08:00:00Z", "2024-06-30T23:00:00Z")
    assert times(story) == ["2024-06-09T09:00", "2024-06-30T09:00"]


def test_events_of_two_weeks_before_the_hour_of_the_first_recap() -> None:
    story = live({"recap": "weekly"})
    story.event("2024-06-05T12:00:00Z", tz="UTC")
    story.event("2024-06-09T08:00:00Z")
    story.tick("2024-06-09T09:00:00Z", "2024-06-16T09:00:00Z")
    assert times(story) == ["2024-06-09T09:00", "2024-06-16T09:00"]


def test_a_late_event_counts_for_a_recap_until_its_hour() -> None:
    story = live({"recap": "weekly"})
    story.event("2024-06-02T12:00:00Z", "a", tz="UTC")
    story.event("2024-06-02T12:00:00Z", "b", tz="UTC")
    story.tick("2024-06-10T00:00:00Z")
    story.event("2024-06-16T08:00:00Z", "a", occurred="2024-06-12T08:00:00Z")
    story.tick("2024-06-16T09:00:00Z")
    story.event("2024-06-16T10:00:00Z", "b", occurred="2024-06-12T08:00:00Z")
    story.tick("2024-06-17T00:00:00Z")
    assert [(e["userId"], e["occurredAt"][:10]) for e in messages(story)] == [
        ("a", "2024-06-09"),
        ("b", "2024-06-09"),
        ("a", "2024-06-16"),
    ]


def test_a_morning_that_the_zone_skips() -> None:
    """Apia had no 30 December 2011, a Friday: the first instant after it is due."""
    story = Story(config({"recap": "weekly"}, streak={"weekStart": "friday"}), "2011-01-01T00:00:00Z")
    story.tick("2011-12-01T00:00:00Z")
    story.event("2011-12-28T12:00:00Z", tz="Pacific/Apia")
    story.tick("2011-12-30T09:59:59Z")
    assert times(story) == []
    story.tick("2011-12-30T10:00:00Z")
    assert times(story) == ["2011-12-30T10:00"]


def test_a_zone_change_moves_a_recap_and_repeats_none() -> None:
    story = live({"recap": "weekly"})
    story.event("2024-06-05T12:00:00Z", "west", tz="Europe/Berlin")
    story.event("2024-06-05T12:00:00Z", "east", tz="America/New_York")
    story.tick("2024-06-09T08:00:00Z")  # 10:00 in Berlin: sent; 04:00 in New York
    story.event("2024-06-09T08:30:00Z", "west", occurred="2024-06-08T20:00:00Z", tz="America/New_York")  # again the 8th
    story.event("2024-06-09T08:30:00Z", "east", tz="Asia/Tokyo")  # 17:30 there: its hour came at 00:00Z
    hours(story, "2024-06-09T09:00:00Z", "2024-06-10T00:00:00Z")
    assert [(e["userId"], e["occurredAt"][:16]) for e in messages(story)] == [
        ("west", "2024-06-09T07:00"),
        ("east", "2024-06-09T00:00"),
    ]


def test_a_midnight_that_comes_twice_between_two_weeks() -> None:
    """Havana set clocks back at 01:00 on Sunday 3 November 2024: once begun, the new week goes on."""
    story = live({"recap": "weekly", "reactivation": True})
    story.event("2024-11-03T04:30:00Z", "before", tz="America/Havana")  # 00:30 of the 3rd
    story.event("2024-11-03T05:30:00Z", "before")  # 00:30 again
    story.event("2024-11-03T05:30:00Z", "again", tz="America/Havana")
    story.tick("2024-11-03T15:00:00Z", "2024-11-10T15:00:00Z")
    assert [(e["userId"], e["occurredAt"][:16]) for e in messages(story, "recap")] == [
        ("again", "2024-11-10T14:00"),
        ("before", "2024-11-10T14:00"),
    ]


def test_another_aggregation_begins_anew() -> None:
    story = live({"recap": "weekly"})
    story.event("2024-06-05T12:00:00Z", tz="UTC")
    story.publish(config({"recap": "monthly"}), "2024-06-06T00:00:00Z")
    story.tick("2024-06-09T09:00:00Z", "2024-07-01T09:00:00Z")
    assert [e["data"]["recap"]["periodStart"] for e in messages(story)] == ["2024-06-01"]


# reactivation


def test_reactivation_after_3_5_7_14_and_30_days() -> None:
    """E15: at 10:00 local; the days are local dates after the last event."""
    story = live({"reactivation": True})
    story.event("2024-05-31T23:30:00Z", tz="Europe/Berlin")  # 1 June, 01:30
    hours(story, "2024-06-01T00:00:00Z", "2024-06-30T23:00:00Z")
    story.tick("2024-07-01T08:00:00Z", "2024-12-01T00:00:00Z")
    found = messages(story)
    assert [(e["occurredAt"][:16], *e["data"]["reactivation"].values()) for e in found] == [
        ("2024-06-04T08:00", 1, 3),
        ("2024-06-06T08:00", 2, 5),
        ("2024-06-08T08:00", 3, 7),
        ("2024-06-15T08:00", 4, 14),
        ("2024-07-01T08:00", 5, 30),
    ]
    assert list(found[0]["data"]["reactivation"]) == ["messageNumber", "daysSinceLastActive"]


@pytest.mark.parametrize(
    ("tz", "due"),
    [(None, "2024-11-05T15:00"), ("+14:00", "2024-11-04T20:00"), ("-11:00", "2024-11-04T21:00")],
)
def test_reactivation_is_local(tz: str | None, due: str) -> None:
    """E13: without zone in New York, which left daylight time on 3 November."""
    story = live({"reactivation": True})
    story.event("2024-11-02T05:00:00Z", tz=tz)  # 1:00 in New York, 19:00 at +14:00, 18:00 of the 1st at -11:00
    story.tick("2024-11-04T19:59:59Z", "2024-11-05T15:00:00Z")
    assert times(story) == [due]


def test_any_event_restarts_the_sequence_and_other_records_do_not() -> None:
    story = live({"reactivation": True})
    story.event("2024-06-01T12:00:00Z", tz="UTC")
    story.tick("2024-06-04T10:00:00Z")
    story.event("2024-06-05T12:00:00Z", value=-5)
    story.identify("2024-06-07T12:00:00Z", name="N")
    hours(story, "2024-06-07T13:00:00Z", "2024-06-10T12:00:00Z")
    numbers = [(e["occurredAt"][:10], e["data"]["reactivation"]["messageNumber"]) for e in messages(story)]
    assert numbers == [("2024-06-04", 1), ("2024-06-08", 1), ("2024-06-10", 2)]


def test_a_refused_or_repeated_event_restarts_nothing() -> None:
    story = live({"reactivation": True})
    story.event("2024-06-01T12:00:00Z", tz="UTC")
    story.append({"metric": "nope", "user": "u", "value": 1}, "2024-06-03T12:00:00Z", "u")
    story.tick("2024-06-04T10:00:00Z")
    assert times(story) == ["2024-06-04T10:00"]


def test_a_late_event_restarts_from_its_own_time_and_what_is_past_is_passed_over() -> None:
    story = live({"reactivation": True})
    story.event("2024-06-01T12:00:00Z", tz="UTC")
    story.tick("2024-06-04T10:00:00Z")
    story.event("2024-06-05T12:00:00Z", occurred="2024-05-01T12:00:00Z")  # older than the latest: nothing
    story.event("2024-06-05T13:00:00Z", occurred="2024-06-02T12:00:00Z")  # 3 days after it have passed already
    hours(story, "2024-06-05T14:00:00Z", "2024-06-09T23:00:00Z")
    numbers = [(e["occurredAt"][:10], e["data"]["reactivation"]["messageNumber"]) for e in messages(story)]
    assert numbers == [("2024-06-04", 1), ("2024-06-07", 2), ("2024-06-09", 3)]


def test_a_user_who_was_never_active_gets_none() -> None:
    story = live({"reactivation": True})
    story.identify("2024-06-01T12:00:00Z", tz="UTC")
    story.tick("2024-06-04T10:00:00Z", "2024-06-06T10:00:00Z")
    assert times(story) == []


def test_a_zone_change_moves_reactivation() -> None:
    story = live({"reactivation": True})
    story.event("2024-06-01T12:00:00Z", tz="+14:00")  # 2 June there
    story.identify("2024-06-02T12:00:00Z", tz="-11:00")  # and 1 June here
    hours(story, "2024-06-03T00:00:00Z", "2024-06-06T00:00:00Z")
    assert times(story) == ["2024-06-04T21:00"]


# streak reminder


@pytest.mark.parametrize(
    ("tz", "due"),
    [
        ("UTC", "2024-11-03T20:00"),
        ("+14:00", "2024-11-04T06:00"),  # the event was on the 3rd there
        ("-11:00", "2024-11-04T07:00"),
        ("America/New_York", "2024-11-04T01:00"),  # a day of 25 hours ends at 05:00Z
        ("Europe/Berlin", "2024-11-03T19:00"),
    ],
)
def test_a_daily_reminder_comes_four_hours_before_the_day_ends(tz: str, due: str) -> None:
    story = live({"streakReminder": True})
    story.event("2024-11-02T12:00:00Z", tz=tz)
    hours(story, "2024-11-02T13:00:00Z", "2024-11-04T23:00:00Z")
    (event,) = messages(story)
    assert event["occurredAt"][:16] == due


def test_a_daily_reminder_on_a_day_of_23_hours() -> None:
    """London, 30 March 2025: it ends at 23:00Z."""
    story = live({"streakReminder": True})
    story.event("2025-03-29T12:00:00Z", tz="Europe/London")
    hours(story, "2025-03-29T13:00:00Z", "2025-03-30T23:00:00Z")
    assert times(story) == ["2025-03-30T19:00"]


@pytest.mark.parametrize(
    ("event", "due"), [("2024-01-10T12:00:00Z", "2024-01-11T01:00"), ("2024-07-10T12:00:00Z", "2024-07-11T00:00")]
)
def test_without_a_zone_the_reminder_is_scheduled_in_new_york_and_the_streak_in_utc(event: str, due: str) -> None:
    """E13, S5: at 20:00 in New York the day of UTC that has just begun is unmet."""
    story = live({"streakReminder": True})
    story.event(event)
    hours(story, f"{event[:10]}T13:00:00Z", f"{due[:10]}T23:00:00Z")
    (found,) = messages(story)
    assert found["occurredAt"][:16] == due
    assert found["data"]["streak"]["periodStart"] == due[:10]


def test_no_reminder_for_a_met_period_or_without_a_streak() -> None:
    story = live({"streakReminder": True})
    story.event("2024-06-01T12:00:00Z", "met", tz="UTC")
    story.event("2024-06-02T12:00:00Z", "met")
    story.event("2024-06-01T12:00:00Z", "none", tz="UTC", value=0)
    hours(story, "2024-06-02T13:00:00Z", "2024-06-02T23:00:00Z")
    assert times(story) == []


def test_no_reminder_where_a_pause_or_a_day_off_protects_or_streaks_are_off() -> None:
    """E16, S76; 2 June 2024 is a Sunday. A freeze does not protect (S31)."""
    story = live(
        {"streakReminder": True},
        streak={"customizationEnabled": True, "freezes": {"startCount": 1, "maxCount": 1}},
    )
    for user in ("paused", "off", "disabled", "frozen"):
        story.event("2024-06-01T12:00:00Z", user, tz="UTC")
    story.request("streak.pause", "2024-06-01T13:00:00Z", "paused", id="p", start="2024-06-02", end="2024-06-02")
    story.request("preferences", "2024-06-01T13:00:00Z", "off", streak={"daysOff": [0]})
    story.request("preferences", "2024-06-01T13:00:00Z", "disabled", streak={"enabled": False})
    hours(story, "2024-06-01T14:00:00Z", "2024-06-03T21:00:00Z")
    assert [(e["userId"], e["occurredAt"][8:10]) for e in messages(story)] == [
        ("frozen", "02"),
        ("frozen", "03"),
        ("off", "03"),
        ("paused", "03"),
    ]


@pytest.mark.parametrize(
    ("frequency", "event", "due"),
    [("weekly", "2024-06-05T12:00:00Z", "2024-06-14T07:00"), ("monthly", "2024-05-05T12:00:00Z", "2024-06-25T07:00")],
)
def test_weekly_on_friday_and_monthly_on_the_25th(frequency: str, event: str, due: str) -> None:
    story = live({"streakReminder": True}, streak={"frequency": frequency})
    story.event(event, tz="Europe/Berlin")
    hours(story, "2024-06-05T13:00:00Z", "2024-06-29T23:00:00Z")
    assert times(story) == [due]


def test_a_reminder_must_have_been_due_at_its_hour() -> None:
    """D-38: what a restore makes unmet in the evening was not so at 20:00; the next day it is."""
    story = live({"streakReminder": True})
    story.event("2024-06-01T12:00:00Z", tz="UTC")
    story.tick("2024-06-02T20:00:00Z", "2024-06-03T12:00:00Z")
    story.request("streak.restore", "2024-06-03T21:00:00Z")
    story.tick("2024-06-03T22:00:00Z")
    story.event("2024-06-03T22:30:00Z")
    hours(story, "2024-06-03T23:00:00Z", "2024-06-04T23:00:00Z")
    assert times(story) == ["2024-06-02T20:00", "2024-06-04T20:00"]


def test_a_westward_move_reminds_once_of_one_day() -> None:
    """S62: the open day goes on."""
    story = live({"streakReminder": True})
    story.event("2024-06-01T12:00:00Z", tz="Asia/Tokyo")
    story.tick("2024-06-02T11:00:00Z")  # 20:00 in Tokyo
    story.identify("2024-06-02T12:00:00Z", tz="America/New_York")
    hours(story, "2024-06-02T13:00:00Z", "2024-06-03T03:00:00Z")
    assert times(story) == ["2024-06-02T11:00"]


def test_the_streak_of_a_reminder_is_that_of_a_read_with_history_and_pauses() -> None:
    """S30, S31, S56, S85: rows that were not written have length 0."""
    freezes = {"startCount": 1, "maxCount": 1}
    story = live({"streakReminder": True}, streak={"freezes": freezes})
    story.event("2024-06-01T12:00:00Z", tz="UTC")
    story.event("2024-06-02T12:00:00Z")
    story.request("streak.pause", "2024-06-02T13:00:00Z", id="p", start="2024-06-04", end="2024-06-04")
    story.request("streak.pause", "2024-06-02T13:00:00Z", id="q", start="2024-06-20", end="2024-06-21")
    story.tick("2024-06-05T20:00:00Z")  # the 3rd takes the freeze, the 4th the pause
    found = messages(story)[-1]
    assert found["occurredAt"][:16] == "2024-06-05T20:00"
    streak = found["data"]["streak"]
    history = streak.pop("streakHistory")
    assert streak == {
        "length": 2,
        "frequency": "daily",
        "started": "2024-06-01",
        "periodStart": "2024-06-05",
        "periodEnd": "2024-06-05",
        "expires": "2024-06-05",
        "extended": "2024-06-02T12:00:00.000Z",
        "freezes": 0,
        "maxFreezes": 1,
        "pauses": [{"id": "q", "start": "2024-06-20", "end": "2024-06-21"}],
    }
    assert [(r["periodStart"][8:], r["length"], r["usedFreeze"], r["usedPause"]) for r in history] == [
        ("30", 0, False, False),
        ("31", 0, False, False),
        ("01", 1, False, False),
        ("02", 2, False, False),
        ("03", 2, True, False),
        ("04", 2, False, True),
        ("05", 2, False, False),
    ]
    assert [r["periodEnd"] for r in history] == [r["periodStart"] for r in history]


# achievement


@pytest.mark.parametrize(
    ("tz", "done", "due"),
    [
        ("UTC", "2024-06-01T00:00:00Z", "2024-06-01T17:00"),
        ("UTC", "2024-06-01T16:59:59Z", "2024-06-01T17:00"),
        ("UTC", "2024-06-01T17:00:00Z", "2024-06-01T17:00"),
        ("UTC", "2024-06-01T19:30:00Z", "2024-06-01T19:30"),
        ("UTC", "2024-06-01T21:00:00Z", "2024-06-01T21:00"),
        ("UTC", "2024-06-01T21:00:01Z", "2024-06-02T17:00"),
        ("Europe/Berlin", "2024-06-01T21:59:00Z", "2024-06-02T15:00"),
        ("+14:00", "2024-06-01T09:00:00Z", "2024-06-02T03:00"),
        ("-11:00", "2024-06-01T09:00:00Z", "2024-06-02T04:00"),
        (None, "2024-06-01T20:00:00Z", "2024-06-01T21:00"),
    ],
)
def test_an_achievement_is_told_of_in_the_evening(tz: str | None, done: str, due: str) -> None:
    story = live({"achievement": True}, achievements=[FIRST])
    story.event(done, tz=tz)
    story.tick("2024-06-02T00:00:00Z", "2024-06-03T00:00:00Z")
    (event,) = messages(story)
    assert event["occurredAt"][:16] == due
    assert event["data"]["achievement"]["id"] == "first"
    assert event["data"]["achievement"]["achievedAt"][:19] == done[:19]


def test_between_five_and_nine_it_is_due_at_once() -> None:
    """With the record itself, not with the next tick; also for a completion by call and for composites."""
    api = {"id": "api", "key": "api", "trigger": "api", "status": "active"}
    both = {"id": "both", "trigger": "achievement", "achievementIds": ["api"], "status": "active"}
    story = live({"achievement": True}, achievements=[api, both])
    story.request("achievement.complete", "2024-06-01T18:00:00Z", achievement="api", user_fields={"tz": "UTC"})
    assert [e["data"]["achievement"]["id"] for e in messages(story)] == ["api", "both"]
    assert {e["emittedAt"] for e in messages(story)} == {"2024-06-01T18:00:00.000Z"}


def test_an_anniversary_is_told_of_and_a_backdated_one_is_not() -> None:
    achievements = [
        {"id": f"y{years}", "trigger": "anniversary", "anniversaryYears": years, "status": "active"} for years in (1, 2)
    ]
    story = live({"achievement": True}, achievements=achievements)
    story.identify("2024-06-01T12:00:00Z", tz="UTC", signUpDate="2023-01-01")
    story.tick("2024-06-01T17:00:00Z", "2025-01-01T12:00:00Z", "2025-01-01T17:00:00Z")
    assert times(story) == ["2025-01-01T17:00"]
    story.publish(config({"achievement": True}, achievements=[FIRST]), "2025-01-02T00:00:00Z")
    assert len(messages(story)) == 1


def test_an_achievement_that_the_catalog_locks_is_told_of_one_that_it_drops_is_not() -> None:
    story = live({"achievement": True}, achievements=[FIRST, SECOND])
    story.event("2024-06-01T12:00:00Z", value=2, tz="UTC")
    locked = {**FIRST, "status": "locked"}
    story.publish(config({"achievement": True}, achievements=[locked]), "2024-06-01T13:00:00Z")
    story.tick("2024-06-01T17:00:00Z")
    assert [e["data"]["achievement"]["id"] for e in messages(story)] == ["first"]


def test_a_zone_change_moves_an_achievement_message() -> None:
    story = live({"achievement": True}, achievements=[FIRST])
    story.event("2024-06-01T14:00:00Z", tz="Europe/Berlin")  # 16:00
    story.identify("2024-06-01T14:30:00Z", tz="America/New_York")  # completed at 10:00 there
    hours(story, "2024-06-01T15:00:00Z", "2024-06-02T23:00:00Z")
    assert times(story) == ["2024-06-01T21:00"]


def test_so_many_achievement_messages_wait_and_no_more() -> None:
    """D-36: the state stays bounded."""
    many = [{**FIRST, "id": f"a{number:03}"} for number in range(MAX_WAITING + 20)]
    story = live({"achievement": True}, achievements=many)
    story.event("2024-06-01T12:00:00Z", tz="UTC")
    story.fold()
    known = story.user().state.messages
    assert known is not None and len(known.waiting) == MAX_WAITING
    story.tick("2024-06-01T17:00:00Z")
    assert [e["data"]["achievement"]["id"] for e in messages(story)] == [f"a{n:03}" for n in range(MAX_WAITING)]
    known = story.user().state.messages
    assert known is not None and known.waiting == []


# to whom


def test_the_control_group_gets_none_and_all_else_is_the_same() -> None:
    """E12, E18, H32."""
    inside = next(f"u{number}" for number in range(1000) if in_control_group("", f"u{number}", 50))
    outside = next(f"u{number}" for number in range(1000) if not in_control_group("", f"u{number}", 50))
    story = live(ALL, achievements=[FIRST], controlRatio=50)
    for user in (inside, outside):
        story.event("2024-06-05T12:00:00Z", user, tz="UTC")
    hours(story, "2024-06-05T17:00:00Z", "2024-06-10T00:00:00Z")
    assert {e["userId"] for e in messages(story)} == {outside}
    assert {e["type"] for e in messages(story)} == set(KINDS)
    assert [e["userId"] for e in story.derived("achievement.completed")] == [inside, outside]
    assert story.user(inside).state.messages is None


@pytest.mark.parametrize(
    ("preference", "kind"),
    [
        ("recap", KINDS[0]),
        ("reactivation", KINDS[1]),
        ("streak_reminder", KINDS[2]),
        ("achievement_completed", KINDS[3]),
    ],
)
def test_an_empty_list_switches_its_kind_off(preference: str, kind: str) -> None:
    """U13, also between the event and its message."""
    story = live(ALL, achievements=[FIRST])
    story.event("2024-06-05T12:00:00Z", tz="UTC")
    story.request("preferences", "2024-06-05T13:00:00Z", notifications={preference: []})
    hours(story, "2024-06-05T17:00:00Z", "2024-06-10T00:00:00Z")
    assert {e["type"] for e in messages(story)} == set(KINDS) - {kind}


def test_switched_on_again_nothing_of_meanwhile_comes() -> None:
    story = live(ALL, achievements=[FIRST])
    story.event("2024-06-05T12:00:00Z", tz="UTC")
    off = {"recap": [], "reactivation": [], "streak_reminder": [], "achievement_completed": []}
    story.request("preferences", "2024-06-05T13:00:00Z", notifications=off)
    story.tick("2024-06-09T12:00:00Z")
    story.request("preferences", "2024-06-09T12:00:00Z", notifications={kind: ["push"] for kind in off})
    hours(story, "2024-06-09T13:00:00Z", "2024-06-10T12:00:00Z")
    (event,) = messages(story)
    assert event["data"]["reactivation"] == {"messageNumber": 2, "daysSinceLastActive": 5}


def test_chosen_channels_stand_in_the_envelope() -> None:
    """D-37: patched per kind, in one order; never chosen = nothing said."""
    story = live({"reactivation": True, "achievement": True}, achievements=[FIRST])
    story.event("2024-06-05T12:00:00Z", tz="UTC")
    chosen = {"achievement_completed": ["push", "email", "push"], "recap": ["email"]}
    story.request("preferences", "2024-06-05T13:00:00Z", notifications=chosen)
    story.request("preferences", "2024-06-05T13:00:00Z", notifications={"recap": []})
    story.tick("2024-06-05T17:00:00Z", "2024-06-08T10:00:00Z")
    told, woken = messages(story)
    assert told["meta"] == {"channels": ["email", "push"]}
    assert "meta" not in woken
    assert story.user().state.notifications == {"achievement_completed": ["email", "push"], "recap": []}


@pytest.mark.parametrize(
    ("notifications", "status", "reason", "text"),
    [
        ({"recap": ["sms"]}, 422, "invalid_preferences", "notifications.recap: 'sms' is no channel; use email, push"),
        ({"recap": "email"}, 400, "bad_request", "$.notifications.recap"),
        ({"recap": None}, 400, "bad_request", "$.notifications.recap"),
        ({"weekly": []}, 400, "bad_request", "unknown field `weekly`"),
    ],
)
def test_mistakes_in_preferences_are_refused_as_a_whole(
    notifications: Json, status: int, reason: str, text: str
) -> None:
    story = live(ALL)
    story.event("2024-06-05T12:00:00Z", tz="UTC")
    story.request("preferences", "2024-06-05T13:00:00Z", streak={"enabled": False}, notifications=notifications)
    emitted = story.fold()
    (refused,) = [e for e in emitted if "origin" in e]
    assert refused["reason"] == reason
    assert text in refused["message"]
    assert emitted[-1]["status"] == status
    assert story.user().state.streak_enabled


def test_preferences_of_an_unknown_user_are_refused() -> None:
    story = live(ALL)
    story.request("preferences", "2024-06-05T13:00:00Z", notifications={"recap": []})
    assert story.fold()[-1]["status"] == 404


def test_a_user_without_address_gets_them_too() -> None:
    """D-32: whom to reach, and how, is the business of the service."""
    story = live({"reactivation": True})
    story.event("2024-06-05T12:00:00Z", tz="UTC")
    story.tick("2024-06-08T10:00:00Z")
    (event,) = messages(story)
    assert event["data"]["user"]["email"] is None


# when not


def test_history_is_silent_before_the_clock_starts() -> None:
    """D-33: not even what would be in time, record by record; the first tick brings the last day only."""
    story = Story(config(ALL, achievements=[FIRST, SECOND]))
    for day in range(1, 29):
        story.event(f"2023-02-{day:02}T20:30:00Z", tz="UTC")
        story.event(f"2023-02-{day:02}T21:30:00Z")
    assert times(story) == []
    story.tick("2023-03-01T21:00:00Z")
    assert times(story, "streak_reminder") == ["2023-03-01T20:00"]
    assert len(messages(story)) == 1


def test_what_is_too_late_is_left_out_and_counts_as_sent() -> None:
    """D-34: measured at the append time of the record that runs it."""
    story = live({"reactivation": True})
    story.event("2024-06-01T12:00:00Z", "in-time", tz="UTC")
    story.event("2024-05-31T12:00:00Z", "late", tz="UTC")
    story.tick("2024-06-05T10:00:00Z")
    found = [(e["userId"], e["data"]["reactivation"]["messageNumber"]) for e in messages(story)]
    assert found == [("late", 2), ("in-time", 1)]


def test_how_late_is_a_setting() -> None:
    story = live({"reactivation": True, "maxDelayHours": 2})
    story.event("2024-06-01T12:00:00Z", tz="UTC")
    story.tick("2024-06-04T12:00:00Z", "2024-06-06T12:00:01Z")
    assert times(story) == ["2024-06-04T10:00"]


def test_a_record_of_the_user_runs_what_is_due_before_it() -> None:
    """F1: the message is no effect of the event."""
    story = live({"reactivation": True})
    story.event("2024-06-01T12:00:00Z", tz="UTC")
    story.event("2024-06-04T11:00:00Z")
    (event,) = messages(story)
    assert event["occurredAt"] == "2024-06-04T10:00:00.000Z"
    assert event["emittedAt"] == "2024-06-04T11:00:00.000Z"


def test_off_by_default_and_nothing_is_kept() -> None:
    story = Story(config(achievements=[FIRST]))
    story.tick(CLOCK)
    story.event("2024-06-05T12:00:00Z", tz="UTC")
    story.tick("2024-07-05T12:00:00Z")
    assert messages(story) == []
    assert story.user().state.messages is None


def test_switching_messages_on_reaches_into_the_future_only() -> None:
    """D-35: the append time of the latest record stands in for the last event."""
    story = Story(config(achievements=[FIRST]))
    story.tick(CLOCK)
    story.event("2024-06-05T12:00:00Z", tz="UTC")
    story.publish(config(ALL, achievements=[FIRST]), "2024-06-09T08:00:00Z")
    hours(story, "2024-06-09T09:00:00Z", "2024-06-12T12:00:00Z")
    found = [(e["occurredAt"][:13], e["type"]) for e in messages(story)]
    assert found == [
        ("2024-06-09T09", "emails.recap_due"),
        ("2024-06-10T10", "emails.reactivation_due"),
        ("2024-06-12T10", "emails.reactivation_due"),
    ]


def test_switching_messages_off_forgets_what_waits() -> None:
    story = live(ALL, achievements=[FIRST])
    story.event("2024-06-05T12:00:00Z", tz="UTC")
    story.publish(config(achievements=[FIRST]), "2024-06-05T13:00:00Z")
    story.tick("2024-06-10T12:00:00Z")
    assert messages(story) == []
    assert story.user().state.messages is None
    story.publish(config({"achievement": True}, achievements=[FIRST]), "2024-06-10T13:00:00Z")
    story.tick("2024-06-10T17:00:00Z")
    assert messages(story) == []


def test_at_one_instant_messages_come_last_and_in_their_order() -> None:
    """D-31: 09:00Z, as a time trigger ticks."""
    hourly = {"id": "t", "type": "time", "timeUnit": "hour", "timeInterval": 1, "points": 1, "status": "active"}
    messages_on = {"recap": "monthly", "streakReminder": True, "reactivation": True}
    story = live(messages_on, streak={"frequency": "weekly"}, systems=[{"key": "xp", "triggers": [hourly]}])
    story.event("2024-02-23T09:00:00Z", tz="UTC")  # the week after, Friday 1 March is both
    story.tick("2024-03-01T09:00:00Z")
    last = [e["type"] for e in story.fold() if e.get("occurredAt") == "2024-03-01T09:00:00.000Z" and "emittedAt" in e]
    assert last[0] == "points.awarded"
    assert last[-2:] == ["emails.recap_due", "emails.streak_reminder_due"]


def test_years_of_silence_leave_a_small_state() -> None:
    story = live(ALL, achievements=[FIRST])
    story.event("2024-06-05T12:00:00Z", tz="UTC")
    for year in range(2025, 2060):
        story.tick(f"{year}-01-01T00:00:00Z")
    story.fold()
    known = story.user().state.messages
    assert known is not None
    assert (known.sent, known.recaps, known.waiting) == (5, [], [])
