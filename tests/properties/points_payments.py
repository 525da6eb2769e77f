"""Points by the letter of points.md: firings, boosts, clipping, awards, levels, the throttle."""

from collections.abc import Iterable
from datetime import date
from math import floor
from typing import Any

from tests.properties.points_facts import Award, Fact, Json, Person, Refused, boosted, by_bytes, effect, matches
from tests.properties.points_versions import Versions

LARGEST = 2**53 - 1
THROTTLE_MS = 15 * 60_000
COLLECTED = 100

Firing = tuple[str, Json, int]
"""System key, trigger, k."""


def firings(versions: Versions, person: Person, new: bool, fact: Fact | None, completed: list[str]) -> list[Firing]:
    """What fires, systems by key (D-05), within one in the order of P31 and P32; `person` already holds the event."""
    found: list[Firing] = []
    for system in sorted(versions.systems(), key=lambda s: by_bytes(s["key"])):
        key = system["key"]
        ready = [t for t in versions.triggers(system) if matches(t.get("userAttributes", {}), person.attributes)]
        found += [(key, t, 1) for t in ready if t["type"] == "user_creation" and new]
        for trigger in ready:
            if fact is not None and trigger["type"] == "metric" and trigger["metric"] == fact.metric:
                found.append((key, trigger, multiples(person, trigger)))
        for one in completed:
            pays = [t for t in ready if t["type"] == "achievement"]
            found += [(key, t, 1) for t in pays if versions.achievement_id(t["achievement"]) == one]
    return [(key, trigger, count) for key, trigger, count in found if count >= 1]


def multiples(person: Person, trigger: Json) -> int:
    """P13: multiples of the threshold that the latest event crossed."""
    wanted, threshold = trigger.get("eventAttributes", {}), trigger["metricThreshold"]
    _, before = person.counter(trigger["metric"], wanted, len(person.facts) - 1)
    _, after = person.counter(trigger["metric"], wanted)
    return floor(after / threshold) - floor(before / threshold)


def award_all(
    versions: Versions, person: Person, fired: Iterable[Firing], at: int, cause: tuple[str, Any]
) -> list[Award]:
    """Apply what fired, one after the other (P33)."""
    made = [award(versions, person, firing, at, cause) for firing in fired]
    return [one for one in made if one is not None]


def award(versions: Versions, person: Person, firing: Firing, at: int, cause: tuple[str, Any]) -> Award | None:
    """P43-P47."""
    key, trigger, count = firing
    system = versions.system(key)
    assert system is not None
    base, balance, boosts = count * trigger["points"], person.balance(key), []
    if base > 0:
        limit = system.get("maxPoints") or LARGEST
        boosts = [boost for boost in system.get("boosts", []) if applies(boost, person, at)]
        amount = min(boosted(base, boosts), max(0, limit - balance))
    else:
        if trigger["type"] == "metric" and trigger.get("blockIfOutOfPoints") and balance + base < 0:
            raise Refused(422, "out_of_points")
        amount = max(base, -balance)
    if amount == 0:
        return None
    ids = tuple(sorted((boost["id"] for boost in boosts), key=by_bytes))
    day = person.local_date(at).isoformat()
    one = Award(key, trigger["id"], count, base, amount, balance + amount, at, day, ids, cause)
    person.awards.append(one)
    return one


def applies(boost: Json, person: Person, at: int) -> bool:
    """P34, P35, P41."""
    today = person.local_date(at)
    if not boost.get("enabled", False) or boost.get("userId", person.id) != person.id:
        return False
    if today < date.fromisoformat(boost["start"]) or (boost.get("end") and today > date.fromisoformat(boost["end"])):
        return False
    return matches(boost.get("userAttributes", {}), person.attributes)


def entries(versions: Versions, person: Person, made: list[Award]) -> Json:
    """The `points` of an outcome: affected systems (R5-R7)."""
    found: Json = {}
    for key in {one.system for one in made}:
        awards = [one for one in made if one.system == key]
        total, added = person.balance(key), sum(one.awarded for one in awards)
        found[key] = {"added": added, "total": total, "awards": awards} | level_change(versions, key, total, added)
    return found


def level_change(versions: Versions, key: str, total: int, added: int) -> Json:
    """P50, R7: `level` only if it changed."""
    old, new = versions.level(key, total - added), versions.level(key, total)
    return {} if old == new else {"level": new}


def show(versions: Versions, person: Person, made: list[Award], at: int, now: int) -> list[Json]:
    """P86: awards, then `points.changed` per system where not held back, then level changes."""
    effects = [effect("points.awarded", person, award=one) for one in made]
    keys = sorted({one.system for one in made}, key=by_bytes)
    for key in keys:
        person.unsent.setdefault(key, []).extend(one for one in made if one.system == key)
        if now >= person.windows.get(key, now) or len(person.unsent[key]) > COLLECTED:
            effects.append(send_changed(versions, person, key, now))
    for key in keys:
        total = person.balance(key)
        old = versions.level(key, total - sum(one.awarded for one in made if one.system == key))
        new = versions.level(key, total)
        if old != new:
            effects.append(
                effect("points.level_changed", person, system=key, total=total, previous=old, new=new, at=at)
            )
    return effects


def send_changed(versions: Versions, person: Person, key: str, now: int) -> Json:
    """E7: one event with everything since the last one; opens a window (L32)."""
    awards = person.unsent.pop(key)
    added, total = sum(one.awarded for one in awards), person.balance(key)
    person.windows[key] = now + THROTTLE_MS
    shown = effect("points.changed", person, system=key, added=added, total=total, awards=awards)
    last, level = person.shown_level.get(key, versions.level(key, total - added)), versions.level(key, total)
    person.shown_level[key] = level
    return shown if level == last else {**shown, "level": level}
