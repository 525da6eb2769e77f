"""What a log derives now against what was recorded: the comparison as a whole (X20)."""

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Final

import msgspec

from deploy.cli.support.comparison import MOST_UNEQUAL, Comparison, Counts, Mismatch, Position, Recorded
from deploy.cli.support.folding import Folding
from deploy.cli.support.recorded import Reader, RecordedLog, TopicsReader, TopicsRecorded, head_of
from deploy.cli.support.simulation import Simulation
from deploy.cli.support.sources import LogSource
from schemas.instants import parse_instant
from schemas.records import LogRecord

FOLLOW: Final = 2_000
"""Derived records after which the recorded ones are read on."""

MOST_KEPT: Final = 16
"""Mismatches that are looked into for the first."""


class Checked(msgspec.Struct):
    """What a comparison found.

    Attributes:
        records: of the input that must have been recorded. beyond: folded on top, because their effects may be.
        counts: by topic. mismatches: the earliest, at most MOST_KEPT. differing: users and topics that differ.
        given_up: whether it ended early because too much is different.
        truncated: partitions of topics that have lost records, and the first offset that is there.
        empty: of those, the ones of which nothing is left. never_began: the ones whose first record is not derived now.
    """

    counts: dict[str, Counts]
    records: int = 0
    beyond: int = 0
    mismatches: list[Mismatch] = []
    differing: int = 0
    given_up: bool = False
    truncated: dict[tuple[str, int], int] = {}
    empty: list[tuple[str, int]] = []
    never_began: list[tuple[str, int]] = []

    @property
    def equal(self) -> bool:
        """Whether no difference was found."""
        return not self.mismatches and not self.never_began


class Check:
    """Compares a log with what was recorded of it."""

    def __init__(
        self,
        source: LogSource,
        folding: Folding,
        recorded: RecordedLog,
        *,
        round_size: int | None,
        applied: Mapping[int, int] | None,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`applied`: by partition, the offset below which everything must be recorded; None = everything."""
        self._source = source
        self._folding = folding
        self._recorded = recorded
        self._round_size = round_size
        self._applied = applied
        self._on_progress = on_progress

    def run(self, partitions: list[int] | None) -> Checked:
        """Compare partition after partition, or, with None, everything in the order of the source."""
        checked = Checked({topic: Counts() for topic in self._recorded.topics})
        if isinstance(self._recorded, TopicsRecorded):
            checked.truncated = self._recorded.begins
        for partition in [None] if partitions is None else partitions:
            with closing(self._recorded.reader(partition)) as reader:
                self._compare(partition, reader, checked)
            if checked.given_up:
                break
        return checked

    def _compare(self, partition: int | None, reader: Reader, checked: Checked) -> None:
        comparison = Comparison(checked.counts)
        if isinstance(reader, TopicsReader):
            self._begin_late(partition, reader, comparison, checked)
        simulation = Simulation(self._source, self._folding)
        chosen = None if partition is None else {partition}
        latest: dict[int, int] = {}
        derived = beyond = 0
        with closing(simulation.effects(self._round_size, chosen, self._on_progress)) as effects:
            for record, emissions in effects:
                needed = self._is_needed(record)
                if not needed:
                    if self._no_more(reader, comparison, first=not beyond):
                        break
                    beyond += 1
                position = _position(record, latest)
                for emission in emissions:
                    comparison.derive(*self._recorded.sent(emission), position, needed)
                checked.records += needed
                derived += len(emissions)
                if derived >= FOLLOW:
                    derived = 0
                    reader.follow(comparison)
                    if comparison.unequal > MOST_UNEQUAL:
                        checked.given_up = True
                        break
        checked.beyond += beyond
        if not checked.given_up:
            reader.drain(comparison)
        self._conclude(partition, comparison, checked)

    def _is_needed(self, record: LogRecord) -> bool:
        return self._applied is None or record.offset < self._applied.get(record.partition, 0)

    @staticmethod
    def _no_more(reader: Reader, comparison: Comparison, *, first: bool) -> bool:
        """Whether nothing recorded is left that records that are not applied yet may have caused: a slice of a long one
        is recorded before the record is applied, and workers go on while the topics are read."""
        if first:
            reader.drain(comparison)
        return comparison.waiting_recorded == 0

    def _begin_late(
        self, partition: int | None, reader: TopicsReader, comparison: Comparison, checked: Checked
    ) -> None:
        """Topics that have lost records are compared from the first one that is there."""
        assert isinstance(self._recorded, TopicsRecorded)
        for topic, number in self._recorded.begins:
            if number == partition:
                run = reader.take(topic)
                if run is None:
                    checked.empty.append((topic, number))
                comparison.begin_with(run[0] if run else Recorded(topic, None, b"", (number, 0)))
                for recorded in run or ():
                    comparison.record(recorded)

    def _conclude(self, partition: int | None, comparison: Comparison, checked: Checked) -> None:
        if partition is not None:
            never = {(topic, partition) for topic in comparison.never_began}
            checked.never_began += sorted(never.difference(checked.empty))
            self._folding.folds.pop(partition, None)
        if checked.given_up:
            comparison.give_up()
        else:
            comparison.finish()
        checked.differing += len(comparison.mismatches)
        kept = [*checked.mismatches, *comparison.mismatches]
        checked.mismatches = sorted(kept, key=earliest)[:MOST_KEPT]


def earliest(mismatch: Mismatch) -> Position:
    """Return where in the log a mismatch can stem from at the earliest."""
    found = []
    if mismatch.position is not None:
        found.append(mismatch.position)
    if mismatch.recorded is not None:
        head = head_of(value_of(mismatch.recorded.form))
        if head.emitted_at:
            found.append((parse_instant(head.emitted_at), mismatch.recorded.place[0], -1))
        elif head.origin is not None:
            found.append((parse_instant(head.origin.timestamp), head.origin.partition, head.origin.offset))
    return min(found, default=(0, 0, 0))


def value_of(form: bytes) -> bytes:
    """Return the value of a form."""
    return form.partition(b"\0")[0]


def _position(record: LogRecord, latest: dict[int, int]) -> Position:
    before = latest.get(record.partition)
    if before is None or record.timestamp_ms > before:
        latest[record.partition] = before = record.timestamp_ms
    return before, record.partition, record.offset
