"""Streak freezes: the balance, who gives and who takes (streaks.md section 6)."""

from typing import Literal

from processors.rules.effects import Effects
from processors.rules.plan import Plan
from processors.rules.user import User
from schemas.derived import FreezeConsumed, FreezeEarned, FreezesChanged, Meta
from schemas.instants import format_day

Reason = Literal["auto", "admin", "refund"]


def grant_initial(user: User, plan: Plan, at_ms: int, effects: Effects) -> None:
    """Give a new user the initial freezes (S39)."""
    settings = plan.streak.freezes
    if settings is None:
        return
    user.state.freezes = settings.start_count
    user.due_changed()
    if settings.start_count:
        if effects.trace is not None:
            effects.trace.freezes(settings.start_count, "initial", settings.start_count)
        data = FreezesChanged(delta=settings.start_count, reason="initial", balance=settings.start_count)
        effects.emit("streak.freezes_changed", data, at_ms)


def start_accumulation(user: User, plan: Plan) -> None:
    """Bring the schedule in line with the settings; a later enabling or another interval moves the anchor (S42)."""
    state = user.state
    settings = plan.streak.freezes
    interval = settings.auto_earn_interval if settings else None
    if interval is None:
        state.freeze_anchor = state.freeze_next = None
        return
    anchor = max(state.created, plan.accumulation_since)
    if state.freeze_anchor != anchor:
        state.freeze_anchor, state.freeze_next = anchor, user.zone.day(anchor) + interval
    skip_passed(user, plan, plan.at, including=True)


def skip_passed(user: User, plan: Plan, at_ms: int, *, including: bool) -> None:
    """Pass over due dates that came before an instant: they granted nothing, or were executed (S44, S48)."""
    state = user.state
    interval = _interval(plan)
    if interval is None or state.freeze_next is None:
        return
    limit = at_ms if including else at_ms - 1
    # days are at most a few hours off their UTC midnight: jump near, then step
    behind = limit // 86_400_000 - 3 - state.freeze_next
    if behind > interval:
        state.freeze_next += behind // interval * interval
    while user.zone.first_instant(state.freeze_next) <= limit:
        state.freeze_next += interval


def _interval(plan: Plan) -> int | None:
    settings = plan.streak.freezes
    return settings.auto_earn_interval if settings else None


def due(user: User, plan: Plan) -> int | None:
    """Return the instant of the next accumulation, None while the balance has no room for it (S42, S44)."""
    state = user.state
    settings = plan.streak.freezes
    if settings is None or state.freeze_next is None or state.freezes >= settings.max_count:
        return None
    return user.zone.first_instant(state.freeze_next)


def accumulate(user: User, plan: Plan, due_ms: int, effects: Effects) -> None:
    """Carry out a due accumulation (S42-S44)."""
    settings = plan.streak.freezes
    assert settings is not None
    assert settings.auto_earn_amount is not None
    assert settings.auto_earn_interval is not None
    assert user.state.freeze_next is not None
    day = user.state.freeze_next
    user.state.freeze_next += settings.auto_earn_interval
    _earn(user, min(settings.auto_earn_amount, settings.max_count - user.state.freezes), "auto", due_ms, effects, day)


def zone_changed(user: User, plan: Plan, at_ms: int, effects: Effects) -> None:
    """After a zone change: grants that it skipped over carry its append time (S48, C13)."""
    state = user.state
    while (instant := due(user, plan)) is not None and instant <= at_ms:
        assert state.freeze_next is not None
        accumulate(user, plan, at_ms, effects)
    skip_passed(user, plan, at_ms, including=True)


def grant(user: User, plan: Plan, at_ms: int, effects: Effects) -> tuple[str, str] | None:
    """Give one freeze on request; return severity and message if it was refused (S45, C14, C15)."""
    settings = plan.streak.freezes
    if settings is None:
        return "error", "Streak freezes are not enabled"
    if user.state.freezes >= settings.max_count:
        return "warning", "Would exceed maximum freeze limit"
    _earn(user, 1, "admin", at_ms, effects, None)
    return None


def refund(user: User, plan: Plan, effects: Effects) -> None:
    """Give back the freeze of a period that a late event has met after all (S67, C10)."""
    settings = plan.streak.freezes
    if settings is not None and user.state.freezes < settings.max_count:
        _earn(user, 1, "refund", effects.at, effects, None)


def _earn(user: User, granted: int, reason: Reason, at_ms: int, effects: Effects, due_day: int | None) -> None:
    """Move the balance up and say so; `due_day` names an accumulation."""
    if granted <= 0:
        return
    user.due_changed()
    user.state.freezes += granted
    balance = user.state.freezes
    if effects.trace is not None:
        effects.trace.freezes(granted, reason, balance)
    earned = FreezeEarned(user=user.shown(), earned=granted, freezes=balance)
    changed = FreezesChanged(delta=granted, reason=reason, balance=balance)
    meta = Meta(
        cause="settlement" if reason == "auto" else "admin" if reason == "admin" else "late_event", reason=reason
    )
    if due_day is None:
        if user.state.streak_enabled:
            effects.emit("streak.freeze_earned", earned, at_ms, meta)
        effects.emit("streak.freezes_changed", changed, at_ms)
        return
    entity = f"freeze\0{format_day(due_day)}"
    if user.state.streak_enabled:
        effects.emit_due("streak.freeze_earned", earned, at_ms, entity, meta)
    effects.emit_due("streak.freezes_changed", changed, at_ms, entity)


def consume(user: User, plan: Plan, at_ms: int, entity: str, meta: Meta, effects: Effects) -> None:
    """Take one freeze for a missed period (S24, S40)."""
    if due(user, plan) is None:
        skip_passed(
            user, plan, at_ms, including=False
        )  # at the ceiling due dates passed unnoticed; one due now is not (S43)
    user.due_changed()
    user.state.freezes -= 1
    balance = user.state.freezes
    if effects.trace is not None:
        effects.trace.freezes(-1, "consumed", balance)
    consumed = FreezeConsumed(user=user.shown(), consumed=1, freezes=balance)
    effects.emit_due("streak.freeze_consumed", consumed, at_ms, entity, meta)
    changed = FreezesChanged(delta=-1, reason="consumed", balance=balance)
    effects.emit_due("streak.freezes_changed", changed, at_ms, entity)
