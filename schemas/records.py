"""Records of the input log `plaudit.events` (wire.md section 1)."""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

MAX_ID_LENGTH: Final = 255
"""Characters of a user id, an event id (C7, C31)."""

MAX_PROFILE_TEXT: Final = 1_024
"""Characters of a name, an e-mail address, an attribute value, a device token: a user's state stays bounded (D-23)."""

MAX_DEVICE_TOKENS: Final = 100
"""Device tokens of a user (D-23)."""

MAX_IDEMPOTENCY_KEY_LENGTH: Final = 255
"""Characters of an idempotency key (I11)."""

Instant = Annotated[datetime, Meta(tz=True)]
Identifier = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH)]
NonEmpty = Annotated[str, Meta(min_length=1, max_length=MAX_PROFILE_TEXT)]
Text = Annotated[str, Meta(max_length=MAX_PROFILE_TEXT)]


class UserInput(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True, gc=False):
    """The `user` object of a record (metrics-and-events.md section 4). What is unset stays as it is (U4)."""

    id: Identifier
    email: NonEmpty | UnsetType = UNSET
    name: NonEmpty | UnsetType = UNSET
    tz: str | None | UnsetType = UNSET
    sign_up_date: str | UnsetType = UNSET
    device_tokens: Annotated[list[Text], Meta(max_length=MAX_DEVICE_TOKENS)] | None | UnsetType = UNSET
    subscribe_to_emails: bool | UnsetType = UNSET
    attributes: dict[str, Text] | UnsetType = UNSET


User = UserInput | Identifier
"""A user object, or just the id (X3)."""


class _Record(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True, kw_only=True, gc=False):
    """What every record may carry (X2)."""

    event_id: Identifier | UnsetType = UNSET
    occurred_at: Instant | UnsetType = UNSET
    tenant: Annotated[str, Meta(max_length=MAX_ID_LENGTH)] = ""
    source: Text | UnsetType = UNSET


class MetricEvent(_Record, frozen=True, kw_only=True):
    """`metric` changed by `value` for `user` (X3). `value` keeps the literal number text (N2)."""

    metric: str
    user: User
    value: Raw
    attributes: dict[str, Text] | UnsetType = UNSET
    idempotency_key: str | UnsetType = UNSET


class Identify(_Record, frozen=True, kw_only=True, tag="identify", tag_field="type"):
    """Create or update a user (X6, F9)."""

    user: User


class CompleteAchievement(_Record, frozen=True, kw_only=True, tag="achievement.complete", tag_field="type"):
    """Complete an API achievement by its key (X6, A12)."""

    user: User
    achievement: str


class GrantFreeze(_Record, frozen=True, kw_only=True, tag="freeze.grant", tag_field="type"):
    """Grant one streak freeze (X6, S45)."""

    user: User


class RestoreStreak(_Record, frozen=True, kw_only=True, tag="streak.restore", tag_field="type"):
    """Restore a lost streak (X6, S71)."""

    user: User


class ResetStreak(_Record, frozen=True, kw_only=True, tag="streak.reset", tag_field="type"):
    """Set the current streak to 0 (X6, S75)."""

    user: User


class PauseStreak(_Record, frozen=True, kw_only=True, tag="streak.pause", tag_field="type"):
    """Pause the streak for an inclusive range of local dates (X6, S49)."""

    user: User
    id: Identifier
    start: str
    end: str


class UnpauseStreak(_Record, frozen=True, kw_only=True, tag="streak.unpause", tag_field="type"):
    """Delete a pause (X6, S54)."""

    user: User
    id: Identifier


class StreakMetricInput(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """A personal threshold of one metric (S81)."""

    key: str
    threshold: Raw


class StreakPreferences(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True, gc=False):
    """The `streak` part of preferences; what is unset stays as it is (U13)."""

    enabled: bool | UnsetType = UNSET
    evaluation_mode: str | UnsetType = UNSET
    metrics: list[StreakMetricInput] | UnsetType = UNSET
    days_off: list[int] | UnsetType = UNSET


Channels = Annotated[
    list[str],
    Meta(
        description="`email`, `push`; an empty list switches the kind off",
        extra_json_schema={"items": {"enum": ["email", "push"]}},
    ),
]
"""Channels of a kind of message, checked by the rules (U13a)."""


class NotificationPreferences(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """The `notifications` part of preferences; a kind that is unset stays as it is (U13)."""

    achievement_completed: Channels | UnsetType = UNSET
    recap: Channels | UnsetType = UNSET
    reactivation: Channels | UnsetType = UNSET
    streak_reminder: Channels | UnsetType = UNSET


class Preferences(_Record, frozen=True, kw_only=True, tag="preferences", tag_field="type"):
    """Patch a user's preferences (X6, U13)."""

    user: User
    streak: StreakPreferences | UnsetType = UNSET
    notifications: NotificationPreferences | UnsetType = UNSET


class Erase(_Record, frozen=True, kw_only=True, tag="erase", tag_field="type"):
    """Erase all that is known of a user, who is named by the id alone (X29)."""

    user: User


class Tick(_Record, frozen=True, kw_only=True, tag="tick", tag_field="type"):
    """Time has reached `at` (X7). Written to every partition by the clock."""

    at: Instant


class CatalogSwitch(_Record, frozen=True, kw_only=True, tag="catalog", tag_field="type"):
    """Catalog `version` is in force from here on (X7). Written to every partition when a version is published."""

    version: NonEmpty
    at: Instant


UserRecord = (
    MetricEvent
    | Identify
    | CompleteAchievement
    | GrantFreeze
    | RestoreStreak
    | ResetStreak
    | PauseStreak
    | UnpauseStreak
    | Preferences
    | Erase
)
ControlRecord = Tick | CatalogSwitch
InputRecord = UserRecord | ControlRecord

TYPED: Final[dict[str, type[InputRecord]]] = {
    "identify": Identify,
    "achievement.complete": CompleteAchievement,
    "freeze.grant": GrantFreeze,
    "streak.pause": PauseStreak,
    "streak.unpause": UnpauseStreak,
    "streak.restore": RestoreStreak,
    "streak.reset": ResetStreak,
    "preferences": Preferences,
    "erase": Erase,
    "tick": Tick,
    "catalog": CatalogSwitch,
}
"""Record types by the value of `type`; a record without it is a metric event (X2)."""


class LogRecord(msgspec.Struct, frozen=True, gc=False):
    """One record as the log holds it.

    Attributes:
        partition: number of the input partition.
        offset: offset within it.
        timestamp_ms: Kafka record timestamp, milliseconds since the epoch.
        key: record key, None if absent.
        value: record value, None for a tombstone.
        headers: record headers.
    """

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
