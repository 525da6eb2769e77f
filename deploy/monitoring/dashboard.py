"""A dashboard for Grafana."""

import json
from typing import Any, Final

import msgspec

from schemas import alarms, metrics
from schemas.alarms import Alarm
from schemas.metrics import Metric

_WIDTH: Final = 24
_PANEL_WIDTH: Final = 8
_PANEL_HEIGHT: Final = 7
_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}


class Panel(msgspec.Struct, frozen=True):
    """One chart: title, unit of Grafana, series as (expression, legend), and the alarm whose threshold is drawn."""

    title: str
    unit: str
    series: tuple[tuple[str, str], ...]
    alarm: Alarm | None = None


def _rate(metric: Metric, by: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} (rate({metric.name}[$__rate_interval]))"


def _quantile(share: float, metric: Metric) -> str:
    return f"histogram_quantile({share}, sum by (le) (rate({metric.name}_bucket[$__rate_interval])))"


def _quantiles(metric: Metric) -> tuple[tuple[str, str], ...]:
    return tuple((_quantile(share, metric), f"p{share * 100:g}") for share in (0.5, 0.99))


PANELS: Final = (
    Panel("Records applied", "ops", ((_rate(metrics.RECORDS), "records"), (_rate(metrics.REJECTED), "refused"))),
    Panel(
        "Behind the input log",
        "s",
        ((f"max by (partition) ({metrics.LAG_SECONDS.name})", "partition {{partition}}"),),
        alarms.LAG,
    ),
    Panel("Records to apply", "short", ((f"sum({metrics.LAG_RECORDS.name})", "records"),)),
    Panel("Rounds", "s", _quantiles(metrics.ROUND_SECONDS)),
    Panel(
        "Rounds rolled back, fences",
        "ops",
        ((_rate(metrics.ROUNDS_ABORTED, "error"), "{{error}}"), (_rate(metrics.FENCES), "fences")),
        alarms.ABORTS,
    ),
    Panel("Refused, by reason", "ops", ((_rate(metrics.REJECTED, "reason"), "{{reason}}"),)),
    Panel("Emitted, by type", "ops", ((_rate(metrics.EMISSIONS, "type"), "{{type}}"),)),
    Panel(
        "Since the last tick",
        "s",
        ((f"time() - max by (partition) ({metrics.TICK_TIMESTAMP.name})", "partition {{partition}}"),),
        alarms.TICK_AGE,
    ),
    Panel("Timers overdue", "short", ((f"sum({metrics.TIMERS_OVERDUE.name})", "users"),), alarms.TIMERS_LATE),
    Panel(
        "State",
        "bytes",
        (
            (f"sum by (instance) ({metrics.STATE_BYTES.name})", "state {{instance}}"),
            ("process_resident_memory_bytes", "memory {{instance}}"),
        ),
        alarms.STATE_SIZE,
    ),
    Panel(
        "Users and ids",
        "short",
        ((f"sum({metrics.STATE_USERS.name})", "users"), (f"sum({metrics.REMEMBERED_IDS.name})", "ids")),
    ),
    Panel(
        "Partitions",
        "short",
        ((f"sum by (process, state, instance) ({metrics.PARTITIONS.name})", "{{process}} {{state}} {{instance}}"),),
    ),
    Panel(
        "Behind the derived topics",
        "s",
        ((f"max by (topic) ({metrics.SINK_LAG_SECONDS.name})", "{{topic}}"),),
        alarms.SINK_LAG,
    ),
    Panel("From event to row", "s", _quantiles(metrics.SINK_DELAY), alarms.SINK_DELAY),
    Panel("Rows inserted", "ops", ((_rate(metrics.SINK_ROWS, "table"), "{{table}}"),)),
    Panel("Inserts", "s", _quantiles(metrics.SINK_INSERT_SECONDS)),
    Panel("Requests repeated", "ops", ((_rate(metrics.SINK_RETRIES, "server"), "{{server}}"),), alarms.SINK_RETRIES),
    Panel(
        "Must stay 0",
        "short",
        tuple(
            (f"sum({metric.name})", metric.name)
            for metric in (metrics.SKIPPED, metrics.SINK_DUPLICATES, metrics.SINK_UNDECODABLE)
        ),
    ),
)


def dashboard() -> str:
    """Return the dashboard as JSON, to be imported into Grafana."""
    content = {
        "title": "Plaudit",
        "uid": "plaudit",
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [{"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(PANELS)],
    }
    return json.dumps(content, indent=1) + "\n"


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    across = _WIDTH // _PANEL_WIDTH
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.alarm is not None:
        steps.append({"color": "red", "value": panel.alarm.threshold})
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {
            "x": number % across * _PANEL_WIDTH,
            "y": number // across * _PANEL_HEIGHT,
            "w": _PANEL_WIDTH,
            "h": _PANEL_HEIGHT,
        },
        "targets": [
            {"refId": chr(ord("A") + place), "expr": expression, "legendFormat": legend, "datasource": _SOURCE}
            for place, (expression, legend) in enumerate(panel.series)
        ],
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "thresholds": {"mode": "absolute", "steps": steps},
                "custom": {"thresholdsStyle": {"mode": "line" if panel.alarm is not None else "off"}},
            },
            "overrides": [],
        },
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
    }
