"""The faults. Each strikes, and mends what does not mend itself; what it says is one line of the running log."""

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import aiokafka.errors as kafka_errors
import msgspec

from tests.chaos.cluster import BROKER_SESSION_S, Broker
from tests.chaos.leaders import Admin
from tests.chaos.site import MOST_WORKERS, REPLICATED_DEADLINE_S, Site, pick
from tests.faults.arena import SESSION_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Strike = Callable[[Site, random.Random], Awaitable[str]]

STEPS: Final = ("", "commit", "committed", "", "flush", "offsets", "begin", "fetched")
"""Where a worker is struck: at a step of its transaction (tests.faults.worker_child), or anywhere."""

SINK_STEPS: Final = ("finish", "table", "", "finish", "announce")
"""Where a sink is struck: at a step of its batch (tests.chaos.sink_child), or anywhere."""

SINK_SESSION_S: Final = 6.0
MINUTE_S: Final = 60.0
DAY_MS: Final = 86_400_000


class Kind(msgspec.Struct, frozen=True):
    """A kind of fault.

    Attributes:
        strike: carries it out.
        target: what it strikes; of two faults at once the targets differ.
        weight: how often it comes.
        needs_disk: whether it needs a disk of its own for ClickHouse.
    """

    strike: Strike
    target: str
    weight: int = 2
    needs_disk: bool = False


# workers


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


# brokers


async def broker_of(site: Site, choice: random.Random) -> tuple[Broker, str]:
    """Choose a broker by what it does."""
    role = choice.choice(("any", "group coordinator", "transaction coordinator", "changelog leader"))
    number, any_one = choice.randrange(8), pick(choice.random, site.cluster.brokers)
    try:
        async with Admin(site.brokers) as admin:
            if role == "group coordinator":
                id = await admin.group_coordinator(site.names.group)
            elif role == "transaction coordinator":
                worker = pick(lambda: number / 8, site.workers)
                id = await admin.transaction_coordinator(site.transactional_id(worker))
            elif role == "changelog leader":
                id = (await admin.leaders())[site.names.changelog, number]
            else:
                return any_one, role
    except (kafka_errors.KafkaError, TimeoutError):
        return any_one, "any"
    return next((broker for broker in site.cluster.brokers if broker.number == id), any_one), role


@asynccontextmanager
async def away(site: Site, *brokers: Broker) -> "AsyncIterator[None]":
    """Expect these brokers to be down; afterwards every replica must come back."""
    site.down.extend(brokers)
    try:
        yield
    finally:
        for broker in brokers:
            site.down.remove(broker)

    async def replicated() -> bool:
        try:
            async with Admin(site.brokers) as admin:
                return not await admin.under_replicated()
        except (kafka_errors.KafkaError, TimeoutError):
            return False

    await site.until_async(replicated, "all partitions are replicated again", REPLICATED_DEADLINE_S)


async def kill_broker(site: Site, choice: random.Random) -> str:
    """Kill -9; it starts again, at once or later."""
    broker, role = await broker_of(site, choice)
    pause_s = choice.choice((0.0, 2.0, 6.0))
    async with away(site, broker):
        await broker.kill()
        await asyncio.sleep(pause_s)
        await broker.start()
    return f"broker {broker.number} ({role}), {pause_s:.0f} s"


async def kill_two_brokers(site: Site, choice: random.Random) -> str:
    """Kill -9 of two: nothing can be written until one of them is back."""
    first, second = choice.sample(site.cluster.brokers, 2)
    pause_s = choice.choice((1.0, 4.0, 12.0))
    async with away(site, first, second):
        await asyncio.gather(first.kill(), second.kill())
        await asyncio.sleep(pause_s)
        await asyncio.gather(first.start(), second.start())
    return f"brokers {first.number} and {second.number}, {pause_s:.0f} s"


async def restart_broker(site: Site, choice: random.Random) -> str:
    """An orderly stop, which hands leaderships over, and a start."""
    broker, role = await broker_of(site, choice)
    async with away(site, broker):
        await broker.stop()
        await broker.start()
    return f"broker {broker.number} ({role})"


async def freeze_broker(site: Site, choice: random.Random) -> str:
    """Stop it for longer than the controller waits for it: it wakes up and does not know that it leads nothing."""
    broker, role = await broker_of(site, choice)
    sleep_s = BROKER_SESSION_S + choice.uniform(1.0, 9.0)
    async with away(site, broker):
        broker.signal(signal.SIGSTOP)
        await asyncio.sleep(sleep_s)
        broker.signal(signal.SIGCONT)
    return f"broker {broker.number} ({role}) for {sleep_s:.1f} s"


async def lose_broker(site: Site, choice: random.Random) -> str:
    """A broker answers nobody any more and refuses nothing. The others must be enough before it comes back."""
    broker, role = await broker_of(site, choice)
    async with away(site, broker):
        broker.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(choice.uniform(2.0, 4.0))
            took_s = await site.until_recovered()
        finally:
            broker.signal(signal.SIGCONT)
    return f"broker {broker.number} ({role}); the others went on after {took_s:.0f} s"


async def slow_disk(site: Site, choice: random.Random) -> str:
    """A broker that stands still again and again, as with a disk that does not answer; not long enough to be fenced."""
    broker, role = await broker_of(site, choice)
    pulses = choice.randrange(5, 12)
    async with away(site, broker):
        for _ in range(pulses):
            broker.signal(signal.SIGSTOP)
            await asyncio.sleep(choice.uniform(0.3, 1.5))
            broker.signal(signal.SIGCONT)
            await asyncio.sleep(choice.uniform(0.05, 0.3))
    return f"broker {broker.number} ({role}), {pulses} times"


async def move_leaders(site: Site, choice: random.Random) -> str:
    """Half of all partitions get another leader, coordinators among them; several times."""
    times, moved = choice.randrange(1, 4), 0
    for _ in range(times):
        async with Admin(site.brokers) as admin:
            moved += await admin.shuffle(choice)
        await asyncio.sleep(choice.uniform(0.2, 1.5))
    return f"{moved} leaders in {times} moves"


# network


async def slow_network(site: Site, choice: random.Random) -> str:
    """One broker, or all and ClickHouse, answer late and slowly."""
    delay_s, rate = choice.uniform(0.05, 0.3), choice.choice((0.0, 100_000.0))
    hold_s, everywhere = choice.uniform(4.0, 8.0), choice.random() < 0.3
    broker = pick(choice.random, site.cluster.brokers)
    proxies = [*(one.proxy for one in site.cluster.brokers), site.network] if everywhere else [broker.proxy]
    for proxy in proxies:
        proxy.delay_s, proxy.bytes_per_s = delay_s, rate
    await asyncio.sleep(hold_s)
    for proxy in proxies:
        proxy.restore()
    where = "all" if everywhere else f"broker {broker.number}"
    return f"{where}: {delay_s * 1000:.0f} ms{' at 100 kB/s' if rate else ''} for {hold_s:.0f} s"


async def slow_replication(site: Site, choice: random.Random) -> str:
    """The others reach a broker late: replicas lag, and transactions end there later than elsewhere. Meanwhile partitions
    go from one worker to another."""
    broker = pick(choice.random, site.cluster.brokers)
    broker.replication.delay_s = delay_s = choice.uniform(0.1, 0.4)
    try:
        await asyncio.sleep(choice.uniform(1.0, 2.0))
        worker = pick(choice.random, site.workers)
        await site.end(worker)
        await asyncio.sleep(choice.uniform(0.5, 1.5))
        site.start_worker()
        await asyncio.sleep(choice.uniform(3.0, 6.0))
    finally:
        broker.replication.restore()
    return f"broker {broker.number}: {delay_s * 1000:.0f} ms, {worker.name} stopped meanwhile"


async def cut_network(site: Site, choice: random.Random) -> str:
    """Connections break: of one broker or all, for a moment or until nobody is a member any more."""
    hold_s, everywhere = choice.choice((0.0, 3.0, 10.0)), choice.random() < 0.3
    broker = pick(choice.random, site.cluster.brokers)
    proxies = [one.proxy for one in site.cluster.brokers] if everywhere else [broker.proxy]
    for proxy in proxies:
        proxy.refuse()
    await asyncio.sleep(hold_s)
    for proxy in proxies:
        proxy.restore()
    return f"{'all' if everywhere else f'broker {broker.number}'} for {hold_s:.0f} s"


async def silent_network(site: Site, choice: random.Random) -> str:
    """A network that swallows packets: nothing arrives, nothing is refused."""
    hold_s = choice.uniform(4.0, 15.0)
    broker, role = await broker_of(site, choice)
    broker.proxy.silence()
    await asyncio.sleep(hold_s)
    if choice.random() < 0.5:
        broker.proxy.cut()
    broker.proxy.restore()
    return f"broker {broker.number} ({role}) for {hold_s:.1f} s"


# ClickHouse


async def kill_clickhouse(site: Site, choice: random.Random) -> str:
    """Kill -9; it starts again, at once or later."""
    pause_s = choice.choice((0.0, 5.0))
    await asyncio.to_thread(site.clickhouse.kill)
    await asyncio.sleep(pause_s)
    await asyncio.to_thread(site.clickhouse.start)
    return f"{pause_s:.0f} s"


async def freeze_clickhouse(site: Site, choice: random.Random) -> str:
    """It stands still again and again, as with a disk that does not answer."""
    pulses = choice.randrange(2, 6)
    for _ in range(pulses):
        site.strike_clickhouse(signal.SIGSTOP)
        await asyncio.sleep(choice.uniform(0.5, 3.0))
        site.strike_clickhouse(signal.SIGCONT)
        await asyncio.sleep(choice.uniform(0.05, 0.5))
    return f"{pulses} times"


async def cut_clickhouse(site: Site, choice: random.Random) -> str:
    """Connections break, so that nobody knows which inserts were carried out; for a moment or for longer."""
    hold_s, times = choice.choice((0.0, 4.0)), choice.randrange(3, 10)
    for _ in range(times):
        site.network.cut()
        await asyncio.sleep(choice.uniform(0.1, 0.6))
    site.network.refuse()
    await asyncio.sleep(hold_s)
    site.network.restore()
    return f"{times} times, then for {hold_s:.0f} s"


async def full_disk(site: Site, choice: random.Random) -> str:
    """The disk of ClickHouse is full for a while."""
    hold_s = choice.uniform(4.0, 10.0)
    await asyncio.to_thread(site.disk.fill)
    try:
        await asyncio.sleep(hold_s)
    finally:
        site.disk.empty()
    return f"for {hold_s:.0f} s"


KINDS: Final[Mapping[str, Kind]] = {
    "kill-worker": Kind(kill_worker, "worker", 4),
    "zombie-worker": Kind(zombie_worker, "worker", 4),
    "zombie-in-hand": Kind(zombie_in_hand, "worker", 1),
    "stop-worker": Kind(stop_worker, "worker"),
    "scale-workers": Kind(scale_workers, "worker"),
    "clock-jump": Kind(jump_clock, "clock", 1),
    "kill-sink": Kind(kill_sink, "sink", 3),
    "zombie-sink": Kind(zombie_sink, "sink"),
    "stop-sink": Kind(stop_sink, "sink", 1),
    "kill-producer": Kind(kill_producer, "producer"),
    "kill-broker": Kind(kill_broker, "broker", 3),
    "kill-two-brokers": Kind(kill_two_brokers, "broker", 1),
    "restart-broker": Kind(restart_broker, "broker"),
    "freeze-broker": Kind(freeze_broker, "broker"),
    "lose-broker": Kind(lose_broker, "broker"),
    "slow-disk": Kind(slow_disk, "broker"),
    "move-leaders": Kind(move_leaders, "leaders", 3),
    "slow-network": Kind(slow_network, "network"),
    "slow-replication": Kind(slow_replication, "worker", 1),
    "cut-network": Kind(cut_network, "network"),
    "silent-network": Kind(silent_network, "network"),
    "kill-clickhouse": Kind(kill_clickhouse, "clickhouse", 2),
    "freeze-clickhouse": Kind(freeze_clickhouse, "clickhouse", 1),
    "cut-clickhouse": Kind(cut_clickhouse, "clickhouse", 1),
    "full-disk": Kind(full_disk, "clickhouse", 1, needs_disk=True),
}
"""By the names under which they are asked for and counted."""
