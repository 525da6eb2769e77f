"""SIGTERM in the middle of a feed: an orderly end leaves nothing behind, and one that is not orderly loses nothing."""

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from deploy.status.brokers import describe_group
from processors.engine.log_ends import log_ends
from schemas.topics import LEDGER, OUTCOMES
from tests.engine.harness import read
from tests.faults.arena import PARTITIONS, Arena
from tests.faults.test_faults import steps
from tests.faults.undisturbed import assert_undisturbed

ORDERLY = "orderly"
TWICE = "twice"
"""A second signal, while the round in hand cannot end."""

LATE = "late"
"""The round in hand does not end within the grace period."""

GRACE_S = 3
CODES = {ORDERLY: {0}, TWICE: {143}, LATE: {0, 1}}


async def test_sigterm_of_worker_and_sink(arena: Arena) -> None:
    sink = arena.start_sink()
    worker = arena.start_worker(PLAUDIT_GRACE_SECONDS="40")
    kinds = steps(arena, ORDERLY, TWICE, LATE)
    for number, (kind, next_kind) in enumerate(zip(kinds, [*kinds[1:], ORDERLY], strict=True)):
        strike = arena.begin_fault(number)
        await arena.until_works(worker)
        await arena.until_sent(strike)
        if kind != ORDERLY:
            await arena.hold(worker, "flush")
        arena.terminate(worker)
        if kind == TWICE:
            await arena.until_told(worker, '"stopping"', 0)
            arena.terminate(worker)
        assert await arena.ended(worker) in CODES[kind], worker.told()[-2000:]
        if number == 0:
            await assert_nothing_left(arena)
        worker = arena.start_worker(PLAUDIT_GRACE_SECONDS=str(GRACE_S if next_kind == LATE else 40))
        arena.terminate(sink)
        assert await arena.ended(sink) == 0, sink.told()[-2000:]
        sink = arena.start_sink()
        await arena.until_applied()
    await arena.finish()
    assert len(arena.strikes) == 2 * arena.faults
    await assert_undisturbed(arena)


async def assert_nothing_left(arena: Arena) -> None:
    """The group has no member, and no transaction was given up: whoever comes next need not wait for anything."""
    admin = AIOKafkaAdminClient(**arena.brokers.client())
    consumer = AIOKafkaConsumer(**arena.brokers.client(), isolation_level="read_committed")
    topics = [arena.names.output(LEDGER), arena.names.output(OUTCOMES), arena.names.changelog]
    places = [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)]

    async def ended() -> bool:  # the broker answers a commit before it has written the markers
        return bool(await consumer.end_offsets(places) == await log_ends(consumer, places))

    try:
        await admin.start()
        assert (await describe_group(admin, arena.names.group, arena.names.input)).members == []
        await consumer.start()
        await arena.until_async(ended, "all transactions are ended")
    finally:
        await consumer.stop()
        await admin.close()
    for topic in topics:
        written, visible = [
            await read(arena.brokers, topic, PARTITIONS, level) for level in ("read_uncommitted", "read_committed")
        ]
        assert len(visible) == len(written) > 0
