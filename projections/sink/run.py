"""Entry points of the sink: as a coroutine, and as the whole of a process."""

import asyncio
import gc
from collections.abc import Sequence
from socket import socket
from typing import Final

from processors.engine.serving import listen, serving
from processors.engine.signals import stop_on_signals
from projections.sink.loop import SinkLoop
from projections.sink.settings import STOP_WAIT_S, SinkSettings, check_topics, group_name
from projections.sink.watch import SinkWatch
from schemas.brokers import Brokers
from schemas.operations import GRACE_S, LOOPBACK

_GC_THRESHOLDS: Final = (200_000, 20, 100)
"""A batch is many tuples without cycles; the default thresholds would walk them over and over: a third of the time."""


async def run_sink(
    brokers: Brokers,
    clickhouse_url: str,
    database: str,
    prefix: str,
    *,
    stop: asyncio.Event,
    topics: Sequence[str] | None = None,
    until_caught_up: bool = False,
    instance: str | None = None,
    epoch: int = 0,
    listening: socket | None = None,
) -> int:
    """Project the derived topics into a migrated database until `stop` is set; returns the number of records written.

    Kafka and ClickHouse may be away, also at the start: it waits. On `stop` the batch in hand is finished, within
    STOP_WAIT_S, after which it is left to the next start. `topics` are logical names, all projected ones by default;
    `until_caught_up` ends when all committed records are written; `instance` is the static member id of this sink,
    unique among those that run; `epoch` the incarnation of the topics; metrics and probes are served on `listening`.

    Raises:
        ValueError: an unknown topic.
        TopicChangedError: a topic does not fit what was projected from it.
    """
    chosen = check_topics(tuple(topics) if topics is not None else None)
    settings = SinkSettings(
        brokers, clickhouse_url, database, prefix, chosen, group_name(prefix, database), instance, epoch
    )
    loop = SinkLoop(settings, stop, until_caught_up=until_caught_up)
    watch = SinkWatch(loop, instance or "")
    async with serving(listening, watch):
        looking = asyncio.create_task(watch.run()) if listening else None
        try:
            await _run(loop, stop)
        finally:
            if looking is not None:
                looking.cancel()
    return loop.records


async def _run(loop: SinkLoop, stop: asyncio.Event) -> None:
    running = asyncio.create_task(loop.run())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        _, late = await asyncio.wait({running}, timeout=STOP_WAIT_S)
        if late:
            running.cancel()
            await asyncio.wait({running})
    finally:
        stopping.cancel()
        running.cancel()
        await asyncio.wait({running, stopping})
    if not running.cancelled():
        running.result()


def run_sink_process(
    brokers: Brokers,
    clickhouse_url: str,
    database: str,
    prefix: str,
    *,
    topics: Sequence[str] | None = None,
    until_caught_up: bool = False,
    instance: str | None = None,
    epoch: int = 0,
    metrics_host: str = LOOPBACK,
    metrics_port: int = 0,
    grace_s: float = GRACE_S,
) -> int:
    """Run a sink as the whole of this process; SIGTERM and SIGINT stop it in order, within the grace period (see
    signals.stop_on_signals). Returns the records written."""

    listening = listen(metrics_host, metrics_port)

    async def run() -> int:
        stop = asyncio.Event()
        stop_on_signals(stop, grace_s)
        return await run_sink(
            brokers,
            clickhouse_url,
            database,
            prefix,
            stop=stop,
            topics=topics,
            until_caught_up=until_caught_up,
            instance=instance,
            epoch=epoch,
            listening=listening,
        )

    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    return asyncio.run(run())
