"""How points systems, levels and boosts of a catalog are shown (outcome.md sections 1.3, 1.4, 1.6)."""

from msgspec import Raw

from processors.rules.texts import to_json
from schemas.catalog import Boost, Level, PointsSystem
from schemas.derived import LevelPoints
from schemas.instants import format_day
from schemas.numbers import format_scaled
from schemas.outcome import BoostObject, LevelObject

_TOTAL = ',"total":0}'


def boost_json(boost: Boost) -> tuple[str, str, str]:
    """Return the object of a boost that is scheduled, active, finished."""
    scheduled, active, finished = (
        to_json(
            BoostObject(
                id=boost.id,
                name=boost.name,
                status=status,
                start=format_day(boost.start_day),
                end=None if boost.end_day is None else format_day(boost.end_day),
                multiplier=Raw(format_scaled(boost.multiplier_micro * 1000).encode()),
                rounding=boost.rounding,
            )
        )
        for status in ("scheduled", "active", "finished")
    )
    return scheduled, active, finished


def level_json(level: Level) -> str:
    """Return the object of a level."""
    return to_json(
        LevelObject(
            id=level.id,
            key=level.key,
            name=level.name,
            description=level.description,
            badge_url=level.badge_url,
            points=level.points,
        )
    )


def system_json(system: PointsSystem) -> str:
    """Return the beginning of the objects that show a system: what comes before `total`, without closing brace."""
    shown = to_json(
        LevelPoints(
            id=system.id,
            key=system.key,
            name=system.name,
            description=system.description,
            badge_url=system.badge_url,
            max_points=system.max_points,
            total=0,
        )
    )
    assert shown.endswith(_TOTAL)
    return shown.removesuffix(_TOTAL)
