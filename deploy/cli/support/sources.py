"""Where a log to fold again comes from: a records file (X15), or the input topic of an installation."""

import asyncio
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import IO, Any, Final, Protocol

import msgspec
from msgspec import UNSET, Raw, UnsetType

from deploy.cli.support.errors import WrongUseError
from deploy.cli.support.files import STDIO, reading
from deploy.records_file import FileRecord, RecordsFileError, read_records
from deploy.settings import Settings
from processors.rules.control import CONTROL_HEADER
from schemas.brokers import Brokers
from schemas.catalog import CatalogRecord
from schemas.instants import to_ms
from schemas.records import CatalogSwitch, LogRecord
from schemas.topics import EVENTS, full_name

FILE_TOKEN: Final = "records-file"
"""Control token under which the control records of a file are trusted."""

_HEADERS: Final = ((CONTROL_HEADER, FILE_TOKEN.encode()),)
_IN_MEMORY_BYTES: Final = 64 * 1024 * 1024

_switch: Final = msgspec.json.Decoder(CatalogSwitch)

Named = tuple[str, str]
"""Tenant and version of a catalog."""


class LogFacts(Protocol):
    """What a fold must know of a log before its first record.

    Attributes:
        topic: full name of the input topic; part of default event ids (X4).
        partitions: number of partitions; None = not known, the placement of keys is not checked.
        token: control token of the log's control records, None = not checked.
        versions: catalogs that the log brings, by order of first mention. missing: named, but never published.
        unnamed: versions whose switches come without `config`, and their instants, epoch ms: the given catalog.
        tenants: all that records name. brings_catalogs: whether the log says itself what is in force at its beginning.
    """

    topic: str
    partitions: int | None
    token: str | None
    versions: list[CatalogRecord]
    missing: list[Named]
    unnamed: list[tuple[Named, int]]
    tenants: set[str]
    brings_catalogs: bool


class LogSource(LogFacts, Protocol):
    """An input log that can be read as often as needed, in the order of each partition.

    Attributes:
        total: number of records, for a progress bar; of a topic an upper bound.
    """

    total: int

    def records(self, partitions: Collection[int] | None = None) -> Iterator[LogRecord]:
        """Yield the records from the beginning, of some partitions or of all."""


class FileSource:
    """A records file. It is read twice: once for what it is, then record by record, so that its size does not matter.

    A `catalog` record without `config` stands for the given catalog; see `unnamed`.
    """

    def __init__(self, path: str, lines: IO[bytes], default_topic: str) -> None:
        """Survey the lines.

        Raises:
            WrongUseError: a line is no record, or the lines cannot be a log; the message names the line.
        """
        self.topic = default_topic
        self.partitions: int | None = None
        self.token: str | None = FILE_TOKEN
        self.total = 0
        self.versions: list[CatalogRecord] = []
        self.missing: list[Named] = []
        self.unnamed: list[tuple[Named, int]] = []
        self.tenants: set[str] = {""}
        self.brings_catalogs = False
        self._path = path
        self._lines = lines
        self._survey()

    def records(self, partitions: Collection[int] | None = None) -> Iterator[LogRecord]:
        """See LogSource. Raises WrongUseError for a line that cannot be used."""
        for record, _ in self._read():
            if partitions is None or record.partition in partitions:
                yield record

    def _read(self) -> Iterator[tuple[LogRecord, FileRecord]]:
        self._lines.seek(0)
        order = _Order(self._path)
        try:
            for record in read_records(self._lines):
                yield order.place(record), record
        except RecordsFileError as error:
            raise WrongUseError(f"{self._path}, {error}") from error

    def _survey(self) -> None:
        told: set[int] = set()
        named: set[Named] = set()
        for _, record in self._read():
            if self.total == 0:
                self.brings_catalogs = record.type == "catalog"
                if record.origin is not None:
                    self.topic = record.origin.topic
            self.total += 1
            self.tenants.add(record.tenant)
            origin = record.origin
            if origin is not None and not isinstance(origin.partitions, UnsetType):
                told.add(origin.partitions)
            if record.type == "catalog":
                self._take_catalog(record, named)
        if len(told) > 1:
            raise WrongUseError(f"{self._path}: the records tell different numbers of partitions: {sorted(told)}")
        self.partitions = next(iter(told), None)

    def _take_catalog(self, record: FileRecord, named: set[Named]) -> None:
        if record.config is not UNSET and record.origin is not None:
            self.brings_catalogs = True
        try:
            assert record.value is not None
            switch = _switch.decode(record.value)
        except msgspec.MsgspecError:
            return  # the fold will refuse it
        version = switch.tenant, switch.version
        if version in named:
            return
        named.add(version)
        if record.config is None:
            self.missing.append(version)
        elif isinstance(record.config, UnsetType):
            self.unnamed.append((version, to_ms(switch.at)))
        else:
            self.versions.append(
                CatalogRecord(
                    tenant=switch.tenant, version=switch.version, at_ms=to_ms(switch.at), config=Raw(record.config)
                )
            )


class _Order:
    """Gives each record of a file its place on the log, and checks that the places make one."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._count = 0
        self._offsets: dict[int, int] = {}
        self._topic: str | None = None

    def place(self, record: FileRecord) -> LogRecord:
        if record.timestamp_ms is None:
            raise self._wrong(record, "has neither timestamp nor occurredAt; give one of them")
        origin = record.origin
        if self._count == 0:
            self._topic = origin.topic if origin is not None else None
        topic = origin.topic if origin is not None else None
        if (topic is None) != (self._topic is None):
            raise self._wrong(record, "give an origin to all records of the file or to none")
        if topic != self._topic:
            raise self._wrong(record, f"origin.topic is {topic!r}, before it was {self._topic!r}")
        partition, offset = (0, self._count) if origin is None else (origin.partition, origin.offset)
        self._count += 1
        if not 0 <= partition < 2**31 or not 0 <= offset < 2**62:
            raise self._wrong(record, f"origin partition {partition}, offset {offset} cannot be")
        if offset <= self._offsets.get(partition, -1):
            raise self._wrong(
                record,
                f"offset {offset} of partition {partition} comes after {self._offsets[partition]}; "
                "keep the order of the log within a partition",
            )
        self._offsets[partition] = offset
        trusted = record.type and not (origin is not None and origin.forged)
        return LogRecord(partition, offset, record.timestamp_ms, record.key, record.value, _HEADERS if trusted else ())

    def _wrong(self, record: FileRecord, message: str) -> WrongUseError:
        return WrongUseError(f"{self._path}, line {record.line}: {message}")


class TopicSource:
    """The input log of an installation as it is when it is opened: later records are not seen.

    Attributes:
        begins: by partition: the first offset that is there. ends: where the log ended when this was opened.
    """

    def __init__(self, brokers: Brokers, settings: Settings) -> None:
        """Read the catalogs and the ends of the log.

        Raises:
            CommandError: Kafka fails, or there is no such topic.
        """
        from deploy.cli.support.catalogs import published
        from deploy.cli.support.kafka import consumer, log_ends, partitions_of
        from processors.engine.names import Names

        names = Names(settings.prefix)
        self._brokers = brokers
        self.topic = full_name(EVENTS, settings.prefix)
        self.token: str | None = settings.control_token or None
        self.missing: list[Named] = []
        self.unnamed: list[tuple[Named, int]] = []
        self.brings_catalogs = True
        self.begins: dict[int, int] = {}
        self.ends: dict[int, int] = {}

        async def survey() -> list[CatalogRecord]:
            async with consumer(brokers) as one:
                places = await partitions_of(one, self.topic)
                self.ends = {place.partition: end for place, end in (await log_ends(one, places)).items()}
                begins = await one.beginning_offsets(places)
            self.begins = {place.partition: begin for place, begin in begins.items()}
            return await published(brokers, names)

        self.versions = asyncio.run(survey())
        self.partitions: int | None = len(self.ends)
        self.total = sum(self.ends.values()) - sum(self.begins.values())
        self.tenants: set[str] = {version.tenant for version in self.versions} | {""}

    def warn_of_lost_records(self) -> "TopicSource":
        """Tell if the log has lost its beginning: what is derived from the rest may be other than it was. Returns itself."""
        from deploy.cli.support.console import note

        lost = {number: begin for number, begin in self.begins.items() if begin > 0}
        if lost:
            places = ", ".join(f"{number} from offset {begin}" for number, begin in sorted(lost.items())[:4])
            note(
                f"warning: {self.topic} has lost its beginning to a retention (partition {places}"
                f"{', ...' if len(lost) > 4 else ''}): users, totals and catalogs of before are not known here, so results "
                "differ from those that were recorded"
            )
        return self

    def records(self, partitions: Collection[int] | None = None) -> Iterator[LogRecord]:
        """See LogSource."""
        from deploy.cli.support.kafka import consumer, read_to_end

        loop = asyncio.new_event_loop()

        async def runs() -> Any:
            async with consumer(self._brokers) as one:
                async for run in read_to_end(one, self.topic, partitions, ends=self.ends):
                    yield run

        reading_on = runs()
        try:
            while (run := loop.run_until_complete(anext(reading_on, None))) is not None:
                for one in run:
                    yield LogRecord(one.partition, one.offset, one.timestamp, one.key, one.value, tuple(one.headers))
        finally:
            loop.run_until_complete(reading_on.aclose())
            loop.close()


@contextmanager
def file_source(path: str, default_topic: str) -> Iterator[FileSource]:
    """Open a records file, gunzipped if its name ends in .gz; standard input is kept aside."""
    with rereadable(path) as (name, lines):
        yield FileSource(name, lines, default_topic)


@contextmanager
def rereadable(path: str) -> Iterator[tuple[str, IO[bytes]]]:
    """Open a file so that it can be read more than once, and say what to call it; pipes are kept aside."""
    with reading(path) as lines:
        name = "standard input" if path == STDIO else path
        if path != STDIO and lines.seekable():
            yield name, lines
            return
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as kept:
            kept.writelines(lines)
            kept.seek(0)
            yield name, kept


@contextmanager
def log_source(records: str | None, *, from_topic: bool) -> Iterator[LogSource]:
    """Open what `--records FILE|-` or `--from-topic` names.

    Raises:
        WrongUseError: none or both are given; otherwise as FileSource and TopicSource.
    """
    from deploy.cli.support.servers import servers
    from deploy.settings import read_settings

    if (records is None) == (not from_topic):
        raise WrongUseError("give either --records FILE (- for standard input) or --from-topic")
    settings = read_settings()
    if records is not None:
        with file_source(records, full_name(EVENTS, settings.prefix)) as source:
            yield source
        return
    with servers(kafka=True) as found:
        yield TopicSource(found.kafka, settings).warn_of_lost_records()
