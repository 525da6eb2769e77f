"""Worker and sink as child processes, which end with their parent however that ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from deploy.cli.support.errors import CommandError

LIFELINE_VARIABLE: Final = "PLAUDIT_LIFELINE"
"""Set for a child whose standard input is its life line."""

ORPHAN_GRACE_S: Final = 20.0
"""What a child whose parent has gone gets to end in order."""

STOP_TIMEOUT_S: Final = 30.0
LOG_TAIL_BYTES: Final = 4000


def follow_parent() -> None:
    """End this process, in order if it can, once standard input ends: the parent holds the other side."""
    descriptor = os.dup(0)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    os.environ.pop(LIFELINE_VARIABLE, None)

    def watch() -> None:
        while os.read(descriptor, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_GRACE_S)
        os._exit(1)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


class ChildCommand:
    """`plaudit NAME ...` as a child in a session of its own, so that Ctrl-C reaches only the parent, which stops its
    children in order. Its output goes to a log file."""

    def __init__(self, name: str, arguments: list[str], log: Path, environment: Mapping[str, str]) -> None:
        """Start it. The log is begun anew."""
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "deploy.cli.main", *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**os.environ, **_path(), **environment, LIFELINE_VARIABLE: "1"},
                start_new_session=True,
            )

    def check(self) -> None:
        """CommandError, with the end of its log, if it has ended by itself."""
        code = self.process.poll()
        if code is not None:
            raise CommandError(f"the {self.name} has ended (exit code {code}). The end of {self.log}:\n{self._tail()}")

    def ask_to_stop(self) -> None:
        """Ask for an orderly end and return at once."""
        if self.process.poll() is None:
            self.process.terminate()

    def stop(self) -> None:
        """Stop it and return when it is gone."""
        self.ask_to_stop()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()

    def _tail(self) -> str:
        data = self.log.read_bytes()
        return data[-LOG_TAIL_BYTES:].decode("utf-8", "replace").strip() or "(empty)"


def _path() -> dict[str, str]:
    """Let the child import this very program, also when it is run from its sources in another directory."""
    root = str(Path(__file__).parents[3])
    known = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{root}{os.pathsep}{known}" if known else root}
