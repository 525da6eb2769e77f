"""Clients of ClickHouse: the one place that makes them."""

from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.client import Client


def connect(url: str, **options: Any) -> Client:
    """Connect to `http[s]://user:password@host:port[/?ca_cert=FILE]` (deploy/connections.py makes it).

    Args:
        url: address; https means TLS, with the certificate checked.
        options: of clickhouse_connect.get_client.

    Raises:
        clickhouse_connect.driver.exceptions.Error: the server is away, or refuses.
    """
    return clickhouse_connect.get_client(**_options(url), **options)


async def connect_async(url: str, **options: Any) -> AsyncClient:
    """As `connect`, for an event loop."""
    return await clickhouse_connect.get_async_client(**_options(url), **options)


def _options(url: str) -> dict[str, Any]:
    # The library takes TLS from this, not from the scheme of the address.
    return {"dsn": url, "interface": urlsplit(url).scheme}
