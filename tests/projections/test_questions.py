"""The analysts' questions over known rows, and views that are right without FINAL."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from deploy.cli.support.clickhouse import ClickHouse
from deploy.cli.support.streak_history import read_streak
from deploy.embedded import ClickHouseServer
from projections.questions import ask, load_questions
from projections.rebuild import truncate_all
from projections.rows import Rows
from projections.tables import TABLES
from schemas.catalog_file import load_catalog
from tests.projections import factory

NOON_MS = 1_740_830_400_000
"""2025-03-01T12:00:00Z."""

RECORDS = [
    ("t", factory.user_upserted("u1", name="Ann")),
    ("t", factory.user_upserted("u2", name=None)),
    ("t", factory.user_upserted("u1", name="Anna", sequence="2")),
    ("t", factory.metric_changed("u1", value="1.5", total="1.5", event_id="e1", at="2025-03-01T23:30:00.000Z")),
    ("t", factory.metric_changed("u1", value="0.1", total="1.6", event_id="e2", at="2025-03-03T00:00:00.000Z")),
    ("t", factory.points_awarded("u1", awarded=10, total=10, award_id="a1")),
    ("t", factory.points_awarded("u1", awarded=-3, total=7, award_id="a2", at="2025-03-03T00:00:00.000Z")),
    ("t", factory.points_awarded("u2", awarded=7, total=7, award_id="a3")),
    ("t", factory.level_changed("u1", after="bronze")),
    ("t", factory.level_changed("u1", before="bronze", after="silver", sequence="2")),
    ("t", factory.completed("u1")),
    ("t", factory.streak_changed("u1", length=3)),
    ("t", factory.streak_changed("u1", length=4, sequence="2")),
    ("t", factory.streak_changed("u2", length=0)),
    ("t", factory.period("u1")),
    ("t", factory.period("u1", repaired=True, outcome="frozen", sequence="2")),
    ("t", factory.freezes_changed("u1")),
    (
        "t",
        factory.metric_changed(
            "u9", at="0001-01-01T00:00:00.000Z", local_date="9999-12-31", event_id="e3", metric="m2"
        ),
    ),
    ("r", factory.rejected("u1")),
]


@pytest.fixture
def filled(client: Client, database: str) -> str:
    """A database with RECORDS, each inserted as a part of its own, so that nothing is merged yet."""
    for offset, (topic, value) in enumerate(RECORDS):
        rows = Rows(0, "r")
        rows.add(topic, 0, offset, 0, "", value)
        for table in rows.tables():
            client.insert(
                table.name,
                rows.columns(table),
                database=database,
                column_names=[name for name, _ in table.columns],
                column_type_names=[kind for _, kind in table.columns],
                column_oriented=True,
                settings={"async_insert": 0},
            )
    return database


def answer(client: Client, database: str, name: str, **arguments: Any) -> Sequence[Sequence[Any]]:
    """The rows of a question, values as text."""
    result = ask(client, database, load_questions()[name], arguments)
    return [tuple(str(value) for value in row) for row in result.result_rows]


def test_top_points(client: Client, filled: str) -> None:
    assert answer(client, filled, "top_points", system="xp") == [
        ("u1", "Anna", "7", "silver"),
        ("u2", "None", "7", ""),
    ]
    assert answer(client, filled, "top_points", system="xp", limit=1) == [("u1", "Anna", "7", "silver")]


def test_user_awards(client: Client, filled: str) -> None:
    rows = answer(client, filled, "user_awards", user="u1")
    assert [row[2:4] for row in rows] == [("-3", "7"), ("10", "10")]


def test_active_streaks(client: Client, filled: str) -> None:
    assert answer(client, filled, "active_streaks") == [("daily", "1", "4.0", "4")]


def test_completions_and_rarity(client: Client, filled: str) -> None:
    assert answer(client, filled, "completions") == [("first", "First words", "1", "50.0")]


def test_points_per_day_has_no_gaps(client: Client, filled: str) -> None:
    arguments = {"system": "xp", "from": "2025-03-01", "to": "2025-03-04"}
    assert answer(client, filled, "points_per_day", **arguments) == [
        ("2025-03-01", "17", "0"),
        ("2025-03-02", "0", "0"),
        ("2025-03-03", "0", "3"),
        ("2025-03-04", "0", "0"),
    ]


def test_metric_per_day_has_no_gaps(client: Client, filled: str) -> None:
    arguments = {"metric": "words", "from": "2025-03-01", "to": "2025-03-03"}
    result = ask(client, filled, load_questions()["metric_per_day"], arguments)
    assert [(str(day), value, users) for day, value, users in result.result_rows] == [
        ("2025-03-01", Decimal("1.5"), 1),
        ("2025-03-02", 0, 0),
        ("2025-03-03", Decimal("0.1"), 1),
    ]


def test_user_metrics_and_rejected(client: Client, filled: str) -> None:
    assert answer(client, filled, "user_metrics", user="u1")[0][:2] == ("words", "1.600000000")
    assert answer(client, filled, "rejected_by_reason")[0][:2] == ("unknown_metric", "1")


def test_top_streaks(client: Client, filled: str) -> None:
    assert answer(client, filled, "top_streaks") == [("u1", "Anna", "4")]
    assert answer(client, filled, "top_streaks", type="longest", limit=5) == [("u1", "Anna", "4")]


def test_streaks_of_users_leaves_unknown_ones_out(client: Client, filled: str) -> None:
    rows = answer(client, filled, "streaks_of_users", users=["u2", "nobody", "u1"])
    assert [row[:2] for row in rows] == [("u1", "4"), ("u2", "0")]
    assert rows[0][2] != "None"
    assert rows[1][2] == "None"


def test_streak_history(client: Client, filled: str) -> None:
    (row,) = answer(client, filled, "streak_history", user="u1")
    assert row[3:5] == ("frozen", "True")


def test_streak_as_reads_show_it(client: Client, clickhouse: ClickHouseServer, filled: str) -> None:
    """S85: rows oldest first, ending with the open period; what was not written has length 0; freezes only if they are on."""
    tables = ClickHouse(clickhouse.url, filled)
    freezes = load_catalog(
        {
            "metrics": ["words"],
            "streak": {"metrics": [{"key": "words", "threshold": 1}], "freezes": {"startCount": 1, "maxCount": 2}},
        }
    )[0]
    streak = read_streak(tables, {"tenant": "", "user": "u1"}, freezes, None, 0, 4)
    rows = [(row["periodStart"], row["length"], row["usedFreeze"]) for row in streak["streakHistory"]]
    assert rows == [
        ("2025-02-27", 0, False),
        ("2025-02-28", 0, False),
        ("2025-03-01", 4, True),
        ("2025-03-02", 4, False),
    ]
    assert (streak["length"], streak["expires"]) == (4, "2025-03-03")
    idle = read_streak(tables, {"tenant": "", "user": "u2"}, None, "Pacific/Kiritimati", NOON_MS, 2)
    assert [row["periodStart"] for row in idle["streakHistory"]] == ["2025-03-01", "2025-03-02"]
    assert "usedFreeze" not in idle["streakHistory"][0]


def test_every_question_is_tested_and_says_what_it_answers() -> None:
    tested = {"top_points", "user_awards", "active_streaks", "completions", "points_per_day", "metric_per_day"}
    streaks = {"top_streaks", "streaks_of_users", "streak_history"}
    assert set(load_questions()) == tested | streaks | {"user_metrics", "rejected_by_reason"}


def test_arguments_are_checked(client: Client, database: str) -> None:
    question = load_questions()["top_points"]
    with pytest.raises(ValueError, match="unknown sytem, missing system"):
        ask(client, database, question, {"sytem": "xp"})


def test_a_file_without_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("SELECT 1\n")
    with pytest.raises(ValueError, match=r"a\.sql: expected a title"):
        load_questions(tmp_path)


def test_views_show_the_latest_version_before_any_merge(client: Client, filled: str) -> None:
    def rows(query: str) -> Sequence[Sequence[Any]]:
        return client.query(query.format(d=filled)).result_rows

    assert rows("SELECT name, toString(first_event_at) FROM {d}.users WHERE user_id = 'u1'") == [
        ("Anna", "2025-03-01 23:30:00.000")
    ]
    assert rows("SELECT first_event_at, last_event_at FROM {d}.users WHERE user_id = 'u2'") == [(None, None)]
    assert rows("SELECT total, level_key FROM {d}.points_balances WHERE user_id = 'u1'") == [(7, "silver")]
    assert rows("SELECT length, period_met FROM {d}.streak_state WHERE user_id = 'u1'") == [(4, True)]
    assert rows("SELECT outcome, used_freeze, repaired FROM {d}.streak_periods") == [("frozen", True, True)]
    assert rows("SELECT delta, balance FROM {d}.streak_freezes") == [(-1, 2)]


def test_years_that_no_column_holds_are_inserted_clamped(client: Client, filled: str) -> None:
    query = f"SELECT toString(effective_at), toString(local_date) FROM {filled}.metric_events WHERE user_id = 'u9'"
    assert client.query(query).result_rows == [("1900-01-01 00:00:00.000", "2299-12-31")]


def test_rebuilding_begins_with_empty_tables(client: Client, filled: str) -> None:
    truncate_all(client, filled)
    for name in [table.name for table in TABLES] + ["users", "points_balances", "metric_totals", "sink_progress"]:
        assert client.query(f"SELECT count() FROM {filled}.{name}").result_rows == [(0,)], name
