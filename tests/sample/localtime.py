"""Local days and calendar periods for the oracle, written from the spec alone (streaks.md section 2, C29)."""

import re
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Final, Protocol
from zoneinfo import ZoneInfo

DAY_MS: Final = 86_400_000
FREQUENCIES: Final = ("daily", "weekly", "monthly")
WEEKDAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_FIXED: Final = re.compile(r"([+-])(\d\d):(\d\d)")


class Zone(Protocol):
    """A time zone. Days are days since 1970-01-01, instants milliseconds since then in UTC."""

    def day_at(self, instant_ms: int) -> int:
        """Return the local date at an instant."""

    def first_instant(self, day: int) -> int:
        """Return the first instant whose local date is `day` or later (S8)."""


class FixedZone:
    """A zone that is always the same offset away from UTC."""

    def __init__(self, offset_ms: int) -> None:
        self._offset_ms = offset_ms

    def day_at(self, instant_ms: int) -> int:
        return (instant_ms + self._offset_ms) // DAY_MS

    def first_instant(self, day: int) -> int:
        return day * DAY_MS - self._offset_ms


class NamedZone:
    """A zone of the IANA database."""

    def __init__(self, name: str) -> None:
        self._zone = ZoneInfo(name)

    def day_at(self, instant_ms: int) -> int:
        moment = _EPOCH + timedelta(milliseconds=instant_ms)
        return moment.astimezone(self._zone).toordinal() - _EPOCH_ORDINAL

    def first_instant(self, day: int) -> int:
        midnight = datetime.fromordinal(day + _EPOCH_ORDINAL)
        readings = [to_ms(midnight.replace(tzinfo=self._zone, fold=fold)) for fold in (0, 1)]
        real = [ms for ms in readings if self._wall(ms) == midnight]
        if real:
            return min(real)
        # Midnight falls into a gap: it ends with the transition, which lies between the two readings.
        before, after = min(readings), max(readings)
        while after - before > 1:
            middle = (before + after) // 2
            before, after = (before, middle) if self.day_at(middle) >= day else (middle, after)
        return after

    def _wall(self, instant_ms: int) -> datetime:
        return (_EPOCH + timedelta(milliseconds=instant_ms)).astimezone(self._zone).replace(tzinfo=None)


@cache
def zone(name: str) -> Zone:
    """Return the zone of an IANA name or of `±HH:MM` (C29)."""
    fixed = _FIXED.fullmatch(name)
    if fixed is None:
        return NamedZone(name)
    minutes = int(fixed[2]) * 60 + int(fixed[3])
    return FixedZone((-minutes if fixed[1] == "-" else minutes) * 60_000)


class Calendar:
    """Days grouped into periods; a period is named by its first day (S2-S4)."""

    def __init__(self, week_start: str = "sunday") -> None:
        self._week_start = WEEKDAYS.index(week_start)

    def period_of(self, frequency: str, day: int) -> int:
        """Return the first day of the period that contains `day`."""
        if frequency == "daily":
            return day
        if frequency == "weekly":
            return day - (day + 4 - self._week_start) % 7  # 1970-01-01 was a Thursday
        return day - to_date(day).day + 1

    def next_period(self, frequency: str, start: int) -> int:
        """Return the first day of the period after the one that starts at `start`."""
        if frequency == "daily":
            return start + 1
        if frequency == "weekly":
            return start + 7
        return self.period_of(frequency, start + 31)


def to_ms(moment: datetime) -> int:
    """Return an aware datetime as milliseconds since the epoch."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def parse_instant(text: str) -> int:
    """Return ISO 8601 text with an offset as milliseconds since the epoch."""
    return to_ms(datetime.fromisoformat(text))


def to_date(day: int) -> date:
    """Return a day number as a date."""
    return date.fromordinal(day + _EPOCH_ORDINAL)


def parse_day(text: str) -> int:
    """Return `YYYY-MM-DD` as a day number."""
    return date.fromisoformat(text).toordinal() - _EPOCH_ORDINAL


@cache
def format_day(day: int) -> str:
    """Return a day number as `YYYY-MM-DD`."""
    return to_date(day).isoformat()
