"""The comparison names every difference and tolerates what the chapters leave open."""

import copy
from decimal import Decimal
from typing import Any

from .comparison import compare
from .configuration import read_catalog
from .oracle import Oracle


def _result() -> dict[str, Any]:
    trigger = {"id": "t", "type": "metric", "metric": "m", "metricThreshold": 1, "points": 1, "status": "active"}
    config = {
        "systems": [{"key": "a", "triggers": [trigger]}, {"key": "b", "triggers": [trigger]}],
        "streak": {"metrics": [{"key": "m", "threshold": 1}]},
    }
    oracle = Oracle(read_catalog(config, 0), 0)
    oracle.metric("u1", "m", 2, 1000)
    oracle.metric("u2", "m", 1, 1000)
    return oracle.result()


def test_equal_results_have_no_differences() -> None:
    assert compare(_result(), _result()) == []


def test_order_of_systems_and_number_types_do_not_matter() -> None:
    actual = copy.deepcopy(_result())
    actual["users"]["u1"]["awards"].reverse()
    actual["users"]["u1"]["metrics"] = {"m": Decimal("2.0"), "never": 0}
    assert compare(_result(), actual) == []


def test_every_difference_is_named_by_its_path() -> None:
    actual = copy.deepcopy(_result())
    del actual["users"]["u2"]
    user = actual["users"]["u1"]
    user["awards"][0]["awarded"] = 3
    user["points"]["b"]["total"] = 9
    user["streakEvents"] = []
    assert compare(_result(), actual) == [
        "u2: is missing",
        "u1.points.b.total: expected 2, got 9",
        "u1.awards.a[0].awarded: expected 2, got 3",
        "u1.streakEvents: expected 1 entries, got 0",
        "u1.streakEvents[0]: expected {'type': 'streak.started', 'at': 1000, 'length': 1}, got None",
    ]


def test_the_list_is_cut() -> None:
    assert len(compare(_result(), {"users": {}}, most=1)) == 2
