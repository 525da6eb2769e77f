"""The loop of one sink: collect, build, announce, insert, finish (see the package's docstring)."""

import asyncio
import time
from collections.abc import Awaitable, Mapping
from typing import TypeVar

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import IllegalStateError, KafkaError

from processors.engine.instruments import FENCES
from projections.errors import FencedError, KafkaAwayError, TopicChangedError
from projections.rows import Rows
from projections.sink.batch import MAX_PARTITIONS, Batch, Span
from projections.sink.metrics import (
    BATCHES,
    DELAY,
    DUPLICATES,
    KAFKA,
    PULSE,
    RECORDS,
    REPEATED,
    UNDECODABLE,
    retried,
)
from projections.sink.settings import (
    GIVE_UP_S,
    LINGER_S,
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    POLL_S,
    RETRY_MIN_S,
    REVOKE_WAIT_S,
    SinkSettings,
)
from projections.sink.source import (
    announced_batches,
    build_rows,
    group_consumer,
    log_bounds,
    read_again,
    start_until_it_works,
)
from projections.sink.store import Place, Store
from projections.tables import TABLES

log = structlog.get_logger(__name__)

T = TypeVar("T")

Records = dict[TopicPartition, list[ConsumerRecord]]


def _place(batch: Batch, span: Span) -> TopicPartition:
    return TopicPartition(batch.topic, span.partition)


class Work(msgspec.Struct, frozen=True):
    """A batch, its rows, the append time of its oldest record, and that of the newest one of each partition."""

    batch: Batch
    rows: Rows
    oldest_ms: int
    newest_ms: dict[TopicPartition, int]


class Freshness(msgspec.Struct, frozen=True):
    """When a table last got rows, seconds since 1970, and the append time of the newest record of that batch."""

    at_s: float
    newest_ms: int


class SinkLoop(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is not typed here
    """One member of the group. While a batch is written, the next one is collected and its rows are built.

    Attributes:
        records: records written, for reports.
        tables: how fresh each table is that got rows from this sink.
    """

    def __init__(self, settings: SinkSettings, stop: asyncio.Event, *, until_caught_up: bool) -> None:
        self._settings = settings
        self._stop = stop
        self._until_caught_up = until_caught_up
        self._store = Store(settings)
        self._consumer: AIOKafkaConsumer = group_consumer(settings)
        self._generation = 0  # changes with every rebalance
        self._joined = False
        self._ready = False  # positions are those of the tables; false after a rebalance and after being fenced
        self._next: dict[Place, int] = {}  # next offset by sink_progress, of partitions with a batch done
        self._committed: dict[TopicPartition, int] = {}
        self._writing: asyncio.Task[None] | None = None
        self._newest: dict[TopicPartition, int] = {}
        self.records = 0
        self.tables: dict[str, Freshness] = {}

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Wait for the batch in hand, but not for ever: the next owner repeats it if it must."""
        self._ready = False
        self._generation += 1
        writing = self._writing
        if writing is not None and not writing.done():
            _, late = await asyncio.wait({writing}, timeout=REVOKE_WAIT_S)
            if late:
                log.warning("batch_left_to_next_owner", waited_s=REVOKE_WAIT_S)
                writing.cancel()
                await asyncio.wait({writing})

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """The loop takes over before it reads on; here nothing may take long."""
        self._ready = False
        self._joined = True
        self._generation += 1
        log.info("partitions_assigned", partitions=len(assigned))

    async def run(self) -> None:
        """Run until told to stop, or until everything committed is written.

        Raises:
            TopicChangedError: a topic does not fit what was projected from it.
            KafkaAwayError: Kafka is away, and the sink is only to catch up.
        """
        try:
            start = start_until_it_works(self._consumer)  # without topics: it would wait for those that do not exist
            await self._in_time(start)
            self._consumer.subscribe(self._settings.topic_names, listener=self)
            caught_up, answered = False, time.monotonic()
            while not caught_up and not self._stop.is_set():
                PULSE.beat()
                try:
                    caught_up = await self._step() if self._ready else await self._take_over()
                    answered = time.monotonic() if self._joined else answered
                    if self._until_caught_up and time.monotonic() - answered > GIVE_UP_S:
                        raise self._away()
                except KafkaError as error:
                    self._ready = False
                    if self._until_caught_up and time.monotonic() - answered > GIVE_UP_S:
                        raise self._away() from error
                    retried(KAFKA)
                    log.warning("kafka_retry", error=repr(error)[:300])
                    await asyncio.sleep(RETRY_MIN_S)
            await self._settle()
        finally:
            if self._writing is not None:
                self._writing.cancel()
                await asyncio.wait({self._writing})
            await self._consumer.stop()
            await self._store.close()
            log.info("sink_stopped", records=self.records, rows=self._store.rows_inserted)

    async def _in_time(self, waiting: Awaitable[T]) -> T:
        """Wait for Kafka: for ever, unless the sink is only to catch up."""
        if not self._until_caught_up:
            return await waiting
        try:
            return await asyncio.wait_for(waiting, GIVE_UP_S)
        except TimeoutError as error:
            raise self._away() from error

    def _away(self) -> KafkaAwayError:
        return KafkaAwayError(
            f"Kafka at {self._settings.brokers} has not answered for {GIVE_UP_S:g} s. Start it, or mend KAFKA_BOOTSTRAP."
        )

    async def _step(self) -> bool:
        """Collect one batch per topic and hand it to be written. True: caught up, and asked to end then."""
        generation = self._generation
        collected = await self._collect()
        if collected and generation == self._generation:
            work = self._build(collected)
            await self._settle()
            if self._ready and generation == self._generation:
                self._writing = asyncio.create_task(self._write(work))
            return False
        await self._settle()
        if collected or not self._ready or generation != self._generation:
            return False
        await self._commit_positions()
        return self._until_caught_up and await self._caught_up()

    async def _collect(self) -> Records:
        collected: Records = {}
        count = size = 0
        deadline = time.monotonic() + POLL_S
        generation = self._generation
        if not self._consumer.assignment():
            await asyncio.sleep(POLL_S)
            return collected
        while generation == self._generation and not self._stop.is_set():
            timeout_ms = max(0, round((deadline - time.monotonic()) * 1000))
            got = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=MAX_BATCH_RECORDS - count)
            if got and not collected:
                deadline = time.monotonic() + LINGER_S
            for place, records in got.items():
                collected.setdefault(place, []).extend(records)
                count += len(records)
                size += sum(len(record.value or b"") for record in records)
            if count >= MAX_BATCH_RECORDS or size >= MAX_BATCH_BYTES or time.monotonic() >= deadline:
                break
        return collected

    def _build(self, collected: Records) -> list[Work]:
        by_topic: dict[str, list[TopicPartition]] = {}
        for place in sorted(place for place, records in collected.items() if records):
            by_topic.setdefault(place.topic, []).append(place)
        work = []
        for topic, places in by_topic.items():
            for start in range(0, len(places), MAX_PARTITIONS):
                chosen = places[start : start + MAX_PARTITIONS]
                spans = tuple(Span(p.partition, collected[p][0].offset, collected[p][-1].offset) for p in chosen)
                rows = build_rows(self._settings, (record for place in chosen for record in collected[place]))
                oldest_ms = min(collected[place][0].timestamp for place in chosen)
                newest_ms = {place: collected[place][-1].timestamp for place in chosen}
                work.append(Work(Batch(topic, spans), rows, oldest_ms, newest_ms))
        return work

    async def _settle(self) -> None:
        """Wait until the batch in hand is written, or given up since another sink owns it."""
        writing = self._writing
        if writing is None:
            return
        try:
            await asyncio.shield(writing)
        except FencedError as error:
            self._ready = False
            FENCES.inc()
            log.warning("fenced", error=str(error)[:300])
            await asyncio.sleep(RETRY_MIN_S)
        except asyncio.CancelledError:
            if not writing.cancelled():
                raise  # it is the loop that was cancelled; `run` ends the batch
            self._ready = False  # the rebalance did not wait for it any longer
        self._writing = None

    async def _write(self, work: list[Work]) -> None:
        batches = [item.batch for item in work]
        spans = [(batch, span) for batch in batches for span in batch.spans]
        await self._commit({_place(batch, span): (span.first, batch.text) for batch, span in spans})
        # A sink that lost its membership may commit while the group has no member at all. The tables know better.
        progress = await self._store.progress()
        for batch, span in spans:
            place = (batch.topic, span.partition)
            if progress.get(place) != self._next.get(place):
                raise FencedError(f"progress of {batch.topic}-{span.partition} was moved by another sink")
        await self._store.announce(batches)
        await asyncio.gather(*(self._put(item.batch, item.rows) for item in work))
        await self._store.finish(batches)
        self._next.update({(batch.topic, span.partition): span.last + 1 for batch, span in spans})
        self._report(work)
        await self._commit({_place(batch, span): (span.last + 1, "") for batch, span in spans})

    async def _put(self, batch: Batch, rows: Rows) -> None:
        """Delete what the batch erases, then insert its rows: what came after an erasure is among them."""
        if rows.erasures:
            await self._store.erase(rows.erasures)
        await self._store.insert(batch, rows)

    async def _commit(self, offsets: Mapping[TopicPartition, tuple[int, str]]) -> None:
        try:
            await self._consumer.commit(dict(offsets))
        except KafkaError as error:  # not a member any more, partition not assigned any more, ...
            raise FencedError(repr(error)) from error
        self._committed.update({place: offset for place, (offset, _) in offsets.items()})

    async def _commit_positions(self) -> None:
        """When idle, commit positions behind the transaction markers that end a topic, so that lag reads 0."""
        moved = {}
        for place in self._consumer.assignment():
            position = await self._consumer.position(place)
            if position > self._committed.get(place, -1):
                moved[place] = (position, "")
        try:
            if moved:
                await self._commit(moved)
        except FencedError as error:
            self._ready = False
            FENCES.inc()
            log.warning("fenced", error=str(error)[:300])

    async def _caught_up(self) -> bool:
        places = self._consumer.assignment()
        if not places:
            return self._joined  # the topics do not exist, or other sinks have all partitions
        ends = await self._consumer.end_offsets(places)
        return all([await self._consumer.position(place) >= ends[place] for place in places])

    async def _take_over(self) -> bool:
        """Repeat what was announced and is not done, and set the positions by the tables. Returns False."""
        await self._settle()
        generation, places = self._generation, sorted(self._consumer.assignment())
        if not self._joined:
            await asyncio.sleep(POLL_S / 5)
            return False
        progress = await self._store.progress()
        for batch in await self._unfinished(places, progress):
            await self._repeat(batch)
            progress = await self._store.progress()
        await self._seek(places, progress, generation)
        return False

    async def _unfinished(self, places: list[TopicPartition], progress: Mapping[Place, int]) -> list[Batch]:
        """Return the announced batches that are not done and have a part in these partitions. Offsets that were reset
        announce nothing; then the announcement in the database counts."""
        announcements = (await self._in_time(announced_batches(self._settings)), await self._store.begun())
        found: dict[str, Batch] = {}
        for topic, partition in places:
            for announced in announcements:
                batch = announced.get((topic, partition))
                last = -1 if batch is None else batch.last(partition)
                if batch is not None and last >= progress.get((topic, partition), 0):
                    found[batch.token(self._settings.epoch)] = batch
                    break
        return list(found.values())

    async def _repeat(self, batch: Batch) -> None:
        log.info("batch_repeated", topic=batch.topic, batch=batch.text)
        rows = await read_again(self._settings, batch)
        await self._store.kill(batch, TABLES)
        await self._put(batch, rows)
        await self._store.finish([batch])
        self.records += rows.records
        REPEATED.inc()

    async def _seek(self, places: list[TopicPartition], progress: Mapping[Place, int], generation: int) -> None:
        done = {place: progress.get((place.topic, place.partition), 0) for place in places}
        begins, ends = await log_bounds(self._consumer, places, done)
        for place, following in done.items():
            if following > ends[place]:
                raise TopicChangedError(
                    f"{place.topic}-{place.partition} ends at offset {ends[place]}, but ClickHouse has rows up to "
                    f"offset {following - 1}: the topic was made anew. Rebuild the database, or raise the epoch to "
                    "keep its rows."
                )
            if 0 < following < begins[place]:
                log.error("records_deleted_before_projection", place=str(place), offsets=begins[place] - following)
            if generation != self._generation:
                return
            try:
                self._consumer.seek(place, max(following, begins[place]))
            except IllegalStateError:
                return  # a rebalance is under way
        self._next = dict(progress)
        self._committed = {}
        self._ready = generation == self._generation

    def _report(self, work: list[Work]) -> None:
        now_s = time.time()
        for item in work:
            rows, topic = item.rows, item.batch.topic
            self.records += rows.records
            BATCHES.labels(topic).inc()
            RECORDS.labels(topic).inc(rows.records)
            DELAY.labels(topic).observe(max(0.0, now_s - item.oldest_ms / 1000))
            fresh = Freshness(now_s, max(item.newest_ms.values()))
            self.tables.update(dict.fromkeys([table.name for table in rows.tables()], fresh))
            self._newest.update(item.newest_ms)
            if rows.duplicates or rows.undecodable:
                DUPLICATES.inc(rows.duplicates)
                UNDECODABLE.inc(rows.undecodable)
                log.error("bad_records", topic=topic, duplicates=rows.duplicates, undecodable=rows.undecodable)
        log.debug("batch_written", records=sum(item.rows.records for item in work), topics=len(work))

    # what others may look at

    @property
    def joined(self) -> bool:
        """Whether the group has ever given it its part."""
        return self._joined

    @property
    def ready(self) -> bool:
        """Whether it writes on; false while it takes over after a rebalance or a fence."""
        return self._ready

    def places(self) -> list[TopicPartition]:
        """Return its partitions."""
        return sorted(self._consumer.assignment())

    async def ends(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Ask Kafka where partitions end, as far as transactions are ended. KafkaError if it does not answer."""
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(places) if places else {}
        return ends

    def done(self, place: TopicPartition) -> int:
        """Return the offset before which everything is in ClickHouse."""
        return max(self._next.get((place.topic, place.partition), 0), self._committed.get(place, 0))

    def newest_ms(self, place: TopicPartition) -> int | None:
        """Return the append time of the newest record of a partition's latest batch; None before the first one."""
        return self._newest.get(place)

    async def ping(self) -> None:
        """Ask ClickHouse once; raises why it does not answer."""
        await self._store.ping()
