"""From bytes of the log to a record, or to the reason why not, in the order of X9 and Z1."""

from typing import Any, Final

import msgspec
from msgspec import Raw

from processors.rules.errors import RejectedError
from schemas.records import TYPED, InputRecord, MetricEvent, UserInput
from schemas.topics import MAX_RECORD_BYTES

_metric_event: Final = msgspec.json.Decoder(MetricEvent)
_object: Final = msgspec.json.Decoder(dict[str, Raw])
_text: Final = msgspec.json.Decoder(str)
_typed: Final = {name: msgspec.json.Decoder(kind) for name, kind in TYPED.items()}
_SHOWN: Final = 80


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
        return _metric_event.decode(value)
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
                f"type {name[:_SHOWN]!r} is unknown; leave it out for a metric event, or use one of {known}",
            )
        kind, decoder = TYPED[name], _typed[name]
    allowed = {field.encode_name for field in msgspec.structs.fields(kind)} | {"type"}
    _refuse_unknown(fields, allowed, "")
    if "user" in fields and bytes(fields["user"])[:1] == b"{":
        user = _fields(bytes(fields["user"]))
        _refuse_unknown(user, {field.encode_name for field in msgspec.structs.fields(UserInput)}, "user.")
    try:
        # encoding again drops duplicate names: the last one counts (X9)
        record: InputRecord = decoder.decode(msgspec.json.encode(fields))
    except UnicodeDecodeError as error:
        raise RejectedError("malformed", f"not UTF-8: {error}") from error
    except msgspec.ValidationError as error:
        raise RejectedError("bad_request", f"{error}; see wire.md for the form of this record") from error
    return record


def _fields(value: bytes) -> dict[str, Raw]:
    try:
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


def _type_name(raw: Raw) -> str:
    try:
        return _text.decode(raw)
    except msgspec.ValidationError:
        return bytes(raw).decode("utf-8", "replace")


def _refuse_unknown(fields: dict[str, Raw], allowed: set[str], prefix: str) -> None:
    unknown = sorted(set(fields) - allowed)
    if unknown:
        names = ", ".join(prefix + name[:_SHOWN] for name in unknown[:5])
        raise RejectedError(
            "unknown_field",
            f"unknown field {names}; allowed here: {', '.join(sorted(prefix + name for name in allowed))}",
        )


def loose_user_id(value: bytes | None) -> tuple[str, str] | None:
    """Return tenant and user id of a record that is otherwise refused, None if they cannot be read."""
    if value is None:
        return None
    try:
        fields = _fields(value)
        user = bytes(fields["user"])
        identity = _text.decode(_object.decode(user)["id"] if user[:1] == b"{" else user)
        tenant = _text.decode(fields["tenant"]) if "tenant" in fields else ""
    except (RejectedError, KeyError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return tenant, identity
