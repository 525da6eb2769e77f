"""Topics, their keys and settings, and which type goes where (architecture.md section 3, wire.md section 2)."""

from collections.abc import Mapping
from typing import Final

import msgspec

from schemas.retention import DAY_MS

EVENTS: Final = "events"
CATALOG: Final = "catalog"
AWARDS: Final = "awards"
LEVELS: Final = "levels"
ACHIEVEMENTS: Final = "achievements"
STREAKS: Final = "streaks"
LEADERBOARDS: Final = "leaderboards"
MESSAGES: Final = "messages"
LEDGER: Final = "ledger"
OUTCOMES: Final = "outcomes"
REJECTED: Final = "rejected"
HANDLED: Final = "handled"
"""Which refused records were retried or dropped (X31). Only commands use it; a worker does without."""

DERIVED: Final = (AWARDS, LEVELS, ACHIEVEMENTS, STREAKS, LEADERBOARDS, MESSAGES, LEDGER)
"""Topics that hold derived events with envelope E2."""

TOPIC_OF_TYPE: Final = {
    "points.changed": AWARDS,
    "points.awarded": AWARDS,
    "points.boost_started": AWARDS,
    "points.boost_finished": AWARDS,
    "points.level_changed": LEVELS,
    "achievement.completed": ACHIEVEMENTS,
    "streak.started": STREAKS,
    "streak.extended": STREAKS,
    "streak.lost": STREAKS,
    "streak.freeze_consumed": STREAKS,
    "streak.freeze_earned": STREAKS,
    "emails.recap_due": MESSAGES,
    "emails.reactivation_due": MESSAGES,
    "emails.streak_reminder_due": MESSAGES,
    "emails.achievement_due": MESSAGES,
    "metric.changed": LEDGER,
    "user.upserted": LEDGER,
    "achievement.backdated": LEDGER,
    "streak.changed": LEDGER,
    "streak.period_closed": LEDGER,
    "streak.period_repaired": LEDGER,
    "streak.restored": LEDGER,
    "streak.freezes_changed": LEDGER,
}
"""Logical topic of every derived type that users' records cause."""

ERASED: Final = "user.erased"
"""Derived type that tells of an erasure, once in each of ERASED_TOPICS (X30)."""

ERASED_TOPICS: Final = (AWARDS, LEVELS, ACHIEVEMENTS, STREAKS, MESSAGES, LEDGER, REJECTED)
"""Logical topics that hold something of users, in the order of emission. On `outcomes` the erasure's own outcome tells."""

DEFAULT_PREFIX: Final = "plaudit"
DEFAULT_PARTITIONS: Final = 8

STATE_TABLE: Final = "state"
"""The workers' table of users."""

MAX_RECORD_BYTES: Final = 256 * 1024
"""Largest input record (X1)."""

MAX_TOPIC_RECORD_BYTES: Final = 11 * 1024 * 1024
"""What the topics themselves take, so that an oversized record is refused with a reason and not at the producer (X1)."""

_TEN_YEARS_MS: Final = 10 * 365 * 86_400_000
_FUTURE_LIMIT_MS: Final = 3_600_000


class TopicSpec(msgspec.Struct, frozen=True):
    """One topic to create: logical name, partitions (None = those of the input log), settings."""

    name: str
    partitions: int | None
    config: dict[str, str]


RETAINED: Final = (EVENTS, *DERIVED, OUTCOMES, REJECTED)
"""Logical topics that may have a retention."""

RETENTION_GROUPS: Final = {"derived": DERIVED}
"""Names that stand for several of them."""


def topic_specs(retention: Mapping[str, int] = {}) -> list[TopicSpec]:
    """Return all topics of an installation (X5, X9a), without the state changelog, which the engine declares.

    `retention`: days that topics keep their records, by logical name; the others keep them for ever.
    """
    size = {"max.message.bytes": str(MAX_TOPIC_RECORD_BYTES)}
    derived = {"message.timestamp.type": "LogAppendTime", **size}
    return [
        TopicSpec(
            EVENTS,
            None,
            {
                "segment.ms": str(_TEN_YEARS_MS),
                **_kept(retention.get(EVENTS)),
                "message.timestamp.type": "CreateTime",
                "message.timestamp.after.max.ms": str(_FUTURE_LIMIT_MS),
                **size,
            },
        ),
        TopicSpec(CATALOG, 1, {"cleanup.policy": "compact", **size}),
        TopicSpec(HANDLED, 1, {"cleanup.policy": "compact"}),
        *(TopicSpec(name, None, {**_kept(retention.get(name)), **derived}) for name in (*DERIVED, OUTCOMES, REJECTED)),
    ]


def _kept(days: int | None) -> dict[str, str]:
    """Only whole segments go, when their latest record is too old: a segment spans a day at most, and half of it if that
    is all that is kept."""
    if days is None:
        return {"retention.ms": "-1"}
    return {"retention.ms": str(days * DAY_MS), "segment.ms": str(DAY_MS if days > 1 else DAY_MS // 2)}


def full_name(name: str, prefix: str = DEFAULT_PREFIX) -> str:
    """Return the Kafka topic of a logical name: `plaudit.events`."""
    return f"{prefix}.{name}"


def progress_group(prefix: str = DEFAULT_PREFIX) -> str:
    """Return the consumer group of the workers, whose committed offsets say how far the input log is applied."""
    return f"{prefix}-progress"


def state_changelog(prefix: str = DEFAULT_PREFIX) -> str:
    """Return the topic of the workers' state, named as Faust names the changelog of the table STATE_TABLE."""
    return f"{progress_group(prefix)}-{STATE_TABLE}-changelog"


def user_key(tenant: str, user_id: str) -> bytes:
    """Return the record key of a user: the user id, with tenants tenant, NUL, user id (X1)."""
    return f"{tenant}\0{user_id}".encode() if tenant else user_id.encode()


def tenant_of(key: bytes) -> str:
    """Return the tenant of a user's record key, empty without one; the inverse of `user_key` as far as it goes."""
    tenant, separator, _ = key.partition(b"\0")
    return tenant.decode() if separator else ""
