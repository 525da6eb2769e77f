"""Children end with their parent, and say why they ended."""

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.cli.support.children import LIFELINE_VARIABLE, ChildCommand
from deploy.cli.support.errors import CommandError

DEADLINE_S = 20.0


def test_a_child_ends_when_its_life_line_is_cut() -> None:
    code = (
        "import signal, sys; from deploy.cli.support.children import follow_parent; follow_parent(); "
        "print('up', flush=True); signal.pause()"
    )
    root = Path(__file__).parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    child.stdin.close()
    assert child.wait(DEADLINE_S) != 0
    child.stdout.close()


def test_a_child_that_ended_by_itself_is_told_with_its_log(tmp_path: Path) -> None:
    child = ChildCommand("worker", ["nonsense"], tmp_path / "logs" / "worker.log", {LIFELINE_VARIABLE: "1"})
    child.process.wait(DEADLINE_S)
    with pytest.raises(CommandError, match=r"exit code 2(.|\n)*No such command 'nonsense'"):
        child.check()
    child.stop()
