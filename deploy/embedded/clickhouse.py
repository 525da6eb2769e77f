"""ClickHouse as a child process: the real HTTP server inside chdb-core, on loopback."""

import http.client
import shutil
import time
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from deploy.embedded.child import Child, lock_directory
from deploy.embedded.errors import CLICKHOUSE_ELSEWHERE, StackError
from deploy.embedded.ports import LOOPBACK, choose_ports
from deploy.embedded.progress import LineProgress, Progress

START_TIMEOUT_S = 60.0  # 0.4 s on an idle machine; loading many parts takes longer
PROBE_TIMEOUT_S = 1.0
# Without open connections it ends in 0.1 s; with them it waits 5 s for them, and SIGTERM is safe.
ORDERLY_STOP_S = 1.0
STOP_TIMEOUT_S = 5.0
MAX_MEMORY_BYTES = 2_000_000_000
# Below this much free space it refuses inserts and merges, which is harmless; a merge that meets a disk without any space
# leaves a part behind that cannot be read.
KEEP_FREE_BYTES = 64 * 1024 * 1024
MARK_CACHE_BYTES = 64 * 1024 * 1024


class ClickHouseServer:
    """One embedded ClickHouse with its data in one directory.

    It has one user, `default`, without a password, hence loopback only. `start` after `stop` or `kill`, also by
    another object on the same directory, goes on with the same data and, if it is still free, the same port. The
    server ends with this process, however that ends.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        max_memory_bytes: int = MAX_MEMORY_BYTES,
        users_file: Path | None = None,
        progress: Progress | None = None,
        cancelled: Event | None = None,
    ) -> None:
        """Nothing is started yet. `port` None takes the last port or a free one; a query beyond `max_memory_bytes` for
        the whole server fails; `users_file` has further users (`plaudit security users-file`), besides `default`, which
        it must have; setting `cancelled` breaks off a start in another thread."""
        self.directory = directory.absolute()
        self._configured_port = port
        self._max_memory_bytes = max_memory_bytes
        self._users_file = users_file
        self._progress = progress or LineProgress()
        self._cancelled = cancelled or Event()
        self._child: Child | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """The address as clickhouse_connect takes it as `dsn`; set once the server has been started."""
        assert self._url, "the server has not been started"
        return self._url

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self._child is not None, "the server is not started"
        return self._child.process.pid

    @property
    def running(self) -> bool:
        """Whether the server's process is there."""
        return self._child is not None and self._child.process.poll() is None

    def start(self) -> None:
        """Start it and return when it answers. StackError, with what to do, if that fails."""
        assert self._child is None, "the server is already started"
        began = time.monotonic()
        if find_spec("chdb") is None:
            raise StackError(
                "the embedded ClickHouse needs the package chdb-core, which is not installed. "
                f"Install it with `pip install 'plaudit[embedded]'`. {CLICKHOUSE_ELSEWHERE}"
            )
        self._progress.step("clickhouse", "starting ClickHouse")
        run, logs = self.directory / "run", self.directory / "logs"
        with lock_directory("ClickHouse", self.directory) as lock:
            self._configure(run, logs)
            child = Child(
                "ClickHouse",
                lock,
                Path(__file__).with_name("clickhouse_child.py"),
                [str(self.directory / "data"), str(run)],
                logs=[logs / "stderr.log", logs / "clickhouse.err.log"],
                cwd=self.directory,
                environment={"TMPDIR": str(run / "tmp")},
            )
        self._child = child
        try:
            child.wait_ready(lambda: clickhouse_answers(self.url), START_TIMEOUT_S, self._cancelled)
        except BaseException:
            self.kill()
            raise
        self._progress.ready("clickhouse", self.url, time.monotonic() - began)

    def stop(self) -> None:
        """Stop it and return when it is gone. Does nothing if it is not started."""
        self.ask_to_stop()
        if self._child is not None:
            self._child.wait_stopped(ORDERLY_STOP_S, STOP_TIMEOUT_S)
        self._child = None

    def ask_to_stop(self) -> None:
        """Begin to stop it, and return at once: `stop` then waits."""
        if self._child is not None:
            self._child.ask_to_stop()

    def kill(self) -> None:
        """Kill it like a crash (kill -9), and return when it is gone; for tests. Does nothing if it is not started."""
        if self._child is not None:
            self._child.process.kill()
            self._child.wait_stopped(STOP_TIMEOUT_S, STOP_TIMEOUT_S)
        self._child = None

    def check(self) -> None:
        """StackError, with the end of the log, if the server was started and has ended by itself."""
        if self._child is not None and not self.running:
            raise StackError(f"ClickHouse has ended. {self._child.what_it_said()}")

    def _configure(self, run: Path, logs: Path) -> None:
        # chdb's import makes a directory of its own in TMPDIR, which stays if the process is killed at that moment.
        shutil.rmtree(run, ignore_errors=True)
        (run / "tmp").mkdir(parents=True)
        logs.mkdir(exist_ok=True)
        ports = choose_ports(("ClickHouse",), self.directory / "ports.json", {"ClickHouse": self._configured_port})
        self._url = f"http://default:@{LOOPBACK}:{ports['ClickHouse']}"
        users = (
            f"\n  <users_config>{escape(str(self._users_file.absolute()))}</users_config>" if self._users_file else ""
        )
        config = f"""<clickhouse>{users}
  <http_port>{ports["ClickHouse"]}</http_port>
  <listen_host>{LOOPBACK}</listen_host>
  <mark_cache_size>{MARK_CACHE_BYTES}</mark_cache_size>
  <max_server_memory_usage>{self._max_memory_bytes}</max_server_memory_usage>
  <storage_configuration>
    <disks><default><keep_free_space_bytes>{KEEP_FREE_BYTES}</keep_free_space_bytes></default></disks>
  </storage_configuration>
  <logger>
    <level>warning</level>
    <console>0</console>
    <log>{escape(str(logs / "clickhouse.log"))}</log>
    <errorlog>{escape(str(logs / "clickhouse.err.log"))}</errorlog>
    <size>10M</size>
    <count>1</count>
  </logger>
</clickhouse>
"""
        (run / "config.xml").write_text(config, encoding="utf-8")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def clickhouse_answers(url: str) -> bool:
    """Whether a ClickHouse answers at `url`."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().read(16) == b"Ok.\n"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
