"""Records on their way to the input log."""

import time
from typing import TYPE_CHECKING

from schemas.topics import MAX_TOPIC_RECORD_BYTES

if TYPE_CHECKING:
    from deploy.cli.support.kafka import Feeder
    from deploy.records_file import FileRecord

_BATCH_OVERHEAD_BYTES = 4096


def give(feeder: "Feeder", record: "FileRecord", *, history: bool) -> str:
    """Hand a record over to the feed; return why not, or nothing. `history`: dated by the record itself (X8)."""
    if record.type:
        return f"{record.type} records are written by the program: see plaudit tick, plaudit catalog publish"
    if record.value is not None and len(record.value) > MAX_TOPIC_RECORD_BYTES - _BATCH_OVERHEAD_BYTES:
        return f"the record has {len(record.value)} bytes, the topic takes {MAX_TOPIC_RECORD_BYTES}"
    now_ms = time.time_ns() // 1_000_000
    if not history:
        feeder.add(record.key, record.value, now_ms)
        return ""
    if record.timestamp_ms is None:
        return "has neither timestamp nor occurredAt, which --history dates it by"
    if not 0 <= record.timestamp_ms <= now_ms:
        return "history lies between 1970 and now; mend timestamp or occurredAt"
    feeder.add(record.key, record.value, record.timestamp_ms)
    return ""
