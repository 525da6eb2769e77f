"""`rebalance_join_s`, `rebalance_leave_s`, `rebalance_kill_s`: how long outputs stand still when workers come and go.

A trickle of events goes to all partitions. One worker is at work; a second joins; it is killed, and started again; it leaves in
order. Figures are the longest time between two outputs of a partition, over all partitions. A killed worker is only missed once
its session has run out, SESSION_S, which is part of that figure; `rebalance_after_kill_s` is what comes on top.
"""

import argparse
import asyncio
import json
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

from benchmarks.figures import FULL, Outcome
from benchmarks.harness import Bench, open_bench, tell, wait_for_event
from benchmarks.sample import publish_sample_catalog
from benchmarks.trickle import Trickle
from benchmarks.worker import compiled_tree
from deploy.cli.support.children import ChildCommand
from processors.agents.clock import now_ms
from processors.engine.app import SESSION_S
from processors.engine.names import Names
from processors.engine.topics import create_topics
from schemas.topics import DEFAULT_PARTITIONS

RATE_PER_S: Final = 400
USERS: Final = 2_000
QUIET_S: Final = 5.0
"""Watched before each event, and after outputs are back."""


class _Workers:
    """Starts workers of one installation."""

    def __init__(self, bench: Bench, names: Names, keep: ExitStack) -> None:
        self._bench, self._names, self._keep = bench, names, keep
        self.variant, self._tree = compiled_tree()

    async def start(self, name: str) -> ChildCommand:
        """Start one, and return when it has its partitions."""
        one = self._keep.enter_context(
            self._bench.child(
                name,
                "worker",
                "--no-clock",
                PLAUDIT_PREFIX=self._names.prefix,
                PLAUDIT_INSTANCE=name,
                PLAUDIT_SESSION_SECONDS=str(SESSION_S),
                PYTHONPATH=self._tree,
            )
        )
        await asyncio.to_thread(wait_for_event, one, "recovered")
        return one


def longest_gaps(trickle: Trickle, begin: float, end: float) -> dict[int, float]:
    """Return by partition the longest time between two outputs read from `begin` to `end` (perf_counter seconds)."""
    times: dict[int, list[float]] = {partition: [begin] for partition in range(DEFAULT_PARTITIONS)}
    for identity, at in sorted(trickle.read.items(), key=lambda item: item[1]):
        if begin < at <= end:
            times[trickle.published[identity][1]].append(at)
    return {
        partition: round(max(later - earlier for earlier, later in zip(found, [*found[1:], end], strict=True)), 2)
        for partition, found in times.items()
    }


async def _caught_up(trickle: Trickle) -> None:
    """Return when outputs of all that was published until now are read, and a while later."""
    published = list(trickle.published)
    while any(identity not in trickle.read for identity in published):
        await asyncio.sleep(0.05)
    await asyncio.sleep(QUIET_S)


async def _measure(bench: Bench, names: Names, keep: ExitStack) -> Outcome:
    await create_topics(bench.kafka, names, DEFAULT_PARTITIONS)
    await publish_sample_catalog(bench.kafka, names, now_ms() - 1000)
    workers = _Workers(bench, names, keep)
    await workers.start("first")
    trickle = Trickle(bench, names, metric="commits", rate_per_s=RATE_PER_S, users=USERS)
    await trickle.start()
    await _caught_up(trickle)
    found: dict[str, dict[int, float]] = {}

    async def watch(what: str, happen: Any) -> Any:
        tell(f"rebalance: {what}")
        begin = time.perf_counter()
        result = await happen()
        await _caught_up(trickle)
        found[what] = longest_gaps(trickle, begin, time.perf_counter())
        return result

    async def nothing() -> None:
        await asyncio.sleep(QUIET_S)

    async def kill() -> None:
        second.process.kill()
        await asyncio.sleep(SESSION_S)

    async def leave() -> None:
        again.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(again.process.wait)

    await watch("nothing", nothing)
    second = await watch("join", lambda: workers.start("second"))
    await watch("kill", kill)
    again = await workers.start("third")
    await _caught_up(trickle)
    await watch("leave", leave)
    await trickle.stop()
    longest = {what: max(gaps.values()) for what, gaps in found.items()}
    figures: dict[str, float | None] = {f"rebalance_{what}_s": longest[what] for what in ("join", "leave", "kill")}
    figures["rebalance_after_kill_s"] = round(max(0.0, longest["kill"] - SESSION_S), 2)
    details = {
        "variant": workers.variant,
        "events_per_s": RATE_PER_S,
        "session_s": SESSION_S,
        "longest_gap_s": {
            what: {str(partition): gap for partition, gap in gaps.items()} for what, gaps in found.items()
        },
        "measured": "longest time between two outputs of a partition, as a read_committed consumer sees them",
    }
    return Outcome(figures, details)


def measure(bench: Bench) -> Outcome:
    """Let workers come and go under load."""
    with ExitStack() as keep:
        return asyncio.run(_measure(bench, Names(f"{bench.names.prefix}rebalance"), keep))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print JSON."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.rebalance", description=(__doc__ or "").split("\n")[0]
    ).parse_args(arguments)
    with open_bench(FULL) as bench:
        outcome = measure(bench)
    print(json.dumps({**outcome.figures, **outcome.details}, indent=2))


if __name__ == "__main__":
    main()
