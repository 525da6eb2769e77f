"""The brokers: topics, the two coordinators, and the way requests go there and back, or get lost."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from aiokafka import errors
from aiokafka.structs import TopicPartition

from tests.simulation.kafka.group import Group
from tests.simulation.kafka.log import PartitionLog, Record
from tests.simulation.kafka.transactions import Transactions
from tests.simulation.loop import Process, SimLoop, current_lane

REQUEST_TIMEOUT_S = 1.5


class Weather:
    """How the network is: shares of requests, and seconds. A schedule draws it, and clears it at the end."""

    def __init__(self) -> None:
        self.delay_s = 0.002
        self.slow = 0.0
        """Share of requests or answers that take up to `slow_s`."""
        self.slow_s = 0.4
        self.lost = 0.0
        """Share of requests that never arrive."""
        self.unanswered = 0.0
        """Share of requests that are carried out, but whose answer is lost."""
        self.refused = 0.0
        """Share of the requests of transactions that brokers refuse with an error that repeating does not mend."""


FETCH = "Fetch"
REFUSABLE = frozenset({"Produce", "AddPartitionsToTxn", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn"})


class Cluster:
    """Kafka."""

    def __init__(self, loop: SimLoop, rng: random.Random, counts: Counter[str], topics: dict[str, int]) -> None:
        """`topics`: partitions by name. `counts` is told what goes wrong."""
        self.loop = loop
        self.rng = rng
        self.counts = counts
        self.topics = topics
        self.weather = Weather()
        self.logs = {
            tp: PartitionLog(tp)
            for name, size in topics.items()
            for tp in (TopicPartition(name, n) for n in range(size))
        }
        self.together: set[str] = set()
        """Groups whose topics are partitioned together."""
        self.groups: dict[str, Group] = {}
        self.transactions = Transactions(loop, rng, self.log, self.group, self.count)

    def count(self, kind: str) -> None:
        """Count an event."""
        self.counts[kind] += 1

    def log(self, tp: TopicPartition) -> PartitionLog:
        """Return a partition."""
        return self.logs[tp]

    def group(self, name: str) -> Group:
        """Return a group; it is made when it is first named."""
        group = self.groups.get(name)
        if group is None:
            together = name in self.together
            group = self.groups[name] = Group(
                name, self.loop, self.rng, self.topics.__getitem__, self.count, together=together
            )
        return group

    # requests

    def request(self, name: str, operation: Callable[[], Any]) -> asyncio.Future[Any]:
        """Send a request: `operation` is what a broker does with it. It may raise, or return a future of the answer.
        The future that this returns gets the answer, or KafkaError."""
        process = current_lane().process
        answer: asyncio.Future[Any] = self.loop.create_future()
        if not process.alive:
            return answer
        process.requests(name, "sent")
        if not process.alive:
            return answer
        weather, rng = self.weather, self.rng
        if process.cut or (weather.lost and rng.random() < weather.lost):
            if not process.cut:
                self.counts["request lost"] += 1
            self._fail(answer, process)
            return answer
        self.loop.at_server(self._delay(), self._arrive, process, name, operation, answer)
        return answer

    def _delay(self) -> float:
        weather, rng = self.weather, self.rng
        if weather.slow and rng.random() < weather.slow:
            self.counts["slow request"] += 1
            return rng.random() * weather.slow_s
        return rng.random() * weather.delay_s

    def _arrive(self, process: Process, name: str, operation: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
        refused = self.weather.refused
        try:
            if refused and name in REFUSABLE and self.rng.random() < refused:
                self.counts["request refused"] += 1
                raise errors.UnknownError()
            result = operation()
        except errors.KafkaError as error:
            result = error
        if process.alive:
            process.requests(name, "done")
        if not process.alive:
            return
        if isinstance(result, asyncio.Future):
            result.add_done_callback(lambda done: self._answer(process, name, done.result(), answer))
            return
        self._answer(process, name, result, answer)

    def _answer(self, process: Process, name: str, result: Any, answer: asyncio.Future[Any]) -> None:
        if process.alive and name == FETCH and result and isinstance(result, dict):
            process.requests(name, "filled")
        if not process.alive:
            return
        weather = self.weather
        if process.cut or (weather.unanswered and self.rng.random() < weather.unanswered):
            if not process.cut:
                self.counts["answer lost"] += 1
            self._fail(answer, process)
            return
        self.loop.at_server(self._delay(), self._deliver, process, result, answer)

    def _fail(self, answer: asyncio.Future[Any], process: Process) -> None:
        """The connection is gone at once, or nothing comes until the request times out."""
        if self.rng.random() < 0.5:
            self.loop.at_server(self._delay(), self._deliver, process, errors.KafkaConnectionError("gone"), answer)
        else:
            self.loop.at_server(REQUEST_TIMEOUT_S, self._deliver, process, errors.RequestTimedOutError(), answer)

    @staticmethod
    def _deliver(process: Process, result: Any, answer: asyncio.Future[Any]) -> None:
        if not process.alive or answer.done():
            return
        if isinstance(result, errors.KafkaError):
            answer.set_exception(result)
        else:
            answer.set_result(result)

    # reading

    def fetch(
        self, positions: dict[TopicPartition, int], most: int, wait_s: float, *, committed: bool
    ) -> dict[TopicPartition, tuple[list[Record], int]] | asyncio.Future[Any]:
        """Fetch: records and next position by partition, of those that moved; waits up to `wait_s` for some."""
        found = self._read(positions, most, committed=committed)
        if found or wait_s <= 0:
            return found
        waiting: asyncio.Future[Any] = self.loop.create_future()

        def look() -> None:
            if not waiting.done():
                found = self._read(positions, most, committed=committed)
                if found:
                    waiting.set_result(found)
                else:
                    self._watch(positions, look)

        def give_up() -> None:
            if not waiting.done():
                waiting.set_result({})

        self._watch(positions, look)
        self.loop.at_server(wait_s, give_up)
        return waiting

    def _watch(self, positions: dict[TopicPartition, int], look: Callable[[], None]) -> None:
        called = False

        def once() -> None:
            nonlocal called
            if not called:
                called = True
                self.loop.at_server(0, look)

        for tp in positions:
            self.logs[tp].when_moved(once)

    def _read(
        self, positions: dict[TopicPartition, int], most: int, *, committed: bool
    ) -> dict[TopicPartition, tuple[list[Record], int]]:
        found = {}
        for tp, position in positions.items():
            log = self.logs[tp]
            if position < (log.stable if committed else log.end):
                found[tp] = log.read(position, most, committed=committed)
        return found
