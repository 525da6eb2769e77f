"""How long tables keep rows: what is too old goes, balances stay, deleted rows are written away (X30a)."""

from clickhouse_connect.driver.client import Client

from projections import retention
from projections.tables import ROLLUPS, TABLES, TIME_COLUMNS
from tests.projections.test_erasure import built, life, markers, put

NOW = ("points_awards", "rejected", "streak_periods_log")


def apply(client: Client, database: str, kept: dict[str, int]) -> list[str]:
    """Carry out what is needed; return the statements."""
    statements = retention.statements(client, database, kept)
    for statement in statements:
        client.command(statement)
    return statements


def count(client: Client, database: str, table: str) -> int:
    """Rows of a table."""
    return int(client.query(f"SELECT count() FROM {database}.{table}").result_rows[0][0])


def test_every_table_has_a_time_or_says_how_things_stand(client: Client, database: str) -> None:
    assert set(retention.in_force(client, database)) == set(TIME_COLUMNS)
    assert set(retention.in_force(client, database).values()) == {"forever"}
    assert {table.name for table in TABLES} - set(TIME_COLUMNS) == {"users_log", "streak_state_log"}
    for table in TABLES:
        if table.name in TIME_COLUMNS:
            assert TIME_COLUMNS[table.name] in dict(table.own_columns)


def test_what_is_too_old_goes_and_balances_stay(client: Client, database: str) -> None:
    put(client, database, built([*life("a", 1), *life("b", 2)]))
    kept = dict.fromkeys(TIME_COLUMNS, 30)
    assert len(apply(client, database, kept)) == len(TIME_COLUMNS)
    assert retention.differences(client, database, kept) == []
    assert apply(client, database, kept) == []
    for table in TIME_COLUMNS:
        client.command(f"OPTIMIZE TABLE {database}.{table} FINAL")
        assert count(client, database, table) == 0, table
    balances = client.query(
        f"SELECT user_id, total, level_key FROM {database}.points_balances ORDER BY user_id"
    ).result_rows
    assert balances == [("a", 1, "level 1"), ("b", 2, "level 2")]
    totals = client.query(f"SELECT user_id, total FROM {database}.metric_totals ORDER BY user_id").result_rows
    assert [(user, int(total)) for user, total in totals] == [("a", 1), ("b", 2)]


def test_times_of_any_century_count(client: Client, database: str) -> None:
    client.command(
        f"INSERT INTO {database}.rejected (key, at, origin_offset) VALUES ('old', '1950-01-01 00:00:00', 1), "
        "('later', '2200-01-01 00:00:00', 2), ('now', now64(3), 3)"
    )
    apply(client, database, {"rejected": 30})
    client.command(f"OPTIMIZE TABLE {database}.rejected FINAL")
    left = client.query(f"SELECT key FROM {database}.rejected ORDER BY key").result_rows
    assert left == [("later",), ("now",)]


def test_retention_can_be_changed_and_taken_back(client: Client, database: str) -> None:
    apply(client, database, {"rejected": 30, "metric_events": 400})
    assert retention.in_force(client, database)["rejected"] == "30d"
    (statement,) = apply(client, database, {"rejected": 60, "metric_events": 400})
    assert statement == f"ALTER TABLE {database}.rejected MODIFY TTL at + toIntervalDay(60)"
    apply(client, database, {})
    assert set(retention.in_force(client, database).values()) == {"forever"}
    client.command(f"ALTER TABLE {database}.rejected MODIFY TTL at + INTERVAL 1 MONTH")
    assert retention.differences(client, database, {}) == [
        "table rejected keeps at + toIntervalMonth(1) instead of forever"
    ]


def test_rows_of_erased_users_are_purged_from_the_files(client: Client, database: str) -> None:
    put(client, database, built([*life("a", 1), *life("b", 1)]))
    put(client, database, built(markers("a"), first=100))
    masked = retention.masked(client, database)
    assert (
        {"users_log", "metric_events", "points_balances_rollup"}
        <= set(masked)
        <= {t.name for t in TABLES} | set(ROLLUPS)
    )
    for table in masked:
        retention.purge(client, database, table)
    assert retention.masked(client, database) == []
    rows = client.query(
        f"SELECT sum(rows) FROM system.parts WHERE database = '{database}' AND table = 'users_log' AND active"
    ).result_rows
    assert rows == [(1,)]
