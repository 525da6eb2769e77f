"""The three streak chains of one user (streaks.md sections 2 to 4, 9, 10), for the oracle."""

from dataclasses import dataclass, field
from typing import Any

from .configuration import Catalog, Number
from .localtime import FREQUENCIES, Zone, format_day


@dataclass
class Settled:
    """The last settled period of a chain, as far as a late event may still repair it (S66)."""

    start: int
    sums: dict[str, Number]
    met: bool
    length_before: int
    started_before: int | None


@dataclass
class Chain:
    """The streak of one user at one frequency (section 4 of streaks.md)."""

    frequency: str
    open: int
    sums: dict[str, Number] = field(default_factory=dict)
    met: bool = False
    met_at: int | None = None
    length: int = 0
    longest: int = 0
    started: int | None = None
    extended_at: int | None = None
    prev: Settled | None = None


class Streaks:
    """All chains of a user, the settled periods that are not idle, and the public events so far."""

    def __init__(self, catalog: Catalog, zone: Zone, day: int) -> None:
        """Start with the period that contains `day`, whole (S27)."""
        self.chains = [Chain(name, catalog.calendar.period_of(name, day)) for name in FREQUENCIES]
        self.periods: dict[tuple[str, int], dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.zone = zone
        self._catalog = catalog
        self._calendar = catalog.calendar

    def settle_due(self, until: int) -> None:
        """Settle every period that has ended by an instant (S9, S22)."""
        for chain in self.chains:
            self._settle_due(chain, until)

    def _settle_due(self, chain: Chain, until: int) -> None:
        while True:
            following = self._calendar.next_period(chain.frequency, chain.open)
            end = self.zone.first_instant(following)  # S8
            if end > until:
                return
            if chain.length == 0:
                self._skip_idle(chain, following, until)
            else:
                empty = self.zone.first_instant(chain.open) == end  # S10
                self._close(chain, following, end, "bridged" if empty else "lost")

    def _skip_idle(self, chain: Chain, following: int, until: int) -> None:
        """Nothing happens to a dead chain before the user acts again (C35): go to the period of `until` at once."""
        closed, sums = chain.open, chain.sums
        chain.open = max(following, self._calendar.period_of(chain.frequency, self.zone.day_at(until)))
        last = self._calendar.period_of(chain.frequency, chain.open - 1)
        chain.prev = Settled(last, sums if last == closed else {}, False, 0, None)
        chain.sums = {}

    def _close(self, chain: Chain, following: int, end: int, unmet: str) -> None:
        """Settle the open period (S22); `unmet` is its outcome if it is not met and the chain is alive."""
        chain.prev = Settled(chain.open, chain.sums, chain.met, chain.length, chain.started)
        outcome = "met" if chain.met else unmet
        before = chain.length
        if outcome == "lost":
            chain.length, chain.started, chain.extended_at = 0, None, None  # S25
        if before:
            self._row(chain, chain.open, chain.length, outcome)
        if before and outcome == "lost":
            self._announce(chain, "streak.lost", end, before)
        chain.open, chain.sums, chain.met, chain.met_at = following, {}, False, None

    def move(self, zone: Zone, append: int) -> None:
        """Change the zone at an instant up to which everything due is done (S60-S62)."""
        self.zone = zone
        day = zone.day_at(append)
        for chain in self.chains:
            now = self._calendar.period_of(chain.frequency, day)
            while chain.open < now:
                following = self._calendar.next_period(chain.frequency, chain.open)
                self._close(chain, following, append, "bridged")

    def count(self, metric: str, value: Number, at: int) -> tuple[int, int] | None:
        """Count an event in all three chains; return (L0, L1) of the active one if it grew (S95)."""
        increase = None
        day = self.zone.day_at(at)
        for chain in self.chains:
            period = self._calendar.period_of(chain.frequency, day)
            before = chain.length
            if period == chain.open:
                self._act(chain, metric, value, day, at)
            elif chain.prev is not None and period == chain.prev.start:
                self._repair(chain, chain.prev, metric, value, day, at)
            elif period > chain.open:
                raise AssertionError("an event after the open period")
            chain.longest = max(chain.longest, chain.length)
            if chain.frequency == self._catalog.frequency and chain.length > before:
                increase = (before, chain.length)
        return increase

    def _act(self, chain: Chain, metric: str, value: Number, day: int, at: int) -> None:
        chain.sums[metric] = chain.sums.get(metric, 0) + value
        if chain.met or not self._condition(chain.sums):
            return
        chain.met, chain.met_at = True, at
        chain.length += 1
        chain.extended_at = at
        if chain.length == 1:
            chain.started = day
        self._announce(chain, "streak.started" if chain.length == 1 else "streak.extended", at, chain.length)

    def _repair(self, chain: Chain, prev: Settled, metric: str, value: Number, day: int, at: int) -> None:
        prev.sums[metric] = prev.sums.get(metric, 0) + value
        if prev.met or not self._condition(prev.sums):
            return
        prev.met = True
        base = prev.length_before
        chain.length = base + 1 + (1 if chain.met else 0)
        chain.started = prev.started_before if base >= 1 else day
        chain.extended_at = chain.met_at if chain.met else at
        self._row(chain, prev.start, base + 1, "met", repaired=True)
        self._announce(chain, "streak.started" if chain.length == 1 else "streak.extended", at, chain.length)

    def _condition(self, sums: dict[str, Number]) -> bool:
        satisfied = [sums.get(metric, 0) >= threshold for metric, threshold in self._catalog.thresholds.items()]
        return bool(satisfied) and (all(satisfied) if self._catalog.streak_all else any(satisfied))

    def _announce(self, chain: Chain, kind: str, at: int, length: int) -> None:
        if chain.frequency == self._catalog.frequency:
            self.events.append({"type": kind, "at": at, "length": length})

    def _row(self, chain: Chain, start: int, length: int, outcome: str, *, repaired: bool = False) -> None:
        end = self._calendar.next_period(chain.frequency, start) - 1
        self.periods[chain.frequency, start] = {
            "frequency": chain.frequency, "periodStart": format_day(start), "periodEnd": format_day(end),
            "length": length, "outcome": outcome, "repaired": repaired,
        }  # fmt: skip

    def result(self) -> dict[str, dict[str, Any]]:
        """Return the chains by frequency, as in the docstring of `oracle`."""
        return {chain.frequency: self._result_of(chain) for chain in self.chains}

    def _result_of(self, chain: Chain) -> dict[str, Any]:
        alive = chain.length > 0
        end = self._calendar.next_period(chain.frequency, chain.open) - 1
        return {
            "length": chain.length,
            "longest": chain.longest,
            "started": None if chain.started is None else format_day(chain.started),
            "extended": chain.extended_at,
            "periodStart": format_day(chain.open) if alive else None,
            "periodEnd": format_day(end) if alive else None,
            "met": chain.met,
        }
