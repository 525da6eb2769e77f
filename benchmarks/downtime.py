"""`python -m benchmarks.downtime`: a week without workers, then a catalog switch, over many users; what others wait meanwhile.

Users of a streak, a daily refill and levels were last seen a week ago. A worker runs; a trickle of events of other users comes
in, evenly, over all partitions. Then every partition gets the tick that makes a week due for everybody; when that is done, a
switch to a catalog with one more achievement, which everybody has reached already. For each event of the trickle the time
from publishing it to its `metric.changed` in the hands of a read_committed consumer is taken. An event behind a tick or switch
of its own partition waits for the end of it: the log decides. All others should not.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from typing import Any, Final

from benchmarks.figures import FULL
from benchmarks.harness import POLL_S, STALL_S, Bench, BenchmarkError, metrics_of, open_bench, tell, wait_for_event
from benchmarks.latency import percentile
from benchmarks.trickle import Trickle
from benchmarks.worker import compiled_tree
from deploy.cli.support.catalogs import publish
from deploy.cli.support.children import ChildCommand
from deploy.cli.support.input_log import last_offsets
from deploy.cli.support.kafka import Feeder
from deploy.cli.support.progress import Applied, wait_applied
from deploy.embedded.ports import choose_ports
from processors.agents.clock import now_ms, write_tick_async
from processors.engine.topics import create_topics
from schemas.catalog_file import load_catalog
from schemas.instants import DAY_MS
from schemas.topics import DEFAULT_PARTITIONS

USERS: Final = 100_000
DAYS: Final = 7
RATE_PER_S: Final = 100
OTHERS: Final = 400
"""Users of the trickle."""

BEFORE_S: Final = 3.0
AFTER_S: Final = 3.0


def catalog(*, more: bool = False) -> dict[str, Any]:
    """Return the catalog; `more` has one achievement more, and another amount of points."""
    active = {"status": "active"}
    reached = [{**active, "id": "first", "name": "First", "trigger": "metric", "metric": "words", "metricValue": 1}]
    if more:
        reached.append({**active, "id": "two", "name": "Two", "trigger": "metric", "metric": "words", "metricValue": 2})
    refill = {
        **active,
        "id": "refill",
        "type": "time",
        "timeUnit": "days",
        "timeInterval": 1,
        "points": 3 if more else 2,
    }
    levels = [{"key": f"l{points}", "name": f"Level {points}", "points": points} for points in (0, 5, 10)]
    return {
        "metrics": ["words"],
        "streak": {"metrics": [{"key": "words", "threshold": 1}]},
        "achievements": reached,
        "systems": [{"key": "energy", "name": "Energy", "maxPoints": 50, "levels": levels, "triggers": [refill]}],
    }


async def _large(bench: Bench, trickle: Trickle, write: Any, worker: ChildCommand) -> dict[str, Any]:
    """Write a record to every partition and follow it; return what it took and what others waited."""
    await asyncio.sleep(BEFORE_S)
    began = time.perf_counter()
    ends = await write()
    done: dict[int, float] = {}
    async with Applied(bench.kafka, bench.names) as applied:
        while len(done) < len(ends):
            offsets = await applied.offsets()
            for partition, end in ends.items():
                if partition not in done and offsets.get(partition, 0) >= end:
                    done[partition] = time.perf_counter()
            worker.check()
            if time.perf_counter() - began > 10 * STALL_S:
                raise BenchmarkError(f"not applied within {10 * STALL_S:.0f} s; see {worker.log}")
            await asyncio.sleep(POLL_S)
    ended = time.perf_counter()
    await asyncio.sleep(AFTER_S)
    while any(identity not in trickle.read for identity, (at, _) in trickle.published.items() if at < ended):
        await asyncio.sleep(POLL_S)
    before: list[tuple[float, float]] = []
    free: list[tuple[float, float]] = []
    behind: list[tuple[float, float]] = []
    for identity, (at, place) in trickle.published.items():
        if identity in trickle.read and at < ended:
            waited = (trickle.read[identity] - at) * 1000
            (before if at < began else behind if at < done[place] else free).append((at, waited))
    quiet = [waited for at, waited in before if at > began - BEFORE_S]
    return {
        "seconds": round(ended - began, 1),
        "partitions_done_after_s": [round(done[partition] - began, 1) for partition in sorted(done)],
        "latency_ms": {
            "before": _spread(quiet),
            "others meanwhile": _spread([waited for _, waited in free]),
            "behind it in their partition": _spread([waited for _, waited in behind]),
        },
    }


def _spread(found: list[float]) -> dict[str, float]:
    if not found:
        return {"events": 0}
    found.sort()
    return {
        "events": len(found),
        "p50": percentile(found, 50),
        "p99": percentile(found, 99),
        "max": round(found[-1], 1),
        "mean": round(statistics.fmean(found), 1),
    }


async def _fill(bench: Bench, users: int, at_ms: int) -> None:
    await create_topics(bench.kafka, bench.names, DEFAULT_PARTITIONS)
    await _publish_catalog(bench, "1", at_ms - 1000, more=False)
    async with Feeder(bench.kafka, bench.names.input) as feeder:
        for number in range(2 * users):
            user = f"u{number % users:07d}"
            value = f'{{"metric":"words","user":{{"id":"{user}","tz":"UTC"}},"value":1}}'
            feeder.add(user.encode(), value.encode(), at_ms + number % 1000)
            if feeder.full:
                await feeder.send()


async def _publish_catalog(bench: Bench, version: str, at_ms: int, *, more: bool) -> None:
    config = catalog(more=more)
    loaded = load_catalog(config, tenant="")[0]
    await publish(bench.kafka, bench.names, config, loaded, tenant="", version=version, at_ms=at_ms, token="")


async def _run(bench: Bench, worker: ChildCommand, users: int, begin_ms: int) -> dict[str, Any]:
    async with Applied(bench.kafka, bench.names) as applied:
        await write_tick_async(bench.kafka, begin_ms + 60_000, names=bench.names)
        targets = await last_offsets(bench.kafka, bench.names.input)
        await wait_applied(applied, targets, worker.check)
    trickle = Trickle(bench, bench.names, metric="words", rate_per_s=RATE_PER_S, users=OTHERS)
    await trickle.start()

    async def tick() -> dict[int, int]:
        await write_tick_async(bench.kafka, now_ms(), names=bench.names)
        return await last_offsets(bench.kafka, bench.names.input)

    async def switch() -> dict[int, int]:
        await _publish_catalog(bench, "2", now_ms(), more=True)
        return await last_offsets(bench.kafka, bench.names.input)

    tell(f"downtime: a tick for {users:,} users, {DAYS} days")
    downtime = await _large(bench, trickle, tick, worker)
    tell(f"downtime: {downtime}")
    switched = await _large(bench, trickle, switch, worker)
    tell(f"switch: {switched}")
    await trickle.stop()
    return {"users": users, "events_per_s": RATE_PER_S, "downtime": downtime, "switch": switched}


def measure(bench: Bench, users: int) -> dict[str, Any]:
    """Fill the log, run a worker, and do both."""
    begin_ms = now_ms() - DAYS * DAY_MS
    tell(f"downtime: feeding {users:,} users")
    asyncio.run(_fill(bench, users, begin_ms))
    port = choose_ports(("metrics",), bench.home / "downtime-port.json", {})["metrics"]
    variant, tree = compiled_tree()
    with bench.child("worker", "worker", "--no-clock", PLAUDIT_METRICS_PORT=str(port), PYTHONPATH=tree) as worker:
        wait_for_event(worker, "recovered")
        found = asyncio.run(_run(bench, worker, users, begin_ms))
        metrics = metrics_of(port)
    found["variant"] = variant
    for name in ("plaudit_fences_total", "plaudit_rounds_total", "plaudit_records_total", "plaudit_emissions_total"):
        found[name] = int(metrics[name])
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.downtime", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--users", type=int, default=USERS, help=f"default: {USERS:,}")
    options = parser.parse_args(arguments)
    with open_bench(FULL) as bench:
        print(json.dumps(measure(bench, options.users), indent=2))


if __name__ == "__main__":
    main()
