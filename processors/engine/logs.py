"""What Faust, mode and aiokafka may say."""

import logging
import time
from collections.abc import Callable
from typing import Final

EXPECTED: Final = ("NotEnoughReplicas", "ConcurrentTransactions", "[Error 19]", "[Error 51]")
"""Answers that a broker gives while it ends the transaction before; aiokafka asks again after milliseconds."""

QUIET: Final = ("faust", "mode", "aiokafka")

REPEAT_S: Final = 10.0
"""The same message is let through once in this time: a broker that is away makes hundreds a second."""

MAX_REMEMBERED: Final = 1_000


class LibraryFilter(logging.Filter):
    """Drops messages about expected answers, and repetitions."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._said: dict[tuple[str, int, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is let through."""
        message = record.getMessage()
        if record.levelno < logging.ERROR and any(text in message for text in EXPECTED):
            return False
        key, now = (record.name, record.lineno, message), self._clock()
        if now - self._said.get(key, -REPEAT_S) < REPEAT_S:
            return False
        if len(self._said) >= MAX_REMEMBERED:
            self._said.clear()
        self._said[key] = now
        return True


def quiet_libraries(level: int = logging.WARNING) -> None:
    """Let Faust, mode and aiokafka log from `level` on, without what is part of normal work or a repetition."""
    for name in QUIET:
        logging.getLogger(name).setLevel(level)
    # A filter of a logger does not see what its children log, so the handlers get it.
    handlers: list[logging.Handler | None] = [*logging.getLogger().handlers]
    for handler in handlers or [logging.lastResort]:
        if handler is not None and not any(isinstance(known, _ForLibraries) for known in handler.filters):
            handler.addFilter(_ForLibraries())


class _ForLibraries(LibraryFilter):
    """Lets everything else through as it is."""

    def filter(self, record: logging.LogRecord) -> bool:
        ours = not record.name.startswith(QUIET)
        return ours or super().filter(record)
