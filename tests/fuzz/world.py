"""One log of inputs, taken by the fold and by the oracles; whatever differs is a `Difference`."""

import json
import random
import time
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import available_timezones

import msgspec

from processors.rules.catalogs import CatalogStore
from processors.rules.control import CONTROL_HEADER
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from schemas.catalog_file import encode_config
from schemas.emission import CatalogMissingError, Emission
from schemas.instants import format_instant
from schemas.records import LogRecord
from tests.fuzz import wire
from tests.fuzz.catalogs import CATALOGS
from tests.fuzz.inputs import PARTITIONS, TOKEN, Generator, Input
from tests.properties.points_facts import instant
from tests.properties.points_oracle import Oracle
from tests.properties.points_pair import outcome_of_oracle, outcome_of_wire, per_user, per_user_of_oracle

Json = dict[str, Any]

INPUTS = 64
"""Inputs of a world: the oracle works everything out from the beginning again and again."""

MUTATED = 0.55
START = instant("2025-03-28T20:00:00Z")
BIG = 10**6
MARKER = b"\0partition"
ZONES = available_timezones()
OF_THE_STATE = ("out_of_points", "achievement_locked", "attributes_mismatch", "total_out_of_range")
"""Reasons that come after what is due for the user (D-04)."""

REQUESTS = ("freeze.grant", "streak.restore", "streak.reset", "streak.pause", "streak.unpause", "preferences")


class Difference(AssertionError):
    """The fold does not do what the chapters say."""


class World:
    """A partition and its oracles. The seed decides all.

    Attributes:
        counts: inputs by what became of them. slowest: the slowest input, in nanoseconds, and what it was.
    """

    def __init__(self, seed: str, mutated: float = MUTATED) -> None:
        self.random = random.Random(seed)
        self.mutated = mutated
        self.counts: Counter[str] = Counter()
        self.slowest: tuple[int, str] = (0, "")
        self.failures: list[BaseException] = []
        self.token = TOKEN if self.random.random() < 0.3 else None
        self.store = CatalogStore()
        settings = FoldSettings(partitions=PARTITIONS, control_token=self.token)
        self.partition = Partition(0, settings, self.store, report=self._report)
        self.oracle = Oracle()
        self.seen = wire.Seen(zones=ZONES, token=self.token)
        self.changelog: dict[bytes, bytes | None] = {}
        self.erasures: dict[bytes, set[str]] = {}
        self.offset = 0
        self.versions: dict[str, tuple[int, Json]] = {}
        self.in_force: str | None = None
        self.generator = Generator(self.random, START)
        self.lost = False
        """Whether something open happened: the oracles no longer know the state."""
        self.publish()
        self.feed(self.generator.control("catalog"))

    def _report(self, error: BaseException, record: LogRecord) -> None:
        self.failures.append(error)

    def run(self, inputs: int = INPUTS) -> None:
        """Take inputs until there were enough, or the oracles know no more."""
        for _ in range(inputs):
            if self.lost:
                break
            self.take(self.generator.next(self.mutated))
        if not self.lost:
            self.totals()

    def take(self, one: Input) -> None:
        """Take one input; a switch that was mutated is followed by the right one, as a program would send it again."""
        switch = one.made[0] == "catalog"
        if switch:
            if len(self.versions) >= 3:
                return
            self.publish()
            if len(one.made) == 1:
                one = self.generator.control("catalog")
        self.feed(one)
        if switch and not self.lost and self.in_force != self.generator.version:
            self.feed(self.generator.control("catalog"))

    def publish(self) -> None:
        """Put the next version on the catalog topic."""
        number = len(self.versions) + 1
        config, at = self.random.choice(CATALOGS), self.generator.now
        self.versions[str(number)] = (at, config)
        self.generator.version, self.generator.version_at = str(number), at
        value = {"tenant": "", "version": str(number), "atMs": at, "config": msgspec.Raw(encode_config(config))}
        self.store.add(msgspec.json.encode(value))

    def feed(self, one: Input) -> None:
        """Fold one input and compare."""
        headers = tuple((CONTROL_HEADER, token) for token in one.tokens)
        record = LogRecord(one.partition, self.offset, one.timestamp, one.key, one.value, headers)
        verdict = wire.judge(one.value, one.key, one.partition, one.timestamp, list(one.tokens), self.seen)
        found = self.fold(record, one)
        self.offset += 1
        try:
            self.compare(one, verdict, found)
        except Difference:
            raise
        except AssertionError as error:
            raise Difference(f"{error}\n{describe(one, verdict)}") from error

    def fold(self, record: LogRecord, one: Input) -> list[Json]:
        """Fold a record in a round of its own, in slices if it is large; return what it emits."""
        limit = self.random.choice((BIG, BIG, 1, 3))
        emitted: list[Emission] = []
        began = time.thread_time_ns()
        done = False
        self.written: list[tuple[bytes, bytes | None]] = []
        while not done:
            out: list[Emission] = []
            try:
                done = self.partition.process(record, out, limit)
            except CatalogMissingError as missing:
                self.store.give_up(missing.tenant, missing.version)
                continue
            self.written += self.partition.changes(record.offset + done)
            self.partition.commit()
            emitted += out
        spent = time.thread_time_ns() - began
        if spent > self.slowest[0]:
            self.slowest = spent, f"{'+'.join(one.made)}, {len(record.value or b'')} bytes, {len(emitted)} emissions"
        if self.failures:
            raise Difference(f"internal_error\n{describe(one, None)}") from self.failures[0]
        return [{**json.loads(one.value, parse_float=Decimal), "topic": one.topic} for one in emitted]

    def compare(self, one: Input, verdict: wire.Verdict, found: list[Json]) -> None:
        """Hold what the fold did against what the chapters say."""
        refused = [record["reason"] for record in found if record["topic"] == "rejected" and "origin" in record]
        if verdict.grey:
            self.counts[f"open, {'refused' if refused else 'accepted'}"] += 1
            if refused and refused[0] not in OF_THE_STATE:
                self.unchanged()
            else:
                self.lost = bool(found) or not verdict.redelivered
            return
        if verdict.reason is not None:
            expected = [] if verdict.reason == "skipped" else [verdict.reason]
            assert refused == expected, f"refused: {refused}, expected: {expected}"
            self.counts[f"refused {verdict.reason}" if expected else "skipped"] += 1
            assert expected or found == []
            self.unchanged()
            return
        kind = verdict.record.get("type", "metric")
        if kind == "tick":
            self.accept(kind, refused, [])
            same(per_user(found), per_user_of_oracle(self.oracle.tick(verdict.occurred or 0)))
            self.seen.last_tick = max(self.seen.last_tick or verdict.occurred or 0, verdict.occurred or 0)
        elif kind == "catalog":
            self.switch(verdict, refused, found)
        elif kind == "erase":
            self.accept(kind, refused, [])
            self.erase(one.key or b"", verdict.record)
        elif kind in REQUESTS:
            self.request(one, verdict, kind, refused, found)
        else:
            self.user_record(one, verdict, kind, found)
        self.remember()

    def accept(self, kind: str, refused: list[str], expected: list[str]) -> None:
        """Note an input that its form lets pass; `expected` are the reasons of the state it meets."""
        assert refused == expected, f"refused: {refused}, expected: {expected}"
        self.counts[f"refused {expected[0]}" if expected else f"accepted {kind}"] += 1

    def switch(self, verdict: wire.Verdict, refused: list[str], found: list[Json]) -> None:
        """X7, C38, D-22."""
        record = verdict.record
        version, at = record["version"], verdict.occurred
        if record.get("tenant", "") or version not in self.versions:
            self.accept("catalog", refused, ["unknown_catalog"])
            self.unchanged()
        elif version == self.in_force:
            self.accept("catalog", refused, [])
            assert found == []
        elif at != self.versions[version][0] or int(version) < int(self.in_force or 0):
            self.accept("catalog", refused, ["stale_catalog"])
            self.unchanged()
        else:
            self.accept("catalog", refused, [])
            at, config = self.versions[version]
            same(per_user(found), per_user_of_oracle(self.oracle.publish(config, at)))
            self.in_force = version
            self.seen.tenants = {""}
            self.seen.metrics = self.oracle.versions.open_metrics()
            self.seen.event_attributes = set(config["eventAttributes"])
            self.seen.user_attributes = set(config["userAttributes"])
            called = self.oracle.versions.achievements("active", "locked")
            self.seen.api_keys = {one["key"] for one in called if one["trigger"] == "api"}

    def erase(self, key: bytes, record: Json) -> None:
        """X29: nothing is known any more, but the id of the erasure itself."""
        self.oracle.people.pop(key.decode(), None)
        for known in (self.seen.emails, self.seen.reached, self.seen.tz, self.seen.applied):
            known.pop(key, None)
        self.erasures[key] = {record["eventId"]} if "eventId" in record else set()
        self.seen.applied[key] = self.erasures[key]

    def request(self, one: Input, verdict: wire.Verdict, kind: str, refused: list[str], found: list[Json]) -> None:
        """Requests about streaks move no points, but run what is due (F1)."""
        self.accept(kind, refused, [])
        user = verdict.record["user"]
        person = self.oracle.people.get(user["id"] if isinstance(user, dict) else user)
        effects: list[Json] = []
        if person is not None:
            append = self.seen.append_time(one.key or b"", one.timestamp)
            effects = self.oracle.run_due(person, append)
            person.reached = append
            if "eventId" in verdict.record:
                person.applied.add(verdict.record["eventId"])
        same(per_user(found), per_user_of_oracle(effects))

    def user_record(self, one: Input, verdict: wire.Verdict, kind: str, found: list[Json]) -> None:
        """A record that the points oracle carries out."""
        record = exact(verdict.record)
        if "occurredAt" in record:
            record["occurredAt"] = format_instant(verdict.occurred or 0)
        answer = self.oracle.record(record, one.timestamp, f"{self.seen.topic}-{one.partition}-{self.offset - 1}")
        shown = outcome_of_wire(found)
        if answer.reason is None:
            shown["reason"] = None
        same(shown, outcome_of_oracle(answer))
        same(per_user(found), per_user_of_oracle(answer.effects))
        repeat = answer.status == 202 or (kind == "achievement.complete" and answer.status == 200)
        if answer.status not in (200, 201, 202):
            self.counts[f"refused {answer.reason}"] += 1
            return
        self.counts[f"accepted {kind}{' again' if repeat else ''}"] += 1
        if not repeat and isinstance(record["user"], dict):
            self.profile(one.key or b"", record["user"])

    def profile(self, key: bytes, user: Json) -> None:
        """U6."""
        subscribed, known = self.seen.emails.get(key, (None, None))
        subscribed = user.get("subscribeToEmails", subscribed)
        known = user.get("email", known) if subscribed is not False else None
        self.seen.emails[key] = subscribed, known

    def remember(self) -> None:
        """What the next verdicts depend on."""
        self.changelog.update(self.written)
        for name, person in self.oracle.people.items():
            key = name.encode()
            self.seen.reached[key], self.seen.tz[key] = person.reached, person.tz
            self.seen.applied[key] = person.applied | self.erasures.get(key, set())

    def unchanged(self) -> None:
        """T10: a refused record leaves no trace in the state."""
        for key, value in self.written:
            before = self.changelog.get(key)
            if key == MARKER:
                value, before = (None if one is None else one.partition(b",")[2] for one in (value, before))
            assert value == before, f"{key!r} was {before!r}, is {value!r} after a refusal"
        self.changelog.update(self.written)

    def totals(self) -> None:
        """The end states are equal: metric totals, balances, completions."""
        assert set(self.partition.keys()) == {name.encode() for name in self.oracle.people}
        for name, person in self.oracle.people.items():
            state = self.partition.user(name.encode())
            assert state is not None
            metrics = {fact.metric for fact in person.facts}
            found = {key: Fraction(counter.total, 10**9) for key, counter in state.totals.items() if key in metrics}
            same(found, {metric: person.counter(metric, {})[0] for metric in metrics})
            systems = {*state.balances, *(award.system for award in person.awards)}
            same({key: state.balances.get(key, 0) for key in systems}, {key: person.balance(key) for key in systems})
            same(sorted(state.completions), sorted(person.completed))
            subscribed, email = self.seen.emails.get(name.encode(), (None, None))
            same((state.subscribe, state.email, state.tz), (subscribed, email, person.tz))


def exact(value: Any) -> Any:
    """Numbers as the points oracle takes them, rounded already so that their size is bounded."""
    if isinstance(value, wire.Number):
        try:
            return Decimal(wire.scaled(value)).scaleb(-9)
        except wire.Refused:
            return Decimal(10) ** 13
    if isinstance(value, dict):
        return {name: exact(one) for name, one in value.items()}
    return [exact(one) for one in value] if isinstance(value, list) else value


def same(found: Any, expected: Any) -> None:
    """Say what differs."""
    assert found == expected, f"\nfound:    {found!r}\nexpected: {expected!r}"


def describe(one: Input, verdict: wire.Verdict | None) -> str:
    """An input, short enough to read."""
    value = one.value if one.value is None or len(one.value) < 2_000 else one.value[:2_000] + b"..."
    said = "" if verdict is None else f"\nverdict: {verdict.reason}{' (open)' if verdict.grey else ''}"
    return f"made:  {'+'.join(one.made)}\nvalue: {value!r}\nkey:   {one.key!r}, partition {one.partition}, {one.timestamp} ms{said}"
