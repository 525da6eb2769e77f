"""`plaudit simulate`: the pure fold over a file, without any server (X16)."""

import sys
from typing import TYPE_CHECKING

import click

from deploy.cli.support.errors import DONE, SOME_REFUSED, WRONG_USE
from deploy.cli.support.options import RoundSize

if TYPE_CHECKING:
    from processors.engine.memory import FailAt


@click.command(
    "simulate",
    epilog="""\b
Examples:
  plaudit simulate --catalog catalog.yaml --records history.jsonl > derived.jsonl
  plaudit dump | plaudit simulate --catalog catalog.yaml --records - | sort | uniq -c
  plaudit dump | plaudit simulate --catalog new-idea.yaml --override --records -

\b
A catalog record of the file puts a catalog in force: the one in its field `config`, as dump writes it, else --catalog.
If the file does not say what is in force at its beginning, --catalog is, from the timestamp of the first record on.
""",
)
@click.option("--catalog", "catalog_path", required=True, metavar="FILE", help="Catalog file (YAML or JSON).")
@click.option("--records", "records_path", required=True, metavar="FILE|-", help="Records, one JSON object per line.")
@click.option("--batch", "round_size", type=RoundSize(), default=500, show_default=True, help="Records per round.")
@click.option("--outcomes", is_flag=True, help="Print the outcome of every record instead of the derived events.")
@click.option("--override", is_flag=True, help="Use --catalog in place of the catalogs that the records bring.")
@click.option(
    "--environment", metavar="NAME", help="Part of every derived id; default PLAUDIT_ENVIRONMENT, production."
)
@click.option("--abort-every", type=click.IntRange(2), hidden=True, help="Break every so many-th commit, for tests.")
def command(
    catalog_path: str,
    records_path: str,
    round_size: int,
    outcomes: bool,
    override: bool,
    environment: str | None,
    abort_every: int | None,
) -> int:
    """Fold RECORDS with CATALOG and print the derived events as JSON lines, in order of emission.

    Refused records come as JSON lines on standard error. Exit code 3 if there are any. The result does not depend on
    --batch; on a dump it is what the installation derived, byte for byte.
    """
    from deploy.cli.support.console import bar
    from deploy.cli.support.files import catalog_file
    from deploy.cli.support.folding import Folding
    from deploy.cli.support.replaying import warn_of_other_catalog, write_derived
    from deploy.cli.support.sources import file_source
    from deploy.logging import quiet_logging
    from deploy.settings import read_settings
    from schemas.topics import EVENTS, full_name

    quiet_logging()
    config, _, _ = catalog_file(catalog_path, exit_code=WRONG_USE)
    settings = read_settings()
    with file_source(records_path, full_name(EVENTS, settings.prefix)) as source:
        folding = Folding(source, config, environment=environment or settings.environment, override=override)
        warn_of_other_catalog(folding, catalog_path, override=override)
        with bar("simulate", source.total) as progress:
            refused = write_derived(
                source,
                folding,
                sys.stdout.buffer,
                progress,
                round_size=round_size or None,
                outcomes=outcomes,
                fail=_breaker(abort_every) if abort_every else None,
            )
    return SOME_REFUSED if refused else DONE


def _breaker(every: int) -> "FailAt":
    from processors.engine.errors import AbortableError

    def fail(step: str, count: int) -> BaseException | None:
        return AbortableError(step, RuntimeError("injected")) if step == "commit" and count % every == 0 else None

    return fail
