"""Requests about one user (X6): built, published as `plaudit publish` does it, and what came of them (X25)."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, TypedDict, TypeVar
from uuid import uuid4

import click

from deploy.cli.support.errors import DONE, SOME_REFUSED
from deploy.cli.support.options import Instant, tenant_option
from schemas.brokers import Brokers

WAIT_S: Final = 30.0
POLL_MS: Final = 250
REFUSED_FROM: Final = 400
"""HTTP status from which a request is refused."""

Tell = Callable[[bytes, object, bool], int]
"""Prints an outcome record of a request, as it is if the last argument says so, and returns the exit code."""

Command = TypeVar("Command", bound=Callable[..., Any])


class Common(TypedDict):
    """The options of `request_options`."""

    tenant: str
    event_id: str | None
    at_ms: int | None
    wait: bool
    timeout_s: float
    as_json: bool
    dry_run: bool


def request_options(command: Command) -> Command:
    """Add the options that all requests have."""
    options = (
        tenant_option,
        click.option(
            "--event-id",
            metavar="ID",
            help="Id of the request, applied once however often it is sent; default: a new one, which is told.",
        ),
        click.option("--at", "at_ms", type=Instant(), help="When it occurred; default now."),
        click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for what comes of it."),
        click.option(
            "--timeout",
            "timeout_s",
            type=click.FloatRange(0.1),
            default=WAIT_S,
            show_default=True,
            metavar="S",
            help="Seconds to wait.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the outcome record as it is."),
        click.option("--dry-run", is_flag=True, help="Print the record and publish nothing."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def request_value(kind: str, user: str, event_id: str | None, common: Common, **fields: Any) -> bytes:
    """Return the value of a request's record; without event id it gets that of its place (X4).

    Raises:
        WrongUseError: the worker would refuse it, whatever its state.
    """
    import msgspec

    from deploy.cli.support.errors import WrongUseError
    from processors.rules.decode import decode
    from processors.rules.errors import RejectedError
    from schemas.instants import format_instant

    record: dict[str, Any] = {"type": kind} if event_id is None else {"type": kind, "eventId": event_id}
    if common["at_ms"] is not None:
        record["occurredAt"] = format_instant(common["at_ms"])
    if common["tenant"]:
        record["tenant"] = common["tenant"]
    value = msgspec.json.encode({**record, "user": user, **fields})
    try:
        decode(value)
    except RejectedError as error:
        raise WrongUseError(f"{kind}: {error}") from error
    return value


def send_request(
    kind: str, user: str, common: Common, *, tell: Tell | None = None, own_id: bool = True, **fields: Any
) -> int:
    """Publish a request, wait for its outcome unless that is not wanted, tell it, and return the exit code (X25).

    Not `own_id`: without `--event-id` the
    record gets none, and nothing of it is remembered.
    """
    from deploy.cli.support.console import note
    from deploy.cli.support.servers import WAITING, servers
    from deploy.settings import read_settings
    from processors.engine.names import Names

    event_id = f"cli-{uuid4()}" if common["event_id"] is None and own_id else common["event_id"]
    value = request_value(kind, user, event_id, common, **fields)
    if common["dry_run"]:
        click.echo(value)
        return DONE
    with servers(kafka=True) as found:
        wait = common["wait"] and found.stack is None
        timeout_s = common["timeout_s"] if wait else 0.0
        sent = _Sent(kind, event_id or "")
        outcome = asyncio.run(_send(found.kafka, Names(read_settings().prefix), value, sent, timeout_s))
    if not wait:
        note(f"published {sent}" + (f"; {WAITING}" if found.stack is not None else ""))
        return DONE
    if outcome is None:
        note(f"{sent} was applied before: an event id counts once (I13)")
        return DONE
    return (tell or tell_outcome)(outcome, sent, common["as_json"])


class _Sent:
    """Where a request stands."""

    def __init__(self, kind: str, event_id: str) -> None:
        self.kind = kind
        self.event_id = event_id
        self.place = ""
        self.again = f"use --event-id {event_id}: then it counts once" if event_id else "just do: it does no harm"

    def __str__(self) -> str:
        return f"{self.kind} {self.event_id} ({self.place})"


async def _send(brokers: Brokers, names: Any, value: bytes, sent: _Sent, timeout_s: float) -> bytes | None:
    """Publish, and return the outcome record; None if none is waited for, or if the event id was applied before.

    Raises:
        CommandError: no outcome came in time.
    """
    from aiokafka import TopicPartition

    from deploy.cli.support.kafka import Feeder, consumer, log_ends, partitions_of
    from deploy.cli.support.progress import Applied
    from deploy.cli.support.publishing import give
    from deploy.records_file import read_records
    from processors.rules.partitioner import partition_of
    from schemas.topics import OUTCOMES

    (record,) = read_records([value])
    assert record.key is not None
    async with consumer(brokers) as one:
        await partitions_of(one, names.input)  # an installation without topics is told before anything is written
        async with Feeder(brokers, names.input) as feeder:
            place = TopicPartition(names.output(OUTCOMES), partition_of(record.key, feeder.partitions))
            one.assign([place])
            one.seek(place, (await log_ends(one, [place]))[place])
            refusal = give(feeder, record, history=False)
            assert not refusal, refusal
        offset = feeder.next_offsets[place.partition] - 1
        sent.event_id = sent.event_id or f"{names.input}-{place.partition}-{offset}"
        sent.place = f"{names.input} {place.partition}:{offset}"
        if not timeout_s:
            return None
        async with Applied(brokers, names) as applied:
            return await _outcome(one, place, record.key, offset, sent, applied, timeout_s)


async def _outcome(
    one: Any, place: Any, key: bytes, offset: int, sent: _Sent, applied: Any, timeout_s: float
) -> bytes | None:
    """Read on from where the topic ended; None once the record is passed and there is no outcome of it."""
    from deploy.cli.support.errors import CommandError
    from deploy.cli.support.history import event_id_of
    from deploy.cli.support.kafka import log_ends

    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        passed = (await applied.offsets()).get(place.partition, 0) > offset
        end = (await log_ends(one, [place]))[place]
        while True:
            for record in (await one.getmany(place, timeout_ms=POLL_MS)).get(place, ()):
                if record.key == key and event_id_of(record.value) == sent.event_id:
                    value: bytes = record.value
                    return value
            if not passed or await one.position(place) >= end or time.monotonic() >= deadline:
                break
        if passed and await one.position(place) >= end:
            return None
    raise CommandError(
        f"{sent} is published, but nothing came of it within {timeout_s:g} s. Does a worker run (plaudit up, plaudit worker)? "
        f"The next one applies it. To send it again, {sent.again}"
    )


def tell_outcome(outcome: bytes, sent: object, as_json: bool) -> int:
    """Print an outcome record of the request `sent`; return 3 if it says that something was refused."""
    import msgspec

    found = msgspec.json.decode(outcome)
    code = SOME_REFUSED if found["status"] >= REFUSED_FROM or found.get("issues") else DONE
    if as_json:
        click.echo(outcome)
        return code
    for issue in found.get("issues", []):
        click.echo(f"{issue['severity']}: {issue['id']}: {issue['message']}")
    if "reason" in found:
        click.echo(f"refused: {found['reason']}; plaudit tail rejected --from-beginning tells more")
    click.echo(f"{'nothing done' if code else 'done'}: {sent}, status {found['status']}")
    return code
