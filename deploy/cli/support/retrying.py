"""Writing refused records to the input log again, and what comes of it (X31, D-91)."""

import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError
from msgspec import Raw

from deploy.cli.support.errors import CommandError
from deploy.cli.support.history import event_id_of
from deploy.cli.support.kafka import consumer, log_ends, partitions_of
from deploy.cli.support.letters import Letter, Original, Place, to_letter
from deploy.cli.support.progress import Applied
from deploy.logging import quiet_logging
from deploy.records_file import control_type
from processors.engine.names import Names
from processors.rules.decode import decode, loose_fields
from processors.rules.errors import RejectedError
from processors.rules.partitioner import partition_of
from schemas.brokers import Brokers
from schemas.topics import MAX_TOPIC_RECORD_BYTES, OUTCOMES, REJECTED, user_key

RETRY_HEADER: Final = "plaudit-retry-of"
"""Header of a record that was written again: the place of the first one."""

REFUSED_FROM: Final = 400
POLL_MS: Final = 250

_fields: Final = msgspec.json.Decoder(dict[str, Raw])


class RefusedRetry(Exception):
    """A record that is not written again; says why, and what would help."""


class Retry(msgspec.Struct, frozen=True):
    """A record to write: `of` is the place of the refused one."""

    of: Place
    key: bytes
    value: bytes
    timestamp_ms: int
    headers: list[tuple[str, bytes]]


class Retried(msgspec.Struct):
    """What came of a record that was written again.

    Attributes:
        retry: the record. place: where it stands now.
        status: of its outcome, as the HTTP call would answer; None if there is no outcome (yet).
        refusal: why it was refused again. issues: what an answer to a request says. applied: whether a worker is past it.
    """

    retry: Retry
    place: Place
    status: int | None = None
    refusal: Letter | None = None
    issues: list[str] = []
    applied: bool = False


def make_retry(letter: Letter, original: Original, *, edited: bytes | None = None, set_key: bool = False) -> Retry:
    """Return the record to write for a refused one.

    Raises:
        RefusedRetry: it would be refused again whatever the state, or is none of a user's.
    """
    place, value, key = letter.place, original.value if edited is None else edited, original.key
    if edited is None and control_type(value):
        if letter.reason != "internal_error" or letter.key is None:
            raise RefusedRetry("control records are the program's own: plaudit tick, plaudit catalog publish")
        key, value = letter.key, _wake(letter.key)
    value = _with_id(value, place)
    try:
        decode(value)
        found = loose_fields(value)
    except RejectedError as error:
        raise RefusedRetry(f"it would be refused again: {error}. Mend it with --edit FILE") from error
    expected = user_key(found.tenant, found.user_id)
    if key != expected and edited is None and not set_key:
        raise RefusedRetry(f"its key {key!r} is not that of its user, {expected!r}; --set-key sets it")
    headers = [(name, data) for name, data in original.headers if name != RETRY_HEADER]
    timestamp_ms = min(max(original.timestamp, 0), time.time_ns() // 1_000_000)
    return Retry(place, expected, value, timestamp_ms, [*headers, (RETRY_HEADER, str(place).encode())])


def _wake(key: bytes) -> bytes:
    """Return an identify record that changes nothing: with it a user that was set aside goes on (X32)."""
    tenant, separator, user = key.decode().rpartition("\0")
    record = {"type": "identify", "user": user}
    return msgspec.json.encode({**record, "tenant": tenant} if separator else record)


def _with_id(value: bytes | None, place: Place) -> bytes:
    """Return a value with an event id: what is sent again twice counts once (D-91). All else stays as it is written."""
    if value is None:
        raise RefusedRetry("the record has no value; give one with --edit FILE, or drop it")
    try:
        fields = _fields.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedRetry(f"it is no JSON object ({error}). Mend it with --edit FILE") from error
    if "eventId" in fields:
        return value
    start = value.index(b"{") + 1
    comma = b"," if fields else b""
    return value[:start] + b'"eventId":' + msgspec.json.encode(f"retry:{place}") + comma + value[start:]


class Sender:
    """Writes records again, and watches what comes of them. An async context manager."""

    def __init__(self, brokers: Brokers, names: Names) -> None:
        """Nothing is connected yet."""
        self._brokers = brokers
        self._names = names

    async def send(self, retries: Sequence[Retry]) -> list[Retried]:
        """Write records; return once all are acknowledged.

        Raises:
            CommandError: the broker does not take them.
        """
        quiet_logging()
        producer = AIOKafkaProducer(
            **self._brokers.client(),
            enable_idempotence=True,
            acks="all",
            max_request_size=MAX_TOPIC_RECORD_BYTES,
        )
        topic = self._names.input
        try:
            await producer.start()
            partitions = len(await producer.partitions_for(topic))
            futures = [
                await producer.send(
                    topic,
                    one.value,
                    one.key,
                    partition=partition_of(one.key, partitions),
                    timestamp_ms=one.timestamp_ms,
                    headers=one.headers,
                )
                for one in retries
            ]
            done = [await future for future in futures]
        except KafkaError as error:
            raise CommandError(f"Kafka at {self._brokers} does not take the records: {error!r}") from error
        finally:
            await producer.stop()
        return [Retried(retry, Place(topic, at.partition, at.offset)) for retry, at in zip(retries, done, strict=True)]

    async def ends(self, one: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        """Return where the topics end that will tell what comes of records."""
        places = [place for name in (OUTCOMES, REJECTED) for place in await self._places(one, name)]
        return await log_ends(one, places)

    async def _places(self, one: AIOKafkaConsumer, name: str) -> list[TopicPartition]:
        return await partitions_of(one, self._names.output(name))

    async def watch(self, sent: Sequence[Retried], begins: dict[TopicPartition, int], timeout_s: float) -> None:
        """Fill in what came of records within `timeout_s`; `begins` is `ends` from before they were written."""
        deadline = time.monotonic() + timeout_s
        async with Applied(self._brokers, self._names) as applied, consumer(self._brokers) as one:
            while time.monotonic() < deadline:
                offsets = await applied.offsets()
                passed = all(offsets.get(item.place.partition, 0) > item.place.offset for item in sent)
                if passed:
                    break
            await self._read(one, sent, begins, deadline)
            for item in sent:
                item.applied = offsets.get(item.place.partition, 0) > item.place.offset

    async def _read(
        self, one: AIOKafkaConsumer, sent: Sequence[Retried], begins: dict[TopicPartition, int], deadline: float
    ) -> None:
        by_place = {item.place: item for item in sent}
        by_id = {(item.retry.key, event_id_of(item.retry.value)): item for item in sent}
        partitions = {item.place.partition for item in sent}
        ends = await self.ends(one)
        open_places = {
            place for place, end in ends.items() if place.partition in partitions and begins.get(place, 0) < end
        }
        if not open_places:
            return
        one.assign(list(open_places))
        for place in open_places:
            one.seek(place, begins.get(place, 0))
        rejected = self._names.output(REJECTED)
        while open_places and time.monotonic() < deadline + 5:
            for place, records in (await one.getmany(*open_places, timeout_ms=POLL_MS)).items():
                for record in records:
                    if place.topic == rejected:
                        _note_refusal(record, by_place)
                    else:
                        _note_outcome(record, by_id)
            open_places = {place for place in open_places if await one.position(place) < ends[place]}


def _note_refusal(record: Any, by_place: dict[Place, Retried]) -> None:
    letter = to_letter(record)
    if letter is not None and letter.place in by_place:
        by_place[letter.place].refusal = letter


def _note_outcome(record: Any, by_id: dict[tuple[bytes, str | None], Retried]) -> None:
    item = by_id.get((record.key, event_id_of(record.value)))
    if item is not None:
        found = msgspec.json.decode(record.value)
        item.status = found["status"]
        item.issues = [f"{issue['severity']}: {issue['message']}" for issue in found.get("issues", ())]
