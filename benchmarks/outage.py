"""`python -m benchmarks.outage`: ClickHouse is killed while events go on, then Kafka; memory meanwhile, and catching up.

An installation of its own takes the load of the soak. ClickHouse is killed; events go on for MINUTES; it is started again, and
the time until everything is in the tables is taken. Then Kafka is killed for a while, with worker and sink at work, and started
again. The last line says whether the tables hold every event once.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import tell
from benchmarks.soak.load import Load
from benchmarks.soak.run import MAX_LAG, NAMES, STEP_S, Watch, check_tables, children, environment, prepare
from benchmarks.soak.sampling import memory
from deploy import compiled
from deploy.cli.support.kafka import Feeder
from deploy.embedded import EmbeddedStack
from deploy.logging import quiet_logging
from processors.agents.clock import now_ms
from schemas.brokers import Brokers

USERS: Final = 20_000
MINUTES: Final = 10.0
RATE: Final = 2_000
KAFKA_AWAY_S: Final = 60.0
WARM_UP_S: Final = 30.0


class _Outage:
    def __init__(self, brokers: Brokers, pids: dict[str, int], rate: int) -> None:
        self.sent = 0
        self.load = Load(USERS)
        self._source = iter(self.load)
        self._brokers = brokers
        self._pids = pids
        self._rate = rate

    async def feed(self, watch: Watch, seconds: float) -> dict[str, list[int]]:
        """Send events for so long; return resident memory meanwhile, KiB, by process."""
        seen: dict[str, list[int]] = {name: [] for name in self._pids}
        deadline, step = time.monotonic() + seconds, max(1, int(self._rate * STEP_S))
        async with Feeder(self._brokers, NAMES.input) as feeder:
            while time.monotonic() < deadline:
                began = time.monotonic()
                if self.sent - watch.applied < MAX_LAG:
                    at_ms = now_ms()
                    for _ in range(step):
                        feeder.add(*next(self._source), at_ms)
                    self.sent += step
                    await feeder.flush()
                await watch.look()
                self.look(seen)
                await asyncio.sleep(max(0.0, STEP_S - (time.monotonic() - began)))
        return seen

    async def caught_up(self, watch: Watch, seen: dict[str, list[int]]) -> float:
        """Wait until everything is in the tables; return how long it took."""
        began = time.monotonic()
        while True:
            await watch.look()
            self.look(seen)
            if watch.applied >= self.sent and watch.sink_lag == 0:
                return round(time.monotonic() - began, 1)
            await asyncio.sleep(STEP_S)

    def look(self, seen: dict[str, list[int]]) -> None:
        """Note resident memory."""
        for name, kib in memory(self._pids)[0].items():
            seen[name].append(kib)


def _megabytes(seen: dict[str, list[int]]) -> dict[str, dict[str, float]]:
    """Return means of the first and the last tenth, and the largest, in MB."""

    def mean(values: Sequence[int]) -> float:
        return round(sum(values) / len(values) * 1024 / 1e6, 1)

    found = {}
    for name, values in seen.items():
        tenth = max(1, len(values) // 10)
        most = round(max(values) * 1024 / 1e6, 1)
        found[name] = {"begin": mean(values[:tenth]), "end": mean(values[-tenth:]), "most": most}
    return found


async def _run(home: Path, minutes: float, rate: int) -> dict[str, Any]:
    tree = compiled.make() if compiled.obstacle() is None else compiled.ROOT
    stack = EmbeddedStack(home)
    found: dict[str, Any] = {"minutes": minutes, "load": os.getloadavg()[0]}
    try:
        endpoints = stack.start()
        assert stack.kafka is not None and stack.clickhouse is not None, "KAFKA_BOOTSTRAP or CLICKHOUSE_URL is set"
        brokers = Brokers(endpoints.kafka_bootstrap)
        await prepare(brokers, endpoints.clickhouse_url)
        settings = environment(home, endpoints.kafka_bootstrap, endpoints.clickhouse_url, tree)
        async with children(home, settings) as running:
            outage = _Outage(brokers, {name: child.process.pid for name, child in running.items()}, rate)
            watch = Watch(brokers)
            await watch.start()
            tell("outage: warming up")
            found["before"] = _megabytes(await outage.feed(watch, WARM_UP_S))
            sent = outage.sent
            tell("outage: ClickHouse is killed")
            stack.clickhouse.kill()
            away = await outage.feed(watch, minutes * 60)
            found["without_clickhouse"] = _megabytes(away)
            found["events_meanwhile"], found["records_waiting"] = outage.sent - sent, watch.sink_lag
            tell(f"outage: ClickHouse is back; {watch.sink_lag:,} records wait: {found['without_clickhouse']}")
            stack.clickhouse.start()
            back: dict[str, list[int]] = {name: [] for name in running}
            found["caught_up_after_s"] = await outage.caught_up(watch, back)
            found["catching_up"] = _megabytes(back)
            tell(f"outage: caught up after {found['caught_up_after_s']} s; Kafka is killed for {KAFKA_AWAY_S:.0f} s")
            await outage.feed(watch, 5.0)
            await watch.stop()
            stack.kafka.kill()
            gone: dict[str, list[int]] = {name: [] for name in running}
            until = time.monotonic() + KAFKA_AWAY_S
            while time.monotonic() < until:
                outage.look(gone)
                await asyncio.sleep(1.0)
            found["without_kafka"] = _megabytes(gone)
            stack.kafka.start()
            watch = Watch(brokers)
            await watch.start()
            await outage.feed(watch, 5.0)
            found["caught_up_after_kafka_s"] = await outage.caught_up(watch, gone)
            await watch.stop()
            for child in running.values():
                child.check()
            found["tables"] = check_tables(endpoints.clickhouse_url, outage.sent, outage.load)
    finally:
        stack.stop()
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outage", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"without ClickHouse; default: {MINUTES:g}")
    parser.add_argument("--rate", type=int, default=RATE, help=f"events a second; default: {RATE:,}")
    options = parser.parse_args(arguments)
    quiet_logging()
    with tempfile.TemporaryDirectory(prefix="plaudit-outage-", ignore_cleanup_errors=True) as home:
        print(json.dumps(asyncio.run(_run(Path(home), options.minutes, options.rate)), indent=2))


if __name__ == "__main__":
    main()
