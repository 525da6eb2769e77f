"""Records files (X15): JSON lines, each a record of the input log, with where and when it stood there.

A line is the record itself plus the extra fields `timestamp` (record timestamp) and `origin`. What `dump` adds so that
`simulate` folds exactly what the installation folded:

- a `catalog` record carries `config`, the catalog of its version; `null` if the version was never published.
- `origin.key`: the record's key where it is not the one that follows from tenant and user.
- `origin.misplaced` with `origin.partitions`: the record stands in a partition that is not its key's.
- `origin.forged`: a control record without the control token of the installation.
- `{"raw": …}` instead of the fields: the value of the record as text, `{"base64": …}` or null, where it is not a JSON
  object, has a field of these names itself, or is too large for a record.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from schemas.instants import DAY_MS, MAX_DAY, MIN_DAY, format_instant, parse_instant
from schemas.records import LogRecord
from schemas.topics import MAX_RECORD_BYTES, user_key

CONTROL_TYPES: Final = ("tick", "catalog")

_EXTRA: Final = ("timestamp", "origin", "raw", "config")
_MIN_MS: Final = MIN_DAY * DAY_MS
_MAX_MS: Final = (MAX_DAY + 1) * DAY_MS - 1

Bytes = str | dict[str, str] | None
"""Bytes as text if they are UTF-8, else `{"base64": …}`; None if there are none."""


class RecordsFileError(ValueError):
    """A line of a records file that cannot be used. Its author has to mend the line that the message names."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")


class FileOrigin(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True, kw_only=True):
    """The extra field `origin`: where the record stood, and what the rest of the line does not tell (see above)."""

    topic: str
    partition: int
    offset: int
    key: Bytes | UnsetType = UNSET
    misplaced: bool = False
    partitions: int | UnsetType = UNSET
    forged: bool = False


class FileRecord(msgspec.Struct, frozen=True):
    """One line of a records file.

    Attributes:
        line: number of the line, from 1.
        value: of the record, without the extra fields.
        key: of the record.
        timestamp_ms: record timestamp; None if the line gives neither `timestamp` nor `occurredAt`.
        origin: where it stood; None if the line does not say.
        type: `tick`, `catalog`, or empty for all others.
        config: of a catalog record: the catalog file in JSON; None = never published; UNSET = the line does not say.
        tenant: of the record, empty if it cannot be read.
    """

    line: int
    value: bytes | None
    key: bytes | None
    timestamp_ms: int | None
    origin: FileOrigin | None
    type: str
    config: Raw | None | UnsetType
    tenant: str


_fields: Final = msgspec.json.Decoder(dict[str, Raw])
_text: Final = msgspec.json.Decoder(str)
_origin: Final = msgspec.json.Decoder(FileOrigin)
_bytes: Final = msgspec.json.Decoder(Bytes)
_instant: Final = msgspec.json.Decoder(str | int)
_encode: Final = msgspec.json.Encoder().encode


def read_records(lines: Iterable[bytes], *, first: int = 1) -> Iterator[FileRecord]:
    """Yield the records of a file; empty lines are passed over. `first` is the number of the first line.

    Raises:
        RecordsFileError: a line that is no JSON object, or has an extra field of another form.
    """
    for number, line in enumerate(lines, first):
        text = line.strip()
        if text:
            yield _read(number, text)


def _read(number: int, text: bytes) -> FileRecord:
    try:
        text.decode()
        fields = _fields.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RecordsFileError(number, f"not a JSON object ({error}); write one record per line") from error
    kind = _control_type(fields.get("type"))
    origin = _part(number, "origin", _origin, fields)
    timestamp = _timestamp(number, fields)
    value: bytes | None
    config: Raw | None | UnsetType
    if "raw" in fields:
        unknown = sorted(set(fields) - {"raw", "timestamp", "origin"})
        if unknown:
            raise RecordsFileError(number, f"unknown field {unknown[0]!r} beside raw; leave it out")
        value = from_shown(number, "raw", _part(number, "raw", _bytes, fields))
        kind, config = "", UNSET
    else:
        config = _config(number, fields, kind)
        own = {name: raw for name, raw in fields.items() if name not in ("timestamp", "origin")}
        if kind == "catalog":
            own.pop("config", None)
        value = text if len(own) == len(fields) else _encode(own)
    tenant, key = ("", None) if kind or "raw" in fields else _owner(fields)
    if kind == "catalog" and "tenant" in fields:
        tenant = _part(number, "tenant", _text, fields)
    if origin is not None and origin.key is not UNSET:
        key = from_shown(number, "origin.key", origin.key)
    return FileRecord(number, value, key, timestamp, origin, kind, config, tenant)


def _control_type(raw: Raw | None) -> str:
    try:
        name = _text.decode(raw) if raw is not None else ""
    except msgspec.MsgspecError:
        return ""
    return name if name in CONTROL_TYPES else ""


def _config(number: int, fields: dict[str, Raw], kind: str) -> Raw | None | UnsetType:
    if kind != "catalog" or "config" not in fields:
        return UNSET
    raw = fields["config"]
    if bytes(raw) == b"null":
        return None
    if bytes(raw)[:1] != b"{":
        raise RecordsFileError(number, "config must be an object, the catalog of the version, or null")
    return raw


def _part(number: int, name: str, decoder: "msgspec.json.Decoder[Any]", fields: dict[str, Raw]) -> Any:
    if name not in fields:
        return None
    try:
        return decoder.decode(fields[name])
    except msgspec.ValidationError as error:
        raise RecordsFileError(number, f"{name}: {error}") from error


def _timestamp(number: int, fields: dict[str, Raw]) -> int | None:
    name = "timestamp" if "timestamp" in fields else "occurredAt"
    value = _part(number, name, _instant, fields)
    if value is None:
        return None
    if isinstance(value, int):
        if name == "timestamp":
            return value
        raise RecordsFileError(number, f"occurredAt: {value} is not an instant; write for example 2025-03-01T10:00:00Z")
    try:
        return parse_instant(value)
    except ValueError as error:
        hint = "write for example 2025-03-01T10:00:00Z"
        message = str(error) if hint in str(error) else f"{error}; {hint}"
        raise RecordsFileError(number, f"{name}: {message}") from error


def _owner(fields: dict[str, Raw]) -> tuple[str, bytes | None]:
    """Return tenant and key of a user's record; the key is None if they cannot be read."""
    try:
        user = fields["user"]
        identity = _text.decode(_fields.decode(user)["id"] if bytes(user)[:1] == b"{" else user)
        tenant = _text.decode(fields["tenant"]) if "tenant" in fields else ""
        return tenant, user_key(tenant, identity)
    except (KeyError, msgspec.MsgspecError, UnicodeError, RecursionError):
        return "", None


def control_type(value: bytes | None) -> str:
    """Return `tick` or `catalog` for the value of a control record, else nothing."""
    if value is None or b'"type"' not in value:
        return ""
    try:
        return _control_type(_fields.decode(value).get("type"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


def catalog_named(value: bytes) -> tuple[str, str] | None:
    """Return tenant and version that a catalog record names, None if they cannot be read."""
    try:
        fields = _fields.decode(value)
        return _text.decode(fields["tenant"]) if "tenant" in fields else "", _text.decode(fields["version"])
    except (KeyError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def shown(data: bytes | None) -> Bytes:
    """Return bytes in the form that a line can hold."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def from_shown(number: int, name: str, given: Bytes) -> bytes | None:
    """Return the bytes of `shown`.

    Raises:
        RecordsFileError: not of that form.
    """
    if given is None:
        return None
    try:
        if isinstance(given, str):
            return given.encode()
        if set(given) == {"base64"}:
            return base64.b64decode(given["base64"], validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise RecordsFileError(number, f"{name}: {error}") from error
    raise RecordsFileError(number, f'{name} must be a text, {{"base64": ...}} or null')


def write_record(
    record: LogRecord,
    *,
    topic: str,
    config: Raw | None = None,
    misplaced_of: int | None = None,
    forged: bool = False,
) -> bytes:
    """Return the line, without its end, of a record of the log.

    Args:
        record: as it stands on the log.
        topic: full name of the topic.
        config: for a catalog record, the catalog of its version; None = not published.
        misplaced_of: number of partitions of the topic, if the record is not in its key's; else None.
        forged: a control record that lacks the control token.
    """
    own = None if record.value is None else _own_fields(record.value)
    control = _control_type(own.get("type")) if own is not None else ""
    key = _owner(own)[1] if own is not None and not control else None
    origin = FileOrigin(
        topic=topic,
        partition=record.partition,
        offset=record.offset,
        key=UNSET if record.key == key else shown(record.key),
        misplaced=misplaced_of is not None,
        partitions=UNSET if misplaced_of is None else misplaced_of,
        forged=forged,
    )
    inside = _MIN_MS <= record.timestamp_ms <= _MAX_MS
    when: str | int = format_instant(record.timestamp_ms) if inside else record.timestamp_ms
    line: dict[str, Any] = {"raw": shown(record.value)} if own is None else {**own}
    line["timestamp"], line["origin"] = when, origin
    if control == "catalog":
        line["config"] = config
    return _encode(line)


def _own_fields(value: bytes) -> dict[str, Raw] | None:
    """Return the fields of a value that can stand in a line as they are, else None."""
    if len(value) > MAX_RECORD_BYTES:
        return None
    try:
        value.decode()
        fields = _fields.decode(msgspec.json.format(value, indent=-1))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return None if any(name in fields for name in _EXTRA) else fields
