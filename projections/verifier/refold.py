"""The log folded again by the rules alone: what each record emits, and the state that the changelog must hold."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

from processors.rules.catalogs import CatalogStore
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from projections.errors import VerificationError
from schemas.emission import CatalogMissingError, Emission
from schemas.records import LogRecord

SLICE: Final = 20_000
"""Emissions after which a record is carried on in another slice, and a round is ended: the memory stays bounded."""

ROUND_RECORDS: Final = 5_000

DIGEST_BYTES: Final = 16


def digest(data: bytes) -> bytes:
    """Return what stands for some bytes where they are too many to be kept."""
    return blake2b(data, digest_size=DIGEST_BYTES).digest()


class Refold:
    """The fold of one partition.

    Attributes:
        state: digest of the value that the changelog must hold, by its key, as of the last `settle`.
    """

    def __init__(self, number: int, settings: FoldSettings, catalogs: CatalogStore) -> None:
        """Nothing is folded yet. `catalogs` holds all versions that were published."""
        self.state: dict[bytes, bytes] = {}
        self._catalogs = catalogs
        self._fold = Partition(number, settings, catalogs)
        self._records = 0
        self._emissions = 0

    @property
    def users(self) -> int:
        """Number of users."""
        return len(self._fold.keys())

    def emissions(self, record: LogRecord) -> Iterator[list[Emission]]:
        """Apply a record; yield what it emits, in slices. Take all of them before the next record."""
        done = False
        while not done:
            out: list[Emission] = []
            done = self._process(record, out)
            self._emissions += len(out)
            if not done:
                self.settle(record.offset)
            yield out
        self._records += 1
        if self._records >= ROUND_RECORDS or self._emissions >= SLICE:
            self.settle(record.offset + 1)

    def _process(self, record: LogRecord, out: list[Emission]) -> bool:
        while True:
            try:
                return self._fold.process(record, out, SLICE)
            except CatalogMissingError as missing:
                if self._catalogs.is_given_up(missing.tenant, missing.version):
                    raise VerificationError(
                        f"catalog version {missing.version!r} is in force but not on the catalog topic any more"
                    ) from missing
                self._catalogs.give_up(missing.tenant, missing.version)

    def settle(self, next_offset: int) -> None:
        """End a round before this offset."""
        for key, value in self._fold.changes(next_offset):
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = digest(value)
        self._fold.commit()
        self._records = self._emissions = 0
