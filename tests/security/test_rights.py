"""The rights that `plaudit security` writes, as the servers' own tools and parsers take them."""

import asyncio
import os
import shlex
import subprocess
import threading
from pathlib import Path

import clickhouse_connect
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import DescribeAclsRequest

from deploy.cli.main import run
from deploy.embedded.jars import provide_jars
from deploy.embedded.java import find_java
from deploy.embedded.paths import cache_dir
from deploy.embedded.progress import SilentProgress
from deploy.security import acls, grants
from processors.engine.names import Names
from processors.engine.topics import all_specs
from schemas.topics import HANDLED
from tests.e2e.command import Command
from tests.security.broker import ADMIN, LITERAL, OPERATIONS, PREFIXED, RESOURCES, SecureKafka
from tests.security.tables import ClickHouse

NAMES = Names("rights")
ANY, MATCH_ANY = 1, 1


def test_every_topic_has_somebody_who_reads_and_somebody_who_writes_it() -> None:
    allowed = {
        (acl.name, acl.operation)
        for role in acls.PURPOSES
        for acl in acls.acls_of(role, NAMES, "plaudit", role)
        if acl.resource == "topic"
    }
    for spec in all_specs(NAMES):
        assert {(spec.name, "Read"), (spec.name, "Write"), (spec.name, "Create")} <= allowed


def test_only_the_worker_writes_what_is_derived() -> None:
    inputs = {NAMES.input, NAMES.catalog, NAMES.output(HANDLED)}
    writers = {
        (role, acl.name)
        for role in acls.PURPOSES
        for acl in acls.acls_of(role, NAMES, "plaudit", role)
        if acl.resource == "topic" and acl.operation in ("Write", "AlterConfigs") and acl.name not in inputs
    }
    assert {role for role, _ in writers} == {"worker", "operator"}
    operator = acls.acls_of("operator", NAMES, "plaudit", "operator")
    assert {acl.name for acl in operator if acl.operation == "Write"} <= inputs


async def rights_of(kafka: SecureKafka, user: str) -> set[tuple[int, str, int, int]]:
    """What the broker has about a user: resource, name, pattern, operation."""
    admin = AIOKafkaAdminClient(**kafka.brokers(ADMIN).client())
    await admin.start()
    try:
        answer = await admin._send_request(DescribeAclsRequest(ANY, None, MATCH_ANY, f"User:{user}", None, ANY, ANY))
    finally:
        await admin.close()
    return {
        (kind, name, pattern, operation)
        for kind, name, pattern, found in answer.resources
        for _, _, operation, _ in found
    }


def test_the_script_gives_with_kafkas_own_tool_what_was_meant(kafka: SecureKafka, tmp_path: Path) -> None:
    brokers = kafka.brokers(ADMIN)
    config = tmp_path / "admin.properties"
    config.write_text(
        "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nssl.truststore.type=PEM\n"
        f"ssl.truststore.location={brokers.ca_file}\n"
        "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required "
        f'username="{ADMIN}" password="{brokers.password}";\n'
    )
    jars = os.pathsep.join(map(str, provide_jars(cache_dir() / "kafka", SilentProgress(), threading.Event())))
    tool = tmp_path / "kafka-acls.sh"
    java = [str(find_java()), "-cp", jars, "-XX:TieredStopAtLevel=1", "kafka.admin.AclCommand"]
    tool.write_text(f'#!/bin/sh\nexec {shlex.join(java)} "$@"\n')
    tool.chmod(0o755)
    command = Command(tmp_path / "home", PLAUDIT_PREFIX=NAMES.prefix)
    written = command("security", "acls", "--only", "subscriber", "--user", "subscriber=game-board")
    assert written.code == 0, written.err
    done = subprocess.run(
        ["sh", "-s"],
        input=written.out.encode(),
        env={
            **os.environ,
            "KAFKA_BOOTSTRAP": brokers.bootstrap,
            "COMMAND_CONFIG": str(config),
            "KAFKA_ACLS": str(tool),
        },
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    meant = {
        (RESOURCES[acl.resource], acl.name, PREFIXED if acl.prefixed else LITERAL, OPERATIONS[acl.operation])
        for acl in acls.acls_of("subscriber", NAMES, "plaudit", "game-board")
    }
    assert asyncio.run(rights_of(kafka, "game-board")) == meant


def test_the_sql_is_what_clickhouse_reads(tables: ClickHouse, tmp_path: Path) -> None:
    """The embedded server keeps no users, so it can only parse it; the same grants are in the users file."""
    for role in grants.PURPOSES:
        (tmp_path / role).write_text("pw-of-role-1")
    command = Command(tmp_path / "home", PLAUDIT_DATABASE="game-1".replace("-", "_"))
    files = [option for role in grants.PURPOSES for option in ("--password-file", f"{role}={tmp_path / role}")]
    written = command("security", "grants", *files, "--user", "sink=etl-sink")
    assert written.code == 0, written.err
    assert "pw-of-role-1" not in written.out
    lines = [line for line in written.out.splitlines() if not line.startswith("--")]
    statements = [statement.strip() for statement in "\n".join(lines).split(";") if statement.strip()]
    assert len([one for one in statements if one.startswith("CREATE USER")]) == len(grants.PURPOSES)
    client = clickhouse_connect.get_client(dsn=tables.server.url)
    for statement in statements:
        client.command(f"EXPLAIN AST {statement}")
    client.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["acls", "--only", "king"], "producer, worker"),
        (["acls", "--user", "worker"], "ROLE=NAME"),
        (["acls", "--user", "worker=a b"], "a name has letters"),
        (["grants", "--password-file", "sink"], "ROLE=FILE"),
        (["grants", "--password-file", "sink=/nowhere"], "/nowhere"),
        (["grants", "--password-file", "sink=/dev/null"], "empty"),
        (["users-file"], "--password-file"),
    ],
)
def test_wrong_use_is_told(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["security", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
