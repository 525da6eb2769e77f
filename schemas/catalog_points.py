"""The points systems of a catalog file: triggers, boosts, levels (points.md sections 1-3, 5)."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from schemas.catalog import Boost, Level, PointsSystem, Trigger
from schemas.catalog_fields import Context, Fields
from schemas.ids import derived_id
from schemas.numbers import MAX_POINTS, format_scaled

MAX_TRIGGER_POINTS: Final = 1_000_000
MAX_MULTIPLIER: Final = 100
MULTIPLIER_SCALE: Final = 10**6

_Part = TypeVar("_Part", Trigger, Boost, Level)


def read_system(context: Context, item: Any, path: str) -> PointsSystem | None:
    """Read one points system with its triggers, boosts and levels; None if it is no object."""
    fields = context.fields(item, path)
    if fields is None:
        return None
    key = fields.key("key", required=True) or "?"
    triggers = _unique(context, fields, "triggers", partial(_trigger, context))
    boosts = _unique(context, fields, "boosts", partial(_boost, context))
    levels = _unique(context, fields, "levels", lambda item, _, path: _level(context, item, key, path))
    thresholds: dict[int, str] = {}
    keys: set[str] = set()
    for level in levels:
        if level.points in thresholds:
            fields.error(
                "levels", f"{level.key!r} and {thresholds[level.points]!r} share the threshold {level.points} (P54)"
            )
        if level.key in keys:
            fields.error("levels", f"the level key {level.key!r} is used twice")
        thresholds[level.points] = level.key
        keys.add(level.key)
    system = PointsSystem(
        id=fields.text("id") or derived_id("system", context.tenant, key),
        key=key,
        name=fields.text("name") or key,
        description=fields.free_text("description"),
        badge_url=fields.free_text("badgeUrl"),
        max_points=fields.integer("maxPoints", 1, MAX_POINTS),
        status=fields.choice("status", ("active", "archived"), "active"),
        triggers=tuple(triggers),
        boosts=tuple(sorted(boosts, key=lambda boost: boost.id)),
        levels=tuple(sorted(levels, key=lambda level: level.points)),
    )
    fields.done()
    return system


def _unique(context: Context, fields: Fields, name: str, make: Callable[[Any, int, str], _Part | None]) -> list[_Part]:
    made: list[_Part] = []
    ids: set[str] = set()
    for index, item, path in fields.items(name):
        one = make(item, index, path)
        if one is None:
            continue
        if one.id in ids:
            context.error(f"{path}.id", f"{one.id!r} is used twice in this system; ids are unique")
        ids.add(one.id)
        made.append(one)
    return made


def _trigger(context: Context, item: Any, index: int, path: str) -> Trigger | None:
    fields = context.fields(item, path)
    if fields is None:
        return None
    kind = fields.choice("type", ("metric", "streak", "achievement", "time", "user_creation"))
    points = fields.integer("points", -MAX_TRIGGER_POINTS, MAX_TRIGGER_POINTS, required=True) or 0
    if fields.has("points") and points == 0:
        fields.error("points", "must not be 0")
    metric, threshold, length, interval = None, 0, 0, 0
    achievement, unit = None, None
    if kind == "metric":
        metric = context.metric_ref(fields)
        threshold = fields.integer("metricThreshold", 1, 10**12, required=True) or 1
    elif kind == "streak":
        name = "streakLength" if fields.has("streakLength") else "streakLengthThreshold"
        length = fields.integer(name, 1, MAX_POINTS, required=True) or 1
    elif kind == "achievement":
        reference = fields.raw("achievement", "achievementId")
        achievement = context.achievement_refs.get(reference) if isinstance(reference, str) else None
        if achievement is None:
            fields.error("achievement", f"{reference!r} is not an achievement of this catalog; use its id or key")
    elif kind == "time":
        unit = fields.choice("timeUnit", ("hour", "day", "hours", "days")).rstrip("s")
        interval = fields.integer("timeInterval", 1, 1_000_000, required=True) or 1
    trigger = Trigger(
        id=fields.text("id", required=True) or path,
        type=kind,
        points=points,
        status=fields.choice("status", ("inactive", "active", "archived"), "inactive"),
        order=index,
        user_attributes=fields.pairs("userAttributes", context.user_attributes),
        event_attributes=fields.pairs("eventAttributes", context.event_attributes, allowed=kind == "metric"),
        metric=metric,
        metric_threshold=threshold,
        streak_length=length,
        achievement=achievement,
        time_unit=unit,
        time_interval=interval,
        block_if_out_of_points=fields.flag("blockIfOutOfPoints", False),
        created_ms=fields.instant("created"),
        updated_ms=fields.instant("updated"),
    )
    fields.text("name")
    fields.done()
    return trigger


def _boost(context: Context, item: Any, _: int, path: str) -> Boost | None:
    fields = context.fields(item, path)
    if fields is None:
        return None
    identity = fields.text("id", required=True) or path
    start = fields.day("start", required=True)
    end = fields.day("end")
    if start is not None and end is not None and end < start:
        fields.error("end", "lies before start; the window would be empty (P36)")
    multiplier = fields.decimal("multiplier", required=True)
    micro, lost = divmod(multiplier, 1000)
    if fields.has("multiplier"):
        text = format_scaled(multiplier)
        if lost or not 0 < micro < MAX_MULTIPLIER * MULTIPLIER_SCALE or micro == MULTIPLIER_SCALE:
            fields.error("multiplier", f"{text} must be above 0, below 100, not 1, with at most 6 fractional digits")
    user_id = fields.text("userId")
    pairs = fields.pairs("userAttributes", context.user_attributes)
    if user_id is not None and pairs:
        fields.error("userAttributes", "cannot be combined with userId; use one of them")
    boost = Boost(
        id=identity,
        name=fields.text("name") or identity,
        start_day=start or 0,
        end_day=end,
        multiplier_micro=micro,
        rounding=fields.choice("rounding", ("down", "up", "nearest"), "down"),
        enabled=_boost_switch(fields),
        user_id=user_id,
        user_attributes=pairs,
    )
    fields.done()
    return boost


def _boost_switch(fields: Fields) -> bool:
    """P41: a boost is on where the file says so, by `enabled` or by a status."""
    status = fields.choice("status", ("inactive", "active", "archived"), "inactive")
    return fields.flag("enabled", status == "active") and status != "archived"


def _level(context: Context, item: Any, system_key: str, path: str) -> Level | None:
    fields = context.fields(item, path)
    if fields is None:
        return None
    key = fields.key("key", required=True) or "?"
    level = Level(
        id=fields.text("id") or derived_id("level", context.tenant, system_key, key),
        key=key,
        name=fields.text("name") or key,
        points=fields.integer("points", 0, MAX_POINTS, required=True) or 0,
        description=fields.free_text("description") or "",
        badge_url=fields.free_text("badgeUrl"),
    )
    fields.done()
    return level
