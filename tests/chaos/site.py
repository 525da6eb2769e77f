"""An installation on three brokers, with everything that a fault can strike."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import aiokafka.errors as kafka_errors
import clickhouse_connect

from deploy.catalog_yaml import load_file
from deploy.cli.support.catalogs import publish
from deploy.cli.support.history import SAMPLE_CATALOG, history
from deploy.cli.support.progress import Applied
from deploy.embedded import Endpoints, SilentProgress
from deploy.embedded.clickhouse import ClickHouseServer
from deploy.embedded.ports import LOOPBACK
from processors.engine.topics import create_topics
from projections import migrate
from tests.chaos.cluster import REPLICATION, Broker, Cluster
from tests.chaos.producers import Producer, Producers
from tests.chaos.proxy import Proxy
from tests.chaos.storage import Disk
from tests.e2e.conftest import free_port
from tests.faults.arena import PARTITIONS, STRIKE, Arena, Process

NAME: Final = "chaos"
PRODUCERS: Final = 2
WORKERS: Final = 2
MOST_WORKERS: Final = 3
SINKS: Final = 2
EVENTS_PER_FAULT: Final = 1_500
BEGIN: Final = 0.02
"""Part of the feed before the first fault."""

TICK_S: Final = 2.0
RECOVERY_DEADLINE_S: Final = 180.0
"""After a fault, and with all servers up again, everything that was sent must be applied within this time."""

SENT_DEADLINE_S: Final = 300.0
EXIT_DEADLINE_S: Final = 60.0
HOLD_PATIENCE_S: Final = 8.0
"""How long a fault waits for a worker to come to a step; then it strikes wherever the worker is."""

REPLICATED_DEADLINE_S: Final = 90.0

P = TypeVar("P")


class Site(Arena):
    """Cluster, ClickHouse, producers, workers and sinks.

    Attributes:
        cluster: the brokers.
        clickhouse: the server, on a disk of its own.
        network: the proxy before ClickHouse.
        disk: that disk.
        workers: living workers.
        sinks: living sinks.
        down: brokers that are down on purpose.
        jump_ms: how far the workers' clock is from the time of the history.
    """

    def __init__(self, directory: Path, cluster: Cluster, faults: int, plant: str = "") -> None:
        """Nothing is started but the cluster. `plant` is a bug for workers and sinks."""
        self.cluster = cluster
        self.disk = Disk(directory / "clickhouse")
        self.clickhouse = ClickHouseServer(self.disk.path, port=free_port(), progress=SilentProgress())
        self.network = Proxy(free_port(), 0)
        bootstrap = cluster.address.bootstrap
        super().__init__(
            Endpoints(bootstrap, f"http://default:@{LOOPBACK}:{self.network.port}"), directory, NAME, faults
        )
        self.command.environment["PLAUDIT_TICK_SECONDS"] = str(TICK_S)
        self.producers = Producers(0, directory, "", "", [])
        self.workers: list[Process] = []
        self.sinks: list[Process] = []
        self.down: list[Broker] = []
        self.jump_ms = 0
        self._plant = plant
        self._clock = directory / "clock"

    async def prepare(self) -> None:
        """Start all, and open the first gate of the feed."""
        await asyncio.to_thread(self.clickhouse.start)
        await self.connect_clickhouse()
        await create_topics(self.brokers, self.names, PARTITIONS, REPLICATION)
        client = self.client()
        migrate.up(client, self.database)
        client.close()
        records = list(islice(history(None), EVENTS_PER_FAULT * (self.faults + 1)))
        config, catalog, _ = load_file(SAMPLE_CATALOG)
        at_ms = records[0].timestamp_ms
        await publish(
            self.brokers, self.names, config, catalog, tenant="", version=None, at_ms=at_ms, token=""
        )  # fmt: skip
        self.producers = Producers(PRODUCERS, self.directory, self.brokers.bootstrap, self.names.input, records)
        self.feed = self.producers  # type: ignore[assignment]
        self._tell_time(at_ms)
        for producer in self.producers.producers:
            producer.start(self.command.environment)
        self.producers.open(BEGIN)
        self._feeding = asyncio.create_task(self.producers.run(self._tell_time))
        for _ in range(WORKERS):
            self.start_worker()
        for _ in range(SINKS):
            self.start_sink()

    def client(self) -> clickhouse_connect.driver.client.Client:
        """A client of ClickHouse, past the proxy: it is used where no fault is."""
        return clickhouse_connect.get_client(dsn=self.clickhouse.url, autogenerate_session_id=False)

    async def connect_clickhouse(self) -> None:
        """Let the proxy pass on to where ClickHouse listens."""
        port = int(self.clickhouse.url.rpartition(":")[2])
        self.network._target = port
        if self.network._server is None:
            await self.network.start()

    def start_worker(self) -> Process:
        """Start a worker."""
        name, port = f"worker-{next(self._numbers)}", free_port()
        arguments = [self.directory / f"{name}.hold", self.directory / f"{name}.reached", self._clock, self._plant]
        environment = {**self.command.environment, "PLAUDIT_METRICS_PORT": str(port)}
        process = self._start(name, "tests.chaos.worker_child", arguments, environment, port)
        self.workers.append(process)
        return process

    def start_sink(self) -> Process:
        """Start a sink."""
        name = f"sink-{next(self._numbers)}"
        arguments = [self.directory / f"{name}.hold", self.directory / f"{name}.reached", self._plant]
        process = self._start(name, "tests.chaos.sink_child", arguments, self.command.environment, 0)
        self.sinks.append(process)
        return process

    def transactional_id(self, worker: Process) -> str:
        """Return the transactional id of a worker, as it says it itself; empty if it has not said it yet."""
        found = re.search(r'"instance": "([^"]+)"', worker.told())
        return self.names.transactional_id(found[1]) if found else ""

    def strike_clickhouse(self, number: signal.Signals) -> None:
        """Send the server a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.clickhouse.pid, number)

    def restart_producer(self, producer: Producer) -> None:
        """Start a producer again that was killed."""
        producer.start(self.command.environment)

    def lose(self, process: Process) -> None:
        """No longer expect it to live."""
        self.skipped.append(process.metric("plaudit_skipped_offsets_total"))
        self._processes.remove(process)
        (self.workers if process in self.workers else self.sinks).remove(process)

    async def end(self, process: Process) -> float:
        """SIGTERM; return the seconds until its end, which must be an orderly one."""
        self.lose(process)
        began = time.monotonic()
        process.signal(signal.SIGTERM)
        running = process.running.process
        await self.until(lambda: running.poll() is not None, f"{process.name} ends", EXIT_DEADLINE_S)
        assert running.poll() == 0, f"{process.name} ended with {running.poll()}:\n{process.told()[-3000:]}"
        return time.monotonic() - began

    async def held(self, process: Process, step: str) -> bool:
        """Wait until a worker or a sink is at a step, and keep it there. False: it does not come to it."""
        if step:
            process.hold_file.write_text(step)
            deadline = time.monotonic() + HOLD_PATIENCE_S
            while time.monotonic() < deadline:
                if process.reached_file.exists():
                    return True
                await asyncio.sleep(0.02)
            self.release(process)
        return False

    def check(self) -> None:
        """Fail if something has ended that should live."""
        super().check()
        for producer in self.producers.producers:
            producer.check()
        self.cluster.check(self.down)

    def _tell_time(self, at_ms: int) -> None:
        following = self._clock.with_suffix(".next")
        following.write_text(str(at_ms + self.jump_ms))
        following.replace(self._clock)

    def begin_fault(self, number: int) -> float:
        """Let the feed go on for the fault with this number; return the share at which it is to strike."""
        width = (1.0 - BEGIN) / (self.faults + 1)
        self.feed.open(BEGIN + (number + 1) * width)
        return BEGIN + (number + STRIKE) * width

    # waiting

    async def until_sent(self, share: float) -> None:
        """Return once this share of the feed is sent."""
        await self.until(lambda: self.feed.share >= share, f"{share:.0%} of the feed is sent", SENT_DEADLINE_S)

    async def until_recovered(self) -> float:
        """Return once everything that is sent by now is applied: the seconds that it took."""
        began = time.monotonic()
        wanted = dict(self.feed.next_offsets)

        async def applied() -> bool:
            with suppress(kafka_errors.KafkaError, TimeoutError, AttributeError):
                async with Applied(self.brokers, self.names) as watch:
                    found = await watch.offsets()
                    return all(found.get(partition, 0) >= offset for partition, offset in wanted.items())
            return False

        await self.until_async(applied, "everything sent is applied", RECOVERY_DEADLINE_S)
        return time.monotonic() - began

    async def finish(self) -> None:
        """Send the rest of the feed, and return once all of it is applied and projected."""
        self.feed.open(1.0)
        await self.until(lambda: self.feed.sent == self.feed.total, "everything is sent", RECOVERY_DEADLINE_S * 4)
        await self.until_recovered()
        await super().finish()

    async def close(self) -> None:
        """End everything."""
        await self.network.stop()
        for running in (producer.running for producer in self.producers.producers):
            if running is not None:
                running.process.kill()
                running.process.wait()
        for process in self._processes:
            process.signal(signal.SIGCONT)
            process.signal(signal.SIGKILL)
        await super().close()
        if self.clickhouse.running:
            self.clickhouse.kill()
        self.disk.remove()


def pick(choice: Callable[[], float], living: Iterable[P]) -> P:
    """Choose one of them; the same choice and number choose the same."""
    found = list(living)
    return found[int(choice() * len(found))]
