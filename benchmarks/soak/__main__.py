"""Run a soak, or report on the samples of one.

nice -n 10 python -m benchmarks.soak --events 20000000 --out /tmp/soak
python -m benchmarks.soak --report /tmp/soak/samples.jsonl --svg docs/images/soak.svg
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

OK, FAILED, INTERRUPTED = 0, 1, 130


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak",
        description="Sends events through Kafka, worker, sink and ClickHouse, all children of this process, at the pace at "
        "which they keep up, and writes what each takes in memory to OUT/samples.jsonl. Ends by checking that every event "
        "is in the tables once.",
    )
    parser.add_argument("--events", type=int, default=20_000_000, metavar="N", help="default: 20 million")
    parser.add_argument("--users", type=int, default=100_000, metavar="N", help="default: 100,000")
    parser.add_argument("--rate", type=int, default=8_000, metavar="N", help="events a second at most; default: 8,000")
    parser.add_argument(
        "--minutes", type=float, default=120.0, metavar="M", help="end then at the latest; default: 120"
    )
    parser.add_argument("--warm-up", type=int, metavar="N", help="events that do not count; default: 3 of 10")
    parser.add_argument("--out", type=Path, default=Path("/tmp/soak"), metavar="DIR", help="default: /tmp/soak")
    parser.add_argument("--report", type=Path, metavar="FILE", help="run nothing; report on these samples")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the chart there; default: OUT/soak.svg")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    options = parse(arguments)
    from benchmarks.harness import BenchmarkError
    from benchmarks.soak import report

    samples, code = options.report, OK
    try:
        if samples is None:
            from benchmarks.soak.run import run

            samples = options.out / "samples.jsonl"
            asyncio.run(run(options, samples))
    except KeyboardInterrupt:
        print("soak: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BenchmarkError as error:  # what was sampled until then still counts
        print(f"soak: {error}", file=sys.stderr)
        code = FAILED
    try:
        found = report.read(samples)
        warm_up = options.warm_up or max(sample.events for sample in found) * 3 // 10
        print(report.summary(found, warm_up))
        print(report.table(found, warm_up))
    except BenchmarkError as error:
        print(f"soak: {error}", file=sys.stderr)
        return FAILED
    target = options.svg or samples.with_name("soak.svg")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(report.svg(found, warm_up), encoding="utf-8")
    print(f"chart: {target}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
