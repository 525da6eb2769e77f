"""From firing triggers to balances, awards, levels and their events (points.md)."""

from bisect import bisect_right
from typing import Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from processors.rules.effects import Effects, instant_text
from processors.rules.errors import RejectedError
from processors.rules.filters import matches
from processors.rules.plan import SystemPlan, TriggerPlan
from processors.rules.trace_points import NoBoost, PointsTrace
from processors.rules.user import User
from schemas.catalog import Boost
from schemas.derived import Cause, ChangedPoints, LevelChanged, LevelPoints, PointsAwarded, PointsChanged
from schemas.ids import named_id
from schemas.instants import DAY_MS, MINUTE_MS, format_day
from schemas.outcome import Award, BoostObject, LevelObject, PointsEntry, StoredAward
from schemas.state import Window

THROTTLE_MS: Final = 15 * MINUTE_MS
"""Least time between two `points.changed` of one user and system (P85)."""

MAX_COLLECTED_AWARDS: Final = 100
"""Awards that a throttle window collects; one more emits at once, so that a state stays bounded (D-01)."""

_MICRO: Final = 10**6

_encode: Final = msgspec.json.Encoder().encode
_award_decoder: Final = msgspec.json.Decoder(Award)


class Firing(msgspec.Struct, frozen=True, gc=False):
    """A trigger that fires `count` times, and its place in the order of the record (P31, P32)."""

    order: tuple[int, int, int, int, str]
    trigger: TriggerPlan
    count: int


Firings = dict[str, list[Firing]]
"""Per system key, what fires in one record."""


def crossed(trigger: TriggerPlan, before: int, after: int) -> int:
    """Return how many multiples of the threshold lie in (before, after] (P13)."""
    return after // trigger.threshold - before // trigger.threshold


def level_of(system: SystemPlan, total: int) -> LevelObject | None:
    """Return the level of a total: the highest threshold reached, None if there is none (P49)."""
    place = bisect_right(system.level_points, total)
    return system.level_objects[place - 1] if place else None


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
) -> dict[str, PointsEntry]:
    """Apply the firings of one record, or of one time tick (`due`), and emit what follows from them (P43-P55, P86).

    Returns the entries of the affected systems, by key (R5).

    Raises:
        RejectedError: out_of_points (P46); the caller undoes the record.
    """
    entries: dict[str, PointsEntry] = {}
    changes: list[tuple[SystemPlan, PointsEntry, LevelObject | None]] = []
    for key in sorted(firings) if len(firings) > 1 else firings:
        system = systems[key]
        before = user.state.balances.get(key, 0)
        awards = _award_all(user, system, firings[key], at_ms, local_day, cause, effects, due)
        if not awards:
            continue
        total = user.state.balances[key]
        old_level, new_level = level_of(system, before), level_of(system, total)
        entry = _entry(system, total, total - before, UNSET if old_level is new_level else new_level, awards)
        entries[key] = entry
        changes.append((system, entry, old_level))
        if effects.trace is not None:
            effects.trace.points.balance(system, before, total, old_level, new_level)
    for system, entry, old_level in changes:
        _announce(user, system, entry, old_level, at_ms, effects, due)
    for system, entry, old_level in changes:
        if entry.level is not UNSET:
            _emit_level(user, system, entry, old_level, at_ms, effects, due)
    return entries


def _award_all(
    user: User,
    system: SystemPlan,
    firings: list[Firing],
    at_ms: int,
    local_day: int,
    cause: Cause,
    effects: Effects,
    due: bool,
) -> list[Award]:
    """Apply one system's firings one after the other, each seeing the balance left by the previous one (P33)."""
    if len(firings) > 1:
        firings.sort(key=lambda firing: firing.order)
    balances = user.state.balances
    trace = effects.trace.points if effects.trace is not None else None
    awards: list[Award] = []
    for firing in firings:
        trigger = firing.trigger
        base = firing.count * trigger.base
        balance = balances.get(system.key, 0)
        boosts: list[BoostObject] | None = None
        boosted = base
        if base > 0:
            boosted, boosts = _boosted(user, system, base, at_ms, local_day, trace)
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
        balances[system.key] = balance + amount
        award_id = named_id(
            f"{user.state.tenant}\0award\0{user.state.id}\0{cause.id}\0{system.key}\0{trigger.trigger.id}"
        )
        if trace is not None:
            trace.award(system, trigger, firing.count, base, boosted, balance, amount, award_id)
        award = Award(
            id=award_id,
            awarded=amount,
            date=instant_text(at_ms),
            total=balance + amount,
            trigger=trigger.shown,
            boosts=boosts or UNSET,
        )
        awards.append(award)
        _emit_award(system, trigger, award, firing.count, base, local_day, at_ms, cause, effects, due)
    return awards


def _boosted(
    user: User, system: SystemPlan, base: int, at_ms: int, local_day: int, trace: PointsTrace | None
) -> tuple[int, list[BoostObject] | None]:
    """Return base times the applicable boosts, computed exactly and rounded once (P34-P41)."""
    shown: list[BoostObject] | None = None
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
        shown = shown or []
        shown.append(plan.shown(local_day, at_ms // DAY_MS))
    if shown is None:
        return base, None
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


def _entry(
    system: SystemPlan, total: int, added: int, level: LevelObject | None | UnsetType, awards: list[Award]
) -> PointsEntry:
    catalog = system.system
    return PointsEntry(
        id=catalog.id,
        key=catalog.key,
        name=catalog.name,
        description=catalog.description,
        badge_url=catalog.badge_url,
        max_points=catalog.max_points,
        total=total,
        added=added,
        level=level,
        awards=awards,
    )


def _emit_award(
    system: SystemPlan,
    trigger: TriggerPlan,
    award: Award,
    count: int,
    base: int,
    local_day: int,
    at_ms: int,
    cause: Cause,
    effects: Effects,
    due: bool,
) -> None:
    stored = StoredAward(
        id=award.id,
        awarded=award.awarded,
        date=award.date,
        total=award.total,
        trigger=award.trigger,
        boosts=award.boosts,
        count=count,
        base=base,
        local_date=format_day(local_day),
    )
    data = PointsAwarded(points_system=system.reference, award=stored, total=award.total, cause=cause)
    if due:
        effects.emit_due("points.awarded", data, at_ms, f"{system.key}\0{trigger.trigger.id}")
    else:
        effects.emit("points.awarded", data, at_ms)


def _emit_level(
    user: User,
    system: SystemPlan,
    entry: PointsEntry,
    old_level: LevelObject | None,
    at_ms: int,
    effects: Effects,
    due: bool,
) -> None:
    """Emit `points.level_changed` (P55)."""
    new_level = entry.level
    data = LevelChanged(
        user=user.shown(),
        points=LevelPoints(
            id=entry.id,
            key=entry.key,
            name=entry.name,
            description=entry.description,
            badge_url=entry.badge_url,
            max_points=entry.max_points,
            total=entry.total,
        ),
        previous_level=old_level,
        new_level=None if new_level is UNSET else new_level,
    )
    if due:
        effects.emit_due("points.level_changed", data, at_ms, f"{system.key}\0{cause_of(entry)}")
    else:
        effects.emit("points.level_changed", data, at_ms)


def cause_of(entry: PointsEntry) -> str:
    """Return the trigger id that names a tick's effect: a tick has one award."""
    return entry.awards[0].trigger.id


def _announce(
    user: User,
    system: SystemPlan,
    entry: PointsEntry,
    old_level: LevelObject | None,
    at_ms: int,
    effects: Effects,
    due: bool,
) -> None:
    """Emit `points.changed` or collect it for the end of the throttle window (P85, E7, L32).

    Windows run on append times; a tick's window on its due instant.
    """
    now = at_ms if due else effects.at
    window = user.state.windows.get(system.key)
    if window is None:
        window = user.state.windows[system.key] = Window(until=now, level=old_level.key if old_level else None)
    window.added += entry.added
    if now >= window.until and not window.awards:
        _emit_changed(user, system, window, entry.awards, at_ms, effects, cause_of(entry) if due else None)
        window.until = now + THROTTLE_MS
        if effects.trace is not None:
            effects.trace.points.notice(system, "sent", entry.added, len(entry.awards), window.until)
        return
    user.due = UNSET
    window.awards.extend(Raw(_encode(award)) for award in entry.awards)
    full = len(window.awards) > MAX_COLLECTED_AWARDS
    if effects.trace is not None:
        effects.trace.points.notice(system, "full" if full else "held", window.added, len(window.awards), window.until)
    if full:
        awards = [_award_decoder.decode(raw) for raw in window.awards]
        _emit_changed(user, system, window, awards, at_ms, effects, cause_of(entry) if due else None)
        window.until = now + THROTTLE_MS


def _emit_changed(
    user: User,
    system: SystemPlan,
    window: Window,
    awards: list[Award],
    at_ms: int,
    effects: Effects,
    due_entity: str | None,
) -> None:
    catalog = system.system
    total = user.state.balances.get(system.key, 0)
    level = level_of(system, total)
    level_key = level.key if level else None
    data = PointsChanged(
        user=user.shown(),
        points=ChangedPoints(
            id=catalog.id,
            key=catalog.key,
            name=catalog.name,
            description=catalog.description,
            badge_url=catalog.badge_url,
            max_points=catalog.max_points,
            total=total,
            added=window.added,
            awards=awards,
            level=UNSET if level_key == window.level else level,
        ),
    )
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
    awards = [_award_decoder.decode(raw) for raw in window.awards]
    _emit_changed(user, system, window, awards, ended, effects, "window")
    window.until = ended + THROTTLE_MS
    user.due = UNSET
