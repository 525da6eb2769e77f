"""How far the sink is, for progress bars and monitoring."""

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from clickhouse_connect.driver.client import Client

from projections.sink.settings import check_topics, group_name
from projections.sink.store import Place
from projections.tables import PROGRESS_TABLE
from schemas.brokers import Brokers
from schemas.topics import full_name


def sink_progress(client: Client, database: str, *, epoch: int = 0) -> dict[Place, int]:
    """Return the next offset to project, by (full topic name, partition). Partitions of which nothing is projected yet
    are missing. At the end of a topic it stays short of the end offset by transaction markers; `sink_lag` does not."""
    query = (
        f"SELECT topic, partition, max(last_offset) + 1 FROM {database}.{PROGRESS_TABLE} "
        "WHERE epoch = {epoch:UInt16} AND state = 'done' GROUP BY topic, partition"
    )
    rows = client.query(query, parameters={"epoch": epoch}).result_rows
    return {(str(topic), int(partition)): int(following) for topic, partition, following in rows}


async def sink_lag(brokers: Brokers, database: str, prefix: str) -> dict[Place, int]:
    """Return the offsets that producers committed and that are not projected yet, by (full topic name, partition), of
    all projected topics that exist. Transaction markers count too until the sink is idle; then it is 0."""
    names = [full_name(name, prefix) for name in check_topics(None)]
    admin = AIOKafkaAdminClient(**brokers.client())
    consumer = AIOKafkaConsumer(**brokers.client(), isolation_level="read_committed")
    try:
        await admin.start()
        await consumer.start()
        committed = await admin.list_consumer_group_offsets(group_name(prefix, database))
        described = await admin.describe_topics(names)
        places = [
            (topic["topic"], part["partition"])
            for topic in described
            for part in topic["partitions"]
            if not topic["error_code"]
        ]
        by_place = {(tp.topic, tp.partition): max(0, offset.offset) for tp, offset in committed.items()}
        ends = await consumer.end_offsets([TopicPartition(*place) for place in places])
        return {place: max(0, ends[TopicPartition(*place)] - by_place.get(place, 0)) for place in places}
    finally:
        await consumer.stop()
        await admin.close()
