"""What a refused record leaves behind: `plaudit.rejected` (X11) and its outcome (C34, X12)."""

from base64 import b64encode
from typing import Final

import msgspec
from msgspec import UNSET

from processors.rules.effects import shown_instant
from processors.rules.errors import RejectedError
from schemas.derived import Origin, Rejected
from schemas.emission import Emission
from schemas.records import LogRecord
from schemas.topics import REJECTED

MAX_SHOWN_BYTES: Final = 64 * 1024
"""Longest key or value shown on `plaudit.rejected` (X11)."""

_encode: Final = msgspec.json.Encoder().encode


def rejected(record: LogRecord, topic: str, error: RejectedError) -> Emission:
    """Return the record for `plaudit.rejected`, keyed as the refused one."""
    key, key_cut = _show(record.key)
    value, value_cut = _show(record.value)
    data = Rejected(
        reason=error.reason,
        message=error.message,
        origin=Origin(
            topic,
            record.partition,
            record.offset,
            shown_instant(record.timestamp_ms),
        ),
        key=key,
        value=value,
        truncated=True if key_cut or value_cut else UNSET,
    )
    return Emission(REJECTED, None if record.key is None else record.key[:MAX_SHOWN_BYTES], _encode(data))


def _show(data: bytes | None) -> tuple[str | dict[str, str] | None, bool]:
    if data is None:
        return None, False
    cut = len(data) > MAX_SHOWN_BYTES
    data = data[:MAX_SHOWN_BYTES]
    for lost in range(4 if cut else 1):  # the cut may have split a character
        try:
            return data[: len(data) - lost].decode(), cut
        except UnicodeDecodeError:
            continue
    return {"base64": b64encode(data).decode()}, cut
