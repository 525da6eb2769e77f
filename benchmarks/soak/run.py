"""The soak itself: an installation of child processes, a producer paced by what they have not done yet, samples."""

import argparse
import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from benchmarks.harness import BenchmarkError, tell
from benchmarks.soak.load import Load, catalog
from benchmarks.soak.sampling import Sample, disk_of, heap_of, memory
from deploy import compiled
from deploy.cli.support.catalogs import publish
from deploy.cli.support.children import ChildCommand
from deploy.cli.support.kafka import Feeder
from deploy.embedded import EmbeddedStack
from deploy.logging import quiet_logging
from processors.agents.clock import now_ms
from processors.engine.names import Names
from processors.engine.topics import all_specs, create_topics
from projections.sink.settings import group_name
from projections.tables import PROJECTED_TOPICS
from schemas.brokers import Brokers
from schemas.catalog_file import encode_config, load_catalog
from schemas.topics import DEFAULT_PARTITIONS, full_name

NAMES: Final = Names("soak")
DATABASE: Final = "soak"

STEP_S: Final = 0.5
"""Time between two looks at the pace."""

SAMPLE_S: Final = 5.0
HEAP_EVERY: Final = 60
"""Samples between two questions for what is alive on Java's heap."""

JAVA_OPTIONS: Final = "-Xms512m -Xmx512m -XX:+AlwaysPreTouch"
"""All of the broker's heap is resident from the start: a collector lets garbage lie until the heap is full, which for a broker
with so little to do takes longer than the run. What is alive on the heap is measured apart."""

TELL_S: Final = 60.0
STALL_S: Final = 600.0
"""Without anything applied for so long, the run is given up: the machine may be busy, but not that busy."""

MAX_LAG: Final = 40_000
"""Input records that may wait for the worker before the producer waits."""

MAX_SINK_LAG: Final = 800_000
"""Derived records that may wait for the sink before the producer waits; far below RETENTION_BYTES."""

RETENTION_BYTES: Final = 256 * 1024 * 1024
SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""Of every partition of every topic but the changelog, which is compacted: a run's logs stay below 8 GB."""

_encode: Final = msgspec.json.Encoder().encode


class Watch:
    """Knows how far worker and sink are; asks over connections that it keeps."""

    def __init__(self, brokers: Brokers) -> None:
        self._admin = AIOKafkaAdminClient(**brokers.client())
        self._consumer = AIOKafkaConsumer(**brokers.client(), isolation_level="read_committed")
        self._derived = [full_name(name, NAMES.prefix) for name in PROJECTED_TOPICS]
        self.applied = 0
        self.sink_lag = 0

    async def start(self) -> None:
        """Connect."""
        await self._admin.start()
        await self._consumer.start()

    async def stop(self) -> None:
        """Let go."""
        await self._consumer.stop()
        await self._admin.close()

    async def look(self) -> None:
        """Bring `applied` and `sink_lag` up to date; keeps the old ones if the broker does not answer."""
        try:
            done = await self._offsets(NAMES.group)
            self.applied = sum(done.values())
            written = await self._offsets(group_name(NAMES.prefix, DATABASE))
            places = [TopicPartition(name, part) for name in self._derived for part in range(DEFAULT_PARTITIONS)]
            ends = await self._consumer.end_offsets(places)
            self.sink_lag = sum(max(0, end - written.get(place, 0)) for place, end in ends.items())
        except (KafkaError, AttributeError) as error:
            tell(f"soak: no answer about the lag: {error!r}")

    async def _offsets(self, group: str) -> Mapping[TopicPartition, int]:
        found = await self._admin.list_consumer_group_offsets(group)
        return {place: max(0, at.offset) for place, at in found.items()}


async def run(options: argparse.Namespace, samples: Path) -> None:
    """Run the soak; write the samples. BenchmarkError if the installation failed, or lost or doubled anything."""
    quiet_logging()
    signal.signal(signal.SIGTERM, _interrupt)
    out: Path = options.out
    home = out / "home"
    shutil.rmtree(home, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    tree = compiled.make() if compiled.obstacle() is None else compiled.ROOT
    tell(f"soak: {options.events:,} events of {options.users:,} users, from {tree}")
    os.environ["_JAVA_OPTIONS"] = JAVA_OPTIONS
    stack = EmbeddedStack(home)
    try:
        endpoints = stack.start()
        assert stack.kafka is not None and stack.clickhouse is not None, "KAFKA_BOOTSTRAP or CLICKHOUSE_URL is set"
        brokers = Brokers(endpoints.kafka_bootstrap)
        await prepare(brokers, endpoints.clickhouse_url)
        settings = environment(home, endpoints.kafka_bootstrap, endpoints.clickhouse_url, tree)
        async with children(out, settings) as running:
            pids = {name: child.process.pid for name, child in running.items()}
            pids |= {"kafka": stack.kafka.pid, "clickhouse": stack.clickhouse.pid, "producer": os.getpid()}
            soak = _Soak(options, brokers, pids, running, stack)
            await soak.run(samples)
            tell(f"soak: {check_tables(endpoints.clickhouse_url, soak.sent, soak.load)}")
    finally:
        stack.stop()
        shutil.rmtree(home, ignore_errors=True)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def environment(home: Path, bootstrap: str, url: str, tree: Path) -> dict[str, str]:
    """Return the settings of the children."""
    return {
        "KAFKA_BOOTSTRAP": bootstrap,
        "CLICKHOUSE_URL": url,
        "PLAUDIT_HOME": str(home),
        "PLAUDIT_PREFIX": NAMES.prefix,
        "PLAUDIT_DATABASE": DATABASE,
        "PLAUDIT_PARTITIONS": str(DEFAULT_PARTITIONS),
        "PLAUDIT_ALLOW_RETENTION": "1",
        "PLAUDIT_LOG_LEVEL": "info",
        "PYTHONPATH": str(tree),
    }


@asynccontextmanager
async def children(out: Path, settings: Mapping[str, str]) -> AsyncIterator[dict[str, ChildCommand]]:
    """Run a worker and a sink for the time of the block."""
    running: dict[str, ChildCommand] = {}
    try:
        for name in ("worker", "sink"):
            running[name] = ChildCommand(name, [name], out / f"{name}.log", settings)
        yield running
    finally:
        for child in running.values():
            child.ask_to_stop()
        for child in running.values():
            child.stop()


async def prepare(brokers: Brokers, url: str) -> None:
    """Make tables and topics, these with their bounds, and publish the catalog."""
    from projections import migrate
    from projections.connection import connect

    client = connect(url)
    migrate.up(client, DATABASE)
    client.close()
    await create_topics(brokers, NAMES, DEFAULT_PARTITIONS)
    admin = AIOKafkaAdminClient(**brokers.client())
    await admin.start()
    try:
        bounds = {"retention.bytes": str(RETENTION_BYTES), "segment.bytes": str(SEGMENT_BYTES)}
        bounded = [spec for spec in all_specs(NAMES) if spec.config.get("cleanup.policy") != "compact"]
        await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, spec.name, configs={**spec.config, **bounds}) for spec in bounded]
        )
    finally:
        await admin.close()
    config = catalog()
    normalised = load_catalog(config, tenant="")[0]
    await publish(brokers, NAMES, config, normalised, tenant="", version="1", at_ms=now_ms() - 1000, token="")
    assert encode_config(config)


class _Soak:
    """Sends, waits, samples."""

    def __init__(
        self,
        options: argparse.Namespace,
        brokers: Brokers,
        pids: Mapping[str, int],
        children: Mapping[str, ChildCommand],
        stack: EmbeddedStack,
    ) -> None:
        self.sent = 0
        self.load = Load(options.users)
        self._options = options
        self._brokers = brokers
        self._pids = pids
        self._children = children
        self._stack = stack
        self._watch = Watch(brokers)
        self._heap: int | None = None
        self._samples = 0
        self._moved = (0, time.monotonic())
        self._told = 0.0

    async def run(self, samples: Path) -> None:
        """Send all events, or what the time allows, and wait until all are projected."""
        await self._watch.start()
        stop = asyncio.Event()
        samples.unlink(missing_ok=True)
        sampling = asyncio.create_task(self._sample(samples, stop))
        try:
            async with Feeder(self._brokers, NAMES.input) as feeder:
                await self._send(feeder)
            tell(f"soak: {self.sent:,} events sent; waiting for the sink")
            while self._behind() > 0 or self._watch.sink_lag:
                await self._look()
                await asyncio.sleep(STEP_S)
        finally:
            stop.set()
            await sampling
            await self._watch.stop()

    async def _send(self, feeder: Feeder) -> None:
        source = iter(self.load)
        deadline = time.monotonic() + self._options.minutes * 60
        step = max(1, int(self._options.rate * STEP_S))
        while self.sent < self._options.events and time.monotonic() < deadline:
            began = time.monotonic()
            if self._behind() < MAX_LAG and self._watch.sink_lag < MAX_SINK_LAG:
                at_ms = now_ms()
                for key, value in islice(source, min(step, self._options.events - self.sent)):
                    feeder.add(key, value, at_ms)
                    self.sent += 1
                await feeder.flush()
            await asyncio.sleep(max(0.01, STEP_S - (time.monotonic() - began)))
            await self._look()

    def _behind(self) -> int:
        return self.sent - self._watch.applied

    async def _look(self) -> None:
        """Ask how far all are; BenchmarkError if a process has gone or nothing moves."""
        await self._watch.look()
        for child in self._children.values():
            child.check()
        self._stack.check()
        done = self._watch.applied - self._watch.sink_lag
        if done != self._moved[0]:
            self._moved = (done, time.monotonic())
        elif time.monotonic() - self._moved[1] > STALL_S:
            raise BenchmarkError(f"nothing has moved for {STALL_S:.0f} s; see {self._options.out}")
        if time.monotonic() - self._told > TELL_S:
            self._told = time.monotonic()
            tell(f"soak: {self.sent:,} sent, {self._behind():,} before the worker, {self._watch.sink_lag:,} the sink")

    async def _sample(self, path: Path, stop: asyncio.Event) -> None:
        with path.open("ab", buffering=0) as file:
            while not stop.is_set():
                sample = await asyncio.to_thread(self._take)
                file.write(_encode(sample) + b"\n")
                try:
                    await asyncio.wait_for(stop.wait(), SAMPLE_S)
                except TimeoutError:
                    continue

    def _take(self) -> Sample:
        if self._samples % HEAP_EVERY == 0:
            self._heap = heap_of(self._pids["kafka"])
        self._samples += 1
        rss, anon = memory(self._pids)
        disk = disk_of(self._options.out / "home")
        return Sample(
            round(time.time(), 1), self.sent, self._watch.applied, self._watch.sink_lag, rss, anon, self._heap, disk,
            round(os.getloadavg()[0], 2),
        )  # fmt: skip


def check_tables(url: str, sent: int, load: Load) -> str:
    """Compare the tables with what was sent; return it in a sentence, or raise BenchmarkError with it."""
    import clickhouse_connect
    from clickhouse_connect.driver.exceptions import ClickHouseError

    client = clickhouse_connect.get_client(dsn=url)
    expected, refused = sent - load.refused - load.repeated, load.refused
    query = f"SELECT count(), uniqExact(event_id) FROM {DATABASE}.metric_events"
    try:
        stored, different = client.query(query).result_rows[0]
        rejected = client.query(f"SELECT count() FROM {DATABASE}.rejected").result_rows[0][0]
    except ClickHouseError as error:
        raise BenchmarkError(f"the tables could not be asked: {error}") from error
    finally:
        client.close()
    found = (
        f"{sent:,} events, {load.repeated:,} of them again under an id that was there, {refused:,} to be refused. "
        f"In metric_events {stored:,} rows ({different:,} ids), expected {expected:,}; in rejected {rejected:,}."
    )
    if (stored, different, rejected) != (expected, expected, refused):
        raise BenchmarkError(f"the tables do not hold what was sent: {found}")
    return found
