"""What the sections share: broker and installation of a run, child processes and what they used, progress."""

import os
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn
from uuid import uuid4

import msgspec
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.figures import Outcome, Sizes
from deploy.cli.support.children import ChildCommand
from deploy.cli.support.kafka import consumer, partitions_of
from deploy.embedded import EmbeddedStack
from deploy.settings import read_settings
from processors.engine.names import Names
from schemas.brokers import Brokers
from schemas.topics import DEFAULT_PARTITIONS

POLL_S: Final = 0.05
"""Distance of two looks at what a process has done; an error of a rate's end."""

STALL_S: Final = 120.0
"""Without what is waited for within so long, a benchmark is given up."""

_MEGABYTE: Final = 1e6
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_CPU_FIELDS: Final = (11, 12)
"""utime and stime among the fields of /proc/PID/stat that follow the name."""

_log_line: Final = msgspec.json.Decoder(dict[str, Any])


class BenchmarkError(Exception):
    """A benchmark could not measure. The message says why, and where to look."""


def tell(text: str) -> None:
    """Show progress on standard error."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


class Bench:
    """One run: its broker, its topics, its directory. All of it is thrown away at the end.

    Attributes:
        sizes: how much is measured.
        home: directory of the run; PLAUDIT_HOME of its processes.
        names: of the topics, with a prefix that nobody else has.
        database: in ClickHouse.
    """

    def __init__(self, sizes: Sizes, home: Path, keep: ExitStack) -> None:
        self.sizes = sizes
        self.home = home
        run = f"bench{uuid4().hex[:8]}"
        self.names = Names(run)
        self.database = run
        self.worker: Outcome | None = None
        """Set once the worker section has run: the installation is loaded then."""
        self._keep = keep
        self._kafka = Brokers("")

    @property
    def kafka(self) -> Brokers:
        """The broker; started at the first question, unless KAFKA_BOOTSTRAP is set."""
        if not self._kafka:
            tell("starting Kafka")
            stack = EmbeddedStack(self.home, clickhouse=False)
            found = stack.start().kafka_bootstrap
            self._kafka = read_settings().kafka or Brokers(found)
            self._keep.callback(stack.stop)
            if stack.kafka is None:
                self._keep.callback(_delete_topics, self._kafka, self.names.prefix)
        return self._kafka

    @contextmanager
    def clickhouse(self) -> Iterator[str]:
        """Start ClickHouse for the time of the block, unless CLICKHOUSE_URL is set, and return its URL: it must not take
        part in what else is measured."""
        tell("starting ClickHouse")
        stack = EmbeddedStack(self.home / "clickhouse-only", kafka=False)
        found = stack.start().clickhouse_url
        url = read_settings().clickhouse_url or found
        try:
            yield url
        finally:
            if stack.clickhouse is None:
                _drop_database(url, self.database)
            stack.stop()

    @contextmanager
    def child(self, name: str, *arguments: str, **environment: str) -> Iterator[ChildCommand]:
        """Run `plaudit ARGUMENTS` of this run's installation; stop it at the end of the block."""
        common = {
            "KAFKA_BOOTSTRAP": self.kafka.bootstrap,
            "PLAUDIT_HOME": str(self.home),
            "PLAUDIT_PREFIX": self.names.prefix,
            "PLAUDIT_PARTITIONS": str(DEFAULT_PARTITIONS),
            "PLAUDIT_DATABASE": self.database,
            "PLAUDIT_CONTROL_TOKEN": "",
            "PLAUDIT_METRICS_PORT": "",
            "PLAUDIT_TICK_SECONDS": "",
            "PLAUDIT_INSTANCE": "",
            "PLAUDIT_LOG_LEVEL": "info",
        }
        one = ChildCommand(name, list(arguments), self.home / "logs" / f"{name}.log", {**common, **environment})
        try:
            yield one
        finally:
            one.stop()


@contextmanager
def open_bench(sizes: Sizes) -> Iterator[Bench]:
    """Prepare a run in a directory of its own; end everything and delete it at the end, SIGTERM included."""
    signal.signal(signal.SIGTERM, _interrupt)
    home = Path(tempfile.mkdtemp(prefix="plaudit-bench-"))
    with ExitStack() as keep:
        keep.callback(shutil.rmtree, home, ignore_errors=True)
        yield Bench(sizes, home, keep)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _delete_topics(brokers: Brokers, prefix: str) -> None:
    """Leave nothing on a broker that is not ours."""
    import asyncio

    async def delete() -> None:
        admin = AIOKafkaAdminClient(**brokers.client())
        await admin.start()
        try:
            await admin.delete_topics([name for name in await admin.list_topics() if name.startswith(prefix)])
        finally:
            await admin.close()

    asyncio.run(delete())


def _drop_database(url: str, database: str) -> None:
    from projections.connection import connect

    client = connect(url)
    client.command(f"DROP DATABASE IF EXISTS {database}")
    client.close()


# what processes say and use


def log_events(log: Path, name: str) -> list[dict[str, Any]]:
    """Return the structlog events of a name in a child's log, oldest first; other lines are passed over."""
    found = []
    for line in log.read_bytes().splitlines():
        try:
            event = _log_line.decode(line)
        except msgspec.MsgspecError:
            continue
        if event.get("event") == name:
            found.append(event)
    return found


def moment_s(event: dict[str, Any]) -> float:
    """Return when a log event happened, seconds since 1970."""
    return datetime.fromisoformat(event["timestamp"]).timestamp()


def wait_for_event(child: ChildCommand, name: str, timeout_s: float = STALL_S) -> dict[str, Any]:
    """Return the first log event of a name, once it is there. BenchmarkError after `timeout_s`."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        child.check()
        found[:] = log_events(child.log, name)
        return bool(found)

    wait_until(look, f"the {child.name} to log {name!r} ({child.log})", timeout_s)
    return found[0]


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = STALL_S) -> None:
    """Return once the condition holds. BenchmarkError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"waited {timeout_s:.0f} s in vain for {what}")
        time.sleep(POLL_S)


def cpu_s(pid: int) -> float | None:
    """Return the CPU time of a process, all threads, in seconds; None where the system does not tell (not Linux)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return sum(int(fields[place]) for place in _CPU_FIELDS) / _TICKS_PER_S


def peak_rss_mb(pid: int) -> float | None:
    """Return the largest resident memory that a living process has had, in MB (10^6 bytes); None if not on Linux."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    kib = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return round(kib * 1024 / _MEGABYTE, 1)


def metrics_of(port: int) -> dict[str, float]:
    """Return what a child serves on a port: every metric, summed over its labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


# what stands on topics


async def append_times(brokers: Brokers, topic: str) -> tuple[int, float, float]:
    """Return how many records a topic without transactions holds, and when the first and the last were appended by the
    broker's clock, seconds since 1970. The topic has LogAppendTime."""
    async with consumer(brokers) as one:
        places = await partitions_of(one, topic)
        ends = {place: end for place, end in (await one.end_offsets(places)).items() if end > 0}
        if not ends:
            raise BenchmarkError(f"nothing is on {topic}")
        one.assign(list(ends))
        firsts = await _timestamps(one, dict.fromkeys(ends, 0))
        lasts = await _timestamps(one, {place: end - 1 for place, end in ends.items()})
    return sum(ends.values()), min(firsts) / 1000, max(lasts) / 1000


async def _timestamps(one: Any, offsets: dict[TopicPartition, int]) -> list[int]:
    found = []
    for place, offset in offsets.items():
        one.seek(place, offset)
        record = await one.getone(place)
        assert record.offset == offset
        found.append(record.timestamp)
    return found
