"""Faults of the network. Each mends it again, and says in one line what it did."""

import asyncio
import random

from tests.chaos.on_servers import broker_of
from tests.chaos.site import Site, pick


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
