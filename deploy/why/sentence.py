"""The answer in one sentence."""

from typing import Final

from msgspec import UnsetType

from deploy.cli.support.console import counted
from deploy.why.document import Answer, Effect, decoded
from deploy.why.effects import effect_line
from deploy.why.words import clipped, number, pairs
from processors.rules.plan import Plan
from schemas.trace import (
    AchievementStep,
    AnyStep,
    AwardStep,
    BalanceStep,
    BoostStep,
    CounterStep,
    ErasedStep,
    RecordStep,
    RepeatStep,
    StreakStep,
    TickStep,
    TriggerStep,
)

_PERIODS: Final = {"daily": "days", "weekly": "weeks", "monthly": "months"}


def sentence_of(answer: Answer, plan: Plan | None) -> str:
    """Return why the asked one came about, or what the asked record did."""
    named = next((effect for effect in answer.effects if effect.asked), None)
    if named is None:
        return _of_record(answer)
    if named.type == "points.awarded" and plan is not None:
        award_id = decoded(named.value)["data"]["award"]["id"]
        award = next((s for s in answer.steps if isinstance(s, AwardStep) and s.award_id == award_id), None)
        if award is not None:
            return _of_award(answer, award, plan)
    return _of_effect(answer, named)


def _of_award(answer: Answer, award: AwardStep, plan: Plan) -> str:
    place = next(index for index, step in enumerate(answer.steps) if step is award)
    parts = [_cause(answer.steps[:place], award, plan)]
    if award.product is not None:
        applied = [step for step in answer.steps[:place] if isinstance(step, BoostStep) and step.boost in award.boosts]
        multipliers = {step.boost: step.multiplier for step in applied}
        boosts = ", ".join(f"`{boost}` x {number(multipliers[boost])}" for boost in award.boosts)
        rounded = f", rounded {award.rounding} to {number(award.boosted)}" if award.product != award.boosted else ""
        parts.append(f"boost{'s' if len(award.boosts) > 1 else ''} {boosts} = {number(award.product)}{rounded}")
    if cut := clipped(award):
        parts.append(cut)
    verb = "got" if award.awarded > 0 else "lost"
    return f"{answer.user} {verb} {number(abs(award.awarded))} {award.system}: {', '.join(parts)}."


def _cause(before: list[AnyStep], award: AwardStep, plan: Plan) -> str:
    """Return what made the trigger fire, and what it came to before boosts."""
    for step in reversed(before):
        if isinstance(step, TickStep) and (step.system, step.trigger) == (award.system, award.trigger):
            return f"time trigger `{step.trigger}` was due at {step.due} and gives {number(award.base)}"
        if isinstance(step, TriggerStep) and (step.system, step.trigger) == (award.system, award.trigger):
            return _fired(step, award, plan)
    return f"trigger `{award.trigger}` gives {number(award.base)}"


def _fired(step: TriggerStep, award: AwardStep, plan: Plan) -> str:
    multiples = f"{number(award.count)} multiple{'' if award.count == 1 else 's'}"
    result = f"x {number(award.points)} = {number(award.base)}"
    if step.type == "metric":
        known = plan.metric_names.get(step.metric or "")
        units = (known.units if known is not None else "") or step.metric or ""
        only = f" {pairs(step.filter)}" if step.filter else ""
        return f"{multiples} of {number(step.per or 0)} {units}{only} {result}"
    if step.type == "streak":
        grown = f"the streak grew from {number(step.before or 0)} to {number(step.after or 0)}"
        return f"{grown}, {multiples} of {number(step.per or 0)} {_PERIODS[plan.frequency]} {result}"
    if step.type == "achievement":
        found = plan.find_trigger(step.system, step.trigger)
        name = found[0].achievement if found is not None else None
        return f"achievement `{name}` was completed, which gives {number(award.base)}"
    return f"the user was first seen, which gives {number(award.base)}"


def _of_effect(answer: Answer, named: Effect) -> str:
    what = effect_line(named.type, decoded(named.value))
    about = f"{answer.user or 'the account'}: {named.type}" + (f", {what}" if what else "")
    if isinstance(answer.due, str):
        return f"{about}; due by time alone at {answer.due}."
    return f"{about}; caused by event {answer.record.event_id}."


def _of_record(answer: Answer) -> str:
    if not isinstance(answer.refused, UnsetType):
        refused = answer.refused
        return f"Refused, {refused.reason}: {refused.message}. Nothing of it was applied."
    if not isinstance(answer.skipped, UnsetType):
        place = answer.skipped.original_offset
        where = "before" if place is None else f"at offset {place} of the same partition"
        return f"Skipped: {answer.user} had event {answer.record.event_id} applied {where}."
    begun = next((index for index, step in enumerate(answer.steps) if isinstance(step, RecordStep)), None)
    if begun is None:
        what = counted(len(answer.effects), "effect")
        return f"A {answer.record.type} record: {what} of time alone for {answer.user or 'no user'}."
    done = [text for step in answer.steps[begun:] if (text := _moved(step))]
    due = "; what was due before it was done first" if begun else ""
    return f"{answer.user}, {answer.record.type} {answer.record.event_id}: {', '.join(done) or 'nothing moved'}{due}."


def _moved(step: AnyStep) -> str:
    """Return what a step of the record itself moved, empty if nothing worth a summary."""
    if isinstance(step, CounterStep) and not step.filter:
        return f"{step.metric} {step.value:+,} = {number(step.total_after)}"
    if isinstance(step, StreakStep) and step.shown:
        return f"{step.frequency} streak {step.length_before} -> {step.length_after}"
    if isinstance(step, AchievementStep) and step.outcome != "user_filter":
        return f"achievement `{step.achievement}`"
    if isinstance(step, BalanceStep):
        level = f" ({step.level_before} -> {step.level_after})" if step.level_before != step.level_after else ""
        return f"{step.system} {step.after - step.before:+,} = {number(step.after)}{level}"
    if isinstance(step, ErasedStep):
        return "everything known of the user was erased" if step.known else "there was no such user to erase"
    if isinstance(step, RepeatStep):
        return f"its idempotency key was used by event {step.original}, so nothing moved"
    return ""
