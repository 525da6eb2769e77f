"""One partition of a topic: records of open, committed and aborted transactions, and the markers that end them."""

from collections.abc import Callable
from typing import Final

from aiokafka.structs import TopicPartition

NO_PRODUCER: Final = -1

Headers = tuple[tuple[str, bytes], ...]


class Record:
    """A record as consumers get it: aiokafka's ConsumerRecord, as far as anybody looks."""

    __slots__ = ("headers", "key", "offset", "partition", "timestamp", "topic", "value")

    def __init__(
        self, tp: TopicPartition, offset: int, timestamp: int, key: bytes | None, value: bytes | None, headers: Headers
    ) -> None:
        self.topic = tp.topic
        self.partition = tp.partition
        self.offset = offset
        self.timestamp = timestamp
        self.key = key
        self.value = value
        self.headers = headers


class Entry:
    """What stands at an offset: a record, or a marker (then there is no record)."""

    __slots__ = ("aborted", "pid", "record")

    def __init__(self, record: Record | None, pid: int) -> None:
        self.record = record
        self.pid = pid
        self.aborted = False


class PartitionLog:
    """A partition. Offsets are indices; nothing is compacted or deleted."""

    def __init__(self, tp: TopicPartition) -> None:
        self.tp = tp
        self.entries: list[Entry] = []
        self._open: dict[int, int] = {}
        """First offset of each producer's open transaction."""
        self._waiting: list[Callable[[], None]] = []

    @property
    def end(self) -> int:
        """The high watermark."""
        return len(self.entries)

    @property
    def stable(self) -> int:
        """The last stable offset: where the earliest open transaction begins."""
        return min(self._open.values()) if self._open else len(self.entries)

    def append(
        self, timestamp: int, key: bytes | None, value: bytes | None, headers: Headers = (), pid: int = NO_PRODUCER
    ) -> None:
        """Add a record; with `pid` it belongs to that producer's open transaction."""
        offset = len(self.entries)
        if pid != NO_PRODUCER:
            self._open.setdefault(pid, offset)
        self.entries.append(Entry(Record(self.tp, offset, timestamp, key, value, headers), pid))
        self._wake()

    def end_transaction(self, pid: int, *, commit: bool) -> None:
        """Write the marker of a transaction."""
        begin = self._open.pop(pid, None)
        if not commit and begin is not None:
            for entry in self.entries[begin:]:
                if entry.pid == pid:
                    entry.aborted = True
        self.entries.append(Entry(None, NO_PRODUCER))
        self._wake()

    def read(self, position: int, most: int, *, committed: bool) -> tuple[list[Record], int]:
        """Return up to `most` records from `position` on, and the position after them."""
        end = self.stable if committed else len(self.entries)
        found: list[Record] = []
        entries = self.entries
        while position < end and len(found) < most:
            entry = entries[position]
            position += 1
            if entry.record is not None and not (committed and entry.aborted):
                found.append(entry.record)
        return found, position

    def committed(self) -> list[Record]:
        """Return all records that a reader of committed records can ever see, as things stand."""
        return [entry.record for entry in self.entries if entry.record is not None and not entry.aborted]

    @property
    def last_committed(self) -> int | None:
        """Offset of the last record that a reader of committed records can ever see; None: there is none."""
        for entry in reversed(self.entries):
            if entry.record is not None and not entry.aborted:
                return entry.record.offset
        return None

    def when_moved(self, call: Callable[[], None]) -> None:
        """Call once when something is added or becomes stable."""
        self._waiting.append(call)

    def _wake(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for call in waiting:
                call()
