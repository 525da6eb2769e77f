"""A feed that goes on while things break, and knows how far it is."""

import asyncio
from typing import Final

from aiokafka import AIOKafkaProducer

from deploy.cli.support.history import HistoryRecord
from processors.agents.clock import tick_value
from processors.engine.names import Names
from schemas.brokers import Brokers

STEP_S: Final = 0.05
MOST_PER_STEP: Final = 50
STEPS_PER_GATE: Final = 150
"""A step sends this part of what is left to the next gate: the nearer the gate, the slower, but for a minute or so never
not at all."""

EVENTS_PER_TICK: Final = 1_000


class Feed:
    """Sends records in their order, with a tick of history time now and then.

    It slows down before a gate, so that there is something to be sent for as long as a fault takes, on any machine;
    the test opens the next gate once the fault is overcome.

    Attributes:
        sent: records that the broker has acknowledged, ticks not counted.
        total: records to send.
        next_offsets: by partition: the offset after the last acknowledged record, tick or not.
    """

    def __init__(self, brokers: Brokers, names: Names, records: list[HistoryRecord]) -> None:
        self.sent = 0
        self.total = len(records)
        self.next_offsets: dict[int, int] = {}
        self._records = records
        self._topic = names.input
        self._brokers = brokers
        self._gate = 0
        self._latest_ms = 0
        self._due = 0.0

    @property
    def share(self) -> float:
        """How much of the feed is sent, from 0 to 1."""
        return self.sent / self.total

    def open(self, share: float) -> None:
        """Let it go on until this share is sent."""
        self._gate = max(self._gate, round(share * self.total))

    async def run(self) -> None:
        """Send everything, as far as gates are open."""
        producer = AIOKafkaProducer(**self._brokers.client(), enable_idempotence=True, acks="all")
        await producer.start()
        try:
            partitions = sorted(await producer.partitions_for(self._topic))
            while self.sent < self.total:
                await asyncio.gather(self._step(producer, partitions), asyncio.sleep(STEP_S))
        finally:
            await producer.stop()

    async def _step(self, producer: AIOKafkaProducer, partitions: list[int]) -> None:
        left = self._gate - self.sent
        self._due += MOST_PER_STEP if self._gate == self.total else min(MOST_PER_STEP, left / STEPS_PER_GATE)
        run = self._records[self.sent : self.sent + min(left, int(self._due))]
        self._due -= int(self._due)
        sending = [await producer.send(self._topic, one.value, one.key, timestamp_ms=one.timestamp_ms) for one in run]
        self._latest_ms = max([self._latest_ms, *(one.timestamp_ms for one in run)])
        before = self.sent // EVENTS_PER_TICK
        if (self.sent + len(run)) // EVENTS_PER_TICK > before or (run and self.sent + len(run) == self.total):
            tick = tick_value(self._latest_ms)
            sending += [
                await producer.send(self._topic, tick, partition=partition, timestamp_ms=self._latest_ms)
                for partition in partitions
            ]
        for done in await asyncio.gather(*sending):
            self.next_offsets[done.partition] = max(self.next_offsets.get(done.partition, 0), done.offset + 1)
        self.sent += len(run)
