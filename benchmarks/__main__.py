"""`python -m benchmarks`: measure, print a table, write benchmarks/latest.json."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path

from benchmarks.figures import FULL, QUICK, SECTIONS, Outcome, Sizes
from benchmarks.report import LATEST, result, show, write

OK, FAILED, INTERRUPTED = 0, 1, 130

_ABOUT = """\
Measures Plaudit on the sample, its whole history and its whole catalog, and a plain Faust agent on the same broker.
Starts what it needs in a temporary directory; with KAFKA_BOOTSTRAP and CLICKHOUSE_URL it uses those. About three
minutes on two cores. Compare figures of one run: on a busy machine runs differ by a third, their ratios by much less.
"""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options: `only` (sections, in their order), `quick`, `output`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=_ABOUT)
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, metavar="NAME", help=f"only these sections: {', '.join(SECTIONS)}"
    )
    parser.add_argument("--quick", action="store_true", help="a sixth of everything: to see that it works")
    parser.add_argument("--output", type=Path, default=LATEST, metavar="FILE", help="default: benchmarks/latest.json")
    options = parser.parse_args(arguments)
    options.only = tuple(section for section in SECTIONS if not options.only or section in options.only)
    return options


def measure(sections: Sequence[str], sizes: Sizes) -> dict[str, Outcome]:
    """Run sections; return their outcomes by name, with the machine's load before each: neighbours spoil figures."""
    outcomes: dict[str, Outcome] = {}

    def note(section: str, measured: Callable[[], Outcome]) -> None:
        load = round(os.getloadavg()[0], 2)
        outcome = measured()
        outcomes[section] = Outcome(outcome.figures, {**outcome.details, "load_average_before": load})

    if "fold" in sections:
        from benchmarks import fold

        note("fold", lambda: fold.measure(sizes.events, sizes.fold_runs, fold.variants()))
    if set(sections) - {"fold"}:
        from benchmarks.harness import open_bench
        from deploy.logging import quiet_logging

        quiet_logging()
        with open_bench(sizes) as bench:
            for section in sections:
                if section != "fold":
                    note(section, partial(import_module(f"benchmarks.{section}").measure, bench))
    return outcomes


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    options = parse(arguments)
    from benchmarks.harness import BenchmarkError  # these take a while to import
    from deploy.cli.support.errors import CommandError
    from deploy.embedded import StackError

    command = shlex.join(["python", "-m", "benchmarks", *arguments])
    date = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        outcomes = measure(options.only, QUICK if options.quick else FULL)
    except KeyboardInterrupt:
        print("benchmarks: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (BenchmarkError, CommandError, StackError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return FAILED
    document = result(outcomes, command=command, date=date)
    write(options.output, document)
    show(document)
    print(f"written to {options.output}", file=sys.stderr)
    return OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
