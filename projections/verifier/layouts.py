"""The tables, column by column, and the form in which each column is compared (analytics.md section 1, migrations)."""

from typing import Final, NamedTuple

_FORM_OF_KIND: Final = {
    "plain": "{}",
    "instant": "toUnixTimestamp64Milli({})",
    "day": "toInt32({})",
    "exact": "toString({})",
}
"""How a column is asked for."""


class Column(NamedTuple):
    """A column of a table or view: name, and `plain`, `instant`, `day` or `exact`; `later`: it came with a later migration
    and is empty in rows that were there before."""

    name: str
    kind: str = "plain"
    later: str = ""

    @property
    def sql(self) -> str:
        """The expression that asks for it in its compared form."""
        return _FORM_OF_KIND[self.kind].format(self.name)


class Layout(NamedTuple):
    """A table or view: its columns, of which the first `key` tell its rows apart."""

    name: str
    columns: tuple[Column, ...]
    key: int


def _columns(text: str) -> tuple[Column, ...]:
    return tuple(Column(*word.split(":")) for word in text.split())


USERS_LOG: Final = Layout(
    "users_log",
    _columns("tenant user_id name email tz attributes control created_at:instant updated_at:instant"),
    2,
)
METRIC_EVENTS: Final = Layout(
    "metric_events",
    _columns(
        "tenant user_id metric_key effective_at:instant event_id value:exact total_after:exact attributes "
        "local_date:day idempotency_key"
    ),
    5,
)
POINTS_AWARDS: Final = Layout(
    "points_awards",
    _columns(
        "tenant user_id system_key date:instant award_id trigger_id trigger_type awarded total_after count base boosts "
        "local_date:day cause_type cause_id"
    ),
    5,
)
LEVEL_CHANGES: Final = Layout(
    "level_changes",
    _columns("tenant user_id system_key at:instant change_id previous_level_key level_key total_after"),
    5,
)
ACHIEVEMENT_COMPLETIONS: Final = Layout(
    "achievement_completions",
    _columns(
        "tenant user_id achievement_id feed:plain:later achieved_at:instant local_date:day backdated achievement_name trigger "
        "completion_id"
    ),
    4,
)
STREAK_STATE_LOG: Final = Layout(
    "streak_state_log",
    _columns(
        "tenant user_id frequency length started:day extended_at:instant period_start:day period_end:day period_met "
        "longest longest_at:instant"
    ),
    3,
)
STREAK_PERIODS_LOG: Final = Layout(
    "streak_periods_log",
    _columns(
        "tenant user_id frequency period_start:day period_end:day length outcome used_freeze used_pause day_off bridged "
        "reset_at:instant repaired"
    ),
    4,
)
STREAK_FREEZES: Final = Layout(
    "streak_freezes", _columns("tenant user_id at:instant change_id delta reason balance"), 4
)
STREAK_EVENTS: Final = Layout(
    "streak_events", _columns("tenant user_id at:instant event_id kind frequency length cause reason"), 4
)
REJECTED: Final = Layout(
    "rejected",
    _columns(
        "tenant reason at:instant origin_topic origin_partition origin_offset user_id:plain:later key value truncated"
    ),
    6,
)
"""`message` is for people; of undecodable records it is the sink's own."""
ERASURES: Final = Layout("erasures", _columns("tenant user_id erased_at:instant event_id"), 4)

BASE_TABLES: Final = (
    USERS_LOG,
    METRIC_EVENTS,
    POINTS_AWARDS,
    LEVEL_CHANGES,
    ACHIEVEMENT_COMPLETIONS,
    STREAK_STATE_LOG,
    STREAK_PERIODS_LOG,
    STREAK_FREEZES,
    STREAK_EVENTS,
    REJECTED,
    ERASURES,
)


def sql_of(columns: tuple[Column, ...]) -> str:
    """Return the expressions that ask for columns in their compared form."""
    return ", ".join(column.sql for column in columns)
