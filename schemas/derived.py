"""Derived events: the envelope E2 and the data of each type (derived-events.md section 2, wire.md section 2)."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from schemas.outcome import (
    AchievementObject,
    Award,
    DateText,
    InstantText,
    LevelObject,
    Number,
    ReadStreak,
    StoredAward,
    StreakObject,
    UserObject,
    _Object,
)

Frequency = Literal["daily", "weekly", "monthly"]


class Meta(_Object, frozen=True, kw_only=True):
    """Extension fields of the envelope (S92); `channels` of a message if the user chose any (D-37)."""

    frequency: Frequency | UnsetType = UNSET
    cause: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    period_start: DateText | UnsetType = UNSET
    channels: list[str] | UnsetType = UNSET


class Envelope(_Object, frozen=True, kw_only=True):
    """A derived event as it stands on a topic (E2)."""

    id: str
    type: str
    occurred_at: InstantText
    emitted_at: InstantText
    tenant_id: str
    environment: str
    user_id: str | UnsetType = UNSET
    causation_id: str | UnsetType = UNSET
    meta: Meta | UnsetType = UNSET
    data: Any


class AchievementCompleted(_Object, frozen=True, kw_only=True):
    """`achievement.completed` (E4); `completion_id` per achievements.md section 7."""

    type: Literal["achievement.completed"] = "achievement.completed"
    user: UserObject
    achievement: AchievementObject
    completion_id: str


class StreakMoved(_Object, frozen=True, kw_only=True):
    """`streak.started`, `streak.extended` (S19, S20)."""

    type: Literal["streak.started", "streak.extended"]
    user: UserObject
    streak: StreakObject


class StreakLost(_Object, frozen=True, kw_only=True):
    """`streak.lost`: the length that was lost (S25)."""

    type: Literal["streak.lost"] = "streak.lost"
    user: UserObject
    length: int


class FreezeConsumed(_Object, frozen=True, kw_only=True):
    """`streak.freeze_consumed`: freezes used, balance after (S24)."""

    type: Literal["streak.freeze_consumed"] = "streak.freeze_consumed"
    user: UserObject
    consumed: int
    freezes: int


class FreezeEarned(_Object, frozen=True, kw_only=True):
    """`streak.freeze_earned`: freezes earned, balance after (S47)."""

    type: Literal["streak.freeze_earned"] = "streak.freeze_earned"
    user: UserObject
    earned: int
    freezes: int


class ChangedPoints(_Object, frozen=True, kw_only=True):
    """The `points` of `points.changed`: system, sums and awards since the last event (E7)."""

    id: str
    key: str
    name: str
    description: str | None
    badge_url: str | None
    max_points: int | None
    total: int
    added: int
    awards: list[Award]
    level: LevelObject | None | UnsetType = UNSET


class PointsChanged(_Object, frozen=True, kw_only=True):
    """`points.changed`, at most once per user and system per 15 minutes (P85, E7)."""

    type: Literal["points.changed"] = "points.changed"
    user: UserObject
    points: ChangedPoints


class LevelPoints(_Object, frozen=True, kw_only=True):
    """The `points` of `points.level_changed`: system and total."""

    id: str
    key: str
    name: str
    description: str | None
    badge_url: str | None
    max_points: int | None
    total: int


class LevelChanged(_Object, frozen=True, kw_only=True):
    """`points.level_changed` (E8)."""

    type: Literal["points.level_changed"] = "points.level_changed"
    user: UserObject
    points: LevelPoints
    previous_level: LevelObject | None
    new_level: LevelObject | None


class RecapPeriod(_Object, frozen=True, kw_only=True):
    """The period of a recap, both days inclusive."""

    period_start: DateText
    period_end: DateText


class RecapDue(_Object, frozen=True, kw_only=True):
    """`emails.recap_due` (E14)."""

    type: Literal["emails.recap_due"] = "emails.recap_due"
    timestamp: InstantText
    user: UserObject
    recap: RecapPeriod


class Reactivation(_Object, frozen=True, kw_only=True):
    """Which message of a sequence, and how long ago the last metric event was."""

    message_number: int
    days_since_last_active: int


class ReactivationDue(_Object, frozen=True, kw_only=True):
    """`emails.reactivation_due` (E15)."""

    type: Literal["emails.reactivation_due"] = "emails.reactivation_due"
    timestamp: InstantText
    user: UserObject
    reactivation: Reactivation


class StreakReminderDue(_Object, frozen=True, kw_only=True):
    """`emails.streak_reminder_due` (E16)."""

    type: Literal["emails.streak_reminder_due"] = "emails.streak_reminder_due"
    timestamp: InstantText
    user: UserObject
    streak: ReadStreak


class AchievementDue(_Object, frozen=True, kw_only=True):
    """`emails.achievement_due` (E17)."""

    type: Literal["emails.achievement_due"] = "emails.achievement_due"
    timestamp: InstantText
    user: UserObject
    achievement: AchievementObject


class MetricChanged(_Object, frozen=True, kw_only=True):
    """`metric.changed`: every accepted event."""

    metric: str
    event_id: str
    value: Number
    total: Number
    local_date: DateText
    attributes: dict[str, str]
    idempotency_key: str | None


class SystemRef(_Object, frozen=True, kw_only=True):
    """A points system by id and key."""

    id: str
    key: str


class Cause(_Object, frozen=True, kw_only=True):
    """What an award stems from: `event`, `completion`, `identify` with the record's event id, or `time` with the due instant."""

    type: Literal["event", "completion", "identify", "time"]
    id: str


class PointsAwarded(_Object, frozen=True, kw_only=True):
    """`points.awarded`: every award, unthrottled (points.md section 10)."""

    points_system: SystemRef
    award: StoredAward
    total: int
    cause: Cause


class NoticedBoost(_Object, frozen=True, kw_only=True):
    """The `boost` of its started and finished events; `user_id` None = for everybody, or by attributes."""

    id: str
    name: str
    status: Literal["active", "finished"]
    user_id: str | None
    points_system_id: str
    points_system_key: str
    points_system_name: str
    start: DateText
    end: DateText | None
    multiplier: Number
    rounding: Literal["down", "up", "nearest"]


class BoostNotice(_Object, frozen=True, kw_only=True):
    """`points.boost_started`, `points.boost_finished` (E9, P87)."""

    type: Literal["points.boost_started", "points.boost_finished"]
    timestamp: InstantText
    boost: NoticedBoost


class UserUpserted(_Object, frozen=True, kw_only=True):
    """`user.upserted`: a stored field changed (C36)."""

    user: UserObject


class AchievementBackdated(_Object, frozen=True, kw_only=True):
    """`achievement.backdated` (A23)."""

    achievement: AchievementObject


class StreakChanged(_Object, frozen=True, kw_only=True):
    """`streak.changed`: a chain of any frequency changed (C40)."""

    frequency: Frequency
    length: int
    started: DateText | None
    extended: InstantText | None
    period_start: DateText
    period_end: DateText
    met: bool
    longest: int
    longest_at: InstantText | None


class StreakPeriod(_Object, frozen=True, kw_only=True):
    """`streak.period_closed`, `streak.period_repaired`: one settled row (S93)."""

    frequency: Frequency
    period_start: DateText
    period_end: DateText
    length: int
    outcome: Literal["met", "frozen", "paused", "day_off", "bridged", "lost", "reset"]
    used_freeze: bool
    used_pause: bool
    day_off: bool
    bridged: bool


class StreakRestored(_Object, frozen=True, kw_only=True):
    """`streak.restored` (S74)."""

    frequency: Frequency
    length: int


class FreezesChanged(_Object, frozen=True, kw_only=True):
    """`streak.freezes_changed`: every balance change (C40)."""

    delta: int
    reason: Literal["initial", "auto", "admin", "refund", "consumed"]
    balance: int


class UserErased(_Object, frozen=True, kw_only=True):
    """`user.erased`: what logical topic `topic` holds of the user before this record no longer counts (X30)."""

    topic: str


DATA_OF_TYPE: dict[str, type[msgspec.Struct]] = {
    "achievement.completed": AchievementCompleted,
    "achievement.backdated": AchievementBackdated,
    "emails.recap_due": RecapDue,
    "emails.reactivation_due": ReactivationDue,
    "emails.streak_reminder_due": StreakReminderDue,
    "emails.achievement_due": AchievementDue,
    "metric.changed": MetricChanged,
    "points.awarded": PointsAwarded,
    "points.boost_finished": BoostNotice,
    "points.boost_started": BoostNotice,
    "points.changed": PointsChanged,
    "points.level_changed": LevelChanged,
    "streak.started": StreakMoved,
    "streak.extended": StreakMoved,
    "streak.lost": StreakLost,
    "streak.freeze_consumed": FreezeConsumed,
    "streak.freeze_earned": FreezeEarned,
    "streak.changed": StreakChanged,
    "streak.period_closed": StreakPeriod,
    "streak.period_repaired": StreakPeriod,
    "streak.restored": StreakRestored,
    "streak.freezes_changed": FreezesChanged,
    "user.upserted": UserUpserted,
    "user.erased": UserErased,
}
"""The Struct of `data` of every derived type."""


class Origin(msgspec.Struct, frozen=True):
    """Where a record stood in the log."""

    topic: str
    partition: int
    offset: int
    timestamp: InstantText


class Rejected(msgspec.Struct, frozen=True):
    """A record of `plaudit.rejected` (X11). Key and value are text if UTF-8, else `{"base64": ...}`, cut at 64 KiB."""

    reason: str
    message: str
    origin: Origin
    key: str | dict[str, str] | None
    value: str | dict[str, str] | None
    truncated: bool | UnsetType = UNSET


class Handled(msgspec.Struct, omit_defaults=True, frozen=True):
    """A record of `plaudit.handled`, key `place` (X31): what was done about a refused record, and when.

    `retried_as` is the place of the record that was written again, empty for one that was dropped.
    """

    place: str
    action: Literal["retried", "dropped"]
    at: str
    retried_as: str = msgspec.field(default="", name="as")
