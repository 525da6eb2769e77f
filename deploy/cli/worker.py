"""`plaudit worker`: input log to derived events."""

import click

from deploy.cli.support.errors import DONE


@click.command(
    "worker",
    epilog="""\b
Examples:
  plaudit worker
  KAFKA_BOOTSTRAP=kafka:9092 PLAUDIT_INSTANCE=worker-1 PLAUDIT_METRICS_PORT=9108 plaudit worker

\b
Run as many as there are partitions, at most; each takes its share, and one of them writes the clock.
""",
)
@click.option("--no-clock", is_flag=True, help="Write no ticks: while history is being loaded (X8).")
def command(no_clock: bool) -> int:
    """Apply the records of the input log and publish what they cause, until Ctrl-C or SIGTERM."""
    from deploy.cli.support.servers import need_servers
    from deploy.logging import set_up_logging
    from deploy.settings import read_settings
    from processors.agents.worker import run_worker

    set_up_logging()
    run_worker(read_settings().worker_options(need_servers(kafka=True).kafka), clock=not no_clock)
    return DONE
