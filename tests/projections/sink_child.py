"""A sink as a process, for tests that kill it.

    python -m tests.projections.sink_child BOOTSTRAP URL DATABASE PREFIX [INSTANCE]

Batches are small, of another size in each process, and there is a pause before every step, so that a kill meets each of
them, and a batch that is not repeated as it was does harm.
"""

import asyncio
import random
import sys
from collections.abc import Sequence
from typing import Any

import structlog

from projections.rows import Rows
from projections.rows.erasures import Deletion
from projections.sink import loop, run_sink_process, source
from projections.sink.batch import Batch
from projections.sink.store import Store
from projections.tables import Table
from schemas.brokers import Brokers

PAUSE_S = 0.02

SMALL: dict[Any, dict[str, object]] = {
    loop: {"MAX_BATCH_RECORDS": random.randrange(150, 450), "LINGER_S": 0.02},
    source: {"SESSION_TIMEOUT_MS": 6_000, "HEARTBEAT_MS": 500},  # the least that a broker takes
}


class SlowStore(Store):
    """A store that pauses before every step."""

    async def announce(self, batches: Sequence[Batch]) -> None:
        """Announce after a pause."""
        await asyncio.sleep(random.random() * PAUSE_S)
        await super().announce(batches)

    async def _delete(self, deletion: Deletion) -> None:
        await asyncio.sleep(random.random() * PAUSE_S * 2)
        await super()._delete(deletion)

    async def _insert_table(self, batch: Batch, table: Table, rows: Rows) -> None:
        await asyncio.sleep(random.random() * PAUSE_S * 2)
        await super()._insert_table(batch, table, rows)

    async def finish(self, batches: Sequence[Batch]) -> None:
        """Finish after a pause."""
        await asyncio.sleep(random.random() * PAUSE_S * 2)
        await super().finish(batches)


def slow_down() -> None:
    """Make this process a sink with small batches and pauses."""
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(sys.stderr))
    loop.Store = SlowStore  # type: ignore[attr-defined]
    for module, values in SMALL.items():
        for name, value in values.items():
            setattr(module, name, value)


if __name__ == "__main__":
    slow_down()
    bootstrap, url, database, prefix, *rest = sys.argv[1:]
    print(run_sink_process(Brokers(bootstrap), url, database, prefix, instance=rest[0] if rest else None))
