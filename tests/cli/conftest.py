"""Shared by the tests of the command."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deploy.cli.main import run

CATALOG = """
metrics: [{key: words}]
systems:
  - key: xp
    levels: [{key: novice, points: 0}, {key: writer, points: 10}]
    triggers:
      - {id: per-ten, type: metric, metric: words, metricThreshold: 10, points: 1, status: active}
achievements:
  - {key: first, trigger: metric, metric: words, metricValue: 1, status: active}
streak: {frequency: daily, metrics: [{key: words, threshold: 1}]}
"""


class Result(NamedTuple):
    """What a command did: exit code, standard output and error as text."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


Plaudit = Callable[..., Result]


@pytest.fixture(autouse=True)
def no_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the developer's own installation reaches these tests."""
    for name in ("KAFKA_BOOTSTRAP", "CLICKHOUSE_URL", "PLAUDIT_DEBUG", "PLAUDIT_ENVIRONMENT", "PLAUDIT_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PLAUDIT_HOME", str(tmp_path / "home"))


@pytest.fixture
def plaudit(capfd: pytest.CaptureFixture[str]) -> Plaudit:
    """`plaudit("catalog", "check", path)`: carry out a command line in this process."""

    def call(*arguments: object) -> Result:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        return Result(code, *capfd.readouterr())

    return call


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """A small catalog file."""
    path = tmp_path / "catalog.yaml"
    path.write_text(CATALOG)
    return path


@pytest.fixture
def lines(tmp_path: Path) -> Callable[[Sequence[Any]], Path]:
    """`lines([record, ...])`: a file of JSON lines; texts are written as they are."""

    def write(records: Sequence[Any]) -> Path:
        path = tmp_path / "records.jsonl"
        path.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in records))
        return path

    return write
