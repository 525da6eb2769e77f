"""`latency_ms_p50`, `latency_ms_p99`: from publishing an event to a derived event that a consumer can read.

On the installation that the worker section loaded, its worker runs again, with the clock on. RATE_PER_S events a second
of many users, all partitions, are published one by one, evenly; a consumer with `read_committed` waits for the
`metric.changed` of each. Both ends are in this process, on one clock. It begins when the first tick, which settles all
that the history left open, is applied.
"""

import asyncio
import gc
import time
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.figures import Outcome
from benchmarks.harness import POLL_S, STALL_S, Bench, BenchmarkError, cpu_s, tell, wait_for_event
from benchmarks.sample import sample_records
from benchmarks.worker import measure as load
from deploy.cli.support.children import ChildCommand
from deploy.cli.support.input_log import last_offsets
from deploy.cli.support.kafka import consumer, log_ends, partitions_of
from deploy.cli.support.progress import Applied, wait_applied
from schemas.topics import LEDGER

RATE_PER_S: Final = 200
USERS: Final = 1_000
FETCH_WAIT_MS: Final = 10
"""Longest a fetch of the measuring consumer waits at the broker: partitions that get records meanwhile wait with it."""

LATE_S: Final = 30.0
"""How long after the last event its derived event is waited for."""


class _Envelope(msgspec.Struct):
    causation_id: str = msgspec.field(default="", name="causationId")


_cause: Final = msgspec.json.Decoder(_Envelope)


def measure(bench: Bench) -> Outcome:
    """Run the worker with its clock, publish at a steady pace, and time what comes back."""
    load(bench)
    users = list(dict.fromkeys(record.key.decode() for record in sample_records(bench.sizes.events)))[:USERS]
    tell("latency: starting the worker with the clock on")
    with bench.child("latency-worker", "worker") as worker:
        wait_for_event(worker, "recovered")
        return asyncio.run(_measure(bench, worker, users))


async def _measure(bench: Bench, worker: ChildCommand, users: list[str]) -> Outcome:
    await _after_first_tick(bench, worker)
    sizes = bench.sizes
    tell(f"latency: {RATE_PER_S} events/s for {sizes.warm_up_s + sizes.latency_s:.0f} s")
    reader = AIOKafkaConsumer(
        **bench.kafka.client(),
        enable_auto_commit=False,
        isolation_level="read_committed",
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    producer = AIOKafkaProducer(**bench.kafka.client(), acks="all", linger_ms=0)
    await reader.start()
    await producer.start()
    began_cpu, began = cpu_s(worker.process.pid), time.monotonic()
    try:
        places = await partitions_of(reader, bench.names.output(LEDGER))
        reader.assign(places)
        await reader.seek_to_end(*places)
        for place in places:
            await reader.position(place)
        published, seen = await _exchange(bench, producer, reader, places, users)
        worker.check()
    finally:
        await producer.stop()
        await reader.stop()
    ended_cpu, seconds = cpu_s(worker.process.pid), time.monotonic() - began
    late = [identity for identity in published if identity not in seen]
    if late:
        raise BenchmarkError(f"{len(late)} of {len(published)} events had no derived event after {LATE_S:.0f} s")
    start = min(published.values()) + sizes.warm_up_s
    samples = sorted((seen[identity] - at) * 1000 for identity, at in published.items() if at >= start)
    details: dict[str, Any] = {
        "events": len(published),
        "samples": len(samples),
        "seconds": sizes.latency_s,
        "events_per_s": RATE_PER_S,
        "users": len(users),
        "min_ms": round(samples[0], 1),
        "p90_ms": percentile(samples, 90),
        "max_ms": round(samples[-1], 1),
        "worker_cpu_share": None if None in (began_cpu, ended_cpu) else round((ended_cpu - began_cpu) / seconds, 2),  # type: ignore[operator]
        "measured": "before `send` to the `metric.changed` of the event in the hands of a read_committed consumer",
    }
    return Outcome({"latency_ms_p50": percentile(samples, 50), "latency_ms_p99": percentile(samples, 99)}, details)


async def _after_first_tick(bench: Bench, worker: ChildCommand) -> None:
    """Return when the clock has written a tick to every partition, and it is applied."""
    deadline = time.monotonic() + STALL_S
    async with Applied(bench.kafka, bench.names) as applied:
        before = await applied.offsets()
        async with consumer(bench.kafka) as one:
            places = await partitions_of(one, bench.names.input)
            while True:
                ends = await log_ends(one, places)
                if all(end > before.get(place.partition, 0) for place, end in ends.items()):
                    break
                worker.check()
                if time.monotonic() > deadline:
                    raise BenchmarkError(f"the clock wrote no tick within {STALL_S:.0f} s; see {worker.log}")
                await asyncio.sleep(POLL_S)
        await wait_applied(applied, await last_offsets(bench.kafka, bench.names.input), worker.check)


async def _exchange(
    bench: Bench, producer: Any, reader: Any, places: list[TopicPartition], users: list[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """Publish and read; return when (perf_counter seconds) each event was published, and when its event was read."""
    total = round((bench.sizes.warm_up_s + bench.sizes.latency_s) * RATE_PER_S)
    published: dict[str, float] = {}
    seen: dict[str, float] = {}
    reading = asyncio.create_task(_read(reader, places, published, seen, total))
    gc.collect()
    gc.disable()  # a pause of ours would be taken for one of the worker
    try:
        await _publish(bench, producer, users, total, published)
        await asyncio.wait({reading}, timeout=LATE_S)
    finally:
        gc.enable()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    return published, seen


async def _publish(bench: Bench, producer: Any, users: list[str], total: int, published: dict[str, float]) -> None:
    began = time.perf_counter()
    sent = []
    for number in range(total):
        wait_s = began + number / RATE_PER_S - time.perf_counter()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        identity, user = f"latency-{number}", users[number % len(users)]
        value = msgspec.json.encode({"eventId": identity, "metric": "commits", "user": user, "value": 1})
        published[identity] = time.perf_counter()
        sent.append(await producer.send(bench.names.input, value, user.encode()))
    await asyncio.gather(*sent)


async def _read(
    reader: Any, places: list[TopicPartition], published: dict[str, float], seen: dict[str, float], total: int
) -> None:
    while len(seen) < total:
        polled = await reader.getmany(*places, timeout_ms=1000)
        now = time.perf_counter()
        for records in polled.values():
            for record in records:
                if record.headers[0] == ("type", b"metric.changed"):
                    identity = _cause.decode(record.value).causation_id
                    if identity in published:
                        seen.setdefault(identity, now)


def percentile(ordered: list[float], percent: int) -> float:
    """Return the least sample that `percent` of all do not exceed."""
    return round(ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 1)
