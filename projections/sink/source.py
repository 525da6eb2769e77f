"""What the sink does with Kafka: its group consumer, the batches announced there, and reading one batch again."""

import asyncio
from collections.abc import Iterable

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from projections.errors import TopicChangedError
from projections.rows import Rows
from projections.sink.batch import Batch, parse_batch
from projections.sink.metrics import KAFKA, retried
from projections.sink.settings import (
    FETCH_BYTES_PER_PARTITION,
    HEARTBEAT_MS,
    METADATA_AGE_MS,
    NEVER_MS,
    REBALANCE_TIMEOUT_MS,
    RETRY_MAX_S,
    RETRY_MIN_S,
    SESSION_TIMEOUT_MS,
    SinkSettings,
)
from projections.sink.store import Place

log = structlog.get_logger(__name__)

_REREAD_TIMEOUT_S = 60.0
_REREAD_POLL_MS = 500


def group_consumer(settings: SinkSettings) -> AIOKafkaConsumer:
    """Return the consumer that shares the partitions with other sinks. It never commits by itself, and time spent in a
    batch never costs it its membership: ClickHouse may be away for long."""
    return AIOKafkaConsumer(
        **settings.brokers.client(),
        group_id=settings.group,
        group_instance_id=settings.instance,
        client_id=settings.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # positions are set from the tables; this only keeps the client quiet before that
        isolation_level="read_committed",
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
        rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
        max_poll_interval_ms=NEVER_MS,
        metadata_max_age_ms=METADATA_AGE_MS,
        max_partition_fetch_bytes=FETCH_BYTES_PER_PARTITION,
    )


async def start_until_it_works(consumer: AIOKafkaConsumer) -> None:
    """Start a consumer; waits for a broker that is away."""
    wait_s = RETRY_MIN_S
    while True:
        try:
            await consumer.start()
            return
        except KafkaError as error:
            retried(KAFKA)
            log.warning("kafka_retry", what="start", error=str(error)[:300], wait_s=round(wait_s, 1))
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, RETRY_MAX_S)


async def announced_batches(settings: SinkSettings) -> dict[Place, Batch]:
    """Return the batches that the metadata of the group's offsets names; waits for a broker that is away."""
    wait_s = RETRY_MIN_S
    while True:
        admin = AIOKafkaAdminClient(**settings.brokers.client(), client_id=settings.group)
        try:
            await admin.start()
            offsets = await admin.list_consumer_group_offsets(settings.group)
            break
        except (KafkaError, AttributeError) as error:  # AttributeError: how the client fails on a partition's error
            retried(KAFKA)
            log.warning("kafka_retry", what="group offsets", error=str(error)[:300], wait_s=round(wait_s, 1))
        finally:
            await admin.close()
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, RETRY_MAX_S)
    found = {}
    for place, committed in offsets.items():
        batch = parse_batch(place.topic, committed.metadata or "")
        if batch is not None:
            found[place.topic, place.partition] = batch
    return found


async def read_again(settings: SinkSettings, batch: Batch) -> Rows:
    """Return the rows of a batch from its records, the same as when it was cut.

    Raises:
        TopicChangedError: the topic does not hold them any more.
    """
    consumer = AIOKafkaConsumer(
        **settings.brokers.client(),
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_partition_fetch_bytes=FETCH_BYTES_PER_PARTITION,
    )
    await start_until_it_works(consumer)
    try:
        records = await asyncio.wait_for(_read_spans(consumer, batch), _REREAD_TIMEOUT_S)
    except TimeoutError as error:
        raise TopicChangedError(
            f"the records {batch.text} of {batch.topic}, whose insert was begun, could not be read again within "
            f"{_REREAD_TIMEOUT_S:.0f} s. If the topic was made anew, rebuild the database or raise the epoch."
        ) from error
    finally:
        await consumer.stop()
    return build_rows(settings, records)


async def _read_spans(consumer: AIOKafkaConsumer, batch: Batch) -> list[ConsumerRecord]:
    places = {TopicPartition(batch.topic, span.partition): span for span in batch.spans}
    consumer.assign(list(places))
    for place, span in places.items():
        consumer.seek(place, span.first)
    found: dict[TopicPartition, list[ConsumerRecord]] = {place: [] for place in places}
    missing = set(places)
    while missing:
        for place, records in (await consumer.getmany(*missing, timeout_ms=_REREAD_POLL_MS)).items():
            last = places[place].last
            found[place].extend(record for record in records if record.offset <= last)
            if records and records[-1].offset >= last:
                missing.discard(place)
    return [record for place in places for record in found[place]]


def build_rows(settings: SinkSettings, records: Iterable[ConsumerRecord]) -> Rows:
    """Return the rows of records, which stand in the order of partitions, then offsets."""
    rows = Rows(settings.epoch, settings.rejected_topic)
    for record in records:
        type_name = ""
        for name, value in record.headers:
            if name == "type":
                type_name = value.decode("utf-8", "replace")
                break
        rows.add(record.topic, record.partition, record.offset, record.timestamp, type_name, record.value, record.key)
    return rows
