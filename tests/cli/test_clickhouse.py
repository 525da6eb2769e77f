"""Queries over HTTP: formats, and errors as one line."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.cli.conftest import Plaudit


class _Server(BaseHTTPRequestHandler):
    """Answers with the asked-for format and the query, or refuses a query with `bad` in it."""

    given: ClassVar[dict[str, str]] = {}

    def do_POST(self) -> None:
        query = self.rfile.read(int(self.headers["Content-Length"])).decode()
        settings = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        refused = "bad" in query
        message = "Code: 62. DB::Exception: Syntax error: failed\nat position 1. Expected one of: A, B. (SYNTAX_ERROR) (version 9)"
        given = {name: values for name, values in settings.items() if name.startswith("param_") or name == "readonly"}
        type(self).given = {name: values[0] for name, values in given.items()}
        answer = message if refused else f"{settings['default_format'][0]} {settings['database'][0]} {query}\n"
        self.send_response(400 if refused else 200)
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    http = HTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    monkeypatch.setenv("CLICKHOUSE_URL", f"http://user:secret@127.0.0.1:{http.server_port}")
    yield
    http.shutdown()
    http.server_close()


@pytest.mark.usefixtures("server")
def test_rows_come_as_tsv_in_a_pipe_and_as_json_on_request(plaudit: Plaudit, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plaudit("sql", "SELECT 1").out == "TabSeparatedWithNames plaudit SELECT 1\n"
    monkeypatch.setenv("PLAUDIT_DATABASE", "other")
    assert plaudit("sql", "SELECT 1", "--json").out == "JSONEachRow other SELECT 1\n"


@pytest.mark.usefixtures("server")
def test_a_refusal_of_the_server_is_one_line_and_exit_code_1(plaudit: Plaudit) -> None:
    result = plaudit("sql", "bad")
    assert result.code == 1
    assert result.err == "plaudit: Code: 62. DB::Exception: Syntax error: failed at position 1. (SYNTAX_ERROR)\n"


QUESTION = """-- Top.
-- parameters: tenant String = '', system String, limit UInt32 = 10
SELECT {tenant:String}, {system:String}, {limit:UInt32}"""


@pytest.mark.usefixtures("server")
def test_parameters_are_given_or_take_the_defaults_that_the_query_declares(plaudit: Plaudit) -> None:
    assert plaudit("sql", QUESTION, "--param", "system=a\\b\tc=d").code == 0
    parameters = {"param_tenant": "", "param_system": "a\\\\b\\tc=d", "param_limit": "10"}
    assert _Server.given == {"readonly": "2", **parameters}
    assert plaudit("sql", "--param", "system=x", "--param", "limit=3", "--", QUESTION).code == 0
    assert _Server.given["param_limit"] == "3"


@pytest.mark.usefixtures("server")
def test_a_query_may_begin_with_a_comment(plaudit: Plaudit) -> None:
    assert plaudit("sql", "-- one\nSELECT 1", "--json").out == "JSONEachRow plaudit -- one\nSELECT 1\n"


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([QUESTION], "system must be given: --param system=VALUE"),
        ([QUESTION, "--param", "system"], "write NAME=VALUE"),
        ([QUESTION, "--param", "sytem=x"], "the query has limit, system, tenant"),
        (["SELECT 1", "--param", "a=b"], "no parameters"),
    ],
)
def test_parameters_that_do_not_fit_are_wrong_use(plaudit: Plaudit, arguments: list[str], message: str) -> None:
    result = plaudit("sql", *arguments)
    assert result.code == 2
    assert message in result.err


@pytest.mark.usefixtures("server")
def test_only_write_lets_a_query_change_data(plaudit: Plaudit) -> None:
    plaudit("sql", "SELECT 1")
    assert _Server.given == {"readonly": "2"}
    plaudit("sql", "TRUNCATE t", "--write")
    assert _Server.given == {}
