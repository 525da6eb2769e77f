"""The transaction coordinator: producer ids and epochs, open transactions, and their markers, which come late."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from aiokafka import errors
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from tests.simulation.kafka.group import Group
from tests.simulation.kafka.log import PartitionLog
from tests.simulation.loop import SimLoop

MARKER_S = 0.05
"""Markers are written within this after a transaction is decided, but for one in LATE."""

LATE = 2
LATE_S = 0.5


class Producer:
    """State of a transactional id."""

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self.pid = pid
        self.epoch = -1
        self.ongoing = False
        self.ending = False
        self.committed: bool | None = None
        """How the last transaction ended."""
        self.partitions: set[TopicPartition] = set()
        self.groups: set[str] = set()
        self.began = 0
        """Counts transactions, for the time-out."""
        self.left = 0
        """Markers that are still to be written."""
        self.sequences: dict[TopicPartition, int] = {}


class Transactions:
    """All transactional ids of the cluster. Methods are what brokers do with a request; they raise aiokafka's errors."""

    def __init__(
        self,
        loop: SimLoop,
        rng: random.Random,
        log: Callable[[TopicPartition], PartitionLog],
        group: Callable[[str], Group],
        count: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._rng = rng
        self._log = log
        self._group = group
        self._count = count
        self._producers: dict[str, Producer] = {}

    def init(self, name: str) -> tuple[int, int]:
        """InitProducerId: end what is open, then give the next epoch; the caller asks again meanwhile."""
        producer = self._producers.get(name)
        if producer is None:
            producer = self._producers[name] = Producer(name, 1000 + len(self._producers))
        if producer.ongoing:
            producer.epoch += 1  # fences the one before at once
            self._end(producer, commit=False)
        if producer.ending:
            raise errors.ConcurrentTransactions()
        producer.epoch += 1
        producer.sequences.clear()
        producer.committed = None
        return producer.pid, producer.epoch

    def add_partitions(self, name: str, epoch: int, tps: set[TopicPartition], timeout_s: float) -> None:
        """AddPartitionsToTxn."""
        self._begin(name, epoch, timeout_s).partitions |= tps

    def add_offsets(self, name: str, epoch: int, group: str, timeout_s: float) -> None:
        """AddOffsetsToTxn."""
        self._begin(name, epoch, timeout_s).groups.add(group)

    def produce(self, name: str, epoch: int, tp: TopicPartition, sequence: int, rows: list[Any]) -> None:
        """Produce a batch: rows are (timestamp, key, value, headers). A batch that came already is not added again."""
        producer = self._current(name, epoch)
        expected = producer.sequences.get(tp, 0)
        if sequence < expected:
            return
        if producer.ending:
            raise errors.NotEnoughReplicasError()
        if not producer.ongoing or tp not in producer.partitions:
            raise errors.InvalidTxnState()
        if sequence > expected:
            raise errors.OutOfOrderSequenceNumber()
        producer.sequences[tp] = expected + 1
        log = self._log(tp)
        for timestamp, key, value, headers in rows:
            log.append(timestamp, key, value, tuple(headers), producer.pid)

    def commit_offsets(
        self,
        name: str,
        epoch: int,
        group: str,
        member: tuple[int, str, str | None],
        offsets: dict[TopicPartition, OffsetAndMetadata],
    ) -> None:
        """TxnOffsetCommit. `member`: generation, member id, instance id."""
        producer = self._current(name, epoch)
        if producer.ending:
            raise errors.ConcurrentTransactions()
        if not producer.ongoing or group not in producer.groups:
            raise errors.InvalidTxnState()
        self._group(group).commit_in_transaction(producer.pid, member, offsets)

    def end(self, name: str, epoch: int, *, commit: bool) -> None:
        """EndTxn: decided when it answers, but the markers are still to come."""
        producer = self._current(name, epoch)
        if producer.ongoing:
            self._end(producer, commit=commit)
        elif producer.ending:
            raise errors.ConcurrentTransactions()
        elif producer.committed is not commit:
            raise errors.InvalidTxnState()

    def _current(self, name: str, epoch: int) -> Producer:
        producer = self._producers[name]
        if epoch != producer.epoch:
            raise errors.InvalidProducerEpoch()
        return producer

    def _begin(self, name: str, epoch: int, timeout_s: float) -> Producer:
        producer = self._current(name, epoch)
        if producer.ending:
            raise errors.ConcurrentTransactions()
        if not producer.ongoing:
            producer.ongoing = True
            producer.began += 1
            self._loop.at_server(timeout_s, self._time_out, producer, producer.began)
        return producer

    def _time_out(self, producer: Producer, began: int) -> None:
        if producer.ongoing and producer.began == began:
            self._count("transaction timed out")
            producer.epoch += 1
            self._end(producer, commit=False)

    def _end(self, producer: Producer, *, commit: bool) -> None:
        producer.ongoing, producer.ending, producer.committed = False, True, commit
        steps = [
            *(
                partial(self._log(tp).end_transaction, producer.pid, commit=commit)
                for tp in sorted(producer.partitions)
            ),
            *(
                partial(self._group(name).end_transaction, producer.pid, commit=commit)
                for name in sorted(producer.groups)
            ),
        ]
        producer.partitions, producer.groups = set(), set()
        producer.left = len(steps)
        rng = self._rng
        together = rng.random() * MARKER_S
        apart = rng.random() < 0.8  # leaders on several brokers: each writes its marker when it gets to it
        for step in steps:
            delay = rng.random() * (LATE_S if rng.random() * LATE < 1 else MARKER_S) if apart else together
            self._loop.at_server(delay, self._mark, producer, step)
        if not steps:
            producer.ending = False

    @staticmethod
    def _mark(producer: Producer, step: Callable[[], None]) -> None:
        step()
        producer.left -= 1
        producer.ending = producer.left > 0
