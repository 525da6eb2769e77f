"""`worker_events_per_s` and `peak_rss_mb`: one worker process that has a whole log before it.

The sample and its catalog are on the log before `plaudit worker` starts, clock off (X8). The clock of the measurement
starts when the worker logs `recovered`, the moment before its first fetch, and stops when the group's committed offsets
stand at the end of the log: offsets are committed in the transactions of the outputs, so then the last output is
committed. Start-up, the join of the group and the recovery are thus left out, the first fetch is not. The end is looked
for every POLL_S.
"""

import asyncio
import time
from typing import Any, Final

from benchmarks.figures import Outcome, per_second
from benchmarks.harness import (
    POLL_S,
    STALL_S,
    Bench,
    BenchmarkError,
    cpu_s,
    metrics_of,
    moment_s,
    peak_rss_mb,
    tell,
    wait_for_event,
)
from benchmarks.sample import feed, publish_sample_catalog, sample_records
from deploy import compiled
from deploy.cli.support.children import ChildCommand
from deploy.cli.support.input_log import last_offsets
from deploy.cli.support.progress import Applied
from deploy.embedded.ports import choose_ports
from processors.engine.topics import create_topics
from schemas.metrics import EMISSIONS
from schemas.topics import DEFAULT_PARTITIONS

TELL_EVERY_S: Final = 3.0


def measure(bench: Bench) -> Outcome:
    """Preload the log, start a worker, and time it; once in a run. Its topics stay for the sections that need them."""
    if bench.worker is None:
        bench.worker = _measure(bench)
    return bench.worker


def _measure(bench: Bench) -> Outcome:
    targets, events = asyncio.run(_preload(bench))
    port = choose_ports(("metrics",), bench.home / "metrics-port.json", {})["metrics"]
    tell("worker: starting")
    variant, tree = compiled_tree()
    with bench.child("worker", "worker", "--no-clock", PLAUDIT_METRICS_PORT=str(port), PYTHONPATH=tree) as worker:
        pid = worker.process.pid
        began = moment_s(wait_for_event(worker, "recovered"))
        began_cpu = cpu_s(pid)
        ended = asyncio.run(_until_applied(bench, worker, targets))
        ended_cpu = cpu_s(pid)
        metrics = metrics_of(port)
        peak = peak_rss_mb(pid)
    seconds = ended - began
    processed, expected = int(metrics["plaudit_records_total"]), events + DEFAULT_PARTITIONS  # a catalog switch in each
    if processed != expected:
        raise BenchmarkError(f"the worker processed {processed} records, not {expected}; see {worker.log}")
    details = {
        "variant": variant,
        "events": events,
        "seconds": round(seconds, 3),
        "cpu_s": None if began_cpu is None or ended_cpu is None else round(ended_cpu - began_cpu, 2),
        "rounds": int(metrics["plaudit_rounds_total"]),
        "seconds_in_rounds": round(metrics["plaudit_round_seconds_sum"], 3),
        "emissions": int(metrics[EMISSIONS.name]),
        "partitions": DEFAULT_PARTITIONS,
        "measured": "worker's log event `recovered` to the group's committed offsets at the end of the log",
    }
    return Outcome({"worker_events_per_s": per_second(events, seconds), "peak_rss_mb": peak}, details)


def compiled_tree() -> tuple[str, str]:
    """Return what the worker runs from: with the rules compiled, as the image does, where that is possible."""
    if compiled.obstacle() is None:
        return "compiled", str(compiled.make())
    return "interpreted", str(compiled.ROOT)


async def _preload(bench: Bench) -> tuple[dict[int, int], int]:
    """Put catalog and sample on the log; return the next offset after the last record of each partition, and the number
    of events."""
    records = sample_records(bench.sizes.events)
    await create_topics(bench.kafka, bench.names, DEFAULT_PARTITIONS)
    await publish_sample_catalog(bench.kafka, bench.names, records[0].timestamp_ms)
    tell(f"worker: preloading {len(records):,} events")
    await feed(bench.kafka, bench.names.input, records, tell)
    targets = await last_offsets(bench.kafka, bench.names.input)
    return targets, len(records)


async def _until_applied(bench: Bench, worker: ChildCommand, targets: dict[int, int]) -> float:
    """Return when (seconds since 1970) all below `targets` was seen to be committed."""
    told = moved = time.monotonic()
    before: dict[int, int] = {}
    async with Applied(bench.kafka, bench.names) as applied:
        while True:
            offsets = await applied.offsets()
            now = time.time()
            if all(offsets.get(partition, 0) >= target for partition, target in targets.items()):
                return now
            worker.check()
            before, moved = _stall(before, offsets, moved, worker)
            if time.monotonic() - told >= TELL_EVERY_S:
                told = time.monotonic()
                tell(f"worker: {sum(offsets.values()):,} of {sum(targets.values()):,} records applied")
            await asyncio.sleep(POLL_S)


def _stall(before: dict[int, int], offsets: dict[int, int], moved: float, worker: Any) -> tuple[dict[int, int], float]:
    if offsets != before:
        return offsets, time.monotonic()
    if time.monotonic() - moved > STALL_S:
        raise BenchmarkError(f"the worker has applied nothing for {STALL_S:.0f} s; see {worker.log}")
    return before, moved
