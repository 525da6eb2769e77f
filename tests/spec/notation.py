"""From a case in the notation of metrics-and-events.md section 11 to records of the log and a catalog file."""

import copy
import gzip
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from schemas.instants import parse_instant
from schemas.topics import user_key

Json = dict[str, Any]

START = "1990-01-01T00:00:00Z"
"""Instant of the first catalog version of a case: before everything else."""

_encoder = msgspec.json.Encoder(decimal_format="number")
_BLOCK = re.compile(r"^```json case\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def load_cases(path: Path) -> list[Json]:
    """Return the cases of a .md file with `json case` blocks, or of a .json or .json.gz list; numbers stay exact."""
    if path.suffix == ".md":
        return [_decode(block) for block in _BLOCK.findall(path.read_text())]
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    cases = _decode(text)
    assert isinstance(cases, list), f"{path} must hold a list of cases"
    return [_from_streak_notation(case) if case["config"].get("feature") == "streak" else case for case in cases]


def _decode(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


_STREAK_OPERATIONS = {"user": "identify", "tz": "identify", "metric": "event"}


def _from_streak_notation(case: Json) -> Json:
    """Rewrite a streak case of cases/README.md in the notation of section 11, with a tick at every check."""
    settings = {name: value for name, value in case["config"].items() if name != "feature"}
    counted = [metric["key"] for metric in settings["metrics"]]
    seen = [event["key"] for event in case["events"] if event["t"] == "metric"]
    names = {event["user"] for event in case["events"] if "user" in event}
    checks = [{"user": next(iter(names)), **check} for check in case["expect"].get("checks", [])]
    emitted = [{"user": next(iter(names)), **entry} for entry in case["expect"].get("emitted", [])]
    events = [_from_streak_event(event) for event in case["events"]]
    for at in sorted({check["at"] for check in checks}):
        # a read comes after everything appended at or before its instant
        place = sum(append_ms(event) <= parse_instant(at) for event in events)
        events.insert(place, {"op": "tick", "at": at})
    expect: Json = {"checks": checks}
    if "emitted" in case["expect"]:
        expect["emitted"] = emitted
    if "issues" in case["expect"]:
        expect["issues"] = case["expect"]["issues"]
    return {
        "id": case["id"],
        "feature": "streak",
        "config": {"metrics": list(dict.fromkeys(counted + seen)), "streak": settings},
        "events": events,
        "expect": expect,
    }


def _from_streak_event(event: Json) -> Json:
    user: Json = {"id": event["user"]} if "user" in event else {}
    if "tz" in event:
        user["tz"] = event["tz"]
    kind = event["t"]
    translated = {"op": _STREAK_OPERATIONS.get(kind, kind), "at": event["at"]}
    if user:
        translated["user"] = user
    if kind == "metric":
        translated |= {"metric": event["key"], "value": event["value"]}
    for name in ("arrives", "id", "start", "end", "streak", "set"):
        if name in event:
            translated[name] = event[name]
    return translated


def encode(value: Any) -> bytes:
    """Encode a record with exact numbers."""
    return _encoder.encode(value)


def catalog_file(config: Json) -> Json:
    """Return the catalog file of a case's `config`: what has no status is active here, boosts are switched on."""
    catalog = copy.deepcopy(config)
    for achievement in catalog.get("achievements", []):
        achievement.setdefault("status", "active")
    for system in catalog.get("systems", []):
        for trigger in system.setdefault("triggers", []):
            fill_trigger(trigger)
        system["triggers"].sort(key=lambda trigger: str(trigger["id"]).encode())
        for boost in system.get("boosts", []):
            boost.setdefault("enabled", True)
    if not catalog.get("streak"):
        catalog.pop("streak", None)
    return catalog


def fill_trigger(trigger: Json) -> None:
    """Fill in what a trigger of a case leaves out; triggers without `created` order by id (C20)."""
    trigger.setdefault("status", "active")
    trigger.setdefault("created", START)


def change_catalog(catalog: Json, event: Json) -> Json:
    """Return the catalog after a `config` event."""
    catalog = copy.deepcopy(catalog)
    system = next((s for s in catalog.get("systems", []) if s["key"] == event.get("system")), None)
    if "addTrigger" in event:
        assert system is not None
        trigger = dict(event["addTrigger"])
        fill_trigger(trigger)
        system["triggers"].append(trigger)
        system["triggers"].sort(key=lambda trigger: str(trigger["id"]).encode())
        return catalog
    if "trigger" in event:
        assert system is not None
        target = _by_id(system["triggers"], event["trigger"])
    elif "boost" in event:
        assert system is not None
        target = _by_id(system["boosts"], event["boost"])
    elif "achievement" in event:
        target = _by_id(catalog["achievements"], event["achievement"])
    else:
        assert system is not None
        target = system
    target.update(event["set"])
    return catalog


def _by_id(items: list[Json], identity: str) -> Json:
    return next(item for item in items if item.get("id", item.get("key")) == identity)


def append_ms(event: Json) -> int:
    """Return the append time of an event of a case."""
    return parse_instant(event.get("arrives", event["at"]))


def metric_record(event: Json, at: str) -> Json:
    """Return the record of a metric event."""
    fields = ("eventId", "metric", "user", "value", "attributes", "idempotencyKey")
    return {"occurredAt": at, **{name: event[name] for name in fields if name in event}}


def record_key(record: Json) -> bytes | None:
    """Return the key a producer would set; what is no user id keeps its JSON text."""
    user = record.get("user")
    identity = user.get("id") if isinstance(user, dict) else user
    return user_key(record.get("tenant", ""), identity) if isinstance(identity, str) else None
