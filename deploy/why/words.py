"""Each step of a trace, and each derived event, in one line for a person."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from deploy.cli.support.console import counted
from schemas.trace import (
    AchievementStep,
    AnyStep,
    AwardStep,
    BalanceStep,
    BoostStep,
    CatalogStep,
    CounterStep,
    ErasedStep,
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
    StreakStep,
    TickStep,
    TriggerStep,
    UserStep,
    WindowStep,
)

Json = dict[str, Any]


def number(value: Decimal | int | str) -> str:
    """Return `1,234.5`."""
    return value if isinstance(value, str) else f"{value:,}"


def pairs(given: dict[str, str]) -> str:
    """Return `{size: large, when: night}`."""
    return "{" + ", ".join(f"{key}: {value}" for key, value in given.items()) + "}"


def filtered(metric: str, given: dict[str, str]) -> str:
    """Return the name of a counter: `commits`, `commits {size: large}`."""
    return f"{metric} {pairs(given)}" if given else metric


def times(count: int) -> str:
    """Return `once`, `3 times`."""
    return "once" if count == 1 else f"{count:,} times"


def _silent(shown: bool) -> str:
    return "" if shown else " (silent chain)"


def _level(key: str | None) -> str:
    return key or "no level"


def _user(step: UserStep) -> str:
    verb = "user created" if step.created else "user updated"
    zone = f"zone {step.zone_before} -> {step.zone}" if step.zone_before != step.zone else f"zone {step.zone}"
    return f"{verb}: {zone}" + (f", attributes {pairs(step.attributes)}" if step.attributes else "")


def _counter(step: CounterStep) -> str:
    moved = f"{filtered(step.metric, step.filter)}: total {number(step.total_before)} -> {number(step.total_after)}"
    if step.mark_before == step.mark_after:
        return f"{moved}, not above its highest value {number(step.mark_after)}: no trigger can fire"
    if step.mark_before == step.total_before and step.mark_after == step.total_after:
        return f"{moved}, its highest value"
    return f"{moved}, highest value {number(step.mark_before)} -> {number(step.mark_after)}"


def _trigger(step: TriggerStep) -> str:
    name = f"{step.system} {step.trigger}:"
    if step.per is None:
        return (
            f"{name} fires" if step.outcome == "fires" else f"{name} does not fire, the user lacks {pairs(step.lacks)}"
        )
    assert step.before is not None
    assert step.after is not None
    counted = (
        f"{name} multiples of {number(step.per)} in ({number(step.before)}, {number(step.after)}]: {step.multiples}"
    )
    if step.outcome == "user_filter":
        return f"{counted}, but the user lacks {pairs(step.lacks)}: they are gone"
    return f"{counted}, fires" if step.count else counted


def _period(step: PeriodStep) -> str:
    goals = f" {step.mode.lower()} ".join(
        f"{metric} {number(step.sums.get(metric, Decimal(0)))} of {number(wanted)}"
        for metric, wanted in step.goals.items()
    )
    reached = "met now" if step.met_after else "not met"
    state = "met before" if step.met_before else reached
    place = "" if step.place == "open" else ", settled already, a late event may repair it"
    return f"{step.frequency} period {step.period_start}{place}: {goals or 'no goals'}, {state}{_silent(step.shown)}"


_CAUSES: Final = {
    "event": "",
    "late_event": " by a late event",
    "restore": ", the greatest length that restore may look back on",
    "reset": ", reset",
}


def _streak(step: StreakStep) -> str:
    return (
        f"{step.frequency} streak {step.length_before} -> {step.length_after}{_CAUSES[step.cause]}{_silent(step.shown)}"
    )


_REQUIRES: Final = {"metric": "value", "streak": "length", "anniversary": "years"}


def _achievement(step: AchievementStep) -> str:
    needs = ""
    if isinstance(step.requires, list):
        needs = f", all of {', '.join(step.requires)} (round {step.round})"
    elif step.requires is not None:
        needs = f", {_REQUIRES[step.trigger]} {number(step.requires)}"
    name = f"achievement {step.achievement} ({step.name}{needs})"
    if step.outcome == "user_filter":
        return f"{name}: not completed, the user lacks {pairs(step.lacks)}"
    return f"{name}: {'completed silently' if step.outcome == 'backdated' else 'completed'}"


_NO_BOOST: Final = {
    "not_begun": "has not begun",
    "over": "is over",
}


def _boost(step: BoostStep) -> str:
    name = f"{step.system} boost {step.boost} x {number(step.multiplier)}:"
    if step.outcome == "applied":
        return f"{name} applies on {step.local_date}, rounding {step.rounding}"
    if step.outcome == "user_filter":
        return f"{name} the user lacks {pairs(step.lacks)}"
    return f"{name} {_NO_BOOST[step.outcome]} on {step.local_date}"


def computed(step: AwardStep) -> str:
    """Return how an award came to its points, as a chain of equations."""
    text = f"{number(step.count)} x {number(step.points)} = {number(step.base)}"
    if step.count == 1:
        text = number(step.base)
    if step.product is not None:
        text += f", boosted {number(step.product)}"
        if step.product != step.boosted:
            text += f", rounded {step.rounding} to {number(step.boosted)}"
    return text


def clipped(step: AwardStep) -> str:
    """Return what cap or floor took, empty if nothing."""
    if not step.clipped or step.outcome == "blocked":
        return ""
    if step.base > 0:
        return f"{number(step.clipped)} cut by the cap {number(step.limit)} (balance {number(step.balance_before)})"
    return f"{number(step.clipped)} not taken, the balance was {number(step.balance_before)}"


def _award(step: AwardStep) -> str:
    cut = clipped(step)
    text = f"{step.system} {step.trigger}: {computed(step)}" + (f", {cut}" if cut else "")
    if step.outcome == "blocked":
        return f"{text}; the balance is {number(step.balance_before)}: the event is blocked"
    if step.outcome == "nothing":
        return f"{text}; 0 points leave no award"
    return f"{text}; balance {number(step.balance_before)} -> {number(step.balance_after)}"


def _balance(step: BalanceStep) -> str:
    moved = f"{step.system}: {number(step.before)} -> {number(step.after)}"
    if step.level_before == step.level_after:
        return f"{moved}, level {_level(step.level_after)} as before"
    return f"{moved}, level {_level(step.level_before)} -> {_level(step.level_after)}"


def _notice(step: NoticeStep) -> str:
    if step.outcome == "sent":
        return f"{step.system}: points.changed is sent, the next one not before {step.window_until}"
    if step.outcome == "held":
        return (
            f"{step.system}: points.changed waits until {step.window_until}, {counted(step.awards, 'award')} collected"
        )
    return f"{step.system}: points.changed is sent, its window is full with {counted(step.awards, 'award')}"


def _tick(step: TickStep) -> str:
    name = f"{step.system} {step.trigger}: due at {step.due}"
    if step.outcome == "fires":
        return f"{name}, fires; next at {step.next_due}"
    skipped = f"; {times(step.passed_over)} more, next at {step.next_due}" if step.passed_over else ""
    if step.outcome == "user_filter":
        return f"{name}, but the user lacks {pairs(step.lacks)}{skipped}"
    return f"{name}, but the balance is {number(step.balance)} of {number(step.limit)}: nothing to move{skipped}"


def _settled(step: SettledStep) -> str:
    return (
        f"{step.frequency} period {step.period_start} ended at {step.due}: {step.outcome}, "
        f"length {step.length_before} -> {step.length_after}{_silent(step.shown)}"
    )


_NO_MESSAGE: Final = {
    "before_clock": "the partition had no tick yet",
    "too_late": "too late",
    "opted_out": "the user switched this kind off",
    "protected": "a pause or a day off protects the streak",
    "gone": "the catalog has the achievement no more",
}


def _message(step: MessageStep) -> str:
    name = f"{step.type}: due at {step.due}"
    return f"{name}, sent" if step.outcome == "sent" else f"{name}, left out: {_NO_MESSAGE[step.outcome]}"


def _record(step: RecordStep) -> str:
    return (
        f"the record begins: occurred {step.occurred_at}, appended {step.appended_at}, effective {step.effective_at}"
        + (", the user's first" if step.created else "")
    )


_STEPS: Final[dict[type, Callable[[Any], str]]] = {
    RecordStep: _record,
    UserStep: _user,
    ErasedStep: lambda step: "everything known of the user is erased" if step.known else "there was no such user",
    LocalDateStep: lambda step: f"counts for {step.local_date}, zone {step.zone}",
    RepeatStep: lambda step: f"idempotency key {step.idempotency_key} was used by event {step.original}: nothing moves",
    CounterStep: _counter,
    FilledStep: lambda step: (
        f"{filtered(step.metric, step.filter)}: filter new, {number(step.total)} counted so far, highest value {number(step.mark)}"
    ),
    PassedOverStep: lambda step: (
        f"{filtered(step.metric, step.filter)}: not counted, the event lacks {pairs(step.lacks)}"
    ),
    TriggerStep: _trigger,
    PeriodStep: _period,
    OlderPeriodStep: lambda step: f"{step.frequency} period {step.period_start}: closed for good, the streak stays",
    StreakStep: _streak,
    AchievementStep: _achievement,
    BoostStep: _boost,
    AwardStep: _award,
    BalanceStep: _balance,
    NoticeStep: _notice,
    WindowStep: lambda step: (
        f"{step.system}: window ended at {step.due}, points.changed is sent with {counted(step.awards, 'award')}"
    ),
    TickStep: _tick,
    SettledStep: _settled,
    MessageStep: _message,
    FreezeStep: lambda step: f"streak freezes {step.delta:+d} ({step.reason}): {step.balance} left",
    CatalogStep: lambda step: f"catalog {step.before or 'none'} -> {step.after}, in force from {step.at}",
}


def step_line(step: AnyStep) -> str:
    """Return a step as one line."""
    return _STEPS[type(step)](step)
