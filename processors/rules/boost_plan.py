"""Boosts compiled: their objects in each status, and when they start and finish (P35, P41, P87)."""

from collections.abc import Iterable
from typing import Final

from msgspec import Raw

from processors.rules.texts import to_json
from processors.rules.zones import Zone
from schemas.catalog import Boost, PointsSystem
from schemas.derived import BoostNotice, NoticedBoost
from schemas.instants import DAY_MS, EARLIEST_MS, HOUR_MS, LATEST_MS, format_day, format_instant
from schemas.numbers import format_scaled
from schemas.outcome import BoostObject

NEVER: Final = 2**63 - 1
"""Instant of what does not come."""

_STARTED_MS: Final = 10 * HOUR_MS - DAY_MS
"""When a global boost is announced, from 00:00 UTC of `start`: 10:00 the day before, midnight in the zone UTC+14 (P87)."""

_FINISHED_MS: Final = 13 * HOUR_MS
"""When its end is, from 00:00 UTC of the day after `end`; its last midnight, in the zone UTC-12, is past by then (P87)."""


class BoostPlan:
    """A boost that is switched on.

    Attributes:
        key: names it among the boosts of a tenant.
        system: points system that it belongs to.
        objects: as awards show it, in each status. objects_json: the same as JSON.
    """

    __slots__ = ("boost", "key", "objects", "objects_json", "system")

    def __init__(self, system: PointsSystem, boost: Boost) -> None:
        self.system = system
        self.boost = boost
        self.key = f"{system.key}/{boost.id}"
        self.objects = tuple(
            BoostObject(
                id=boost.id,
                name=boost.name,
                status=status,
                start=format_day(boost.start_day),
                end=None if boost.end_day is None else format_day(boost.end_day),
                multiplier=Raw(format_scaled(boost.multiplier_micro * 1000).encode()),
                rounding=boost.rounding,
            )
            for status in ("scheduled", "active", "finished")
        )
        self.objects_json = tuple(to_json(shown) for shown in self.objects)

    def shown_json(self, local_day: int, utc_day: int) -> str:
        """Return the object with its status: by the UTC date, for a user's own boost by the local date (P41)."""
        boost = self.boost
        day = utc_day if boost.user_id is None else local_day
        if day < boost.start_day:
            return self.objects_json[0]
        return self.objects_json[2 if boost.end_day is not None and day > boost.end_day else 1]

    def window(self, zone: Zone | None) -> tuple[int, int]:
        """Return when it starts and finishes, epoch ms: by the clock of `zone`, None = for all zones together (P87)."""
        first, end = self.boost.start_day, self.boost.end_day
        if zone is None:
            return first * DAY_MS + _STARTED_MS, NEVER if end is None else (end + 1) * DAY_MS + _FINISHED_MS
        return _midnight(zone, first), NEVER if end is None else _midnight(zone, end + 1)

    def notice(self, finished: bool, at_ms: int) -> BoostNotice:
        """Return the `data` of its started or finished event."""
        shown = self.objects[2 if finished else 1]
        return BoostNotice(
            type="points.boost_finished" if finished else "points.boost_started",
            timestamp=format_instant(at_ms),
            boost=NoticedBoost(
                id=shown.id,
                name=shown.name,
                status="finished" if finished else "active",
                user_id=self.boost.user_id,
                points_system_id=self.system.id,
                points_system_key=self.system.key,
                points_system_name=self.system.name,
                start=shown.start,
                end=shown.end,
                multiplier=shown.multiplier,
                rounding=self.boost.rounding,
            ),
        )


def _midnight(zone: Zone, day: int) -> int:
    """Return the first instant of a local date; dates at the ends of the calendar are long past, or never come (D-11)."""
    if day * DAY_MS <= EARLIEST_MS:
        return EARLIEST_MS
    return NEVER if day * DAY_MS >= LATEST_MS else zone.first_instant(day)


def by_id(boosts: Iterable[BoostPlan]) -> list[BoostPlan]:
    """Return boosts in the order in which awards list them (P42)."""
    return sorted(boosts, key=lambda boost: boost.boost.id)


def split_boosts(boosts: Iterable[BoostPlan]) -> tuple[list[BoostPlan], dict[str, list[BoostPlan]]]:
    """Return the boosts of everybody, and those of one user each by user id (P34); all by id (P42)."""
    everybody: list[BoostPlan] = []
    own: dict[str, list[BoostPlan]] = {}
    for boost in by_id(boosts):
        if boost.boost.user_id is None:
            everybody.append(boost)
        else:
            own.setdefault(boost.boost.user_id, []).append(boost)
    return everybody, own
