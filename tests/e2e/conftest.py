"""The whole sample, once, through `plaudit run`; and the same installation, up."""

import asyncio
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import clickhouse_connect
import msgspec
import pytest
from clickhouse_connect.driver.client import Client

from deploy.cli.support.history import SAMPLE_CATALOG, SAMPLE_COMMITS
from deploy.embedded import EmbeddedStack, SilentProgress
from processors.engine.names import Names
from schemas.brokers import Brokers
from tests.e2e.command import PLAUDIT, Command, Result, Running, processes_of
from tests.e2e.derived import Derived, of_topics
from tests.e2e.tables import Json, read_tables
from tests.sample.configuration import load_catalog
from tests.sample.oracle import first_commit_ms

NAMES = Names()
DATABASE = "plaudit"
PARTITIONS = 8
TICK_S = 5
ONE_USER_IN = 20
TIMEOUT_S = 600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test that asks for the sample waits for all of it."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


def chosen(user_id: str) -> bool:
    """Whether a user is in the small part of the sample: 147 users with 7,638 records."""
    return crc32(user_id.encode()) % ONE_USER_IN == 0


def levels_at_zero() -> dict[str, str | None]:
    """The levels of the sample's catalog that need no points, by system."""
    systems = load_catalog(SAMPLE_CATALOG, first_commit_ms(SAMPLE_COMMITS)).systems
    reached = {one.key: [key for threshold, key in one.levels if threshold <= 0] for one in systems}
    return {key: found[-1] if found else None for key, found in reached.items()}


@dataclass(frozen=True)
class Sample:
    """An installation after two runs, stopped, and what it held then.

    Attributes:
        command: calls `plaudit` on it.
        first: the run.
        second: the run after it.
        left: processes that were left after the runs.
        dump: its input log.
        part: the control records and the records of some users, out of `dump`.
        users: those users.
        derived: its derived events, of those users with their bytes.
        tables: its tables, in the shape of the oracle.
        counts: what single queries gave.
        simulation: `simulate` over the dump, under way, and its output.
    """

    command: Command
    first: Result
    second: Result
    left: list[str]
    dump: Path
    part: Path
    users: frozenset[str]
    derived: Derived
    tables: Json
    counts: dict[str, Any]
    simulation: "subprocess.Popen[bytes]"
    simulated: Path


_Line = msgspec.json.Decoder(dict[str, msgspec.Raw])
_user = re.compile(rb'"user":\{"id":"([^"]*)"')


def write_part(dump: Path, part: Path) -> frozenset[str]:
    """Write the control records, and the records of the chosen users. Return those users."""
    users: set[str] = set()
    with dump.open("rb") as lines, part.open("wb") as output:
        for line in lines:
            match = _user.search(line)
            user = match[1].decode() if match else None
            if user is None or chosen(user):
                output.write(line)
                users |= {user} if user is not None else set()
    return frozenset(users)


def counts_of(client: Client) -> dict[str, Any]:
    """Single numbers, which need no shape."""
    queries = {
        "metric events": "SELECT count() FROM {d}.metric_events FINAL",
        "event ids": "SELECT uniqExact(event_id) FROM {d}.metric_events",
        "rejected": "SELECT count() FROM {d}.rejected",
        "totals that are not the sum of their events": "SELECT count() FROM {d}.metric_totals AS t LEFT JOIN "
        "(SELECT user_id, metric_key, sum(value) AS total FROM {d}.metric_events FINAL GROUP BY user_id, metric_key) AS s "
        "ON s.user_id = t.user_id AND s.metric_key = t.metric_key WHERE s.total != t.total",
        "balances that are not the sum of their awards": "SELECT count() FROM {d}.points_balances AS b LEFT JOIN "
        "(SELECT user_id, system_key, sum(awarded) AS total FROM {d}.points_awards FINAL GROUP BY user_id, system_key) AS s "
        "ON s.user_id = b.user_id AND s.system_key = b.system_key WHERE s.total != b.total",
    }
    return {name: client.query(query.replace("{d}", DATABASE)).result_rows[0][0] for name, query in queries.items()}


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    """See Sample."""
    directory = tmp_path_factory.mktemp("sample")
    command = Command(directory / "home")
    first = command("run")
    assert first.code == 0, first.err
    second = command("run")
    assert second.code == 0, second.err
    left = processes_of(command.home)
    dump, part, simulated = (directory / name for name in ("dump.jsonl", "part.jsonl", "simulated.jsonl"))
    with EmbeddedStack(command.home, progress=SilentProgress()) as stack:
        dumped = command("dump", "--output", dump)
        assert dumped.code == 0, dumped.err
        simulation = start_simulation(command, dump, simulated)
        users = write_part(dump, part)
        client = clickhouse_connect.get_client(dsn=stack.endpoints.clickhouse_url)
        tables, counts = read_tables(client, DATABASE, levels_at_zero()), counts_of(client)
        client.close()
        derived = asyncio.run(of_topics(Brokers(stack.endpoints.kafka_bootstrap), NAMES, users))
    yield Sample(command, first, second, left, dump, part, users, derived, tables, counts, simulation, simulated)
    simulation.kill()
    simulation.wait()


def start_simulation(command: Command, dump: Path, output: Path) -> "subprocess.Popen[bytes]":
    """Start `simulate` over all of the dump beside the tests: it takes a while."""
    arguments = ["simulate", "--catalog", str(SAMPLE_CATALOG), "--records", str(dump), "--batch", "500"]
    with output.open("wb") as out, output.with_suffix(".err").open("wb") as err:
        return subprocess.Popen([PLAUDIT, *arguments], stdout=out, stderr=err, env=command.environment)


@dataclass
class Up:
    """`plaudit up` on the sample's installation.

    Attributes:
        command: calls `plaudit` on it.
        running: the process.
        metrics_port: where its worker tells its counters.
        brokers: its broker.
        clickhouse_url: its ClickHouse.
    """

    command: Command
    running: Running
    metrics_port: int
    brokers: Brokers
    clickhouse_url: str

    def client(self) -> Client:
        """A client of its ClickHouse."""
        return clickhouse_connect.get_client(dsn=self.clickhouse_url)


class Ups:
    """Starts `up` when it does not run."""

    def __init__(self, command: Command) -> None:
        self._home, self._up = command.home, None  # type: Path, Up | None

    def __call__(self) -> Up:
        """Return the one that runs."""
        if self._up is None or self._up.running.process.poll() is not None:
            port = free_port()
            command = Command(self._home, PLAUDIT_METRICS_PORT=str(port), PLAUDIT_TICK_SECONDS=str(TICK_S))
            running = command.start("up", "up")
            self._up = Up(command, running, port, Brokers(""), "")
            running.wait_for("in another terminal")
            found = running.out.read_text()
            self._up.brokers = Brokers(re.findall(r"^  Kafka +(\S+)", found, re.M)[0])
            self._up.clickhouse_url = re.findall(r"^  ClickHouse +(\S+)", found, re.M)[0]
        return self._up

    def stop(self) -> None:
        """Stop the one that runs."""
        if self._up is not None:
            self._up.running.stop()


@pytest.fixture(scope="session")
def ups(sample: Sample) -> Iterator[Ups]:
    """Starts `up` at most once, as long as no test stops it."""
    found = Ups(Command(sample.command.home))
    yield found
    found.stop()


@pytest.fixture
def up(ups: Ups) -> Up:
    """`plaudit up`, running."""
    return ups()


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
