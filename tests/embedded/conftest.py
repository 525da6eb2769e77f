"""Shared by the tests of the embedded stack."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], bool], float, str], None]:
    """`wait_until(condition, seconds, what)`: return once the condition holds, fail after the seconds."""

    def wait(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
            time.sleep(0.05)

    return wait


@pytest.fixture(autouse=True)
def no_stack_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own settings must not reach these tests. The jar cache is shared: it is verified on use."""
    for name in ("KAFKA_BOOTSTRAP", "CLICKHOUSE_URL", "PLAUDIT_HOME", "PLAUDIT_KAFKA_PORT", "PLAUDIT_CLICKHOUSE_PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return Path(__file__).parents[2]
