"""A trickle of events while something else goes on: when each was published, and when its first derived event was read."""

import asyncio
import time
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.harness import POLL_S, Bench, BenchmarkError
from deploy.cli.support.kafka import partitions_of
from processors.engine.names import Names
from processors.rules.partitioner import partition_of
from schemas.topics import DEFAULT_PARTITIONS, LEDGER

LATE_S: Final = 60.0
"""How long after the last event its derived event is waited for."""

_decoder: Final = msgspec.json.Decoder(dict[str, Any])


class Trickle:
    """Publishes events of other users at an even pace and notes when each was published and read."""

    def __init__(self, bench: Bench, names: Names, *, metric: str, rate_per_s: int, users: int) -> None:
        """Nothing is connected yet. `metric` is of the catalog in force; `users` take turns."""
        self.published: dict[str, tuple[float, int]] = {}
        """By event id: when (perf_counter seconds), and in which partition."""
        self.read: dict[str, float] = {}
        self._bench = bench
        self._names = names
        self._metric, self._rate_per_s, self._users = metric, rate_per_s, users
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin."""
        ready = asyncio.Event()
        self._tasks = [asyncio.create_task(self._read(ready))]
        await ready.wait()
        self._tasks.append(asyncio.create_task(self._publish()))

    async def stop(self) -> None:
        """End, once all is read; BenchmarkError if something stays out."""
        self._stop.set()
        deadline = time.monotonic() + LATE_S
        while len(self.read) < len(self.published) or not self._tasks[1].done():
            for task in self._tasks:
                if task.done():
                    task.result()
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{len(self.published) - len(self.read)} events had no derived event")
            await asyncio.sleep(POLL_S)
        self._tasks[0].cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _publish(self) -> None:
        producer = AIOKafkaProducer(**self._bench.kafka.client(), acks="all", linger_ms=0)
        await producer.start()
        began, number = time.perf_counter(), 0
        try:
            while not self._stop.is_set():
                await asyncio.sleep(max(0.0, began + number / self._rate_per_s - time.perf_counter()))
                user, identity = f"other-{number % self._users}", f"t{number}"
                place = partition_of(user.encode(), DEFAULT_PARTITIONS)
                value = msgspec.json.encode({"eventId": identity, "metric": self._metric, "user": user, "value": 1})
                self.published[identity] = time.perf_counter(), place
                await producer.send(self._names.input, value, user.encode(), partition=place)
                number += 1
        finally:
            await producer.stop()

    async def _read(self, ready: asyncio.Event) -> None:
        reader = AIOKafkaConsumer(
            **self._bench.kafka.client(),
            enable_auto_commit=False,
            isolation_level="read_committed",
            fetch_max_wait_ms=10,
        )
        await reader.start()
        try:
            places = await partitions_of(reader, self._names.output(LEDGER))
            reader.assign(places)
            await reader.seek_to_end(*places)
            for place in places:
                await reader.position(place)
            ready.set()
            while True:
                polled = await reader.getmany(*places, timeout_ms=1000)
                now = time.perf_counter()
                for records in polled.values():
                    for record in records:
                        if record.headers[0] == ("type", b"metric.changed"):
                            identity = _decoder.decode(record.value).get("causationId", "")
                            if identity in self.published:
                                self.read.setdefault(identity, now)
        finally:
            await reader.stop()
