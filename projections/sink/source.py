"""What the sink does with Kafka: its group consumer, the batches announced there, and reading one batch again."""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping

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
_ENDS_PATIENCE_S = 3.0
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
        except (KafkaError, TimeoutError, AttributeError) as error:  # the last: how it fails on a partition's error
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
    """Return the rows of a batch from its records, the same as when it was cut; waits for brokers that are away.

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
        return build_rows(settings, await _read_patiently(consumer, batch))
    finally:
        await consumer.stop()


async def _read_patiently(consumer: AIOKafkaConsumer, batch: Batch) -> list[ConsumerRecord]:
    while True:
        try:
            return await asyncio.wait_for(_read_spans(consumer, batch), _REREAD_TIMEOUT_S)
        except TimeoutError:
            if await _is_gone(consumer, batch):
                raise TopicChangedError(
                    f"{batch.topic} does not hold the records {batch.text} any more, whose insert was begun. If the topic "
                    "was made anew, rebuild the database or raise the epoch."
                ) from None
            retried(KAFKA)
            log.warning("kafka_retry", what="records of a batch", batch=batch.text, waited_s=_REREAD_TIMEOUT_S)


async def _is_gone(consumer: AIOKafkaConsumer, batch: Batch) -> bool:
    """Whether the topic has lost a part of the batch; False too if the brokers do not tell."""
    spans = {TopicPartition(batch.topic, span.partition): span for span in batch.spans}
    try:
        begins, ends = await log_bounds(consumer, spans, {place: span.last + 1 for place, span in spans.items()})
    except KafkaError:
        return False
    return any(span.first < begins[place] or span.last >= ends[place] for place, span in spans.items())


async def log_bounds(
    consumer: AIOKafkaConsumer, places: Collection[TopicPartition], least: Mapping[TopicPartition, int]
) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
    """Return where the logs begin and end.

    Ends below `least`, up to where they have been seen, are asked for again for a while: a broker that has just woken up
    does not know yet that another one leads the partition, and that the log has grown.
    """
    if not places:
        return {}, {}
    deadline = time.monotonic() + _ENDS_PATIENCE_S
    while True:
        begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        if all(ends[place] >= least.get(place, 0) for place in places) or time.monotonic() > deadline:
            return begins, ends
        log.warning("log_ends_too_early", places=len(places))
        await asyncio.sleep(RETRY_MIN_S)


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
