"""The transaction port on Kafka: one transactional producer per worker."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    IllegalGenerationError,
    InvalidProducerEpoch,
    KafkaError,
    ProducerFenced,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from aiokafka.producer.message_accumulator import MessageAccumulator, MessageBatch
from aiokafka.producer.transaction_manager import TransactionState
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from processors.engine.errors import AbortableError, FencedError, RetriableError
from processors.engine.kip447 import FORBIDDEN, FencedInstanceIdError, GroupMember, GroupSender
from processors.engine.names import Names
from processors.engine.round import NO_HEADERS, Change, Headers, Target, headers_of
from schemas.brokers import Brokers
from schemas.emission import Emission

log = structlog.get_logger(__name__)

TRANSACTION_TIMEOUT_MS: Final = 10_000
"""How long an abandoned transaction can block readers and the next owner of its partitions."""

RETRY_BACKOFF_MS: Final = 10
"""aiokafka's 100 ms are the larger part of a round: a broker refuses the first produce request of a transaction now
and then while the one before is being ended."""

BATCH_BYTES: Final = 256 * 1024
"""Size of a record batch. A larger record goes alone. One request holds one batch per partition."""

MAX_REQUEST_BYTES: Final = 12_000_000
"""Above the largest record that the topics take."""

STEP_TIMEOUT_S: Final = 12.0
"""No step of a transaction takes longer, or the transaction is given up: the broker has ended it by then."""

DISCARD_TIMEOUT_S: Final = 2.0
"""What a producer that is given up gets to end its tasks."""

START_TIMEOUT_S: Final = 60.0

FENCES: Final = (
    ProducerFenced,
    InvalidProducerEpoch,
    IllegalGenerationError,
    UnknownMemberIdError,
    RebalanceInProgressError,
    FencedInstanceIdError,
)


class KafkaPort:
    """Publishes rounds on Kafka (see round.TransactionPort).

    A transaction is given up by replacing the producer: the new one's InitProducerId ends what the old one has open,
    whatever state it is in, and starts new sequence numbers. aiokafka's own abort does neither after an error.
    """

    def __init__(self, brokers: Brokers, transactional_id: str, group: str, client_id: str = "plaudit") -> None:
        """Nothing is connected yet. `group` is the consumer group whose offsets are committed."""
        self._brokers = brokers
        self._transactional_id = transactional_id
        self._group = group
        self._client_id = client_id
        self._member: GroupMember | None = None
        self._producer: AIOKafkaProducer | None = None
        self._topics: set[str] = set()
        """Topics that the producer knows the partitions of."""
        self._outlets: dict[int, dict[str, _Outlet]] = {}
        """What is being filled, by partition and logical topic; the changelog's is under its name."""
        self._sent: list[MessageBatch] = []
        """Batches handed to the sender since `begin`."""
        self._open = False

    def adopt(self, member: GroupMember) -> None:
        """Commit offsets in the name of `member` from now on. To be called at assignment, and only there: a member id
        or generation read later may belong to an assignment that came after the records in hand."""
        self._member = member
        if self._producer is not None:
            self._producer._sender.member = member

    @property
    def member(self) -> GroupMember | None:
        """In whose name offsets are committed."""
        return self._member

    async def start(self) -> None:
        """Connect, and end whatever an earlier producer of this transactional id has left open. RetriableError if the
        brokers do not answer."""
        assert self._producer is None
        producer = AIOKafkaProducer(
            **(self._brokers.client() | {"request_timeout_ms": TRANSACTION_TIMEOUT_MS}),
            client_id=self._client_id,
            transactional_id=self._transactional_id,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            acks="all",
            linger_ms=0,
            max_batch_size=BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
            retry_backoff_ms=RETRY_BACKOFF_MS,
        )
        sender = GroupSender(
            producer.client,
            acks=-1,
            txn_manager=producer._txn_manager,
            message_accumulator=producer._message_accumulator,
            retry_backoff_ms=RETRY_BACKOFF_MS,
            request_timeout_ms=producer._request_timeout_ms,
        )
        sender.member = self._member
        producer._sender = sender
        self._producer = producer
        self._open = False
        try:
            await asyncio.wait_for(producer.start(), START_TIMEOUT_S)
        except (KafkaError, TimeoutError) as error:
            await self.stop()
            if isinstance(error, FORBIDDEN):
                raise
            raise RetriableError(f"the producer cannot start: {error!r}") from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Let go of the producer. An open transaction is left to the next `start`, or to its time-out."""
        producer, self._producer = self._producer, None
        sent, self._sent = self._sent, []
        self._outlets.clear()
        self._topics.clear()
        self._open = False
        if producer is None:
            return
        producer._closed = True
        producer._message_accumulator._closed = True
        task = producer._sender.sender_task
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=DISCARD_TIMEOUT_S)
        accumulator = producer._message_accumulator
        # aiokafka forgets that those to be sent again are pending, and stumbles over it when they fail.
        accumulator._pending_batches.update(batch for queue in accumulator._batches.values() for batch in queue)
        accumulator.fail_all(KafkaError("the producer was given up"))
        batches = [*sent, *(batch for queue in accumulator._batches.values() for batch in queue)]
        futures = [future for batch in batches for future in (batch.future, batch._drain_waiter)]
        for future in (*futures, producer._txn_manager._transaction_waiter):
            if future is not None and future.done() and not future.cancelled():
                future.exception()  # asked for, so that asyncio does not report it as forgotten
        await producer.client.close()

    async def restart(self) -> None:
        """Start anew: the open transaction is aborted before this returns."""
        await self.stop()
        await self.start()

    async def begin(self) -> None:
        """Begin; the broker hears of it with the first output."""
        producer = self._ready("begin")
        self._open = True
        await self._guard("begin", producer.begin_transaction())

    async def send(
        self, names: Names, partition: int, emissions: Sequence[Emission], changes: Sequence[Change] | None
    ) -> None:
        """Fill batches, and queue the full ones; with `changes`, all of them. Partitions are registered before any of
        their batches is queued: the broker refuses records of others, and answers in a way that costs a pause."""
        await self._guard("send", self._fill(names, partition, emissions, changes))

    async def _fill(
        self, names: Names, partition: int, emissions: Sequence[Emission], changes: Sequence[Change] | None
    ) -> None:
        failure = self._ready("send")._message_accumulator._exception
        if failure is not None:  # the sender task has ended, of a fence for instance
            raise failure
        outlets = self._outlets.setdefault(partition, {})
        for topic in {emission.topic for emission in emissions}.difference(outlets):
            outlets[topic] = await self._open_outlet(names.output(topic), partition)
        if names.changelog not in outlets:
            outlets[names.changelog] = await self._open_outlet(names.changelog, partition)
        now_ms = int(time.time() * 1000)
        for emission in emissions:  # the hot loop of publishing
            outlet, headers = outlets[emission.topic], headers_of(emission)
            if outlet.append(timestamp=now_ms, key=emission.key, value=emission.value, headers=headers) is None:
                outlet.turn(now_ms, emission.key, emission.value, headers)
        if changes is not None:
            outlet = outlets[names.changelog]
            for key, value in changes:
                if outlet.append(timestamp=now_ms, key=key, value=value, headers=NO_HEADERS) is None:
                    outlet.turn(now_ms, key, value, NO_HEADERS)
            for outlet in self._outlets.pop(partition).values():
                outlet.close()

    async def _open_outlet(self, topic: str, partition: int) -> "_Outlet":
        producer = self._ready("send")
        if topic not in self._topics:
            await producer.client._wait_on_metadata(topic)
            self._topics.add(topic)
        tp = TopicPartition(topic, producer._partition(topic, partition, None, None, None, None))
        producer._txn_manager.maybe_add_partition_to_txn(tp)
        return _Outlet(producer._message_accumulator, tp, self._sent)

    async def flush(self) -> None:
        """Wait for the acknowledgement of every batch."""
        self._ready("flush")
        assert not self._outlets, "a partition without changelog"
        await self._guard("flush", _acknowledged(self._sent))
        self._sent.clear()

    async def send_offsets(self, offsets: Mapping[Target, int]) -> None:
        """Commit offsets within the transaction, in the name of the member that got the partitions."""
        producer = self._ready("offsets")
        assert not self._sent, "outputs are not acknowledged yet"
        structured = {
            TopicPartition(topic, partition): OffsetAndMetadata(offset, "")
            for (topic, partition), offset in offsets.items()
        }
        await self._guard("offsets", producer.send_offsets_to_transaction(structured, self._group))

    async def commit(self) -> None:
        """Commit. Once the request may have left, only success or FencedError: the outcome is then unknown."""
        producer = self._ready("commit")
        if producer._txn_manager.state is not TransactionState.IN_TRANSACTION:
            raise AbortableError("commit", KafkaError(f"transaction in state {producer._txn_manager.state.name}"))
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                await producer.commit_transaction()
        except Exception as error:
            raise FencedError("commit", error) from error
        self._open = False

    async def abort(self) -> None:
        """Give the open transaction up, if there is one."""
        if not self._open and self._producer is not None:
            return
        try:
            await self.restart()
        except Exception as error:
            raise FencedError("abort", error) from error

    def _ready(self, step: str) -> AIOKafkaProducer:
        if self._producer is None:
            raise AbortableError(step, KafkaError("the producer is not started"))
        return self._producer

    async def _guard(self, step: str, call: Any) -> None:
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                await call
        except FENCES as error:
            raise FencedError(step, error) from error
        except (KafkaError, TimeoutError, AssertionError) as error:
            raise AbortableError(step, error) from error


class _Outlet:
    """The way to one partition of a topic, within a transaction."""

    def __init__(self, accumulator: MessageAccumulator, tp: TopicPartition, sent: list[MessageBatch]) -> None:
        self._accumulator = accumulator
        self._tp = tp
        self._sent = sent
        self._batch = accumulator.create_builder()
        self.append = self._batch.append
        """Add a record to the batch; None: it is full."""

    def turn(self, timestamp_ms: int, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Let the full batch go out, and begin the next with a record."""
        self.close()
        self._batch = self._accumulator.create_builder()
        self.append = self._batch.append
        if self.append(timestamp=timestamp_ms, key=key, value=value, headers=headers) is None:
            raise KafkaError(f"a record for {self._tp.topic} does not fit an empty batch")

    def close(self) -> None:
        """Queue the batch. Those of one partition go out one after another, in order. (`send_batch` does the same, but
        waits until the one before has left; a round is bounded anyway.)"""
        if self._batch.record_count():
            self._batch.close()
            self._sent.append(self._accumulator._append_batch(self._batch, self._tp))


async def _acknowledged(batches: Sequence[MessageBatch]) -> None:
    """Wait for all, then raise the first error: asyncio would report the others as forgotten. Cancels nothing."""
    if batches:
        await asyncio.wait([batch.future for batch in batches])
    errors = [error for batch in batches if (error := batch.future.exception()) is not None]
    if errors:
        raise errors[0]
