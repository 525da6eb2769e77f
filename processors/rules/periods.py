"""Calendar periods of local dates: days, weeks, months (S2-S4). A period is named by its first day."""

from functools import lru_cache

from schemas.catalog import Frequency
from schemas.instants import from_date, to_date


def period_start(frequency: Frequency, day: int, week_start: int) -> int:
    """Return the first day of the period that holds `day`; `week_start` counts from 0 = Sunday."""
    if frequency == "daily":
        return day
    if frequency == "weekly":
        return day - (weekday(day) - week_start) % 7
    return _month_start(day)


@lru_cache(maxsize=65_536)
def _month_start(day: int) -> int:
    return from_date(to_date(day).replace(day=1))


def next_start(frequency: Frequency, start: int) -> int:
    """Return the first day of the period after the one that begins at `start`."""
    if frequency == "daily":
        return start + 1
    if frequency == "weekly":
        return start + 7
    return _next_month(start)


@lru_cache(maxsize=65_536)
def _next_month(start: int) -> int:
    first = to_date(start)
    return from_date(first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1))


def weekday(day: int) -> int:
    """Return the weekday of a day number, 0 = Sunday."""
    return (day + 4) % 7  # 1970-01-01 was a Thursday
