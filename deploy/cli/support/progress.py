"""How far an installation is: what is applied, what is projected."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, Self

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.cli.support.console import note
from deploy.cli.support.errors import CommandError
from deploy.cli.support.kafka import CHECK_S, consumer, log_ends
from processors.engine.names import Names
from projections.sink.observe import sink_lag
from projections.tables import PROJECTED_TOPICS
from schemas.brokers import Brokers
from schemas.topics import full_name

POLL_S: Final = 0.25
PROJECTION_POLL_S: Final = 0.5
STALL_TELL_S: Final = 20.0
"""Without any progress for so long, a wait says where to look."""

STALL_TIMEOUT_S: Final = 180.0
"""Without any progress for so long, a wait is given up."""


class Applied:
    """Watches the offsets that the workers have committed. An async context manager."""

    def __init__(self, brokers: Brokers, names: Names) -> None:
        """Nothing is connected yet."""
        self._names = names
        self._admin = AIOKafkaAdminClient(**brokers.client())

    async def __aenter__(self) -> Self:
        await self._admin.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._admin.close()

    async def offsets(self) -> dict[int, int]:
        """Return the next offset to apply, by partition; what nobody has begun is missing."""
        try:
            found = await self._admin.list_consumer_group_offsets(self._names.group)
        except (KafkaError, AttributeError):  # AttributeError: how the client fails on the error of a partition
            return {}
        return {tp.partition: at.offset for tp, at in found.items() if tp.topic == self._names.input and at.offset >= 0}


async def wait_applied(
    applied: Applied,
    targets: Mapping[int, int],
    check: Callable[[], None],
    tell: Callable[[int], None] = lambda _: None,
    *,
    log: Path | str = "its log",
) -> None:
    """Return once everything below `targets` (next offset by partition) is applied. `tell` hears how many records are;
    `check` may raise to end the wait."""

    async def left() -> int:
        offsets = await applied.offsets()
        missing = sum(max(0, target - offsets.get(partition, 0)) for partition, target in targets.items())
        tell(sum(targets.values()) - missing)
        return missing

    await _wait(left, POLL_S, check, f"the worker applies nothing; see {log}")


async def wait_projected(
    brokers: Brokers,
    database: str,
    names: Names,
    check: Callable[[], None],
    tell: Callable[[int, int], None],
    *,
    log: Path | str = "its log",
) -> None:
    """Return once all that is on the derived topics is in the tables. `tell` hears how many records are, and of how many."""
    topics = [full_name(name, names.prefix) for name in PROJECTED_TOPICS]

    async def left() -> int:
        total, open_records = await _ends(brokers, topics)
        try:
            missing = sum((await sink_lag(brokers, database, names.prefix)).values())
        except (KafkaError, AttributeError):
            missing = total
        tell(max(0, total - missing - open_records), total)
        return missing + open_records

    await _wait(left, PROJECTION_POLL_S, check, f"the sink writes nothing; see {log}")


async def _ends(brokers: Brokers, topics: list[str]) -> tuple[int, int]:
    """Return the sum of the ends of the logs, and how much of it is in transactions that are not ended yet."""
    async with consumer(brokers) as one:
        cluster = await one._client.fetch_all_metadata()
        places = [
            TopicPartition(topic, number) for topic in topics for number in cluster.partitions_for_topic(topic) or ()
        ]
        ends = await log_ends(one, places)
        stable = await one.end_offsets(places)
    return sum(ends.values()), sum(ends.values()) - sum(stable.values())


async def _wait(left: Callable[[], Awaitable[int]], pause_s: float, check: Callable[[], None], stalled: str) -> None:
    before, since, told = -1, time.monotonic(), False
    while (missing := await _checked(left, check)) > 0:
        silence_s = time.monotonic() - since
        if missing != before:
            before, since, told = missing, time.monotonic(), False
        elif silence_s > STALL_TIMEOUT_S:
            raise CommandError(f"nothing has moved for {STALL_TIMEOUT_S:.0f} s, {missing} records are left: {stalled}")
        elif silence_s > STALL_TELL_S and not told:
            note(f"nothing has moved for {STALL_TELL_S:.0f} s, {missing} records are left: {stalled}")
            told = True
        await asyncio.sleep(pause_s)


async def _checked(left: Callable[[], Awaitable[int]], check: Callable[[], None]) -> int:
    """Return what is left; while the answer takes its time, `check` is called."""
    answer = asyncio.ensure_future(left())
    try:
        while not answer.done():
            await asyncio.wait({answer}, timeout=CHECK_S)
            check()
    finally:
        answer.cancel()
    return await answer
