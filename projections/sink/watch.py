"""How a sink looks from outside: what it measures of itself, whether it lives, whether it does its share."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from prometheus_client.core import GaugeMetricFamily

from processors.engine.instruments import gauge
from processors.engine.lag import Backlog
from processors.engine.serving import LOOK_S, SILENT_S, STUCK_S, Check, build_info
from projections.sink.loop import SinkLoop
from projections.sink.metrics import PULSE
from schemas import metrics

log = structlog.get_logger(__name__)

ANSWER_S: Final = 10.0
"""How long a look waits for Kafka."""

PING_S: Final = 3.0
"""How long a check of readiness waits for ClickHouse."""


class SinkWatch:
    """Watches one sink (see serving.Watched)."""

    process = "sink"

    def __init__(
        self,
        loop: SinkLoop,
        instance: str,
        *,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`instance` is its name; `now` and `wall` give seconds."""
        self._loop = loop
        self._instance = instance
        self._now, self._wall = now, wall
        self._backlogs: dict[TopicPartition, Backlog] = {}
        self._beats = -1
        self._moved_at = self._kafka_at = now()

    @property
    def instance(self) -> str:
        """Instance name."""
        return self._instance

    async def run(self) -> None:
        """Look every LOOK_S. Ends only by cancellation."""
        while True:
            try:
                await self.look()
            except Exception as error:  # watching must not stop the work
                log.warning("look_failed", error=repr(error))
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Look whether the sink goes on, and where the topics end."""
        if self._beats != PULSE.beats:
            self._beats, self._moved_at = PULSE.beats, self._now()
        if not self._loop.joined:
            return
        places = self._loop.places()
        try:
            ends = await asyncio.wait_for(self._loop.ends(places), ANSWER_S)
        except (KafkaError, TimeoutError) as error:
            log.debug("look_unanswered", error=repr(error))
            return
        self._kafka_at = self._now()
        self._backlogs = {place: self._backlogs.get(place) or Backlog() for place in places}
        for place, end in ends.items():
            self._backlogs[place].look(self._now(), end)

    # health

    def live(self) -> list[Check]:
        """See serving.Watched. A sink that waits for Kafka or ClickHouse is alive."""
        stuck_s = self._now() - self._moved_at
        says = "goes on" if stuck_s <= LOOK_S + ANSWER_S else f"has not moved for {stuck_s:.0f} s"
        return [Check("loop", stuck_s < STUCK_S, says)]

    async def ready(self) -> list[Check]:
        """See serving.Watched. How far behind it is does not count: that is what alarms are for."""
        silent_s, count = self._now() - self._kafka_at, len(self._loop.places())
        if not self._loop.joined:
            group = Check("group", False, "not joined yet")
        elif not self._loop.ready:
            group = Check("group", False, "taking over after a rebalance")
        else:
            group = Check("group", True, f"{count} partitions" if count else "no partition: standing by")
        return [
            group,
            Check("kafka", self._loop.joined and silent_s < SILENT_S, f"answered {silent_s:.0f} s ago"),
            await self._clickhouse(),
        ]

    async def _clickhouse(self) -> Check:
        try:
            await asyncio.wait_for(self._loop.ping(), PING_S)
        except TimeoutError:
            return Check("clickhouse", False, f"does not answer within {PING_S:g} s")
        except Exception as error:  # whatever it is, that is the answer
            return Check("clickhouse", False, f"does not answer: {' '.join(str(error).split())[:200] or repr(error)}")
        return Check("clickhouse", True, "answers")

    # metrics

    def gauges(self) -> Iterable[GaugeMetricFamily]:
        """See serving.Watched."""
        places = self._loop.places() if self._loop.joined else []
        ready = float(len(places)) if self._loop.ready else 0.0
        yield build_info(self.process, self._instance, False)
        yield gauge(
            metrics.PARTITIONS,
            {(self.process, "ready"): ready, (self.process, "recovering"): float(len(places)) - ready},
        )
        records: dict[tuple[str, ...], float] = {}
        seconds: dict[tuple[str, ...], float] = {}
        for place, backlog in self._backlogs.items():
            topic, done = (place.topic,), self._loop.done(place)
            records[topic] = records.get(topic, 0.0) + backlog.records(done)
            seconds[topic] = max(seconds.get(topic, 0.0), self._seconds(place, backlog, done))
        yield gauge(metrics.SINK_LAG_RECORDS, records)
        yield gauge(metrics.SINK_LAG_SECONDS, seconds)
        tables = self._loop.tables.items()
        yield gauge(metrics.TABLE_INSERTED, {(table,): one.at_s for table, one in tables})
        yield gauge(metrics.TABLE_NEWEST, {(table,): one.newest_ms / 1000 for table, one in tables})

    def _seconds(self, place: TopicPartition, backlog: Backlog, done: int) -> float:
        newest_ms = self._loop.newest_ms(place)
        newest_s = None if newest_ms is None else self._now() - (self._wall() - newest_ms / 1000)
        return backlog.seconds(self._now(), done, newest_s)
