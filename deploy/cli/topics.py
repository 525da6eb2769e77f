"""`plaudit topics`: create and describe the topics of an installation."""

import asyncio

import click

from deploy.cli.support.errors import DONE, FAILED


@click.group("topics")
def command() -> None:
    """Create and describe the topics."""


@command.command(
    "create",
    epilog="""\b
Example:
  KAFKA_BOOTSTRAP=kafka:9092 PLAUDIT_PARTITIONS=16 PLAUDIT_REPLICATION=3 plaudit topics create
""",
)
def create() -> int:
    """Create the topics that are missing, with the settings that Plaudit needs; what exists is left as it is."""
    from deploy.cli.support.servers import servers
    from deploy.settings import read_settings
    from processors.engine.names import Names
    from processors.engine.topics import create_topics

    settings = read_settings()
    with servers(kafka=True, fresh=True) as found:
        names = Names(settings.prefix)
        created = asyncio.run(
            create_topics(
                found.kafka, names, settings.partitions, settings.replication, retention=settings.topic_retention
            )
        )
    for name in created:
        print(f"created {name}")
    if not created:
        print("all topics are there")
    return DONE


@command.command(
    "describe",
    epilog="""\b
Example:
  plaudit topics describe
""",
)
def describe() -> int:
    """Show the topics with partitions and settings, and what is wrong with them; exit code 1 if anything is."""
    from deploy.cli.support.console import note, table
    from deploy.cli.support.servers import servers
    from deploy.settings import read_settings
    from processors.engine.names import Names
    from processors.engine.topics import describe_topics, find_problems

    settings = read_settings()
    names = Names(settings.prefix)
    with servers(kafka=True) as found:
        topics = asyncio.run(describe_topics(found.kafka, names))
    shown = ("retention.ms", "cleanup.policy", "message.timestamp.type", "segment.ms", "max.message.bytes")
    rows = [[topic.name, str(topic.partitions), *(topic.config.get(key, "") for key in shown)] for topic in topics]
    if rows:
        table(["topic", "partitions", *shown], rows, [False, True])
    problems = find_problems(topics, names, settings.partitions, allow_retention=settings.allow_retention)
    for problem in problems:
        note(f"problem: {problem}")
    return FAILED if problems else DONE
