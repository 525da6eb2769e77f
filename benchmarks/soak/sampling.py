"""What processes take, sampled: resident memory in all and without files, Java's heap, disk, and how far the run is."""

import os
import re
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

_ATTACH_WAIT_S: Final = 2.0
_ATTACH_TIMEOUT_S: Final = 30.0
_HEAP: Final = re.compile(r"(?:def new generation|tenured generation|DefNew|Tenured)\s+total (\d+)K, used (\d+)K")


class Sample(msgspec.Struct, frozen=True):
    """One look at a run. Memory in KiB.

    Attributes:
        at: seconds since 1970.
        events: sent so far.
        applied: records that the worker has committed.
        sink_lag: records on the derived topics that the sink has not written.
        rss: resident memory, by process.
        anon: the part of it that is no file's.
        heap: what is alive on Java's heap, asked after a full collection now and then; None = not asked yet.
        disk: bytes of all files of the run.
        load: average of the machine over a minute.
    """

    at: float
    events: int
    applied: int
    sink_lag: int
    rss: dict[str, int]
    anon: dict[str, int]
    heap: int | None
    disk: int
    load: float


def memory_of(pid: int) -> tuple[int, int]:
    """Return resident memory and the part of it that is no file's, KiB; zeros if the process has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0, 0
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return tuple(int(fields.get(name, "0 kB").split()[0]) for name in ("VmRSS", "RssAnon"))  # type: ignore[return-value]


def memory(pids: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Return `memory_of` several processes by name."""
    found = {name: memory_of(pid) for name, pid in pids.items()}
    return {name: both[0] for name, both in found.items()}, {name: both[1] for name, both in found.items()}


def heap_of(pid: int) -> int | None:
    """Let a Java process collect its garbage, and return how much of its heap is used then, KiB, asked as jcmd does; None
    if it does not answer."""
    try:
        _ask(pid, b"GC.run")
        answer = _ask(pid, b"GC.heap_info")
    except OSError:
        return None
    used = [int(match[2]) for match in _HEAP.finditer(answer.decode("utf-8", "replace"))]
    return sum(used) if used else None


def _ask(pid: int, command: bytes) -> bytes:
    path = Path(f"/tmp/.java_pid{pid}")
    if not path.exists():
        _wake_listener(pid, path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
        one.settimeout(_ATTACH_TIMEOUT_S)
        one.connect(str(path))
        one.sendall(b"\0".join([b"1", b"jcmd", command, b"", b"", b""]))
        return b"".join(iter(lambda: one.recv(65_536), b""))


def _wake_listener(pid: int, path: Path) -> None:
    """Java listens once it gets SIGQUIT and finds a file with this name; without the file it would print its threads."""
    asking = Path(f"/proc/{pid}/cwd/.attach_pid{pid}")
    asking.touch()
    try:
        os.kill(pid, signal.SIGQUIT)
        deadline = time.monotonic() + _ATTACH_WAIT_S
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        asking.unlink(missing_ok=True)


def disk_of(directory: Path) -> int:
    """Return the bytes that all files under a directory take; files may go meanwhile."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:
                continue
    return total
