"""The command `plaudit` as a child process, as a user has it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PLAUDIT = Path(sys.executable).with_name("plaudit")
TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 60.0
POLL_S = 0.05


class Result(NamedTuple):
    """What a command did: exit code, standard output and error as text."""

    code: int
    out: str
    err: str


class Command:
    """Calls of `plaudit` for one home; the settings of whoever runs the tests do not reach them."""

    def __init__(self, home: Path, **settings: str) -> None:
        """`settings` are variables of the environment."""
        self.home = home
        kept = {
            name: value
            for name, value in os.environ.items()
            if name == "PLAUDIT_CACHE" or not name.startswith(("PLAUDIT_", "KAFKA_", "CLICKHOUSE_"))
        }
        self.environment = {**kept, "PLAUDIT_HOME": str(home), "PLAUDIT_DEBUG": "1", **settings}
        self._directory = home.parent

    def __call__(self, *arguments: object, stdin: str | bytes = b"") -> Result:
        """Carry a command out."""
        done = subprocess.run(
            [PLAUDIT, *map(str, arguments)],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            env=self.environment,
            cwd=self._directory,
            timeout=TIMEOUT_S,
            check=False,
        )
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, name: str, *arguments: object) -> "Running":
        """Start a command in a process group of its own, as a terminal does."""
        return Running(name, [PLAUDIT, *arguments], self._directory, self.environment)


def _listen_to_interrupts() -> None:
    """What runs in the background of a shell without job control is started deaf to Ctrl-C, and so are its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Running:
    """A process, with its output in files."""

    def __init__(self, name: str, command: list[object], directory: Path, environment: dict[str, str]) -> None:
        """Start it; `directory / NAME.out` and `.err` take its output."""
        self.name = name
        self.out, self.err = directory / f"{name}.out", directory / f"{name}.err"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                cwd=directory,
                start_new_session=True,
                preexec_fn=_listen_to_interrupts,
            )

    def wait_for(self, text: str, timeout_s: float = TIMEOUT_S) -> None:
        """Return once standard output holds `text`."""
        wait_until(lambda: text in self.out.read_text() or self._ended(), f"{self.name} says {text!r}", timeout_s)
        assert text in self.out.read_text(), f"{self.name} has ended: {self.err.read_text()[-3000:]}"

    def interrupt(self) -> int:
        """Ctrl-C: SIGINT to the whole group. Return the exit code."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(STOP_TIMEOUT_S)

    def stop(self) -> None:
        """End it, whatever it takes."""
        if self.process.poll() is None:
            try:
                self.interrupt()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _ended(self) -> bool:
        return self.process.poll() is not None


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Return once the condition holds; fail with `what` after the deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(POLL_S)


def processes_of(home: Path) -> list[str]:
    """Command lines of living processes that were started for a home, whoever their parent is by now."""
    mark = f"PLAUDIT_HOME={home}\0".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (path / "environ").read_bytes() + b"\0":
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200])
    return [command for command in found if command]
