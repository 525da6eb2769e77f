"""Both servers as one: started together, stopped together, and findable by other processes."""

import os
import time
from collections.abc import Callable, Collection
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

import msgspec

from deploy.embedded.clickhouse import ClickHouseServer, clickhouse_answers
from deploy.embedded.errors import StackError, StartCancelled
from deploy.embedded.files import FileLock, is_locked, write_atomically
from deploy.embedded.kafka import KafkaServer, broker_answers
from deploy.embedded.ports import port_from_env
from deploy.embedded.progress import LineProgress, Part, Progress

STACK_FILE = "stack.json"
LOCK_FILE = "stack.lock"
LOCK_TIMEOUT_S = 1.0

USERS_VARIABLE = "PLAUDIT_CLICKHOUSE_USERS_FILE"


class Endpoints(msgspec.Struct, frozen=True):
    """Where the servers are. A part that was neither started nor configured is an empty string."""

    kafka_bootstrap: str
    """`host:port`, or a comma-separated list from KAFKA_BOOTSTRAP."""
    clickhouse_url: str
    """`http://user:password@host:port`, usable as `dsn` of clickhouse_connect."""


class StackRecord(msgspec.Struct, frozen=True):
    """The content of `stack.json` in the home of a running stack."""

    pid: int
    """The process that owns the servers."""
    kafka_bootstrap: str
    clickhouse_url: str
    started_at: float
    """Seconds since 1970."""
    started: list[Part]
    """The parts that the stack itself runs; the others come from the environment."""


class EmbeddedStack:
    """Kafka and ClickHouse for one process and its friends; a context manager, or `start` and `stop`.

    A part for which KAFKA_BOOTSTRAP or CLICKHOUSE_URL is set is used from there and not started. If anything is
    started, `home` is locked, and `home/stack.json` tells other processes where the servers are. The servers end with
    this process, also by kill -9; what was acknowledged is there again after the next start.
    """

    def __init__(
        self, home: Path, *, kafka: bool = True, clickhouse: bool = True, progress: Progress | None = None
    ) -> None:
        """Nothing is started yet. Data goes under `home`; `kafka` and `clickhouse` say which parts are wanted.
        PLAUDIT_KAFKA_PORT and PLAUDIT_CLICKHOUSE_PORT fix ports, else those of the last run are kept if free."""
        self.home = home.absolute()
        self._progress = progress or LineProgress()
        self._cancelled = Event()
        self._wants_kafka = kafka
        self._wants_clickhouse = clickhouse
        self._lock = FileLock(self.home / LOCK_FILE)
        self._endpoints: Endpoints | None = None
        self.kafka: KafkaServer | None = None
        """The broker, if this stack runs it."""
        self.clickhouse: ClickHouseServer | None = None
        """The ClickHouse server, if this stack runs it."""

    @property
    def endpoints(self) -> Endpoints:
        """Where the servers are; set once the stack has been started."""
        assert self._endpoints is not None, "the stack is not started"
        return self._endpoints

    def start(self) -> Endpoints:
        """Start what is wanted and not configured, both parts at once, and return when all answers. StackError, with
        what to do, if that fails; then nothing runs."""
        assert self._endpoints is None, "the stack is already started"
        kafka_bootstrap = os.environ.get("KAFKA_BOOTSTRAP", "").strip()
        clickhouse_url = os.environ.get("CLICKHOUSE_URL", "").strip()
        self._cancelled.clear()
        starts: list[Callable[[], None]] = []
        if self._wants_kafka and not kafka_bootstrap:
            self.kafka = KafkaServer(
                self.home / "kafka",
                port=port_from_env("PLAUDIT_KAFKA_PORT"),
                progress=self._progress,
                cancelled=self._cancelled,
            )
            starts.append(self.kafka.start)
        if self._wants_clickhouse and not clickhouse_url:
            self.clickhouse = ClickHouseServer(
                self.home / "clickhouse",
                port=port_from_env("PLAUDIT_CLICKHOUSE_PORT"),
                users_file=_users_file(),
                progress=self._progress,
                cancelled=self._cancelled,
            )
            starts.append(self.clickhouse.start)
        try:
            if starts:
                self._lock_home()
                self._start_together(starts)
            self._endpoints = Endpoints(
                self.kafka.bootstrap if self.kafka else kafka_bootstrap,
                self.clickhouse.url if self.clickhouse else clickhouse_url,
            )
            if starts:
                self._publish(self._endpoints)
        except BaseException:
            self.stop()
            raise
        return self._endpoints

    def stop(self) -> None:
        """Stop what was started, and return when it is gone. Does nothing if nothing is started."""
        servers = [server for server in (self.kafka, self.clickhouse) if server is not None]
        if self._endpoints is not None and servers:
            (self.home / STACK_FILE).unlink(missing_ok=True)  # first: nobody is sent to servers that are going
        try:
            for server in servers:
                server.ask_to_stop()
            for server in servers:
                server.stop()
        finally:
            self._lock.release()
            self.kafka = self.clickhouse = self._endpoints = None

    def check(self) -> None:
        """StackError, with the end of its log, if a server of this stack has ended by itself."""
        for server in (self.kafka, self.clickhouse):
            if server is not None:
                server.check()

    def _lock_home(self) -> None:
        try:
            taken = self._lock.acquire(LOCK_TIMEOUT_S)
        except OSError as error:
            raise StackError(
                f"cannot write to {self.home} ({error.strerror}). "
                "Set PLAUDIT_HOME to a directory that you may write to."
            ) from error
        if not taken:
            record = _read_record(self.home)
            who = f" (process {record.pid})" if record else ""
            raise StackError(
                f"a stack is already running on {self.home}{who}. Use that one, stop it, "
                "or set PLAUDIT_HOME to another directory."
            )
        (self.home / STACK_FILE).unlink(missing_ok=True)  # of a stack that was killed

    def _start_together(self, starts: list[Callable[[], None]]) -> None:
        with ThreadPoolExecutor(max_workers=len(starts), thread_name_prefix="stack") as pool:
            futures: list[Future[None]] = [pool.submit(start) for start in starts]
            try:
                first, _ = wait(futures, return_when=FIRST_EXCEPTION)
            finally:  # also on Ctrl-C here
                if not all(future.done() and future.exception() is None for future in futures):
                    self._cancelled.set()
        errors = [error for future in futures if (error := future.exception()) is not None]
        failed_first = [error for future in first if (error := future.exception()) is not None]
        for error in sorted([*failed_first, *errors], key=lambda e: isinstance(e, StartCancelled)):  # the cause first
            raise error

    def _publish(self, endpoints: Endpoints) -> None:
        parts: list[tuple[Part, object]] = [("kafka", self.kafka), ("clickhouse", self.clickhouse)]
        record = StackRecord(
            os.getpid(),
            endpoints.kafka_bootstrap,
            endpoints.clickhouse_url,
            time.time(),
            [name for name, server in parts if server is not None],
        )
        write_atomically(self.home / STACK_FILE, msgspec.json.encode(record).decode("utf-8"))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def running_stack(home: Path, *, answering: Collection[Part] = ("kafka", "clickhouse")) -> Endpoints | None:
    """Where the servers of the stack that runs on `home` are; None if none runs there or one of those in `answering` does
    not answer. Servers that the stack took from the environment are not asked."""
    record = _read_record(home)
    # The lock is what cannot lie: a pid may have been given to another process since.
    if record is None or not is_locked(home / LOCK_FILE) or not _process_exists(record.pid):
        return None
    asked = {*answering} & {*record.started}
    if "kafka" in asked and not broker_answers(record.kafka_bootstrap):
        return None
    if "clickhouse" in asked and not clickhouse_answers(record.clickhouse_url):
        return None
    return Endpoints(record.kafka_bootstrap, record.clickhouse_url)


def _users_file() -> Path | None:
    name = os.environ.get(USERS_VARIABLE, "").strip()
    if not name:
        return None
    path = Path(name).expanduser()
    if not path.is_file():
        raise StackError(f"{USERS_VARIABLE}={name!r} is no file; write one with `plaudit security users-file`")
    return path


def _read_record(home: Path) -> StackRecord | None:
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode((home / STACK_FILE).read_bytes(), type=StackRecord)
    return None


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's, and there
    return True
