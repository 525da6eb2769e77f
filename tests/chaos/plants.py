"""Bugs planted on purpose, each in the process that a schedule starts: what a harness must find or is blind."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.producer.message_accumulator import MessageAccumulator

from processors.engine.consumer import EngineThread
from processors.engine.kip447 import GroupMember
from processors.engine.names import Names
from processors.engine.producer import KafkaPort
from processors.engine.recovery import ChangelogRecovery
from processors.engine.round import Change, headers_of
from processors.engine.worker import RoundWorker
from projections.sink.batch import Batch
from projections.sink.loop import SinkLoop
from schemas.emission import Emission
from schemas.topics import AWARDS


def commit_before_flush() -> None:
    """Commit without waiting for the acknowledgements of outputs."""

    async def flush(self: KafkaPort) -> None:
        self._sent.clear()

    async def flush_for_commit(self: MessageAccumulator) -> None:
        pass

    KafkaPort.flush = flush  # type: ignore[method-assign]
    MessageAccumulator.flush_for_commit = flush_for_commit


def effect_outside() -> None:
    """Send awards by a producer without transaction."""
    send = KafkaPort.send

    async def send_some_outside(
        self: Any, names: Names, partition: int, emissions: Sequence[Emission], changes: Sequence[Change] | None
    ) -> None:
        if not hasattr(self, "outside"):
            self.outside = AIOKafkaProducer(bootstrap_servers=self._producer.client._bootstrap_servers, acks="all")
            await self.outside.start()
        for one in emissions:
            if one.topic == AWARDS:
                topic, headers = names.output(one.topic), headers_of(one)
                await self.outside.send(topic, one.value, one.key, partition=partition, headers=headers)
        await send(self, names, partition, [one for one in emissions if one.topic != AWARDS], changes)

    KafkaPort.send = send_some_outside  # type: ignore[method-assign]


def wrong_generation() -> None:
    """Commit offsets as who the worker is when it commits them, not as who it was when it got the partitions; and as a
    dynamic member, since the brokers know better of a static one."""
    handle, send_offsets = RoundWorker.handle, KafkaPort.send_offsets

    async def handle_and_tell(self: Any, *arguments: Any) -> bool:
        self._port.thread = self.table.app.consumer.thread
        return await handle(self, *arguments)

    async def send_offsets_as_now(self: Any, offsets: Any) -> None:
        now = self.thread.member()
        self.adopt(GroupMember(now.generation, now.member_id, None))
        await send_offsets(self, offsets)

    RoundWorker.handle = handle_and_tell  # type: ignore[method-assign, assignment]
    KafkaPort.send_offsets = send_offsets_as_now  # type: ignore[method-assign]


def recovery_to_stable() -> None:
    """End recovery at the last stable offset, and do not compare the marker with the committed offset."""

    async def stable_ends(self: Any, partitions: set[Any]) -> dict[Any, int]:
        wanted = [TopicPartition(tp.topic, tp.partition) for tp in partitions]
        ends = await self._ensure_consumer().end_offsets(wanted)
        return {next(tp for tp in partitions if tuple(tp) == tuple(found)): end for found, end in ends.items()}

    async def unchecked(self: Any, consumer: Any, table: Any, changelog: Any, committed: int | None, *_: Any) -> Any:
        return committed

    EngineThread.in_thread_log_ends = stable_ends  # type: ignore[method-assign]
    ChangelogRecovery.check_marker = unchecked  # type: ignore[method-assign]


def token_without_bounds() -> None:
    """Name a batch by its partitions only."""

    def token(self: Batch, epoch: int) -> str:
        return f"{epoch}-{self.topic}-{','.join(str(span.partition) for span in self.spans)}"

    Batch.token = token  # type: ignore[method-assign]


def no_redo() -> None:
    """Do not repeat the batch that was announced and is not done."""

    async def nothing(self: SinkLoop, *_: Any) -> list[Batch]:
        return []

    SinkLoop._unfinished = nothing  # type: ignore[method-assign]


PLANTS: Final[Mapping[str, Callable[[], None]]] = {
    "commit-before-flush": commit_before_flush,
    "token-without-bounds": token_without_bounds,
    "effect-outside": effect_outside,
    "wrong-generation": wrong_generation,
    "recovery-to-stable": recovery_to_stable,
    "no-redo": no_redo,
}
"""Each patches the process in which it is called; in those that have no such part it does nothing."""


def plant(name: str) -> None:
    """Plant a bug; none if the name is empty."""
    if name:
        PLANTS[name]()
