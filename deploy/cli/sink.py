"""`plaudit sink`: derived events to ClickHouse."""

from typing import TYPE_CHECKING

import click

from deploy.cli.support.errors import DONE

if TYPE_CHECKING:
    from deploy.settings import Settings


@click.command(
    "sink",
    epilog="""\b
Examples:
  plaudit sink
  plaudit sink --topic ledger --topic awards
  plaudit sink --until-caught-up
""",
)
@click.option("--topic", "topics", multiple=True, metavar="NAME", help="Only this topic; repeatable. Default: all.")
@click.option("--until-caught-up", is_flag=True, help="End when all committed records are written.")
def command(topics: tuple[str, ...], until_caught_up: bool) -> int:
    """Write the derived events into the tables, each once, until Ctrl-C or SIGTERM."""
    from deploy.cli.support.access import check_access
    from deploy.cli.support.errors import WrongUseError
    from deploy.cli.support.servers import need_servers
    from deploy.logging import set_up_logging
    from deploy.settings import read_settings
    from processors.engine.instance import SINKS, claim_instance
    from projections.sink.run import run_sink_process

    set_up_logging()
    settings = read_settings()
    found = need_servers(kafka=True, clickhouse=True)
    check_access(found)
    if settings.table_retention:
        _warn_of_retention(found.clickhouse, settings)
    instance = claim_instance(settings.instance, settings.home, SINKS)
    try:
        run_sink_process(
            found.kafka,
            found.clickhouse,
            settings.database,
            settings.prefix,
            topics=topics or None,
            until_caught_up=until_caught_up,
            instance=instance.name,
            metrics_host=settings.metrics_host,
            metrics_port=settings.metrics_port,
            grace_s=settings.grace_s,
        )
    except ValueError as error:
        raise WrongUseError(str(error)) from error
    finally:
        instance.release()
    return DONE


def _warn_of_retention(clickhouse: str, settings: "Settings") -> None:
    """Log where tables keep rows for another time than the settings say; a server that is away is no reason to wait."""
    import structlog
    from clickhouse_connect.driver.exceptions import Error

    from projections.connection import connect
    from projections.retention import differences

    log = structlog.get_logger(__name__)
    try:
        client = connect(clickhouse)
        for difference in differences(client, settings.database, settings.table_retention):
            log.warning("retention_differs", difference=difference, fix="plaudit retention apply")
        client.close()
    except (Error, OSError) as error:
        log.warning("retention_not_checked", error=str(error)[:300])
