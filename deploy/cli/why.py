"""`plaudit why`: how an award, a completion or any other effect came about, derived again (X21)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from deploy.cli.support.errors import DONE

if TYPE_CHECKING:
    from deploy.cli.support.sources import LogSource
    from deploy.settings import Settings
    from deploy.why.answering import Installation


@click.command(
    "why",
    epilog="""\b
Examples:
  plaudit why 5f1c7c0a-5f0e-5c47-9a3b-0d7c6f2f2f10       an award, a completion, or any derived event, by its id
  plaudit why plaudit.events-3-1742                      the record at a place of the log
  plaudit why order-4711 --user 18 --json                an event by the id that its producer gave

\b
Nothing is looked up of what was decided: the user's own records are folded again up to the one in question, and the rules
tell what they do with it. Ids are looked for in ClickHouse first, where it is within reach, else on the topics.
""",
)
@click.argument("identity", metavar="ID")
@click.option(
    "--records", "records_path", metavar="FILE|-", help="Use a records file in place of the installation's log."
)
@click.option("--catalog", "catalog_path", metavar="FILE", help="Catalog of --records, if the file brings none.")
@click.option("--override", is_flag=True, help="Use --catalog in place of the catalogs that the records bring.")
@click.option("--user", metavar="ID", help="Whose event it is, where several users have the same id.")
@click.option("--tenant", metavar="NAME", help="Tenant of the user.")
@click.option(
    "--environment", metavar="NAME", help="Part of every derived id; default PLAUDIT_ENVIRONMENT, production."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object with every step and every effect.")
def command(
    identity: str,
    records_path: str | None,
    catalog_path: str | None,
    override: bool,
    user: str | None,
    tenant: str | None,
    environment: str | None,
    as_json: bool,
) -> int:
    """Show the record behind ID, the state before it, what the rules decided with which numbers, and all that came out.

    ID is an event id, an award id, a completion id, or the id of any derived event. Exit code 4 if nothing has it.
    """
    import msgspec

    from deploy.cli.support.errors import WRONG_USE, WrongUseError
    from deploy.cli.support.files import catalog_file
    from deploy.logging import quiet_logging
    from deploy.settings import read_settings
    from deploy.why.answering import Answering, Question
    from deploy.why.page import print_page

    quiet_logging()
    if catalog_path is not None and records_path is None:
        raise WrongUseError("--catalog goes with --records; the installation's log brings its own catalogs")
    config = None if catalog_path is None else catalog_file(catalog_path, exit_code=WRONG_USE)[0]
    settings = read_settings()
    with _log(records_path, settings) as (source, installation):
        answering = Answering(
            source,
            config,
            environment=environment or settings.environment,
            prefix=settings.prefix,
            override=override,
            installation=installation,
        )
        answer = answering.answer(Question(identity, tenant, user))
    if as_json:
        print(msgspec.json.Encoder(decimal_format="number").encode(answer).decode())
    else:
        print_page(answer)
    return DONE


@contextmanager
def _log(path: str | None, settings: "Settings") -> "Iterator[tuple[LogSource, Installation | None]]":
    """Open the records file, or the log of the installation with what else it has to look in."""
    from deploy.cli.support.clickhouse import ClickHouse
    from deploy.cli.support.servers import servers
    from deploy.cli.support.sources import TopicSource, file_source
    from deploy.why.answering import Installation
    from schemas.topics import EVENTS, full_name

    if path is not None:
        with file_source(path, full_name(EVENTS, settings.prefix)) as source:
            yield source, None
        return
    tables = bool(settings.clickhouse_url) or not settings.kafka
    with servers(kafka=True, clickhouse=tables) as found:
        clickhouse = ClickHouse(found.clickhouse, settings.database) if tables else None
        topic = TopicSource(found.kafka, settings).warn_of_lost_records()
        yield topic, Installation(found.kafka, clickhouse)
