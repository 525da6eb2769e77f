"""`plaudit up`: everything, and it stays."""

import signal
import time
from typing import TYPE_CHECKING, Any, Final

import click

from deploy.cli.support.errors import DONE

if TYPE_CHECKING:
    from deploy.cli.support.pipeline import Installation

CHECK_S: Final = 0.5


@click.command(
    "up",
    epilog="""\b
Examples:
  plaudit up
  plaudit up --no-sample
  echo '{"metric":"commits","user":"18","value":1}' | plaudit publish -     (in another terminal)

\b
The records of --records are JSON lines as for plaudit publish; every one must have an eventId, and a time.
""",
)
@click.option("--records", metavar="FILE", help="History to feed instead of the sample; needs --catalog.")
@click.option("--catalog", "catalog_path", metavar="FILE", help="Catalog instead of the sample's.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N records of the history.")
@click.option("--no-sample", is_flag=True, help="Feed nothing and publish no catalog: your own installation.")
def command(records: str | None, catalog_path: str | None, limit: int | None, no_sample: bool) -> int:
    """As `plaudit run`, then stay with worker, sink and clock running, until Ctrl-C."""
    from deploy.cli.support.history import check_history
    from deploy.cli.support.pipeline import installation, load
    from deploy.cli.support.report import report
    from deploy.settings import read_settings

    if no_sample and (records or catalog_path or limit):
        raise click.UsageError("--no-sample goes with no other option")
    check_history(records, catalog_path, limit)
    signal.signal(signal.SIGTERM, _interrupt)
    with installation(read_settings()) as one:
        if not no_sample:
            fed, catalog = load(one, records, catalog_path, limit)
            report(one, fed, catalog)
        one.start(clock=True)
        return _stay(one)


def _stay(one: "Installation") -> int:
    from deploy.cli.support.console import called_as, note
    from deploy.cli.support.pipeline import addresses

    print("\nUp, with the clock on. Ctrl-C stops everything; data stays.")
    for name, address in addresses(one):
        print(f"  {name:<11}{address}")
    name = called_as()
    print(f'  in another terminal: {name} publish -, {name} tail awards, {name} user ID, {name} sql "..."', flush=True)
    try:
        while True:
            one.check()
            time.sleep(CHECK_S)
    except KeyboardInterrupt:
        note("\nstopping")
        return DONE


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
