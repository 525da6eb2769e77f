"""Messages due: achievements (E17), who gets none, and what is never sent late or twice (E12, D-32 to D-37)."""

import pytest

from processors.rules.messages import MAX_WAITING
from processors.rules.user import in_control_group
from tests.rules.message_log import ALL, CLOCK, FIRST, KINDS, SECOND, config, hours, live, messages, times
from tests.rules.story import Json, Story

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
