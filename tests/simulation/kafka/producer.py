"""In place of aiokafka's transactional producer: its outer parts as far as producer.KafkaPort uses them, aiokafka's own
state machine of transactions, and a sender that does what aiokafka's does, on the simulated cluster."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from aiokafka import errors
from aiokafka.producer.transaction_manager import TransactionManager, TransactionResult
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from processors.engine.kip447 import FENCING, GroupMember
from tests.simulation.kafka.cluster import Cluster
from tests.simulation.loop import current_process

BATCH_RECORDS = 8
"""Records after which a batch is full: few, so that batches of one partition follow each other."""

EXPIRY_S = 2.5
"""A batch that could not be delivered for so long fails."""


class Batch:
    """A batch: builder, and what is queued."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._drain_waiter: asyncio.Future[None] | None = None
        self.tp = TopicPartition("", 0)
        self.sequence = -1
        self.expires = 0.0

    def append(self, *, timestamp: int, key: bytes | None, value: bytes | None, headers: Any) -> object | None:
        """Add a record; None: the batch is full."""
        if len(self.rows) >= BATCH_RECORDS:
            return None
        self.rows.append((timestamp, key, value, headers))
        return self

    def record_count(self) -> int:
        """Number of records."""
        return len(self.rows)

    def close(self) -> None:
        """Take no more."""


class Accumulator:
    """aiokafka's message accumulator."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._batches: dict[TopicPartition, deque[Batch]] = {}
        self._pending_batches: set[Batch] = set()
        self._exception: BaseException | None = None
        self._closed = False
        self._wake = wake

    def create_builder(self) -> Batch:
        """A new batch."""
        return Batch()

    def _append_batch(self, batch: Batch, tp: TopicPartition) -> Batch:
        if self._exception is not None:
            raise self._exception
        batch.tp = tp
        batch.expires = asyncio.get_running_loop().time() + EXPIRY_S
        self._batches.setdefault(tp, deque()).append(batch)
        self._wake()
        return batch

    def fail_all(self, error: BaseException) -> None:
        """Fail what is queued, and what will be."""
        for queue in self._batches.values():
            for batch in queue:
                if not batch.future.done():
                    batch.future.set_exception(error)
                    batch.future.exception()
        self._exception = error


class SimProducer:
    """aiokafka.AIOKafkaProducer with a transactional id. Belongs to the process that makes it."""

    cluster: Cluster
    """Set for each simulated world (see worker.installed)."""

    def __init__(self, **options: Any) -> None:
        self._txn_manager = TransactionManager(options["transactional_id"], options["transaction_timeout_ms"])
        self._sender: Sender
        self._closed = False
        self._request_timeout_ms = 40_000
        self._wake: Callable[[], None] = _nothing
        self._message_accumulator = Accumulator(lambda: self._wake())
        self.client = self

    async def start(self) -> None:
        """Get producer id and epoch."""
        self._wake = self._sender.wake
        await self._sender.start()

    async def close(self) -> None:
        """Close the connections."""

    async def _wait_on_metadata(self, topic: str) -> None:
        assert topic in self.cluster.topics, topic

    def _partition(self, topic: str, partition: int, *_: Any) -> int:
        assert partition < self.cluster.topics[topic]
        return partition

    async def begin_transaction(self) -> None:
        """As aiokafka's."""
        await asyncio.shield(self._txn_manager.wait_for_pid())
        self._txn_manager.begin_transaction()

    async def send_offsets_to_transaction(self, offsets: dict[TopicPartition, OffsetAndMetadata], group: str) -> None:
        """As aiokafka's."""
        if not self._txn_manager.is_in_transaction():
            raise errors.IllegalOperation("Not in the middle of a transaction")
        waiting = self._txn_manager.add_offsets_to_txn(offsets, group)
        self._sender.wake()
        await asyncio.shield(waiting)

    async def commit_transaction(self) -> None:
        """As aiokafka's."""
        if self._txn_manager.transactional_id is None:
            raise errors.IllegalOperation("You need to configure transaction_id to use transactions")
        self._txn_manager.committing_transaction()
        self._sender.wake()
        await asyncio.shield(self._txn_manager.wait_for_transaction_end())


def _nothing() -> None:
    pass


class Sender:
    """In place of kip447.GroupSender: one task for what concerns the transaction, one for batches."""

    def __init__(self, producer: SimProducer, **options: Any) -> None:
        self.member: GroupMember | None = None
        self.sender_task: asyncio.Task[None] | None = None
        self._producer = producer
        self._cluster = producer.cluster
        self._manager: TransactionManager = options["txn_manager"]
        self._accumulator: Accumulator = options["message_accumulator"]
        self._backoff_s = options["retry_backoff_ms"] / 1000
        self._timeout_s = self._manager.transaction_timeout_ms / 1000
        self._woken = asyncio.Event()
        self._sequences: dict[TopicPartition, int] = {}
        self._in_flight = False
        self._process = current_process()

    def wake(self) -> None:
        """There is something to do."""
        self._woken.set()

    async def start(self) -> None:
        """InitProducerId, repeated until it is answered; then run."""
        name = self._manager.transactional_id
        transactions = self._cluster.transactions
        while True:
            try:
                pid, epoch = await self._cluster.request("InitProducerId", lambda: transactions.init(name))
                break
            except errors.KafkaError as error:
                if not isinstance(error, errors.ConcurrentTransactions) and not error.retriable:
                    raise
            await asyncio.sleep(self._backoff_s)
        self._manager.set_pid_and_epoch(pid, epoch)
        self.sender_task = asyncio.ensure_future(self._run())
        self.sender_task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._accumulator.fail_all(error)
            self._manager.fatal_error(error)

    async def _run(self) -> None:
        """Requests of the transaction one after another, and beside them one produce request at a time."""
        transactional: asyncio.Task[None] | None = None
        producing: asyncio.Task[None] | None = None
        try:
            while True:
                self._woken.clear()
                if transactional is not None and transactional.done():
                    transactional.result()
                    transactional = None
                if transactional is None and (work := self._transactional()) is not None:
                    transactional = asyncio.ensure_future(work)
                    transactional.add_done_callback(lambda _: self._woken.set())
                if producing is None or producing.done():
                    batches = self._drain()
                    if batches:
                        producing = asyncio.ensure_future(self._produce(batches))
                        producing.add_done_callback(lambda _: self._woken.set())
                    else:
                        producing = None
                self._in_flight = producing is not None
                await self._woken.wait()
        finally:
            for task in (transactional, producing):
                if task is not None:
                    task.cancel()

    def _transactional(self) -> Any:
        """The next request of the transaction, in aiokafka's order."""
        manager, transactions = self._manager, self._cluster.transactions
        name, epoch = manager.transactional_id, manager.producer_epoch
        tps = set(manager.partitions_to_add())
        if tps:
            return self._ask(
                "AddPartitionsToTxn",
                lambda: transactions.add_partitions(name, epoch, tps, self._timeout_s),
                lambda: [manager.partition_added(tp) for tp in tps],
            )
        group = manager.consumer_group_to_add()
        if group is not None:
            return self._ask(
                "AddOffsetsToTxn",
                lambda: transactions.add_offsets(name, epoch, group, self._timeout_s),
                lambda: manager.consumer_group_added(group),
            )
        commit = manager.offsets_to_commit()
        if commit is not None:
            return self._commit_offsets(*commit)
        result = manager.needs_transaction_commit()
        if result is not None and self._flushed():
            if manager.is_empty_transaction():
                manager.complete_transaction()
                return None
            return self._ask(
                "EndTxn",
                lambda: transactions.end(name, epoch, commit=result == TransactionResult.COMMIT),
                manager.complete_transaction,
            )
        return None

    def _flushed(self) -> bool:
        """Whether EndTxn may go: aiokafka waits for batches that are queued or on their way."""
        return not self._in_flight and not any(self._accumulator._batches.values())

    async def _ask(self, request: str, operation: Callable[[], Any], then: Callable[[], Any]) -> None:
        try:
            await self._cluster.request(request, operation)
        except errors.InvalidProducerEpoch:
            raise errors.ProducerFenced() from None
        except errors.KafkaError as error:
            if not isinstance(error, errors.ConcurrentTransactions) and not error.retriable:
                raise
            await asyncio.sleep(self._backoff_s)
        else:
            then()

    async def _commit_offsets(self, offsets: dict[TopicPartition, OffsetAndMetadata], group: str) -> None:
        manager, transactions, found = self._manager, self._cluster.transactions, self.member
        assert found is not None, "offsets are committed only by a member of the group"
        name, epoch, given = manager.transactional_id, manager.producer_epoch, dict(offsets)
        member = (found.generation, found.member_id, found.instance_id)

        def committed() -> None:
            for tp, offset in given.items():
                manager.offset_committed(tp, offset.offset, group)

        try:
            await self._ask(
                "TxnOffsetCommit", lambda: transactions.commit_offsets(name, epoch, group, member, given), committed
            )
        except tuple(FENCING.values()) as error:
            _, _, waiting = manager._pending_txn_offsets.popleft()
            waiting.set_exception(error)

    def _drain(self) -> list[Batch]:
        """The first queued batch of every partition that the transaction has."""
        missing = self._manager.partitions_to_add()
        found = []
        for tp, queue in self._accumulator._batches.items():
            if queue and tp not in missing:
                found.append(queue.popleft())
        return found

    async def _produce(self, batches: list[Batch]) -> None:
        manager, transactions = self._manager, self._cluster.transactions
        name, epoch = manager.transactional_id, manager.producer_epoch
        for batch in batches:
            if batch.sequence < 0:
                batch.sequence = self._sequences.get(batch.tp, 0)
                self._sequences[batch.tp] = batch.sequence + 1

        def append() -> list[errors.KafkaError | None]:
            found: list[errors.KafkaError | None] = []
            for batch in batches:
                try:
                    transactions.produce(name, epoch, batch.tp, batch.sequence, batch.rows)
                    found.append(None)
                except errors.KafkaError as error:
                    found.append(error)
            return found

        try:
            answers = await self._cluster.request("Produce", append)
        except errors.KafkaError as error:
            answers = [error] * len(batches)
        again = []
        now = asyncio.get_running_loop().time()
        for batch, answer in zip(batches, answers, strict=True):
            if answer is None:
                batch.future.set_result(None)
            elif answer.retriable and now < batch.expires:
                again.append(batch)
            else:
                fence = isinstance(answer, errors.InvalidProducerEpoch)
                batch.future.set_exception(errors.ProducerFenced() if fence else answer)
                batch.future.exception()
        if again:
            await asyncio.sleep(self._backoff_s)
            for batch in again:
                self._accumulator._batches[batch.tp].appendleft(batch)


def group_sender(producer: SimProducer, **options: Any) -> Sender:
    """In place of kip447.GroupSender's constructor; what comes first there is the client, which is the producer here."""
    options.pop("acks"), options.pop("request_timeout_ms")
    return Sender(producer, **options)
