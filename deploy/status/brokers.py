"""What Kafka knows: brokers, topics, groups, how far they are, and what the state changelog says of time and catalogs."""

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError

from deploy.status.document import BrokerShown, GroupShown, LagShown, MemberShown, TopicShown
from deploy.status.protocol import DescribeGroupsRequestV4, DescribeLogDirsRequestV1, Fixed
from processors.engine.log_ends import log_ends
from processors.engine.names import Names
from processors.engine.topics import all_specs
from processors.rules.catalogs import CatalogStore
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from projections.sink.settings import check_topics, group_name
from schemas.brokers import Brokers
from schemas.emission import Measures
from schemas.state import NewerStateError
from schemas.topics import full_name

TAIL_OFFSETS: Final = 500
"""Offsets at the end of a changelog partition in which its marker is looked for: every round writes one, near its end."""

BEFORE_OFFSETS: Final = 50
"""Records before the first one that is not applied, whose timestamps tell how old it is at most."""

READ_S: Final = 5.0
"""How long the ends of partitions are read."""

HISTORY_S: Final = 86_400.0
"""Before the first tick, a record dated longer ago than this is history: its age says nothing."""

Places = Mapping[TopicPartition, int]


class Kafka(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    brokers: list[BrokerShown]
    topics: list[TopicShown]
    worker: GroupShown
    sink: GroupShown
    input_lag: LagShown
    sink_lag: list[LagShown]
    partitions: dict[int, Measures]
    """By input partition that has a state: what the changelog says of it."""


async def ask_kafka(brokers: Brokers, names: Names, database: str) -> Kafka:
    """Ask everything. KafkaError if the brokers do not answer."""
    admin = AIOKafkaAdminClient(**brokers.client(), client_id="plaudit-status")
    consumer = AIOKafkaConsumer(
        **brokers.client(),
        client_id="plaudit-status",
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
    )
    try:
        await admin.start()
        await consumer.start()
        return await _ask(admin, consumer, names, group_name(names.prefix, database))
    finally:
        await consumer.stop()
        await admin.close()


async def _ask(admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, names: Names, sink_group: str) -> Kafka:
    cluster = await admin.describe_cluster()
    brokers = [
        BrokerShown(
            id=one["node_id"],
            address=f"{one['host']}:{one['port']}",
            controller=one["node_id"] == cluster["controller_id"],
        )
        for one in cluster["brokers"]
    ]
    wanted = [spec.name for spec in all_specs(names)]
    counts = {
        topic["topic"]: len(topic["partitions"])
        for topic in await admin.describe_topics(None)
        if topic["topic"] in wanted and not topic["error_code"]
    }
    places = [TopicPartition(name, number) for name in wanted for number in range(counts.get(name, 0))]
    begins = await consumer.beginning_offsets(places) if places else {}
    ends = await log_ends(consumer, places)
    sizes = await _sizes(admin, [broker.id for broker in brokers])
    groups = [await describe_group(admin, name, names.input) for name in (names.group, sink_group)]
    partitions = await _changelog(consumer, names, begins, ends)
    return Kafka(
        brokers=brokers,
        topics=[_topic(name, places, begins, ends, sizes) for name in wanted if name in counts],
        worker=groups[0],
        sink=groups[1],
        input_lag=await _input_lag(consumer, names, partitions, begins, ends, await _committed(admin, names.group)),
        sink_lag=await _sink_lag(consumer, names, begins, await _committed(admin, sink_group), places),
        partitions=partitions,
    )


def _topic(
    name: str, places: Iterable[TopicPartition], begins: Places, ends: Places, sizes: Mapping[str, int] | None
) -> TopicShown:
    mine = [place for place in places if place.topic == name]
    return TopicShown(
        name=name,
        partitions=len(mine),
        offsets=sum(ends[place] - begins[place] for place in mine),
        bytes=None if sizes is None else sizes.get(name, 0),
    )


async def _sizes(admin: AIOKafkaAdminClient, nodes: Iterable[int]) -> dict[str, int] | None:
    """Return bytes on disk by topic, of all replicas; None if the brokers do not say."""
    found: dict[str, int] = {}
    try:
        for node in nodes:
            answer = await admin._send_request_to_node(node, Fixed(DescribeLogDirsRequestV1(None)))
            for code, _, topics in answer.results:
                if code:
                    return None
                for name, parts in topics:
                    found[name] = found.get(name, 0) + sum(size for _, size, _, _ in parts)
    except (KafkaError, TimeoutError):
        return None
    return found


async def describe_group(admin: AIOKafkaAdminClient, name: str, input_topic: str) -> GroupShown:
    """Return a group and its members, by instance name. KafkaError if its coordinator does not answer."""
    node = await admin.find_coordinator(name)
    answer = await admin._send_request_to_node(node, Fixed(DescribeGroupsRequestV4([name], False)))
    ((_, _, state, _, _, members, _),) = answer.groups
    return GroupShown(name=name, state=state, members=sorted(map(_member(input_topic), members), key=_by_instance))


def _by_instance(member: MemberShown) -> str:
    return member.instance


def _member(input_topic: str) -> Any:
    def shown(member: Any) -> MemberShown:
        member_id, instance, _, host, _, assignment = member
        given = ConsumerProtocolMemberAssignment.decode(assignment).assignment if assignment else []
        return MemberShown(
            instance=instance or member_id,
            host=host.lstrip("/"),
            partitions=sum(len(numbers) for _, numbers in given),
            input=sorted(number for topic, numbers in given if topic == input_topic for number in numbers),
        )

    return shown


async def _committed(admin: AIOKafkaAdminClient, group: str) -> dict[TopicPartition, int]:
    try:
        found = await admin.list_consumer_group_offsets(group)
    except AttributeError:  # how the client fails on a partition's error
        return {}
    return {place: at.offset for place, at in found.items() if at.offset >= 0}


async def _changelog(consumer: AIOKafkaConsumer, names: Names, begins: Places, ends: Places) -> dict[int, Measures]:
    """Return what the latest marker of each changelog partition says: last tick, catalogs in force."""
    spans = {
        place: (max(begins[place], end - TAIL_OFFSETS), end)
        for place, end in ends.items()
        if place.topic == names.changelog and end > begins[place]
    }
    folds: dict[int, Partition] = {}
    for place, records in (await _read(consumer, spans)).items():
        fold = Partition(place.partition, FoldSettings(), CatalogStore())
        try:
            for record in records:
                fold.load(record.key, record.value)
        except NewerStateError:  # of a newer program than this one
            continue
        folds[place.partition] = fold
    return {partition: fold.measures(0) for partition, fold in sorted(folds.items()) if fold.next_offset}


async def _input_lag(
    consumer: AIOKafkaConsumer,
    names: Names,
    partitions: Mapping[int, Measures],
    begins: Places,
    ends: Places,
    committed: Places,
) -> LagShown:
    """The oldest record that is not applied came after the last tick that is, and after whatever else is."""
    done = {
        place: max(begins[place], committed.get(place, 0)) for place, end in ends.items() if place.topic == names.input
    }
    behind = {place: offset for place, offset in done.items() if ends[place] > offset}
    spans = {place: (max(begins[place], offset - BEFORE_OFFSETS), ends[place]) for place, offset in behind.items()}
    found = await _read(consumer, spans, least=behind)
    now_s, records, ages = time.time(), 0, []
    for place, offset in behind.items():
        read = found.get(place, [])
        if read and read[-1].offset < offset:
            continue  # nothing but the markers of a producer's transactions
        records += ends[place] - offset
        measures = partitions.get(place.partition)
        tick_ms = measures.tick_ms if measures is not None else None
        newest_ms = max([tick_ms or 0, *(record.timestamp for record in read if record.offset <= offset)])
        age_s = max(0.0, now_s - newest_ms / 1000)
        ages.append(age_s if newest_ms and (tick_ms is not None or age_s < HISTORY_S) else None)
    seconds = None if None in ages else max([age for age in ages if age is not None], default=0.0)
    return LagShown(topic=names.input, records=records, seconds=seconds)


async def _sink_lag(
    consumer: AIOKafkaConsumer,
    names: Names,
    begins: Places,
    committed: Places,
    places: Iterable[TopicPartition],
) -> list[LagShown]:
    """Derived topics hold the broker's time, so the first record that is not in ClickHouse tells its age."""
    topics = [full_name(name, names.prefix) for name in check_topics(None)]
    wanted = [place for place in places if place.topic in topics]
    stable: Places = await consumer.end_offsets(wanted) if wanted else {}
    done = {place: max(begins[place], committed.get(place, 0)) for place in wanted}
    behind = {place: (done[place], stable[place]) for place in wanted if stable[place] > done[place]}
    found = await _read(consumer, behind, least=done)
    shown, now_s = [], time.time()
    for topic in topics:
        mine = [place for place in behind if place.topic == topic and found.get(place)]
        oldest_ms = [found[place][0].timestamp for place in mine]
        shown.append(
            LagShown(
                topic=topic,
                records=sum(stable[place] - done[place] for place in mine),
                seconds=max(0.0, now_s - min(oldest_ms) / 1000) if oldest_ms else 0.0,
            )
        )
    return [one for one in shown if any(place.topic == one.topic for place in wanted)]


async def _read(
    consumer: AIOKafkaConsumer, spans: Mapping[TopicPartition, tuple[int, int]], *, least: Places | None = None
) -> dict[TopicPartition, list[Any]]:
    """Read committed records from the first to before the second offset, for READ_S at most; with `least`, of a
    partition only until a record at or behind that offset has come."""
    found: dict[TopicPartition, list[Any]] = {place: [] for place in spans}
    open_places = set(spans)
    if not open_places:
        return found
    consumer.assign(list(open_places))
    for place, (first, _) in spans.items():
        consumer.seek(place, first)
    deadline = time.monotonic() + READ_S
    while open_places and time.monotonic() < deadline:
        for place, records in (await consumer.getmany(*open_places, timeout_ms=200, max_records=5_000)).items():
            found[place].extend(record for record in records if record.offset < spans[place][1])
        for place in list(open_places):
            enough = least is not None and found[place] and found[place][-1].offset >= least[place]
            if enough or await consumer.position(place) >= spans[place][1]:
                open_places.discard(place)
                consumer.pause(place)
    return found
