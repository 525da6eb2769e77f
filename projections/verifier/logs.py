"""Reading the topics of an installation, and asking where they begin, end, and how far they are applied."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from projections.errors import VerificationError
from schemas.brokers import Brokers

POLL_MS: Final = 50
FETCH_WAIT_MS: Final = 10
"""A fetch that waits for partitions with nothing left would hold up the others."""

RUN_RECORDS: Final = 1_000
FETCH_BYTES: Final = 2 * 1024 * 1024
OFFSETS_S: Final = 15.0
"""How long a broker may take to tell committed offsets."""

OFFSETS_POLL_S: Final = 0.25

STALL_S: Final = 180.0
"""Without a record for so long, a topic whose end is not reached is given up; more than a transaction can stay open."""


@asynccontextmanager
async def connected(brokers: Brokers) -> AsyncIterator["Logs"]:
    """Connect to Kafka.

    Raises:
        VerificationError: Kafka fails, now or later.
    """
    async with AsyncExitStack() as keep:
        try:
            logs = Logs(brokers, keep)
            await logs.open()
            yield logs
        except KafkaError as error:
            raise VerificationError(f"Kafka at {brokers} fails: {error or type(error).__name__}") from error


class Logs:
    """Consumers without a group that see only what is committed."""

    def __init__(self, brokers: Brokers, keep: AsyncExitStack) -> None:
        """`keep` closes what is opened."""
        self._brokers = brokers
        self._keep = keep

    async def open(self) -> None:
        """Connect."""
        self._asking = await self._consumer("read_uncommitted")
        self._keep.push_async_callback(self._asking.stop)
        self._admin = AIOKafkaAdminClient(**self._brokers.client())
        await self._admin.start()
        self._keep.push_async_callback(self._admin.close)

    async def _consumer(self, level: str) -> AIOKafkaConsumer:
        one = AIOKafkaConsumer(
            **self._brokers.client(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=level,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        try:
            await one.start()
        except BaseException:
            await one.stop()
            raise
        return one

    async def partitions(self, topic: str) -> list[int]:
        """Return the partitions of a topic; none if there is no such topic."""
        cluster = await self._asking._client.fetch_all_metadata()
        return sorted(cluster.partitions_for_topic(topic) or ())

    async def begins(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the first offsets that are there."""
        found: dict[TopicPartition, int] = await self._asking.beginning_offsets(places) if places else {}
        return found

    async def ends(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where partitions end, transactions that are not ended yet included."""
        found: dict[TopicPartition, int] = await self._asking.end_offsets(places) if places else {}
        return found

    async def committed(self, group: str, topic: str, *, patience_s: float = 0.0) -> dict[int, int]:
        """Return the committed offsets of a group, by partition; what was never committed is missing.

        A broker that has just started does not know them at once: `patience_s` is how long to ask while there are none.

        Raises:
            VerificationError: the broker does not tell.
        """
        began = time.monotonic()
        while True:
            waited_s = time.monotonic() - began
            try:
                found = await self._admin.list_consumer_group_offsets(group)
            except (KafkaError, AttributeError) as error:  # AttributeError: how the client fails on a partition's error
                if waited_s > OFFSETS_S:
                    raise VerificationError(f"the offsets of group {group} cannot be read: {error!r}") from error
            else:
                offsets = {
                    place.partition: at.offset for place, at in found.items() if place.topic == topic and at.offset >= 0
                }
                if offsets or waited_s > patience_s:
                    return offsets
            await asyncio.sleep(OFFSETS_POLL_S)

    async def reader(
        self, ends: Mapping[TopicPartition, int], begins: Mapping[TopicPartition, int] | None = None
    ) -> "Reader":
        """Return a reader of some partitions to these ends, from their beginning or from `begins`."""
        return Reader(await self._consumer("read_committed"), ends, begins)


class Reader:
    """Reads partitions of topics, each as fast as it is asked for.

    Attributes:
        ended: partitions whose end is reached.
    """

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        ends: Mapping[TopicPartition, int],
        begins: Mapping[TopicPartition, int] | None = None,
    ) -> None:
        """Nothing is read yet. `begins` None: from the beginning."""
        self._consumer = consumer
        self._begins = begins or {}
        self._ends: dict[TopicPartition, int] = {}
        self.ended: set[TopicPartition] = set()
        self._assign(ends)

    def _assign(self, ends: Mapping[TopicPartition, int]) -> None:
        self._ends = dict(ends)
        self.ended = {place for place, end in ends.items() if end == 0}
        self._began = False
        self._consumer.assign(list(ends))

    async def again(self, ends: Mapping[TopicPartition, int]) -> None:
        """Read other partitions, or the same ones once more."""
        self._consumer.unsubscribe()
        self._begins = {}
        self._assign(ends)

    async def take(self, place: TopicPartition) -> list[Any] | None:
        """Return the next records of a partition, in the order of offsets; None at its end.

        Raises:
            VerificationError: nothing comes, although the end is not reached.
        """
        if not self._began:
            self._began = True
            open_places = [one for one in self._ends if one not in self.ended]
            if open_places:
                await self._consumer.seek_to_beginning(*open_places)
            for one, begin in self._begins.items():
                self._consumer.seek(one, begin)
        deadline = time.monotonic() + STALL_S
        while place not in self.ended:
            end = self._ends[place]
            found = await self._consumer.getmany(place, timeout_ms=POLL_MS, max_records=RUN_RECORDS)
            run = [record for record in found.get(place, ()) if record.offset < end]
            if await self._consumer.position(place) >= end:
                self.ended.add(place)
                self._consumer.pause(place)
            if run:
                return run
            if time.monotonic() > deadline:
                raise VerificationError(
                    f"{place.topic} {place.partition} gives no record for {STALL_S:.0f} s before its end at {end}: "
                    "is a transaction open, or a broker away?"
                )
        return None

    async def close(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def all(self, place: TopicPartition) -> AsyncIterator[Any]:
        """Yield all records of a partition that are left."""
        while (run := await self.take(place)) is not None:
            for record in run:
                yield record
