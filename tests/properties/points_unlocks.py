"""Achievements by the letter of achievements.md: completion by an event, composites, backdating."""

from fractions import Fraction

from tests.properties.points_facts import Fact, Json, Person, by_bytes, matches
from tests.properties.points_versions import Versions


def complete_by_event(versions: Versions, person: Person, fact: Fact, at: int) -> list[str]:
    """A5-A9, F6: metric achievements that this event completes; `person` already holds the event."""
    ready = [
        a
        for a in versions.achievements("active")
        if a["trigger"] == "metric"
        and a["metric"] == fact.metric
        and matches(a.get("eventAttributes", {}), fact.attributes)
        and qualifies(person, a)
    ]
    return complete(person, ready, at)


def qualifies(person: Person, achievement: Json) -> bool:
    """The user lacks it, matches its filter, and the counter suffices."""
    if achievement["id"] in person.completed:
        return False
    if not matches(achievement.get("userAttributes", {}), person.attributes):
        return False
    counter, _ = person.counter(achievement["metric"], achievement.get("eventAttributes", {}))
    return counter >= Fraction(achievement["metricValue"])


def complete(person: Person, ready: list[Json], at: int) -> list[str]:
    """F6: easier before harder, then by id."""
    ready = sorted(ready, key=lambda a: (Fraction(a.get("metricValue", 0)), by_bytes(a["id"])))
    person.completed |= {achievement["id"]: at for achievement in ready}
    return [achievement["id"] for achievement in ready]


def complete_composites(versions: Versions, person: Person, at: int, among: list[Json]) -> list[str]:
    """A13, A14: rounds until one completes nothing."""
    done: list[str] = []
    while True:
        ready = [
            a
            for a in among
            if a["trigger"] == "achievement"
            and a["id"] not in person.completed
            and all(one in person.completed for one in versions.prerequisites(a))
            and matches(a.get("userAttributes", {}), person.attributes)
        ]
        if not ready:
            return done
        done += complete(person, ready, at)


def backdate(versions: Versions, person: Person, changed: list[Json], at: int) -> list[str]:
    """A22-A26: `changed` are the achievements that became active or were edited."""
    counted = [a for a in changed if a["trigger"] == "metric" and a["metric"] in versions.open_metrics()]  # M4
    gained = complete(person, [a for a in counted if qualifies(person, a)], at)
    changed_ids = {a["id"] for a in changed}
    while True:
        allowed = changed_ids | dependants(versions, set(gained))
        among = [a for a in versions.achievements("active") if a["id"] in allowed]
        more = complete_composites(versions, person, at, among)
        if not more:
            return gained
        gained += more


def dependants(versions: Versions, ids: set[str]) -> set[str]:
    """Composites that need one of these, directly or through others (A26)."""
    composites = [a for a in versions.config.get("achievements", []) if a["trigger"] == "achievement"]
    while True:
        more = {a["id"] for a in composites if ids & set(versions.prerequisites(a))}
        if more <= ids:
            return ids
        ids = ids | more
