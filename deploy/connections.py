"""Kafka and ClickHouse as the environment names them: addresses, users, certificates, and whether these fit together."""

import re
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from deploy.environment import Reader, SettingsError, file, one_of, text
from schemas.brokers import ENCRYPTED, MECHANISMS, PROTOCOLS, SASL, Brokers
from schemas.secrets import CA_PARAMETER, HIDDEN, Dsn

_SERVER: Final = re.compile(r"[^\s:/,]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")


def read_brokers(read: Reader) -> Brokers:
    """Return how to reach Kafka, without addresses if none are set.

    Raises:
        SettingsError: a variable does not fit, variables contradict each other, or a certificate file holds none.
    """
    brokers = Brokers(
        bootstrap=read("KAFKA_BOOTSTRAP", _servers, ""),
        protocol=read("KAFKA_SECURITY_PROTOCOL", one_of(PROTOCOLS), "PLAINTEXT"),
        mechanism=read("KAFKA_SASL_MECHANISM", one_of(MECHANISMS), "SCRAM-SHA-512"),
        username=read("KAFKA_USERNAME", text, ""),
        password=read.secret("KAFKA_PASSWORD"),
        ca_file=read("KAFKA_CA_FILE", file, ""),
        certificate_file=read("KAFKA_CERTIFICATE_FILE", file, ""),
        key_file=read("KAFKA_KEY_FILE", file, ""),
    )
    _check_fit(brokers, read("KAFKA_SASL_MECHANISM", text, ""))
    try:
        brokers.client()
    except OSError as error:
        raise SettingsError(*_named(brokers), f"not PEM certificates and their key ({error})") from None
    return brokers


def read_clickhouse(read: Reader) -> Dsn:
    """Return the address of ClickHouse, empty if none is set: then the other variables, which ClickHouse's own programs
    know too, say nothing.

    Raises:
        SettingsError: a variable does not fit, or variables contradict each other.
    """
    url = read("CLICKHOUSE_URL", _url, "", hidden=True)
    user, password = read("CLICKHOUSE_USER", text, ""), read.secret("CLICKHOUSE_PASSWORD")
    ca_file = read("CLICKHOUSE_CA_FILE", file, "")
    given = {"CLICKHOUSE_USER": user, "CLICKHOUSE_PASSWORD": password and HIDDEN, "CLICKHOUSE_CA_FILE": ca_file}
    parts = urlsplit(url)
    if not url:
        return Dsn()
    if ca_file and parts.scheme != "https":
        raise SettingsError("CLICKHOUSE_CA_FILE", ca_file, "CLICKHOUSE_URL is http://, without TLS; write https://")
    known_file = parse_qs(parts.query).get(CA_PARAMETER, [""])[0]
    for variable, value, known, part in (
        ("CLICKHOUSE_USER", user, unquote(parts.username or ""), "user"),
        ("CLICKHOUSE_PASSWORD", password, unquote(parts.password or ""), "password"),
        ("CLICKHOUSE_CA_FILE", ca_file, known_file, CA_PARAMETER),
    ):
        if value and known and value != known:
            raise SettingsError(variable, given[variable], f"CLICKHOUSE_URL has another {part}; leave it out there")
    return Dsn.of(url, user=user, password=password, ca_file="" if known_file else ca_file)


def _check_fit(brokers: Brokers, mechanism: str) -> None:
    protocol = brokers.protocol
    if protocol != "PLAINTEXT" and not brokers:
        raise SettingsError(
            "KAFKA_SECURITY_PROTOCOL", protocol, "KAFKA_BOOTSTRAP is not set; it says where that Kafka is"
        )
    user = {"KAFKA_USERNAME": brokers.username, "KAFKA_PASSWORD": brokers.password and HIDDEN}
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


def _named(brokers: Brokers) -> tuple[str, str]:
    files = {
        "KAFKA_CA_FILE": brokers.ca_file,
        "KAFKA_CERTIFICATE_FILE": brokers.certificate_file,
        "KAFKA_KEY_FILE": brokers.key_file,
    }
    named = {variable: name for variable, name in files.items() if name}
    return " ".join(named), " ".join(named.values())


def _servers(value: str) -> str:
    servers = [server.strip() for server in value.split(",")]
    if not all(_SERVER.fullmatch(server) for server in servers):
        raise ValueError("write host:port, several separated by commas, for example kafka-1:9092,kafka-2:9092")
    return ",".join(servers)


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no number for a port, for example; its message may hold the password
        fits = False
    if not fits:
        raise ValueError("write a URL, for example https://user:password@clickhouse:8443 or http://localhost:8123")
    return value
