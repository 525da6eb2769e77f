"""First half of the streak oracle: what is known before any streak is looked at.

From the whole log of one user: the append time of every record (X5), the zone in force at every record, when every period
of every chain ends (S8, S9, S60-S62), and when freezes are due (S42, S48). None of it depends on what the user did.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

from tests.properties.streak_calendar import (
    FREQUENCIES,
    first_instant,
    local_date,
    next_start,
    period_start,
    reached_date,
)

Json = dict[str, Any]

ACCUMULATION = 3
"""Rank of an accumulation; a settlement has the index of its frequency (S9)."""

BEFORE_RECORD, WITH_MOVE = 0, 1


@dataclass(frozen=True)
class Line:
    """One record of the log: its timestamp, and the record in wire form.

    A catalog record holds the streak settings as `streak`.
    """

    timestamp: datetime
    record: Json


@dataclass(frozen=True)
class Step:
    """A record that the user sees: his own, a tick or a catalog switch."""

    kind: str
    append: datetime
    effective: datetime
    record: Json
    own: bool


@dataclass(frozen=True, order=True)
class Due:
    """Something that time causes: the end of a period, or an accumulation.

    It is carried out before step `slot` is applied, or together with the zone change of that step.
    """

    slot: int
    phase: int
    at: datetime
    rank: int
    day: date


def instant(text: str) -> datetime:
    """Read an ISO 8601 instant."""
    return datetime.fromisoformat(text)


def user_of(record: Json) -> str | None:
    """Return the id of a record's user; None for a control record."""
    user = record.get("user")
    return user["id"] if isinstance(user, dict) else user


def steps_of(lines: list[Line], user: str) -> list[Step]:
    """Return the steps of a user with their append and effective times (X5, S6)."""
    steps: list[Step] = []
    latest: datetime | None = None
    exists = False
    used: set[tuple[str, str]] = set()
    for line in lines:
        record = line.record
        kind = record.get("type", "metric")
        if kind in ("tick", "catalog"):
            at = instant(record["at"])
            if kind == "tick":
                latest = at if latest is None else max(latest, at)
            steps.append(Step(kind, at, at, record, own=False))
        elif user_of(record) == user:
            append = line.timestamp if latest is None else max(line.timestamp, latest)
            exists = exists or kind in ("metric", "identify")
            latest = append if exists else latest  # a request about nobody leaves nothing (X5)
            occurred = instant(record["occurredAt"]) if "occurredAt" in record else line.timestamp
            if "idempotencyKey" in record:
                used_key = record["metric"], record["idempotencyKey"]
                kind = "repeat" if used_key in used else kind
                used.add(used_key)
            steps.append(Step(kind, append, min(occurred, append), record, own=True))
    return steps


class Timeline:
    """Zones, settings and due items of one user."""

    def __init__(self, lines: list[Line], user: str) -> None:
        self.steps = steps_of(lines, user)
        creating = [index for index, step in enumerate(self.steps) if step.kind in ("metric", "identify")]
        self.creation = creating[0] if creating else len(self.steps)
        self.settings = self._settings()
        self.zones = self._zones()
        self.week_start = next((s.get("weekStart", "sunday") for s in self.settings if s), "sunday")
        found: list[Due] = []
        if creating:
            for rank in range(len(FREQUENCIES)):
                found += self._ends(rank)
            found += self._accumulations()
        self._due = sorted(found)

    def due(self, slot: int, phase: int) -> list[Due]:
        """Return what is carried out before a step, or with its zone change, in order (S9)."""
        return [due for due in self._due if (due.slot, due.phase) == (slot, phase)]

    def zone_before(self, index: int) -> str | None:
        """Return the zone in force before a step."""
        return self.zones[index - 1] if index > self.creation else None

    def moves(self) -> list[int]:
        """Return the steps that change the zone of the existing user."""
        return [i for i in range(self.creation + 1, len(self.steps)) if self.zones[i] != self.zones[i - 1]]

    def _settings(self) -> list[Json]:
        """Return the streak settings after each step."""
        found: list[Json] = []
        for step in self.steps:
            found.append(step.record["streak"] if step.kind == "catalog" else found[-1])
        return found

    def _zones(self) -> list[str | None]:
        """Return the zone of the user after each step."""
        zones: list[str | None] = []
        for step in self.steps:
            zone = zones[-1] if zones else None
            user = step.record.get("user")
            if step.kind in ("metric", "identify") and isinstance(user, dict) and "tz" in user:
                zone = user["tz"]
            zones.append(zone)
        return zones

    def _is_reached(self, index: int, end: datetime) -> bool:
        """Whether a step lets what is due at `end` be carried out before it (S9)."""
        step = self.steps[index]
        delay = timedelta(seconds=self.settings[index].get("settleDelaySeconds", 0))
        if self.creation < index and self.zones[index] != self.zones[index - 1]:
            delay = timedelta()  # S60: everything due under the old zone comes first
        return step.append >= end + delay or (step.own and step.effective >= end)

    def _slot(self, at: datetime, first: int, last: int) -> int | None:
        steps = range(first, min(last, len(self.steps) - 1) + 1)
        return next((index for index in steps if self._is_reached(index, at)), None)

    def _ends(self, rank: int) -> Iterator[Due]:
        """Every end of a period: at local midnight (S8), or by an eastward move (S61, D-60)."""
        frequency = FREQUENCIES[rank]
        created = self.steps[self.creation]
        period = period_start(frequency, local_date(created.effective, self.zones[self.creation]), self.week_start)
        slot = self.creation + 1
        for stop in [*self.moves(), len(self.steps)]:
            zone = self.zones[stop - 1]
            while True:
                end = first_instant(next_start(frequency, period), zone)
                found = self._slot(end, slot, stop)
                if found is None:
                    break
                yield Due(found, BEFORE_RECORD, end, rank, period)
                slot = found
                period = next_start(frequency, period)
            if stop < len(self.steps):
                append = self.steps[stop].append
                today = period_start(frequency, reached_date(append, self.zones[stop]), self.week_start)
                while period < today:
                    yield Due(stop, WITH_MOVE, append, rank, period)
                    period = next_start(frequency, period)
                slot = stop + 1

    def interval(self, index: int) -> int | None:
        """Return the accumulation interval in days in force after a step; None while accumulation is off."""
        freezes = self.settings[index].get("freezes")
        return freezes.get("autoEarnInterval") if freezes else None

    def _enabled_at(self, index: int) -> datetime:
        """Return since when the accumulation in force after a step has had its interval."""
        switches = [i for i in range(index + 1) if self.steps[i].kind == "catalog"]
        since = switches[0]
        for earlier, later in pairwise(switches):
            if self.interval(earlier) != self.interval(later):
                since = later
        return self.steps[since].append

    def _accumulations(self) -> Iterator[Due]:
        """Every due date of the accumulation (S42), those that a zone change skips at the change (S48)."""
        changes = {index for index, step in enumerate(self.steps) if step.kind == "catalog" and index > self.creation}
        created = self.steps[self.creation]
        zone = self.zones[self.creation]
        interval = self.interval(self.creation)
        day = max(local_date(created.effective, zone), local_date(self._enabled_at(self.creation), zone))
        slot = self.creation + 1
        for stop in [*sorted({*self.moves(), *changes}), len(self.steps)]:
            while interval is not None:
                due_day = day + timedelta(days=interval)
                at = first_instant(due_day, zone)
                found = self._slot(at, slot, stop)
                if found is None:
                    break
                yield Due(found, BEFORE_RECORD, at, ACCUMULATION, due_day)
                slot, day = found, due_day
            if stop == len(self.steps):
                return
            append, zone, slot = self.steps[stop].append, self.zones[stop], stop + 1
            if self.interval(stop) != interval:
                interval, day = self.interval(stop), local_date(append, zone)
            while interval is not None and first_instant(day + timedelta(days=interval), zone) <= append:
                day += timedelta(days=interval)
                yield Due(stop, WITH_MOVE, append, ACCUMULATION, day)
