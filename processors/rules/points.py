"""From firing triggers to balances, awards, levels and their events (points.md)."""

from bisect import bisect_right
from typing import Final

from msgspec import Raw

from processors.rules import texts
from processors.rules.effects import Effects, instant_text
from processors.rules.errors import RejectedError
from processors.rules.filters import matches
from processors.rules.plan import SystemPlan, TriggerPlan
from processors.rules.trace_points import NoBoost, PointsTrace
from processors.rules.unset import UNSET
from processors.rules.user import User
from schemas.catalog import Boost, Level
from schemas.derived import Cause
from schemas.ids import named_id
from schemas.instants import DAY_MS, MINUTE_MS, format_day
from schemas.state import Window

THROTTLE_MS: Final = 15 * MINUTE_MS
"""Least time between two `points.changed` of one user and system (P85)."""

MAX_COLLECTED_AWARDS: Final = 100
"""Awards that a throttle window collects; one more emits at once, so that a state stays bounded (D-01)."""

_MICRO: Final = 10**6


class Firing:
    """A trigger that fires `count` times, and its place in the order of the record (P31, P32)."""

    __slots__ = ("count", "order", "trigger")

    def __init__(self, order: tuple[int, int, int, int, str], trigger: TriggerPlan, count: int) -> None:
        self.order = order
        self.trigger = trigger
        self.count = count


Firings = dict[str, list[Firing]]
"""Per system key, what fires in one record."""


def crossed(trigger: TriggerPlan, before: int, after: int) -> int:
    """Return how many multiples of the threshold lie in (before, after] (P13)."""
    return after // trigger.threshold - before // trigger.threshold


class Change:
    """What one record did in one points system. Levels are numbered from 1, 0 = none; `awards` is not empty."""

    __slots__ = ("added", "awards", "first_trigger", "new_level", "old_level", "system", "total")

    def __init__(self, system: SystemPlan, before: int, total: int, awards: list[str], first_trigger: str) -> None:
        self.system = system
        self.total = total
        self.added = total - before
        self.awards = awards
        self.first_trigger = first_trigger
        self.old_level = _level_number(system, before)
        self.new_level = _level_number(system, total)


def level_of(system: SystemPlan, total: int) -> Level | None:
    """Return the level of a total: the highest threshold reached, None if there is none (P49)."""
    number = _level_number(system, total)
    return system.system.levels[number - 1] if number else None


def _level_number(system: SystemPlan, total: int) -> int:
    return bisect_right(system.level_points, total)


def _level_key(system: SystemPlan, level: int) -> str | None:
    return system.level_keys[level - 1] if level else None


def _level_json(system: SystemPlan, level: int) -> str:
    return system.levels_json[level - 1] if level else "null"


def pay(
    user: User,
    systems: dict[str, SystemPlan],
    firings: Firings,
    at_ms: int,
    local_day: int,
    cause: Cause,
    effects: Effects,
    *,
    due: bool = False,
) -> str:
    """Apply the firings of one record, or of one time tick (`due`), and emit what follows from them (P43-P55, P86).

    Returns the entries of the affected systems by key, as the inside of a JSON object of `outcome.PointsEntry` (R5, R7).

    Raises:
        RejectedError: out_of_points (P46); the caller undoes the record.
    """
    changes: list[Change] = []
    cause_json = texts.cause(cause.type, effects.cause_json if cause.id is effects.cause else texts.to_json(cause.id))
    for key in sorted(firings) if len(firings) > 1 else firings:
        system = systems[key]
        before = user.state.balances.get(key, 0)
        change = _award_all(user, system, before, firings[key], at_ms, local_day, cause, cause_json, effects, due)
        if change is None:
            continue
        changes.append(change)
        if effects.trace is not None:
            old, new = level_of(system, before), level_of(system, change.total)
            effects.trace.points.balance(system, before, change.total, old, new)
    for change in changes:
        _announce(user, change, at_ms, effects, due)
    for change in changes:
        if change.new_level != change.old_level:
            _emit_level(user, change, at_ms, effects, due)
    return ",".join([_entry(change) for change in changes])


def _award_all(
    user: User,
    system: SystemPlan,
    before: int,
    firings: list[Firing],
    at_ms: int,
    local_day: int,
    cause: Cause,
    cause_json: str,
    effects: Effects,
    due: bool,
) -> Change | None:
    """Apply one system's firings one after the other, each seeing the balance left by the previous one (P33)."""
    if len(firings) > 1:
        firings.sort(key=lambda firing: firing.order)
    trace = effects.trace.points if effects.trace is not None else None
    awards: list[str] = []
    first_trigger = ""
    balance = before
    for firing in firings:
        trigger = firing.trigger
        base = firing.count * trigger.base
        boosts_json = ""
        boosted = base
        if base > 0:
            boosted, boosts_json = _boosted(user, system, base, at_ms, local_day, trace)
            amount = min(boosted, max(0, system.limit - balance))  # P44
        else:
            if trigger.block and cause.type == "event" and trigger.threshold and balance + base < 0:
                if trace is not None:
                    trace.award(system, trigger, firing.count, base, base, balance, base, None)
                raise RejectedError(
                    "out_of_points",
                    f"{system.key}: trigger {trigger.trigger.id} takes {-base}, the balance is {balance}; earn points first",
                )
            amount = max(base, -balance)  # P45
        if amount == 0:
            if trace is not None:
                trace.award(system, trigger, firing.count, base, boosted, balance, amount, None)
            continue  # P47
        user.state.balances[system.key] = balance + amount
        award_id = named_id(
            f"{user.state.tenant}\0award\0{user.state.id}\0{cause.id}\0{system.key}\0{trigger.trigger.id}"
        )
        if trace is not None:
            trace.award(system, trigger, firing.count, base, boosted, balance, amount, award_id)
        award = texts.award(award_id, amount, instant_text(at_ms), balance + amount, trigger.shown_json, boosts_json)
        first_trigger = first_trigger or trigger.trigger.id
        awards.append(award)
        data = texts.points_awarded(
            system.reference_json, award, firing.count, base, format_day(local_day), balance + amount, cause_json
        )
        balance += amount
        if due:
            effects.emit_due("points.awarded", data, at_ms, f"{system.key}\0{trigger.trigger.id}")
        else:
            effects.emit("points.awarded", data, at_ms)
    return Change(system, before, balance, awards, first_trigger) if awards else None


def _boosted(
    user: User, system: SystemPlan, base: int, at_ms: int, local_day: int, trace: PointsTrace | None
) -> tuple[int, str]:
    """Return base times the applicable boosts, computed exactly and rounded once (P34-P41), and what shows them."""
    shown = ""
    product, scale = base, 1
    rounding = "up"
    for plan in system.boosts_of(user.state.id):
        boost = plan.boost
        why_not = _why_not(boost, user, local_day)
        if trace is not None:
            trace.boost(system, boost, user, local_day, why_not)
        if why_not is not None:
            continue
        product *= boost.multiplier_micro
        scale *= _MICRO
        if boost.rounding == "down" or (boost.rounding == "nearest" and rounding == "up"):
            rounding = boost.rounding  # any down -> down, else any nearest -> nearest, else up (P39)
        one = plan.shown_json(local_day, at_ms // DAY_MS)
        shown = f"{shown},{one}" if shown else one
    if not shown:
        return base, ""
    if trace is not None:
        trace.product(product, scale, rounding)
    if rounding == "down":
        return product // scale, shown
    if rounding == "nearest":
        return (2 * product + scale) // (2 * scale), shown
    return -(-product // scale), shown


def _why_not(boost: Boost, user: User, local_day: int) -> NoBoost | None:
    """Return why a boost does not apply on a local day, None if it does (P34, P35)."""
    if local_day < boost.start_day:
        return "not_begun"
    if boost.end_day is not None and local_day > boost.end_day:
        return "over"
    return None if matches(boost.user_attributes, user.state.attributes) else "user_filter"


def _entry(change: Change) -> str:
    system = change.system
    moved = change.new_level != change.old_level
    level = _level_json(system, change.new_level) if moved else None
    entry = texts.points_entry(system.shown_json, change.total, change.added, level, ",".join(change.awards))
    return f"{system.key_json}:{entry}"


def _emit_level(user: User, change: Change, at_ms: int, effects: Effects, due: bool) -> None:
    """Emit `points.level_changed` (P55)."""
    system = change.system
    old, new = _level_json(system, change.old_level), _level_json(system, change.new_level)
    data = texts.level_changed(user.shown_json(), system.shown_json, change.total, old, new)
    if due:
        effects.emit_due("points.level_changed", data, at_ms, f"{system.key}\0{change.first_trigger}")
    else:
        effects.emit("points.level_changed", data, at_ms)


def _announce(user: User, change: Change, at_ms: int, effects: Effects, due: bool) -> None:
    """Emit `points.changed` or collect it for the end of the throttle window (P85, E7, L32).

    Windows run on append times; a tick's window on its due instant, named by its trigger: a tick has one award.
    """
    system = change.system
    now = at_ms if due else effects.at
    window = user.state.windows.get(system.key)
    if window is None:
        window = user.state.windows[system.key] = Window(until=now, level=_level_key(system, change.old_level))
    window.added += change.added
    entity = change.first_trigger if due else None
    if now >= window.until and not window.awards:
        _emit_changed(user, system, window, ",".join(change.awards), at_ms, effects, entity)
        window.until = now + THROTTLE_MS
        if effects.trace is not None:
            effects.trace.points.notice(system, "sent", change.added, len(change.awards), window.until)
        return
    user.due = UNSET
    window.awards.extend([Raw(award.encode()) for award in change.awards])
    full = len(window.awards) > MAX_COLLECTED_AWARDS
    if effects.trace is not None:
        effects.trace.points.notice(system, "full" if full else "held", window.added, len(window.awards), window.until)
    if full:
        _emit_changed(user, system, window, _collected(window), at_ms, effects, entity)
        window.until = now + THROTTLE_MS


def _collected(window: Window) -> str:
    return b",".join(window.awards).decode()


def _emit_changed(
    user: User,
    system: SystemPlan,
    window: Window,
    awards_json: str,
    at_ms: int,
    effects: Effects,
    due_entity: str | None,
) -> None:
    total = user.state.balances.get(system.key, 0)
    level = _level_number(system, total)
    level_key = _level_key(system, level)
    level_json = None if level_key == window.level else _level_json(system, level)
    data = texts.points_changed(user.shown_json(), system.shown_json, total, window.added, awards_json, level_json)
    window.level, window.added, window.awards = level_key, 0, []
    if due_entity is None:
        effects.emit("points.changed", data, at_ms)
    else:
        effects.emit_due("points.changed", data, at_ms, f"{system.key}\0{due_entity}")


def close_window(user: User, system: SystemPlan, effects: Effects, ended: int) -> None:
    """A throttle window ends with awards collected: emit them and open the next one (L32, C23)."""
    window = user.state.windows[system.key]
    if effects.trace is not None:
        effects.trace.points.window(system, ended, window.added, len(window.awards))
    _emit_changed(user, system, window, _collected(window), ended, effects, "window")
    window.until = ended + THROTTLE_MS
    user.due = UNSET
