"""Runs schedules of the simulation.

    python -m tests.simulation --schedules 5000            # seeds 1 to 5000; counts of faults by kind at the end
    python -m tests.simulation --seed 1234 --trace         # one schedule, and everything that happened in it
    python -m tests.simulation --plant no-redo             # with a bug planted: how many schedules until it is found

Exit code 0: every schedule came out right (with --plant: the bug was found). 1: not so. 2: wrong use.
"""

import argparse
import gc
import os
import sys
import time
from collections import Counter
from contextlib import nullcontext

from tests.simulation.installed import installed
from tests.simulation.plants import ALL
from tests.simulation.schedule import Result, run_schedule
from tests.simulation.worker import Parts

HASH_SEED = "PYTHONHASHSEED"
SCHEDULES = 100
PLANT_SCHEDULES = 50
PER_COLLECTION = 50


def main() -> int:
    """Run what the arguments say."""
    if os.environ.get(HASH_SEED) != "0":  # the order of sets is part of a schedule
        arguments = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, arguments, {**os.environ, HASH_SEED: "0"})
    options = _options()
    plant = ALL[options.plant] if options.plant else None
    first, count = (options.seed, 1) if options.seed is not None else (options.first, options.schedules)
    if count is None:
        count = PLANT_SCHEDULES if plant is not None else SCHEDULES
    total, failed, points, steps, done = Counter[str](), 0, 0, 0, 0
    began = time.process_time()
    gc.disable()
    with installed(), plant.put() if plant is not None else nullcontext(Parts) as parts:
        for seed in range(first, first + count):
            result = run_schedule(seed, parts=parts, trace=options.trace)
            total.update(result.faults)
            points, steps, done = points + result.crash_points, steps + result.steps, done + 1
            if result.problems:
                failed += 1
                _show(result, options.plant)
                if plant is not None and not options.all:
                    break
            if options.digest:
                print(seed, result.steps, f"{result.virtual_s:.6f}", sorted(result.faults.items()))
            if done % PER_COLLECTION == 0:
                gc.collect()
    seconds = time.process_time() - began
    _summary(total)
    print(f"{done} schedules, {points} crash points, {steps} steps, {failed} failed, {seconds:.1f} s of CPU")
    if plant is not None:
        print(f"{plant.name}: {plant.wrong}: " + (f"found after {done} schedules" if failed else "NOT FOUND"))
        return 0 if failed else 1
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, help="run the schedule of this seed only")
    parser.add_argument("--schedules", type=int, help=f"number of schedules, {SCHEDULES} by default")
    parser.add_argument("--first", type=int, default=1, help="first seed, 1 by default")
    parser.add_argument("--plant", choices=sorted(ALL), help="plant a bug; stops when it is found")
    parser.add_argument("--all", action="store_true", help="with --plant: go on after it is found")
    parser.add_argument("--trace", action="store_true", help="show requests, log lines and faults")
    parser.add_argument("--digest", action="store_true", help="print a line per schedule, to compare two runs")
    return parser.parse_args()


def _show(result: Result, plant: str | None) -> None:
    print(f"seed {result.seed}: {len(result.problems)} problems")
    for problem in result.problems:
        print(f"  {problem}")
    again = f"python -m tests.simulation --seed {result.seed}" + (f" --plant {plant}" if plant else "")
    print(f"  again: {again} --trace", flush=True)


def _summary(total: Counter[str]) -> None:
    for kind, count in sorted(total.items()):
        print(f"{count:9,} {kind}")


if __name__ == "__main__":
    sys.exit(main())
