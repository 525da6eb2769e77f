"""What time alone does to a user: settlements, throttle windows, anniversaries, time triggers, messages (S9, F1)."""

from typing import Final

from msgspec import UnsetType

from processors.rules import achievements, anniversaries, boosts, freezes, messages, points, streaks
from processors.rules.effects import Effects, instant_text
from processors.rules.filters import matches
from processors.rules.firings import fire_achievements
from processors.rules.plan import Plan, SystemPlan, TimeTriggerPlan
from processors.rules.points import Firing, Firings, pay
from processors.rules.unset import UNSET
from processors.rules.user import User
from schemas.derived import Cause
from schemas.instants import SECOND_MS
from schemas.state import TimeTrigger

_NEVER: Final = 2**63
# order at one instant: S9, C23, D-26, D-31, F1(3)
_SETTLE, _FREEZE, _WINDOW, _BOOST, _ANNIVERSARY, _TICK, _MESSAGE = range(7)


def leave(user: User, old: Plan, new: Plan, at_ms: int, passed_ms: int, effects: Effects) -> None:
    """Before a switch at `at_ms`: end what the old plan began and the new one does not carry on.

    A window of a system that the new plan lacks ends now, nobody would close it later (D-22). Triggers that slept under the
    old plan are past what was due by `passed_ms`, up to which every user is done.
    """
    for key in sorted(user.state.windows):
        system = old.systems.get(key)
        if user.state.windows[key].awards and key not in new.systems and system is not None:
            points.close_window(user, system, effects, at_ms)
    pass_over(user, old, passed_ms, effects)


def schedule(user: User, plan: Plan) -> None:
    """Bring the schedule of time triggers in line with the plan (P25): new anchors start anew, others go on."""
    old = user.state.time_triggers
    schedule: dict[str, TimeTrigger] = {}
    for trigger in plan.time_triggers:
        known = old.get(trigger.reference)
        if known is None or known.anchor != trigger.anchor:
            known = TimeTrigger(trigger.anchor, max(user.state.created, trigger.anchor) + trigger.interval)
        schedule[trigger.reference] = known
    user.state.time_triggers = schedule
    freezes.start_accumulation(user, plan)
    anniversaries.begin(user, plan, max(user.state.created, plan.at))
    messages.begin(user, plan)
    user.due = UNSET


_Item = tuple[int, int, int, SystemPlan | TimeTriggerPlan | None, int]
"""What is next: when it is done, kind, chain of a settlement, day of an anniversary or kind of a message, system of a window
or trigger of a tick, its due instant."""


def _next(user: User, plan: Plan, reached_ms: int | None) -> _Item | None:
    """Return what is next; at equal instants settlement, freezes, windows, boosts, anniversaries, ticks (C19, P32), messages.

    A settlement may be postponed by the settings, but not beyond a record of the same user whose effectiveAt `reached_ms`
    is at or after its due instant; everything else passes it meanwhile (S9).
    """
    item: _Item | None = None
    first = _NEVER
    settle = streaks.due(user, plan)
    if settle is not None:
        due, index = settle
        postponed = reached_ms is None or reached_ms < due
        first = due + plan.streak.settle_delay_seconds * SECOND_MS if postponed else due
        item = first, _SETTLE, index, None, due
    freeze = freezes.due(user, plan) if plan.accumulates else None
    if freeze is not None and freeze < first:
        first = freeze
        item = first, _FREEZE, 0, None, first
    for key, window in user.state.windows.items():
        if window.awards and window.until <= first:
            system = plan.systems.get(key)
            if system is None or (window.until == first and not _comes_before(system, item)):
                continue
            first = window.until
            item = first, _WINDOW, 0, system, first
    boost = boosts.next_due(user, plan) if plan.user_boosts else None
    if boost is not None and boost < first:
        first = boost
        item = first, _BOOST, 0, None, first
    if plan.anniversaries:
        anniversary = anniversaries.due(user, plan)
        if anniversary is not None and anniversary[0] < first:
            first = anniversary[0]
            item = first, _ANNIVERSARY, anniversary[1], None, first
    for trigger in plan.time_triggers:
        due = user.state.time_triggers[trigger.reference].due
        if due < first and not _sleeps(user, trigger):
            first = due
            item = first, _TICK, 0, trigger, first
    if plan.messages is not None:
        message = messages.due(user, plan)
        if message is not None and message[0] < first:
            first = message[0]
            item = first, _MESSAGE, message[1], None, first
    return item


def _comes_before(system: SystemPlan, item: _Item | None) -> bool:
    """Windows that end at one instant close in the order of their systems' keys."""
    return item is not None and isinstance(item[3], SystemPlan) and system.key < item[3].key


def next_due(user: User, plan: Plan) -> int | None:
    """Return the instant at which a tick has something to do for the user, epoch ms, None if never."""
    item = _next(user, plan, None)
    return None if item is None else item[0]


def advance(user: User, plan: Plan, until: int, effects: Effects, limit: int, *, reached_ms: int | None = None) -> bool:
    """Do everything due at or before `until`, in order (S9, F1).

    `reached_ms` is the effectiveAt of the user's record that asks for it, None for a tick. Stops at a safe point once
    `effects.out` holds `limit` emissions.

    Returns:
        False if it stopped early.
    """
    known = user.due
    if known is None or (known is not UNSET and known > until):
        return True
    while True:
        item = _next(user, plan, reached_ms)
        if item is None or item[0] > until:
            pass_over(user, plan, until, effects)
            user.due = _quiet_until(user, plan, item)
            return True
        if len(effects.out) >= limit:
            return False
        when, kind, index, what, due = item
        pass_over(user, plan, when - 1, effects)
        if kind == _SETTLE:
            streaks.settle_due(user, plan, index, due, effects)
        elif kind == _FREEZE:
            freezes.accumulate(user, plan, due, effects)
        elif kind == _BOOST:
            boosts.announce(user, plan, due, effects)
        elif kind == _ANNIVERSARY:
            complete_anniversaries(user, plan, index, due, effects)
        elif kind == _MESSAGE:
            messages.send(user, plan, index, due, effects)
        elif isinstance(what, SystemPlan):
            points.close_window(user, what, effects, due)
        else:
            assert what is not None
            _tick(user, plan, what, due, effects)


def _quiet_until(user: User, plan: Plan, item: _Item | None) -> int | UnsetType | None:
    """Return until when `advance` has nothing to do, not even for sleeping triggers; None = for ever, UNSET = not known."""
    if plan.streak.settle_delay_seconds and item is not None:
        return UNSET  # the next record may reach further
    first = _NEVER if item is None else item[0]
    for scheduled in user.state.time_triggers.values():
        first = min(first, scheduled.due)
    return None if first == _NEVER else first


def complete_anniversaries(user: User, plan: Plan, day: int, at_ms: int, effects: Effects) -> None:
    """Complete the anniversaries up to a local day at an instant: it begins then, or a zone change skipped to it (A31)."""
    reached = achievements.reached_by_date(user, plan, day, effects)
    if not reached:
        return
    done = achievements.complete(user, plan, reached, at_ms, effects, due=True)
    firings: Firings = {}
    fire_achievements(user, plan, done, firings, effects)
    if firings:
        cause = Cause(type="time", id=instant_text(at_ms))
        pay(user, plan.systems, firings, at_ms, user.zone.day(at_ms), cause, effects, due=True)


def _tick(user: User, plan: Plan, trigger: TimeTriggerPlan, due_ms: int, effects: Effects) -> None:
    """One tick of a time trigger is one award with k = 1, dated by the tick (P26)."""
    system = trigger.system
    scheduled = user.state.time_triggers[trigger.reference]
    scheduled.due = due_ms + trigger.interval
    clipped = _is_clipped(user, trigger)
    if effects.trace is not None:
        balance = user.state.balances.get(system.key, 0)
        effects.trace.points.tick(trigger, user, due_ms, scheduled.due, balance, clipped=clipped, mismatch=False)
    if clipped:
        return
    firing = Firing(trigger.order, trigger, 1)
    cause = Cause(type="time", id=instant_text(due_ms))
    pay(user, plan.systems, {system.key: [firing]}, due_ms, user.zone.day(due_ms), cause, effects, due=True)


def _is_clipped(user: User, trigger: TimeTriggerPlan) -> bool:
    """Tell whether the balance leaves a tick nothing to move (P44, P45, P47)."""
    balance = user.state.balances.get(trigger.system.key, 0)
    return balance >= trigger.system.limit if trigger.base > 0 else balance == 0


def _sleeps(user: User, trigger: TimeTriggerPlan) -> bool:
    """Tell whether nothing comes of a trigger's ticks for the user until something else happens (P26).

    A tick then costs nothing: a refill that is full has no timer. Time alone changes no attribute, and a balance only by
    time triggers of the system that move it the other way, or by what `advance` does in between.
    """
    return (trigger.steady and _is_clipped(user, trigger)) or not matches(trigger.user_filter, user.state.attributes)


def pass_over(user: User, plan: Plan, until: int, effects: Effects) -> None:
    """Move sleeping triggers past `until`: what wakes them later must not pay for ticks that came to nothing (P26)."""
    for trigger in plan.time_triggers:
        scheduled = user.state.time_triggers[trigger.reference]
        due = scheduled.due
        if due > until or not _sleeps(user, trigger):
            continue
        scheduled.due += ((until - due) // trigger.interval + 1) * trigger.interval
        if effects.trace is not None:
            clipped = _is_clipped(user, trigger)
            mismatch = not matches(trigger.user_filter, user.state.attributes)
            balance = user.state.balances.get(trigger.system.key, 0)
            effects.trace.points.tick(trigger, user, due, scheduled.due, balance, clipped=clipped, mismatch=mismatch)
