"""How the stack tells what it is doing. The command line renders it with rich; the default prints lines to stderr."""

import sys
import threading
from typing import Literal, Protocol, TextIO

Part = Literal["kafka", "clickhouse"]
"""The two servers of the stack."""


class Progress(Protocol):
    """Receives the progress of a start. The two parts start in parallel, so calls come from two threads (those of one
    part in order, from one thread at a time); an implementation must be thread-safe and must not raise. A start that
    fails raises; nothing is called for it."""

    def step(self, part: Part, message: str) -> None:
        """`part` began something that takes a while, told in a few words ("starting Apache Kafka 3.9.1")."""

    def fetched(self, part: Part, done: int, total: int) -> None:
        """`done` of `total` files have been fetched; called once per file, `done` rising from 1 to `total`."""

    def ready(self, part: Part, address: str, seconds: float) -> None:
        """`part` answers at `address`, `seconds` after its start began."""


class LineProgress:
    """The default: one line per step, and one per quarter of the files fetched."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to `stream`, standard error if None (looked up at each line, so that redirections are followed)."""
        self._stream = stream
        self._lock = threading.Lock()

    def step(self, part: Part, message: str) -> None:
        self._line(part, message)

    def fetched(self, part: Part, done: int, total: int) -> None:
        if done * 4 // total > (done - 1) * 4 // total:
            self._line(part, f"{done} of {total} files fetched")

    def ready(self, part: Part, address: str, seconds: float) -> None:
        self._line(part, f"ready at {address} ({seconds:.1f} s)")

    def _line(self, part: Part, message: str) -> None:
        with self._lock:
            print(f"{part}: {message}", file=self._stream or sys.stderr, flush=True)


class SilentProgress:
    """Shows nothing: for tests, and for commands whose standard error is read by a program."""

    def step(self, part: Part, message: str) -> None:
        pass

    def fetched(self, part: Part, done: int, total: int) -> None:
        pass

    def ready(self, part: Part, address: str, seconds: float) -> None:
        pass
