"""The points oracle itself, on the worked examples of the chapters: what it says is what they print."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.properties.points_facts import Answer, Json, instant
from tests.properties.points_oracle import Oracle
from tests.spec.conftest import SPEC
from tests.spec.notation import START, append_ms, catalog_file, change_catalog, load_cases, metric_record
from tests.spec.runner import compare

CHAPTERS = ("metrics-and-events.md", "points.md", "achievements.md", "outcome.md")
BEYOND = {"M-09", "M-11", "M-12"}
"""Cases about a batch that is refused, mail, and malformed records."""


def _uses_streaks(case: Json) -> bool:
    triggers = [t["type"] for s in case["config"].get("systems", []) for t in s.get("triggers", [])]
    kinds = triggers + [a["trigger"] for a in case["config"].get("achievements", [])]
    return "streak" in kinds


def _cases(path: Path) -> list[Json]:
    return [case for case in load_cases(path) if not _uses_streaks(case) and case["id"] not in BEYOND]


CASES = [case for name in CHAPTERS for case in _cases(SPEC / name)]


def _award(award: Any) -> Json:
    shown = {"trigger": award.trigger, "awarded": award.awarded, "total": award.total, "boosts": list(award.boosts)}
    return {**shown, "count": award.count, "base": award.base, "date": _date(award.at)}


def _date(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat().replace("+00:00", "Z")


class CaseRun:
    """One case in progress."""

    def __init__(self, case: Json) -> None:
        self.oracle, self.catalog, self.number = Oracle(), catalog_file(case["config"]), 0
        self.oracle.publish(self.catalog, instant(START))

    def event(self, event: Json) -> Json:
        """Carry out one event; return the outcome in the notation of the cases."""
        operation, at = event.get("op", "event"), append_ms(event)
        if operation == "batch":
            outcomes = [self.record(metric_record(item, event["at"]), at) for item in event["items"]]
            return {"status": 202, "accepted": len(outcomes), "outcomes": outcomes}
        if operation == "tick":
            awarded = [e for e in self.oracle.tick(at) if e["type"] == "points.awarded"]
            awards = [{**_award(e["award"]), "user": e["user"], "system": e["award"].system} for e in awarded]
            return {"awards": sorted(awards, key=lambda one: (instant(one["date"]), one["trigger"], one["user"]))}
        if operation == "config":
            self.catalog = change_catalog(self.catalog, event)
            gained = [e for e in self.oracle.publish(self.catalog, at) if e["type"] == "achievement.backdated"]
            return {"backdated": [[e["user"], e["achievement"]] for e in gained]}
        if operation == "event":
            return self.record(metric_record(event, event["at"]), at)
        kind = {"identify": "identify", "complete": "achievement.complete"}[operation]
        record = {"type": kind, "occurredAt": event["at"], "user": event["user"]}
        if operation == "complete":
            keys = {a["id"]: a.get("key") for a in self.catalog["achievements"]}
            record["achievement"] = keys.get(event["achievement"]) or event["achievement"]
        return self.record(record, at)

    def record(self, record: Json, at: int) -> Json:
        """Send a record of a user."""
        self.number += 1
        return self.shown(self.oracle.record(record, at, f"default-{self.number}"))

    @staticmethod
    def shown(answer: Answer) -> Json:
        """An answer in the notation of the cases."""
        found: Json = {"status": answer.status, **answer.document}
        if answer.reason:
            found["reason"] = answer.reason
        if "achievedAt" in found:
            found["achievedAt"] = _date(found["achievedAt"])
            done = [e["achievement"] for e in answer.effects if e["type"] == "achievement.completed"]
            found["also"] = [one for one in done if one != found["achievement"]]
        if "replayed" in found:
            found["idempotentReplayed"] = found["replayed"]
        if "points" in found:
            entries = found["points"].items()
            found["points"] = {key: {**e, "awards": [_award(one) for one in e["awards"]]} for key, e in entries}
        return found

    def final(self, user: str, wanted: Json) -> list[str]:
        """Differences in `expect.final`."""
        person = self.oracle.people[user]
        differences: list[str] = []
        for key in {award.system for award in person.awards} | set(wanted.get("points", {})):
            if "points" in wanted:
                compare(person.balance(key), wanted["points"].get(key, 0), f"final.{key}", differences)
        for key, total in wanted.get("metrics", {}).items():
            compare(person.counter(key, {})[0], total, f"final.{key}", differences)
        for key, level in wanted.get("level", {}).items():
            compare(self.oracle.versions.level(key, person.balance(key)), level, f"final.{key}", differences)
        if "achievements" in wanted:
            compare(sorted(person.completed), sorted(wanted["achievements"]), "final.achievements", differences)
        return differences


_NOT_KEPT = ("streak", "idempotencyKey", "absent", "completionId")


def _kept(wanted: Json) -> Json:
    return {name: value for name, value in wanted.items() if name not in _NOT_KEPT}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_the_oracle_gives_what_the_chapters_print(case: Json) -> None:
    """Outcomes and end states of a case, streak and mail aside."""
    run = CaseRun(case)
    differences: list[str] = []
    for event, wanted in zip(case["events"], case["expect"]["outcomes"], strict=True):
        compare(run.event(event), _kept(wanted), event["at"], differences)
    for user, wanted in case["expect"].get("final", {}).items():
        if wanted is None:
            assert user not in run.oracle.people
        else:
            differences += run.final(user, wanted)
    assert differences == []
