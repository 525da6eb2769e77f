"""Which records must be refused, and why: wire.md sections 1 and 2 and metrics-and-events.md sections 4, 5 and 9 by the letter.

Written from the chapters with the standard library alone; shares no code with the rules. Where the chapters leave a form open
(how an instant may be written besides ISO 8601 with seconds), the verdict is open too: `Verdict.grey`.
"""

import re
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from aiokafka.partitioner import murmur2

from tests.fuzz.forms import EPOCH, Json, Number, Refused, instant, is_day, is_text, is_zone, parse, scaled
from tests.properties.points_facts import zone

LARGEST_RECORD = 256 * 1024
LONGEST_ID = 255

_COMMON = {"eventId", "occurredAt", "tenant", "source", "type"}
FIELDS: dict[str, set[str]] = {
    "metric": {"metric", "user", "value", "attributes", "idempotencyKey"},
    "identify": {"user"},
    "achievement.complete": {"user", "achievement"},
    "freeze.grant": {"user"},
    "streak.restore": {"user"},
    "streak.reset": {"user"},
    "streak.pause": {"user", "id", "start", "end"},
    "streak.unpause": {"user", "id"},
    "preferences": {"user", "streak", "notifications"},
    "erase": {"user"},
    "tick": {"at"},
    "catalog": {"version", "at"},
}
"""X2, X3, X6, X7, X29."""

OPTIONAL = {"attributes", "idempotencyKey", "streak", "notifications"}
CONTROL = ("tick", "catalog")
USER_FIELDS = {"id", "email", "name", "tz", "signUpDate", "deviceTokens", "subscribeToEmails", "attributes"}


@dataclass
class Seen:
    """What the verdict depends on besides the record: what was accepted before.

    Attributes:
        tenants: with a catalog in force. metrics, event_attributes, user_attributes, api_keys: of the catalog.
        zones: all IANA names. emails, applied, tz, reached: of users that exist, by key: whether mail is wanted, and the
        address; event ids; zone; append time of the latest record. last_tick: of the partition; None = there was none.
    """

    tenants: set[str] = field(default_factory=set)
    metrics: set[str] = field(default_factory=set)
    event_attributes: set[str] = field(default_factory=set)
    user_attributes: set[str] = field(default_factory=set)
    zones: set[str] = field(default_factory=set)
    api_keys: set[str] = field(default_factory=set)
    emails: dict[bytes, tuple[bool | None, str | None]] = field(default_factory=dict)
    applied: dict[bytes, set[str]] = field(default_factory=dict)
    tz: dict[bytes, str | None] = field(default_factory=dict)
    reached: dict[bytes, int] = field(default_factory=dict)
    last_tick: int | None = None
    token: str | None = None
    topic: str = "plaudit.events"
    partitions: int = 8

    def append_time(self, key: bytes, timestamp: int) -> int:
        """X5."""
        known = (timestamp, self.reached.get(key), self.last_tick)
        return max(one for one in known if one is not None)


@dataclass
class Verdict:
    """`reason` None: accepted, or refused for the state it meets. `record` as far as it could be read."""

    reason: str | None
    record: Json
    grey: bool = False
    occurred: int | None = None
    redelivered: bool = False


def require(condition: bool) -> None:
    """Z1."""
    if not condition:
        raise Refused("bad_request")


def identity(record: Json) -> tuple[str, str] | None:
    """Tenant and user id, if they can be read."""
    user, tenant = record.get("user"), record.get("tenant", "")
    name = user.get("id") if isinstance(user, dict) else user
    if not is_text(name, most=None) or not is_text(tenant, most=None):
        return None
    return tenant, str(name)


def check_key(record: Json, key: bytes | None, partition: int, seen: Seen) -> None:
    """X1."""
    found = identity(record)
    if found is None:
        return
    tenant, user = found
    if "\0" in user or "\0" in tenant:
        raise Refused("bad_request", grey=True)
    expected = f"{tenant}\0{user}".encode() if tenant else user.encode()
    if key != expected or (murmur2(expected) & 0x7FFFFFFF) % seen.partitions != partition:
        raise Refused("wrong_key")


def check_user_form(user: Any, *, checks_day: bool) -> bool:
    """Section 4, Z1. Return whether something about it is open."""
    if not isinstance(user, dict):
        require(is_text(user, 1, LONGEST_ID))
        return False
    require("id" in user and is_text(user["id"], 1, LONGEST_ID))
    for name in ("email", "name"):
        require(name not in user or is_text(user[name], 1))
    require(user.get("tz") is None or is_text(user["tz"], most=None))
    tokens = user.get("deviceTokens")
    require(tokens is None or (isinstance(tokens, list) and len(tokens) <= 100 and all(map(is_text, tokens))))
    require("subscribeToEmails" not in user or isinstance(user["subscribeToEmails"], bool))
    attributes = user.get("attributes", {})
    require(isinstance(attributes, dict) and all(map(is_text, attributes.values())))
    if "signUpDate" not in user:
        return False
    require(is_text(user["signUpDate"], most=None))
    if not checks_day or is_day(user["signUpDate"]):
        return False
    if len(user["signUpDate"]) <= 10:
        raise Refused("bad_request")
    try:
        return instant(user["signUpDate"], bounded=False)[1]
    except Refused:
        raise Refused("bad_request", grey=True) from None  # the chapters say "a date-time", not in which form


def check_preferences_form(record: Json) -> None:
    """U13, U13a: what is 400."""
    if "streak" in record:
        streak = record["streak"]
        require(isinstance(streak, dict) and set(streak) <= {"enabled", "evaluationMode", "metrics", "daysOff"})
        require("enabled" not in streak or isinstance(streak["enabled"], bool))
        require("evaluationMode" not in streak or is_text(streak["evaluationMode"], most=None))
        days = streak.get("daysOff", [])
        require(isinstance(days, list) and all(isinstance(day, Number) and is_integer(day) for day in days))
        metrics = streak.get("metrics", [])
        require(isinstance(metrics, list))
        for one in metrics:
            require(isinstance(one, dict) and set(one) == {"key", "threshold"} and is_text(one["key"], most=None))
    if "notifications" in record:
        kinds = record["notifications"]
        known = {"achievement_completed", "recap", "reactivation", "streak_reminder"}
        require(isinstance(kinds, dict) and set(kinds) <= known)
        for channels in kinds.values():
            require(isinstance(channels, list) and all(is_text(one, most=None) for one in channels))


def is_integer(number: Number) -> bool:
    """Whether the text has neither point nor exponent; a text of 1.0 is open."""
    if re.fullmatch(r"-?\d{1,18}", number):
        return True
    raise Refused("bad_request", grey=True)


def check_preferences(record: Json, seen: Seen) -> None:
    """S81, U13a: what is 422."""
    streak = record.get("streak", {})
    if streak.get("evaluationMode", "OR") not in ("OR", "AND", "ALL"):
        raise Refused("invalid_preferences")
    days = [int(day) for day in streak.get("daysOff", [])]
    if len(set(days)) > 6 or any(not 0 <= day <= 6 for day in days):
        raise Refused("invalid_preferences")
    keys = [one["key"] for one in streak.get("metrics", [])]
    if len(set(keys)) < len(keys) or not set(keys) <= seen.metrics:
        raise Refused("invalid_preferences")
    for one in streak.get("metrics", []):
        if not isinstance(one["threshold"], Number):
            raise Refused("invalid_preferences", grey=True)
        try:
            if scaled(one["threshold"]) <= 0:
                raise Refused("invalid_preferences")
        except Refused:
            raise Refused("invalid_preferences") from None
    for channels in record.get("notifications", {}).values():
        if not set(channels) <= {"email", "push"}:
            raise Refused("invalid_preferences")


def check_form(record: Json, kind: str, seen: Seen) -> tuple[int | None, bool]:
    """Z1 for a record of a kind. Return the instant it names, and whether something about it is open."""
    grey = False
    for name in FIELDS[kind] - OPTIONAL:
        require(name in record)
    require(is_text(record.get("tenant", ""), most=LONGEST_ID))
    require(is_text(record.get("source", "")))
    event_id = record.get("eventId", "e")
    require(is_text(event_id, 1, LONGEST_ID))
    occurred = None
    if "occurredAt" in record:
        occurred, grey = instant(record["occurredAt"], bounded=kind not in CONTROL)
    if kind in CONTROL:
        occurred, open_form = instant(record["at"], bounded=False)
        require(kind == "tick" or is_text(record["version"], 1))
        return occurred, grey or open_form
    require("\0" not in event_id and re.fullmatch(re.escape(seen.topic) + r"-\d+-\d+", event_id, re.ASCII) is None)
    checks_day = kind in ("metric", "identify", "achievement.complete")
    grey = check_user_form(record["user"], checks_day=checks_day) or grey
    if kind == "metric":
        require(is_text(record["metric"], most=None))
        require(isinstance(record["value"], Number))
        attributes = record.get("attributes", {})
        require(isinstance(attributes, dict) and all(map(is_text, attributes.values())))
        require(is_text(record.get("idempotencyKey", ""), most=None))
    elif kind == "achievement.complete":
        require(is_text(record["achievement"], most=None))
    elif kind == "streak.pause":
        require(is_text(record["id"], 1, LONGEST_ID) and is_day(record["start"]) and is_day(record["end"]))
    elif kind == "streak.unpause":
        require(is_text(record["id"], 1, LONGEST_ID))
    elif kind == "preferences":
        check_preferences_form(record)
    elif kind == "erase":
        require(not isinstance(record["user"], dict) or set(record["user"]) == {"id"})
    return occurred, grey


def check_content(record: Json, kind: str, key: bytes, at: int, seen: Seen) -> None:
    """Z12 from Z3 on; `at` is effectiveAt."""
    user = record["user"] if isinstance(record["user"], dict) else {"id": record["user"]}
    if kind == "metric":
        if record["metric"] not in seen.metrics:
            raise Refused("unknown_metric")
        scaled(record["value"])
    if kind in ("metric", "identify", "achievement.complete"):
        if not set(user.get("attributes", {})) <= seen.user_attributes:
            raise Refused("unknown_attribute")
        if user.get("tz") is not None and not is_zone(user["tz"], seen.zones):
            raise Refused("invalid_tz")
        if (
            user.get("subscribeToEmails") is True
            and "email" not in user
            and seen.emails.get(key, (None, None))[1] is None
        ):
            raise Refused("email_required")
        if "signUpDate" in user:
            check_sign_up(user["signUpDate"], user.get("tz", seen.tz.get(key)), at)
    if kind == "metric":
        if not set(record.get("attributes", {})) <= seen.event_attributes:
            raise Refused("unknown_attribute")
        if len(record.get("idempotencyKey", "")) > 255:
            raise Refused("invalid_idempotency_key")
    elif kind == "achievement.complete" and record["achievement"] not in seen.api_keys:
        raise Refused("unknown_achievement")
    elif kind == "preferences":
        check_preferences(record, seen)
        if key not in seen.reached:
            raise Refused("unknown_user")


def check_sign_up(text: str, tz: str | None, at: int) -> None:
    """Section 4: a date-time keeps its UTC day; the future, in the user's zone, is refused."""
    day = (
        date.fromisoformat(text)
        if len(text) == 10
        else (EPOCH + timedelta(milliseconds=instant(text, bounded=False)[0])).date()
    )
    local = (EPOCH + timedelta(milliseconds=at)).astimezone(zone(tz)).date()
    if day > local:
        raise Refused("invalid_sign_up_date")


def judge(
    value: bytes | None, key: bytes | None, partition: int, timestamp: int, tokens: list[bytes], seen: Seen
) -> Verdict:
    """The verdict on a record (X9, Z12); `tokens` are what its control header holds."""
    record: Json = {}
    grey = False
    occurred: int | None = None
    try:
        if value is None:
            raise Refused("tombstone")
        if len(value) > LARGEST_RECORD:
            raise Refused("too_large")
        record = parse(value)
        kind = record.get("type", "metric")
        if "type" in record and (not is_text(kind, most=None) or kind == "metric" or kind not in FIELDS):
            raise Refused("unknown_type")
        if not set(record) <= FIELDS[kind] | _COMMON | ({"tenant"} if kind in CONTROL else set()):
            raise Refused("unknown_field")
        if isinstance(record.get("user"), dict) and "user" in FIELDS[kind] and not set(record["user"]) <= USER_FIELDS:
            raise Refused("unknown_field")
        if kind not in CONTROL:
            check_key(record, key, partition, seen)
        elif seen.token is not None and seen.token.encode() not in tokens:
            raise Refused("forged_time", grey=True)
        occurred, grey = check_form(record, kind, seen)
        if kind in CONTROL and (occurred or 0) > timestamp:
            raise Refused("forged_time")
        require(occurred is None or occurred > -62_100_000_000_000)
        require(-62_000_000_000_000 < timestamp < 253_000_000_000_000)  # D-11
        if kind in CONTROL:
            return Verdict(None, record, grey, occurred)
        if str(record.get("eventId")) in seen.applied.get(key or b"", ()):
            raise Refused("skipped")  # I13
        if kind == "erase":
            return Verdict(None, record, grey, occurred)  # needs no catalog
        if record.get("tenant", "") not in seen.tenants:
            raise Refused("unknown_metric")
        append = seen.append_time(key or b"", timestamp)
        check_content(record, kind, key or b"", min(append, timestamp if occurred is None else occurred), seen)
    except Refused as refused:
        redelivered = str(record.get("eventId")) in seen.applied.get(
            key or b"", ()
        )  # whether it must be well-formed is open
        open_ = grey or refused.grey or (redelivered and refused.reason == "bad_request")
        return Verdict(refused.reason, record, open_, occurred, redelivered)
    return Verdict(None, record, grey, occurred)
