"""Long schedules.

    python -m tests.chaos --seed 7 --faults 60 [--minutes 60] [--kinds kill-worker,zombie-worker] [--plant NAME]

Prints a running log, then a table of faults by kind and what the verifier says. Exit code 1: something is wrong. The
same seed gives the same plan. With --minutes, schedules with the seeds that follow are run until the time is over.
"""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.faults import KINDS
from tests.chaos.plan import make_plan
from tests.chaos.plants import PLANTS
from tests.chaos.schedule import run_schedule


def tell(text: str) -> None:
    """Print a line of the running log."""
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


def run_one(seed: int, faults: int, kinds: list[str], plant: str, counts: Counter[str]) -> bool:
    """Run a schedule and print what came of it; whether all is well."""
    directory = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    tell(f"seed {seed}: {faults} faults{f', planted: {plant}' if plant else ''}; in {directory}")
    result = asyncio.run(run_schedule(directory, make_plan(seed, faults, kinds), tell, plant))
    counts.update(result.counts)
    for problem in result.problems:
        tell(f"seed {seed}: WRONG: {problem}")
    slowest = max(result.recoveries_s, default=0.0)
    verdict = "WRONG" if result.problems else "nothing lost, doubled, reordered or wrong"
    tell(
        f"seed {seed}: {result.counts.total()} faults in {result.seconds:.0f} s, slowest recovery {slowest:.0f} s: {verdict}"
    )
    if not result.problems:
        shutil.rmtree(directory, ignore_errors=True)
    return not result.problems


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Faults on three brokers, from a seed.")
    parser.add_argument("--seed", type=int, default=1, help="of the plan (default 1)")
    parser.add_argument("--faults", type=int, default=60, help="faults in a schedule (default 60)")
    parser.add_argument("--minutes", type=float, default=0.0, help="go on with the next seeds for so long")
    parser.add_argument("--kinds", default="", help=f"only these, comma-separated: {', '.join(KINDS)}")
    parser.add_argument("--plant", default="", choices=["", *PLANTS], help="a bug to plant in workers and sinks")
    chosen = parser.parse_args()
    kinds = [kind for kind in chosen.kinds.split(",") if kind]
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        parser.error(f"--kinds: {', '.join(unknown)} unknown; use {', '.join(KINDS)}")
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell has had them ignored
        signal.signal(number, signal.default_int_handler)
    counts: Counter[str] = Counter()
    end, seed, well = time.monotonic() + chosen.minutes * 60, chosen.seed, True
    while well and (seed == chosen.seed or time.monotonic() < end):
        well = run_one(seed, chosen.faults, kinds, chosen.plant, counts)
        seed += 1
    for kind, count in sorted(counts.items()):
        print(f"  {kind:18} {count:4}")
    print(f"  {'all':18} {counts.total():4}")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
