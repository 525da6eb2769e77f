"""A worker as a process, and the clock beside it."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from processors.agents.clock import Clock, tick_value, write_tick_async
from processors.engine.errors import StartupError
from processors.engine.instance import claim_instance
from processors.engine.names import Names
from schemas.brokers import Brokers
from tests.engine.harness import PARTITIONS, caught_up, eventually, ledger, produce, read

PROCESS = """
import sys
from pathlib import Path
from processors.agents.worker import Rules, WorkerOptions, run_worker
from tests.engine.harness import PARTITIONS, SESSION_S
from schemas.brokers import Brokers
from tests.engine.toy import ToyFold, ToyStore

bootstrap, prefix, home = sys.argv[1:]
store = ToyStore()
options = WorkerOptions(
    brokers=Brokers(bootstrap), prefix=prefix, partitions=PARTITIONS, home=Path(home), session_s=SESSION_S, tick_interval_s=600.0
)
run_worker(options, clock=True, rules=Rules(lambda partition: ToyFold(partition, store), store))
"""


async def start_process(broker: Brokers, names: Names, home: Path) -> asyncio.subprocess.Process:
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    (home / "cwd").mkdir(exist_ok=True)
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROCESS,
        broker.bootstrap,
        names.prefix,
        str(home / "home"),
        env=environment,
        cwd=home / "cwd",
    )


async def test_a_worker_ends_with_0_on_sigterm_and_a_killed_one_goes_on_under_its_name(
    broker: Brokers, names: Names, home: Path, producer: AIOKafkaProducer
) -> None:
    ticks = {0: 2, 1: 1}  # one record and a tick each
    await produce(producer, names, 0, b"1")
    process = await start_process(broker, names, home)
    await caught_up(broker, names, ticks)
    process.kill()
    assert await process.wait() == -signal.SIGKILL
    await produce(producer, names, 0, b"2")
    process = await start_process(broker, names, home)
    await caught_up(broker, names, {0: 4, 1: 2})
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 20) == 0
    assert [id for _, id, _ in await ledger(broker, names)] == ["0-0", "0-2"]
    assert list((home / "cwd").iterdir()) == []  # the home takes what it leaves on the disk


async def test_a_tick_is_written_to_every_partition_dated_as_it_says(broker: Brokers, names: Names) -> None:
    assert await write_tick_async(broker, 1_700_000_000_123, names=names, token="secret") == PARTITIONS
    for partition, record in enumerate(await read(broker, names.input)):
        assert record.partition == partition
        assert record.key is None
        assert record.timestamp == 1_700_000_000_123
        assert record.value == b'{"type":"tick","at":"2023-11-14T22:13:20.123Z"}'
        assert record.headers == (("plaudit-control", b"secret"),)


async def test_the_clock_ticks_only_while_it_leads(broker: Brokers, names: Names) -> None:
    leads, times = False, iter(range(1_700_000_000_000, 1_800_000_000_000, 1000))
    clock = Clock(broker, names, interval_s=0.05, now=lambda: next(times))
    task = asyncio.create_task(clock.run(lambda: leads))
    leads = True

    async def ticked() -> bool:
        return len(await read(broker, names.input)) >= 3 * PARTITIONS

    await eventually(ticked, "three ticks")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    first = (await read(broker, names.input))[0]
    assert first.value == tick_value(first.timestamp) == tick_value(1_700_000_000_000)
    assert first.headers == ()


def test_an_instance_name_is_held_by_one_process_and_given_again_after_it(home: Path) -> None:
    first, second = claim_instance("", home), claim_instance("", home)
    assert first.name != second.name
    first.release()
    assert claim_instance("", home).name == first.name
    assert claim_instance("mine", home).name == "mine"


def test_too_many_workers_are_told_what_to_set(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.engine.instance.MAX_SLOTS", 1)
    held = claim_instance("", home)
    with pytest.raises(StartupError, match="PLAUDIT_INSTANCE"):
        claim_instance("", home)
    held.release()
