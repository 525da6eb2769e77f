"""Faults that strike brokers and ClickHouse. Each mends what does not mend itself, and says in one line what it did."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiokafka.errors as kafka_errors

from tests.chaos.cluster import BROKER_SESSION_S, Broker
from tests.chaos.leaders import Admin
from tests.chaos.site import REPLICATED_DEADLINE_S, Site, pick


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
async def away(site: Site, *brokers: Broker) -> AsyncIterator[None]:
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


async def _pulse(
    choice: random.Random,
    strike: Callable[[signal.Signals], object],
    times: int,
    *,
    still_s: tuple[float, float],
    moving_s: tuple[float, float],
) -> None:
    """Stop and let go on, again and again, for times between these."""
    for _ in range(times):
        strike(signal.SIGSTOP)
        await asyncio.sleep(choice.uniform(*still_s))
        strike(signal.SIGCONT)
        await asyncio.sleep(choice.uniform(*moving_s))


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
        await _pulse(choice, broker.signal, pulses, still_s=(0.3, 1.5), moving_s=(0.05, 0.3))
    return f"broker {broker.number} ({role}), {pulses} times"


async def move_leaders(site: Site, choice: random.Random) -> str:
    """Half of all partitions get another leader, coordinators among them; several times."""
    times, moved = choice.randrange(1, 4), 0
    for _ in range(times):
        async with Admin(site.brokers) as admin:
            moved += await admin.shuffle(choice)
        await asyncio.sleep(choice.uniform(0.2, 1.5))
    return f"{moved} leaders in {times} moves"


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
    await _pulse(choice, site.strike_clickhouse, pulses, still_s=(0.5, 3.0), moving_s=(0.05, 0.5))
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
