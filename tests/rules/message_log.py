"""Logs for the tests of messages due, and what came out."""

from typing import Any

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
