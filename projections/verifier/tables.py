"""The rows of one partition of the derived topics against the rows of the base tables."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from projections.verifier.database import OFFSET_BITS, Database
from projections.verifier.expected import Erasure, Row, tables_of
from projections.verifier.layouts import BASE_TABLES, REJECTED, Layout, sql_of
from projections.verifier.report import Difference, Report, short
from schemas.topics import REJECTED as TOPIC_REJECTED

WINDOW_ROWS: Final = 50_000
"""Expected rows of a topic after which the tables are asked for theirs."""

ERASED_AT_ONCE: Final = 200
"""Erased users that one query asks for."""


class Missing(NamedTuple):
    """A row that is not there: offset of its record, and what it should be."""

    offset: int
    row: Row


class Refusals:
    """Refused records of all partitions: an erasure takes those of the user away wherever they stand (X30)."""

    def __init__(self) -> None:
        """Nothing is missing yet."""
        self._erasures: list[Erasure] = []
        self._missing: list[tuple[Missing, Difference]] = []

    def erased(self, erasure: Erasure) -> None:
        """Note an erasure."""
        self._erasures.append(erasure)

    def missing(self, missing: Missing, difference: Difference) -> None:
        """Note a row that is lost, unless an erasure explains it."""
        self._missing.append((missing, difference))

    def conclude(self, report: Report) -> None:
        """All partitions are compared: report what no erasure explains."""
        for (_, row), difference in self._missing:
            at = row.values[2]
            if not any(one.at >= at and one.covers(row.layout, row.values) for one in self._erasures):
                report.add(difference)


class TopicRows:
    """The rows that the records of one topic partition make, compared window by window.

    Attributes:
        missing: rows that are not there and whose key has no later row that is: lost, unless the topic explains it.
    """

    def __init__(
        self,
        database: Database,
        report: Report,
        refusals: Refusals,
        topic: str,
        logical: str,
        partition: int,
        progress: int,
    ) -> None:
        """`topic` is the full name, `progress` the offset below which the sink claims that all rows are there; what is
        missing of refused records goes to `refusals`."""
        self._database = database
        self._report = report
        self._refusals = refusals
        self._erasures: dict[tuple[str, str], tuple[int, Erasure]] = {}
        self._topic = topic
        self._layouts = tables_of(logical)
        self._partition = partition
        self._progress = progress
        self._begin = 0
        self._expected: dict[str, dict[int, Row]] = {}
        self._count = 0
        self.missing: dict[tuple[str, tuple[Any, ...]], Missing] = {}

    def begin_at(self, offset: int) -> None:
        """What lies before this offset is not compared."""
        self._begin = offset

    def expect(self, offset: int, row: Row | None) -> None:
        """Take the row of the next record, None if it makes none."""
        if row is not None:
            self._expected.setdefault(row.layout.name, {})[offset] = row
            self._count += 1
        if self._count >= WINDOW_ROWS:
            self.compare(offset + 1)

    def erase(self, offset: int, erasure: Erasure) -> None:
        """Take a marker at an offset: what the topic has made of the user before it need not, or must not, be there."""
        self._erasures[erasure.user] = offset, erasure
        for rows in self._expected.values():
            for other in [other for other, row in rows.items() if erasure.covers(row.layout, row.values)]:
                del rows[other]
        covered = [place for place, one in self.missing.items() if erasure.covers(one.row.layout, one.row.values)]
        for place in covered:
            del self.missing[place]
        if erasure.logical == TOPIC_REJECTED:
            self._refusals.erased(erasure)

    def _erased_later(self, layout: Layout, values: list[Any], offset: int) -> bool:
        return any(offset < marker and one.covers(layout, values) for marker, one in self._erasures.values())

    def compare(self, end: int) -> None:
        """Compare everything below an offset."""
        for layout in self._layouts:
            self._compare(layout, self._expected.get(layout.name, {}), end)
        self._expected, self._count, self._begin = {}, 0, end

    def _compare(self, layout: Layout, expected: dict[int, Row], end: int) -> None:
        counts = self._report.of(layout.name)
        counts.expected += len(expected)
        counts.waiting += sum(offset >= self._progress for offset in expected)
        present: dict[int, list[Any]] = {}
        for offset, ver, *values in self._database.window(layout, self._topic, self._partition, self._begin, end):
            counts.found += 1
            if offset in present:
                self._double(layout, offset, values, present[offset])
                continue
            present[offset] = values
            found = expected.get(offset)
            if found is None:
                if not self._erased_later(layout, values, offset):
                    self._differ("wrong", layout, offset, shown_key(layout, values), found=_shown(layout, values))
                continue
            counts.waiting -= offset >= self._progress
            self._check_row(layout, offset, ver, values, found)
        for offset, row in expected.items():
            place = layout.name, row.key
            if offset in present:
                self.missing.pop(place, None)
            elif offset < self._progress:
                self.missing[place] = Missing(offset, row)

    def _check_row(self, layout: Layout, offset: int, ver: int, values: list[Any], row: Row) -> None:
        right = (self._database.epoch << OFFSET_BITS) + offset + 1
        texts = None if list(row.values) == values else differing(layout, row.values, values)
        if texts is not None:
            self._differ("wrong", layout, offset, row.id, user_of(row), *texts)
        elif ver != right:
            self._differ("wrong", layout, offset, row.id, user_of(row), f"ver: {right}", f"ver: {ver}")

    def _double(self, layout: Layout, offset: int, values: list[Any], before: list[Any]) -> None:
        key = layout.key
        if values[:key] == before[:key]:
            self._report.of(layout.name).unmerged += 1
        found = "written again, not merged yet" if values == before else f"written again: {_shown(layout, values)}"
        self._differ("doubled", layout, offset, shown_key(layout, values), expected="one row", found=found)

    def _differ(
        self, kind: Any, layout: Layout, offset: int, id: str, user: str = "", expected: str = "", found: str = ""
    ) -> None:
        self._report.add(self._difference(kind, layout, offset, id, user, expected, found))

    def _difference(
        self, kind: Any, layout: Layout, offset: int, id: str, user: str = "", expected: str = "", found: str = ""
    ) -> Difference:
        texts = short(expected), short(found)
        return Difference(kind, layout.name, id, self._partition, offset, user, *texts, self._topic)

    def conclude(self, excused: Mapping[int, object]) -> None:
        """Everything is compared: what is missing is lost, but for records that stand in the topic twice (`excused`, by
        offset), the second of which the sink drops, and for rows that merges have replaced by later ones meanwhile."""
        missing = [one for one in self.missing.values() if one.offset not in excused]
        replaced = self._replaced(missing) if missing else set()
        for one in missing:
            row = one.row
            if (row.layout.name, row.key) in replaced:
                continue
            expected = _shown(row.layout, row.values)
            difference = self._difference("lost", row.layout, one.offset, row.id, user_of(row), expected)
            if row.layout is REJECTED:
                self._refusals.missing(one, difference)
            else:
                self._report.add(difference)
        if self._erasures:
            self._check_erased()

    def _check_erased(self) -> None:
        """Report rows that an erasure should have taken away, and that the sink claims to have."""
        users = [[*user] for user, (marker, _) in self._erasures.items() if marker < self._progress]
        for layout in self._layouts:
            for begin in range(0, len(users), ERASED_AT_ONCE):
                query = (
                    f"SELECT src_off, {sql_of(layout.columns)} FROM {layout.name} "
                    "WHERE src_topic = {topic:String} AND src_part = {partition:UInt32} "
                    "AND has({users:Array(Array(String))}, [CAST(tenant, 'String'), user_id])"
                )
                chosen = users[begin : begin + ERASED_AT_ONCE]
                rows = self._database.rows(query, topic=self._topic, partition=self._partition, users=chosen)
                for offset, *values in rows:
                    if self._erased_later(layout, values, offset):
                        id, found = shown_key(layout, values), _shown(layout, values)
                        self._differ("wrong", layout, offset, id, expected="erased", found=found)

    def _replaced(self, missing: list[Missing]) -> set[tuple[str, tuple[Any, ...]]]:
        """Return table and key of those rows that have later ones, from records behind the end that is looked at."""
        found: set[tuple[str, tuple[Any, ...]]] = set()
        for layout in {one.row.layout.name: one.row.layout for one in missing}.values():
            query = (
                f"SELECT DISTINCT {sql_of(layout.columns[: layout.key])} FROM {layout.name} "
                "WHERE src_topic = {topic:String} AND src_part = {partition:UInt32} AND src_off >= {begin:UInt64}"
            )
            rows = self._database.rows(query, topic=self._topic, partition=self._partition, begin=self._begin)
            found.update((layout.name, tuple(key)) for key in rows)
        return found


def user_of(row: Row) -> str:
    """Return the user of a row, with the tenant if there is one."""
    if row.layout is REJECTED:
        return str(row.values[7])
    tenant, user = row.values[:2]
    return f"{tenant} {user}" if tenant else str(user)


def shown_key(layout: Layout, values: Any) -> str:
    """Return the key of a row as text."""
    return " ".join(str(value) for value in values[: layout.key] if value != "")


def _shown(layout: Layout, values: Any) -> str:
    named = zip((column.name for column in layout.columns), values, strict=True)
    return " ".join(f"{name}={value}" for name, value in list(named)[layout.key - 1 :])


def differing(layout: Layout, expected: Any, found: Any) -> tuple[str, str] | None:
    """Return the columns that differ, with their values, of both sides; None if none does."""
    pairs = [
        (column.name, one, other)
        for column, one, other in zip(layout.columns, expected, found, strict=True)
        if one != other and not (column.later and other == "")
    ]
    if not pairs:
        return None
    return ", ".join(f"{name}: {one}" for name, one, _ in pairs), ", ".join(f"{name}: {two}" for name, _, two in pairs)


def strays(database: Database, report: Report, topics: dict[str, int]) -> None:
    """Report rows that stem from a topic or partition that does not exist. `topics`: number of partitions by full name."""
    for layout in BASE_TABLES:
        query = (
            f"SELECT src_topic, src_part, count(), min(src_off) FROM {layout.name} "
            f"WHERE bitShiftRight(ver, {OFFSET_BITS}) = {{epoch:UInt64}} GROUP BY src_topic, src_part"
        )
        for topic, partition, count, offset in database.rows(query, epoch=database.epoch):
            if partition >= topics.get(topic, 0):
                found = f"{count} rows of a topic partition that does not exist"
                report.add(Difference("wrong", layout.name, "", partition, offset, found=found, cause=topic))
