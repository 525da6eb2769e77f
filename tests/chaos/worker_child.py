"""`plaudit worker` as a process that can be held (tests.faults.worker_child), whose clock says what a file says.

    python -m tests.chaos.worker_child HOLD REACHED CLOCK PLANT

CLOCK holds the time, epoch milliseconds: it follows the history that is fed, and jumps when the harness says so. PLANT
is a bug of tests.chaos.plants; empty: none.
"""

import sys
from functools import partial
from pathlib import Path

from deploy.cli.main import run
from processors.agents import worker
from processors.agents.clock import Clock
from tests.chaos.plants import plant
from tests.faults.worker_child import slow_down

if __name__ == "__main__":
    hold, reached, clock = map(Path, sys.argv[1:4])
    plant(sys.argv[4])
    slow_down(hold, reached)
    worker.Clock = partial(Clock, now=lambda: int(clock.read_text()))  # type: ignore[attr-defined, assignment]
    sys.exit(run(["worker"]))
