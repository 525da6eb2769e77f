"""Settings of an installation, from the environment: the one place that reads it."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from deploy.connections import read_brokers, read_clickhouse
from deploy.embedded.paths import home_dir
from deploy.environment import Reader, flag, matching, one_of, path, seconds, text, whole
from schemas.brokers import Brokers
from schemas.operations import GRACE_S, LOOPBACK
from schemas.retention import Retention, parse_retention
from schemas.secrets import Dsn, Secret
from schemas.topics import DEFAULT_PARTITIONS, DEFAULT_PREFIX, EVENTS, RETAINED, RETENTION_GROUPS

if TYPE_CHECKING:
    from processors.agents.worker import WorkerOptions

LEVEL_VARIABLE: Final = "PLAUDIT_LOG_LEVEL"
DEFAULT_LEVEL: Final = "info"
LEVELS: Final = ("debug", "info", "warning", "error", "critical")

MAX_PARTITIONS: Final = 1_000
MAX_REPLICATION: Final = 10
MAX_TICK_S: Final = 3_600.0
MIN_SESSION_S: Final = 6.0
MAX_SESSION_S: Final = 60.0
MAX_GRACE_S: Final = 600.0

_TOPIC_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_INSTANCE: Final = re.compile(r"[A-Za-z0-9._-]{1,200}")
_HOST: Final = re.compile(r"[A-Za-z0-9._:-]{1,255}")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment says. Empty `kafka` or `clickhouse_url`: the embedded one is used."""

    kafka: Brokers = Brokers("")
    """KAFKA_BOOTSTRAP: `host:port`, comma-separated; and the KAFKA_ variables of its security."""
    clickhouse_url: Dsn = Dsn()
    """CLICKHOUSE_URL, and the CLICKHOUSE_ variables of its user and certificate, in one address."""
    home: Path
    """PLAUDIT_HOME: directory of the installation on this machine."""
    prefix: str = DEFAULT_PREFIX
    """PLAUDIT_PREFIX: in front of all topic names."""
    partitions: int = DEFAULT_PARTITIONS
    """PLAUDIT_PARTITIONS: of the input log; cannot change once topics exist."""
    replication: int = 1
    """PLAUDIT_REPLICATION: replicas of new topics."""
    environment: str = "production"
    """PLAUDIT_ENVIRONMENT: part of derived ids (C42)."""
    control_token: Secret = Secret()
    """PLAUDIT_CONTROL_TOKEN or PLAUDIT_CONTROL_TOKEN_FILE: what control records must carry (X7); empty = not checked."""
    instance: str = ""
    """PLAUDIT_INSTANCE: name of this worker; empty = a free one of this home."""
    database: str = "plaudit"
    """PLAUDIT_DATABASE: in ClickHouse."""
    tick_interval_s: float = 30.0
    """PLAUDIT_TICK_SECONDS: time between ticks of the clock."""
    session_s: float = 8.0
    """PLAUDIT_SESSION_SECONDS: silence after which a worker loses its partitions."""
    allow_retention: bool = False
    """PLAUDIT_ALLOW_RETENTION=1: the input log may have a retention (X9a)."""
    topic_retention: Retention = {}
    """PLAUDIT_TOPIC_RETENTION: days that topics keep their records, `derived=30d rejected=90d` (X30a)."""
    table_retention: Retention = {}
    """PLAUDIT_TABLE_RETENTION: days that tables keep their rows, `metric_events=400d` (X30a)."""
    metrics_port: int = 0
    """PLAUDIT_METRICS_PORT: where worker and sink serve /metrics, /healthz and /readyz; 0 = nowhere."""
    metrics_host: str = LOOPBACK
    """PLAUDIT_METRICS_HOST: address that they bind to there."""
    grace_s: float = GRACE_S
    """PLAUDIT_GRACE_SECONDS: how long worker and sink may take to end in order."""
    log_level: str = DEFAULT_LEVEL
    """PLAUDIT_LOG_LEVEL: of worker and sink."""

    def worker_options(self, brokers: Brokers | None = None) -> "WorkerOptions":
        """Return the options of a worker; `brokers` is the embedded one, if it is used."""
        from processors.agents.worker import WorkerOptions  # Faust takes a while to import

        return WorkerOptions(
            brokers=brokers or self.kafka,
            home=self.home,
            prefix=self.prefix,
            partitions=self.partitions,
            environment=self.environment,
            control_token=self.control_token,
            instance=self.instance,
            tick_interval_s=self.tick_interval_s,
            session_s=self.session_s,
            allow_retention=self.allow_retention,
            retention=self.topic_retention,
            metrics_port=self.metrics_port,
            metrics_host=self.metrics_host,
            grace_s=self.grace_s,
        )


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of `environ`, by default the process's. SettingsError for the first that does not fit."""
    read = Reader(os.environ if environ is None else environ)
    allow_retention = read("PLAUDIT_ALLOW_RETENTION", flag, False)
    return Settings(
        kafka=read_brokers(read),
        clickhouse_url=read_clickhouse(read),
        home=read("PLAUDIT_HOME", path, home_dir()),
        prefix=read("PLAUDIT_PREFIX", matching(_TOPIC_NAME, "letters, digits, '.', '_' and '-'"), DEFAULT_PREFIX),
        partitions=read("PLAUDIT_PARTITIONS", whole(1, MAX_PARTITIONS), DEFAULT_PARTITIONS),
        replication=read("PLAUDIT_REPLICATION", whole(1, MAX_REPLICATION), 1),
        environment=read("PLAUDIT_ENVIRONMENT", text, "production"),
        control_token=read.secret("PLAUDIT_CONTROL_TOKEN"),
        instance=read("PLAUDIT_INSTANCE", matching(_INSTANCE, "letters, digits, '.', '_' and '-'"), ""),
        database=read("PLAUDIT_DATABASE", matching(_IDENTIFIER, "letters, digits and '_'"), "plaudit"),
        tick_interval_s=read("PLAUDIT_TICK_SECONDS", seconds(0.1, MAX_TICK_S), 30.0),
        session_s=read("PLAUDIT_SESSION_SECONDS", seconds(MIN_SESSION_S, MAX_SESSION_S), 8.0),
        allow_retention=allow_retention,
        topic_retention=read(
            "PLAUDIT_TOPIC_RETENTION", lambda given: _topic_retention(given, allow_retention), Retention()
        ),
        table_retention=read("PLAUDIT_TABLE_RETENTION", _table_retention, Retention()),
        metrics_port=read("PLAUDIT_METRICS_PORT", whole(0, 65_535), 0),
        metrics_host=read("PLAUDIT_METRICS_HOST", matching(_HOST, "a host name or an address"), LOOPBACK),
        grace_s=read("PLAUDIT_GRACE_SECONDS", seconds(1.0, MAX_GRACE_S), GRACE_S),
        log_level=read(LEVEL_VARIABLE, one_of(LEVELS), DEFAULT_LEVEL),
    )


def _topic_retention(given: str, allowed: bool) -> Retention:
    found = parse_retention(given, RETAINED, RETENTION_GROUPS)
    if EVENTS in found and not allowed:
        raise ValueError(
            "the input log is what replay, preview and why read; to let it forget, set PLAUDIT_ALLOW_RETENTION=1 too"
        )
    return found


def _table_retention(given: str) -> Retention:
    from projections.tables import ROLLUPS, TABLES, TIME_COLUMNS

    try:
        return parse_retention(given, TIME_COLUMNS)
    except ValueError as error:
        lasting = [name for name in (*(table.name for table in TABLES), *ROLLUPS) if name not in TIME_COLUMNS]
        if any(f"'{name}'" in str(error) for name in lasting):
            raise ValueError(f"{error}. {', '.join(lasting)} say how things stand now, and have none") from None
        raise
