"""The migrations: repeatable, checked, complete, and the schema that the row builders expect."""

from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from projections import migrate
from projections.errors import ChangedMigrationError, MigrationError
from projections.tables import PROGRESS_TABLE, ROLLUPS, TABLES

VIEWS = {"users", "metric_totals", "points_balances", "streak_state", "streak_periods"}

LOGICAL = {
    "users": "user_id name tz attributes control created_at first_event_at last_event_at",
    "metric_events": "event_id user_id metric_key value total_after attributes effective_at local_date",
    "metric_totals": "user_id metric_key total updated_at",
    "points_awards": "award_id user_id system_key trigger_id trigger_type awarded total_after count base boosts date "
    "local_date",
    "points_balances": "user_id system_key total level_key updated_at",
    "achievement_completions": "user_id achievement_id achieved_at local_date backdated",
    "streak_state": "user_id frequency length started extended_at period_start period_met longest longest_at",
    "streak_periods": "user_id frequency period_start period_end length outcome used_freeze used_pause day_off bridged "
    "reset_at",
    "streak_freezes": "user_id at delta reason balance",
    "level_changes": "user_id system_key at previous_level_key level_key total_after",
    "rejected": "reason message origin_topic origin_partition origin_offset key at",
}


def columns(client: Client, database: str) -> dict[str, dict[str, str]]:
    """Types of all columns, by table."""
    rows = client.query(
        "SELECT table, name, type FROM system.columns WHERE database = {d:String} ORDER BY table, position",
        parameters={"d": database},
    ).result_rows
    found: dict[str, dict[str, str]] = {}
    for table, name, kind in rows:
        found.setdefault(table, {})[name] = kind
    return found


def test_dry_run_shows_what_up_carries_out_and_changes_nothing(client: Client, empty_database: str) -> None:
    statements = migrate.dry_run(client, empty_database)
    assert statements[0].startswith("CREATE DATABASE") and len(statements) > 20
    assert {state.state for state in migrate.status(client, empty_database)} == {"pending"}
    assert columns(client, empty_database) == {}


def test_up_twice_applies_once(client: Client, empty_database: str) -> None:
    names = migrate.up(client, empty_database)
    assert names == [migration.name for migration in migrate.load_migrations()]
    assert migrate.up(client, empty_database) == []
    assert migrate.dry_run(client, empty_database) == []
    assert {state.state for state in migrate.status(client, empty_database)} == {"applied"}


def test_a_changed_migration_is_refused(client: Client, database: str) -> None:
    client.command(f"INSERT INTO {database}.schema_migrations (version, name, checksum) VALUES (2, 'x', 'y')")
    with pytest.raises(ChangedMigrationError, match=r"0002_users_and_metrics\.sql"):
        migrate.up(client, database)
    assert migrate.status(client, database)[1].state == "changed"


def test_migrations_of_a_newer_program_are_shown(client: Client, database: str) -> None:
    client.command(f"INSERT INTO {database}.schema_migrations (version, name, checksum) VALUES (99, '0099_x.sql', 'y')")
    assert migrate.status(client, database)[-1] == migrate.MigrationStatus(99, "0099_x.sql", "unknown")


@pytest.mark.parametrize("name", ["", "a b", "1a", "a;drop", "a" * 65])
def test_what_is_no_database_name_is_refused(client: Client, name: str) -> None:
    with pytest.raises(MigrationError, match="not a database name"):
        migrate.up(client, name)


def test_file_names_must_be_numbered_without_gaps(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("SELECT 1;\n")
    (tmp_path / "0003_b.sql").write_text("SELECT 1;\n")
    with pytest.raises(MigrationError, match=r"0003_b\.sql.*0002_"):
        migrate.load_migrations(tmp_path)


def test_statements_are_cut_at_semicolons_that_end_lines(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("-- one;\nSELECT 'a;b';\n\nSELECT 2;\n")
    assert migrate.load_migrations(tmp_path)[0].statements == ("SELECT 'a;b'", "SELECT 2")


def test_the_tables_are_those_that_the_sink_writes(client: Client, database: str) -> None:
    found = columns(client, database)
    for table in TABLES:
        assert list(found[table.name].items()) == list(table.columns), table.name
    known = {table.name for table in TABLES} | VIEWS | set(ROLLUPS) | {PROGRESS_TABLE, "schema_migrations"}
    assert {name for name in found if not name.endswith("_mv")} == known


def test_the_logical_columns_of_the_spec_are_there(client: Client, database: str) -> None:
    found = columns(client, database)
    for table, names in LOGICAL.items():
        assert set(names.split()) <= set(found[table]), table
        assert next(iter(found[table])) == "tenant"


def test_every_table_and_column_says_what_it_is(client: Client, database: str) -> None:
    silent = client.query(
        "SELECT table, name FROM system.columns WHERE database = {d:String} AND comment = '' "
        "UNION ALL SELECT name, '' FROM system.tables WHERE database = {d:String} AND comment = ''",
        parameters={"d": database},
    ).result_rows
    assert silent == []


def test_tables_that_take_inserts_remember_tokens(client: Client, database: str) -> None:
    rows = client.query(
        "SELECT name FROM system.tables WHERE database = {d:String} AND engine LIKE '%MergeTree' "
        "AND create_table_query NOT LIKE '%non_replicated_deduplication_window = 10000%'",
        parameters={"d": database},
    ).result_rows
    assert {name for (name,) in rows} == {PROGRESS_TABLE, "schema_migrations"}
