"""How streaks are shown: the streak object, history rows, chain changes (streaks.md section 5)."""

from typing import Final, Literal

from msgspec import UNSET

from processors.rules import texts
from processors.rules.effects import instant_text
from processors.rules.periods import next_start, period_start, weekday
from processors.rules.plan import Plan
from processors.rules.user import User
from schemas.catalog import FREQUENCIES, Frequency
from schemas.instants import format_day
from schemas.outcome import PauseObject, ReadStreak, StreakObject, StreakRow
from schemas.state import USED_FREEZE, USED_PAUSE, Chain

HISTORY_PERIODS: Final = 7
"""Rows of a streak's history, the open period among them (S85)."""

Outcome = Literal["met", "frozen", "paused", "day_off", "bridged", "lost", "reset"]


def days_off(user: User, plan: Plan) -> tuple[int, ...] | list[int]:
    """Return the weekdays that cannot break the user's streak (S57, S79)."""
    settings = plan.streak
    personal = user.state.streak_days_off if settings.customization_enabled else None
    return settings.days_off if personal is None else personal


def row(frequency: Frequency, start: int, length: int, outcome: Outcome) -> str:
    """Return a settled row, JSON of `derived.StreakPeriod` (S93)."""
    end = format_day(next_start(frequency, start) - 1)
    return texts.streak_period(frequency, format_day(start), end, length, outcome)


def changed(chain: Chain, frequency: Frequency) -> str:
    """Return a chain as `streak.changed` tells it, JSON of `derived.StreakChanged` (C40)."""
    started, extended_at, longest_at = chain.started, chain.extended_at, chain.longest_at
    return texts.streak_changed(
        frequency,
        chain.length,
        None if started is None else format_day(started),
        None if extended_at is None else instant_text(extended_at),
        format_day(chain.start),
        format_day(next_start(frequency, chain.start) - 1),
        chain.met,
        chain.longest,
        None if longest_at is None else instant_text(longest_at),
    )


def answer(user: User, plan: Plan, *, extended: bool) -> str:
    """Return the streak object that answers an event, as JSON; the usual one, not extended, is kept until the chains change."""
    if extended:
        return _streak_json(user, plan, extended=True)
    if not user.streak_json:
        user.streak_json = _streak_json(user, plan, extended=False)
    return user.streak_json


def _streak_json(user: User, plan: Plan, *, extended: bool) -> str:
    """Return `show_streak` as JSON."""
    frequency, state = plan.frequency, user.state
    chain = state.chains[FREQUENCIES.index(frequency)] if state.chains else None
    if plan.streak.freezes is not None or chain is None or not chain.length:
        return texts.to_json(show_streak(user, plan, extended=extended))
    started, start = chain.started, chain.start
    return texts.streak_object(
        chain.length,
        frequency,
        None if started is None else format_day(started),
        format_day(start),
        format_day(next_start(frequency, start) - 1),
        format_day(_expires(user, plan, chain)),
        extended=extended,
    )


def show_streak(user: User, plan: Plan, *, extended: bool, read: bool = False) -> StreakObject:
    """Return the streak object of the active frequency (S28-S34, R14).

    `extended` answers an event; with `read` the field is the instant of the latest increase instead (S32).
    """
    frequency = plan.frequency
    settings = plan.streak
    freezes = settings.freezes
    accumulates = freezes is not None and freezes.auto_earn_interval is not None
    chain = user.state.chains[FREQUENCIES.index(frequency)] if user.state.chains else None
    shown = chain if chain is not None and chain.length else None
    when = None if shown is None or shown.extended_at is None else instant_text(shown.extended_at)
    return StreakObject(
        length=shown.length if shown else 0,
        frequency=frequency,
        started=None if shown is None or shown.started is None else format_day(shown.started),
        period_start=format_day(shown.start) if shown else None,
        period_end=format_day(next_start(frequency, shown.start) - 1) if shown else None,
        expires=format_day(_expires(user, plan, shown)) if shown else None,
        extended=when if read else extended,
        freezes=user.state.freezes if freezes else UNSET,
        max_freezes=freezes.max_count if freezes else UNSET,
        freeze_auto_earn_interval=freezes.auto_earn_interval if freezes and freezes.auto_earn_interval else UNSET,
        freeze_auto_earn_amount=freezes.auto_earn_amount
        if freezes and accumulates and freezes.auto_earn_amount
        else UNSET,
    )


def read_streak(user: User, plan: Plan, at_ms: int) -> ReadStreak:
    """Return the streak object of a read at an instant, with history and pauses (S56, S85); the user has chains."""
    shown = show_streak(user, plan, extended=False, read=True)
    today = user.zone.day(at_ms)
    return ReadStreak(
        length=shown.length,
        frequency=shown.frequency,
        started=shown.started,
        period_start=shown.period_start,
        period_end=shown.period_end,
        expires=shown.expires,
        extended=shown.extended,
        freezes=shown.freezes,
        max_freezes=shown.max_freezes,
        freeze_auto_earn_interval=shown.freeze_auto_earn_interval,
        freeze_auto_earn_amount=shown.freeze_auto_earn_amount,
        streak_history=_history(user, plan),
        pauses=[
            PauseObject(id=pause.id, start=format_day(pause.start), end=format_day(pause.end))
            for pause in user.state.pauses
            if pause.end >= today
        ],
    )


def _history(user: User, plan: Plan) -> list[StreakRow]:
    """Return the latest periods of the active chain, oldest first; those without a row have length 0 (S85, C35)."""
    frequency = plan.frequency
    index = FREQUENCIES.index(frequency)
    chain = user.state.chains[index]
    settled = {row.start: row for row in user.history[index][-HISTORY_PERIODS:]}
    rows: list[StreakRow] = []
    start, length, used = chain.start, chain.length, 0
    while True:
        row = StreakRow(
            period_start=format_day(start),
            period_end=format_day(next_start(frequency, start) - 1),
            length=length,
            used_freeze=used == USED_FREEZE if plan.streak.freezes else UNSET,
            used_pause=used == USED_PAUSE,
        )
        rows.append(row)
        if len(rows) == HISTORY_PERIODS:
            rows.reverse()
            return rows
        start = period_start(frequency, start - 1, plan.week_start)
        known = settled.get(start)
        length, used = (known.length, known.used) if known is not None else (0, 0)


def _expires(user: User, plan: Plan, chain: Chain) -> int:
    """Return the last date on which acting keeps the streak: past pauses and days off, freezes left aside (S31)."""
    frequency = plan.frequency
    start = next_start(frequency, chain.start) if chain.met else chain.start
    off = days_off(user, plan)
    while True:
        following = next_start(frequency, start)
        ends = [pause.end for pause in user.state.pauses if pause.start < following and pause.end >= start]
        if ends:
            last = period_start(frequency, max(ends), plan.week_start)
            start = next_start(frequency, last)
        elif frequency == "daily" and weekday(start) in off:
            start = following
        else:
            return following - 1
