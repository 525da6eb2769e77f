"""The achievements of a catalog file (achievements.md section 1)."""

from collections.abc import Iterator
from typing import Any

from schemas.catalog import Achievement
from schemas.catalog_fields import Context
from schemas.ids import derived_id
from schemas.numbers import MAX_POINTS, SCALE


def register_achievement(context: Context, item: Any, path: str) -> None:
    """Note id and key of an achievement, so that others may refer to it before it is read."""
    if not isinstance(item, dict):
        return
    identity, key = item.get("id"), item.get("key")
    if not isinstance(identity, str):
        if not isinstance(key, str):
            context.error(f"{path}.id", "is missing; an achievement without key needs an id (X14)")
            return
        identity = derived_id("achievement", context.tenant, key)
    for name in [identity, key] if isinstance(key, str) and key != identity else [identity]:
        if name in context.achievement_refs:
            context.error(
                f"{path}.{'id' if name == identity else 'key'}", f"{name!r} is used twice; ids and keys are unique"
            )
        context.achievement_refs.setdefault(name, identity)


def read_achievement(context: Context, item: Any, path: str) -> Achievement | None:
    """Read one achievement; None if it is no object."""
    fields = context.fields(item, path)
    if fields is None:
        return None
    kind = fields.choice("trigger", ("metric", "streak", "api", "achievement", "anniversary"))
    key = fields.key("key", required=kind == "api")
    identity = fields.text("id") or derived_id("achievement", context.tenant, key or path)
    metric, metric_value, streak_length, years = None, 0, 0, 0
    prerequisites: list[str] = []
    if kind == "metric":
        metric = context.metric_ref(fields)
        metric_value = fields.decimal("metricValue", required=True)
        if fields.has("metricValue") and metric_value < SCALE:
            fields.error("metricValue", "must be at least 1")
    elif kind == "streak":
        streak_length = fields.integer("streakLength", 1, MAX_POINTS, required=True) or 1
    elif kind == "anniversary":
        years = fields.integer("anniversaryYears", 1, 1000, required=True) or 1
    elif kind == "achievement":
        for _, reference, where in fields.items("achievementIds"):
            target = context.achievement_refs.get(reference) if isinstance(reference, str) else None
            if target is None:
                context.error(where, f"{reference!r} is not an achievement of this catalog; use its id or key")
            else:
                prerequisites.append(target)
        if not fields.has("achievementIds") or not fields.raw("achievementIds"):
            fields.error("achievementIds", "must name at least one achievement (A15)")
    achievement = Achievement(
        id=identity,
        name=fields.text("name") or key or identity,
        description=fields.free_text("description"),
        badge_url=fields.free_text("badgeUrl"),
        trigger=kind,
        status=fields.choice("status", ("inactive", "active", "locked"), "inactive"),
        key=key,
        metric=metric,
        metric_value=metric_value,
        streak_length=streak_length,
        achievement_ids=tuple(prerequisites),
        anniversary_years=years,
        user_attributes=fields.pairs("userAttributes", context.user_attributes),
        event_attributes=fields.pairs("eventAttributes", context.event_attributes, allowed=kind == "metric"),
    )
    fields.done()
    return achievement


def check_composites(context: Context, achievements: list[Achievement]) -> None:
    """Refuse composites that require themselves in a circle (A15)."""
    by_id = {achievement.id: achievement for achievement in achievements}
    state: dict[str, int] = {}

    def visit(start: str) -> bool:
        # iterative depth-first search: 1 = on the path, 2 = finished
        stack: list[tuple[str, Iterator[str]]] = [(start, iter(by_id[start].achievement_ids))]
        state[start] = 1
        while stack:
            identity, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                state[identity] = 2
                stack.pop()
            elif state.get(following) == 1:
                return False
            elif following in by_id and following not in state:
                state[following] = 1
                stack.append((following, iter(by_id[following].achievement_ids)))
        return True

    for index, achievement in enumerate(achievements):
        if achievement.id not in state and not visit(achievement.id):
            context.error(
                f"achievements[{index}].achievementIds",
                "requires itself in a circle; it could never complete (A15)",
            )
