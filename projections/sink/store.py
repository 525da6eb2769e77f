"""What the sink does in ClickHouse: inserts that are repeated until they succeed, and its own progress."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final, TypeVar

import structlog
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError, DataError, ProgrammingError

from projections.connection import connect_async
from projections.rows import Rows
from projections.rows.erasures import Deletion, Erasure, deletions
from projections.sink.batch import Batch, parse_batch
from projections.sink.metrics import CLICKHOUSE, INSERT_SECONDS, ROWS, retried
from projections.sink.settings import RETRY_MAX_S, RETRY_MIN_S, STATEMENT_TIMEOUT_S, SinkSettings
from projections.tables import PROGRESS_TABLE, Table

log = structlog.get_logger(__name__)

Place = tuple[str, int]
"""Full topic name and partition."""

T = TypeVar("T")

_INSERT: Final[dict[str, Any]] = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
}
"""Settings of every insert; servers of different age have different defaults (clickhouse.md section 2)."""

_DELETE: Final[dict[str, Any]] = {"lightweight_deletes_sync": 1}
"""Wait for this server: rows inserted from then on are none of the deletion's, on replicas neither."""

_PROGRESS_COLUMNS: Final = (
    ("epoch", "UInt16"),
    ("topic", "LowCardinality(String)"),
    ("partition", "UInt32"),
    ("state", "Enum8('begun' = 1, 'done' = 2)"),
    ("first_offset", "UInt64"),
    ("last_offset", "UInt64"),
    ("batch", "String"),
)


class Store:
    """One connection pool. Every method waits for a server that is away, however long; it ends by success, by
    cancellation, or by an error that no repetition would mend."""

    def __init__(self, settings: SinkSettings) -> None:
        self._settings = settings
        self._client: AsyncClient | None = None
        self.rows_inserted = 0

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    async def ping(self) -> None:
        """Return if the server answers a query; else raise why it does not. Asks once."""
        await (await self._connected()).command("SELECT 1")

    async def progress(self) -> dict[Place, int]:
        """Return the next offset of every partition of which a batch is done."""
        query = (
            f"SELECT topic, partition, max(last_offset) + 1 FROM {PROGRESS_TABLE} "
            "WHERE epoch = {epoch:UInt16} AND state = 'done' GROUP BY topic, partition"
        )
        return {(str(topic), int(part)): int(following) for topic, part, following in await self._query(query)}

    async def begun(self) -> dict[Place, Batch]:
        """Return the latest announced batch of every partition, done or not."""
        query = (
            f"SELECT topic, partition, argMax(batch, last_offset) FROM {PROGRESS_TABLE} "
            "WHERE epoch = {epoch:UInt16} AND state = 'begun' GROUP BY topic, partition"
        )
        found = {}
        for topic, partition, text in await self._query(query):
            batch = parse_batch(str(topic), str(text))
            if batch is not None:
                found[str(topic), int(partition)] = batch
        return found

    async def announce(self, batches: Sequence[Batch]) -> None:
        """Write state `begun` of some batches."""
        await self._write_progress("begun", batches)

    async def finish(self, batches: Sequence[Batch]) -> None:
        """Write state `done` of some batches, in one block: of a batch all partitions are done or none."""
        await self._write_progress("done", batches)

    async def insert(self, batch: Batch, rows: Rows) -> None:
        """Insert all rows of a batch; tables side by side."""
        await asyncio.gather(*(self._insert_table(batch, table, rows) for table in rows.tables()))

    async def erase(self, erasures: Sequence[Erasure]) -> None:
        """Delete what erasures cover; harmless at any time, as often as wanted (projections.rows.erasures)."""
        await asyncio.gather(*(self._delete(deletion) for deletion in deletions(erasures)))

    async def kill(self, batch: Batch, tables: Collection[Table]) -> None:
        """End inserts of a batch that a dead sink left running, so that they do not outlast a table's window or a
        rebuild. They may have written a part; the repetition adds the rest."""
        settings = self._settings
        ids = [batch.query_id(settings.epoch, settings.database, table.name) for table in tables]

        async def attempt(client: AsyncClient) -> None:
            await client.command("KILL QUERY WHERE query_id IN {ids:Array(String)} SYNC", parameters={"ids": ids})

        await self._until_it_works("kill", attempt)

    async def _insert_table(self, batch: Batch, table: Table, rows: Rows) -> None:
        settings = self._settings
        columns = rows.columns(table)
        names, types = [name for name, _ in table.columns], [kind for _, kind in table.columns]
        query_id = batch.query_id(settings.epoch, settings.database, table.name)
        token = {"insert_deduplication_token": batch.token(settings.epoch), "query_id": query_id}

        async def attempt(client: AsyncClient) -> None:
            await client.insert(
                table.name,
                columns,
                column_names=names,
                column_type_names=types,
                column_oriented=True,
                settings={**_INSERT, **token},
            )

        began = time.monotonic()
        await self._until_it_works(f"insert {table.name}", attempt)
        self.rows_inserted += len(columns[0])
        ROWS.labels(table.name).inc(len(columns[0]))
        INSERT_SECONDS.labels(table.name).observe(time.monotonic() - began)

    async def _delete(self, deletion: Deletion) -> None:
        async def attempt(client: AsyncClient) -> None:
            await client.command(
                f"DELETE FROM {deletion.table} WHERE {deletion.condition}",
                parameters=deletion.parameters,
                settings=_DELETE,
            )

        await self._until_it_works(f"erase {deletion.table}", attempt)

    async def _write_progress(self, state: str, batches: Sequence[Batch]) -> None:
        epoch = self._settings.epoch
        rows = [
            (epoch, batch.topic, span.partition, state, span.first, span.last, batch.text)
            for batch in batches
            for span in batch.spans
        ]

        async def attempt(client: AsyncClient) -> None:
            await client.insert(
                PROGRESS_TABLE,
                rows,
                column_names=[name for name, _ in _PROGRESS_COLUMNS],
                column_type_names=[kind for _, kind in _PROGRESS_COLUMNS],
                settings={"async_insert": 0},
            )

        await self._until_it_works(f"progress {state}", attempt)

    async def _query(self, query: str) -> Sequence[Sequence[Any]]:
        async def attempt(client: AsyncClient) -> Sequence[Sequence[Any]]:
            result = await client.query(query, parameters={"epoch": self._settings.epoch})
            return result.result_rows

        return await self._until_it_works("progress", attempt)

    async def _until_it_works(self, what: str, attempt: Callable[[AsyncClient], Awaitable[T]]) -> T:
        wait_s = RETRY_MIN_S
        while True:
            try:
                return await attempt(await self._connected())
            except (DataError, ProgrammingError):
                raise  # refused by the driver before anything was sent: the same again would be refused again
            except (ClickHouseError, OSError, TimeoutError) as error:
                retried(CLICKHOUSE)
                log.warning("clickhouse_retry", what=what, error=str(error)[:300], wait_s=round(wait_s, 1))
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, RETRY_MAX_S)

    async def _connected(self) -> AsyncClient:
        if self._client is None:
            self._client = await connect_async(
                self._settings.clickhouse_url,
                database=self._settings.database,
                send_receive_timeout=STATEMENT_TIMEOUT_S,
                compress=False,
            )
        return self._client
