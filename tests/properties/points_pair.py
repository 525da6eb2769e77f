"""The points oracle and the production fold side by side: the same log to both, and what differs."""

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec

from processors.rules.catalogs import CatalogStore
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from schemas.catalog_file import encode_config
from schemas.emission import Emission
from schemas.instants import format_instant
from schemas.records import LogRecord
from tests.properties.points_facts import Answer, Award, Json, instant
from tests.properties.points_oracle import Oracle
from tests.spec.notation import encode, record_key

BIG = 10**6


class Pair:
    """One log, folded by both. `limit` is the size of a round in derived events.

    Attributes:
        emitted: everything the fold put out, decoded; each award with the `cap` in force.
        versions: the configurations published so far, as files.
    """

    def __init__(self, limit: int = BIG) -> None:
        self.oracle, self.limit, self.offset = Oracle(), limit, 0
        self.store = CatalogStore()
        self.partition = Partition(0, FoldSettings(), self.store)
        self.changelog: dict[bytes, bytes | None] = {}
        self.round: list[tuple[LogRecord, list[Emission]]] = []
        self.emitted: list[Json] = []
        self.versions: list[Json] = []
        self.caps: dict[str, int | None] = {}

    # the log

    def publish(self, config: Json, at: int, timestamp: int) -> None:
        """A catalog version, and the switch to it."""
        self.versions.append(config)
        version = str(len(self.versions))
        value = {"tenant": "", "version": version, "atMs": at, "config": msgspec.Raw(encode_config(config))}
        self.store.add(msgspec.json.encode(value))
        found = self.fold({"type": "catalog", "version": version, "at": format_instant(at)}, timestamp)
        assert [event for event in found if event["topic"] == "rejected"] == [], "the version is refused"
        self.caps = {system["key"]: system.get("maxPoints") for system in config.get("systems", [])}
        same(per_user(found), per_user_of_oracle(self.oracle.publish(config, at)))

    def tick(self, at: int, timestamp: int) -> None:
        """A tick of the clock."""
        found = self.fold({"type": "tick", "at": format_instant(at)}, timestamp)
        same(per_user(found), per_user_of_oracle(self.oracle.tick(at)))

    def send(self, record: Json, timestamp: int) -> Answer:
        """A record of a user; returns what the oracle says, after the comparison."""
        default_id = f"plaudit.events-0-{self.offset}"
        found = self.fold(record, timestamp)
        answer = self.oracle.record(record, timestamp, default_id)
        shown = outcome_of_wire(found)
        if answer.reason is None:
            shown["reason"] = None  # the chapters name no code
        same(shown, outcome_of_oracle(answer))
        same(per_user(found), per_user_of_oracle(answer.effects))
        return answer

    # the fold

    def fold(self, record: Json, timestamp: int) -> list[Json]:
        """Fold one record in the open round; a record larger than a round is carried out in slices."""
        log_record = LogRecord(0, self.offset, timestamp, record_key(record), encode(record))
        found: list[Emission] = []
        while True:
            out: list[Emission] = []
            done = self.partition.process(log_record, out, self.limit)
            found += out
            if done:
                break
            self.commit()
        self.round.append((log_record, out))
        self.offset += 1
        decoded = [{**_decode(one.value), "topic": one.topic} for one in found]
        for event in decoded:
            if event.get("type") == "points.awarded":
                event["cap"] = self.caps.get(event["data"]["pointsSystem"]["key"])
        self.emitted += decoded
        return decoded

    def commit(self) -> None:
        """End the round."""
        self.changelog.update(self.partition.changes(self.offset))
        self.partition.commit()
        self.round = []

    def redo(self) -> None:
        """Roll the round back and do it again; it must give the same bytes."""
        if not self.round:
            return
        self.partition.changes(self.offset)
        self.partition.rollback()
        for record, before in self.round:
            out: list[Emission] = []
            assert self.partition.process(record, out, BIG)
            assert out == before, "the redone round gives other bytes"

    def restart(self) -> None:
        """End the round, forget the memory, recover from the changelog."""
        self.commit()
        self.partition = Partition(0, FoldSettings(), self.store)
        for key, value in sorted(self.changelog.items()):
            self.partition.load(key, value)
        self.partition.loaded()

    def totals(self) -> None:
        """The end states are equal: metric totals, balances, completions."""
        for user, person in self.oracle.people.items():
            state = self.partition.user(user.encode())
            assert state is not None, f"{user} is missing"
            metrics = {fact.metric for fact in person.facts}
            found = {key: Fraction(counter.total, 10**9) for key, counter in state.totals.items() if key in metrics}
            same(found, {metric: person.counter(metric, {})[0] for metric in metrics})
            systems = {*state.balances, *(award.system for award in person.awards)}
            same({key: state.balances.get(key, 0) for key in systems}, {key: person.balance(key) for key in systems})
            same(sorted(state.completions), sorted(person.completed))


def same(found: Any, expected: Any) -> None:
    """Say what differs, shortest first."""
    assert found == expected, f"\nfound:    {found!r}\nexpected: {expected!r}"


def _decode(value: bytes) -> Any:
    return json.loads(value, parse_float=Decimal)


# one form for both

_COMPARED = (
    "achievement.completed",
    "achievement.backdated",
    "points.awarded",
    "points.changed",
    "points.level_changed",
)


def per_user(found: list[Json]) -> dict[str, list[Any]]:
    """What the fold emitted, per user in order (Q5)."""
    return _group([_from_wire(event) for event in found if event.get("type") in _COMPARED])


def per_user_of_oracle(effects: list[Json]) -> dict[str, list[Any]]:
    """What the oracle says, per user in order."""
    return _group([_from_oracle(event) for event in effects])


def _group(events: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for user, *rest in events:
        found.setdefault(user, []).append(tuple(rest))
    return found


def _from_wire(event: Json) -> tuple[Any, ...]:
    data, kind, user = event["data"], event["type"], event["userId"]
    if kind.startswith("achievement."):
        return user, kind, data["achievement"]["id"], instant(data["achievement"]["achievedAt"])
    if kind == "points.awarded":
        award, cause = data["award"], data["cause"]
        source = instant(cause["id"]) if cause["type"] == "time" else cause["id"]
        assert data["total"] == award["total"]
        stored = (award["count"], award["base"], award["localDate"], (cause["type"], source))
        return user, kind, data["pointsSystem"]["key"], _award_of_wire(award), stored
    points = data["points"]
    if kind == "points.changed":
        awards = [_award_of_wire(award) for award in points["awards"]]
        return user, kind, points["key"], points["added"], points["total"], awards, _level_of_wire(points)
    old, new = ((data[side] or {}).get("key") for side in ("previousLevel", "newLevel"))
    return user, kind, points["key"], points["total"], old, new, instant(event["occurredAt"])


def _from_oracle(event: Json) -> tuple[Any, ...]:
    kind, user = event["type"], event["user"]
    if kind.startswith("achievement."):
        return user, kind, event["achievement"], event["at"]
    if kind == "points.awarded":
        award = event["award"]
        return user, kind, award.system, _award(award), (award.count, award.base, award.local_date, award.cause)
    if kind == "points.changed":
        level = event.get("level", "unchanged")
        awards = [_award(award) for award in event["awards"]]
        return user, kind, event["system"], event["added"], event["total"], awards, level
    return user, kind, event["system"], event["total"], event["previous"], event["new"], event["at"]


def _award(award: Award) -> tuple[Any, ...]:
    return award.trigger, award.awarded, award.total, award.boosts, award.at


def _award_of_wire(award: Json) -> tuple[Any, ...]:
    boosts = tuple(boost["id"] for boost in award.get("boosts", []))
    return award["trigger"]["id"], award["awarded"], award["total"], boosts, instant(award["date"])


def _level_of_wire(entry: Json) -> Any:
    return (entry["level"] or {}).get("key") if "level" in entry else "unchanged"


def outcome_of_wire(found: list[Json]) -> Json:
    """The outcome record in the form of `outcome_of_oracle`."""
    records = [record for record in found if record["topic"] == "outcomes"]
    if not records:
        refused = [record["reason"] for record in found if record["topic"] == "rejected"]
        return {"status": 400, "reason": refused[0]} if refused else {"status": "skipped", "reason": None}
    (record,) = records
    document = record.get("outcome", {})
    shown: Json = {"status": record["status"], "reason": record.get("reason")}
    if "points" in document:
        shown["points"] = {key: _entry(entry) for key, entry in document["points"].items()}
    if "total" in document:
        shown |= {"eventId": document["eventId"], "total": Fraction(document["total"])}
        shown["achievements"] = [one["id"] for one in document["achievements"]]
        shown["replayed"] = document.get("idempotentReplayed")
    if "achievement" in document:
        achievement = document["achievement"]
        shown |= {"achievement": achievement["id"], "achievedAt": instant(achievement["achievedAt"])}
    return shown


def _entry(entry: Json) -> tuple[Any, ...]:
    return entry["added"], entry["total"], [_award_of_wire(award) for award in entry["awards"]], _level_of_wire(entry)


def outcome_of_oracle(answer: Answer) -> Json:
    """Status, reason and the compared fields of the document."""
    shown: Json = {"status": answer.status, "reason": answer.reason, **answer.document}
    if "points" in shown:
        shown["points"] = {
            key: (
                entry["added"],
                entry["total"],
                [_award(award) for award in entry["awards"]],
                entry.get("level", "unchanged"),
            )
            for key, entry in shown["points"].items()
        }
    if "total" in shown:
        shown.setdefault("replayed", None)
    return shown
