"""The transaction port on Kafka: one transactional producer per worker."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
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
from aiokafka.producer.transaction_manager import TransactionState
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from processors.engine.errors import AbortableError, FencedError, RetriableError
from processors.engine.kip447 import FORBIDDEN, FencedInstanceIdError, GroupMember, GroupSender
from processors.engine.round import Output, Target

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

STEP_TIMEOUT_S: Final = 30.0
"""No step of a transaction takes longer, or the transaction is given up: the broker has ended it long ago."""

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

    def __init__(self, bootstrap: str, transactional_id: str, group: str, client_id: str = "plaudit") -> None:
        """Nothing is connected yet. `group` is the consumer group whose offsets are committed."""
        self._bootstrap = bootstrap
        self._transactional_id = transactional_id
        self._group = group
        self._client_id = client_id
        self._member: GroupMember | None = None
        self._producer: AIOKafkaProducer | None = None
        self._deliveries: list[asyncio.Task[None]] = []
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
            bootstrap_servers=self._bootstrap,
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
        deliveries, self._deliveries = self._deliveries, []
        for delivery in deliveries:
            delivery.cancel()
        await asyncio.gather(*deliveries, return_exceptions=True)
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
        accumulator.fail_all(KafkaError("the producer was given up"))
        batches = [
            *accumulator._pending_batches,
            *(batch for queue in accumulator._batches.values() for batch in queue),
        ]
        futures = [future for batch in batches for future in (batch.future, batch._drain_waiter)]
        for future in (*futures, producer._txn_manager._transaction_waiter):
            if future is not None and future.done() and not future.cancelled():
                future.exception()  # asked for, so that asyncio does not report it as forgotten
        await producer.client.close()

    async def restart(self) -> None:
        """Start anew: the open transaction is aborted before this returns."""
        await self.stop()
        await self.start()

    async def begin(self, outputs: set[Target]) -> None:
        """Begin, and register all partitions before the first record: the broker refuses records of others, and
        answers in a way that costs a pause."""
        producer = self._ready("begin")
        self._open = True
        await self._guard("begin", producer.begin_transaction())
        for topic, partition in outputs:
            producer._txn_manager.maybe_add_partition_to_txn(TopicPartition(topic, partition))

    async def send(self, topic: str, partition: int, records: Sequence[Output]) -> None:
        """Build batches and hand them to a task that sends them one after another."""
        producer = self._ready("send")
        batches = []
        batch = producer.create_batch()
        for key, value, headers in records:
            if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                batches.append(batch)
                batch = producer.create_batch()
                if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                    raise AbortableError("send", ValueError(f"a record for {topic} does not fit an empty batch"))
        batches.append(batch)
        self._deliveries.append(asyncio.create_task(self._deliver(producer, topic, partition, batches)))

    async def _deliver(self, producer: AIOKafkaProducer, topic: str, partition: int, batches: list[Any]) -> None:
        acknowledgements = []
        for batch in batches:
            batch.close()
            acknowledgements.append(await producer.send_batch(batch, topic, partition=partition))
        await _all(acknowledgements)

    async def flush(self) -> None:
        """Wait for the acknowledgement of every batch."""
        self._ready("flush")
        deliveries, self._deliveries = self._deliveries, []
        await self._guard("flush", _all(deliveries))

    async def send_offsets(self, offsets: Mapping[Target, int]) -> None:
        """Commit offsets within the transaction, in the name of the member that got the partitions."""
        producer = self._ready("offsets")
        assert not self._deliveries, "outputs are not acknowledged yet"
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
        if not self._open and not self._deliveries and self._producer is not None:
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


async def _all(calls: Sequence[Awaitable[Any]]) -> None:
    """Wait for all, then raise the first error: asyncio would report the others as forgotten."""
    for result in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
