"""The simulation as part of the tests: a number of schedules, and proof that it is not blind.

It runs as a command of its own, for the order of sets, which is part of a schedule, is fixed when Python starts.
"""

import asyncio
import os
import subprocess
import sys

import pytest
from faust.types import TP

from tests.simulation.kafka.consumer import SimConsumer
from tests.simulation.plants import MUTANTS, PLANTS, Plant
from tests.simulation.worker import SimThread

PLANT_SCHEDULES = 50
"""The most that a planted bug may take to be found."""

MUTANT_SCHEDULES = 100

REPEATED = 12

pytestmark = pytest.mark.timeout(1800)  # a machine that is busy with other things


def simulation(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONHASHSEED": "0"}
    )


def test_nothing_is_lost_or_doubled_whatever_fails_and_nothing_gets_stuck(request: pytest.FixtureRequest) -> None:
    run = simulation("--schedules", str(request.config.getoption("--schedules")))
    print(run.stdout)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_planted_bug_is_found(plant: Plant) -> None:
    assert_found(plant, PLANT_SCHEDULES)


@pytest.mark.parametrize("plant", MUTANTS, ids=lambda plant: plant.name)
def test_other_mutants_are_found(plant: Plant) -> None:
    assert_found(plant, MUTANT_SCHEDULES)


def assert_found(plant: Plant, schedules: int) -> None:
    run = simulation("--plant", plant.name, "--schedules", str(schedules))
    print(run.stdout)
    assert run.returncode == 0, run.stdout + run.stderr


async def test_a_round_in_slices_does_not_wait_for_a_rebalance_that_waits_for_it() -> None:
    """Too rare for schedules: they met it once, and the worker hung for ever. The consumer here is in its first rebalance."""
    thread = SimThread(None, None, SimConsumer())  # type: ignore[arg-type]
    polled = thread.in_thread_poll_more({TP("plaudit.events", 0)}, 1, lambda: True)
    assert await asyncio.wait_for(polled, 5) == ({}, {})


def test_a_seed_is_the_same_schedule_every_time() -> None:
    first, again = (simulation("--schedules", str(REPEATED), "--digest") for _ in range(2))
    lines = [line for line in first.stdout.splitlines() if "CPU" not in line]
    assert len(lines) > REPEATED
    assert lines == [line for line in again.stdout.splitlines() if "CPU" not in line]
