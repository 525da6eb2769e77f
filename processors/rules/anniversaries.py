"""Anniversary achievements: which are due when, and which are past (A31). They complete by `timers` and `achievements`."""

from calendar import isleap
from typing import Final

from msgspec import UNSET

from processors.rules.plan import AchievementPlan, Plan
from processors.rules.user import User
from schemas.instants import from_date, parse_day, to_date

_LAST_YEAR: Final = 9988


def anniversary(sign_up: int, years: int) -> int | None:
    """Return the day that comes `years` after a sign-up day, for 29 February the 28th in common years; None = never."""
    first = to_date(sign_up)
    year = first.year + years
    if year > _LAST_YEAR:
        return None
    if (first.month, first.day) == (2, 29):
        return from_date(first.replace(year=year, day=29 if isleap(year) else 28))
    return from_date(first.replace(year=year))


def begin(user: User, plan: Plan, at_ms: int) -> int | None:
    """Note that the anniversaries up to the local day of an instant are past; return that day, None if there are none."""
    if not plan.anniversaries:
        return None
    day = user.zone.reached_day(at_ms)
    state = user.state
    if state.anniversary_day is None or state.anniversary_day < day:
        state.anniversary_day = day
    user.anniversaries_changed()
    return day


def _lacking(user: User, plan: Plan) -> list[tuple[int, AchievementPlan]]:
    """Return the anniversary achievements that the user lacks, with their days, in the order F6."""
    state = user.state
    if state.sign_up_date is None:
        return []
    sign_up = parse_day(state.sign_up_date)
    found: list[tuple[int, AchievementPlan]] = []
    for achievement in plan.anniversaries:
        if achievement.id not in state.completions:
            day = anniversary(sign_up, achievement.achievement.anniversary_years)
            if day is not None:
                found.append((day, achievement))
    return found


def due(user: User, plan: Plan) -> tuple[int, int] | None:
    """Return the next anniversary: its first instant and its day, None if there is none."""
    if user.anniversary is not UNSET:
        return user.anniversary
    done = user.state.anniversary_day
    found: tuple[int, int] | None = None
    for day, _ in _lacking(user, plan):
        if done is None or day > done:
            found = user.zone.first_instant(day), day
            break  # they stand in the order of their years
    user.anniversary = found
    return found


def take(user: User, plan: Plan, day: int) -> list[AchievementPlan]:
    """Take the anniversaries up to a day that have not been taken yet."""
    state = user.state
    done = state.anniversary_day
    found = [a for when, a in _lacking(user, plan) if when <= day and (done is None or when > done)]
    state.anniversary_day = day if done is None else max(done, day)
    user.anniversaries_changed()
    return found


def past(user: User, plan: Plan, day: int) -> list[AchievementPlan]:
    """Return what the user lacks of the anniversaries up to a day, in the order F6."""
    return [achievement for when, achievement in _lacking(user, plan) if when <= day]


def missed(user: User, plan: Plan) -> list[tuple[int, AchievementPlan]]:
    """Return the anniversaries, with their days, that were taken while their user filter did not match (A31a)."""
    if user.missed_anniversaries is None:
        done = user.state.anniversary_day
        user.missed_anniversaries = [pair for pair in _lacking(user, plan) if done is not None and pair[0] <= done]
    return user.missed_anniversaries
