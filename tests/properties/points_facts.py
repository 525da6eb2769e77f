"""What the points oracle keeps of a user, and the plain arithmetic of the chapters.

Nothing is carried along that can be worked out again: a user is the list of accepted events and the list of awards;
counters, high-water marks and balances are computed from these lists each time they are asked for.
"""

from copy import copy
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Any
from zoneinfo import ZoneInfo

Json = dict[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Refused(Exception):
    """The record is answered with this status and reason code (None: the chapters name no code)."""

    def __init__(self, status: int, reason: str | None) -> None:
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class Fact:
    """One accepted metric event."""

    metric: str
    value: Fraction
    attributes: Json


@dataclass(frozen=True)
class Award:
    """One award record (points.md section 6); `boosts` are ids, `cause` is (type, id)."""

    system: str
    trigger: str
    count: int
    base: int
    awarded: int
    total: int
    at: int
    local_date: str
    boosts: tuple[str, ...]
    cause: tuple[str, Any]


@dataclass
class Person:
    """A user. `reached` is the append time of the latest record; `ticks` how many of a schedule are done.

    Per system: `windows` ends of open throttle windows, `unsent` awards since the last `points.changed`, `shown_level`
    the level at that event.
    """

    id: str
    created: int
    reached: int
    tz: str | None = None
    attributes: Json = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)
    awards: list[Award] = field(default_factory=list)
    completed: dict[str, int] = field(default_factory=dict)
    used_keys: dict[tuple[str, str], str] = field(default_factory=dict)
    applied: set[str] = field(default_factory=set)
    ticks: dict[tuple[str, str, int], int] = field(default_factory=dict)
    windows: dict[str, int] = field(default_factory=dict)
    unsent: dict[str, list[Award]] = field(default_factory=dict)
    shown_level: dict[str, str | None] = field(default_factory=dict)

    def copy(self) -> "Person":
        """One that changes apart from this one; facts and awards never change."""
        unsent = {key: list(awards) for key, awards in self.unsent.items()}
        names = [one.name for one in fields(self) if isinstance(getattr(self, one.name), dict | list | set)]
        return replace(self, **{name: copy(getattr(self, name)) for name in names} | {"unsent": unsent})

    def balance(self, system: str) -> int:
        """P5, P43: the sum of all awards."""
        return sum(award.awarded for award in self.awards if award.system == system)

    def counter(self, metric: str, wanted: Json, facts: int | None = None) -> tuple[Fraction, Fraction]:
        """C and W of (metric, filter) over the first `facts` events (P12)."""
        total = highest = Fraction(0)
        for fact in self.facts[:facts]:
            if fact.metric == metric and matches(wanted, fact.attributes):
                total += fact.value
                highest = max(highest, total)
        return total, highest

    def local_date(self, at: int) -> date:
        """N8, U7: the calendar date of an instant in the user's zone."""
        return (EPOCH + timedelta(milliseconds=at)).astimezone(zone(self.tz)).date()


@dataclass
class Answer:
    """What a record comes to: status, reason, outcome document (own form), derived events in order."""

    status: int | str
    reason: str | None = None
    document: Json = field(default_factory=dict)
    effects: list[Json] = field(default_factory=list)


def zone(name: str | None) -> tzinfo:
    """U7: none, `±HH:MM` up to 14:00, or an IANA zone; ValueError otherwise."""
    if name is None:
        return UTC
    if name[:1] in ("+", "-"):
        minutes = int(name[1:3]) * 60 + int(name[4:6])
        if len(name) != 6 or name[3] != ":" or minutes > 14 * 60:
            raise ValueError(name)
        return timezone(timedelta(minutes=-minutes if name[0] == "-" else minutes))
    try:
        return ZoneInfo(name)
    except (KeyError, OSError) as error:
        raise ValueError(name) from error


def instant(text: str) -> int:
    """Epoch milliseconds of an ISO instant."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1)


def matches(wanted: Json, given: Json) -> bool:
    """M13-M15."""
    return all(key in given and given[key] == value for key, value in wanted.items())


def rounded_value(number: Any) -> Fraction:
    """N3: nine fractional digits, halves away from zero."""
    exact = Context(prec=100, rounding=ROUND_HALF_UP).quantize(Decimal(number), Decimal("1e-9"))
    return Fraction(exact)


def boosted(base: int, boosts: list[Json]) -> int:
    """P37-P39."""
    product = Fraction(base)
    for boost in boosts:
        product *= Fraction(boost["multiplier"])
    modes = {boost.get("rounding", "down") for boost in boosts}
    if not boosts:
        return base
    if "down" in modes:
        return floor(product)
    return floor(product + Fraction(1, 2)) if "nearest" in modes else ceil(product)


def by_bytes(text: str) -> bytes:
    """Byte order."""
    return text.encode()


def effect(kind: str, person: Person, **fields: Any) -> Json:
    """One derived event in the oracle's own form."""
    return {"type": kind, "user": person.id, **fields}
