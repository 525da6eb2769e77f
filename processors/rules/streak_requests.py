"""Requests of administrators and users about streaks: pauses, restore, reset, preferences (streaks.md sections 7, 11, 12)."""

from typing import Final

from msgspec import UNSET

from processors.rules import streaks
from processors.rules.effects import Effects
from processors.rules.errors import RejectedError
from processors.rules.periods import period_start
from processors.rules.plan import Plan
from processors.rules.streak_views import changed
from processors.rules.texts import streak_lost
from processors.rules.user import User
from schemas.catalog import FREQUENCIES
from schemas.derived import Meta, StreakRestored
from schemas.instants import format_day, from_date, parse_day, to_date
from schemas.numbers import NotANumberError, ValueOutOfRangeError, parse_scaled
from schemas.records import PauseStreak, Preferences
from schemas.state import Pause

Refusal = tuple[str, str]
"""Severity and message of a refused item (M7)."""

MAX_PAUSES: Final = 1_000
"""Pauses of a user that are not over yet."""

_DISABLED: Final = ("warning", "Streaks are disabled for this user")
_RESTORE_DAYS: Final = 90


def check_pause(record: PauseStreak) -> tuple[int, int]:
    """Return first and last day of a pause.

    Raises:
        RejectedError: bad_request.
    """
    try:
        return parse_day(record.start), parse_day(record.end)
    except ValueError as error:
        raise RejectedError("bad_request", f"start and end of a pause are dates: {error}; write YYYY-MM-DD") from error


def pause(user: User, record: PauseStreak, append_ms: int) -> Refusal | None:
    """Add a pause; one with the same id takes the place of the old one (S49, C16)."""
    start, end = check_pause(record)
    today = user.zone.day(append_ms)
    if end < start:
        return "error", f"end {record.end} lies before start {record.start}"
    if start < today:
        return "error", f"start {record.start} lies before today, {format_day(today)}"
    others = [known for known in user.state.pauses if known.id != record.id]
    if len(others) >= MAX_PAUSES:
        return "error", f"the user has {MAX_PAUSES} pauses already; delete some"
    user.state.pauses = sorted([*others, Pause(record.id, start, end)], key=lambda known: (known.start, known.id))
    user.streak_json = ""
    return None


def unpause(user: User, pause_id: str) -> Refusal | None:
    """Delete a pause; this acts on unsettled periods only (S54)."""
    others = [known for known in user.state.pauses if known.id != pause_id]
    if len(others) == len(user.state.pauses):
        return "error", "Streak pause not found by ID"
    user.state.pauses = others
    user.streak_json = ""
    return None


def restore(user: User, plan: Plan, at_ms: int, append_ms: int, effects: Effects) -> Refusal | None:
    """Set the active chain to its greatest length within the window (S72-S74)."""
    if not user.state.streak_enabled:
        return _DISABLED
    if not user.state.chains:
        return "warning", "No streak to restore"
    streaks.roll_idle(user, plan, streaks.settled_until(plan, append_ms, at_ms))
    index = FREQUENCIES.index(plan.frequency)
    chain = user.state.chains[index]
    since = _window_start(user, plan, append_ms)
    rows = [row for row in user.history[index] if row.start >= since]
    longest = max((row.length for row in rows), default=0)
    if longest <= chain.length:
        return "warning", "No streak to restore"
    if effects.trace is not None:
        effects.trace.streak(plan, plan.frequency, chain.start, "restore", chain.length, longest)
    chain.length = longest
    chain.started = next(row.started for row in reversed(rows) if row.length == longest)
    chain.extended_at = chain.increased_at
    chain.settled = None  # S70, C9
    if longest > chain.longest:
        chain.longest, chain.longest_at = longest, at_ms
    user.streaks_changed()
    effects.emit("streak.restored", StreakRestored(frequency=plan.frequency, length=longest), at_ms)
    effects.emit("streak.changed", changed(chain, plan.frequency), at_ms)
    return None


def _window_start(user: User, plan: Plan, append_ms: int) -> int:
    """Return the first day a row may begin on to count for restore (S72)."""
    today = user.zone.day(append_ms)
    if plan.frequency == "daily":
        return today - _RESTORE_DAYS
    year = to_date(today).year
    if plan.frequency == "weekly":
        return period_start("weekly", from_date(to_date(today).replace(month=1, day=1)), plan.week_start)
    return from_date(to_date(today).replace(year=max(year - 1, 1), month=1, day=1))


def reset(user: User, plan: Plan, at_ms: int, append_ms: int, effects: Effects) -> Refusal | None:
    """Set all three chains to 0 (S75)."""
    if not user.state.streak_enabled:
        return _DISABLED
    streaks.roll_idle(user, plan, streaks.settled_until(plan, append_ms, at_ms))
    for index, chain in enumerate(user.state.chains):
        frequency = FREQUENCIES[index]
        before = chain.length
        chain.settled = None  # S70
        if not before:
            continue  # a reset at length 0 is silent (C14)
        if effects.trace is not None:
            effects.trace.streak(plan, frequency, chain.start, "reset", before, 0)
        chain.length, chain.started, chain.extended_at, chain.reset = 0, None, None, True
        if frequency == plan.frequency:
            meta = Meta(frequency=frequency, cause="admin", reason="reset", period_start=format_day(chain.start))
            effects.emit("streak.lost", streak_lost(user.shown_json(), before), at_ms, meta)
        effects.emit("streak.changed", changed(chain, frequency), at_ms)
    user.streaks_changed()
    return None


def check_preferences(record: Preferences, plan: Plan) -> list[tuple[str, int]] | None:
    """Return the personal thresholds, scaled; None if the record carries none (S81).

    Raises:
        RejectedError: invalid_preferences.
    """
    given = record.streak
    if given is UNSET:
        return None
    if given.evaluation_mode is not UNSET and given.evaluation_mode not in ("OR", "AND", "ALL"):
        raise RejectedError(
            "invalid_preferences", f"streak.evaluationMode {given.evaluation_mode[:40]!r}: use OR or AND"
        )
    if given.days_off is not UNSET and (
        len(set(given.days_off)) > 6 or any(not 0 <= day <= 6 for day in given.days_off)
    ):
        raise RejectedError("invalid_preferences", "streak.daysOff: at most six weekdays, 0 = Sunday to 6 = Saturday")
    if given.metrics is UNSET:
        return None
    found: dict[str, int] = {}
    for metric in given.metrics:
        try:
            threshold = parse_scaled(bytes(metric.threshold))
        except (NotANumberError, ValueOutOfRangeError) as error:
            raise RejectedError(
                "invalid_preferences", f"streak.metrics: threshold of {metric.key!r}: {error}"
            ) from error
        if metric.key not in plan.metrics or threshold <= 0 or metric.key in found:
            raise RejectedError(
                "invalid_preferences",
                f"streak.metrics: {metric.key[:80]!r} must be a known metric, once, with a threshold > 0",
            )
        found[metric.key] = threshold
    return list(found.items())


def prefer(user: User, record: Preferences, plan: Plan, append_ms: int, at_ms: int, effects: Effects) -> None:
    """Patch the streak preferences; switching streaks off ends them silently (U13, S76, S79, S82)."""
    given, state = record.streak, user.state
    if given is UNSET:
        return
    thresholds = check_preferences(record, plan)
    if thresholds is not None:
        state.streak_goals = thresholds
    if given.evaluation_mode is not UNSET:
        state.streak_mode = "AND" if given.evaluation_mode == "ALL" else given.evaluation_mode
    if given.days_off is not UNSET:
        state.streak_days_off = sorted(set(given.days_off))
    if given.enabled is not UNSET and given.enabled != state.streak_enabled:
        state.streak_enabled = given.enabled
        if not given.enabled:
            _end_silently(user, plan, append_ms, at_ms, effects)
    user.goals = None
    user.streaks_changed()


def _end_silently(user: User, plan: Plan, append_ms: int, at_ms: int, effects: Effects) -> None:
    """Streaks are switched off: length 0, nothing met, no repair across it (S70, S76)."""
    streaks.roll_idle(user, plan, streaks.settled_until(plan, append_ms, at_ms))
    for index, chain in enumerate(user.state.chains):
        had = chain.length or chain.met
        chain.length, chain.started, chain.extended_at = 0, None, None
        chain.met, chain.met_at, chain.settled, chain.reset = False, None, None, False
        if had:
            effects.emit("streak.changed", changed(chain, FREQUENCIES[index]), at_ms)
