"""The process between the stack and Kafka's Java: it ends Java when its parent is gone, however that died.

Run as a script with the standard library only:  python kafka_child.py JAVA ARGUMENT...
Standard input is the life line, held open by the parent: the line `stop` asks for an orderly end, end of file means
that the parent died. Standard output tells Java's pid in one line. Java's own output goes to standard error.
Descriptors that it was given beyond these (the lock of the data directory) go on to Java. Exits with Java's code.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

STOP_GRACE_S = 20.0  # an orderly stop takes 0.3 s when idle; segments to flush make it longer
ORPHAN_GRACE_S = 2.0
POLL_INTERVAL_S = 0.25
PR_SET_PDEATHSIG = 1

stop_asked = False


def main(argv: list[str]) -> int:
    """Start Java, watch both ends, return Java's exit code."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _on_signal)
    parent = os.getppid()
    inherited = [int(fd) for fd in os.environ.pop("PLAUDIT_INHERIT_FDS", "").split(",") if fd]
    # preexec_fn is safe: this process has one thread
    java = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=2,
        pass_fds=inherited,
        preexec_fn=_die_with_parent,
    )
    grace_s = ORPHAN_GRACE_S
    try:
        print(java.pid, flush=True)
        grace_s = _watch(java, parent)
    except OSError:
        pass  # standard output or input is gone, so is the parent
    finally:
        _end(java, grace_s)
    return java.returncode if java.returncode >= 0 else 128 - java.returncode


def _watch(java: "subprocess.Popen[bytes]", parent: int) -> float:
    """Return when Java has ended or has to: the seconds it is then given."""
    while java.poll() is None:
        if stop_asked:
            return STOP_GRACE_S
        # A process that the parent forked may hold the life line's other end; the parent's pid cannot be held.
        if os.getppid() != parent:
            return ORPHAN_GRACE_S
        readable, _, _ = select.select([0], [], [], POLL_INTERVAL_S)
        if readable:
            return STOP_GRACE_S if os.read(0, 64).startswith(b"stop") else ORPHAN_GRACE_S
    return 0.0


def _end(java: "subprocess.Popen[bytes]", grace_s: float) -> None:
    deadline = time.monotonic() + grace_s
    with suppress(ProcessLookupError):
        java.terminate()
    with suppress(subprocess.TimeoutExpired):
        java.wait(max(0.0, deadline - time.monotonic()))
    if java.poll() is None:
        java.kill()
        java.wait()


def _on_signal(number: int, frame: object) -> None:
    global stop_asked
    stop_asked = True


def _die_with_parent() -> None:
    # If this process itself is killed with -9, the kernel kills Java (Linux; elsewhere Java would stay).
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
