"""`plaudit tick`: one tick by hand."""

import time

import click

from deploy.cli.support.errors import DONE
from deploy.cli.support.options import Instant


@click.command(
    "tick",
    epilog="""\b
Examples:
  plaudit tick
  plaudit tick --at 2025-03-01T00:00:00Z
""",
)
@click.option("--at", "at_ms", type=Instant(), help="Which time it is; default now. Not in the future.")
def command(at_ms: int | None) -> int:
    """Write one tick to every partition: what is due by then happens. Workers with the clock on do this by themselves."""
    from deploy.cli.support.errors import WrongUseError
    from deploy.cli.support.servers import servers
    from deploy.settings import read_settings
    from processors.agents.clock import write_tick
    from processors.engine.names import Names
    from schemas.instants import format_instant

    settings = read_settings()
    now_ms = time.time_ns() // 1_000_000
    chosen = now_ms if at_ms is None else at_ms
    if chosen > now_ms:
        raise WrongUseError(f"--at {format_instant(chosen)} lies in the future, where no tick is accepted (X7)")
    with servers(kafka=True) as found:
        count = write_tick(found.kafka, chosen, names=Names(settings.prefix), token=settings.control_token)
    print(f"tick at {format_instant(chosen)} written to {count} partitions")
    return DONE
