"""What a worker says of itself, in the states that probes are for."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from faust.types import TP

from processors.engine.kip447 import GroupMember
from processors.engine.serving import SILENT_S, STUCK_S, Check
from processors.engine.watch import EngineWatch
from schemas.emission import Measures

TOPIC = "plaudit.events"


class Thread:
    """The thread of the consumer: where positions are, and where Kafka says that the log ends."""

    def __init__(self) -> None:
        self.positions: dict[int, int] = {}
        self.ends: dict[int, int] | None = {}

    async def run(self, work: Any) -> Any:
        return await work

    async def in_thread_positions(self, partitions: set[TP]) -> dict[TP, int]:
        return {tp: self.positions[tp.partition] for tp in partitions if tp.partition in self.positions}

    async def in_thread_log_ends(self, partitions: set[TP]) -> dict[TP, int]:
        if self.ends is None:
            raise KafkaConnectionError("away")
        return {tp: self.ends.get(tp.partition, 0) for tp in partitions}


class Fold:
    def __init__(self, next_offset: int, tick_ms: int | None = None) -> None:
        self.next_offset = next_offset
        self._tick_ms = tick_ms

    def measures(self, overdue_at_ms: int) -> Measures:
        return Measures(tick_ms=self._tick_ms, users=3, state_bytes=100, catalogs={"": "7"})


class World:
    """An engine as the watch sees it, and the time."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.thread = Thread()
        self.assigned: set[int] = set()
        self.consumer = SimpleNamespace(
            busy=False,
            flow_active=True,
            thread=self.thread,
            assignment=lambda: {TP(TOPIC, one) for one in self.assigned},
        )
        self.folds: dict[int, Fold] = {}
        self.engine = SimpleNamespace(
            consumer=self.consumer,
            options=SimpleNamespace(instance="one", partitions=4, names=SimpleNamespace(input=TOPIC)),
            metrics=SimpleNamespace(ended=0, committed_at=None),
            worker=SimpleNamespace(member=GroupMember(3, "m", "one"), lost=False),
            table=SimpleNamespace(folds=self.folds),
            leads=lambda: True,
        )
        self.watch = EngineWatch(
            self.engine,  # type: ignore[arg-type]
            clock=True,
            compiled=False,
            now=lambda: self.now_s,
            wall=lambda: self.now_s + 1_700_000_000,
        )

    async def look(self, *, later_s: float = 5.0) -> None:
        self.now_s += later_s
        await self.watch.look()

    def gauge(self, name: str) -> dict[tuple[str, ...], float]:
        families = {family.name: family for family in self.watch.gauges()}
        return {tuple(sample.labels.values()): sample.value for sample in families[name].samples}

    async def not_ready(self) -> str:
        """What keeps it from being ready."""
        return "; ".join(f"{check.check}: {check.says}" for check in await self.watch.ready() if not check.ok)


def failing(checks: list[Check]) -> list[str]:
    return [check.check for check in checks if not check.ok]


@pytest.fixture
def world() -> World:
    return World()


async def test_a_worker_that_has_not_started_is_alive_and_not_ready(world: World) -> None:
    world.engine.consumer = None
    await world.look(later_s=10 * STUCK_S)
    assert failing(world.watch.live()) == []
    assert await world.not_ready() == "group: not started yet"
    assert world.gauge("plaudit_partitions") == {("worker", "ready"): 0.0, ("worker", "recovering"): 0.0}


async def test_a_round_that_does_not_move_is_found_however_long_others_took(world: World) -> None:
    await world.look()
    world.consumer.busy = True
    for _ in range(10):  # rounds that end, one way or the other, are movement: so is waiting for Kafka
        world.engine.metrics.ended += 1
        await world.look(later_s=STUCK_S / 2)
        assert failing(world.watch.live()) == []
    await world.look(later_s=STUCK_S - 1)
    assert failing(world.watch.live()) == []
    await world.look(later_s=2.0)
    assert failing(world.watch.live()) == ["rounds"]
    world.consumer.busy = False
    await world.look()
    assert failing(world.watch.live()) == []


async def test_a_worker_without_kafka_is_alive_and_after_a_while_not_ready(world: World) -> None:
    await world.look()
    world.thread.ends = None
    for _ in range(100):
        await world.look()
    assert failing(world.watch.live()) == []
    assert (await world.not_ready()).startswith("kafka: ")
    world.thread.ends = {}
    await world.look()
    assert await world.not_ready() == ""
    world.now_s += SILENT_S - 1
    assert await world.not_ready() == ""


async def test_a_consumer_thread_that_hangs_is_found(world: World) -> None:
    await world.look()

    async def hang(work: Any) -> Any:
        work.close()
        raise TimeoutError

    world.thread.run = hang  # type: ignore[method-assign]
    for _ in range(3):
        await world.look(later_s=STUCK_S / 2)
    assert failing(world.watch.live()) == ["consumer_thread"]


async def test_a_worker_is_ready_once_its_partitions_are_at_work_or_when_it_has_none(world: World) -> None:
    world.engine.worker.member = None
    assert await world.not_ready() == "group: not joined yet"
    world.engine.worker.member = GroupMember(3, "m", "one")
    assert await world.not_ready() == ""  # standing by
    world.assigned, world.consumer.flow_active = {1, 2}, False
    assert await world.not_ready() == "partitions: rebalancing or recovering: [1, 2]"
    world.consumer.flow_active = True
    world.folds[1] = Fold(5)
    assert await world.not_ready() == "partitions: recovering: [2]"
    assert world.gauge("plaudit_partitions") == {("worker", "ready"): 1.0, ("worker", "recovering"): 1.0}
    world.folds[2] = Fold(5)
    assert await world.not_ready() == ""
    world.engine.worker.lost = True
    assert await world.not_ready() == "group: fenced; joining anew"


async def test_lag_is_what_the_log_has_beyond_what_is_applied(world: World) -> None:
    world.assigned = {0, 1}
    world.folds |= {0: Fold(10), 1: Fold(20)}
    world.thread.ends = {0: 10, 1: 20}
    await world.look()
    assert world.gauge("plaudit_lag_records") == {("0",): 0.0, ("1",): 0.0}
    world.thread.ends = {0: 10, 1: 50}
    await world.look()
    world.now_s += 3
    assert world.gauge("plaudit_lag_records") == {("0",): 0.0, ("1",): 30.0}
    assert world.gauge("plaudit_lag_seconds") == {("0",): 0.0, ("1",): 8.0}  # since the look before
    world.folds[1].next_offset = 50
    assert world.gauge("plaudit_lag_seconds") == {("0",): 0.0, ("1",): 0.0}


async def test_after_a_start_the_last_tick_applied_says_how_old_a_backlog_is(world: World) -> None:
    world.assigned = {0, 1}
    ticked_ms = round((world.now_s + 1_700_000_000 - 3_600) * 1000)
    world.folds |= {0: Fold(10, ticked_ms), 1: Fold(10, None)}
    world.thread.ends = {0: 1_000, 1: 1_000}
    await world.look()
    await world.look()
    assert world.gauge("plaudit_lag_seconds") == {("0",): 3_610.0, ("1",): 5.0}  # of history: since the start
    assert world.gauge("plaudit_tick_timestamp_seconds") == {("0",): ticked_ms / 1000}


async def test_the_marker_of_a_producers_transaction_is_no_lag(world: World) -> None:
    world.assigned = {0}
    world.folds[0] = Fold(10)
    world.thread.ends, world.thread.positions = {0: 11}, {0: 11}
    await world.look()
    assert world.gauge("plaudit_lag_records") == {("0",): 1.0}  # may be a record on its way
    await world.look()
    assert world.gauge("plaudit_lag_records") == {("0",): 0.0}
    world.consumer.busy = True
    await world.look()
    assert world.gauge("plaudit_lag_records") == {("0",): 1.0}


async def test_only_partitions_at_work_are_told_of(world: World) -> None:
    world.assigned = {0}
    world.folds |= {0: Fold(1), 3: Fold(9)}  # 3 was taken away
    await world.look()
    for name in ("plaudit_lag_records", "plaudit_state_bytes", "plaudit_state_users", "plaudit_timers"):
        assert list(world.gauge(name)) == [("0",)]
    assert world.gauge("plaudit_catalog_info") == {("", "7"): 1.0}


async def test_a_look_that_fails_does_not_end_the_watch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    async def fail_twice() -> None:
        nonlocal looks
        looks += 1
        if looks < 3:
            raise RuntimeError("a bug")
        raise SystemExit

    monkeypatch.setattr(world.watch, "look", fail_twice)
    monkeypatch.setattr("processors.engine.watch.LOOK_S", 0.0)
    with pytest.raises(SystemExit):
        await world.watch.run()
    assert looks == 3
