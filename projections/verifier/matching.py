"""Two sequences of derived records of one topic partition: what the log causes, and what stands there.

The order that counts is that of a key (E3, D-40). As long as both sides of a key agree, a record is forgotten as soon as
its counterpart has come. From the first difference on, the records of that key are kept, by id and digest, and told apart
at the end: lost, doubled, reordered, wrong.
"""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from projections.errors import VerificationError
from projections.verifier.identity import first_difference, identity_of
from projections.verifier.refold import DIGEST_BYTES, digest

WHOLE: Final = 20_000
"""Records that are kept with their bytes, so that a difference can show its field; beyond, their digests are."""

MOST_KEPT: Final = 2_000_000
"""Records kept without a counterpart after which a partition is given up: everything is different."""


class Item(NamedTuple):
    """A record of either side.

    Attributes:
        form: value, or its digest.
        kind: header `type`. id: header `id`, or what identifies the record once its bytes are forgotten.
        offset: in its topic; of an expected one that of the input record.
        at: instant of the cause, epoch ms; None = not known.
        needed: an expected one must be there; else it may be.
    """

    form: bytes
    kind: bytes
    id: bytes
    offset: int
    at: int | None = None
    needed: bool = True

    @property
    def whole(self) -> bool:
        """Whether the form is the value."""
        return len(self.form) != DIGEST_BYTES

    @property
    def identity(self) -> str:
        """What identifies the record within its topic."""
        return identity_of(self.form, self.id) if self.whole else self.id.decode("utf-8", "replace")

    def same(self, other: "Item") -> bool:
        """Whether both are the same record, byte for byte, headers included."""
        if self.whole and other.whole:
            return self.form == other.form and self.kind == other.kind and self.id == other.id
        return self.kind == other.kind and self.compact().form == other.compact().form

    def compact(self) -> "Item":
        """Return the same record without its bytes."""
        if not self.whole:
            return self
        return self._replace(form=digest(self.form + b"\0" + self.id), id=self.identity.encode())


class Finding(NamedTuple):
    """A difference of one key: kind, both sides if there are two, and both as texts."""

    kind: str
    key: bytes | None
    expected: Item | None
    found: Item | None
    texts: tuple[str, str] = ("", "")


class Matching:
    """Matches both sides of one topic partition as they come.

    Attributes:
        expected: records that must be there. taken: those, and others that may be. found: records that are there.
        optional: records that need not be there, and are. latest: offset of the last input record that caused one of these.
    """

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.expected = 0
        self.taken = 0
        self.found = 0
        self.optional = 0
        self.latest = -1
        self._kept = 0
        self._waiting: dict[bytes | None, deque[Item]] = {}
        self._ahead: dict[bytes | None, deque[Item]] = {}
        self._apart: dict[bytes | None, tuple[list[Item], list[Item]]] = {}

    @property
    def unexplained(self) -> int:
        """Records that are there and have no counterpart yet."""
        return sum(map(len, self._ahead.values())) + sum(len(found) for _, found in self._apart.values())

    def expect(self, key: bytes | None, item: Item) -> None:
        """Take the next record that the log causes."""
        self.expected += item.needed
        self.taken += 1
        apart = self._apart.get(key)
        if apart is not None:
            apart[0].append(self._keep(item))
            return
        ahead = self._ahead.get(key)
        if not ahead:
            self._waiting.setdefault(key, deque()).append(self._keep(item))
            return
        found = ahead.popleft()
        self._kept -= 1
        if not ahead:
            del self._ahead[key]
        self._meet(key, item, found)

    def find(self, key: bytes | None, item: Item) -> None:
        """Take the next record that stands in the topic."""
        self.found += 1
        apart = self._apart.get(key)
        if apart is not None:
            apart[1].append(self._keep(item))
            return
        waiting = self._waiting.get(key)
        if not waiting:
            self._ahead.setdefault(key, deque()).append(self._keep(item))
            return
        expected = waiting.popleft()
        self._kept -= 1
        if not waiting:
            del self._waiting[key]
        self._meet(key, expected, item)

    def _meet(self, key: bytes | None, expected: Item, found: Item) -> None:
        if expected.same(found):
            if not expected.needed:
                self.optional += 1
                self.latest = max(self.latest, expected.offset)
            return
        waiting, ahead = self._waiting.pop(key, ()), self._ahead.pop(key, ())
        self._apart[key] = ([expected, *waiting], [found, *ahead])
        self._kept += 2

    def _keep(self, item: Item) -> Item:
        self._kept += 1
        if self._kept > MOST_KEPT:
            raise VerificationError(
                f"more than {MOST_KEPT:,} records of one partition have no counterpart: everything is different. "
                "Do PLAUDIT_ENVIRONMENT, PLAUDIT_PREFIX and PLAUDIT_CONTROL_TOKEN have the values of the workers?"
            )
        return item if self._kept <= WHOLE else item.compact()

    def findings(self) -> list[Finding]:
        """Both sides have ended: return what is different. A record that is there without being expected is `wrong`
        here, unless its id is expected once less; whether it stands elsewhere too only the topic can tell."""
        result: list[Finding] = []
        for key, waiting in self._waiting.items():
            result += _compared(key, list(waiting), [])
        for key, ahead in self._ahead.items():
            result += _compared(key, [], list(ahead))
        for key, (expected, found) in self._apart.items():
            result += _compared(key, expected, found)
        return _moved_keys(result)


def _compared(key: bytes | None, expected: Sequence[Item], found: Sequence[Item]) -> list[Finding]:
    left: dict[str, list[Item]] = {}
    right: dict[str, list[Item]] = {}
    for side, items in ((left, expected), (right, found)):
        for item in items:
            side.setdefault(item.identity, []).append(item)
    result = []
    for identity, ones in left.items():
        result += _paired(key, ones, right.get(identity, []))
    for identity, ones in right.items():
        if identity not in left:
            result += [Finding("wrong", key, None, one) for one in ones]
    return result + _reordered(key, expected, found, left, right)


def _paired(key: bytes | None, expected: list[Item], found: list[Item]) -> list[Finding]:
    """Compare the records with one id; usually there is one on either side."""
    missing, rest = list(expected), []
    for item in found:
        match = next((one for one in missing if one.same(item)), None)
        if match is None:
            rest.append(item)
        else:
            missing.remove(match)
    result = []
    for item in rest:
        if missing:
            one = missing.pop(0)
            texts = first_difference(one.form, item.form) if one.whole and item.whole else ("", "")
            result.append(Finding("wrong", key, one, item, texts))
        else:
            result.append(Finding("doubled", key, expected[0], item))
    return result + [Finding("lost", key, one, None) for one in missing if one.needed]


def _reordered(
    key: bytes | None,
    expected: Sequence[Item],
    found: Sequence[Item],
    left: dict[str, list[Item]],
    right: dict[str, list[Item]],
) -> list[Finding]:
    """Return the fewest records of which one can say that only they stand in the wrong place."""
    both = {identity for identity, ones in left.items() if len(ones) == len(right.get(identity, ())) == 1}
    places = {item.identity: place for place, item in enumerate(expected)}
    shared = [item for item in found if item.identity in both]
    order = [places[item.identity] for item in shared]
    in_place = _longest_rise(order)
    return [
        Finding("reordered", key, expected[order[number]], item)
        for number, item in enumerate(shared)
        if number not in in_place
    ]


def _longest_rise(numbers: Sequence[int]) -> set[int]:
    """Return the indexes of a longest increasing subsequence."""
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for index, number in enumerate(numbers):
        at = bisect_left(tails, number)
        if at == len(tails):
            tails.append(number)
            ends.append(index)
        else:
            tails[at], ends[at] = number, index
        before.append(ends[at - 1] if at else -1)
    result: set[int] = set()
    index = ends[-1] if ends else -1
    while index >= 0:
        result.add(index)
        index = before[index]
    return result


def _moved_keys(findings: list[Finding]) -> list[Finding]:
    """What is lost under one key and there without a cause under another is one record with the wrong key."""
    unexpected = {
        one.found.identity: one for one in findings if one.kind == "wrong" and one.expected is None and one.found
    }
    if not unexpected:
        return findings
    lost = Counter(one.expected.identity for one in findings if one.kind == "lost" and one.expected)
    moved = {identity for identity in unexpected if lost[identity]}
    result = []
    for one in findings:
        if one.kind == "lost" and one.expected and one.expected.identity in moved:
            continue
        if one.kind == "wrong" and one.expected is None and one.found and one.found.identity in moved:
            one = one._replace(texts=("its own key", "another key"))
        result.append(one)
    return result
