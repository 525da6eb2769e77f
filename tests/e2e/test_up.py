"""`plaudit up` on the installation of the sample: publish, watch, ask, stop."""

import json
import re
import time

import yaml

from deploy.cli.support.history import SAMPLE_CATALOG
from deploy.embedded import running_stack
from projections.tables import ERASURES, ROLLUPS, TABLES
from tests.e2e.command import Running, processes_of, wait_until
from tests.e2e.conftest import PARTITIONS, Sample, Up, Ups

SECONDS = 20.0
"""Deadline for what should take one or two, on a machine with other things to do."""

WHOLE_LOG_S = 500.0
"""Deadline for folding the whole log again, which takes half a minute."""


def commit(user: str, event_id: str) -> str:
    """A record as JSON."""
    return json.dumps({"metric": "commits", "user": user, "value": 1, "eventId": event_id})


def total(up: Up, user: str) -> int:
    """The user's commits by SQL, 0 if it is unknown."""
    query = f"SELECT total FROM metric_totals WHERE user_id = '{user}' AND metric_key = 'commits'"
    done = up.command("sql", query, "--json")
    assert done.code == 0, done.err
    return int(json.loads(done.out)["total"]) if done.out else 0


def test_an_event_published_to_a_running_installation_is_seen_by_tail_and_sql_within_seconds(up: Up) -> None:
    tail = up.command.start("tail", "tail", "ledger", "awards")
    try:
        published = 0
        while "watched-" not in tail.out.read_text():  # it shows only what comes after it has begun
            assert published < 30, tail.err.read_text()
            published += 1
            done = up.command("publish", "-", stdin=commit("watched", f"watched-{published}"))
            assert (done.code, done.err) == (0, "published 1 record\n")
        began = time.monotonic()
        done = up.command("publish", "-", stdin=commit("watched", "last-one"))
        assert done.code == 0
        wait_until(lambda: '"eventId":"last-one"' in tail.out.read_text(), "tail shows it", SECONDS)
        wait_until(lambda: total(up, "watched") == published + 1, "SQL shows it", SECONDS)
        assert time.monotonic() - began < SECONDS
        shown = [json.loads(line) for line in tail.out.read_text().splitlines() if '"watched' in line]
        assert {"metric.changed", "points.awarded"} & {event["type"] for event in shown}
        assert tail.process.poll() is None
    finally:
        assert tail.interrupt() == 130


def test_published_history_is_counted_and_refused_lines_are_told(up: Up) -> None:
    lines = f"{commit('pair', 'pair-1')}\n{{no json\n{commit('pair', 'pair-2')}\n{commit('pair', 'pair-1')}\n"
    done = up.command("publish", "-", stdin=lines)
    assert done.code == 3
    assert "line 2" in done.err
    assert "published 3 records, refused 1 line" in done.err
    wait_until(lambda: total(up, "pair") == 2, "both are applied, the repeated one once", SECONDS)


def test_an_erased_user_is_gone_and_starts_anew(up: Up) -> None:
    first = json.loads(commit("leaver", "leaver-1"))
    first["user"] = {"id": "leaver", "email": "leaver@example.org"}
    refused = json.dumps({"metric": "comits", "user": "leaver", "value": 1})
    assert up.command("publish", "-", stdin=f"{json.dumps(first)}\n{refused}\n").code == 0
    wait_until(lambda: rows_of(up, "leaver")["rejected"] == 1, "everything is projected", SECONDS)
    wait_until(lambda: total(up, "leaver") == 1, "everything is projected", SECONDS)
    done = up.command("erase", "leaver", "--yes")
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(r"erased: erase plaudit.events-\d+-\d+ \(plaudit.events \d+:\d+\)\n", done.out)
    wait_until(lambda: not any(rows_of(up, "leaver").values()), "nothing is left", SECONDS)
    wait_until(lambda: "was erased at 20" in up.command("user", "leaver").err, "the erasure is projected", SECONDS)
    assert up.command("user", "leaver").code == 4
    why = up.command("why", done.out.split()[2])
    assert why.code == 0
    assert "everything known of the user was erased" in why.out
    again = up.command("erase", "leaver", "--yes", "--json")
    assert (again.code, json.loads(again.out)["issues"][0]["severity"]) == (4, "warning")
    assert up.command("publish", "-", stdin=commit("leaver", "leaver-1")).code == 0
    wait_until(lambda: total(up, "leaver") == 1, "the event of before counts anew", SECONDS)
    (user,) = up.command("sql", "SELECT email FROM users WHERE user_id = 'leaver'", "--json").out.splitlines()
    assert json.loads(user) == {"email": None}


def rows_of(up: Up, user: str) -> dict[str, int]:
    """How many rows of a user tables and rollups hold."""
    names = [table.name for table in TABLES if table is not ERASURES] + list(ROLLUPS)
    counts = [f"SELECT '{name}' AS name, count() AS rows FROM {name} WHERE user_id = '{user}'" for name in names]
    done = up.command("sql", " UNION ALL ".join(counts), "--json")
    assert done.code == 0, done.err
    return {row["name"]: int(row["rows"]) for row in map(json.loads, done.out.splitlines())}


def test_a_request_tells_what_came_of_it(up: Up) -> None:
    assert up.command("publish", "-", stdin=commit("asked", "asked-1")).code == 0
    pause = [
        "streak",
        "pause",
        "asked",
        "--id",
        "trip",
        "--start",
        "2999-01-01",
        "--end",
        "2999-01-02",
        "--event-id",
        "a2",
    ]
    done = up.command(*pause)
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(r"done: streak.pause a2 \(plaudit.events \d+:\d+\), status 201\n", done.out)
    again = up.command(*pause)
    assert (again.code, again.out) == (0, "")
    assert "was applied before" in again.err
    refused = up.command("freeze", "grant", "asked")
    assert refused.code == 3
    assert refused.out.startswith("error: asked: Streak freezes are not enabled\nnothing done: freeze.grant cli-")
    unknown = up.command("preferences", "nobody-here", "--no-streak", "--json")
    assert unknown.code == 3
    assert (json.loads(unknown.out)["status"], json.loads(unknown.out)["reason"]) == (404, "unknown_user")
    sent = up.command("streak", "reset", "asked", "--no-wait")
    assert (sent.code, sent.out) == (0, "")
    assert sent.err.startswith("published streak.reset cli-")


def test_tail_from_the_beginning_ends_after_a_count(up: Up) -> None:
    done = up.command("tail", "achievements", "--from-beginning", "--count", 5)
    assert done.code == 0
    assert [json.loads(line)["type"] for line in done.out.splitlines()] == ["achievement.completed"] * 5


def test_user_shows_what_the_tables_hold(up: Up, sample: Sample) -> None:
    user_id = "u0ff225e071"
    expected = sample.tables["users"][user_id]
    done = up.command("user", user_id, "--json")
    assert done.code == 0, done.err
    shown = json.loads(done.out)
    assert shown["user"]["id"] == user_id
    assert shown["metrics"] == expected["metrics"]
    assert shown["points"]["xp"] == expected["points"]["xp"]
    assert shown["streak"]["longest"] == expected["streaks"]["daily"]["longest"] == 55
    assert [row["length"] for row in shown["streak"]["streakHistory"]] == [0] * 7
    assert {one["id"] for one in shown["achievements"]} == {one["id"] for one in expected["achievements"]}
    assert len(shown["awards"]) == 100
    plain = up.command("user", user_id)
    assert plain.code == 0
    assert "Century" in plain.out


def test_an_unknown_user_is_exit_code_4(up: Up) -> None:
    done = up.command("user", "nobody-here")
    assert (done.code, done.out) == (4, "")
    assert "there is no user 'nobody-here'" in done.err


def test_sql_gives_tab_separated_values_and_refuses_what_is_no_query(up: Up) -> None:
    done = up.command(
        "sql", "SELECT user_id, total FROM points_balances WHERE system_key = 'xp' ORDER BY total DESC LIMIT 2"
    )
    assert done.code == 0
    header, *rows = done.out.splitlines()
    assert header == "user_id\ttotal"
    assert [row.split("\t")[0] for row in rows] == ["u7c7a96a0d0", "u0ff225e071"]
    wrong = up.command("sql", "SELECT nonsense FROM points_balances")
    assert wrong.code == 1
    assert "nonsense" in wrong.err


def test_catalog_show_lists_and_prints_the_published_version(up: Up) -> None:
    listed = up.command("catalog", "show")
    assert listed.code == 0
    (row,) = [line for line in listed.out.splitlines() if "in force" in line]
    assert row.split()[0] == "1"
    printed = up.command("catalog", "show", "--version", "1")
    assert printed.code == 0
    written = yaml.safe_load(SAMPLE_CATALOG.read_text())
    assert json.loads(printed.out)["metrics"] == written["metrics"]
    assert up.command("catalog", "show", "--version", "2").code == 4


def test_a_second_installation_on_the_same_home_is_refused(up: Up) -> None:
    done = up.command("run")
    assert done.code == 1
    assert "PLAUDIT_HOME" in done.err


def test_the_clock_ticks_once_the_history_is_loaded(up: Up) -> None:
    done = up.command("tail", "events", "--count", PARTITIONS)
    assert done.code == 0
    ticks = [json.loads(line) for line in done.out.splitlines()]
    assert [tick["type"] for tick in ticks] == ["tick"] * PARTITIONS


def test_replay_finds_a_running_installation_equal(up: Up) -> None:
    check = up.command.start("check", "replay", "--check")
    assert check.process.wait(WHOLE_LOG_S) == 0, check.out.read_text() + check.err.read_text()
    printed = check.out.read_text()
    assert printed.splitlines()[-1].startswith("equal")
    assert "plaudit.outcomes" in printed


def test_ctrl_c_ends_everything_in_order(up: Up, ups: Ups) -> None:
    running: Running = up.running
    assert len(processes_of(up.command.home)) >= 5  # itself, worker, sink, the servers
    assert running.interrupt() == 0
    assert running_stack(up.command.home) is None
    wait_until(lambda: processes_of(up.command.home) == [], "no process is left")
    done = up.command("sql", "SELECT count() >= 121502 FROM metric_events", "--json")  # starts ClickHouse by itself
    assert (done.code, done.err) == (0, "")
    assert list(json.loads(done.out).values()) == [1]
    assert processes_of(up.command.home) == []
