"""Two catalogs folded over one share of the users of a log."""

from typing import Any, Final

import msgspec
from msgspec import Raw

from deploy.cli.support.folding import Folding
from deploy.cli.support.sources import LogSource, Named
from deploy.preview.tally import Tallier, Tally
from deploy.preview.watch import Noted, Watching
from schemas.catalog import CatalogRecord
from schemas.catalog_file import decode_config
from schemas.emission import Emission
from schemas.records import LogRecord

OLD: Final = 1
NEW: Final = 2
BOTH: Final = OLD | NEW
"""Which of the two folds a record is for."""

NO_LIMIT: Final = 2**62
"""Emissions of a slice: what is noted here need not fit a transaction."""

Item = tuple[int, int, int, bytes | None, bytes | None, tuple[tuple[str, bytes], ...], int, bool]
"""A record as it goes to a share: the fields of LogRecord, which folds it is for, and whether this share counts it if it
is refused: control records go to all shares."""


class Refusal(msgspec.Struct):
    """Why a record was refused, of a value of `plaudit.rejected`."""

    reason: str
    message: str


decode_refusal: Final = msgspec.json.Decoder(Refusal).decode


class Facts(msgspec.Struct, kw_only=True):
    """What a fold must know of the log (LogFacts), in a form that goes to another process."""

    topic: str
    partitions: int | None
    token: str | None
    versions: list[CatalogRecord]
    missing: list[Named]
    unnamed: list[tuple[Named, int]]
    tenants: set[str]
    brings_catalogs: bool


class Task(msgspec.Struct, kw_only=True):
    """What is compared, for one tenant.

    Attributes:
        facts: of the log. environment: part of derived ids.
        old, new: catalogs in JSON; `old` None = the log's own.
        first_ms: timestamp of the log's first record.
        since_ms: begin of the period that is reported, None = all.
        switch: version under which `new` takes over from `old` at `since_ms`; empty = it is in force from the beginning.
    """

    facts: Facts
    environment: str
    tenant: str
    old: bytes | None
    new: bytes
    first_ms: int
    since_ms: int | None = None
    switch: str = ""


class Outcome(msgspec.Struct):
    """What the two catalogs did to a share of the users, or to all of them; `records` is how many the log has."""

    old: Tally
    new: Tally
    records: int = 0

    def merge(self, other: "Outcome") -> None:
        """Take over the sums of another share."""
        self.old.merge(other.old)
        self.new.merge(other.new)


def facts_of(source: LogSource, tenant: str) -> Facts:
    """Return what a fold of one tenant must know of a source."""
    return Facts(
        topic=source.topic,
        partitions=source.partitions,
        token=source.token,
        versions=[version for version in source.versions if version.tenant == tenant],
        missing=[named for named in source.missing if named[0] == tenant],
        unnamed=[unnamed for unnamed in source.unnamed if unnamed[0][0] == tenant],
        tenants={tenant},
        brings_catalogs=source.brings_catalogs,
    )


class Share:
    """The two folds over one share."""

    def __init__(self, task: Task) -> None:
        """Compile the catalogs."""
        self._old = _Fold(task, task.old)
        self._new = _Fold(task, task.old if task.switch else task.new)
        if task.switch:
            self._new.add_version(task)

    def fold(self, items: list[Item]) -> None:
        """Fold a run of records, in the order of the log."""
        for partition, offset, timestamp_ms, key, value, headers, folds, counted in items:
            record = LogRecord(partition, offset, timestamp_ms, key, value, headers)
            if folds & OLD:
                self._old.apply(record, counted)
            if folds & NEW:
                self._new.apply(record, counted)
        self._old.end_round()
        self._new.end_round()

    def finish(self) -> Outcome:
        """Return the sums; nothing can be folded afterwards."""
        return Outcome(self._old.finish(), self._new.finish())


class _Fold:
    """One sequence of catalogs over one share."""

    def __init__(self, task: Task, config: bytes | None) -> None:
        given: Any = None if config is None else decode_config(config)
        self._tenant = task.tenant
        self._folding = Folding(
            task.facts,
            given,
            environment=task.environment,
            override=given is not None,
            effects=Watching,
            in_force_ms=task.first_ms,
        )
        self._tallier = Tallier(task.since_ms)
        self._out: list[Emission] = []

    def add_version(self, task: Task) -> None:
        """Let the new catalog be known, for the switch that the log gets."""
        assert task.since_ms is not None
        record = CatalogRecord(tenant=task.tenant, version=task.switch, at_ms=task.since_ms, config=Raw(task.new))
        self._folding.catalogs.add(msgspec.json.encode(record))

    def apply(self, record: LogRecord, counted: bool) -> None:
        """Fold one record and count what came of it."""
        out = self._out
        while not self._folding.apply(record, out, NO_LIMIT):
            self._count(record, counted)
        if out:
            self._count(record, counted)

    def _count(self, record: LogRecord, counted: bool) -> None:
        for emission in self._out:
            if type(emission) is Noted:
                self._tallier.take(emission)
            elif counted and emission.is_refusal:
                self._refuse(record, emission.value)
        self._out.clear()

    def _refuse(self, record: LogRecord, value: bytes) -> None:
        refused = decode_refusal(value)
        self._tallier.tally.refuse(
            refused.reason, 1, (record.timestamp_ms, record.partition, record.offset), refused.message
        )

    def end_round(self) -> None:
        """Let the folds forget what a round may have to undo. The marker stays: nothing is ever skipped."""
        for fold in self._folding.folds.values():
            fold.changes(0)
            fold.commit()

    def finish(self) -> Tally:
        catalog = None
        for fold in self._folding.folds.values():
            plan = fold.plan(self._tenant)
            catalog = catalog or (plan.catalog if plan is not None else None)
            for key in fold.keys():  # noqa: SIM118
                user = fold.view(key)
                if user is not None and user.state.tenant == self._tenant:
                    self._tallier.finish_user(user)
        return self._tallier.finish(catalog)
