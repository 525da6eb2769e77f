"""The story of one chain of the streak oracle, and what can be read from it by counting."""

from dataclasses import dataclass
from datetime import date, datetime
from itertools import takewhile

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


Entry = Rise | Close | Break | Restored


@dataclass(frozen=True)
class Reading:
    """What counting gives; `last_rise` outlives a loss."""

    length: int = 0
    started: date | None = None
    extended: datetime | None = None
    last_rise: datetime | None = None

    def and_then(self, entry: Entry) -> "Reading":
        """Count one more entry."""
        if isinstance(entry, Rise):
            return Reading(self.length + 1, self.started if self.length else entry.day, entry.at, entry.at)
        if isinstance(entry, Restored):
            return Reading(entry.length, entry.started, self.last_rise, self.last_rise)
        if isinstance(entry, Break) or entry.verdict == "lost":
            return Reading(last_rise=self.last_rise)
        return self


class Chain:
    """All that happened to one chain, in order. A repair (S66) rewrites the story; everything else appends."""

    def __init__(self, frequency: str, first: date) -> None:
        self.frequency = frequency
        self.first = first
        self.story: list[Entry] = []
        self._readings = [Reading()]
        self.longest = 0
        self.longest_at: datetime | None = None

    def reading(self, stop: int | None = None) -> Reading:
        """Count the story up to entry `stop`; what has been counted is kept until the story is rewritten."""
        stop = len(self.story) if stop is None else stop
        while len(self._readings) <= stop:
            self._readings.append(self._readings[-1].and_then(self.story[len(self._readings) - 1]))
        return self._readings[stop]

    @property
    def length(self) -> int:
        return self.reading().length

    @property
    def open(self) -> date:
        """First date of the open period: the one after the last that was settled."""
        closed = (entry.period for entry in reversed(self.story) if isinstance(entry, Close))
        last = next(closed, None)
        return self.first if last is None else next_start(self.frequency, last)

    def in_open_period(self) -> list[Entry]:
        """Return what has happened since the last settlement, the latest first."""
        return list(takewhile(lambda entry: not isinstance(entry, Close), reversed(self.story)))

    @property
    def met(self) -> bool:
        """Whether the open period is met; disabling clears it (S76), a reset does not (S75)."""
        for entry in self.in_open_period():
            if isinstance(entry, Rise):
                return True
            if isinstance(entry, Break) and entry.why == "disabled":
                return False
        return False

    @property
    def is_reset(self) -> bool:
        """Whether a reset has taken a length in the open period, and streaks were not disabled since."""
        for entry in self.in_open_period():
            if isinstance(entry, Break) and (entry.why == "disabled" or entry.length):
                return entry.why == "reset"
        return False

    def last_settled(self) -> int | None:
        """Return the place of the last settlement; None if there is none or it was cleared (S70)."""
        for index in reversed(range(len(self.story))):
            if isinstance(self.story[index], Close):
                return index
            if isinstance(self.story[index], Break | Restored):
                return None
        return None

    def repair(self, index: int, rise: Rise) -> None:
        """Replace the settlement at `index` by "met" (S66)."""
        self.story[index : index + 1] = [rise, Close(rise.period, "met")]
        del self._readings[index + 1 :]

    def rows(self) -> list[tuple[date, str, Reading]]:
        """Return every settled period with its verdict and the reading after it."""
        return [
            (entry.period, entry.verdict, self.reading(index + 1))
            for index, entry in enumerate(self.story)
            if isinstance(entry, Close)
        ]
