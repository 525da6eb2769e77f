"""docs/metrics.md."""

from collections.abc import Iterable, Sequence
from typing import Final

from processors.engine.serving import LOOK_S, SILENT_S, STUCK_S
from schemas.alarms import ALARMS, Alarm
from schemas.metrics import METRICS, Metric, Process

_HEAD: Final = """\
<!-- Written by `make monitoring` from schemas/metrics.py and schemas/alarms.py; do not edit. -->

# Metrics, probes and alarms

A worker and a sink serve three paths where `PLAUDIT_METRICS_PORT` says, on loopback unless `PLAUDIT_METRICS_HOST` names
another address (nobody is asked who they are there: let only Prometheus and the probes reach it). `plaudit up` chooses
ports and prints them; the image and `deploy/compose.yaml` use 9108.

"""

_PATHS: Final = (
    ("`/metrics`", "always", ""),
    ("`/healthz`", "alive: leave it alone", f"its work has not moved for {STUCK_S:.0f} s: restart it"),
    (
        "`/readyz`",
        "does its share, or stands by to",
        f"starting, rebalancing, recovering, fenced; Kafka silent for {SILENT_S:.0f} s; of a sink: ClickHouse does not "
        "answer",
    ),
)

_PROBES: Final = f"""\
The bodies of the last two are JSON and say why:

    {{"ok":true,"process":"worker","instance":"host-8f3a01-0","checks":[
      {{"check":"event_loop","ok":true,"says":"answers"}},
      {{"check":"rounds","ok":true,"says":"last one committed 2 s ago"}},
      {{"check":"consumer_thread","ok":true,"says":"answered 2 s ago"}}]}}

- They are answered by the event loop that does the work. One that hangs answers nobody, which a probe counts as failed.
- Who waits for Kafka or ClickHouse is alive: every wait ends, by an error at the latest, and is begun again, and that
  counts as movement. Restarting it would mend nothing.
- A worker without partitions (more workers than partitions) is ready: it stands by. How far behind a process is does
  not count for readiness; that is what alarms are for.
- `plaudit status` shows the same in the terminal, from Kafka and ClickHouse themselves, and holds it against the same
  thresholds.

## Lag in seconds

Not by the timestamps of the records: history may be decades old, and the input log keeps the producer's time. Instead a
process notes every {LOOK_S:.0f} s where its logs end; what is not done is as old as the last look at which the log ended
before it. For what was there before the process started, the last tick that was applied tells (it is appended at the
instant it names, so what follows it came later), and on derived topics, where the broker's own time stands, the newest
record that was written. So:

- right to {LOOK_S:.0f} s while a process runs, and to the distance of two ticks ({LOOK_S:.0f} s plus 30 s) after its start;
- a backlog that was there at the start of a worker, of a log that has never seen a tick (history is being loaded, X8),
  counts from that start: at least so old;
- 0 when nothing is left, whatever the timestamps say. Markers of a producer's transactions do not count once the worker
  has come to their end.
"""

_TITLES: Final[dict[tuple[Process, ...], str]] = {
    ("worker", "sink"): "Both",
    ("worker",): "Worker",
    ("sink",): "Sink",
}

_ALARMS: Final = """\
## Alarms

`deploy/prometheus/alerts.yaml` holds them as rules. Critical: numbers are late or wrong now. Warning: they will be.
`plaudit status` checks those that can be told without history, marked *, and exits with 1 if one holds.
"""


def metrics_page() -> str:
    """Return the page."""
    parts = [_HEAD, _table(("path", "200", "503"), _PATHS), _PROBES, "## Metrics\n"]
    for process, title in _TITLES.items():
        parts.append(f"### {title}\n")
        rows = [_row(metric) for metric in METRICS if metric.process == process]
        parts.append(_table(("metric", "type", "unit", "labels", "meaning"), rows))
    parts.append(
        "Besides, prometheus-client tells of the process itself: `process_resident_memory_bytes`, "
        "`process_cpu_seconds_total`, `process_open_fds`, `python_gc_*` and others.\n"
    )
    parts.append(_ALARMS)
    parts.append(_table(("alarm", "holds when", "for", "severity", "what it says", "what to do"), map(_alarm, ALARMS)))
    return "\n".join(parts)


def _row(metric: Metric) -> Sequence[str]:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    says = metric.help + ("." if not metric.help.endswith(".") else "")
    return f"`{metric.name}`", metric.kind, metric.unit, labels, f"{says} {metric.meaning}".strip()


def _alarm(alarm: Alarm) -> Sequence[str]:
    star = " *" if alarm.status else ""
    lasting = f"{alarm.for_s} s" if alarm.for_s else "at once"
    return f"`{alarm.name}`{star}", f"`{alarm.expression}`", lasting, alarm.severity, alarm.says, alarm.do


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
