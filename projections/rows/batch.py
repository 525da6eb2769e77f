"""The rows of one batch of records, by table, ready to be inserted column by column."""

from collections.abc import Sequence
from typing import Final

import msgspec

from projections.errors import UndecodableError
from projections.rows.builders import (
    BUILDER_OF_TYPE,
    UNDECODABLE,
    Build,
    Row,
    erasure_row,
    rejected_row,
    user_of_key,
)
from projections.rows.erasures import Erased, Erasure
from projections.rows.events import DECODER_OF_TYPE, Decode, decode_erased, decode_rejected, require_user, type_of_value
from projections.rows.values import MAX_COLUMN_MS, MIN_COLUMN_MS, instant
from projections.tables import ERASURES, REJECTED, Table
from schemas.derived import Envelope
from schemas.topics import ERASED, LEDGER

_OFFSET_BITS: Final = 48
MAX_EPOCH: Final = 2 ** (64 - _OFFSET_BITS) - 1

_VALUE_SHOWN: Final = 64 * 1024
"""Characters of an undecodable record that are kept (as X11)."""

_ROUTES: Final[dict[str, tuple[Decode, Table, Build]]] = {
    name: (DECODER_OF_TYPE[name], table, build) for name, (table, build) in BUILDER_OF_TYPE.items()
}


def version(epoch: int, offset: int) -> int:
    """Return `ver`: what decides which of several rows of one user is the latest.

    All events of a user stand in one partition, written in the order in which they were caused (a transaction per
    round, emissions in the order F7), and a reader of committed records sees each once. So their own offset orders
    them, and the offset of the cause is not needed. An epoch goes in front, so that the rows of a topic that was made
    anew win over those of the old one. It is never 0, which says "nothing yet" in rollups.
    """
    assert 0 <= epoch <= MAX_EPOCH
    assert 0 <= offset < 2**_OFFSET_BITS - 1
    return (epoch << _OFFSET_BITS) + offset + 1


class Rows:
    """Collects the rows of one batch. The same records in the same order give the same rows, at any time.

    Where a record tells that a user was erased, the rows of the user before it are left out; those of earlier batches are
    deleted by `erasures`, before the rows of this one are inserted (X30).

    Attributes:
        records: records seen.
        duplicates: records dropped since their derived id was in the batch already; under transactions it stays 0.
        undecodable: records that are not what schemas.derived says; each is a row of `rejected`.
        skipped: records of types that no table takes.
    """

    def __init__(self, epoch: int, rejected_topic: str) -> None:
        """`epoch` goes into `ver`; `rejected_topic` is the full name of the topic of refused records."""
        self._epoch = epoch
        self._rejected_topic = rejected_topic
        self._rows: dict[str, list[Row]] = {}
        self._tables: dict[str, Table] = {}
        self._ids: set[str] = set()
        self._erased = Erased()
        self._covered = 0  # erasures whose rows are left out already
        self.records = 0
        self.duplicates = 0
        self.undecodable = 0
        self.skipped = 0

    def add(
        self,
        topic: str,
        partition: int,
        offset: int,
        timestamp_ms: int,
        type_name: str,
        value: bytes | None,
        key: bytes | None = None,
    ) -> None:
        """Add one record of a derived topic. `type_name` is its header `type`; empty: it is read from the value. `key` tells
        whose record it is if it cannot be read."""
        self.records += 1
        source = (topic, partition, offset, version(self._epoch, offset))
        try:
            if value is None:
                raise UndecodableError("a null value")
            if type_name == ERASED:
                self._erase(value, source)
                return
            if topic == self._rejected_topic:
                self._append(REJECTED, rejected_row(decode_rejected(value)) + source)
                return
            type_name = type_name or _type_of(value)
            if type_name == ERASED:
                self._erase(value, source)
                return
            route = _ROUTES.get(type_name)
            if route is None:
                self.skipped += 1
                return
            decode, table, build = route
            try:
                event = decode(value)
            except msgspec.MsgspecError as error:
                raise UndecodableError(str(error)) from error
            row = build(event)
            identity = self._identity(topic, event)
            if identity in self._ids:
                self.duplicates += 1
                return
            self._ids.add(identity)
            self._append(table, row + source)
        except UndecodableError as error:
            self.undecodable += 1
            self._append(REJECTED, _undecodable_row(topic, partition, offset, timestamp_ms, value, error, key) + source)

    def _erase(self, value: bytes, source: tuple[str, int, int, int]) -> None:
        try:
            event = decode_erased(value)
        except msgspec.MsgspecError as error:
            raise UndecodableError(str(error)) from error
        topic, partition, _, ver = source
        user_id, logical = require_user(event), event.data.topic
        self._erased.add(Erasure(event.tenant_id, user_id, topic, logical, partition, ver, instant(event.emitted_at)))
        if logical == LEDGER:
            self._append(ERASURES, erasure_row(event) + source)

    def _identity(self, topic: str, event: Envelope) -> str:
        """Return what tells repeats of an event apart: after an erasure the same ids may come again."""
        life = self._erased.life(topic, event.tenant_id, event.user_id) if isinstance(event.user_id, str) else 0
        return f"{event.id} {life}" if life else event.id

    def _append(self, table: Table, row: Row) -> None:
        rows = self._rows.get(table.name)
        if rows is None:
            rows = self._rows[table.name] = []
            self._tables[table.name] = table
        rows.append(row)

    @property
    def erasures(self) -> list[Erasure]:
        """What was erased, in order."""
        return self._erased.all

    def _leave_out(self) -> None:
        """Drop the rows that erasures cover."""
        if self._covered == len(self._erased.all):
            return
        self._covered = len(self._erased.all)
        for name, table in list(self._tables.items()):
            if table is not ERASURES:
                self._rows[name] = [row for row in self._rows[name] if not self._erased.covers(table, row)]
            if not self._rows[name]:
                del self._rows[name], self._tables[name]

    def tables(self) -> list[Table]:
        """Return the tables that have rows."""
        self._leave_out()
        return list(self._tables.values())

    def columns(self, table: Table) -> list[Sequence[object]]:
        """Return the rows of a table column by column, in the order of `table.columns`."""
        self._leave_out()
        return list(zip(*self._rows[table.name], strict=True))

    def rows(self, table: Table) -> list[Row]:
        """Return the rows of a table."""
        self._leave_out()
        return self._rows.get(table.name, [])


def _type_of(value: bytes) -> str:
    try:
        return type_of_value(value).type
    except msgspec.MsgspecError as error:
        raise UndecodableError(str(error)) from error


def _undecodable_row(
    topic: str,
    partition: int,
    offset: int,
    timestamp_ms: int,
    value: bytes | None,
    error: UndecodableError,
    key: bytes | None,
) -> Row:
    at = min(max(timestamp_ms, MIN_COLUMN_MS), MAX_COLUMN_MS)
    text = (value or b"").decode("utf-8", "replace")
    message = f"the sink could not read this derived record: {error}"
    shown = (key or b"").decode("utf-8", "replace")
    cut = len(text) > _VALUE_SHOWN
    return (*user_of_key(shown), UNDECODABLE, at, topic, partition, offset, shown, message, text[:_VALUE_SHOWN], cut)
