"""Engines in this process, and what they leave on the broker."""

import asyncio
import atexit
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from processors.engine.app import Engine, EngineOptions
from processors.engine.log_ends import log_ends
from processors.engine.names import Names
from processors.engine.round import Limits
from schemas.brokers import Brokers
from schemas.topics import LEDGER
from tests.engine.toy import ToyFold, ToyStore

PARTITIONS = 2
DEADLINE_S = 40.0
SESSION_S = 6.0


@cache
def _home() -> Path:
    """Home of the engines of this process; gone with it."""
    home = TemporaryDirectory(prefix="plaudit-engines-")
    atexit.register(home.cleanup)
    return Path(home.name)


async def eventually(condition: Callable[[], Awaitable[bool]], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until `condition` holds; fail with `what` after the deadline."""
    end = time.monotonic() + deadline_s
    while not await condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        await asyncio.sleep(0.05)


def make_engine(
    broker: Brokers, names: Names, instance: str = "one", limits: Limits | None = None, home: Path | None = None
) -> Engine:
    """An engine with toy folds. Its folds are at `engine.table.folds`."""
    store = ToyStore()
    options = EngineOptions(
        brokers=broker,
        partitions=PARTITIONS,
        instance=instance,
        home=home or _home(),
        names=names,
        limits=limits or Limits(),
        session_s=SESSION_S,
    )
    return Engine(options, lambda partition: ToyFold(partition, store), store)


@asynccontextmanager
async def running(engine: Engine) -> AsyncIterator[Engine]:
    """Run an engine; stop it in an orderly way at the end. What makes it crash is raised."""
    stop = asyncio.Event()
    task = asyncio.create_task(engine.run(stop))
    try:
        yield engine
    finally:
        stop.set()
        await task


async def committed(broker: Brokers, names: Names) -> dict[int, int]:
    """Committed input offsets by partition."""
    admin = AIOKafkaAdminClient(**broker.client())
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(names.group)
    except GroupCoordinatorNotAvailableError:  # a new broker
        return {}
    finally:
        await admin.close()
    return {
        tp.partition: found.offset for tp, found in offsets.items() if tp.topic == names.input and found.offset >= 0
    }


async def caught_up(broker: Brokers, names: Names, ends: dict[int, int]) -> None:
    """Wait until the committed input offsets are `ends`."""

    async def there() -> bool:
        return await committed(broker, names) == ends

    await eventually(there, f"committed offsets {ends}")


async def read(broker: Brokers, topic: str, partitions: int = PARTITIONS, level: str = "read_committed") -> list[Any]:
    """All records of a topic, by partition and offset."""
    consumer = AIOKafkaConsumer(
        **broker.client(), isolation_level=level, enable_auto_commit=False, fetch_max_wait_ms=20
    )
    await consumer.start()
    try:
        tps = [TopicPartition(topic, partition) for partition in range(partitions)]
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        ends = await log_ends(consumer, tps)
        records: list[Any] = []
        while not all([await consumer.position(tp) >= ends[tp] for tp in tps]):
            for run in (await consumer.getmany(timeout_ms=100)).values():
                records.extend(run)
    finally:
        await consumer.stop()
    return sorted(records, key=lambda record: (record.partition, record.offset))


async def ledger(broker: Brokers, names: Names) -> list[tuple[int, str, bytes]]:
    """What the toy has emitted: partition, id, value."""
    records = await read(broker, names.output(LEDGER))
    return [(record.partition, dict(record.headers)["id"].decode(), record.value) for record in records]


async def produce(producer: AIOKafkaProducer, names: Names, partition: int, *values: bytes, key: bytes = b"u") -> None:
    """Write input records."""
    for value in values:
        await producer.send_and_wait(names.input, value, key, partition=partition)
