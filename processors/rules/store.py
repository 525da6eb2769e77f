"""The users of one partition: states, remembered ids, timers; rounds with commit and roll-back; recovery."""

import heapq
from typing import Final

import msgspec

from processors.rules import timers
from processors.rules.memory import ID_KINDS, Memory, parse_chunk_key
from processors.rules.tallies import Tallies
from processors.rules.user import User
from schemas.state import Row, UserState

USER_PREFIX: Final = b"u"
"""First byte of the changelog key of a user's state; ids have keys of their own (memory.chunk_key)."""

HISTORY_PREFIX: Final = b"h"
"""First byte of the changelog key of a user's settled rows: they grow, and change only at settlements."""

TALLIES_PREFIX: Final = b"t"
"""First byte of the changelog key of a user's tallies: they change only with events that carry attributes."""

NEVER: Final = 2**63 - 1

_HEAP_SLACK: Final = 1_000
_DUE_BYTES: Final = 8

_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(UserState)
_history_decoder: Final = msgspec.json.Decoder(list[list[Row]])


Saved = tuple[bytes, list[list[Row]], bool]
"""A user's state and settled rows at one moment. A refused record never reaches the tallies."""


class Annex:
    """A part of what is known of a user that has a changelog key of its own, written only when it changed."""

    prefix: bytes

    def changed(self, user: User) -> bool:
        """Tell whether the part changed since it was last written."""
        raise NotImplementedError

    def encode(self, user: User) -> bytes:
        """Return the stored form."""
        raise NotImplementedError

    def decode(self, user: User, stored: bytes) -> None:
        """Give the user what was stored."""
        raise NotImplementedError

    def written(self, user: User) -> None:
        """Note that the part is in the changelog as it is now."""
        raise NotImplementedError


class _History(Annex):
    """Settled rows (S72)."""

    def __init__(self) -> None:
        self.prefix = HISTORY_PREFIX

    def changed(self, user: User) -> bool:
        return user.history_changed

    def encode(self, user: User) -> bytes:
        return _encode(user.history)

    def decode(self, user: User, stored: bytes) -> None:
        user.history = _history_decoder.decode(stored)

    def written(self, user: User) -> None:
        user.history_changed = False


class _Tallies(Annex):
    """Tallies of events with attributes (P12), decoded when first needed."""

    def __init__(self) -> None:
        self.prefix = TALLIES_PREFIX

    def changed(self, user: User) -> bool:
        return user.tallies is not None and user.tallies.changed

    def encode(self, user: User) -> bytes:
        assert user.tallies is not None
        return user.tallies.encode()

    def decode(self, user: User, stored: bytes) -> None:
        user.tallies = Tallies(stored)

    def written(self, user: User) -> None:
        if user.tallies is not None:
            user.tallies.changed = False


_ANNEXES: Final[tuple[Annex, ...]] = (_History(), _Tallies())
_PLACES: Final = {annex.prefix: place for place, annex in enumerate(_ANNEXES)}

_Stored = tuple[bytes | None, ...]
_NO_ANNEXES: Final[_Stored] = (None,) * len(_ANNEXES)


def _with(stored: _Stored, place: int, value: bytes | None) -> _Stored:
    return (*stored[:place], value, *stored[place + 1 :])


class _Entry:
    """One user: the state as the changelog has it, and as it is in memory once touched.

    The stored form is the next due instant in 8 bytes, then JSON, so that recovery need not decode it for the timers.
    """

    __slots__ = ("annexes", "due", "stored", "user")

    def __init__(self, stored: bytes | None, user: User | None, annexes: _Stored = _NO_ANNEXES) -> None:
        self.stored = stored
        self.annexes = annexes  # as the changelog has them, in the order of _ANNEXES
        self.user = user
        self.due = NEVER if stored is None else int.from_bytes(stored[:_DUE_BYTES], signed=True)


class _Before:
    """What the changelog has of a user whom the round in hand erased; `memory` as before the round."""

    __slots__ = ("annexes", "memory", "stored")

    def __init__(self, stored: bytes | None, annexes: _Stored, memory: Memory | None) -> None:
        self.stored = stored
        self.annexes = annexes
        self.memory = memory


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
        self._erased: dict[bytes, _Before] = {}  # by the round; a user may have come anew since
        self._prepared: dict[bytes, bytes] = {}
        self._prepared_annexes: dict[bytes, _Stored] = {}
        self._waiting: dict[bytes, _Stored] = {}  # annexes whose user comes later in the changelog

    # recovery

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record, in log order; keys of other kinds are passed over."""
        kind = key[:1]
        if kind == USER_PREFIX:
            if value is None:
                self._entries.pop(key[1:], None)
            else:
                before = self._entries.get(key[1:])
                annexes = before.annexes if before else self._waiting.pop(key[1:], _NO_ANNEXES)
                self._entries[key[1:]] = _Entry(value, None, annexes)
        elif kind in _PLACES:
            entry = self._entries.get(key[1:])
            if entry is not None:
                entry.annexes = _with(entry.annexes, _PLACES[kind], value)
            else:
                waiting = self._waiting.get(key[1:], _NO_ANNEXES)
                self._waiting[key[1:]] = _with(waiting, _PLACES[kind], value)
        elif kind in ID_KINDS:
            chunk, user_key = parse_chunk_key(key)
            if value is not None or user_key in self._memories:
                self.memory(user_key).of(kind).load(chunk, value)

    def loaded(self) -> None:
        """Recovery has ended: rebuild the timers."""
        self._waiting = {}
        self._memories = {key: memory for key, memory in self._memories.items() if memory.holds_any()}
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
            for annex, stored in zip(_ANNEXES, entry.annexes, strict=True):
                if stored is not None:
                    annex.decode(entry.user, stored)
        return entry.user

    def add(self, user: User) -> None:
        """Add a new user; this touches it."""
        self._entries[user.key] = _Entry(None, user)
        self.touch(user.key)

    def put_back(self, key: bytes, saved: Saved) -> User:
        """Replace a touched user's state by what `save` returned."""
        state, history, history_changed = saved
        entry = self._entries[key]
        assert entry.user is not None
        tallies = entry.user.tallies
        user = entry.user = User(key, _decoder.decode(state))
        user.history, user.history_changed, user.tallies = history, history_changed, tallies
        return user

    @staticmethod
    def save(user: User) -> Saved:
        """Return the state as it is now, for `put_back`."""
        return _encode(user.state), [list(rows) for rows in user.history], user.history_changed

    def touch(self, key: bytes) -> None:
        """Note that the round changes the user, or what is remembered of one who is not there."""
        if key not in self._touched:
            entry = self._entries.get(key)
            self._touched[key] = None if entry is None else entry.stored

    def erase(self, key: bytes) -> bool:
        """Remove a user and all that is remembered (X29); return whether there was one."""
        entry, memory = self._entries.pop(key, None), self._memories.pop(key, None)
        if key not in self._erased and (entry is not None or memory is not None):
            if memory is not None:
                memory.rollback()
            self._erased[key] = _Before(
                None if entry is None else entry.stored, _NO_ANNEXES if entry is None else entry.annexes, memory
            )
            self._touched.setdefault(key, self._erased[key].stored)
        return entry is not None

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
            entry = self._entries.get(key)
            if entry is not None and entry.user is not None and entry.user.plan is not None:
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
        self._prepared, self._prepared_annexes = {}, {}
        for key in self._touched:
            entry = self._entries.get(key)
            if entry is not None:
                self._write(key, entry, records)
            if key in self._erased:
                self._clear(key, entry, records)
            elif key in self._memories:
                records += self._memories[key].changes(key)
        return records

    def _write(self, key: bytes, entry: _Entry, records: list[tuple[bytes, bytes | None]]) -> None:
        """Add a touched user's state and the annexes that changed."""
        assert entry.user is not None
        stored = entry.due.to_bytes(_DUE_BYTES, signed=True) + _encode(entry.user.state)
        self._prepared[key] = stored
        records.append((USER_PREFIX + key, stored))
        for place, annex in enumerate(_ANNEXES):
            if annex.changed(entry.user):
                value = annex.encode(entry.user)
                annexes = self._prepared_annexes.get(key, entry.annexes)
                self._prepared_annexes[key] = _with(annexes, place, value)
                records.append((annex.prefix + key, value))

    def _clear(self, key: bytes, entry: _Entry | None, records: list[tuple[bytes, bytes | None]]) -> None:
        """Add tombstones for all that the changelog has of an erased user and that nothing written since replaces."""
        before = self._erased[key]
        if entry is None and before.stored is not None:
            records.append((USER_PREFIX + key, None))
        annexes = self._prepared_annexes.get(key, _NO_ANNEXES)
        for place, annex in enumerate(_ANNEXES):
            if before.annexes[place] is not None and annexes[place] is None:
                records.append((annex.prefix + key, None))
        ids: dict[bytes, bytes | None] = {}
        if before.memory is not None:
            ids = dict.fromkeys(before.memory.stored(key))
        if key in self._memories:
            ids.update(self._memories[key].changes(key))
        records.extend(ids.items())

    def commit(self) -> None:
        """What the round did is the state now."""
        for key, stored in self._prepared.items():
            entry = self._entries[key]
            entry.stored = stored
            annexes = self._prepared_annexes.get(key)
            if annexes is not None:
                entry.annexes = annexes
                if entry.user is not None:
                    for annex in _ANNEXES:
                        annex.written(entry.user)
        for key in self._touched:
            memory = self._memories.get(key)
            if memory is not None:
                memory.commit()
        self._end()

    def rollback(self) -> None:
        """Back to the state before the round."""
        for key, stored in self._touched.items():
            before = self._erased.get(key)
            if stored is None:
                self._entries.pop(key, None)
            else:
                annexes = self._entries[key].annexes if before is None else before.annexes
                entry = self._entries[key] = _Entry(stored, None, annexes)
                if entry.due != NEVER:
                    heapq.heappush(self._heap, (entry.due, key))
            if before is not None:
                self._memories.pop(key, None)
                if before.memory is not None:
                    self._memories[key] = before.memory
                continue
            memory = self._memories.get(key)
            if memory is not None:
                memory.rollback()
        self._end()

    def _end(self) -> None:
        self._touched.clear()
        self._erased = {}
        self._prepared, self._prepared_annexes = {}, {}
