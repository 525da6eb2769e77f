"""Bugs planted on purpose: the simulation is worth what it finds of them. None of this is near production code."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest.mock import patch

import msgspec
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.types import TP

from processors.engine import recovery
from processors.engine.consumer import BatchConsumer, Go, Records
from processors.engine.kip447 import GroupMember
from processors.engine.names import Names
from processors.engine.producer import KafkaPort
from processors.engine.round import Change, Target, headers_of
from processors.engine.worker import RoundWorker
from projections.sink.batch import Batch
from projections.sink.loop import SinkLoop, Work
from projections.sink.store import Store
from schemas.emission import Emission
from schemas.topics import LEDGER
from tests.engine.toy import ToyFold
from tests.simulation.kafka.consumer import Coordinator
from tests.simulation.kafka.producer import Sender, SimProducer
from tests.simulation.worker import Parts, SimBatchConsumer, SimRecovery, SimThread


class Plant(msgspec.Struct, frozen=True):
    """One bug: name, what is done wrong, and how it is put in."""

    name: str
    wrong: str
    put: Callable[[], Any]
    """A context manager; gives the parts that workers are made of."""


def _patched(*places: tuple[Any, str, Any], **parts: Any) -> Callable[[], Any]:
    """Return a plant that replaces attributes of classes, and parts of workers."""

    @contextmanager
    def put() -> Iterator[type[Parts]]:
        with ExitStack() as stack:
            for owner, name, value in places:
                stack.enter_context(patch.object(owner, name, value))
            yield type("PlantedParts", (Parts,), parts)

    return put


# the engine


class HastyPort(KafkaPort):
    """Does not wait for acknowledgements; nor does its sender before it ends the transaction."""

    async def flush(self) -> None:
        """Forget what was sent."""
        self._sent.clear()


class LeakyPort(KafkaPort):
    """Publishes the first fact of every call by itself, outside the transaction."""

    async def send(
        self, names: Names, partition: int, emissions: Sequence[Emission], changes: Sequence[Change] | None
    ) -> None:
        """Send one emission beside the transaction."""
        first = next((emission for emission in emissions if emission.topic == LEDGER), None)
        if first is not None:
            cluster = SimProducer.cluster
            log = cluster.log(TopicPartition(names.output(LEDGER), partition))
            await cluster.request("Produce", lambda: log.append(0, first.key, first.value, tuple(headers_of(first))))
            emissions = [emission for emission in emissions if emission is not first]
        await super().send(names, partition, emissions, changes)


class LatePort(KafkaPort):
    """Asks who the member is when offsets are committed, not at assignment."""

    thread: SimThread
    with_instance = True

    async def send_offsets(self, offsets: Mapping[Target, int]) -> None:
        """Commit in the name of whoever the member is by now."""
        found = self.thread.member()
        self.adopt(found if self.with_instance else GroupMember(found.generation, found.member_id, None))
        await super().send_offsets(offsets)


class NamelessPort(LatePort):
    """As LatePort, and without the instance name, which brokers check too."""

    with_instance = False


class StableThread(SimThread):
    """Takes the last stable offset for the end of a log."""

    async def in_thread_log_ends(self, partitions: set[TP]) -> dict[TP, int]:
        """Return last stable offsets."""
        wanted = [TopicPartition(tp.topic, tp.partition) for tp in partitions]
        ends = await self._ensure_consumer().end_offsets(wanted)
        return {TP(tp.topic, tp.partition): end for tp, end in ends.items()}


class AskingThread(SimThread):
    """Asks for more records even in a rebalance, which waits for who asks."""

    async def in_thread_poll_more(
        self, partitions: set[TP], max_records: int, current: Go
    ) -> tuple[Records, dict[TP, int]]:
        """Ask at any time."""
        return await self.in_thread_poll(partitions, max_records, 0.0, current) if partitions else ({}, {})


class TrustingRecovery(SimRecovery):
    """Believes the committed offset, whatever the changelog says."""

    async def check_marker(
        self, consumer: BatchConsumer, table: Any, changelog: TP, committed: int | None, current: Go
    ) -> int | None:
        """Compare nothing."""
        return committed


class KeepingWorker(RoundWorker):
    """Never forgets state, whoever had the partitions meanwhile."""

    def assigned(self, member: GroupMember) -> None:
        """Keep everything."""
        self._lost = False
        self._member = member
        self._port.adopt(member)


class ImpatientConsumer(SimBatchConsumer):
    """Lets partitions go while a round with them is under way."""

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Wait for nothing."""
        self.stop_flow()
        self._epoch += 1


async def _unstable(self: Coordinator, tps: Any) -> dict[TopicPartition, OffsetAndMetadata]:
    cluster = self._consumer.cluster
    found: dict[TopicPartition, OffsetAndMetadata] = await cluster.request(
        "OffsetFetch", lambda: cluster.group(self.group_id).fetch(set(tps), stable=False)
    )
    return found


# the sink


async def _no_batches(self: SinkLoop, places: Any, progress: Any) -> list[Batch]:
    return []


class _Whatever:
    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


class _Blind(dict[Any, Any]):
    """Progress that agrees with everything."""

    def get(self, key: Any, default: Any = None) -> Any:
        return _Whatever()


_write = SinkLoop._write


async def _write_blindly(self: SinkLoop, work: list[Work]) -> None:
    self._next = _Blind(self._next)
    await _write(self, work)


_finish = Store.finish
_announce = Store.announce


async def _finish_first(self: Store, batches: Sequence[Batch]) -> None:
    await _announce(self, batches)
    await _finish(self, batches)


PLANTS: Final = (
    Plant(
        "commit-before-flush",
        "offsets and the commit go out before the outputs are acknowledged",
        _patched((Sender, "_flushed", lambda self: True), port=HastyPort),
    ),
    Plant(
        "token-without-bounds",
        "the insert token names the topic only, not the offsets of the batch",
        _patched((Batch, "token", lambda self, epoch: f"{epoch}-{self.topic}")),
    ),
    Plant("effect-outside", "an effect is published outside the transaction", _patched(port=LeakyPort)),
    Plant(
        "wrong-generation",
        "the group metadata is that of commit time, not of the assignment",
        _patched(port=NamelessPort),
    ),
    Plant(
        "recovery-to-stable-end",
        "recovery ends at the last stable offset",
        _patched(thread=StableThread),
    ),
    Plant("no-redo", "the last announced batch is not repeated", _patched((SinkLoop, "_unfinished", _no_batches))),
)
"""The six of the issue."""

MUTANTS: Final = (
    Plant(
        "recovery-to-stable-end-unchecked",
        "recovery ends at the last stable offset, and nobody compares marker and offset",
        _patched(thread=StableThread, recovery=TrustingRecovery),
    ),
    Plant(
        "no-rollback", "a failed round leaves its changes in memory", _patched((ToyFold, "rollback", ToyFold.commit))
    ),
    Plant(
        "unstable-offsets",
        "committed offsets are taken while a transaction with newer ones is being ended",
        _patched((Coordinator, "fetch_committed_offsets", _unstable)),
    ),
    Plant("revoke-at-once", "a rebalance does not wait for the round in hand", _patched(consumer=ImpatientConsumer)),
    Plant(
        "done-before-insert",
        "a batch is called done before its rows are inserted",
        _patched((Store, "announce", _finish_first)),
    ),
)
"""More of them."""

MASKED: Final = (
    Plant(
        "wrong-generation-with-instance",
        "as wrong-generation, but the instance name is sent along, and brokers check it",
        _patched(port=LatePort),
    ),
    Plant(
        "blind-sink",
        "a sink writes a batch although another has moved the progress",
        _patched((SinkLoop, "_write", _write_blindly)),
    ),
)
"""Mistakes behind which a second line of defence stands."""

RARE: Final = (
    Plant("state-kept", "a worker that lost its partitions goes on with its old state", _patched(worker=KeepingWorker)),
    Plant(
        "offset-asked-once",
        "a recovery that slept while others went on takes the offset that it asked for before",
        _patched((recovery, "OFFSET_DEADLINE_S", 0.0)),
    ),
    Plant(
        "refill-in-rebalance",
        "a round asks for more records although a rebalance waits for it",
        _patched(thread=AskingThread),
    ),
)
"""Mistakes that schedules seldom meet."""

ALL: Final = {plant.name: plant for plant in (*PLANTS, *MUTANTS, *MASKED, *RARE)}
