"""Faults that strike workers, sinks and producers. Each says in one line what it did."""

import asyncio
import random
import signal
from collections.abc import Callable, Sequence
from typing import Final

from tests.chaos.site import MOST_WORKERS, Site, pick
from tests.faults.arena import SESSION_S, Process

STEPS: Final = ("", "commit", "committed", "", "flush", "offsets", "begin", "fetched")
"""Where a worker is struck: at a step of its transaction (tests.faults.worker_child), or anywhere."""

SINK_STEPS: Final = ("finish", "table", "", "finish", "announce")
"""Where a sink is struck: at a step of its batch (tests.chaos.sink_child), or anywhere."""

SINK_SESSION_S: Final = 6.0
DAY_MS: Final = 86_400_000


def _struck(process: Process, step: str, held: bool) -> str:
    return f"{process.name} at {step}" if held else process.name


async def _kill(
    site: Site,
    choice: random.Random,
    processes: Sequence[Process],
    steps: Sequence[str],
    later_s: float,
    start: Callable[[], Process],
) -> str:
    """Kill one at a step or anywhere; start another at once, or after `later_s`."""
    step, pause_s = choice.choice(steps), choice.choice((0.0, 0.0, later_s))
    process = pick(choice.random, processes)
    held = await site.held(process, step)
    site.lose(process)
    process.kill()
    await asyncio.sleep(pause_s)
    start()
    return f"{_struck(process, step, held)}, {pause_s:.0f} s"


async def _sleep(site: Site, process: Process, step: str, sleep_s: float) -> bool:
    """SIGSTOP at a step or anywhere, for `sleep_s`; whether it is held at the step still, now that it runs again."""
    held = await site.held(process, step)
    process.signal(signal.SIGSTOP)
    await asyncio.sleep(sleep_s)
    process.signal(signal.SIGCONT)
    return held


async def _stop(site: Site, process: Process, start: Callable[[], Process]) -> str:
    took_s = await site.end(process)
    start()
    return f"{process.name}, ended within {took_s:.1f} s"


# workers


async def kill_worker(site: Site, choice: random.Random) -> str:
    """Kill -9, at a step of a transaction or anywhere; another one starts, at once or later."""
    return await _kill(site, choice, site.workers, STEPS, 3.0, site.start_worker)


async def zombie_worker(site: Site, choice: random.Random) -> str:
    """Stop it for longer than its session, then let it go on."""
    step, sleep_s = choice.choice(STEPS), SESSION_S + choice.uniform(1.0, 5.0)
    worker = pick(choice.random, site.workers)
    held = await _sleep(site, worker, step, sleep_s)
    if held:
        if choice.random() < 0.7:  # let it first learn that it is no member any more
            await asyncio.sleep(2.0)
        site.release(worker)
    return f"{_struck(worker, step, held)} for {sleep_s:.1f} s"


async def zombie_in_hand(site: Site, choice: random.Random) -> str:
    """Stop a worker that has records in hand and has not begun with them, until another has its partitions; it goes on
    with them before it can learn that it is no member any more."""
    sleep_s = SESSION_S + choice.uniform(3.0, 5.0)
    worker = pick(choice.random, site.workers)
    held = await site.held(worker, "fetched")
    worker.signal(signal.SIGSTOP)
    await asyncio.sleep(sleep_s)
    site.release(worker)
    worker.signal(signal.SIGCONT)
    return f"{_struck(worker, 'fetched', held)} for {sleep_s:.1f} s"


async def stop_worker(site: Site, choice: random.Random) -> str:
    """SIGTERM; another one starts."""
    return await _stop(site, pick(choice.random, site.workers), site.start_worker)


async def scale_workers(site: Site, choice: random.Random) -> str:
    """Add one; if there are as many as may be, take one away."""
    if len(site.workers) < MOST_WORKERS:
        return f"added {site.start_worker().name}"
    worker = pick(choice.random, site.workers)
    return f"removed {worker.name} within {await site.end(worker):.1f} s"


async def jump_clock(site: Site, choice: random.Random) -> str:
    """The workers' clock is days ahead or behind for a while."""
    days, hold_s = choice.choice((-30, -2, 2, 30)), choice.uniform(3.0, 8.0)
    site.jump_ms = days * DAY_MS
    await asyncio.sleep(hold_s)
    site.jump_ms = 0
    return f"{days:+} days for {hold_s:.0f} s"


# sinks


async def kill_sink(site: Site, choice: random.Random) -> str:
    """Kill -9, at a step of a batch or anywhere; another one starts, at once or later."""
    return await _kill(site, choice, site.sinks, SINK_STEPS, 4.0, site.start_sink)


async def zombie_sink(site: Site, choice: random.Random) -> str:
    """Stop it for longer than its session, at a step of a batch or anywhere, then let it go on."""
    step, sleep_s = choice.choice(SINK_STEPS), SINK_SESSION_S + choice.uniform(1.0, 5.0)
    sink = pick(choice.random, site.sinks)
    held = await _sleep(site, sink, step, sleep_s)
    if held:
        site.release(sink)
    return f"{_struck(sink, step, held)} for {sleep_s:.1f} s"


async def stop_sink(site: Site, choice: random.Random) -> str:
    """SIGTERM; another one starts."""
    return await _stop(site, pick(choice.random, site.sinks), site.start_sink)


# producers


async def kill_producer(site: Site, choice: random.Random) -> str:
    """Kill -9; it starts again and sends again what was not acknowledged."""
    producer = pick(choice.random, site.producers.producers)
    producer.kill()
    await asyncio.sleep(choice.uniform(0.0, 2.0))
    site.restart_producer(producer)
    return producer.name
