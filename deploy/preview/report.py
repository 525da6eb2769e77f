"""What a preview of two catalogs says, as JSON (X23). `old` and `new` are always the same figure under either catalog."""

from typing import Literal

import msgspec


class Part(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """JSON object with camelCase names."""


class Pair(msgspec.Struct, frozen=True):
    """A whole number under the old and the new catalog."""

    old: int
    new: int

    @property
    def change(self) -> int:
        """New less old."""
        return self.new - self.old

    @property
    def percent(self) -> float | None:
        """Change in percent of old, None if old is 0."""
        return 100 * self.change / abs(self.old) if self.old else None


class Reach(Part, frozen=True, kw_only=True):
    """How long users took for something: users who got there in the period, days from their creation (P83).

    The days are the nearest-rank percentiles 10, 50 and 90, to two digits; None if nobody got there.
    """

    users: int
    p10: float | None
    median: float | None
    p90: float | None


class ReachPair(msgspec.Struct, frozen=True):
    """How long users took under the old and the new catalog; None where the catalog does not know it."""

    old: Reach | None
    new: Reach | None


class TriggerRow(Part, frozen=True, kw_only=True):
    """One trigger: `points` is earned less deducted, `times` how often it fired, `users` who got an award."""

    id: str
    type: str
    awards: Pair
    times: Pair
    points: Pair
    users: Pair


class Bucket(Part, frozen=True, kw_only=True):
    """A day, week (from Monday) or month of UTC: what was awarded in it, and the points of all users at its end."""

    start: str
    awards: Pair
    earned: Pair
    deducted: Pair
    outstanding: Pair


class MonthRow(Part, frozen=True, kw_only=True):
    """A month of UTC: users with a metric event, and points earned per such user, to two digits (None without users)."""

    month: str
    active_users: Pair
    earned_per_active_old: float | None
    earned_per_active_new: float | None


class DecileRow(Part, frozen=True, kw_only=True):
    """A tenth of the users, ranked by their balance under the old catalog, 1 the lowest: sums over the same users.

    `own_balance` are the sums if each catalog's users are ranked by that catalog's balance.
    """

    decile: int
    users: int
    awards: Pair
    earned: Pair
    balance: Pair
    own_balance: Pair


class Bin(Part, frozen=True, kw_only=True):
    """Users whose balance lies from `low` to `high`."""

    low: int
    high: int
    users: Pair


class LevelRow(Part, frozen=True, kw_only=True):
    """One level: thresholds (None where the catalog lacks it), users on it at the end, time to reach it."""

    key: str
    name: str
    points_old: int | None
    points_new: int | None
    users: Pair
    reach: ReachPair


class Shift(Part, frozen=True, kw_only=True):
    """How many users have a higher, lower or the same figure under the new catalog."""

    up: int
    down: int
    same: int


class ChangeBin(Part, frozen=True, kw_only=True):
    """Users whose balance changes by so much: `label` in words."""

    label: str
    users: int


class UserChange(Part, frozen=True, kw_only=True):
    """One user's balance."""

    user: str
    balance: Pair


class SystemReport(Part, frozen=True, kw_only=True):
    """One points system."""

    key: str
    name: str
    awards: Pair
    earned: Pair
    deducted: Pair
    outstanding: Pair
    median_balance: Pair
    triggers: list[TriggerRow]
    buckets: list[Bucket]
    months: list[MonthRow]
    deciles: list[DecileRow]
    balances: list[Bin]
    levels: list[LevelRow]
    moved: Shift
    moved_level: Shift | None
    changes: list[ChangeBin]
    gainers: list[UserChange]
    losers: list[UserChange]


class AchievementRow(Part, frozen=True, kw_only=True):
    """One achievement: users who have it at the end of the period, if they got it in it, and how long they took."""

    id: str
    name: str
    users: Pair
    reach: ReachPair


class StreakReport(Part, frozen=True, kw_only=True):
    """Streaks begun and lost in the period, alive at its end, and the longest ever."""

    started: Pair
    lost: Pair
    alive: Pair
    longest: Pair


class RefusedRow(Part, frozen=True, kw_only=True):
    """Refused records of one reason, with the message of the first."""

    reason: str
    records: Pair
    example: str


class About(Part, frozen=True, kw_only=True):
    """What was compared.

    Attributes:
        old, new: names of the catalogs. records: of the log. command: that was typed.
        since: begin of the period, None = all. first, last: instants of the first and last metric event, None if there is none.
        records_read: of the log, control records included.
    """

    old: str
    new: str
    records: str
    command: str
    tenant: str
    since: str | None
    first: str | None
    last: str | None
    records_read: int


class HistoryReport(Part, frozen=True, kw_only=True):
    """Two catalogs over the same history."""

    about: About
    bucket: Literal["day", "week", "month"]
    users: Pair
    events: Pair
    systems: list[SystemReport]
    achievements: list[AchievementRow]
    streaks: StreakReport
    refused: list[RefusedRow]
    warnings: list[str]


HEADLINE_TOP = 10
"""Users named among those who gain or lose most."""
