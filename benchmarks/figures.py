"""What is measured: names of the figures, sizes of a run, and what a section hands back. Light to import."""

from typing import Any, Final

import msgspec

SECTIONS: Final = ("fold", "worker", "naive", "sink", "latency", "recovery", "rebalance")
"""In the order in which they run: worker and naive are neighbours, for their ratio."""

FIGURES: Final = (
    "worker_events_per_s",
    "naive_faust_events_per_s",
    "ratio",
    "fold_events_per_s",
    "fold_interpreted_events_per_s",
    "sink_rows_per_s",
    "latency_ms_p50",
    "latency_ms_p99",
    "peak_rss_mb",
    "recovery_s",
    "rebalance_join_s",
    "rebalance_leave_s",
    "rebalance_kill_s",
    "rebalance_after_kill_s",
)
"""Keys of the result, beside `machine`, `command`, `date` and `details`."""

MEANINGS: Final = {
    "worker_events_per_s": "one worker process, log to committed output",
    "naive_faust_events_per_s": "a plain Faust agent with one trigger, same broker",
    "ratio": "worker to naive",
    "fold_events_per_s": "the rules alone, compiled, decode to encode, no Kafka",
    "fold_interpreted_events_per_s": "the same from source",
    "sink_rows_per_s": "one sink process, derived topics to ClickHouse",
    "latency_ms_p50": "published to derived event readable, at 200 events/s",
    "latency_ms_p99": "the same, 99 of 100 events",
    "peak_rss_mb": "memory of the worker process, MB of 10^6 bytes",
    "recovery_s": "start of a worker with the states of a million users, until it takes records",
    "rebalance_join_s": "longest stop of outputs while a second worker joins",
    "rebalance_leave_s": "the same while one of two leaves in order",
    "rebalance_kill_s": "the same after kill -9 of one of two, its session time-out included",
    "rebalance_after_kill_s": "the same, without the session time-out",
}

TARGETS: Final = {
    "ratio": "at least 25",
    "fold_events_per_s": "at least 40,000, aim 60,000",
    "recovery_s": "below 30",
    "rebalance_join_s": "below 5",
    "rebalance_leave_s": "below 5",
    "rebalance_after_kill_s": "below 5",
}


class Sizes(msgspec.Struct, frozen=True):
    """How much is measured.

    Attributes:
        events: of the sample, on the log for the worker and in the fold; None = all.
        fold_runs: processes that fold, of which the median counts.
        naive_s: seconds that the naive agent works.
        naive_events: events that are there for it; more than it manages.
        latency_s: seconds of paced events that count.
        warm_up_s: seconds of paced events before, which do not.
        recovery_users: users whose states a worker recovers.
    """

    events: int | None = None
    fold_runs: int = 3
    naive_s: float = 25.0
    naive_events: int = 60_000
    latency_s: float = 15.0
    warm_up_s: float = 3.0
    recovery_users: int = 1_000_000


FULL: Final = Sizes()
QUICK: Final = Sizes(
    events=20_000, fold_runs=1, naive_s=6.0, naive_events=20_000, latency_s=5.0, warm_up_s=1.0, recovery_users=50_000
)


class Outcome(msgspec.Struct, frozen=True):
    """What a section measured: figures by their names, and how they came about."""

    figures: dict[str, float | None]
    details: dict[str, Any]


def per_second(count: int, seconds: float) -> float:
    """Return a rate, rounded to one decimal."""
    return round(count / seconds, 1)
