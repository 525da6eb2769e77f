"""Loopback ports: configured, kept from the last run, or free."""

import json
import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from deploy.embedded.errors import StackError
from deploy.embedded.files import write_atomically

LOOPBACK = "127.0.0.1"


def choose_ports(names: tuple[str, ...], kept_in: Path, configured: Mapping[str, int | None]) -> dict[str, int]:
    """One port for each of `names`, all different, and remembered in the file `kept_in` for the next run.

    A configured port is taken or refused with StackError; else the port of the last run if it is still free, so that
    clients find a restarted server where it was; else one that the system gives.
    """
    kept = _load(kept_in)
    chosen: dict[str, int] = {}
    with ExitStack() as held:  # held until all are chosen: the same port is not given twice
        for name in names:
            wanted = configured.get(name)
            if wanted is not None:
                sock = _bind(wanted)
                if sock is None:
                    raise StackError(
                        f"port {wanted}, configured for {name}, is in use on {LOOPBACK}. "
                        "Stop what listens there or configure another port."
                    )
            else:
                sock = (_bind(kept[name]) if name in kept else None) or _bind(0)
                if sock is None:
                    raise StackError(f"no free port on {LOOPBACK} for {name}; is the loopback interface up?")
            held.enter_context(sock)
            chosen[name] = sock.getsockname()[1]
    write_atomically(kept_in, json.dumps(chosen))
    return chosen


def port_from_env(variable: str) -> int | None:
    """The port in environment variable `variable`, None if it is unset or empty. StackError if it is no port."""
    text = os.environ.get(variable, "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise StackError(f"{variable}={text!r} is not a port; set it to a number from 1 to 65535, or unset it.")
    return int(text)


def _load(path: Path) -> dict[str, int]:
    with suppress(OSError, ValueError):  # a lost or damaged file costs the old ports, nothing else
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return {name: port for name, port in content.items() if isinstance(port, int) and 0 < port < 65536}
    return {}


def _bind(port: int) -> socket.socket | None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # A server that was killed leaves connections in TIME_WAIT; they must not cost it its port.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((LOOPBACK, port))
        sock.listen(1)  # two sockets with SO_REUSEADDR may share a port until one listens
    except OSError:
        sock.close()
        return None
    return sock
