"""`plaudit import-git`: a git history as metric events."""

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

import click

from deploy.cli.support.errors import DONE, WrongUseError
from schemas.brokers import Brokers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deploy.git_history import Record


@click.command(
    "import-git",
    epilog="""\b
Examples:
  plaudit import-git ~/src/project --output history.jsonl
  plaudit import-git . --publish
  plaudit import-git . --anonymise | plaudit publish - --history

\b
Every commit gives `commits` = 1 and `lines` = insertions + deletions, at the author's time and in the author's zone.
With --anonymise but without --salt, pseudonyms and event ids are others in every run: publishing twice counts twice.
""",
)
@click.argument("repository", metavar="REPO")
@click.option("--output", "-o", "path", metavar="FILE|-", help="Where to write the records; default standard output.")
@click.option("--publish", "to_log", is_flag=True, help="Publish them as history instead, as publish --history does.")
@click.option("--anonymise", is_flag=True, help="Pseudonyms instead of addresses, names and commit ids.")
@click.option(
    "--salt",
    metavar="TEXT",
    help="Of the pseudonyms; the same text gives the same ones again. Keep it secret. Default: random, new in every run.",
)
@click.option("--attributes", is_flag=True, help="Add the attributes that the sample catalog uses: size, when, since.")
def command(
    repository: str, path: str | None, to_log: bool, anonymise: bool, salt: str | None, attributes: bool
) -> int:
    """Write the history of the git repository REPO as records, oldest commit first."""
    import msgspec

    from deploy.cli.support.console import counted, note
    from deploy.cli.support.files import STDIO, writing
    from deploy.git_history import Counts, read_repository

    if to_log and path is not None:
        raise click.UsageError("--publish and --output exclude each other")
    if salt is not None and not anonymise:
        raise click.UsageError("--salt goes only with --anonymise")
    counts = Counts()
    records = read_repository(
        repository, attributes=attributes, anonymise=anonymise, salt=salt or secrets.token_hex(16), counts=counts
    )
    if to_log:
        _publish(records)
    else:
        encode = msgspec.json.Encoder().encode
        with writing(path or STDIO) as output:
            for record in records:
                output.write(encode(record))
                output.write(b"\n")
    note(counted(counts.commits, "commit") + _odd(counts))
    return DONE


def _odd(counts: Any) -> str:
    odd = []
    if counts.impossible_offsets:
        odd.append(f"{counts.impossible_offsets} with an impossible UTC offset, taken as UTC")
    if counts.impossible_dates:
        odd.append(f"{counts.impossible_dates} with an impossible author date, dated by the committer")
    return f" ({'; '.join(odd)})" if odd else ""


def _publish(records: "Iterable[Record]") -> None:
    import time

    from deploy.cli.publish import warn_if_late
    from deploy.cli.support.console import note
    from deploy.cli.support.servers import WAITING, servers
    from deploy.settings import read_settings
    from processors.agents.clock import write_tick
    from processors.engine.names import Names

    settings = read_settings()
    names = Names(settings.prefix)
    with servers(kafka=True) as found:
        if found.stack is not None:
            note(WAITING)
        asyncio.run(warn_if_late(found.kafka, names.input))
        count = asyncio.run(_feed(found.kafka, names.input, records))
        if count:
            write_tick(found.kafka, time.time_ns() // 1_000_000, names=names, token=settings.control_token)


async def _feed(brokers: Brokers, topic: str, records: "Iterable[Record]") -> int:
    import time

    import msgspec

    from deploy.cli.support.console import bar
    from deploy.cli.support.kafka import Feeder
    from schemas.instants import parse_instant
    from schemas.topics import user_key

    encode = msgspec.json.Encoder().encode
    now_ms, count = time.time_ns() // 1_000_000, 0
    with bar("publish", None) as progress:
        async with Feeder(brokers, topic) as feeder:
            for record in records:
                count += 1
                at_ms = parse_instant(record["occurredAt"])
                if at_ms > now_ms:  # an author's clock ran ahead; the broker takes no records of the future
                    at_ms = now_ms
                feeder.add(user_key("", record["user"]["id"]), encode(record), at_ms)
                if feeder.full:
                    await feeder.send()
                    progress.set(feeder.acknowledged)
        progress.set(count)
    if not count:
        raise WrongUseError("the repository has no commits")
    return count
