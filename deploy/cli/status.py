"""`plaudit status`: how an installation is (X27)."""

import asyncio
import time
from typing import TYPE_CHECKING, Final

import click

from deploy.cli.support.errors import DONE, FAILED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.cli.support.servers import Servers
    from deploy.settings import Settings
    from deploy.status.document import Status

EVERY_S: Final = 5.0


@click.command(
    "status",
    epilog="""\b
Examples:
  plaudit status
  plaudit status --watch
  plaudit status --json | jq .alarms
  plaudit status --metrics http://worker-1:9108 --metrics http://sink-1:9108
  */5 * * * *  plaudit status > /tmp/plaudit.txt || mail -s plaudit ops@example.org < /tmp/plaudit.txt

\b
Kafka and ClickHouse are asked themselves. Workers and sinks are asked too, where they answer: those of `plaudit up`, that
of PLAUDIT_METRICS_PORT, and those of --metrics. Thresholds are those of docs/metrics.md.
""",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object; with --watch one a line.")
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option(
    "--every",
    type=click.FloatRange(1.0),
    default=EVERY_S,
    show_default=True,
    metavar="SECONDS",
    help="Pause with --watch.",
)
@click.option("--metrics", "urls", multiple=True, metavar="URL", help="Ask this worker or sink too; repeatable.")
def command(as_json: bool, watch: bool, every: float, urls: tuple[str, ...]) -> int:
    """Show brokers, topics, who has which partition, how far behind they are, tables and refused records.

    Exit code 1 if an alarm holds, which is said first; 0 if none does.
    """
    from deploy.cli.support.servers import need_servers
    from deploy.logging import quiet_logging
    from deploy.settings import read_settings

    quiet_logging()
    settings = read_settings()
    found = need_servers(kafka=True, clickhouse=True, answering=False)  # one that does not is told
    while True:
        status = asyncio.run(_gather(settings, found, urls))
        _show(status, as_json, watch)
        if not watch:
            return DONE if status.healthy else FAILED
        time.sleep(every)


async def _gather(settings: "Settings", found: "Servers", urls: "Sequence[str]") -> "Status":
    from deploy.status.endpoints import known_urls
    from deploy.status.gathering import gather

    return await gather(settings, found.kafka, found.clickhouse, known_urls(settings, urls))


def _show(status: "Status", as_json: bool, again: bool) -> None:
    if as_json:
        import msgspec

        print(msgspec.json.encode(status).decode(), flush=True)
        return
    from deploy.status.terminal import print_status

    if again:
        click.clear()  # does nothing without a terminal
        print(status.at)
    print_status(status)
