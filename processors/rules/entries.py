"""What is known of one user, as the changelog has it and as it is in memory."""

from typing import Final

import msgspec

from processors.rules.memory import Mark, Memory
from processors.rules.tallies import Tallies
from processors.rules.user import User
from schemas.state import Row

USER_PREFIX: Final = b"u"
"""First byte of the changelog key of a user's state; ids have keys of their own (memory.chunk_key)."""

HISTORY_PREFIX: Final = b"h"
"""First byte of the changelog key of a user's settled rows: they grow, and change only at settlements."""

TALLIES_PREFIX: Final = b"t"
"""First byte of the changelog key of a user's tallies: they change only with events that carry attributes."""

NEVER: Final = 2**63 - 1

DUE_BYTES: Final = 8

_encode: Final = msgspec.json.Encoder().encode
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


ANNEXES: Final[tuple[Annex, ...]] = (_History(), _Tallies())
PLACES: Final = {annex.prefix: place for place, annex in enumerate(ANNEXES)}

Stored = tuple[bytes | None, ...]
NO_ANNEXES: Final[Stored] = (None,) * len(ANNEXES)


def with_annex(stored: Stored, place: int, value: bytes | None) -> Stored:
    return (*stored[:place], value, *stored[place + 1 :])


class Entry:
    """One user: the state as the changelog has it, and as it is in memory once touched.

    The stored form is the next due instant in 8 bytes, so that recovery need not decode the state for the timers; then the
    version in one (X33), then JSON.
    """

    __slots__ = ("annexes", "due", "stored", "user")

    def __init__(self, stored: bytes | None, user: User | None, annexes: Stored = NO_ANNEXES) -> None:
        self.stored = stored
        self.annexes = annexes  # as the changelog has them, in the order of ANNEXES
        self.user = user
        self.due = NEVER if stored is None else int.from_bytes(stored[:DUE_BYTES], signed=True)


def stored_size(entry: Entry) -> int:
    """Bytes of a user on the changelog, as of the last round."""
    size = 0 if entry.stored is None else len(entry.stored)
    for value in entry.annexes:
        if value is not None:
            size += len(value)
    return size


class Erased:
    """What the changelog has of a user whom the round in hand erased; a new one may have come since."""

    __slots__ = ("entry", "memory")

    def __init__(self, entry: Entry | None, memory: Memory | None) -> None:
        self.entry = entry
        self.memory = memory

    @property
    def annexes(self) -> Stored:
        return NO_ANNEXES if self.entry is None else self.entry.annexes


class Savepoint:
    """All that is known of a user in the midst of a round, for `UserStore.restore`. No `saved`: the user is not there."""

    __slots__ = ("due", "entry", "memory", "saved", "tallies", "tallies_changed")

    def __init__(
        self,
        entry: Entry | None,
        saved: Saved | None,
        tallies: bytes | None,
        memory: tuple[Mark, Mark] | None,
        *,
        tallies_changed: bool,
    ) -> None:
        self.entry = entry
        self.due = NEVER if entry is None else entry.due
        self.saved = saved
        self.tallies = tallies
        self.tallies_changed = tallies_changed
        self.memory = memory
