"""`plaudit publish`: records to the input log."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from deploy.cli.support.errors import DONE, SOME_REFUSED
from schemas.brokers import Brokers

if TYPE_CHECKING:
    from deploy.records_file import FileRecord

MAX_REFUSALS_SHOWN = 20


@click.command(
    "publish",
    epilog="""\b
Examples:
  echo '{"metric":"commits","user":"18","value":1}' | plaudit publish -
  plaudit publish events.jsonl
  plaudit publish history.jsonl --history

\b
The key and the partition are set from the user of the record. What is no JSON object is refused here, with its line;
everything else goes to the log, and what the rules refuse is found on the topic `rejected` (plaudit tail rejected).
""",
)
@click.argument("path", metavar="FILE|-")
@click.option(
    "--history", is_flag=True, help="Date every record by its timestamp or occurredAt, and tick once at the end (X8)."
)
@click.option("--no-tick", is_flag=True, help="With --history: no tick at the end, more history follows.")
def command(path: str, history: bool, no_tick: bool) -> int:
    """Publish records, one JSON object per line, - for standard input. Exit code 3 if lines were refused."""
    from deploy.cli.support.console import counted, note
    from deploy.cli.support.files import reading
    from deploy.cli.support.servers import WAITING, servers
    from deploy.settings import read_settings
    from processors.agents.clock import write_tick
    from processors.engine.names import Names

    settings = read_settings()
    names = Names(settings.prefix)
    with servers(kafka=True) as found, reading(path) as lines:
        if found.stack is not None:
            note(WAITING)
        if history:
            asyncio.run(warn_if_late(found.kafka, names.input))
        published, refused = asyncio.run(_publish(found.kafka, names.input, lines, history))
        if history and not no_tick and published:
            write_tick(found.kafka, time.time_ns() // 1_000_000, names=names, token=settings.control_token)
    note(f"published {counted(published, 'record')}" + (f", refused {counted(refused, 'line')}" if refused else ""))
    return SOME_REFUSED if refused else DONE


async def warn_if_late(brokers: Brokers, topic: str) -> None:
    from deploy.cli.support.console import note
    from deploy.cli.support.history import LATE_HISTORY
    from deploy.cli.support.kafka import consumer, read_to_end
    from deploy.records_file import control_type

    async with consumer(brokers) as one:
        async for run in read_to_end(one, topic):
            if any(control_type(record.value) == "tick" for record in run):
                note(LATE_HISTORY)
                return


async def _publish(brokers: Brokers, topic: str, lines: Iterable[bytes], history: bool) -> tuple[int, int]:
    from deploy.cli.support.console import bar
    from deploy.cli.support.kafka import Feeder
    from deploy.cli.support.publishing import give

    refusals: list[str] = []
    with bar("publish", None) as progress:
        async with Feeder(brokers, topic) as feeder:
            count = 0
            for record in _usable(lines, refusals):
                refusal = give(feeder, record, history=history)
                if refusal:
                    refusals.append(f"line {record.line}: {refusal}")
                    continue
                count += 1
                if feeder.full:
                    await feeder.send()
                    progress.set(feeder.acknowledged)
        progress.set(count)
        for text in refusals[:MAX_REFUSALS_SHOWN]:
            progress.line(f"refused: {text}")
        if len(refusals) > MAX_REFUSALS_SHOWN:
            progress.line(f"refused: {len(refusals) - MAX_REFUSALS_SHOWN} more")
    return count, len(refusals)


def _usable(lines: Iterable[bytes], refusals: list[str]) -> Iterator["FileRecord"]:
    """Yield the records that can be read; one line at a time, so that one that cannot does not end it."""
    from deploy.records_file import RecordsFileError, read_records

    for number, line in enumerate(lines, 1):
        try:
            yield from read_records([line], first=number)
        except RecordsFileError as error:
            refusals.append(str(error))
