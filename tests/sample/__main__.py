"""Print what must come out of the sample: `python -m tests.sample [--limit N] [--tick INSTANT]... [--user ID]`."""

import argparse
import json
import time
from pathlib import Path

from .localtime import parse_instant
from .oracle import compute, first_commit_ms
from .summary import summarise

SAMPLES = Path(__file__).parents[2] / "deploy" / "samples"


def main() -> None:
    """Compute the sample and print a summary, or one user as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.sample", description=__doc__)
    parser.add_argument("--csv", type=Path, default=SAMPLES / "git_commits.csv.gz")
    parser.add_argument("--catalog", type=Path, default=SAMPLES / "catalog.yaml")
    parser.add_argument("--at", help="instant of the catalog (default: the first commit)")
    parser.add_argument("--tick", action="append", help="instant of a tick after the history")
    parser.add_argument("--limit", type=int, help="only the first so many commits")
    parser.add_argument("--user", help="print this user instead of the summary")
    arguments = parser.parse_args()
    at = parse_instant(arguments.at) if arguments.at else first_commit_ms(arguments.csv)
    ticks = [parse_instant(text) for text in arguments.tick or ["2026-11-24T00:00:00Z"]]
    began = time.monotonic()
    result = compute(arguments.csv, arguments.catalog, at, ticks, arguments.limit)
    if arguments.user:
        print(json.dumps(result["users"][arguments.user], indent=1))
        return
    print(f"computed in {time.monotonic() - began:.1f} s")
    print("\n".join(summarise(result)))


if __name__ == "__main__":
    main()
