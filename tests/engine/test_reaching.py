"""Brokers that are away, or have lost what they led: the engine waits and goes on by itself."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, OutOfOrderSequenceNumber
from structlog.testing import capture_logs

from processors.agents import clock
from processors.engine.consumer import EngineThread, update_positions
from processors.engine.errors import UnreachableError
from processors.engine.kip447 import heartbeat, is_refusal
from processors.engine.names import Names
from processors.engine.topics import check_topics
from schemas.brokers import Brokers
from tests.chaos.proxy import LOOPBACK, Proxy
from tests.e2e.conftest import free_port
from tests.engine.harness import PARTITIONS, eventually, make_engine, read

PATIENCE_S = 60.0


async def test_who_has_no_patience_is_told_that_no_broker_answers(names: Names) -> None:
    with pytest.raises(UnreachableError, match="does not answer"):
        await check_topics(Brokers(f"{LOOPBACK}:{free_port()}"), names, PARTITIONS)


async def test_the_check_of_a_worker_that_starts_waits_for_brokers(broker: Brokers, names: Names) -> None:
    proxy = Proxy(free_port(), int(broker.bootstrap.rpartition(":")[2]))
    away = Brokers(f"{LOOPBACK}:{proxy.port}")
    with capture_logs() as logs:
        checking = asyncio.create_task(check_topics(away, names, PARTITIONS, patience_s=PATIENCE_S))

        async def has_tried() -> bool:
            return any(entry["event"] == "kafka_not_ready" for entry in logs)

        await eventually(has_tried, "an attempt has failed")
    assert not checking.done()
    await proxy.start()
    try:
        await checking
    finally:
        await proxy.stop()


async def test_a_worker_that_waits_for_brokers_can_be_stopped(home: Path) -> None:
    stop = asyncio.Event()
    with capture_logs() as logs:
        engine = make_engine(Brokers(f"{LOOPBACK}:{free_port()}"), Names("away"), home=home)
        running = asyncio.create_task(engine.run(stop))

        async def has_tried() -> bool:
            return any(entry["event"] == "kafka_not_ready" for entry in logs)

        await eventually(has_tried, "an attempt has failed")
    stop.set()
    await asyncio.wait_for(running, PATIENCE_S / 2)


async def test_a_clock_whose_producer_has_failed_goes_on_with_another(
    broker: Brokers, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, producers = clock._write, []

    async def fail_first(producer: AIOKafkaProducer, *arguments: Any) -> int:
        producers.append(producer)
        if len(producers) == 1:
            raise OutOfOrderSequenceNumber
        return await write(producer, *arguments)

    monkeypatch.setattr(clock, "_write", fail_first)
    running = asyncio.create_task(clock.Clock(broker, names, interval_s=600.0, now=lambda: 5).run(lambda: True))

    async def has_ticked() -> bool:
        return len(await read(broker, names.input)) == PARTITIONS

    try:
        await eventually(has_ticked, "every partition has its tick")
    finally:
        running.cancel()
    assert len(set(map(id, producers))) == 2


async def test_a_heartbeat_does_not_wait_for_a_coordinator_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: Any) -> bool:
        await asyncio.Event().wait()
        return True

    lost: list[bool] = []
    coordinator: Any = SimpleNamespace(_heartbeat_interval_ms=10, coordinator_dead=lambda: lost.append(True))
    monkeypatch.setattr(GroupCoordinator, "_do_heartbeat", never)
    assert await heartbeat(coordinator) is False
    assert lost == [True]


async def test_an_answer_that_nobody_expects_does_not_end_the_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(coordinator: Any) -> bool:
        raise coordinator.error

    monkeypatch.setattr(GroupCoordinator, "_do_heartbeat", fail)
    coordinator: Any = SimpleNamespace(_heartbeat_interval_ms=1_000, error=KafkaError("UnknownError()"))
    assert await heartbeat(coordinator) is False
    coordinator.error = KafkaError("FencedInstanceIdError()")
    with pytest.raises(KafkaError):
        await heartbeat(coordinator)


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (KafkaError("RebalanceInProgressError()"), False),  # a join that meets the next rebalance
        (KafkaError("UnknownError()"), False),
        (KafkaError("FencedInstanceIdError()"), True),
        (GroupAuthorizationFailedError("g"), True),
    ],
)
def test_only_a_refusal_keeps_a_worker_out_of_its_group(error: KafkaError, refused: bool) -> None:
    assert is_refusal(error) is refused


async def test_the_watch_over_membership_waits_for_a_consumer_that_still_looks_for_brokers() -> None:
    thread: Any = SimpleNamespace(_consumer=SimpleNamespace(_coordinator=None, _closed=False))
    await EngineThread.in_thread_check_membership(thread)


@pytest.mark.parametrize("found", [True, False])
async def test_a_position_that_a_broker_does_not_tell_renews_the_view_of_the_cluster(
    monkeypatch: pytest.MonkeyPatch, found: bool
) -> None:
    class Stub:
        """Fetcher, client, assignment and state of a partition at once."""

        active, renewed, has_valid_position = True, 0, found

        def force_metadata_update(self) -> None:
            self.renewed += 1

        def state_value(self, tp: TopicPartition) -> "Stub":
            return self

    async def look(*_: Any) -> bool:
        return False

    stub: Any = Stub()
    stub._client = stub
    monkeypatch.setattr(Fetcher, "_update_fetch_positions", look)
    assert await update_positions(stub, stub, 1, [TopicPartition("t", 0)]) is False
    assert stub.renewed == (0 if found else 1)
