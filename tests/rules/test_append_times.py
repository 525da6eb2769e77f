"""The append time of a user's record never falls behind what has already been done for the user (X5, D-04)."""

import pytest

from schemas.instants import format_instant
from tests.rules.fold import HOUR, START, Fold, Json, config

COST = {"id": "c", "type": "metric", "metric": "m", "metricThreshold": 1, "points": -1, "blockIfOutOfPoints": True}
PAYS = {"id": "p", "type": "achievement", "achievement": "free", "points": 1}
CALLS = [
    {"id": "free", "key": "free", "trigger": "api", "status": "active"},
    {"id": "shut", "key": "shut", "trigger": "api", "status": "locked"},
    {"id": "pro", "key": "pro", "trigger": "api", "status": "active", "userAttributes": {"p": "pro"}},
]


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        ({"metric": "m", "value": 1}, "out_of_points"),
        ({"type": "achievement.complete", "achievement": "shut"}, "achievement_locked"),
        ({"type": "achievement.complete", "achievement": "pro"}, "attributes_mismatch"),
        ({"metric": "nope", "value": 1}, None),
    ],
)
def test_a_record_refused_by_the_state_it_meets_moves_the_append_time(refused: Json, reason: str | None) -> None:
    """It has run what was due by then; one refused by validation has not (D-04)."""
    fold = Fold()
    fold.publish(config(COST, PAYS, achievements=CALLS), 0)
    fold.send({"type": "identify", "user": "u"}, 0, "u")
    answers = [one.get("reason") for one in fold.send({**refused, "user": "u"}, 5, "u")]
    assert (reason or "unknown_metric") in answers
    later = {"type": "achievement.complete", "achievement": "free", "user": "u"}
    found = fold.send({**later, "occurredAt": format_instant(START + 9 * HOUR)}, 2, "u")
    (award,) = [one["data"]["award"] for one in found if one.get("type") == "points.awarded"]
    assert award["date"] == format_instant(START + (5 if reason else 2) * HOUR)
