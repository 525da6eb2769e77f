"""The streak oracle against the worked examples W1-W24: it reads the chapters as the cases do."""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.properties.streak_calendar import FREQUENCIES
from tests.properties.streak_oracle import Oracle
from tests.properties.streak_timeline import Line, instant

Json = dict[str, Any]

CASES = json.loads(
    (Path(__file__).resolve().parents[2] / "docs" / "spec" / "cases" / "streaks.json").read_text(), parse_float=Decimal
)
PUBLIC = {
    "streak.started": ("length",),
    "streak.extended": ("length",),
    "streak.lost": ("length",),
    "streak.freeze_consumed": ("consumed", "freezes"),
    "streak.freeze_earned": ("earned", "freezes"),
}
TYPES = {
    "user": "identify",
    "tz": "identify",
    "prefs": "preferences",
    "pause": "streak.pause",
    "pause_delete": "streak.unpause",
    "grant": "freeze.grant",
    "restore": "streak.restore",
    "reset": "streak.reset",
    "tick": "tick",
}


def _lines(case: Json) -> list[Line]:
    """Return a case as a log in wire form, the settings first."""
    settings = {name: value for name, value in case["config"].items() if name != "feature"}
    lines = [_catalog(case["events"][0]["at"], settings)]
    for event in case["events"]:
        timestamp = instant(event.get("arrives", event["at"]))
        user: Json = {"id": event.get("user", ""), **({"tz": event["tz"]} if "tz" in event else {})}
        if event["t"] == "settings":
            settings = {**settings, **event["set"]}
            lines.append(_catalog(event["at"], settings))
        elif event["t"] == "metric":
            fields = {"metric": event["key"], "value": event["value"]}
            lines.append(Line(timestamp, {"occurredAt": event["at"], "user": user, **fields}))
        else:
            fields = {name: event[name] for name in ("at", "id", "start", "end", "streak") if name in event}
            record = {"type": TYPES[event["t"]], "occurredAt": event["at"], **fields}
            lines.append(Line(timestamp, record if event["t"] == "tick" else {**record, "user": user}))
    return lines


def _catalog(at: str, settings: Json) -> Line:
    mode = "AND" if settings.get("evaluationMode") == "ALL" else settings.get("evaluationMode", "OR")
    return Line(instant(at), {"type": "catalog", "at": at, "streak": {**settings, "evaluationMode": mode}})


def _tick(at: str) -> Line:
    return Line(instant(at), {"type": "tick", "at": at})


def _read(lines: list[Line], user: str, at: datetime) -> Oracle:
    """Return the oracle after everything appended at or before an instant, and a tick of that instant."""
    return Oracle([*(line for line in lines if line.timestamp <= at), _tick(at.isoformat())], user)


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_oracle_agrees_with_the_worked_examples(case: Json) -> None:
    """Emissions, issues and reads of each case."""
    lines = _lines(case)
    (user,) = {event["user"] for event in case["events"] if "user" in event}
    checks = case["expect"].get("checks", [])
    last = max([line.timestamp for line in lines] + [instant(check["at"]) for check in checks])
    whole = _read(lines, user, last + timedelta())
    if "emitted" in case["expect"]:
        found = []
        for one in whole.emitted:
            if one.type in PUBLIC:
                data = {**one.data, **one.data.get("streak", {})}
                found.append({"type": one.type, "at": one.at, **{name: data[name] for name in PUBLIC[one.type]}})
        assert found == [{**entry, "at": instant(entry["at"])} for entry in case["expect"]["emitted"]]
    issues = [list(issue) for answer in whole.answers for issue in answer.issues or []]
    assert issues == case["expect"].get("issues", [])
    for check in checks:
        oracle = _read(lines, user, instant(check["at"]))
        rank = FREQUENCIES.index(check["frequency"]) if "frequency" in check else None
        shown = oracle.shown(read=True, rank=rank)
        wanted = dict(check.get("streak", {}))
        if wanted.get("extended"):
            wanted["extended"] = instant(wanted["extended"])
        assert {name: shown[name] for name in wanted} == wanted
        rows = check.get("history", [])
        flags = {"usedFreeze": False, "usedPause": False, "dayOff": False, "bridged": False}
        assert (oracle.history(len(rows), rank) if rows else []) == [flags | row for row in rows]
