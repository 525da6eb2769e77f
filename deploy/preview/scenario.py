"""How fast one fresh user would earn points: the production fold over the events of a scenario (P81-P84)."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
from msgspec import Raw

from deploy.preview.report import Part
from deploy.preview.scenario_file import Scenario
from deploy.preview.share import NO_LIMIT, decode_refusal
from deploy.preview.tally import Flow, Tallier, Tally
from deploy.preview.watch import Noted, Watching, award_of
from processors.rules.catalogs import CatalogStore
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from schemas.catalog import Catalog, CatalogRecord, PointsSystem
from schemas.emission import Emission
from schemas.instants import DAY_MS, format_day, format_instant
from schemas.numbers import format_scaled
from schemas.records import LogRecord
from schemas.topics import user_key

USER: Final = "preview"
"""Id of the fresh user."""

_VERSION: Final = "1"


class DayRow(Part, frozen=True, kw_only=True):
    """One day of UTC: points earned and deducted (both positive), balance and level (key) at its end, and the moments at
    which there were awards (P83): records and ticks, however many triggers fired in one."""

    day: int
    date: str
    earned: int
    deducted: int
    balance: int
    level: str | None
    moments: int


class TriggerTotal(Part, frozen=True, kw_only=True):
    """What a trigger paid: awards, how often it fired (an award may stand for several), points."""

    id: str
    type: str
    awards: int
    times: int
    points: int


class LevelReached(Part, frozen=True, kw_only=True):
    """The day on which a level is first reached, from 1; None = not within the scenario."""

    key: str
    name: str
    points: int
    day: int | None
    date: str | None


class ScenarioSystem(Part, frozen=True, kw_only=True):
    """One points system over the scenario."""

    key: str
    name: str
    max_points: int | None
    earned: int
    deducted: int
    balance: int
    level: str | None
    days: list[DayRow]
    triggers: list[TriggerTotal]
    levels: list[LevelReached]


class AchievementReached(Part, frozen=True, kw_only=True):
    """An achievement that the user completes, and on which day, from 1."""

    id: str
    name: str
    day: int
    date: str


class ScenarioAbout(Part, frozen=True, kw_only=True):
    """What was run: names of the files, the command that was typed, first day, number of days, events, days without any."""

    scenario: str
    catalog: str
    command: str
    start: str
    days: int
    events: int
    skipped_days: int


class ScenarioRefused(Part, frozen=True, kw_only=True):
    """Events refused for one reason, with the message of the first."""

    reason: str
    records: int
    example: str


class ScenarioReport(Part, frozen=True, kw_only=True):
    """What a scenario brings."""

    about: ScenarioAbout
    systems: list[ScenarioSystem]
    achievements: list[AchievementReached]
    refused: list[ScenarioRefused]


class _Awards(Tallier):
    """Also counts the moments at which there are awards."""

    def __init__(self) -> None:
        super().__init__(None)
        self.moments: set[tuple[str, int, str]] = set()

    def take(self, noted: Noted) -> None:
        super().take(noted)
        if noted.type == "points.awarded":
            data = award_of(noted)
            self.moments.add((data.points_system.key, noted.occurred_ms // DAY_MS, data.cause.id))


def records_of(scenario: Scenario) -> Iterator[list[LogRecord]]:
    """Yield the records of each day (P82): the events evenly spaced from 00:00 UTC, then the completions, then a tick.

    The user is identified at the beginning, under the catalog, which is published at that instant.
    """
    begin = scenario.start * DAY_MS
    user: dict[str, Any] = {"id": USER, "attributes": scenario.attributes}
    if scenario.tz is not None:
        user["tz"] = scenario.tz
    first = [
        _record(0, begin, {"type": "catalog", "version": _VERSION, "at": format_instant(begin)}),
        _record(1, begin, {"type": "identify", "user": user}),
    ]
    offset = len(first)
    for day in range(scenario.days):
        records = first if day == 0 else []
        for at_ms, record in _events_of(scenario, day):
            records.append(_record(offset, at_ms, record))
            offset += 1
        end = begin + (day + 1) * DAY_MS - 1
        records.append(_record(offset, end, {"type": "tick", "at": format_instant(end)}))
        offset += 1
        yield records


def _events_of(scenario: Scenario, day: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield instants and records of a day's events and completions.

    Entries are mixed as if each were spread over the day by itself: by j / eventsPerDay, then by place in the file.
    """
    at_ms = begin = (scenario.start + day) * DAY_MS
    if day not in scenario.skipped:
        places = [
            (turn * DAY_MS // entry.events_per_day, index)
            for index, entry in enumerate(scenario.entries)
            for turn in range(entry.events_per_day)
        ]
        for number, (_, index) in enumerate(sorted(places)):
            entry = scenario.entries[index]
            at_ms = begin + number * DAY_MS // len(places)
            value = Raw(format_scaled(entry.value).encode())
            yield at_ms, {"metric": entry.metric, "user": USER, "value": value, "attributes": entry.attributes}
    for key in scenario.completions.get(day, ()):
        yield at_ms, {"type": "achievement.complete", "user": USER, "achievement": key}


def _record(offset: int, at_ms: int, value: dict[str, Any]) -> LogRecord:
    key = user_key("", USER) if "user" in value else None
    return LogRecord(0, offset, at_ms, key, msgspec.json.encode(value))


def run_scenario(
    scenario: Scenario,
    config: bytes,
    *,
    scenario_name: str,
    catalog_name: str,
    command: str,
    progress: Callable[[int], None] = lambda _: None,
) -> ScenarioReport:
    """Fold the scenario under a catalog in JSON, as `active_config` makes it. `progress` hears of days done."""
    store = CatalogStore()
    at_ms = scenario.start * DAY_MS
    store.add(msgspec.json.encode(CatalogRecord(tenant="", version=_VERSION, at_ms=at_ms, config=Raw(config))))
    fold = Partition(0, FoldSettings(), store, Watching)
    awards = _Awards()
    out: list[Emission] = []
    events = 0
    for records in records_of(scenario):
        for record in records:
            events += record.key is not None
            fold.process(record, out, NO_LIMIT)
            for emission in out:
                if isinstance(emission, Noted):
                    awards.take(emission)
                elif emission.is_refusal:
                    refusal = decode_refusal(emission.value)
                    awards.tally.refuse(refusal.reason, 1, (record.timestamp_ms, 0, record.offset), refusal.message)
            out.clear()
        fold.changes(0)
        fold.commit()
        progress(1)
    user, plan = fold.view(user_key("", USER)), fold.plan()
    assert user is not None and plan is not None
    awards.finish_user(user)
    tally = awards.finish(plan.catalog)
    about = ScenarioAbout(
        scenario=scenario_name,
        catalog=catalog_name,
        command=command,
        start=format_day(scenario.start),
        days=scenario.days,
        events=events - 1,  # the first record only identifies the user
        skipped_days=len(scenario.skipped),
    )
    return _report(scenario, tally, awards.moments, plan.catalog, about)


def _report(
    scenario: Scenario, tally: Tally, moments: set[tuple[str, int, str]], catalog: Catalog, about: ScenarioAbout
) -> ScenarioReport:
    per_day = Counter((system, day) for system, day, _ in moments)
    names = {achievement.id: achievement.name for achievement in catalog.achievements}
    reached = sorted((times[0] // DAY_MS, identity) for identity, times in tally.achievements.items())
    return ScenarioReport(
        about=about,
        systems=[_system(scenario, tally, per_day, system) for system in catalog.systems if system.status == "active"],
        achievements=[
            AchievementReached(
                id=identity, name=names.get(identity, identity), day=day + 1, date=format_day(scenario.start + day)
            )
            for day, identity in reached
        ],
        refused=[
            ScenarioRefused(reason=reason, records=refused.count, example=refused.example)
            for reason, refused in sorted(tally.refused.items())
        ],
    )


def _system(
    scenario: Scenario, tally: Tally, moments: Counter[tuple[str, int]], system: PointsSystem
) -> ScenarioSystem:
    days = list(_days(scenario, tally, moments, system))
    triggers = []
    for trigger in system.triggers:
        if trigger.status == "active":
            paid = tally.triggers.get((system.key, trigger.id))
            flow = paid.flow if paid else Flow()
            triggers.append(
                TriggerTotal(
                    id=trigger.id,
                    type=trigger.type,
                    awards=flow.awards,
                    times=paid.times if paid else 0,
                    points=flow.earned - flow.deducted,
                )
            )
    return ScenarioSystem(
        key=system.key,
        name=system.name,
        max_points=system.max_points,
        earned=sum(row.earned for row in days),
        deducted=sum(row.deducted for row in days),
        balance=days[-1].balance,
        level=days[-1].level,
        days=days,
        triggers=triggers,
        levels=_levels(scenario, tally, system),
    )


def _days(
    scenario: Scenario, tally: Tally, moments: Counter[tuple[str, int]], system: PointsSystem
) -> Iterator[DayRow]:
    thresholds = [level.points for level in system.levels]
    balance = 0
    for number in range(scenario.days):
        day = scenario.start + number
        flow = tally.days.get((system.key, day)) or Flow()
        balance += flow.earned - flow.deducted
        place = bisect_right(thresholds, balance)
        yield DayRow(
            day=number + 1,
            date=format_day(day),
            earned=flow.earned,
            deducted=flow.deducted,
            balance=balance,
            level=system.levels[place - 1].key if place else None,
            moments=moments[system.key, day],
        )


def _levels(scenario: Scenario, tally: Tally, system: PointsSystem) -> list[LevelReached]:
    """Return the levels by threshold; on one with threshold 0 the user stands from the first day (P49)."""
    rows = []
    for level in system.levels:
        times = tally.levels.get((system.key, level.key))
        day = times[0] // DAY_MS if times else 0 if level.points == 0 else None
        rows.append(
            LevelReached(
                key=level.key,
                name=level.name,
                points=level.points,
                day=None if day is None else day + 1,
                date=None if day is None else format_day(scenario.start + day),
            )
        )
    return rows
