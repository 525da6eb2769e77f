"""The files that configure the embedded broker. They are written anew on every start, because ports may change."""

import base64
import uuid
from collections.abc import Mapping
from pathlib import Path

from deploy.embedded.ports import LOOPBACK

MAX_RECORD_BYTES = 12_000_000  # topics take records of 11 MB; the rest is for batch headers
MAX_TRANSACTION_MS = 900_000


def server_properties(port: int, controller_port: int, data: Path, more: Mapping[str, str]) -> str:
    """`server.properties` of a broker that is its own controller, listening on loopback only; `more` wins."""
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        # one broker
        "default.replication.factor": "1",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "offsets.topic.num.partitions": "8",
        "transaction.state.log.num.partitions": "8",
        # sizes
        "message.max.bytes": str(MAX_RECORD_BYTES),
        "replica.fetch.max.bytes": str(MAX_RECORD_BYTES),
        "fetch.max.bytes": str(57_671_680),
        "transaction.max.timeout.ms": str(MAX_TRANSACTION_MS),
        # a laptop: few threads, small buffers
        "num.network.threads": "2",
        "num.io.threads": "4",
        "num.recovery.threads.per.data.dir": "2",
        "log.cleaner.threads": "1",
        # One cleaner thread must hold one record of the largest size twice, and a small offset map.
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
        "log.cleaner.io.buffer.size": str(1024 * 1024),
        "log.retention.check.interval.ms": "60000",
        # consumers join without a pause, and tests may use short sessions
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "3000",
        # After kill -9 the controller refuses the broker until the session of its dead predecessor has run out, which
        # by default makes a restart take 14 s instead of 1.4 s.
        "broker.session.timeout.ms": "2500",
        "broker.heartbeat.interval.ms": "300",
        **more,
    }
    return "".join(f"{key}={escape(value)}\n" for key, value in settings.items())


def log4j_properties(log: Path) -> str:
    """`log4j.properties`: warnings and worse into `log`, two files of 10 MB at most."""
    return f"""log4j.rootLogger=WARN, file
log4j.appender.file=org.apache.log4j.RollingFileAppender
log4j.appender.file.File={escape(str(log))}
log4j.appender.file.MaxFileSize=10MB
log4j.appender.file.MaxBackupIndex=1
log4j.appender.file.layout=org.apache.log4j.PatternLayout
log4j.appender.file.layout.ConversionPattern=%d{{ISO8601}} %p %m (%c)%n
"""


def escape(value: str) -> str:
    """`value` as Java's properties format reads it back: the files are Latin-1 with \\uXXXX escapes."""
    units = value.encode("utf-16-be")
    codes = [int.from_bytes(units[i : i + 2], "big") for i in range(0, len(units), 2)]
    return "".join("\\\\" if c == 0x5C else chr(c) if 0x20 <= c < 0x7F else f"\\u{c:04x}" for c in codes)


def random_cluster_id() -> str:
    """A new cluster id as Kafka writes them: 16 random bytes, base64. Not starting with `-`, which the storage tool
    would take for an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=")
        if not text.startswith("-"):
            return text
