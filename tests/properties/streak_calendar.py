"""The calendar of the streak oracle: local dates, first instants of dates, periods. Standard library only."""

from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

FREQUENCIES = ("daily", "weekly", "monthly")
WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@lru_cache
def zone_named(name: str | None) -> tzinfo:
    """Return the zone of a user: an IANA name, a fixed offset like `+05:30`, None = UTC (S5, U7)."""
    if name is None:
        return UTC
    if name[0] in "+-":
        offset = timedelta(hours=int(name[1:3]), minutes=int(name[4:6]))
        return timezone(-offset if name[0] == "-" else offset)
    return ZoneInfo(name)


def local_date(at: datetime, name: str | None) -> date:
    """Return the date that the wall clock of the zone shows (N8)."""
    return at.astimezone(zone_named(name)).date()


def reached_date(at: datetime, name: str | None) -> date:
    """Return the latest local date that has begun; later than the wall clock shows in an hour repeated over midnight."""
    day = local_date(at, name)
    return day + DAY if first_instant(day + DAY, name) <= at else day


@lru_cache(maxsize=200_000)
def first_instant(day: date, name: str | None) -> datetime:
    """Return the first UTC instant whose local date is `day` or later (S8).

    The local date can pass `day` only at a midnight or where the offset changes, so these are the candidates.
    """
    midnight = datetime.combine(day, time(), UTC)
    samples = [midnight + hours * HOUR for hours in range(-17, 18)]
    offsets = [at.astimezone(zone_named(name)).utcoffset() or timedelta() for at in samples]
    candidates = [midnight - offset for offset in set(offsets)]
    for earlier, later, before, after in zip(samples, samples[1:], offsets, offsets[1:], strict=False):
        if before != after:
            candidates.append(change_between(earlier, later, name))
    return min(at for at in candidates if local_date(at, name) >= day)


def change_between(earlier: datetime, later: datetime, name: str | None) -> datetime:
    """Return the second at which the offset changes; there is one change between the two."""
    first = earlier.astimezone(zone_named(name)).utcoffset()
    while later - earlier > timedelta(seconds=1):
        middle = earlier + timedelta(seconds=(later - earlier) // timedelta(seconds=2))
        if middle.astimezone(zone_named(name)).utcoffset() == first:
            earlier = middle
        else:
            later = middle
    return later


def weekday(day: date) -> int:
    """Return 0 for Sunday to 6 for Saturday."""
    return day.isoweekday() % 7


def period_start(frequency: str, day: date, week_start: str = "sunday") -> date:
    """Return the first date of the period that holds `day` (S2-S4)."""
    if frequency == "daily":
        return day
    if frequency == "monthly":
        return day.replace(day=1)
    while weekday(day) != WEEKDAYS.index(week_start):
        day -= DAY
    return day


def next_start(frequency: str, start: date) -> date:
    """Return the first date of the period after the one that begins on `start`."""
    if frequency == "daily":
        return start + DAY
    if frequency == "weekly":
        return start + 7 * DAY
    return (start + 31 * DAY).replace(day=1)


def last_day(frequency: str, start: date) -> date:
    """Return the last date of the period that begins on `start`."""
    return next_start(frequency, start) - DAY
