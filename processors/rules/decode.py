"""From bytes of the log to a record, or to the reason why not, in the order of X9 and Z1."""

import re
from typing import Any, Final

import msgspec
from msgspec import Raw

from processors.rules.errors import RejectedError
from schemas.records import MAX_ID_LENGTH, TYPED, CatalogSwitch, InputRecord, MetricEvent, Tick, UserInput
from schemas.topics import MAX_RECORD_BYTES

_metric_event: Final = msgspec.json.Decoder(MetricEvent)
_object: Final = msgspec.json.Decoder(dict[str, Raw])
_array: Final = msgspec.json.Decoder(list[Raw])
_text: Final = msgspec.json.Decoder(str)
_encode: Final = msgspec.json.Encoder().encode
_typed: Final = {name: msgspec.json.Decoder(kind) for name, kind in TYPED.items()}
SHOWN: Final = 80
"""Characters of a value in an error."""


def _names(kind: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind))


_allowed: Final = {kind: _names(kind) | {"type"} for kind in (MetricEvent, *TYPED.values())}
_allowed_of_user: Final = _names(UserInput)

MAX_DEPTH: Final = 100
"""Levels of arrays and objects in a record."""

_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)  # texts are passed over whole


def decode(value: bytes | None) -> InputRecord:
    """Return the record that `value` holds.

    The usual record, a metric event without `type`, is decoded in one pass; only what that pass refuses is taken
    apart to find the first reason in the order of X9.

    Raises:
        RejectedError: tombstone, too_large, malformed, unknown_type, unknown_field, bad_request.
    """
    if value is None:
        raise RejectedError("tombstone", "the record has no value; send a JSON object")
    if len(value) > MAX_RECORD_BYTES:
        raise RejectedError(
            "too_large", f"the record has {len(value)} bytes, the limit is {MAX_RECORD_BYTES}; send less per record"
        )
    try:
        event: MetricEvent = _metric_event.decode(value)
        check_depth(value)
        if not value.isascii():
            value.decode()  # `value`, and duplicate names that do not count, are not checked for UTF-8 otherwise
        return event
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _decode_slowly(value)


def _decode_slowly(value: bytes) -> InputRecord:
    fields = _fields(value)
    kind: type[InputRecord] = MetricEvent
    decoder: msgspec.json.Decoder[Any] = _metric_event
    if "type" in fields:
        name = _type_name(fields["type"])
        if name not in TYPED:
            known = ", ".join(sorted(TYPED))
            raise RejectedError(
                "unknown_type",
                f"type {name[:SHOWN]!r} is unknown; leave it out for a metric event, or use one of {known}",
            )
        kind, decoder = TYPED[name], _typed[name]
    _refuse_unknown(fields, _allowed[kind], "")
    if "user" in fields and bytes(fields["user"])[:1] == b"{":
        user = _fields(bytes(fields["user"]))
        _refuse_unknown(user, _allowed_of_user, "user.")
    try:
        record: InputRecord = decoder.decode(_encode({name: _last_of_each(raw) for name, raw in fields.items()}))
    except UnicodeDecodeError as error:
        raise RejectedError("malformed", f"not UTF-8: {error}") from error
    except msgspec.ValidationError as error:
        raise RejectedError("bad_request", f"{error}; see wire.md for the form of this record") from error
    return record


def _last_of_each(raw: Raw) -> Raw:
    """Return the JSON without duplicate names: the last one counts (X9). No deeper than MAX_DEPTH."""
    text = bytes(raw)
    if text[:1] == b"{":
        return Raw(_encode({name: _last_of_each(inner) for name, inner in _object.decode(text).items()}))
    if text[:1] == b"[":
        return Raw(_encode([_last_of_each(inner) for inner in _array.decode(text)]))
    return raw


def _fields(value: bytes) -> dict[str, Raw]:
    try:
        check_depth(value)
        value.decode()  # raw values below are not checked for UTF-8 otherwise
        return _object.decode(value)
    except RecursionError as error:
        raise RejectedError("malformed", "the JSON is nested too deep; records are flat objects") from error
    except UnicodeDecodeError as error:
        raise RejectedError("malformed", f"not UTF-8: {error}") from error
    except msgspec.ValidationError as error:
        raise RejectedError("malformed", f"the value must be one JSON object: {error}") from error
    except msgspec.DecodeError as error:
        raise RejectedError("malformed", f"not JSON: {error}") from error


def check_depth(value: bytes) -> None:
    """Refuse what is nested deeper than any record: how deep the decoder could go depends on the caller's stack."""
    if value.count(b"[") + value.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for token in _BRACKETS.finditer(value):
        bracket = token.group()
        if bracket in (b"[", b"{"):
            depth += 1
            if depth > MAX_DEPTH:
                raise RejectedError(
                    "malformed", f"the JSON is nested deeper than {MAX_DEPTH}; records are flat objects"
                )
        elif bracket in (b"]", b"}"):
            depth -= 1


def _type_name(raw: Raw) -> str:
    try:
        return _text.decode(raw)
    except msgspec.ValidationError:
        return bytes(raw).decode("utf-8", "replace")


def _refuse_unknown(fields: dict[str, Raw], allowed: frozenset[str], prefix: str) -> None:
    unknown = sorted(set(fields) - allowed)
    if unknown:
        names = ", ".join(prefix + name[:SHOWN] for name in unknown[:5])
        raise RejectedError(
            "unknown_field",
            f"unknown field {names}; allowed here: {', '.join(sorted(prefix + name for name in allowed))}",
        )


def is_control(value: bytes | None) -> bool:
    """Tell whether a record is one of the program's own (X7), as far as it can be read."""
    try:
        return isinstance(decode(value), Tick | CatalogSwitch)
    except Exception:
        return False


class LooseFields:
    """What could be read of a record that is refused."""

    __slots__ = ("event_id", "metric", "tenant", "type", "user_id")

    def __init__(self, user_id: str, tenant: str, type: str, metric: str | None, event_id: str | None) -> None:
        self.user_id = user_id
        self.tenant = tenant
        self.type = type
        self.metric = metric
        self.event_id = event_id


def loose_fields(value: bytes | None) -> LooseFields:
    """Return what can be read of a record that cannot be decoded.

    Raises:
        RejectedError: not even the user's id.
    """
    fields = _fields(value or b"")
    user = bytes(fields["user"]) if "user" in fields else b""
    try:
        raw = bytes(_object.decode(user)["id"]) if user[:1] == b"{" else user
        user_id = _text.decode(raw)
        tenant = _text.decode(fields["tenant"]) if "tenant" in fields else ""
    except (KeyError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RejectedError("bad_request", "the user cannot be read") from error
    return LooseFields(
        user_id=user_id,
        tenant=tenant,
        type=_loose_text(fields.get("type")) or "metric",
        metric=_loose_text(fields.get("metric")),
        event_id=_loose_text(fields.get("eventId")),
    )


def _loose_text(raw: Raw | None) -> str | None:
    try:
        text = None if raw is None else _text.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return text if text and len(text) <= MAX_ID_LENGTH else None
