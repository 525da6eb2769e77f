"""The catalog: metrics, attributes, points systems, achievements, streak settings (X14), in normalised form.

Ids are filled in, references are ids, filters are sorted pairs, metric thresholds are scaled integers, instants are
epoch milliseconds, dates are day numbers. `schemas.catalog_file` reads and checks the file form.
"""

from typing import Literal

import msgspec

Filter = tuple[tuple[str, str], ...]
"""Key/value pairs in key order; all must match; empty matches everything (M13, M15)."""

Status = Literal["inactive", "active", "archived"]
TriggerType = Literal["metric", "streak", "achievement", "time", "user_creation"]
AchievementType = Literal["metric", "streak", "api", "achievement", "anniversary"]
Rounding = Literal["down", "up", "nearest"]
Frequency = Literal["daily", "weekly", "monthly"]

FREQUENCIES: tuple[Frequency, ...] = ("daily", "weekly", "monthly")

WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
"""Names of days; 0 = Sunday (streaks.md section 1)."""


class Metric(msgspec.Struct, frozen=True):
    """One kind of counted interaction (metrics-and-events.md section 2)."""

    id: str
    key: str
    name: str
    unit_type: str = "number"
    units: str = ""
    status: Literal["active", "archived"] = "active"


class Trigger(msgspec.Struct, frozen=True):
    """A points trigger (points.md section 2). `metric` is a metric key, `achievement` an achievement id.

    `metric_threshold` is in whole metric units, `interval_ms` in milliseconds, `created_ms`/`updated_ms` None where the
    file gives none (C20), `order` its place in the file.
    """

    id: str
    type: TriggerType
    points: int
    status: Status
    order: int
    user_attributes: Filter = ()
    event_attributes: Filter = ()
    metric: str | None = None
    metric_threshold: int = 0
    streak_length: int = 0
    achievement: str | None = None
    time_unit: Literal["hour", "day"] | None = None
    time_interval: int = 0
    block_if_out_of_points: bool = False
    created_ms: int | None = None
    updated_ms: int | None = None

    @property
    def interval_ms(self) -> int:
        """Time between two ticks of a time trigger, milliseconds; a day is 24 hours (P25)."""
        return self.time_interval * (3_600_000 if self.time_unit == "hour" else 86_400_000)


class Boost(msgspec.Struct, frozen=True):
    """A multiplier in a date window (points.md section 3). `multiplier_micro` is the multiplier times 10^6."""

    id: str
    name: str
    start_day: int
    end_day: int | None
    multiplier_micro: int
    rounding: Rounding
    enabled: bool
    user_id: str | None = None
    user_attributes: Filter = ()


class Level(msgspec.Struct, frozen=True):
    """A level of a points system (points.md section 5)."""

    id: str
    key: str
    name: str
    points: int
    description: str = ""
    badge_url: str | None = None


class PointsSystem(msgspec.Struct, frozen=True):
    """A points counter with its triggers, boosts and levels (points.md section 1)."""

    id: str
    key: str
    name: str
    description: str | None
    badge_url: str | None
    max_points: int | None
    status: Literal["active", "archived"]
    triggers: tuple[Trigger, ...]
    boosts: tuple[Boost, ...]
    levels: tuple[Level, ...]


class Achievement(msgspec.Struct, frozen=True):
    """An achievement (achievements.md section 1). `metric_value` is scaled, `metric` a metric key."""

    id: str
    name: str
    description: str | None
    badge_url: str | None
    trigger: AchievementType
    status: Literal["inactive", "active", "locked"]
    key: str | None = None
    metric: str | None = None
    metric_value: int = 0
    streak_length: int = 0
    achievement_ids: tuple[str, ...] = ()
    anniversary_years: int = 0
    user_attributes: Filter = ()
    event_attributes: Filter = ()


class StreakMetric(msgspec.Struct, frozen=True):
    """A metric that counts for the streak; `threshold` is scaled."""

    key: str
    threshold: int


class Freezes(msgspec.Struct, frozen=True):
    """Streak freeze settings (streaks.md section 1)."""

    start_count: int
    max_count: int
    auto_earn_interval: int | None = None
    auto_earn_amount: int | None = None


class StreakSettings(msgspec.Struct, frozen=True):
    """Streak settings (streaks.md section 1). `week_start` and `days_off` count from 0 = Sunday."""

    frequency: Frequency = "daily"
    evaluation_mode: Literal["OR", "AND"] = "OR"
    metrics: tuple[StreakMetric, ...] = ()
    customization_enabled: bool = False
    days_off: tuple[int, ...] = ()
    freezes: Freezes | None = None
    week_start: int = 0
    settle_delay_seconds: int = 0


class MessageSettings(msgspec.Struct, frozen=True):
    """Which messages are due (E12-E17); `max_delay_hours` after its due instant a message is left out (D-34)."""

    recap: Literal["weekly", "monthly"] | None = None
    reactivation: bool = False
    streak_reminder: bool = False
    achievement: bool = False
    max_delay_hours: int = 24


class Catalog(msgspec.Struct, frozen=True):
    """One catalog version of one tenant."""

    metrics: tuple[Metric, ...] = ()
    event_attributes: tuple[str, ...] = ()
    user_attributes: tuple[str, ...] = ()
    systems: tuple[PointsSystem, ...] = ()
    achievements: tuple[Achievement, ...] = ()
    streak: StreakSettings | None = None
    control_ratio: int = 0
    messages: MessageSettings | None = None


class CatalogRecord(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """Value of a record of `plaudit.catalog` (X7): one immutable version. `config` is the file form, `at` epoch ms (C38)."""

    tenant: str
    version: str
    at_ms: int
    config: msgspec.Raw
