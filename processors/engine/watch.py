"""How a worker looks from outside: what it measures of itself, whether it lives, whether it does its share."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import structlog
from aiokafka.errors import KafkaError
from faust.types import TP
from prometheus_client.core import GaugeMetricFamily

from processors.engine.consumer import BatchConsumer
from processors.engine.fold import Fold
from processors.engine.instruments import gauge
from processors.engine.lag import Backlog
from processors.engine.serving import LOOK_S, SILENT_S, STUCK_S, Check, build_info
from schemas import metrics
from schemas.emission import Measures

if TYPE_CHECKING:
    from processors.engine.app import Engine

log = structlog.get_logger(__name__)

ANSWER_S: Final = 10.0
"""How long a look waits for the consumer's thread or for Kafka."""

OVERDUE_S: Final = 120.0
"""What is due for less is not overdue: ticks come now and then."""

MOST_TENANTS: Final = 50
"""Tenants whose catalogs are told."""


class EngineWatch:
    """Watches one engine (see serving.Watched)."""

    process = "worker"

    def __init__(
        self,
        engine: "Engine",
        *,
        clock: bool,
        compiled: bool,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`clock` and `compiled` say how the worker was started; `now` and `wall` give seconds."""
        self._engine = engine
        self._clock = clock
        self._compiled = compiled
        self._now, self._wall = now, wall
        self._backlogs: dict[int, Backlog] = {}
        self._positions: dict[int, int] = {}
        self._passed: dict[int, int] = {}
        """By partition: where the consumer stands at rest, behind what is not a record."""
        self._ended = 0
        self._moved_at = self._thread_at = self._kafka_at = now()

    @property
    def instance(self) -> str:
        """Instance name."""
        return self._engine.options.instance

    async def run(self) -> None:
        """Look every LOOK_S. Ends only by cancellation."""
        while True:
            try:
                await self.look()
            except Exception as error:  # watching must not stop the work
                log.warning("look_failed", error=repr(error))
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look at the rounds, at the consumer's thread, and at where the input log ends."""
        consumer = self._consumer
        if consumer is None:
            return
        if not consumer.busy or self._engine.metrics.ended != self._ended:
            self._ended, self._moved_at = self._engine.metrics.ended, self._now()
        topic, thread = self._engine.options.names.input, consumer.thread
        mine = {TP(topic, partition) for partition in self._assigned(consumer)}
        try:
            positions = await asyncio.wait_for(thread.run(thread.in_thread_positions(mine)), ANSWER_S)
            self._thread_at = self._now()
            asked = mine or {TP(topic, 0)}  # who stands by asks too, to know whether Kafka is there
            ends = await asyncio.wait_for(thread.run(thread.in_thread_log_ends(asked)), ANSWER_S)
        except (KafkaError, TimeoutError) as error:
            log.debug("look_unanswered", error=repr(error))
            return
        self._kafka_at = self._now()
        self._note(consumer, {tp.partition for tp in mine}, positions, ends)

    def _note(self, consumer: BatchConsumer, mine: set[int], positions: dict[TP, int], ends: dict[TP, int]) -> None:
        stood = {tp.partition: position for tp, position in positions.items()}
        at_rest = not consumer.busy
        self._passed = {
            partition: position
            for partition, position in stood.items()
            if at_rest and self._positions.get(partition) == position
        }
        self._positions = stood
        self._backlogs = {partition: self._backlogs.get(partition) or Backlog() for partition in mine}
        for tp, end in ends.items():
            if tp.partition in mine:
                self._backlogs[tp.partition].look(self._now(), end)

    @property
    def _consumer(self) -> BatchConsumer | None:
        return self._engine.consumer

    def _assigned(self, consumer: BatchConsumer) -> set[int]:
        topic = self._engine.options.names.input
        return {tp.partition for tp in consumer.assignment() if tp.topic == topic}

    def _ready_folds(self) -> dict[int, Fold]:
        """Folds of partitions that are at work."""
        consumer = self._consumer
        if consumer is None or not consumer.flow_active:
            return {}
        assigned = self._assigned(consumer)
        return {partition: fold for partition, fold in self._engine.table.folds.items() if partition in assigned}

    # health

    def live(self) -> list[Check]:
        """See serving.Watched."""
        if self._consumer is None:
            return [Check("rounds", True, "not started yet")]
        stuck_s, silent_s = self._now() - self._moved_at, self._now() - self._thread_at
        return [
            Check("rounds", stuck_s < STUCK_S, self._rounds(stuck_s)),
            Check("consumer_thread", silent_s < STUCK_S, f"answered {silent_s:.0f} s ago"),
        ]

    def _rounds(self, stuck_s: float) -> str:
        if stuck_s > LOOK_S + ANSWER_S:
            return f"the round in hand has not moved for {stuck_s:.0f} s"
        committed_at = self._engine.metrics.committed_at
        return "none yet" if committed_at is None else f"last one committed {self._now() - committed_at:.0f} s ago"

    async def ready(self) -> list[Check]:
        """See serving.Watched. A worker that stands by, without partitions, is ready: it takes over when it is asked."""
        consumer = self._consumer
        if consumer is None:
            return [Check("group", False, "not started yet")]
        member, silent_s = self._engine.worker.member, self._now() - self._kafka_at
        assigned, ready = self._assigned(consumer), self._ready_folds()
        if member is None:
            group = Check("group", False, "not joined yet")
        elif self._engine.worker.lost:
            group = Check("group", False, "fenced; joining anew")
        else:
            group = Check("group", True, f"member of generation {member.generation}")
        waiting = sorted(assigned - set(ready))
        if not consumer.flow_active:
            partitions = Check("partitions", False, f"rebalancing or recovering: {waiting or sorted(assigned)}")
        elif waiting:
            partitions = Check("partitions", False, f"recovering: {waiting}")
        else:
            partitions = Check("partitions", True, f"at work: {sorted(ready)}" if ready else "none: standing by")
        return [group, partitions, Check("kafka", silent_s < SILENT_S, f"answered {silent_s:.0f} s ago")]

    # metrics

    def gauges(self) -> Iterable[GaugeMetricFamily]:
        """See serving.Watched."""
        consumer, folds = self._consumer, self._ready_folds()
        assigned = set() if consumer is None else self._assigned(consumer)
        yield build_info(self.process, self.instance, self._compiled)
        yield gauge(metrics.INPUT_PARTITIONS, self._engine.options.partitions)
        states = {("ready",): float(len(folds)), ("recovering",): float(len(assigned - set(folds)))}
        yield gauge(metrics.PARTITIONS, {(self.process, *state): count for state, count in states.items()})
        yield gauge(metrics.CLOCK_LEADER, float(self._clock and consumer is not None and self._engine.leads()))
        overdue_at_ms = round((self._wall() - OVERDUE_S) * 1000)
        yield from self._of_partitions({number: fold.measures(overdue_at_ms) for number, fold in sorted(folds.items())})

    def _of_partitions(self, found: dict[int, Measures]) -> Iterable[GaugeMetricFamily]:
        sizes: dict[metrics.Metric, Mapping[int, float]] = {
            metrics.STATE_BYTES: {number: one.state_bytes for number, one in found.items()},
            metrics.STATE_USERS: {number: one.users for number, one in found.items()},
            metrics.REMEMBERED_IDS: {number: one.remembered_ids for number, one in found.items()},
            metrics.TIMERS: {number: one.timers for number, one in found.items()},
            metrics.TIMERS_OVERDUE: {number: one.overdue for number, one in found.items()},
            metrics.LAG_RECORDS: {number: self._lag_records(number) for number in found},
            metrics.LAG_SECONDS: {number: self._lag_seconds(number, one.tick_ms) for number, one in found.items()},
            metrics.TICK_TIMESTAMP: {
                number: one.tick_ms / 1000 for number, one in found.items() if one.tick_ms is not None
            },
        }
        for metric, values in sizes.items():
            yield gauge(metric, {(str(number),): float(value) for number, value in values.items()})
        versions: dict[tuple[str, ...], float] = {}
        for one in found.values():
            for tenant in sorted(one.catalogs)[:MOST_TENANTS]:
                key = (tenant, one.catalogs[tenant])
                versions[key] = versions.get(key, 0) + 1
        yield gauge(metrics.CATALOG_INFO, versions)

    def _done(self, partition: int) -> int:
        return max(self._engine.table.folds[partition].next_offset, self._passed.get(partition, 0))

    def _lag_records(self, partition: int) -> int:
        backlog = self._backlogs.get(partition)
        return 0 if backlog is None else backlog.records(self._done(partition))

    def _lag_seconds(self, partition: int, tick_ms: int | None) -> float:
        """A tick says when it was appended: what is not done came after the last one that is."""
        backlog = self._backlogs.get(partition)
        if backlog is None:
            return 0.0
        ticked_s = None if tick_ms is None else self._now() - (self._wall() - tick_ms / 1000)
        return backlog.seconds(self._now(), self._done(partition), ticked_s)
