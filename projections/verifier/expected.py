"""What the tables must hold, worked out from the derived events by the spec alone (analytics.md section 1, migrations).

Values are compared in the form in which ClickHouse is asked for them: instants as milliseconds and dates as days since
1970, exact decimals as text, maps and arrays as JSON has them.
"""

from collections.abc import Callable
from datetime import date
from typing import Any, Final, NamedTuple

import msgspec

from processors.rules.zones import find_zone
from schemas.instants import DAY_MS, from_date, parse_instant
from schemas.topics import REJECTED as TOPIC_REJECTED
from schemas.topics import TOPIC_OF_TYPE

EARLIEST_DAY: Final = from_date(date(1900, 1, 1))
LATEST_DAY: Final = from_date(date(2299, 12, 31))
"""What lies outside of these years is clamped to them, as the columns say."""

MOST_DIGITS: Final = 29
"""Digits before the point of Decimal(38, 9)."""

SHOWN_CHARACTERS: Final = 64 * 1024
"""Of a record that is no derived event, as of every refused record (X11)."""

UNDECODABLE: Final = "undecodable_derived"
"""Reason of a row of `rejected` about a record of a derived topic that is no derived event."""

_FORM_OF_KIND: Final = {
    "plain": "{}",
    "instant": "toUnixTimestamp64Milli({})",
    "day": "toInt32({})",
    "exact": "toString({})",
}
"""How a column is asked for."""


class Column(NamedTuple):
    """A column of a table or view: name, and `plain`, `instant`, `day` or `exact`."""

    name: str
    kind: str = "plain"

    @property
    def sql(self) -> str:
        """The expression that asks for it in its compared form."""
        return _FORM_OF_KIND[self.kind].format(self.name)


class Layout(NamedTuple):
    """A table or view: its columns, of which the first `key` tell its rows apart."""

    name: str
    columns: tuple[Column, ...]
    key: int


class Row(NamedTuple):
    """An expected row: table, values in the order of its columns, and the id by which people know it."""

    layout: Layout
    values: tuple[Any, ...]
    id: str

    @property
    def key(self) -> tuple[Any, ...]:
        """The values that tell it from other rows of its table."""
        return self.values[: self.layout.key]


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
        "tenant user_id achievement_id achieved_at:instant local_date:day backdated achievement_name trigger completion_id"
    ),
    3,
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
    _columns("tenant reason at:instant origin_topic origin_partition origin_offset key value truncated"),
    6,
)
"""`message` is for people; of undecodable records it is the sink's own."""

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
)

Event = dict[str, Any]
"""An envelope (E2) as JSON has it; numbers with a point as their text."""


def clamped_ms(ms: int) -> int:
    """Return an instant within the years that columns hold."""
    return min(max(ms, EARLIEST_DAY * DAY_MS), (LATEST_DAY + 1) * DAY_MS - 1)


def _clamped_day(day: int) -> int:
    return min(max(day, EARLIEST_DAY), LATEST_DAY)


def _ms(text: str | None) -> int | None:
    return None if text is None else clamped_ms(parse_instant(text))


def _day(text: str | None) -> int | None:
    return None if text is None else _clamped_day(from_date(date.fromisoformat(text)))


def _exact(number: int | str) -> str:
    text = str(number)
    whole, _, rest = text.lstrip("-").partition(".")
    if not whole.isdecimal() or len(whole) > MOST_DIGITS or len(rest) > 9 or (rest and not rest.isdecimal()):
        raise ValueError(f"{text[:60]} does not fit Decimal(38, 9)")
    return text


def _user(event: Event) -> tuple[str, str]:
    return event["tenantId"], event["userId"]


def _users_log(event: Event) -> tuple[Any, ...]:
    user = event["data"]["user"]
    return (
        event["tenantId"], user["id"], user["name"], user["email"], user["tz"], user["attributes"], user["control"],
        _ms(user["created"]), _ms(user["updated"]),
    )  # fmt: skip


def _metric_events(event: Event) -> tuple[Any, ...]:
    data = event["data"]
    return (
        *_user(event), data["metric"], _ms(event["occurredAt"]), data["eventId"], _exact(data["value"]),
        _exact(data["total"]), data["attributes"], _day(data["localDate"]), data["idempotencyKey"],
    )  # fmt: skip


def _points_awards(event: Event) -> tuple[Any, ...]:
    data = event["data"]
    award, cause = data["award"], data["cause"]
    return (
        *_user(event), data["pointsSystem"]["key"], _ms(award["date"]), award["id"], award["trigger"]["id"],
        award["trigger"]["type"], award["awarded"], award["total"], award["count"], award["base"],
        [boost["id"] for boost in award.get("boosts") or ()], _day(award["localDate"]), cause["type"], cause["id"],
    )  # fmt: skip


def _level_changes(event: Event) -> tuple[Any, ...]:
    data = event["data"]
    before, after = data["previousLevel"], data["newLevel"]
    return (
        *_user(event), data["points"]["key"], _ms(event["occurredAt"]), event["id"],
        before["key"] if before else "", after["key"] if after else "", data["points"]["total"],
    )  # fmt: skip


def _completions(event: Event) -> tuple[Any, ...]:
    """The date is that of the user's zone as the event shows it; a backdated one shows no user, its date is UTC's."""
    data = event["data"]
    achievement, backdated = data["achievement"], event["type"] == "achievement.backdated"
    at = clamped_ms(parse_instant(achievement["achievedAt"] or event["occurredAt"]))
    zone = find_zone(None if backdated else data["user"]["tz"])
    day = at // DAY_MS if zone is None else zone.day(at)
    return (
        *_user(event), achievement["id"], at, _clamped_day(day), backdated, achievement["name"], achievement["trigger"],
        "" if backdated else data["completionId"],
    )  # fmt: skip


def _streak_state(event: Event) -> tuple[Any, ...]:
    data = event["data"]
    return (
        *_user(event), data["frequency"], data["length"], _day(data["started"]), _ms(data["extended"]),
        _day(data["periodStart"]), _day(data["periodEnd"]), data["met"], data["longest"], _ms(data["longestAt"]),
    )  # fmt: skip


def _streak_periods(event: Event) -> tuple[Any, ...]:
    data = event["data"]
    return (
        *_user(event), data["frequency"], _day(data["periodStart"]), _day(data["periodEnd"]), data["length"],
        data["outcome"], data["usedFreeze"], data["usedPause"], data["dayOff"], data["bridged"],
        _ms(event["occurredAt"]) if data["outcome"] == "reset" else None, event["type"] == "streak.period_repaired",
    )  # fmt: skip


def _streak_freezes(event: Event) -> tuple[Any, ...]:
    data = event["data"]
    return *_user(event), _ms(event["occurredAt"]), event["id"], data["delta"], data["reason"], data["balance"]


def _streak_events(event: Event) -> tuple[Any, ...]:
    """Of a loss the payload has no frequency; `meta` has it (S92)."""
    data, meta = event["data"], event.get("meta") or {}
    kind = event["type"].removeprefix("streak.")
    shown = data if kind == "lost" else data["streak"]
    return (
        *_user(event), _ms(event["occurredAt"]), event["id"], kind, meta.get("frequency") or shown.get("frequency", ""),
        shown["length"], meta.get("cause", ""), meta.get("reason", ""),
    )  # fmt: skip


def _text(content: Any) -> str:
    if isinstance(content, dict):
        return msgspec.json.encode(content).decode()
    return content or ""


def _rejected(record: Event) -> tuple[Any, ...]:
    """The tenant is what the key of the refused record names (X1)."""
    key, origin = record["key"], record["origin"]
    tenant, separator, _ = key.partition("\0") if isinstance(key, str) else ("", "", "")
    return (
        tenant if separator else "", record["reason"], _ms(origin["timestamp"]), origin["topic"], origin["partition"],
        origin["offset"], _text(key), _text(record["value"]), record.get("truncated") is True,
    )  # fmt: skip


_ROW_OF_TYPE: Final[dict[str, tuple[Layout, Callable[[Event], tuple[Any, ...]]]]] = {
    "user.upserted": (USERS_LOG, _users_log),
    "metric.changed": (METRIC_EVENTS, _metric_events),
    "points.awarded": (POINTS_AWARDS, _points_awards),
    "points.level_changed": (LEVEL_CHANGES, _level_changes),
    "achievement.completed": (ACHIEVEMENT_COMPLETIONS, _completions),
    "achievement.backdated": (ACHIEVEMENT_COMPLETIONS, _completions),
    "streak.changed": (STREAK_STATE_LOG, _streak_state),
    "streak.period_closed": (STREAK_PERIODS_LOG, _streak_periods),
    "streak.period_repaired": (STREAK_PERIODS_LOG, _streak_periods),
    "streak.freezes_changed": (STREAK_FREEZES, _streak_freezes),
    "streak.started": (STREAK_EVENTS, _streak_events),
    "streak.extended": (STREAK_EVENTS, _streak_events),
    "streak.lost": (STREAK_EVENTS, _streak_events),
}

_ID_COLUMN: Final = {"metric_events": 4, "points_awards": 4}
"""Where the id by which people know a row stands in it; elsewhere it is that of the derived event."""

_decode: Final = msgspec.json.Decoder(float_hook=str).decode


def expected_row(
    topic: str, partition: int, offset: int, timestamp_ms: int, type_name: str, value: bytes | None, *, refusals: bool
) -> Row | None:
    """Return the row that a record of a derived topic makes, None for types that no table takes.

    `type_name` is the header `type`; empty: the value tells. `refusals`: the topic is that of refused records.
    """
    try:
        event: Event = _decode(value or b"")
        if refusals:
            origin = event["origin"]
            place = f"{origin['topic']}-{origin['partition']}-{origin['offset']}"
            return Row(REJECTED, _rejected(event), place)
        found = _ROW_OF_TYPE.get(type_name or event["type"])
        if found is None:
            return None
        layout, build = found
        values = build(event)
        column = _ID_COLUMN.get(layout.name)
        return Row(layout, values, event["id"] if column is None else values[column])
    except (msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError):
        return _undecodable(topic, partition, offset, timestamp_ms, value)


def _undecodable(topic: str, partition: int, offset: int, timestamp_ms: int, value: bytes | None) -> Row:
    """A record that is no derived event is a row of `rejected`, so that nothing vanishes unseen."""
    text = (value or b"").decode("utf-8", "replace")
    values = (
        "", UNDECODABLE, clamped_ms(timestamp_ms), topic, partition, offset, "", text[:SHOWN_CHARACTERS],
        len(text) > SHOWN_CHARACTERS,
    )  # fmt: skip
    return Row(REJECTED, values, f"{topic}-{partition}-{offset}")


def tables_of(logical: str) -> tuple[Layout, ...]:
    """Return the base tables that a topic (logical name) feeds; that of refused records is among them always."""
    fed = {layout.name for kind, (layout, _) in _ROW_OF_TYPE.items() if TOPIC_OF_TYPE[kind] == logical}
    return tuple(layout for layout in BASE_TABLES if layout.name in fed or layout is REJECTED)


PROJECTED_TOPICS: Final = (*dict.fromkeys(TOPIC_OF_TYPE[kind] for kind in _ROW_OF_TYPE), TOPIC_REJECTED)
"""Topics (logical names) that tables are fed by."""
