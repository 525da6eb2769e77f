"""JSON Schema of the catalog file (X14), for editors; `plaudit catalog check` tells more, and decides.

The file has long and short forms side by side, so it is not the image of one Struct and is written out here. What only
holds between fields (references, unique keys, circles) is left to the check.
"""

from typing import Any, Final

from schemas.catalog import WEEKDAYS
from schemas.catalog_file import CURRENCIES
from schemas.catalog_messages import AGGREGATIONS, MAX_DELAY_HOURS
from schemas.catalog_points import MAX_MULTIPLIER, MAX_TRIGGER_POINTS
from schemas.catalog_streak import MAX_DAYS_OFF, MAX_FREEZES
from schemas.numbers import MAX_POINTS

Json = dict[str, Any]

_TEXT: Final[Json] = {"type": "string", "minLength": 1, "maxLength": 255}
_KEY: Final[Json] = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,255}$"}
_DAY: Final[Json] = {"type": "string", "format": "date"}
_INSTANT: Final[Json] = {"type": "string", "format": "date-time"}
_MAX_THRESHOLD: Final = 10**12


def catalog_file_schema() -> Json:
    """Return the schema."""
    return {
        "title": "CatalogFile",
        "description": "A catalog: metrics, attributes, points systems, achievements, streak settings, messages (X14)",
        **_object(
            {
                "metrics": _list({"anyOf": [_KEY, _metric()]}),
                "eventAttributes": _list({"anyOf": [_KEY, _attribute()]}),
                "userAttributes": _list({"anyOf": [_KEY, _attribute()]}),
                "systems": _list(_system()),
                "achievements": _list(_achievement()),
                "streak": {"anyOf": [_streak(), {"type": "null"}]},
                "messages": _nullable(_messages()),
                "controlRatio": _whole(0, 100, "Percent of users in the control group"),
            }
        ),
    }


def _object(properties: Json, required: tuple[str, ...] = (), description: str = "") -> Json:
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = list(required)
    if description:
        schema["description"] = description
    return schema


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _whole(low: int, high: int, description: str = "") -> Json:
    schema: Json = {"type": "integer", "minimum": low, "maximum": high}
    return {**schema, "description": description} if description else schema


def _choice(*values: str) -> Json:
    return {"enum": list(values)}


def _nullable(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _filter() -> Json:
    pair = _object({"key": _KEY, "value": {"type": "string"}}, ("key", "value"))
    pairs = {"type": "object", "additionalProperties": {"type": "string"}, "propertyNames": _KEY}
    return {"anyOf": [pairs, _list(pair)], "description": "Pairs that must all match (M13, M15)"}


def _metric() -> Json:
    return _object(
        {
            "key": _KEY,
            "id": _TEXT,
            "name": _TEXT,
            "unitType": _choice("number", "currency"),
            "units": {"type": "string", "description": f"With currency one of {', '.join(CURRENCIES)} (M3)"},
            "status": _choice("active", "archived"),
        },
        ("key",),
    )


def _attribute() -> Json:
    return _object({"key": _KEY, "id": _TEXT, "name": _TEXT}, ("key",))


def _system() -> Json:
    return _object(
        {
            "key": _KEY,
            "id": _TEXT,
            "name": _TEXT,
            "description": _nullable({"type": "string"}),
            "badgeUrl": _nullable({"type": "string"}),
            "maxPoints": _nullable(_whole(1, MAX_POINTS, "No balance goes above it (P43)")),
            "status": _choice("active", "archived"),
            "triggers": _list(_trigger()),
            "boosts": _list(_boost()),
            "levels": _list(_level()),
        },
        ("key",),
    )


def _trigger() -> Json:
    points = {**_whole(-MAX_TRIGGER_POINTS, MAX_TRIGGER_POINTS), "not": {"const": 0}}
    return _object(
        {
            "id": _TEXT,
            "name": _TEXT,
            "type": _choice("metric", "streak", "achievement", "time", "user_creation"),
            "points": points,
            "status": {**_choice("inactive", "active", "archived"), "default": "inactive"},
            "metric": _TEXT,
            "metricId": _TEXT,
            "metricThreshold": _whole(1, _MAX_THRESHOLD),
            "streakLength": _whole(1, MAX_POINTS),
            "streakLengthThreshold": _whole(1, MAX_POINTS),
            "achievement": _TEXT,
            "achievementId": _TEXT,
            "timeUnit": _choice("hour", "day", "hours", "days"),
            "timeInterval": _whole(1, 1_000_000),
            "userAttributes": _filter(),
            "eventAttributes": _filter(),
            "blockIfOutOfPoints": {"type": "boolean", "default": False},
            "created": _INSTANT,
            "updated": _INSTANT,
        },
        ("id", "type", "points"),
    )


def _boost() -> Json:
    return _object(
        {
            "id": _TEXT,
            "name": _TEXT,
            "start": _DAY,
            "end": _nullable(_DAY),
            "multiplier": {
                "type": "number",
                "exclusiveMinimum": 0,
                "exclusiveMaximum": MAX_MULTIPLIER,
                "not": {"const": 1},
            },
            "rounding": {**_choice("down", "up", "nearest"), "default": "down"},
            "status": {**_choice("inactive", "active", "archived"), "default": "inactive"},
            "enabled": {"type": "boolean"},
            "userId": _TEXT,
            "userAttributes": _filter(),
        },
        ("id", "start", "multiplier"),
    )


def _level() -> Json:
    return _object(
        {
            "key": _KEY,
            "id": _TEXT,
            "name": _TEXT,
            "points": _whole(0, MAX_POINTS),
            "description": {"type": "string"},
            "badgeUrl": _nullable({"type": "string"}),
        },
        ("key", "points"),
    )


def _achievement() -> Json:
    return _object(
        {
            "id": _TEXT,
            "key": _KEY,
            "name": _TEXT,
            "description": _nullable({"type": "string"}),
            "badgeUrl": _nullable({"type": "string"}),
            "trigger": _choice("metric", "streak", "api", "achievement", "anniversary"),
            "status": {**_choice("inactive", "active", "locked"), "default": "inactive"},
            "metric": _TEXT,
            "metricId": _TEXT,
            "metricValue": {"type": "number", "minimum": 1, "maximum": _MAX_THRESHOLD},
            "streakLength": _whole(1, MAX_POINTS),
            "achievementIds": {**_list(_TEXT), "minItems": 1},
            "anniversaryYears": _whole(1, 1000),
            "userAttributes": _filter(),
            "eventAttributes": _filter(),
        },
        ("trigger",),
    )


def _messages() -> Json:
    return _object(
        {
            "recap": _nullable(_choice(*AGGREGATIONS)),
            "reactivation": {"type": "boolean", "default": False},
            "streakReminder": {"type": "boolean", "default": False},
            "achievement": {"type": "boolean", "default": False},
            "maxDelayHours": {**_whole(1, MAX_DELAY_HOURS, "Later than this a message is left out"), "default": 24},
        },
        description="Which messages are due on plaudit.messages (E12-E17)",
    )


def _streak() -> Json:
    metric = _object({"key": _KEY, "threshold": _whole(1, _MAX_THRESHOLD)}, ("key", "threshold"))
    freezes = _object(
        {
            "startCount": _whole(0, MAX_FREEZES),
            "maxCount": _whole(0, MAX_FREEZES),
            "autoEarnInterval": _whole(1, 100_000),
            "autoEarnAmount": _whole(1, MAX_FREEZES),
        },
        ("startCount", "maxCount"),
    )
    return _object(
        {
            "frequency": {**_choice("daily", "weekly", "monthly"), "default": "daily"},
            "evaluationMode": {**_choice("OR", "AND", "ALL"), "default": "OR"},
            "metrics": _list(metric),
            "weekStart": {**_choice(*WEEKDAYS), "default": "sunday"},
            "settleDelaySeconds": _whole(0, 86_400),
            "customizationEnabled": {"type": "boolean", "default": False},
            "daysOff": {**_list(_whole(0, 6, "0 = Sunday")), "maxItems": MAX_DAYS_OFF},
            "freezes": _nullable(freezes),
        }
    )
