"""Two catalogs over the same real history, the users shared out over several processes."""

from collections.abc import Callable
from typing import Final, Protocol
from zlib import crc32

import msgspec

from deploy.cli.support.errors import WrongUseError
from deploy.cli.support.folding import FIRST_VERSION
from deploy.cli.support.sources import LogSource
from deploy.preview.share import BOTH, NEW, OLD, Facts, Item, Outcome, Share, Task, facts_of
from deploy.preview.workers import Workers
from deploy.records_file import control_type
from processors.rules.control import CONTROL_HEADER
from schemas.catalog import WEEKDAYS
from schemas.catalog_file import decode_config, load_catalog
from schemas.instants import LATEST_MS, format_instant
from schemas.records import LogRecord

CHUNK_RECORDS: Final = 2_000
"""Records that go to a share at a time; also a round of its folds."""

MIN_RECORDS_PER_JOB: Final = 20_000
"""Below this a further process costs more than it brings."""

SWITCH_VERSION: Final = "preview"

Progress = Callable[[int], None]
"""Hears how many records were folded since its last call."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. `old` and `new` are catalogs in JSON, `old` None = those of the log; instants in epoch ms."""

    old: bytes | None
    new: bytes
    tenant: str = ""
    environment: str = "production"
    since_ms: int | None = None


class Shares(Protocol):
    """The shares of the users, wherever they are folded."""

    def send(self, share: int, items: list[Item], counted: int) -> None:
        """Fold a run of records; `counted` of them count for the progress."""

    def outcomes(self) -> list[Outcome]:
        """Wait for all and return what came of each share."""


class _Here(Shares):
    """One share in this process."""

    def __init__(self, task: Task, progress: Progress) -> None:
        self._share, self._progress = Share(task), progress

    def send(self, share: int, items: list[Item], counted: int) -> None:
        self._share.fold(items)
        self._progress(counted)

    def outcomes(self) -> list[Outcome]:
        return [self._share.finish()]


def run_history(source: LogSource, request: Request, jobs: int, progress: Progress = lambda _: None) -> Outcome:
    """Fold a log under both catalogs; the result does not depend on `jobs`.

    With `since_ms` both folds have the old catalog until then, and the new one takes over in the second as a published
    version would; else it is in force from the beginning. At the end time is moved to the last record for everybody.

    Raises:
        WrongUseError: the log is empty, ends before `since_ms`, or brings no catalog where none is given.
    """
    records = source.records()
    first = next(records, None)
    if first is None:
        raise WrongUseError("there are no records to preview with")
    task = _task(source, request, first.timestamp_ms)
    with Workers(task, jobs, progress) if jobs > 1 else _closing(_Here(task, progress)) as shares:
        router = _Router(task, jobs, shares)
        router.route(first)
        for record in records:
            router.route(record)
        router.end()
        merged, *others = shares.outcomes()
    for other in others:
        merged.merge(other)
    merged.records = router.records
    return merged


class _closing:
    """A context that has nothing to close."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares

    def __enter__(self) -> Shares:
        return self._shares

    def __exit__(self, *_: object) -> None:
        pass


def _task(source: LogSource, request: Request, first_ms: int) -> Task:
    facts = facts_of(source, request.tenant)
    if request.old is None and (not facts.versions or facts.unnamed):
        raise WrongUseError(
            "the records bring no catalog of their own to compare with; give the old one with --against FILE"
        )
    from_the_start = request.since_ms is None or (request.since_ms <= first_ms and not facts.brings_catalogs)
    switch = SWITCH_VERSION
    while any(version.version == switch for version in facts.versions) or switch == FIRST_VERSION:
        switch += "'"
    if not from_the_start:
        _check_week_start(facts, request)
    return Task(
        facts=facts,
        environment=request.environment,
        tenant=request.tenant,
        old=request.old,
        new=request.new,
        first_ms=first_ms,
        since_ms=request.since_ms,
        switch="" if from_the_start else switch,
    )


def _check_week_start(facts: Facts, request: Request) -> None:
    """Refuse a switch that `catalog publish` would refuse (S3)."""
    since_ms = request.since_ms
    assert since_ms is not None
    earlier = [bytes(version.config) for version in facts.versions if version.at_ms <= since_ms]
    old = request.old if request.old is not None else earlier[-1] if earlier else None
    if old is None:
        return
    before, after = (_week_start(config, request.tenant) for config in (old, request.new))
    if before != after:
        raise WrongUseError(
            f"streak.weekStart is {WEEKDAYS[after]!r}, before it was {WEEKDAYS[before]!r}; it cannot change once there are "
            f"events, because closed weeks would overlap (S3). Write weekStart: {WEEKDAYS[before]}, or leave --since out"
        )


def _week_start(config: bytes, tenant: str) -> int:
    streak = load_catalog(decode_config(config), tenant=tenant)[0].streak
    return streak.week_start if streak is not None else 0


class _Router:
    """Sends each record of the log to its user's share, and adds the switch at `since` and the tick at the end."""

    def __init__(self, task: Task, jobs: int, shares: Shares) -> None:
        self._task, self._jobs, self._shares = task, jobs, shares
        self._chunks: list[list[Item]] = [[] for _ in range(jobs)]
        self._counted = [0] * jobs
        self.records = 0
        self._switched: set[int] = set()
        self._places: dict[int, int] = {}
        self._latest_ms = task.first_ms
        self._switch_ms = task.since_ms if task.switch and task.since_ms is not None else LATEST_MS
        self._prefix = f"{task.tenant}\0".encode() if task.tenant else b""
        token = task.facts.token
        self._headers = ((CONTROL_HEADER, token.encode()),) if token else ()

    def route(self, record: LogRecord) -> None:
        """Take the next record of the log."""
        self.records += 1
        partition, at_ms, key = record.partition, record.timestamp_ms, record.key
        self._places[partition] = record.offset
        if at_ms > self._latest_ms:
            self._latest_ms = at_ms
        if at_ms >= self._switch_ms and partition not in self._switched:
            self._switch(partition, record.offset)
        control = control_type(record.value)
        if control:
            outdated = control == "catalog" and partition in self._switched
            self._broadcast(record, OLD if outdated else BOTH, 1)
        elif self._is_ours(key):
            share = crc32(key) % self._jobs if key is not None and self._jobs > 1 else 0
            item = (partition, record.offset, at_ms, key, record.value, record.headers, BOTH, True)
            self._add(share, item, 1)
        else:
            self._counted[0] += 1

    def _is_ours(self, key: bytes | None) -> bool:
        """Tell whether a record's key is of the tenant; what has no key cannot be told and is refused under both."""
        if key is None:
            return True
        return key.startswith(self._prefix) if self._prefix else b"\0" not in key

    def _add(self, share: int, item: Item, counted: int) -> None:
        chunk = self._chunks[share]
        chunk.append(item)
        self._counted[share] += counted
        if len(chunk) >= CHUNK_RECORDS:
            self._flush(share)

    def _flush(self, share: int) -> None:
        self._shares.send(share, self._chunks[share], self._counted[share])
        self._chunks[share], self._counted[share] = [], 0

    def _broadcast(self, record: LogRecord, folds: int, counted: int) -> None:
        for share in range(self._jobs):
            first = share == 0
            item = (record.partition, record.offset, record.timestamp_ms, record.key, record.value, record.headers)
            self._add(share, (*item, folds, first), counted if first else 0)

    def _switch(self, partition: int, offset: int) -> None:
        """Put the new catalog in force in a partition, in the second fold."""
        self._switched.add(partition)
        tenant = {"tenant": self._task.tenant} if self._task.tenant else {}
        control = {"type": "catalog", **tenant, "version": self._task.switch, "at": format_instant(self._switch_ms)}
        value = msgspec.json.encode(control)
        self._broadcast(LogRecord(partition, offset, self._switch_ms, None, value, self._headers), NEW, 0)

    def end(self) -> None:
        """Bring everybody to the time of the last record, and send what is left."""
        since_ms = self._task.since_ms
        if since_ms is not None and since_ms > self._latest_ms:
            raise WrongUseError(
                f"--since {format_instant(since_ms)} lies after the last record of {format_instant(self._latest_ms)}; "
                "give an instant within the history"
            )
        value = msgspec.json.encode({"type": "tick", "at": format_instant(self._latest_ms)})
        for partition, offset in self._places.items():
            if self._switch_ms <= self._latest_ms and partition not in self._switched:
                self._switch(partition, offset)
            self._broadcast(LogRecord(partition, offset, self._latest_ms, None, value, self._headers), BOTH, 0)
        for share in range(self._jobs):
            self._flush(share)


def default_jobs(processors: int, records: int) -> int:
    """Return how many processes are worth it for so many records."""
    return max(1, min(processors, records // MIN_RECORDS_PER_JOB))
