"""`plaudit preview`: options, errors, exit codes; the figures are tested in tests/preview."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CATALOG, Plaudit

Lines = Callable[[list[Any]], Path]

DOUBLE = CATALOG.replace("points: 1,", "points: 2,")

SCENARIO = """
catalog: catalog.yaml
start: 2026-03-02
days: 3
metrics: {words: [{eventsPerDay: 2, value: 25}]}
"""


def _events() -> list[dict[str, Any]]:
    return [
        {"metric": "words", "user": f"u{n % 3}", "value": 10 + n, "occurredAt": f"2025-03-{1 + n:02d}T10:00:00Z"}
        for n in range(9)
    ]


@pytest.fixture
def double(tmp_path: Path) -> Path:
    path = tmp_path / "double.yaml"
    path.write_text(DOUBLE)
    return path


@pytest.fixture
def scenario(tmp_path: Path, catalog: Path) -> Path:
    path = tmp_path / "scenario.yaml"
    path.write_text(SCENARIO)
    return path


def test_tables_name_the_key_figures_first(plaudit: Plaudit, catalog: Path, double: Path, lines: Lines) -> None:
    result = plaudit("preview", "--catalog", double, "--against", catalog, "--records", lines(_events()))
    assert (result.code, result.err) == (0, "")
    shown = result.out.splitlines()
    assert shown[0] == f"{double} against {catalog}"
    assert shown[1] == "over 9 events of 3 users, 2025-03-01 to 2025-03-09"
    # totals of words: 39, 42, 45 of three records each
    (earned,) = [line.split() for line in shown if line.startswith("points earned")]
    assert earned == ["points", "earned", "11", "22", "+100.0", "%"]
    assert any(line.split() == ["per-ten", "11", "22", "+100.0", "%", "9", "9", "3", "3"] for line in shown)
    assert "balances: 3 more, 0 less, 0 the same" in shown
    assert len(shown) < 60


def test_json_has_all_figures(plaudit: Plaudit, catalog: Path, double: Path, lines: Lines) -> None:
    result = plaudit("preview", "--catalog", double, "--against", catalog, "--records", lines(_events()), "--json")
    assert result.code == 0
    (report,) = result.events
    (xp,) = report["systems"]
    assert xp["outstanding"] == {"old": 11, "new": 22}
    assert [row["users"] for row in xp["levels"]] == [{"old": 3, "new": 3}, {"old": 0, "new": 0}]
    assert report["about"]["command"].startswith("plaudit preview --catalog ")


def test_the_page_is_written(plaudit: Plaudit, catalog: Path, double: Path, lines: Lines, tmp_path: Path) -> None:
    page = tmp_path / "preview.html"
    arguments = ("preview", "--catalog", double, "--against", catalog, "--records", lines(_events()))
    assert plaudit(*arguments, "--html", page).out == plaudit(*arguments).out
    assert page.read_bytes().startswith(b"<!doctype html>")
    assert plaudit(*arguments, "--html", "-").out == page.read_text()


def test_history_can_come_from_standard_input(
    plaudit: Plaudit, catalog: Path, double: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lines(_events())
    arguments = ("preview", "--catalog", double, "--against", catalog, "--json", "--records")
    from_file = json.loads(plaudit(*arguments, path).out)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    from_pipe = json.loads(plaudit(*arguments, "-").out)
    assert from_pipe["systems"] == from_file["systems"]


def test_a_scenario_names_its_catalog(plaudit: Plaudit, scenario: Path, double: Path, tmp_path: Path) -> None:
    result = plaudit("preview", "--scenario", scenario)
    assert (result.code, result.err) == (0, "")
    assert "one user, 3 days from 2026-03-02 on: 6 events" in result.out
    assert "Writer" not in result.out  # the level's name is its key here
    assert any(line.split() == ["per-ten", "6", "15", "15"] for line in result.out.splitlines())
    (report,) = plaudit("preview", "--scenario", scenario, "--catalog", double, "--json").events
    assert report["systems"][0]["balance"] == 30
    page = tmp_path / "scenario.html"
    assert plaudit("preview", "--scenario", scenario, "--html", page).code == 0
    assert b"How fast does the user of scenario.yaml rise?" in page.read_bytes()


def test_mistakes_of_a_scenario_are_all_told(plaudit: Plaudit, scenario: Path) -> None:
    scenario.write_text(SCENARIO.replace("days: 3", "days: 401").replace("words", "wrods") + "skip: [1]\n")
    result = plaudit("preview", "--scenario", scenario)
    assert (result.code, result.out) == (2, "")
    assert f"plaudit: {scenario} cannot be used:" in result.err
    assert "error: days: 401 must lie between 1 and 400" in result.err
    assert "error: metrics.wrods: is not an active metric of the catalog (metrics: words)" in result.err
    assert result.err.count("error:") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--catalog FILE, or a scenario"),
        (["--catalog", "CATALOG"], "either --records FILE"),
        (["--catalog", "CATALOG", "--records", "RECORDS", "--from-topic"], "either --records FILE"),
        (["--catalog", "CATALOG", "--records", "RECORDS"], "give the old one with --against FILE"),
        (["--catalog", "nowhere.yaml", "--against", "CATALOG", "--records", "RECORDS"], "nowhere.yaml"),
        (["--catalog", "CATALOG", "--against", "nowhere.yaml", "--records", "RECORDS"], "nowhere.yaml"),
        (["--catalog", "CATALOG", "--against", "CATALOG", "--records", "nowhere.jsonl"], "nowhere.jsonl"),
        (
            ["--catalog", "CATALOG", "--against", "CATALOG", "--records", "RECORDS", "--since", "2031-01-01T00:00:00Z"],
            "lies after the last record of 2025-03-09T10:00:00.000Z",
        ),
        (["--catalog", "CATALOG", "--since", "soon"], "not an instant"),
        (["--catalog", "CATALOG", "--jobs", "0"], "--jobs"),
        (["--scenario", "nowhere.yaml"], "nowhere.yaml"),
        (["--scenario", "SCENARIO", "--records", "RECORDS"], "--records is about history"),
        (["--scenario", "SCENARIO", "--against", "CATALOG"], "--against is about history"),
        (["--scenario", "RECORDS"], "catalog is missing"),
    ],
)
def test_wrong_use_is_told_with_the_fix(
    plaudit: Plaudit, catalog: Path, scenario: Path, lines: Lines, arguments: list[str], message: str
) -> None:
    places = {"CATALOG": catalog, "RECORDS": lines(_events()[8:] if "--scenario" in arguments else _events())}
    places["SCENARIO"] = scenario
    result = plaudit("preview", *(places.get(argument, argument) for argument in arguments))
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_a_catalog_with_mistakes_is_refused(plaudit: Plaudit, catalog: Path, double: Path, lines: Lines) -> None:
    double.write_text(DOUBLE.replace("metric: words, metricThreshold: 10", "metric: wrods, metricThreshold: 0"))
    result = plaudit("preview", "--catalog", double, "--against", catalog, "--records", lines(_events()))
    assert result.code == 2
    assert "systems[0].triggers[0].metric: 'wrods' is not a metric" in result.err
    assert "systems[0].triggers[0].metricThreshold" in result.err


def test_records_that_only_the_new_catalog_refuses_are_warned_of(
    plaudit: Plaudit, catalog: Path, double: Path, lines: Lines
) -> None:
    double.write_text(DOUBLE.replace("words", "letters"))
    result = plaudit("preview", "--catalog", double, "--against", catalog, "--records", lines(_events()))
    assert result.code == 0
    assert "warning: 9 instead of 0 records are refused under the new catalog with unknown_metric" in result.out
    assert "no record of the history counts" in result.out
