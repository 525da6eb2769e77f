"""The users of one partition: states, remembered ids, timers; rounds with commit and roll-back; recovery."""

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

import msgspec

from processors.rules import timers
from processors.rules.due import DueUsers
from processors.rules.entries import (
    ANNEXES,
    DUE_BYTES,
    NEVER,
    NO_ANNEXES,
    PLACES,
    USER_PREFIX,
    Entry,
    Erased,
    Saved,
    Savepoint,
    Stored,
    stored_size,
    with_annex,
)
from processors.rules.memory import ID_KINDS, Memory, parse_chunk_key
from processors.rules.tallies import Tallies
from processors.rules.upcasts import MARK, present_json
from processors.rules.user import User
from schemas.state import UserState

AT_ONCE: Final = -(2**63)
"""Due instant of a user whose own cannot be worked out: the next tick fails for it, and sets it aside (D-89)."""

_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(UserState)


class UserStore:
    """All users of a partition by record key. What a round touches is written once, or put back as it was."""

    def __init__(self, remembered_ids: int, decoded_users: int) -> None:
        self._remembered_ids = remembered_ids
        self._most_decoded = decoded_users
        self._decoded: OrderedDict[bytes, None] = OrderedDict()  # may be decoded; used last comes last
        self._entries: dict[bytes, Entry] = {}
        self.due = DueUsers(self._entries)
        """Who is due when. `reschedule_touched` brings it up to date."""
        self._memories: dict[bytes, Memory] = {}
        self._touched: dict[bytes, bytes | None] = {}  # key -> stored form before the round
        self._stale: dict[bytes, None] = {}  # touched since the timers were last brought up to date
        self._erased: dict[bytes, Erased] = {}  # by the round
        self._sorted: list[bytes] | None = None  # all keys, until users come or go
        self._prepared: dict[bytes, bytes] = {}
        self._prepared_annexes: dict[bytes, Stored] = {}
        self._waiting: dict[bytes, Stored] = {}  # annexes whose user comes later in the changelog
        self.stored_bytes = 0
        """Encoded states and annexes of all users, as of the last round."""
        self.remembered = 0
        """Ids remembered of all users; chunks of the changelog count as full."""

    # recovery

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record, in log order; keys of other kinds are passed over."""
        kind = key[:1]
        if kind == USER_PREFIX:
            if value is None:
                self._entries.pop(key[1:], None)
            else:
                before = self._entries.get(key[1:])
                annexes = before.annexes if before else self._waiting.pop(key[1:], NO_ANNEXES)
                self._entries[key[1:]] = Entry(value, None, annexes)
        elif kind in PLACES:
            entry = self._entries.get(key[1:])
            if entry is not None:
                entry.annexes = with_annex(entry.annexes, PLACES[kind], value)
            else:
                waiting = self._waiting.get(key[1:], NO_ANNEXES)
                self._waiting[key[1:]] = with_annex(waiting, PLACES[kind], value)
        elif kind in ID_KINDS:
            chunk, user_key = parse_chunk_key(key)
            if value is not None or user_key in self._memories:
                self.remembered += self.memory(user_key).of(kind).load(chunk, value)

    def loaded(self) -> None:
        """Recovery has ended: rebuild the timers."""
        self._waiting = {}
        self._memories = {key: memory for key, memory in self._memories.items() if memory.counted}
        self.stored_bytes = sum([stored_size(entry) for entry in self._entries.values()])
        self._sorted = None
        self.due.rebuild()

    # users

    def get(self, key: bytes) -> User | None:
        """Return a user, None if there is none."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.user is None:
            assert entry.stored is not None
            entry.user = User(key, _decoder.decode(present_json(entry.stored[DUE_BYTES:])))
            self._decoded[key] = None
            for annex, stored in zip(ANNEXES, entry.annexes, strict=True):
                if stored is not None:
                    annex.decode(entry.user, stored)
        return entry.user

    def add(self, user: User) -> None:
        """Add a new user; this touches it."""
        self._entries[user.key] = Entry(None, user)
        self._sorted = None
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

    def savepoint(self, key: bytes) -> Savepoint | None:
        """Return all that is known of a user as it is now; None = as it was before the round, which costs nothing."""
        if key not in self._touched:
            return None
        entry = self._entries.get(key)
        user = None if entry is None else entry.user
        tallies = None if user is None else user.tallies
        memory = self._memories.get(key)
        return Savepoint(
            entry,
            None if user is None else self.save(user),
            None if tallies is None else tallies.encode(),
            None if memory is None else memory.mark(),
            tallies_changed=tallies is not None and tallies.changed,
        )

    def restore(self, key: bytes, saved: Savepoint | None) -> None:
        """Undo all that was done to a user since `savepoint`, in the same round."""
        self._sorted = None
        if saved is None:
            if key in self._touched:
                self._undo(key, self._touched.pop(key))
                self._stale.pop(key, None)
            return
        memory = self._memories.get(key)
        if memory is not None and saved.memory is not None:
            memory.back_to(saved.memory)
        elif memory is not None:
            del self._memories[key]
        if saved.entry is None or saved.saved is None:
            self._entries.pop(key, None)
            self._stale.pop(key, None)
            return
        self._entries[key] = saved.entry
        self.due.move(key, saved.due)
        user = self.put_back(key, saved.saved)
        user.tallies = None if saved.tallies is None else Tallies(saved.tallies)
        if user.tallies is not None:
            user.tallies.changed = saved.tallies_changed

    def has(self, key: bytes) -> bool:
        """Tell whether there is a user; nothing of it is decoded."""
        return key in self._entries

    def erase(self, key: bytes) -> None:
        """Remove a user, if there is one, and all that is remembered (X29)."""
        entry, memory = self._entries.pop(key, None), self._memories.pop(key, None)
        self._sorted = None
        self._stale.pop(key, None)
        if key in self._erased or (entry is None and memory is None):
            return
        if memory is not None:
            memory.rollback()
        self._erased[key] = Erased(entry, memory)
        self._touched.setdefault(key, None if entry is None else entry.stored)

    def touch(self, key: bytes) -> None:
        """Note that the round changes the user."""
        if key not in self._touched:
            self._touched[key] = self._entries[key].stored
        self._stale[key] = None

    def keys(self) -> list[bytes]:
        """Return the keys of all users, sorted."""
        if self._sorted is None:
            self._sorted = sorted(self._entries)
        return self._sorted.copy()

    def keys_after(self, key: bytes, prefix: bytes) -> Iterator[bytes]:
        """Yield the keys with a prefix that come after one, sorted; no user may come or go meanwhile."""
        if self._sorted is None:
            self._sorted = sorted(self._entries)
        found = self._sorted
        for place in range(bisect_right(found, key) if key else bisect_left(found, prefix), len(found)):
            if not found[place].startswith(prefix):
                return
            yield found[place]

    # ids

    def memory(self, key: bytes) -> Memory:
        """Return what is remembered of a user, empty at first."""
        memory = self._memories.get(key)
        if memory is None:
            memory = self._memories[key] = Memory(self._remembered_ids)
        return memory

    def keep_memory(self, key: bytes, memory: Memory) -> None:
        """Keep what a record was given to remember in, now that it is applied."""
        if key not in self._touched:  # a new user: a roll-back must find the memory
            entry = self._entries.get(key)
            self._touched[key] = None if entry is None else entry.stored
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
        due = None if user.state.quarantine is not None else timers.next_due(user, user.plan)
        self.due.move(key, NEVER if due is None else due)

    def reschedule_touched(self) -> None:
        """Bring the timers of all users touched since the last time up to date."""
        for key in self._stale:
            entry = self._entries[key]
            if entry.user is not None and entry.user.plan is not None:
                try:
                    self.reschedule(key)
                except MemoryError:
                    raise
                except Exception:
                    self.due.move(key, AT_ONCE)
        self._stale.clear()

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self._entries)

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

    def _write(self, key: bytes, entry: Entry, records: list[tuple[bytes, bytes | None]]) -> None:
        """Add a touched user's state, and the annexes that changed."""
        assert entry.user is not None
        stored = entry.due.to_bytes(DUE_BYTES, signed=True) + MARK + _encode(entry.user.state)
        self._prepared[key] = stored
        records.append((USER_PREFIX + key, stored))
        for place, annex in enumerate(ANNEXES):
            if annex.changed(entry.user):
                value = annex.encode(entry.user)
                annexes = self._prepared_annexes.get(key, entry.annexes)
                self._prepared_annexes[key] = with_annex(annexes, place, value)
                records.append((annex.prefix + key, value))

    def _clear(self, key: bytes, entry: Entry | None, records: list[tuple[bytes, bytes | None]]) -> None:
        """Add tombstones for all that the changelog has of an erased user and that nothing written since replaces."""
        erased = self._erased[key]
        if entry is None and erased.entry is not None and erased.entry.stored is not None:
            records.append((USER_PREFIX + key, None))
        annexes = self._prepared_annexes.get(key, NO_ANNEXES)
        for place, annex in enumerate(ANNEXES):
            if erased.annexes[place] is not None and annexes[place] is None:
                records.append((annex.prefix + key, None))
        ids: dict[bytes, bytes | None] = {}
        if erased.memory is not None:
            ids = dict.fromkeys(erased.memory.stored(key))
        if key in self._memories:
            ids.update(self._memories[key].changes(key))
        records.extend(ids.items())

    def commit(self) -> None:
        """What the round did is the state now."""
        for key, stored in self._prepared.items():
            entry = self._entries[key]
            self.stored_bytes -= stored_size(entry)
            entry.stored = stored
            annexes = self._prepared_annexes.get(key)
            if annexes is not None:
                entry.annexes = annexes
                if entry.user is not None:
                    for annex in ANNEXES:
                        annex.written(entry.user)
            self.stored_bytes += stored_size(entry)
            self._decoded[key] = None
            self._decoded.move_to_end(key)
        for key in self._touched:
            if key in self._memories:
                self.remembered += self._memories[key].commit()
        for erased in self._erased.values():
            self.stored_bytes -= 0 if erased.entry is None else stored_size(erased.entry)
            self.remembered -= 0 if erased.memory is None else erased.memory.counted
        self._end()
        self._forget_decoded()

    def _forget_decoded(self) -> None:
        """Let go of the decoded form of who was changed longest ago: it is four times as large as the stored one."""
        while len(self._decoded) > self._most_decoded:
            key, _ = self._decoded.popitem(last=False)
            entry = self._entries.get(key)
            if entry is not None and entry.stored is not None:
                entry.user = None

    def rollback(self) -> None:
        """Back to the state before the round."""
        self.due.return_set_aside()
        self._sorted = None
        for key, stored in self._touched.items():
            self._undo(key, stored)
        self._end()

    def _end(self) -> None:
        self._touched.clear()
        self._stale.clear()
        self._erased = {}
        self._prepared, self._prepared_annexes = {}, {}

    def _undo(self, key: bytes, stored: bytes | None) -> None:
        """Put a user back to the form that the changelog has."""
        erased = self._erased.pop(key, None)
        if erased is not None:
            self._memories.pop(key, None)
            if erased.memory is not None:
                self._memories[key] = erased.memory
        if stored is None:
            self._entries.pop(key, None)
        else:
            annexes = self._entries[key].annexes if erased is None else erased.annexes
            entry = self._entries[key] = Entry(stored, None, annexes)
            self.due.note(key, entry.due)
        memory = self._memories.get(key)
        if memory is not None:
            memory.rollback()
