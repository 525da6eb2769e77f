"""What one catalog does to a share of the users, counted: small sums that add up over the shares."""

from collections import Counter
from typing import Final

import msgspec

from deploy.preview.watch import Noted, award_of, level_of
from processors.rules.user import User
from schemas.catalog import FREQUENCIES, Catalog
from schemas.instants import DAY_MS, to_date
from schemas.state import UserState

Month = int
"""Months since the year 0: 12 × year + month − 1."""


class Flow(msgspec.Struct):
    """Awards and their points: `earned` and `deducted` are both positive."""

    awards: int = 0
    earned: int = 0
    deducted: int = 0

    def add(self, points: int) -> None:
        """Count one award."""
        self.awards += 1
        if points > 0:
            self.earned += points
        else:
            self.deducted -= points

    def merge(self, other: "Flow") -> None:
        """Take over the sums of another share."""
        self.awards += other.awards
        self.earned += other.earned
        self.deducted += other.deducted


class TriggerTally(msgspec.Struct):
    """What one trigger paid: `times` is how often it fired (an award may stand for several), `users` who got something."""

    type: str
    flow: Flow
    times: int = 0
    users: int = 0


class Holding(msgspec.Struct):
    """What one user has in one system at the end, and what the period brought."""

    balance: int
    flow: Flow


class StreakTally(msgspec.Struct):
    """Streaks of the active frequency: begun and lost in the period, alive at its end, the longest ever."""

    started: int = 0
    lost: int = 0
    alive: int = 0
    longest: int = 0


class RefusedTally(msgspec.Struct):
    """Refused records of one reason; `example` is the message of the first one, `at` its place on the log."""

    count: int
    at: tuple[int, int, int]
    example: str


class Tally(msgspec.Struct):
    """All sums of one catalog over a share of the users.

    Attributes:
        catalog: in force at the end; None if there was no record.
        applied: metric events that counted, in the period.
        triggers: by system and trigger. days: by system and UTC day. before: points by system when the period begins.
        active: by month, users with a metric event.
        levels: by system and level, per user the milliseconds from creation until it was first reached.
        achievements: by id, per user the milliseconds from creation to completion.
        users: by user id, then system.
        refused: by reason, also of the time before the period.
        first_ms, last_ms: of the metric events that counted, also before the period.
    """

    catalog: Catalog | None = None
    applied: int = 0
    triggers: dict[tuple[str, str], TriggerTally] = {}
    days: dict[tuple[str, int], Flow] = {}
    before: Counter[str] = msgspec.field(default_factory=Counter)
    active: Counter[Month] = msgspec.field(default_factory=Counter)
    levels: dict[tuple[str, str], list[int]] = {}
    achievements: dict[str, list[int]] = {}
    users: dict[str, dict[str, Holding]] = {}
    streaks: StreakTally = msgspec.field(default_factory=StreakTally)
    refused: dict[str, RefusedTally] = {}
    first_ms: int | None = None
    last_ms: int | None = None

    def merge(self, other: "Tally") -> None:
        """Take over the sums of another share: other users of the same log."""
        self.catalog = self.catalog or other.catalog
        self.applied += other.applied
        for pair, trigger in other.triggers.items():
            mine = self.triggers.setdefault(pair, TriggerTally(trigger.type, Flow()))
            mine.flow.merge(trigger.flow)
            mine.times += trigger.times
            mine.users += trigger.users
        for place, flow in other.days.items():
            self.days.setdefault(place, Flow()).merge(flow)
        self.before.update(other.before)
        self.active.update(other.active)
        for level, times in other.levels.items():
            self.levels.setdefault(level, []).extend(times)
        for achievement, times in other.achievements.items():
            self.achievements.setdefault(achievement, []).extend(times)
        self.users.update(other.users)
        self.streaks.started += other.streaks.started
        self.streaks.lost += other.streaks.lost
        self.streaks.alive += other.streaks.alive
        self.streaks.longest = max(self.streaks.longest, other.streaks.longest)
        for reason, refused in other.refused.items():
            self.refuse(reason, refused.count, refused.at, refused.example)
        self._span(other.first_ms)
        self._span(other.last_ms)

    def refuse(self, reason: str, count: int, at: tuple[int, int, int], example: str) -> None:
        """Count refused records; `at` is timestamp, partition and offset of the one that `example` is about."""
        known = self.refused.get(reason)
        if known is None:
            self.refused[reason] = RefusedTally(count, at, example)
            return
        known.count += count
        if at < known.at:
            known.at, known.example = at, example

    def _span(self, moment: int | None) -> None:
        if moment is not None:
            self.first_ms = moment if self.first_ms is None else min(self.first_ms, moment)
            self.last_ms = moment if self.last_ms is None else max(self.last_ms, moment)


_STREAK_EVENTS: Final = frozenset({"streak.started", "streak.lost"})


class Tallier:
    """Counts what is noted while a catalog is folded."""

    def __init__(self, since_ms: int | None) -> None:
        """`since_ms` is the beginning of the period that is reported, None = all of the log."""
        self.tally = Tally()
        self._since = since_ms
        self._flows: dict[tuple[bytes, str], Flow] = {}
        self._paid: set[tuple[bytes, str, str]] = set()
        self._active: set[tuple[bytes, Month]] = set()
        self._reached: dict[tuple[bytes, str], int] = {}
        self._months: dict[int, Month] = {}

    def take(self, noted: Noted) -> None:
        """Count one derived event."""
        kind = noted.type
        counts = self._since is None or noted.occurred_ms >= self._since
        if kind == "metric.changed":
            self._take_event(noted, counts)
        elif kind == "points.awarded":
            self._take_award(noted, counts)
        elif kind == "points.level_changed":
            self._take_level(noted, counts)
        elif counts and kind in _STREAK_EVENTS:
            if kind == "streak.started":
                self.tally.streaks.started += 1
            else:
                self.tally.streaks.lost += 1

    def _take_event(self, noted: Noted, counts: bool) -> None:
        tally, at = self.tally, noted.occurred_ms
        if tally.first_ms is None or at < tally.first_ms:
            tally.first_ms = at
        if tally.last_ms is None or at > tally.last_ms:
            tally.last_ms = at
        if counts:
            tally.applied += 1
            day = at // DAY_MS
            month = self._months.get(day)
            if month is None:
                month = self._months[day] = month_of(day)
            self._active.add((noted.user.key, month))

    def _take_award(self, noted: Noted, counts: bool) -> None:
        data = award_of(noted)
        award, system, key = data.award, data.points_system.key, noted.user.key
        if not counts:
            self.tally.before[system] += award.awarded
            return
        place = system, noted.occurred_ms // DAY_MS
        flow = self.tally.days.get(place)
        if flow is None:
            flow = self.tally.days[place] = Flow()
        flow.add(award.awarded)
        pair = system, award.trigger.id
        trigger = self.tally.triggers.get(pair)
        if trigger is None:
            trigger = self.tally.triggers[pair] = TriggerTally(award.trigger.type, Flow())
        trigger.flow.add(award.awarded)
        trigger.times += award.count
        self._paid.add((key, *pair))
        own = self._flows.get((key, system))
        if own is None:
            own = self._flows[key, system] = Flow()
        own.add(award.awarded)

    def _take_level(self, noted: Noted, counts: bool) -> None:
        """Note the levels that a rise reaches for the first time, those jumped over included."""
        data, user = level_of(noted), noted.user
        if data.new_level is None or user.plan is None:
            return
        system = data.points.key
        known = -1 if data.previous_level is None else data.previous_level.points
        high = max(known, self._reached.get((user.key, system), -1))
        if data.new_level.points <= high:
            return
        self._reached[user.key, system] = data.new_level.points
        if counts:
            elapsed = max(0, noted.occurred_ms - user.state.created)
            for level in user.plan.systems[system].system.levels:
                if high < level.points <= data.new_level.points:
                    self.tally.levels.setdefault((system, level.key), []).append(elapsed)

    def finish_user(self, user: User) -> None:
        """Take a user's state at the end."""
        state, key = user.state, user.key
        own: dict[str, Holding] = {}
        for system, balance in state.balances.items():
            own[system] = Holding(balance, self._flows.get((key, system)) or Flow())
        self.tally.users[state.id] = own
        for achievement, at in state.completions.items():
            if self._since is None or at >= self._since:
                self.tally.achievements.setdefault(achievement, []).append(max(0, at - state.created))
        self._finish_streak(user, state)

    def _finish_streak(self, user: User, state: UserState) -> None:
        if user.plan is None or not state.chains:
            return
        chain = state.chains[FREQUENCIES.index(user.plan.frequency)]
        self.tally.streaks.alive += chain.length > 0
        self.tally.streaks.longest = max(self.tally.streaks.longest, chain.longest)

    def finish(self, catalog: Catalog | None) -> Tally:
        """Return the sums; `catalog` is in force at the end."""
        tally = self.tally
        tally.catalog = catalog
        for _, system, trigger in self._paid:
            tally.triggers[system, trigger].users += 1
        for _, month in self._active:
            tally.active[month] += 1
        return tally


def month_of(day: int) -> Month:
    """Return the month of a day number."""
    date = to_date(day)
    return 12 * date.year + date.month - 1


def format_month(month: Month) -> str:
    """Return `YYYY-MM`."""
    return f"{month // 12:04d}-{month % 12 + 1:02d}"
