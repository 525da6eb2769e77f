"""Whether the configured servers let this client in, asked before it settles down to wait for them."""

import asyncio

from deploy.cli.support.clickhouse import ClickHouse
from deploy.cli.support.errors import CommandError
from deploy.cli.support.servers import Servers
from processors.engine.access import refusal
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
        ClickHouse(found.clickhouse, "default").rows("SELECT 1")
    except CommandError as error:
        if advice(error.message) is not None:
            raise
