"""What the tables must hold, worked out from the derived events by the spec alone (analytics.md section 1, migrations).

Values are compared in the form in which ClickHouse is asked for them: instants as milliseconds and dates as days since
1970, exact decimals as text, maps and arrays as JSON has them.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from typing import Any, Final, NamedTuple

import msgspec

from processors.rules.decode import loose_fields
from processors.rules.errors import RejectedError
from processors.rules.zones import find_zone
from projections.verifier.layouts import (
    ACHIEVEMENT_COMPLETIONS,
    BASE_TABLES,
    ERASURES,
    LEVEL_CHANGES,
    METRIC_EVENTS,
    POINTS_AWARDS,
    REJECTED,
    STREAK_EVENTS,
    STREAK_FREEZES,
    STREAK_PERIODS_LOG,
    STREAK_STATE_LOG,
    USERS_LOG,
    Layout,
)
from schemas.instants import DAY_MS, from_date, parse_instant
from schemas.topics import ERASED, LEDGER, TOPIC_OF_TYPE, user_key
from schemas.topics import REJECTED as TOPIC_REJECTED

EARLIEST_DAY: Final = from_date(date(1900, 1, 1))
LATEST_DAY: Final = from_date(date(2299, 12, 31))
"""What lies outside of these years is clamped to them, as the columns say."""

MOST_DIGITS: Final = 29
"""Digits before the point of Decimal(38, 9)."""

SHOWN_CHARACTERS: Final = 64 * 1024
"""Of a record that is no derived event, as of every refused record (X11)."""

UNDECODABLE: Final = "undecodable_derived"
"""Reason of a row of `rejected` about a record of a derived topic that is no derived event."""


class Row(NamedTuple):
    """An expected row: table, values in the order of its columns, and the id by which people know it."""

    layout: Layout
    values: tuple[Any, ...]
    id: str

    @property
    def key(self) -> tuple[Any, ...]:
        """The values that tell it from other rows of its table."""
        return self.values[: self.layout.key]


class Erasure(NamedTuple):
    """A marker `user.erased`: what the topic holds of the user before it no longer counts (X30).

    Attributes:
        at: append time, epoch ms. row: what it makes itself, if anything.
    """

    tenant: str
    user_id: str
    logical: str
    at: int
    row: Row | None

    @property
    def user(self) -> tuple[str, str]:
        """Tenant and user id."""
        return self.tenant, self.user_id

    def covers(self, layout: Layout, values: Sequence[Any]) -> bool:
        """Whether a row is of the erased user: it names the user, or a refused record has the user's key."""
        if layout is REJECTED:
            key = user_key(self.tenant, self.user_id).decode("utf-8", "replace")
            return self.logical == TOPIC_REJECTED and ((values[0], values[6]) == self.user or values[7] == key)
        return layout is not ERASURES and (values[0], values[1]) == self.user


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
        *_user(event), achievement["id"], "backdated" if backdated else "completed", at, _clamped_day(day), backdated,
        achievement["name"], achievement["trigger"], "" if backdated else data["completionId"],
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
    """Tenant and user are those that the refused record names; if it cannot be read, those of its key (X1)."""
    key, origin, value = record["key"], record["origin"], record["value"]
    tenant, user_id = _user_of_key(key) if isinstance(key, str) else ("", "")
    if isinstance(value, str):
        with suppress(RejectedError):
            named = loose_fields(value.encode("utf-8", "replace"))
            tenant, user_id = named.tenant, named.user_id
    return (
        tenant, record["reason"], _ms(origin["timestamp"]), origin["topic"], origin["partition"], origin["offset"],
        user_id, _text(key), _text(value), record.get("truncated") is True,
    )  # fmt: skip


def _user_of_key(key: str) -> tuple[str, str]:
    tenant, separator, user_id = key.partition("\0")
    return (tenant, user_id) if separator else ("", key)


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


class Source(NamedTuple):
    """A record of a derived topic: `logical` is the topic's name without prefix, `kind` the header `type`; empty: the value
    tells."""

    topic: str
    logical: str
    partition: int
    offset: int
    timestamp_ms: int
    kind: str
    key: bytes | None
    value: bytes | None


def expected_row(source: Source) -> Row | Erasure | None:
    """Return the row that a record makes, or the erasure that it tells of; None for types that no table takes."""
    try:
        event: Event = _decode(source.value or b"")
        if source.kind == ERASED:
            return _erasure(event)
        if source.logical == TOPIC_REJECTED:
            origin = event["origin"]
            return Row(REJECTED, _rejected(event), f"{origin['topic']}-{origin['partition']}-{origin['offset']}")
        kind = source.kind or event["type"]
        if kind == ERASED:
            return _erasure(event)
        found = _ROW_OF_TYPE.get(kind)
        if found is None:
            return None
        layout, build = found
        values = build(event)
        column = _ID_COLUMN.get(layout.name)
        return Row(layout, values, event["id"] if column is None else values[column])
    except (msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError):
        return _undecodable(source)


def _erasure(event: Event) -> Erasure:
    """One of the markers, that of the ledger, is a row itself."""
    logical = event["data"]["topic"]
    values = (*_user(event), _ms(event["occurredAt"]), event.get("causationId", ""))
    row = Row(ERASURES, values, event["id"]) if logical == LEDGER else None
    return Erasure(*_user(event), logical, clamped_ms(parse_instant(event["emittedAt"])), row)


def _undecodable(source: Source) -> Row:
    """A record that is no derived event is a row of `rejected`, so that nothing vanishes unseen."""
    key, text = ((one or b"").decode("utf-8", "replace") for one in (source.key, source.value))
    tenant, user_id = _user_of_key(key)
    values = (
        tenant, UNDECODABLE, clamped_ms(source.timestamp_ms), source.topic, source.partition, source.offset, user_id,
        key, text[:SHOWN_CHARACTERS], len(text) > SHOWN_CHARACTERS,
    )  # fmt: skip
    return Row(REJECTED, values, f"{source.topic}-{source.partition}-{source.offset}")


def tables_of(logical: str) -> tuple[Layout, ...]:
    """Return the base tables that a topic (logical name) feeds; that of refused records is among them always."""
    fed = {layout.name for kind, (layout, _) in _ROW_OF_TYPE.items() if TOPIC_OF_TYPE[kind] == logical}
    fed |= {REJECTED.name} | ({ERASURES.name} if logical == LEDGER else set())
    return tuple(layout for layout in BASE_TABLES if layout.name in fed)


PROJECTED_TOPICS: Final = (*dict.fromkeys(TOPIC_OF_TYPE[kind] for kind in _ROW_OF_TYPE), TOPIC_REJECTED)
"""Topics (logical names) that tables are fed by."""
