"""What a user's log has already applied: event ids and idempotency keys (I1-I13, C32).

Kept as digests apart from the user's state, in chunks with changelog keys of their own, so that a record costs the same
whatever the user's past. The latest `limit` entries are remembered; what falls out is counted.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

import msgspec

CHUNK_ENTRIES: Final = 64
"""Entries per changelog record."""

EVENT_IDS: Final = b"e"
IDEMPOTENCY_KEYS: Final = b"k"
ID_KINDS: Final = (EVENT_IDS, IDEMPOTENCY_KEYS)
_CHUNK_NUMBER_BYTES: Final = 4
_DIGEST_BYTES: Final = 16
_SEED: Final = blake2b(digest_size=_DIGEST_BYTES)
_COMPACT_AFTER: Final = 4096

_Chunk = tuple[int, list[tuple[bytes, str]]]  # number of the first entry, entries
Mark = tuple[int, int, int, int, frozenset[int]]
"""A moment of a round: entries kept, added, made forgotten, number of the oldest one, chunks changed."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Chunk)


def digest(*parts: str) -> bytes:
    """Return the digest under which an id is remembered."""
    hasher = _SEED.copy()
    hasher.update("\0".join(parts).encode("utf-8", "surrogatepass"))
    return hasher.digest()


def chunk_key(kind: bytes, chunk: int, user_key: bytes) -> bytes:
    """Return the changelog key of a chunk: one of ID_KINDS, number of the chunk, the user's key."""
    return kind + chunk.to_bytes(_CHUNK_NUMBER_BYTES) + user_key


def parse_chunk_key(key: bytes) -> tuple[int, bytes]:
    """Return the number and the user's key of a chunk's changelog key."""
    return int.from_bytes(key[1 : 1 + _CHUNK_NUMBER_BYTES]), key[1 + _CHUNK_NUMBER_BYTES :]


class Remembered:
    """A bounded, ordered set of digests, each with a text; knows which chunks a round changed and can undo the round.

    Entries are numbered in order of arrival; number n lives in chunk n // CHUNK_ENTRIES.
    """

    __slots__ = (
        "_added",
        "_base",
        "_dirty",
        "_evicted",
        "_first",
        "_floor",
        "_limit",
        "_loading",
        "_order",
        "_texts",
        "counted",
    )

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._texts: dict[bytes, str] = {}
        self._order: list[bytes] = []  # entries from number _base on
        self._base = 0
        self._first = 0  # number of the oldest entry remembered
        self._floor = 0  # lowest chunk that the changelog may hold
        self._dirty: set[int] = set()
        self._added = 0
        self._evicted: list[tuple[bytes, str]] = []  # by this round
        self.counted = 0
        """Entries of committed rounds, as `load` and `commit` counted them."""
        self._loading: dict[int, bytes] = {}  # chunks as read from the changelog, unpacked on first use

    def load(self, chunk: int, value: bytes | None) -> int:
        """Take one changelog record: a chunk as it is now, None = every entry of it is forgotten. Return how many more
        entries there are, a chunk counted as full."""
        before = len(self._loading)
        if value is None:
            self._loading.pop(chunk, None)
        else:
            self._loading[chunk] = value
        more = (len(self._loading) - before) * CHUNK_ENTRIES
        self.counted += more
        return more

    def _unpack(self) -> None:
        for position, chunk in enumerate(sorted(self._loading)):
            first, entries = _decoder.decode(self._loading[chunk])
            if position == 0:
                self._base = self._first = first
                self._floor = chunk
            for key, text in entries:
                self._texts[key] = text
                self._order.append(key)
        self._loading = {}
        # a chunk is not written again for each entry that falls out of it
        for key in self._order[: max(0, len(self._order) - self._limit)]:
            del self._texts[key]
            self._first += 1

    def get(self, key: bytes) -> str | None:
        """Return the text of a digest, None if it is not remembered."""
        if self._loading:
            self._unpack()
        return self._texts.get(key)

    def __len__(self) -> int:
        if self._loading:
            self._unpack()
        return len(self._texts)

    def add(self, key: bytes, text: str) -> int:
        """Remember a new digest; return how many were forgotten for it."""
        if self._loading:
            self._unpack()
        self._dirty.add((self._base + len(self._order)) // CHUNK_ENTRIES)
        self._texts[key] = text
        self._order.append(key)
        self._added += 1
        if len(self._texts) <= self._limit:
            return 0
        oldest = self._order[self._first - self._base]
        self._evicted.append((oldest, self._texts.pop(oldest)))
        self._first += 1
        if self._first % CHUNK_ENTRIES == 0:
            self._dirty.add(self._first // CHUNK_ENTRIES - 1)
        return 1

    def changes(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield the chunks that the round changed; None = every entry of it is forgotten."""
        for chunk in sorted(self._dirty):
            first = max(chunk * CHUNK_ENTRIES, self._first)
            keys = self._order[first - self._base : (chunk + 1) * CHUNK_ENTRIES - self._base]
            if first < (chunk + 1) * CHUNK_ENTRIES:
                yield chunk, _encoder.encode((first, [(key, self._texts[key]) for key in keys]))
            else:
                yield chunk, None

    def stored_chunks(self) -> list[int]:
        """Return the chunks that the changelog may hold; of a round in hand nothing may be open."""
        if self._loading:
            return sorted(self._loading)
        if not self._order:
            return []
        return list(range(self._floor, (self._base + len(self._order) - 1) // CHUNK_ENTRIES + 1))

    def commit(self) -> int:
        """Keep what the round did; return how many more entries there are."""
        more = self._added - len(self._evicted)
        self.counted += more
        while self._floor in self._dirty and (self._floor + 1) * CHUNK_ENTRIES <= self._first:
            self._floor += 1
        self._dirty.clear()
        self._added = 0
        self._evicted.clear()
        if self._first - self._base > _COMPACT_AFTER:
            del self._order[: self._first - self._base]
            self._base = self._first
        return more

    def mark(self) -> Mark:
        """Return where the round stands, for `back_to`."""
        if self._loading:
            self._unpack()
        return len(self._order), self._added, len(self._evicted), self._first, frozenset(self._dirty)

    def back_to(self, mark: Mark) -> None:
        """Undo what came after a mark of the same round."""
        length, self._added, evicted, self._first, dirty = mark
        later = self._order[length:]
        del self._order[length:]
        self._texts.update(self._evicted[evicted:])
        for key in later:
            self._texts.pop(key, None)
        del self._evicted[evicted:]
        self._dirty = set(dirty)

    def rollback(self) -> None:
        """Forget what the round added, remember again what it made forgotten."""
        if self._added:
            for key in self._order[-self._added :]:
                self._texts.pop(key, None)
            del self._order[-self._added :]
        if self._evicted:
            self._first -= len(self._evicted)
            remaining = (
                self._base + len(self._order) - self._first
            )  # what the round itself added may be among the evicted
            self._texts = {**dict(self._evicted[:remaining]), **self._texts}
        self._dirty.clear()
        self._added = 0
        self._evicted.clear()


class Memory:
    """Both kinds of ids of one user."""

    __slots__ = ("event_ids", "keys")

    def __init__(self, limit: int) -> None:
        self.event_ids = Remembered(limit)
        self.keys = Remembered(limit)

    @property
    def counted(self) -> int:
        """Entries of committed rounds."""
        return self.event_ids.counted + self.keys.counted

    def changes(self, key: bytes) -> list[tuple[bytes, bytes | None]]:
        """Return the changelog records of what the round changed for the user with this key."""
        return [(chunk_key(kind, chunk, key), ids) for kind in ID_KINDS for chunk, ids in self.of(kind).changes()]

    def stored(self, key: bytes) -> list[bytes]:
        """Return the changelog keys that may hold something; of a round in hand nothing may be open."""
        return [chunk_key(kind, chunk, key) for kind in ID_KINDS for chunk in self.of(kind).stored_chunks()]

    def commit(self) -> int:
        """Keep what the round did; return how many more entries there are."""
        return self.event_ids.commit() + self.keys.commit()

    def rollback(self) -> None:
        """Undo what the round did."""
        self.event_ids.rollback()
        self.keys.rollback()

    def mark(self) -> tuple[Mark, Mark]:
        """See Remembered.mark."""
        return self.event_ids.mark(), self.keys.mark()

    def back_to(self, mark: tuple[Mark, Mark]) -> None:
        """See Remembered.back_to."""
        self.event_ids.back_to(mark[0])
        self.keys.back_to(mark[1])

    def of(self, kind: bytes) -> Remembered:
        """Return the set of a kind, EVENT_IDS or IDEMPOTENCY_KEYS."""
        return self.event_ids if kind == EVENT_IDS else self.keys
