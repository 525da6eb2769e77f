"""`plaudit sql`: any query on the projected tables (X18)."""

import json
import sys
from collections.abc import Iterator

import click

from deploy.cli.support.errors import DONE


@click.command(
    "sql",
    epilog="""\b
Examples:
  plaudit sql "SHOW TABLES"
  plaudit sql "SELECT user_id, total FROM points_balances WHERE system_key = 'xp' ORDER BY total DESC LIMIT 10"
  plaudit sql "SELECT * FROM streak_state ORDER BY longest DESC LIMIT 3" --json
  plaudit sql - < question.sql > answer.tsv

\b
Rows come as a table on a terminal, as tab-separated values with a header in a pipe. A FORMAT clause of the query wins.
""",
)
@click.argument("query")
@click.option("--json", "as_json", is_flag=True, help="Rows as JSON lines.")
def command(query: str, as_json: bool) -> int:
    """Run QUERY (- reads it from standard input) on the configured ClickHouse; starts the embedded one if none runs."""
    from deploy.cli.support.clickhouse import ClickHouse
    from deploy.cli.support.console import table
    from deploy.cli.support.servers import servers
    from deploy.settings import read_settings

    if query == "-":
        query = sys.stdin.read()
    if not query.strip().strip(";"):
        raise click.UsageError("the query is empty")
    terminal = sys.stdout.isatty() and not as_json
    wanted = (
        "JSONEachRow"
        if as_json
        else "JSONCompactStringsEachRowWithNamesAndTypes"
        if terminal
        else "TabSeparatedWithNames"
    )
    with servers(clickhouse=True) as found:
        answered, chunks = ClickHouse(found.clickhouse, read_settings().database).stream(query, wanted)
        if terminal and answered == wanted:
            names, types, *rows = list(_lines(chunks)) or [[], []]
            if names:
                table(names, rows, [_is_number(kind) for kind in types])
            return DONE
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    return DONE


def _lines(chunks: Iterator[bytes]) -> Iterator[list[str]]:
    for line in b"".join(chunks).splitlines():
        yield ["" if cell is None else str(cell) for cell in json.loads(line)]


def _is_number(kind: str) -> bool:
    return kind.removeprefix("Nullable(").startswith(("Int", "UInt", "Float", "Decimal"))
