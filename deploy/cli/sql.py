"""`plaudit sql`: any query on the projected tables (X18)."""

import json
import re
import sys
from collections.abc import Iterator, Sequence

import click

from deploy.cli.support.errors import DONE

_COMMENT = re.compile(r"--(\s|\S+[ \t].*\n)")
_PLACEHOLDER = re.compile(r"\{(\w+):")


class _Command(click.Command):
    """A query may begin with an SQL comment, which looks like an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for place, argument in enumerate(args):
            if argument == "--":
                break
            if _COMMENT.match(argument) and not argument.startswith("--param"):
                args = [*args[:place], *args[place + 1 :], "--", argument]
                break
        return super().parse_args(ctx, args)


@click.command(
    "sql",
    cls=_Command,
    epilog="""\b
Examples:
  plaudit sql "SHOW TABLES"
  plaudit sql "SELECT user_id, total FROM points_balances WHERE system_key = 'xp' ORDER BY total DESC LIMIT 10"
  plaudit sql "SELECT * FROM streak_state ORDER BY longest DESC LIMIT 3" --json
  plaudit sql - --param system=xp --param limit=3 < projections/queries/top_points.sql
  plaudit sql - < question.sql > answer.tsv

\b
A parameter {name:Type} of the query takes its value from --param, else from a comment line of the query like
-- parameters: tenant String = '', limit UInt32 = 10
Rows come as a table on a terminal, as tab-separated values with a header in a pipe. A FORMAT clause of the query wins.
""",
)
@click.argument("query")
@click.option("--param", "given", multiple=True, metavar="NAME=VALUE", help="Value of {NAME:Type}; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Rows as JSON lines.")
@click.option("--write", is_flag=True, help="Let the query change data; without it ClickHouse refuses to.")
def command(query: str, given: tuple[str, ...], as_json: bool, write: bool) -> int:
    """Run QUERY (- reads it from standard input) on the configured ClickHouse; starts the embedded one if none runs."""
    from deploy.cli.support.clickhouse import ClickHouse
    from deploy.cli.support.console import table
    from deploy.cli.support.servers import servers
    from deploy.settings import read_settings

    if query == "-":
        query = sys.stdin.read()
    if not query.strip().strip(";"):
        raise click.UsageError("the query is empty")
    parameters = _parameters(query, given)
    terminal = sys.stdout.isatty() and not as_json
    wanted = (
        "JSONEachRow"
        if as_json
        else "JSONCompactStringsEachRowWithNamesAndTypes"
        if terminal
        else "TabSeparatedWithNames"
    )
    with servers(clickhouse=True) as found:
        answered, chunks = ClickHouse(found.clickhouse, read_settings().database).stream(
            query, wanted, parameters=parameters, read_only=not write
        )
        if terminal and answered == wanted:
            names, types, *rows = list(_lines(chunks)) or [[], []]
            if names:
                table(names, rows, [_is_number(kind) for kind in types])
            return DONE
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    return DONE


def _parameters(query: str, given: Sequence[str]) -> dict[str, str]:
    """Return the parameters of a query: what is given, else its declared defaults."""
    from projections.questions import declared_parameters

    try:
        declared = {parameter.name: parameter.default for parameter in declared_parameters(query)}
    except ValueError as error:
        raise click.UsageError(f"the comment line `-- parameters:` of the query: {error}") from error
    values = {name: value for name, value in declared.items() if value is not None}
    used = {*declared, *_PLACEHOLDER.findall(query)}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals:
            raise click.UsageError(f"--param {one!r}: write NAME=VALUE")
        if name not in used:
            raise click.UsageError(f"--param {name}: the query has {', '.join(sorted(used)) or 'no parameters'}")
        values[name] = value
    missing = sorted(used - values.keys())
    if missing:
        raise click.UsageError(f"{', '.join(missing)} must be given: --param {missing[0]}=VALUE")
    return values


def _lines(chunks: Iterator[bytes]) -> Iterator[list[str]]:
    for line in b"".join(chunks).splitlines():
        yield ["" if cell is None else str(cell) for cell in json.loads(line)]


def _is_number(kind: str) -> bool:
    return kind.removeprefix("Nullable(").startswith(("Int", "UInt", "Float", "Decimal"))
