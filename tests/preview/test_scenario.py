"""Scenarios (P81-P84, X22): numbers worked out by hand."""

import json

import msgspec
import pytest

from deploy.preview.scenario import records_of
from schemas.catalog_file import CatalogError
from schemas.instants import HOUR_MS, format_instant, parse_instant
from tests.preview.support import SAMPLES, read, run

WORDS = """
metrics: [{key: words}, {key: pages}]
eventAttributes: [kind]
userAttributes: [plan]
systems:
  - key: xp
    levels: [{key: a, points: 0}, {key: b, points: 5}, {key: c, points: 10}, {key: d, points: 11}]
    triggers:
      - {id: ten, type: metric, metric: words, metricThreshold: 10, points: 1}
      - {id: gone, type: metric, metric: words, metricThreshold: 1, points: 99, status: archived}
achievements:
  - {key: medal, trigger: api, status: active}
  - {key: sleeping, trigger: api}
"""

TWO_A_DAY = """
start: 2026-03-02
days: 3
metrics: {words: [{eventsPerDay: 2, value: 25}]}
skip: [2]
"""

ENERGY = """
metrics: [{key: cards}]
systems:
  - key: energy
    maxPoints: 5
    triggers:
      - {id: start, type: user_creation, points: 4}
      - {id: refill, type: time, timeUnit: hours, timeInterval: 6, points: 1}
      - {id: cost, type: metric, metric: cards, metricThreshold: 1, points: -1}
"""


def test_pace_levels_and_totals_of_inactive_triggers() -> None:
    (xp,) = run(TWO_A_DAY, WORDS).systems
    # totals 25, 50 | - | 75, 100: floors of a tenth 2, 5 | - | 7, 10
    assert [(row.earned, row.deducted, row.balance, row.level, row.moments) for row in xp.days] == [
        (5, 0, 5, "b", 2),
        (0, 0, 5, "b", 0),
        (5, 0, 10, "c", 2),
    ]
    assert [(row.date, row.day) for row in xp.days] == [("2026-03-02", 1), ("2026-03-03", 2), ("2026-03-04", 3)]
    assert [(one.id, one.awards, one.times, one.points) for one in xp.triggers] == [("ten", 4, 10, 10)]
    assert [(one.key, one.day, one.date) for one in xp.levels] == [
        ("a", 1, "2026-03-02"),
        ("b", 1, "2026-03-02"),
        ("c", 3, "2026-03-04"),
        ("d", None, None),
    ]
    assert (xp.earned, xp.deducted, xp.balance, xp.level) == (10, 0, 10, "c")


def test_time_triggers_tick_and_the_cap_clips() -> None:
    scenario = "{start: 2026-03-02, days: 2, metrics: {cards: [{eventsPerDay: 2, value: 1}]}}"
    (energy,) = run(scenario, ENERGY).systems
    # day 1: 00:00 +4 -1, 06:00 +1, 12:00 +1 -1, 18:00 +1 = 5; day 2: 00:00 clipped, -1, 06:00 +1, 12:00 clipped, -1, 18:00 +1
    assert [(row.earned, row.deducted, row.balance, row.moments) for row in energy.days] == [(7, 2, 5, 6), (2, 2, 5, 4)]
    assert {one.id: one.points for one in energy.triggers} == {"start": 4, "refill": 5, "cost": -4}
    assert energy.max_points == 5


def test_the_user_is_created_at_the_beginning_even_if_the_first_day_is_skipped() -> None:
    scenario = "{start: 2026-03-02, days: 2, metrics: {cards: [{eventsPerDay: 1, value: 1}]}, skip: [1]}"
    (energy,) = run(scenario, ENERGY).systems
    assert energy.days[0].earned == 5  # 4, then 5 of 6 at 06:00, then clipped
    assert energy.days[0].moments == 2


def test_boosts_count_on_their_days() -> None:
    boosted = WORDS.replace(
        "    levels:",
        "    boosts: [{id: b, start: 2026-03-04, end: 2026-03-04, multiplier: 1.5, rounding: down, status: active}]\n    levels:",
    )
    (xp,) = run(TWO_A_DAY, boosted).systems
    assert [row.earned for row in xp.days] == [5, 0, 7]  # 2 x 1.5 = 3, 3 x 1.5 = 4.5 down 4
    assert xp.levels[3].day == 3


def test_completions_pay_after_the_events_of_their_day() -> None:
    catalog = WORDS.replace(
        "    triggers:", "    triggers:\n      - {id: prize, type: achievement, achievement: medal, points: 50}"
    )
    scenario = TWO_A_DAY + "completions: [{day: 2, achievement: medal}]\n"
    report = run(scenario, catalog)
    assert [row.earned for row in report.systems[0].days] == [5, 50, 5]
    assert [(one.id, one.day, one.date) for one in report.achievements] == [
        (report.achievements[0].id, 2, "2026-03-03")
    ]
    times = [record.timestamp_ms for records in records_of(read(scenario, catalog)[0]) for record in records]
    assert times == sorted(times)


def test_events_are_evenly_spaced_and_entries_mixed() -> None:
    scenario, _ = read(
        "{start: 2026-03-02, days: 1, metrics: {words: [{eventsPerDay: 2, value: 1.50}], pages: [{eventsPerDay: 1, value: -2}]}}",
        WORDS,
    )
    (records,) = records_of(scenario)
    begin = parse_instant("2026-03-02T00:00:00Z")
    events = [(record.timestamp_ms - begin, json.loads(record.value or b"")) for record in records if record.key]
    assert [(at, event.get("metric"), event.get("value")) for at, event in events] == [
        (0, None, None),
        (0, "words", 1.5),
        (8 * HOUR_MS, "pages", -2),
        (16 * HOUR_MS, "words", 1.5),
    ]
    assert json.loads(records[-1].value or b"") == {"type": "tick", "at": format_instant(begin + 24 * HOUR_MS - 1)}


def test_systems_and_triggers_can_be_chosen() -> None:
    both = WORDS.replace(
        "achievements:",
        "  - {key: gems, triggers: [{id: page, type: metric, metric: words, metricThreshold: 25, points: 2},"
        " {id: hello, type: user_creation, points: 1, status: active}]}\nachievements:",
    )
    assert [system.key for system in run(TWO_A_DAY, both).systems] == ["xp", "gems"]
    assert [system.key for system in run(TWO_A_DAY + "systems: [gems]", both).systems] == ["gems"]
    (gems,) = run(TWO_A_DAY + "systems: {gems: [page]}", both).systems
    assert {one.id: one.points for one in gems.triggers} == {"page": 8}
    assert gems.balance == 8


def test_user_attributes_decide_and_refused_events_are_told() -> None:
    catalog = ENERGY.replace("points: -1}", "points: -3, blockIfOutOfPoints: true, userAttributes: {plan: free}}")
    catalog += "userAttributes: [plan]\n"
    scenario = "start: 2026-03-02\ndays: 1\nmetrics: {cards: [{eventsPerDay: 3, value: 1}]}\n"
    (free,) = (run(scenario + "user: {attributes: {plan: free}}", catalog),)
    # 4 - 3 = 1, 06:00 2, 08:00 refused, 12:00 3, 16:00 - 3 = 0, 18:00 1
    assert free.systems[0].balance == 1
    assert [(one.reason, one.records) for one in free.refused] == [("out_of_points", 1)]
    assert run(scenario, catalog).systems[0].balance == 5


@pytest.mark.parametrize(
    ("skip", "days"),
    [
        ("[saturday, Sunday]", {5, 6}),
        ("[1, 7]", {0, 6}),
        ("[2026-03-04]", {2}),
        ("['2026-03-04', wednesday]", {2}),
    ],
)
def test_days_are_skipped_by_number_date_or_weekday(skip: str, days: set[int]) -> None:
    scenario, _ = read(f"{{start: 2026-03-02, days: 7, metrics: {{words: []}}, skip: {skip}}}", WORDS)
    assert scenario.skipped == days


@pytest.mark.parametrize(
    ("change", "path", "fix"),
    [
        ("days: 401", "days", "between 1 and 400"),
        ("days: 0", "days", "between 1 and 400"),
        ("start: tomorrow", "start", "YYYY-MM-DD"),
        ("metrics: {words: [{eventsPerDay: 1001, value: 1}]}", "metrics.words[0].eventsPerDay", "between 1 and 1000"),
        (
            "metrics: {words: [{eventsPerDay: 600, value: 1}, {eventsPerDay: 401, value: 1}]}",
            "metrics",
            "limit is 1000",
        ),
        ("metrics: {wrods: [{eventsPerDay: 1, value: 1}]}", "metrics.wrods", "metrics: words, pages"),
        ("metrics: {words: [{eventsPerDay: 1}]}", "metrics.words[0].value", "give a number"),
        ("metrics: {words: [{eventsPerDay: 1, value: 1, perDay: 3}]}", "metrics.words[0].perDay", "known fields"),
        (
            "metrics: {words: [{eventsPerDay: 1, value: 1, attributes: {a: b}}]}",
            "metrics.words[0].attributes.a",
            "declared",
        ),
        ("metrics: 3", "metrics", "must be an object"),
        ("skip: [4]", "skip[0]", "not one of the 3 days"),
        ("skip: [someday]", "skip[0]", "a weekday"),
        ("systems: [xq]", "systems", "systems: xp"),
        ("systems: {xp: [gone]}", "systems.xp", "triggers: ten"),
        ("completions: [{day: 4, achievement: medal}]", "completions[0].day", "between 1 and 3"),
        ("completions: [{day: 1, achievement: sleeping}]", "completions[0].achievement", "keys: medal"),
        ("user: {tz: Mars/Base}", "user.tz", "IANA"),
        ("user: {attributes: {size: s}}", "user.attributes.size", "declared"),
        ("dyas: 3", "dyas", "unknown here"),
    ],
)
def test_mistakes_are_named_with_path_and_fix(change: str, path: str, fix: str) -> None:
    name = change.partition(":")[0]
    base = {
        "start": "start: 2026-03-02",
        "days": "days: 3",
        "metrics": "metrics: {words: [{eventsPerDay: 2, value: 25}]}",
    }
    lines = {**base, name: change}
    with pytest.raises(CatalogError) as caught:
        read("\n".join(lines.values()), WORDS)
    assert [issue.path for issue in caught.value.issues] == [path]
    assert fix in caught.value.issues[0].message


def test_the_longest_day_and_the_longest_scenario_are_allowed() -> None:
    scenario, _ = read("{start: 2026-03-02, days: 400, metrics: {words: [{eventsPerDay: 1000, value: 1}]}}", WORDS)
    assert scenario.days == 400
    (xp,) = run("{start: 2026-03-02, days: 1, metrics: {words: [{eventsPerDay: 1000, value: 1}]}}", WORDS).systems
    assert xp.balance == 100


def test_a_scenario_gives_the_same_each_time() -> None:
    catalog, scenario = (SAMPLES / "catalog.yaml").read_text(), (SAMPLES / "scenario.yaml").read_text()
    first, second = run(scenario, catalog), run(scenario, catalog)
    assert msgspec.json.encode(first) == msgspec.json.encode(second)
    for system in first.systems:
        assert sum(one.points for one in system.triggers) == system.balance == system.earned - system.deducted
