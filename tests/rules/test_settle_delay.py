"""`settleDelaySeconds` postpones the end of empty periods too (S9, C35)."""

from schemas.instants import format_instant
from tests.rules.fold import HOUR, START, Fold, Json, config

DELAYED = {"metrics": [{"key": "m", "threshold": 1}], "settleDelaySeconds": 3600}


def late_after_midnight(fold: Fold, hour: float, occurred: float) -> Json:
    """Send an event that comes late; return the streak event it causes."""
    found = fold.event(hour, occurredAt=format_instant(START + int(occurred * HOUR)))
    (event,) = [one for one in found if one.get("type", "").startswith("streak.started")]
    return event


def fold_with_user() -> Fold:
    """A user without a streak, created days ago."""
    fold = Fold()
    fold.publish(config(streak=DELAYED), 0)
    fold.send({"type": "identify", "user": "u"}, 1, "u")
    return fold


def test_empty_day_stays_open_within_the_delay() -> None:
    """Half an hour after midnight yesterday still is the open day."""
    event = late_after_midnight(fold_with_user(), 4 * 24 + 0.5, 4 * 24 - 0.5)
    assert event["meta"] == {"frequency": "daily", "cause": "event", "periodStart": "2025-01-04"}
    assert event["data"]["streak"]["periodStart"] == "2025-01-04"


def test_day_before_an_empty_open_day_can_be_repaired() -> None:
    """... and the day before it the last settled one, within reach of a repair (S66)."""
    event = late_after_midnight(fold_with_user(), 4 * 24 + 0.5, 3 * 24 - 0.5)
    assert event["meta"] == {"frequency": "daily", "cause": "late_event", "periodStart": "2025-01-03"}


def test_record_of_the_new_day_ends_the_empty_day_at_once() -> None:
    """Not beyond a record of the same user whose effectiveAt is at or after the due instant."""
    fold = fold_with_user()
    fold.send({"type": "identify", "user": "u"}, 4 * 24 + 0.25, "u")
    event = late_after_midnight(fold, 4 * 24 + 0.5, 4 * 24 - 0.5)
    assert event["meta"]["cause"] == "late_event"


def test_late_request_of_an_empty_day_leaves_it_open() -> None:
    """A restore that is late leaves the day open too."""
    fold = fold_with_user()
    fold.event(2)
    fold.tick(3 * 24)
    occurred = format_instant(START + int((4 * 24 - 0.5) * HOUR))
    found = fold.send({"type": "streak.restore", "user": "u", "occurredAt": occurred}, 4 * 24 + 0.5, "u")
    (changed,) = [one["data"] for one in found if one.get("type") == "streak.changed"]
    assert changed["periodStart"] == "2025-01-04"
