"""One partition of an installation: its log folded again, and everything that stems from it compared."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec
from aiokafka import TopicPartition

from processors.rules.catalogs import CatalogStore
from processors.rules.settings import FoldSettings
from projections.errors import VerificationError
from projections.verifier.database import Database
from projections.verifier.expected import PROJECTED_TOPICS, Erasure, Row
from projections.verifier.logs import OFFSETS_POLL_S, Logs, Reader
from projections.verifier.refold import Refold
from projections.verifier.report import Difference, Report
from projections.verifier.states import Stored, check_marker, compare_states, read_changelog
from projections.verifier.tables import Refusals, TopicRows
from projections.verifier.topics import OnRow, TopicCheck, late_erasures
from projections.verifier.views import ViewCheck, ViewRows
from schemas.records import LogRecord
from schemas.topics import DERIVED, EVENTS, OUTCOMES, REJECTED, full_name, progress_group, state_changelog

COMPARED: Final = (*DERIVED, OUTCOMES, REJECTED)
"""Logical topics that hold what the log causes."""

COMMIT_SHOWS_S: Final = 5.0
"""How much later than the changelog's marker the committed offset of the same transaction may show."""

FOLLOW: Final = 2_000
"""Emissions after which the topics are read on."""


class Plan(msgspec.Struct, frozen=True):
    """What is the same for all partitions.

    Attributes:
        prefix: of topic names. partitions: of the input log. topics: those of COMPARED that exist.
        since: instant of the first causes that count, epoch ms; None = all.
    """

    prefix: str
    partitions: int
    topics: tuple[str, ...]
    settings: FoldSettings
    since: int | None

    def name(self, logical: str) -> str:
        """Return the full name of a topic."""
        return full_name(logical, self.prefix)


class Snapshot(msgspec.Struct):
    """How far a partition is, asked for in an order in which nothing can move unseen: first what was committed, then what
    the sink claims, then where the derived topics end, then the changelog, then where the log ends. So what lies below
    the first must be there, and what is there must stem from the log below the last.

    Attributes:
        committed: offset below which the log is applied; None = nothing was committed.
        progress: by logical topic: the offset below which the sink claims that all rows are there.
        begins, ends: of the derived topics, by logical topic.
        stored: the changelog.
        begin, end: of the log.
    """

    committed: int | None
    progress: dict[str, int]
    begins: dict[str, int]
    ends: dict[str, int]
    stored: Stored
    begin: int
    end: int


class PartitionCheck:
    """Verifies one partition."""

    def __init__(
        self,
        plan: Plan,
        number: int,
        logs: Logs,
        database: Database | None,
        catalogs: CatalogStore,
        report: Report,
        refusals: Refusals,
        on_record: Callable[[int], None],
    ) -> None:
        """`on_record` hears how many records were folded since its last call."""
        self._plan = plan
        self._number = number
        self._logs = logs
        self._database = database
        self._report = report
        self._refusals = refusals
        self._on_record = on_record
        self._refold = Refold(number, plan.settings, catalogs)
        self._views = ViewRows(plan.since)
        self._checks: dict[str, TopicCheck] = {}
        self._rows: dict[str, TopicRows] = {}
        self._now = Snapshot(None, {}, {}, {}, Stored({}, 0, None), 0, 0)
        self._states: list[Difference] | None = None
        self._latest_ms: int | None = None
        self._beyond = 0

    def _place(self, topic: str) -> TopicPartition:
        return TopicPartition(topic, self._number)

    async def run(self) -> None:
        """Compare everything.

        Raises:
            VerificationError: the log is not whole, or Kafka gives no answer.
        """
        self._now = await self._snapshot()
        for logical in self._plan.topics:
            self._checks[logical] = self._topic_check(logical)
        derived = await self._logs.reader({check.place: self._now.ends[one] for one, check in self._checks.items()})
        log = await self._logs.reader({self._place(self._plan.name(EVENTS)): self._now.end})
        try:
            for check in self._checks.values():
                await check.open(derived)
            await self._fold(log, derived)
            for check in self._checks.values():
                await check.drain(derived)
            for logical, rows in self._rows.items():
                rows.compare(self._now.ends[logical])
            for check in self._checks.values():
                await check.conclude(derived)
        finally:
            await derived.close()
            await log.close()
        self._conclude_states()
        await self._conclude_tables()

    async def _snapshot(self) -> Snapshot:
        plan, logs = self._plan, self._logs
        group, source = progress_group(plan.prefix), plan.name(EVENTS)
        committed = (await logs.committed(group, source)).get(self._number)
        claimed = {} if self._database is None else self._database.progress()
        progress = {one: claimed.get((plan.name(one), self._number), 0) for one in PROJECTED_TOPICS}
        places = {one: self._place(plan.name(one)) for one in plan.topics}
        ends = await logs.ends(list(places.values()))
        begins = await logs.begins(list(places.values()))
        stored = await self._changelog()
        after = await self._committed_at_last(stored.marker)
        check_marker(self._report, self._place(state_changelog(plan.prefix)), stored, committed, after)
        place = self._place(source)
        end = (await logs.ends([place]))[place]
        begin = (await logs.begins([place]))[place]
        if begin > 0:
            raise VerificationError(
                f"{source} {self._number} begins at offset {begin}: older records are deleted, and what the log causes can "
                "only be computed from its beginning. Keep retention.ms=-1 on it (X9a)"
            )
        return Snapshot(
            committed,
            progress,
            {one: begins[place] for one, place in places.items()},
            {one: ends[place] for one, place in places.items()},
            stored,
            begin,
            end,
        )

    async def _committed_at_last(self, marker: int) -> int | None:
        """Return the committed offset once it has come to the marker: of one transaction, some topics show it earlier."""
        deadline = time.monotonic() + COMMIT_SHOWS_S
        while True:
            offsets = await self._logs.committed(progress_group(self._plan.prefix), self._plan.name(EVENTS))
            found = offsets.get(self._number)
            if (found or 0) >= marker or time.monotonic() > deadline:
                return found
            await asyncio.sleep(OFFSETS_POLL_S)

    async def _changelog(self) -> Stored:
        place = self._place(state_changelog(self._plan.prefix))
        end = (await self._logs.ends([place]))[place]
        reader = await self._logs.reader({place: end})
        try:
            return await read_changelog(reader, place)
        finally:
            await reader.close()

    def _topic_check(self, logical: str) -> TopicCheck:
        now, plan = self._now, self._plan
        rows = None
        topic = plan.name(logical)
        if self._database is not None and logical in PROJECTED_TOPICS:
            progress = now.progress[logical]
            if progress > now.ends[logical]:
                claim = f"all rows below offset {progress}"
                end = f"the topic ends at {now.ends[logical]}"
                self._report.add(Difference("wrong", "sink_progress", topic, self._number, None, "", end, claim))
            rows = self._rows[logical] = TopicRows(
                self._database, self._report, self._refusals, topic, logical, self._number, progress
            )
        return TopicCheck(
            self._report,
            logical,
            self._place(topic),
            begin=now.begins[logical],
            end=now.ends[logical],
            source=plan.name(EVENTS),
            since=plan.since,
            rows=rows,
            on_row=self._row_taker(logical),
        )

    def _row_taker(self, logical: str) -> OnRow:
        progress = self._now.progress.get(logical, 0)
        views = self._views

        def taker(row: Row | Erasure, offset: int | None, at: int | None) -> None:
            if isinstance(row, Row):
                if offset is None or offset < progress:
                    views.take(row, at)
            elif offset is None or offset < progress:
                views.erase(row, at)
            else:
                views.moving.add(row.user)

        return taker

    async def _fold(self, log: Reader, derived: Reader) -> None:
        """Fold what is applied, up to the changelog's marker; then on, as long as records are left that only later ones can
        have caused: a slice of a long record is written before it is applied, and workers go on meanwhile."""
        taken = count = 0
        applied = self._now.committed or 0
        async for found in log.all(self._place(self._plan.name(EVENTS))):
            record = LogRecord(
                found.partition, found.offset, found.timestamp, found.key, found.value, tuple(found.headers)
            )
            at_marker = record.offset >= self._now.stored.marker
            if at_marker:
                self._compare_states()
            needed = record.offset < applied
            if not needed:
                more = await self._more_to_explain(derived, first=not self._beyond)
                if at_marker and not more:
                    break
            taken += self._apply(record, needed)
            if taken >= FOLLOW:
                taken = 0
                for check in self._checks.values():
                    await check.follow(derived)
            count += 1
            if count % 500 == 0:
                self._on_record(500)
        self._on_record(count % 500)
        self._compare_states()

    def _apply(self, record: LogRecord, needed: bool) -> int:
        """Fold one record and expect what it emits; return how much that is."""
        if needed:
            self._report.records += 1
        else:
            self._report.beyond += 1
            self._beyond += 1
        at = self._latest_ms = max(record.timestamp_ms, self._latest_ms or record.timestamp_ms)
        count = 0
        for emissions in self._refold.emissions(record):
            count += len(emissions)
            for emission in emissions:
                check = self._checks.get(emission.topic)
                if check is not None:
                    check.expect(emission, record.offset, at, needed=needed)
        return count

    async def _more_to_explain(self, derived: Reader, *, first: bool) -> bool:
        if first:
            for check in self._checks.values():
                await check.drain(derived)
        return any(check.unexplained for check in self._checks.values())

    def _compare_states(self) -> None:
        """Compare the state once, at the offset of the changelog's marker."""
        if self._states is None:
            self._refold.settle(self._now.stored.marker)
            self._report.users += self._refold.users
            place = self._place(state_changelog(self._plan.prefix))
            self._states = compare_states(
                self._report, place, self._refold.state, self._refold.control, self._now.stored
            )

    def _conclude_states(self) -> None:
        for difference in self._states or ():
            if self._in_work():
                self._report.note(
                    f"partition {self._number} is in the middle of a long record: its state cannot be compared now"
                )
                break
            self._report.add(difference)

    async def _conclude_tables(self) -> None:
        """Tables are read; what they lack may have been erased meanwhile, by markers behind the ends that were looked at."""
        if self._database is None:
            return
        check = ViewCheck(self._database, self._report, self._number, self._plan.partitions)
        found = check.differences(self._views)
        for logical, rows in self._rows.items():
            for erasure in await late_erasures(self._logs, self._place(self._plan.name(logical)), logical, rows.end):
                rows.forgive(erasure)
                self._views.moving.add(erasure.user)
            rows.conclude(self._checks[logical].doubles)
        check.conclude(found, self._views, self._now.progress)

    def _in_work(self) -> bool:
        """Whether the record at the marker is carried out in slices: a part of what it causes is in the topics already."""
        return max((check.matching.latest for check in self._checks.values()), default=-1) >= self._now.stored.marker
