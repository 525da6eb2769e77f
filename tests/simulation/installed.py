"""Puts the simulated servers, clock and log in the places where engine and sink look for the real ones."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

from aiokafka.structs import OffsetAndMetadata, TopicPartition

from processors.engine import catalogs, consumer, producer, recovery, worker
from projections.sink import loop, run, source, store
from tests.simulation import clickhouse
from tests.simulation.kafka.cluster import Cluster
from tests.simulation.kafka.consumer import SimConsumer
from tests.simulation.kafka.producer import SimProducer, group_sender
from tests.simulation.loop import current_process

MODULES = (catalogs, consumer, producer, recovery, worker, loop, run, source, store)

SHORTER: tuple[tuple[ModuleType, str, object], ...] = (
    (producer, "TRANSACTION_TIMEOUT_MS", 2_500),
    (producer, "RETRY_BACKOFF_MS", 40),
    (producer, "STEP_TIMEOUT_S", 3.0),
    (producer, "START_TIMEOUT_S", 6.0),
    (recovery, "MARKER_DEADLINE_S", 8.0),
    (recovery, "OFFSET_DEADLINE_S", 3.0),
    (loop, "MAX_BATCH_RECORDS", 15),
    (loop, "LINGER_S", 0.1),
    (loop, "POLL_S", 0.6),
    (loop, "REVOKE_WAIT_S", 1.0),
    (run, "STOP_WAIT_S", 1.0),
    (source, "SESSION_TIMEOUT_MS", 2_000),
    (source, "REBALANCE_TIMEOUT_MS", 4_000),
    (source, "RETRY_MAX_S", 0.5),
    (store, "RETRY_MAX_S", 0.5),
)
"""Time-outs in the proportions of the real ones, but shorter, so that a schedule is short; and small batches."""


class SimAdmin:
    """aiokafka's admin client, as far as the sink asks it for the offsets of its group."""

    cluster: Cluster

    def __init__(self, **options: Any) -> None:
        pass

    async def start(self) -> None:
        """Connect."""
        await self.cluster.request("Metadata", lambda: None)

    async def close(self) -> None:
        """Close the connections."""

    async def list_consumer_group_offsets(self, name: str) -> dict[TopicPartition, OffsetAndMetadata]:
        """Committed offsets of a group."""
        cluster = self.cluster
        group = cluster.group(name)
        found: dict[TopicPartition, OffsetAndMetadata] = await cluster.request(
            "OffsetFetch", lambda: group.fetch(set(cluster.logs), stable=False)
        )
        return found


class Watch:
    """Virtual time, for modules that ask `time`."""

    @staticmethod
    def monotonic() -> float:
        return asyncio.get_running_loop().time()

    @staticmethod
    def time() -> float:
        return 1_700_000_000.0 + asyncio.get_running_loop().time()


class Log:
    """In place of structlog's loggers: counts event names, and shows them if asked to."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.of_expired: Counter[str] = Counter()
        """Of them, those of processes that a group had put out."""
        self.show: Callable[[str], None] | None = None

    def _say(self, event: str, **fields: object) -> None:
        process = current_process()
        self.counts[event] += 1
        if process.expired:
            self.of_expired[event] += 1
        if self.show is not None:
            self.show(f"{process.name}: {event} " + " ".join(f"{name}={value}" for name, value in fields.items()))

    debug = info = warning = error = exception = _say


LOG = Log()


def use(cluster: Cluster, server: clickhouse.Server) -> None:
    """Make these the servers of everything that is made from now on."""
    for kind in (SimConsumer, SimProducer, SimAdmin):
        kind.cluster = cluster
    _Server.now = server


class _Server:
    now: clickhouse.Server


async def _client(url: str, **options: object) -> clickhouse.Client:
    return clickhouse.Client(_Server.now)


@contextmanager
def installed() -> Iterator[None]:
    """Until the end, engine and sink of this process live in a simulation."""
    with ExitStack() as stack:

        def put(module: ModuleType, name: str, value: object) -> None:
            stack.enter_context(patch.object(module, name, value))

        for module in MODULES:
            if hasattr(module, "log"):
                put(module, "log", LOG)
            if hasattr(module, "time"):
                put(module, "time", Watch)
        for module, name, value in SHORTER:
            put(module, name, value)
        put(catalogs, "AIOKafkaConsumer", SimConsumer)
        put(producer, "AIOKafkaProducer", SimProducer)
        put(producer, "GroupSender", group_sender)
        put(source, "AIOKafkaConsumer", SimConsumer)
        put(source, "AIOKafkaAdminClient", SimAdmin)
        put(store, "connect_async", _client)
        yield
