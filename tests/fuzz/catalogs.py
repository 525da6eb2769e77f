"""Small catalogs for the fuzzer: together all that the points oracle knows of."""

from decimal import Decimal
from typing import Any

Json = dict[str, Any]

_ACTIVE: Json = {"status": "active"}


def _metric(identity: str, metric: str, threshold: int, points: int, **more: Any) -> Json:
    fields = {"id": identity, "type": "metric", "metric": metric, "metricThreshold": threshold, "points": points}
    return fields | _ACTIVE | more


def _counted(identity: str, metric: str, value: Any, **more: Any) -> Json:
    return {"id": identity, "trigger": "metric", "metric": metric, "metricValue": value} | _ACTIVE | more


CALLED: Json = {"id": "called", "key": "called", "trigger": "api"} | _ACTIVE
LOCKED: Json = {"id": "locked", "key": "locked", "trigger": "api", "status": "locked"}
PICKY: Json = {"id": "picky", "key": "picky", "trigger": "api", "userAttributes": {"p": "pro"}} | _ACTIVE
METRICS = [{"key": key, "status": "active"} for key in ("m1", "m2", "m3")] + [{"key": "old", "status": "archived"}]
DECLARED: Json = {"eventAttributes": ["a", "b"], "userAttributes": ["p", "q"]}
LEVELS = [{"key": f"l{points}", "points": points} for points in (0, 5, 25, 60)]

PLAIN: Json = {
    "metrics": METRICS,
    **DECLARED,
    "achievements": [CALLED, LOCKED, PICKY, _counted("ten", "m1", 10), _counted("few", "m2", Decimal("5.5"))],
    "systems": [
        {
            "key": "xp",
            "levels": LEVELS,
            "triggers": [
                _metric("t1", "m1", 1, 3),
                _metric("t2", "m2", 2, 5, eventAttributes={"a": "x"}),
                {"id": "t3", "type": "user_creation", "points": 10} | _ACTIVE,
                {"id": "t4", "type": "achievement", "achievement": "called", "points": 30} | _ACTIVE,
            ],
        }
    ],
}

SPENDING: Json = {
    "metrics": METRICS,
    **DECLARED,
    "achievements": [CALLED, LOCKED, PICKY],
    "systems": [
        {
            "key": "energy",
            "maxPoints": 40,
            "triggers": [
                _metric("t1", "m1", 1, -3, blockIfOutOfPoints=True),
                _metric("t2", "m2", 1, 4),
                {"id": "t3", "type": "user_creation", "points": 12} | _ACTIVE,
                {"id": "t4", "type": "time", "timeUnit": "hour", "timeInterval": 3, "points": 2} | _ACTIVE,
            ],
        },
        {"key": "xp", "levels": LEVELS, "triggers": [_metric("t1", "m1", 2, 1, userAttributes={"p": "pro"})]},
    ],
}

BOOSTED: Json = {
    "metrics": METRICS,
    **DECLARED,
    "achievements": [
        CALLED,
        LOCKED,
        PICKY,
        _counted("red", "m1", 3, eventAttributes={"a": "x"}),
        _counted("pro", "m1", 5, userAttributes={"p": "pro"}),
        {"id": "both", "trigger": "achievement", "achievementIds": ["red", "called"]} | _ACTIVE,
    ],
    "systems": [
        {
            "key": "xp",
            "levels": LEVELS,
            "triggers": [
                _metric("t1", "m1", 1, 7),
                _metric("t2", "m3", 5, 2, eventAttributes={"a": "y"}),
                {"id": "t3", "type": "achievement", "achievement": "both", "points": 100} | _ACTIVE,
                {"id": "t4", "type": "time", "timeUnit": "day", "timeInterval": 1, "points": -5} | _ACTIVE,
            ],
            "boosts": [
                {"id": "b1", "multiplier": Decimal("1.5"), "start": "2025-03-28", "end": "2025-03-29", "enabled": True},
                {"id": "b2", "multiplier": 2, "start": "2025-03-29", "enabled": True, "userAttributes": {"p": "pro"}},
                {"id": "b3", "multiplier": Decimal("0.5"), "start": "2025-03-27", "enabled": True, "rounding": "up"},
            ],
        }
    ],
}

CATALOGS = (PLAIN, SPENDING, BOOSTED)
