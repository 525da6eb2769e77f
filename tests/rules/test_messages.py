"""Messages due: recap, reactivation, streak reminder in the user's zone (E13-E16, D-38, D-39)."""

import pytest

from tests.rules.message_log import config, hours, live, messages, times
from tests.rules.story import Story

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
