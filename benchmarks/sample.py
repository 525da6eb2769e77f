"""The load of every benchmark: the sample history and its catalog, as log records or on a broker."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

import msgspec

from deploy.cli.support.catalogs import publish
from deploy.cli.support.files import catalog_file
from deploy.cli.support.history import SAMPLE_CATALOG, HistoryRecord, history
from deploy.cli.support.kafka import Feeder
from processors.engine.names import Names
from processors.rules.catalogs import CatalogStore
from processors.rules.partitioner import partition_of
from schemas.brokers import Brokers
from schemas.catalog import CatalogRecord
from schemas.catalog_file import encode_config
from schemas.instants import format_instant
from schemas.records import LogRecord
from schemas.topics import DEFAULT_PARTITIONS

VERSION: Final = "1"
TELL_RECORDS: Final = 20_000

_encode: Final = msgspec.json.Encoder().encode


def sample_records(count: int | None = None) -> list[HistoryRecord]:
    """Return the first `count` events of the sample in the order of the feed; None = all."""
    return list(islice(history(None), count))


def sample_store(at_ms: int) -> CatalogStore:
    """Return a store with the sample catalog as version VERSION, published at `at_ms` (epoch ms)."""
    config, _, _ = catalog_file(str(SAMPLE_CATALOG))
    store = CatalogStore()
    record = CatalogRecord(tenant="", version=VERSION, at_ms=at_ms, config=msgspec.Raw(encode_config(config)))
    store.add(_encode(record))
    return store


def switch_records(at_ms: int, partitions: int = DEFAULT_PARTITIONS) -> list[LogRecord]:
    """Return the first record of each partition: the switch to the sample catalog."""
    value = _encode({"type": "catalog", "version": VERSION, "at": format_instant(at_ms)})
    return [LogRecord(partition, 0, at_ms, None, value) for partition in range(partitions)]


def as_log(records: list[HistoryRecord], partitions: int = DEFAULT_PARTITIONS) -> Iterator[LogRecord]:
    """Yield events as the log holds them behind the switch, in the order of the feed."""
    offsets = [1] * partitions
    for record in records:
        partition = partition_of(record.key, partitions)
        yield LogRecord(partition, offsets[partition], record.timestamp_ms, record.key, record.value)
        offsets[partition] += 1


async def publish_sample_catalog(brokers: Brokers, names: Names, at_ms: int) -> None:
    """Publish the sample catalog and switch every partition to it."""
    config, catalog, _ = catalog_file(str(SAMPLE_CATALOG))
    await publish(brokers, names, config, catalog, tenant="", version=VERSION, at_ms=at_ms, token="")


async def feed(brokers: Brokers, topic: str, records: list[Any], tell: Callable[[str], None]) -> None:
    """Write events to a topic; returns once all are acknowledged."""
    async with Feeder(brokers, topic) as feeder:
        for count, record in enumerate(records, 1):
            feeder.add(record.key, record.value, record.timestamp_ms)
            if feeder.full:
                await feeder.send()
            if count % TELL_RECORDS == 0:
                tell(f"preloading {count:,} of {len(records):,} events")
