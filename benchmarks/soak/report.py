"""What a soak's samples say: slopes of memory, a table, a picture."""

import statistics
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.harness import BenchmarkError
from benchmarks.soak.sampling import Sample

TARGET_PERCENT: Final = 1.0
"""Slope of memory in percent an hour that a process may have."""

LEAST_SAMPLES: Final = 10
MINIMA_S: Final = 60.0

COLOURS: Final = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#475569")

_WIDTH, _HEIGHT = 960, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 150, 40, 44

_decoder: Final = msgspec.json.Decoder(Sample)


class Fit(msgspec.Struct, frozen=True):
    """A line through samples by least squares: value at the beginning, slope and its standard error, per hour."""

    begin: float
    slope: float
    error: float

    @property
    def percent(self) -> float:
        """Slope in percent of the value at the beginning, per hour."""
        return self.slope / self.begin * 100 if self.begin else 0.0


def read(path: Path) -> list[Sample]:
    """Return the samples of a file of JSON lines; a last line that is cut off is left out."""
    lines = path.read_bytes().split(b"\n")[:-1]
    return [_decoder.decode(line) for line in lines]


def fit(hours: Sequence[float], values: Sequence[float]) -> Fit:
    """Return the line of least squares; hours count from the first."""
    times = [hour - hours[0] for hour in hours]
    line = statistics.linear_regression(times, values)
    mean = statistics.fmean(times)
    spread = sum((time - mean) ** 2 for time in times)
    rest = sum((value - line.intercept - line.slope * time) ** 2 for time, value in zip(times, values, strict=True))
    return Fit(line.intercept, line.slope, (rest / max(1, len(times) - 2) / spread) ** 0.5)


def after_warm_up(samples: Sequence[Sample], warm_up: int) -> list[Sample]:
    """Return the samples once so many events were sent, and while events were sent.

    Raises:
        BenchmarkError: there are too few for a line.
    """
    most = max(sample.events for sample in samples)
    kept = [sample for sample in samples if warm_up <= sample.events < most]
    if len(kept) < LEAST_SAMPLES:
        raise BenchmarkError(f"only {len(kept)} samples after the warm-up; a longer run is needed")
    return kept


def table(samples: Sequence[Sample], warm_up: int) -> str:
    """Return a Markdown table with a row for each process."""
    kept = after_warm_up(samples, warm_up)
    hours = [sample.at / 3600 for sample in kept]
    rows = [
        "| process | MB at the end of warm-up | slope, MB/h | slope, %/h (± standard error) | of the minima, %/h |",
        "|---|---|---|---|---|",
    ]
    for title, values in series(kept).items():
        found = fit(hours, values)
        error = found.error / found.begin * 100 if found.begin else 0.0
        least = fit(*minima(hours, values))
        rows.append(
            f"| {title} | {found.begin:.1f} | {found.slope:+.2f} | {found.percent:+.2f} ± {error:.2f} | {least.percent:+.2f} |"
        )
    return "\n".join(rows)


def minima(hours: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the least value of every MINIMA_S, with its time: what is held for a moment only, for a merge say, is no leak."""
    least: dict[int, tuple[float, float]] = {}
    for hour, value in zip(hours, values, strict=True):
        span = int((hour - hours[0]) * 3600 / MINIMA_S)
        if span not in least or value < least[span][1]:
            least[span] = hour, value
    return [hour for hour, _ in least.values()], [value for _, value in least.values()]


def series(samples: Sequence[Sample]) -> dict[str, list[float]]:
    """Return memory in MB (10^6 bytes) by what it is of."""
    found: dict[str, list[float]] = {}
    for name in samples[0].rss:
        found[f"{name}, RSS"] = [sample.rss[name] * 1024 / 1e6 for sample in samples]
        found[f"{name}, without files"] = [sample.anon[name] * 1024 / 1e6 for sample in samples]
    return found


def summary(samples: Sequence[Sample], warm_up: int) -> str:
    """Return how long, how much, how fast, in sentences."""
    kept = after_warm_up(samples, warm_up)
    first, last = samples[0], samples[-1]
    span_h, kept_h = (last.at - first.at) / 3600, (kept[-1].at - kept[0].at) / 3600
    sent = kept[-1].events - kept[0].events
    loads = [sample.load for sample in kept]
    heaps = [sample.heap * 1024 / 1e6 for sample in kept if sample.heap is not None]
    heap = f" Alive on Java's heap: {min(heaps):.0f} to {max(heaps):.0f} MB." if heaps else ""
    return (
        f"{last.events:,} events in {span_h:.2f} h. Warm-up: the first {warm_up:,}. After it {sent:,} events in "
        f"{kept_h:.2f} h, {sent / kept_h / 3600:,.0f} a second; {len(kept)} samples; load of the machine "
        f"{min(loads):.1f} to {max(loads):.1f}, median {statistics.median(loads):.1f}. Disk: "
        f"{max(sample.disk for sample in samples) / 1e9:.1f} GB at most.{heap}"
    )


# the picture


def svg(samples: Sequence[Sample], warm_up: int) -> str:
    """Return a chart of resident memory over time, a line for each process; the warm-up is shaded."""
    begin = samples[0].at
    minutes = [(sample.at - begin) / 60 for sample in samples]
    lines = {name: [sample.rss[name] * 1024 / 1e6 for sample in samples] for name in samples[0].rss}
    top = max(max(values) for values in lines.values()) * 1.08
    span = max(minutes[-1], 1.0)
    inner_width, inner_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(minute: float) -> float:
        return _LEFT + minute / span * inner_width

    def y(megabytes: float) -> float:
        return _TOP + (1 - megabytes / top) * inner_height

    warm = next((minute for minute, sample in zip(minutes, samples, strict=True) if sample.events >= warm_up), 0.0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="22" font-size="15">Resident memory, {samples[-1].events:,} events</text>',
        f'<rect x="{x(0):.1f}" y="{_TOP}" width="{x(warm) - x(0):.1f}" height="{inner_height}" fill="#f1f5f9"/>',
        f'<text x="{x(0) + 6:.1f}" y="{_TOP + 14}" fill="#64748b">warm-up</text>',
    ]
    parts += _axes(top, span, x, y)
    labels = sorted(((values[-1], name) for name, values in lines.items()), reverse=True)
    heights = _apart([y(value) for value, _ in labels])
    for place, (_, name) in enumerate(labels):
        colour = COLOURS[place % len(COLOURS)]
        points = " ".join(f"{x(m):.1f},{y(v):.1f}" for m, v in zip(minutes, lines[name], strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(
            f'<text x="{_WIDTH - _RIGHT + 8}" y="{heights[place] + 4:.1f}" fill="{colour}">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


def _axes(top: float, span: float, x: Callable[[float], float], y: Callable[[float], float]) -> list[str]:
    parts = []
    step = next(step for step in (10, 20, 50, 100, 200, 500, 1000, 2000) if top / step <= 8)
    for mark in range(0, int(top) + 1, step):
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(mark):.1f}" y2="{y(mark):.1f}" stroke="#e2e8f0"/>'
        )
        parts.append(f'<text x="{_LEFT - 8}" y="{y(mark) + 4:.1f}" text-anchor="end">{mark}</text>')
    parts.append(f'<text x="{_LEFT - 8}" y="{_TOP - 12}" text-anchor="end">MB</text>')
    step = next(step for step in (1, 2, 5, 10, 20, 60, 120, 600) if span / step <= 12)
    for mark in range(0, int(span) + 1, step):
        parts.append(f'<text x="{x(mark):.1f}" y="{_HEIGHT - 24}" text-anchor="middle">{mark}</text>')
    parts.append(f'<text x="{_WIDTH - _RIGHT + 8}" y="{_HEIGHT - 24}">minutes</text>')
    return parts


def _apart(heights: list[float], least: float = 15.0) -> list[float]:
    """Return ascending heights that are so far apart that texts do not lie on each other."""
    found: list[float] = []
    for height in heights:
        found.append(max(height, found[-1] + least) if found else height)
    return found
