"""`plaudit rejected`: what was refused, why, and what to do about it (X31)."""

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

import click

from deploy.cli.support.errors import DONE, FAILED, SOME_REFUSED
from deploy.cli.support.options import Instant, tenant_option
from schemas.brokers import Brokers

if TYPE_CHECKING:
    from deploy.cli.support.letters import Letter, Wanted
    from deploy.cli.support.retrying import Retried, Retry
    from processors.engine.names import Names
    from schemas.derived import Handled

LIMIT: Final = 50
WAIT_S: Final = 30.0

_reason_option = click.option("--reason", metavar="R", help="Only those of one reason code, as bad_request.")
_since_option = click.option("--since", "since_ms", type=Instant(), help="Only those refused since then.")
_places_argument = click.argument("places", metavar="[PLACE]...", nargs=-1)


@click.group("rejected")
def command() -> None:
    """Records that were refused: show them, write them again, put them away.

    A PLACE says where a record stands on the input log: TOPIC-PARTITION-OFFSET, as plaudit.events-3-17.
    """


@command.command(
    "list",
    epilog="""\b
Examples:
  plaudit rejected list
  plaudit rejected list --reason unknown_metric --since 2026-11-24T00:00:00Z
  plaudit rejected list --user 18 --all --json | jq -r .place
""",
)
@_reason_option
@_since_option
@click.option("--user", metavar="U", help="Only those under the key of this user.")
@tenant_option
@click.option("--all", "also_handled", is_flag=True, help="Also what was retried or dropped already.")
@click.option("--limit", type=click.IntRange(1), default=LIMIT, show_default=True, help="At most so many, the latest.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines.")
def list_(
    reason: str | None,
    since_ms: int | None,
    user: str | None,
    tenant: str,
    also_handled: bool,
    limit: int,
    as_json: bool,
) -> int:
    """List refused records, the latest last, and count them by reason."""
    from deploy.cli.support.letters import Wanted, of_user
    from deploy.cli.support.rejected_report import line_of, print_counts, print_table
    from deploy.cli.support.servers import servers
    from deploy.settings import read_settings
    from processors.engine.names import Names

    asked = Wanted(reason=reason, since_ms=since_ms, key=of_user(tenant, user))
    with servers(kafka=True) as found:
        letters, handled = asyncio.run(_find(found.kafka, Names(read_settings().prefix), asked))
    open_ones = letters if also_handled else [one for one in letters if str(one.place) not in handled]
    shown = open_ones[-limit:]
    if as_json:
        for one in shown:
            click.echo(json.dumps(line_of(one, handled.get(str(one.place)))))
        return DONE
    print_table(shown, handled if also_handled else None)
    print_counts(letters, len(open_ones) - len(shown), handled)
    return DONE


async def _find(brokers: Brokers, names: "Names", asked: "Wanted") -> tuple[list["Letter"], dict[str, "Handled"]]:
    from deploy.cli.support.kafka import consumer
    from deploy.cli.support.letters import read_handled, read_letters

    async with consumer(brokers) as one:
        return await read_letters(one, names, asked), await read_handled(one, names)


@command.command(
    "show",
    epilog="""\b
Example:
  plaudit rejected show plaudit.events-3-17
""",
)
@click.argument("place", metavar="PLACE")
@click.option("--value", "only_value", is_flag=True, help="Only the value of the record, as it is: for --edit.")
def show(place: str, only_value: bool) -> int:
    """Show one refused record: why, what helps, and the record itself, as it stands on the input log."""
    from deploy.cli.support.errors import MissingError
    from deploy.cli.support.letters import Gone, Wanted, parse_place
    from deploy.cli.support.rejected_report import print_letter, print_original
    from deploy.cli.support.servers import servers
    from deploy.settings import read_settings
    from processors.engine.names import Names

    names = Names(read_settings().prefix)
    asked = Wanted(frozenset([parse_place(place, names)]))
    with servers(kafka=True) as found:
        letters, handled, original = asyncio.run(_find_one(found.kafka, names, asked))
    if not letters:
        raise MissingError(f"nothing at {place} was refused; plaudit rejected list shows what was")
    if only_value:
        if isinstance(original, Gone) or original.value is None:
            raise MissingError(f"{place}: {original.why if isinstance(original, Gone) else 'the record has no value'}")
        click.echo(original.value)
        return DONE
    for letter in letters:
        print_letter(letter, handled.get(place))
    print_original(original)
    return DONE


async def _find_one(brokers: Brokers, names: "Names", asked: "Wanted") -> tuple[Any, Any, Any]:
    from deploy.cli.support.kafka import consumer
    from deploy.cli.support.letters import read_handled, read_letters, read_original

    async with consumer(brokers) as one:
        letters = await read_letters(one, names, asked)
        return letters, await read_handled(one, names), await read_original(one, letters[0].place) if letters else None


@command.command(
    "retry",
    epilog="""\b
Examples:
  plaudit rejected retry plaudit.events-3-17
  plaudit rejected retry --reason unknown_metric          after the metric was published
  plaudit rejected retry plaudit.events-3-17 --set-key    it had no key, or a wrong one
  plaudit rejected show plaudit.events-3-17 --value | sed s/wrods/words/ |
    plaudit rejected retry plaudit.events-3-17 --edit -

\b
The record is written as it stands on the input log, with its time. It counts once however often it is retried: a record
without eventId gets one, made of its place.
""",
)
@_places_argument
@_reason_option
@_since_option
@click.option("--edit", "edited_path", metavar="FILE|-", help="Write this JSON object instead; one PLACE.")
@click.option("--set-key", is_flag=True, help="Set the key, and with it the partition, from the record's user.")
@click.option("--dry-run", is_flag=True, help="Print the records and write nothing.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for what comes of it.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1), default=WAIT_S, show_default=True, metavar="S")
def retry(
    places: tuple[str, ...],
    reason: str | None,
    since_ms: int | None,
    edited_path: str | None,
    set_key: bool,
    dry_run: bool,
    wait: bool,
    timeout_s: float,
) -> int:
    """Write refused records to the input log again, those of PLACEs or all open ones of one --reason, and tell what came of it.

    Exit code 3 if one is refused again or cannot be retried.
    """
    from deploy.cli.support.console import note
    from deploy.cli.support.errors import WrongUseError
    from deploy.cli.support.files import reading
    from deploy.cli.support.letters import wanted
    from deploy.cli.support.rejected_report import tell
    from deploy.cli.support.servers import WAITING, servers
    from deploy.settings import read_settings
    from processors.engine.names import Names

    names = Names(read_settings().prefix)
    asked = wanted(names, places, reason, since_ms)
    edited: bytes | None = None
    if edited_path is not None:
        if len(asked.places) != 1:
            raise WrongUseError("--edit takes one PLACE: it is the value of that record")
        with reading(edited_path) as lines:
            edited = lines.read().strip()
    with servers(kafka=True) as found:
        waits = wait and found.stack is None
        retries, failed = asyncio.run(_prepare(found.kafka, names, asked, edited, set_key))
        if dry_run:
            for one in retries:
                click.echo(one.value)
            return SOME_REFUSED if failed else DONE
        sent = asyncio.run(_send(found.kafka, names, retries, timeout_s if waits else 0.0))
    if not waits:
        note(f"written {len(sent)}" + (f"; {WAITING}" if found.stack is not None else ""))
        return SOME_REFUSED if failed else DONE
    return max([tell(one, timeout_s) for one in sent] + [SOME_REFUSED if failed else DONE], key=_gravity)


def _gravity(code: int) -> int:
    return (DONE, SOME_REFUSED, FAILED).index(code)


async def _prepare(
    brokers: Brokers, names: "Names", asked: "Wanted", edited: bytes | None, set_key: bool
) -> tuple[list["Retry"], int]:
    """Return what to write, and how many records cannot be retried; those are told.

    Raises:
        MissingError: nothing that is asked for was refused.
    """
    from deploy.cli.support.console import note
    from deploy.cli.support.errors import MissingError
    from deploy.cli.support.kafka import consumer
    from deploy.cli.support.letters import Gone, Original, read_handled, read_letters, read_original
    from deploy.cli.support.retrying import RefusedRetry, make_retry

    retries: list[Retry] = []
    failed = gone = 0
    async with consumer(brokers) as one:
        letters = await read_letters(one, names, asked)
        if not asked.places:
            handled = await read_handled(one, names)
            letters = [letter for letter in letters if str(letter.place) not in handled]
        missing = asked.places - {letter.place for letter in letters}
        for place in sorted(missing):
            note(f"{place}: nothing was refused there")
        for letter in letters:
            original = await read_original(one, letter.place)
            if isinstance(original, Gone):
                if edited is None:
                    gone += 1
                    note(f"{letter.place}: {original.why}; give the record with --edit FILE, or drop it")
                    continue
                original = Original(None, None, letter.refused_ms, ())
            try:
                retries.append(make_retry(letter, original, edited=edited, set_key=set_key))
            except RefusedRetry as refusal:
                failed += 1
                note(f"{letter.place}: not retried: {refusal}")
    if not retries and not failed:
        raise MissingError("there is nothing to retry; plaudit rejected list shows what was refused")
    return retries, failed + gone + len(missing)


async def _send(brokers: Brokers, names: "Names", retries: list["Retry"], timeout_s: float) -> list["Retried"]:
    from deploy.cli.support.kafka import consumer, partitions_of
    from deploy.cli.support.letters import note_handled, now_text
    from deploy.cli.support.retrying import Sender
    from schemas.derived import Handled
    from schemas.topics import HANDLED

    if not retries:
        return []
    sender = Sender(brokers, names)
    async with consumer(brokers) as one:
        await partitions_of(one, names.output(HANDLED))  # what is written must be noted
        begins = await sender.ends(one)
    sent = await sender.send(retries)
    marks = [Handled(str(one.retry.of), "retried", now_text(), str(one.place)) for one in sent]
    await note_handled(brokers, names, marks)
    if timeout_s:
        await sender.watch(sent, begins, timeout_s)
    return sent


@command.command(
    "drop",
    epilog="""\b
Examples:
  plaudit rejected drop plaudit.events-3-17
  plaudit rejected drop --reason malformed --since 2026-11-24T00:00:00Z
""",
)
@_places_argument
@_reason_option
@_since_option
def drop(places: tuple[str, ...], reason: str | None, since_ms: int | None) -> int:
    """Put refused records away: `list` shows them with --all only. The records themselves stay on their topics."""
    from deploy.cli.support.console import counted, note
    from deploy.cli.support.errors import MissingError
    from deploy.cli.support.letters import dropped, wanted
    from deploy.cli.support.servers import servers
    from deploy.settings import read_settings
    from processors.engine.names import Names

    names = Names(read_settings().prefix)
    asked = wanted(names, places, reason, since_ms)
    with servers(kafka=True) as found:
        letters, handled = asyncio.run(_find(found.kafka, names, asked))
        chosen = {one.place for one in letters if str(one.place) not in handled}
        asyncio.run(_drop(found.kafka, names, [dropped(place) for place in sorted(chosen)]))
    missing = asked.places - {one.place for one in letters}
    for place in sorted(missing):
        note(f"{place}: nothing was refused there")
    if not letters:
        raise MissingError("there is nothing to drop; plaudit rejected list shows what was refused")
    print(f"dropped {counted(len(chosen), 'record')}")
    return SOME_REFUSED if missing else DONE


async def _drop(brokers: Brokers, names: "Names", marks: list["Handled"]) -> None:
    from deploy.cli.support.kafka import consumer, partitions_of
    from deploy.cli.support.letters import note_handled
    from schemas.topics import HANDLED

    async with consumer(brokers) as one:
        await partitions_of(one, names.output(HANDLED))
    await note_handled(brokers, names, marks)
