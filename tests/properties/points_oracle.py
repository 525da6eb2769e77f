"""Points and achievements by the letter of the chapters: slow, plain, independent of the rules' code.

A user is the list of accepted events and the list of awards (points_facts); every counter, high-water mark, balance, level
and anchor is worked out from these lists and the list of catalog versions each time it is asked for. Written from points.md,
achievements.md, metrics-and-events.md, derived-events.md and wire.md alone. Streaks and mail are left out. Records and
catalogs are those of the wire, with numbers as `Decimal` or `int`.
"""

from decimal import Decimal
from typing import Any

from tests.properties.points_facts import (
    Answer,
    Fact,
    Json,
    Person,
    Refused,
    effect,
    instant,
    matches,
    rounded_value,
    zone,
)
from tests.properties.points_payments import award_all, entries, firings, send_changed, show
from tests.properties.points_unlocks import backdate, complete_by_event, complete_composites
from tests.properties.points_versions import Versions, interval_ms

_CAUSES = {"metric": "event", "identify": "identify", "achievement.complete": "completion"}


class Oracle:
    """All users of one log."""

    def __init__(self) -> None:
        self.versions = Versions()
        self.people: dict[str, Person] = {}
        self.last_tick = 0

    def record(self, record: Json, timestamp: int, default_id: str) -> Answer:
        """A record of a user (F1, F8, F9); `default_id` names its place in the log (X4)."""
        user = record["user"] if isinstance(record["user"], dict) else {"id": record["user"]}
        person = self.people.get(user["id"])
        given_id = record.get("eventId")
        if person and given_id in person.applied:
            return Answer("skipped")
        try:
            self.validate(record, user)
        except Refused as refusal:
            return Answer(refusal.status, refusal.reason)
        append = max(timestamp, person.reached if person else 0, self.last_tick)
        at = min(instant(record["occurredAt"]) if "occurredAt" in record else timestamp, append)
        effects: list[Json] = []
        if person:
            effects += self.run_due(person, append)
            person.reached = append
        draft = person.copy() if person else Person(user["id"], at, append)
        try:
            answer = self.repeat(record, draft) or self.apply(
                record, user, draft, at, given_id or default_id, not person
            )
        except Refused as refusal:
            return Answer(refusal.status, refusal.reason, {}, effects)
        if given_id:
            draft.applied.add(given_id)
        self.people[draft.id] = draft
        answer.effects[:0] = effects
        return answer

    def validate(self, record: Json, user: Json) -> None:
        """Z12: what needs no state."""
        kind = record.get("type", "metric")
        if kind == "metric":
            value = record["value"]
            texts = [*record.get("attributes", {}).values(), *user.get("attributes", {}).values()]
            if not isinstance(value, int | Decimal) or not all(isinstance(text, str) for text in texts):
                raise Refused(400, "bad_request")
            if record["metric"] not in self.versions.open_metrics():
                raise Refused(404, "unknown_metric")
            if abs(rounded_value(value)) > 10**12:
                raise Refused(422, "value_out_of_range")
        if not set(user.get("attributes", {})) <= set(self.versions.config.get("userAttributes", [])):
            raise Refused(422, "unknown_attribute")
        try:
            zone(user.get("tz"))
        except ValueError:
            raise Refused(422, "invalid_tz") from None
        if kind == "metric":
            if not set(record.get("attributes", {})) <= set(self.versions.config.get("eventAttributes", [])):
                raise Refused(422, "unknown_attribute")
            if len(record.get("idempotencyKey", "")) > 255:
                raise Refused(422, "invalid_idempotency_key")
        elif kind == "achievement.complete" and self.versions.api_achievement(record["achievement"]) is None:
            raise Refused(404, None)

    def repeat(self, record: Json, person: Person) -> Answer | None:
        """I4-I7, A21: the answer to what was done before, None if it is new."""
        if record.get("type", "metric") == "metric":
            first = person.used_keys.get((record["metric"], record.get("idempotencyKey", "")))
            if first is None:
                return None
            total, _ = person.counter(record["metric"], {})
            document = {"eventId": first, "total": total, "achievements": [], "points": {}, "replayed": True}
            return Answer(202, None, document)
        called = self.called(record)
        if called is None or called["id"] not in person.completed:
            return None
        return Answer(
            200, None, {"achievement": called["id"], "achievedAt": person.completed[called["id"]], "points": {}}
        )

    def called(self, record: Json) -> Json | None:
        """The achievement that a completion by call names."""
        return self.versions.api_achievement(record["achievement"]) if "achievement" in record else None

    def apply(self, record: Json, user: Json, draft: Person, at: int, event_id: str, new: bool) -> Answer:
        """Steps (5) to (12) on a draft; Refused leaves the draft to be thrown away (F2)."""
        kind, called = record.get("type", "metric"), self.called(record)
        if called is not None and called["status"] == "locked":
            raise Refused(422, "achievement_locked")
        draft.tz = user.get("tz", draft.tz)
        draft.attributes = draft.attributes | user.get("attributes", {})
        completed: list[str] = []
        fact: Fact | None = None
        document: Json = {}
        if kind == "metric":
            fact = Fact(record["metric"], rounded_value(record["value"]), record.get("attributes", {}))
            draft.facts.append(fact)
            completed = complete_by_event(self.versions, draft, fact, at)
            document = {"eventId": event_id, "total": draft.counter(fact.metric, {})[0], "achievements": completed}
            if record.get("idempotencyKey"):
                draft.used_keys[(fact.metric, record["idempotencyKey"])] = event_id
                document["replayed"] = False
        elif called is not None:
            if not matches(called.get("userAttributes", {}), draft.attributes):
                raise Refused(422, "attributes_mismatch")
            draft.completed[called["id"]] = at
            completed = [called["id"]]
            document = {"achievement": called["id"], "achievedAt": at}
        if kind != "identify":
            completed += complete_composites(self.versions, draft, at, self.versions.achievements("active"))
        fired = firings(self.versions, draft, new, fact, completed)
        made = award_all(self.versions, draft, fired, at, (_CAUSES[kind], event_id))
        document["points"] = entries(self.versions, draft, made)
        effects = [effect("achievement.completed", draft, achievement=one, at=at) for one in completed]
        effects += show(self.versions, draft, made, at, draft.reached)
        return Answer(200 if kind == "identify" else 201, None, document, effects)

    def run_due(self, person: Person, until: int) -> list[Json]:
        """F1 (3): ends of windows and ticks of time triggers, by due instant (D-06, C19)."""
        effects: list[Json] = []
        while True:
            at, is_tick, _, what = min(self.due(person), key=lambda one: one[:3], default=(until + 1, 0, 0, None))
            if at > until:
                return effects
            if is_tick:
                name, trigger = what
                person.ticks[name] = person.ticks.get(name, 0) + 1
                if matches(trigger.get("userAttributes", {}), person.attributes):
                    made = award_all(self.versions, person, [(name[0], trigger, 1)], at, ("time", at))
                    effects += show(self.versions, person, made, at, at)
            else:
                effects.append(send_changed(self.versions, person, what, at))

    def due(self, person: Person) -> list[tuple[int, int, int, Any]]:
        """What comes next: (instant, 0 = end of a window or 1 = tick, place, what)."""
        found: list[tuple[int, int, int, Any]] = []
        for place, key in enumerate(sorted(person.unsent)):
            found.append((person.windows[key], 0, place, key))
        for place, (system, trigger) in enumerate(self.versions.time_triggers()):
            anchor = max(person.created, self.versions.activated(system["key"], trigger["id"]))
            name = (system["key"], trigger["id"], anchor)
            tick = anchor + (person.ticks.get(name, 0) + 1) * interval_ms(trigger)
            found.append((tick, 1, place, (name, trigger)))
        return found

    def tick(self, at: int) -> list[Json]:
        """A tick of the clock: everything due by `at`, for every user."""
        self.last_tick = max(self.last_tick, at)
        return [one for person in self.people.values() for one in self.run_due(person, at)]

    def publish(self, config: Json, at: int) -> list[Json]:
        """A catalog version takes effect (Q6, C8, A22)."""
        effects: list[Json] = []
        old = self.versions.config if self.versions.all else {}
        remaining = {system["key"] for system in self.versions.systems(config)}
        for person in self.people.values():
            effects += self.run_due(person, at)
            gone = sorted(set(person.unsent) - remaining)
            effects += [send_changed(self.versions, person, key, at) for key in gone]  # D-22
        self.versions.all.append((at, config))
        changed = [a for a in self.versions.achievements("active") if a not in old.get("achievements", [])]
        for person in self.people.values():
            gained = backdate(self.versions, person, changed, at)
            effects += [effect("achievement.backdated", person, achievement=one, at=at) for one in gained]
        return effects
