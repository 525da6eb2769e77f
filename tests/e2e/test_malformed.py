"""Whatever stands on the input log, the worker stays up, says what it refused, and applies the rest (X9, X11)."""

import asyncio
import json
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaProducer
from clickhouse_connect.driver.client import Client

from deploy.cli.support.history import SAMPLE_CATALOG
from processors.rules.partitioner import partition_of
from schemas.brokers import Brokers
from schemas.instants import format_instant
from schemas.topics import MAX_TOPIC_RECORD_BYTES
from tests.e2e.command import processes_of, wait_until
from tests.e2e.conftest import DATABASE, NAMES, PARTITIONS, Up
from tests.e2e.derived import Derived, Place, differences, of_lines, of_topics, records_of

USER = "mallory"
HOME = partition_of(USER.encode(), PARTITIONS)
SECONDS = 60.0


class Bad(NamedTuple):
    """A record that must be refused, and where it is sent."""

    reason: str
    value: bytes | None
    key: bytes | None = USER.encode()
    partition: int = HOME


def metric(**fields: Any) -> bytes:
    """A good record, but for `fields`."""
    return json.dumps({"metric": "commits", "user": USER, "value": 1, **fields}).encode()


def value(literal: bytes) -> bytes:
    """A record with this text as its value."""
    return b'{"metric":"commits","user":"mallory","value":' + literal + b"}"


def bad_records() -> list[Bad]:
    """One of every kind. Forged times lie in the future, and are made when they are sent."""
    future = format_instant((time.time_ns() // 1_000_000) + 365 * 86_400_000)
    nested = b"[" * 100_000 + b"]" * 100_000
    return [
        Bad("tombstone", None),
        Bad("too_large", b'{"metric":"' + b"x" * 10_000_000 + b'"}'),
        Bad("too_large", metric(source="x" * 300_000)),
        Bad("malformed", b"this is not JSON"),
        Bad("malformed", b""),
        Bad("malformed", b'{"metric":"commits","user":'),
        Bad("malformed", b"\xff\xfe\x00\x01"),
        Bad("malformed", b"\xef\xbb\xbf" + metric()),
        Bad("malformed", value(b"NaN")),
        Bad("malformed", value(b"-Infinity")),
        Bad("malformed", value(nested)),
        Bad("malformed", nested),
        Bad("malformed", b'{"a":' * 40_000 + b"1" + b"}" * 40_000),
        Bad("unknown_type", metric(type="teleport")),
        Bad("unknown_field", metric(valeu=1)),
        Bad("wrong_key", metric(), b"somebody-else"),
        Bad("wrong_key", metric(), None),
        Bad("wrong_key", metric(), b"\xff"),
        Bad("wrong_key", metric(), USER.encode(), (HOME + 1) % PARTITIONS),
        Bad("forged_time", json.dumps({"type": "tick", "at": future}).encode(), None, 0),
        Bad("forged_time", json.dumps({"type": "catalog", "version": "1", "at": future}).encode(), None, 1),
        Bad("unknown_catalog", b'{"type":"catalog","version":"no-such","at":"2020-01-01T00:00:00Z"}', None, 2),
        Bad("bad_request", metric(metric=5)),
        Bad("bad_request", metric(value="1")),
        Bad("bad_request", metric(user={"id": USER, "attributes": {"since": 7}})),
        Bad("bad_request", metric(occurredAt="yesterday")),
        Bad("bad_request", b'{"metric":"commits","user":"mallory"}'),
        Bad("unknown_metric", metric(metric="comits")),
        Bad("value_out_of_range", value(b"7" * 400)),
        Bad("value_out_of_range", value(b"0." + b"0" * 5 + b"1" * 395 + b"e400")),
        Bad("value_out_of_range", value(b"1e3000000")),
        Bad("value_out_of_range", value(b"-1e" + b"9" * 400)),
        Bad("invalid_tz", metric(user={"id": USER, "tz": "Mars/Olympus_Mons"})),
        Bad("unknown_attribute", metric(attributes={"colour": "red"})),
        Bad("unknown_achievement", b'{"type":"achievement.complete","user":"mallory","achievement":"nope"}'),
    ]


class Sent(NamedTuple):
    """What stands on the log: reason by place of the bad records, number of good ones by user, and the ends."""

    bad: dict[tuple[int, int], str]
    good: Counter[str]
    begins: dict[int, int]


async def send_interleaved(brokers: Brokers) -> Sent:
    """Send every bad record between two good ones of the same partition."""
    producer = AIOKafkaProducer(**brokers.client(), max_request_size=MAX_TOPIC_RECORD_BYTES + 4096)
    await producer.start()
    sent = Sent({}, Counter(), {})
    try:
        users = {partition: f"good-{partition}-{user_in(partition)}" for partition in range(PARTITIONS)}

        async def send_good(partition: int, number: int) -> None:
            user = users[partition]
            record = json.dumps({"metric": "commits", "user": user, "value": 1, "eventId": f"{user}-{number}"}).encode()
            done = await producer.send_and_wait(NAMES.input, record, user.encode(), partition=partition)
            sent.begins.setdefault(partition, done.offset)
            sent.good[user] += 1

        for number, one in enumerate(bad_records()):
            await send_good(one.partition, number)
            done = await producer.send_and_wait(NAMES.input, one.value, one.key, partition=one.partition)
            sent.bad[done.partition, done.offset] = one.reason
        for partition in range(PARTITIONS):
            await send_good(partition, 1_000)
    finally:
        await producer.stop()
    return sent


def user_in(partition: int) -> int:
    """A number that makes the user's key belong to the partition."""
    return next(n for n in range(10_000) if partition_of(f"good-{partition}-{n}".encode(), PARTITIONS) == partition)


@pytest.fixture(scope="module")
def sent(ups: Callable[[], Up]) -> Sent:
    """The records, sent to a running installation, and applied."""
    up = ups()
    sent = asyncio.run(send_interleaved(up.brokers))
    client = up.client()
    wait_until(lambda: totals(client) == sent.good, "the good ones are applied", SECONDS)
    wait_until(lambda: len(rows(client)) == len(sent.bad), "the bad ones are in the table", SECONDS)
    client.close()
    return sent


def totals(client: Client) -> dict[str, int]:
    """Commits of the good users."""
    query = f"SELECT user_id, total FROM {DATABASE}.metric_totals WHERE startsWith(user_id, 'good-')"
    return {user: int(total) for user, total in client.query(query).result_rows}


def rows(client: Client) -> dict[tuple[int, int], str]:
    """Reason by place, of all refused records."""
    query = f"SELECT origin_partition, origin_offset, reason FROM {DATABASE}.rejected FINAL"
    return {(partition, offset): reason for partition, offset, reason in client.query(query).result_rows}


def test_the_worker_stays_up_and_applies_what_is_good_between(up: Up, sent: Sent) -> None:
    assert sum(sent.good.values()) == len(sent.bad) + PARTITIONS
    assert up.running.process.poll() is None
    assert len([one for one in processes_of(up.command.home) if " worker" in one]) == 1
    log = (up.command.home / "logs" / "worker.log").read_text()
    assert log.count("worker_starts") == 1
    assert "Traceback" not in log


async def test_every_bad_record_is_on_rejected_with_its_reason(up: Up, sent: Sent) -> None:
    refused = [record async for record in records_of(up.brokers, NAMES, "rejected")]
    found = [json.loads(record.value) for record in refused]
    assert {(one["origin"]["partition"], one["origin"]["offset"]): one["reason"] for one in found} == sent.bad
    assert len(found) == len(sent.bad)
    for record, one in zip(refused, found, strict=True):
        assert one["message"]
        assert one["origin"]["topic"] == NAMES.input
        assert record.partition == one["origin"]["partition"]
        assert len(record.value) < 500_000
    cut = [one for one in found if one.get("truncated")]
    assert {one["reason"] for one in cut} == {"too_large", "malformed"}


def test_the_table_of_refused_records_has_them(up: Up, sent: Sent) -> None:
    client = up.client()
    assert rows(client) == sent.bad
    client.close()


def test_a_counter_and_log_lines_say_so(up: Up, sent: Sent) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{up.metrics_port}/metrics", timeout=SECONDS) as answer:
        lines = answer.read().decode().splitlines()
    for reason, count in Counter(sent.bad.values()).items():
        assert f'plaudit_rejected_total{{reason="{reason}"}} {float(count)}' in lines
    assert "plaudit_skipped_offsets_total 0.0" in lines
    told: Counter[str] = Counter()
    for line in (up.command.home / "logs" / "worker.log").read_text().splitlines():
        entry = json.loads(line) if line.startswith("{") else {}
        if entry.get("event") == "records_rejected":
            told[entry["reason"]] += entry["count"]
    assert told == Counter(sent.bad.values())


def test_nothing_of_it_counted_for_anybody(up: Up, sent: Sent) -> None:
    assert up.command("user", USER).code == 4


async def test_simulate_refuses_the_same_and_derives_the_same(up: Up, sent: Sent) -> None:
    part = up.command.home.parent / "malformed.jsonl"
    dumped = up.command("dump", "--output", part)
    assert dumped.code == 0, dumped.err
    kept = [line for line in part.read_bytes().splitlines() if since(line, sent)]
    done = up.command("simulate", "--catalog", SAMPLE_CATALOG, "--records", "-", "--batch", 7, stdin=b"\n".join(kept))
    assert done.code == 3
    refused = [json.loads(line) for line in done.err.splitlines()]
    assert {(one["origin"]["partition"], one["origin"]["offset"]): one["reason"] for one in refused} == sent.bad
    simulated = of_lines(done.out.encode().splitlines(), sent.good)
    found = await of_topics(up.brokers, NAMES, sent.good)
    assert differences(of_users(simulated, sent), of_users(found, sent)) == []


def since(line: bytes, sent: Sent) -> bool:
    """Whether a line of the dump is a catalog record, or was written after the first good record of its partition."""
    record = json.loads(line) if len(line) < 1_000_000 else {"origin": {"partition": HOME, "offset": 10**9}}
    origin = record["origin"]
    return record.get("type") == "catalog" or origin["offset"] >= sent.begins[origin["partition"]]


def of_users(derived: Derived, sent: Sent) -> dict[Place, list[bytes]]:
    """The events of the good users; notices of boosts for everybody depend on the history before."""
    return {place: events for place, events in derived.kept.items() if place[1] in sent.good}
