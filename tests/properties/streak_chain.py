"""The story of one chain of the streak oracle, and what can be read from it by counting."""

from dataclasses import dataclass
from datetime import date, datetime

from tests.properties.streak_calendar import next_start


@dataclass(frozen=True)
class Rise:
    """A period was met by an event of local date `day` (S19, S20, S66)."""

    period: date
    day: date
    at: datetime


@dataclass(frozen=True)
class Close:
    """A period was settled (S22)."""

    period: date
    verdict: str


@dataclass(frozen=True)
class Break:
    """The length was set to 0 from outside, `reset` (S75) or `disabled` (S76); `length` was lost."""

    why: str
    length: int


@dataclass(frozen=True)
class Restored:
    """The length was set by a restore (S73)."""

    length: int
    started: date | None


@dataclass(frozen=True)
class Reading:
    """What counting gives."""

    length: int
    started: date | None
    extended: datetime | None


class Chain:
    """All that happened to one chain, in order. A repair (S66) rewrites the story; everything else appends."""

    def __init__(self, frequency: str, first: date) -> None:
        self.frequency = frequency
        self.first = first
        self.story: list[Rise | Close | Break | Restored] = []
        self.longest = 0
        self.longest_at: datetime | None = None

    def reading(self, stop: int | None = None) -> Reading:
        """Count from the beginning of the story up to entry `stop`."""
        length, started, extended, last = 0, None, None, None
        for entry in self.story[:stop]:
            if isinstance(entry, Rise):
                started = entry.day if length == 0 else started
                length, extended, last = length + 1, entry.at, entry.at
            elif isinstance(entry, Restored):
                length, started, extended = entry.length, entry.started, last
            elif isinstance(entry, Break) or entry.verdict == "lost":
                length, started, extended = 0, None, None
        return Reading(length, started, extended)

    @property
    def length(self) -> int:
        return self.reading().length

    @property
    def open(self) -> date:
        """First date of the open period: the one after the last that was settled."""
        closed = [entry.period for entry in self.story if isinstance(entry, Close)]
        return next_start(self.frequency, closed[-1]) if closed else self.first

    @property
    def met(self) -> bool:
        """Whether the open period is met; disabling clears it (S76), a reset does not (S75)."""
        met, period = False, self.open
        for entry in self.story:
            if isinstance(entry, Rise) and entry.period == period:
                met = True
            elif isinstance(entry, Break) and entry.why == "disabled":
                met = False
        return met

    def last_settled(self) -> int | None:
        """Return the place of the last settlement; None if there is none or it was cleared (S70)."""
        for index in reversed(range(len(self.story))):
            if isinstance(self.story[index], Close):
                return index
            if isinstance(self.story[index], Break | Restored):
                return None
        return None

    @property
    def is_reset(self) -> bool:
        """Whether a reset has taken a length in the open period, and streaks were not disabled since."""
        found = False
        for entry in self.story:
            if isinstance(entry, Close) or (isinstance(entry, Break) and entry.why == "disabled"):
                found = False
            elif isinstance(entry, Break) and entry.length:
                found = True
        return found

    def repair(self, index: int, rise: Rise) -> None:
        """Replace the settlement at `index` by "met" (S66)."""
        self.story[index : index + 1] = [rise, Close(rise.period, "met")]

    def rows(self) -> list[tuple[date, str, Reading]]:
        """Return every settled period with its verdict and the reading after it."""
        return [
            (entry.period, entry.verdict, self.reading(index + 1))
            for index, entry in enumerate(self.story)
            if isinstance(entry, Close)
        ]
