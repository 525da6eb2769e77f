"""The tables that the sink writes, column by column, and the topics that feed them.

The types are those of the migrations; a test compares the two. Instants are inserted as integer milliseconds, dates as
integer days, decimals as text (schemas.instants, X13).
"""

from typing import Final

import msgspec

from schemas import topics

_TEXT: Final = "String"
_LOW: Final = "LowCardinality(String)"
_INSTANT: Final = "DateTime64(3, 'UTC')"
_DATE: Final = "Date32"
_MAP: Final = "Map(LowCardinality(String), String)"
_EXACT: Final = "Decimal(38, 9)"

PROVENANCE: Final = (
    ("src_topic", _LOW),
    ("src_part", "UInt32"),
    ("src_off", "UInt64"),
    ("ver", "UInt64"),
)
"""Last columns of every table: where the record stood that made the row, and its version (rows.batch.version)."""

PROJECTED_TOPICS: Final = (
    topics.LEDGER,
    topics.AWARDS,
    topics.LEVELS,
    topics.ACHIEVEMENTS,
    topics.STREAKS,
    topics.REJECTED,
)
"""Logical topics that the sink reads."""


class Table(msgspec.Struct, frozen=True):
    """One table: name, and its columns as (name, ClickHouse type) without those of PROVENANCE."""

    name: str
    own_columns: tuple[tuple[str, str], ...]

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """All columns in the order of a row."""
        return self.own_columns + PROVENANCE


_USER: Final = (("tenant", _LOW), ("user_id", _TEXT))

USERS: Final = Table(
    "users_log",
    (
        *_USER,
        ("name", "Nullable(String)"),
        ("email", "Nullable(String)"),
        ("tz", "Nullable(String)"),
        ("attributes", _MAP),
        ("control", "Bool"),
        ("created_at", _INSTANT),
        ("updated_at", _INSTANT),
    ),
)

METRIC_EVENTS: Final = Table(
    "metric_events",
    (
        *_USER,
        ("metric_key", _LOW),
        ("effective_at", _INSTANT),
        ("event_id", _TEXT),
        ("value", _EXACT),
        ("total_after", _EXACT),
        ("attributes", _MAP),
        ("local_date", _DATE),
        ("idempotency_key", "Nullable(String)"),
    ),
)

POINTS_AWARDS: Final = Table(
    "points_awards",
    (
        *_USER,
        ("system_key", _LOW),
        ("date", _INSTANT),
        ("award_id", _TEXT),
        ("trigger_id", _LOW),
        ("trigger_type", _LOW),
        ("awarded", "Int64"),
        ("total_after", "Int64"),
        ("count", "Int64"),
        ("base", "Int64"),
        ("boosts", "Array(String)"),
        ("local_date", _DATE),
        ("cause_type", _LOW),
        ("cause_id", _TEXT),
    ),
)

LEVEL_CHANGES: Final = Table(
    "level_changes",
    (
        *_USER,
        ("system_key", _LOW),
        ("at", _INSTANT),
        ("change_id", _TEXT),
        ("previous_level_key", _LOW),
        ("level_key", _LOW),
        ("total_after", "Int64"),
    ),
)

ACHIEVEMENT_COMPLETIONS: Final = Table(
    "achievement_completions",
    (
        *_USER,
        ("achievement_id", _LOW),
        ("achieved_at", _INSTANT),
        ("local_date", _DATE),
        ("backdated", "Bool"),
        ("achievement_name", _LOW),
        ("trigger", _LOW),
        ("completion_id", _TEXT),
        ("feed", _LOW),
    ),
)

STREAK_STATE: Final = Table(
    "streak_state_log",
    (
        *_USER,
        ("frequency", _LOW),
        ("length", "Int64"),
        ("started", "Nullable(Date32)"),
        ("extended_at", "Nullable(DateTime64(3, 'UTC'))"),
        ("period_start", _DATE),
        ("period_end", _DATE),
        ("period_met", "Bool"),
        ("longest", "Int64"),
        ("longest_at", "Nullable(DateTime64(3, 'UTC'))"),
    ),
)

STREAK_PERIODS: Final = Table(
    "streak_periods_log",
    (
        *_USER,
        ("frequency", _LOW),
        ("period_start", _DATE),
        ("period_end", _DATE),
        ("length", "Int64"),
        ("outcome", _LOW),
        ("used_freeze", "Bool"),
        ("used_pause", "Bool"),
        ("day_off", "Bool"),
        ("bridged", "Bool"),
        ("reset_at", "Nullable(DateTime64(3, 'UTC'))"),
        ("repaired", "Bool"),
    ),
)

STREAK_FREEZES: Final = Table(
    "streak_freezes",
    (
        *_USER,
        ("at", _INSTANT),
        ("change_id", _TEXT),
        ("delta", "Int64"),
        ("reason", _LOW),
        ("balance", "Int64"),
    ),
)

STREAK_EVENTS: Final = Table(
    "streak_events",
    (
        *_USER,
        ("at", _INSTANT),
        ("event_id", _TEXT),
        ("kind", _LOW),
        ("frequency", _LOW),
        ("length", "Int64"),
        ("cause", _LOW),
        ("reason", _LOW),
    ),
)

REJECTED: Final = Table(
    "rejected",
    (
        *_USER,
        ("reason", _LOW),
        ("at", _INSTANT),
        ("origin_topic", _LOW),
        ("origin_partition", "Int64"),
        ("origin_offset", "Int64"),
        ("key", _TEXT),
        ("message", _TEXT),
        ("value", _TEXT),
        ("truncated", "Bool"),
    ),
)

ERASURES: Final = Table("erasures", (*_USER, ("erased_at", _INSTANT), ("event_id", _TEXT)))

TABLES: Final = (
    USERS,
    METRIC_EVENTS,
    POINTS_AWARDS,
    LEVEL_CHANGES,
    ACHIEVEMENT_COMPLETIONS,
    STREAK_STATE,
    STREAK_PERIODS,
    STREAK_FREEZES,
    STREAK_EVENTS,
    REJECTED,
    ERASURES,
)
"""Every table that the sink writes rows to."""

ROLLUPS: Final = ("metric_totals_rollup", "user_activity_rollup", "points_balances_rollup")
"""Tables that materialized views fill."""

TIME_COLUMNS: Final = {
    "metric_events": "effective_at",
    "points_awards": "date",
    "level_changes": "at",
    "achievement_completions": "achieved_at",
    "streak_periods_log": "period_end",
    "streak_freezes": "at",
    "streak_events": "at",
    "rejected": "at",
    "erasures": "erased_at",
}
"""Tables that may have a retention, and the time that counts. The others say how things stand now; their rows go with
the user."""

PROGRESS_TABLE: Final = "sink_progress"
