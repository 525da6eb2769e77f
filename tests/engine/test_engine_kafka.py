"""Whole engines on a real broker: restarts, takeovers, fences, recovery."""

import asyncio
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from processors.engine.app import Engine
from processors.engine.catalogs import publish_catalog
from processors.engine.consumer import BatchConsumer
from processors.engine.errors import StartupError
from processors.engine.kip447 import FixedRequest, LeaveGroupRequestV3
from processors.engine.log_ends import log_ends
from processors.engine.names import Names
from processors.engine.round import Limits
from schemas.brokers import Brokers
from schemas.topics import LEDGER, REJECTED
from tests.engine.harness import caught_up, committed, eventually, ledger, make_engine, produce, read, running
from tests.engine.toy import MARKER, ToyFold


def toy(engine: Engine, partition: int) -> ToyFold:
    fold = engine.table.folds[partition]
    assert isinstance(fold, ToyFold)
    return fold


async def recovered(engine: Engine, *partitions: int) -> None:
    async def there() -> bool:
        return set(partitions) <= set(engine.table.folds) and bool(
            engine.app._consumer and engine.app.consumer.flow_active
        )

    await eventually(there, f"partitions {partitions} at work")


async def test_a_restart_recovers_state_and_goes_on_at_the_committed_offset(
    broker: Brokers, names: Names, producer: AIOKafkaProducer
) -> None:
    await produce(producer, names, 0, b"1", b"2", b"what")
    await produce(producer, names, 1, b"5")
    async with running(make_engine(broker, names)):
        await caught_up(broker, names, {0: 3, 1: 1})
    await produce(producer, names, 0, b"3")
    async with running(make_engine(broker, names)) as engine:
        await caught_up(broker, names, {0: 4, 1: 1})
        assert toy(engine, 0).state == {b"u": (3, 6)}
        assert toy(engine, 1).state == {b"u": (1, 5)}
        assert toy(engine, 0).counters["skipped_offsets"] == 0
    assert [id for _, id, _ in await ledger(broker, names)] == ["0-0", "0-1", "0-3", "1-0"]
    assert [record.value for record in await read(broker, names.output(REJECTED))] == [b"what"]


async def test_nothing_is_made_in_the_working_directory(
    broker: Brokers, names: Names, producer: AIOKafkaProducer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, home = tmp_path / "elsewhere", tmp_path / "not" / "yet"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    await produce(producer, names, 0, b"1")
    async with running(make_engine(broker, names, home=home)):
        await caught_up(broker, names, {0: 1})
    assert list(elsewhere.iterdir()) == []
    assert [found.name for found in home.iterdir()] == ["faust"]


async def test_a_record_larger_than_a_round_is_carried_out_in_slices(
    broker: Brokers, names: Names, producer: AIOKafkaProducer
) -> None:
    await produce(producer, names, 0, b"1", b"BIG 95", b"2")
    async with running(make_engine(broker, names, limits=Limits(effects=20))):
        await caught_up(broker, names, {0: 3})
    ids = [id for _, id, _ in await ledger(broker, names)]
    assert ids == ["0-0", *(f"0-1-{index}" for index in range(95)), "0-2"]
    markers = [record.value for record in await read(broker, names.changelog) if record.key == MARKER]
    assert markers.count(b"1") == 4


async def test_a_worker_that_leaves_hands_over_at_once_and_the_next_finds_its_state(
    broker: Brokers, names: Names, producer: AIOKafkaProducer
) -> None:
    await produce(producer, names, 0, b"1")
    await produce(producer, names, 1, b"1")
    loop = asyncio.get_running_loop()
    async with running(make_engine(broker, names, "two")) as second:
        await recovered(second, 0, 1)
        async with running(make_engine(broker, names, "one")) as first:
            await eventually_shared(first, second)
            await produce(producer, names, 0, b"2")
            await produce(producer, names, 1, b"2")
            await caught_up(broker, names, {0: 2, 1: 2})
            left_at = loop.time()
        await recovered(second, 0, 1)
        assert loop.time() - left_at < 5.0  # the session is 6 s long
        await produce(producer, names, 0, b"3")
        await produce(producer, names, 1, b"3")
        await caught_up(broker, names, {0: 3, 1: 3})
        assert [toy(second, partition).state for partition in (0, 1)] == [{b"u": (3, 6)}] * 2
    assert [id for _, id, _ in await ledger(broker, names)] == ["0-0", "0-1", "0-2", "1-0", "1-1", "1-2"]


async def eventually_shared(first: Engine, second: Engine) -> None:
    async def shared() -> bool:
        return len(first.table.folds) == 1 and len(second.table.folds) == 1

    await eventually(shared, "one partition each")


async def test_a_worker_thrown_out_in_the_middle_of_a_round_is_fenced_and_comes_back(
    broker: Brokers, names: Names, producer: AIOKafkaProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The zombie: its outputs are in the log, its offsets are on the way, and the group has gone on without it."""
    await produce(producer, names, 0, b"1")
    async with running(make_engine(broker, names)) as engine:
        await caught_up(broker, names, {0: 1})
        thrown_out, send_offsets = asyncio.Event(), engine.port.send_offsets

        async def late(offsets: Any) -> None:
            if not thrown_out.is_set():
                await throw_out(engine)
                thrown_out.set()
            await send_offsets(offsets)

        monkeypatch.setattr(engine.port, "send_offsets", late)
        before = engine.worker.member
        await produce(producer, names, 0, b"2", b"3")
        await caught_up(broker, names, {0: 3})
        assert thrown_out.is_set()
        assert engine.worker.member != before
        assert toy(engine, 0).state == {b"u": (3, 6)}
    assert [id for _, id, _ in await ledger(broker, names)] == ["0-0", "0-1", "0-2"]
    uncommitted = await read(broker, names.output(LEDGER), level="read_uncommitted")
    assert len(uncommitted) > 3


async def throw_out(engine: Engine) -> None:
    """Have the broker remove the engine's member from the group, as it does when its session ends."""
    consumer = engine.app.consumer
    assert isinstance(consumer, BatchConsumer)
    coordinator = consumer.thread._ensure_consumer()._coordinator
    leave = FixedRequest(
        LeaveGroupRequestV3(coordinator.group_id, [(coordinator.member_id, coordinator._group_instance_id)])
    )
    await consumer.thread.run(coordinator._send_req(leave))


async def test_recovery_waits_for_a_transaction_between_last_stable_offset_and_end_of_the_log(
    broker: Brokers, names: Names, producer: AIOKafkaProducer
) -> None:
    """Mistake (b) of faust.md section 6. The last round of the owner before is written but not marked yet. Its offset
    marker is no help: a slice does not pass its record, so the markers before and after are the same."""
    await commit_offset(broker, names, 0, 3)
    owner = AIOKafkaProducer(**broker.client(), transactional_id=f"{names.group}-before", acks="all")
    await owner.start()
    async with owner.transaction():
        await owner.send_and_wait(names.changelog, b"3", MARKER, partition=0)
        await owner.send_and_wait(names.changelog, struct.pack(">QQ", 1, 1), b"u", partition=0)
    await owner.begin_transaction()
    await owner.send_and_wait(names.changelog, struct.pack(">QQ", 2, 9), b"u", partition=0)
    await owner.send_and_wait(names.changelog, b"3", MARKER, partition=0)
    engine = make_engine(broker, names)
    async with running(engine):
        await at_end_of_stable_log(engine, names)
        assert engine.table.folds == {}
        await owner.commit_transaction()
        await recovered(engine, 0)
        assert toy(engine, 0).state == {b"u": (2, 9)}
    await owner.stop()


async def at_end_of_stable_log(engine: Engine, names: Names) -> None:
    """Wait until recovery has read everything that is stable, and has asked the broker for more since."""
    changelog = TopicPartition(names.changelog, 0)

    def read_so_far() -> int:
        if engine.app._consumer is None or not hasattr(engine.app.consumer, "thread"):
            return 0
        consumer = engine.app.consumer.thread._consumer
        if consumer is None or consumer._subscription.subscription is None:
            return 0
        assignment = consumer._subscription.subscription.assignment
        if assignment is None or changelog not in assignment.tps:
            return 0
        return int(assignment.state_value(changelog)._position or 0)

    polls = 0

    async def there() -> bool:
        nonlocal polls
        polls += read_so_far() >= 3 or 0 in engine.table.folds
        return polls > 20

    await eventually(there, "the stable part of the changelog is read")


async def test_the_end_of_a_log_is_the_high_watermark(broker: Brokers, names: Names) -> None:
    owner = AIOKafkaProducer(**broker.client(), transactional_id=f"{names.group}-before", acks="all")
    await owner.start()
    await owner.begin_transaction()
    await owner.send_and_wait(names.changelog, b"x", b"k", partition=0)
    consumer = AIOKafkaConsumer(**broker.client(), isolation_level="read_committed")
    await consumer.start()
    tp = TopicPartition(names.changelog, 0)
    consumer.assign([tp])
    assert (await consumer.end_offsets([tp]))[tp] == 0
    assert await log_ends(consumer, [tp]) == {tp: 1}
    assert consumer._fetcher._isolation_level == 1  # still read_committed
    await owner.abort_transaction()
    await consumer.stop()
    await owner.stop()


async def commit_offset(broker: Brokers, names: Names, partition: int, offset: int) -> None:
    """Set the group's offset from outside, as an operator would."""
    consumer = AIOKafkaConsumer(**broker.client(), group_id=names.group, enable_auto_commit=False)
    await consumer.start()
    tp = TopicPartition(names.input, partition)
    consumer.assign([tp])
    await consumer.commit({tp: offset})
    await consumer.stop()


async def test_a_state_ahead_of_the_committed_offset_stops_the_worker(
    broker: Brokers, names: Names, producer: AIOKafkaProducer
) -> None:
    await produce(producer, names, 0, b"1", b"2", b"3")
    async with running(make_engine(broker, names)):
        await caught_up(broker, names, {0: 3})
    await commit_offset(broker, names, 0, 1)
    with pytest.raises(
        StartupError, match=r"partition 0: the state in .* stands at input offset 3, but .* committed 1"
    ):
        await asyncio.wait_for(make_engine(broker, names).run(asyncio.Event()), 30)


async def test_a_group_whose_offsets_have_expired_goes_on_at_the_marker(
    broker: Brokers, names: Names, producer: AIOKafkaProducer
) -> None:
    """Kafka forgets the offsets of a group that was away for a week."""
    await producer.send_and_wait(names.changelog, b"2", MARKER, partition=0)
    await produce(producer, names, 0, b"1", b"2", b"3")
    async with running(make_engine(broker, names)):
        await caught_up(broker, names, {0: 3})
    assert [id for _, id, _ in await ledger(broker, names)] == ["0-2"]


async def test_a_catalog_published_while_the_engine_runs_is_read_when_its_record_comes(
    broker: Brokers, names: Names, producer: AIOKafkaProducer
) -> None:
    async with running(make_engine(broker, names)):
        await produce(producer, names, 0, b"1")
        await caught_up(broker, names, {0: 1})
        await publish_catalog(
            broker, names, key=b"v2", value=b"v2", control=b"NEED v2", at_ms=1_700_000_000_000, token="secret"
        )

        async def passed() -> bool:
            return {partition: offset >= 1 for partition, offset in (await committed(broker, names)).items()} == {
                0: True,
                1: True,
            } and (await committed(broker, names))[0] >= 2

        await eventually(passed, "the control records of both partitions")
    rejected = await read(broker, names.output(REJECTED))
    assert [record.value for record in rejected] == [b"NEED v2"] * 2  # the toy knows no such record, but had no error


async def test_a_topic_with_wrong_partitions_stops_the_worker(broker: Brokers, names: Names) -> None:
    engine = make_engine(broker, names)
    engine.options = msgspec.structs.replace(engine.options, partitions=5)
    with pytest.raises(StartupError, match=r"has 2 partitions instead of 5"):
        await engine.run(asyncio.Event())


async def test_of_two_workers_with_one_name_the_first_stops_and_says_why(
    broker: Brokers, names: Names, producer: AIOKafkaProducer
) -> None:
    stop = asyncio.Event()
    first = make_engine(broker, names)
    task = asyncio.create_task(first.run(stop))
    await recovered(first, 0, 1)
    async with running(make_engine(broker, names)) as second:
        await recovered(second, 0, 1)
        await produce(producer, names, 0, b"1")
        with pytest.raises(StartupError, match="PLAUDIT_INSTANCE"):
            await asyncio.wait_for(task, 40)
        await produce(producer, names, 0, b"2")
        await caught_up(broker, names, {0: 2})
    assert [id for _, id, _ in await ledger(broker, names)] == ["0-0", "0-1"]
