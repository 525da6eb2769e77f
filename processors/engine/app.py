"""The Faust app of a worker: its settings, its parts, and how it runs and ends."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import faust
import msgspec
import structlog
from faust.types import TP
from yarl import URL

from processors.engine.catalogs import KafkaCatalogs
from processors.engine.checks import check_libraries
from processors.engine.consumer import BatchConsumer, EngineTransport, patch_flow_control
from processors.engine.errors import StartupError
from processors.engine.fold import CatalogStore
from processors.engine.metrics import Metrics
from processors.engine.names import Names
from processors.engine.producer import KafkaPort
from processors.engine.retention import warn_of_differences
from processors.engine.round import Limits, RoundRunner
from processors.engine.table import EngineTables, MakeFold, StateTable
from processors.engine.topics import check_topics
from processors.engine.worker import RoundWorker
from schemas.brokers import REQUEST_TIMEOUT_MS, Brokers
from schemas.operations import GRACE_S
from schemas.retention import Retention

log = structlog.get_logger(__name__)

SESSION_S: Final = 8.0
"""Time after which a silent worker loses its partitions. Rounds last a second, so it has room."""

HEARTBEATS_PER_SESSION: Final = 4

DATA_FOLDER: Final = "faust"
"""Faust's data directory in the home of the installation. It makes empty folders there: tables are in memory."""

METADATA_AGE_MS: Final = 30_000
"""How long a view of the cluster may be old that no error has corrected; aiokafka's is five minutes."""

START_PATIENCE_S: Final = 60.0
"""How long a worker that starts waits for brokers that do not answer. Then it ends, and says so: the address may be wrong.
A worker that has begun waits without end."""

REBALANCE_TIMEOUT_S: Final = 15.0
"""How long a rebalance waits for members that end their rounds. Below the time-out of requests, since those to join wait
as long."""

QUIESCE_SHARE: Final = 0.6
"""Part of the grace period that the round in hand gets to end; the rest is for leaving the group and letting go."""

STOP_SHARE: Final = 0.9
"""Part of the grace period after which the Faust app is left as it is."""


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where and as whom a worker runs."""

    brokers: Brokers
    """Kafka."""
    partitions: int
    """Partitions of the input log."""
    instance: str
    """Name for static membership and the transactional id; no two living workers share one."""
    home: Path
    """Directory of the installation on this machine; Faust's data directory lies in it."""
    names: Names = Names()
    limits: Limits = Limits()
    session_s: float = SESSION_S
    allow_retention: bool = False
    """Whether the input log may have a retention (X9a)."""
    retention: Retention = {}
    """What the settings say of it; the start logs where topics differ."""
    grace_s: float = GRACE_S
    """How long an orderly end may take."""


class Engine:
    """One worker: a Faust app whose input goes through rounds."""

    def __init__(self, options: EngineOptions, make_fold: MakeFold, store: CatalogStore) -> None:
        """To be called in the event loop that will run it. `make_fold` gets a partition number; `store` is what the
        folds look catalogs up in."""
        patch_flow_control()
        self.options = options
        self.metrics = Metrics()
        self._started = False
        options.home.mkdir(parents=True, exist_ok=True)  # Faust makes its data directory, but not what that lies in
        self.app = _build_app(options)
        self.table = StateTable(self.app, make_fold, options.partitions)
        self.app.tables.add(self.table)
        catalogs = KafkaCatalogs(options.brokers, options.names, store)
        self.port = KafkaPort(
            options.brokers, options.names.transactional_id(options.instance), options.names.group, options.instance
        )
        self.runner = RoundRunner(
            self.table.folds,
            self.port,
            options.names,
            limits=options.limits,
            catalogs=catalogs,
            observer=self.metrics,
        )
        self.worker = RoundWorker(options.names, self.table, self.port, self.runner, catalogs)
        transport = EngineTransport(_urls(options.brokers), self.app)
        transport.handler = self.worker
        self.app.transport = transport
        _subscribe(self.app, options.names.input)

    @property
    def consumer(self) -> BatchConsumer | None:
        """The consumer; None before the start, which makes it."""
        if not self._started:
            return None
        consumer = self.app.consumer
        assert isinstance(consumer, BatchConsumer)
        return consumer

    def leads(self) -> bool:
        """Whether this worker is at work on partition 0, and so the one that writes the clock."""
        if 0 not in self.table.folds:
            return False
        app: Any = self.app
        return bool(app.consumer.flow_active and TP(self.options.names.input, 0) in app.consumer.assignment())

    async def run(self, stop: asyncio.Event, *, beside: Callable[["Engine"], Awaitable[None]] | None = None) -> None:
        """Check, start, and work until `stop` is set; then finish the round in hand and leave the group.

        `beside` runs as long as the worker does. Raises what made the worker crash, StartupError among others.
        """
        check_libraries()
        if not await self._start(stop):
            return
        tasks: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(stop.wait()),
            asyncio.ensure_future(self.app._crashed.wait()),
        ]
        if beside is not None:
            tasks.append(asyncio.ensure_future(beside(self)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if beside is not None and tasks[-1].done():
                tasks[-1].result()
        finally:
            for task in tasks:
                task.cancel()
            await self._stop()
        if self.app.crash_reason is not None:
            raise self.app.crash_reason

    async def _start(self, stop: asyncio.Event) -> bool:
        """Start, unless `stop` is set before: the brokers may be away. False: nothing was started."""
        starting, stopping = asyncio.ensure_future(self._check_and_start()), asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            starting.cancel()  # does nothing if it is done
        if starting.done():
            starting.result()
            return True
        await asyncio.wait({starting}, timeout=self.options.grace_s * QUIESCE_SHARE)
        log.info("stopped_before_start")
        return False

    async def _check_and_start(self) -> None:
        options = self.options
        topics = await check_topics(
            options.brokers,
            options.names,
            options.partitions,
            allow_retention=options.allow_retention,
            patience_s=START_PATIENCE_S,
        )
        warn_of_differences(topics, options.names, options.retention)
        self.app.finalize()
        await self.app.maybe_start()
        self._started = True

    async def _stop(self) -> None:
        """Within the grace period: finish the round in hand, commit it, leave the group, let go of the producer."""
        assert self.consumer is not None
        began, grace_s = time.monotonic(), self.options.grace_s
        try:
            await self.consumer.quiesce(grace_s * QUIESCE_SHARE)
        except TimeoutError:
            log.warning("round_not_finished", waited_s=grace_s * QUIESCE_SHARE)
        quiet_s = time.monotonic() - began
        try:
            await asyncio.wait_for(self.app.stop(), max(0.0, grace_s * STOP_SHARE - quiet_s))
        except TimeoutError:
            log.warning("app_not_stopped", waited_s=grace_s * STOP_SHARE)
        await self.port.stop()
        log.info("stopped", round_s=round(quiet_s, 3), s=round(time.monotonic() - began, 3))


def _build_app(options: EngineOptions) -> faust.App:
    return faust.App(
        options.names.group,
        broker=_urls(options.brokers),
        broker_credentials=_credentials(options.brokers),
        TableManager=EngineTables,
        consumer_group_instance_id=options.instance,
        broker_session_timeout=options.session_s,
        broker_heartbeat_interval=options.session_s / HEARTBEATS_PER_SESSION,
        broker_request_timeout=REQUEST_TIMEOUT_MS / 1000,
        broker_rebalance_timeout=REBALANCE_TIMEOUT_S,
        broker_check_crcs=False,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=METADATA_AGE_MS,
        stream_recovery_delay=0.0,
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=options.partitions,
        datadir=options.home.absolute() / DATA_FOLDER,
        table_standby_replicas=0,
        store="memory://",
        web_enabled=False,
        autodiscover=False,
    )


def _urls(brokers: Brokers) -> list[URL]:
    servers = [server.strip() for server in brokers.bootstrap.split(",")]
    if not all(servers):
        raise StartupError(f"KAFKA_BOOTSTRAP={brokers.bootstrap!r} names no broker; write host:port")
    return [URL(f"kafka://{server}") for server in servers]


def _credentials(brokers: Brokers) -> Any:
    """Return what Faust connects with; None: plain text, and nobody asked who it is."""
    client = brokers.client()
    context = client.get("ssl_context")
    if "sasl_mechanism" in client:
        return faust.SASLCredentials(
            username=brokers.username, password=brokers.password, mechanism=brokers.mechanism, ssl_context=context
        )
    return faust.SSLCredentials(context) if context is not None else None


def _subscribe(app: faust.App, topic: str) -> None:
    """An agent that gets nothing keeps the topic subscribed, and partitioned like the changelog."""

    @app.agent(app.topic(topic, key_type=bytes, value_type=bytes), name="progress")
    async def progress(stream: Any) -> None:
        async for _ in stream:
            raise AssertionError("records of the input topic go through rounds")
