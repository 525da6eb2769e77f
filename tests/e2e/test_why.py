"""`plaudit why` on the sample's installation: what is derived again is what the tables hold."""

import json
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Up

Json = dict[str, Any]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "why.md"

COLUMNS = "user_id, award_id, system_key, trigger_id, awarded, total_after, count, base, boosts, cause_type, cause_id"


def rows(up: Up, query: str) -> list[Json]:
    """The rows of a query."""
    done = up.command("sql", query, "--json")
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def why(up: Up, identity: str) -> Json:
    """The answer about an id."""
    done = up.command("why", identity, "--json")
    assert (done.code, done.err) == (0, "")
    answer: Json = json.loads(done.out)
    return answer


def test_the_numbers_of_awards_derived_again_are_those_of_the_table(up: Up) -> None:
    some = "ORDER BY cityHash64(award_id) LIMIT 1"
    chosen = [
        *rows(up, f"SELECT {COLUMNS} FROM points_awards WHERE cause_type = 'event' AND empty(boosts) {some}"),
        *rows(up, f"SELECT {COLUMNS} FROM points_awards WHERE cause_type = 'event' AND notEmpty(boosts) {some}"),
        *rows(up, f"SELECT {COLUMNS} FROM points_awards WHERE cause_type = 'time' AND awarded < base {some}"),
    ]
    assert len(chosen) == 3
    for row in chosen:
        answer = why(up, row["award_id"])
        (step,) = [step for step in answer["steps"] if step.get("awardId") == row["award_id"]]
        assert {
            "user_id": answer["user"],
            "award_id": row["award_id"],
            "system_key": step["system"],
            "trigger_id": step["trigger"],
            "awarded": step["awarded"],
            "total_after": step["balanceAfter"],
            "count": step["count"],
            "base": step["base"],
            "boosts": step["boosts"],
            "cause_type": row["cause_type"],
            "cause_id": answer["due"] if row["cause_type"] == "time" else answer["record"]["eventId"],
        } == row
        (asked,) = [effect for effect in answer["effects"] if effect["asked"]]
        assert asked["value"]["data"]["award"]["id"] == row["award_id"]


def test_an_effect_that_no_table_has_is_found_on_the_topics(up: Up) -> None:
    (row,) = rows(up, "SELECT award_id FROM points_awards ORDER BY cityHash64(award_id) LIMIT 1")
    answer = why(up, row["award_id"])
    effect = next(effect for effect in answer["effects"] if effect["type"] == "points.awarded")
    assert why(up, effect["id"])["record"] == answer["record"]


def test_an_id_that_nothing_has_ends_with_exit_code_4(up: Up) -> None:
    done = up.command("why", "nothing-has-it")
    assert (done.code, done.out) == (4, "")
    assert "nothing has the id 'nothing-has-it'" in done.err


def test_the_page_in_the_docs_is_what_is_printed(up: Up) -> None:
    call, _, quoted = PAGE.read_text().partition("$ .venv/bin/plaudit why ")[2].partition("\n")
    done = up.command("why", call)
    assert (done.code, done.err) == (0, "")
    assert quoted.startswith(f"{done.out}```\n")
