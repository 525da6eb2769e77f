"""`plaudit simulate`: the pure fold over a file."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CATALOG, Plaudit

Lines = Callable[[list[Any]], Path]

DOUBLE = CATALOG.replace("points: 1,", "points: 2,")


def _event(value: int, at: str, user: str = "18", **more: Any) -> dict[str, Any]:
    return {"metric": "words", "user": user, "value": value, "occurredAt": at, **more}


def _awarded(events: list[dict[str, Any]]) -> list[int]:
    return [event["data"]["award"]["awarded"] for event in events if event["type"] == "points.awarded"]


def _config(text: str) -> Any:
    from deploy.catalog_yaml import parse_config

    return parse_config(text)


def _many() -> list[dict[str, Any]]:
    return [_event(7, f"2025-03-{1 + n // 4:02d}T{n % 4:02d}:00:00Z", f"u{n % 5}") for n in range(60)]


def test_derived_events_come_in_order_of_emission(plaudit: Plaudit, catalog: Path, lines: Lines) -> None:
    result = plaudit("simulate", "--catalog", catalog, "--records", lines([_event(25, "2025-03-01T10:00:00Z")]))
    assert result.code == 0
    assert result.err == ""
    types = [event["type"] for event in result.events]
    assert types[:2] == ["user.upserted", "metric.changed"]
    assert {"achievement.completed", "points.awarded", "streak.started", "points.changed"} <= set(types)
    assert {event["causationId"] for event in result.events} == {"plaudit.events-0-0"}
    assert _awarded(result.events) == [2]


@pytest.mark.parametrize("batch", ["1", "7", "all", "ALL"])
def test_the_round_size_changes_nothing(plaudit: Plaudit, catalog: Path, lines: Lines, batch: str) -> None:
    arguments = ("simulate", "--catalog", catalog, "--records", lines(_many()))
    assert plaudit(*arguments, "--batch", batch).out == plaudit(*arguments).out


@pytest.mark.parametrize("batch", ["1", "7", "all"])
def test_rounds_that_are_rolled_back_change_nothing(plaudit: Plaudit, catalog: Path, lines: Lines, batch: str) -> None:
    arguments = ("simulate", "--catalog", catalog, "--records", lines(_many()))
    assert plaudit(*arguments, "--batch", batch, "--abort-every", 2).out == plaudit(*arguments).out


def test_partitions_are_folded_apart_and_come_in_the_order_of_the_file(
    plaudit: Plaudit, catalog: Path, lines: Lines
) -> None:
    records = [
        _event(
            10, "2025-03-01T10:00:00Z", f"u{n % 3}", origin={"topic": "t.events", "partition": n % 3, "offset": 5 + n}
        )
        for n in range(9)
    ]
    for batch in ("1", "4", "all"):
        result = plaudit("simulate", "--catalog", catalog, "--records", lines(records), "--batch", batch)
        causes = [event["causationId"] for event in result.events if event["type"] == "metric.changed"]
        assert causes == [f"t.events-{n % 3}-{5 + n}" for n in range(9)]


def test_refused_records_go_to_standard_error(plaudit: Plaudit, catalog: Path, lines: Lines) -> None:
    records = [_event(1, "2025-03-01T10:00:00Z"), {**_event(1, "2025-03-01T10:00:00Z"), "metric": "letters"}]
    result = plaudit("simulate", "--catalog", catalog, "--records", lines(records))
    assert result.code == 3
    (refused,) = map(json.loads, result.err.splitlines())
    assert refused["reason"] == "unknown_metric"
    assert refused["origin"] == {
        "topic": "plaudit.events",
        "partition": 0,
        "offset": 1,
        "timestamp": "2025-03-01T10:00:00.000Z",
    }


def test_outcomes_are_printed_instead_on_request(plaudit: Plaudit, catalog: Path, lines: Lines) -> None:
    records = lines([_event(25, "2025-03-01T10:00:00Z")])
    (outcome,) = plaudit("simulate", "--catalog", catalog, "--records", records, "--outcomes").events
    assert outcome["status"] == 201
    assert outcome["outcome"]["points"]["xp"]["total"] == 2


def test_a_tick_settles_what_is_due(plaudit: Plaudit, catalog: Path, lines: Lines) -> None:
    tick = {"type": "tick", "at": "2025-03-03T00:00:00Z", "timestamp": "2025-03-03T00:00:00Z"}
    result = plaudit("simulate", "--catalog", catalog, "--records", lines([_event(1, "2025-03-01T10:00:00Z"), tick]))
    assert "streak.lost" in [event["type"] for event in result.events]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (["{"], "line 1: not a JSON object"),
        ([{"metric": "words", "user": "18", "value": 1}], "line 1: has neither timestamp nor occurredAt"),
        (
            [
                _event(1, "2025-03-01T10:00:00Z", origin={"topic": "t", "partition": 0, "offset": 5}),
                _event(1, "2025-03-01T10:00:00Z", origin={"topic": "t", "partition": 0, "offset": 5}),
            ],
            "line 2: offset 5 of partition 0 comes after 5",
        ),
        (
            [
                _event(1, "2025-03-01T10:00:00Z", origin={"topic": "t", "partition": 0, "offset": 5}),
                _event(1, "2025-03-01T10:00:00Z"),
            ],
            "line 2: give an origin to all records",
        ),
    ],
)
def test_a_file_that_is_no_log_is_wrong_use(
    plaudit: Plaudit, catalog: Path, lines: Lines, records: list[Any], message: str
) -> None:
    result = plaudit("simulate", "--catalog", catalog, "--records", lines(records))
    assert result.code == 2
    assert message in result.err
    assert result.out == ""


def test_a_missing_file_is_wrong_use(plaudit: Plaudit, catalog: Path, tmp_path: Path) -> None:
    assert plaudit("simulate", "--catalog", catalog, "--records", tmp_path / "none").code == 2
    assert plaudit("simulate", "--catalog", tmp_path / "none", "--records", tmp_path / "none").code == 2


def test_an_empty_file_gives_nothing(plaudit: Plaudit, catalog: Path, lines: Lines) -> None:
    assert plaudit("simulate", "--catalog", catalog, "--records", lines([])) == (0, "", "")


# catalogs that the records bring


def _switch(version: str, at: str, **more: Any) -> dict[str, Any]:
    return {"type": "catalog", "version": version, "at": at, "timestamp": at, **more}


def test_a_switch_without_config_is_to_the_given_catalog(plaudit: Plaudit, catalog: Path, lines: Lines) -> None:
    records = lines([_switch("9", "2025-02-01T00:00:00Z"), _event(10, "2025-03-01T10:00:00Z")])
    assert _awarded(plaudit("simulate", "--catalog", catalog, "--records", records).events) == [1]


def test_the_given_catalog_is_in_force_until_the_file_switches(plaudit: Plaudit, catalog: Path, lines: Lines) -> None:
    records = lines(
        [
            _event(10, "2025-03-01T10:00:00Z"),
            _switch("2", "2025-03-02T00:00:00Z", config=_config(DOUBLE)),
            _event(10, "2025-03-02T10:00:00Z"),
        ]
    )
    result = plaudit("simulate", "--catalog", catalog, "--records", records)
    assert _awarded(result.events) == [1, 2]
    assert "warning" in json.loads(result.err)
    assert _awarded(plaudit("simulate", "--catalog", catalog, "--records", records, "--override").events) == [1, 1]


def test_a_dump_says_itself_what_is_in_force(plaudit: Plaudit, catalog: Path, lines: Lines) -> None:
    origins = [{"topic": "plaudit.events", "partition": 0, "offset": offset} for offset in range(3)]
    records = lines(
        [
            _event(10, "2025-03-01T10:00:00Z", origin=origins[0]),
            _switch("1", "2025-03-02T00:00:00Z", config=_config(CATALOG), origin=origins[1]),
            _event(10, "2025-03-02T10:00:00Z", origin=origins[2]),
        ]
    )
    result = plaudit("simulate", "--catalog", catalog, "--records", records)
    assert result.code == 3  # nothing was in force at the first record
    assert _awarded(result.events) == [1]
    assert "warning" not in result.err


def test_a_version_that_was_never_published_is_refused(plaudit: Plaudit, catalog: Path, lines: Lines) -> None:
    records = lines([_event(10, "2025-03-01T10:00:00Z"), _switch("9", "2025-03-02T00:00:00Z", config=None)])
    result = plaudit("simulate", "--catalog", catalog, "--records", records)
    assert [json.loads(line)["reason"] for line in result.err.splitlines()] == ["unknown_catalog"]


def test_tenants_without_a_switch_have_the_given_catalog(plaudit: Plaudit, catalog: Path, lines: Lines) -> None:
    records = lines([_event(10, "2025-03-01T10:00:00Z"), _event(10, "2025-03-01T10:00:00Z", tenant="acme")])
    result = plaudit("simulate", "--catalog", catalog, "--records", records)
    assert result.code == 0
    assert {event["tenantId"] for event in result.events} == {"", "acme"}


@pytest.mark.parametrize(
    ("origin", "reason"),
    [({"key": "19"}, "wrong_key"), ({"key": None}, "wrong_key"), ({"misplaced": True, "partitions": 8}, "wrong_key")],
)
def test_what_the_installation_refused_is_refused(
    plaudit: Plaudit, catalog: Path, lines: Lines, origin: dict[str, Any], reason: str
) -> None:
    place = {"topic": "plaudit.events", "partition": 3, "offset": 0}  # the key 18 belongs to partition 0 of 8
    record = _event(10, "2025-03-01T10:00:00Z", origin={**place, **origin})
    result = plaudit("simulate", "--catalog", catalog, "--records", lines([record]))
    assert json.loads(result.err)["reason"] == reason


def test_a_forged_tick_is_refused(plaudit: Plaudit, catalog: Path, lines: Lines) -> None:
    origin = {"topic": "plaudit.events", "partition": 0, "offset": 0, "forged": True}
    tick = {"type": "tick", "at": "2025-03-03T00:00:00Z", "timestamp": "2025-03-03T00:00:00Z", "origin": origin}
    result = plaudit("simulate", "--catalog", catalog, "--records", lines([tick]))
    assert json.loads(result.err)["reason"] == "forged_time"


def test_ctrl_c_stops_it_at_once(catalog: Path, lines: Lines) -> None:
    records = lines(_many() * 2_000)
    code = (  # a shell's background job would ignore the signal
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from deploy.cli.main import main; main()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, "simulate", "--catalog", str(catalog), "--records", str(records)],
        cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    child.stdout.read(1)  # the fold has begun
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=20)
    assert child.returncode == 130
    assert errors.lstrip() == b"plaudit: interrupted\n"
