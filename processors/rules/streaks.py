"""Streaks: three chains of calendar periods per user (streaks.md)."""

from typing import Final, Literal

import msgspec

from processors.rules.effects import Effects, instant_text
from processors.rules.periods import next_start, period_start
from processors.rules.plan import Plan
from processors.rules.user import User
from processors.rules.zones import Zone
from schemas.catalog import FREQUENCIES, Frequency
from schemas.derived import Meta, StreakChanged, StreakLost, StreakMoved, StreakPeriod
from schemas.instants import format_day
from schemas.outcome import StreakObject
from schemas.state import Chain, SettledPeriod

Outcome = Literal["met", "bridged", "lost"]

_DAILY: Final = FREQUENCIES.index("daily")


def is_idle(chain: Chain) -> bool:
    """Tell whether nothing can happen to the chain by time alone (C35)."""
    return not chain.length and not chain.met


def open_chains(user: User, plan: Plan, at_ms: int) -> None:
    """Open the first period of each chain: the one that holds `at_ms`, whole (S27, C1)."""
    if plan.streak is None or user.state.chains:
        return
    day = user.zone.reached_day(at_ms)
    user.state.chains = [Chain(start=period_start(f, day, plan.week_start)) for f in FREQUENCIES]


def due(user: User, plan: Plan) -> tuple[int, int] | None:
    """Return the instant at which the next open period ends that must be settled, and its chain; daily first (S9)."""
    if user.settlement is not msgspec.UNSET:
        return user.settlement
    found: tuple[int, int] | None = None
    if plan.streak is None:
        return None
    for index, chain in enumerate(user.state.chains):
        if chain.length or chain.met:
            end = user.zone.first_instant(next_start(FREQUENCIES[index], chain.start))
            if found is None or end < found[0]:
                found = end, index
    user.settlement = found
    return found


def settle_due(user: User, plan: Plan, index: int, due_ms: int, effects: Effects) -> None:
    """Settle the open period of a chain, which ended at `due_ms` (S22)."""
    chain = user.state.chains[index]
    outcome: Outcome = "lost"
    if chain.met:
        outcome = "met"
    elif user.zone.first_instant(chain.start) == due_ms:
        outcome = "bridged"  # a date that the zone skipped (S10)
    _settle(user, plan, index, outcome, due_ms, effects)


def _settle(user: User, plan: Plan, index: int, outcome: Outcome, at_ms: int, effects: Effects) -> None:
    """Close the open period with an outcome and open the next one."""
    chain = user.state.chains[index]
    user.streaks_changed()
    frequency = FREQUENCIES[index]
    start, length_before = chain.start, chain.length
    chain.settled = SettledPeriod(start, chain.sums, chain.met, length_before, chain.started)
    if outcome == "lost":
        chain.length, chain.started, chain.extended_at = 0, None, None  # S25
    chain.start, chain.sums, chain.met, chain.met_at = next_start(frequency, start), {}, False, None
    entity = f"{frequency}\0{start}"
    meta = Meta(
        frequency=frequency,
        cause="settlement",
        reason="missed" if outcome == "lost" else msgspec.UNSET,
        period_start=format_day(start),
    )
    if outcome == "lost" and frequency == plan.frequency:
        effects.emit_due("streak.lost", StreakLost(user=user.shown(), length=length_before), at_ms, entity, meta)
    effects.emit_due("streak.period_closed", _row(frequency, start, chain.length, outcome), at_ms, entity)
    effects.emit_due("streak.changed", _changed(chain, frequency), at_ms, entity)


def _roll(chain: Chain, frequency: Frequency, start: int, week_start: int) -> None:
    """Move an idle chain to a later open period: empty periods are not written (C35)."""
    if chain.start >= start:
        return
    before = period_start(frequency, start - 1, week_start)
    chain.settled = SettledPeriod(before, chain.sums if before == chain.start else {}, False, 0, None)
    chain.start, chain.sums = start, {}


def change_zone(user: User, plan: Plan, new: Zone, at_ms: int, effects: Effects) -> None:
    """Move the chains to another zone at an append time; what was due before is done (S60-S64)."""
    if plan.streak is None:
        return
    old_day, new_day = user.zone.reached_day(at_ms), new.day(at_ms)
    for index, chain in enumerate(user.state.chains):
        frequency = FREQUENCIES[index]
        if is_idle(chain):
            _roll(chain, frequency, period_start(frequency, old_day, plan.week_start), plan.week_start)
        target = period_start(frequency, new_day, plan.week_start)
        while chain.start < target and not is_idle(chain):
            _settle(user, plan, index, "met" if chain.met else "bridged", at_ms, effects)  # S61
        _roll(chain, frequency, target, plan.week_start)


def count_event(
    user: User, plan: Plan, metric: str, value: int, local_day: int, at_ms: int, effects: Effects, *, created: bool
) -> tuple[int, int] | None:
    """Count a metric event in all three chains (S11-S21, S65, S66).

    `at_ms` is the event's effectiveAt, `local_day` its local date (S7); what was due at its append time is done, unless
    the event `created` the user (C1). Returns length before and after if the active chain grew (S95).
    """
    if plan.streak is None:
        return None
    if not user.state.chains:
        open_chains(user, plan, effects.at)  # the settings are younger than the user
    grown: tuple[int, int] | None = None
    open_day = local_day if created else user.zone.reached_day(effects.at)
    for index, chain in enumerate(user.state.chains):
        frequency = FREQUENCIES[index]
        period = local_day if index == _DAILY else period_start(frequency, local_day, plan.week_start)
        if not chain.length and not chain.met:
            current = period if open_day == local_day else period_start(frequency, open_day, plan.week_start)
            if chain.start < current:
                _roll(chain, frequency, current, plan.week_start)
        before = chain.length
        if period == chain.start:
            sums = chain.sums
            sums[metric] = sums.get(metric, 0) + value
            if chain.met or not _is_met(sums, plan):
                continue  # kept (S21), or not met yet
            _extend(chain, local_day, at_ms)
            cause = "event"
        elif chain.settled is not None and period == chain.settled.start and not chain.settled.met:
            sums = chain.settled.sums
            sums[metric] = sums.get(metric, 0) + value
            if not _is_met(sums, plan):
                continue
            _repair(chain, chain.settled, local_day, at_ms)
            cause = "late_event"
        else:
            continue  # met long ago, or older than the last settled period: totals only (S66)
        user.streaks_changed()
        if chain.length > chain.longest:
            chain.longest, chain.longest_at = chain.length, at_ms
        if frequency == plan.frequency:
            grown = before, chain.length
            meta = Meta(frequency=frequency, cause=cause, period_start=format_day(period))
            shown = show_streak(user, plan, extended=True)
            kind: Literal["streak.started", "streak.extended"] = (
                "streak.started" if chain.length == 1 else "streak.extended"
            )
            effects.emit(kind, StreakMoved(type=kind, user=user.shown(), streak=shown), at_ms, meta)
        if cause == "late_event":
            assert chain.settled is not None
            row = _row(frequency, period, chain.settled.length_before + 1, "met")
            effects.emit("streak.period_repaired", row, at_ms)
        effects.emit("streak.changed", _changed(chain, frequency), at_ms)
    return grown


def _is_met(sums: dict[str, int], plan: Plan) -> bool:
    """Evaluate the condition (S11-S14, S18)."""
    needs_all = plan.needs_all
    for key, threshold in plan.streak_goals:
        if (sums.get(key, 0) >= threshold) is not needs_all:
            return not needs_all
    return needs_all and bool(plan.streak_goals)


def _extend(chain: Chain, local_day: int, at_ms: int) -> None:
    """The open period becomes met (S19, S20)."""
    if not chain.length:
        chain.started = local_day
    chain.length += 1
    chain.extended_at = at_ms
    chain.met, chain.met_at = True, at_ms


def _repair(chain: Chain, settled: SettledPeriod, local_day: int, at_ms: int) -> None:
    """Replace the settlement of the last settled period by "met" (S66)."""
    base = settled.length_before
    settled.met = True
    chain.length = base + 1 + chain.met
    chain.started = settled.started_before if base else local_day
    chain.extended_at = chain.met_at if chain.met else at_ms


def _row(frequency: Frequency, start: int, length: int, outcome: Outcome) -> StreakPeriod:
    return StreakPeriod(
        frequency=frequency,
        period_start=format_day(start),
        period_end=format_day(next_start(frequency, start) - 1),
        length=length,
        outcome=outcome,
        used_freeze=False,
        used_pause=False,
        day_off=False,
        bridged=outcome == "bridged",
    )


def _changed(chain: Chain, frequency: Frequency) -> StreakChanged:
    return StreakChanged(
        frequency=frequency,
        length=chain.length,
        started=None if chain.started is None else format_day(chain.started),
        extended=None if chain.extended_at is None else instant_text(chain.extended_at),
        period_start=format_day(chain.start),
        period_end=format_day(next_start(frequency, chain.start) - 1),
        met=chain.met,
        longest=chain.longest,
        longest_at=None if chain.longest_at is None else instant_text(chain.longest_at),
    )


def answer(user: User, plan: Plan, *, extended: bool) -> StreakObject:
    """Return the streak object for an outcome; the usual one, not extended, is kept until the chains change."""
    if extended:
        return show_streak(user, plan, extended=True)
    if user.streak is None:
        user.streak = show_streak(user, plan, extended=False)
    return user.streak


def show_streak(user: User, plan: Plan, *, extended: bool, read: bool = False) -> StreakObject:
    """Return the streak object of the active frequency (S28-S34, R14).

    `extended` answers an event; with `read` the field is the instant of the latest increase instead (S32).
    """
    frequency = plan.frequency
    chain = user.state.chains[FREQUENCIES.index(frequency)] if plan.streak and user.state.chains else None
    if chain is None or not chain.length:
        return StreakObject(
            length=0,
            frequency=frequency,
            started=None,
            period_start=None,
            period_end=None,
            expires=None,
            extended=None if read else extended,
        )
    following = next_start(frequency, chain.start)
    expires = next_start(frequency, following) if chain.met else following  # S31
    when = None if chain.extended_at is None else instant_text(chain.extended_at)
    return StreakObject(
        length=chain.length,
        frequency=frequency,
        started=None if chain.started is None else format_day(chain.started),
        period_start=format_day(chain.start),
        period_end=format_day(following - 1),
        expires=format_day(expires - 1),
        extended=when if read else extended,
    )
