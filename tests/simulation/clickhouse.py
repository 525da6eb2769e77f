"""In place of ClickHouse and its asynchronous client, as far as the sink uses them.

An insert is carried out in steps: the rows, then every view of the table. The server can die between two, the client can
die or give up while it goes on, and a repetition adds what the token of the insert is not yet known for, table by table.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from projections.tables import LEVEL_CHANGES, METRIC_EVENTS, POINTS_AWARDS, PROGRESS_TABLE
from tests.simulation.loop import Process, SimLoop, current_process

VIEWS: Final = {
    METRIC_EVENTS.name: ("metric_totals_rollup", "user_activity_rollup"),
    POINTS_AWARDS.name: ("points_balances_rollup",),
    LEVEL_CHANGES.name: ("points_balances_rollup (levels)",),
}
"""Targets of the materialized views, by the table that feeds them. A target is modelled by the rows that went into it."""

CLIENT_TIMEOUT_S: Final = 2.0
STEP_S: Final = 0.01
LONG_S: Final = 3.0

Row = tuple[Any, ...]


class Query:
    """An insert that runs."""

    def __init__(self, id: str, process: Process, steps: list[Callable[[], None]], answer: asyncio.Future[Any]) -> None:
        self.id = id
        self.process = process
        self.steps = steps
        self.answer = answer
        self.ended = False
        self.waiting: list[asyncio.Future[Any]] = []
        """Kills that wait for its end."""


class Server:
    """The server and what it stores."""

    def __init__(self, loop: SimLoop, rng: random.Random, counts: Counter[str]) -> None:
        self.loop = loop
        self.rng = rng
        self.counts = counts
        self.up = True
        self.long = 0.0
        """Share of steps of inserts that take up to LONG_S."""
        self.lost = 0.0
        """Share of requests that fail before they arrive, and of answers that do not."""
        self.tables: dict[str, list[Row]] = {}
        self._latest: dict[tuple[str, int, str, int], tuple[int, str]] = {}
        """Of sink_progress, by state, epoch, topic and partition: greatest last offset, and its batch."""
        self.show: Callable[[str], None] | None = None
        self._tokens: set[tuple[str, str]] = set()
        self._running: dict[str, Query] = {}

    def die(self) -> None:
        """Go down: inserts end where they are."""
        self.up = False
        for query in list(self._running.values()):
            if query.steps:
                self.counts["insert cut short"] += 1
            self._end(query, OperationalError("connection reset"))

    def rise(self) -> None:
        """Come back."""
        self.up = True

    # requests

    def request(self, operation: Callable[[asyncio.Future[Any]], None]) -> asyncio.Future[Any]:
        """Send something; `operation` gets the future of the answer."""
        process = current_process()
        answer: asyncio.Future[Any] = self.loop.create_future()
        if not process.alive:
            return answer
        process.requests("ClickHouse", "sent")
        if not process.alive:
            return answer
        given: asyncio.Future[Any] = self.loop.create_future()
        given.add_done_callback(lambda done: self._deliver(process, done, answer), context=self.loop.server.context)
        if self.rng.random() < self.lost or process.cut:
            self.counts["ClickHouse request lost"] += 1
            self.loop.at_server(0.01, self._fail, given, "connection refused")
        else:
            self.loop.at_server(self.rng.random() * STEP_S, self._arrive, operation, given)
        self.loop.at_server(CLIENT_TIMEOUT_S, self._fail, given, "timed out")
        return answer

    def _arrive(self, operation: Callable[[asyncio.Future[Any]], None], given: asyncio.Future[Any]) -> None:
        if not self.up:
            self._fail(given, "connection refused")
        else:
            operation(given)

    @staticmethod
    def _fail(given: asyncio.Future[Any], message: str) -> None:
        if not given.done():
            given.set_exception(OperationalError(message))

    def _deliver(self, process: Process, done: asyncio.Future[Any], answer: asyncio.Future[Any]) -> None:
        error = done.exception()
        if not process.alive:
            return
        process.requests("ClickHouse", "done")
        if not process.alive or answer.done():
            return
        if error is None and self.rng.random() < self.lost:
            self.counts["ClickHouse answer lost"] += 1
            error = OperationalError("connection reset")
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(done.result())

    # statements

    def insert(
        self, table: str, rows: Sequence[Row], token: str, query_id: str
    ) -> Callable[[asyncio.Future[Any]], None]:
        """Return the operation of an insert into a table with views."""
        process = current_process()

        def begin(given: asyncio.Future[Any]) -> None:
            if query_id in self._running:
                given.set_exception(DatabaseError("QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING"))
                return
            targets = (table, *VIEWS.get(table, ()))
            query = Query(query_id, process, [self._adding(target, rows, token) for target in targets], given)
            self._running[query_id] = query
            self._step(query)

        return begin

    def _adding(self, target: str, rows: Sequence[Row], token: str) -> Callable[[], None]:
        def add() -> None:
            if (target, token) in self._tokens:
                self.counts["insert deduplicated"] += 1
                return
            if self.show is not None:
                self.show(f"ClickHouse: {len(rows)} rows to {target} under {token}")
            self._tokens.add((target, token))
            self.tables.setdefault(target, []).extend(rows)

        return add

    def _step(self, query: Query) -> None:
        if query.ended:
            return
        if not query.steps:
            if not query.process.alive:
                self.counts["insert landed after its client was killed"] += 1
            self._end(query, None)
            return
        slow = self.rng.random() < self.long
        self.loop.at_server(self.rng.random() * (LONG_S if slow else STEP_S), self._carry_out, query)

    def _carry_out(self, query: Query) -> None:
        if not query.ended:
            query.steps.pop(0)()
            self._step(query)

    def _end(self, query: Query, error: Exception | None) -> None:
        query.ended = True
        del self._running[query.id]
        for waiting in query.waiting:
            if not waiting.done():
                waiting.set_result(None)
        if not query.answer.done():
            if error is not None:
                query.answer.set_exception(error)
            else:
                query.answer.set_result(None)

    def add_progress(self, rows: Sequence[Row]) -> Callable[[asyncio.Future[Any]], None]:
        """Return the operation of an insert into sink_progress: one block, all or nothing."""

        def add(given: asyncio.Future[Any]) -> None:
            if self.show is not None:
                self.show(
                    f"ClickHouse: progress {rows[0][3]} " + ", ".join(sorted({f"{row[1]} {row[-1]}" for row in rows}))
                )
            for epoch, topic, partition, state, _, last, batch in rows:
                place = (state, epoch, topic, partition)
                if place not in self._latest or last > self._latest[place][0]:
                    self._latest[place] = (last, batch)
            if not given.done():
                given.set_result(None)

        return add

    def kill(self, ids: Iterable[str]) -> Callable[[asyncio.Future[Any]], None]:
        """Return the operation of KILL QUERY ... SYNC: inserts end after the step that they are at."""
        wanted = list(ids)

        def kill(given: asyncio.Future[Any]) -> None:
            for id in wanted:
                query = self._running.get(id)
                if query is not None:
                    self.counts["insert killed"] += 1
                    self._end(query, DatabaseError("QUERY_WAS_CANCELLED"))
            if not given.done():
                given.set_result(None)

        return kill

    def latest(self, state: str, epoch: int) -> list[Row]:
        """Return (topic, partition, answer) as the two queries of sink_progress do."""
        return [
            (topic, partition, last + 1 if state == "done" else batch)
            for (row_state, row_epoch, topic, partition), (last, batch) in self._latest.items()
            if row_state == state and row_epoch == epoch
        ]


class Result:
    """What a query gives."""

    def __init__(self, rows: list[Row]) -> None:
        self.result_rows = rows


class Client:
    """clickhouse_connect's AsyncClient. Belongs to the process that makes it."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def insert(self, table: str, data: Any, *, settings: dict[str, Any], **options: Any) -> None:
        """Insert rows, given by column or by row."""
        server = self._server
        if table == PROGRESS_TABLE:
            await server.request(server.add_progress(list(data)))
            return
        assert options["column_oriented"]
        rows = list(zip(*data, strict=True))
        token, query_id = settings["insert_deduplication_token"], settings["query_id"]
        await server.request(server.insert(table, rows, token, query_id))

    async def query(self, query: str, parameters: dict[str, Any]) -> Result:
        """The queries of sink_progress."""
        assert PROGRESS_TABLE in query
        state = "done" if "'done'" in query else "begun"
        server = self._server

        def read(given: asyncio.Future[Any]) -> None:
            if not given.done():
                given.set_result(Result(server.latest(state, parameters["epoch"])))

        result: Result = await server.request(read)
        return result

    async def command(self, command: str, parameters: dict[str, Any]) -> None:
        """KILL QUERY."""
        assert command.startswith("KILL QUERY"), command
        await self._server.request(self._server.kill(parameters["ids"]))

    async def close(self) -> None:
        """Close the connections."""
