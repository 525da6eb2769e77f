"""Tells of bugs of the rules (X32): where, and how, once per place in the code; no values, which may be anybody's."""

import traceback
from typing import Final

import structlog

from schemas.records import LogRecord

log = structlog.get_logger(__name__)

MAX_PLACES: Final = 1_000
"""Places in the code that are remembered; beyond them every failure is told again."""


class FailureLog:
    """Logs a failure with its traceback the first time it happens at a place; counts are in the metrics."""

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()

    def __call__(self, error: BaseException, record: LogRecord) -> None:
        """Log a failure of the rules in a record."""
        trace = "".join(traceback.format_tb(error.__traceback__))
        place = type(error).__name__, trace
        if place in self._told:
            return
        if len(self._told) < MAX_PLACES:
            self._told.add(place)
        log.error(
            "rules_failed",
            error=place[0],
            partition=record.partition,
            offset=record.offset,
            reason="internal_error",
            trace=trace,
        )
