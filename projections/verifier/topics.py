"""One partition of one derived topic: what the log causes against what stands there, and the rows it makes."""

from collections.abc import Callable
from typing import Any, Final

from aiokafka import TopicPartition

from projections.verifier.expected import Erasure, Row, Source, expected_row
from projections.verifier.identity import instant_of, shown_key
from projections.verifier.logs import Reader
from projections.verifier.matching import Finding, Item, Matching
from projections.verifier.report import Difference, Report, short
from projections.verifier.tables import TopicRows
from schemas.emission import Emission
from schemas.instants import format_instant

OnRow = Callable[[Row | Erasure, int | None, int | None], None]
"""Hears of every row and erasure: with its offset (None: deleted by retention), and the instant of its cause."""

_NOTHING: Final = b""


class TopicCheck:
    """Compares one topic partition.

    Attributes:
        matching: both sides.
        doubles: offsets of records that stand there once too often, known after `conclude`.
    """

    def __init__(
        self,
        report: Report,
        logical: str,
        place: TopicPartition,
        *,
        begin: int,
        end: int,
        source: str,
        since: int | None,
        rows: TopicRows | None,
        on_row: OnRow,
    ) -> None:
        """`begin` and `end` are the offsets that the partition has; `source` names the input log; `rows` compares the
        rows that the records make, None if no table takes any."""
        self.matching = Matching()
        self.doubles: dict[int, str] = {}
        self.place = place
        self._report = report
        self._counts = report.of(place.topic)
        self._logical = logical
        self._end = end
        self._source = source
        self._since = since
        self._rows = rows
        self._rows_begun = since is None
        self._on_row = on_row
        self._cut = begin > 0
        self._first: Item | None = None
        self._held: list[Any] = []
        self._first_cause = -1
        if rows is not None:
            rows.begin_at(begin if since is None else end)  # then at the first record that counts

    @property
    def unexplained(self) -> bool:
        """Whether something is there whose cause has not come yet."""
        return self.matching.unexplained > 0 or (self._cut and self._first is not None)

    async def open(self, reader: Reader) -> None:
        """Read the first records of a topic that has lost older ones: what was caused before them cannot be compared."""
        if not self._cut:
            return
        run = await reader.take(self.place)
        begin = f"{self.place.topic} {self.place.partition} has lost its records before offset"
        if run is None:
            self._report.note(f"{begin} {self._end}: nothing is left to compare with")
            return
        self._report.note(f"{begin} {run[0].offset}: compared from there on")
        self._first = _found_item(run[0], self._since)
        self._held = run

    def expect(self, emission: Emission, offset: int, at: int, *, needed: bool) -> None:
        """Take the next record that the log causes; `offset` and `at` are those of the input record."""
        item = Item(emission.value, emission.type.encode(), emission.id.encode(), offset, at, needed)
        if self._cut:
            if self._first is None or not item.same(self._first):
                self._counts.skipped += 1
                self._take_vanished(emission, at)
                return
            self._cut, self._first_cause = False, offset
            for record in self._held:  # not earlier: rows of a user are taken in their order
                self._find(record)
        self.matching.expect(emission.key, item)

    def _take_vanished(self, emission: Emission, at: int) -> None:
        if self._rows is not None:
            row = self._row(0, 0, emission.type, emission.key, emission.value)
            if row is not None:
                self._on_row(row, None, at)

    async def follow(self, reader: Reader) -> None:
        """Read about as much as was expected so far."""
        while not self._cut and self.matching.found < self.matching.taken and await self._read(reader):
            pass

    async def drain(self, reader: Reader) -> None:
        """Read everything that is left."""
        while not (self._cut and self._first) and await self._read(reader):
            pass

    async def _read(self, reader: Reader) -> bool:
        run = await reader.take(self.place)
        for record in run or ():
            self._find(record)
        return run is not None

    def _find(self, record: Any) -> None:
        item = _found_item(record, self._since)
        self.matching.find(record.key, item)
        if self._rows is None:
            return
        if not self._rows_begun and (item.at is None or self._since is None or item.at >= self._since):
            self._rows_begun = True
            self._rows.begin_at(record.offset)
        kind = item.kind.decode("utf-8", "replace")
        row = self._row(record.offset, record.timestamp, kind, record.key, record.value)
        if isinstance(row, Erasure):
            self._rows.erase(record.offset, row)
        if self._rows_begun:
            self._rows.expect(record.offset, row.row if isinstance(row, Erasure) else row)
        if row is not None:
            self._on_row(row, record.offset, item.at)

    def _row(
        self, offset: int, timestamp: int, kind: str, key: bytes | None, value: bytes | None
    ) -> Row | Erasure | None:
        topic, partition = self.place
        return expected_row(Source(topic, self._logical, partition, offset, timestamp, kind, key, value))

    async def conclude(self, reader: Reader) -> None:
        """Both sides have ended: report what is different."""
        self._counts.expected += self.matching.expected + self.matching.optional
        self._counts.found += self.matching.found
        if self._cut and self._first is not None:
            self._differ(Finding("wrong", None, None, self._first, ("", "the first record that is left has no cause")))
            return
        findings = sorted(self.matching.findings(), key=_in_log_order)
        strangers = {one.found.identity for one in findings if one.found is not None and one.expected is None}
        elsewhere = await self._elsewhere(reader, findings, strangers) if strangers else set()
        for finding in findings:
            found = finding.found
            if finding.kind == "wrong" and finding.expected is None and found and found.identity in elsewhere:
                finding = finding._replace(kind="doubled")
            if finding.kind == "doubled" and found is not None:
                self.doubles[found.offset] = found.identity
            self._differ(finding)

    async def _elsewhere(self, reader: Reader, findings: list[Finding], strangers: set[str]) -> set[str]:
        """Return those ids that stand at another offset too, where they were expected: read the topic once more."""
        unexpected = {one.found.offset for one in findings if one.found is not None and one.expected is None}
        again: set[str] = set()
        await reader.again({self.place: self._end})
        async for record in reader.all(self.place):
            if record.offset not in unexpected and (identity := _found_item(record, None).identity) in strangers:
                again.add(identity)
        return again

    def _differ(self, finding: Finding) -> None:
        expected, found = finding.expected, finding.found
        one = expected or found
        assert one is not None
        if expected is not None and found is None and expected.offset == self._first_cause:
            return  # retention has cut through the effects of this record
        at = expected.at if expected is not None else one.at
        if self._since is not None and at is not None and at < self._since:
            self._counts.skipped += 1
            return
        cause = "" if expected is None else f"{self._source} {self.place.partition}:{expected.offset}"
        if expected is None and at is not None:
            cause = format_instant(at)
        texts = finding.texts if finding.texts != ("", "") else _texts(finding)
        self._report.add(
            Difference(
                finding.kind,  # type: ignore[arg-type]
                self.place.topic,
                one.identity,
                self.place.partition,
                None if found is None else found.offset,
                shown_key(finding.key),
                short(texts[0]),
                short(texts[1]),
                cause,
            )
        )


def _in_log_order(finding: Finding) -> tuple[bool, int]:
    """By the causing record; what has none comes last, by its place in the topic."""
    one = finding.expected or finding.found
    return finding.expected is None, one.offset if one is not None else 0


def _texts(finding: Finding) -> tuple[str, str]:
    expected, found = finding.expected, finding.found
    kind = (expected or found or Item(_NOTHING, _NOTHING, _NOTHING, 0)).kind.decode("utf-8", "replace") or "a record"
    if finding.kind == "doubled":
        return f"{kind} once", "again"
    if finding.kind == "reordered":
        return f"{kind} in the order of the log", "elsewhere"
    if expected is None:
        return "", f"{kind} that nothing causes"
    return kind, "" if found is None else "other bytes or headers"


def _found_item(record: Any, since: int | None) -> Item:
    kind = identity = b""
    for name, value in record.headers:
        if name == "type":
            kind = value or b""
        elif name == "id":
            identity = value or b""
    value = record.value or b""
    return Item(value, kind, identity, record.offset, instant_of(value) if since is not None else None)
