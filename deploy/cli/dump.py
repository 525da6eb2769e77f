"""`plaudit dump`: the input log as a records file (X15)."""

import asyncio
from typing import TYPE_CHECKING, Any

import click

from deploy.cli.support.errors import DONE
from schemas.brokers import Brokers

if TYPE_CHECKING:
    from msgspec import Raw

    from deploy.settings import Settings


@click.command(
    "dump",
    epilog="""\b
Examples:
  plaudit dump --output log.jsonl
  plaudit dump | plaudit simulate --catalog catalog.yaml --records -
  plaudit dump | jq -c 'select(.user.id == "18")'
""",
)
@click.option("--output", "-o", "path", default="-", metavar="FILE|-", help="Where to; default standard output.")
def command(path: str) -> int:
    """Write the input log of a running or stopped installation as JSON lines, ticks and catalog records included.

    Every record has its `timestamp` and `origin`, catalog records the `config` of their version. The order is that of
    each partition; records of different partitions are mixed as they are read.
    """
    from deploy.cli.support.files import writing
    from deploy.cli.support.servers import servers
    from deploy.settings import read_settings

    with servers(kafka=True) as found, writing(path) as output:
        asyncio.run(_dump(found.kafka, read_settings(), output))
    return DONE


async def _dump(brokers: Brokers, settings: "Settings", output: Any) -> None:
    from deploy.cli.support.catalogs import published
    from deploy.cli.support.console import bar
    from deploy.cli.support.kafka import consumer, partitions_of, read_to_end
    from processors.engine.names import Names

    names = Names(settings.prefix)
    configs = {(one.tenant, one.version): one.config for one in await published(brokers, names)}
    async with consumer(brokers) as one:
        places = await partitions_of(one, names.input)
        ends = await one.end_offsets(places)
        with bar("dump", sum(ends.values())) as progress:
            async for run in read_to_end(one, names.input):
                for record in run:
                    output.write(_line(record, names.input, len(places), settings.control_token, configs))
                    output.write(b"\n")
                progress.advance(len(run))


def _line(record: Any, topic: str, partitions: int, token: str, configs: "dict[tuple[str, str], Raw]") -> bytes:
    from deploy.records_file import catalog_named, control_type, write_record
    from processors.rules.control import CONTROL_HEADER
    from processors.rules.partitioner import partition_of
    from schemas.records import LogRecord

    logged = LogRecord(
        record.partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers)
    )
    kind = control_type(record.value)
    right = kind or record.key is None or partition_of(record.key, partitions) == record.partition
    named = catalog_named(record.value) if kind == "catalog" else None
    return write_record(
        logged,
        topic=topic,
        config=configs.get(named) if named is not None else None,
        misplaced_of=None if right else partitions,
        forged=bool(kind) and bool(token) and (CONTROL_HEADER, token.encode()) not in logged.headers,
    )
