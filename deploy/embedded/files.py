"""Small file duties: atomic writes, locks that live as long as a process, the end of a log."""

import fcntl
import os
import re
import time
from pathlib import Path
from types import TracebackType
from typing import Self

POLL_INTERVAL_S = 0.05
LOG_TAIL_LINES = 20
LOG_TAIL_BYTES = 16_384
_JAVA_FRAME = re.compile(r"\s+(at |\.\.\. \d+ more)")


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by `text`: a reader sees the old content or the new, never a part. Only its owner may read it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.touch(0o600)
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


class FileLock:
    """An advisory lock on a file (flock). It ends with the last process that holds the descriptor, also by kill -9,
    so it can be handed to a child, and a lock left behind does not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def acquire(self, timeout_s: float) -> bool:
        """Take the lock within `timeout_s`; False if another process keeps it that long."""
        assert self._fd is None, "the lock is already held by this object"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(fd)
                    return False
                time.sleep(POLL_INTERVAL_S)
            else:
                self._fd = fd
                return True

    def fileno(self) -> int:
        """The descriptor that holds the lock, to be passed to a child (pass_fds)."""
        assert self._fd is not None, "the lock is not held"
        return self._fd

    def release(self) -> None:
        """Close this process's descriptor. The lock goes on if a child holds the descriptor too."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def is_locked(path: Path) -> bool:
    """Whether some process holds the lock on `path`. False if there is no such file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two processes that ask at once do not see each other.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def log_tail(path: Path, offset: int = 0) -> str:
    """The last lines of `path` that were written after byte `offset`, without the frames of Java's stack traces; empty
    if there are none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(min(size, max(offset, size - LOG_TAIL_BYTES)))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join([line for line in text.splitlines() if not _JAVA_FRAME.match(line)][-LOG_TAIL_LINES:])


def size_of(path: Path) -> int:
    """The size of `path` in bytes, 0 if it does not exist."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
