"""The analysts' questions: SQL files under `queries/`, each with a title and its parameters on comment lines.

    -- Latest awards of a user, newest first (A109).
    -- parameters: tenant String = '', user String, limit UInt32 = 100

They name tables without a database, and run in any client that binds `{name:Type}` and has a default database.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.query import QueryResult

DIRECTORY: Final = Path(__file__).with_name("queries")

_PARAMETER = re.compile(r"(\w+) (\w+)(?: = (?:'([^']*)'|(\d+)))?")


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


def ask(client: Client, database: str, question: Question, arguments: Mapping[str, Any]) -> QueryResult:
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


def _load(path: Path) -> Question:
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = [line.removeprefix("-- ") for line in lines if line.startswith("--")]
    if len(comments) < 2 or not comments[1].startswith("parameters: "):
        raise ValueError(f"{path.name}: expected a title and 'parameters: ...' on two comment lines")
    parameters = []
    for text in comments[1].removeprefix("parameters: ").split(", "):
        match = _PARAMETER.fullmatch(text)
        if match is None:
            raise ValueError(f"{path.name}: {text!r} is not 'name Type' or 'name Type = default'")
        name, kind, quoted, plain = match.groups()
        parameters.append(Parameter(name, kind, quoted if quoted is not None else plain))
    return Question(
        path.stem, comments[0], tuple(parameters), "\n".join(line for line in lines if not line.startswith("--"))
    )
