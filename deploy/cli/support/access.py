"""Whether the configured servers let this client in, asked before it settles down to wait for them."""

import asyncio

from clickhouse_connect.driver.exceptions import ClickHouseError

from deploy.cli.support.errors import CommandError
from deploy.cli.support.servers import Servers
from processors.engine.access import refusal
from projections.connection import connect
from projections.refusals import advice


def check_access(found: Servers) -> None:
    """Return if both servers let this client in or are away.

    Raises:
        CommandError: one refuses it, which no waiting mends; the message names the setting.
    """
    reason = asyncio.run(refusal(found.kafka))
    if reason is not None:
        raise CommandError(f"Kafka at {found.kafka} refuses this client: {reason}")
    try:
        connect(found.clickhouse).close()
    except (ClickHouseError, OSError) as error:
        text = " ".join(str(error).split())
        help_text = advice(text)
        if help_text is not None:
            raise CommandError(f"ClickHouse at {found.clickhouse} refuses this client: {text}. {help_text}") from error
