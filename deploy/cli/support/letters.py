"""Refused records as commands see them: what `plaudit.rejected` tells, and what was done about it (X11, X31)."""

import re
import time
from collections.abc import Collection
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.cli.support.errors import WrongUseError
from deploy.cli.support.kafka import Feeder, log_ends, read_to_end
from processors.engine.names import Names
from schemas.brokers import Brokers
from schemas.derived import Handled, Rejected
from schemas.instants import format_instant
from schemas.topics import ERASED, HANDLED, REJECTED, user_key

_PLACE: Final = re.compile(r"(.+)-(\d{1,9})-(\d{1,18})", re.ASCII)

ERASED_HEADER: Final = ("type", ERASED.encode())

_decode: Final = msgspec.json.Decoder(Rejected).decode
_decode_handled: Final = msgspec.json.Decoder(Handled).decode
_encode: Final = msgspec.json.Encoder().encode


class Place(msgspec.Struct, frozen=True, order=True):
    """Where a refused record stands on the input log. As text: `TOPIC-PARTITION-OFFSET`."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}-{self.offset}"


class Letter(msgspec.Struct, frozen=True):
    """One refusal.

    Attributes:
        place: of the refused record.
        reason, message: why.
        key: of the record; of a user that was set aside (X32), the user's.
        refused_ms: when the refusal was written, epoch ms.
        dated: record timestamp, as text.
    """

    place: Place
    reason: str
    message: str
    key: bytes | None
    refused_ms: int
    dated: str

    @property
    def user(self) -> str:
        """The key as a person reads it: user, or tenant/user."""
        return "" if self.key is None else self.key.decode("utf-8", "backslashreplace").replace("\0", "/")


class Wanted(msgspec.Struct, frozen=True):
    """Which refusals a command is about: those of `places`, else those that match everything that is given."""

    places: frozenset[Place] = frozenset()
    reason: str | None = None
    since_ms: int | None = None
    key: bytes | None = None

    def match(self, letter: Letter) -> bool:
        """Tell whether a refusal is meant."""
        if self.places:
            return letter.place in self.places
        return (
            (self.reason is None or letter.reason == self.reason)
            and (self.since_ms is None or letter.refused_ms >= self.since_ms)
            and (self.key is None or letter.key == self.key)
        )


def parse_place(text: str, names: Names) -> Place:
    """Return the place that a text names.

    Raises:
        WrongUseError: it names none of the input log.
    """
    match = _PLACE.fullmatch(text)
    if match is None:
        raise WrongUseError(f"{text!r} is not a place; write TOPIC-PARTITION-OFFSET, for example {names.input}-3-17")
    if match[1] != names.input:
        raise WrongUseError(f"{text!r}: the input log of this installation is {names.input} (PLAUDIT_PREFIX)")
    return Place(match[1], int(match[2]), int(match[3]))


def wanted(
    names: Names, places: Collection[str] = (), reason: str | None = None, since_ms: int | None = None
) -> Wanted:
    """Return what the arguments of a command that changes something ask for.

    Raises:
        WrongUseError: neither places nor a reason, or both.
    """
    if bool(places) == (reason is not None):
        raise WrongUseError("name the records by their PLACEs (plaudit rejected list), or all of one --reason")
    if places and since_ms is not None:
        raise WrongUseError("--since goes with --reason, not with PLACEs")
    return Wanted(frozenset(parse_place(place, names) for place in places), reason, since_ms)


def of_user(tenant: str, user: str | None) -> bytes | None:
    """Return the key that a user's records have."""
    return None if user is None else user_key(tenant, user)


async def read_letters(one: AIOKafkaConsumer, names: Names, asked: Wanted) -> list[Letter]:
    """Return the refusals that are asked for, in the order in which they were written."""
    partitions = {place.partition for place in asked.places} or None
    found: list[Letter] = []
    async for run in read_to_end(one, names.output(REJECTED), partitions):
        for record in run:
            if ERASED_HEADER in record.headers:  # nothing of the user is shown from here on back (X30)
                found = [letter for letter in found if letter.key != record.key]
                continue
            letter = to_letter(record)
            if letter is not None and asked.match(letter):
                found.append(letter)
    return sorted(found, key=lambda letter: (letter.refused_ms, letter.place))


def to_letter(record: Any) -> Letter | None:
    """Return what a record of `plaudit.rejected` tells; None if it is no refusal."""
    try:
        data = _decode(record.value)
    except (msgspec.MsgspecError, TypeError):
        return None
    origin = data.origin
    return Letter(
        Place(origin.topic, origin.partition, origin.offset),
        data.reason,
        data.message,
        record.key,
        record.timestamp,
        origin.timestamp,
    )


async def read_handled(one: AIOKafkaConsumer, names: Names) -> dict[str, Handled]:
    """Return what was done about refusals, by place."""
    topic = names.output(HANDLED)
    cluster = await one._client.fetch_all_metadata()
    found: dict[str, Handled] = {}
    if not cluster.partitions_for_topic(topic):
        return found  # an installation from before this topic
    async for run in read_to_end(one, topic):
        for record in run:
            if record.value is not None:
                mark = _decode_handled(record.value)
                found[mark.place] = mark
    return found


async def note_handled(brokers: Brokers, names: Names, marks: Collection[Handled]) -> None:
    """Remember what was done; the topic is there."""
    if not marks:
        return
    now_ms = time.time_ns() // 1_000_000
    async with Feeder(brokers, names.output(HANDLED)) as feeder:
        for mark in marks:
            feeder.add(mark.place.encode(), _encode(mark), now_ms, 0)


def dropped(place: Place) -> Handled:
    """Return the mark of a record that is put away."""
    return Handled(str(place), "dropped", now_text())


def now_text() -> str:
    """Return the present instant."""
    return format_instant(time.time_ns() // 1_000_000)


class Gone(msgspec.Struct, frozen=True):
    """A record that is not on the input log, and why."""

    why: str


class Original(msgspec.Struct, frozen=True):
    """A refused record as it stands on the input log; `timestamp` is epoch ms."""

    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: tuple[tuple[str, bytes], ...]


async def read_original(one: AIOKafkaConsumer, place: Place) -> Original | Gone:
    """Return the record at a place of the input log."""
    where = TopicPartition(place.topic, place.partition)
    cluster = await one._client.fetch_all_metadata()
    if place.partition not in (cluster.partitions_for_topic(place.topic) or ()):
        return Gone(f"{place.topic} has no partition {place.partition}")
    begin = (await one.beginning_offsets([where]))[where]
    end = (await log_ends(one, [where]))[where]
    if place.offset < begin:
        return Gone(f"the input log begins at offset {begin} in partition {place.partition}: the record is gone")
    if place.offset >= end:
        return Gone(f"the input log ends at offset {end} in partition {place.partition}")
    one.assign([where])
    one.seek(where, place.offset)
    while await one.position(where) <= place.offset:
        for record in (await one.getmany(where, timeout_ms=500, max_records=1)).get(where, ()):
            if record.offset == place.offset:
                return Original(record.key, record.value, record.timestamp, tuple(record.headers))
            return Gone("no record stands there")
    return Gone("no record stands there")
