"""A small installation whose topics are written as an engine writes them, with what was done to them on purpose."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from benchmarks.synthetic import BEGIN, Synthetic
from deploy.records_file import read_records
from processors.engine.memory import MemoryLog, run_memory
from processors.engine.names import Names
from processors.engine.round import Headers
from processors.engine.topics import create_topics
from processors.rules.catalogs import CatalogStore
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from schemas.brokers import Brokers
from schemas.catalog import CatalogRecord
from schemas.instants import DAY_MS, parse_instant
from schemas.records import LogRecord

PARTITIONS = 2
EVENTS = 450
USERS = 40
DAYS = 60
ROUND = 50

ABORTED = 3
"""Records of an aborted transaction at the beginning of each partition; its marker follows."""

MIDDLE_MS = parse_instant(BEGIN) + DAYS // 2 * DAY_MS
"""An instant with as many events before it as after."""


class Record(NamedTuple):
    """A record of a derived topic or of the changelog."""

    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def type(self) -> str:
        """Its header `type`."""
        return next((value.decode() for name, value in self.headers if name == "type"), "")

    @property
    def id(self) -> str:
        """Its header `id`."""
        return next((value.decode() for name, value in self.headers if name == "id"), "")


Outputs = dict[tuple[str, int], list[Record]]
"""Records by full topic name and partition."""

Damage = Callable[[Outputs], None]


class Log(NamedTuple):
    """A log: records by partition, and the catalogs that it switches to."""

    records: dict[int, list[LogRecord]]
    catalogs: list[CatalogRecord]


@cache
def log() -> Log:
    """A synthetic log: requests, late events, repeats, ticks, two catalogs; and refused records and erasures in
    each partition."""
    records: dict[int, list[LogRecord]] = defaultdict(list)
    catalogs: dict[str, CatalogRecord] = {}
    for one in read_records(Synthetic(EVENTS, users=USERS, days=DAYS, partitions=PARTITIONS)):
        assert one.origin is not None and one.timestamp_ms is not None
        place = one.origin.partition, one.origin.offset
        records[one.origin.partition].append(LogRecord(*place, one.timestamp_ms, one.key, one.value))
        if isinstance(one.config, msgspec.Raw):
            version = msgspec.json.decode(one.value or b"")["version"]
            catalogs[version] = CatalogRecord(tenant="", version=version, at_ms=one.timestamp_ms, config=one.config)
    for partition, found in records.items():
        _erase_somebody(found)
        for value in (b"nonsense", b"", b"{}", b"[]", b"null", b"7"):
            found.insert(
                len(found) // 2, LogRecord(partition, 0, found[len(found) // 2].timestamp_ms, b"nobody", value)
            )
    renumbered = {
        partition: [msgspec.structs.replace(record, offset=offset) for offset, record in enumerate(found)]
        for partition, found in records.items()
    }
    return Log(renumbered, list(catalogs.values()))


def _erase_somebody(records: list[LogRecord]) -> None:
    """After two thirds of the log, erase two users who go on afterwards, and one who never was."""
    place = len(records) * 2 // 3
    later = list(dict.fromkeys(record.key for record in records[place:] if record.key))
    known = {record.key for record in records[:place]}
    for key in [*[key for key in later if key in known][:2], b"never was"]:
        value = msgspec.json.encode({"type": "erase", "user": key.decode()})
        records.insert(place, msgspec.structs.replace(records[place], key=key, value=value))


class Installation:
    """Topics of one prefix.

    Attributes:
        outputs: what the log causes, before any damage. offsets: the committed ones, by partition.
    """

    def __init__(self, brokers: Brokers, prefix: str) -> None:
        """Nothing is on Kafka yet."""
        self.brokers = brokers
        self.names = Names(prefix)
        memory = asyncio.run(_fold(self.names))
        self.outputs: Outputs = {
            target: [Record(*record) for record in records] for target, records in memory.records.items()
        }
        self.offsets = {partition: offset for (_, partition), offset in memory.offsets.items()}

    def publish(self, damage: Damage = lambda outputs: None, *, offsets: dict[int, int] | None = None) -> None:
        """Write everything to Kafka, the derived records damaged, in transactions between aborted ones."""
        damaged = {target: list(records) for target, records in self.outputs.items()}
        damage(damaged)
        asyncio.run(self._publish(damaged, self.offsets if offsets is None else offsets))

    async def _publish(self, outputs: Outputs, offsets: dict[int, int]) -> None:
        names = self.names
        await create_topics(self.brokers, names, PARTITIONS)
        await self.write_plainly(
            [(names.catalog, 0, b"\0" + one.version.encode(), msgspec.json.encode(one), None) for one in log().catalogs]
            + [
                (names.input, record.partition, record.key, record.value, record.timestamp_ms)
                for records in log().records.values()
                for record in records
            ]
        )
        producer = AIOKafkaProducer(**self.brokers.client(), transactional_id=f"{names.prefix}-test", linger_ms=5)
        await producer.start()
        try:
            await producer.begin_transaction()
            await _send(producer, {target: records[:ABORTED] for target, records in outputs.items()})
            await producer.abort_transaction()
            await producer.begin_transaction()
            await _send(producer, outputs)
            await producer.send_offsets_to_transaction(
                {TopicPartition(names.input, partition): offset for partition, offset in offsets.items()}, names.group
            )
            await producer.commit_transaction()
        finally:
            await producer.stop()

    def expire(self, logical: str, partition: int, count: int) -> None:
        """Delete the first records of a derived topic, as retention does; the aborted ones before them too."""

        async def delete() -> None:
            admin = AIOKafkaAdminClient(**self.brokers.client())
            await admin.start()
            try:
                place = TopicPartition(self.names.output(logical), partition)
                await admin.delete_records({place: RecordsToDelete(before_offset=ABORTED + 1 + count)})
            finally:
                await admin.close()

        asyncio.run(delete())

    async def write_plainly(self, records: Iterable[tuple[str, int, bytes | None, bytes | None, int | None]]) -> None:
        """Write records (topic, partition, key, value, timestamp) without a transaction, in their order."""
        producer = AIOKafkaProducer(**self.brokers.client(), enable_idempotence=True, linger_ms=5)
        await producer.start()
        try:
            sent = [
                await producer.send(topic, value, key, partition, timestamp_ms)
                for topic, partition, key, value, timestamp_ms in records
            ]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()


async def _send(producer: AIOKafkaProducer, outputs: Outputs) -> None:
    sent = [
        await producer.send(topic, record.value, record.key, partition, headers=record.headers)
        for (topic, partition), records in outputs.items()
        for record in records
    ]
    await asyncio.gather(*sent)


async def _fold(names: Names) -> MemoryLog:
    store = CatalogStore()
    for catalog in log().catalogs:
        store.add(msgspec.json.encode(catalog))
    settings = FoldSettings(names.input, partitions=PARTITIONS)
    folds = {number: Partition(number, settings, store) for number in log().records}
    records = log().records
    return await run_memory(records, folds, round_size=ROUND, on_emit=lambda *_: None, names=names)
