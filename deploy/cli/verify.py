"""`plaudit verify`: nothing lost, nothing doubled, on a live installation (X26)."""

import sys
from typing import TYPE_CHECKING

import click

from deploy.cli.support.errors import DONE, FAILED
from deploy.cli.support.options import Instant

if TYPE_CHECKING:
    from projections.verifier import Report

DEFAULT_LIMIT = 20


@click.command(
    "verify",
    epilog="""\b
Examples:
  plaudit verify                                        everything, from the first record of the log
  plaudit verify --since 2026-11-01T00:00:00Z           only what was caused from then on
  plaudit verify --json | jq .differences
  0 4 * * * plaudit verify > /var/log/plaudit-verify.log 2>&1 || mail -s 'plaudit verify' ops < /var/log/plaudit-verify.log

\b
The input log is folded again by the rules alone. What it causes is compared with the derived topics, with the workers'
state, and with the tables, rollups and views. Workers and sinks may go on: what they have not committed, or not projected
yet, is told as such. Nothing is written. Exit code 0: equal; 1: differences, or it could not be carried out; see
docs/verify.md.
""",
)
@click.option("--since", type=Instant(), help="Leave out what was caused before; the log is folded from its beginning.")
@click.option("--limit", type=click.IntRange(min=0), default=DEFAULT_LIMIT, show_default=True, help="Lines per kind.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def command(since: int | None, limit: int, as_json: bool) -> int:
    """Check topics, state and tables against the log: what is lost, doubled, reordered or wrong."""
    from deploy.cli.support.console import bar
    from deploy.cli.support.servers import servers
    from deploy.cli.support.verification import print_report, report_json
    from deploy.settings import read_settings
    from projections.verifier import verify

    settings = read_settings()
    with servers(kafka=True, clickhouse=True) as found, bar("verify", None) as progress:
        report: Report = verify(
            found.kafka,
            prefix=settings.prefix,
            clickhouse_url=found.clickhouse,
            database=settings.database,
            environment=settings.environment,
            control_token=settings.control_token or None,
            since_ms=since,
            limit=limit,
            on_progress=progress.set,
        )
    if as_json:
        sys.stdout.buffer.write(report_json(report) + b"\n")
    else:
        print_report(report)
    return DONE if report.ok else FAILED
