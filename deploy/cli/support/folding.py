"""A log folded again without an installation: one fold per partition, catalogs of the log or given ones in their place."""

from typing import Any, Final

import msgspec
from msgspec import Raw

from deploy.cli.support.errors import WrongUseError
from deploy.cli.support.sources import FILE_TOKEN, LogFacts
from processors.rules.catalogs import CatalogStore
from processors.rules.control import CONTROL_HEADER
from processors.rules.effects import Effects, MakeEffects
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from schemas.catalog import CatalogRecord
from schemas.catalog_file import CatalogError, decode_config, encode_config, load_catalog
from schemas.emission import CatalogMissingError, Emission
from schemas.instants import format_instant
from schemas.records import LogRecord

FIRST_VERSION: Final = "1"
"""Version under which the given catalog is in force before the first record."""

_encode: Final = msgspec.json.Encoder().encode


class Folding:
    """The folds of a source, each made when the first record of its partition comes.

    Attributes:
        folds: by partition. settings: what they are configured with. catalogs: what they look versions up in.
        differs: whether the log brings a catalog of its own that is not the given one.
    """

    def __init__(
        self,
        source: LogFacts,
        config: Any | None,
        *,
        environment: str,
        override: bool = False,
        effects: MakeEffects = Effects,
        in_force_ms: int | None = None,
    ) -> None:
        """`config` is a decoded catalog file; None = the log must bring its own.

        The given catalog is in force from before the first record, unless the log switches catalogs itself. `override`: it
        takes the place of all that the log brings. `in_force_ms` is the timestamp of the log's first record, for who folds
        only a part of it; None = that of the first record folded.

        Raises:
            WrongUseError: no catalog is given, and the log does not bring one where it needs one.
        """
        self.folds: dict[int, Partition] = {}
        self.catalogs = CatalogStore()
        self.settings = FoldSettings(
            topic=source.topic, environment=environment, partitions=source.partitions, control_token=source.token
        )
        self.differs = False
        self._source = source
        self._effects = effects
        self._given = None if config is None else Raw(encode_config(config))
        self._in_force_ms: int | None = None
        self._first_ms = in_force_ms
        if config is None and not source.brings_catalogs:
            raise WrongUseError("the records bring no catalog of their own; give one with --catalog FILE")
        self._add_catalogs(config, override)

    def fold(self, record: LogRecord) -> Partition:
        """Return the fold of a record's partition."""
        known = self.folds.get(record.partition)
        if known is None:
            known = self.folds[record.partition] = Partition(
                record.partition, self.settings, self.catalogs, self._effects
            )
            if not self._source.brings_catalogs:
                self._put_in_force(known, record)
        return known

    def apply(self, record: LogRecord, out: list[Emission], limit: int) -> bool:
        """Fold a record (see Partition.process); a catalog version that it names and nobody published is given up."""
        fold = self.fold(record)
        try:
            return fold.process(record, out, limit)
        except CatalogMissingError as error:
            self.catalogs.give_up(error.tenant, error.version)
            return fold.process(record, out, limit)

    def _add_catalogs(self, config: Any | None, override: bool) -> None:
        source = self._source
        compared: set[bytes] = set()
        for version in source.versions:
            if config is not None and bytes(version.config) not in compared:
                compared.add(bytes(version.config))
                self.differs = self.differs or not _same(bytes(version.config), config)
            used = self._given if override and self._given is not None else version.config
            self._add(version.tenant, version.version, version.at_ms, used)
        for tenant, name in source.missing:
            self.catalogs.give_up(tenant, name)
        for (tenant, name), at_ms in source.unnamed:
            if self._given is None:
                raise WrongUseError(
                    f"the records switch to version {name!r} without its catalog; give it with --catalog FILE"
                )
            self._add(tenant, name, at_ms, self._given)

    def _add(self, tenant: str, version: str, at_ms: int, config: Raw) -> None:
        self.catalogs.add(_encode(CatalogRecord(tenant=tenant, version=version, at_ms=at_ms, config=config)))

    def _put_in_force(self, fold: Partition, first: LogRecord) -> None:
        """Switch a new fold to the given catalog before its first record, for each tenant of the log.

        All partitions have the instant of the log's first record (C38).
        """
        assert self._given is not None
        if self._in_force_ms is None:
            self._in_force_ms = first.timestamp_ms if self._first_ms is None else self._first_ms
            for tenant in self._source.tenants:
                self._add(tenant, FIRST_VERSION, self._in_force_ms, self._given)
        headers = ((CONTROL_HEADER, (self.settings.control_token or FILE_TOKEN).encode()),)
        at_ms = self._in_force_ms
        for tenant in sorted(self._source.tenants):
            value = _encode(
                {"type": "catalog", "tenant": tenant, "version": FIRST_VERSION, "at": format_instant(at_ms)}
            )
            fold.process(LogRecord(first.partition, first.offset, at_ms, None, value, headers), [], 1)
            fold.changes(first.offset)  # the marker stays before the first record
            fold.commit()


def _same(logged: bytes, config: Any) -> bool:
    try:
        return load_catalog(decode_config(logged))[0] == load_catalog(config)[0]
    except (CatalogError, ValueError):
        return False
