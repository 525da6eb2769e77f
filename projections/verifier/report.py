"""What a verification found: counts by topic and table, and the first differences of each kind."""

from typing import Final, Literal, get_args

import msgspec

Kind = Literal["lost", "doubled", "reordered", "wrong"]
"""lost: should be there and is not. doubled: is there more often than it should. reordered: is there once, but before or
after what it should follow or precede. wrong: is there with another content, or was caused by nothing."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

DEFAULT_LIMIT: Final = 20
"""Differences of each kind that are kept; the others are only counted."""

MOST_SHOWN: Final = 120
"""Characters of a value that a difference shows."""


class Difference(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is not as it should be.

    Attributes:
        kind: see Kind.
        where: full name of the topic, or name of the table or view.
        id: of the derived event, award, event, completion or refused record; of a view or a state its key.
        partition: of the topic that it stands in, or that its row stems from.
        offset: there; None = nothing is there, or what is there has no offset.
        key: user, or whatever the record is keyed by.
        expected: what should be there, short; empty = nothing.
        found: what is there, short; empty = nothing.
        cause: what should have caused it or did: place of the input record, or the instant that it is dated.
    """

    kind: Kind
    where: str
    id: str
    partition: int
    offset: int | None = None
    key: str = ""
    expected: str = ""
    found: str = ""
    cause: str = ""


class Counts(msgspec.Struct):
    """Records of one topic, or rows of one table or view.

    Attributes:
        expected: that should be there. found: that are there.
        lost, doubled, reordered, wrong: differences of each kind.
        unmerged: rows written more than once that a query with FINAL shows once; each counts as doubled too.
        waiting: not yet projected: the sink has not claimed them yet.
        skipped: not compared, since they are older than `since` or than what retention has left.
    """

    expected: int = 0
    found: int = 0
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    wrong: int = 0
    unmerged: int = 0
    waiting: int = 0
    skipped: int = 0


class Report:
    """The result of a verification.

    Attributes:
        counts: by topic (full name), table or view, in the order in which they were first compared.
        differences: at most `limit` of each kind, in the order in which they were found.
        notes: what a reader should know: what could not be compared, and why.
        records: of the input log that are applied and were folded again.
        beyond: folded on top of these, since what they cause may be there already.
        users: with a state.
        seconds: that it took.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        """Nothing was compared yet."""
        self.counts: dict[str, Counts] = {}
        self.differences: list[Difference] = []
        self.notes: list[str] = []
        self.records = 0
        self.beyond = 0
        self.users = 0
        self.seconds = 0.0
        self._limit = limit
        self._kept: dict[Kind, int] = dict.fromkeys(KINDS, 0)

    def of(self, where: str) -> Counts:
        """Return the counts of a topic or table."""
        counts = self.counts.get(where)
        if counts is None:
            counts = self.counts[where] = Counts()
        return counts

    def add(self, difference: Difference) -> None:
        """Count a difference, and keep it if it is among the first of its kind."""
        kind = difference.kind
        counts = self.of(difference.where)
        setattr(counts, kind, getattr(counts, kind) + 1)
        if self._kept[kind] < self._limit:
            self._kept[kind] += 1
            self.differences.append(difference)

    def note(self, text: str) -> None:
        """Tell something once."""
        if text not in self.notes:
            self.notes.append(text)

    @property
    def lost(self) -> int:
        """Number of differences of this kind."""
        return self.total("lost")

    @property
    def doubled(self) -> int:
        """Number of differences of this kind."""
        return self.total("doubled")

    @property
    def reordered(self) -> int:
        """Number of differences of this kind."""
        return self.total("reordered")

    @property
    def wrong(self) -> int:
        """Number of differences of this kind."""
        return self.total("wrong")

    @property
    def waiting(self) -> int:
        """Rows not yet projected."""
        return self.total("waiting")

    @property
    def ok(self) -> bool:
        """Whether everything that was compared is as it should be."""
        return not any(self.total(kind) for kind in KINDS)

    def total(self, name: str) -> int:
        """Return the sum of one of the fields of Counts."""
        return sum(getattr(counts, name) for counts in self.counts.values())

    def more(self, kind: Kind) -> int:
        """Return how many differences of a kind were counted but not kept."""
        return self.total(kind) - self._kept[kind]


def short(text: str) -> str:
    """Return a text cut to what a difference shows."""
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…"
