"""Prometheus metrics of the engine, and the observer that feeds them; what must not pass unseen is logged too."""

from collections.abc import Mapping
from typing import Final

import structlog
from prometheus_client import Counter, Histogram

from processors.engine.fold import Fold
from processors.engine.round import Work

ROUNDS: Final = Counter("plaudit_rounds", "Committed rounds")
ROUNDS_ABORTED: Final = Counter("plaudit_rounds_aborted", "Rounds that were rolled back", ["error"])
ROUND_SECONDS: Final = Histogram("plaudit_round_seconds", "Duration of committed rounds, folding to commit")
RECORDS: Final = Counter("plaudit_records", "Input records processed")
EMISSIONS: Final = Counter("plaudit_emissions", "Records emitted")
REJECTED: Final = Counter("plaudit_rejected", "Input records refused", ["reason"])
SKIPPED: Final = Counter("plaudit_skipped_offsets", "Records that a fold had already applied; must stay 0")
FENCES: Final = Counter("plaudit_fences", "Times this worker was fenced and joined anew")
RECOVERIES: Final = Histogram(
    "plaudit_recovery_seconds", "Duration of recoveries", buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300)
)
RECOVERY_RECORDS: Final = Counter("plaudit_recovery_records", "Changelog records read in recoveries")

log = structlog.get_logger(__name__)

REJECTED_PREFIX: Final = "rejected."
SKIPPED_NAME: Final = "skipped_offsets"


class Metrics:
    """Counts rounds (see round.RoundObserver)."""

    def __init__(self) -> None:
        self._seen: dict[int, dict[str, int]] = {}

    def committed(self, work: Work, folds: Mapping[int, Fold], seconds: float) -> None:
        """Count a committed round."""
        ROUNDS.inc()
        ROUND_SECONDS.observe(seconds)
        RECORDS.inc(work.records)
        EMISSIONS.inc(work.effects)
        for partition in work.emissions:
            self._count(partition, folds[partition].counters)

    def aborted(self, error: BaseException) -> None:
        """Count a round that was rolled back."""
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
