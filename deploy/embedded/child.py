"""A child process that holds a data directory's lock and cannot outlive its parent."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event

from deploy.embedded.errors import StackError, StartCancelled
from deploy.embedded.files import POLL_INTERVAL_S, FileLock, log_tail, size_of

# A predecessor whose parent was killed has up to 2 s to end (ORPHAN_GRACE_S of the children) and flushes before.
PREDECESSOR_TIMEOUT_S = 15.0


class Child:
    """A running script of this package, started as `python SCRIPT ARGUMENT...` in its own session, so that Ctrl-C in
    the terminal reaches only the parent, which then stops things in the right order.

    Its standard input is the life line. It holds the lock of its directory until its last process has ended, so two
    servers never work on one directory, and a restart waits until its predecessor is really gone.
    """

    def __init__(
        self,
        name: str,
        lock: FileLock,
        script: Path,
        arguments: list[str],
        *,
        logs: list[Path],
        cwd: Path,
        environment: Mapping[str, str],
    ) -> None:
        """Start it. `logs[0]` receives its output and is begun anew; `logs` are quoted if it fails. `lock`, which
        the caller holds, is handed on; the caller then releases its own hold."""
        self.name = name
        self._logs = {path: 0 if path == logs[0] else size_of(path) for path in logs}
        with logs[0].open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(script), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                cwd=cwd,
                env={**os.environ, **environment, "PLAUDIT_INHERIT_FDS": str(lock.fileno())},
                pass_fds=(lock.fileno(),),
                start_new_session=True,
            )

    def first_line(self) -> str:
        """What it wrote first on standard output; empty if it ended without."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode("utf-8", "replace").strip()

    def wait_ready(self, is_ready: Callable[[], bool], timeout_s: float, cancelled: Event) -> None:
        """Return once `is_ready()`. StackError with the end of its log if it ends before or `timeout_s` pass;
        StartCancelled once `cancelled` is set."""
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            if self.process.poll() is not None:
                raise StackError(f"{self.name} ended while starting. {self.what_it_said()}")
            if time.monotonic() >= deadline:
                raise StackError(f"{self.name} did not answer within {timeout_s:.0f} s. {self.what_it_said()}")
            if cancelled.wait(POLL_INTERVAL_S):
                raise StartCancelled(f"the start of {self.name} was cancelled")

    def what_it_said(self) -> str:
        """The end of its logs since its start, as a part of a message."""
        code = self.process.poll()
        ended = "" if code is None else f"Exit code {code}. "
        tails = [(path, log_tail(path, offset)) for path, offset in self._logs.items()]
        told = "\n".join(f"--- {path}\n{tail}" for path, tail in tails if tail)
        return f"{ended}Its log:\n{told}" if told else f"{ended}Its logs ({', '.join(map(str, self._logs))}) are empty."

    def ask_to_stop(self) -> None:
        """Ask for an orderly end and return at once."""
        assert self.process.stdin is not None
        if self.process.stdin.closed:
            return
        with suppress(OSError):  # it may be gone already
            self.process.stdin.write(b"stop\n")
            self.process.stdin.flush()
        with suppress(OSError):
            self.process.stdin.close()

    def wait_stopped(self, orderly_s: float, terminate_s: float) -> None:
        """Wait until it has ended: `orderly_s` for itself, then SIGTERM and `terminate_s`, then SIGKILL."""
        for timeout_s, harder in ((orderly_s, self.process.terminate), (terminate_s, self.process.kill)):
            try:
                self.process.wait(timeout_s)
                break
            except subprocess.TimeoutExpired:
                harder()
        self.process.wait()
        self.close()

    def close(self) -> None:
        """Close this end of its pipes."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def lock_directory(name: str, directory: Path) -> FileLock:
    """The lock on a server's directory, taken. StackError if another server holds it longer than a dying predecessor
    could."""
    lock = FileLock(directory / "lock")
    try:
        taken = lock.acquire(PREDECESSOR_TIMEOUT_S)
    except OSError as error:
        raise StackError(
            f"cannot write to {directory} ({error.strerror}). Set PLAUDIT_HOME to a directory that you may write to."
        ) from error
    if not taken:
        raise StackError(f"another {name} works on {directory}. Stop it, or set PLAUDIT_HOME to another directory.")
    return lock
