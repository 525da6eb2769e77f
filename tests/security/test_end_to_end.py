"""A whole installation over TLS with users that may do what they need and nothing else, and secrets that stay secret."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import clickhouse_connect
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.cli.support.clickhouse import ClickHouse as Database
from deploy.cli.support.errors import CommandError
from deploy.cli.support.kafka import partitions_of
from deploy.security import acls, grants
from processors.engine.access import UNAUTHORISED
from processors.engine.names import Names
from schemas.topics import AWARDS, LEDGER
from tests.e2e.command import Command, Running, processes_of, wait_until
from tests.security.broker import SecureKafka
from tests.security.certificates import Certificate, make_authority
from tests.security.tables import DATABASE, SECRETS, ClickHouse

NAMES = Names("shut")
TOKEN = "control-token-5wXe"
CATALOG = Path(__file__).parents[2] / "deploy" / "samples" / "catalog.yaml"
EVENTS = 40
ATTEMPT_TIMEOUT_S = 60.0


class Shut:
    """The installation.

    Attributes:
        worker, sink: what runs.
        said: what every command that has been carried out wrote.
    """

    def __init__(self, directory: Path, kafka: SecureKafka, url: str, authority: Certificate) -> None:
        self.kafka, self.directory = kafka, directory
        self.said: list[str] = []
        self._url, self._authority = url, authority
        self._running: list[Running] = []

    def command(self, role: acls.Role, clickhouse: grants.Role | None = None, /, **more: str) -> Command:
        """`plaudit` as one user; passwords of ClickHouse come from files."""
        settings = {"PLAUDIT_PREFIX": NAMES.prefix, "PLAUDIT_DATABASE": DATABASE, "PLAUDIT_PARTITIONS": "2", **more}
        if clickhouse is not None:
            secret = self.directory / f"{clickhouse}.secret"
            secret.write_text(SECRETS[clickhouse] + "\n")
            settings |= {
                "CLICKHOUSE_URL": self._url,
                "CLICKHOUSE_USER": grants.default_user(clickhouse, DATABASE),
                "CLICKHOUSE_PASSWORD_FILE": str(secret),
                "CLICKHOUSE_CA_FILE": str(self._authority.chain),
            }
        return Command(self.directory / "home", **self.kafka.environment(role, **settings))

    def carry_out(self, command: Command, *arguments: object, stdin: str = "") -> str:
        """Carry a command out that must succeed; return its output."""
        done = command(*arguments, stdin=stdin)
        self.said += [done.out, done.err]
        assert done.code == 0, done.err
        return done.out

    def start(self, name: str, command: Command, *arguments: object) -> Running:
        """Start a command that runs until `stop`."""
        running = command.start(name, *arguments)
        self._running.append(running)
        return running

    def stop(self) -> None:
        """Stop what runs, and keep what it said."""
        for running in self._running:
            running.stop()
            self.said += [running.out.read_text(), running.err.read_text()]
        self._running.clear()


@pytest.fixture(scope="module")
def shut(
    tmp_path_factory: pytest.TempPathFactory,
    kafka: SecureKafka,
    tables: ClickHouse,
    authority: Certificate,
) -> Iterator[Shut]:
    """The installation, with worker and sink at debug level and some events applied and projected."""
    shut = Shut(tmp_path_factory.mktemp("shut"), kafka, tables.url, authority)
    for role in acls.PURPOSES:
        asyncio.run(kafka.allow(role, acls.acls_of(role, NAMES, DATABASE, role)))
    token_file = shut.directory / "token.secret"
    token_file.write_text(TOKEN)
    shut.carry_out(shut.command("operator"), "topics", "create")
    shut.carry_out(shut.command("operator", "migrator"), "migrate")
    shut.carry_out(shut.command("publisher", PLAUDIT_CONTROL_TOKEN_FILE=str(token_file)), "catalog", "publish", CATALOG)
    try:
        shut.start("worker", shut.command("worker", PLAUDIT_CONTROL_TOKEN=TOKEN, PLAUDIT_LOG_LEVEL="debug"), "worker")
        shut.start("sink", shut.command("sink", "sink", PLAUDIT_LOG_LEVEL="debug"), "sink")
        lines = "\n".join(json.dumps({"metric": "commits", "user": f"u{n % 7}", "value": 1}) for n in range(EVENTS))
        shut.carry_out(shut.command("producer"), "publish", "-", stdin=lines)
        reader = shut.command("verifier", "analyst")
        wait_until(lambda: shut.carry_out(reader, "sql", "SELECT count() FROM metric_events").split()[-1] == f"{EVENTS}",
                   "all events are in the tables", 120)  # fmt: skip
        yield shut
    finally:
        shut.stop()


def test_it_works_over_tls_with_users(shut: Shut) -> None:
    """The fixture has: topics, tables, catalog, events, worker, sink and a query, each as its own user."""
    total = shut.carry_out(shut.command("verifier", "analyst"), "sql", "SELECT sum(total) FROM metric_totals")
    assert float(total.split()[-1]) == EVENTS
    assert shut.carry_out(shut.command("verifier"), "dump").count('"metric":"commits","user":') == EVENTS
    assert "plaudit topics create" not in shut.carry_out(shut.command("operator"), "topics", "describe")


async def write(shut: Shut, user: str, topic: str) -> None:
    """Write a record as a user."""
    async with AIOKafkaProducer(**shut.kafka.brokers(user).client()) as producer:
        await asyncio.wait_for(producer.send_and_wait(topic, b"{}", b"u", partition=0), 10)


async def read(shut: Shut, user: str, topic: str, group: str | None = None) -> None:
    """Read a record of a topic as a user, and commit if there is a group."""
    async with AIOKafkaConsumer(**shut.kafka.brokers(user).client(), group_id=group) as consumer:
        places = await partitions_of(consumer, topic)
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        record = await consumer.getone()
        if group is not None:
            await consumer.commit({TopicPartition(topic, record.partition): record.offset + 1})


async def begin(shut: Shut, user: str, transactional_id: str) -> None:
    """Take a transactional id over as a user, which fences whoever has it."""
    producer = AIOKafkaProducer(**shut.kafka.brokers(user).client(), transactional_id=transactional_id)
    try:
        await asyncio.wait_for(producer.start(), 10)
    finally:
        await producer.stop()


async def test_a_user_cannot_do_the_work_of_another(shut: Shut) -> None:
    """Their own work they do in the fixture."""
    derived = [NAMES.output(name) for name in (AWARDS, LEDGER)]
    attempts = [
        *(write(shut, user, topic) for user in ("producer", "sink", "subscriber", "verifier") for topic in derived),
        *(write(shut, user, NAMES.catalog) for user in ("producer", "worker", "operator")),
        *(write(shut, user, NAMES.changelog) for user in ("producer", "sink", "operator")),
        *(write(shut, user, NAMES.input) for user in ("sink", "subscriber", "verifier")),
        *(read(shut, "producer", topic) for topic in (NAMES.input, *derived)),
        read(shut, "sink", NAMES.input),
        read(shut, "subscriber", NAMES.changelog),
        read(shut, "subscriber", derived[0], NAMES.group),
        *(begin(shut, user, NAMES.transactional_id("one")) for user in ("producer", "publisher", "sink", "operator")),
    ]
    limited = [asyncio.wait_for(attempt, ATTEMPT_TIMEOUT_S) for attempt in attempts]
    for outcome in await asyncio.gather(*limited, return_exceptions=True):
        assert isinstance(outcome, UNAUTHORISED), outcome


async def test_a_subscriber_reads_derived_events_in_groups_of_its_name(shut: Shut) -> None:
    await read(shut, "subscriber", NAMES.output(AWARDS), "subscriber-board")


def test_what_a_user_may_not_do_is_said_with_the_user(shut: Shut) -> None:
    done = shut.command("producer", PLAUDIT_DEBUG="")("tail", "awards", "--from-beginning", "--count", "1")
    assert done.code == 1
    assert "the user 'producer' may not" in done.err and "plaudit security acls" in done.err


def test_a_control_record_without_the_token_is_refused(shut: Shut) -> None:
    """A producer may write into the log; what it cannot is set the time."""
    tick = shut.command("operator", PLAUDIT_CONTROL_TOKEN="another-token-3kQz")
    shut.carry_out(tick, "tick")
    query = "SELECT count() FROM rejected WHERE reason = 'forged_time'"
    reader = shut.command("verifier", "verifier")
    wait_until(lambda: shut.carry_out(reader, "sql", query).split()[-1] == "2", "both partitions refuse it", 60)


def test_an_operator_erases_a_user_and_the_sink_may_delete_the_rows(shut: Shut) -> None:
    shut.carry_out(shut.command("operator"), "erase", "u6", "--yes")
    query = "SELECT countIf(user_id = 'u6') FROM metric_events"
    reader = shut.command("verifier", "verifier")
    wait_until(lambda: shut.carry_out(reader, "sql", query).split()[-1] == "0", "the rows of the user are gone", 60)


QUERIES = [
    ("sink", "SELECT count() FROM users", "SELECT"),
    ("sink", "ALTER TABLE sink_progress DELETE WHERE 1", "ALTER DELETE"),
    ("sink", "DROP TABLE users_log", "DROP TABLE"),
    ("sink", "SELECT name FROM system.users", "system.users"),
    ("analyst", "INSERT INTO users_log (user_id) VALUES ('x')", "INSERT"),
    ("analyst", "ALTER TABLE users_log DELETE WHERE 1", "ALTER DELETE"),
    ("analyst", "TRUNCATE TABLE users_log", "TRUNCATE"),
    ("analyst", "CREATE TABLE mine (a Int8) ENGINE = Memory", "CREATE TABLE"),
    ("analyst", "SELECT name FROM system.users", "system.users"),
    ("analyst", "SELECT * FROM url('http://127.0.0.1:1/', 'RawBLOB')", "READ"),
    ("analyst", "SELECT 1 SETTINGS readonly = 0", "readonly"),
    ("analyst", "SELECT 1 SETTINGS max_execution_time = 3600", "max_execution_time"),
    ("analyst", "SELECT 1 SETTINGS max_execution_time = 0", "max_execution_time"),
    ("verifier", "INSERT INTO users_log (user_id) VALUES ('x')", "INSERT"),
]


@pytest.mark.parametrize(("role", "query", "said"), QUERIES)
def test_clickhouse_gives_each_user_its_own_rights(
    tables: ClickHouse, shut: Shut, role: grants.Role, query: str, said: str
) -> None:
    client = clickhouse_connect.get_client(dsn=tables.server.url, database=DATABASE)
    user = Database(tables.dsn(role), DATABASE)
    with pytest.raises(CommandError) as caught:
        list(user.stream(query, "TabSeparated")[1])
    assert said in caught.value.message, caught.value.message
    assert SECRETS[role] not in caught.value.message
    # Not a comparison of counts: the sink may still be deleting who was erased in the test before.
    kept, added = client.query("SELECT count(), countIf(user_id = 'x') FROM users_log FINAL").result_rows[0]
    assert kept > 0
    assert added == 0
    client.close()


@pytest.mark.parametrize(
    ("name", "role", "clickhouse", "variable", "value"),
    [
        ("sql", "verifier", "analyst", "CLICKHOUSE_PASSWORD_FILE", "wrong"),
        ("migrate", "operator", "migrator", "CLICKHOUSE_PASSWORD_FILE", "wrong"),
        ("sink", "sink", "sink", "CLICKHOUSE_PASSWORD_FILE", "wrong"),
        ("sql", "verifier", "analyst", "CLICKHOUSE_CA_FILE", "server_certificate"),
        ("migrate", "operator", "migrator", "CLICKHOUSE_CA_FILE", "server_certificate"),
        ("sink", "sink", "sink", "CLICKHOUSE_CA_FILE", ""),
    ],
)
def test_a_stranger_to_clickhouse_is_told_the_setting(
    shut: Shut, name: str, role: acls.Role, clickhouse: grants.Role, variable: str, value: str, certificates: Path
) -> None:
    command = shut.command(role, clickhouse, PLAUDIT_DEBUG="")
    (shut.directory / "wrong").write_text("not-this-one-7Yt")
    other = {"wrong": str(shut.directory / "wrong"), "server_certificate": str(make_authority(certificates, "x").chain)}
    command.environment[variable] = other.get(value, "")
    done = command(name, *(["SELECT 1"] if name == "sql" else []))
    shut.said += [done.out, done.err]
    assert done.code == 1
    assert variable.removesuffix("_FILE") in done.err, done.err
    assert "not-this-one-7Yt" not in done.err


def test_a_sink_with_a_wrong_password_ends_with_the_setting(shut: Shut) -> None:
    done = shut.command("sink", "sink", KAFKA_PASSWORD="not-this-one-7Yt", PLAUDIT_DEBUG="")("sink")
    assert done.code == 1
    assert "KAFKA_PASSWORD" in done.err and "not-this-one-7Yt" not in done.err


def test_no_secret_is_on_a_command_line(shut: Shut) -> None:
    lines = processes_of(shut.directory / "home")
    assert len(lines) >= 2  # worker and sink
    assert not [line for line in lines for secret in all_secrets(shut) if secret in line]


def test_no_secret_is_in_what_was_said(shut: Shut) -> None:
    """Last in the file: it ends worker and sink."""
    shut.stop()
    said = "\n".join(shut.said)
    assert "worker_starts" in said and "partitions_assigned" in said and '"level": "debug"' in said
    for secret in all_secrets(shut):
        assert secret not in said
    written = [path for path in (shut.directory / "home").rglob("*") if path.is_file()]
    assert not [path for path in written for secret in all_secrets(shut) if secret.encode() in path.read_bytes()]


def all_secrets(shut: Shut) -> list[str]:
    """Every secret of the installation, also as a URL has it."""
    plain = [TOKEN, *SECRETS.values(), *shut.kafka.passwords.values()]
    return [*plain, *(quote(secret, safe="") for secret in plain)]
