"""Objects that outcome documents and derived events share, and the outcome document itself (outcome.md)."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from schemas.catalog import Filter

Number = Annotated[Raw, Meta(description="exact decimal, no exponent (X13)", extra_json_schema={"type": "number"})]
InstantText = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
DateText = Annotated[str, Meta(extra_json_schema={"format": "date"})]


class _Object(msgspec.Struct, rename="camel", frozen=True, kw_only=True, gc=False):
    """JSON object with camelCase names; what is UNSET is left out, what is None is null (R8)."""


class KeyValue(msgspec.Struct, frozen=True, gc=False):
    """One attribute pair of a filter."""

    key: str
    value: str


def key_values(pairs: Filter) -> list[KeyValue]:
    """Return a filter in its output form."""
    return [KeyValue(key, value) for key, value in pairs]


class UserObject(_Object, frozen=True, kw_only=True):
    """A user as events show it (derived-events.md section 1)."""

    id: str
    email: str | None
    name: str | None
    tz: str | None
    sign_up_date: DateText | None
    device_tokens: list[str] | None
    subscribe_to_emails: bool
    attributes: dict[str, str]
    control: bool
    created: InstantText
    updated: InstantText


class AchievementObject(_Object, frozen=True, kw_only=True):
    """An achievement as events and outcomes show it (outcome.md section 1.1)."""

    id: str
    name: str
    trigger: str
    description: str | None
    badge_url: str | None
    achieved_at: InstantText | None
    user_attributes: list[KeyValue]
    key: str | UnsetType = UNSET
    metric_id: str | UnsetType = UNSET
    metric_name: str | UnsetType = UNSET
    metric_value: Number | UnsetType = UNSET
    event_attributes: list[KeyValue] | UnsetType = UNSET
    streak_length: int | UnsetType = UNSET
    achievement_ids: list[str] | UnsetType = UNSET
    anniversary_years: int | UnsetType = UNSET


class StreakObject(_Object, frozen=True, kw_only=True):
    """A streak (outcome.md section 1.2, streaks.md section 5). `extended` is a bool in outcomes, an instant in reads."""

    length: int
    frequency: Literal["daily", "weekly", "monthly"]
    started: DateText | None
    period_start: DateText | None
    period_end: DateText | None
    expires: DateText | None
    extended: bool | InstantText | None
    freezes: int | UnsetType = UNSET
    max_freezes: int | UnsetType = UNSET
    freeze_auto_earn_interval: int | UnsetType = UNSET
    freeze_auto_earn_amount: int | UnsetType = UNSET


class StreakRow(_Object, frozen=True, kw_only=True):
    """A period of a streak's history (S85)."""

    period_start: DateText
    period_end: DateText
    length: int
    used_freeze: bool | UnsetType = UNSET
    used_pause: bool


class PauseObject(_Object, frozen=True, kw_only=True):
    """A pause that is not over (S56)."""

    id: str
    start: DateText
    end: DateText


class ReadStreak(StreakObject, frozen=True, kw_only=True):
    """A streak as reads show it, with history and pauses (streaks.md section 5)."""

    streak_history: list[StreakRow]
    pauses: list[PauseObject]


class TriggerObject(_Object, frozen=True, kw_only=True):
    """A trigger as an award copies it (outcome.md section 1.5)."""

    id: str
    type: str
    points: int
    status: str
    user_attributes: list[KeyValue]
    metric_id: str | UnsetType = UNSET
    metric_name: str | UnsetType = UNSET
    metric_threshold: int | UnsetType = UNSET
    event_attributes: list[KeyValue] | UnsetType = UNSET
    streak_length_threshold: int | UnsetType = UNSET
    achievement_id: str | UnsetType = UNSET
    achievement_name: str | UnsetType = UNSET
    time_unit: str | UnsetType = UNSET
    time_interval: int | UnsetType = UNSET
    created: InstantText
    updated: InstantText


class BoostObject(_Object, frozen=True, kw_only=True):
    """A boost as an award lists it (outcome.md section 1.4)."""

    id: str
    name: str
    status: Literal["scheduled", "active", "finished"]
    start: DateText
    end: DateText | None
    multiplier: Number
    rounding: str


class Award(_Object, frozen=True, kw_only=True):
    """An award as an outcome shows it (outcome.md section 1.4)."""

    id: str
    awarded: int
    date: InstantText
    total: int
    trigger: TriggerObject
    boosts: list[BoostObject] | UnsetType = UNSET


class StoredAward(_Object, frozen=True, kw_only=True):
    """An award on the topic and in the store, with what P56 adds."""

    id: str
    awarded: int
    date: InstantText
    total: int
    trigger: TriggerObject
    boosts: list[BoostObject] | UnsetType = UNSET
    count: int
    base: int
    local_date: DateText


class LevelObject(_Object, frozen=True, kw_only=True):
    """A level (outcome.md section 1.6)."""

    id: str
    key: str
    name: str
    description: str
    badge_url: str | None
    points: int


class PointsEntry(_Object, frozen=True, kw_only=True):
    """What one record did in one points system (outcome.md section 1.3). `level` only if it changed (R7)."""

    id: str
    key: str
    name: str
    description: str | None
    badge_url: str | None
    max_points: int | None
    total: int
    added: int
    level: LevelObject | None | UnsetType = UNSET
    awards: list[Award]


class EventOutcome(_Object, frozen=True, kw_only=True):
    """The outcome document of a metric event (outcome.md section 1)."""

    event_id: str
    metric_id: str
    total: Number
    achievements: list[AchievementObject]
    current_streak: StreakObject
    points: dict[str, PointsEntry]
    leaderboards: dict[str, Raw]
    idempotency_key: str | UnsetType = UNSET
    idempotent_replayed: bool | UnsetType = UNSET


class CompletionOutcome(_Object, frozen=True, kw_only=True):
    """The answer to an achievement completion (A12)."""

    completion_id: str
    achievement: AchievementObject
    points: dict[str, PointsEntry]


class IdentifyOutcome(_Object, frozen=True, kw_only=True):
    """The answer to an identify call: the user, and points of `user_creation` triggers (F9)."""

    user: UserObject
    points: dict[str, PointsEntry]


class Issue(msgspec.Struct, frozen=True):
    """A refused item of an admin request (M7)."""

    id: str
    severity: Literal["error", "warning"]
    message: str


class OutcomeRecord(_Object, frozen=True, kw_only=True):
    """A record of `plaudit.outcomes` (X12); what does not apply is left out.

    `outcome` is an EventOutcome, a CompletionOutcome or an IdentifyOutcome, by `type`.
    """

    event_id: str
    type: str
    tenant_id: str
    user_id: str
    metric: str | UnsetType = UNSET
    occurred_at: InstantText
    effective_at: InstantText | UnsetType = UNSET
    status: int
    reason: str | UnsetType = UNSET
    outcome: Any = UNSET
    issues: list[Issue] | UnsetType = UNSET
