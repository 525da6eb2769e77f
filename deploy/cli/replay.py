"""`plaudit replay`: a log folded again, written or compared with what was recorded (X20)."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from deploy.cli.support.errors import DONE, FAILED, SOME_REFUSED, WRONG_USE, CommandError, WrongUseError
from deploy.cli.support.options import RoundSize
from schemas.brokers import Brokers

if TYPE_CHECKING:
    from deploy.cli.support.folding import Folding
    from deploy.cli.support.recorded import RecordedLog
    from deploy.cli.support.sources import LogSource
    from deploy.settings import Settings
    from processors.engine.names import Names

OFFSETS_S = 15.0
"""How long a broker may take to tell committed offsets."""


class Asked(NamedTuple):
    """What the command line says, once it makes sense: `against` is a file, the topics if None."""

    records: str | None
    catalog: str | None
    override: bool
    environment: str
    round_size: int | None
    comparing: bool
    against: str | None


@click.command(
    "replay",
    epilog="""\b
Examples:
  plaudit replay --check                                             the gate before an upgrade
  plaudit replay --from-topic --output derived.jsonl
  plaudit replay --from-topic --catalog new.yaml --override | jq -r .type | sort | uniq -c
  plaudit replay --records log.jsonl --output before.jsonl           with the old program; then with the new one:
  plaudit replay --records log.jsonl --check --against before.jsonl

\b
Without --check or a comparison the derived events are written as JSON lines, refused records go to standard error, and
the exit code is 3 if there are any. A comparison prints the first difference in the order of the log, with its record,
the state of its user before it and both results, then the counts; exit code 1 if anything differs.
""",
)
@click.option("--from-topic", is_flag=True, help="The log: the input topic of the installation, as it is now.")
@click.option("--records", metavar="FILE|-", help="The log: a file of records, as dump writes it.")
@click.option("--catalog", metavar="FILE", help="Catalog for a log that brings none; with --override for any.")
@click.option("--override", is_flag=True, help="Use --catalog in place of the catalogs of the log.")
@click.option("--batch", "round_size", type=RoundSize(), default=500, show_default=True, help="Records per round.")
@click.option("--output", "-o", metavar="FILE|-", help="Where to write; default standard output.")
@click.option("--outcomes", is_flag=True, help="Write the outcome of every record instead of the derived events.")
@click.option("--check", is_flag=True, help="Compare; by default the installation's log with its derived topics.")
@click.option("--compare", "--against", "against", metavar="FILE|-", help="Compare with what was written before.")
@click.option("--compare-topics", is_flag=True, help="With --from-topic: compare with the derived topics.")
@click.option(
    "--environment", metavar="NAME", help="Part of every derived id; default PLAUDIT_ENVIRONMENT, production."
)
def command(
    from_topic: bool,
    records: str | None,
    catalog: str | None,
    override: bool,
    round_size: int,
    output: str | None,
    outcomes: bool,
    check: bool,
    against: str | None,
    compare_topics: bool,
    environment: str | None,
) -> int:
    """Fold a log again with the present program, and write what it derives or compare it with what was recorded."""
    from deploy.logging import quiet_logging
    from deploy.settings import read_settings

    from_topic = from_topic or (check and records is None)
    comparing = check or compare_topics or against is not None
    _check_use(from_topic, records, catalog, override, output, outcomes, comparing, against, compare_topics)
    quiet_logging()
    settings = read_settings()
    asked = Asked(
        records=records,
        catalog=catalog,
        override=override,
        environment=environment or settings.environment,
        round_size=round_size or None,
        comparing=comparing,
        against=against,
    )
    return _compare(asked, settings) if comparing else _write(asked, settings, output or "-", outcomes)


def _check_use(
    from_topic: bool,
    records: str | None,
    catalog: str | None,
    override: bool,
    output: str | None,
    outcomes: bool,
    comparing: bool,
    against: str | None,
    compare_topics: bool,
) -> None:
    if (records is None) == (not from_topic):
        raise WrongUseError("give either --records FILE (- for standard input) or --from-topic")
    if override and catalog is None:
        raise WrongUseError("--override needs --catalog FILE, the catalog to use in place of those of the log")
    if comparing and (output is not None or outcomes):
        raise WrongUseError("a comparison writes no events; leave out --output and --outcomes, or the comparison")
    if against is not None and compare_topics:
        raise WrongUseError("compare either with the topics or with a file; leave out --compare-topics or --compare")
    if comparing and against is None and records is not None:
        raise WrongUseError("a file of records is compared with a file: give it with --against FILE")
    if against == records == "-":
        raise WrongUseError("--records and --against cannot both be standard input; give one of them as a file")


def _write(asked: Asked, settings: "Settings", path: str, outcomes: bool) -> int:
    from deploy.cli.support.console import bar
    from deploy.cli.support.files import writing
    from deploy.cli.support.replaying import warn_of_other_catalog, write_derived

    with _opened(asked, settings) as (source, _, _):
        folding = _folding(asked, source)
        warn_of_other_catalog(folding, asked.catalog, override=asked.override)
        with writing(path) as output, bar("replay", source.total) as progress:
            refused = write_derived(source, folding, output, progress, round_size=asked.round_size, outcomes=outcomes)
    return SOME_REFUSED if refused else DONE


def _compare(asked: Asked, settings: "Settings") -> int:
    from deploy.cli.support.check import Check
    from deploy.cli.support.check_report import report
    from deploy.cli.support.console import bar
    from deploy.cli.support.differences import first_difference
    from deploy.cli.support.replaying import warn_of_other_catalog

    with _opened(asked, settings) as (source, recorded, applied):
        assert recorded is not None
        folding = _folding(asked, source)
        warn_of_other_catalog(folding, asked.catalog, override=asked.override)
        partitions = None if applied is None else list(range(source.partitions or 0))
        with bar("check", source.total) as progress:
            check = Check(
                source,
                folding,
                recorded,
                round_size=asked.round_size,
                applied=applied,
                on_progress=progress.advance,
            )
            checked = check.run(partitions)
        difference = None
        if checked.mismatches:
            _check_environment(checked.mismatches, asked.environment)
            with bar("look into it", source.total) as progress:
                difference = first_difference(source, _folding(asked, source), recorded, checked, progress.advance)
        report(checked, difference, recorded, source.topic, settings.prefix)
    return DONE if checked.equal else FAILED


def _folding(asked: Asked, source: "LogSource") -> "Folding":
    from deploy.cli.support.files import catalog_file
    from deploy.cli.support.folding import Folding

    config = None if asked.catalog is None else catalog_file(asked.catalog, exit_code=WRONG_USE)[0]
    return Folding(source, config, environment=asked.environment, override=asked.override)


Opened = tuple["LogSource", "RecordedLog | None", "dict[int, int] | None"]
"""The log, what was recorded if that is wanted, and how far the log is applied if both are of an installation."""


@contextmanager
def _opened(asked: Asked, settings: "Settings") -> Iterator[Opened]:
    from deploy.cli.support.recorded import FileRecorded
    from deploy.cli.support.sources import rereadable

    with ExitStack() as keep:
        source, topics, applied = _log(asked, settings, keep)
        recorded: RecordedLog | None = topics
        if asked.against is not None:
            recorded, applied = FileRecorded(*keep.enter_context(rereadable(asked.against))), None
        yield source, recorded, applied


def _log(asked: Asked, settings: "Settings", keep: ExitStack) -> Opened:
    """Open the log. Of an installation: first how far it is applied, then where the derived topics end, then where the log
    ends, so that what is applied is recorded, and what is recorded has its cause in the log."""
    import asyncio

    from deploy.cli.support.recorded import TopicsRecorded
    from deploy.cli.support.servers import servers
    from deploy.cli.support.sources import TopicSource, file_source
    from processors.engine.names import Names
    from schemas.topics import EVENTS, full_name

    if asked.records is not None:
        return keep.enter_context(file_source(asked.records, full_name(EVENTS, settings.prefix))), None, None
    brokers = keep.enter_context(servers(kafka=True)).kafka
    names = Names(settings.prefix)

    offsets = asyncio.run(_applied(brokers, names)) if asked.comparing else None
    topics = TopicsRecorded(brokers, names) if asked.comparing and asked.against is None else None
    source = TopicSource(brokers, settings)
    for partition, begin in sorted(source.begins.items()):
        if begin > 0:
            raise CommandError(
                f"{source.topic} {partition} begins at offset {begin}: older records are deleted, and a replay needs the "
                "log from its beginning. Keep retention.ms=-1 on it (X9a)"
            )
    return source, topics, offsets


async def _applied(brokers: Brokers, names: "Names") -> dict[int, int]:
    """Return the committed offsets; a broker that has just started does not know them at once."""
    import asyncio
    import time

    from deploy.cli.support.console import note
    from deploy.cli.support.progress import POLL_S, Applied

    deadline = time.monotonic() + OFFSETS_S
    async with Applied(brokers, names) as one:
        while not (found := await one.offsets()):
            if time.monotonic() > deadline:
                note(f"no offsets of group {names.group} are committed: nothing of the log needs to be recorded")
                return {}
            await asyncio.sleep(POLL_S)
    return found


def _check_environment(mismatches: list[Any], environment: str) -> None:
    from deploy.cli.support.check import value_of
    from deploy.cli.support.recorded import head_of

    for mismatch in mismatches:
        found = head_of(value_of(mismatch.recorded.form)).environment if mismatch.recorded is not None else ""
        if found and found != environment:
            raise CommandError(
                f"what is recorded is of environment {found!r}, and the ids of this replay are of {environment!r}: "
                f"set PLAUDIT_ENVIRONMENT={found}, or give --environment {found}"
            )
