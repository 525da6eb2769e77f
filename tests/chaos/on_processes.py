"""Faults that strike workers, sinks and producers. Each says in one line what it did."""

import asyncio
import random
import signal
from typing import Final

from tests.chaos.site import MOST_WORKERS, Site, pick
from tests.faults.arena import SESSION_S

STEPS: Final = ("", "commit", "committed", "", "flush", "offsets", "begin", "fetched")
"""Where a worker is struck: at a step of its transaction (tests.faults.worker_child), or anywhere."""

SINK_STEPS: Final = ("finish", "table", "", "finish", "announce")
"""Where a sink is struck: at a step of its batch (tests.chaos.sink_child), or anywhere."""

SINK_SESSION_S: Final = 6.0
DAY_MS: Final = 86_400_000


async def kill_worker(site: Site, choice: random.Random) -> str:
    """Kill -9, at a step of a transaction or anywhere; another one starts, at once or later."""
    step, pause_s = choice.choice(STEPS), choice.choice((0.0, 0.0, 3.0))
    worker = pick(choice.random, site.workers)
    held = await site.held(worker, step)
    site.lose(worker)
    worker.kill()
    await asyncio.sleep(pause_s)
    site.start_worker()
    return f"{worker.name}{f' at {step}' if held else ''}, {pause_s:.0f} s"


async def zombie_worker(site: Site, choice: random.Random) -> str:
    """Stop it for longer than its session, then let it go on."""
    step, sleep_s = choice.choice(STEPS), SESSION_S + choice.uniform(1.0, 5.0)
    worker = pick(choice.random, site.workers)
    held = await site.held(worker, step)
    worker.signal(signal.SIGSTOP)
    await asyncio.sleep(sleep_s)
    worker.signal(signal.SIGCONT)
    if held:
        if choice.random() < 0.7:  # let it first learn that it is no member any more
            await asyncio.sleep(2.0)
        site.release(worker)
    return f"{worker.name}{f' at {step}' if held else ''} for {sleep_s:.1f} s"


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
    return f"{worker.name}{' at fetched' if held else ''} for {sleep_s:.1f} s"


async def stop_worker(site: Site, choice: random.Random) -> str:
    """SIGTERM; another one starts."""
    worker = pick(choice.random, site.workers)
    took_s = await site.end(worker)
    site.start_worker()
    return f"{worker.name}, ended within {took_s:.1f} s"


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
    step, pause_s = choice.choice(SINK_STEPS), choice.choice((0.0, 0.0, 4.0))
    sink = pick(choice.random, site.sinks)
    held = await site.held(sink, step)
    site.lose(sink)
    sink.kill()
    await asyncio.sleep(pause_s)
    site.start_sink()
    return f"{sink.name}{f' at {step}' if held else ''}, {pause_s:.0f} s"


async def zombie_sink(site: Site, choice: random.Random) -> str:
    """Stop it for longer than its session, at a step of a batch or anywhere, then let it go on."""
    step, sleep_s = choice.choice(SINK_STEPS), SINK_SESSION_S + choice.uniform(1.0, 5.0)
    sink = pick(choice.random, site.sinks)
    held = await site.held(sink, step)
    sink.signal(signal.SIGSTOP)
    await asyncio.sleep(sleep_s)
    sink.signal(signal.SIGCONT)
    if held:
        site.release(sink)
    return f"{sink.name}{f' at {step}' if held else ''} for {sleep_s:.1f} s"


async def stop_sink(site: Site, choice: random.Random) -> str:
    """SIGTERM; another one starts."""
    sink = pick(choice.random, site.sinks)
    took_s = await site.end(sink)
    site.start_sink()
    return f"{sink.name}, ended within {took_s:.1f} s"


# producers


async def kill_producer(site: Site, choice: random.Random) -> str:
    """Kill -9; it starts again and sends again what was not acknowledged."""
    producer = pick(choice.random, site.producers.producers)
    producer.kill()
    await asyncio.sleep(choice.uniform(0.0, 2.0))
    site.restart_producer(producer)
    return producer.name
