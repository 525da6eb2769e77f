"""The sink from Kafka to ClickHouse: exactly once, whoever dies."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from deploy.embedded import ClickHouseServer, KafkaServer
from projections.errors import TopicChangedError
from projections.sink import run_sink, sink_lag, sink_progress
from projections.tables import TABLES
from tests.projections.feed import Feed, expected, found

ROOT = Path(__file__).parents[2]
DEADLINE_S = 40.0

Spawn = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def spawn(
    kafka: KafkaServer, clickhouse: ClickHouseServer, database: str, prefix: str, tmp_path: Path
) -> Iterator[Spawn]:
    """Starts a sink as a process, optionally as a static member; ends what is left afterwards."""
    started: list[subprocess.Popen[bytes]] = []

    def start(instance: str | None = None) -> "subprocess.Popen[bytes]":
        arguments = [kafka.bootstrap, clickhouse.url, database, prefix, *([instance] if instance else [])]
        with (tmp_path / f"sink-{len(started)}.log").open("wb") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "tests.projections.sink_child", *arguments],
                cwd=ROOT,
                stdout=output,
                stderr=output,
            )
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()
    for path in sorted(tmp_path.glob("sink-*.log")):  # shown if the test fails
        print(path.name, path.read_text()[-3000:])


@pytest.fixture
def feed(kafka: KafkaServer, prefix: str) -> Feed:
    """A feed whose topics exist."""
    feed = Feed(kafka.brokers, prefix)
    asyncio.run(feed.create_topics())
    return feed


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = DEADLINE_S) -> None:
    """Return once the condition holds; a ClickHouse that is away counts as not yet."""
    deadline = time.monotonic() + timeout_s
    while True:
        with suppress(ClickHouseError):
            if condition():
                return
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.05)


def rows(client: Client, database: str) -> int:
    """Rows of metric_events."""
    return int(client.query(f"SELECT count() FROM {database}.metric_events").result_rows[0][0])


def stop_merges(client: Client, database: str) -> None:
    """Keep double rows where they are: merges would drop them by the keys, the second line behind the tokens."""
    for table in TABLES:
        client.command(f"SYSTEM STOP MERGES {database}.{table.name}")


def catch_up(kafka: KafkaServer, clickhouse: ClickHouseServer, database: str, prefix: str) -> int:
    """Run a sink in this process until everything is written."""
    sink = run_sink(kafka.brokers, clickhouse.url, database, prefix, stop=asyncio.Event(), until_caught_up=True)
    return asyncio.run(asyncio.wait_for(sink, DEADLINE_S))


def test_committed_records_are_projected_once_and_aborted_ones_never(
    kafka: KafkaServer, clickhouse: ClickHouseServer, client: Client, database: str, prefix: str, feed: Feed
) -> None:
    asyncio.run(feed.publish(1_000))
    assert catch_up(kafka, clickhouse, database, prefix) > 3_000
    assert found(client, database) == expected(feed)
    assert set(asyncio.run(sink_lag(kafka.brokers, database, prefix)).values()) == {0}
    before = sink_progress(client, database)
    assert catch_up(kafka, clickhouse, database, prefix) == 0
    assert sink_progress(client, database) == before
    asyncio.run(feed.publish(300))
    lag = asyncio.run(sink_lag(kafka.brokers, database, prefix))
    assert lag[f"{prefix}.awards", 0] > 0
    catch_up(kafka, clickhouse, database, prefix)
    assert found(client, database) == expected(feed)


def test_committed_offsets_that_were_reset_change_nothing(
    kafka: KafkaServer, clickhouse: ClickHouseServer, client: Client, database: str, prefix: str, feed: Feed
) -> None:
    from aiokafka import AIOKafkaConsumer, TopicPartition

    from projections.sink.settings import group_name

    async def reset() -> None:
        consumer = AIOKafkaConsumer(**kafka.brokers.client(), group_id=group_name(prefix, database))
        await consumer.start()
        places = [TopicPartition(f"{prefix}.{topic}", number) for topic in ("ledger", "awards") for number in range(4)]
        consumer.assign(places)
        await consumer.commit(dict.fromkeys(places, 0))
        await consumer.stop()

    asyncio.run(feed.publish(200))
    catch_up(kafka, clickhouse, database, prefix)
    asyncio.run(reset())
    assert catch_up(kafka, clickhouse, database, prefix) == 0
    assert found(client, database) == expected(feed)


def test_topics_made_anew_are_noticed(
    kafka: KafkaServer, clickhouse: ClickHouseServer, client: Client, database: str, prefix: str, feed: Feed
) -> None:
    asyncio.run(feed.publish(10))
    client.command(
        f"INSERT INTO {database}.sink_progress (epoch, topic, partition, state, first_offset, last_offset, batch) "
        f"VALUES (0, '{prefix}.ledger', 1, 'done', 0, 5000, '1:0-5000')"
    )
    with pytest.raises(TopicChangedError, match="ledger-1 ends at offset"):
        catch_up(kafka, clickhouse, database, prefix)


def test_kill_9_of_the_sink_loses_and_doubles_nothing(
    client: Client, database: str, prefix: str, feed: Feed, spawn: Spawn
) -> None:
    stop_merges(client, database)
    dice = random.Random(11)
    asyncio.run(feed.publish(2_500, per_transaction=400))
    for _ in range(4):
        seen = rows(client, database)
        child = spawn("sink-0")
        wait_until(lambda seen=seen: rows(client, database) > seen, "the sink works")  # type: ignore[misc]
        time.sleep(dice.random() * 0.3)  # anywhere in a batch
        child.kill()
        child.wait()
    child = spawn("sink-0")
    wait_until(lambda: found(client, database) == expected(feed), "everything is there")
    child.send_signal(signal.SIGTERM)
    assert child.wait(10) == 0
    assert found(client, database) == expected(feed)


def test_kill_9_of_clickhouse_loses_and_doubles_nothing(
    clickhouse: ClickHouseServer, client: Client, database: str, feed: Feed, spawn: Spawn
) -> None:
    stop_merges(client, database)
    asyncio.run(feed.publish(2_000, per_transaction=400))
    child = spawn()
    for _ in range(2):
        seen = rows(client, database)
        wait_until(lambda seen=seen: rows(client, database) > seen, "the sink works")  # type: ignore[misc]
        clickhouse.kill()
        time.sleep(0.3)  # the sink meets a server that is away
        clickhouse.start()
        stop_merges(client, database)
    wait_until(lambda: found(client, database) == expected(feed), "everything is there")
    child.send_signal(signal.SIGTERM)
    assert child.wait(10) == 0


def test_sinks_that_come_and_go_share_the_work(client: Client, database: str, feed: Feed, spawn: Spawn) -> None:
    stop_merges(client, database)

    async def run() -> None:
        publishing = asyncio.create_task(feed.publish(2_000, per_transaction=30, pause_s=0.02))
        first = spawn()
        await asyncio.to_thread(wait_until, lambda: rows(client, database) > 0, "the first works")
        second = spawn()
        await asyncio.sleep(1.5)
        first.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(first.wait, 15) == 0
        spawn("third")
        await publishing
        await asyncio.sleep(0.5)
        second.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(second.wait, 15) == 0

    asyncio.run(run())
    wait_until(lambda: found(client, database) == expected(feed), "everything is there")


def test_a_sink_that_slept_through_its_session_writes_nothing_twice(
    client: Client, database: str, feed: Feed, spawn: Spawn
) -> None:
    stop_merges(client, database)
    asyncio.run(feed.publish(1_000, per_transaction=400))
    sleeper = spawn()
    wait_until(lambda: rows(client, database) > 0, "the first works")
    sleeper.send_signal(signal.SIGSTOP)
    spawn()
    wait_until(lambda: found(client, database) == expected(feed), "the second has taken over")
    sleeper.send_signal(signal.SIGCONT)
    asyncio.run(feed.publish(500))
    wait_until(lambda: found(client, database) == expected(feed), "both work")
    time.sleep(1.0)  # whatever the sleeper had in hand has been refused by now
    assert found(client, database) == expected(feed)


def test_topics_that_do_not_exist_yet_are_no_reason_to_wait(
    kafka: KafkaServer, clickhouse: ClickHouseServer, database: str
) -> None:
    assert catch_up(kafka, clickhouse, database, "absent") == 0
    assert asyncio.run(sink_lag(kafka.brokers, database, "absent")) == {}
