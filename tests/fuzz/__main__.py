"""`python -m tests.fuzz --inputs 1000000 --seed 1`: mutated inputs against the oracles; how often what, and what is slowest."""

import argparse
import faulthandler
import os
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from multiprocessing import get_context
from typing import NamedTuple

from tests.fuzz.catalog_files import run_catalogs
from tests.fuzz.world import INPUTS, Difference, World

WATCHDOG_S = 120
"""A world that takes longer hangs: the stacks are printed, and the process ends."""

PER_TASK = 10
CATALOG_FILES = 2
"""Catalog files of each world."""

SHOWN = 15
TELL_S = 10.0


class Result(NamedTuple):
    """What some worlds gave: counts, the slowest inputs (ns, what), differences, CPU seconds."""

    counts: Counter[str]
    slowest: list[tuple[int, str]]
    differences: list[str]
    cpu_s: float


def run_worlds(seed: str, first: int, count: int) -> Result:
    """Run worlds by their numbers."""
    counts: Counter[str] = Counter()
    slowest: list[tuple[int, str]] = []
    differences = []
    began = time.process_time()
    for number in range(first, first + count):
        faulthandler.dump_traceback_later(WATCHDOG_S, exit=True)
        world = World(f"{seed}-{number}")
        try:
            world.run()
        except Difference as difference:
            differences.append(f"world {number} (python -m tests.fuzz --seed {seed} --world {number}):\n{difference}")
        files, slow, wrong = run_catalogs(f"{seed}-{number}", CATALOG_FILES)
        counts += world.counts + files
        slowest += [world.slowest, slow]
        differences += wrong
    faulthandler.cancel_dump_traceback_later()
    return Result(counts, sorted(slowest, reverse=True)[:SHOWN], differences, time.process_time() - began)


def _task(arguments: tuple[str, int, int]) -> Result:
    return run_worlds(*arguments)


class Sum:
    """Adds results up, and tells how far it is."""

    def __init__(self) -> None:
        self.all = Result(Counter(), [], [], 0.0)
        self._began = self._told = time.monotonic()

    def add(self, result: Result) -> None:
        """Take the result of some worlds; differences are told at once."""
        counts, slowest, differences, cpu_s = self.all
        for difference in result.differences:
            print(difference, file=sys.stderr)
        slowest = sorted(slowest + result.slowest, reverse=True)[:SHOWN]
        self.all = Result(counts + result.counts, slowest, differences + result.differences, cpu_s + result.cpu_s)
        if time.monotonic() - self._told > TELL_S:
            self._told = time.monotonic()
            total, failed = self.all.counts.total(), len(self.all.differences)
            print(f"{total:,} inputs, {self._told - self._began:.0f} s, {failed} differences", file=sys.stderr)


def _quietly() -> None:
    """A child: nice, and left to its parent by Ctrl-C."""
    os.nice(19)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def fuzz(inputs: int, seed: str, jobs: int) -> Result:
    """Run worlds until there were so many inputs, or Ctrl-C."""
    found = Sum()
    tasks = ((seed, first, PER_TASK) for first in range(0, 10 * inputs // INPUTS + PER_TASK, PER_TASK))
    with get_context("fork").Pool(jobs, _quietly) as pool, suppress(KeyboardInterrupt):
        for result in pool.imap_unordered(_task, tasks):
            found.add(result)
            if found.all.counts.total() >= inputs or len(found.all.differences) > SHOWN:
                break
    return found.all


def report(result: Result) -> None:
    """Print what came out."""
    total = result.counts.total()
    accepted = sum(count for name, count in result.counts.items() if name.startswith("accepted"))
    print(
        f"{total:,} inputs, {accepted:,} accepted and compared ({accepted / max(total, 1):.1%}), {result.cpu_s:.0f} s CPU"
    )
    for name, count in sorted(result.counts.items(), key=lambda item: -item[1]):
        print(f"{count:>10,}  {name}")
    print("\nslowest, CPU time of the fold:")
    for nanoseconds, what in result.slowest:
        print(f"{nanoseconds / 1e6:>10.1f} ms  {what}")
    for difference in result.differences[:10]:
        print(f"\n{difference}")


def main() -> int:
    """Run from the command line; exit code 1 if there were differences."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--world", type=int, help="run just this one")
    given = parser.parse_args()
    one = given.world is not None
    result = run_worlds(given.seed, given.world, 1) if one else fuzz(given.inputs, given.seed, given.jobs)
    report(result)
    return 1 if result.differences else 0


if __name__ == "__main__":
    sys.exit(main())
