"""The forms in which the streak oracle says what must come out."""

from dataclasses import dataclass, field
from datetime import date, datetime

from tests.properties.streak_calendar import last_day
from tests.properties.streak_timeline import Json

OUTCOMES = {"paused": "usedPause", "frozen": "usedFreeze", "day_off": "dayOff", "bridged": "bridged"}
"""Verdict of a settlement -> the flag of its row (S53, S59, S61)."""


@dataclass
class Answer:
    """What a record is answered: the streak object of a metric event, the issues of a request."""

    kind: str
    streak: Json | None = None
    issues: list[tuple[str, str]] | None = None


@dataclass
class Emission:
    """A derived event: type, time carried, fields of `data`, fields of `meta`."""

    type: str
    at: datetime
    data: Json
    meta: Json = field(default_factory=dict)


def shown_row(frequency: str, period: date, verdict: str, length: int) -> Json:
    """Return a settled row (S85, S93)."""
    return {
        "periodStart": period.isoformat(),
        "periodEnd": last_day(frequency, period).isoformat(),
        "length": length,
        **{name: name == OUTCOMES.get(verdict) for name in OUTCOMES.values()},
    }
