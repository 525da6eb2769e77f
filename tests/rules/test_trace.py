"""What a trace tells: the numbers that decided, from the code that decided; and it changes nothing (X21)."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
import pytest

from processors.rules.effects import Effects, MakeEffects, traced
from processors.rules.errors import RULES, STATUS
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from processors.rules.trace import Trace
from schemas.emission import Emission
from schemas.trace import (
    AchievementStep,
    AnyStep,
    AwardStep,
    BalanceStep,
    BoostStep,
    CatalogStep,
    CounterStep,
    FilledStep,
    FreezeStep,
    LocalDateStep,
    MessageStep,
    NoticeStep,
    OlderPeriodStep,
    PassedOverStep,
    PeriodStep,
    RecordStep,
    RepeatStep,
    SettledStep,
    Step,
    StreakStep,
    TickStep,
    TriggerStep,
    UserStep,
    WindowStep,
)
from tests.rules.fold import Fold, Json, config
from tests.spec.conftest import FILES, SPEC
from tests.spec.notation import START, load_cases
from tests.spec.runner import Run

OneStep = TypeVar("OneStep", bound=Step)

GROWN = ("event", "late_event")
PER_TEN = {"id": "ten", "type": "metric", "metric": "m", "metricThreshold": 10, "points": 7}


class Traced(Fold):
    """A partition whose rules report; `steps` are those of the last record."""

    def __init__(self, *triggers: Json, **more: Any) -> None:
        super().__init__()
        self.trace = Trace()
        self.partition = Partition(0, FoldSettings(), self.store, traced(self.trace))
        self.system = more.pop("system", {})
        self.config = config(*triggers, **more)
        self.config["systems"][0].update(self.system)
        self.publish(self.config, 0)
        self.steps: list[AnyStep] = []

    def send(self, record: Json, hour: float, user: str | None = None, limit: int = 10**6) -> list[Json]:
        found = super().send(record, hour, user, limit)
        self.steps = self.trace.take()
        return found

    def of(self, kind: type[OneStep]) -> list[OneStep]:
        """The steps of a kind."""
        return [step for step in self.steps if isinstance(step, kind)]

    def one(self, kind: type[OneStep]) -> OneStep:
        """The only step of a kind."""
        (step,) = self.of(kind)
        return step


def boost(identity: str, multiplier: float, **more: Any) -> Json:
    return {
        "id": identity,
        "name": identity,
        "start": "2024-12-01",
        "end": None,
        "multiplier": multiplier,
        "status": "active",
        **more,
    }


def test_a_boosted_and_capped_award_shows_every_number() -> None:
    boosts = [
        boost("a", 1.5),
        boost("b", 1.1, rounding="nearest"),
        boost("c", 3, end="2024-12-31"),
        boost("d", 3, start="2025-02-01"),
        boost("e", 3, userId="other"),
        boost("f", 3, userAttributes={"p": "pro"}),
    ]
    fold = Traced(PER_TEN, system={"maxPoints": 30, "boosts": boosts})
    fold.event(1, value=12)
    out = fold.event(2, value=29)
    assert fold.one(CounterStep) == CounterStep(
        rules=("P12",),
        metric="m",
        filter={},
        value=Decimal(29),
        total_before=Decimal(12),
        total_after=Decimal(41),
        mark_before=Decimal(12),
        mark_after=Decimal(41),
    )
    trigger = fold.one(TriggerStep)
    assert (trigger.per, trigger.before, trigger.after) == (10, 12, 41)
    assert (trigger.multiples, trigger.count, trigger.outcome) == (3, 3, "fires")
    assert [(step.boost, step.outcome) for step in fold.of(BoostStep)] == [
        ("a", "applied"),
        ("b", "applied"),
        ("c", "over"),
        ("d", "not_begun"),
        ("f", "user_filter"),
    ]
    assert fold.of(BoostStep)[4].lacks == {"p": "pro"}
    award = fold.one(AwardStep)
    assert (award.count, award.points, award.base) == (3, 7, 21)
    assert (award.boosts, award.product, award.rounding, award.boosted) == (["a", "b"], Decimal("34.65"), "down", 34)
    assert (award.balance_before, award.limit, award.clipped) == (11, 30, 15)
    assert (award.awarded, award.balance_after, award.outcome) == (19, 30, "awarded")
    assert {"P14", "P37", "P38", "P39", "P43", "P44"} <= set(award.rules)
    (made,) = [event["data"]["award"] for event in out if event.get("type") == "points.awarded"]
    assert (award.award_id, award.awarded, award.balance_after) == (made["id"], made["awarded"], made["total"])


def test_an_award_that_rounds_to_nothing_is_told() -> None:
    fold = Traced({**PER_TEN, "points": 1}, system={"boosts": [boost("half", 0.5, rounding="down")]})
    fold.event(1, value=10)
    award = fold.one(AwardStep)
    assert (award.product, award.boosted, award.awarded, award.outcome) == (Decimal("0.5"), 0, 0, "nothing")
    assert award.award_id is None
    assert "P47" in award.rules
    assert fold.of(BalanceStep) == []


def test_a_deduction_shows_the_floor_and_no_boost() -> None:
    fold = Traced(
        {**PER_TEN, "id": "give", "points": 3},
        {**PER_TEN, "id": "take", "metricThreshold": 20, "points": -9},
        system={"boosts": [boost("a", 2)]},
    )
    fold.event(1, value=20)
    give, take = fold.of(AwardStep)
    assert (give.base, give.boosted, give.balance_after) == (6, 12, 12)
    assert (take.base, take.boosts, take.product, take.clipped, take.balance_after) == (-9, [], None, 0, 3)
    fold.event(2, value=20)
    take = fold.of(AwardStep)[1]
    assert (take.balance_before, take.awarded) == (15, -9)


def test_a_blocked_event_shows_the_trigger_that_blocks_it() -> None:
    fold = Traced({**PER_TEN, "points": -5, "blockIfOutOfPoints": True})
    out = fold.event(1, value=10)
    assert {event["reason"] for event in out} == {"out_of_points"}
    award = fold.one(AwardStep)
    assert (award.outcome, award.base, award.balance_before, award.awarded) == ("blocked", -5, 0, 0)
    assert "P46" in award.rules


def test_a_filter_that_the_user_lacks_loses_the_multiples() -> None:
    fold = Traced({**PER_TEN, "userAttributes": {"p": "pro"}})
    fold.event(1, value=25)
    trigger = fold.one(TriggerStep)
    assert (trigger.multiples, trigger.count, trigger.outcome, trigger.lacks) == (2, 0, "user_filter", {"p": "pro"})
    assert {"P9", "P17"} <= set(trigger.rules)


def test_an_event_that_does_not_match_a_filter_is_passed_over() -> None:
    fold = Traced({**PER_TEN, "eventAttributes": {"a": "x"}})
    fold.event(1, value=10, attributes={"a": "y"})
    assert fold.one(PassedOverStep).lacks == {"a": "x"}
    assert fold.of(TriggerStep) == []
    fold.event(2, value=10, attributes={"a": "x"})
    assert [(step.filter, step.total_after) for step in fold.of(CounterStep)] == [({}, 20), ({"a": "x"}, 10)]
    assert fold.one(TriggerStep).filter == {"a": "x"}


def test_below_the_highest_value_nothing_is_considered() -> None:
    fold = Traced(PER_TEN)
    fold.event(1, value=25)
    fold.event(2, value=-20)
    fold.event(3, value=15)
    counter = fold.one(CounterStep)
    assert (counter.total_before, counter.total_after, counter.mark_before, counter.mark_after) == (5, 20, 25, 25)
    assert "P16" in counter.rules
    assert fold.of(TriggerStep) == []


def test_a_streak_shows_sums_growth_and_multiples() -> None:
    streak = {"frequency": "daily", "metrics": [{"key": "m", "threshold": 3}]}
    third = {"id": "second", "type": "streak", "streakLength": 2, "points": 5}
    fold = Traced(third, streak=streak)
    fold.event(1, value=2)
    daily = fold.of(PeriodStep)[0]
    assert (daily.frequency, daily.shown, daily.place) == ("daily", True, "open")
    assert (daily.sums, daily.goals, daily.mode, daily.met_after) == ({"m": 2}, {"m": 3}, "OR", False)
    assert fold.of(StreakStep) == []
    fold.event(2, value=1)
    assert [(step.length_before, step.length_after) for step in fold.of(StreakStep) if step.shown] == [(0, 1)]
    trigger = fold.one(TriggerStep)
    assert (trigger.per, trigger.before, trigger.after, trigger.multiples) == (2, 0, 1, 0)
    fold.event(26, value=3)
    settled = [step for step in fold.of(SettledStep) if step.shown]
    assert [(step.period_start, step.outcome, step.due) for step in settled] == [
        ("2025-01-01", "met", "2025-01-02T00:00:00.000Z")
    ]
    assert fold.steps.index(settled[0]) < fold.steps.index(fold.one(RecordStep))
    assert (fold.one(TriggerStep).multiples, fold.one(AwardStep).awarded) == (1, 5)
    late = {"occurredAt": "2025-01-01T05:00:00Z"}
    fold.event(27, **late)
    assert [step.frequency for step in fold.of(OlderPeriodStep)] == ["daily"]


def test_a_late_event_repairs_the_last_settled_period_and_gives_the_freeze_back() -> None:
    streak = {
        "frequency": "daily",
        "metrics": [{"key": "m", "threshold": 1}],
        "freezes": {"startCount": 1, "maxCount": 1},
    }
    fold = Traced(streak=streak)
    fold.event(1)
    assert (fold.one(FreezeStep).delta, fold.one(FreezeStep).reason) == (1, "initial")
    fold.tick(49)
    assert [step.outcome for step in fold.of(SettledStep) if step.shown] == ["met", "frozen"]
    assert (fold.one(FreezeStep).delta, fold.one(FreezeStep).balance) == (-1, 0)
    fold.event(50, occurredAt="2025-01-02T10:00:00Z")
    daily = fold.of(PeriodStep)[0]
    assert (daily.place, daily.met_before, daily.met_after) == ("last_settled", False, True)
    grown = next(step for step in fold.of(StreakStep) if step.shown)
    assert (grown.cause, grown.length_before, grown.length_after) == ("late_event", 1, 2)
    assert (fold.one(FreezeStep).delta, fold.one(FreezeStep).reason) == (1, "refund")


def test_achievements_show_rounds_and_the_points_they_give() -> None:
    achievements = [
        {"id": "five", "name": "Five", "trigger": "metric", "metric": "m", "metricValue": 5},
        {
            "id": "pro",
            "name": "Pro",
            "trigger": "metric",
            "metric": "m",
            "metricValue": 5,
            "userAttributes": {"p": "x"},
        },
        {"id": "first", "name": "First", "trigger": "achievement", "achievementIds": ["five"]},
        {"id": "second", "name": "Second", "trigger": "achievement", "achievementIds": ["first"]},
    ]
    prize = {"id": "prize", "type": "achievement", "achievement": "second", "points": 100}
    fold = Traced(prize, achievements=[{**one, "status": "active"} for one in achievements])
    fold.event(1, value=5)
    assert [(step.achievement, step.outcome, step.round, step.requires) for step in fold.of(AchievementStep)] == [
        ("pro", "user_filter", 0, 5),
        ("five", "completed", 0, 5),
        ("first", "completed", 1, ["five"]),
        ("second", "completed", 2, ["first"]),
    ]
    assert (fold.one(TriggerStep).type, fold.one(AwardStep).awarded) == ("achievement", 100)


def test_a_tick_shows_the_time_trigger_and_its_award() -> None:
    hourly = {"id": "hourly", "type": "time", "timeUnit": "hours", "timeInterval": 1, "points": 4}
    fold = Traced(hourly, system={"maxPoints": 6})
    fold.event(0.5)
    fold.tick(3)
    first, second = fold.of(TickStep)
    assert (first.due, first.outcome) == ("2025-01-01T01:30:00.000Z", "fires")
    assert [(step.awarded, step.clipped) for step in fold.of(AwardStep)] == [(4, 0), (2, 2)]
    fold.tick(9)
    assert fold.of(TickStep) == []  # a trigger that could move nothing sleeps; the next record passes over its ticks
    fold.event(9)
    third = fold.one(TickStep)
    assert (third.outcome, third.balance, third.limit, third.passed_over) == ("nothing_to_move", 6, 6, 5)
    assert third.next_due == "2025-01-01T09:30:00.000Z"
    assert second.due == "2025-01-01T02:30:00.000Z"


def test_a_user_filter_holds_a_tick_back() -> None:
    hourly = {
        "id": "h",
        "type": "time",
        "timeUnit": "hours",
        "timeInterval": 1,
        "points": 4,
        "userAttributes": {"p": "x"},
    }
    fold = Traced(hourly)
    fold.event(0)
    fold.event(1)
    assert (fold.one(TickStep).outcome, fold.one(TickStep).lacks) == ("user_filter", {"p": "x"})


def test_a_message_is_sent_or_left_out_for_a_reason() -> None:
    fold = Traced(messages={"reactivation": True})
    fold.event(0, user="early")
    fold.event(0, user="off")
    fold.send({"type": "preferences", "user": "off", "notifications": {"reactivation": []}}, 1, "off")
    fold.event(4 * 24, user="early")  # the clock has not begun
    step = fold.one(MessageStep)
    assert (step.outcome, step.due) == ("before_clock", "2025-01-03T15:00:00.000Z")
    fold.tick(5 * 24)
    assert [(step.outcome, step.rules) for step in fold.of(MessageStep)] == [
        ("too_late", ("E15", "E12a", "D-34")),
        ("opted_out", ("E15", "E12", "U13a")),
    ]
    fold.tick(7 * 24)
    assert [(step.type, step.outcome) for step in fold.of(MessageStep)] == [
        ("emails.reactivation_due", "sent"),
        ("emails.reactivation_due", "opted_out"),
    ]


def test_a_notice_is_sent_held_and_sent_at_the_end_of_its_window() -> None:
    fold = Traced({**PER_TEN, "metricThreshold": 1})
    fold.event(1)
    assert fold.one(NoticeStep).outcome == "sent"
    fold.event(1.1)
    held = fold.one(NoticeStep)
    assert (held.outcome, held.awards, held.window_until) == ("held", 1, "2025-01-01T01:15:00.000Z")
    fold.tick(2)
    assert (fold.one(WindowStep).due, fold.one(WindowStep).awards) == ("2025-01-01T01:15:00.000Z", 1)


def test_levels_are_shown_before_and_after() -> None:
    fold = Traced(PER_TEN, system={"levels": [{"key": "low", "points": 0}, {"key": "high", "points": 7}]})
    fold.event(1, value=10)
    assert fold.one(BalanceStep) == BalanceStep(
        rules=("P48", "P49", "P50"), system="xp", before=0, after=7, level_before="low", level_after="high"
    )


def test_a_switch_shows_what_it_completes_silently() -> None:
    fold = Traced(PER_TEN)
    fold.event(1, value=5)
    five = {"id": "five", "name": "Five", "trigger": "metric", "metric": "m", "metricValue": 5, "status": "active"}
    fold.publish({**fold.config, "achievements": [five]}, 2)
    switch = fold.one(CatalogStep)
    assert (switch.before, switch.after, switch.at) == ("1", "2", "2025-01-01T02:00:00.000Z")
    assert [(step.achievement, step.outcome) for step in fold.of(AchievementStep)] == [("five", "backdated")]


def test_a_switch_shows_what_it_counts_for_a_new_filter() -> None:
    fold = Traced(PER_TEN)
    fold.event(1, value=12, attributes={"a": "x"})
    fold.event(2, value=-2, attributes={"a": "x"})
    filtered = {**PER_TEN, "id": "x", "status": "active", "eventAttributes": {"a": "x"}}
    fold.publish({**fold.config, "systems": [{"key": "xp", "triggers": [filtered]}]}, 3)
    filled = fold.one(FilledStep)
    assert (filled.metric, filled.filter, filled.total, filled.mark) == ("m", {"a": "x"}, 10, 12)
    fold.event(4, value=10, attributes={"a": "x"})
    assert [step.total_before for step in fold.of(CounterStep) if step.filter] == [10]


def test_requests_show_what_they_make_of_the_streak() -> None:
    fold = Traced(streak={"frequency": "daily", "metrics": [{"key": "m", "threshold": 1}]})
    fold.event(1)
    fold.event(25)
    fold.send({"type": "streak.reset", "user": "u"}, 26, "u")
    assert [(s.cause, s.length_before, s.length_after) for s in fold.of(StreakStep) if s.shown] == [("reset", 2, 0)]
    fold.send({"type": "streak.restore", "user": "u"}, 50, "u")
    assert [(s.cause, s.length_before, s.length_after) for s in fold.of(StreakStep)] == [("restore", 0, 1)]


def test_the_user_the_zone_and_the_local_date_are_shown() -> None:
    fold = Traced(PER_TEN)
    fold.event(2)
    assert (fold.one(RecordStep).created, fold.one(UserStep).created) == (True, True)
    fold.event(3, user="v")
    moved = {"id": "u", "tz": "-05:00", "attributes": {"p": "x"}}
    fold.send({"metric": "m", "user": moved, "value": 1}, 26, "u")
    step = fold.one(UserStep)
    assert (step.created, step.zone_before, step.zone, step.attributes) == (False, "UTC", "-05:00", {"p": "x"})
    assert (fold.one(LocalDateStep).local_date, fold.one(RecordStep).created) == ("2025-01-01", False)


def test_a_repeated_idempotency_key_names_the_first_use() -> None:
    fold = Traced(PER_TEN)
    fold.event(1, idempotencyKey="k", eventId="first")
    fold.event(2, idempotencyKey="k")
    assert fold.one(RepeatStep).original == "first"
    assert fold.of(CounterStep) == []


# a trace changes nothing, and says what comes out


class Recorded(Run):
    """A spec case that keeps the bytes that come out, and the steps beside them."""

    def __init__(self, case: Json, make: MakeEffects = Effects, trace: Trace | None = None) -> None:
        super().__init__(case)
        self.partition = Partition(0, FoldSettings(), self.store, make)
        self.trace = trace
        self.out: list[list[Emission]] = []
        self.steps: list[list[AnyStep]] = []

    def send_bytes(self, value: bytes, at_ms: int, key: bytes | None) -> list[Emission]:
        found = super().send_bytes(value, at_ms, key)
        self.out.append(list(found))
        if self.trace is not None:
            self.steps.append(self.trace.take())
        return found

    def carry_out(self) -> None:
        self.publish(START)
        for event in self.case["events"]:
            self.event(event)


def _agrees(out: list[Emission], steps: list[AnyStep]) -> Iterator[tuple[object, object]]:
    """What was emitted beside what the steps say."""
    data = [(emission.type, msgspec.json.decode(emission.value)) for emission in out if emission.type]
    awards = [envelope["data"]["award"] for kind, envelope in data if kind == "points.awarded"]
    told = [step for step in steps if isinstance(step, AwardStep) and step.outcome == "awarded"]
    yield (
        [(award["id"], award["awarded"], award["total"], award["base"], award["count"]) for award in awards],
        [(step.award_id, step.awarded, step.balance_after, step.base, step.count) for step in told],
    )
    yield (
        [[boost["id"] for boost in award.get("boosts", ())] for award in awards],
        [step.boosts for step in told],
    )
    for kind, outcome in (("achievement.completed", "completed"), ("achievement.backdated", "backdated")):
        yield (
            [envelope["data"]["achievement"]["id"] for name, envelope in data if name == kind],
            [step.achievement for step in steps if isinstance(step, AchievementStep) and step.outcome == outcome],
        )
    yield (
        [
            envelope["data"]["streak"]["length"]
            for kind, envelope in data
            if kind in ("streak.started", "streak.extended")
        ],
        [step.length_after for step in steps if isinstance(step, StreakStep) and step.shown and step.cause in GROWN],
    )
    yield (
        [
            (envelope["data"]["periodStart"], envelope["data"]["outcome"])
            for k, envelope in data
            if k == "streak.period_closed"
        ],
        [(step.period_start, step.outcome) for step in steps if isinstance(step, SettledStep)],
    )
    yield (
        [
            (envelope["data"]["delta"], envelope["data"]["reason"])
            for k, envelope in data
            if k == "streak.freezes_changed"
        ],
        [(step.delta, step.reason) for step in steps if isinstance(step, FreezeStep)],
    )
    yield (
        sum(kind == "points.level_changed" for kind, _ in data),
        sum(isinstance(step, BalanceStep) and step.level_before != step.level_after for step in steps),
    )


@pytest.mark.parametrize("name", FILES)
def test_all_spec_cases_give_the_same_bytes_traced_and_the_trace_says_what_comes_out(name: str) -> None:
    steps = 0
    for case in load_cases(SPEC / name):
        plain, trace = Recorded(case), Trace()
        followed = Recorded(case, traced(trace), trace)
        plain.carry_out()
        followed.carry_out()
        assert plain.out == followed.out, case["id"]
        for out, told in zip(followed.out, followed.steps, strict=True):
            if any(b'"reason":"out_of_points"' in emission.value for emission in out):
                continue
            for found, wanted in _agrees(out, told):
                assert found == wanted, case["id"]
            steps += len(told)
    assert steps > 0


# rule ids


_RULE = re.compile(r"^(?:\| ([A-Z]+-?\d+[a-z]?) \||- \*\*([A-Z]+\d+)\*\*)", re.M)


def _known_rules() -> set[str]:
    text = "\n".join(path.read_text() for path in SPEC.rglob("*.md"))
    return {match[1] or match[2] for match in _RULE.finditer(text)}


def test_every_rule_that_a_step_or_a_refusal_names_is_in_the_spec() -> None:
    named = {rule for rules in RULES.values() for rule in rules}
    for name in FILES:
        for case in load_cases(SPEC / name):
            trace = Trace()
            run = Recorded(case, traced(trace), trace)
            run.carry_out()
            named |= {rule for steps in run.steps for step in steps for rule in step.rules}
    assert named - _known_rules() == set()
    assert set(RULES) == set(STATUS)
