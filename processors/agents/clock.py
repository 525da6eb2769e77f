"""The clock: time as records of the input log (X7, architecture.md section 5)."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from processors.engine.catalogs import control_headers
from processors.engine.names import Names
from schemas.brokers import Brokers
from schemas.instants import format_instant

log = structlog.get_logger(__name__)

TICK_INTERVAL_S: Final = 30.0
LEADER_POLL_S: Final = 0.5


def tick_value(at_ms: int) -> bytes:
    """Return the value of a tick at `at_ms`, epoch milliseconds."""
    return f'{{"type":"tick","at":"{format_instant(at_ms)}"}}'.encode()


def now_ms() -> int:
    """Return the time of this machine, epoch milliseconds. Only the clock asks for it."""
    return time.time_ns() // 1_000_000


class Clock:
    """Writes ticks for as long as it leads."""

    def __init__(
        self,
        brokers: Brokers,
        names: Names,
        *,
        token: str = "",
        interval_s: float = TICK_INTERVAL_S,
        now: Callable[[], int] = now_ms,
    ) -> None:
        """`token` is the control token of the installation, if it has one; `interval_s` is the time between ticks."""
        self._brokers = brokers
        self._topic = names.input
        self._token = token
        self._interval_s = interval_s
        self._now = now

    async def run(self, leads: Callable[[], bool]) -> None:
        """Tick at once when `leads` becomes true, then at every interval while it is. Ends only by cancellation.

        Two workers may both think that they lead for a moment; ticks of both do no harm.
        """
        while True:
            try:
                await self._run(leads)
            except KafkaError as error:  # a tick was not written; the next one makes up for it
                log.warning("tick_not_written", error=repr(error))
            await asyncio.sleep(LEADER_POLL_S)

    async def _run(self, leads: Callable[[], bool]) -> None:
        """Raises KafkaError if the brokers do not answer or refuse: after some errors a producer refuses for good, so
        the next attempt needs a new one."""
        producer = _producer(self._brokers)
        try:
            await producer.start()
            last: float | None = None
            while True:
                if not leads():
                    last = None
                elif last is None or time.monotonic() - last >= self._interval_s:
                    last = time.monotonic()
                    await _write(producer, self._topic, self._now(), self._token)
                await asyncio.sleep(min(LEADER_POLL_S, self._interval_s))
        finally:
            await producer.stop()


async def write_tick_async(brokers: Brokers, at_ms: int, *, names: Names | None = None, token: str = "") -> int:
    """Write one tick at `at_ms` (epoch milliseconds, also the record timestamp) to every partition; return how many."""
    producer = _producer(brokers)
    await producer.start()
    try:
        return await _write(producer, (names or Names()).input, at_ms, token)
    finally:
        await producer.stop()


def write_tick(brokers: Brokers, at_ms: int, *, names: Names | None = None, token: str = "") -> int:
    """`write_tick_async` for callers without an event loop."""
    return asyncio.run(write_tick_async(brokers, at_ms, names=names, token=token))


def _producer(brokers: Brokers) -> AIOKafkaProducer:
    return AIOKafkaProducer(**brokers.client(), client_id="plaudit-clock", enable_idempotence=True, acks="all")


async def _write(producer: AIOKafkaProducer, topic: str, at_ms: int, token: str) -> int:
    partitions = sorted(await producer.partitions_for(topic))
    sent = [
        await producer.send(
            topic, tick_value(at_ms), partition=partition, timestamp_ms=at_ms, headers=control_headers(token)
        )
        for partition in partitions
    ]
    await asyncio.gather(*sent)
    log.debug("tick", at_ms=at_ms, partitions=len(partitions))
    return len(partitions)
