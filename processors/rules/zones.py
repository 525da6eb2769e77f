"""Local dates of instants in a user's zone (N8, S8, U7, C29)."""

import re
import zoneinfo
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from schemas.instants import DAY_MS, MINUTE_MS, from_date, to_datetime

# Replays must not depend on the machine's own zone files: only the pinned `tzdata` package counts.
zoneinfo.reset_tzpath(to=())

_NAMES: Final = zoneinfo.available_timezones()
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)", re.ASCII)
_MAX_OFFSET_MINUTES: Final = 14 * 60
_SEARCH_BACK_MS: Final = 2 * DAY_MS
_DAY_MINUTES: Final = 24 * 60
_DATE_CACHE: Final = 65_536
_LONGEST_NAME: Final = 64


class Zone:
    """A zone, fixed or from the zone database."""

    __slots__ = ()

    def day(self, ms: int) -> int:
        """Return the local date of an instant as a day number."""
        raise NotImplementedError

    def first_instant(self, day: int) -> int:
        """Return the first instant whose local date is `day` or later (S8)."""
        raise NotImplementedError

    def instant_of(self, day: int, minute: int) -> int:
        """Return the first instant whose local date and time is minute `minute` of `day` or later."""
        raise NotImplementedError

    def reached_day(self, ms: int) -> int:
        """Return the latest local date that had begun by the instant; later than `day` only where clocks went back."""
        raise NotImplementedError


class FixedZone(Zone):
    """A constant offset from UTC."""

    __slots__ = ("_offset_ms",)

    def __init__(self, offset_ms: int) -> None:
        self._offset_ms = offset_ms

    def day(self, ms: int) -> int:
        """See Zone."""
        return (ms + self._offset_ms) // DAY_MS

    def reached_day(self, ms: int) -> int:
        """See Zone."""
        return (ms + self._offset_ms) // DAY_MS

    def first_instant(self, day: int) -> int:
        """See Zone."""
        return day * DAY_MS - self._offset_ms

    def instant_of(self, day: int, minute: int) -> int:
        """See Zone."""
        return day * DAY_MS + minute * MINUTE_MS - self._offset_ms


class DatabaseZone(Zone):
    """A zone of the zone database."""

    __slots__ = ("_first", "_info", "_times")

    def __init__(self, info: zoneinfo.ZoneInfo) -> None:
        self._info = info
        self._first: dict[int, int] = {}
        self._times: dict[int, int] = {}  # by minutes since 1970-01-01, local

    def _offset_ms(self, ms: int) -> int:
        offset = to_datetime(ms).astimezone(self._info).utcoffset()
        assert offset is not None
        return offset // timedelta(milliseconds=1)

    def day(self, ms: int) -> int:
        """See Zone."""
        return from_date(datetime.fromtimestamp(ms // 1000, self._info).date())

    def reached_day(self, ms: int) -> int:
        """See Zone."""
        day = self.day(ms)
        return day + 1 if self.first_instant(day + 1) <= ms else day

    def first_instant(self, day: int) -> int:
        """See Zone."""
        found = self._first.get(day)
        if found is None:
            if len(self._first) >= _DATE_CACHE:
                self._first.clear()
            found = self._first[day] = self._search(day * DAY_MS)
        return found

    def instant_of(self, day: int, minute: int) -> int:
        """See Zone."""
        key = day * _DAY_MINUTES + minute
        found = self._times.get(key)
        if found is None:
            if len(self._times) >= _DATE_CACHE:
                self._times.clear()
            found = self._times[key] = self._search(key * MINUTE_MS)
        return found

    def _search(self, local_ms: int) -> int:
        """Walk from well before a local date and time to its first instant, one offset change at a time."""
        at = local_ms - _SEARCH_BACK_MS
        while True:
            offset = self._offset_ms(at)
            candidate = local_ms - offset
            change = self._first_change(at, candidate, offset)
            if change is None:
                return candidate
            if change + self._offset_ms(change) >= local_ms:
                return change
            at = change

    def _first_change(self, start: int, end: int, offset: int) -> int | None:
        """Return the first instant in (start, end] whose offset differs from that at start, None if there is none."""
        step = 6 * 3_600_000
        at = start
        while at < end:
            following = min(at + step, end)
            if self._offset_ms(following) != offset:
                low, high = at, following
                while high - low > 1:
                    middle = (low + high) // 2
                    if self._offset_ms(middle) == offset:
                        low = middle
                    else:
                        high = middle
                return high
            at = following
        return None


UTC: Final = FixedZone(0)


def find_zone(name: str | None) -> Zone | None:
    """Return the zone of a name, UTC for None, None for a name that is neither an IANA zone nor an offset ±HH:MM."""
    if name is None:
        return UTC
    return _find(name) if len(name) <= _LONGEST_NAME else None


@lru_cache(maxsize=4096)
def _find(name: str) -> Zone | None:
    offset = _OFFSET.fullmatch(name)
    if offset is not None:
        minutes = int(offset[2]) * 60 + int(offset[3])
        if int(offset[3]) > 59 or minutes > _MAX_OFFSET_MINUTES:
            return None
        return FixedZone((-minutes if offset[1] == "-" else minutes) * MINUTE_MS)
    return DatabaseZone(zoneinfo.ZoneInfo(name)) if name in _NAMES else None


def zone_of(name: str | None) -> Zone:
    """Return the zone of a stored name, which was checked when it came in."""
    zone = find_zone(name)
    assert zone is not None, name
    return zone
