"""`plaudit tail`: records of a topic as they come."""

import asyncio
import sys

import click

from deploy.cli.support.errors import DONE
from schemas.brokers import Brokers


@click.command(
    "tail",
    epilog="""\b
Examples:
  plaudit tail awards
  plaudit tail achievements streaks levels
  plaudit tail rejected --from-beginning --count 10

\b
Topics: awards, levels, achievements, streaks, ledger, leaderboards, messages, outcomes, rejected, events.
""",
)
@click.argument("topics", metavar="TOPIC...", nargs=-1, required=True)
@click.option("--from-beginning", is_flag=True, help="Also what is there already.")
@click.option("--count", "-n", type=click.IntRange(1), help="End after so many.")
def command(topics: tuple[str, ...], from_beginning: bool, count: int | None) -> int:
    """Print the records of TOPICs as JSON lines as they are committed, until Ctrl-C or --count."""
    from deploy.cli.support.errors import WrongUseError
    from deploy.cli.support.servers import need_servers, servers
    from deploy.settings import read_settings
    from schemas.topics import CATALOG, DERIVED, EVENTS, OUTCOMES, REJECTED, full_name

    prefix = read_settings().prefix
    known = {name: full_name(name, prefix) for name in (*DERIVED, OUTCOMES, REJECTED, EVENTS, CATALOG)}
    names = []
    for topic in topics:
        name = topic if topic in known.values() else known.get(topic)
        if name is None:
            raise WrongUseError(f"there is no topic {topic!r}; use {', '.join(known)}")
        names.append(name)
    if from_beginning and count is not None:
        with servers(kafka=True) as found:  # what is there can be read of a stopped installation too
            asyncio.run(_tail(found.kafka, names, from_beginning, count))
        return DONE
    asyncio.run(_tail(need_servers(kafka=True).kafka, names, from_beginning, count))
    return DONE


async def _tail(brokers: Brokers, topics: list[str], from_beginning: bool, count: int | None) -> None:
    from deploy.cli.support.kafka import POLL_MS, consumer, partitions_of

    output = sys.stdout.buffer
    left = count
    async with consumer(brokers) as one:
        places = [place for topic in dict.fromkeys(topics) for place in await partitions_of(one, topic)]
        one.assign(places)
        await (one.seek_to_beginning if from_beginning else one.seek_to_end)(*places)
        while left is None or left > 0:
            for records in (await one.getmany(timeout_ms=POLL_MS, max_records=left)).values():
                for record in records:
                    output.write(b"null" if record.value is None else record.value)
                    output.write(b"\n")
                left = None if left is None else left - len(records)
            output.flush()
