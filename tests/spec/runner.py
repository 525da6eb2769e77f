"""Runs a case through the same fold as production, and compares what comes out with what is expected."""

from decimal import Decimal
from typing import Any

import msgspec

from processors.rules.admission import admit
from processors.rules.catalogs import CatalogStore
from processors.rules.partition import Partition
from processors.rules.periods import next_start, period_start
from processors.rules.points import level_of
from processors.rules.settings import FoldSettings
from processors.rules.streak_views import show_streak
from schemas.catalog import FREQUENCIES
from schemas.catalog_file import encode_config
from schemas.emission import Emission
from schemas.instants import format_day, parse_instant
from schemas.numbers import format_scaled
from schemas.records import LogRecord
from schemas.state import Chain
from tests.spec.notation import START, Json, append_ms, catalog_file, change_catalog, encode, metric_record, record_key

LIMIT = 1_000_000

_PUBLIC_STREAKS = {
    "streak.started": ("length",),
    "streak.extended": ("length",),
    "streak.lost": ("length",),
    "streak.freeze_consumed": ("consumed", "freezes"),
    "streak.freeze_earned": ("earned", "freezes"),
}


_REQUESTS = {
    "grant": "freeze.grant",
    "pause": "streak.pause",
    "pause_delete": "streak.unpause",
    "restore": "streak.restore",
    "reset": "streak.reset",
    "prefs": "preferences",
}

_ROW = {"usedFreeze": False, "usedPause": False, "dayOff": False, "bridged": False}


class Run:
    """One case in progress."""

    def __init__(self, case: Json) -> None:
        self.case = case
        self.store = CatalogStore()
        self.partition = Partition(0, FoldSettings(), self.store)
        self.offset = 0
        self.version = 0
        self.catalog = catalog_file(case["config"])
        self.emissions: list[Json] = []
        self.issues: list[list[str]] = []
        self.last_ms = 0

    def send(self, record: Json, at_ms: int, key: bytes | None = None) -> list[Emission]:
        """Append a record to the log, fold it in a round of its own, return what it emits."""
        return self.send_bytes(encode(record), at_ms, record_key(record) if key is None else key)

    def send_bytes(self, value: bytes, at_ms: int, key: bytes | None) -> list[Emission]:
        out: list[Emission] = []
        log_record = LogRecord(0, self.offset, at_ms, key, value)
        assert self.partition.process(log_record, out, LIMIT)
        self.offset += 1
        self.partition.changes(self.offset)
        self.partition.commit()
        for emission in out:
            if emission.type:
                self.emissions.append(_decode(emission.value))
        self.last_ms = max(self.last_ms, at_ms)
        return out

    def publish(self, at: str) -> list[Emission]:
        """Publish the catalog as it is now and switch to it."""
        self.version += 1
        config = encode_config(self.catalog)
        version = str(self.version)
        record = {"tenant": "", "version": version, "atMs": parse_instant(at), "config": msgspec.Raw(config)}
        self.store.add(msgspec.json.encode(record))
        return self.send({"type": "catalog", "version": version, "at": at}, parse_instant(at))

    # events

    def event(self, event: Json) -> Json:
        """Carry out one event of the case and return what came out, in the notation of `expect.outcomes`."""
        operation = event.get("op", "event")
        at_ms = append_ms(event)
        if operation == "event":
            return self.outcome(self.send(metric_record(event, event["at"]), at_ms))
        if operation == "batch":
            return self.batch(event, at_ms)
        if operation == "identify":
            record = {"type": "identify", "occurredAt": event["at"], "user": event["user"]}
            return self.outcome(self.send(record, at_ms))
        if operation == "complete":
            record = {"type": "achievement.complete", "occurredAt": event["at"], "user": event["user"]}
            return self.completion(
                self.send({**record, "achievement": self.achievement_key(event["achievement"])}, at_ms)
            )
        if operation == "tick":
            return self.tick(self.send({"type": "tick", "at": event["at"]}, at_ms))
        if operation == "config":
            self.catalog = change_catalog(self.catalog, event)
            out = self.publish(event["at"])
            gained = [_decode(emission.value) for emission in out if emission.type == "achievement.backdated"]
            return {"backdated": [[e["userId"], e["data"]["achievement"]["id"]] for e in gained]}
        if operation == "settings":
            self.catalog = {**self.catalog, "streak": {**self.catalog.get("streak", {}), **event["set"]}}
            self.publish(event["at"])
            return {}
        return self.request(event, at_ms)

    def request(self, event: Json, at_ms: int) -> Json:
        """Carry out a request about streaks."""
        fields = {name: event[name] for name in ("user", "id", "start", "end", "streak") if name in event}
        out = self.send({"type": _REQUESTS[event["op"]], "occurredAt": event["at"], **fields}, at_ms)
        (record,) = [_decode(emission.value) for emission in out if emission.topic == "outcomes"]
        issues = [[issue["id"], issue["severity"]] for issue in record.get("issues", [])]
        self.issues += issues
        return {"status": record["status"], "issues": issues}

    def achievement_key(self, reference: str) -> str:
        """Cases name an achievement by key or id; records by key."""
        for achievement in self.catalog.get("achievements", []):
            if achievement.get("id") == reference and achievement["trigger"] == "api":
                return str(achievement.get("key", reference))
        return reference

    def batch(self, event: Json, at_ms: int) -> Json:
        items = [encode(metric_record(item, event["at"])) for item in event["items"]]
        admission = admit(items, self.partition.plan(), self.partition.view, at_ms)
        if admission.refusals:
            return {"status": admission.refusals[0].status, "reason": admission.refusals[0].reason}
        outcomes = [self.outcome(self.send_bytes(value, at_ms, key)) for key, value in admission.records]
        return {"status": 202, "accepted": len(items), "outcomes": outcomes}

    def outcome(self, out: list[Emission]) -> Json:
        """Return the outcome of a user's record; a skipped record has none (I13)."""
        records = [_decode(emission.value) for emission in out if emission.topic == "outcomes"]
        if not records:
            refused = [_decode(emission.value) for emission in out if emission.topic == "rejected"]
            return {"status": 400, "reason": refused[0]["reason"]} if refused else {"status": "skipped"}
        (record,) = records
        found: Json = {"status": record["status"]}
        if "reason" in record:
            found["reason"] = record["reason"]
        document = record.get("outcome", {})
        awarded = {e["data"]["award"]["id"]: e["data"]["award"] for e in _of_type(out, "points.awarded")}
        for name in ("eventId", "total", "idempotencyKey", "idempotentReplayed", "completionId"):
            if name in document:
                found[name] = document[name]
        if "achievements" in document:
            found["achievements"] = [achievement["id"] for achievement in document["achievements"]]
        if "currentStreak" in document:
            found["streak"] = document["currentStreak"]
        if "achievement" in document:
            found["achievement"] = document["achievement"]["id"]
            found["achievedAt"] = document["achievement"]["achievedAt"]
        if "points" in document:
            found["points"] = {key: _entry(entry, awarded) for key, entry in document["points"].items()}
        return found

    def completion(self, out: list[Emission]) -> Json:
        found = self.outcome(out)
        completed = [e["data"]["achievement"]["id"] for e in _of_type(out, "achievement.completed")]
        found["also"] = [identity for identity in completed if identity != found.get("achievement")]
        return found

    @staticmethod
    def tick(out: list[Emission]) -> Json:
        awards = []
        for event in _of_type(out, "points.awarded"):
            data = event["data"]
            if data["cause"]["type"] == "time":
                user, system = event["userId"], data["pointsSystem"]["key"]
                awards.append({**_award(data["award"], data["award"]), "user": user, "system": system})
        awards.sort(key=lambda award: (award["date"], award["trigger"].encode(), award["user"].encode()))
        return {"awards": awards}

    # reads

    def streak(self, user_id: str, frequency: str | None) -> Json:
        """Return the streak object as a read gives it, of the active frequency or another one."""
        view, plan = self.partition.view(user_id.encode()), self.partition.plan()
        assert view is not None
        assert plan is not None
        active = plan.frequency
        plan.frequency = frequency or active  # type: ignore[assignment]
        try:
            return _decode(msgspec.json.encode(show_streak(view, plan, extended=False, read=True)))
        finally:
            plan.frequency = active

    def history(self, user_id: str, frequency: str | None, count: int) -> list[Json]:
        """Return the last rows of a chain: what was written, idle periods filled in (C35), last the open period."""
        view, plan = self.partition.view(user_id.encode()), self.partition.plan()
        assert view is not None
        assert plan is not None
        active = plan.frequency if frequency is None else frequency
        written: dict[str, Json] = {}
        for event in self.emissions:
            of_user = event.get("userId") == user_id and event["type"] in (
                "streak.period_closed",
                "streak.period_repaired",
            )
            if of_user and event["data"]["frequency"] == active:
                written[event["data"]["periodStart"]] = event["data"]
        today = period_start(active, view.zone.reached_day(self.last_ms), plan.week_start)
        chain = view.state.chains[FREQUENCIES.index(active)] if view.state.chains else Chain(start=today)
        rows = [{"periodStart": max(chain.start, today), "length": chain.length}]
        while len(rows) < count:
            rows.insert(0, {"periodStart": period_start(active, rows[0]["periodStart"] - 1, plan.week_start)})
        found = []
        for row in rows:
            day = row["periodStart"]
            data = written.get(format_day(day), {})
            end = format_day(next_start(active, day) - 1)
            shown = {
                "periodStart": format_day(day),
                "periodEnd": end,
                "length": row.get("length", data.get("length", 0)),
            }
            found.append(_ROW | shown | {name: data[name] for name in _ROW if name in data})
        return found

    # the end

    def final(self, user_id: str) -> Json | None:
        """Return the state of a user in the notation of `expect.final`."""
        view = self.partition.view(user_id.encode())
        if view is None:
            return None
        plan = self.partition.plan()
        assert plan is not None
        view.use(plan)
        shown = view.shown()
        state = view.state
        levels = {key: level_of(system, state.balances.get(key, 0)) for key, system in plan.systems.items()}
        return {
            **msgspec.to_builtins(msgspec.structs.asdict(shown)),
            "subscribeToEmails": shown.subscribe_to_emails,
            "metrics": {key: Decimal(format_scaled(counter.total)) for key, counter in state.totals.items()},
            "points": dict(state.balances),
            "level": {key: level.key if level else None for key, level in levels.items()},
            "achievements": sorted(state.completions),
            "streak": _decode(msgspec.json.encode(show_streak(view, plan, extended=False, read=True))),
        }


def _decode(value: bytes) -> Any:
    import json

    return json.loads(value, parse_float=Decimal)


def _of_type(out: list[Emission], kind: str) -> list[Json]:
    return [_decode(emission.value) for emission in out if emission.type == kind]


def _entry(entry: Json, awarded: dict[str, Json]) -> Json:
    found = {"added": entry["added"], "total": entry["total"]}
    if "level" in entry:
        found["level"] = entry["level"]["key"] if entry["level"] else None
    found["awards"] = [_award(award, awarded[award["id"]]) for award in entry["awards"]]
    return found


def _award(award: Json, stored: Json) -> Json:
    return {
        "trigger": award["trigger"]["id"],
        "awarded": award["awarded"],
        "total": award["total"],
        "boosts": [boost["id"] for boost in award.get("boosts", [])],
        "count": stored["count"],
        "base": stored["base"],
        "date": award["date"],
    }


def run_case(case: Json) -> list[str]:
    """Run a case; return every difference between what came out and what was expected."""
    run = Run(case)
    run.publish(START)
    differences: list[str] = []
    expected = case["expect"]
    outcomes = expected.get("outcomes", [])
    checks = [dict(check) for check in expected.get("checks", [])]
    for index, event in enumerate(case["events"]):
        found = run.event(event)
        if index < len(outcomes):
            compare(found, outcomes[index], f"outcomes[{index}]", differences)
        following = case["events"][index + 1] if index + 1 < len(case["events"]) else None
        if event.get("op") == "tick":
            _read_checks(run, checks, event, following, differences)
    for user_id, wanted in expected.get("final", {}).items():
        _compare_final(run.final(user_id), wanted, f"final.{user_id}", differences)
    if "issues" in expected or "feature" in case:
        compare(run.issues, expected.get("issues", []), "issues", differences)
    if "emitted" in expected:
        _compare_emitted(run.emissions, expected["emitted"], differences)
    return differences


def _read_checks(run: Run, checks: list[Json], tick: Json, following: Json | None, differences: list[str]) -> None:
    for check in checks:
        if check.get("done") or check["at"] != tick["at"] or (following and append_ms(following) == append_ms(tick)):
            continue
        check["done"] = True
        path = f"check {check['at']} {check['user']}"
        if "streak" in check:
            compare(run.streak(check["user"], check.get("frequency")), check["streak"], path, differences)
        if "history" in check:
            rows = run.history(check["user"], check.get("frequency"), len(check["history"]))
            wanted = [_ROW | {name: row[name] for name in row if name != "resetAt"} for row in check["history"]]
            compare(rows, wanted, f"{path} history", differences)


def _compare_final(found: Json | None, wanted: Json | None, path: str, differences: list[str]) -> None:
    if wanted is None or found is None:
        if (wanted is None) != (found is None):
            differences.append(f"{path}: {found!r}, expected {wanted!r}")
        return
    for name, value in wanted.items():
        if name == "achievements":
            if sorted(found[name]) != sorted(value):
                differences.append(f"{path}.achievements: {found[name]!r}, expected {sorted(value)!r}")
        elif name == "points":
            for key in {*found["points"], *value}:
                if found["points"].get(key, 0) != value.get(key, 0):
                    differences.append(
                        f"{path}.points.{key}: {found['points'].get(key, 0)}, expected {value.get(key, 0)}"
                    )
        elif name in ("metrics", "level", "streak"):
            for key, one in value.items():
                compare(
                    found[name].get(key, 0 if name == "metrics" else None), one, f"{path}.{name}.{key}", differences
                )
        else:
            compare(found.get(name), value, f"{path}.{name}", differences)


def _compare_emitted(emissions: list[Json], wanted: list[Json], differences: list[str]) -> None:
    found: dict[str, list[Json]] = {}
    for event in emissions:
        fields = _PUBLIC_STREAKS.get(event["type"])
        if fields is None:
            continue
        data = {**event["data"], **event["data"].get("streak", {})}
        entry = {"type": event["type"], "at": event["occurredAt"], **{name: data[name] for name in fields}}
        found.setdefault(event["userId"], []).append(entry)
    expected: dict[str, list[Json]] = {}
    for entry in wanted:
        expected.setdefault(entry["user"], []).append({name: value for name, value in entry.items() if name != "user"})
    for user in {*found, *expected}:
        compare(found.get(user, []), expected.get(user, []), f"emitted.{user}", differences)


_EXACT_LISTS = ("awards", "achievements", "also", "outcomes")


def compare(found: Any, wanted: Any, path: str, differences: list[str]) -> None:
    """Compare on the listed fields; lists, the key set of `points` and the presence of `level` exactly (section 11)."""
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            differences.append(f"{path}: {found!r}, expected {wanted!r}")
            return
        for name in wanted.get("absent", ()):
            if name in found:
                differences.append(f"{path}.{name} must be absent, is {found[name]!r}")
        for name, value in wanted.items():
            if name == "absent":
                continue
            if name not in found:
                differences.append(f"{path}.{name} is missing, expected {value!r}; found {found!r}")
            elif name == "backdated":
                if sorted(map(tuple, found[name])) != sorted(map(tuple, value)):
                    differences.append(f"{path}.backdated: {found[name]!r}, expected {value!r}")
            elif name == "points" and isinstance(value, dict):
                _compare_points(found[name], value, f"{path}.points", differences)
            else:
                compare(found[name], value, f"{path}.{name}", differences)
    elif isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            differences.append(f"{path}: {found!r}, expected {wanted!r}")
            return
        for index, (one, other) in enumerate(zip(found, wanted, strict=True)):
            compare(one, other, f"{path}[{index}]", differences)
    elif not _equal(found, wanted):
        differences.append(f"{path}: {found!r}, expected {wanted!r}")


def _compare_points(found: Json, wanted: Json, path: str, differences: list[str]) -> None:
    if set(found) != set(wanted):
        differences.append(f"{path}: {found!r}, expected the keys {sorted(wanted)}")
        return
    for key, entry in wanted.items():
        if ("level" in found[key]) != ("level" in entry):
            differences.append(f"{path}.{key}.level: {found[key]!r}, expected {entry!r}")
        compare(found[key], entry, f"{path}.{key}", differences)


def _equal(found: Any, wanted: Any) -> bool:
    if found == wanted and isinstance(found, bool) == isinstance(wanted, bool):
        return True
    if isinstance(found, str) and isinstance(wanted, str):
        try:
            return parse_instant(found) == parse_instant(wanted)
        except ValueError:
            return False
    return False
