"""Messages due: when a mail or push service should write to a user, and about what (derived-events.md, E12-E17)."""

from typing import Final

from msgspec import UNSET, UnsetType

from processors.rules.effects import Effects, instant_text
from processors.rules.errors import RejectedError
from processors.rules.periods import next_start, period_start, weekday
from processors.rules.plan import AchievementPlan, Plan
from processors.rules.streak_views import read_streak
from processors.rules.streaks import is_day_off, is_paused
from processors.rules.user import User
from processors.rules.zones import Zone, zone_of
from schemas.catalog import FREQUENCIES, Frequency
from schemas.derived import (
    AchievementDue,
    Meta,
    Reactivation,
    ReactivationDue,
    RecapDue,
    RecapPeriod,
    StreakReminderDue,
)
from schemas.instants import DAY_MS, HOUR_MS, format_day
from schemas.records import Preferences
from schemas.state import Messages
from schemas.trace import MessageOutcome

RECAP, REACTIVATION, REMINDER, ACHIEVEMENT = range(4)
"""Kinds of messages, in their order at one instant (D-31)."""

REACTIVATION_DAYS: Final = (3, 5, 7, 14, 30)
"""Days without a metric event after which the messages 1 to 5 are due (E15)."""

MAX_WAITING: Final = 100
"""Achievement messages of a user that may wait for their hour; more at once are left out (D-36)."""

EASTERN: Final = zone_of("America/New_York")
"""The zone of messages to users without one (E13)."""

_TYPES: Final = (
    "emails.recap_due",
    "emails.reactivation_due",
    "emails.streak_reminder_due",
    "emails.achievement_due",
)
_PREFERENCE: Final = ("recap", "reactivation", "streak_reminder", "achievement_completed")
_CHANNELS: Final = ("email", "push")

_MORNING: Final = 9 * 60
_REACTIVATION: Final = 10 * 60
_EVENING_BEGINS: Final = 17 * 60
_EVENING_ENDS: Final = 21 * 60
_BEFORE_MIDNIGHT_MS: Final = 4 * HOUR_MS
_FRIDAY: Final = 5
_REMINDER_DAY_OF_MONTH: Final = 25
_NEVER: Final = 2**63


def _zone(user: User) -> Zone:
    return EASTERN if user.state.tz is None else user.zone


# what records tell


def begin(user: User, plan: Plan) -> None:
    """Bring what is remembered in line with the settings of a plan; nothing of the past becomes due (D-35).

    For a user with events from before a setting, the append time of the latest record stands in for the last event.
    """
    settings, state = plan.messages, user.state
    if settings is None or state.control:
        state.messages = None  # E12
        return
    known = state.messages = state.messages or Messages()
    user.messages_changed()
    aggregation = settings.recap or ""
    if known.aggregation != aggregation:
        known.aggregation, known.recaps, known.recapped = aggregation, [], None
        if settings.recap is not None and state.totals:
            _expect_recap(user, plan, known, settings.recap, state.append, plan.at)
    if not settings.reactivation:
        known.active, known.sent = None, 0
    elif known.active is None and state.totals:
        known.active = state.append
        known.sent = _passed(user, state.append, plan.at)
    if not settings.achievement:
        known.waiting = []


def note_event(user: User, plan: Plan, at_ms: int, append_ms: int) -> None:
    """Note a metric event with its effectiveAt and append time: it restarts the reactivation sequence (E15), and its
    period will have a recap (E14)."""
    settings, known = plan.messages, user.state.messages
    if known is None or settings is None:
        return
    if settings.reactivation and (known.active is None or at_ms > known.active):
        if known.active is None or known.sent:
            user.messages_changed()  # what was due next may come earlier now
        elif at_ms >= user.active_until:
            user.message = UNSET  # it comes later; `user.due` may stay, too early does no harm
        known.active = at_ms
        known.sent = _passed(user, at_ms, append_ms) if append_ms - at_ms > DAY_MS else 0
    if settings.recap is not None and not user.recap_from <= at_ms < user.recap_until:
        _expect_recap(user, plan, known, settings.recap, at_ms, append_ms)


def _passed(user: User, active_ms: int, at_ms: int) -> int:
    """Return how many messages of a sequence were due by an instant."""
    zone = _zone(user)
    day = zone.reached_day(active_ms)
    return sum(zone.instant_of(day + days, _REACTIVATION) <= at_ms for days in REACTIVATION_DAYS)


def _expect_recap(user: User, plan: Plan, known: Messages, aggregation: Frequency, at_ms: int, append_ms: int) -> None:
    """Note that the period of an event will have a recap, unless its hour is past."""
    zone = _zone(user)
    start = period_start(aggregation, zone.reached_day(at_ms), plan.week_start)
    user.recap_from = zone.first_instant(start)
    user.recap_until = zone.first_instant(next_start(aggregation, start))
    done = known.recapped is not None and start <= known.recapped
    if done or start in known.recaps or _recap_due(zone, aggregation, start) <= append_ms:
        return
    known.recaps = sorted([*known.recaps, start])
    user.messages_changed()


def expect(user: User, plan: Plan, done: list[AchievementPlan]) -> None:
    """Note completions that a message will tell of (E17)."""
    settings, known = plan.messages, user.state.messages
    if known is None or settings is None or not settings.achievement:
        return
    known.waiting += [achievement.id for achievement in done[: MAX_WAITING - len(known.waiting)]]
    user.messages_changed()


# what is due


def due(user: User, plan: Plan) -> tuple[int, int] | None:
    """Return instant and kind of the next message, None if none is to come."""
    if user.message is not UNSET:
        return user.message
    settings, known = plan.messages, user.state.messages
    if known is None or settings is None:
        return None
    zone = _zone(user)
    first, kind = _NEVER, RECAP
    if known.recaps and settings.recap is not None:
        first = _recap_due(zone, settings.recap, known.recaps[0])
    if known.active is not None and known.sent < len(REACTIVATION_DAYS):
        day = zone.reached_day(known.active)
        user.active_until = zone.first_instant(day + 1)
        when = zone.instant_of(day + REACTIVATION_DAYS[known.sent], _REACTIVATION)
        if when < first:
            first, kind = when, REACTIVATION
    if settings.streak_reminder:
        when = _reminder_due(user, plan, known, zone)
        if when < first:
            first, kind = when, REMINDER
    if known.waiting:
        when = _first_waiting(user, known, zone)[0]
        if when < first:
            first, kind = when, ACHIEVEMENT
    user.message = None if first == _NEVER else (first, kind)
    return user.message


def _recap_due(zone: Zone, aggregation: Frequency, start: int) -> int:
    """E14: in the morning of the first day after the period."""
    return zone.instant_of(next_start(aggregation, start), _MORNING)


def _reminder_due(user: User, plan: Plan, known: Messages, zone: Zone) -> int:
    """E16: the first reminder hour of the open period, if that is not met and its hour was still to come (D-38)."""
    state, frequency = user.state, plan.frequency
    index = FREQUENCIES.index(frequency)
    if not state.chains:
        return _NEVER
    chain = state.chains[index]
    start = chain.start
    if not chain.length or chain.met or known.reminded == (index, start):
        return _NEVER
    if frequency == "daily":
        # for a user without zone the day of messages is another than that of streaks
        day = zone.day(user.zone.first_instant(start) + _BEFORE_MIDNIGHT_MS - 1)
        when = zone.first_instant(day + 1) - _BEFORE_MIDNIGHT_MS
    elif frequency == "weekly":
        when = zone.instant_of(start + (_FRIDAY - weekday(start)) % 7, _MORNING)
    else:
        when = zone.instant_of(start + _REMINDER_DAY_OF_MONTH - 1, _MORNING)
    return when if when > state.append else _NEVER


def _first_waiting(user: User, known: Messages, zone: Zone) -> tuple[int, int]:
    """Return when the next achievement message is due, and its place among those that wait (E17)."""
    completions = user.state.completions
    return min((_achievement_due(zone, completions[name]), place) for place, name in enumerate(known.waiting))


def _achievement_due(zone: Zone, completed_ms: int) -> int:
    day = zone.day(completed_ms)
    begins = zone.instant_of(day, _EVENING_BEGINS)
    if completed_ms < begins:
        return begins
    return (
        completed_ms
        if completed_ms <= zone.instant_of(day, _EVENING_ENDS)
        else zone.instant_of(day + 1, _EVENING_BEGINS)
    )


# what comes of it


def send(user: User, plan: Plan, kind: int, due_ms: int, effects: Effects) -> None:
    """Carry out the message that `due` found; it counts as sent also where nothing is emitted."""
    known = user.state.messages
    assert known is not None
    outcome = _outcome(user, plan, kind, due_ms, effects)
    user.messages_changed()
    if kind == RECAP:
        start = known.recaps[0]
        known.recaps, known.recapped = known.recaps[1:], start
        if outcome == "sent":
            _send_recap(user, plan, start, due_ms, effects)
    elif kind == REACTIVATION:
        known.sent += 1
        if outcome == "sent":
            _send_reactivation(user, known.sent, due_ms, effects)
    elif kind == REMINDER:
        index = FREQUENCIES.index(plan.frequency)
        start = user.state.chains[index].start
        known.reminded = index, start
        if is_paused(user, plan.frequency, start) or is_day_off(user, plan, plan.frequency, start):
            outcome = "protected"
        if outcome == "sent":
            _send_reminder(user, plan, start, due_ms, effects)
    else:
        place = _first_waiting(user, known, _zone(user))[1]
        name = known.waiting[place]
        known.waiting = known.waiting[:place] + known.waiting[place + 1 :]
        if outcome == "sent" and not _send_achievement(user, plan, name, due_ms, effects):
            outcome = "gone"
    if effects.trace is not None:
        effects.trace.message(_TYPES[kind], due_ms, outcome)


def send_at_once(user: User, plan: Plan, until: int, effects: Effects) -> None:
    """After a record: tell of completions whose hour is now (E17)."""
    known = user.state.messages
    while known is not None and known.waiting:
        when = _first_waiting(user, known, _zone(user))[0]
        if when > until:
            return
        send(user, plan, ACHIEVEMENT, when, effects)


def _outcome(user: User, plan: Plan, kind: int, due_ms: int, effects: Effects) -> MessageOutcome:
    """Tell whether a message is emitted: the clock runs, it is not too late, the user did not opt out (E12, E12a)."""
    assert plan.messages is not None
    if not effects.live:
        return "before_clock"
    if effects.at - due_ms > plan.messages.max_delay_hours * HOUR_MS:
        return "too_late"
    return "opted_out" if user.state.notifications.get(_PREFERENCE[kind]) == [] else "sent"


def _meta(user: User, kind: int) -> Meta | UnsetType:
    channels = user.state.notifications.get(_PREFERENCE[kind])
    return UNSET if channels is None else Meta(channels=channels)


def _send_recap(user: User, plan: Plan, start: int, due_ms: int, effects: Effects) -> None:
    assert plan.messages is not None and plan.messages.recap is not None
    aggregation = plan.messages.recap
    last = next_start(aggregation, start) - 1
    period = RecapPeriod(period_start=format_day(start), period_end=format_day(last))
    data = RecapDue(timestamp=instant_text(due_ms), user=user.shown(), recap=period)
    effects.emit_due(_TYPES[RECAP], data, due_ms, f"{aggregation}\0{start}", _meta(user, RECAP))


def _send_reactivation(user: User, number: int, due_ms: int, effects: Effects) -> None:
    absence = Reactivation(message_number=number, days_since_last_active=REACTIVATION_DAYS[number - 1])
    data = ReactivationDue(timestamp=instant_text(due_ms), user=user.shown(), reactivation=absence)
    effects.emit_due(_TYPES[REACTIVATION], data, due_ms, str(number), _meta(user, REACTIVATION))


def _send_reminder(user: User, plan: Plan, start: int, due_ms: int, effects: Effects) -> None:
    data = StreakReminderDue(timestamp=instant_text(due_ms), user=user.shown(), streak=read_streak(user, plan, due_ms))
    entity = f"{plan.frequency}\0{start}"
    effects.emit_due(_TYPES[REMINDER], data, due_ms, entity, _meta(user, REMINDER))


def _send_achievement(user: User, plan: Plan, name: str, due_ms: int, effects: Effects) -> bool:
    """Return False if the catalog has dropped it meanwhile (A4): there is nothing to tell."""
    for achievement in plan.catalog.achievements:
        if achievement.id == name and achievement.status != "inactive":
            shown = plan.show_achievement(achievement, instant_text(user.state.completions[name]))
            data = AchievementDue(timestamp=instant_text(due_ms), user=user.shown(), achievement=shown)
            effects.emit_due(_TYPES[ACHIEVEMENT], data, due_ms, name, _meta(user, ACHIEVEMENT))
            return True
    return False


# preferences


def check_notifications(record: Preferences) -> dict[str, list[str]]:
    """Return the channels of the kinds that a record names, in one order, each once (U13a).

    Raises:
        RejectedError: invalid_preferences.
    """
    given = record.notifications
    if given is UNSET:
        return {}
    kinds = {
        "achievement_completed": given.achievement_completed,
        "recap": given.recap,
        "reactivation": given.reactivation,
        "streak_reminder": given.streak_reminder,
    }
    found: dict[str, list[str]] = {}
    for kind, channels in kinds.items():
        if channels is UNSET:
            continue
        for channel in channels:
            if channel not in _CHANNELS:
                raise RejectedError(
                    "invalid_preferences",
                    f"notifications.{kind}: {channel[:40]!r} is no channel; use email, push, or [] to switch it off",
                )
        found[kind] = [channel for channel in _CHANNELS if channel in channels]
    return found


def choose(user: User, record: Preferences) -> None:
    """Patch the channels of the kinds that a record names (U13)."""
    user.state.notifications.update(check_notifications(record))
