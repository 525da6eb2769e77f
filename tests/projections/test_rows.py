"""Row builders: each type, exact; bad records become rows of `rejected`."""

import pytest

from projections.errors import UndecodableError
from projections.rows import Rows, version
from projections.rows.values import (
    MAX_COLUMN_DAY,
    MAX_COLUMN_MS,
    MIN_COLUMN_DAY,
    MIN_COLUMN_MS,
    day,
    exact,
    instant,
    local_day,
)
from projections.tables import TABLES
from schemas.derived import DATA_OF_TYPE
from schemas.instants import parse_day, parse_instant
from schemas.topics import ERASED, MESSAGES, TOPIC_OF_TYPE, full_name
from tests.projections import factory

MS = parse_instant(factory.AT)
MARCH_1, MARCH_2 = parse_day("2025-03-01"), parse_day("2025-03-02")
SOURCE = ("t", 3, 41, 42)

EXPECTED = {
    factory.user_upserted(): (
        "users_log",
        ("", "u1", "Ann", "ann@example.com", "Europe/Berlin", {"plan": "pro"}, False, MS, MS),
    ),
    factory.metric_changed(value="-0.000000001", total="999999999999999999.999999999"): (
        "metric_events",
        ("", "u1", "words", MS, "e1", "-0.000000001", "999999999999999999.999999999", {"lang": "de"}, MARCH_2, None),
    ),
    factory.points_awarded(boosted=True): (
        "points_awards",
        ("", "u1", "xp", MS, "a1", "t1", "metric", 10, 10, 1, 10, ["b1"], MARCH_2, "event", "e1"),
    ),
    factory.points_awarded(awarded=-5, total=2**53 - 1): (
        "points_awards",
        ("", "u1", "xp", MS, "a1", "t1", "metric", -5, 2**53 - 1, 1, -5, [], MARCH_2, "event", "e1"),
    ),
    factory.completed(): (
        "achievement_completions",
        ("", "u1", "first", MS, MARCH_2, False, "First words", "metric", "c1", "completed"),
    ),
    factory.completed(tz=None): (
        "achievement_completions",
        ("", "u1", "first", MS, MARCH_1, False, "First words", "metric", "c1", "completed"),
    ),
    factory.backdated(): (
        "achievement_completions",
        ("", "u1", "first", MS, MARCH_1, True, "First words", "metric", "", "backdated"),
    ),
    factory.streak_changed(length=3): (
        "streak_state_log",
        ("", "u1", "daily", 3, MARCH_2, MS, MARCH_2, MARCH_2, True, 3, MS),
    ),
    factory.streak_changed(length=0, met=False): (
        "streak_state_log",
        ("", "u1", "daily", 0, None, None, MARCH_2, MARCH_2, False, 0, None),
    ),
    factory.period(): (
        "streak_periods_log",
        ("", "u1", "daily", MARCH_1, MARCH_1, 0, "lost", False, False, False, False, None, False),
    ),
    factory.period(repaired=True, outcome="frozen"): (
        "streak_periods_log",
        ("", "u1", "daily", MARCH_1, MARCH_1, 4, "frozen", True, False, False, False, None, True),
    ),
    factory.period(outcome="reset"): (
        "streak_periods_log",
        ("", "u1", "daily", MARCH_1, MARCH_1, 4, "reset", False, False, False, False, MS, False),
    ),
}


def built(*values: bytes | None, topic: str = "t", type_name: str = "") -> Rows:
    """The rows of records at offsets 41, 42, ... of partition 3."""
    rows = Rows(0, "plaudit.rejected")
    for offset, value in enumerate(values, 41):
        rows.add(topic, 3, offset, MS, type_name, value)
    return rows


def only_row(rows: Rows) -> tuple[str, tuple[object, ...]]:
    """The table and the row of one record."""
    (table,) = rows.tables()
    (row,) = rows.rows(table)
    assert len(row) == len(table.columns)
    return table.name, row


@pytest.mark.parametrize(("value", "expected"), EXPECTED.items(), ids=[name for name, _ in EXPECTED.values()])
def test_each_type_gives_its_row(value: bytes, expected: tuple[str, tuple[object, ...]]) -> None:
    table, row = only_row(built(value))
    assert (table, row) == (expected[0], expected[1] + SOURCE)


def test_rows_with_ids_of_their_own() -> None:
    table, row = only_row(built(factory.level_changed(before="bronze", after=None)))
    assert (table, row[:4], row[5:]) == ("level_changes", ("", "u1", "xp", MS), ("bronze", "", 10, *SOURCE))
    table, row = only_row(built(factory.freezes_changed()))
    assert (table, row[:3], row[4:]) == ("streak_freezes", ("", "u1", MS), (-1, "consumed", 2, *SOURCE))
    table, row = only_row(built(factory.streak_started()))
    assert (table, row[4:9]) == ("streak_events", ("started", "weekly", 1, "event", ""))
    table, row = only_row(built(factory.streak_lost()))
    assert (table, row[4:9]) == ("streak_events", ("lost", "daily", 7, "settlement", "missed"))


@pytest.mark.parametrize(
    ("key", "value", "user", "shown"),
    [
        ("acme\0u1", "{}", ("acme", "u1"), "acme\0u1"),
        ("u1", "no JSON", ("", "u1"), "u1"),
        (None, "", ("", ""), ""),
        ({"base64": "/w=="}, "{}", ("", ""), '{"base64":"/w=="}'),
        ("u1", '{"user":"u2"}', ("", "u2"), "u1"),
        (None, '{"user":{"id":"u2"},"tenant":"acme"}', ("acme", "u2"), ""),
    ],
)
def test_a_refused_record_shows_its_user_and_key(
    key: str | dict[str, str] | None, value: str, user: tuple[str, str], shown: str
) -> None:
    table, row = only_row(built(factory.rejected(key, value), topic="plaudit.rejected"))
    expected = (*user, "unknown_metric", MS, "plaudit.events", 3, 17, shown, "no metric 'wrods'", value, False)
    assert (table, row) == ("rejected", (*expected, "plaudit.rejected", 3, 41, 42))


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"type":5}',
        factory.metric_changed(value="1e400"),
        factory.metric_changed(value="0.0000000001"),
        factory.metric_changed(at="yesterday"),
        factory.metric_changed(local_date="2025-02-30"),
        factory.points_awarded(total=2**70),
        factory.metric_changed().replace(b'"userId":"u1",', b""),
        factory.metric_changed().replace(b'"lang":"de"', b'"lang":"\\ud800"'),
    ],
)
def test_what_no_builder_can_read_is_a_rejected_row(value: bytes | None) -> None:
    rows = built(value)
    table, row = only_row(rows)
    assert (table, row[2], row[4:7], rows.undecodable) == ("rejected", "undecodable_derived", ("t", 3, 41), 1)


def test_types_that_no_table_takes_are_passed_over() -> None:
    rows = built(b'{"type":"points.changed"}', b'{"type":"of.tomorrow"}')
    assert (rows.tables(), rows.skipped) == ([], 2)
    assert built(b"not even JSON", type_name="points.changed").undecodable == 0


def test_a_derived_id_counts_once_in_a_batch() -> None:
    rows = built(factory.points_awarded(), factory.points_awarded(), factory.points_awarded(award_id="a2"))
    assert (rows.duplicates, rows.records) == (1, 3)
    assert [row[4] for row in rows.rows(rows.tables()[0])] == ["a1", "a2"]


def test_columns_are_the_rows_turned() -> None:
    rows = built(factory.points_awarded(), factory.points_awarded(award_id="a2"))
    table = rows.tables()[0]
    assert list(zip(*rows.columns(table), strict=True)) == rows.rows(table)


def test_versions_grow_with_offset_and_epoch_and_are_never_zero() -> None:
    versions = [version(0, 0), version(0, 1), version(0, 2**40), version(1, 0), version(2**16 - 1, 2**48 - 2)]
    assert versions == sorted(set(versions)) and versions[0] > 0 and versions[-1] < 2**64


def test_years_that_no_column_holds_are_clamped() -> None:
    assert instant("0001-01-01T00:00:00.000Z") == MIN_COLUMN_MS
    assert instant("9999-12-31T23:59:59.999Z") == MAX_COLUMN_MS
    assert (day("0001-01-01"), day("9999-12-31")) == (MIN_COLUMN_DAY, MAX_COLUMN_DAY)
    assert local_day(MAX_COLUMN_MS, "+14:00") == MAX_COLUMN_DAY
    assert local_day(MIN_COLUMN_MS, "-12:00") == MIN_COLUMN_DAY


@pytest.mark.parametrize(
    ("zone", "date"),
    [
        (None, "2025-03-01"),
        ("+00:30", "2025-03-02"),
        ("-23:30", "2025-03-01"),
        ("Asia/Tokyo", "2025-03-02"),
        ("No/Where", "2025-03-01"),
        ("../x", "2025-03-01"),
    ],
)
def test_local_dates(zone: str | None, date: str) -> None:
    assert local_day(MS, zone) == parse_day(date)


@pytest.mark.parametrize("text", [b"1.", b"+1", b"", b"1e5", b"0.1234567890", b"1" * 30, b"NaN", b"1\n"])
def test_numbers_that_are_not_exact_decimals_are_refused(text: bytes) -> None:
    with pytest.raises(UndecodableError):
        exact(text)


def test_every_type_is_projected_or_known_to_be_passed_over() -> None:
    from projections.rows.builders import BUILDER_OF_TYPE

    passed_over = {"points.changed", "streak.restored", "streak.freeze_consumed", "streak.freeze_earned"}
    passed_over |= {"points.boost_started", "points.boost_finished"}
    passed_over |= {ERASED}  # in the tables it is what is not there, and a row of `erasures`
    passed_over |= {name for name, topic in TOPIC_OF_TYPE.items() if topic == MESSAGES}
    assert set(BUILDER_OF_TYPE) == set(DATA_OF_TYPE) - passed_over
    assert set(BUILDER_OF_TYPE) <= set(TOPIC_OF_TYPE)


def test_types_stand_on_topics_that_the_sink_reads() -> None:
    from projections.rows.builders import BUILDER_OF_TYPE
    from projections.tables import PROJECTED_TOPICS

    assert {TOPIC_OF_TYPE[name] for name in BUILDER_OF_TYPE} | {"rejected"} == set(PROJECTED_TOPICS)
    assert full_name("ledger", "x") == "x.ledger" and len(TABLES) == 11
