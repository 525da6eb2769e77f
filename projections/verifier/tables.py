"""The rows of one partition of the derived topics against the rows of the base tables."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from clickhouse_connect.driver.client import Client

from projections.verifier.expected import BASE_TABLES, REJECTED, Column, Layout, Row, tables_of
from projections.verifier.report import Difference, Report, short

WINDOW_ROWS: Final = 50_000
"""Expected rows of a topic after which the tables are asked for theirs."""

OFFSET_BITS: Final = 48
"""`ver` is epoch * 2^48 + offset + 1, as the columns say."""

PROGRESS_TABLE: Final = "sink_progress"

_QUERY: Final[dict[str, Any]] = {
    "output_format_json_quote_64bit_integers": 0,
    "output_format_json_named_tuples_as_objects": 0,
    "max_bytes_before_external_sort": 1_000_000_000,
}

_decode_line: Final = msgspec.json.Decoder(list[Any]).decode


class Database:
    """Queries of one database."""

    def __init__(self, client: Client, name: str, epoch: int = 0) -> None:
        """`epoch` is the incarnation of the topics whose rows are looked at."""
        self._client = client
        self.name = name
        self.epoch = epoch

    def rows(self, query: str, **parameters: Any) -> Iterator[list[Any]]:
        """Yield the rows of a query as they come; tables are named without a database."""
        settings = {**_QUERY, "database": self.name}
        stream: Any = self._client.raw_stream(query, parameters=parameters, settings=settings, fmt="JSONCompactEachRow")
        try:
            rest = b""
            for chunk in iter(lambda: stream.read(1 << 20), b""):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line:
                        yield _decode_line(line)
            if rest.strip():
                yield _decode_line(rest)
        finally:
            stream.close()

    def progress(self) -> dict[tuple[str, int], int]:
        """Return the offset below which the sink says that all rows are in all tables, by topic and partition."""
        query = (
            f"SELECT topic, partition, max(last_offset) + 1 FROM {PROGRESS_TABLE} "
            "WHERE epoch = {epoch:UInt16} AND state = 'done' GROUP BY topic, partition"
        )
        return {(topic, part): following for topic, part, following in self.rows(query, epoch=self.epoch)}

    def window(self, layout: Layout, topic: str, partition: int, begin: int, end: int) -> Iterator[list[Any]]:
        """Yield src_off, ver and the columns of all rows, merged or not, that stem from these offsets, in their order."""
        query = (
            f"SELECT src_off, ver, {sql_of(layout.columns)} FROM {layout.name} "
            "WHERE src_topic = {topic:String} AND src_part = {partition:UInt32} AND src_off >= {begin:UInt64} "
            f"AND src_off < {{end:UInt64}} AND bitShiftRight(ver, {OFFSET_BITS}) = {{epoch:UInt64}} ORDER BY src_off, ver"
        )
        return self.rows(query, topic=topic, partition=partition, begin=begin, end=end, epoch=self.epoch)


def sql_of(columns: tuple[Column, ...]) -> str:
    """Return the expressions that ask for columns in their compared form."""
    return ", ".join(column.sql for column in columns)


class _Missing(NamedTuple):
    offset: int
    row: Row


class TopicRows:
    """The rows that the records of one topic partition make, compared window by window.

    Attributes:
        missing: rows that are not there and whose key has no later row that is: lost, unless the topic explains it.
    """

    def __init__(
        self, database: Database, report: Report, topic: str, logical: str, partition: int, progress: int
    ) -> None:
        """`topic` is the full name, `progress` the offset below which the sink claims that all rows are there."""
        self._database = database
        self._report = report
        self._topic = topic
        self._layouts = tables_of(logical)
        self._partition = partition
        self._progress = progress
        self._begin = 0
        self._expected: dict[str, dict[int, Row]] = {}
        self._count = 0
        self.missing: dict[tuple[str, tuple[Any, ...]], _Missing] = {}

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
                self._differ("wrong", layout, offset, shown_key(layout, values), found=_shown(layout, values))
                continue
            counts.waiting -= offset >= self._progress
            self._check_row(layout, offset, ver, values, found)
        for offset, row in expected.items():
            place = layout.name, row.key
            if offset in present:
                self.missing.pop(place, None)
            elif offset < self._progress:
                self.missing[place] = _Missing(offset, row)

    def _check_row(self, layout: Layout, offset: int, ver: int, values: list[Any], row: Row) -> None:
        right = (self._database.epoch << OFFSET_BITS) + offset + 1
        if list(row.values) != values:
            expected, found = differing(layout, row.values, values)
            self._differ("wrong", layout, offset, row.id, user_of(row), expected, found)
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
        self._report.add(
            Difference(kind, layout.name, id, self._partition, offset, user, short(expected), short(found), self._topic)
        )

    def conclude(self, excused: Mapping[int, object]) -> None:
        """Everything is compared: what is missing is lost, but for records that stand in the topic twice (`excused`, by
        offset), the second of which the sink drops, and for rows that merges have replaced by later ones meanwhile."""
        missing = [one for one in self.missing.values() if one.offset not in excused]
        replaced = self._replaced(missing) if missing else set()
        for offset, row in missing:
            if (row.layout.name, row.key) not in replaced:
                self._differ("lost", row.layout, offset, row.id, user_of(row), _shown(row.layout, row.values))

    def _replaced(self, missing: list[_Missing]) -> set[tuple[str, tuple[Any, ...]]]:
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
        return str(row.values[6])
    tenant, user = row.values[:2]
    return f"{tenant} {user}" if tenant else str(user)


def shown_key(layout: Layout, values: Any) -> str:
    """Return the key of a row as text."""
    return " ".join(str(value) for value in values[: layout.key] if value != "")


def _shown(layout: Layout, values: Any) -> str:
    named = zip((column.name for column in layout.columns), values, strict=True)
    return " ".join(f"{name}={value}" for name, value in list(named)[layout.key - 1 :])


def differing(layout: Layout, expected: Any, found: Any) -> tuple[str, str]:
    """Return the columns that differ, with their values, of both sides."""
    pairs = [
        (column.name, one, other)
        for column, one, other in zip(layout.columns, expected, found, strict=True)
        if one != other
    ]
    return ", ".join(f"{name}: {one}" for name, one, _ in pairs), ", ".join(
        f"{name}: {other}" for name, _, other in pairs
    )


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
