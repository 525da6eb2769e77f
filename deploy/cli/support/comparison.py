"""Two streams of derived records compared byte by byte: what a log derives now, and what was recorded.

The order that counts is that of a user within a topic (E3): the records of both sides are matched by topic and key, in
order. Both sides may run ahead; what waits for its counterpart is kept, first whole, then as digests.
"""

from collections import deque
from hashlib import blake2b
from typing import Final

import msgspec

WHOLE: Final = 100_000
"""Records that wait for their counterpart as they are; beyond, their digests do."""

MOST_UNEQUAL: Final = 100_000
"""Records without a counterpart after which a comparison is given up: everything is different."""

DIGEST_BYTES: Final = 16

Position = tuple[int, int, int]
"""Place of an input record in log order: latest record timestamp so far in its partition (epoch ms), partition, offset."""

Unit = tuple[str, bytes | None]
"""Logical topic and key."""


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """A recorded derived record.

    Attributes:
        topic: logical topic. key: by which it is matched; None = none.
        form: value and, of a topic, headers; see `form_of`.
        place: where it stands, for people.
    """

    topic: str
    key: bytes | None
    form: bytes
    place: tuple[int, int]


class Mismatch(msgspec.Struct, frozen=True):
    """The first difference in a unit.

    Attributes:
        position: of the input record whose effect has no counterpart; None if nothing more is derived in the unit.
        recorded: what is recorded instead; None if nothing more is recorded.
    """

    topic: str
    key: bytes | None
    position: Position | None
    recorded: Recorded | None


class Counts(msgspec.Struct):
    """Records of one topic: derived now, recorded, without counterpart on either side, not compared (`skipped`)."""

    derived: int = 0
    recorded: int = 0
    only_derived: int = 0
    only_recorded: int = 0
    skipped: int = 0

    @property
    def equal(self) -> int:
        """Derived records that are recorded, byte for byte."""
        return self.derived - self.only_derived


def form_of(value: bytes, kind: bytes = b"", identity: bytes = b"") -> bytes:
    """Return value and headers as one; NUL, which is in no JSON, stands between."""
    return b"%b\0type=%b\0id=%b" % (value, kind, identity) if kind or identity else value


class Comparison:
    """Matches both sides as they come.

    Attributes:
        counts: by topic. mismatches: the first of each unit, in the order in which they were seen.
        waiting_recorded: recorded records whose counterpart has not come yet.
        unequal: records known to have no counterpart.
    """

    def __init__(self, counts: dict[str, Counts]) -> None:
        """Nothing is compared yet; `counts` has the topics to compare, and may go on from another comparison."""
        self.counts = counts
        self.mismatches: list[Mismatch] = []
        self.waiting_recorded = 0
        self.unequal = 0
        self._waiting = 0
        self._derived: dict[Unit, deque[tuple[bytes, Position, bool]]] = {}
        self._recorded: dict[Unit, deque[Recorded]] = {}
        self._unequal: dict[Unit, dict[bytes, int]] = {}
        self._beginnings: dict[str, bytes] = {}

    def begin_with(self, recorded: Recorded) -> None:
        """What is recorded of a topic begins only with this record: what is derived before it cannot be compared."""
        self._beginnings[recorded.topic] = recorded.form

    @property
    def never_began(self) -> list[str]:
        """Topics whose first recorded record (see `begin_with`) is not derived."""
        return sorted(self._beginnings)

    def derive(self, topic: str, key: bytes | None, form: bytes, position: Position, needed: bool) -> None:
        """Take the next derived record. `needed`: it must have been recorded; else it may not be yet."""
        counts = self.counts.get(topic)
        if counts is None:
            return
        if topic in self._beginnings:
            if form != self._beginnings[topic]:
                counts.skipped += 1
                return
            del self._beginnings[topic]
        unit = topic, key
        if needed:
            counts.derived += 1
        if unit in self._unequal:
            if not self._tally(unit, form, 1, needed=needed):
                return
        elif waiting := self._recorded.get(unit):
            found = waiting.popleft()
            self._waited(-1, recorded=True)
            if not waiting:
                del self._recorded[unit]
            if not _same(found.form, form):
                self._differ(unit, Mismatch(topic, key, position, found), form, found.form, needed=needed)
                return
        else:
            self._derived.setdefault(unit, deque()).append((self._kept(form), position, needed))
            self._waited(1)
            return
        counts.derived += not needed

    def record(self, recorded: Recorded) -> None:
        """Take the next recorded record."""
        counts = self.counts.get(recorded.topic)
        if counts is None:
            return
        counts.recorded += 1
        unit = recorded.topic, recorded.key
        if unit in self._unequal:
            self._tally(unit, recorded.form, -1)
        elif waiting := self._derived.get(unit):
            form, position, needed = waiting.popleft()
            self._waited(-1)
            if not waiting:
                del self._derived[unit]
            if not _same(form, recorded.form):
                self._differ(unit, Mismatch(*unit, position, recorded), form, recorded.form, needed=needed)
            elif not needed:
                counts.derived += 1
        else:
            kept = self._kept(recorded.form)
            if kept is not recorded.form:
                recorded = Recorded(recorded.topic, recorded.key, kept, recorded.place)
            self._recorded.setdefault(unit, deque()).append(recorded)
            self._waited(1, recorded=True)

    def finish(self) -> None:
        """Both sides have ended: what still waits has no counterpart."""
        for unit, waiting in self._derived.items():
            needed = [position for _, position, needed in waiting if needed]
            if needed:
                self.mismatches.append(Mismatch(*unit, needed[0], None))
                self.counts[unit[0]].only_derived += len(needed)
        for unit, left in self._recorded.items():
            if unit[0] in self._beginnings:  # told as a whole
                continue
            self.mismatches.append(Mismatch(*unit, None, left[0]))
            self.counts[unit[0]].only_recorded += len(left)
        self.give_up()

    def give_up(self) -> None:
        """End before both sides have: what still waits may have a counterpart."""
        for (topic, _), tally in self._unequal.items():
            self.counts[topic].only_derived += sum(count for count in tally.values() if count > 0)
            self.counts[topic].only_recorded -= sum(count for count in tally.values() if count < 0)
        self._derived, self._recorded, self._unequal = {}, {}, {}

    def _differ(self, unit: Unit, mismatch: Mismatch, derived: bytes, recorded: bytes, *, needed: bool) -> None:
        """From here on the records of the unit are only counted."""
        self.mismatches.append(mismatch)
        self._unequal[unit] = {}
        counts = self.counts[unit[0]]
        self._tally(unit, recorded, -1)
        for found in self._recorded.pop(unit, ()):
            self._waited(-1, recorded=True)
            self._tally(unit, found.form, -1)
        counts.derived += self._tally(unit, derived, 1, needed=needed) and not needed
        for form, _, also_needed in self._derived.pop(unit, ()):
            self._waited(-1)
            counts.derived += self._tally(unit, form, 1, needed=also_needed) and not also_needed

    def _tally(self, unit: Unit, form: bytes, count: int, *, needed: bool = True) -> bool:
        """Count a record of an unequal unit; tell whether it was: one that is not needed is only if it is recorded."""
        tally, key = self._unequal[unit], _digest(form)
        before = tally.get(key, 0)
        if not needed and before >= 0:
            return False
        self.unequal += abs(before + count) - abs(before)
        if before + count:
            tally[key] = before + count
        else:
            del tally[key]
        return True

    def _waited(self, count: int, *, recorded: bool = False) -> None:
        self._waiting += count
        if recorded:
            self.waiting_recorded += count

    def _kept(self, form: bytes) -> bytes:
        return form if self._waiting < WHOLE else _digest(form)


def _digest(form: bytes) -> bytes:
    return form if len(form) == DIGEST_BYTES else blake2b(form, digest_size=DIGEST_BYTES).digest()


def _same(one: bytes, other: bytes) -> bool:
    if len(one) != len(other) and DIGEST_BYTES in (len(one), len(other)):
        return _digest(one) == _digest(other)
    return one == other
