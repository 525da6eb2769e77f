"""`plaudit migrate`: the schema in ClickHouse."""

import click

from deploy.cli.support.errors import DONE, FAILED


@click.command(
    "migrate",
    epilog="""\b
Examples:
  plaudit migrate
  plaudit migrate --status
  plaudit migrate --dry-run > statements.sql
""",
)
@click.option("--status", "only_status", is_flag=True, help="Show every migration and its state; change nothing.")
@click.option("--dry-run", is_flag=True, help="Print the statements that would run; change nothing.")
def command(only_status: bool, dry_run: bool) -> int:
    """Create the database if needed and apply the migrations that are pending, in their order."""
    from deploy.cli.support.console import table
    from deploy.cli.support.servers import servers
    from deploy.settings import read_settings

    if only_status and dry_run:
        raise click.UsageError("--status and --dry-run exclude each other")
    database = read_settings().database
    with servers(clickhouse=True, fresh=not only_status) as found:
        from projections import migrate
        from projections.connection import connect

        client = connect(found.clickhouse)
        if only_status:
            states = migrate.status(client, database)
            table(["version", "name", "state"], [[f"{one.version:04d}", one.name, one.state] for one in states])
            return FAILED if any(one.state in ("changed", "unknown") for one in states) else DONE
        if dry_run:
            for statement in migrate.dry_run(client, database):
                print(f"{statement};\n")
            return DONE
        applied = migrate.up(client, database)
        for name in applied:
            print(f"applied {name}")
        if not applied:
            print(f"database {database} is up to date")
    return DONE
