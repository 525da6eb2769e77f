"""`recovery_s`: a worker that starts with the states of many users on the changelog.

States of real users, those of the sample after its first events, are copied under ids of their own until there are enough,
and written to the changelog of every partition, as workers have left it. The clock runs from the start of the worker's process
to its log event `recovered`, after which it takes records.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from benchmarks.figures import FULL, Outcome
from benchmarks.harness import Bench, BenchmarkError, cpu_s, moment_s, open_bench, peak_rss_mb, tell, wait_for_event
from benchmarks.sample import VERSION, as_log, publish_sample_catalog, sample_records, sample_store, switch_records
from benchmarks.worker import compiled_tree
from deploy.cli.support.input_log import last_offsets
from deploy.cli.support.kafka import Feeder
from processors.engine.names import Names
from processors.engine.topics import create_topics
from processors.rules.partition import Partition
from processors.rules.partitioner import partition_of
from processors.rules.settings import FoldSettings
from schemas.emission import Emission
from schemas.state import PartitionState
from schemas.topics import DEFAULT_PARTITIONS

TEMPLATE_EVENTS: Final = 20_000
UNLIMITED: Final = 10**9
WAIT_S: Final = 600.0

_MARKER_KEY: Final = b"\0partition"
_encode: Final = msgspec.json.Encoder().encode

Template = list[tuple[bytes, bytes]]
"""Changelog records of one user: what comes before the id in the key, and the value, both with PLACEHOLDER for the id."""

PLACEHOLDER: Final = b"\1user\1"


def templates() -> list[Template]:
    """Return what the changelog holds of the sample's users after its first events."""
    records = sample_records(TEMPLATE_EVENTS)
    at_ms = records[0].timestamp_ms
    store, changelog = sample_store(at_ms), dict[bytes, bytes | None]()
    partitions = [Partition(number, FoldSettings(), store) for number in range(DEFAULT_PARTITIONS)]
    for record in switch_records(at_ms):
        partitions[record.partition].process(record, [], UNLIMITED)
    out: list[Emission] = []
    for record in as_log(records):
        partitions[record.partition].process(record, out, UNLIMITED)
    for partition in partitions:
        changelog.update(partition.changes(UNLIMITED))
    users: dict[bytes, Template] = {}
    for key, value in changelog.items():
        if key == _MARKER_KEY or value is None:
            continue
        begin = 5 if key[:1] in (b"e", b"k") else 1
        name = key[begin:]
        template = users.setdefault(name, [])
        template.append((key[:begin], value.replace(b'"%s"' % name, b'"%s"' % PLACEHOLDER)))
    return list(users.values())


def copies(found: Sequence[Template], users: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield user key, changelog key and value of so many users."""
    for number in range(users):
        name = b"user-%08d" % number
        for prefix, value in found[number % len(found)]:
            yield name, prefix + name, value.replace(PLACEHOLDER, name)


async def _fill(bench: Bench, names: Names, users: int) -> tuple[int, int]:
    """Write the changelog; return the number of its records and their bytes."""
    await create_topics(bench.kafka, names, DEFAULT_PARTITIONS)
    at_ms = sample_records(1)[0].timestamp_ms
    await publish_sample_catalog(bench.kafka, names, at_ms)
    ends = await last_offsets(bench.kafka, names.input)
    now, count, size = int(time.time() * 1000), 0, 0
    async with Feeder(bench.kafka, names.changelog) as feeder:
        for user, key, value in copies(templates(), users):
            feeder.add(key, value, now, partition_of(user, DEFAULT_PARTITIONS))
            count, size = count + 1, size + len(key) + len(value)
            if feeder.full:
                await feeder.send()
        for partition, end in ends.items():
            marker = PartitionState(next_offset=end, tick=at_ms, catalogs={"": VERSION})
            feeder.add(_MARKER_KEY, _encode(marker), now, partition)
    return count, size


def measure(bench: Bench) -> Outcome:
    """Fill a changelog, start a worker, and time it."""
    users = bench.sizes.recovery_users
    names = Names(f"{bench.names.prefix}recovery")
    tell(f"recovery: writing the states of {users:,} users")
    records, size = asyncio.run(_fill(bench, names, users))
    variant, tree = compiled_tree()
    tell(f"recovery: {records:,} records, {size / 1e6:,.0f} MB; starting a worker")
    began = time.time()
    with bench.child("recovery", "worker", "--no-clock", PLAUDIT_PREFIX=names.prefix, PYTHONPATH=tree) as worker:
        event = wait_for_event(worker, "recovered", WAIT_S)
        used, peak = cpu_s(worker.process.pid), peak_rss_mb(worker.process.pid)
    if event["records"] < records:
        raise BenchmarkError(f"the worker read {event['records']} records of {records}; see {worker.log}")
    details = {
        "variant": variant,
        "users": users,
        "records": records,
        "megabytes": round(size / 1e6, 1),
        "reading_s": event["s"],
        "cpu_s": used,
        "peak_rss_mb": peak,
        "measured": "start of the process to the log event `recovered`",
    }
    return Outcome({"recovery_s": round(moment_s(event) - began, 2)}, details)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--users", type=int, default=FULL.recovery_users, help=f"default: {FULL.recovery_users:,}")
    options = parser.parse_args(arguments)
    with open_bench(msgspec.structs.replace(FULL, recovery_users=options.users)) as bench:
        outcome = measure(bench)
    found: dict[str, Any] = {**outcome.figures, **outcome.details}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
