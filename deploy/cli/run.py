"""`plaudit run`: everything in one go."""

import click

from deploy.cli.support.errors import DONE, SOME_REFUSED


@click.command(
    "run",
    epilog="""\b
Examples:
  plaudit run
  plaudit run --records history.jsonl --catalog catalog.yaml
  KAFKA_BOOTSTRAP=localhost:9092 CLICKHOUSE_URL=http://plaudit:plaudit@localhost:8123 plaudit run

\b
A second run feeds only what is not in the log yet, so nothing twice, and shows the same numbers. Records are told apart
by their eventId: in the file of --records, JSON lines as for plaudit publish, every record must have one, and a time.
""",
)
@click.option("--records", metavar="FILE", help="History to feed instead of the sample; needs --catalog.")
@click.option("--catalog", "catalog_path", metavar="FILE", help="Catalog instead of the sample's.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N records of the history.")
def command(records: str | None, catalog_path: str | None, limit: int | None) -> int:
    """Start the servers, feed the sample through worker and sink, and show what came out.

    The sample is the history of one software project: 60,751 commits, 121,502 metric events. Data stays under
    PLAUDIT_HOME (.plaudit), servers stop at the end. Exit code 3 if records of --records were refused.
    """
    from deploy.cli.support.console import called_as
    from deploy.cli.support.history import check_history
    from deploy.cli.support.pipeline import installation, load
    from deploy.cli.support.report import report
    from deploy.settings import read_settings

    check_history(records, catalog_path, limit)
    with installation(read_settings()) as one:
        fed, catalog = load(one, records, catalog_path, limit)
        refused = report(one, fed, catalog)
    name = called_as()
    print(
        "\nNext:\n"
        f'  {name} sql "SELECT * FROM points_balances ORDER BY total DESC LIMIT 10"\n'
        f"  {name} user ID            one user: balances, level, streak, achievements, awards\n"
        f"  {name} up                 the same installation, staying up; then publish to it and tail it"
    )
    return SOME_REFUSED if records is not None and refused else DONE
