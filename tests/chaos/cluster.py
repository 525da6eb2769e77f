"""Three Kafka brokers, each its own controller too, reached through proxies: one for clients, one for other brokers."""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from deploy.embedded import SilentProgress, kafka
from deploy.embedded.kafka import KafkaServer
from deploy.embedded.kafka_config import random_cluster_id
from deploy.embedded.ports import LOOPBACK, choose_ports
from schemas.brokers import Brokers
from tests.chaos.proxy import Proxy

BROKERS: Final = 3
REPLICATION: Final = 3
MIN_IN_SYNC: Final = 2

BROKER_SESSION_S: Final = 5.0
"""Time after which the controller takes a silent broker for dead."""

START_TIMEOUT_S: Final = 400.0
"""After kill -9 a broker reads its logs again, on a machine that may be overloaded; starting it anew would not be faster."""

SETTINGS: Final = {
    "default.replication.factor": str(REPLICATION),
    "min.insync.replicas": str(MIN_IN_SYNC),
    "offsets.topic.replication.factor": str(REPLICATION),
    "transaction.state.log.replication.factor": str(REPLICATION),
    "transaction.state.log.min.isr": str(MIN_IN_SYNC),
    "unclean.leader.election.enable": "false",
    "replica.lag.time.max.ms": "6000",
    # three brokers on a small machine that does much else: with those of one broker they lose each other
    "broker.session.timeout.ms": str(int(BROKER_SESSION_S * 1000)),
    "broker.heartbeat.interval.ms": "1000",
    # leaders go back to their preferred brokers by themselves, too
    "auto.leader.rebalance.enable": "true",
    "leader.imbalance.check.interval.seconds": "20",
}
"""As in production, but that what takes minutes there takes seconds here."""


class Broker:
    """One broker, its proxies, and what happens to it.

    Attributes:
        number: its id.
        server: the server.
        proxy: between it and clients.
        replication: between it and the other brokers: what they fetch of it, and the ends of transactions.
    """

    def __init__(self, number: int, server: KafkaServer, proxy: Proxy, replication: Proxy) -> None:
        self.number = number
        self.server = server
        self.proxy = proxy
        self.replication = replication

    async def start(self) -> None:
        """Start it, or start it again; returns when it answers."""
        await asyncio.to_thread(self.server.start)

    async def stop(self) -> None:
        """Stop it in order: it hands its leaderships over first."""
        await asyncio.to_thread(self.server.stop)

    async def kill(self) -> None:
        """Kill -9."""
        await asyncio.to_thread(self.server.kill)

    def signal(self, number: signal.Signals) -> None:
        """Send the Java process a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.server.pid, number)


class Cluster:
    """All brokers. Use as: `start`, then faults, then `stop`."""

    def __init__(self, directory: Path) -> None:
        """Nothing is started yet. To be called in the event loop that runs the proxies."""
        directory.mkdir(parents=True, exist_ok=True)
        kafka.START_TIMEOUT_S = START_TIMEOUT_S
        kinds = ("broker", "controller", "internal", "proxy", "replication")
        names = tuple(f"{kind} {number}" for kind in kinds for number in range(1, BROKERS + 1))
        ports = choose_ports(names, directory / "ports.json", {})
        voters = ",".join(f"{n}@{LOOPBACK}:{ports[f'controller {n}']}" for n in range(1, BROKERS + 1))
        cluster_id = random_cluster_id()
        self.brokers: list[Broker] = []
        for number in range(1, BROKERS + 1):
            port, proxy = ports[f"broker {number}"], ports[f"proxy {number}"]
            controller, internal = ports[f"controller {number}"], ports[f"internal {number}"]
            replication = ports[f"replication {number}"]
            settings = {
                **SETTINGS,
                "node.id": str(number),
                "controller.quorum.voters": voters,
                "listeners": f"PLAINTEXT://{LOOPBACK}:{port},INTERNAL://{LOOPBACK}:{internal},"
                f"CONTROLLER://{LOOPBACK}:{controller}",
                "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{proxy},INTERNAL://{LOOPBACK}:{replication}",
                "inter.broker.listener.name": "INTERNAL",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
            }
            home = directory / f"broker-{number}"
            home.mkdir(exist_ok=True)
            server = KafkaServer(home, port=port, settings=settings, cluster_id=cluster_id, progress=SilentProgress())
            self.brokers.append(Broker(number, server, Proxy(proxy, port), Proxy(replication, internal)))

    @property
    def address(self) -> Brokers:
        """Where clients find it."""
        return Brokers(",".join(f"{LOOPBACK}:{broker.proxy.port}" for broker in self.brokers))

    async def start(self) -> None:
        """Start all brokers at once: none answers before there is a majority of controllers."""
        await asyncio.gather(*(proxy.start() for proxy in self._proxies()))
        await asyncio.gather(*(broker.start() for broker in self.brokers))

    async def stop(self) -> None:
        """Kill all brokers: nobody needs the data any more."""
        for broker in self.brokers:
            if broker.server.running:
                broker.signal(signal.SIGCONT)
        await asyncio.gather(*(broker.kill() for broker in self.brokers))
        await asyncio.gather(*(proxy.stop() for proxy in self._proxies()))

    def _proxies(self) -> list[Proxy]:
        return [proxy for broker in self.brokers for proxy in (broker.proxy, broker.replication)]

    def check(self, down: Sequence[Broker] = ()) -> None:
        """Raise if a broker has ended by itself, those excepted that are down on purpose."""
        for broker in self.brokers:
            if broker not in down:
                broker.server.check()
