"""Derived records as they were recorded: on the topics of an installation, or in a file."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import IO, Any, Final, Protocol

import msgspec
from aiokafka import TopicPartition

from deploy.cli.support.comparison import Comparison, Recorded, form_of
from deploy.cli.support.errors import WrongUseError
from deploy.records_file import from_shown
from processors.engine.names import Names
from schemas.brokers import Brokers
from schemas.derived import Origin, UserErased
from schemas.emission import Emission
from schemas.topics import DERIVED, ERASED, LEDGER, OUTCOMES, REJECTED, TOPIC_OF_TYPE, user_key

FETCH_MS: Final = 20
"""How long one look at a topic waits for records."""

RUN: Final = 1_000
"""Lines of a file that are read at once."""

Sent = tuple[str, bytes | None, bytes]
"""Topic, key and form of a derived record, as a comparison matches it."""


class Head(msgspec.Struct, rename="camel"):
    """What of a derived record, an outcome or a refusal says what it is about and what caused it."""

    id: str = ""
    type: str = ""
    emitted_at: str = ""
    environment: str = ""
    tenant_id: str = ""
    user_id: str = ""
    causation_id: str = ""
    event_id: str = ""
    status: int = 0
    reason: str = ""
    origin: Origin | None = None
    key: str | dict[str, str] | None = None
    data: msgspec.Raw = msgspec.Raw()

    @property
    def topic(self) -> str:
        """Logical topic of a record with this head; empty if there is none."""
        if self.origin is not None and self.reason:
            return REJECTED
        if self.event_id and self.status:
            return OUTCOMES
        if self.type == ERASED:
            return _topic_of_erasure(self.data)
        return TOPIC_OF_TYPE.get(self.type, LEDGER) if self.id and self.type else ""

    @property
    def owner(self) -> bytes | None:
        """What stands for the key where keys are not at hand."""
        return from_shown(0, "key", self.key) if self.origin is not None else user_key(self.tenant_id, self.user_id)


_erased: Final = msgspec.json.Decoder(UserErased).decode


def _topic_of_erasure(data: msgspec.Raw) -> str:
    try:
        return _erased(data).topic
    except msgspec.MsgspecError:
        return ""


_head: Final = msgspec.json.Decoder(Head)


def head_of(value: bytes) -> Head:
    """Return the head of a value; an empty one if it is no record."""
    try:
        return _head.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Head()


class Reader(Protocol):
    """Hands recorded records to a comparison, in the order of each unit."""

    def follow(self, comparison: Comparison) -> None:
        """Read about as much as was derived so far."""

    def drain(self, comparison: Comparison) -> None:
        """Read everything that is left."""

    def close(self) -> None:
        """No more is read."""


class RecordedLog(Protocol):
    """Derived records that can be read as often as needed.

    Attributes:
        topics: logical topics that it holds.
    """

    topics: tuple[str, ...]

    def sent(self, emission: Emission) -> Sent:
        """Return how an emission is matched with what is recorded here."""

    def reader(self, partition: int | None) -> Reader:
        """Begin to read what input partition `partition`, or all of them, caused."""

    def all(self, partition: int | None) -> Iterator[Recorded]:
        """Yield what an input partition, or all of them, caused."""

    def show(self, recorded: Recorded) -> str:
        """Return where a record stands."""


class FileRecorded:
    """A file of JSON lines as `replay`, `simulate` and `tail` print them: derived events, outcomes, refusals."""

    def __init__(self, name: str, lines: IO[bytes]) -> None:
        """See what is in the file.

        Raises:
            WrongUseError: a line is none of these.
        """
        self._name = name
        self._lines = lines
        found = {recorded.topic for recorded in self.all(None)}
        self.topics = (*DERIVED, *(topic for topic in (OUTCOMES, REJECTED) if topic in found))

    def sent(self, emission: Emission) -> Sent:
        """See RecordedLog."""
        return emission.topic, head_of(emission.value).owner, emission.value

    def reader(self, partition: int | None) -> Reader:
        """See RecordedLog."""
        return _FileReader(self.all(partition))

    def all(self, partition: int | None) -> Iterator[Recorded]:
        """See RecordedLog; a file does not know partitions, the whole of it is read."""
        self._lines.seek(0)
        for number, line in enumerate(self._lines, 1):
            value = line.rstrip(b"\r\n")
            if not value:
                continue
            head = head_of(value)
            topic = head.topic
            if not topic:
                raise WrongUseError(
                    f"{self._name}, line {number}: no derived event, outcome or refusal; "
                    "give what plaudit replay, simulate or tail has printed"
                )
            yield Recorded(topic, head.owner, value, (0, number))

    def show(self, recorded: Recorded) -> str:
        """See RecordedLog."""
        return f"{self._name}, line {recorded.place[1]}"


class _FileReader:
    def __init__(self, records: Iterator[Recorded]) -> None:
        self._records = records
        self._read = 0

    def follow(self, comparison: Comparison) -> None:
        wanted = sum(counts.derived for counts in comparison.counts.values())
        for recorded in self._records:
            comparison.record(recorded)
            self._read += 1
            if self._read >= wanted and self._read % RUN == 0:
                break

    def drain(self, comparison: Comparison) -> None:
        for recorded in self._records:
            comparison.record(recorded)

    def close(self) -> None:
        pass


class TopicsRecorded:
    """The derived topics of an installation as they are when this is made: later records are not seen.

    Attributes:
        begins: first offset that is there, of topic partitions that have lost records.
    """

    def __init__(self, brokers: Brokers, names: Names) -> None:
        """Note where the topics begin and end. A topic that is missing is empty."""
        self.topics: tuple[str, ...] = (*DERIVED, OUTCOMES, REJECTED)
        self.begins: dict[tuple[str, int], int] = {}
        self._brokers = brokers
        self._names = names
        self._ends: dict[TopicPartition, int] = {}
        asyncio.run(self._survey())

    async def _survey(self) -> None:
        from deploy.cli.support.kafka import consumer, log_ends

        full = {self._names.output(topic): topic for topic in self.topics}
        async with consumer(self._brokers) as one:
            cluster = await one._client.fetch_all_metadata()
            places = [TopicPartition(name, n) for name in full for n in cluster.partitions_for_topic(name) or ()]
            self._ends = await log_ends(one, places)
            for place, begin in (await one.beginning_offsets(places)).items():
                if begin > 0:
                    self.begins[full[place.topic], place.partition] = begin

    def sent(self, emission: Emission) -> Sent:
        """See RecordedLog."""
        return emission.topic, emission.key, form_of(emission.value, emission.type.encode(), emission.id.encode())

    def reader(self, partition: int | None) -> "TopicsReader":
        """See RecordedLog."""
        assert partition is not None
        ends = {topic: self._ends.get(TopicPartition(self._names.output(topic), partition), 0) for topic in self.topics}
        return TopicsReader(self._brokers, self._names, partition, ends)

    def all(self, partition: int | None) -> Iterator[Recorded]:
        """See RecordedLog: topic after topic."""
        reader = self.reader(partition)
        try:
            for topic in self.topics:
                while (run := reader.take(topic)) is not None:
                    yield from run
        finally:
            reader.close()

    def show(self, recorded: Recorded) -> str:
        """See RecordedLog."""
        return "{} {}:{}".format(self._names.output(recorded.topic), *recorded.place)


class TopicsReader:
    """Reads the derived topics of one partition, each as fast as it is asked for."""

    def __init__(self, brokers: Brokers, names: Names, partition: int, ends: Mapping[str, int]) -> None:
        """`ends`: where to end, by logical topic."""
        from deploy.cli.support.kafka import consumer

        self._places = {topic: TopicPartition(names.output(topic), partition) for topic, end in ends.items() if end}
        self._left = dict(self._places)
        self._ends = ends
        self._loop = asyncio.new_event_loop()
        self._consumer: Any = consumer(brokers)
        self._read: dict[str, int] = {}
        self._one: Any = self._loop.run_until_complete(self._open())

    async def _open(self) -> Any:
        one = await self._consumer.__aenter__()
        one.assign(list(self._places.values()))
        if self._places:
            await one.seek_to_beginning(*self._places.values())
        return one

    def take(self, topic: str) -> list[Recorded] | None:
        """Return the next records of a topic, None at its end."""
        while (place := self._left.get(topic)) is not None:
            run = self._loop.run_until_complete(self._fetch(topic, place))
            if run:
                return run
        return None

    async def _fetch(self, topic: str, place: TopicPartition) -> list[Recorded]:
        found = await self._one.getmany(place, timeout_ms=FETCH_MS, max_records=RUN)
        if await self._one.position(place) >= self._ends[topic]:
            del self._left[topic]
        return [
            Recorded(topic, one.key, _form(one), (one.partition, one.offset))
            for one in found.get(place, ())
            if one.offset < self._ends[topic]
        ]

    def follow(self, comparison: Comparison) -> None:
        """See Reader."""
        for topic in list(self._left):
            wanted = comparison.counts[topic].derived
            while comparison.counts[topic].recorded < wanted and self._give(topic, comparison):
                pass

    def drain(self, comparison: Comparison) -> None:
        """See Reader."""
        for topic in list(self._left):
            while self._give(topic, comparison):
                pass

    def _give(self, topic: str, comparison: Comparison) -> bool:
        run = self.take(topic)
        for recorded in run or ():
            comparison.record(recorded)
        return run is not None

    def close(self) -> None:
        """See Reader."""
        self._loop.run_until_complete(self._consumer.__aexit__(None, None, None))
        self._loop.close()


def _form(record: Any) -> bytes:
    kind = identity = b""
    for name, value in record.headers:
        if name == "type":
            kind = value
        elif name == "id":
            identity = value
    return form_of(record.value or b"null", kind, identity)
