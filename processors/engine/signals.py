"""SIGTERM and SIGINT: the first asks for an orderly end, the second ends at once (X27)."""

import asyncio
import os
import signal
import threading
from typing import Final

import structlog

log = structlog.get_logger(__name__)

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

SIGNAL_EXIT: Final = 128
"""Exit code of a process that a signal ended: this plus its number."""

LATE_EXIT: Final = 1


def stop_on_signals(stop: asyncio.Event, grace_s: float) -> None:
    """Set `stop` at the first signal; end the process at a second one, or `grace_s` after the first, whatever it is at.

    An end at once leaves a transaction open, as kill -9 does: the next start of the same instance, or the transaction's
    time-out, ends it, and nothing is lost. To be called in the running event loop.
    """
    loop = asyncio.get_running_loop()

    def handle(number: signal.Signals) -> None:
        if stop.is_set():
            log.warning("ended_at_once", signal=number.name)
            os._exit(SIGNAL_EXIT + number)
        log.info("stopping", signal=number.name, grace_s=grace_s)
        stop.set()
        late = threading.Timer(grace_s, _end, (grace_s,))
        late.daemon = True  # an end in time does not wait for it
        late.start()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, handle, number)


def _end(grace_s: float) -> None:
    log.error("grace_is_over", grace_s=grace_s)
    os._exit(LATE_EXIT)
