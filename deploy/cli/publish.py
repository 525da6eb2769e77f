"""`plaudit publish`: records to the input log."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from deploy.cli.support.errors import DONE, SOME_REFUSED

if TYPE_CHECKING:
    from deploy.cli.support.kafka import Feeder
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


async def warn_if_late(bootstrap: str, topic: str) -> None:
    from deploy.cli.support.console import note
    from deploy.cli.support.history import LATE_HISTORY
    from deploy.cli.support.kafka import consumer, read_to_end
    from deploy.records_file import control_type

    async with consumer(bootstrap) as one:
        async for run in read_to_end(one, topic):
            if any(control_type(record.value) == "tick" for record in run):
                note(LATE_HISTORY)
                return


async def _publish(bootstrap: str, topic: str, lines: Iterable[bytes], history: bool) -> tuple[int, int]:
    from deploy.cli.support.console import bar
    from deploy.cli.support.kafka import Feeder

    refusals: list[str] = []
    with bar("publish", None) as progress:
        async with Feeder(bootstrap, topic) as feeder:
            count = 0
            for record in _usable(lines, refusals):
                refusal = _give(feeder, record, history)
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


def _give(feeder: "Feeder", record: "FileRecord", history: bool) -> str:
    """Hand a record over; return why not, or nothing."""
    from schemas.topics import MAX_TOPIC_RECORD_BYTES

    if record.type:
        return f"{record.type} records are written by the program: see plaudit tick, plaudit catalog publish"
    if record.value is not None and len(record.value) > MAX_TOPIC_RECORD_BYTES - 4096:
        return f"the record has {len(record.value)} bytes, the topic takes {MAX_TOPIC_RECORD_BYTES}"
    now_ms = time.time_ns() // 1_000_000
    if not history:
        feeder.add(record.key, record.value, now_ms)
        return ""
    if record.timestamp_ms is None:
        return "has neither timestamp nor occurredAt, which --history dates it by"
    if not 0 <= record.timestamp_ms <= now_ms:
        return "history lies between 1970 and now; mend timestamp or occurredAt"
    feeder.add(record.key, record.value, record.timestamp_ms)
    return ""
