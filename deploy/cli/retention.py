"""`plaudit retention`: how long topics and tables keep what they hold (X30a)."""

import asyncio

import click

from deploy.cli.support.errors import DONE, FAILED


@click.group("retention")
def command() -> None:
    """How long topics and tables keep what they hold: PLAUDIT_TOPIC_RETENTION, PLAUDIT_TABLE_RETENTION."""


@command.command(
    "show",
    epilog="""\b
Examples:
  plaudit retention show
  PLAUDIT_TOPIC_RETENTION="derived=30d rejected=90d" plaudit retention show
""",
)
def show() -> int:
    """Show what the settings say and what is in force; exit code 1 if they differ."""
    from deploy.cli.support.console import note, table
    from deploy.cli.support.servers import servers
    from deploy.settings import read_settings
    from processors.engine import retention as of_topics
    from processors.engine.names import Names
    from processors.engine.topics import describe_topics
    from projections import retention as of_tables
    from projections.connection import connect

    settings = read_settings()
    names = Names(settings.prefix)
    with servers(kafka=True, clickhouse=True) as found:
        topics = asyncio.run(describe_topics(found.kafka, names))
        client = connect(found.clickhouse)
        in_force = of_tables.in_force(client, settings.database)
        tables = of_tables.differences(client, settings.database, settings.table_retention)
    wanted = of_topics.wanted_of(names, settings.topic_retention)
    rows = []
    for topic in topics:
        if "retention.ms" in wanted.get(topic.name, {}):
            shown = of_topics.shown_days(topic.config.get("retention.ms"))
            rows.append([topic.name, of_topics.shown_days(wanted[topic.name]["retention.ms"]), shown])
    table(["topic", "setting", "in force"], rows)
    print()
    said = of_tables.wanted_of(settings.table_retention)
    table(["table", "setting", "in force"], [[name, said[name], shown] for name, shown in in_force.items()])
    problems = of_topics.differences(topics, names, settings.topic_retention) + tables
    for problem in problems:
        note(f"{problem}; plaudit retention apply")
    return FAILED if problems else DONE


@command.command(
    "apply",
    epilog="""\b
Examples:
  PLAUDIT_TABLE_RETENTION="metric_events=400d rejected=90d" plaudit retention apply
  PLAUDIT_TOPIC_RETENTION="derived=30d outcomes=7d rejected=90d" plaudit retention apply --dry-run
""",
)
@click.option("--dry-run", is_flag=True, help="Print what would change; change nothing.")
def apply(dry_run: bool) -> int:
    """Bring topics and tables to what the settings say. What is too old then goes, and does not come back."""
    from deploy.cli.support.servers import servers
    from deploy.settings import read_settings
    from processors.engine import retention as of_topics
    from processors.engine.names import Names
    from processors.engine.topics import describe_topics
    from projections import retention as of_tables
    from projections.connection import connect

    settings = read_settings()
    names = Names(settings.prefix)
    with servers(kafka=True, clickhouse=True) as found:
        client = connect(found.clickhouse)
        statements = of_tables.statements(client, settings.database, settings.table_retention)
        topics = asyncio.run(describe_topics(found.kafka, names))
        done = [*of_topics.differences(topics, names, settings.topic_retention), *statements]
        if not dry_run:
            done = [*asyncio.run(of_topics.apply_retention(found.kafka, names, settings.topic_retention)), *statements]
            for statement in statements:
                client.command(statement)
    for line in done:
        print(line if dry_run else f"changed {line}")
    if not done:
        print("topics and tables are as the settings say")
    return DONE


@command.command(
    "purge",
    epilog="""\b
Example, every night:
  plaudit retention purge
""",
)
def purge() -> int:
    """Write parts of tables anew that still hold rows of erased users, which no query shows any more. ClickHouse drops
    them by itself when it merges those parts, whenever that is; the old files go soon after."""
    from deploy.cli.support.servers import servers
    from deploy.settings import read_settings
    from projections import retention as of_tables
    from projections.connection import connect

    database = read_settings().database
    with servers(clickhouse=True) as found:
        client = connect(found.clickhouse)
        tables = of_tables.masked(client, database)
        for name in tables:
            of_tables.purge(client, database, name)
            print(f"purged {name}")
    if not tables:
        print("no table holds deleted rows")
    return DONE
