"""One Kafka and one ClickHouse for all faults; topics, tables and processes of its own for each kind."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.embedded import EmbeddedStack, Endpoints, SilentProgress
from tests.faults.arena import Arena

BASE_TIMEOUT_S = 240
TIMEOUT_PER_FAULT_S = 120


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """More faults take more time."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(BASE_TIMEOUT_S + TIMEOUT_PER_FAULT_S * config.getoption("--faults")))


@pytest.fixture(scope="session")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """The servers."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("KAFKA_BOOTSTRAP", "CLICKHOUSE_URL", "PLAUDIT_KAFKA_PORT", "PLAUDIT_CLICKHOUSE_PORT"):
            patch.delenv(name, raising=False)
        stack = EmbeddedStack(tmp_path_factory.mktemp("faults"), progress=SilentProgress())
        found = stack.start()
    yield found
    stack.stop()


@pytest_asyncio.fixture
async def arena(ends: Endpoints, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Arena]:
    """An installation with a feed under way; the test starts worker and sink."""
    number = len(request.session.items)
    name = f"f{request.session.items.index(request.node)}of{number}"
    arena = Arena(ends, tmp_path, name, request.config.getoption("--faults"))
    try:
        await arena.prepare()
        yield arena
    finally:
        await arena.close()
