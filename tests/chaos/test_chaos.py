"""A short schedule on three brokers; `python -m tests.chaos` runs long ones."""

from pathlib import Path

import pytest

from tests.chaos.plan import make_plan
from tests.chaos.schedule import run_schedule

SEED = 5
KINDS = ("kill-worker", "zombie-worker", "kill-sink", "kill-broker", "move-leaders", "kill-clickhouse")


@pytest.mark.timeout(600)
async def test_nothing_is_lost_doubled_or_wrong_after_faults_of_the_important_kinds(tmp_path: Path) -> None:
    plan = make_plan(SEED, len(KINDS), KINDS)
    result = await run_schedule(tmp_path, plan, print)
    assert result.problems == []
    assert result.counts == dict.fromkeys(KINDS, 1)
