"""A small fold for tests of the engine: count and sum per key, one derived event per record."""

import struct

from schemas.emission import CatalogMissingError, Emission, Measures
from schemas.records import LogRecord
from schemas.topics import LEDGER, REJECTED

MARKER = b"\0offset"
PROGRESS = b"\0big"


class ToyFold:
    """Implements processors.engine.fold.Fold. `BIG n` emits n events, in slices; `NEED v` wants catalog v;
    a value that is no number is refused."""

    def __init__(self, number: int, store: "ToyStore | None" = None) -> None:
        self.number = number
        self.next_offset = 0
        self.counters: dict[str, int] = {"applied": 0, "skipped_offsets": 0}
        self.state: dict[bytes, tuple[int, int]] = {}
        self.big = 0
        """Events of the sliced record that are already emitted."""
        self.store = store
        self._before: dict[bytes, tuple[int, int] | None] = {}
        self._saved = (0, 0)
        self._touched = False

    def measures(self, overdue_at_ms: int) -> Measures:
        return Measures(state_bytes=16 * len(self.state), users=len(self.state))

    def load(self, key: bytes, value: bytes | None) -> None:
        if key == MARKER:
            assert value is not None
            self.next_offset = int(value)
        elif key == PROGRESS:
            self.big = int(value) if value is not None else 0
        elif value is None:
            self.state.pop(key, None)
        else:
            self.state[key] = struct.unpack(">QQ", value)

    def loaded(self) -> None:
        pass

    def process(self, record: LogRecord, out: list[Emission], limit: int) -> bool:
        if not self._touched:
            self._touched = True
            self._saved = (self.next_offset, self.big)
        if record.offset < self.next_offset:
            self.counters["skipped_offsets"] += 1
            return True
        value, key = record.value or b"", record.key or b""
        if value.startswith(b"NEED ") and self.store is not None:
            version = value[5:].decode()
            if version not in self.store.known:
                raise CatalogMissingError("", version)
        if value.startswith(b"BIG "):
            return self._slice(record, out, limit, int(value[4:]))
        if not value.isdigit():
            self._count("rejected.malformed")
            out.append(Emission(REJECTED, key, value))
        else:
            count, total = self.state.get(key, (0, 0))
            self._before.setdefault(key, self.state.get(key))
            self.state[key] = state = (count + 1, total + int(value))
            self._count("applied")
            text = b'{"p":%d,"o":%d,"count":%d,"sum":%d}' % (record.partition, record.offset, *state)
            out.append(Emission(LEDGER, key, text, "toy.counted", f"{record.partition}-{record.offset}"))
        self.next_offset = record.offset + 1
        return True

    def _slice(self, record: LogRecord, out: list[Emission], limit: int, events: int) -> bool:
        end = min(events, self.big + max(limit - len(out), 0))
        for index in range(self.big, end):
            out.append(Emission(LEDGER, record.key, b"%d" % index, "toy.big", f"{self.number}-{record.offset}-{index}"))
        self.big = end
        if end < events:
            return False
        self.big = 0
        self.next_offset = record.offset + 1
        return True

    def changes(self, next_offset: int) -> list[tuple[bytes, bytes | None]]:
        assert next_offset >= self.next_offset
        self.next_offset = next_offset
        changes: list[tuple[bytes, bytes | None]] = [
            (key, struct.pack(">QQ", *self.state[key])) for key in self._before
        ]
        if self.big or self._saved[1]:
            changes.append((PROGRESS, b"%d" % self.big if self.big else None))
        changes.append((MARKER, b"%d" % next_offset))
        return changes

    def commit(self) -> None:
        self._before.clear()
        self._touched = False

    def rollback(self) -> None:
        for key, value in self._before.items():
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        if self._touched:
            self.next_offset, self.big = self._saved
        self._before.clear()
        self._touched = False

    def _count(self, name: str) -> None:
        self.counters[name] = self.counters.get(name, 0) + 1


class ToyStore:
    """A catalog store that only knows names."""

    def __init__(self) -> None:
        self.known: set[str] = set()

    def add(self, value: bytes) -> None:
        self.known.add(value.decode())

    def give_up(self, tenant: str, version: str) -> None:
        self.known.add(version)
