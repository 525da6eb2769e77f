"""The oracle on the worked examples of the chapters, as far as it knows what they use."""

import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from .configuration import read_catalog
from .localtime import parse_instant
from .oracle import Oracle

SPEC = Path(__file__).parents[2] / "docs" / "spec"
CHAPTERS = ("metrics-and-events", "points", "achievements", "outcome")
OPERATIONS = {"event", "identify", "complete", "tick"}
STREAK_RECORDS = {"user", "tz", "metric", "tick"}
APPLIED = (None, 200, 201)


def _loads(text: str) -> Any:
    return json.loads(text, parse_float=Fraction)


def _chapter_cases() -> list[Any]:
    texts = [(SPEC / f"{chapter}.md").read_text(encoding="utf-8") for chapter in CHAPTERS]
    cases = [_loads(block) for text in texts for block in re.findall(r"```json case\n(.*?)```", text, re.DOTALL)]
    return [case for case in cases if {event.get("op", "event") for event in case["events"]} <= OPERATIONS]


def _streak_cases() -> list[Any]:
    cases = _loads((SPEC / "cases" / "streaks.json").read_text(encoding="utf-8"))
    return [
        case
        for case in cases
        if {event["t"] for event in case["events"]} <= STREAK_RECORDS
        and not case["config"].get("freezes")
        and not case["config"].get("daysOff")
    ]


def _long_form(config: dict[str, Any]) -> dict[str, Any]:
    """Undo the defaults of the case notation (section 11): all is active, triggers are ordered by id."""
    active = {"status": "active"}
    systems = [
        system
        | {
            "triggers": sorted((active | trigger for trigger in system.get("triggers", [])), key=lambda one: one["id"]),
            "boosts": [active | boost for boost in system.get("boosts", [])],
        }
        for system in config.get("systems", [])
    ]
    return config | {"systems": systems, "achievements": [active | one for one in config.get("achievements", [])]}


@pytest.mark.parametrize("case", _chapter_cases(), ids=lambda case: case["id"])
def test_chapter_example(case: Any) -> None:
    if any(trigger.get("blockIfOutOfPoints") for s in case["config"].get("systems", []) for trigger in s["triggers"]):
        pytest.skip("blocking triggers are not in the sample")
    oracle = Oracle(read_catalog(_long_form(case["config"]), 0), 0)
    timed = {t.id for system in oracle.catalog.systems for t in system.triggers if t.type == "time"}
    for event, expected in zip(case["events"], case["expect"]["outcomes"], strict=True):
        if expected.get("status") not in APPLIED or expected.get("idempotentReplayed"):
            continue  # refused or repeated: the sample holds no such record
        before = {user_id: len(user.awards) for user_id, user in oracle.users.items()}
        completed = {user_id: len(user.completed) for user_id, user in oracle.users.items()}
        _apply(oracle, event)
        if event.get("op") == "tick":
            new = [a for user_id, user in oracle.users.items() for a in user.awards[before[user_id] :]]
            _check_awards(expected.get("awards", []), sorted(new, key=lambda award: award["date"]))
            continue
        user = oracle.users[event["user"]["id"]]
        awards = [award for award in user.awards[before.get(user.id, 0) :] if award["trigger"] not in timed]
        _check_points(expected, awards, user.level_changes)
        if "achievements" in expected:
            assert list(user.completed)[completed.get(user.id, 0) :] == expected["achievements"]
        if event.get("op", "event") == "event" and "total" in expected:
            assert user.totals[event["metric"]] == expected["total"]
        if "length" in expected.get("streak", {}):
            assert user.streaks.result()["daily"]["length"] == expected["streak"]["length"]
    _check_final(case["expect"].get("final", {}), oracle.result()["users"])


def _apply(oracle: Oracle, event: dict[str, Any]) -> None:
    at, user = parse_instant(event["at"]), event.get("user", {})
    about = {"tz": user.get("tz"), "user_attributes": user.get("attributes")}
    match event.get("op", "event"):
        case "event":
            arrives = parse_instant(event["arrives"]) if "arrives" in event else None
            attributes = event.get("attributes")
            oracle.metric(
                user["id"], event["metric"], event["value"], at, arrives=arrives, attributes=attributes, **about
            )
        case "identify":
            oracle.identify(user["id"], at, **about)
        case "complete":
            oracle.complete(user["id"], event["achievement"], at, **about)
        case _:
            oracle.tick(at)


def _check_points(expected: dict[str, Any], awards: list[Any], level_changes: list[Any]) -> None:
    if "points" not in expected:
        return
    assert {award["system"] for award in awards} == expected["points"].keys()
    for key, entry in expected["points"].items():
        of_system = [award for award in awards if award["system"] == key]
        assert entry.get("total", of_system[-1]["total"]) == of_system[-1]["total"]
        if "added" in entry:
            assert sum(award["awarded"] for award in of_system) == entry["added"]
        if "awards" in entry:
            _check_awards(entry["awards"], of_system)
        if "level" in entry:
            assert [change["new"] for change in level_changes if change["system"] == key][-1] == entry["level"]


def _check_awards(expected: list[Any], awards: list[Any]) -> None:
    assert len(awards) == len(expected)
    for entry, award in zip(expected, awards, strict=True):
        for name, wanted in entry.items():
            if name != "user":
                assert award[name] == (parse_instant(wanted) if name == "date" else wanted)


def _check_final(final: dict[str, Any], users: dict[str, Any]) -> None:
    for user_id, expected in final.items():
        if expected is None:
            assert user_id not in users
            continue
        user = users[user_id]
        if "points" in expected:
            assert {key: entry["total"] for key, entry in user["points"].items() if entry["total"]} == expected[
                "points"
            ]
        for key, level in expected.get("level", {}).items():
            assert user["points"][key]["level"] == level
        if "achievements" in expected:
            assert {one["id"] for one in user["achievements"]} == set(expected["achievements"])


@pytest.mark.parametrize("case", _streak_cases(), ids=lambda case: case["id"])
def test_streak_example(case: Any) -> None:
    catalog = read_catalog({"streak": case["config"]}, 0)
    oracle = Oracle(catalog, 0)
    records = [(parse_instant(event.get("arrives", event["at"])), 0, event) for event in case["events"]]
    checks = [(parse_instant(check["at"]), 1, check) for check in case["expect"].get("checks", [])]
    for arrives, kind, entry in sorted(records + checks, key=lambda one: one[:2]):
        if kind == 1:
            oracle.tick(arrives)
            _check_streak(entry, oracle, catalog.frequency)
        elif entry["t"] == "metric":
            at = parse_instant(entry["at"])
            oracle.metric(entry["user"], entry["key"], entry["value"], at, arrives=arrives, tz=entry.get("tz"))
        elif entry["t"] == "tick":
            oracle.tick(arrives)
        else:
            oracle.identify(entry["user"], arrives, tz=entry.get("tz"))
    if "emitted" in case["expect"]:
        wanted = [one | {"at": parse_instant(one["at"])} for one in case["expect"]["emitted"]]
        assert oracle.users["u1"].streaks.events == wanted


def _check_streak(check: dict[str, Any], oracle: Oracle, active: str) -> None:
    frequency = check.get("frequency", active)
    user = oracle.result()["users"]["u1"]
    chain = user["streaks"][frequency]
    for name, wanted in check.get("streak", {}).items():
        if name in chain:
            assert chain[name] == (parse_instant(wanted) if name == "extended" and wanted else wanted), name
    rows = {row["periodStart"]: row for row in user["periods"] if row["frequency"] == frequency}
    for wanted in check.get("history", []):
        row = rows.get(wanted["periodStart"])
        if row is None:  # idle, or the open one
            length = chain["length"] if wanted["periodStart"] == chain["periodStart"] else 0
            assert length == wanted["length"]
        else:
            assert (row["periodEnd"], row["length"]) == (wanted["periodEnd"], wanted["length"])
            assert (row["outcome"] == "bridged") == wanted.get("bridged", False)
