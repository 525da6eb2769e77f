"""One subcommand per request: what it writes is what the rules take; what it does not take it says before it writes."""

import json
import re

import msgspec
import pytest

from schemas.records import TYPED
from tests.cli.conftest import Plaudit

PAUSE = ("streak", "pause", "18", "--id", "trip")


@pytest.mark.parametrize(
    ("arguments", "record"),
    [
        (["freeze", "grant", "18"], {"type": "freeze.grant"}),
        (["erase", "18"], {"type": "erase"}),
        (["streak", "restore", "18"], {"type": "streak.restore"}),
        (["streak", "reset", "18"], {"type": "streak.reset"}),
        (["streak", "unpause", "18", "--id", "trip"], {"type": "streak.unpause", "id": "trip"}),
        (
            [*PAUSE, "--start", "2026-12-24", "--end", "2027-01-06"],
            {"type": "streak.pause", "id": "trip", "start": "2026-12-24", "end": "2027-01-06"},
        ),
        (["preferences", "18", "--no-streak"], {"type": "preferences", "streak": {"enabled": False}}),
        (
            ["preferences", "18", "--mode", "AND", "--metric", "words=200", "--metric", "pages=0.500000001"],
            {
                "type": "preferences",
                "streak": {
                    "evaluationMode": "AND",
                    "metrics": [{"key": "words", "threshold": 200}, {"key": "pages", "threshold": 0.500000001}],
                },
            },
        ),
        (["preferences", "18", "--days-off", "Saturday,sun"], {"type": "preferences", "streak": {"daysOff": [0, 6]}}),
        (["preferences", "18", "--days-off", "none"], {"type": "preferences", "streak": {"daysOff": []}}),
        (
            ["preferences", "18", "--streak", "--set", "streak.daysOff=[1]"],
            {"type": "preferences", "streak": {"enabled": True, "daysOff": [1]}},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_request_is_a_record_of_its_type(plaudit: Plaudit, arguments: list[str], record: dict[str, object]) -> None:
    common = ["--event-id", "e1", "--tenant", "acme", "--at", "2026-11-24T10:00:00+01:00", "--dry-run"]
    done = plaudit(*arguments, *common)
    assert (done.code, done.err) == (0, "")
    msgspec.json.decode(done.out, type=TYPED[str(record["type"])])
    given = {"eventId": "e1", "tenant": "acme", "occurredAt": "2026-11-24T09:00:00.000Z", "user": "18"}
    assert json.loads(done.out) == {**record, **given}


def test_without_an_event_id_every_request_has_a_new_one(plaudit: Plaudit) -> None:
    first, second = (json.loads(plaudit("freeze", "grant", "18", "--dry-run").out) for _ in range(2))
    assert re.fullmatch(r"cli-[0-9a-f-]{36}", first["eventId"])
    assert first["eventId"] != second["eventId"]
    assert first.keys() == {"type", "eventId", "user"}


def test_an_erase_has_no_event_id_of_its_own(plaudit: Plaudit) -> None:
    """It would be the one thing that stays of the user."""
    assert json.loads(plaudit("erase", "18", "--dry-run").out) == {"type": "erase", "user": "18"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([*PAUSE, "--start", "2026-02-30", "--end", "2026-03-01"], "2026-02-30"),
        ([*PAUSE, "--start", "2026-03-02", "--end", "2026-03-01"], "--end 2026-03-01 lies before --start 2026-03-02"),
        (["streak", "unpause", "18"], "--id"),
        (["preferences", "18"], "nothing to change"),
        (["preferences", "18", "--days-off", "someday"], "someday"),
        (["preferences", "18", "--metric", "words"], "words=100"),
        (["preferences", "18", "--metric", "words=-1"], "above 0"),
        (["preferences", "18", "--metric", "words=many"], "'many' is no number"),
        (["preferences", "18", "--set", "streak.enabled=maybe"], "'maybe' is not JSON"),
        (["preferences", "18", "--set", "streak.enabled=1"], "streak.enabled"),
        (["preferences", "18", "--set", "streaks.enabled=true"], "unknown field streaks"),
        (["preferences", "18", "--set", "type=1"], "set by the command itself"),
        (["preferences", "18", "--no-streak", "--set", "streak.enabled.not=1"], "enabled is no object"),
        (["freeze", "grant", ""], "user"),
        (["erase", "", "--yes"], "user"),
        (["erase", "18"], "add --yes"),
        (["freeze", "grant", "18", "--event-id", ""], "eventId"),
        (["freeze", "grant", "18", "--timeout", "0"], "--timeout"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_the_rules_would_refuse_in_any_case_is_wrong_use(
    plaudit: Plaudit, arguments: list[str], said: str
) -> None:
    done = plaudit(*arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_without_an_installation_nothing_is_written(plaudit: Plaudit) -> None:
    done = plaudit("streak", "reset", "18")
    assert done.code == 4
    assert "plaudit run" in done.err
