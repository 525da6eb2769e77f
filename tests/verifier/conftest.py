"""One broker and one ClickHouse; topics and a database for each installation."""

import asyncio
from collections.abc import Iterator
from itertools import count

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client

from deploy.embedded import ClickHouseServer, KafkaServer, SilentProgress
from projections import migrate
from projections.sink import run_sink
from schemas.brokers import Brokers
from tests.verifier.installation import Installation

_numbers = count(1)


@pytest.fixture(scope="session")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    """A broker."""
    with KafkaServer(tmp_path_factory.mktemp("kafka"), progress=SilentProgress()) as server:
        yield Brokers(server.bootstrap)


@pytest.fixture(scope="session")
def clickhouse_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A ClickHouse."""
    with ClickHouseServer(tmp_path_factory.mktemp("clickhouse"), progress=SilentProgress()) as server:
        yield server.url


@pytest.fixture(scope="session")
def client(clickhouse_url: str) -> Iterator[Client]:
    """A client of it."""
    client = clickhouse_connect.get_client(dsn=clickhouse_url, autogenerate_session_id=False)
    yield client
    client.close()


@pytest.fixture
def installation(brokers: Brokers) -> Installation:
    """An installation that is not on Kafka yet."""
    return Installation(brokers, f"v{next(_numbers)}")


@pytest.fixture
def database(client: Client) -> str:
    """A migrated database."""
    name = f"verifier_{next(_numbers)}"
    migrate.up(client, name)
    return name


def project(installation: Installation, clickhouse_url: str, database: str) -> None:
    """Run a sink until everything is in the tables."""

    async def run() -> None:
        await run_sink(
            installation.brokers,
            clickhouse_url,
            database,
            installation.names.prefix,
            stop=asyncio.Event(),
            until_caught_up=True,
        )

    asyncio.run(run())
