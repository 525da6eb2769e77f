"""What workers and sinks say of themselves, where they answer."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from deploy.embedded.ports import LOOPBACK
from deploy.settings import Settings
from deploy.status.document import ProcessShown
from schemas import metrics
from schemas.metrics import METRICS, Metric

TIMEOUT_S: Final = 5.0
MOST_AT_ONCE: Final = 8

METRICS_PORTS_FILE: Final = "metrics-ports.json"
"""In the home: where the worker and the sink of `plaudit run` and `up` serve metrics."""

_GREATEST: Final = frozenset({metrics.LAG_SECONDS.name, metrics.SINK_LAG_SECONDS.name, metrics.TICK_TIMESTAMP.name})
"""Of these the greatest counts, not the sum."""


def known_urls(settings: Settings, more: Iterable[str]) -> list[str]:
    """Return where to ask: what was given, the port of the settings, and the ports of `plaudit up` on this home."""
    ports = list(_ports(settings.home / METRICS_PORTS_FILE))
    if settings.metrics_port:
        ports.append(settings.metrics_port)
    host = LOOPBACK if settings.metrics_host in ("0.0.0.0", "::") else settings.metrics_host
    shown = f"[{host}]" if ":" in host else host
    return list(dict.fromkeys([*(url.rstrip("/") for url in more), *(f"http://{shown}:{port}" for port in ports)]))


def ask_processes(urls: Iterable[str]) -> list[ProcessShown]:
    """Return what they say; without those that nobody listens for: they do not run."""
    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        return [found for found in pool.map(_ask, urls) if found is not None]


def _ports(path: Path) -> Iterable[int]:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except (OSError, msgspec.MsgspecError):
        return ()
    return found.values()


def _ask(url: str) -> ProcessShown | None:
    try:
        live, ready = _report(f"{url}/healthz"), _report(f"{url}/readyz")
        families = list(text_string_to_metric_families(_get(f"{url}/metrics")[1]))
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, ConnectionRefusedError) or isinstance(
            getattr(error, "reason", None), ConnectionRefusedError
        ):
            return None
        return _silent(url, str(error) or type(error).__name__)
    build = next(
        (sample.labels for family in families if family.name == metrics.BUILD_INFO.name for sample in family.samples),
        {},
    )
    known = {metric.name: metric for metric in METRICS}
    values: dict[str, float] = {}
    for family in families:
        for sample in family.samples:
            if sample.name in known:
                _add(values, known[sample.name], sample.value)
    return ProcessShown(
        url=url,
        process=live["process"],
        instance=live["instance"],
        version=build.get("version", ""),
        live=live["ok"],
        ready=ready["ok"],
        failing=[f"{one['check']}: {one['says']}" for one in (*live["checks"], *ready["checks"]) if not one["ok"]],
        metrics=values,
    )


def _silent(url: str, why: str) -> ProcessShown:
    """A process that listens and does not answer, as one that hangs does."""
    return ProcessShown(
        url=url,
        process="process",
        instance=f"at {url}",
        version="",
        live=False,
        ready=False,
        failing=[f"it does not answer: {why}"],
        metrics={},
    )


def _add(values: dict[str, float], metric: Metric, value: float) -> None:
    before = values.get(metric.name, 0.0)
    values[metric.name] = max(before, value) if metric.name in _GREATEST else before + value


def _report(url: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_get(url)[1])
    return found


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:  # not healthy or not ready: the body says why
        with error:
            return error.code, error.read().decode()
