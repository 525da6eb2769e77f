"""The users of one partition: states, remembered ids, timers; rounds with commit and roll-back; recovery."""

import heapq
from typing import Final

import msgspec

from processors.rules import timers
from processors.rules.memory import EVENT_IDS, IDEMPOTENCY_KEYS, Memory
from processors.rules.user import User
from schemas.state import Row, UserState

USER_PREFIX: Final = b"u"
"""First byte of the changelog key of a user's state; ids have EVENT_IDS or IDEMPOTENCY_KEYS and a chunk number."""

HISTORY_PREFIX: Final = b"h"
"""First byte of the changelog key of a user's settled rows: they grow, and change only at settlements."""

NEVER: Final = 2**63 - 1

_HEAP_SLACK: Final = 1_000
_CHUNK_NUMBER_BYTES: Final = 4
_DUE_BYTES: Final = 8

_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(UserState)
_history_decoder: Final = msgspec.json.Decoder(list[list[Row]])


Saved = tuple[bytes, list[list[Row]], bool]
"""A user's state and settled rows at one moment."""


class _Entry:
    """One user: the state as the changelog has it, and as it is in memory once touched.

    The stored form is the next due instant in 8 bytes, then JSON, so that recovery need not decode it for the timers.
    """

    __slots__ = ("due", "history", "stored", "user")

    def __init__(self, stored: bytes | None, user: User | None, history: bytes | None = None) -> None:
        self.stored = stored
        self.history = history  # settled rows, as the changelog has them; a key of their own
        self.user = user
        self.due = NEVER if stored is None else int.from_bytes(stored[:_DUE_BYTES], signed=True)


class UserStore:
    """All users of a partition by record key. What a round touches is written once, or put back as it was."""

    def __init__(self, remembered_ids: int) -> None:
        self._remembered_ids = remembered_ids
        self._entries: dict[bytes, _Entry] = {}
        self._memories: dict[bytes, Memory] = {}
        self._heap: list[
            tuple[int, bytes]
        ] = []  # (due, key); entries that no longer match a user's due are passed over
        self._touched: dict[bytes, bytes | None] = {}  # key -> stored form before the round
        self._prepared: dict[bytes, bytes] = {}
        self._prepared_histories: dict[bytes, bytes] = {}
        self._histories: dict[bytes, bytes] = {}

    # recovery

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record, in log order; keys of other kinds are passed over."""
        kind = key[:1]
        if kind == USER_PREFIX:
            if value is None:
                self._entries.pop(key[1:], None)
            else:
                before = self._entries.get(key[1:])
                self._entries[key[1:]] = _Entry(
                    value, None, before.history if before else self._histories.pop(key[1:], None)
                )
        elif kind == HISTORY_PREFIX:
            entry = self._entries.get(key[1:])
            if entry is not None:
                entry.history = value
            elif value is not None:
                self._histories[key[1:]] = value  # its user comes later
        elif kind in (EVENT_IDS, IDEMPOTENCY_KEYS):
            chunk = int.from_bytes(key[1 : 1 + _CHUNK_NUMBER_BYTES])
            self.memory(key[1 + _CHUNK_NUMBER_BYTES :]).of(kind).load(chunk, value)

    def loaded(self) -> None:
        """Recovery has ended: rebuild the timers."""
        self._histories = {}
        self._heap = [(entry.due, key) for key, entry in self._entries.items() if entry.due != NEVER]
        heapq.heapify(self._heap)

    # users

    def get(self, key: bytes) -> User | None:
        """Return a user, None if there is none."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.user is None:
            assert entry.stored is not None
            entry.user = User(key, _decoder.decode(entry.stored[_DUE_BYTES:]))
            if entry.history is not None:
                entry.user.history = _history_decoder.decode(entry.history)
        return entry.user

    def add(self, user: User) -> None:
        """Add a new user; this touches it."""
        self._entries[user.key] = _Entry(None, user)
        self.touch(user.key)

    def put_back(self, key: bytes, saved: Saved) -> User:
        """Replace a touched user's state by what `save` returned."""
        state, history, history_changed = saved
        user = self._entries[key].user = User(key, _decoder.decode(state))
        user.history, user.history_changed = history, history_changed
        return user

    @staticmethod
    def save(user: User) -> Saved:
        """Return the state as it is now, for `put_back`."""
        return _encode(user.state), [list(rows) for rows in user.history], user.history_changed

    def touch(self, key: bytes) -> None:
        """Note that the round changes the user."""
        if key not in self._touched:
            self._touched[key] = self._entries[key].stored

    def keys(self) -> list[bytes]:
        """Return the keys of all users, sorted."""
        return sorted(self._entries)

    # ids

    def memory(self, key: bytes) -> Memory:
        """Return what is remembered of a user, empty at first."""
        memory = self._memories.get(key)
        if memory is None:
            memory = self._memories[key] = Memory(self._remembered_ids)
        return memory

    def keep_memory(self, key: bytes, memory: Memory) -> None:
        """Keep what a record was given to remember in, now that it is applied."""
        self._memories[key] = memory

    def new_memory(self) -> Memory:
        """Return a memory that nobody keeps yet: a refused record leaves no trace."""
        return Memory(self._remembered_ids)

    def known_memory(self, key: bytes) -> Memory | None:
        """Return what is remembered of a user, None if nothing ever was."""
        return self._memories.get(key)

    # timers

    def reschedule(self, key: bytes) -> None:
        """Note a user's next due instant."""
        entry = self._entries[key]
        user = entry.user
        assert user is not None
        assert user.plan is not None
        due = timers.next_due(user, user.plan)
        entry_due = NEVER if due is None else due
        if entry_due != entry.due:
            entry.due = entry_due
            if entry_due != NEVER:
                self._push(entry_due, key)

    def _push(self, due: int, key: bytes) -> None:
        """Note a due instant; when old notes outweigh the users, make the heap anew."""
        heapq.heappush(self._heap, (due, key))
        if len(self._heap) > 2 * len(self._entries) + _HEAP_SLACK:
            self._heap = [(entry.due, key) for key, entry in self._entries.items() if entry.due != NEVER]
            heapq.heapify(self._heap)

    def reschedule_touched(self) -> None:
        """Bring the timers of all users touched in this round up to date."""
        for key in self._touched:
            entry = self._entries[key]
            if entry.user is not None and entry.user.plan is not None:
                self.reschedule(key)

    def pop_due(self, at: int) -> tuple[int, bytes] | None:
        """Take the user who is due first, at or before `at`, off the timers: due instant and key; None if nobody is.

        The caller puts the user back, by `reschedule` or `push_due`.
        """
        heap = self._heap
        while heap and heap[0][0] <= at:
            due, key = heapq.heappop(heap)
            entry = self._entries.get(key)
            if entry is not None and entry.due == due:
                entry.due = NEVER
                return due, key
        return None

    def push_due(self, due: int, key: bytes) -> None:
        """Put a user taken by `pop_due` back, unchanged."""
        self._entries[key].due = due
        heapq.heappush(self._heap, (due, key))

    # the round

    def changes(self) -> list[tuple[bytes, bytes | None]]:
        """Return the changelog records of what the round touched."""
        self.reschedule_touched()
        records: list[tuple[bytes, bytes | None]] = []
        self._prepared, self._prepared_histories = {}, {}
        for key in self._touched:
            entry = self._entries[key]
            assert entry.user is not None
            stored = entry.due.to_bytes(_DUE_BYTES, signed=True) + _encode(entry.user.state)
            self._prepared[key] = stored
            records.append((USER_PREFIX + key, stored))
            if entry.user.history_changed:
                history = self._prepared_histories[key] = _encode(entry.user.history)
                records.append((HISTORY_PREFIX + key, history))
            memory = self._memories.get(key)
            if memory is not None:
                for kind in (EVENT_IDS, IDEMPOTENCY_KEYS):
                    for chunk, value in memory.of(kind).changes():
                        records.append((kind + chunk.to_bytes(_CHUNK_NUMBER_BYTES) + key, value))
        return records

    def commit(self) -> None:
        """What the round did is the state now."""
        for key, stored in self._prepared.items():
            self._entries[key].stored = stored
            history = self._prepared_histories.get(key)
            if history is not None:
                entry = self._entries[key]
                entry.history = history
                if entry.user is not None:
                    entry.user.history_changed = False
            memory = self._memories.get(key)
            if memory is not None:
                memory.event_ids.commit()
                memory.keys.commit()
        self._touched.clear()
        self._prepared, self._prepared_histories = {}, {}

    def rollback(self) -> None:
        """Back to the state before the round."""
        for key, stored in self._touched.items():
            if stored is None:
                self._entries.pop(key, None)
            else:
                entry = self._entries[key] = _Entry(stored, None, self._entries[key].history)
                if entry.due != NEVER:
                    heapq.heappush(self._heap, (entry.due, key))
            memory = self._memories.get(key)
            if memory is not None:
                memory.event_ids.rollback()
                memory.keys.rollback()
        self._touched.clear()
        self._prepared, self._prepared_histories = {}, {}
