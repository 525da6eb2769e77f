"""Bad input never stops the fold: it is refused with its reason, and nothing else happens (X9, Z rules, T10)."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.rules.catalogs import CatalogStore
from processors.rules.partition import Partition
from processors.rules.partitioner import partition_of
from processors.rules.settings import FoldSettings
from schemas.catalog_file import encode_config
from schemas.emission import Emission
from schemas.instants import parse_instant
from schemas.records import LogRecord

NOW = parse_instant("2026-01-01T12:00:00Z")
GOOD = b'{"metric":"words","user":"18","value":250}'

CONFIG = {
    "metrics": ["words", {"key": "old", "status": "archived"}],
    "eventAttributes": ["lang"],
    "userAttributes": ["plan"],
    "achievements": [{"key": "badge", "trigger": "api", "status": "active"}],
}


def partition(**settings: object) -> Partition:
    """A fold with a small catalog in force."""
    import msgspec

    store = CatalogStore()
    record = {
        "tenant": "",
        "version": "1",
        "atMs": parse_instant("1990-01-01T00:00:00Z"),
        "config": msgspec.Raw(encode_config(CONFIG)),
    }
    store.add(msgspec.json.encode(record))
    fold = Partition(0, FoldSettings(**settings), store)  # type: ignore[arg-type]
    headers = (("plaudit-control", b"secret"),) if settings.get("control_token") else ()
    switch = b'{"type":"catalog","version":"1","at":"1990-01-01T00:00:00Z"}'
    fold.process(LogRecord(0, 0, NOW, None, switch, headers), [], 10**6)
    fold.changes(1)
    fold.commit()
    return fold


def send(fold: Partition, value: bytes | None, key: bytes | None = b"18", timestamp: int = NOW) -> list[Emission]:
    """Fold one record in a round of its own."""
    out: list[Emission] = []
    offset = fold.next_offset
    assert fold.process(LogRecord(0, offset, timestamp, key, value), out, 10**6)
    fold.changes(offset + 1)
    fold.commit()
    return out


DEEP = b'{"metric":"words","user":"18","value":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

BAD = {
    "tombstone": [None],
    "too_large": [b'{"metric":"' + b"x" * 300_000 + b'"}', b"x" * 10_000_000],
    "malformed": [
        b"", b"not json", b"{", b"[]", b"7", b"null", b'"text"',
        b'{"metric":"words","user":"18","value":NaN}',
        b'{"metric":"words","user":"18","value":Infinity}', b'\xef\xbb\xbf{"metric":"words","user":"18","value":1}',
        b'{"metric":"words\xff","user":"18","value":1}', b'{"metric":"words","user":"18","value":"\xc3/"}',
        b'{"metric":"words","user":"18","value":"\xff","value":1}', DEEP, b'{"metric":"words","user":"18","value":01}',
        b'{"metric":"words","user":"18","value":1}{}', b'{"metric":"\\ud800","user":"18","value":1}',
    ],
    "unknown_type": [b'{"type":"nope"}', b'{"type":7}', b'{"type":null}',
        b'{"type":"metric","metric":"words","user":"18","value":1}'],
    "unknown_field": [
        b'{"metric":"words","user":"18","value":1,"valeu":2}', b'{"metric":"words","user":{"id":"18","mail":"x"},"value":1}',
        b'{"type":"identify","user":"18","value":1}', b'{"metric":"words","user":"18","value":1,"at":"2026-01-01T00:00:00Z"}',
    ],
    "forged_time": [b'{"type":"tick","at":"9999-12-31T23:59:59-01:00"}', b'{"type":"tick","at":"2027-01-01T00:00:00Z"}',
        b'{"type":"catalog","version":"2","at":"2027-01-01T00:00:00Z"}'],
    "bad_request": [
        b'{"metric":"words","user":"18"}', b'{"metric":"words","value":1}', b'{"user":"18","value":1}',
        b'{"metric":"words","user":"18","value":"1"}', b'{"metric":"words","user":"18","value":true}',
        b'{"metric":"words","user":"18","value":null}', b'{"metric":"words","user":{"id":"18","email":null},"value":1}',
        b'{"metric":"words","user":{"id":"18","name":""},"value":1}',
        b'{"metric":"words","user":"18","value":1,"attributes":{"lang":7}}',
        b'{"metric":"words","user":"18","value":1,"eventId":""}',
        b'{"metric":"words","user":"18","value":1,"occurredAt":"yesterday"}',
        b'{"metric":"words","user":"18","value":1,"occurredAt":"2026-01-01T00:00:00"}',
        b'{"metric":"words","user":"18","value":1,"occurredAt":"0001-01-01T00:00:00Z"}',
        b'{"metric":"words","user":"18","value":1,"occurredAt":"0001-01-01T00:00:00+01:00"}',
        b'{"metric":"words","user":"18","value":1,"occurredAt":"9999-12-31T23:59:59-01:00"}',
        b'{"type":"identify","user":"18","occurredAt":"9999-12-31T23:59:59Z"}',
        b'{"metric":"words","user":"18","value":1,"eventId":"plaudit.events-0-7"}',
        b'{"metric":"words","user":"18","value":1,"eventId":"a\\u0000b"}',
        b'{"metric":"words","user":{"id":"18","name":"' + b"x" * 1025 + b'"},"value":1}',
        b'{"metric":"nope","user":{"id":"18","signUpDate":"2025-W10-1","tz":"Mars/Base"},"value":1}',
        b'{"metric":"words","user":{"id":"18","signUpDate":"soon"},"value":1}', b'{"type":"tick"}',
        b'{"metric":"words","user":"18","value":1,"attributes":{"lang":"' + b"x" * 1025 + b'"}}',
        b'{"type":"identify","user":{"id":"18","signUpDate":"soon","subscribeToEmails":true}}',
    ],
    "unknown_metric": [b'{"metric":"wrods","user":"18","value":1}', b'{"metric":"old","user":"18","value":1}'],
    "value_out_of_range": [
        b'{"metric":"words","user":"18","value":1e3000000}', b'{"metric":"words","user":"18","value":' + b"7" * 400 + b"}",
        b'{"metric":"words","user":"18","value":1000000000001}',
    ],
    "invalid_tz": [b'{"metric":"words","user":{"id":"18","tz":"Mars/Base"},"value":1}'],
    "unknown_attribute": [
        b'{"metric":"words","user":"18","value":1,"attributes":{"lnag":"en"}}',
        b'{"metric":"words","user":{"id":"18","attributes":{"pln":"x"}},"value":1}',
    ],
    "email_required": [b'{"metric":"words","user":{"id":"18","subscribeToEmails":true},"value":1}'],
    "invalid_idempotency_key": [b'{"metric":"words","user":"18","value":1,"idempotencyKey":"' + b"k" * 256 + b'"}'],
    "unknown_achievement": [b'{"type":"achievement.complete","user":"18","achievement":"nope"}'],
    "unknown_user": [b'{"type":"preferences","user":"18","streak":{"enabled":false}}'],
    "invalid_preferences": [b'{"type":"preferences","user":"18","streak":{"evaluationMode":"XOR"}}'],
    "stale_catalog": [],
}  # fmt: skip


@pytest.mark.parametrize(("reason", "value"), [(reason, value) for reason, values in BAD.items() for value in values])
def test_bad_records_are_refused_with_their_reason(reason: str, value: bytes | None) -> None:
    """The reason and origin are on `plaudit.rejected`, a counter moves, the state is untouched, the next record counts."""
    fold = partition()
    out = send(fold, value)
    rejected = [json.loads(emission.value) for emission in out if emission.topic == "rejected"]
    assert [one["reason"] for one in rejected] == [reason]
    assert rejected[0]["origin"]["offset"] == 1
    assert rejected[0]["message"]
    assert len(json.dumps(rejected[0])) < 500_000
    assert fold.counters[f"rejected.{reason}"] == 1
    assert fold.keys() == []
    assert [e.topic for e in send(fold, GOOD)][-1] == "outcomes"
    assert fold.counters["applied"] == 1


@pytest.mark.parametrize("key", [None, b"", b"19", b"18\0", b"\xff"])
def test_a_record_under_another_key_is_refused(key: bytes | None) -> None:
    """X1: the key decides the partition, so it must be the user's; also before other faults of the content."""
    fold = partition()
    for value in (GOOD, b'{"metric":"words","user":"18","value":"x"}'):
        (emission,) = send(fold, value, key)
        assert json.loads(emission.value)["reason"] == "wrong_key"


def test_a_record_in_another_partition_is_refused() -> None:
    """X1: whose partition does not fit its key."""
    fold = partition(partitions=8)
    wanted = next(str(n) for n in range(100) if partition_of(str(n).encode(), 8) == 0)
    other = next(str(n) for n in range(100) if partition_of(str(n).encode(), 8) != 0)
    good = send(fold, json.dumps({"metric": "words", "user": wanted, "value": 1}).encode(), wanted.encode())
    (bad,) = send(fold, json.dumps({"metric": "words", "user": other, "value": 1}).encode(), other.encode())
    assert good[-1].topic == "outcomes"
    assert "murmur2" in json.loads(bad.value)["message"]


def test_control_records_need_the_token_where_one_is_configured() -> None:
    """X7."""
    fold = partition(control_token="secret")
    (emission,) = send(fold, b'{"type":"tick","at":"2026-01-01T00:00:00Z"}', None)
    assert json.loads(emission.value)["reason"] == "forged_time"
    assert "secret" not in emission.value.decode()


def test_the_last_of_duplicate_names_counts() -> None:
    """X9."""
    fold = partition()
    out = send(fold, b'{"metric":7,"metric":"words","user":{"x":1},"user":"18","value":"x","value":5}')
    assert json.loads(out[-1].value)["outcome"]["total"] == 5


@pytest.mark.parametrize("timestamp", [-1, -(10**15), 10**15, 2**62])
def test_impossible_record_timestamps_are_refused(timestamp: int) -> None:
    """A timestamp outside the calendar is refused, except that -1 is just before 1970."""
    fold = partition()
    topics = {emission.topic for emission in send(fold, GOOD, timestamp=timestamp)}
    assert topics == ({"rejected", "outcomes"} if abs(timestamp) > 1 else {"ledger", "outcomes"})


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_survived(value: bytes) -> None:
    """Whatever comes, the fold goes on."""
    fold = partition()
    send(fold, value)
    send(fold, GOOD)
    assert fold.counters["applied"] == 1


def test_mutated_records_are_survived_and_refused_ones_change_nothing() -> None:
    """Good records with bytes changed at random: applied or refused, never anything between."""
    chance = random.Random(7)
    fold = partition()
    good = b'{"metric":"words","user":{"id":"18","tz":"Europe/Berlin"},"value":2.5,"attributes":{"lang":"en"},"idempotencyKey":"k"}'
    for _ in range(3_000):
        value = bytearray(good)
        for _ in range(chance.randint(1, 3)):
            value[chance.randrange(len(value))] = chance.randrange(256)
        before = fold.counters["applied"]
        out = send(fold, bytes(value))
        if any(emission.topic == "rejected" for emission in out):
            assert fold.counters["applied"] == before
            assert all(emission.topic in ("rejected", "outcomes") for emission in out)
        else:
            assert fold.counters["applied"] == before + 1


def test_a_refused_record_of_a_readable_user_has_an_outcome() -> None:
    """C34, D-03: also if the record cannot be decoded, as long as it names its user and stands under its key."""
    fold = partition()
    out = send(fold, b'{"metric":"words","user":"18","valeu":1,"eventId":"e-1"}')
    outcome = json.loads(out[-1].value)
    assert [emission.topic for emission in out] == ["rejected", "outcomes"]
    assert (outcome["eventId"], outcome["type"], outcome["userId"], outcome["metric"]) == (
        "e-1",
        "metric",
        "18",
        "words",
    )
    assert (outcome["status"], outcome["reason"]) == (400, "unknown_field")


@pytest.mark.parametrize(("tenant", "user"), [("", "a\0b"), ("a\0b", "c")])
def test_nul_in_user_or_tenant_is_refused(tenant: str, user: str) -> None:
    """NUL separates tenant and user in the key: with it two users could share one state."""
    fold = partition()
    record = {"metric": "words", "user": user, "value": 1, **({"tenant": tenant} if tenant else {})}
    key = f"{tenant}\0{user}".encode() if tenant else user.encode()
    (emission,) = send(fold, json.dumps(record).encode(), key)
    assert json.loads(emission.value)["reason"] == "bad_request"


@pytest.mark.parametrize("depth", [90, 150, 940, 1_000, 5_000])
def test_depth_is_judged_the_same_from_any_stack(depth: int) -> None:
    """What is nested deeper than 100 is malformed, however much of the stack the caller has used."""

    def deep(frames: int) -> str:
        if frames:
            return deep(frames - 1)
        value = b'{"metric":"words","user":"18","value":' + b"[" * depth + b"]" * depth + b"}"
        return str(json.loads(send(partition(), value)[0].value)["reason"])

    assert deep(0) == deep(300) == ("malformed" if depth > 99 else "bad_request")


@pytest.mark.parametrize(
    "value",
    [
        b'{"metric":"words","user":{"id":1,"id":"18","tz":false,"tz":"Europe/Berlin"},"value":1}',
        b'{"metric":"words","user":"18","value":1,"attributes":{"lang":7,"lang":"en"}}',
        b'{"metric":"words","user":[],"user":"18","value":{"a":[1]},"value":1}',
    ],
)
def test_of_duplicate_names_the_last_counts_also_inside(value: bytes) -> None:
    """X9."""
    assert [emission.topic for emission in send(partition(), value)][-1] == "outcomes"
    fold = partition()
    send(fold, value)
    assert fold.counters["applied"] == 1


def test_what_is_nested_too_deep_is_refused_also_where_a_later_name_replaces_it() -> None:
    """How deep the decoder goes depends on the caller's stack: a replay must agree (D-23)."""
    fold = partition()
    send(fold, b'{"metric":"words","user":"18","value":' + b"[" * 101 + b"]" * 101 + b',"value":1}')
    assert fold.counters["rejected.malformed"] == 1


def test_a_record_timestamp_outside_the_calendar_hides_no_earlier_reason() -> None:
    """X9, D-11."""
    for value, reason in ((b"{", "malformed"), (GOOD, "bad_request")):
        fold = partition()
        send(fold, value, timestamp=2**60)
        assert fold.counters[f"rejected.{reason}"] == 1
