"""The embedded broker is a real one that survives kill -9. One broker for the file: each start costs seconds."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from deploy.embedded import KafkaServer, SilentProgress, StackError, child
from deploy.embedded.kafka import broker_answers
from deploy.embedded.kafka_config import escape, random_cluster_id, server_properties

LARGEST_RECORD_BYTES = 11_000_000


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    with KafkaServer(tmp_path_factory.mktemp("kafka é"), progress=SilentProgress()) as server:
        yield server


async def create_topic(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        config = {"max.message.bytes": str(LARGEST_RECORD_BYTES + 100_000)}
        await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=config)])
    finally:
        await admin.close()


async def produce(bootstrap: str, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, max_request_size=2 * LARGEST_RECORD_BYTES)
    await producer.start()
    try:
        await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


async def first_values(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, max_partition_fetch_bytes=2 * LARGEST_RECORD_BYTES)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.seek_to_beginning()
        return [(await asyncio.wait_for(consumer.getone(), 20)).value for _ in range(count)]
    finally:
        await consumer.stop()


async def transact(bootstrap: str, topic: str, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id="test")
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send_and_wait(topic, value)
    finally:
        await producer.stop()


def test_records_up_to_the_largest_are_produced_and_consumed(broker: KafkaServer) -> None:
    async def scenario() -> None:
        await create_topic(broker.bootstrap, "sizes")
        for value in (b"small", bytes(LARGEST_RECORD_BYTES)):
            await produce(broker.bootstrap, "sizes", value)
        assert await first_values(broker.bootstrap, "sizes", 2) == [b"small", bytes(LARGEST_RECORD_BYTES)]

    asyncio.run(scenario())


def test_a_topic_is_not_created_by_asking_for_it(broker: KafkaServer) -> None:
    async def scenario() -> set[str]:
        producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, request_timeout_ms=1000)
        await producer.start()
        try:
            with pytest.raises(KafkaError):
                await producer.send_and_wait("nobody-made-this", b"x")
        finally:
            await producer.stop()
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        try:
            return set(await admin.list_topics())
        finally:
            await admin.close()

    assert "nobody-made-this" not in asyncio.run(scenario())


def test_a_second_broker_on_the_same_directory_is_refused(broker: KafkaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "PREDECESSOR_TIMEOUT_S", 0.1)
    with pytest.raises(StackError, match="another Kafka works on"):
        KafkaServer(broker.directory, progress=SilentProgress()).start()
    assert broker_answers(broker.bootstrap)


def test_after_kill_9_a_restart_finds_records_and_transactions_at_the_same_address(broker: KafkaServer) -> None:
    async def write() -> None:
        await create_topic(broker.bootstrap, "crash")
        await transact(broker.bootstrap, "crash", b"before")

    asyncio.run(write())
    address, first_pid = broker.bootstrap, broker.pid
    broker.kill()
    assert not broker_answers(address)
    broker.start()
    assert broker.bootstrap == address
    assert broker.pid != first_pid

    async def go_on() -> list[bytes]:
        await transact(broker.bootstrap, "crash", b"after")  # the coordinator recovered its log too
        return await first_values(broker.bootstrap, "crash", 1)

    assert asyncio.run(go_on()) == [b"before"]


def test_other_ports_on_the_same_data_work(broker: KafkaServer) -> None:
    """The quorum's voters and the advertised address are written anew. Runs on the data of the tests before."""
    address = broker.bootstrap
    broker.stop()
    (broker.directory / "ports.json").unlink()
    broker.start()
    assert broker.bootstrap != address
    assert asyncio.run(first_values(broker.bootstrap, "crash", 1)) == [b"before"]


@pytest.mark.skipif("sys.platform != 'linux'")
def test_java_ends_with_its_supervisor(broker: KafkaServer, wait_until: Callable[..., None]) -> None:
    """Last in the file: the broker is gone afterwards."""
    java = broker.pid
    assert broker._child is not None
    os.kill(broker._child.process.pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{java}").exists(), 5, "the end of Java")
    wait_until(lambda: not broker.running, 5, "the end of the supervisor")
    with pytest.raises(StackError, match="Kafka has ended"):
        broker.check()


def test_a_broker_that_ends_while_starting_tells_its_log(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=of-another-broker\n")
    server = KafkaServer(tmp_path, progress=SilentProgress())
    with pytest.raises(StackError, match=r"(?s)Kafka ended while starting\. Exit code 1\..*Stored node id 7"):
        server.start()
    assert not server.running
    server.stop()


def test_nothing_answers_on_a_closed_port_or_for_nonsense() -> None:
    assert not broker_answers("127.0.0.1:1")
    assert not broker_answers("nonsense")


def test_properties_survive_any_path() -> None:
    assert escape("/a b/é\\") == "/a b/\\u00e9\\\\"
    assert "log.dirs=/a\\u00e9\n" in server_properties(1, 2, Path("/aé"), {})
    assert "num.io.threads=1\n" in server_properties(1, 2, Path("/a"), {"num.io.threads": "1"})


def test_cluster_ids_are_not_options() -> None:
    ids = {random_cluster_id() for _ in range(300)}
    assert len(ids) == 300
    assert all(len(i) == 22 and not i.startswith("-") for i in ids)
