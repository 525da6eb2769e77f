"""A partition fed by hand, for tests that write their own log."""

import json
from typing import Any

import msgspec

from processors.rules.catalogs import CatalogStore
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from schemas.catalog_file import encode_config
from schemas.emission import Emission
from schemas.instants import format_instant, parse_instant
from schemas.records import LogRecord

Json = dict[str, Any]

HOUR = 3_600_000
START = parse_instant("2025-01-01T00:00:00Z")

HOURLY = {"id": "t", "type": "time", "timeUnit": "hour", "timeInterval": 1, "points": 1}


class Fold:
    """A partition fed by hand; times are hours after START."""

    def __init__(self) -> None:
        self.store = CatalogStore()
        self.partition = Partition(0, FoldSettings(), self.store)
        self.versions = 0

    def add(self, config: Json, hour: float, version: str | None = None) -> str:
        """Put a version on the catalog topic."""
        self.versions += 1
        version = version or str(self.versions)
        at = START + int(hour * HOUR)
        record = {"tenant": "", "version": version, "atMs": at, "config": msgspec.Raw(encode_config(config))}
        self.store.add(msgspec.json.encode(record))
        return version

    def send(self, record: Json, hour: float, user: str | None = None, limit: int = 10**6) -> list[Json]:
        """Fold one record; return derived events and refusals."""
        out: list[Emission] = []
        self.take(record, hour, user, out, limit)
        return [json.loads(emission.value) for emission in out]

    def take(self, record: Json, hour: float, user: str | None, out: list[Emission], limit: int = 10**6) -> None:
        """Fold one record; append what it emits to `out`."""
        value = msgspec.json.encode(record)
        key = user.encode() if user else None
        log_record = LogRecord(0, self.partition.next_offset, START + int(hour * HOUR), key, value)
        done = False
        while not done:
            part: list[Emission] = []
            done = self.partition.process(log_record, part, limit)
            self.partition.changes(log_record.offset + done)
            self.partition.commit()
            out += part

    def switch(self, version: str, hour: float, sent: float | None = None, limit: int = 10**6) -> list[Json]:
        """Send the control record of a version."""
        at = format_instant(START + int(hour * HOUR))
        record = {"type": "catalog", "version": version, "at": at}
        return self.send(record, hour if sent is None else sent, limit=limit)

    def publish(self, config: Json, hour: float) -> str:
        """Add a version and switch to it."""
        version = self.add(config, hour)
        self.switch(version, hour)
        return version

    def tick(self, hour: float, limit: int = 10**6) -> list[Json]:
        """Let time pass."""
        return self.send({"type": "tick", "at": format_instant(START + int(hour * HOUR))}, hour, limit=limit)

    def event(self, hour: float, user: str = "u", value: int = 1, **fields: Any) -> list[Json]:
        """Send a metric event."""
        return self.send({"metric": "m", "user": user, "value": value, **fields}, hour, user)

    def balance(self, user: str = "u") -> int:
        """Return the balance of the only system."""
        state = self.partition.user(user.encode())
        assert state is not None
        return state.balances.get("xp", 0)


def config(*triggers: Json, **more: Any) -> Json:
    """A catalog with one metric and one system."""
    filled = [{"status": "active", **trigger} for trigger in triggers]
    return {
        "metrics": ["m"],
        "eventAttributes": ["a"],
        "userAttributes": ["p"],
        "systems": [{"key": "xp", "triggers": filled}],
        **more,
    }
