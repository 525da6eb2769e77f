"""Records files: what dump writes, simulate reads back as it was."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from deploy.records_file import FileRecord, RecordsFileError, control_type, read_records, write_record
from schemas.records import LogRecord

TOPIC = "plaudit.events"
AT = 1_700_000_000_000


def _round_trip(value: bytes | None, key: bytes | None, **options: Any) -> FileRecord:
    line = write_record(LogRecord(3, 7, AT, key, value), topic=TOPIC, **options)
    assert b"\n" not in line
    (record,) = read_records([line])
    assert record.origin is not None
    assert (record.origin.topic, record.origin.partition, record.origin.offset) == (TOPIC, 3, 7)
    assert record.timestamp_ms == AT
    return record


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b'{"metric":"w","user":"18","value":1}', b"18"),
        (b'{"metric":"w","user":{"id":"18"},"tenant":"t","value":1}', b"t\x0018"),
        (b'{"metric":"w","user":"18","value":1}', b"19"),
        (b'{"metric":"w","user":"18","value":1}', None),
        (b'{"metric":"w","user":"18","value":1e3000000}', b"18"),
        (b'{"metric":"w","user":"18","value":' + b"7" * 5000 + b"}", b"18"),
        (b'{"metric":"w","user":"18","value":1,"timestamp":"x"}', b"18"),
        (b'{"metric":"w","user":"18","value":1,"raw":"x"}', b"18"),
        (b'{"type":"tick","at":"2025-01-01T00:00:00Z"}', None),
        (b'{"type":"catalog","version":"1","at":"2025-01-01T00:00:00Z","config":{}}', None),
        (b"not json", b"18"),
        (b'{"user":NaN}', b""),
        (b"[1]", None),
        (b"\xff\xfe", b"\xff"),
        (None, b"18"),
        (b'{"a":' * 20_000, b"18"),
        (b'{"metric":"w","user":"18","value":1,"source":"' + b"x" * 300_000 + b'"}', b"18"),
    ],
)
def test_value_and_key_come_back_as_they_were(value: bytes | None, key: bytes | None) -> None:
    record = _round_trip(value, key)
    assert record.value == value
    assert record.key == key


@given(st.none() | st.binary(max_size=60), st.none() | st.binary(max_size=10))
def test_any_bytes_come_back(value: bytes | None, key: bytes | None) -> None:
    record = _round_trip(value, key)
    assert record.value == value
    assert record.key == key


def test_white_space_of_a_record_is_not_kept() -> None:
    record = _round_trip(b'{ "metric": "w",\n "user": {"id": "18",\n"tz": null}, "value": 1.50 }', b"18")
    assert record.value == b'{"metric":"w","user":{"id":"18","tz":null},"value":1.50}'


def test_a_catalog_record_carries_the_catalog_of_its_version() -> None:
    value = b'{"type":"catalog","version":"1","at":"2025-01-01T00:00:00Z"}'
    record = _round_trip(value, None, config=Raw(b'{"metrics":[1.50]}'))
    assert record.value == value
    assert isinstance(record.config, Raw)
    assert bytes(record.config) == b'{"metrics":[1.50]}'
    assert _round_trip(value, None).config is None  # never published


def test_a_record_in_the_wrong_partition_and_a_forged_one_say_so() -> None:
    misplaced = _round_trip(b'{"metric":"w","user":"18","value":1}', b"18", misplaced_of=8).origin
    assert misplaced is not None
    assert misplaced.misplaced
    assert misplaced.partitions == 8
    forged = _round_trip(b'{"type":"tick","at":"2025-01-01T00:00:00Z"}', None, forged=True).origin
    assert forged is not None
    assert forged.forged


def test_a_plain_record_has_the_time_of_occurred_at_and_the_key_of_its_user() -> None:
    line = b'{"metric":"w","user":"18","value":1,"occurredAt":"2023-11-14T23:13:20+01:00"}'
    (record,) = read_records([b"\n", line])
    assert (record.line, record.value, record.key, record.timestamp_ms) == (2, line, b"18", AT)
    assert record.origin is None
    assert record.config is UNSET


@pytest.mark.parametrize("timestamp", ["-1", "99999999999999999"])
def test_a_time_that_no_calendar_has_is_milliseconds(timestamp: str) -> None:
    line = write_record(LogRecord(0, 0, int(timestamp), b"18", b'{"user":"18"}'), topic=TOPIC)
    (record,) = read_records([line])
    assert record.timestamp_ms == int(timestamp)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "line 1: not a JSON object"),
        (b"[]", "line 1: not a JSON object"),
        (b'{"timestamp":"yesterday"}', "line 1: timestamp"),
        (b'{"timestamp":1.5}', "line 1: timestamp"),
        (b'{"occurredAt":"2025-01-01T00:00:00"}', "line 1: occurredAt"),
        (b'{"origin":{"topic":"t"}}', "line 1: origin"),
        (b'{"origin":{"topic":"t","partition":0,"offset":0,"offsets":0}}', "line 1: origin"),
        (b'{"raw":"x","metric":"w"}', "line 1: unknown field 'metric' beside raw"),
        (b'{"raw":{"base64":"?"}}', "line 1: raw"),
        (b'{"type":"catalog","config":7}', "line 1: config"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(line: bytes, message: str) -> None:
    with pytest.raises(RecordsFileError, match=message):
        list(read_records([line]))


def test_control_records_are_told_by_their_type() -> None:
    assert control_type(b'{"at":"x","type" : "tick"}') == "tick"
    assert control_type(b'{"type":"catalog"}') == "catalog"
    assert control_type(b'{"type":"identify"}') == ""
    assert control_type(b'"type"') == ""
    assert control_type(None) == ""
