"""Everything in one go: servers, topics, tables, catalog, worker, sink, history, one tick (`plaudit run` and `up`)."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka.errors import KafkaError

from deploy.cli.support.catalogs import decoded, publish, published
from deploy.cli.support.children import ChildCommand
from deploy.cli.support.console import Bar, bars, note
from deploy.cli.support.errors import CommandError
from deploy.cli.support.files import catalog_file
from deploy.cli.support.history import LATE_HISTORY, SAMPLE_CATALOG, HistoryRecord, history
from deploy.cli.support.input_log import Log, last_offsets, scan
from deploy.cli.support.kafka import Feeder
from deploy.cli.support.progress import Applied, wait_applied, wait_projected
from deploy.cli.support.servers import Servers, find_servers, servers
from deploy.embedded.ports import choose_ports
from deploy.settings import Settings
from deploy.status.endpoints import METRICS_PORTS_FILE
from processors.agents.clock import write_tick_async
from processors.engine.names import Names
from processors.engine.retention import apply_retention
from processors.engine.topics import create_topics
from schemas.catalog import Catalog
from schemas.instants import format_instant

FED_TELL_RECORDS: Final = 5_000


class Fed(msgspec.Struct, frozen=True):
    """What a run did.

    Attributes:
        fed: records written to the input log.
        known: records of the history that were in the log already.
        fed_s: from the start of the feed until the broker had acknowledged it.
        applied_s: until the worker had applied it.
        seconds: until everything, the tick included, was in ClickHouse; 0 if nothing was fed.
    """

    fed: int
    known: int
    fed_s: float = 0.0
    applied_s: float = 0.0
    seconds: float = 0.0


class Installation:
    """A running stack with its worker and sink as children of this process."""

    def __init__(self, settings: Settings, found: Servers) -> None:
        """Nothing is started yet but the servers."""
        self.settings = settings
        self.servers = found
        self.names = Names(settings.prefix)
        self.logs = settings.home / "logs"
        configured = {"worker": settings.metrics_port or None}
        self.metrics_ports = choose_ports(("worker", "sink"), settings.home / METRICS_PORTS_FILE, configured)
        """Where worker and sink serve /metrics, /healthz and /readyz."""
        self._children: dict[str, ChildCommand] = {}

    def log(self, name: str) -> Path:
        """Return where `worker` or `sink` writes what it does."""
        return self.logs / f"{name}.log"

    def prepare(self) -> None:
        """Create topics and tables, and have them keep what they hold for as long as the settings say."""
        from projections import migrate, retention
        from projections.connection import connect

        settings = self.settings
        asyncio.run(self._prepare_topics())
        client = connect(self.servers.clickhouse)
        try:
            migrate.up(client, settings.database)
            if settings.table_retention:
                for statement in retention.statements(client, settings.database, settings.table_retention):
                    client.command(statement)
        finally:
            client.close()

    async def _prepare_topics(self) -> None:
        settings, brokers = self.settings, self.servers.kafka
        kept = settings.topic_retention
        await create_topics(brokers, self.names, settings.partitions, settings.replication, retention=kept)
        if kept:
            await apply_retention(brokers, self.names, kept)

    def start(self, *, clock: bool) -> None:
        """Start worker and sink; a worker that runs is started anew, with the clock as asked for."""
        worker = self._children.pop("worker", None)
        if worker is not None:
            worker.stop()
        self._start("worker", ["worker"] if clock else ["worker", "--no-clock"])
        if "sink" not in self._children:
            self._start("sink", ["sink"])

    def check(self) -> None:
        """CommandError if anything has ended by itself."""
        if self.servers.stack is not None:
            self.servers.stack.check()
        for child in self._children.values():
            child.check()

    def stop(self) -> None:
        """Stop worker and sink in order."""
        for child in self._children.values():
            child.ask_to_stop()
        for child in self._children.values():
            child.stop()
        self._children.clear()

    def _start(self, name: str, arguments: list[str]) -> None:
        environment = {
            "KAFKA_BOOTSTRAP": self.servers.kafka.bootstrap,
            "CLICKHOUSE_URL": self.servers.clickhouse,
            "PLAUDIT_HOME": str(self.settings.home),
            "PLAUDIT_METRICS_PORT": str(self.metrics_ports[name]),
        }
        self._children[name] = ChildCommand(name, arguments, self.log(name), environment)


@contextmanager
def installation(settings: Settings) -> Iterator[Installation]:
    """Start the servers that are not configured, create topics and tables; stop everything at the end."""
    configured = bool(settings.kafka and settings.clickhouse_url)
    if not configured and find_servers(kafka=True, clickhouse=True) is not None:
        raise CommandError(
            f"an installation is running on {settings.home} already. Use it (plaudit sql, publish, user, tail), "
            "stop it first, or set PLAUDIT_HOME to another directory."
        )
    with servers(kafka=True, clickhouse=True, fresh=True) as found:
        one = Installation(settings, found)
        try:
            one.prepare()
            yield one
        finally:
            one.stop()


def load(one: Installation, records: str | None, catalog_path: str | None, limit: int | None) -> tuple[Fed, Catalog]:
    """Publish the catalog, feed what is not in the log yet, tick once, and return when all is in ClickHouse."""
    try:
        return asyncio.run(_load(one, records, catalog_path, limit))
    except (CommandError, KafkaError):
        one.check()  # a server or a child that has ended is the cause, and its log tells more
        raise


async def _load(
    one: Installation, records: str | None, catalog_path: str | None, limit: int | None
) -> tuple[Fed, Catalog]:
    log = await scan(one.servers.kafka, one.names.input, one.settings.control_token)
    catalog = await _catalog(one, records, catalog_path)
    one.start(clock=False)
    waiting, known = _unknown(history(records, limit), log)
    first = next(waiting, None)
    async with Applied(one.servers.kafka, one.names) as applied:
        targets = await last_offsets(one.servers.kafka, one.names.input)
        with bars() as add:
            if first is not None:
                note(LATE_HISTORY if log.ticked else "feeding history; the clock starts afterwards (X8)")
            ready = add("ready", None)
            await wait_applied(applied, targets, one.check, log=one.log("worker"))
            ready.set(1, 1)
            if first is None:
                if log.tick_due:
                    note(
                        "no tick follows the history in the log, the run that fed it did not end: writing the tick (X8)"
                    )
                    await _tick(one, applied)
                await _wait_projected(one, add("projected", None))
                return Fed(0, known[0]), catalog
            began = time.monotonic()
            shown = (add("fed", None), add("applied", None))
            fed, fed_s, applied_s = await _feed_and_wait(one, applied, _chain(first, waiting), shown, targets)
            await _wait_projected(one, add("projected", None))
            return Fed(fed, known[0], fed_s - began, applied_s - began, time.monotonic() - began), catalog


async def _feed_and_wait(
    one: Installation,
    applied: Applied,
    records: Iterator[HistoryRecord],
    shown: tuple[Bar, Bar],
    before: Mapping[int, int],
) -> tuple[int, float, float]:
    """Return how many records were fed, and the moments (monotonic seconds) when they were acknowledged and applied."""
    fed_bar, applied_bar = shown
    async with Feeder(one.servers.kafka, one.names.input, one.check) as feeder:
        count = 0
        for count, record in enumerate(records, 1):
            feeder.add(record.key, record.value, record.timestamp_ms)
            if feeder.full:
                await feeder.send()
            if count % FED_TELL_RECORDS == 0:
                fed_bar.set(feeder.acknowledged)
                await asyncio.sleep(0)
        await feeder.flush()
        fed_bar.set(count, count)
        targets = {**before, **feeder.next_offsets}
    fed_at = time.monotonic()
    fed_bar.stage(f"fed {count:,} records; waiting until they are applied and in ClickHouse")
    base = sum(before.values())
    applied_bar.set(0, count)
    await wait_applied(
        applied, targets, one.check, lambda done: applied_bar.set(max(0, done - base)), log=one.log("worker")
    )
    applied_at = time.monotonic()
    await _tick(one, applied)
    return count, fed_at, applied_at


async def _tick(one: Installation, applied: Applied) -> None:
    """Write the one tick of X8, and return when it is applied."""
    token = one.settings.control_token
    await write_tick_async(one.servers.kafka, time.time_ns() // 1_000_000, names=one.names, token=token)
    targets = await last_offsets(one.servers.kafka, one.names.input)
    await wait_applied(applied, targets, one.check, log=one.log("worker"))


async def _wait_projected(one: Installation, bar: Bar) -> None:
    await wait_projected(one.servers.kafka, one.settings.database, one.names, one.check, bar.set, log=one.log("sink"))


async def _catalog(one: Installation, records: str | None, path: str | None) -> Catalog:
    """Publish the catalog unless it is in force already; the first one is in force from the first record on (X8)."""
    chosen = path or str(SAMPLE_CATALOG)
    config, catalog, _ = catalog_file(chosen)
    versions = await published(one.servers.kafka, one.names, "")
    if versions:
        if decoded(versions[-1]) == catalog:
            return catalog
        at_ms = time.time_ns() // 1_000_000
    else:
        first = next(history(records), None)
        at_ms = first.timestamp_ms if first is not None else time.time_ns() // 1_000_000
    version = await publish(
        one.servers.kafka,
        one.names,
        config,
        catalog,
        tenant="",
        version=None,
        at_ms=at_ms,
        token=one.settings.control_token,
    )
    note(f"catalog {Path(chosen).name} published as version {version}, in force since {format_instant(at_ms)}")
    return catalog


def _unknown(records: Iterator[HistoryRecord], log: Log) -> tuple[Iterator[HistoryRecord], list[int]]:
    """Return the records that are not in the log yet, and a count of the others that grows while they are read."""
    known = [0]

    def filtered() -> Iterator[HistoryRecord]:
        for record in records:
            if record.event_id in log.event_ids:
                known[0] += 1
            else:
                yield record

    return filtered(), known


def _chain(first: HistoryRecord, rest: Iterator[HistoryRecord]) -> Iterator[HistoryRecord]:
    yield first
    yield from rest


def addresses(one: Installation) -> list[tuple[str, Any]]:
    """Return what there is to connect to."""
    return [
        ("Kafka", one.servers.kafka.bootstrap),
        ("ClickHouse", f"{one.servers.clickhouse}  database {one.settings.database}"),
        *(
            (f"{name}", f"http://{one.settings.metrics_host}:{port}  /metrics /healthz /readyz")
            for name, port in one.metrics_ports.items()
        ),
        ("logs", one.logs),
    ]
