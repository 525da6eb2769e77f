"""Reading a topic to its end or as it grows, and writing many records quickly."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from deploy.cli.support.errors import CommandError
from deploy.logging import quiet_logging
from processors.engine.access import unreachable
from processors.rules.partitioner import partition_of
from schemas.brokers import Brokers
from schemas.topics import MAX_TOPIC_RECORD_BYTES

READ_UNCOMMITTED: Final = 0
POLL_MS: Final = 500
POLL_RECORDS: Final = 10_000
FETCH_BYTES: Final = 4 * 1024 * 1024

BATCH_BYTES: Final = 256 * 1024
"""Size of a record batch of a feed; a larger record goes alone."""

BATCHES_WAITING: Final = 4
"""Full batches of a partition that may wait for the broker before the feed waits for them."""

CHECK_S: Final = 0.5
"""How often a feed that waits for the broker asks whether there is still something to wait for."""

FEED_STALL_S: Final = 60.0
"""Without an acknowledgement for so long, a feed that waits is given up."""

Headers = list[tuple[str, bytes]]


@asynccontextmanager
async def consumer(brokers: Brokers) -> AsyncIterator[AIOKafkaConsumer]:
    """Connect a consumer without a group that sees only what is committed."""
    quiet_logging()
    one = AIOKafkaConsumer(
        **brokers.client(),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=FETCH_BYTES,
        check_crcs=False,
    )
    try:
        await one.start()
        yield one
    except KafkaError as error:
        raise CommandError(await unreachable(brokers, error)) from error
    finally:
        await one.stop()


async def partitions_of(one: AIOKafkaConsumer, topic: str) -> list[TopicPartition]:
    """Return the partitions of a topic in order.

    Raises:
        CommandError: there is no such topic.
        TopicAuthorizationFailedError: this user may not know of it.
    """
    cluster = await one._client.fetch_all_metadata()
    numbers = cluster.partitions_for_topic(topic)
    if not numbers:
        await one._client._metadata_update(cluster, [topic])  # the metadata of all topics leave out the forbidden ones
        if topic in cluster.unauthorized_topics:
            raise TopicAuthorizationFailedError(topic)
        raise CommandError(f"there is no topic {topic}; create the topics with `plaudit topics create`")
    return [TopicPartition(topic, number) for number in sorted(numbers)]


async def log_ends(one: AIOKafkaConsumer, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """Return where partitions end, transactions that are just being ended included: a broker that was stopped right
    after a commit ends them after its start, and until then hides what was committed."""
    level, one._fetcher._isolation_level = one._fetcher._isolation_level, READ_UNCOMMITTED
    try:
        ends: dict[TopicPartition, int] = await one.end_offsets(places)
        return ends
    finally:
        one._fetcher._isolation_level = level


async def read_to_end(
    one: AIOKafkaConsumer,
    topic: str,
    partitions: Collection[int] | None = None,
    *,
    ends: Mapping[int, int] | None = None,
) -> AsyncIterator[list[Any]]:
    """Yield the committed records of a topic, or of some partitions, from the beginning to `ends` (by partition; None =
    where it ends now), in runs of one partition each."""
    places = [place for place in await partitions_of(one, topic) if partitions is None or place.partition in partitions]
    until = await log_ends(one, places) if ends is None else {place: ends[place.partition] for place in places}
    begins = await one.beginning_offsets(places)
    missing = {place for place in places if begins[place] < until[place]}
    one.assign(list(places))
    if missing:
        await one.seek_to_beginning(*missing)
    one.pause(*(set(places) - missing))
    while missing:
        for place, records in (await one.getmany(*missing, timeout_ms=POLL_MS, max_records=POLL_RECORDS)).items():
            run = [record for record in records if record.offset < until[place]]
            if run:
                yield run
        for place in list(missing):
            if await one.position(place) >= until[place]:
                missing.discard(place)
                one.pause(place)


class Feeder:
    """Writes records of one topic in large batches, in order within each partition. An async context manager that, when
    it ends without an error, returns once all is acknowledged."""

    def __init__(self, brokers: Brokers, topic: str, check: Callable[[], None] = lambda: None) -> None:
        """Nothing is connected yet. `check` is called at least every CHECK_S; it may raise to end the feed."""
        self._brokers = brokers
        self.topic = topic
        self._ask = check
        self._asked = time.monotonic()
        self.partitions = 0
        """Number of partitions of the topic; set once it is started."""
        self.acknowledged = 0
        """Records that the broker has acknowledged."""
        self.next_offsets: dict[int, int] = {}
        """By partition: the offset after the last acknowledged record."""
        self._producer: AIOKafkaProducer | None = None
        self._open: dict[int, Any] = {}
        self._queues: dict[int, asyncio.Queue[Any]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._full: list[tuple[int, Any]] = []

    async def __aenter__(self) -> Self:
        quiet_logging()
        self._producer = AIOKafkaProducer(
            **self._brokers.client(),
            enable_idempotence=True,
            acks="all",
            linger_ms=0,
            max_batch_size=BATCH_BYTES,
            max_request_size=MAX_TOPIC_RECORD_BYTES + BATCH_BYTES,
        )
        try:
            await self._producer.start()
            self.partitions = len(await self._producer.partitions_for(self.topic))
        except KafkaError as error:
            await self._producer.stop()
            raise CommandError(await unreachable(self._brokers, error)) from error
        for partition in range(self.partitions):
            self._queues[partition] = asyncio.Queue(BATCHES_WAITING)
            self._tasks.append(asyncio.create_task(self._deliver(partition)))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        assert self._producer is not None
        try:
            if error is None:
                await self.flush()
        finally:
            for task in self._tasks:
                task.cancel()
            if error is not None:  # its stop would wait for the broker to take what is on its way
                await self._drop()
            await self._producer.stop()

    async def _drop(self) -> None:
        sender = self._producer._sender if self._producer is not None else None
        if sender is not None:
            with suppress(asyncio.CancelledError, KafkaError):
                await sender.close()

    def add(
        self,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int,
        partition: int | None = None,
        headers: Headers | None = None,
    ) -> None:
        """Take a record. Once `full`, call `send` before the next."""
        if partition is None:
            partition = partition_of(key, self.partitions) if key is not None else 0
        batch = self._open.get(partition)
        if batch is None:
            batch = self._open[partition] = self._new()
        if batch.append(key=key, value=value, timestamp=timestamp_ms, headers=headers or []) is None:
            self._full.append((partition, batch))
            batch = self._open[partition] = self._new()
            if batch.append(key=key, value=value, timestamp=timestamp_ms, headers=headers or []) is None:
                raise CommandError(f"a record of {len(value or b'')} bytes does not fit a batch")

    @property
    def full(self) -> bool:
        """Whether full batches wait for `send`."""
        return bool(self._full)

    async def send(self) -> None:
        """Pass full batches on to the broker; waits if too many are on their way."""
        if time.monotonic() - self._asked >= CHECK_S:
            self._ask_whether_to_go_on()
        full, self._full = self._full, []
        for partition, batch in full:
            await self._put(partition, batch)

    async def flush(self) -> None:
        """Return when everything that was taken is acknowledged."""
        await self.send()
        for partition, batch in self._open.items():
            await self._put(partition, batch)
        self._open = {}
        await self._wait(self._all_delivered(), self._tasks)

    async def _all_delivered(self) -> None:
        for queue in self._queues.values():
            await queue.join()

    def _new(self) -> Any:
        assert self._producer is not None
        return self._producer.create_batch()

    async def _put(self, partition: int, batch: Any) -> None:
        await self._wait(self._queues[partition].put(batch), [self._tasks[partition]])

    async def _wait(self, done: Awaitable[None], deliveries: Sequence[asyncio.Task[None]]) -> None:
        """Wait for the broker as long as there is hope."""
        waiting = asyncio.ensure_future(done)
        acknowledged, since = self.acknowledged, time.monotonic()
        try:
            while not waiting.done():
                await asyncio.wait({waiting, *deliveries}, timeout=CHECK_S, return_when=asyncio.FIRST_COMPLETED)
                self._check()
                self._ask_whether_to_go_on()
                if self.acknowledged != acknowledged:
                    acknowledged, since = self.acknowledged, time.monotonic()
                elif time.monotonic() - since > FEED_STALL_S:
                    raise CommandError(f"Kafka at {self._brokers} has taken no record for {FEED_STALL_S:.0f} s")
        finally:
            waiting.cancel()
        await waiting

    def _ask_whether_to_go_on(self) -> None:
        self._asked = time.monotonic()
        self._ask()

    def _check(self) -> None:
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise CommandError(f"Kafka does not take the records: {error or type(error).__name__}") from error

    async def _deliver(self, partition: int) -> None:
        assert self._producer is not None
        queue = self._queues[partition]
        while True:
            batch = await queue.get()
            count = batch.record_count()
            batch.close()
            acknowledgement = await self._producer.send_batch(batch, self.topic, partition=partition)
            first = (await acknowledgement).offset
            self.acknowledged += count
            self.next_offsets[partition] = first + count
            queue.task_done()
