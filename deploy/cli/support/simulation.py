"""The fold over a records file: the engine's own round code on a log in memory, no server (X16)."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from deploy.cli.support.errors import WrongUseError
from deploy.records_file import FileRecord
from processors.engine.errors import AbortableError
from processors.engine.memory import MAX_ATTEMPTS, FailAt, MemoryLog
from processors.engine.names import Names
from processors.engine.round import Batch, RoundRunner
from processors.rules.catalogs import CatalogStore
from processors.rules.partition import CONTROL_HEADER, Partition
from processors.rules.settings import FoldSettings
from schemas.catalog import CatalogRecord
from schemas.catalog_file import CatalogError, decode_config, encode_config, load_catalog
from schemas.emission import Emission
from schemas.instants import format_instant, to_ms
from schemas.records import CatalogSwitch, LogRecord

FIRST_VERSION: Final = "1"
"""Version under which the given catalog is in force before the first record."""

_TOKEN: Final = "simulate"
_HEADERS: Final = ((CONTROL_HEADER, _TOKEN.encode()),)

_switch: Final = msgspec.json.Decoder(CatalogSwitch)

OnEmission = Callable[[Emission], None]


class Simulation:
    """One run over records that are all at hand.

    Attributes:
        records: by line, as they are folded.
        differs: whether the log brings a catalog of its own that is not the given one.
    """

    def __init__(
        self,
        records: Sequence[FileRecord],
        config: Any,
        *,
        environment: str,
        topic: str = "plaudit.events",
        override: bool = False,
    ) -> None:
        """Take the records of a file and a decoded catalog file.

        The catalog is in force from before the first record, unless the file switches catalogs itself; see
        `simulate --help`. `override`: the given catalog takes the place of all that the file brings.

        Raises:
            WrongUseError: the records cannot be a log; the message names the line.
        """
        self.records = records
        self.differs = False
        self._given = Raw(encode_config(config))
        self._override = override
        self._store = CatalogStore()
        self._logged = _log_records(records)
        origin = next((record.origin for record in records if record.origin is not None), None)
        self._settings = FoldSettings(
            topic=topic if origin is None else origin.topic,
            environment=environment,
            partitions=_partitions(records),
            control_token=_TOKEN,
        )
        self._add_catalogs(config)
        numbers = sorted({record.partition for record in self._logged})
        self._folds = {number: _Traced(Partition(number, self._settings, self._store)) for number in numbers}
        if records and not self._brings_catalogs():
            self._put_in_force(records[0])

    def run(
        self,
        round_size: int | None,
        on_emission: OnEmission,
        *,
        fail: FailAt | None = None,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> MemoryLog:
        """Fold everything, `round_size` records at a time (None = all at once); return the log with its counts.

        Each committed emission is handed over once, in the order of the records in the file, whatever the round size.
        `fail` may break any step of a transaction; the round is then rolled back and run again. `on_progress` hears how
        many records were folded since its last call.
        """
        loop = asyncio.new_event_loop()  # asyncio.run would keep Ctrl-C back until the loop is idle, which it never is
        try:
            return loop.run_until_complete(self._run(round_size, on_emission, fail, on_progress))
        finally:
            loop.close()

    async def _run(
        self, round_size: int | None, on_emission: OnEmission, fail: FailAt | None, on_progress: Callable[[int], None]
    ) -> MemoryLog:
        log = _ForgetfulLog(fail)
        runner = RoundRunner(self._folds, log, Names(), catalogs=_NoMore(self._store))
        rest = iter(self._logged)
        while run := list(islice(rest, round_size)):
            await _carry_out(runner, _by_partition(run), log)
            self._hand_over(run, on_emission)
            on_progress(len(run))
        return log

    def _hand_over(self, run: list[LogRecord], on_emission: OnEmission) -> None:
        emitted = {number: fold.take() for number, fold in self._folds.items()}
        for record in run:
            for emission in emitted[record.partition].get(record.offset, ()):
                on_emission(emission)

    # catalogs

    def _brings_catalogs(self) -> bool:
        """Whether the log says itself what is in force: it begins with a switch, or is a dump that holds one."""
        if self.records[0].type == "catalog":
            return True
        return any(one.type == "catalog" and one.config is not UNSET and one.origin is not None for one in self.records)

    def _add_catalogs(self, config: Any) -> None:
        compared: set[bytes] = set()
        for record in self.records:
            if record.type != "catalog" or record.value is None:
                continue
            try:
                switch = _switch.decode(record.value)
            except msgspec.MsgspecError:
                continue  # the fold will refuse it
            if record.config is None:
                self._store.give_up(switch.tenant, switch.version)
                continue
            brought = self._given if record.config is UNSET or self._override else record.config
            self._add(switch.tenant, switch.version, to_ms(switch.at), brought)
            if record.config is not UNSET and bytes(record.config) not in compared:
                compared.add(bytes(record.config))
                self.differs = self.differs or not _same(bytes(record.config), config)

    def _add(self, tenant: str, version: str, at_ms: int, config: Raw) -> None:
        self._store.add(msgspec.json.encode(CatalogRecord(tenant=tenant, version=version, at_ms=at_ms, config=config)))

    def _put_in_force(self, first: FileRecord) -> None:
        """Switch every partition to the given catalog before its first record, for each tenant of the file."""
        at_ms = first.timestamp_ms
        assert at_ms is not None, "checked by _log_records"
        for tenant in sorted({record.tenant for record in self.records} | {""}):
            self._add(tenant, FIRST_VERSION, at_ms, self._given)
            value = msgspec.json.encode(
                {"type": "catalog", "tenant": tenant, "version": FIRST_VERSION, "at": format_instant(at_ms)}
            )
            for number, fold in self._folds.items():
                offset = next(record.offset for record in self._logged if record.partition == number)
                fold.process(LogRecord(number, offset, at_ms, None, value, _HEADERS), [], 1)
                fold.changes(offset)  # the marker stays before the first record
                fold.commit()
        for fold in self._folds.values():
            fold.take()


class _Traced:
    """A fold that notes which record emitted what, and forgets what is rolled back."""

    def __init__(self, inner: Partition) -> None:
        self._inner = inner
        self._open: list[tuple[int, list[Emission]]] = []
        self._committed: dict[int, list[Emission]] = {}

    @property
    def next_offset(self) -> int:
        return self._inner.next_offset

    @property
    def counters(self) -> Mapping[str, int]:
        return self._inner.counters

    def load(self, key: bytes, value: bytes | None) -> None:
        self._inner.load(key, value)

    def loaded(self) -> None:
        self._inner.loaded()

    def process(self, record: LogRecord, out: list[Emission], limit: int) -> bool:
        begin = len(out)
        done = self._inner.process(record, out, limit)
        if len(out) > begin:
            self._open.append((record.offset, out[begin:]))
        return done

    def changes(self, next_offset: int) -> list[tuple[bytes, bytes | None]]:
        return self._inner.changes(next_offset)

    def commit(self) -> None:
        self._inner.commit()
        for offset, emissions in self._open:
            self._committed.setdefault(offset, []).extend(emissions)
        self._open = []

    def rollback(self) -> None:
        self._inner.rollback()
        self._open = []

    def take(self) -> dict[int, list[Emission]]:
        """Return what was committed since the last call, by offset."""
        taken, self._committed = self._committed, {}
        return taken


class _ForgetfulLog(MemoryLog):
    """Committed records are handed over elsewhere; kept here, they would fill the memory."""

    async def commit(self) -> None:
        await super().commit()
        self.records.clear()


class _NoMore:
    """All catalogs of the file are in the store already."""

    def __init__(self, store: CatalogStore) -> None:
        self._store = store

    async def refresh(self) -> None:
        """There is nothing to read."""

    def give_up(self, tenant: str, version: str) -> None:
        """See CatalogSource."""
        self._store.give_up(tenant, version)


async def _carry_out(runner: RoundRunner, batch: Batch, log: MemoryLog) -> None:
    attempts, committed = 0, log.transactions
    while not batch.finished:
        try:
            await runner.run(batch)
        except AbortableError:
            attempts = attempts + 1 if log.transactions == committed else 1
            committed = log.transactions
            if attempts >= MAX_ATTEMPTS:
                raise


def _by_partition(run: Iterable[LogRecord]) -> Batch:
    records: dict[int, list[LogRecord]] = {}
    for record in run:
        records.setdefault(record.partition, []).append(record)
    return Batch(records)


def _same(logged: bytes, config: Any) -> bool:
    try:
        return load_catalog(decode_config(logged))[0] == load_catalog(config)[0]
    except (CatalogError, ValueError):
        return False


def _log_records(records: Sequence[FileRecord]) -> list[LogRecord]:
    """Return the records as the log had them; without origin they are offsets 0.. of partition 0."""
    logged: list[LogRecord] = []
    offsets: dict[int, int] = {}
    first = records[0].origin if records else None
    for number, record in enumerate(records):
        if record.timestamp_ms is None:
            raise WrongUseError(f"line {record.line}: has neither timestamp nor occurredAt; give one of them")
        origin = record.origin
        if (origin is None) != (first is None):
            raise WrongUseError(f"line {record.line}: give an origin to all records of the file or to none")
        if origin is not None and first is not None and origin.topic != first.topic:
            raise WrongUseError(f"line {record.line}: origin.topic is {origin.topic!r}, before it was {first.topic!r}")
        partition, offset = (0, number) if origin is None else (origin.partition, origin.offset)
        if not 0 <= partition < 2**31 or not 0 <= offset < 2**62:
            raise WrongUseError(f"line {record.line}: origin partition {partition}, offset {offset} cannot be")
        if offset <= offsets.get(partition, -1):
            raise WrongUseError(
                f"line {record.line}: offset {offset} of partition {partition} comes after {offsets[partition]}; "
                "keep the order of the log within a partition"
            )
        offsets[partition] = offset
        trusted = record.type and not (origin is not None and origin.forged)
        headers = _HEADERS if trusted else ()
        logged.append(LogRecord(partition, offset, record.timestamp_ms, record.key, record.value, headers))
    return logged


def _partitions(records: Sequence[FileRecord]) -> int | None:
    """Return the number of partitions if the file tells it; then the placement of keys is checked."""
    told = {
        one.origin.partitions
        for one in records
        if one.origin is not None and not isinstance(one.origin.partitions, UnsetType)
    }
    if len(told) > 1:
        raise WrongUseError(f"the records tell different numbers of partitions: {sorted(map(str, told))}")
    return next(iter(told), None)
