"""What the fold emitted against what the oracle says; the first difference, in a few lines."""

from datetime import UTC, datetime
from typing import Any

from tests.properties.streak_fold import Fold, derived, outcomes
from tests.properties.streak_oracle import Oracle
from tests.properties.streak_timeline import Json, Line, instant, user_of

STREAK_EVENTS = "streak."
INSTANTS = ("extended", "longestAt")


def differences(fold: Fold, oracle: Oracle, user: str) -> list[str]:
    """Return the first difference of each kind; empty if all agrees."""
    found = derived(fold, user)
    wanted = [(one.type, one.at, one.data, one.meta) for one in oracle.emitted]
    seen = [_event(one) for one in found if one["type"].startswith(STREAK_EVENTS) or one["type"] == "metric.changed"]
    result = []
    for of_balance in (False, True):
        one = [event for event in seen if (event[0] == "streak.freezes_changed") == of_balance]
        other = [event for event in wanted if (event[0] == "streak.freezes_changed") == of_balance]
        result += _first("balance" if of_balance else "event", one, other)
    answers = [(answer.streak, answer.issues) for answer in oracle.answers]
    return result + _first("answer", [_answer(one) for one in outcomes(fold, user)], answers)


def _event(event: Json) -> tuple[str, datetime, Json, Json]:
    data = {name: instant(value) if name in INSTANTS and value else value for name, value in event["data"].items()}
    return event["type"], instant(event["occurredAt"]), data, event.get("meta", {})


def _answer(outcome: Json) -> tuple[Json | None, list[tuple[str, str]] | None]:
    streak = outcome.get("outcome", {}).get("currentStreak")
    issues = outcome.get("issues")
    return streak, None if issues is None else [(issue["id"], issue["severity"]) for issue in issues]


def _first(name: str, found: list[Any], wanted: list[Any]) -> list[str]:
    for place in range(max(len(found), len(wanted))):
        one = found[place] if place < len(found) else None
        other = wanted[place] if place < len(wanted) else None
        if one is None or other is None or not _fits(one, other):
            context = [f"    before:   {_short(entry)}" for entry in wanted[max(place - 2, 0) : place]]
            return [f"{name} {place}:", *context, f"    fold:     {_short(one)}", f"    chapters: {_short(other)}"]
    return []


def _fits(found: Any, wanted: Any) -> bool:
    """Objects on the fields that the oracle names; an answer with unknown issues (None) fits any."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(name in found and _fits(found[name], value) for name, value in wanted.items())
    if isinstance(wanted, tuple) and isinstance(found, tuple) and len(found) == len(wanted):
        return all(_fits(one, other) for one, other in zip(found, wanted, strict=True))
    return (wanted is None and isinstance(found, list)) or bool(found == wanted)


def _short(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_short(one)}" for name, one in value.items() if name != "user") + "}"
    if isinstance(value, tuple):
        return " ".join(_short(one) for one in value)
    return str(value)


def describe(line: Line) -> str:
    """Return a record on one line."""
    fields = {name: value for name, value in line.record.items() if name not in ("type", "user", "at")}
    user = line.record.get("user")
    zone = f" tz={user['tz']}" if isinstance(user, dict) and "tz" in user else ""
    return f"{_short(line.timestamp)} {line.record.get('type', 'metric')} {user_of(line.record) or ''}{zone} {_short(fields)}"
