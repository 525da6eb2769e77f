"""Between consumer and rounds: who we are, what is kept, what is run again."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import NotEnoughReplicasError
from faust.types import TP

from processors.engine.consumer import Records
from processors.engine.errors import AbortableError, RoundFailedError, StartupError
from processors.engine.kip447 import GroupMember
from processors.engine.names import Names
from processors.engine.producer import KafkaPort
from processors.engine.round import Batch, RoundRunner
from processors.engine.table import StateTable
from processors.engine.worker import MAX_ATTEMPTS, MAX_FENCES, RoundWorker
from tests.engine.toy import ToyFold

NAMES = Names()


class Table:
    """What RoundWorker needs of a state table; its consumer would call itself `live` if it were asked."""

    def __init__(self, live: GroupMember) -> None:
        self.folds = {0: ToyFold(0), 1: ToyFold(1)}
        self.app = SimpleNamespace(consumer=SimpleNamespace(thread=SimpleNamespace(member=lambda: live)))

    def drop_all(self) -> None:
        self.folds.clear()


class Runner:
    """Raises what it is told to, one after another, then finishes batches."""

    def __init__(self, port: KafkaPort, *errors: Exception) -> None:
        self.port = port
        self.errors = list(errors)
        self.members: list[GroupMember | None] = []

    async def run(self, batch: Batch, go: Any) -> None:
        self.members.append(self.port.member)
        if self.errors:
            raise self.errors.pop(0)
        batch.done.update({partition: len(run) for partition, run in batch.records.items()})


def member(generation: int, member_id: str = "m") -> GroupMember:
    return GroupMember(generation, member_id, "one")


def make(*errors: Exception, live: GroupMember | None = None) -> tuple[RoundWorker, Runner, Table]:
    port = KafkaPort("127.0.0.1:1", "t", "g")
    table, runner = Table(live or member(1)), Runner(port, *errors)
    worker = RoundWorker(NAMES, cast(StateTable, table), port, cast(RoundRunner, runner), cast(Any, None))
    worker.assigned(member(1))
    table.folds.update({0: ToyFold(0), 1: ToyFold(1)})
    return worker, runner, table


def poll() -> Records:
    record = SimpleNamespace(partition=0, offset=0, timestamp=0, key=b"u", value=b"1", headers=())
    return {TP(NAMES.input, 0): [record]}


async def test_rounds_speak_for_the_assignment_not_for_who_the_member_is_by_now() -> None:
    """Mistake (a) of faust.md section 6, at the place where it was made."""
    worker, runner, _ = make(AbortableError("flush", OSError()), live=member(2))
    assert await worker.handle(poll(), lambda: True)
    assert runner.members == [member(1), member(1)]
    worker.assigned(member(2))
    assert await worker.handle(poll(), lambda: True)
    assert runner.members[-1] == member(2)


@pytest.mark.parametrize(
    ("now", "kept"),
    [
        (member(2), True),  # the next generation: nobody else can have had the partitions
        (member(1), True),  # a static member gets its generation back
        (member(3), False),  # a generation without us
        (member(2, "other"), False),  # we were thrown out in between
        (member(0), False),
    ],
)
def test_state_is_kept_only_if_nobody_else_can_have_had_the_partitions(now: GroupMember, kept: bool) -> None:
    worker, _, table = make()
    worker.assigned(now)
    assert (table.folds != {}) is kept


async def test_an_aborted_round_is_run_again_with_the_same_records() -> None:
    worker, runner, table = make(*[AbortableError("flush", OSError())] * 2)
    assert await worker.handle(poll(), lambda: True)
    assert len(runner.members) == 3
    assert table.folds != {}


async def test_a_round_that_goes_on_failing_stops_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.engine.worker.BACKOFF_S", 0.0)
    worker, _, _ = make(*[AbortableError("flush", OSError("disk full"))] * MAX_ATTEMPTS)
    with pytest.raises(RoundFailedError, match="disk full"):
        await worker.handle(poll(), lambda: True)


@pytest.mark.parametrize("away", [TimeoutError(), NotEnoughReplicasError()])
async def test_a_round_waits_for_brokers_however_long(monkeypatch: pytest.MonkeyPatch, away: Exception) -> None:
    monkeypatch.setattr("processors.engine.worker.BACKOFF_S", 0.0)
    worker, runner, table = make(*[AbortableError("flush", away)] * MAX_ATTEMPTS * 2)
    assert await worker.handle(poll(), lambda: True)
    assert len(runner.members) == MAX_ATTEMPTS * 2 + 1
    assert table.folds != {}


def test_a_worker_thrown_out_again_and_again_is_told_that_its_name_is_taken() -> None:
    worker, _, _ = make()
    for number in range(MAX_FENCES - 1):
        worker.assigned(member(number, f"m{number}"))
    with pytest.raises(StartupError, match="PLAUDIT_INSTANCE"):
        worker.assigned(member(MAX_FENCES, "last"))
