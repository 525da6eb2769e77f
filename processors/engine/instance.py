"""Instance names: static membership and transactional ids need one that the next start of the same worker has again."""

import fcntl
import hashlib
import os
import socket
from pathlib import Path
from typing import Final

from processors.engine.errors import StartupError

MAX_SLOTS: Final = 64
WORKERS: Final = "workers"
SINKS: Final = "sinks"
"""Kinds of processes; each has slots, and a folder for their locks, of its own."""


class Instance:
    """A name held by this process until `release`, or its end however that comes."""

    def __init__(self, name: str, file: int | None = None) -> None:
        """Use `claim_instance`."""
        self.name = name
        self._file = file

    def release(self) -> None:
        """Let another process have the name."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def claim_instance(configured: str, home: Path, kind: str = WORKERS) -> Instance:
    """Return the configured name, or `host-home-N` with the first number that no living process of this home holds.

    A worker that was killed and started again thus gets its name back, and with it its partitions without waiting for
    its session to end. StartupError if all slots are taken.
    """
    if configured:
        return Instance(configured)
    directory = home / kind
    directory.mkdir(parents=True, exist_ok=True)
    where = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:6]
    for slot in range(MAX_SLOTS):
        file = os.open(directory / f"slot-{slot}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            continue
        return Instance(f"{socket.gethostname()}-{where}-{slot}", file)
    raise StartupError(f"{MAX_SLOTS} {kind} already run on {home}. Set PLAUDIT_INSTANCE to a name of its own.")
