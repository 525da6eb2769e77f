"""A bug of the rules concerns the record or the user it strikes, nobody else, and nothing is lost by it (X32, D-88, D-89)."""

import json
from typing import Any

import msgspec
import pytest

from processors.rules.effects import Data, Effects
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from schemas.derived import Meta
from schemas.emission import Emission
from schemas.instants import parse_instant
from schemas.records import LogRecord
from tests.rules.fold import HOURLY, config
from tests.rules.story import Json, Story
from tests.rules.test_rounds import Installation

MIDNIGHT = "2025-01-02T00:00:00Z"


class Bug:
    """Where the rules fail: at effects of these types, for one user, if the data hold a text; `mended` ends it."""

    def __init__(self, *kinds: str, user: str = "bad", text: str = "") -> None:
        self.kinds, self.user, self.text = kinds, user, text
        self.mended = False
        self.struck = 0

    def effects(self, out: list[Emission], user: Any, environment: str, cause: str | None, at: int) -> Effects:
        """Make effects with the bug."""
        made = _Buggy(out, user, environment, cause, at)
        made.bug = self
        return made

    def strike(self, kind: str, user: str, data: Any) -> None:
        """Fail, if it is time to."""
        if not self.mended and kind in self.kinds and user == self.user and self.text in str(data):
            self.struck += 1
            raise KeyError("secret of the user")


class _Buggy(Effects):
    bug: Bug

    def emit(self, kind: str, data: Data, occurred_ms: int, meta: Meta | Any = None) -> None:
        self.bug.strike(kind, self.user.state.id, data)
        super().emit(kind, data, occurred_ms, *([] if meta is None else [meta]))

    def emit_due(self, kind: str, data: Data, due_ms: int, entity: str, meta: Meta | Any = None) -> None:
        self.bug.strike(kind, self.user.state.id, f"{due_ms} {data}")
        super().emit_due(kind, data, due_ms, entity, *([] if meta is None else [meta]))


def story(bug: Bug, catalog: Json | None = None) -> Story:
    """Return an empty log whose folds have the bug."""
    found = Story(catalog or config({"id": "t", "type": "metric", "metric": "m", "metricThreshold": 1, "points": 1}))
    found.effects = bug.effects
    return found


def letters(events: list[Json]) -> list[Json]:
    """Return the refusals."""
    return [event for event in events if "origin" in event]


def without_letters(events: list[Json], event_id: str = "") -> list[Json]:
    """Return everything else, without the outcome of one record."""
    return [event for event in events if "origin" not in event and event.get("eventId") != event_id]


def send(one: Story, number: int, user: str, value: int = 1, **fields: Any) -> None:
    """Append an event with an id of its own."""
    record = {"metric": "m", "user": user, "value": value, "eventId": f"e{number}", **fields}
    one.append(record, f"2025-01-01T10:00:{number:02}Z", user)


def poisoned(*, left_out: bool) -> tuple[Bug, Story]:
    """A log with a record that strikes a bug late in its effects; `left_out`: without it."""
    bug = Bug("metric.changed", text='"value":13,')
    one = story(bug)
    send(one, 1, "good")
    send(one, 2, "bad", attributes={"a": "x"}, idempotencyKey="k1")
    send(one, 3, "bad", 5)
    if not left_out:
        send(one, 4, "bad", 13, attributes={"a": "x"}, idempotencyKey="k2")
    send(one, 5, "bad", 7, attributes={"a": "x"}, idempotencyKey="k2")
    send(one, 6, "good")
    return bug, one


def test_a_record_that_strikes_a_bug_is_refused_and_leaves_no_trace() -> None:
    """Whatever the rounds: the others come out as if it were not there, and its key is free for the retry."""
    bug, one = poisoned(left_out=False)
    events = one.fold()
    (letter,) = letters(events)
    assert bug.struck
    assert letter["reason"] == "internal_error"
    assert letter["message"].startswith("KeyError in the rules")
    assert "secret" not in letter["message"]
    (outcome,) = [event for event in events if event.get("eventId") == "e4" and "status" in event]
    assert (outcome["status"], outcome["reason"]) == (500, "internal_error")
    other = poisoned(left_out=True)[1]
    assert without_letters(events, "e4") == without_letters(other.fold())
    assert without_offsets(one.installation) == without_offsets(other.installation)
    assert one.installation.partition.counters == {"applied": 5, "rejected.internal_error": 1}


def without_offsets(installation: Installation) -> dict[bytes, bytes | None]:
    """Return the changelog without the marker, which names offsets."""
    return {key: value for key, value in installation.changelog.items() if not key.startswith(b"\0")}


def test_the_user_that_a_failed_record_would_have_created_is_not_there() -> None:
    """Also not what was to be remembered of it."""
    bug = Bug("user.upserted")
    one = story(bug)
    send(one, 1, "bad", idempotencyKey="k")
    one.append({"type": "identify", "user": "bad"}, "2025-01-01T11:00:00Z", "bad")
    assert [letter["reason"] for letter in letters(one.fold())] == ["internal_error"] * 2
    assert without_offsets(one.installation) == {}


def test_many_failures_in_a_round_cost_no_more_than_themselves() -> None:
    """Only the first one of a round makes it begin anew."""
    bug = Bug("metric.changed", text='"value":13,')
    one = story(bug)
    for number in range(300):
        record = {"metric": "m", "user": "bad", "value": 13 if number % 2 else 1}
        one.append(record, "2025-01-01T10:00:00Z", "bad")
    installation = Installation(one.store, bug.effects)
    installation.round(one.records)
    assert installation.partition.counters["rejected.internal_error"] == 150
    assert bug.struck <= 2 * 150 + 1


def timed(bug: Bug, *, hours: int = 5) -> Story:
    """Two users with a time trigger; the tick comes some hours later, a metric event of each after it."""
    one = story(bug, config(HOURLY))
    one.event("2025-01-01T10:00:00Z", "bad")
    one.event("2025-01-01T10:00:00Z", "good")
    one.tick(f"2025-01-01T{10 + hours}:00:00Z")
    one.tick(f"2025-01-01T{11 + hours}:00:00Z")
    return one


def awards(events: list[Json], user: str) -> list[str]:
    """Return the times of the awards of a user."""
    return [
        event["occurredAt"][11:16]
        for event in events
        if event.get("type") == "points.awarded" and event["userId"] == user
    ]


def third_hour() -> str:
    """What tells the effects of 13:00."""
    return str(parse_instant("2025-01-01T13:00:00Z"))


def test_time_that_cannot_be_carried_out_for_a_user_stops_for_nobody_else() -> None:
    """What was due before is done, the user stands still, one letter tells; the next tick costs nothing."""
    one = timed(Bug("points.awarded", text=third_hour()))
    events = one.fold()
    assert awards(events, "good") == ["11:00", "12:00", "13:00", "14:00", "15:00", "16:00"]
    assert awards(events, "bad") == ["11:00", "12:00"]
    (letter,) = letters(events)
    assert letter["reason"] == "internal_error"
    assert letter["key"] == "bad"
    assert json.loads(letter["value"])["type"] == "tick"
    assert one.user("bad").state.quarantine == "1"


def test_a_user_set_aside_goes_on_with_its_next_record_once_the_bug_is_mended() -> None:
    """All that was due is made good, each at its time."""
    bug = Bug("points.awarded", text=third_hour())
    one = timed(bug)
    installation = Installation(one.store, bug.effects)
    installation.round(one.records)
    one.event("2025-01-01T16:30:00Z", "bad")
    installation.round(one.records[-1:])
    assert len(letters([json.loads(emission.value) for emission in installation.emitted])) == 2, "not mended yet"
    bug.mended = True
    installation.restart()
    one.event("2025-01-01T16:45:00Z", "bad")
    one.tick("2025-01-01T17:00:00Z")
    installation.round(one.records[-2:])
    events = [json.loads(emission.value) for emission in installation.emitted]
    assert awards(events, "bad") == ["11:00", "12:00", "13:00", "14:00", "15:00", "16:00", "17:00"]
    user = installation.partition.user(b"bad")
    assert user is not None
    assert user.quarantine is None


def switched(bug: Bug) -> Story:
    """Two users with counts; a version then backdates an achievement, the next one another."""
    one = story(bug, config(HOURLY))
    for user in ("bad", "good"):
        one.event("2025-01-01T10:00:00Z", user, value=5)
    third = {"id": "three", "trigger": "metric", "metric": "m", "metricValue": 3, "status": "active"}
    one.publish(config(HOURLY, achievements=[third]), "2025-01-01T12:30:00Z")
    one.tick("2025-01-01T14:00:00Z")
    fourth = {**third, "id": "four", "metricValue": 4}
    one.publish(config(HOURLY, achievements=[third, fourth]), "2025-01-01T15:30:00Z")
    one.tick("2025-01-01T16:00:00Z")
    return one


def test_a_switch_that_fails_for_a_user_is_made_good_with_its_next_record() -> None:
    """The user stays under the old version; later it passes through all versions, as the others did."""
    bug = Bug("achievement.backdated", text="three")
    one = switched(bug)
    events = one.fold()
    assert [letter["key"] for letter in letters(events)] == ["bad"]
    assert one.user("good").state.completions.keys() == {"three", "four"}
    assert one.user("bad").state.quarantine == "1"
    bug.mended = True
    installation = one.installation
    one.event("2025-01-01T16:30:00Z", "bad")
    one.event("2025-01-01T16:30:00Z", "good")
    installation.round(one.records[-2:])
    bad, good = (installation.partition.user(key) for key in (b"bad", b"good"))
    assert bad is not None
    assert good is not None
    assert bad.quarantine is None
    assert bad.completions == good.completions
    assert bad.balances == good.balances
    assert bad.time_triggers == good.time_triggers


def test_a_state_that_cannot_be_read_stops_the_worker() -> None:
    """Nothing is known of the user, not even how to set it aside."""
    one = story(Bug())
    installation = Installation(one.store)
    installation.round(one.records)
    installation.changelog[b"ubad"] = (0).to_bytes(8) + b"[]"
    installation.restart()
    tick = {"type": "tick", "at": MIDNIGHT}
    one.append(tick, MIDNIGHT)
    with pytest.raises(msgspec.ValidationError) as caught:
        installation.round(one.records[-1:])
    assert "control record at offset 1 of partition 0" in str(caught.value.__notes__)


def test_failures_are_reported_with_their_record() -> None:
    """For the log of the worker."""
    bug = Bug("metric.changed", text='"value":13,')
    one = story(bug)
    send(one, 1, "bad", 13)
    heard: list[tuple[str, int]] = []

    def report(error: BaseException, record: LogRecord) -> None:
        heard.append((repr(error), record.offset))

    partition = Partition(0, FoldSettings(), one.store, bug.effects, report)
    for record in one.records:
        partition.process(record, [], 10**6)
    assert set(heard) == {("KeyError('secret of the user')", 1)}


def test_a_record_that_strikes_a_bug_after_slices_of_its_own_repeats_none_of_them() -> None:
    """What was due for the user filled slices of the round in hand, and is out."""
    bug = Bug("metric.changed", text='"value":13,')
    one = story(bug, config({**HOURLY, "status": "active"}))
    send(one, 1, "good")
    send(one, 2, "bad")
    one.append({"metric": "m", "user": "bad", "value": 13, "eventId": "e3"}, "2025-01-03T10:00:00Z", "bad")
    events = one.fold()
    assert bug.struck
    ticks = [event["id"] for event in events if event.get("type") == "points.awarded"]
    assert len(ticks) == len(set(ticks)) > 40
    assert len(letters(events)) == 1
