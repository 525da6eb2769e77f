"""Brings a ClickHouse database to the schema of `migrations/`: numbered SQL files, each applied once, in order.

Statements end with `;` at the end of a line and must be repeatable (`IF NOT EXISTS`), since ClickHouse has no
transactions over them: a migration that failed half-way is carried out again from its beginning. Names in the files are
without a database; they are carried out in the database that is asked for.
"""

import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

import msgspec
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from projections.errors import ChangedMigrationError, MigrationError

DEFAULT_DATABASE: Final = "plaudit"
DIRECTORY: Final = Path(__file__).with_name("migrations")

_FILE_NAME = re.compile(r"([0-9]{4})_[a-z0-9_]+\.sql")
_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_STATEMENT_END = re.compile(r";[ \t]*$", re.MULTILINE)
_COMMENT_LINE = re.compile(r"^\s*--.*$", re.MULTILINE)

_BOOKKEEPING: Final = """CREATE TABLE IF NOT EXISTS schema_migrations
(
    version UInt32 COMMENT 'Number of the migration',
    name String COMMENT 'File name of the migration',
    checksum String COMMENT 'SHA-256 of its text when it was applied',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'When it was applied'
)
ENGINE = ReplacingMergeTree
ORDER BY version
COMMENT 'Migrations that were applied to this database'"""


class Migration(msgspec.Struct, frozen=True):
    """One file: number, name, statements without their `;`, SHA-256 of the text."""

    version: int
    name: str
    statements: tuple[str, ...]
    checksum: str


class MigrationStatus(msgspec.Struct, frozen=True):
    """A migration and whether it was applied; `changed`: applied, but the text is another now; `unknown`: applied by a
    newer program."""

    version: int
    name: str
    state: Literal["applied", "pending", "changed", "unknown"]


def load_migrations(directory: Path = DIRECTORY) -> list[Migration]:
    """Return all migrations in order.

    Raises:
        MigrationError: a file name that is not NNNN_words.sql, or a number that is missing or used twice.
    """
    migrations = []
    for number, path in enumerate(sorted(directory.glob("*.sql")), 1):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None or int(match[1]) != number:
            raise MigrationError(f"{path.name}: expected a name that begins with {number:04d}_")
        text = path.read_text(encoding="utf-8")
        parts = (_COMMENT_LINE.sub("", part).strip() for part in _STATEMENT_END.split(text))
        statements = tuple(part for part in parts if part)
        migrations.append(Migration(number, path.name, statements, sha256(text.encode("utf-8")).hexdigest()))
    return migrations


def status(client: Client, database: str = DEFAULT_DATABASE) -> list[MigrationStatus]:
    """Return every migration with its state, in order; changes nothing."""
    applied = _applied(client, _checked(database))
    known = load_migrations()
    states = []
    for migration in known:
        checksum = applied.get(migration.version, ("", ""))[1]
        state: Literal["applied", "pending", "changed"]
        state = "pending" if not checksum else "applied" if checksum == migration.checksum else "changed"
        states.append(MigrationStatus(migration.version, migration.name, state))
    newer = sorted(set(applied) - {migration.version for migration in known})
    return states + [MigrationStatus(version, applied[version][0], "unknown") for version in newer]


def dry_run(client: Client, database: str = DEFAULT_DATABASE) -> list[str]:
    """Return the statements that `up` would carry out, in order; changes nothing.

    Raises:
        ChangedMigrationError: as `up`.
    """
    statements = [] if _exists(client, _checked(database)) else [_create_database(database)]
    if not _has_bookkeeping(client, database):
        statements.append(_BOOKKEEPING)
    for migration in _pending(client, database):
        statements.extend(migration.statements)
    return statements


def up(client: Client, database: str = DEFAULT_DATABASE) -> list[str]:
    """Create the database if it is not there and apply what is pending. Returns the names of the migrations applied.

    Raises:
        ChangedMigrationError: an applied migration has another text now; nothing was applied.
        MigrationError: a statement failed; the message names it. A repeated `up` begins with the same migration.
    """
    pending = _pending(client, _checked(database))
    _execute(client, "database", _create_database(database), None)
    _execute(client, "schema_migrations", _BOOKKEEPING, database)
    for migration in pending:
        for statement in migration.statements:
            _execute(client, migration.name, statement, database)
        client.insert(
            "schema_migrations",
            [[migration.version, migration.name, migration.checksum]],
            column_names=["version", "name", "checksum"],
            column_type_names=["UInt32", "String", "String"],
            database=database,
            settings={"async_insert": 0},
        )
    return [migration.name for migration in pending]


def _execute(client: Client, where: str, statement: str, database: str | None) -> None:
    settings = {} if database is None else {"database": database}  # unqualified names are resolved in it
    try:
        client.command(statement, settings=settings, use_database=False)
    except ClickHouseError as error:
        raise MigrationError(f"{where}: {statement.splitlines()[0]!r} failed: {error}") from error


def _pending(client: Client, database: str) -> Sequence[Migration]:
    states = {state.version: state for state in status(client, database)}
    changed = [state.name for state in states.values() if state.state == "changed"]
    if changed:
        raise ChangedMigrationError(
            f"{', '.join(changed)} was applied to database {database} with another text. "
            "Restore the file and put the change into a new migration."
        )
    return [migration for migration in load_migrations() if states[migration.version].state == "pending"]


def _applied(client: Client, database: str) -> dict[int, tuple[str, str]]:
    if not _has_bookkeeping(client, database):
        return {}
    rows = client.query(f"SELECT version, name, checksum FROM {database}.schema_migrations FINAL").result_rows
    return {int(version): (str(name), str(checksum)) for version, name, checksum in rows}


def _exists(client: Client, database: str) -> bool:
    query = "SELECT count() FROM system.databases WHERE name = {name:String}"
    return bool(client.query(query, parameters={"name": database}).result_rows[0][0])


def _has_bookkeeping(client: Client, database: str) -> bool:
    query = "SELECT count() FROM system.tables WHERE database = {name:String} AND name = 'schema_migrations'"
    return bool(client.query(query, parameters={"name": database}).result_rows[0][0])


def _create_database(database: str) -> str:
    return f"CREATE DATABASE IF NOT EXISTS {database} ENGINE = Atomic COMMENT 'Projections of Plaudit'"


def _checked(database: str) -> str:
    if _DATABASE.fullmatch(database) is None:
        raise MigrationError(f"{database!r} is not a database name: letters, digits and _, at most 64, no digit first")
    return database
