"""`plaudit worker` as a process that can be held inside a transaction, for tests that kill or stop it there.

    python -m tests.faults.worker_child HOLD REACHED

Before every step of a transaction there is a short pause, so that a fault at any moment meets one. While the file HOLD
holds the name of a step, the worker writes REACHED when it comes to that step and waits until HOLD is gone. Steps:
"fetched" (records are there, nothing is done with them yet), "begin", "flush" (outputs are on their way), "offsets"
(outputs are acknowledged), "commit" (offsets are in the transaction), "committed" (the transaction is, the worker does
not know it yet).
"""

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from deploy.cli.main import run
from processors.engine.producer import KafkaPort
from processors.engine.worker import RoundWorker

PAUSE_S = 0.02
HELD_POLL_S = 0.01

STEPS = {"begin": "begin", "flush": "flush", "send_offsets": "offsets", "commit": "commit"}
"""Methods of the port, and what they are called here."""


class Hold:
    """The two files."""

    def __init__(self, hold: Path, reached: Path) -> None:
        self._hold, self._reached = hold, reached

    async def at(self, step: str) -> None:
        """Pause, and wait if the worker is to be held at this step."""
        await asyncio.sleep(random.random() * PAUSE_S)
        if self._wanted() == step:
            self._reached.write_text(step)
            while self._hold.exists():
                await asyncio.sleep(HELD_POLL_S)

    def _wanted(self) -> str:
        try:
            return self._hold.read_text()
        except FileNotFoundError:
            return ""


def slow(method: Callable[..., Awaitable[Any]], step: str, hold: Hold) -> Callable[..., Awaitable[Any]]:
    """A method that is held before it, and `commit` after it too."""

    async def held(self: Any, *arguments: Any) -> Any:
        await hold.at(step)
        result = await method(self, *arguments)
        if step == "commit":
            await hold.at("committed")
        return result

    return held


def slow_down(hold: Path, reached: Path) -> None:
    """Make this process a worker that can be held."""
    files = Hold(hold, reached)
    for name, step in STEPS.items():
        setattr(KafkaPort, name, slow(getattr(KafkaPort, name), step, files))
    RoundWorker.handle = slow(RoundWorker.handle, "fetched", files)  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    slow_down(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.exit(run(["worker", "--no-clock"]))
