"""Streaks: three chains of calendar periods per user (streaks.md sections 2-4, 8-10)."""

from typing import Final, Literal

from processors.rules import freezes, texts
from processors.rules.effects import Effects
from processors.rules.periods import next_start, period_start, weekday
from processors.rules.plan import Plan
from processors.rules.streak_views import Outcome, answer, changed, days_off, row
from processors.rules.unset import UNSET
from processors.rules.user import User
from processors.rules.zones import Zone
from schemas.catalog import FREQUENCIES, Frequency
from schemas.derived import Meta
from schemas.instants import SECOND_MS, format_day
from schemas.state import USED_FREEZE, USED_PAUSE, Chain, Row, SettledPeriod

HISTORY_ROWS: Final = {"daily": 92, "weekly": 54, "monthly": 24}
"""Settled rows kept for restore (S72)."""

_FREQUENCIES: Final = FREQUENCIES  # a name of this module: compiled code need not look it up
_DAILY: Final = FREQUENCIES.index("daily")
_USED: Final = {"frozen": USED_FREEZE, "paused": USED_PAUSE}


def is_idle(chain: Chain) -> bool:
    """Tell whether nothing can happen to the chain by time alone (C35)."""
    return not chain.length and not chain.met and not chain.reset


def open_chains(user: User, plan: Plan, at_ms: int) -> None:
    """Open the first period of each chain: the one that holds `at_ms`, whole (S27, C1)."""
    if user.state.chains:
        return
    day = user.zone.day(at_ms)
    user.state.chains = [Chain(start=period_start(f, day, plan.week_start)) for f in FREQUENCIES]


def due(user: User, plan: Plan) -> tuple[int, int] | None:
    """Return the instant at which the next open period ends that must be settled, and its chain; daily first (S9)."""
    if user.settlement is not UNSET:
        return user.settlement
    found: tuple[int, int] | None = None
    for index, chain in enumerate(user.state.chains):
        if chain.length or chain.met or chain.reset:
            end = user.zone.first_instant(next_start(_FREQUENCIES[index], chain.start))
            if found is None or end < found[0]:
                found = end, index
    user.settlement = found
    return found


def settle_due(user: User, plan: Plan, index: int, due_ms: int, effects: Effects) -> None:
    """Settle the open period of a chain, which ended at `due_ms`, in the order of precedence S22."""
    chain = user.state.chains[index]
    frequency = _FREQUENCIES[index]
    outcome: Outcome = "lost"
    if chain.met:
        outcome = "met"
    elif not chain.length:
        outcome = "reset"
    elif user.zone.first_instant(chain.start) == due_ms:
        outcome = "bridged"  # a date that the zone skipped (S10)
    elif is_paused(user, frequency, chain.start):
        outcome = "paused"
    elif is_day_off(user, plan, frequency, chain.start):
        outcome = "day_off"
    elif frequency == plan.frequency and plan.streak.freezes and user.state.freezes:
        outcome = "frozen"
    _settle(user, plan, index, outcome, due_ms, effects)


def is_paused(user: User, frequency: Frequency, start: int) -> bool:
    """Tell whether a pause covers at least one date of the period (S51)."""
    if not user.state.pauses:
        return False
    following = next_start(frequency, start)
    return any(pause.start < following and pause.end >= start for pause in user.state.pauses)


def is_day_off(user: User, plan: Plan, frequency: Frequency, start: int) -> bool:
    """Tell whether the day is a day off; daily streaks only, a silent daily chain has none (S57, C11)."""
    return frequency == "daily" and plan.frequency == "daily" and weekday(start) in days_off(user, plan)


def _settle(user: User, plan: Plan, index: int, outcome: Outcome, at_ms: int, effects: Effects) -> None:
    """Close the open period with an outcome and open the next one (S22-S26)."""
    chain = user.state.chains[index]
    user.streaks_changed()
    frequency = _FREQUENCIES[index]
    start, before = chain.start, chain.length
    if effects.trace is not None:
        after = 0 if outcome == "lost" else before
        effects.trace.settled(plan, frequency, start, at_ms, outcome, before, after)
    chain.settled = SettledPeriod(start, chain.sums, chain.met, before, chain.started, outcome == "frozen")
    if outcome == "lost":
        chain.length, chain.started, chain.extended_at = 0, None, None  # S25
    chain.start, chain.sums, chain.met, chain.met_at = next_start(frequency, start), {}, False, None
    chain.reset = False
    if chain.length:
        _remember(user, index, Row(start, chain.length, chain.started, _USED.get(outcome, 0)))
    entity = f"{frequency}\0{start}"
    if outcome == "lost" and frequency == plan.frequency:
        meta = Meta(frequency=frequency, cause="settlement", reason="missed", period_start=format_day(start))
        effects.emit_due("streak.lost", texts.streak_lost(user.shown_json(), before), at_ms, entity, meta)
    elif outcome == "frozen":
        meta = Meta(frequency=frequency, cause="settlement", period_start=format_day(start))
        freezes.consume(user, plan, at_ms, entity, meta, effects)
    effects.emit_due("streak.period_closed", row(frequency, start, chain.length, outcome), at_ms, entity)
    effects.emit_due("streak.changed", changed(chain, frequency), at_ms, entity)
    _forget_pauses(user)


def _remember(user: User, index: int, settled: Row) -> None:
    """Keep a settled row for restore; the oldest ones fall out (S72)."""
    rows = user.history[index]
    rows.append(settled)
    del rows[: -HISTORY_ROWS[_FREQUENCIES[index]]]
    user.history_changed = True


def _forget_pauses(user: User) -> None:
    """Drop pauses that no open period can meet any more."""
    if user.state.pauses:
        oldest = min(chain.start for chain in user.state.chains)
        user.state.pauses = [pause for pause in user.state.pauses if pause.end >= oldest]


def _roll(chain: Chain, frequency: Frequency, start: int, week_start: int) -> None:
    """Move an idle chain to a later open period: empty periods are not written (C35)."""
    if chain.start >= start:
        return
    before = period_start(frequency, start - 1, week_start)
    chain.settled = SettledPeriod(before, chain.sums if before == chain.start else {}, False, 0, None)
    chain.start, chain.sums = start, {}


def settled_until(plan: Plan, append_ms: int, reached_ms: int) -> int:
    """Return the instant up to which a record lets periods be settled: its append time, or less with a delay (S9).

    `reached_ms` is the record's effectiveAt.
    """
    delay = plan.streak.settle_delay_seconds
    return max(append_ms - delay * SECOND_MS, reached_ms) if delay else append_ms


def roll_idle(user: User, plan: Plan, at_ms: int) -> None:
    """Bring idle chains to the period that is open at an instant."""
    day = user.zone.reached_day(at_ms)
    for index, chain in enumerate(user.state.chains):
        if is_idle(chain):
            frequency = _FREQUENCIES[index]
            _roll(chain, frequency, period_start(frequency, day, plan.week_start), plan.week_start)


def change_zone(user: User, plan: Plan, new: Zone, at_ms: int, effects: Effects) -> None:
    """Move the chains to another zone at an append time; what was due before is done (S60-S64)."""
    roll_idle(user, plan, at_ms)
    freezes.skip_passed(user, plan, at_ms, including=True)
    new_day = new.reached_day(at_ms)
    for index, chain in enumerate(user.state.chains):
        frequency = _FREQUENCIES[index]
        target = period_start(frequency, new_day, plan.week_start)
        while chain.start < target and not is_idle(chain):
            outcome: Outcome = "met" if chain.met else "bridged" if chain.length else "reset"
            _settle(user, plan, index, outcome, at_ms, effects)  # S61
        _roll(chain, frequency, target, plan.week_start)


def goals(user: User, plan: Plan) -> tuple[list[tuple[str, int]], bool]:
    """Return the metrics and thresholds that meet a period for the user, and whether all are needed (S12, S79, S80)."""
    if user.goals is None:
        settings, state = plan.streak, user.state
        metrics = [(metric.key, metric.threshold) for metric in settings.metrics]
        mode: str = settings.evaluation_mode
        if settings.customization_enabled:
            metrics = state.streak_goals if state.streak_goals is not None else metrics
            mode = state.streak_mode or mode
        known = [(key, threshold) for key, threshold in metrics if key in plan.metrics]  # S78
        user.goals = (known if state.streak_enabled else []), mode == "AND"
    return user.goals


def _is_met(sums: dict[str, int], wanted: list[tuple[str, int]], needs_all: bool) -> bool:
    """Evaluate the condition (S11-S14, S18)."""
    for key, threshold in wanted:
        if (sums.get(key, 0) >= threshold) is not needs_all:
            return not needs_all
    return needs_all and bool(wanted)


def count_event(
    user: User, plan: Plan, metric: str, value: int, local_day: int, at_ms: int, effects: Effects, *, created: bool
) -> tuple[int, int] | None:
    """Count a metric event in all three chains (S11-S21, S65, S66).

    `at_ms` is the event's effectiveAt, `local_day` its local date (S7); what was due at its append time is done, unless
    the event `created` the user (C1). Returns length before and after if the active chain grew (S95).
    """
    if not user.state.chains:
        open_chains(user, plan, effects.at)  # the settings are younger than the user
    wanted, needs_all = user.goals or goals(user, plan)
    grown: tuple[int, int] | None = None
    open_day = local_day if created else user.zone.reached_day(settled_until(plan, effects.at, at_ms))
    for index, chain in enumerate(user.state.chains):
        frequency = _FREQUENCIES[index]
        period = local_day if index == _DAILY else period_start(frequency, local_day, plan.week_start)
        start = chain.start
        if (start != period or open_day != local_day) and is_idle(chain):
            current = period if open_day == local_day else period_start(frequency, open_day, plan.week_start)
            if start < current:
                _roll(chain, frequency, current, plan.week_start)
                start = chain.start
        if period == start:
            sums, met = chain.sums, chain.met
            sums[metric] = sums.get(metric, 0) + value
            meets = not met and _is_met(sums, wanted, needs_all)
            if effects.trace is not None:
                effects.trace.period(plan, frequency, period, "open", sums, wanted, needs_all, met, met or meets)
            if meets:
                before = chain.length
                _extend(chain, local_day, at_ms)
                grown = _announce(user, plan, index, period, before, at_ms, "event", effects) or grown
        elif chain.settled is not None and period == chain.settled.start and not chain.settled.met:
            sums = chain.settled.sums
            sums[metric] = sums.get(metric, 0) + value
            meets = _is_met(sums, wanted, needs_all)
            if effects.trace is not None:
                effects.trace.period(plan, frequency, period, "last_settled", sums, wanted, needs_all, False, meets)
            if meets:
                before = chain.length
                _repair(user, plan, index, chain.settled, local_day, at_ms, effects)
                grown = _announce(user, plan, index, period, before, at_ms, "late_event", effects) or grown
        elif effects.trace is not None:
            effects.trace.older_period(frequency, period)
        # else met long ago, or older than the last settled period: totals only (S66)
    return grown


def _extend(chain: Chain, local_day: int, at_ms: int) -> None:
    """The open period becomes met (S19, S20)."""
    if not chain.length:
        chain.started = local_day
    chain.length += 1
    chain.extended_at = chain.increased_at = at_ms
    chain.met, chain.met_at = True, at_ms


def _repair(
    user: User, plan: Plan, index: int, settled: SettledPeriod, local_day: int, at_ms: int, effects: Effects
) -> None:
    """Replace the settlement of the last settled period by "met" (S66, S67)."""
    chain = user.state.chains[index]
    base = settled.length_before
    if settled.frozen:
        settled.frozen = False
        freezes.refund(user, plan, effects)
    settled.met = True
    chain.length = base + 1 + chain.met
    chain.started = settled.started_before if base else local_day
    chain.extended_at = chain.increased_at = chain.met_at if chain.met else at_ms
    rows = user.history[index]
    if rows and rows[-1].start == settled.start:
        rows.pop()
    _remember(user, index, Row(settled.start, base + 1, chain.started))


def _announce(
    user: User,
    plan: Plan,
    index: int,
    period: int,
    before: int,
    at_ms: int,
    cause: Literal["event", "late_event"],
    effects: Effects,
) -> tuple[int, int] | None:
    """Emit that a chain grew; return the hand-over if it is the active one (S89, S95)."""
    chain = user.state.chains[index]
    frequency = _FREQUENCIES[index]
    user.streaks_changed()
    if chain.length > chain.longest:
        chain.longest, chain.longest_at = chain.length, at_ms
    if effects.trace is not None:
        effects.trace.streak(plan, frequency, period, cause, before, chain.length)
    grown: tuple[int, int] | None = None
    if frequency == plan.frequency:
        grown = before, chain.length
        meta = Meta(frequency=frequency, cause=cause, period_start=format_day(period))
        shown = answer(user, plan, extended=True)
        kind: Literal["streak.started", "streak.extended"] = (
            "streak.started" if chain.length == 1 else "streak.extended"
        )
        effects.emit(kind, texts.streak_moved(kind, user.shown_json(), shown), at_ms, meta)
    if cause == "late_event":
        assert chain.settled is not None
        repaired = row(frequency, period, chain.settled.length_before + 1, "met")
        effects.emit("streak.period_repaired", repaired, at_ms)
    effects.emit("streak.changed", changed(chain, frequency), at_ms)
    return grown
