"""The catalog as the oracle reads it: what is active, with exact numbers, without help from the project (X14)."""

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import yaml

from .localtime import DAY_MS, Calendar, parse_day, parse_instant

HOUR_MS: Final = 3_600_000
MAX_POINTS: Final = 2**53 - 1

Number = int | Fraction
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Trigger:
    """A points trigger; `order` is its place among the triggers of its system (P32, C20)."""

    id: str
    type: str
    points: int
    order: tuple[int, int]
    users: Pairs
    events: Pairs
    metric: str = ""
    threshold: int = 1
    streak_length: int = 1
    achievement: str = ""
    interval_ms: int = 0


@dataclass(frozen=True)
class Boost:
    """A boost; an open end is the largest day number there is."""

    id: str
    start: int
    end: int
    multiplier: Fraction
    rounding: str
    user_id: str | None
    users: Pairs


@dataclass(frozen=True)
class System:
    """A points system with what is active in it; `levels` ascending by threshold."""

    key: str
    limit: int
    triggers: tuple[Trigger, ...]
    boosts: tuple[Boost, ...]
    levels: tuple[tuple[int, str], ...]

    def of_type(self, kind: str) -> list[Trigger]:
        """Return the triggers of one type, in order."""
        return [trigger for trigger in self.triggers if trigger.type == kind]


@dataclass(frozen=True)
class Achievement:
    """An active achievement."""

    id: str
    key: str | None
    type: str
    users: Pairs
    events: Pairs
    metric: str
    value: Number
    streak_length: int
    needs: tuple[str, ...]


@dataclass
class Catalog:
    """A catalog file, read without help from the project. `events` are the event filters in use, by metric."""

    systems: list[System]
    achievements: list[Achievement]
    frequency: str
    streak_all: bool
    thresholds: dict[str, int]
    calendar: Calendar
    events: dict[str, set[Pairs]] = field(default_factory=dict)


class _ExactLoader(yaml.SafeLoader):
    """YAML with exact decimals and dates left as text."""


_ExactLoader.add_constructor("tag:yaml.org,2002:float", lambda _, node: Fraction(str(node.value)))
_ExactLoader.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: str(node.value))


def load_catalog(path: Path | str, at_ms: int) -> Catalog:
    """Read a catalog file whose version came into force at `at_ms`."""
    with open(path, encoding="utf-8") as file:
        return read_catalog(yaml.load(file, _ExactLoader), at_ms)


def read_catalog(config: dict[str, Any], at_ms: int) -> Catalog:
    """Return the catalog of a decoded file (X14: what has no status is inactive)."""
    names = {item.get("key", item["id"]): item["id"] for item in config.get("achievements", [])}
    names |= {item["id"]: item["id"] for item in config.get("achievements", [])}
    achievements = [
        _achievement(item, names) for item in config.get("achievements", []) if item.get("status") == "active"
    ]
    systems = [_system(item, names, at_ms) for item in config.get("systems", [])]
    streak = config.get("streak") or {}
    refused = [
        name for name in ("freezes", "daysOff", "customizationEnabled", "settleDelaySeconds") if streak.get(name)
    ]
    if refused:
        raise NotImplementedError(f"streak settings the oracle does not know: {refused}")
    catalog = Catalog(
        systems=systems,
        achievements=achievements,
        frequency=streak.get("frequency", "daily"),
        streak_all=streak.get("evaluationMode", "OR") != "OR",
        thresholds={item["key"]: item["threshold"] for item in streak.get("metrics", [])},
        calendar=Calendar(streak.get("weekStart", "sunday")),
    )
    users_of_filters: list[Trigger | Achievement] = [*achievements, *(t for s in systems for t in s.triggers)]
    for one in users_of_filters:
        if one.type == "metric":
            catalog.events.setdefault(one.metric, set()).add(one.events)
    return catalog


def _pairs(value: Any) -> Pairs:
    if isinstance(value, list):
        value = {item["key"]: item["value"] for item in value}
    return tuple(sorted((value or {}).items()))


def _achievement(item: dict[str, Any], names: dict[str, str]) -> Achievement:
    return Achievement(
        id=item["id"],
        key=item.get("key"),
        type=item["trigger"],
        users=_pairs(item.get("userAttributes")),
        events=_pairs(item.get("eventAttributes")),
        metric=item.get("metric", ""),
        value=item.get("metricValue", 0),
        streak_length=item.get("streakLength", 0),
        needs=tuple(names[name] for name in item.get("achievementIds", [])),
    )


def _system(item: dict[str, Any], names: dict[str, str], at_ms: int) -> System:
    triggers = []
    for number, entry in enumerate(item.get("triggers", [])):
        if entry.get("status") != "active":
            continue
        if entry.get("blockIfOutOfPoints"):
            raise NotImplementedError("blockIfOutOfPoints")
        created = parse_instant(entry["created"]) if "created" in entry else at_ms
        unit_ms = HOUR_MS if entry.get("timeUnit", "").startswith("hour") else DAY_MS
        triggers.append(
            Trigger(
                id=entry["id"],
                type=entry["type"],
                points=entry["points"],
                order=(created, number),
                users=_pairs(entry.get("userAttributes")),
                events=_pairs(entry.get("eventAttributes")),
                metric=entry.get("metric", ""),
                threshold=entry.get("metricThreshold", 1),
                streak_length=entry.get("streakLength", 1),
                achievement=names.get(entry.get("achievement", ""), ""),
                interval_ms=unit_ms * entry.get("timeInterval", 0),
            )
        )
    boosts = [
        Boost(
            id=entry["id"],
            start=parse_day(entry["start"]),
            end=parse_day(entry["end"]) if entry.get("end") else 2**31,
            multiplier=Fraction(entry["multiplier"]),
            rounding=entry.get("rounding", "down"),
            user_id=entry.get("userId"),
            users=_pairs(entry.get("userAttributes")),
        )
        for entry in item.get("boosts", [])
        if entry.get("status") == "active" or entry.get("enabled")
    ]
    return System(
        key=item["key"],
        limit=item.get("maxPoints") or MAX_POINTS,
        triggers=tuple(sorted(triggers, key=lambda trigger: trigger.order)),
        boosts=tuple(sorted(boosts, key=lambda boost: boost.id.encode())),
        levels=tuple(sorted((level["points"], level["key"]) for level in item.get("levels", []))),
    )


def matches(pairs: Pairs, attributes: dict[str, str]) -> bool:
    """Return whether a filter holds for attributes."""
    return all(attributes.get(key) == text for key, text in pairs)  # M13-M15
