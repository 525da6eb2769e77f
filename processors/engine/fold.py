"""What the engine knows about the rules: a fold per input partition, and where catalogs come from."""

from collections.abc import Mapping
from typing import Protocol

from schemas.emission import Emission, Measures
from schemas.records import LogRecord


class Fold(Protocol):
    """State of one input partition, changed by nothing but its records.

    The engine runs it in rounds: `process` for some records, `changes` once, then `commit` or `rollback`.
    """

    @property
    def next_offset(self) -> int:
        """Offset of the next input record as of the last round; 0 when nothing was applied."""

    @property
    def counters(self) -> Mapping[str, int]:
        """Cumulative counts, e.g. "applied", "rejected.<reason>", "skipped_offsets" (must stay 0)."""

    def measures(self, overdue_at_ms: int) -> Measures:
        """Return how much it holds and how far it is, for metrics; overdue is what is due at or before `overdue_at_ms`.
        Cheap: asked every few seconds."""

    def load(self, key: bytes, value: bytes | None) -> None:
        """Recovery: take one changelog record, in the order of the log; None is a tombstone. Raises
        `schemas.state.NewerStateError` if a newer version of the program wrote it."""

    def loaded(self) -> None:
        """Recovery has ended: rebuild what is derived from the state."""

    def process(self, record: LogRecord, out: list[Emission], limit: int) -> bool:
        """Apply one record and append what it emits to `out`.

        True: done, the offset may pass. False: `out` has grown to `limit`, or as many users have been looked at as it had
        room for, and it stopped at a safe point; the engine calls again with the same record, in this round or, when its
        slice is committed, in a later one. Never raises for bad input. Raises
        `schemas.emission.CatalogMissingError`, before anything is touched, if a catalog version is not known yet.
        """

    def changes(self, next_offset: int) -> list[tuple[bytes, bytes | None]]:
        """Return the changelog records of the round: each touched state once, and the marker `next_offset`."""

    def commit(self) -> None:
        """The transaction of the round is committed."""

    def rollback(self) -> None:
        """The round did not happen: go back to the state before it."""


class CatalogStore(Protocol):
    """What the folds look catalog versions up in."""

    def add(self, value: bytes) -> None:
        """Take one record value of `plaudit.catalog`."""

    def give_up(self, tenant: str, version: str) -> None:
        """The version is not in the topic: let the record that names it be refused."""


class CatalogSource(Protocol):
    """Fills the catalog store when a fold misses a version."""

    async def refresh(self) -> None:
        """Read the catalog topic to its end into the store."""

    def give_up(self, tenant: str, version: str) -> None:
        """The version is not there even so."""
