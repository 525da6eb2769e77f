"""The topic of catalogs: read to its end, and published to together with the switch (X7)."""

from typing import Final

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from processors.engine.fold import CatalogStore
from processors.engine.log_ends import log_ends
from processors.engine.names import Names
from schemas.brokers import Brokers
from schemas.topics import MAX_TOPIC_RECORD_BYTES

log = structlog.get_logger(__name__)

POLL_MS: Final = 500
FETCH_WAIT_MS: Final = 20
"""The reader is stopped as soon as it is at the end, and a fetch that waits would hold it up."""
CONTROL_HEADER: Final = "plaudit-control"


class KafkaCatalogs:
    """Feeds a catalog store from `plaudit.catalog` (see fold.CatalogSource)."""

    def __init__(self, brokers: Brokers, names: Names, store: CatalogStore) -> None:
        """Nothing is read yet."""
        self._brokers = brokers
        self._topic = names.catalog
        self._store = store
        self._position: int | None = None

    async def refresh(self) -> None:
        """Read on to the end of the topic; a publication that is just being committed is waited for."""
        tp = TopicPartition(self._topic, 0)
        consumer = AIOKafkaConsumer(
            **self._brokers.client(),
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        try:
            await consumer.start()
            consumer.assign([tp])
            if self._position is None:
                await consumer.seek_to_beginning(tp)
            else:
                consumer.seek(tp, self._position)
            await self._read_to(consumer, tp, (await log_ends(consumer, [tp]))[tp])
        finally:
            await consumer.stop()

    def give_up(self, tenant: str, version: str) -> None:
        """The version is not in the topic."""
        log.error("catalog_missing", tenant=tenant, version=version)
        self._store.give_up(tenant, version)

    def _add(self, offset: int, value: bytes) -> None:
        try:
            self._store.add(value)
        except msgspec.MsgspecError as error:  # whoever names its version gets it refused; others must not suffer
            log.error("catalog_record_unreadable", offset=offset, error=str(error))

    async def _read_to(self, consumer: AIOKafkaConsumer, tp: TopicPartition, end: int) -> None:
        while (position := await consumer.position(tp)) < end:
            for records in (await consumer.getmany(tp, timeout_ms=POLL_MS)).values():
                for record in records:
                    if record.value is not None:
                        self._add(record.offset, record.value)
        self._position = position


async def publish_catalog(
    brokers: Brokers,
    names: Names,
    *,
    key: bytes,
    value: bytes,
    control: bytes,
    at_ms: int,
    token: str = "",
) -> None:
    """Publish a catalog version: the record of `plaudit.catalog`, and the control record (a JSON object of type
    `catalog`) into every partition of the input log with record timestamp `at_ms`, in one transaction.

    Publications of one installation must not run at the same time: the later one ends the earlier.
    """
    producer = AIOKafkaProducer(
        **brokers.client(),
        transactional_id=names.publisher,
        acks="all",
        max_request_size=MAX_TOPIC_RECORD_BYTES,
    )
    await producer.start()
    try:
        partitions = await producer.partitions_for(names.input)
        async with producer.transaction():
            await producer.send_and_wait(names.catalog, value, key, partition=0)
            for partition in sorted(partitions):
                await producer.send_and_wait(
                    names.input, control, partition=partition, timestamp_ms=at_ms, headers=control_headers(token)
                )
    finally:
        await producer.stop()


def control_headers(token: str) -> list[tuple[str, bytes]]:
    """Return the headers of a control record (X7)."""
    return [(CONTROL_HEADER, token.encode())] if token else []
