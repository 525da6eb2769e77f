"""Tables on a real ClickHouse, filled by the real sink: a clean database is equal, and every damage is found."""

from collections.abc import Callable

import pytest
from clickhouse_connect.driver.client import Client

from projections.verifier import Report, verify
from schemas.topics import LEDGER
from tests.verifier.conftest import project
from tests.verifier.installation import MIDDLE_MS, Installation, log

Verify = Callable[..., Report]


@pytest.fixture
def verified(installation: Installation, clickhouse_url: str, database: str) -> Verify:
    """Verifies an installation and its database."""

    def run(since_ms: int | None = None) -> Report:
        return verify(
            installation.brokers,
            prefix=installation.names.prefix,
            clickhouse_url=clickhouse_url,
            database=database,
            since_ms=since_ms,
        )

    return run


@pytest.fixture
def projected(installation: Installation, clickhouse_url: str, database: str) -> Installation:
    """A clean installation, everything of which is in the tables."""
    installation.publish()
    project(installation, clickhouse_url, database)
    return installation


def differences(report: Report) -> set[tuple[str, str, str]]:
    """Kind, table, id of every difference."""
    return {(one.kind, one.where, one.id) for one in report.differences}


def one_row(client: Client, database: str, table: str, columns: str, where: str = "1") -> tuple[str, ...]:
    """Return some columns of a row."""
    query = f"SELECT {columns} FROM {database}.{table} WHERE {where} ORDER BY src_part, src_off DESC LIMIT 1"
    return tuple(client.query(query).result_rows[0])


def test_a_clean_database_is_equal(projected: Installation, verified: Verify) -> None:
    report = verified()
    assert report.differences == []
    assert report.ok and report.waiting == 0
    for table in ("metric_events", "points_awards", "level_changes", "achievement_completions", "streak_freezes"):
        counts = report.counts[table]
        assert counts.expected == counts.found > 0
    for view in ("users", "user_activity_rollup", "metric_totals", "points_balances", "streak_state", "streak_periods"):
        counts = report.counts[view]
        assert counts.expected == counts.found > 0
    assert report.counts["rejected"].found > 10
    assert verified(MIDDLE_MS).ok
    totals = report.counts["metric_totals"].found
    projected.expire(LEDGER, 0, 300)
    report = verified()
    assert report.differences == []
    assert report.counts["metric_totals"].expected == report.counts["metric_totals"].found == totals


def test_every_damage_of_a_base_table_is_found(
    projected: Installation, verified: Verify, client: Client, database: str
) -> None:
    def command(text: str) -> None:
        client.command(text, settings={"database": database, "mutations_sync": 2})

    expected = set()
    event_id, offset, partition = one_row(client, database, "metric_events", "event_id, src_off, src_part")
    command(f"ALTER TABLE metric_events DELETE WHERE src_off = {offset} AND src_part = {partition}")
    expected.add(("lost", "metric_events", event_id))

    (award_id,) = one_row(client, database, "points_awards", "award_id")
    command("SYSTEM STOP MERGES points_awards")  # what is written twice stays to be seen
    command(f"INSERT INTO points_awards SELECT * FROM points_awards WHERE award_id = '{award_id}'")
    user, system = one_row(client, database, "points_awards", "user_id, system_key", f"award_id = '{award_id}'")

    (change_id,) = one_row(client, database, "level_changes", "change_id")
    command(f"ALTER TABLE level_changes UPDATE total_after = total_after + 1 WHERE change_id = '{change_id}'")
    expected.add(("wrong", "level_changes", change_id))

    (freeze_id,) = one_row(client, database, "streak_freezes", "change_id")
    command(f"CREATE TABLE kept ENGINE = Memory AS SELECT * FROM streak_freezes WHERE change_id = '{freeze_id}'")
    command(f"ALTER TABLE streak_freezes DELETE WHERE change_id = '{freeze_id}'")
    command("INSERT INTO streak_freezes SELECT * REPLACE (ver + 1 AS ver) FROM kept")
    expected.add(("wrong", "streak_freezes", freeze_id))

    command(
        "INSERT INTO streak_events SELECT * REPLACE ('stray' AS user_id, 40000 AS src_off) FROM streak_events LIMIT 1"
    )
    command("INSERT INTO rejected SELECT * REPLACE ('stray' AS key, 77 AS src_part) FROM rejected LIMIT 1")

    report = verified()
    doubled = [one for one in report.differences if one.kind == "doubled"]
    assert [(one.where, award_id in one.id, user in one.id and system in one.id) for one in doubled] == [
        ("points_awards", True, True)
    ]
    assert report.counts["points_awards"].unmerged == 1
    assert expected <= differences(report)
    assert (report.lost, report.doubled, report.reordered) == (1, 1, 0)
    assert (
        report.wrong == len(expected) - 1 + 1
    )  # and the row of no partition; the one beyond the topic's end is not looked at
    strays = [one for one in report.differences if one.kind == "wrong" and (one.where, one.id) == ("rejected", "")]
    assert [one.partition for one in strays] == [77]


def test_a_row_that_no_record_makes_is_wrong(
    projected: Installation, verified: Verify, client: Client, database: str
) -> None:
    query = (
        f"INSERT INTO {database}.streak_events SELECT * REPLACE ('stray' AS user_id, 'x' AS event_id, src_off - 1 AS src_off, "
        f"ver - 1 AS ver) FROM {database}.streak_events ORDER BY src_part, src_off DESC LIMIT 1"
    )
    before = client.query(f"SELECT count() FROM {database}.streak_events").result_rows[0][0]
    client.command(query)
    report = verified()
    (one,) = report.differences
    assert (one.kind in ("wrong", "doubled"), one.where) == (True, "streak_events")
    assert report.counts["streak_events"].found == before + 1
    assert "stray" in one.id


def test_every_damage_of_a_rollup_is_found(
    projected: Installation, verified: Verify, client: Client, database: str
) -> None:
    """Base tables stay as they are, but for states of streaks, which a view shows."""

    def command(text: str) -> None:
        client.command(text, settings={"database": database, "mutations_sync": 2})

    latest = 2**47
    users = [
        row[0] for row in client.query(f"SELECT user_id FROM {database}.users ORDER BY user_id LIMIT 5").result_rows
    ]
    user, metric = one_row(client, database, "metric_events", "user_id, metric_key", f"user_id > '{users[2]}'")
    command(
        "INSERT INTO metric_totals_rollup SELECT tenant, user_id, metric_key, argMaxState(CAST(-1, 'Decimal(38, 9)'), "
        f"toUInt64({latest})), argMaxState(effective_at, toUInt64({latest})), toUInt64({latest}) FROM metric_events "
        f"WHERE user_id = '{user}' AND metric_key = '{metric}' GROUP BY tenant, user_id, metric_key"
    )
    command(
        f"INSERT INTO user_activity_rollup VALUES ('', '{users[1]}', '1999-01-01 00:00:00', '2025-01-02 00:00:00', 1)"
    )
    command(f"ALTER TABLE points_balances_rollup DELETE WHERE user_id = '{users[2]}' AND system_key = 'xp'")
    command("INSERT INTO user_activity_rollup VALUES ('', 'stray', '1999-01-01 00:00:00', '2025-01-02 00:00:00', 1)")
    report = verified()
    assert differences(report) == {
        ("wrong", "metric_totals", f"{user} {metric}"),
        ("wrong", "user_activity_rollup", users[1]),
        ("wrong", "users", users[1]),
        ("lost", "points_balances", f"{users[2]} xp"),
        ("wrong", "user_activity_rollup", "stray"),
    }
    (total,) = (one for one in report.differences if one.where == "metric_totals")
    assert total.found.startswith("total: -1")


def test_progress_that_claims_rows_makes_them_lost_and_what_it_does_not_claim_waits(
    installation: Installation, verified: Verify, client: Client, database: str
) -> None:
    """The sink has never run; somebody says that a part of the ledger, and more than all of another topic, is done."""
    installation.publish()
    report = verified()
    assert report.ok
    assert report.waiting == sum(
        report.counts[table].expected for table in report.counts if report.counts[table].waiting
    )
    assert report.counts["metric_events"].waiting > 100

    names = installation.names
    ledger, awards = names.output(LEDGER), names.output("awards")
    client.command(
        f"INSERT INTO {database}.sink_progress (epoch, topic, partition, state, first_offset, last_offset, batch) VALUES "
        f"(0, '{ledger}', 0, 'done', 0, 100, '0:0-100'), (0, '{awards}', 1, 'done', 0, 1000000, '1:0-1000000')"
    )
    report = verified()
    assert not report.ok
    assert report.counts["metric_events"].lost > 5
    assert report.counts["users_log"].lost > 2
    assert report.counts["points_awards"].lost > 100
    assert report.counts["metric_events"].waiting > 100
    (claim,) = (one for one in report.differences if one.where == "sink_progress")
    assert (claim.kind, claim.id, claim.partition) == ("wrong", awards, 1)
    assert claim.found == "all rows below offset 1000001"


def test_what_an_erasure_takes_away_must_be_gone(
    installation: Installation,
    verified: Verify,
    client: Client,
    clickhouse_url: str,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Small batches, so that the sink deletes rows that it has written."""
    monkeypatch.setattr("projections.sink.loop.MAX_BATCH_RECORDS", 300)
    installation.publish()
    project(installation, clickhouse_url, database)
    report = verified()
    assert report.differences == []
    assert report.counts["erasures"].found == report.counts["erasures"].expected >= 4
    events = sum(one.type == "metric.changed" for records in installation.outputs.values() for one in records)
    assert 0 < report.counts["metric_events"].found < events
    user, offset, partition = one_row(
        client, database, "erasures", "user_id, src_off, src_part", "user_id != 'never was'"
    )
    client.command(
        f"INSERT INTO {database}.metric_events SELECT * REPLACE ('{user}' AS user_id, toUInt64({offset} - 1) AS src_off, "
        f"toUInt64({offset}) AS ver) FROM {database}.metric_events WHERE src_part = {partition} LIMIT 1"
    )
    client.command(
        f"INSERT INTO {database}.user_activity_rollup VALUES ('', 'never was', '2025-01-01 00:00:00', '2025-01-02 00:00:00', 1)"
    )
    report = verified()
    still = [one for one in report.differences if one.expected == "erased"]
    assert [(one.kind, one.where, user in one.id) for one in still] == [("wrong", "metric_events", True)]
    assert ("wrong", "user_activity_rollup", "never was") in differences(report)


def test_merged_rows_of_states_are_not_missed_nor_columns_of_rows_that_were_there_before_them(
    projected: Installation, verified: Verify, client: Client, database: str
) -> None:
    settings = {"database": database, "mutations_sync": 2}
    for text in (
        "CREATE TABLE kept ENGINE = Memory AS SELECT * FROM achievement_completions",
        "ALTER TABLE achievement_completions DELETE WHERE 1",
        "INSERT INTO achievement_completions SELECT * REPLACE ('' AS feed) FROM kept",
    ):
        client.command(text, settings=settings)
    for table in ("users_log", "streak_state_log", "streak_periods_log"):
        client.command(f"OPTIMIZE TABLE {database}.{table} FINAL")
    report = verified()
    counts = report.counts["streak_state_log"]
    assert counts.found < counts.expected
    assert report.ok
    assert report.records == sum(map(len, log().records.values()))
