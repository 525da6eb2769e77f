"""An installation in which things are killed and stopped while a feed goes on."""

import asyncio
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Final

import clickhouse_connect

from deploy.catalog_yaml import load_file
from deploy.cli.support.catalogs import publish
from deploy.cli.support.history import SAMPLE_CATALOG, history
from deploy.cli.support.progress import Applied, wait_applied, wait_projected
from deploy.embedded import Endpoints
from processors.engine.names import Names
from processors.engine.topics import create_topics
from projections import migrate
from projections.tables import TABLES
from schemas.brokers import Brokers
from tests.e2e.command import Command, Running
from tests.e2e.conftest import free_port
from tests.faults.feed import Feed

ROOT: Final = Path(__file__).parents[2]
PARTITIONS: Final = 8
SESSION_S: Final = 6.0
EVENTS_PER_FAULT: Final = 3_000
LEAST_EVENTS: Final = 9_000
DEADLINE_S: Final = 90.0
POLL_S: Final = 0.05
LINES_SHOWN: Final = 12

BEGIN: Final = 0.1
END: Final = 0.9
STRIKE: Final = 0.3
"""The feed between BEGIN and END is divided among the faults; each strikes after this part of its own share."""

EARLIEST: Final = 0.05
LATEST: Final = 0.95


class Process:
    """A worker or a sink that is to live until the test ends it."""

    def __init__(self, running: Running, metrics_port: int = 0, files: Path | None = None) -> None:
        self.running = running
        self.name = running.name
        self._metrics_port = metrics_port
        self._files = files

    @property
    def hold_file(self) -> Path:
        """Its presence holds the worker; see worker_child."""
        assert self._files is not None
        return self._files / f"{self.name}.hold"

    @property
    def reached_file(self) -> Path:
        """The worker writes it when it is held."""
        assert self._files is not None
        return self._files / f"{self.name}.reached"

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        if self.running.process.poll() is None:
            os.kill(self.running.process.pid, number)

    def kill(self) -> None:
        """Kill -9, and wait for its end."""
        self.running.process.kill()
        self.running.process.wait()

    def check(self) -> None:
        """Fail if it has ended by itself."""
        code = self.running.process.poll()
        assert code is None, f"{self.name} has ended (exit code {code}):\n{self.running.err.read_text()[-3000:]}"

    def told(self) -> str:
        """Its log."""
        return self.running.err.read_text()

    def metric(self, name: str) -> float:
        """One of its counters, 0 while it does not answer or has none."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0.0
        return sum(float(line.split()[-1]) for line in lines if line.split("{")[0].split()[0] == name)


class Arena:
    """Topics, tables and processes of one test.

    Attributes:
        faults: how often to strike.
        feed: what is fed.
        strikes: share of the feed that was sent at every strike.
        skipped: `skipped_offsets` of all workers that could be asked.
    """

    def __init__(self, ends: Endpoints, directory: Path, name: str, faults: int) -> None:
        self.faults = faults
        self.names = Names(name)
        self.database = name
        self.brokers, self.clickhouse_url = Brokers(ends.kafka_bootstrap), ends.clickhouse_url
        self.directory = directory
        self.command = Command(
            directory / "home",
            KAFKA_BOOTSTRAP=self.brokers.bootstrap,
            CLICKHOUSE_URL=self.clickhouse_url,
            PLAUDIT_PREFIX=name,
            PLAUDIT_DATABASE=name,
            PLAUDIT_PARTITIONS=str(PARTITIONS),
            PLAUDIT_SESSION_SECONDS=str(SESSION_S),
            PYTHONPATH=str(ROOT),
        )
        self.strikes: list[float] = []
        self.skipped: list[float] = []
        self.feed = Feed(self.brokers, self.names, [])
        self._processes: list[Process] = []
        self._numbers = count(1)
        self._feeding: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Create topics and tables, publish the catalog, and start the feed, its first gate open."""
        await create_topics(self.brokers, self.names, PARTITIONS)
        client = self.client()
        migrate.up(client, self.database)
        for table in TABLES:  # merges would drop double rows by their keys, the second line behind the tokens
            client.command(f"SYSTEM STOP MERGES {self.database}.{table.name}")
        client.close()
        events = max(LEAST_EVENTS, EVENTS_PER_FAULT * self.faults)
        records = list(islice(history(None), events))
        config, catalog, _ = load_file(SAMPLE_CATALOG)
        at_ms = records[0].timestamp_ms
        await publish(
            self.brokers, self.names, config, catalog, tenant="", version=None, at_ms=at_ms, token=""
        )  # fmt: skip
        self.feed = Feed(self.brokers, self.names, records)
        self.feed.open(BEGIN)
        self._feeding = asyncio.create_task(self.feed.run())

    def client(self) -> clickhouse_connect.driver.client.Client:
        """A client of ClickHouse."""
        return clickhouse_connect.get_client(dsn=self.clickhouse_url, autogenerate_session_id=False)

    # processes

    def start_worker(self, **settings: str) -> Process:
        """Start a worker that can be held; `settings` are variables of its environment."""
        name, port = f"worker-{next(self._numbers)}", free_port()
        arguments = [self.directory / f"{name}.hold", self.directory / f"{name}.reached"]
        environment = {**self.command.environment, "PLAUDIT_METRICS_PORT": str(port), **settings}
        return self._start(name, "tests.faults.worker_child", arguments, environment, port)

    def start_sink(self) -> Process:
        """Start a sink with small batches and pauses between its steps."""
        arguments = [self.brokers.bootstrap, self.clickhouse_url, self.database, self.names.prefix, "sink-0"]
        name = f"sink-{next(self._numbers)}"
        return self._start(name, "tests.projections.sink_child", arguments, self.command.environment, 0)

    def _start(
        self, name: str, module: str, arguments: Sequence[object], environment: dict[str, str], port: int
    ) -> Process:
        running = Running(name, [sys.executable, "-m", module, *arguments], self.directory, environment)
        process = Process(running, port, self.directory)
        self._processes.append(process)
        return process

    def check(self) -> None:
        """Fail if something has ended that should live."""
        for process in self._processes:
            process.check()
        if self._feeding is not None and self._feeding.done():
            self._feeding.result()

    async def close(self) -> None:
        """End everything, and show the ends of the logs, which pytest prints if the test failed."""
        if self._feeding is not None:
            self._feeding.cancel()
            await asyncio.gather(self._feeding, return_exceptions=True)
        for process in self._processes:
            process.signal(signal.SIGCONT)
            process.running.process.terminate()
        for process in self._processes:
            await asyncio.to_thread(process.running.stop)
        for path in sorted(self.directory.glob("*.err")):
            told = [line for line in path.read_text().splitlines() if "debug" not in line]
            print("\n".join([f"--- {path.name}", *told[-LINES_SHOWN:]]))

    # faults

    def begin_fault(self, number: int) -> float:
        """Let the feed go on for the fault with this number; return the share at which it is to strike."""
        width = (END - BEGIN) / self.faults
        self.feed.open(BEGIN + (number + 1) * width)
        return BEGIN + (number + STRIKE) * width

    async def hold(self, process: Process, step: str) -> None:
        """Return when the worker is inside a transaction, at this step, and waits there."""
        process.hold_file.write_text(step)
        await self.until(process.reached_file.exists, f"{process.name} comes to {step}")

    def release(self, process: Process) -> None:
        """Let the worker go on."""
        process.reached_file.unlink(missing_ok=True)
        process.hold_file.unlink(missing_ok=True)

    def struck(self) -> None:
        """Note, and assert, that the feed is in its middle right now."""
        assert self._feeding is not None and not self._feeding.done()
        assert EARLIEST <= self.feed.share <= LATEST
        self.strikes.append(self.feed.share)

    def kill(self, process: Process) -> None:
        """Kill -9 in the middle of the feed."""
        self.skipped.append(process.metric("plaudit_skipped_offsets_total"))
        self._processes.remove(process)
        self.struck()
        process.kill()

    def terminate(self, process: Process) -> None:
        """SIGTERM in the middle of the feed; from here on it may end."""
        if process in self._processes:
            self.skipped.append(process.metric("plaudit_skipped_offsets_total"))
            self._processes.remove(process)
            self.struck()
        process.signal(signal.SIGTERM)

    # waiting

    async def ended(self, process: Process) -> int:
        """Return the exit code once it has ended."""
        return await asyncio.to_thread(process.running.process.wait, DEADLINE_S)

    async def until(self, condition: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
        """Return once the condition holds; fail with `what` after the deadline, or if something has ended by itself."""

        async def holds() -> bool:
            return condition()

        await self.until_async(holds, what, deadline_s)

    async def until_async(
        self, condition: Callable[[], Awaitable[bool]], what: str, deadline_s: float = DEADLINE_S
    ) -> None:
        """`until` for conditions that have to ask."""
        end = time.monotonic() + deadline_s
        while not await condition():
            self.check()
            assert time.monotonic() < end, f"not within {deadline_s:.0f} s: {what}"
            await asyncio.sleep(POLL_S)

    async def until_sent(self, share: float) -> None:
        """Return once this share of the feed is sent."""
        await self.until(lambda: self.feed.share >= share, f"{share:.0%} of the feed is sent")

    async def until_works(self, worker: Process, than: float = 0.0) -> None:
        """Return once a worker has processed more than so many records."""

        async def works() -> bool:
            return await asyncio.to_thread(worker.metric, "plaudit_records_total") > than

        await self.until_async(works, f"{worker.name} works")

    async def until_told(self, process: Process, text: str, before: int) -> None:
        """Return once a process has said this more than so many times."""
        await self.until(lambda: process.told().count(text) > before, f"{process.name} says {text!r}")

    async def until_applied(self, targets: Mapping[int, int] | None = None) -> None:
        """Return once everything that is sent by now, or what lies below `targets`, is applied."""
        wanted = dict(self.feed.next_offsets if targets is None else targets)
        async with Applied(self.brokers, self.names) as applied:
            await wait_applied(applied, wanted, self.check)

    async def finish(self) -> None:
        """Send the rest of the feed, and return once all of it is applied and projected."""
        self.feed.open(1.0)
        await self.until(lambda: self.feed.sent == self.feed.total, "everything is sent")
        assert self._feeding is not None
        await self._feeding
        await self.until_applied()
        await wait_projected(self.brokers, self.database, self.names, self.check, lambda *_: None)
        for process in self._processes:
            self.skipped.append(process.metric("plaudit_skipped_offsets_total"))
