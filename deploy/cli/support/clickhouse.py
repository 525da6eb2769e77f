"""Queries over HTTP: the answer streams through as ClickHouse formats it, or comes as decoded rows."""

import base64
import http.client
import json
import re
import ssl
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from deploy.cli.support.errors import CommandError
from projections.refusals import with_advice
from schemas.secrets import CA_PARAMETER

CONNECT_TIMEOUT_S: Final = 10.0
ANSWER_TIMEOUT_S: Final = 600.0
CHUNK_BYTES: Final = 64 * 1024
MAX_ERROR_BYTES: Final = 4096

READ_ONLY: Final = "2"
"""ClickHouse's `readonly`: queries may set settings, and change nothing else."""

_EXACT: Final = {
    "output_format_json_quote_64bit_integers": "0",
    "output_format_json_quote_decimals": "0",
    "wait_end_of_query": "1",  # an error after the first rows is still an error
}
_EXPECTED = re.compile(r"\. Expected one of: .*(?= \([A-Z_]+\)$)")
_VERSION = re.compile(r"\s*\(version [^)]*\)\s*$")


class ClickHouse:
    """One server and database."""

    def __init__(self, url: str, database: str, *, answer_s: float = ANSWER_TIMEOUT_S) -> None:
        """`url` is `http[s]://user:password@host:port[/?ca_cert=FILE]`; a query is given up after `answer_s`."""
        parts = urlsplit(url)
        assert parts.scheme in ("http", "https") and parts.hostname, "deploy/connections.py lets no other through"
        self._parts = parts
        self._ca_file = parse_qs(parts.query).get(CA_PARAMETER, [None])[0]
        self._database = database
        self._answer_s = answer_s
        credentials = f"{unquote(parts.username or 'default')}:{unquote(parts.password or '')}"
        self._authorisation = "Basic " + base64.b64encode(credentials.encode()).decode()

    def stream(
        self,
        query: str,
        output_format: str,
        *,
        parameters: Mapping[str, str] | None = None,
        read_only: bool = False,
    ) -> tuple[str, Iterator[bytes]]:
        """Run a query; return the format of the answer, which the query itself may have set, and the answer.

        Raises:
            CommandError: the server does not answer, or refuses; its message in one line.
        """
        settings = {"database": self._database, "default_format": output_format, **_EXACT}
        if read_only:
            settings["readonly"] = READ_ONLY
        settings.update({f"param_{name}": _escaped(value) for name, value in (parameters or {}).items()})
        connection = self._connection()
        try:
            connection.connect()
            connection.sock.settimeout(self._answer_s)
            connection.request(
                "POST", f"/?{urlencode(settings)}", query.encode(), {"Authorization": self._authorisation}
            )
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise CommandError(
                with_advice(
                    f"ClickHouse at {connection.host}:{connection.port} does not answer ({error or type(error).__name__}). "
                    "Is CLICKHOUSE_URL right?"
                )
            ) from error
        if answer.status != http.client.OK:
            text = answer.read(MAX_ERROR_BYTES).decode("utf-8", "replace")
            connection.close()
            raise CommandError(with_advice(_one_line(text) or f"ClickHouse answers {answer.status}"))
        return answer.getheader("X-ClickHouse-Format") or output_format, _chunks(connection, answer)

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname, self._parts.port
        assert host is not None
        if self._parts.scheme == "http":
            return http.client.HTTPConnection(host, port or 8123, timeout=CONNECT_TIMEOUT_S)
        try:
            context = ssl.create_default_context(cafile=self._ca_file)
        except OSError as error:
            raise CommandError(f"CLICKHOUSE_CA_FILE={self._ca_file!r}: not PEM certificates ({error})") from error
        return http.client.HTTPSConnection(host, port or 8443, timeout=CONNECT_TIMEOUT_S, context=context)

    def rows(self, query: str, **parameters: str) -> list[dict[str, Any]]:
        """Return the rows of a query, exact numbers as int and Decimal."""
        _, chunks = self.stream(query, "JSONEachRow", parameters=parameters)
        return [json.loads(line, parse_float=Decimal) for line in b"".join(chunks).splitlines()]


def instant_sql(column: str) -> str:
    """Return the SQL of an instant as the documents of commands show it: ISO 8601, UTC, milliseconds."""
    return f"concat(replaceOne(toString({column}), ' ', 'T'), 'Z')"


def _escaped(value: str) -> str:
    """Return the value of a parameter as the server reads it: in the manner of tab-separated values."""
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _one_line(text: str) -> str:
    """Return a server's message without its version and without the hundred words that a parser would have expected."""
    line = _VERSION.sub("", " ".join(text.split()))
    return _EXPECTED.sub(".", line)


def _chunks(connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := answer.read(CHUNK_BYTES):
            yield chunk
    finally:
        connection.close()
