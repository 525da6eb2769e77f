"""Prometheus metrics of the engine, and the observer that feeds them; what must not pass unseen is logged too."""

import time
from collections import Counter as Tally
from collections.abc import Mapping
from operator import attrgetter
from typing import Final

import structlog

from processors.engine.fold import Fold
from processors.engine.instruments import counter, histogram
from processors.engine.round import Work
from schemas import metrics
from schemas.emission import Emission

ROUNDS: Final = counter(metrics.ROUNDS)
ROUNDS_ABORTED: Final = counter(metrics.ROUNDS_ABORTED)
ROUND_SECONDS: Final = histogram(metrics.ROUND_SECONDS)
RECORDS: Final = counter(metrics.RECORDS)
EMISSIONS: Final = counter(metrics.EMISSIONS)
REJECTED: Final = counter(metrics.REJECTED)
SKIPPED: Final = counter(metrics.SKIPPED)
RECOVERIES: Final = histogram(metrics.RECOVERIES)
RECOVERY_RECORDS: Final = counter(metrics.RECOVERY_RECORDS)

log = structlog.get_logger(__name__)

REJECTED_PREFIX: Final = "rejected."
SKIPPED_NAME: Final = "skipped_offsets"


class Metrics:
    """Counts rounds (see round.RoundObserver)."""

    def __init__(self) -> None:
        self._seen: dict[int, dict[str, int]] = {}
        self.ended = 0
        """Rounds that have ended, either way."""
        self.committed_at: float | None = None
        """When the last round was committed, monotonic seconds."""

    def committed(self, work: Work, folds: Mapping[int, Fold], seconds: float) -> None:
        """Count a committed round."""
        self.ended += 1
        self.committed_at = time.monotonic()
        ROUNDS.inc()
        ROUND_SECONDS.observe(seconds)
        RECORDS.inc(work.records)
        for partition, emissions in work.emissions.items():
            for name, count in _by_type(emissions).items():
                EMISSIONS.labels(name).inc(count)
            self._count(partition, folds[partition].counters)

    def aborted(self, error: BaseException) -> None:
        """Count a round that was rolled back."""
        self.ended += 1
        ROUNDS_ABORTED.labels(type(error).__name__).inc()

    def _count(self, partition: int, counters: Mapping[str, int]) -> None:
        seen = self._seen.setdefault(partition, {})
        for name, value in counters.items():
            before = seen.get(name, 0)
            more = value - before if value >= before else value  # a smaller one is a new fold's
            if more and name.startswith(REJECTED_PREFIX):
                reason = name.removeprefix(REJECTED_PREFIX)
                REJECTED.labels(reason).inc(more)
                log.warning("records_rejected", reason=reason, count=more, partition=partition)
            elif more and name == SKIPPED_NAME:
                SKIPPED.inc(more)
                log.error("records_skipped_by_offset", count=more, partition=partition)
            seen[name] = value


_type: Final = attrgetter("type")
_topic: Final = attrgetter("topic")


def _by_type(emissions: list[Emission]) -> Mapping[str, int]:
    """Count by derived type; what has none by its topic."""
    found = Tally(map(_type, emissions))
    if found.pop("", 0):
        found.update(map(_topic, [emission for emission in emissions if not emission.type]))
    return found
