"""Each derived event in a few words."""

from collections.abc import Callable
from typing import Any, Final

from deploy.cli.support.console import counted
from deploy.why.words import number

Json = dict[str, Any]


def _awarded(data: Json) -> str:
    award = data["award"]
    return f"{data['pointsSystem']['key']} {award['awarded']:+,} by {award['trigger']['id']}, balance {number(data['total'])}"


def _changed(data: Json) -> str:
    points = data["points"]
    return f"{points['key']} {points['added']:+,}, total {number(points['total'])}, {counted(len(points['awards']), 'award')}"


def _level(data: Json) -> str:
    before, after = (level["key"] if level else "no level" for level in (data["previousLevel"], data["newLevel"]))
    return f"{data['points']['key']} {before} -> {after} at {number(data['points']['total'])}"


def _moved(data: Json) -> str:
    return f"length {data['streak']['length']}, expires {data['streak']['expires']}"


def _settled(data: Json) -> str:
    return f"{data['frequency']} {data['periodStart']}: {data['outcome']}, length {data['length']}"


def _outcome(fields: Json) -> str:
    issues = "; ".join(issue["message"] for issue in fields.get("issues", ()))
    reason = f", {fields['reason']}" if "reason" in fields else f", {issues}" if issues else ""
    return f"status {fields['status']}{reason}"


def _boost(data: Json) -> str:
    return f"{data['boost']['pointsSystemKey']} {data['boost']['id']} x {number(data['boost']['multiplier'])}"


_SHORT: Final[dict[str, Callable[[Json], str]]] = {
    "points.awarded": _awarded,
    "points.changed": _changed,
    "points.level_changed": _level,
    "points.boost_started": _boost,
    "points.boost_finished": _boost,
    "achievement.completed": lambda data: f"{data['achievement']['id']}: {data['achievement']['name']}",
    "achievement.backdated": lambda data: f"{data['achievement']['id']}: {data['achievement']['name']}",
    "streak.started": _moved,
    "streak.extended": _moved,
    "streak.lost": lambda data: f"length {data['length']} lost",
    "streak.freeze_consumed": lambda data: f"{data['freezes']} left",
    "streak.freeze_earned": lambda data: f"{data['earned']:+d}, {data['freezes']} in all",
    "streak.freezes_changed": lambda data: f"{data['delta']:+d} ({data['reason']}), balance {data['balance']}",
    "streak.changed": lambda data: f"{data['frequency']} length {data['length']}{', met' if data['met'] else ''}",
    "streak.period_closed": _settled,
    "streak.period_repaired": _settled,
    "streak.restored": lambda data: f"{data['frequency']} length {data['length']}",
    "emails.recap_due": lambda data: f"{data['recap']['periodStart']} to {data['recap']['periodEnd']}",
    "emails.reactivation_due": lambda data: (
        f"number {data['reactivation']['messageNumber']}, {data['reactivation']['daysSinceLastActive']} days"
    ),
    "emails.streak_reminder_due": lambda data: (
        f"length {data['streak']['length']}, expires {data['streak']['expires']}"
    ),
    "emails.achievement_due": lambda data: f"{data['achievement']['id']}: {data['achievement']['name']}",
    "metric.changed": lambda data: f"{data['metric']} {data['value']:+,}, total {number(data['total'])}",
    "user.upserted": lambda data: f"zone {data['user']['tz'] or 'UTC'}",
    "user.erased": lambda data: f"what {data['topic']} holds of the user before this",
}


def effect_line(kind: str, value: Json) -> str:
    """Return a record of a derived topic in a few words; empty for types that say enough by their name."""
    if kind in _SHORT:
        return _SHORT[kind](value["data"])
    if kind:
        return ""
    return _outcome(value) if "status" in value else str(value.get("reason", ""))
