"""When somebody should look: the owner of alarm thresholds. deploy/prometheus/alerts.yaml and docs/metrics.md are written
from these (deploy/monitoring.py), `plaudit status` holds the same thresholds against what it finds."""

from typing import Final, Literal

import msgspec

Severity = Literal["critical", "warning"]


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One alarm.

    Attributes:
        name: of the rule.
        measure: PromQL without the comparison; a series for each thing that can go wrong.
        compare: `>` or `<`.
        threshold: in the unit of the measure.
        for_s: how long it must hold, seconds.
        severity: critical: numbers are late or wrong now; warning: they will be.
        says: what is the matter; `{{ $value }}` and `{{ $labels.x }}` are filled in by Prometheus.
        do: what to do about it.
        status: whether `plaudit status` checks it too.
    """

    name: str
    measure: str
    compare: Literal[">", "<"] = ">"
    threshold: float
    for_s: int
    severity: Severity
    says: str
    do: str
    status: bool = False

    @property
    def expression(self) -> str:
        """PromQL that is true when the alarm holds."""
        return f"{self.measure} {self.compare} {self.threshold:g}"

    def exceeded(self, value: float) -> bool:
        """Whether a measured value is beyond the threshold."""
        return value > self.threshold if self.compare == ">" else value < self.threshold


_AT_ONCE: Final = 0

NO_WORKER: Final = Alarm(
    name="PlauditNoWorker",
    measure='(count(plaudit_build_info{process="worker"}) or vector(0))',
    compare="<",
    threshold=1,
    for_s=120,
    severity="critical",
    says="No worker answers: nothing is applied.",
    do="Start one (`plaudit worker`); its log says why the last one ended.",
    status=True,
)
PARTITIONS_UNOWNED: Final = Alarm(
    name="PlauditPartitionsUnowned",
    measure='max(plaudit_input_partitions) - sum(plaudit_partitions{state="ready",process="worker"})',
    threshold=0,
    for_s=120,
    severity="critical",
    says="{{ $value }} partitions of the input log are not worked on.",
    do="`plaudit status` shows who has which. A worker that recovers for long reads a large changelog or waits for Kafka.",
    status=True,
)
LAG: Final = Alarm(
    name="PlauditInputLag",
    measure="max by (partition) (plaudit_lag_seconds)",
    threshold=60,
    for_s=300,
    severity="warning",
    says="Partition {{ $labels.partition }} is {{ $value }} s behind.",
    do="If rounds go on, there is more to do than one worker can: start more. If they do not, see its log and /healthz.",
    status=True,
)
TICK_AGE: Final = Alarm(
    name="PlauditClockStands",
    measure="time() - max by (partition) (plaudit_tick_timestamp_seconds)",
    threshold=120,
    for_s=60,
    severity="critical",
    says="Partition {{ $labels.partition }} has seen no tick for {{ $value }} s: streaks, freezes and time triggers wait.",
    do="A worker runs with --no-clock, or none has partition 0. The next tick makes up for all that was missed.",
    status=True,
)
CLOCK_LEADERS: Final = Alarm(
    name="PlauditTwoClocks",
    measure="sum(plaudit_clock_leader)",
    threshold=1,
    for_s=120,
    severity="warning",
    says="{{ $value }} workers write the clock.",
    do="Harmless to the numbers. A worker that is cut off from Kafka believes it still leads; see its /readyz.",
)
TIMERS_LATE: Final = Alarm(
    name="PlauditTimersOverdue",
    measure="max by (partition) (plaudit_timers_overdue)",
    threshold=0,
    for_s=600,
    severity="warning",
    says="Partition {{ $labels.partition }} has had overdue timers for ten minutes.",
    do="After a long downtime: wait, it is carried out in slices. Else see the worker's log.",
)
SKIPPED: Final = Alarm(
    name="PlauditSkippedOffsets",
    measure="plaudit_skipped_offsets_total",
    threshold=0,
    for_s=_AT_ONCE,
    severity="critical",
    says="A worker was given {{ $value }} records that it had applied already.",
    do="Nothing was counted twice. Find out who set offsets back; if nobody did, it is a bug: run `plaudit verify`.",
)
ABORTS: Final = Alarm(
    name="PlauditRoundsAborted",
    measure="sum by (error) (rate(plaudit_rounds_aborted_total[10m]))",
    threshold=0.1,
    for_s=600,
    severity="warning",
    says="{{ $value }} rounds a second are rolled back ({{ $labels.error }}).",
    do="The worker's log names the step and the broker's answer.",
)
FENCES: Final = Alarm(
    name="PlauditFenced",
    measure="increase(plaudit_fences_total[15m])",
    threshold=3,
    for_s=_AT_ONCE,
    severity="warning",
    says="A process lost its membership {{ $value }} times within 15 minutes.",
    do="Give every process a PLAUDIT_INSTANCE of its own; look for pauses longer than PLAUDIT_SESSION_SECONDS.",
)
REJECTED: Final = Alarm(
    name="PlauditRejected",
    measure="sum(rate(plaudit_rejected_total[10m])) / sum(rate(plaudit_records_total[10m]))",
    threshold=0.01,
    for_s=600,
    severity="warning",
    says="{{ $value }} of all records are refused.",
    do="`plaudit rejected list` says why; tell the producer.",
)
STATE_SIZE: Final = Alarm(
    name="PlauditStateLarge",
    measure="sum by (instance) (plaudit_state_bytes)",
    threshold=2e9,
    for_s=600,
    severity="warning",
    says="A worker holds {{ $value }} bytes of state: recoveries take long, and memory some times that.",
    do="Start more workers.",
)
NO_SINK: Final = Alarm(
    name="PlauditNoSink",
    measure='(count(plaudit_build_info{process="sink"}) or vector(0))',
    compare="<",
    threshold=1,
    for_s=120,
    severity="critical",
    says="No sink answers: the tables stand still.",
    do="Start one (`plaudit sink`). The topics keep what it has not written.",
    status=True,
)
SINK_LAG: Final = Alarm(
    name="PlauditSinkLag",
    measure="max by (topic) (plaudit_sink_lag_seconds)",
    threshold=60,
    for_s=300,
    severity="warning",
    says="ClickHouse is {{ $value }} s behind {{ $labels.topic }}.",
    do="See plaudit_sink_retries_total: if it grows, ClickHouse is away; else start a second sink.",
    status=True,
)
SINK_DELAY: Final = Alarm(
    name="PlauditSinkDelay",
    measure="histogram_quantile(0.99, sum by (le) (rate(plaudit_sink_delay_seconds_bucket[10m])))",
    threshold=30,
    for_s=600,
    severity="warning",
    says="Rows come {{ $value }} s after their events.",
    do="Inserts are slow (plaudit_sink_insert_seconds), or the sink is catching up.",
)
SINK_RETRIES: Final = Alarm(
    name="PlauditSinkRetries",
    measure="sum by (server) (increase(plaudit_sink_retries_total[5m]))",
    threshold=5,
    for_s=300,
    severity="warning",
    says="{{ $labels.server }} fails the sink.",
    do="The sink's log has the answers; it goes on by itself once the server is back.",
)
SINK_DUPLICATES: Final = Alarm(
    name="PlauditSinkDuplicates",
    measure="plaudit_sink_duplicates_total",
    threshold=0,
    for_s=_AT_ONCE,
    severity="critical",
    says="{{ $value }} derived records came twice.",
    do="They were dropped. Somebody else writes to the derived topics, or it is a bug: run `plaudit verify`.",
)
SINK_UNDECODABLE: Final = Alarm(
    name="PlauditSinkUndecodable",
    measure="plaudit_sink_undecodable_total",
    threshold=0,
    for_s=_AT_ONCE,
    severity="critical",
    says="{{ $value }} derived records could not be read.",
    do="Upgrade sinks before workers; `plaudit rejected list` shows the records (undecodable_derived).",
)

ALARMS: Final = tuple(value for value in list(globals().values()) if isinstance(value, Alarm))
"""All of them, in the order of this file."""
