"""A log written by hand with instants as text; whatever is asked of it is asked of every way to fold it."""

import json
from typing import Any

import msgspec

from processors.rules.catalogs import CatalogStore
from processors.rules.effects import Effects, MakeEffects
from processors.rules.user import User
from schemas.catalog_file import encode_config
from schemas.instants import parse_instant
from schemas.records import LogRecord
from tests.rules.test_rounds import BIG, Installation, chunks

Json = dict[str, Any]


class Story:
    """A log of partition 0. Its first record puts `config` in force at `at`; appended in the order of the calls."""

    effects: MakeEffects = Effects
    """What collects the effects of its folds."""

    def __init__(self, config: Json, at: str = "2020-01-01T00:00:00Z") -> None:
        self.store = CatalogStore()
        self.records: list[LogRecord] = []
        self.versions = 0
        self.publish(config, at)

    def append(self, record: Json, at: str, key: str | None = None) -> None:
        """Append a record with a record timestamp."""
        value = msgspec.json.encode(record)
        self.records.append(
            LogRecord(0, len(self.records), parse_instant(at), None if key is None else key.encode(), value)
        )

    def publish(self, config: Json, at: str) -> None:
        """Publish a catalog version and switch to it."""
        self.versions += 1
        version = str(self.versions)
        record = {"tenant": "", "version": version, "atMs": parse_instant(at)}
        self.store.add(msgspec.json.encode({**record, "config": msgspec.Raw(encode_config(config))}))
        self.append({"type": "catalog", "version": version, "at": at}, at)

    def tick(self, *instants: str) -> None:
        """Let time pass."""
        for at in instants:
            self.append({"type": "tick", "at": at}, at)

    def event(self, at: str, user: str = "u", occurred: str | None = None, value: int = 1, **fields: Any) -> None:
        """Append a metric event; `fields` are those of the user object, `occurred` its time if it comes late."""
        record = {"metric": "m", "user": {"id": user, **fields}, "value": value, "occurredAt": occurred or at}
        self.append(record, at, user)

    def request(self, kind: str, at: str, user: str = "u", occurred: str | None = None, **fields: Any) -> None:
        """Append a typed record of a user."""
        given = {"id": user, **fields.pop("user_fields", {})}
        self.append({"type": kind, "user": given, "occurredAt": occurred or at, **fields}, at, user)

    def identify(self, at: str, user: str = "u", occurred: str | None = None, **fields: Any) -> None:
        """Append an identify record; `fields` are those of the user object."""
        self.request("identify", at, user, occurred, user_fields=fields)

    def fold(self) -> list[Json]:
        """Return all that is emitted, in order: the same in rounds of 1, 7 and all, aborted, in slices of one round or of
        many, with restarts."""
        whole = Installation(self.store, self.effects)
        whole.round(self.records)
        self.installation = whole
        for size in (1, 7):
            other = Installation(self.store, self.effects)
            for records in chunks(self.records, size):
                other.round(records, abort=True)
                other.round(records)
            assert other.emitted == whole.emitted
            assert other.changelog == whole.changelog
        together = Installation(self.store, self.effects)
        together.slices(self.records, 2)
        assert together.emitted == whole.emitted
        assert together.changelog == whole.changelog
        sliced = Installation(self.store, self.effects)
        for record in self.records:
            sliced.round([record], limit=1)
            sliced.restart()
        assert sliced.result() == whole.result()
        return [json.loads(emission.value) for emission in whole.emitted]

    def derived(self, *kinds: str) -> list[Json]:
        """Return the derived events of these types."""
        return [event for event in self.fold() if event.get("type") in kinds and "emittedAt" in event]

    def user(self, user: str = "u") -> User:
        """Return a user at the end of the log; `fold` comes before."""
        found = self.installation.partition.view(user.encode())
        assert found is not None
        return found


__all__ = ["BIG", "Json", "Story"]
