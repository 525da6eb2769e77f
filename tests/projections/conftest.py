"""One ClickHouse and one broker for the whole folder, a database and a topic prefix per test."""

import itertools
from collections.abc import Iterator

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client

from deploy.embedded import ClickHouseServer, KafkaServer, SilentProgress
from projections import migrate

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """A ClickHouse; a test that kills it starts it again."""
    with ClickHouseServer(tmp_path_factory.mktemp("clickhouse"), progress=SilentProgress()) as server:
        yield server


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A broker."""
    with KafkaServer(tmp_path_factory.mktemp("kafka"), progress=SilentProgress()) as server:
        yield server


@pytest.fixture
def empty_database(clickhouse: ClickHouseServer) -> Iterator[str]:
    """The name of a database that does not exist yet; dropped afterwards."""
    name = f"test_{next(_numbers)}"
    yield name
    client = connect(clickhouse)
    client.command(f"DROP DATABASE IF EXISTS {name} SYNC")
    client.close()


@pytest.fixture
def client(clickhouse: ClickHouseServer, empty_database: str) -> Iterator[Client]:
    """A client of the server, with `empty_database` as its database once it exists."""
    client = connect(clickhouse)
    yield client
    client.close()


@pytest.fixture
def database(client: Client, empty_database: str) -> str:
    """The name of a migrated database."""
    migrate.up(client, empty_database)
    return empty_database


@pytest.fixture
def prefix() -> str:
    """A topic prefix of its own."""
    return f"p{next(_numbers)}"


def connect(server: ClickHouseServer) -> Client:
    """A client that several threads may use."""
    return clickhouse_connect.get_client(dsn=server.url, autogenerate_session_id=False)
