"""One schedule: a world drawn from a seed, faults that strike it, and what must hold when it has come to rest."""

import asyncio
import random
import sys
from collections import Counter
from typing import Any, Final

import msgspec
from aiokafka.structs import TopicPartition

from processors.engine.errors import RoundFailedError
from processors.engine.round import Limits
from projections.sink import run_sink
from projections.tables import PROJECTED_TOPICS
from schemas.topics import DEFAULT_PREFIX, full_name
from tests.simulation import clickhouse, scenario
from tests.simulation.faults import Nemesis
from tests.simulation.installed import LOG, use
from tests.simulation.kafka.cluster import Cluster
from tests.simulation.loop import Lane, Process, SimLoop, StuckError
from tests.simulation.scenario import NAMES, OUTPUTS, PARTITIONS, Scenario
from tests.simulation.verdict import problems
from tests.simulation.worker import NOWHERE, NotStartedError, Parts, SimWorker, TwinError

REAL_SHARE: Final = 8
"""One schedule in this many runs the rules; the others the toy."""

FEED_S: Final = (2.0, 2.0, 6.0)
"""Virtual seconds in which the log is filled, more or less."""

UNREST_S: Final = 20.0
"""Virtual seconds after which the log is filled and no fault strikes any more."""

REST_S: Final = 90.0
"""Virtual seconds after the last fault within which everything must be done."""

SINK_GROUP: Final = f"{DEFAULT_PREFIX}-sink"
RESTART_S: Final = 0.3
TOO_MANY_CRASHES: Final = 3
"""Crashes after which a schedule is ended: it has failed anyway."""

TOPICS: Final = {
    **{NAMES.output(name): PARTITIONS for name in OUTPUTS},
    NAMES.input: PARTITIONS,
    NAMES.changelog: PARTITIONS,
    NAMES.catalog: 1,
}


class Result(msgspec.Struct):
    """What came of a schedule."""

    seed: int
    faults: Counter[str]
    problems: list[str]
    """Empty: everything as it must be."""
    steps: int
    virtual_s: float
    crash_points: int
    """Kills and stops at a chosen step."""


class Slot:
    """Where a worker or a sink runs; the process in it changes."""

    def __init__(self, world: "World", kind: str, number: int) -> None:
        self.world = world
        self.kind = kind
        self.name = f"{kind}{number}"
        self.wanted = True
        self.runs = 0
        self.process = Process(self.name)
        self.process.alive = False
        self.lanes: list[Lane] = []
        self.sleeping: list[tuple[Process, list[Lane]]] = []
        """Processes that were stopped and have been replaced meanwhile."""
        self.worker: SimWorker | None = None
        self._stop: asyncio.Event | None = None

    def start(self) -> None:
        """Start a process."""
        self.runs += 1
        self.process = process = Process(f"{self.name}#{self.runs}")
        self.lanes = [Lane(process, self.world.burst_s), Lane(process)]
        self.world.watch(process)
        self.world.trace(f"{process.name} starts")
        work = self._worker() if self.kind == "worker" else self._sink()
        self.world.loop.start_in(self.lanes[0], self._until_end(work, process))

    async def _worker(self) -> None:
        world = self.world
        self.worker = worker = SimWorker(
            world.loop, self.lanes[0], self.lanes[1], self.name, NAMES, world.scenario.folds
        )
        world.observers.append(worker)
        self._stop = worker.stop
        await worker.run(world.parts, world.limits)

    async def _sink(self) -> None:
        self._stop = asyncio.Event()
        instance = self.name if self.world.static_sinks else None
        await run_sink(NOWHERE, "", "plaudit", DEFAULT_PREFIX, stop=self._stop, instance=instance)

    async def _until_end(self, work: Any, process: Process) -> None:
        try:
            await work
        except (RoundFailedError, NotStartedError, TwinError):  # whoever runs workers starts them again
            self.world.counts["worker gave up"] += 1
        except Exception as error:
            self.world.crashes.append(f"{process.name} crashed: {error!r}")
        self.world.trace(f"{process.name} ended")
        process.alive = False
        self.world.loop.at_server(0, self.world.loop.kill, process)
        if self.wanted and self.process is process:
            self.world.loop.at_server(RESTART_S, self.start_again, self.runs)

    def start_again(self, runs: int) -> None:
        """Start anew, unless that has happened."""
        if self.wanted and self.runs == runs:
            self.start()

    def terminate(self) -> None:
        """SIGTERM."""
        if self._stop is not None and self.process.alive:
            self.world.loop.call_soon(self._stop.set, context=self.lanes[0].context)


class World:
    """Everything of one schedule."""

    def __init__(self, seed: int, parts: type[Parts], *, trace: bool, faults: bool) -> None:
        self.seed = seed
        self.parts = parts
        self.tracing = trace
        draw = random.Random(f"world-{seed}")
        self.counts: Counter[str] = Counter()
        self.loop = SimLoop(random.Random(f"order-{seed}"))
        self.cluster = Cluster(self.loop, random.Random(f"kafka-{seed}"), self.counts, TOPICS)
        self.cluster.together.add(NAMES.group)
        self.clickhouse = clickhouse.Server(self.loop, random.Random(f"clickhouse-{seed}"), self.counts)
        real = seed % REAL_SHARE == 0
        self.scenario: Scenario = (scenario.real if real else scenario.toy)(draw.randrange(scenario.VARIANTS))
        self.limits = Limits(effects=draw.choice([4, 4, 10, 30, 1000]) * (6 if real else 1))
        self.burst_s = draw.choice([0.0, 0.0, 0.002, 0.01])
        self.static_sinks = draw.random() < 0.5
        self.slots = [Slot(self, "worker", n) for n in range(draw.choice([1, 2, 2, 3]))]
        self.slots += [Slot(self, "sink", n) for n in range(draw.randint(1, 2))]
        self.observers: list[SimWorker] = []
        self.crashes: list[str] = []
        self.fed = False
        self.quiet_end = draw.random() < 0.3
        """Whether workers and sinks are stopped in order at the end."""
        self._draw = draw
        self.nemesis = Nemesis(self, random.Random(f"faults-{seed}"), enabled=faults)

    def add(self, kind: str, number: int) -> Slot:
        """Add a slot."""
        slot = Slot(self, kind, number)
        self.slots.append(slot)
        return slot

    def trace(self, text: str) -> None:
        """Show something, if asked to."""
        if self.tracing:
            print(f"{self.loop.time():9.4f} {text}", file=sys.stderr)

    def watch(self, process: Process) -> None:
        """Let faults and the trace hear of its requests."""
        process.requests = lambda name, phase: self._request(process, name, phase)

    def _request(self, process: Process, name: str, phase: str) -> None:
        if self.tracing and name != "Fetch":
            self.trace(f"{process.name}: {name} {phase}")
        self.nemesis.at_request(process, name, phase)

    # running

    def run(self) -> list[str]:
        """Run to the end; return what is wrong."""
        use(self.cluster, self.clickhouse)
        LOG.counts.clear()
        LOG.of_expired.clear()
        LOG.show = self.clickhouse.show = self.trace if self.tracing else None
        loop = self.loop
        with loop.running():
            for slot in self.slots:
                loop.at_server(self._draw.random() * 0.5, slot.start)
            loop.start_in(loop.server, self._feed())
            loop.start_in(loop.server, self.nemesis.run())
        found = []
        try:
            loop.run(self._at_rest, UNREST_S + REST_S)
            if self.quiet_end:
                with loop.running():
                    for slot in self.slots:
                        slot.wanted = False
                        slot.terminate()
                loop.run(lambda: not any(slot.process.alive for slot in self.slots), loop.time() + REST_S)
        except StuckError as error:
            found.append(f"stuck: {error}; {self._standing()}")
        return found + problems(self)

    async def _feed(self) -> None:
        steps = self.scenario.steps
        feed_s = self._draw.choice(FEED_S)
        for number, step in enumerate(steps):
            await asyncio.sleep(self._draw.random() * 2 * feed_s / len(steps))
            pid = -2 - number if step.transaction else -1
            tps = [TopicPartition(NAMES.input, partition) for partition in sorted({row[0] for row in step.rows})]
            if step.catalog is not None:
                tps.append(TopicPartition(NAMES.catalog, 0))
                self.cluster.log(tps[-1]).append(0, b"catalog", step.catalog, (), pid)
            for partition, (timestamp, key, value) in step.rows:
                self.cluster.log(TopicPartition(NAMES.input, partition)).append(timestamp, key, value, (), pid)
            if step.transaction:
                await asyncio.sleep(self._draw.random() * 0.2)
                for tp in self._draw.sample(tps, len(tps)):
                    await asyncio.sleep(self._draw.random() * 0.02)
                    self.cluster.log(tp).end_transaction(pid, commit=not step.aborted)
        self.fed = True

    def _at_rest(self) -> bool:
        """Whether nothing is left to do."""
        if len(self.crashes) + len(self.loop.errors) >= TOO_MANY_CRASHES:
            return True
        if not self.fed or not self.nemesis.over:
            return False
        offsets = self.cluster.group(NAMES.group).offsets
        for partition, end in self.scenario.expected.offsets.items():
            committed = offsets.get(TopicPartition(NAMES.input, partition))
            if committed is None or committed.offset < end:
                return False
        logs = [log for log in self.cluster.logs.values() if log.tp.topic != NAMES.catalog]
        return all(log.stable == log.end for log in logs) and self._projected()

    def _projected(self) -> bool:
        done = {(topic, partition): end for topic, partition, end in self.clickhouse.latest("done", 0)}
        for name in PROJECTED_TOPICS:
            for partition in range(PARTITIONS):
                place = (full_name(name), partition)
                records = self.cluster.log(TopicPartition(*place)).last_committed
                if records is not None and done.get(place, 0) <= records:
                    return False
        return True

    def _standing(self) -> str:
        offsets = self.cluster.group(NAMES.group).offsets
        standing = {tp.partition: offset.offset for tp, offset in offsets.items()}
        return f"committed {standing}, expected {self.scenario.expected.offsets}, projected {self._projected()}"


def run_schedule(
    seed: int,
    *,
    parts: type[Parts] = Parts,
    trace: bool = False,
    faults: bool = True,
) -> Result:
    """Run the schedule of a seed (within `installed`)."""
    world = World(seed, parts, trace=trace, faults=faults)
    found = world.run()
    loop = world.loop
    result = Result(seed, world.counts, found, loop.steps, loop.time(), world.nemesis.struck)
    loop.close_tasks()
    return result
