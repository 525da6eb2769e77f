"""How points systems and levels of a catalog are shown (outcome.md sections 1.3, 1.6)."""

from processors.rules.texts import to_json
from schemas.catalog import Level, PointsSystem
from schemas.derived import LevelPoints
from schemas.outcome import LevelObject

_TOTAL = ',"total":0}'


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
