"""`fold_events_per_s`: what the rules alone manage, in one process, on one core.

The sample, distributed over partitions as on the log, goes through `Partition.process` in rounds of ROUND_RECORDS,
each ended by `changes` and `commit`: decoding, rules, and encoding of all derived events, outcomes and states, but no
Kafka. Each run is a process of its own, for caches are part of the work; records are made before the clock starts.

It is run as source and, where there is a C compiler, with the rules compiled (deploy/compiled.py); the figure is that of the
compiled rules, which is what the image runs.
"""

import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import Outcome, per_second
from deploy import compiled

ROUND_RECORDS: Final = 5_000
UNLIMITED: Final = 10**9
TIMEOUT_S: Final = 300.0


class FoldRun:
    """All partitions with the sample catalog in force, and the events that are waiting for them."""

    def __init__(self, count: int | None) -> None:
        """Take the first `count` events of the sample; None = all."""
        from benchmarks.sample import as_log, sample_records, sample_store, switch_records
        from processors.rules.partition import Partition
        from processors.rules.settings import FoldSettings
        from schemas.topics import DEFAULT_PARTITIONS

        records = sample_records(count)
        at_ms = records[0].timestamp_ms
        store = sample_store(at_ms)
        settings = FoldSettings(partitions=DEFAULT_PARTITIONS)
        self.partitions = [Partition(number, settings, store) for number in range(DEFAULT_PARTITIONS)]
        for partition, switch in zip(self.partitions, switch_records(at_ms), strict=True):
            done = partition.process(switch, [], UNLIMITED)
            assert done
            partition.changes(1)
            partition.commit()
        self.events = list(as_log(records))
        self.emissions = 0
        self.emitted_bytes = 0
        self.changes = 0
        self.changed_bytes = 0

    def rounds(self) -> Iterator[dict[int, list[Any]]]:
        """Yield the events of each round by partition, as a poll would bring them."""
        waiting = iter(self.events)
        while taken := list(islice(waiting, ROUND_RECORDS)):
            by_partition: dict[int, list[Any]] = {}
            for record in taken:
                by_partition.setdefault(record.partition, []).append(record)
            yield by_partition

    def fold(self) -> tuple[float, float]:
        """Fold everything; return wall and CPU seconds."""
        rounds = list(self.rounds())
        spent = spent_cpu = 0.0
        for by_partition in rounds:
            began, began_cpu = time.perf_counter(), time.process_time()
            produced = [self._fold_run(number, run) for number, run in by_partition.items()]
            spent += time.perf_counter() - began
            spent_cpu += time.process_time() - began_cpu
            for emitted, changed in produced:
                self.emissions += len(emitted)
                self.emitted_bytes += sum(len(emission.value) for emission in emitted)
                self.changes += len(changed)
                self.changed_bytes += sum(len(value or b"") for _, value in changed)
        self._check()
        return spent, spent_cpu

    def _fold_run(self, number: int, run: list[Any]) -> tuple[list[Any], list[Any]]:
        partition = self.partitions[number]
        process = partition.process
        emitted: list[Any] = []
        for record in run:
            process(record, emitted, UNLIMITED)
        changed = partition.changes(run[-1].offset + 1)
        partition.commit()
        return emitted, changed

    def _check(self) -> None:
        """A rate of events that were refused would be none."""
        counters: dict[str, int] = {}
        for partition in self.partitions:
            for name, value in partition.counters.items():
                counters[name] = counters.get(name, 0) + value
        assert counters == {"applied": len(self.events)}, counters


def run_fold(count: int | None) -> dict[str, Any]:
    """Fold in this process, its garbage collector set as a worker's; return events, seconds and what came out."""
    from processors.agents.worker import GC_THRESHOLDS

    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    run = FoldRun(count)
    seconds, cpu_seconds = run.fold()
    return {
        "events": len(run.events),
        "seconds": round(seconds, 3),
        "cpu_s": round(cpu_seconds, 3),
        "events_per_s": per_second(len(run.events), seconds),
        "emissions": run.emissions,
        "emitted_bytes": run.emitted_bytes,
        "changelog_records": run.changes,
        "changelog_bytes": run.changed_bytes,
    }


def fresh_fold(count: int | None, tree: Path) -> dict[str, Any]:
    """Fold in a fresh process, with the source tree given, and return what `run_fold` does there."""
    return run_in(tree, "benchmarks.fold", *([] if count is None else [str(count)]))


def run_in(tree: Path, module: str, *arguments: str) -> dict[str, Any]:
    """Run a module of a source tree in a fresh process and return the JSON it prints."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=tree, stdout=subprocess.PIPE, timeout=TIMEOUT_S, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def variants() -> dict[str, Path]:
    """Return the source trees of the variants that this machine can run; the rules are compiled if they are not yet."""
    from benchmarks.harness import tell

    trees = {"interpreted": compiled.ROOT}
    reason = compiled.obstacle()
    if reason is None:
        tell("fold: compiling the rules")
        trees["compiled"] = compiled.make()
    else:
        tell(f"fold: only as source, {reason}")
    return trees


def measure(count: int | None, runs: int, trees: Mapping[str, Path]) -> Outcome:
    """Return the median rates of `runs` fresh processes per variant, and where the time goes."""
    from benchmarks.costs import costs
    from benchmarks.harness import tell

    details: dict[str, Any] = {"round_records": ROUND_RECORDS}
    rates: dict[str, float] = {}
    totals: dict[str, float] = {}
    for variant, tree in trees.items():
        done = []
        for number in range(1, runs + 1):
            tell(f"fold, {variant}: run {number} of {runs}")
            done.append(fresh_fold(count, tree))
        rates[variant] = statistics.median(run["events_per_s"] for run in done)
        lists = {name: [run[name] for run in done] for name in ("events_per_s", "seconds", "cpu_s")}
        details[variant] = {**done[0], **lists}
        totals[variant] = statistics.median(run["cpu_s"] / run["events"] * 1e6 for run in done)
    tell("fold: where the time goes")
    details["us_per_event"] = costs(count, trees, totals)
    figures = {"fold_events_per_s": rates.get("compiled", rates["interpreted"])}
    return Outcome({**figures, "fold_interpreted_events_per_s": rates["interpreted"]}, details)


if __name__ == "__main__":
    print(json.dumps(run_fold(int(sys.argv[1]) if len(sys.argv) > 1 else None)))
