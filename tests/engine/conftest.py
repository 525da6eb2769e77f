"""One embedded broker for all tests of the engine; each test has topics of its own."""

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from deploy.embedded.kafka import KafkaServer
from processors.engine.names import Names
from processors.engine.topics import create_topics
from schemas.brokers import Brokers
from tests.engine.harness import PARTITIONS


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    """A broker. PLAUDIT_TEST_KAFKA names one that runs already."""
    running = os.environ.get("PLAUDIT_TEST_KAFKA")
    if running:
        yield Brokers(running)
        return
    with KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        yield server.brokers


@pytest.fixture
async def names(broker: Brokers) -> Names:
    """Names of an installation that only this test uses; its topics exist."""
    names = Names(f"t{uuid.uuid4().hex[:8]}")
    await create_topics(broker, names, PARTITIONS)
    return names


@pytest.fixture
async def producer(broker: Brokers) -> AsyncIterator[AIOKafkaProducer]:
    """A plain producer."""
    producer = AIOKafkaProducer(**broker.client(), enable_idempotence=True, acks="all")
    await producer.start()
    yield producer
    await producer.stop()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Directory of an installation."""
    return tmp_path
