"""Settings of an installation, from the environment: the one place that reads it."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from deploy.embedded.paths import home_dir
from schemas.brokers import ENCRYPTED, MECHANISMS, PROTOCOLS, SASL, Brokers
from schemas.topics import DEFAULT_PARTITIONS, DEFAULT_PREFIX

if TYPE_CHECKING:
    from processors.agents.worker import WorkerOptions

T = TypeVar("T")

LEVEL_VARIABLE: Final = "PLAUDIT_LOG_LEVEL"
DEFAULT_LEVEL: Final = "info"
LEVELS: Final = ("debug", "info", "warning", "error", "critical")

MAX_PARTITIONS: Final = 1_000
MAX_REPLICATION: Final = 10
MAX_TICK_S: Final = 3_600.0
MIN_SESSION_S: Final = 6.0
MAX_SESSION_S: Final = 60.0

_TOPIC_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_INSTANCE: Final = re.compile(r"[A-Za-z0-9._-]{1,200}")
_SERVER: Final = re.compile(r"[^\s:/,]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")


class SettingsError(Exception):
    """A variable of the environment does not fit. The message names the variable, its value and the fix."""

    def __init__(self, variable: str, value: str, fix: str) -> None:
        super().__init__(f"{variable}={value!r}: {fix}")
        self.variable = variable
        self.value = value


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment says. Empty `kafka` or `clickhouse_url`: the embedded one is used."""

    kafka: Brokers = Brokers("")
    """KAFKA_BOOTSTRAP: `host:port`, comma-separated; and the KAFKA_ variables of its security."""
    clickhouse_url: str = ""
    """CLICKHOUSE_URL: `http://user:password@host:port`."""
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
    control_token: str = ""
    """PLAUDIT_CONTROL_TOKEN: what control records must carry (X7); empty = not checked."""
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
    metrics_port: int = 0
    """PLAUDIT_METRICS_PORT: where a worker serves Prometheus metrics; 0 = nowhere."""
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
            metrics_port=self.metrics_port,
        )


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of `environ`, by default the process's. SettingsError for the first that does not fit."""
    read = _Reader(os.environ if environ is None else environ)
    return Settings(
        kafka=_brokers(read),
        clickhouse_url=read("CLICKHOUSE_URL", _url, ""),
        home=read("PLAUDIT_HOME", _home, home_dir()),
        prefix=read("PLAUDIT_PREFIX", _matching(_TOPIC_NAME, "letters, digits, '.', '_' and '-'"), DEFAULT_PREFIX),
        partitions=read("PLAUDIT_PARTITIONS", _whole(1, MAX_PARTITIONS), DEFAULT_PARTITIONS),
        replication=read("PLAUDIT_REPLICATION", _whole(1, MAX_REPLICATION), 1),
        environment=read("PLAUDIT_ENVIRONMENT", _text, "production"),
        control_token=read("PLAUDIT_CONTROL_TOKEN", _text, ""),
        instance=read("PLAUDIT_INSTANCE", _matching(_INSTANCE, "letters, digits, '.', '_' and '-'"), ""),
        database=read("PLAUDIT_DATABASE", _matching(_IDENTIFIER, "letters, digits and '_'"), "plaudit"),
        tick_interval_s=read("PLAUDIT_TICK_SECONDS", _seconds(0.1, MAX_TICK_S), 30.0),
        session_s=read("PLAUDIT_SESSION_SECONDS", _seconds(MIN_SESSION_S, MAX_SESSION_S), 8.0),
        allow_retention=read("PLAUDIT_ALLOW_RETENTION", _flag, False),
        metrics_port=read("PLAUDIT_METRICS_PORT", _whole(0, 65_535), 0),
        log_level=read(LEVEL_VARIABLE, _level, DEFAULT_LEVEL),
    )


class _Reader:
    """Reads one variable; a parser returns the value or raises ValueError with the fix."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __call__(self, variable: str, parse: Callable[[str], T], default: T) -> T:
        value = self._environ.get(variable, "").strip()
        if not value:
            return default
        try:
            return parse(value)
        except ValueError as error:
            shown = "…" if "TOKEN" in variable else value
            raise SettingsError(variable, shown, str(error)) from None

    def secret(self, variable: str) -> str:
        """Return a secret: the variable, or what is in the file that `VARIABLE_FILE` names; empty if neither is set."""
        value, file = self(variable, _text, ""), self(f"{variable}_FILE", _file, "")
        if not file:
            return value
        if value:
            raise SettingsError(f"{variable}_FILE", file, f"{variable} is set too; set one of them")
        secret = Path(file).read_text(encoding="utf-8").strip()
        if not secret:
            raise SettingsError(f"{variable}_FILE", file, "the file is empty; put the secret into it")
        return secret


def _brokers(read: _Reader) -> Brokers:
    """Return how to reach Kafka; SettingsError if its variables contradict each other or a certificate is none."""
    brokers = Brokers(
        bootstrap=read("KAFKA_BOOTSTRAP", _bootstrap, ""),
        protocol=read("KAFKA_SECURITY_PROTOCOL", _one_of(PROTOCOLS), "PLAINTEXT"),
        mechanism=read("KAFKA_SASL_MECHANISM", _one_of(MECHANISMS), "SCRAM-SHA-512"),
        username=read("KAFKA_USERNAME", _text, ""),
        password=read.secret("KAFKA_PASSWORD"),
        ca_file=read("KAFKA_CA_FILE", _file, ""),
        certificate_file=read("KAFKA_CERTIFICATE_FILE", _file, ""),
        key_file=read("KAFKA_KEY_FILE", _file, ""),
    )
    _check_fit(brokers, read("KAFKA_SASL_MECHANISM", _text, ""))
    try:
        brokers.client()
    except OSError as error:
        files = {
            "KAFKA_CA_FILE": brokers.ca_file,
            "KAFKA_CERTIFICATE_FILE": brokers.certificate_file,
            "KAFKA_KEY_FILE": brokers.key_file,
        }
        named = {variable: file for variable, file in files.items() if file}
        raise SettingsError(
            " ".join(named), " ".join(named.values()), f"not PEM certificates and their key ({error})"
        ) from None
    return brokers


def _check_fit(brokers: Brokers, mechanism: str) -> None:
    protocol = brokers.protocol
    if protocol != "PLAINTEXT" and not brokers:
        raise SettingsError(
            "KAFKA_SECURITY_PROTOCOL", protocol, "KAFKA_BOOTSTRAP is not set; it says where that Kafka is"
        )
    user = {"KAFKA_USERNAME": brokers.username, "KAFKA_PASSWORD": "…" if brokers.password else ""}
    files = {"KAFKA_CA_FILE": brokers.ca_file, "KAFKA_CERTIFICATE_FILE": brokers.certificate_file}
    unused = {"KAFKA_SASL_MECHANISM": mechanism, **user} if protocol not in SASL else {}
    unused |= files if protocol not in ENCRYPTED else {}
    for variable, value in unused.items():
        if value:
            wanted = "SSL or SASL_SSL" if variable in files else "SASL_SSL (or SASL_PLAINTEXT)"
            raise SettingsError(
                variable, value, f"KAFKA_SECURITY_PROTOCOL={protocol} does not use it; set that to {wanted}"
            )
    for variable, value in user.items():
        if protocol in SASL and not value:
            also = " or KAFKA_PASSWORD_FILE" if variable == "KAFKA_PASSWORD" else ""
            raise SettingsError(variable, "", f"KAFKA_SECURITY_PROTOCOL={protocol} needs it; set it{also}")
    if brokers.key_file and not brokers.certificate_file:
        raise SettingsError("KAFKA_KEY_FILE", brokers.key_file, "set KAFKA_CERTIFICATE_FILE, which it belongs to, too")


def _file(value: str) -> str:
    path = Path(value).expanduser().absolute()
    try:
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror}); name a file") from None
    return str(path)


def _one_of(known: tuple[T, ...]) -> Callable[[str], T]:
    def parse(value: str) -> T:
        for one in known:
            if str(one) == value.upper():
                return one
        raise ValueError(f"use one of {', '.join(map(str, known))}")

    return parse


def _home(value: str) -> Path:
    return Path(value).expanduser().absolute()


def _text(value: str) -> str:
    return value


def _bootstrap(value: str) -> str:
    servers = [server.strip() for server in value.split(",")]
    if not all(_SERVER.fullmatch(server) for server in servers):
        raise ValueError("write host:port, several separated by commas, for example kafka-1:9092,kafka-2:9092")
    return ",".join(servers)


def _url(value: str) -> str:
    if not re.match(r"https?://[^\s/]", value):
        raise ValueError("write a URL, for example http://default:secret@localhost:8123")
    return value


def _level(value: str) -> str:
    if value.lower() not in LEVELS:
        raise ValueError(f"use one of {', '.join(LEVELS)}")
    return value.lower()


def _flag(value: str) -> bool:
    if value.lower() in {"1", "true", "yes", "on"}:
        return True
    if value.lower() in {"0", "false", "no", "off"}:
        return False
    raise ValueError("write 1 or 0")


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
            raise ValueError(f"write a whole number from {low} to {high}")
        return int(value)

    return parse


def _seconds(low: float, high: float) -> Callable[[str], float]:
    def parse(value: str) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if not low <= seconds <= high:
            raise ValueError(f"write seconds from {low:g} to {high:g}")
        return seconds

    return parse


def _matching(pattern: re.Pattern[str], allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if not pattern.fullmatch(value):
            raise ValueError(f"use only {allowed}")
        return value

    return parse
