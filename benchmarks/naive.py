"""`naive_faust_events_per_s`: the same log through a plain Faust agent (naive_app.py), stock consumer and settings.

Same broker, same events, one process (`faust worker`). One output per event is published, so outputs are counted: from
the broker's time stamp of the first one to that of the last one, after `naive_s` seconds or when all events are done.
Start-up is left out, as with the worker.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.figures import Outcome, per_second
from benchmarks.harness import POLL_S, STALL_S, Bench, BenchmarkError, append_times, cpu_s, peak_rss_mb, tell
from benchmarks.sample import feed, sample_records
from deploy.cli.support.children import LIFELINE_VARIABLE
from deploy.cli.support.kafka import consumer, partitions_of
from schemas.brokers import Brokers
from schemas.topics import DEFAULT_PARTITIONS

FAUST_ARGUMENTS: Final = ("-A", "benchmarks.naive_app", "worker", "-l", "warn", "--without-web")
STOP_S: Final = 10.0
LOG_TAIL_BYTES: Final = 2_000
FOREVER: Final = {"retention.ms": "-1", "segment.ms": str(10 * 365 * 86_400_000)}
"""The events have the time stamps of history; Kafka's defaults would delete them at once."""


def measure(bench: Bench) -> Outcome:
    """Preload events, start the agent, and count what it publishes."""
    name = f"{bench.names.prefix}-naive"
    return asyncio.run(_measure(bench, name))


async def _measure(bench: Bench, name: str) -> Outcome:
    records = sample_records(bench.sizes.naive_events)
    await _create(bench.kafka, name)
    tell(f"naive: preloading {len(records):,} events")
    await feed(bench.kafka, f"{name}.events", records, tell)
    tell("naive: starting a plain Faust agent")
    with _running(bench, name) as child:
        await _until(child, bench, name, lambda published: published > 0, STALL_S, "publish anything")
        began_cpu, began = cpu_s(child.pid), time.monotonic()
        tell(f"naive: counting for {bench.sizes.naive_s:.0f} s")
        await _until(child, bench, name, lambda published: published >= len(records), bench.sizes.naive_s, "")
        ended_cpu, counted_s = cpu_s(child.pid), time.monotonic() - began
        published, first_s, last_s = await append_times(bench.kafka, f"{name}.awards")
        peak = peak_rss_mb(child.pid)
    seconds = last_s - first_s
    if published > len(records) or seconds <= 0:
        raise BenchmarkError(f"the agent published {published} outputs in {seconds} s for {len(records)} events")
    details: dict[str, Any] = {
        "events": published,
        "seconds": round(seconds, 3),
        "preloaded": len(records),
        "cpu_share": None if began_cpu is None or ended_cpu is None else round((ended_cpu - began_cpu) / counted_s, 2),
        "peak_rss_mb": peak,
        "measured": "broker's time stamps of the first and the last output; one output per event",
    }
    return Outcome({"naive_faust_events_per_s": per_second(published - 1, seconds)}, details)


async def _create(brokers: Brokers, name: str) -> None:
    admin = AIOKafkaAdminClient(**brokers.client())
    await admin.start()
    try:
        await admin.create_topics(
            [
                NewTopic(f"{name}.events", DEFAULT_PARTITIONS, 1, topic_configs=FOREVER),
                NewTopic(
                    f"{name}.awards", DEFAULT_PARTITIONS, 1, topic_configs={"message.timestamp.type": "LogAppendTime"}
                ),
            ]
        )
    finally:
        await admin.close()


async def _until(
    child: subprocess.Popen[bytes], bench: Bench, name: str, reached: Any, timeout_s: float, what: str
) -> None:
    """Wait until the number of outputs fits, or for `timeout_s`; that is an error if `what` says what was wanted."""
    log = _log(bench)
    deadline = time.monotonic() + timeout_s
    async with consumer(bench.kafka) as one:
        places = await partitions_of(one, f"{name}.awards")
        while not reached(sum((await one.end_offsets(places)).values())):
            if child.poll() is not None:
                tail = log.read_bytes()[-LOG_TAIL_BYTES:].decode("utf-8", "replace")
                raise BenchmarkError(f"the naive agent has ended (exit code {child.returncode}):\n{tail}")
            if time.monotonic() >= deadline:
                if what:
                    raise BenchmarkError(f"the naive agent did not {what} within {timeout_s:.0f} s; see {log}")
                return
            await asyncio.sleep(4 * POLL_S)


def _log(bench: Bench) -> Path:
    return bench.home / "logs" / "naive.log"


@contextmanager
def _running(bench: Bench, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `faust worker` in a directory of its own, where it may leave its files; it ends with this process."""
    directory = bench.home / "naive"
    directory.mkdir()
    _log(bench).parent.mkdir(exist_ok=True)
    root = Path(__file__).parents[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(root),
        "KAFKA_BOOTSTRAP": bench.kafka.bootstrap,
        "NAIVE_APP": name,
        "NAIVE_PARTITIONS": str(DEFAULT_PARTITIONS),
        LIFELINE_VARIABLE: "1",
    }
    with _log(bench).open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.naive", *FAUST_ARGUMENTS],
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(STOP_S)  # it may take longer to commit; what was measured is read already
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _faust_command() -> None:
    """Be the command `faust`, ending with the process that started it."""
    from faust.cli.faust import cli

    from deploy.cli.support.children import follow_parent

    follow_parent()
    cli()


if __name__ == "__main__":
    _faust_command()
