"""The transaction port against a real broker."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import KafkaTimeoutError, ProducerFenced

from processors.engine.errors import AbortableError, FencedError
from processors.engine.kip447 import GroupMember
from processors.engine.memory import MemoryLog, Output
from processors.engine.names import Names
from processors.engine.producer import KafkaPort
from processors.engine.round import Batch, Limits, RoundRunner
from schemas.brokers import Brokers
from schemas.emission import Emission
from schemas.records import LogRecord
from schemas.topics import LEDGER, REJECTED
from tests.engine.harness import committed, eventually, ledger, read
from tests.engine.toy import ToyFold

SIMPLE = GroupMember(-1, "", None)
"""Nobody in particular: the broker takes offsets from it as long as the group has no members."""


def records(*values: bytes, offset: int = 0) -> Batch:
    return Batch({0: [LogRecord(0, offset + n, 1_700_000_000_000, b"u", value) for n, value in enumerate(values)]})


def plain(*values: bytes) -> Sequence[Emission]:
    return [Emission(LEDGER, b"k", value) for value in values]


@pytest.fixture
async def port(broker: Brokers, names: Names) -> AsyncIterator[KafkaPort]:
    port = KafkaPort(broker, names.transactional_id("one"), names.group)
    port.adopt(SIMPLE)
    await port.start()
    yield port
    await port.stop()


async def test_a_committed_round_is_there_once_with_its_changelog_and_offset(
    broker: Brokers, names: Names, port: KafkaPort
) -> None:
    await RoundRunner({0: ToyFold(0)}, port, names).run(records(b"1", b"2", b"what"))
    assert [value for _, _, value in await ledger(broker, names)] == [
        b'{"p":0,"o":0,"count":1,"sum":1}',
        b'{"p":0,"o":1,"count":2,"sum":3}',
    ]
    assert [record.key for record in await read(broker, names.changelog)] == [b"u", b"\0offset"]
    assert await committed(broker, names) == {0: 3}


async def test_both_ports_hold_the_same_after_the_same_rounds(broker: Brokers, names: Names, port: KafkaPort) -> None:
    values = [b"BIG 57" if n % 211 == 7 else b"what" if n % 37 == 5 else b"%d" % (n % 11) for n in range(700)]
    runs = {
        number: [
            LogRecord(number, n * 2, 1_700_000_000_000, b"u%d" % (n % 17), value) for n, value in enumerate(values)
        ]
        for number in (0, 1)
    }
    memory = MemoryLog()
    for each in (memory, port):
        folds = {number: ToyFold(number) for number in runs}
        await RoundRunner(folds, each, names, limits=Limits(effects=300)).run(Batch(runs))
    assert memory.transactions > 4
    for topic in (names.output(LEDGER), names.output(REJECTED), names.changelog):
        found: dict[int, list[Output]] = {0: [], 1: []}
        for one in await read(broker, topic):
            found[one.partition].append((one.key, one.value, list(one.headers)))
        assert found == {number: memory.records[topic, number] for number in runs}
    assert await committed(broker, names) == {number: memory.offsets[names.input, number] for number in runs}


async def test_outputs_leave_while_the_round_is_still_folded(broker: Brokers, names: Names, port: KafkaPort) -> None:
    assert port._producer is not None
    sender, answered = port._producer._sender, asyncio.Event()
    produce = sender._send_produce_req
    at: list[bool] = []

    async def watched(*arguments: Any) -> None:
        await produce(*arguments)
        answered.set()

    class Last(ToyFold):
        def process(self, record: LogRecord, out: list[Emission], limit: int) -> bool:
            at.append(answered.is_set())
            if len(at) > 100 and not at[-1]:
                time.sleep(0.005)  # a busy broker takes its time
            return super().process(record, out, limit)

    sender._send_produce_req = watched
    large = b"%d" % 10**3000  # refused, so that it is emitted as it is
    many = [LogRecord(1, n, 1_700_000_000_000, b"u", b"x" + large) for n in range(4_000)]
    limits = Limits(effects=10**6, size_bytes=10**9, duration_s=60.0)
    await RoundRunner({1: Last(1)}, port, names, limits=limits).run(Batch({1: many}))
    assert (at[0], at[-1]) == (False, True)
    assert await committed(broker, names) == {1: 4_000}


async def test_a_batch_that_fails_while_others_are_folded_fails_the_round(
    broker: Brokers, names: Names, port: KafkaPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert port._producer is not None
    accumulator, failed = port._producer._message_accumulator, []
    append = accumulator._append_batch

    def refused(builder: Any, tp: Any) -> Any:
        batch = append(builder, tp)
        if not failed:
            failed.append(tp)
            accumulator._batches[tp].remove(batch)
            batch.failure(KafkaTimeoutError())
        return batch

    monkeypatch.setattr(accumulator, "_append_batch", refused)
    folds = {0: ToyFold(0), 1: ToyFold(1)}
    batch = Batch({n: [LogRecord(n, offset, 1_700_000_000_000, b"u", b"1") for offset in range(50)] for n in folds})
    runner = RoundRunner(folds, port, names)
    with pytest.raises(AbortableError, match="flush"):
        await runner.run(batch)
    assert [fold.state for fold in folds.values()] == [{}, {}]
    await runner.run(batch)
    assert len(await ledger(broker, names)) == 100
    assert await committed(broker, names) == {0: 50, 1: 50}


@pytest.mark.parametrize("step", ["send", "flush", "send_offsets"])
async def test_a_round_that_fails_is_hidden_and_the_next_one_does_not_commit_it(
    broker: Brokers, names: Names, port: KafkaPort, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, batch, working = RoundRunner({0: ToyFold(0)}, port, names), records(b"1", b"2"), getattr(port, step)

    async def fail(*arguments: Any) -> None:
        await working(*arguments)
        raise OSError("broken")

    monkeypatch.setattr(port, step, fail)
    with pytest.raises(AbortableError):
        await runner.run(batch)
    assert await committed(broker, names) == {}
    monkeypatch.setattr(port, step, working)
    await runner.run(batch)
    assert [id for _, id, _ in await ledger(broker, names)] == ["0-0", "0-1"]
    assert await committed(broker, names) == {0: 2}


async def test_a_new_producer_of_the_same_instance_fences_the_old_one(
    broker: Brokers, names: Names, port: KafkaPort
) -> None:
    await port.begin()
    await port.send(names, 0, plain(b"old"), [])
    await port.flush()
    newer = KafkaPort(broker, names.transactional_id("one"), names.group)
    newer.adopt(SIMPLE)
    await newer.start()
    with pytest.raises(FencedError):
        await port.commit()
    await newer.stop()
    assert await read(broker, names.output(LEDGER)) == []


async def test_a_fence_that_the_sender_met_is_one_for_the_round(names: Names, port: KafkaPort) -> None:
    assert port._producer is not None
    await port.begin()
    port._producer._message_accumulator.fail_all(ProducerFenced())
    with pytest.raises(FencedError):
        await port.send(names, 0, plain(b"x"), [])


async def test_records_larger_than_a_batch_go_out_in_order(broker: Brokers, names: Names, port: KafkaPort) -> None:
    topic = names.output(LEDGER)
    values = [b"a", b"b" * 5_000_000, b"c", b"d" * 200_000, b"e" * 200_000, b"f"]
    await port.begin()
    await port.send(names, 0, plain(*values), [])
    await port.flush()
    await port.commit()
    assert [record.value for record in await read(broker, topic)] == values


async def test_offsets_wait_for_the_acknowledgement_of_the_outputs(
    broker: Brokers, names: Names, port: KafkaPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mistake (c) of faust.md section 6: an accepted offset without its changelog record is a lost change of state."""
    assert port._producer is not None
    sender, steps, release = port._producer._sender, [], asyncio.Event()
    produce, add_group = sender._send_produce_req, sender._do_add_offsets_to_txn

    async def held(*arguments: Any) -> None:
        steps.append("produce")
        await release.wait()
        await produce(*arguments)
        steps.append("acknowledged")

    async def offsets(*arguments: Any) -> Any:
        steps.append("offsets")
        return await add_group(*arguments)

    monkeypatch.setattr(sender, "_send_produce_req", held)
    monkeypatch.setattr(sender, "_do_add_offsets_to_txn", offsets)
    task = asyncio.create_task(RoundRunner({0: ToyFold(0)}, port, names).run(records(b"1")))

    async def produced() -> bool:
        return "produce" in steps

    await eventually(produced, "a produce request")
    for _ in range(3):  # what would go out without waiting has had time to: each is a round trip to the broker
        await port._producer.client.force_metadata_update()
    assert "offsets" not in steps
    release.set()
    await task
    assert steps.index("offsets") > max(n for n, step in enumerate(steps) if step == "acknowledged")


class _Assigned(ConsumerRebalanceListener):  # type: ignore[misc]
    """Does what the engine does: takes the member at assignment."""

    def __init__(self) -> None:
        self.consumer: Any = None
        self.members: list[GroupMember] = []

    def on_partitions_revoked(self, revoked: Any) -> None:
        pass

    def on_partitions_assigned(self, assigned: Any) -> None:
        coordinator = self.consumer._coordinator
        self.members.append(GroupMember(coordinator.generation, coordinator.member_id, None))


async def test_offsets_in_the_name_of_an_older_assignment_are_refused(
    broker: Brokers, names: Names, port: KafkaPort
) -> None:
    """Mistake (a) of faust.md section 6: the member is back in the group, with a new generation, but the records in hand
    are from before. The port speaks for the assignment that it was told of, not for whoever the member is by now."""
    listener = _Assigned()
    consumer = AIOKafkaConsumer(**broker.client(), group_id=names.group, enable_auto_commit=False)
    listener.consumer = consumer
    await consumer.start()
    consumer.subscribe([names.input], listener=listener)

    async def assigned(times: int) -> None:
        async def there() -> bool:
            await consumer.getmany(timeout_ms=10)
            return len(listener.members) >= times

        await eventually(there, f"{times} assignments")

    await assigned(1)
    port.adopt(listener.members[0])
    fold = ToyFold(0)
    runner = RoundRunner({0: fold}, port, names)
    await runner.run(records(b"1"))
    consumer._coordinator.request_rejoin()
    await assigned(2)
    assert consumer._coordinator.generation > listener.members[0].generation
    assert consumer._coordinator.member_id == listener.members[0].member_id
    with pytest.raises(FencedError, match="IllegalGeneration"):
        await runner.run(records(b"2", offset=1))
    assert fold.state == {b"u": (1, 1)}
    assert await committed(broker, names) == {0: 1}
    await port.restart()
    assert [id for _, id, _ in await ledger(broker, names)] == ["0-0"]
    port.adopt(listener.members[-1])
    await runner.run(records(b"2", offset=1))
    assert await committed(broker, names) == {0: 2}
    await consumer.stop()


async def test_committed_offsets_are_answered_only_once_they_are_stable(
    broker: Brokers, names: Names, port: KafkaPort
) -> None:
    from processors.engine.kip447 import UnstableOffsetCommitError, stable_offsets

    consumer = AIOKafkaConsumer(**broker.client(), group_id=names.group, enable_auto_commit=False)
    await consumer.start()
    tp = TopicPartition(names.input, 0)
    coordinator = consumer._coordinator
    await coordinator.ensure_coordinator_known()
    await port.begin()
    await port.send(names, 0, plain(b"x"), [])
    await port.flush()
    await port.send_offsets({(names.input, 0): 7})
    with pytest.raises(UnstableOffsetCommitError):
        await stable_offsets(coordinator, [tp])
    await port.commit()

    async def stable() -> bool:
        try:
            return (await stable_offsets(coordinator, [tp]))[tp].offset == 7
        except UnstableOffsetCommitError:
            return False

    await eventually(stable, "the offset of the committed transaction")
    await consumer.stop()
