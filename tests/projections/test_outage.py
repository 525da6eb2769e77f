"""ClickHouse is away while records come: the topics hold them, not the sink, and it catches up by itself."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from benchmarks.soak.sampling import memory_of
from deploy.embedded import ClickHouseServer, KafkaServer
from tests.projections.feed import Feed, expected, found
from tests.projections.test_sink import ROOT, rows, wait_until

EVENTS = 5_000
"""Of each of two feeds; about 10 MB on the topics each, several times as much as objects."""

MOST_GROWTH_KIB = 8 * 1024
CATCH_UP_S = 120.0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_sink_without_clickhouse_holds_what_it_holds_and_catches_up(
    kafka: KafkaServer, clickhouse: ClickHouseServer, client: Client, database: str, prefix: str, tmp_path: Path
) -> None:
    feed = Feed(kafka.brokers, prefix)
    asyncio.run(feed.create_topics())
    asyncio.run(feed.publish(1_000, per_transaction=400))
    arguments = [kafka.bootstrap, clickhouse.url, database, prefix]
    with (tmp_path / "sink.log").open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.projections.small_sink", *arguments], cwd=ROOT, stdout=output, stderr=output
        )
    try:
        wait_until(lambda: rows(client, database) == feed.events, "the sink works")
        clickhouse.kill()
        asyncio.run(feed.publish(EVENTS, per_transaction=400))
        before, _ = memory_of(child.pid)
        asyncio.run(feed.publish(EVENTS, per_transaction=400))
        after, _ = memory_of(child.pid)
        assert child.poll() is None, (tmp_path / "sink.log").read_text()[-3000:]
        assert after - before < MOST_GROWTH_KIB
        clickhouse.start()
        wait_until(lambda: found(client, database) == expected(feed), "everything is there", CATCH_UP_S)
    finally:
        child.kill()
        child.wait()
        if not clickhouse.running:
            clickhouse.start()
