"""A whole verification: connects, and takes one partition after the other."""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import msgspec
from aiokafka import TopicPartition
from clickhouse_connect.driver.exceptions import ClickHouseError

from processors.rules.catalogs import CatalogStore
from processors.rules.settings import FoldSettings
from projections.connection import connect
from projections.errors import VerificationError
from projections.migrate import status
from projections.refusals import with_advice
from projections.verifier.database import Database
from projections.verifier.expected import PROJECTED_TOPICS
from projections.verifier.logs import OFFSETS_S, Logs, connected
from projections.verifier.partition import COMPARED, PartitionCheck, Plan
from projections.verifier.report import DEFAULT_LIMIT, Report
from projections.verifier.tables import Refusals, strays
from schemas.brokers import Brokers
from schemas.topics import CATALOG, DEFAULT_PREFIX, EVENTS, full_name, progress_group, state_changelog

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

ANSWER_TIMEOUT_S = 600

OnProgress = Callable[[int, int], None]
"""Hears how many records of the log are folded, and of how many."""


def verify(
    brokers: Brokers,
    *,
    prefix: str = DEFAULT_PREFIX,
    clickhouse_url: str | None,
    database: str = DEFAULT_PREFIX,
    environment: str = "production",
    control_token: str | None = None,
    epoch: int = 0,
    since_ms: int | None = None,
    partitions: Collection[int] | None = None,
    limit: int = DEFAULT_LIMIT,
    on_progress: OnProgress = lambda done, total: None,
) -> Report:
    """Verify an installation, running or not. Blocks; not to be called from a running event loop (`asyncio.to_thread`).

    `prefix`, `environment` and `control_token` are those of the workers, `epoch` is that of the sink. Without
    `clickhouse_url` only topics and state are compared. `since_ms` (epoch ms) leaves out what was caused before.
    `partitions` limits it to some; `limit` is how many differences of each kind the report keeps.

    Raises:
        VerificationError: a server fails, a topic is missing, or the log is not whole.
    """
    check = _Verification(
        brokers, prefix, clickhouse_url, database, environment, control_token, epoch, since_ms, limit, on_progress
    )
    return asyncio.run(check.run(partitions))


class _Verification:
    def __init__(
        self,
        brokers: Brokers,
        prefix: str,
        clickhouse_url: str | None,
        database: str,
        environment: str,
        control_token: str | None,
        epoch: int,
        since_ms: int | None,
        limit: int,
        on_progress: OnProgress,
    ) -> None:
        self._brokers = brokers
        self._prefix = prefix
        self._clickhouse_url = clickhouse_url
        self._database = database
        self._environment = environment
        self._token = control_token
        self._epoch = epoch
        self._since = since_ms
        self._on_progress = on_progress
        self._report = Report(limit)
        self._done = 0
        self._total = 0

    async def run(self, partitions: Collection[int] | None) -> Report:
        began = time.monotonic()
        client = self._connect()
        try:
            async with connected(self._brokers) as logs:
                await self._verify(logs, client, partitions)
        except ClickHouseError as error:
            raise VerificationError(f"ClickHouse fails: {' '.join(str(error).split())[:500]}") from error
        finally:
            if client is not None:
                client.close()
        self._report.seconds = time.monotonic() - began
        return self._report

    def _connect(self) -> "Client | None":
        if self._clickhouse_url is None:
            return None
        try:
            return connect(self._clickhouse_url, autogenerate_session_id=False, send_receive_timeout=ANSWER_TIMEOUT_S)
        except ClickHouseError as error:
            raise VerificationError(
                with_advice(f"ClickHouse does not answer: {' '.join(str(error).split())[:300]}")
            ) from error

    async def _verify(self, logs: Logs, client: "Client | None", chosen: Collection[int] | None) -> None:
        plan = await self._plan(logs)
        if not await logs.committed(progress_group(self._prefix), plan.name(EVENTS), patience_s=OFFSETS_S):
            self._report.note(f"nothing is committed by group {progress_group(self._prefix)}: no worker has run")
        catalogs = await self._catalogs(logs)
        database = None if client is None else self._tables(client)
        if database is not None and chosen is None:
            strays(database, self._report, {plan.name(one): plan.partitions for one in PROJECTED_TOPICS})
        numbers = range(plan.partitions) if chosen is None else sorted(chosen)
        log = [TopicPartition(plan.name(EVENTS), number) for number in numbers]
        self._total = sum((await logs.ends(log)).values())
        refusals = Refusals()
        for number in numbers:
            check = PartitionCheck(plan, number, logs, database, catalogs, self._report, refusals, self._advance)
            await check.run()
        refusals.conclude(self._report)

    def _tables(self, client: "Client") -> Database:
        if pending := [one.name for one in status(client, self._database) if one.state == "pending"]:
            lacks = f"database {self._database} lacks {', '.join(pending)}"
            raise VerificationError(f"{lacks}; bring it to the present schema with `plaudit migrate`")
        return Database(client, self._database, self._epoch)

    async def _plan(self, logs: Logs) -> Plan:
        source = full_name(EVENTS, self._prefix)
        partitions = len(await logs.partitions(source))
        if not partitions:
            raise VerificationError(f"there is no topic {source}. Is PLAUDIT_PREFIX right?")
        present = []
        for logical in COMPARED:
            found = len(await logs.partitions(full_name(logical, self._prefix)))
            if found == partitions:
                present.append(logical)
            elif found:
                raise VerificationError(
                    f"{full_name(logical, self._prefix)} has {found} partitions, the log {partitions}: they must agree"
                )
            else:
                self._report.note(f"there is no topic {full_name(logical, self._prefix)}")
        changelog = state_changelog(self._prefix)
        if len(await logs.partitions(changelog)) != partitions:
            raise VerificationError(f"{changelog} must have {partitions} partitions, as the log has")
        settings = FoldSettings(source, self._environment, partitions, self._token)
        return Plan(self._prefix, partitions, tuple(present), settings, self._since)

    async def _catalogs(self, logs: Logs) -> CatalogStore:
        """Read all published versions; records that are none are passed over, as by the workers."""
        store = CatalogStore()
        place = TopicPartition(full_name(CATALOG, self._prefix), 0)
        reader = await logs.reader(await logs.ends([place]))
        try:
            async for record in reader.all(place):
                if record.value is not None:
                    try:
                        store.add(record.value)
                    except msgspec.MsgspecError:
                        self._report.note(f"{place.topic} {record.offset} is no catalog record")
        finally:
            await reader.close()
        return store

    def _advance(self, count: int) -> None:
        self._done += count
        self._on_progress(self._done, self._total)
