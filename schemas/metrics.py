"""Every metric that a worker or a sink tells Prometheus: the owner of names, labels and meanings.

processors/engine/metrics.py and projections/sink/metrics.py make the instruments from these; docs/metrics.md is written
from them (deploy/monitoring.py). Names follow Prometheus: base units, `_total` for counters. Rates, sums and quantiles
are the reader's business.
"""

from typing import Final, Literal

import msgspec

Kind = Literal["counter", "gauge", "histogram"]
Process = Literal["worker", "sink"]


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric.

    Attributes:
        name: as Prometheus stores it; of a histogram without `_bucket`, `_sum`, `_count`.
        kind: counter, gauge or histogram.
        unit: of a value; of a histogram, of what is observed.
        labels: names of its labels.
        process: who tells it.
        help: one line, also told to Prometheus.
        meaning: what a reader should know besides.
        buckets: upper bounds of a histogram.
    """

    name: str
    kind: Kind
    unit: str
    process: tuple[Process, ...]
    help: str
    meaning: str = ""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_WORKER: Final[tuple[Process, ...]] = ("worker",)
_SINK: Final[tuple[Process, ...]] = ("sink",)
_BOTH: Final[tuple[Process, ...]] = ("worker", "sink")


def _counter(name: str, unit: str, process: tuple[Process, ...], help: str, meaning: str = "", *labels: str) -> Metric:
    return Metric(name=name, kind="counter", unit=unit, process=process, help=help, meaning=meaning, labels=labels)


def _gauge(name: str, unit: str, process: tuple[Process, ...], help: str, meaning: str = "", *labels: str) -> Metric:
    return Metric(name=name, kind="gauge", unit=unit, process=process, help=help, meaning=meaning, labels=labels)


def _histogram(
    name: str, process: tuple[Process, ...], help: str, buckets: tuple[float, ...], meaning: str = "", *labels: str
) -> Metric:
    return Metric(
        name=name,
        kind="histogram",
        unit="seconds",
        process=process,
        help=help,
        meaning=meaning,
        labels=labels,
        buckets=buckets,
    )


BUILD_INFO: Final = _gauge(
    "plaudit_build_info",
    "1",
    _BOTH,
    "Always 1; the labels say what runs",
    "`process` is worker or sink, `compiled` whether the rules are compiled.",
    *("process", "instance_name", "version", "python", "compiled"),
)

# rounds

ROUNDS: Final = _counter("plaudit_rounds_total", "rounds", _WORKER, "Committed rounds")
ROUNDS_ABORTED: Final = _counter(
    "plaudit_rounds_aborted_total",
    "rounds",
    _WORKER,
    "Rounds that were rolled back",
    "A round that fails is done again, so an abort costs time, not data. `error` is AbortableError (a broker that is "
    "away, slow or restarting), FencedError (see fences) or a bug.",
    "error",
)
ROUND_SECONDS: Final = _histogram(
    "plaudit_round_seconds",
    _WORKER,
    "Duration of committed rounds, folding to commit",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    "Folding ends after a second; what is above that is the broker.",
)
RECORDS: Final = _counter("plaudit_records_total", "records", _WORKER, "Input records processed, refused ones included")
EMISSIONS: Final = _counter(
    "plaudit_emissions_total",
    "records",
    _WORKER,
    "Records published in committed rounds",
    "`type` is the derived type (docs/spec/derived-events.md); `outcomes` and `rejected` for the records of these topics.",
    "type",
)
REJECTED: Final = _counter(
    "plaudit_rejected_total",
    "records",
    _WORKER,
    "Input records refused",
    "They are on the topic and in the table `rejected`, with what is wrong and how to mend it.",
    "reason",
)
SKIPPED: Final = _counter(
    "plaudit_skipped_offsets_total",
    "records",
    _WORKER,
    "Records that a fold had already applied",
    "Must stay 0: the second line behind the transactions. It tells of offsets that were set back from outside, or of a "
    "bug; nothing was counted twice.",
)

# membership and recovery

PARTITIONS: Final = _gauge(
    "plaudit_partitions",
    "partitions",
    _BOTH,
    "Partitions that this process has",
    "`state` is ready, or recovering: assigned, but not at work yet. A sink counts partitions of all derived topics.",
    *("process", "state"),
)
INPUT_PARTITIONS: Final = _gauge(
    "plaudit_input_partitions", "partitions", _WORKER, "Partitions of the input log, as configured"
)
FENCES: Final = _counter(
    "plaudit_fences_total",
    "fences",
    _BOTH,
    "Times this process lost its membership in the middle of its work and joined anew",
    "Nothing is lost by it. Many mean pauses longer than the session, or two processes with one PLAUDIT_INSTANCE.",
)
RECOVERIES: Final = _histogram(
    "plaudit_recovery_seconds",
    _WORKER,
    "Duration of recoveries, assignment to first fetch",
    (0.1, 0.3, 1, 3, 10, 30, 100, 300),
)
RECOVERY_RECORDS: Final = _counter(
    "plaudit_recovery_records_total", "records", _WORKER, "Changelog records read in recoveries"
)

# how far behind

LAG_RECORDS: Final = _gauge(
    "plaudit_lag_records",
    "records",
    _WORKER,
    "Records of the input log that are not applied",
    "End of the log, asked of the broker every 5 s, less the committed offset.",
    "partition",
)
LAG_SECONDS: Final = _gauge(
    "plaudit_lag_seconds",
    "seconds",
    _WORKER,
    "For how long the oldest record that is not applied has been on the log; 0 if there is none",
    "Not by the record's own timestamp (see above): history may be decades old.",
    "partition",
)

# state

STATE_BYTES: Final = _gauge(
    "plaudit_state_bytes",
    "bytes",
    _WORKER,
    "Encoded states of users, as on the changelog",
    "Without remembered ids (about 100 bytes each in memory). A worker needs some times this as memory.",
    "partition",
)
STATE_USERS: Final = _gauge("plaudit_state_users", "users", _WORKER, "Users with a state", "", "partition")
REMEMBERED_IDS: Final = _gauge(
    "plaudit_remembered_ids",
    "ids",
    _WORKER,
    "Event ids and idempotency keys remembered",
    "Read in a recovery they are counted in chunks of 64, so somewhat too many. At most 65,536 of each kind per user (C32).",
    "partition",
)
TIMERS: Final = _gauge(
    "plaudit_timers", "users", _WORKER, "Users with something due in the future or overdue", "", "partition"
)
TIMERS_OVERDUE: Final = _gauge(
    "plaudit_timers_overdue",
    "users",
    _WORKER,
    "Users with something due for more than two minutes",
    "Above 0 while a long downtime is made up for, which goes in slices. Counted up to 10,000; 0 before the first tick: "
    "while history is loaded (X8) time stands still on purpose.",
    "partition",
)
TICK_TIMESTAMP: Final = _gauge(
    "plaudit_tick_timestamp_seconds",
    "seconds since 1970",
    _WORKER,
    "The last tick that was applied",
    "Absent before the first tick: while history is loaded (X8) time stands still on purpose.",
    "partition",
)
CLOCK_LEADER: Final = _gauge(
    "plaudit_clock_leader", "1 or 0", _WORKER, "Whether this worker writes the ticks", "The worker of partition 0 does."
)
CATALOG_INFO: Final = _gauge(
    "plaudit_catalog_info",
    "partitions",
    _WORKER,
    "In how many partitions of this worker a catalog version is in force",
    "A switch passes each partition in its own time. At most 50 tenants are told.",
    *("tenant", "version"),
)

# the sink

SINK_LAG_RECORDS: Final = _gauge(
    "plaudit_sink_lag_records",
    "records",
    _SINK,
    "Committed derived records of this sink's partitions that are not in ClickHouse",
    "Transaction markers count until the sink is idle.",
    "topic",
)
SINK_LAG_SECONDS: Final = _gauge(
    "plaudit_sink_lag_seconds",
    "seconds",
    _SINK,
    "For how long the oldest of them has been on its topic; 0 if there is none",
    "See above.",
    "topic",
)
SINK_DELAY: Final = _histogram(
    "plaudit_sink_delay_seconds",
    _SINK,
    "From the append time of a derived record to its row in ClickHouse, of the oldest record of every batch",
    (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
    "What analysts wait at worst. By the clocks of broker and sink.",
    "topic",
)
SINK_BATCHES: Final = _counter("plaudit_sink_batches_total", "batches", _SINK, "Batches written", "", "topic")
SINK_REPEATED: Final = _counter(
    "plaudit_sink_batches_repeated_total",
    "batches",
    _SINK,
    "Batches that an earlier owner had begun and that were repeated",
    "One at most per restart and partition; ClickHouse drops what it has.",
)
SINK_RECORDS: Final = _counter("plaudit_sink_records_total", "records", _SINK, "Derived records written", "", "topic")
SINK_ROWS: Final = _counter("plaudit_sink_rows_total", "rows", _SINK, "Rows inserted", "", "table")
SINK_INSERT_SECONDS: Final = _histogram(
    "plaudit_sink_insert_seconds",
    _SINK,
    "Duration of inserts, repetitions included",
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600),
    "",
    "table",
)
SINK_RETRIES: Final = _counter(
    "plaudit_sink_retries_total",
    "retries",
    _SINK,
    "Requests that failed and are repeated",
    "`server` is clickhouse or kafka. A sink waits for a server that is away for ever; the topics keep what it has not "
    "written.",
    "server",
)
SINK_DUPLICATES: Final = _counter(
    "plaudit_sink_duplicates_total",
    "records",
    _SINK,
    "Derived records dropped because their id was in the batch already",
    "Must stay 0: under transactions a committed derived event is there once.",
)
SINK_UNDECODABLE: Final = _counter(
    "plaudit_sink_undecodable_total",
    "records",
    _SINK,
    "Derived records that are not what docs/schemas say",
    "Must stay 0: workers and sinks of versions that do not fit. Each is a row of `rejected`.",
)
TABLE_INSERTED: Final = _gauge(
    "plaudit_table_inserted_timestamp_seconds",
    "seconds since 1970",
    _SINK,
    "When this sink last inserted into a table",
    "A table without news is not stale: see the sink's lag.",
    "table",
)
TABLE_NEWEST: Final = _gauge(
    "plaudit_table_newest_timestamp_seconds",
    "seconds since 1970",
    _SINK,
    "Append time of the newest derived record in the last batch with rows for a table",
    "Of what this sink wrote since its start.",
    "table",
)

METRICS: Final = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All of them, in the order of this file."""
