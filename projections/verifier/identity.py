"""What a derived record is about, read from its bytes: for telling lost, doubled and wrong apart, and for the reader."""

from typing import Any, Final

import msgspec

from projections.verifier.report import short
from schemas.derived import Origin
from schemas.instants import parse_instant


class Head(msgspec.Struct, rename="camel"):
    """The fields by which derived events, outcomes and refusals are told apart."""

    id: str = ""
    type: str = ""
    emitted_at: str = ""
    event_id: str = ""
    origin: Origin | None = None
    reason: str = ""


_head: Final = msgspec.json.Decoder(Head)


def head_of(value: bytes) -> Head:
    """Return the head of a value; an empty one if it cannot be read."""
    try:
        return _head.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Head()


def identity_of(value: bytes, header_id: bytes = b"") -> str:
    """Return the id by which a record is told from others of its topic: the header, the derived id, the event id of an
    outcome, the place of a refused record; of what is none of these the beginning of its bytes."""
    if header_id:
        return header_id.decode("utf-8", "replace")
    head = head_of(value)
    if head.id:
        return head.id
    if head.origin is not None:
        return f"{head.origin.topic}-{head.origin.partition}-{head.origin.offset}"
    return head.event_id or repr(value[:40])


def instant_of(value: bytes) -> int | None:
    """Return the append time of the causing record (epoch ms) as the record itself has it; None if it does not say."""
    head = head_of(value)
    text = head.emitted_at or (head.origin.timestamp if head.origin is not None else "")
    try:
        return parse_instant(text) if text else None
    except ValueError:
        return None


def shown_key(key: bytes | None) -> str:
    """Return a record key as text."""
    return "" if key is None else key.decode("utf-8", "replace").replace("\0", " ")


def first_difference(expected: bytes, found: bytes) -> tuple[str, str]:
    """Return where two JSON values differ first, as `path: value` of both; the whole values if one is no JSON."""
    try:
        one, other = msgspec.json.decode(expected), msgspec.json.decode(found)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return short(expected.decode("utf-8", "replace")), short(found.decode("utf-8", "replace"))
    path, left, right = _differing("", one, other)
    if left == right:
        return "the same content", "other bytes"
    return short(f"{path}: {_text(left)}"), short(f"{path}: {_text(right)}")


def _differing(path: str, one: Any, other: Any) -> tuple[str, Any, Any]:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in [*one, *(name for name in other if name not in one)]:
            if one.get(name) != other.get(name) or (name in one) != (name in other):
                return _differing(f"{path}.{name}" if path else str(name), one.get(name), other.get(name))
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            if left != right:
                return _differing(f"{path}[{number}]", left, right)
    return path, one, other


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
