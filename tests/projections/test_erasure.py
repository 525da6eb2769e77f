"""Erasures in the tables: exactly the rows before the marker go, whoever dies or sleeps meanwhile (X30)."""

import asyncio
import random
import signal
import time
from collections.abc import Iterable
from zlib import crc32

import pytest
from clickhouse_connect.driver.client import Client

from deploy.embedded import ClickHouseServer, KafkaServer
from projections.rows import Rows
from projections.rows.builders import BUILDER_OF_TYPE
from projections.rows.erasures import ROLLUPS_OF_TOPIC, TABLES_OF_TOPIC, deletions
from projections.tables import ERASURES, METRIC_EVENTS, PROJECTED_TOPICS, REJECTED, ROLLUPS, TABLES
from schemas.topics import ERASED, ERASED_TOPICS, LEDGER, OUTCOMES, TOPIC_OF_TYPE, full_name
from schemas.topics import REJECTED as REJECTED_TOPIC
from tests.projections import factory
from tests.projections.feed import Feed, expected, found
from tests.projections.test_sink import Spawn, catch_up, rows, spawn, wait_until

__all__ = ["spawn"]

Records = list[tuple[str, bytes]]

NASTY = "o'Brien\\ \"?{t0:String}\t;\n)]"
PATIENCE_S = 120.0


def life(user: str, number: int, tenant: str = "") -> Records:
    """One record for every table, by logical topic."""
    sequence = str(number)
    values = [
        ("user.upserted", factory.user_upserted(user, name=f"name {number}", sequence=sequence)),
        ("metric.changed", factory.metric_changed(user, value=number, total=number, event_id=f"{user} {number}")),
        ("achievement.backdated", factory.backdated(user)),
        ("streak.changed", factory.streak_changed(user, length=number, sequence=sequence)),
        ("streak.period_closed", factory.period(user, sequence=sequence)),
        ("streak.freezes_changed", factory.freezes_changed(user)),
        ("points.awarded", factory.points_awarded(user, awarded=number, total=number, award_id=f"{user} {number}")),
        ("points.level_changed", factory.level_changed(user, after=f"level {number}", sequence=sequence)),
        ("achievement.completed", factory.completed(user)),
        ("streak.started", factory.streak_started(user)),
        ("", factory.rejected(user).replace(b'"offset":17', b'"offset":%d' % crc32(f"{user} {number}".encode()))),
    ]
    assert {BUILDER_OF_TYPE[name][0].name for name, _ in values if name} == {
        table.name for table in TABLES if table not in (REJECTED, ERASURES)
    }
    return [(TOPIC_OF_TYPE.get(name, REJECTED_TOPIC), value) for name, value in values]


def markers(user: str, sequence: str = "1") -> Records:
    """An erasure in every projected topic."""
    return [(topic, factory.erased(topic, user, sequence=sequence)) for topic in PROJECTED_TOPICS]


def built(records: Iterable[tuple[str, bytes]], first: int = 0, partition: int = 0) -> Rows:
    """The rows of records, each at an offset of its own."""
    found = Rows(0, "plaudit.rejected")
    for offset, (topic, value) in enumerate(records, first):
        kind = ERASED if b'"type":"user.erased"' in value else ""
        found.add(full_name(topic), partition, offset, 0, kind, value)
    return found


def put(client: Client, database: str, batch: Rows) -> None:
    """Delete and insert as a sink does."""
    for deletion in deletions(batch.erasures):
        client.command(
            f"DELETE FROM {database}.{deletion.table} WHERE {deletion.condition}", parameters=deletion.parameters
        )
    for table in batch.tables():
        client.insert(
            table.name,
            batch.columns(table),
            database=database,
            column_names=[name for name, _ in table.columns],
            column_type_names=[kind for _, kind in table.columns],
            column_oriented=True,
            settings={"async_insert": 0},
        )


def present(client: Client, database: str, user: str) -> dict[str, int]:
    """Rows of a user in every table and rollup."""
    return {
        name: client.query(
            f"SELECT count() FROM {database}.{name} WHERE user_id = {{u:String}}", parameters={"u": user}
        ).result_rows[0][0]
        for name in (*(table.name for table in TABLES), *ROLLUPS)
    }


def test_every_table_and_rollup_is_reached() -> None:
    """A table that comes later must say which topic erases it."""
    reached = {table.name for tables in TABLES_OF_TOPIC.values() for table in tables} | {REJECTED.name}
    assert reached == {table.name for table in TABLES} - {ERASURES.name}
    assert {name for of_topic in ROLLUPS_OF_TOPIC.values() for name, _ in of_topic} == set(ROLLUPS)
    assert set(PROJECTED_TOPICS) <= set(ERASED_TOPICS)
    assert OUTCOMES not in ERASED_TOPICS


def test_a_batch_leaves_out_what_it_erases_and_keeps_what_comes_after() -> None:
    batch = built([*life("a", 1), *life("b", 1), *markers("a"), *life("a", 2)])
    assert batch.duplicates == 0  # the derived ids come again
    for table in batch.tables():
        users = [row[1] for row in batch.rows(table)]
        each = 2 if table.name == "achievement_completions" else 1  # two topics feed it
        assert sorted(users) == (["a"] if table is ERASURES else [*["a"] * each, *["b"] * each]), table.name
    (event,) = [row for row in batch.rows(METRIC_EVENTS) if row[1] == "a"]
    assert event[5] == "2"
    assert {(one.topic, one.user_id) for one in batch.erasures} == {(full_name(t), "a") for t in PROJECTED_TOPICS}
    assert built([*life("a", 1), *markers("a")]).tables() == [ERASURES]


def test_a_marker_counts_for_its_own_topic_only() -> None:
    batch = built([*life("a", 1), (LEDGER, factory.erased(LEDGER, "a"))])
    left = {table.name for table in batch.tables()}
    assert {"points_awards", "level_changes", "streak_events", "rejected", "achievement_completions"} < left
    assert left & {"users_log", "metric_events", "streak_state_log"} == set()


def test_a_marker_that_cannot_be_read_is_a_rejected_row() -> None:
    batch = built([(LEDGER, factory.erased(LEDGER, "a").replace(b'"topic":', b'"tropic":'))])
    assert (batch.undecodable, batch.erasures, [table.name for table in batch.tables()]) == (1, [], ["rejected"])


@pytest.mark.parametrize("user", ["a", NASTY])
def test_rows_of_earlier_batches_go_and_those_of_others_stay(client: Client, database: str, user: str) -> None:
    put(client, database, built([*life(user, 1), *life("b", 1)]))
    before = present(client, database, "b")
    assert [name for name, count in present(client, database, user).items() if not count] == ["erasures"]
    put(client, database, built(markers(user), first=100))
    assert {name: count for name, count in present(client, database, user).items() if count} == {"erasures": 1}
    assert present(client, database, "b") == before


def test_a_tenant_is_erased_apart(client: Client, database: str) -> None:
    acme = factory.envelope("user.upserted", {"user": factory.user_object("a")}, user="a", tenant="acme")
    mine = [acme, factory.user_upserted("a")]
    put(client, database, built([*((LEDGER, value) for value in mine), (REJECTED_TOPIC, factory.rejected("acme\0a"))]))
    topics = (LEDGER, REJECTED_TOPIC)
    put(client, database, built([(topic, factory.erased(topic, "a", tenant="acme")) for topic in topics], first=100))
    assert client.query(f"SELECT tenant FROM {database}.users_log").result_rows == [("",)]
    assert client.query(f"SELECT count() FROM {database}.rejected").result_rows == [(0,)]


def test_a_deletion_that_comes_late_touches_nothing_of_the_next_life(client: Client, database: str) -> None:
    """A sink that slept through its session carries it out at any time; also merged rollups tell the lives apart."""
    put(client, database, built(life("a", 1)))
    erasing = built(markers("a"), first=100)
    put(client, database, erasing)
    put(client, database, built(life("a", 2), first=200))
    for name in ROLLUPS:
        client.command(f"OPTIMIZE TABLE {database}.{name} FINAL")
    before = present(client, database, "a")
    for deletion in deletions(erasing.erasures):
        client.command(
            f"DELETE FROM {database}.{deletion.table} WHERE {deletion.condition}", parameters=deletion.parameters
        )
    assert present(client, database, "a") == before
    (balance,) = client.query(f"SELECT total, level_key FROM {database}.points_balances").result_rows
    assert balance == (2, "level 2")


def test_topics_may_be_far_apart(client: Client, database: str) -> None:
    """A topic whose sink lags brings rows of the former life after those of the next one from another topic."""
    former, later, erased = life("a", 1), life("a", 2), markers("a")
    fast = {"plaudit.levels", "plaudit.achievements"}

    def of(records: Records, quick: bool) -> Records:
        return [(topic, value) for topic, value in records if (full_name(topic) in fast) == quick]

    put(client, database, built([*of(former, True), *of(erased, True), *of(later, True)]))
    put(client, database, built(of(former, False), first=1_000))
    for name in ("achievement_completions", "points_balances_rollup"):
        client.command(f"OPTIMIZE TABLE {database}.{name} FINAL")
    put(client, database, built(of(erased, False), first=2_000))
    (completion,) = client.query(f"SELECT backdated, feed FROM {database}.achievement_completions FINAL").result_rows
    assert completion == (False, "completed")
    put(client, database, built(of(later, False), first=3_000))
    (balance,) = client.query(f"SELECT total, level_key FROM {database}.points_balances").result_rows
    assert balance == (2, "level 2")


def test_refused_records_of_a_user_under_another_key_go_too_if_they_are_older(client: Client, database: str) -> None:
    """Whoever sent a record with a wrong key to another partition named the user all the same."""
    refused = [
        factory.rejected("other", '{"user":{"id":"a"}}'),
        factory.rejected(None, '{"user":"a"}'),
        factory.rejected("a", "no JSON"),
        factory.rejected("other", '{"user":"other"}'),
    ]
    put(client, database, built([(REJECTED_TOPIC, value) for value in refused], partition=3))
    later = (
        factory.rejected(None, '{"user":"a"}')
        .replace(b"2025-03-01", b"2025-03-09")
        .replace(b'"offset":17', b'"offset":18')
    )
    put(client, database, built([(REJECTED_TOPIC, later)], first=10, partition=3))
    put(client, database, built([(REJECTED_TOPIC, factory.erased(REJECTED_TOPIC, "a", at="2025-03-05T00:00:00.000Z"))]))
    left = client.query(f"SELECT user_id, origin_offset FROM {database}.rejected FINAL ORDER BY user_id").result_rows
    assert left == [("a", 18), ("other", 17)]


@pytest.fixture
def feed(kafka: KafkaServer, prefix: str) -> Feed:
    """A feed that erases users, often the same ones."""
    feed = Feed(kafka.brokers, prefix, erasing=0.03)
    asyncio.run(feed.create_topics())
    return feed


def test_what_is_erased_is_gone_and_what_came_after_is_there(
    kafka: KafkaServer, clickhouse: ClickHouseServer, client: Client, database: str, prefix: str, feed: Feed
) -> None:
    asyncio.run(feed.publish(400))
    catch_up(kafka, clickhouse, database, prefix)
    assert found(client, database) == expected(feed)
    asyncio.run(feed.publish(200))
    catch_up(kafka, clickhouse, database, prefix)
    assert found(client, database) == expected(feed)
    assert feed.erasures > 10


def test_kill_9_between_deletes_inserts_and_progress_is_as_if_nothing_happened(
    client: Client, database: str, feed: Feed, spawn: Spawn
) -> None:
    dice = random.Random(3)
    asyncio.run(feed.publish(900, per_transaction=200))
    for _ in range(3):
        seen = progress(client, database)
        child = spawn("sink-0")
        wait_until(lambda seen=seen: progress(client, database) > seen, "the sink works")  # type: ignore[misc]
        time.sleep(dice.random() * 0.5)  # anywhere in a batch
        child.kill()
        child.wait()
    child = spawn("sink-0")
    wait_until(lambda: found(client, database) == expected(feed), "everything is there, and no more", PATIENCE_S)
    child.send_signal(signal.SIGTERM)
    assert child.wait(10) == 0
    assert found(client, database) == expected(feed)


def test_a_sink_that_slept_through_its_session_erases_nothing_new(
    client: Client, database: str, feed: Feed, spawn: Spawn
) -> None:
    asyncio.run(feed.publish(300, per_transaction=200))
    sleeper = spawn()
    wait_until(lambda: rows(client, database) > 0, "the first works")
    sleeper.send_signal(signal.SIGSTOP)
    spawn()
    wait_until(lambda: found(client, database) == expected(feed), "the second has taken over", PATIENCE_S)
    sleeper.send_signal(signal.SIGCONT)
    asyncio.run(feed.publish(150))
    wait_until(lambda: found(client, database) == expected(feed), "both work", PATIENCE_S)
    time.sleep(1.0)  # whatever the sleeper had in hand has been carried out or refused by now
    assert found(client, database) == expected(feed)


def progress(client: Client, database: str) -> int:
    """Records written, as the sinks tell it."""
    query = f"SELECT sum(last_offset) FROM {database}.sink_progress FINAL WHERE state = 'done'"
    return int(client.query(query).result_rows[0][0])
