"""Apache Kafka as a child process: one broker that is its own controller, on loopback."""

import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

from deploy.embedded.child import Child, lock_directory
from deploy.embedded.errors import KAFKA_ELSEWHERE, StackError, StartCancelled
from deploy.embedded.files import POLL_INTERVAL_S, log_tail
from deploy.embedded.jars import provide_jars
from deploy.embedded.java import find_java
from deploy.embedded.kafka_config import log4j_properties, random_cluster_id, server_properties
from deploy.embedded.paths import cache_dir
from deploy.embedded.ports import LOOPBACK, choose_ports
from deploy.embedded.progress import LineProgress, Progress
from schemas.brokers import Brokers

KAFKA_VERSION = "3.9.1"
START_TIMEOUT_S = 90.0  # 1.4 s on an idle machine; recovery of a large log after kill -9 takes its time
FORMAT_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 25.0  # longer than the grace that kafka_child gives Java
PROBE_TIMEOUT_S = 1.0
# No debug symbols, no attach files in /tmp, one collector thread: it shares the machine with the worker.
JVM_OPTIONS = ["-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError"]
FAST_START = ["-XX:TieredStopAtLevel=1"]


class KafkaServer:
    """One embedded broker with its data in one directory.

    `start` after `stop` or `kill`, also by another object on the same directory, goes on with the same data and, if
    they are still free, the same ports. The broker ends with this process, however that ends.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        cluster_id: str | None = None,
        format_options: Sequence[str] = (),
        answers: Callable[[str], bool] | None = None,
        progress: Progress | None = None,
        cancelled: Event | None = None,
    ) -> None:
        """Nothing is started yet. `port` None takes the last port or a free one; `settings` are broker properties that
        override the defaults of kafka_config; `cluster_id` is that of the cluster of which the broker is a part, None: a
        new one, its own; `format_options` are further ones of kafka-storage format, for users that must be there from
        the beginning; `answers` tells whether the broker at `host:port` is ready, which `broker_answers` can only of a
        plain text listener; setting `cancelled` breaks off a start in another thread."""
        self.directory = directory.absolute()
        self._port = port
        self._settings = dict(settings or {})
        self._cluster_id = cluster_id
        self._format_options = list(format_options)
        self._answers = answers or broker_answers
        self._progress = progress or LineProgress()
        self._cancelled = cancelled or Event()
        self._child: Child | None = None
        self._java_pid: int | None = None
        self._bootstrap = ""

    @property
    def bootstrap(self) -> str:
        """`host:port` of the broker; set once it has been started."""
        assert self._bootstrap, "the broker has not been started"
        return self._bootstrap

    @property
    def brokers(self) -> Brokers:
        """How clients reach it, if no setting makes its listener another than plain text."""
        return Brokers(self.bootstrap)

    @property
    def pid(self) -> int:
        """Process id of the Java that is the broker."""
        assert self._java_pid is not None, "the broker is not started"
        return self._java_pid

    @property
    def running(self) -> bool:
        """Whether the broker's process is there."""
        return self._child is not None and self._child.process.poll() is None

    def start(self) -> None:
        """Start it and return when it answers. StackError, with what to do, if that fails."""
        assert self._child is None, "the broker is already started"
        began = time.monotonic()
        if "," in str(self.directory):
            raise StackError(f"Kafka cannot use a path with a comma, {self.directory}. Set PLAUDIT_HOME to another.")
        java = find_java()
        jars = provide_jars(cache_dir() / "kafka", self._progress, self._cancelled)
        self._progress.step("kafka", f"starting Apache Kafka {KAFKA_VERSION}")
        environment = {"CLASSPATH": os.pathsep.join(map(str, jars)), "LC_ALL": "C.UTF-8"}
        logs = self.directory / "logs"
        with lock_directory("Kafka", self.directory) as lock:
            properties = self._configure(logs)
            self._format_once(java, properties, environment)
            child = Child(
                "Kafka",
                lock,
                Path(__file__).with_name("kafka_child.py"),
                [str(java), *JVM_OPTIONS, *FAST_START, self._log_option(), "kafka.Kafka", str(properties)],
                logs=[logs / "java.out", logs / "server.log"],
                cwd=self.directory,
                environment=environment,
            )
        self._child = child
        try:
            pid = child.first_line()
            if not pid.isdigit():
                raise StackError(f"Kafka did not start. {child.what_it_said()}")
            self._java_pid = int(pid)
            child.wait_ready(lambda: self._answers(self.bootstrap), START_TIMEOUT_S, self._cancelled)
        except BaseException:
            self._give_up()
            raise
        self._progress.ready("kafka", self.bootstrap, time.monotonic() - began)

    def stop(self) -> None:
        """Stop it in an orderly way and return when it is gone. Does nothing if it is not started."""
        self.ask_to_stop()
        if self._child is not None:
            self._child.wait_stopped(STOP_TIMEOUT_S, 5.0)
        self._child = self._java_pid = None

    def ask_to_stop(self) -> None:
        """Begin to stop it, and return at once: `stop` then waits."""
        if self._child is not None:
            self._child.ask_to_stop()

    def kill(self) -> None:
        """Kill it like a crash (kill -9), and return when it is gone; for tests. Does nothing if it is not started."""
        if self._child is None:
            return
        if self._java_pid is not None and self.running:
            with suppress(ProcessLookupError):
                os.kill(self._java_pid, signal.SIGKILL)
        else:
            self._child.process.kill()
        self._child.wait_stopped(5.0, 5.0)
        self._child = self._java_pid = None

    def check(self) -> None:
        """StackError, with the end of the log, if the broker was started and has ended by itself."""
        if self._child is not None and not self.running:
            raise StackError(f"Kafka has ended. {self._child.what_it_said()}")

    def _give_up(self) -> None:
        assert self._child is not None
        self._child.process.terminate()  # kafka_child passes it on
        self._child.wait_stopped(5.0, 5.0)
        self._child = self._java_pid = None

    def _configure(self, logs: Path) -> Path:
        logs.mkdir(exist_ok=True)
        ports = choose_ports(("Kafka", "Kafka controller"), self.directory / "ports.json", {"Kafka": self._port})
        self._bootstrap = f"{LOOPBACK}:{ports['Kafka']}"
        properties = self.directory / "server.properties"
        data = self.directory / "data"
        properties.write_text(
            server_properties(ports["Kafka"], ports["Kafka controller"], data, self._settings), encoding="ascii"
        )
        log4j = log4j_properties(logs / "server.log")
        (self.directory / "log4j.properties").write_text(log4j, encoding="ascii")
        return properties

    def _format_once(self, java: Path, properties: Path, environment: Mapping[str, str]) -> None:
        """Give the data directory its cluster id, if it has none. Cheap to break off: it can be done again."""
        if (self.directory / "data" / "meta.properties").exists():
            return
        output = self.directory / "logs" / "format.out"
        cluster_id = self._cluster_id or random_cluster_id()
        tool = ["kafka.tools.StorageTool", "format", "-g", "-t", cluster_id, "-c", str(properties)]
        tool += self._format_options
        with output.open("wb") as log:
            process = subprocess.Popen(
                [str(java), "-Xmx128m", "-XX:+UseSerialGC", *FAST_START, self._log_option(), *tool],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **environment},
            )  # fmt: skip
        deadline = time.monotonic() + FORMAT_TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline and not self._cancelled.wait(POLL_INTERVAL_S):
            pass
        if process.poll() is None:
            process.kill()
            process.wait()
            if self._cancelled.is_set():
                raise StartCancelled("the start of Kafka was cancelled")
        if process.returncode != 0:
            raise StackError(
                f"Kafka's data directory {self.directory / 'data'} could not be formatted (exit code "
                f"{process.returncode}). Its log:\n{log_tail(output)}\nIf the log does not help: {KAFKA_ELSEWHERE}"
            )

    def _log_option(self) -> str:
        return f"-Dlog4j.configuration={(self.directory / 'log4j.properties').as_uri()}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def broker_answers(bootstrap: str) -> bool:
    """Whether the broker at `bootstrap` answers a metadata request and knows a broker and the controller: then topics
    can be created and records produced. A raw request, so that the stack needs no client and no event loop."""
    host, _, port = bootstrap.rpartition(":")
    client = b"plaudit"
    # header: api key 3, version 1, correlation id, client id; body: an empty array, which in version 1 is no topic
    request = struct.pack(f">hhih{len(client)}si", 3, 1, 1, len(client), client, 0)
    try:
        with socket.create_connection((host, int(port)), timeout=PROBE_TIMEOUT_S) as sock:
            sock.sendall(struct.pack(">i", len(request)) + request)
            with sock.makefile("rb") as stream:
                (size,) = struct.unpack(">i", stream.read(4))
                if not 12 <= size <= 1_000_000:
                    return False
                response = stream.read(size)
    except (OSError, ValueError, struct.error):
        return False
    if len(response) < 8:
        return False
    correlation, brokers = struct.unpack_from(">ii", response)
    # with no topic the response ends in the controller's id (-1: none) and an empty array
    (controller,) = struct.unpack_from(">i", response, len(response) - 8)
    return bool(correlation == 1 and brokers > 0 and controller >= 0)
