"""The analysts' questions: SQL files under `queries/`, each with a title and its parameters on comment lines.

    -- Latest awards of a user, newest first (A109).
    -- parameters: tenant String = '', user String, limit UInt32 = 100

They name tables without a database, and run in any client that binds `{name:Type}` and has a default database.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from clickhouse_connect.driver.query import QueryResult

DIRECTORY: Final = Path(__file__).with_name("queries")

_PARAMETERS: Final = "parameters: "
_PARAMETER = re.compile(r"(\w+) (\w+(?:\(\w+\))?)(?: = (?:'([^']*)'|(\d+)))?")


class Parameter(msgspec.Struct, frozen=True):
    """A parameter: name, ClickHouse type, default as text (None: it must be given)."""

    name: str
    kind: str
    default: str | None


class Question(msgspec.Struct, frozen=True):
    """One file: its name without `.sql`, what it answers, its parameters, its SQL."""

    name: str
    title: str
    parameters: tuple[Parameter, ...]
    sql: str


def load_questions(directory: Path = DIRECTORY) -> dict[str, Question]:
    """Return all questions by name.

    Raises:
        ValueError: a file without title or with parameters that cannot be read.
    """
    return {path.stem: _load(path) for path in sorted(directory.glob("*.sql"))}


def ask(client: "Client", database: str, question: Question, arguments: Mapping[str, Any]) -> "QueryResult":
    """Run a question in a database; what is not among the arguments takes its default.

    Raises:
        ValueError: an unknown argument, or one that is missing.
        clickhouse_connect.driver.exceptions.ClickHouseError: the server refused it.
    """
    known = {parameter.name: parameter.default for parameter in question.parameters}
    unknown = sorted(set(arguments) - set(known))
    values = {**known, **arguments}
    missing = sorted(name for name, value in values.items() if value is None)
    if unknown or missing:
        wrong = ", ".join([f"unknown {name}" for name in unknown] + [f"missing {name}" for name in missing])
        raise ValueError(f"{question.name}: {wrong}; its parameters are {', '.join(known) or 'none'}")
    return client.query(question.sql, parameters=values, settings={"database": database})


def declared_parameters(text: str) -> tuple[Parameter, ...]:
    """Return the parameters that a comment line `-- parameters: ...` of a query declares; none without such a line.

    Raises:
        ValueError: one that is not `name Type` or `name Type = default`.
    """
    comments = (line.removeprefix("--").strip() for line in text.splitlines() if line.startswith("--"))
    declared = next((line for line in comments if line.startswith(_PARAMETERS)), None)
    if declared is None:
        return ()
    parameters = []
    for one in declared.removeprefix(_PARAMETERS).split(", "):
        match = _PARAMETER.fullmatch(one)
        if match is None:
            raise ValueError(f"{one!r} is not 'name Type' or 'name Type = default'")
        name, kind, quoted, plain = match.groups()
        parameters.append(Parameter(name, kind, quoted if quoted is not None else plain))
    return tuple(parameters)


def _load(path: Path) -> Question:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    comments = [line.removeprefix("-- ") for line in lines if line.startswith("--")]
    if len(comments) < 2 or not comments[1].startswith(_PARAMETERS):
        raise ValueError(f"{path.name}: expected a title and 'parameters: ...' on two comment lines")
    try:
        parameters = declared_parameters(text)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    return Question(path.stem, comments[0], parameters, "\n".join(line for line in lines if not line.startswith("--")))
