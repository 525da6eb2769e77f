"""The stack as a whole: found by other processes, exclusive on its home, gone with its parent."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from deploy.embedded import EmbeddedStack, Endpoints, SilentProgress, StackError, home_dir, running_stack, stack
from deploy.embedded.clickhouse import clickhouse_answers
from deploy.embedded.kafka import broker_answers
from tests.embedded.listening import LOOPBACK, listeners

PARENT = """
import sys
from collections.abc import Callable
from pathlib import Path
from deploy.embedded import EmbeddedStack, SilentProgress
stack = EmbeddedStack(Path(sys.argv[1]), progress=SilentProgress())
stack.start()
print(stack.kafka.pid, stack.clickhouse.pid, flush=True)
sys.stdin.read()
"""


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_kill_9_of_the_parent_ends_both_servers_and_the_home_can_be_used_again(
    tmp_path: Path, repository: Path, wait_until: Callable[..., None]
) -> None:
    home = tmp_path / "home"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=repository,
        text=True,
    )
    try:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2

        found = running_stack(home)
        assert found is not None
        assert broker_answers(found.kafka_bootstrap)
        assert clickhouse_answers(found.clickhouse_url)
        with pytest.raises(StackError, match=rf"already running on .*process {parent.pid}.*PLAUDIT_HOME"):
            EmbeddedStack(home, progress=SilentProgress()).start()
        assert running_stack(home) == found
        for pid in pids:  # without passwords, so for this machine only
            assert listeners(pid) and listeners(pid) <= LOOPBACK
        assert (home / "stack.json").stat().st_mode & 0o077 == 0  # it may hold the password of a CLICKHOUSE_URL
    finally:
        parent.kill()
        parent.communicate()
    wait_until(lambda: not any(map(exists, pids)), 8, "the end of both servers")
    assert (home / "stack.json").exists()
    assert running_stack(home) is None

    with EmbeddedStack(home, progress=SilentProgress()) as again:
        assert again.endpoints == found  # ports are kept
        assert running_stack(home) == found
        again.check()
    assert not (home / "stack.json").exists()
    assert running_stack(home) is None


def test_what_the_environment_names_is_used_and_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "broker:9092")
    monkeypatch.setenv("CLICKHOUSE_URL", "http://u:p@host:8123")
    home = tmp_path / "home"
    with EmbeddedStack(home, progress=SilentProgress()) as external:
        assert external.endpoints == Endpoints("broker:9092", "http://u:p@host:8123")
        assert (external.kafka, external.clickhouse) == (None, None)
        assert not home.exists()


def test_one_part_alone_is_started_and_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "broker:9092")
    with EmbeddedStack(tmp_path, kafka=False, progress=SilentProgress()) as only:
        assert only.kafka is None
        assert clickhouse_answers(only.endpoints.clickhouse_url)
        assert running_stack(tmp_path) == only.endpoints
        assert only.clickhouse is not None
        only.clickhouse.kill()
        assert running_stack(tmp_path) is None  # it does not answer
        assert running_stack(tmp_path, answering=["kafka"]) == only.endpoints  # nobody asks it


def test_a_part_that_fails_stops_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.embedded.kafka.find_java", _no_java)
    embedded = EmbeddedStack(tmp_path, progress=SilentProgress())
    with pytest.raises(StackError, match="no Java here"):
        embedded.start()
    with EmbeddedStack(tmp_path, kafka=False, progress=SilentProgress()):
        pass  # the home and its data are free again


def _no_java() -> Path:
    raise StackError("no Java here")


def test_of_two_failures_the_first_is_told(tmp_path: Path) -> None:
    one = EmbeddedStack(tmp_path / "home", progress=SilentProgress())

    def breaks_off() -> None:
        one._cancelled.wait(10)
        raise StackError("could not be formatted (exit code -9)")

    def fails() -> None:
        raise StackError("port 1 is in use")

    with pytest.raises(StackError, match="port 1 is in use"):
        one._start_together([breaks_off, fails])


def test_a_stale_or_damaged_record_is_no_running_stack(tmp_path: Path) -> None:
    assert running_stack(tmp_path) is None
    (tmp_path / stack.STACK_FILE).write_text("{")
    assert running_stack(tmp_path) is None
    record = stack.StackRecord(os.getpid(), "a:1", "http://b:2", 0.0, [])
    (tmp_path / stack.STACK_FILE).write_bytes(msgspec.json.encode(record))
    assert running_stack(tmp_path) is None  # the process is there, but it holds no lock


def test_home_is_configurable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert home_dir() == tmp_path / ".plaudit"
    monkeypatch.setenv("PLAUDIT_HOME", str(tmp_path / "other"))
    assert home_dir() == tmp_path / "other"


def test_a_terminated_stack_leaves_no_servers(
    tmp_path: Path, repository: Path, wait_until: Callable[..., None]
) -> None:
    """SIGTERM without a handler is what a service manager sends: Python dies without cleaning up."""
    code = PARENT.replace("progress=", "kafka=False, progress=").replace("stack.kafka.pid", "0")
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=repository,
        text=True,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline().split()[1])
    parent.send_signal(signal.SIGTERM)
    parent.communicate()
    wait_until(lambda: not exists(pid), 8, "the end of ClickHouse")
