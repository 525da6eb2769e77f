"""`plaudit sink`: derived events to ClickHouse."""

import click

from deploy.cli.support.errors import DONE


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
    from deploy.cli.support.errors import CommandError, WrongUseError
    from deploy.cli.support.servers import need_servers
    from deploy.logging import set_up_logging
    from deploy.settings import read_settings
    from processors.engine.instance import SINKS, claim_instance
    from projections.sink.run import run_sink_process

    set_up_logging()
    settings = read_settings()
    found = need_servers(kafka=True, clickhouse=True)
    if settings.metrics_port:
        from prometheus_client import start_http_server

        try:
            start_http_server(settings.metrics_port)
        except OSError as error:
            raise CommandError(
                f"PLAUDIT_METRICS_PORT={settings.metrics_port} cannot be used ({error.strerror}); "
                "free that port, or set the variable to another"
            ) from error
    check_access(found)
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
        )
    except ValueError as error:
        raise WrongUseError(str(error)) from error
    finally:
        instance.release()
    return DONE
