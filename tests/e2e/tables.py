"""What the tables say, in the shape of the oracle (tests/sample/oracle.py)."""

from typing import Any

from clickhouse_connect.driver.client import Client

Json = dict[str, Any]

_MS = "toUnixTimestamp64Milli({})"


def read_tables(client: Client, database: str, levels_at_zero: dict[str, str | None]) -> Json:
    """Return all users. A balance is 0, and its level the one at 0, where there is no row; a level that has never changed
    is the one at 0 (P49)."""
    tables = _Tables(client, database)
    users: dict[str, Json] = {}
    for row in tables("users", "user_id", f"{_ms('created_at')} AS created", "tz", "attributes"):
        points: Json = {key: {"total": 0, "level": level} for key, level in levels_at_zero.items()}
        lists: Json = {name: [] for name in ("awards", "levelChanges", "achievements", "periods", "streakEvents")}
        users[row.pop("user_id")] = {**row, "metrics": {}, "points": points, "streaks": {}, **lists}
    for row in tables("metric_totals", "user_id", "metric_key", "total"):
        users[row["user_id"]]["metrics"][row["metric_key"]] = row["total"]
    for row in tables("points_balances", "user_id", "system_key", "total", "level_key"):
        level = row["level_key"] or levels_at_zero[row["system_key"]]
        users[row["user_id"]]["points"][row["system_key"]] = {"total": row["total"], "level": level}
    _read_logs(tables, users)
    _read_streaks(tables, users)
    return {"users": users}


def _read_logs(tables: "_Tables", users: dict[str, Json]) -> None:
    """Rows of a user in the order of the log."""
    for row in tables(
        "points_awards FINAL", "user_id", "system_key AS system", "trigger_id AS trigger", "awarded", "total_after AS total",
        f"{_ms('date')} AS at", "toString(local_date) AS localDate", "count", "base", "boosts", order="src_off",
    ):  # fmt: skip
        users[row.pop("user_id")]["awards"].append({"date": row.pop("at"), **row})
    for row in tables(
        "level_changes FINAL", "user_id", "system_key AS system", f"{_ms('at')} AS moment",
        "previous_level_key AS previous", "level_key AS new", order="src_off",
    ):  # fmt: skip
        at, previous, new = row.pop("moment"), row["previous"] or None, row["new"] or None
        users[row["user_id"]]["levelChanges"].append(
            {"system": row["system"], "at": at, "previous": previous, "new": new}
        )
    for row in tables(
        "achievement_completions FINAL", "user_id", "achievement_id AS id", f"{_ms('achieved_at')} AS achievedAt",
        order="src_off",
    ):  # fmt: skip
        users[row.pop("user_id")]["achievements"].append(row)


def _read_streaks(tables: "_Tables", users: dict[str, Json]) -> None:
    for row in tables(
        "streak_state", "user_id", "frequency", "length", "longest", "toString(started) AS begun",
        f"{_ms('extended_at')} AS extended", "toString(period_start) AS first", "toString(period_end) AS last", "period_met",
    ):  # fmt: skip
        alive = row["length"] > 0
        users[row["user_id"]]["streaks"][row["frequency"]] = {
            "length": row["length"],
            "longest": row["longest"],
            "started": row["begun"],
            "extended": row["extended"],
            "periodStart": row["first"] if alive else None,
            "periodEnd": row["last"] if alive else None,
            "met": row["period_met"],
        }
    for row in tables(
        "streak_periods", "user_id", "frequency", "toString(period_start) AS periodStart",
        "toString(period_end) AS periodEnd", "length", "outcome", "repaired", order="frequency, period_start",
    ):  # fmt: skip
        users[row.pop("user_id")]["periods"].append(row)
    for row in tables(
        "streak_events FINAL", "user_id", "concat('streak.', kind) AS type", f"{_ms('at')} AS moment", "length",
        order="src_off",
    ):  # fmt: skip
        users[row.pop("user_id")]["streakEvents"].append({"at": row.pop("moment"), **row})


class _Tables:
    def __init__(self, client: Client, database: str) -> None:
        self._client, self._database = client, database

    def __call__(self, table: str, *columns: str, order: str = "") -> list[Json]:
        ordered = f" ORDER BY {order}" if order else ""
        query = f"SELECT {', '.join(columns)} FROM {self._database}.{table} WHERE tenant = ''{ordered}"
        answer = self._client.query(query)
        return [dict(zip(answer.column_names, row, strict=True)) for row in answer.result_rows]


def _ms(column: str) -> str:
    return _MS.format(column)


ROWS_OF_TYPE = {
    "metric.changed": "metric_events",
    "points.awarded": "points_awards",
    "points.level_changed": "level_changes",
    "achievement.completed": "achievement_completions",
    "streak.started": "streak_events",
    "streak.extended": "streak_events",
    "streak.lost": "streak_events",
}
"""Types whose events have a row of their own, with a key of its own."""


def count_rows(client: Client, database: str) -> dict[str, int]:
    """Return the rows that the sink has written, without FINAL: what merges and keys would hide is counted too."""
    return {
        table: int(client.query(f"SELECT count() FROM {database}.{table}").result_rows[0][0])
        for table in sorted(set(ROWS_OF_TYPE.values()))
    }
