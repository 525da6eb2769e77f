"""What ClickHouse is asked for."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from clickhouse_connect.driver.client import Client

from projections.verifier.layouts import Layout, sql_of

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
