"""Drives the production fold over a log in wire form, in rounds that may be rolled back or restarted."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from processors.rules.catalogs import CatalogStore
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from schemas.catalog_file import encode_config
from schemas.emission import Emission
from schemas.records import LogRecord
from tests.properties.streak_timeline import Json, Line, user_of

METRICS = ("a", "b", "c")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WHOLE = 10**9

_encoder = msgspec.json.Encoder(decimal_format="number")


def milliseconds(at: datetime) -> int:
    """Return an instant as Kafka holds it."""
    return (at - EPOCH) // timedelta(milliseconds=1)


class Fold:
    """A partition with its changelog and an open round.

    Attributes:
        emitted: what committed rounds have emitted, in order.
    """

    def __init__(self) -> None:
        self.store = CatalogStore()
        self.partition = Partition(0, FoldSettings(), self.store)
        self.changelog: dict[bytes, bytes | None] = {}
        self.emitted: list[Emission] = []
        self._round: list[LogRecord] = []
        self._out: list[Emission] = []
        self._offset = 0

    def feed(self, line: Line, limit: int = WHOLE) -> None:
        """Append a record and fold it in the open round; in several rounds if it emits more than `limit`."""
        record = line.record
        if record.get("type") == "catalog":
            record = self._publish(line)
        user = user_of(record)
        key = None if user is None else user.encode()
        self._fold(LogRecord(0, self._offset, milliseconds(line.timestamp), key, _encoder.encode(record)), limit)
        self._offset += 1

    def _publish(self, line: Line) -> Json:
        version = f"v{self._offset}"
        config = {"metrics": list(METRICS), "streak": line.record["streak"]}
        stored = {"tenant": "", "version": version, "atMs": milliseconds(line.timestamp)}
        self.store.add(msgspec.json.encode({**stored, "config": msgspec.Raw(encode_config(config))}))
        return {"type": "catalog", "version": version, "at": line.record["at"]}

    def _fold(self, record: LogRecord, limit: int) -> None:
        self._round.append(record)
        while not self.partition.process(record, self._out, limit):
            self._end_round(record.offset)
            self._round = [record]

    def commit(self) -> None:
        """End the open round."""
        self._end_round(self._offset)

    def _end_round(self, next_offset: int) -> None:
        self.changelog.update(self.partition.changes(next_offset))
        self.partition.commit()
        self.emitted += self._out
        self._out, self._round = [], []

    def roll_back(self) -> None:
        """Roll the open round back and do it again."""
        records, self._round, self._out = self._round, [], []
        self.partition.changes(self._offset)
        self.partition.rollback()
        for record in records:
            self._fold(record, WHOLE)

    def restart(self) -> None:
        """Commit, forget the memory, recover from the changelog."""
        self.commit()
        self.partition = Partition(0, FoldSettings(), self.store)
        for key, value in sorted(self.changelog.items()):
            self.partition.load(key, value)
        self.partition.loaded()


def derived(fold: Fold, user: str) -> list[Json]:
    """Return the derived events of a user, decoded, in order."""
    return [_decode(one.value) for one in fold.emitted if one.type and one.key == user.encode()]


def outcomes(fold: Fold, user: str) -> list[Json]:
    """Return the outcome records of a user, decoded, in order."""
    return [_decode(one.value) for one in fold.emitted if one.topic == "outcomes" and one.key == user.encode()]


def refused(fold: Fold) -> list[Json]:
    """Return the records that were refused."""
    return [_decode(one.value) for one in fold.emitted if one.topic == "rejected"]


def _decode(value: bytes) -> Any:
    return json.loads(value, parse_float=Decimal)
