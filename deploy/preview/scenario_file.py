"""Reading a scenario file (X22): every mistake is reported with its path in the file and the fix."""

import copy
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from processors.rules.zones import find_zone
from schemas.catalog import WEEKDAYS, Catalog, PointsSystem
from schemas.catalog_fields import Context, Fields
from schemas.catalog_file import CatalogError
from schemas.instants import parse_day, to_date
from schemas.numbers import MAX_EVENT_VALUE

MAX_DAYS: Final = 400
"""Longest scenario (P84)."""

MAX_EVENTS_PER_DAY: Final = 1_000
"""Most events of a day, API completions included (P84)."""

_EARLIEST_DAY: Final = parse_day("1970-01-01")
_LATEST_DAY: Final = parse_day("9000-01-01")


class Entry(msgspec.Struct, frozen=True):
    """So many equal events of one metric a day; `value` is scaled."""

    metric: str
    events_per_day: int
    value: int
    attributes: dict[str, str]


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What one fresh user does (P81).

    Attributes:
        start: first day. days: how many, 1 to 400.
        tz, attributes: of the user.
        entries: in the order of the file. skipped: days without events, from 0.
        completions: keys of API achievements by day, from 0.
    """

    start: int
    days: int
    tz: str | None
    attributes: dict[str, str]
    entries: list[Entry]
    skipped: frozenset[int]
    completions: dict[int, list[str]]


def read_scenario(config: Any, catalog: Catalog) -> tuple[Scenario, dict[str, list[str]] | None]:
    """Return the scenario of a decoded file, and the chosen systems with their chosen triggers (None = all).

    Raises:
        CatalogError: with all mistakes found.
    """
    context = Context("")
    context.metrics = {metric.key: metric for metric in catalog.metrics if metric.status == "active"}
    context.metric_ids = {metric.id: metric.key for metric in context.metrics.values()}
    context.user_attributes, context.event_attributes = set(catalog.user_attributes), set(catalog.event_attributes)
    fields = context.fields(config, "")
    scenario, systems = _read(context, fields, catalog) if fields is not None else (None, None)
    errors = [issue for issue in context.issues if issue.severity == "error"]
    if errors or scenario is None:
        raise CatalogError(errors)
    return scenario, systems


def active_config(config: Any, systems: dict[str, list[str]] | None) -> Any:
    """Return a decoded catalog file with the chosen systems and triggers only, inactive triggers active (P81)."""
    changed = copy.deepcopy(config)
    kept = []
    for system in changed.get("systems") or []:
        chosen = None if systems is None else systems.get(system["key"])
        if systems is not None and chosen is None:
            continue
        triggers = [one for one in system.get("triggers") or [] if not chosen or one["id"] in chosen]
        for trigger in triggers:
            if trigger.get("status") != "archived":
                trigger["status"] = "active"
        system["triggers"] = triggers
        kept.append(system)
    changed["systems"] = kept
    return changed


def _read(context: Context, fields: Fields, catalog: Catalog) -> tuple[Scenario | None, dict[str, list[str]] | None]:
    fields.raw("catalog")
    systems = _systems(fields, catalog)
    start = fields.day("start", required=True)
    if start is not None and not _EARLIEST_DAY <= start <= _LATEST_DAY:
        fields.error("start", "must lie between 1970-01-01 and 9000-01-01")
    days = fields.integer("days", 1, MAX_DAYS, required=True)
    tz, attributes = _user(context, fields)
    entries = list(_entries(context, fields))
    if start is None or days is None or any(issue.path == "days" for issue in context.issues):
        fields.raw("skip", "completions")  # days cannot be told
        fields.done()
        return None, None
    skipped = frozenset(_skipped(fields, start, days))
    completions = _completions(context, fields, catalog, days)
    if not context.issues:
        _check_limit(fields, entries, completions)
    fields.done()
    scenario = Scenario(
        start=start,
        days=days,
        tz=tz,
        attributes=attributes,
        entries=entries,
        skipped=skipped,
        completions=completions,
    )
    return scenario, systems


def _systems(fields: Fields, catalog: Catalog) -> dict[str, list[str]] | None:
    """Read `systems`: a list of keys, or an object of key: list of trigger ids."""
    known = {system.key: system for system in catalog.systems if system.status == "active"}
    value = fields.raw("systems")
    if value is None:
        return None
    if isinstance(value, list):
        value = dict.fromkeys(map(str, value))
    if not isinstance(value, dict) or not value:
        fields.error("systems", "must be a list of system keys, or an object of system key: list of trigger ids")
        return None
    chosen: dict[str, list[str]] = {}
    for key, triggers in value.items():
        system = known.get(key)
        if system is None:
            names = ", ".join(known) or "none"
            fields.error("systems", f"{key!r} is not an active points system of the catalog (systems: {names})")
        else:
            chosen[key] = _triggers(fields, system, triggers)
    return chosen


def _triggers(fields: Fields, system: PointsSystem, value: Any) -> list[str]:
    """Return the chosen triggers of a system, empty = all that are not archived."""
    if value is None:
        return []
    name = f"systems.{system.key}"
    if not isinstance(value, list) or not value:
        fields.error(name, "must be a list of trigger ids; leave it empty (null) for all of them")
        return []
    known = [trigger.id for trigger in system.triggers if trigger.status != "archived"]
    for identity in value:
        if identity not in known:
            fields.error(
                name, f"{identity!r} is not a trigger of {system.key}, or archived (triggers: {', '.join(known)})"
            )
    return [str(identity) for identity in value]


def _user(context: Context, fields: Fields) -> tuple[str | None, dict[str, str]]:
    value = fields.raw("user")
    user = None if value is None else context.fields(value, "user")
    if user is None:
        return None, {}
    tz = user.text("tz")
    if tz is not None and find_zone(tz) is None:
        user.error("tz", f"{tz!r} is neither an IANA zone (Europe/Berlin) nor an offset (+02:00)")
    attributes = dict(user.pairs("attributes", context.user_attributes))
    user.done()
    return tz, attributes


def _entries(context: Context, fields: Fields) -> Iterator[Entry]:
    metrics = fields.raw("metrics")
    if not isinstance(metrics, dict) or not metrics:
        fields.error("metrics", "must be an object of metric key: list of {eventsPerDay, value, attributes}")
        return
    for key in metrics:
        if key not in context.metrics:
            known = ", ".join(context.metrics) or "none"
            fields.error(f"metrics.{key}", f"is not an active metric of the catalog (metrics: {known})")
    for key, items in metrics.items():
        path = f"metrics.{key}"
        if not isinstance(items, list):
            fields.error(path, "must be a list of {eventsPerDay, value, attributes}")
            continue
        for index, item in enumerate(items):
            entry = context.fields(item, f"{path}[{index}]")
            if entry is None:
                continue
            events = entry.integer("eventsPerDay", 1, MAX_EVENTS_PER_DAY, required=True) or 0
            value = entry.decimal("value", required=True)
            if abs(value) > MAX_EVENT_VALUE:
                entry.error("value", "is beyond 10^12")
            attributes = dict(entry.pairs("attributes", context.event_attributes))
            entry.done()
            yield Entry(str(key), events, value, attributes)


def _skipped(fields: Fields, start: int, days: int) -> Iterator[int]:
    """Yield the days of `skip`, from 0: numbers from 1, dates, or names of weekdays."""
    weekdays = {name: number for number, name in enumerate(WEEKDAYS)}
    for _, item, name in fields.items("skip"):
        if isinstance(item, str) and item.lower() in weekdays:
            wanted = weekdays[item.lower()]
            yield from (day for day in range(days) if (to_date(start + day).isoweekday() % 7) == wanted)
            continue
        day = _day_number(item, start)
        if day is None:
            fields.error(name, f"{item!r} is no day; write its number from 1, a date YYYY-MM-DD or a weekday (sunday)")
        elif not 0 <= day < days:
            fields.error(name, f"{item!r} is not one of the {days} days from {to_date(start).isoformat()} on")
        else:
            yield day


def _day_number(item: Any, start: int) -> int | None:
    if isinstance(item, int) and not isinstance(item, bool):
        return item - 1
    if isinstance(item, str):
        try:
            return parse_day(item) - start
        except ValueError:
            return None
    return None


def _completions(context: Context, fields: Fields, catalog: Catalog, days: int) -> dict[int, list[str]]:
    by_key = {one.key: one for one in catalog.achievements if one.key is not None and one.trigger == "api"}
    found: dict[int, list[str]] = {}
    for _, item, path in fields.items("completions"):
        completion = context.fields(item, path)
        if completion is None:
            continue
        day = completion.integer("day", 1, days, required=True)
        key = completion.text("achievement", required=True)
        if key is not None and (key not in by_key or by_key[key].status != "active"):
            known = ", ".join(key for key, one in by_key.items() if one.status == "active") or "none"
            completion.error("achievement", f"{key!r} is not the key of an active API achievement (keys: {known})")
        completion.done()
        if day is not None and key is not None:
            found.setdefault(day - 1, []).append(key)
    return found


def _check_limit(fields: Fields, entries: list[Entry], completions: dict[int, list[str]]) -> None:
    """Refuse days with too many events (P84)."""
    events = sum(entry.events_per_day for entry in entries)
    most = max([len(keys) for keys in completions.values()], default=0)
    if events + most > MAX_EVENTS_PER_DAY:
        fields.error(
            "metrics",
            f"{events + most} events in a day, the limit is {MAX_EVENTS_PER_DAY} (P84); lower eventsPerDay, or give "
            "fewer events a greater value",
        )
