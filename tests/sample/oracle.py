"""An oracle: what must come out of a history, worked out from the spec chapters alone.

It imports nothing of the project and shares no code with it, so that both agree only if both are right. It is written to
be read beside the chapters, not to be fast: one user at a time, exact numbers (ints and Fractions), no optimisation but one
(stretches in which nothing can happen to a streak are skipped). What the sample does not use is refused, not guessed:
freezes, days off, customisation, blocking triggers, idempotency keys, changes of the catalog.

Shape of a result (`Oracle.result`, `compute`); instants are epoch milliseconds, days are `YYYY-MM-DD`:

    {"users": {id: {
        "created": ms, "tz": text or None, "attributes": {key: text},
        "metrics": {key: int or Fraction},
        "points": {system: {"total": int, "level": key or None}},
        "awards": [{"system", "trigger", "awarded", "total", "date": ms, "localDate": day, "count", "base", "boosts": [id]}],
        "levelChanges": [{"system", "at": ms, "previous": key or None, "new": key or None}],
        "achievements": [{"id", "achievedAt": ms}],
        "streaks": {frequency: {"length", "longest", "started": day or None, "extended": ms or None,
                                "periodStart": day or None, "periodEnd": day or None, "met": bool}},
        "periods": [{"frequency", "periodStart": day, "periodEnd": day, "length",
                     "outcome": "met" | "lost" | "bridged", "repaired": bool}],
        "streakEvents": [{"type", "at": ms, "length"}]}}}

Awards, level changes, achievements and streak events stand in the order in which they happen to the user; `periods` by
frequency and start, idle ones left out (C35), repaired ones as they are after the repair.
"""

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from math import ceil, floor
from pathlib import Path
from typing import Any, Final

from .configuration import Boost, Catalog, Number, Pairs, System, Trigger, load_catalog, matches
from .localtime import format_day, parse_instant, to_ms, zone
from .streaks import Streaks

NINE_DIGITS: Final = 10**9


@dataclass
class User:
    """Everything the oracle knows of one user."""

    id: str
    created: int
    streaks: Streaks
    tz: str | None = None
    append: int = 0
    attributes: dict[str, str] = field(default_factory=dict)
    totals: dict[str, Number] = field(default_factory=dict)
    counters: dict[tuple[str, Pairs], Number] = field(default_factory=dict)
    highs: dict[tuple[str, Pairs], Number] = field(default_factory=dict)
    balances: dict[str, int] = field(default_factory=dict)
    ticks: dict[tuple[str, str], int] = field(default_factory=dict)
    completed: dict[str, int] = field(default_factory=dict)
    awards: list[dict[str, Any]] = field(default_factory=list)
    level_changes: list[dict[str, Any]] = field(default_factory=list)


class Oracle:
    """Applies records one after the other, in log order."""

    def __init__(self, catalog: Catalog, catalog_at_ms: int) -> None:
        self.catalog = catalog
        self.users: dict[str, User] = {}
        self._catalog_at = catalog_at_ms
        self._last_tick = 0
        self._timed = [(system, t) for system in catalog.systems for t in system.triggers if t.type == "time"]  # C19

    # --- records (F1) --------------------------------------------------------------------------------------------------

    def metric(
        self, user_id: str, metric: str, value: Number, at: int, *, arrives: int | None = None, tz: str | None = None,
        attributes: dict[str, str] | None = None, user_attributes: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Apply a metric event that happened at `at`; `arrives` is its record timestamp, by default `at` (X8)."""
        user, created, at = self._begin(user_id, at, arrives, tz, user_attributes)
        value = _rounded(value)
        user.totals[metric] = user.totals.get(metric, 0) + value
        moved: dict[Pairs, tuple[Number, Number]] = {}
        for pairs in self.catalog.events.get(metric, ()):
            if matches(pairs, attributes or {}):
                count = user.counters[metric, pairs] = user.counters.get((metric, pairs), 0) + value
                high = user.highs.get((metric, pairs), 0)
                user.highs[metric, pairs] = max(high, count)  # P12, P16
                moved[pairs] = (high, max(high, count))
        increase = user.streaks.count(metric, value, at)
        completed = self._achievements(user, metric, set(moved), increase, at)
        self._points(user, at, created=created, metric=metric, moved=moved, increase=increase, completed=completed)

    def identify(
        self, user_id: str, at: int, *, tz: str | None = None, user_attributes: dict[str, str] | None = None
    ) -> None:
        """Create or update a user (F9)."""
        user, created, at = self._begin(user_id, at, None, tz, user_attributes)
        self._points(user, at, created=created)

    def complete(
        self, user_id: str, achievement_key: str, at: int, *, tz: str | None = None,
        user_attributes: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Complete an API achievement that exists, is active and open to the user (F8)."""
        user, created, at = self._begin(user_id, at, None, tz, user_attributes)
        found = next(a for a in self.catalog.achievements if a.type == "api" and achievement_key in (a.key, a.id))
        if found.id in user.completed:
            return
        user.completed[found.id] = at
        completed = [found.id, *self._composites(user, at)]
        self._points(user, at, created=created, completed=completed)

    def tick(self, at: int) -> None:
        """Let time reach `at` for every user."""
        self._last_tick = max(self._last_tick, at)
        for user in self.users.values():
            self._run_due(user, at)

    def _begin(
        self, user_id: str, at: int, arrives: int | None, tz: str | None, attributes: dict[str, str] | None
    ) -> tuple[User, bool, int]:
        """Steps 3 and 5 of F1: what is due, then the user. Returns the user, whether it is new, and effectiveAt."""
        user = self.users.get(user_id)
        append = max(at if arrives is None else arrives, self._last_tick, user.append if user else 0)  # X5
        effective = min(at, append)  # T8
        if user is None:
            created = True
            first = zone(tz or "UTC")
            user = User(user_id, effective, Streaks(self.catalog, first, first.day_at(effective)), tz)  # C1
            self.users[user_id] = user
        else:
            created = False
            self._run_due(user, append)
            if tz is not None and tz != user.tz:
                user.tz = tz
                user.streaks.move(zone(tz), append)
        user.append = append
        user.attributes |= attributes or {}
        return user, created, effective

    # --- time ----------------------------------------------------------------------------------------------------------

    def _run_due(self, user: User, until: int) -> None:
        # Settlements and time ticks do not influence each other, so their mutual order (S9) cannot be seen in a result.
        user.streaks.settle_due(until)
        self._tick_due(user, until)

    def _tick_due(self, user: User, until: int) -> None:
        anchor = max(user.created, self._catalog_at)  # P25, C38
        while self._timed:
            upcoming = [
                (anchor + (user.ticks.get((system.key, trigger.id), 0) + 1) * trigger.interval_ms, number)
                for number, (system, trigger) in enumerate(self._timed)
            ]
            due, number = min(upcoming)
            if due > until:
                return
            system, trigger = self._timed[number]
            user.ticks[system.key, trigger.id] = user.ticks.get((system.key, trigger.id), 0) + 1
            if matches(trigger.users, user.attributes):
                before = user.balances.get(system.key, 0)
                self._award(user, system, trigger, 1, due)
                self._level_change(user, system, before, due)

    def _achievements(
        self, user: User, metric: str, matching: set[Pairs], increase: tuple[int, int] | None, at: int
    ) -> list[str]:
        """Complete what the event completes, in the order of F6."""
        reached: list[tuple[int, Number, bytes, str]] = []
        for one in self.catalog.achievements:
            if one.id in user.completed or not matches(one.users, user.attributes):
                continue
            if one.type == "metric" and one.metric == metric and one.events in matching:  # A6, C25
                if user.counters[metric, one.events] >= one.value:
                    reached.append((0, one.value, one.id.encode(), one.id))
            elif one.type == "streak" and increase and increase[0] < one.streak_length <= increase[1]:  # A10
                reached.append((1, one.streak_length, one.id.encode(), one.id))
        completed = [one[3] for one in sorted(reached)]
        for identity in completed:
            user.completed[identity] = at
        return completed + self._composites(user, at)

    def _composites(self, user: User, at: int) -> list[str]:
        completed: list[str] = []
        while True:
            reached = [
                one.id
                for one in self.catalog.achievements
                if one.type == "achievement"
                and one.id not in user.completed
                and all(need in user.completed for need in one.needs)
                and matches(one.users, user.attributes)
            ]
            if not reached:
                return completed
            for identity in sorted(reached, key=str.encode):
                user.completed[identity] = at
                completed.append(identity)

    # --- points (F1 steps 9 and 10) ------------------------------------------------------------------------------------

    def _points(
        self, user: User, at: int, *, created: bool = False, metric: str = "",
        moved: dict[Pairs, tuple[Number, Number]] | None = None, increase: tuple[int, int] | None = None,
        completed: list[str] | None = None,
    ) -> None:  # fmt: skip
        for system in self.catalog.systems:
            before = user.balances.get(system.key, 0)
            firing: list[tuple[Trigger, int]] = []  # in the order of P31 and P32
            if created:
                firing += [(trigger, 1) for trigger in system.of_type("user_creation")]
            for trigger in system.of_type("metric"):
                if trigger.metric == metric and trigger.events in (moved or {}):
                    firing.append((trigger, _multiples((moved or {})[trigger.events], trigger.threshold)))
            if increase:
                firing += [
                    (trigger, _multiples(increase, trigger.streak_length)) for trigger in system.of_type("streak")
                ]
            for identity in completed or ():
                firing += [(trigger, 1) for trigger in system.of_type("achievement") if trigger.achievement == identity]
            for trigger, count in firing:
                if count >= 1 and matches(trigger.users, user.attributes):
                    self._award(user, system, trigger, count, at)
            self._level_change(user, system, before, at)

    def _award(self, user: User, system: System, trigger: Trigger, count: int, at: int) -> None:
        """Section 4 of points.md."""
        base = count * trigger.points
        balance = user.balances.get(system.key, 0)
        day = user.streaks.zone.day_at(at)
        boosts: list[Boost] = []
        if base > 0:
            boosts = [
                boost
                for boost in system.boosts
                if boost.start <= day <= boost.end
                and boost.user_id in (None, user.id)
                and matches(boost.users, user.attributes)
            ]
            amount = min(_boosted(base, boosts), max(0, system.limit - balance))  # P44
        else:
            amount = max(base, -balance)  # P45
        if amount == 0:
            return  # P47
        user.balances[system.key] = balance + amount
        user.awards.append({
            "system": system.key, "trigger": trigger.id, "awarded": amount, "total": balance + amount, "date": at,
            "localDate": format_day(day), "count": count, "base": base, "boosts": [boost.id for boost in boosts],
        })  # fmt: skip

    def _level_change(self, user: User, system: System, before: int, at: int) -> None:
        previous, new = _level(system, before), _level(system, user.balances.get(system.key, 0))
        if previous != new:
            user.level_changes.append({"system": system.key, "at": at, "previous": previous, "new": new})

    # --- the result ----------------------------------------------------------------------------------------------------

    def result(self) -> dict[str, Any]:
        """Return what has come out so far, in the shape of the module's docstring."""
        return {"users": {user_id: self._result_of(user) for user_id, user in self.users.items()}}

    def _result_of(self, user: User) -> dict[str, Any]:
        balances = {system.key: user.balances.get(system.key, 0) for system in self.catalog.systems}
        levels = {system.key: _level(system, balances[system.key]) for system in self.catalog.systems}
        return {
            "created": user.created,
            "tz": user.tz,
            "attributes": dict(user.attributes),
            "metrics": dict(user.totals),
            "points": {key: {"total": total, "level": levels[key]} for key, total in balances.items()},
            "awards": user.awards,
            "levelChanges": user.level_changes,
            "achievements": [{"id": identity, "achievedAt": at} for identity, at in user.completed.items()],
            "streaks": user.streaks.result(),
            "periods": [row for _, row in sorted(user.streaks.periods.items())],
            "streakEvents": user.streaks.events,
        }


def _rounded(value: Number) -> Number:
    """Round to nine digits, halves away from zero (N3)."""
    if isinstance(value, int):
        return value
    scaled = floor(abs(value) * NINE_DIGITS + Fraction(1, 2))
    return Fraction(scaled if value > 0 else -scaled, NINE_DIGITS)


def _multiples(step: tuple[Number, Number], threshold: int) -> int:
    return int(step[1] // threshold - step[0] // threshold)  # P13, P19


def _boosted(base: int, boosts: list[Boost]) -> int:
    """P37-P39: the exact product, rounded once."""
    if not boosts:
        return base
    exact = Fraction(base)
    for boost in boosts:
        exact *= boost.multiplier
    modes = {boost.rounding for boost in boosts}
    if "down" in modes:
        return floor(exact)
    return floor(exact + Fraction(1, 2)) if "nearest" in modes else ceil(exact)


def _level(system: System, total: int) -> str | None:
    reached = [key for threshold, key in system.levels if threshold <= total]
    return reached[-1] if reached else None  # P49


# --- the sample history ------------------------------------------------------------------------------------------------


def compute(
    csv_path: Path | str, catalog_path: Path | str, catalog_at_ms: int, ticks_ms: list[int], limit: int | None = None
) -> dict[str, Any]:
    """Return what must come out of the sample: the catalog, all commits in the order of the file, then the ticks.

    Args:
        csv_path: the commits (`authored_at,author,commit,files,insertions,deletions`), gzip.
        catalog_path: the catalog file (YAML).
        catalog_at_ms: instant of the catalog record.
        ticks_ms: instants of the ticks after the last commit.
        limit: take only the first so many commits.
    """
    oracle = Oracle(load_catalog(catalog_path, catalog_at_ms), catalog_at_ms)
    since: dict[str, str] = {}
    for number, row in enumerate(read_rows(csv_path)):
        if number == limit:
            break
        moment = datetime.fromisoformat(row["authored_at"])
        lines = int(row["insertions"]) + int(row["deletions"])
        about = {"size": _size(lines), "when": _when(moment)}
        user = {"since": since.setdefault(row["author"], f"{moment.year // 10 * 10}s")}
        for metric, value in (("commits", 1), ("lines", lines)):
            at, tz = to_ms(moment), row["authored_at"][-6:]
            oracle.metric(row["author"], metric, value, at, tz=tz, attributes=about, user_attributes=user)
    for at in ticks_ms:
        oracle.tick(at)
    return oracle.result()


def read_rows(csv_path: Path | str) -> Iterator[dict[str, str]]:
    """Yield the rows of the commits file."""
    with gzip.open(csv_path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def first_commit_ms(csv_path: Path | str) -> int:
    """Return the instant of the first commit, at which the sample's catalog is published."""
    return parse_instant(next(read_rows(csv_path))["authored_at"])


def _size(lines: int) -> str:
    for bound, name in ((5, "tiny"), (30, "small"), (150, "medium"), (1000, "large")):
        if lines <= bound:
            return name
    return "huge"


def _when(moment: datetime) -> str:
    if moment.weekday() >= 5:
        return "weekend"
    for hour, name in ((6, "night"), (12, "morning"), (18, "afternoon"), (22, "evening")):
        if moment.hour < hour:
            return name
    return "night"
