"""What `run` feeds: the sample, or a records file, as history (X8)."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

import deploy
from deploy.cli.support.errors import WrongUseError
from deploy.cli.support.files import STDIO, catalog_file, reading
from deploy.git_history import read_csv
from deploy.records_file import RecordsFileError, read_records
from schemas.instants import parse_instant
from schemas.topics import user_key

SAMPLES: Final = Path(deploy.__file__).with_name("samples")
SAMPLE_CATALOG: Final = SAMPLES / "catalog.yaml"
SAMPLE_COMMITS: Final = SAMPLES / "git_commits.csv.gz"

LATE_HISTORY: Final = (
    "warning: the clock has run on this log already. History is late now: it counts, but closed streak periods are "
    "repaired only as far as the rules for late records allow (S66, X8)"
)


class HistoryRecord(msgspec.Struct, frozen=True):
    """One record to feed: its own event id, key, value, record timestamp."""

    event_id: str
    key: bytes
    value: bytes
    timestamp_ms: int


class _EventId(msgspec.Struct):
    event_id: str | None = msgspec.field(default=None, name="eventId")


_event_id: Final = msgspec.json.Decoder(_EventId)


def event_id_of(value: bytes | None) -> str | None:
    """Return the event id that a record gives itself."""
    try:
        return None if value is None else _event_id.decode(value).event_id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def history(records: str | None, limit: int | None = None) -> Iterator[HistoryRecord]:
    """Yield the records of a file, or of the sample if None, in their order; at most `limit`.

    Raises:
        WrongUseError: a line that is no record, or has no time or no event id; ticks and catalog records.
    """
    found = _sample() if records is None else _file(records)
    for count, record in enumerate(found):
        if limit is not None and count >= limit:
            return
        yield record


def check_history(records: str | None, catalog_path: str | None, limit: int | None) -> None:
    """Read what is given in place of the sample once, before anything is started.

    Raises:
        WrongUseError: it cannot be fed; see `history`.
    """
    if catalog_path is not None:
        catalog_file(catalog_path)
    if records is None:
        return
    if catalog_path is None:
        raise WrongUseError("--records needs --catalog: the sample's catalog would not know your metrics")
    if records == STDIO:
        raise WrongUseError(
            "--records takes a file, which is read more than once; for standard input: plaudit publish -"
        )
    for _ in history(records, limit):
        pass


def _sample() -> Iterator[HistoryRecord]:
    encode = msgspec.json.Encoder().encode
    now_ms = time.time_ns() // 1_000_000
    for record in read_csv(SAMPLE_COMMITS, attributes=True):
        at_ms = min(parse_instant(record["occurredAt"]), now_ms)  # brokers refuse the far future
        yield HistoryRecord(record["eventId"], user_key("", record["user"]["id"]), encode(record), at_ms)


def _file(path: str) -> Iterator[HistoryRecord]:
    now_ms = time.time_ns() // 1_000_000
    try:
        with reading(path) as lines:
            for record in read_records(lines):
                if record.type or record.value is None or record.key is None:
                    raise WrongUseError(f"{path}, line {record.line}: only records of users can be fed")
                if record.timestamp_ms is None:
                    raise WrongUseError(
                        f"{path}, line {record.line}: has neither timestamp nor occurredAt; give one of them"
                    )
                if record.timestamp_ms < 0:
                    raise WrongUseError(f"{path}, line {record.line}: lies before 1970")
                event_id = event_id_of(record.value)
                if event_id is None:
                    raise WrongUseError(
                        f"{path}, line {record.line} has no eventId; a second run would count it twice: add eventId"
                    )
                at_ms = min(record.timestamp_ms, now_ms)
                yield HistoryRecord(event_id, record.key, record.value, at_ms)
    except RecordsFileError as error:
        raise WrongUseError(f"{path}, {error}") from error
