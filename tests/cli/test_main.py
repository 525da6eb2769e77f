"""The command line as a whole: help, exit codes, one line per error."""

import re
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from deploy.cli.main import COMMANDS
from tests.cli.conftest import Plaudit


def _leaves() -> list[list[str]]:
    leaves = []
    for name, (module, _) in COMMANDS.items():
        command = import_module(f"deploy.cli.{module}").command
        if isinstance(command, click.Group):
            leaves += [[name, sub] for sub in command.commands]
        else:
            leaves.append([name])
    return leaves


def test_help_lists_every_command(plaudit: Plaudit) -> None:
    result = plaudit("--help")
    assert result.code == 0
    assert all(f"\n  {name} " in result.out for name in COMMANDS)


@pytest.mark.parametrize("path", _leaves(), ids=" ".join)
def test_every_command_has_help_with_examples(plaudit: Plaudit, path: list[str]) -> None:
    result = plaudit(*path, "--help")
    assert result.code == 0
    assert f"plaudit {' '.join(path)}" in result.out.split("Example")[1]


def test_help_lists_every_setting(plaudit: Plaudit) -> None:
    root = Path(__file__).parents[2]
    read = "".join(
        (root / "deploy" / name).read_text() for name in ("settings.py", "connections.py", "embedded/stack.py")
    )
    variables = set(re.findall(r"\b(?:PLAUDIT|KAFKA|CLICKHOUSE)_[A-Z_]+", read))
    assert len(variables) > 15
    listed = set(re.findall(r"[A-Z_]+", plaudit("--help").out))
    assert variables <= listed


@pytest.mark.parametrize("path", [[], ["catalog"]], ids=["plaudit", "catalog"])
def test_without_a_command_the_usage_is_shown_as_it_is(plaudit: Plaudit, path: list[str]) -> None:
    result = plaudit(*path)
    assert result.code == 2
    assert result.err.startswith("Usage: plaudit")


@pytest.mark.parametrize(
    "arguments",
    [
        ["catalog", "check", "PATH"],
        ["simulate", "--catalog", "CATALOG", "--records", "PATH"],
        ["simulate", "--catalog", "PATH", "--records", "PATH"],
        ["run", "--catalog", "CATALOG", "--records", "PATH"],
        ["run", "--catalog", "PATH"],
        ["import-git", ".", "--output", "PATH"],
    ],
    ids=" ".join,
)
def test_a_file_that_is_missing_or_a_directory_is_wrong_use(
    plaudit: Plaudit, tmp_path: Path, catalog: Path, arguments: list[str]
) -> None:
    for path in (tmp_path, tmp_path / "none" / "none"):
        given = {"PATH": str(path), "CATALOG": str(catalog)}
        result = plaudit(*(given.get(argument, argument) for argument in arguments))
        assert result.code == 2
        assert result.err.count("\n") == 1
        assert str(path) in result.err


def test_a_file_that_is_not_packed_is_wrong_use(plaudit: Plaudit, tmp_path: Path, catalog: Path) -> None:
    path = tmp_path / "records.gz"
    path.write_text("{}")
    result = plaudit("simulate", "--catalog", catalog, "--records", path)
    assert (result.code, result.err.count("\n")) == (2, 1)


def test_a_log_level_that_is_none_is_one_line(plaudit: Plaudit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAUDIT_LOG_LEVEL", "loud")
    result = plaudit("sql", "SELECT 1")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "PLAUDIT_LOG_LEVEL='loud'" in result.err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from deploy.cli.main import run; run(['--help']); "
        "heavy = {'aiokafka', 'faust', 'msgspec', 'rich', 'structlog', 'yaml', 'clickhouse_connect'}; "
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["simulate"],
        ["simulate", "--batch", "0"],
        ["tick", "--at", "yesterday"],
        ["tick", "--at", "2025-03-01T10:00:00"],
        ["migrate", "--status", "--dry-run"],
        ["up", "--no-sample", "--limit", "1"],
        ["tail", "nonsense"],
        ["sql", " "],
        ["verify", "--since", "yesterday"],
        ["verify", "--limit", "-1"],
    ],
)
def test_wrong_use_is_exit_code_2_and_names_the_mistake(plaudit: Plaudit, arguments: list[str]) -> None:
    result = plaudit(*arguments)
    assert result.code == 2
    assert result.err.startswith("plaudit: ")
    assert "Traceback" not in result.err


@pytest.mark.parametrize("arguments", [["sql", "SELECT 1"], ["dump"], ["user", "18"], ["catalog", "show"], ["verify"]])
def test_reading_an_installation_that_is_not_there_says_how_to_get_one(plaudit: Plaudit, arguments: list[str]) -> None:
    result = plaudit(*arguments)
    assert result.code == 4
    assert "plaudit run" in result.err
    assert result.out == ""


@pytest.mark.parametrize("arguments", [["worker"], ["sink"], ["tail", "awards"]])
def test_what_needs_a_running_server_says_how_to_start_one(plaudit: Plaudit, arguments: list[str]) -> None:
    result = plaudit(*arguments)
    assert result.code == 1
    assert "plaudit up" in result.err


def test_a_setting_that_does_not_fit_is_one_line(plaudit: Plaudit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLAUDIT_PARTITIONS", "many")
    result = plaudit("sql", "SELECT 1")
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert "PLAUDIT_PARTITIONS='many'" in result.err


def test_a_server_that_does_not_answer_is_one_line(plaudit: Plaudit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICKHOUSE_URL", "http://127.0.0.1:9")
    result = plaudit("sql", "SELECT 1")
    assert result.code == 1
    assert result.err.count("\n") == 1
    assert "CLICKHOUSE_URL" in result.err


@pytest.mark.parametrize("command", ["worker", "sink"])
def test_a_port_of_metrics_that_is_taken_is_one_line(
    plaudit: Plaudit, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    with socket.create_server(("", 0)) as taken:
        port = str(taken.getsockname()[1])
        monkeypatch.setenv("KAFKA_BOOTSTRAP", "127.0.0.1:9")
        monkeypatch.setenv("CLICKHOUSE_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("PLAUDIT_METRICS_PORT", port)
        done = subprocess.run(
            [sys.executable, "-m", "deploy.cli.main", command],
            cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"PLAUDIT_METRICS_PORT={port}" in done.stderr


def test_a_sink_that_is_to_catch_up_gives_up_on_a_kafka_that_is_away(
    plaudit: Plaudit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.sink.loop.GIVE_UP_S", 0.5)
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "127.0.0.1:9")
    monkeypatch.setenv("CLICKHOUSE_URL", "http://127.0.0.1:9")
    result = plaudit("sink", "--until-caught-up")
    assert result.code == 1
    assert result.err.splitlines()[-1].startswith("plaudit: Kafka at 127.0.0.1:9 has not answered for")
