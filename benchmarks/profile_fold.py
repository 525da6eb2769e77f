"""`python -m benchmarks.profile_fold [EVENTS]`: where the time of the fold goes, per module and per function.

Two views of the same fold. *Sampled*: a signal notes the function at work at every tick of the CPU clock, some
milliseconds apart; the fold runs at its own speed, C code counts for the Python function that called it, and the µs are
true. *cProfile*: own time by module and by built-in function, and numbers of calls; it makes every call dearer, so small
functions look larger than they are.
"""

import argparse
import cProfile
import pstats
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

from benchmarks.fold import FoldRun

EVENTS: Final = 120_000
ROWS: Final = 40
INTERVAL_S: Final = 0.001
ROOT: Final = Path(__file__).parents[1]
BUILT_IN: Final = "~"
"""What cProfile gives as the file of a built-in function."""

Place = tuple[str, int, str]
"""File, line, function."""


class Costs:
    """Own seconds by what caused them, and numbers of calls.

    Attributes:
        modules: a module's own lines and the built-ins it calls.
        functions: the same by function.
        built_ins: by built-in function, whoever calls it.
        calls: by function and by built-in function.
    """

    def __init__(self, stats: Mapping[Place, Any]) -> None:
        """Take the table of pstats: by place, (primitive calls, calls, own s, cumulative s, callers)."""
        self.modules: defaultdict[str, float] = defaultdict(float)
        self.functions: defaultdict[str, float] = defaultdict(float)
        self.built_ins: defaultdict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        for place, (_, calls, own_s, _, callers) in stats.items():
            if place[0] != BUILT_IN:
                self._add(place, own_s)
                self.calls[function_of(place)] += calls
                continue
            self.built_ins[place[2]] += own_s
            self.calls[place[2]] += calls
            for caller, (_, _, part_s, _) in callers.items():
                self._add(caller, part_s)

    def _add(self, place: Place, seconds: float) -> None:
        self.modules[module_of(place)] += seconds
        self.functions[function_of(place)] += seconds


def module_of(place: Place) -> str:
    """Return the dotted module of a place in the project, else the file's name."""
    path = Path(place[0])
    if path.is_relative_to(ROOT) and ".venv" not in path.parts:
        return ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return path.stem or place[0]


def function_of(place: Place) -> str:
    """Return `module:function`."""
    return f"{module_of(place)}:{place[2]}"


def sample(count: int | None) -> tuple[Counter[Place], float]:
    """Fold the first `count` events of the sample; return how often each function was at work, and the CPU seconds."""
    run = FoldRun(count)
    seen: Counter[Place] = Counter()

    def note(number: int, frame: FrameType | None) -> None:
        if frame is not None:
            code = frame.f_code
            seen[code.co_filename, code.co_firstlineno, code.co_name] += 1

    before = signal.signal(signal.SIGPROF, note)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)
    try:
        _, cpu_s = run.fold()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)
    return seen, cpu_s


def profile(count: int) -> tuple[Costs, int]:
    """Fold the first `count` events of the sample under cProfile; return costs and the number of emissions."""
    run = FoldRun(count)
    profiler = cProfile.Profile()
    profiler.runcall(run.fold)
    stats: Any = pstats.Stats(profiler)
    return Costs(stats.stats), run.emissions


def show(title: str, costs: Mapping[str, float], events: int, whole_s: float, calls: Mapping[str, int]) -> None:
    """Print the dearest of `costs` (seconds) in µs per event and as parts of `whole_s`; calls beside them, if known."""
    print(f"\n{'us/event':>9} {'share':>6} {'calls/event':>12}  {title}")
    for name, cost in sorted(costs.items(), key=lambda item: -item[1])[:ROWS]:
        called = f"{calls[name] / events:.2f}" if name in calls else ""
        print(f"{cost / events * 1e6:9.2f} {cost / whole_s:6.1%} {called:>12}  {name}")


def main(arguments: Sequence[str]) -> None:
    """Profile and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile_fold", description=__doc__)
    parser.add_argument("events", type=int, nargs="?", default=EVENTS, help=f"of the sample; default {EVENTS:,}")
    count = parser.parse_args(arguments).events
    seen, cpu_s = sample(count)
    costs, emissions = profile(count)
    profiled_s = sum(costs.modules.values())
    each_s = cpu_s / max(1, sum(seen.values()))
    modules: defaultdict[str, float] = defaultdict(float)
    functions: defaultdict[str, float] = defaultdict(float)
    for place, number in seen.items():
        modules[module_of(place)] += number * each_s
        functions[function_of(place)] += number * each_s
    print(
        f"{count:,} events, {emissions / count:.2f} emissions each: {cpu_s / count * 1e6:.1f} us CPU per event "
        f"({sum(seen.values()):,} samples), {profiled_s / count * 1e6:.1f} us under cProfile"
    )
    show("sampled: module", modules, count, cpu_s, {})
    show("sampled: function", functions, count, cpu_s, costs.calls)
    show("cProfile: module", costs.modules, count, profiled_s, {})
    show("cProfile: built-in function", costs.built_ins, count, profiled_s, costs.calls)


if __name__ == "__main__":
    main(sys.argv[1:])
