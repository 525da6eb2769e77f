"""Values as the tables take them: clamped instants and dates, exact decimals, local dates."""

import re
from datetime import date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from projections.errors import UndecodableError
from schemas.instants import DAY_MS, from_date, parse_instant, to_datetime

MIN_COLUMN_DAY: Final = from_date(date(1900, 1, 1))
MAX_COLUMN_DAY: Final = from_date(date(2299, 12, 31))
"""First and last day that Date32 and DateTime64(3) hold. What lies outside is clamped, so that no insert fails."""

MIN_COLUMN_MS: Final = MIN_COLUMN_DAY * DAY_MS
MAX_COLUMN_MS: Final = (MAX_COLUMN_DAY + 1) * DAY_MS - 1

_INT64_MAX: Final = 2**63 - 1
_INSTANT_CACHE_SIZE: Final = 65_536  # an instant stands in several records of the same cause
_DAY_CACHE_SIZE: Final = 16_384
_ZONE_CACHE_SIZE: Final = 1_024

_DECIMAL = re.compile(rb"-?[0-9]{1,29}(?:\.[0-9]{1,9})?")
"""What Decimal(38, 9) holds exactly, in the form of X13."""

_OFFSET = re.compile(r"([+-])([0-9]{2}):([0-9]{2})")


@lru_cache(_INSTANT_CACHE_SIZE)
def instant(text: str) -> int:
    """Return an instant as milliseconds since 1970, clamped to the years 1900-2299.

    Raises:
        UndecodableError: not an instant.
    """
    try:
        ms = parse_instant(text)
    except ValueError as error:
        raise UndecodableError(f"{text[:40]!r} is not an instant") from error
    return min(max(ms, MIN_COLUMN_MS), MAX_COLUMN_MS)


@lru_cache(_DAY_CACHE_SIZE)
def day(text: str) -> int:
    """Return a date `YYYY-MM-DD` as days since 1970, clamped to the years 1900-2299.

    Raises:
        UndecodableError: not a date.
    """
    try:
        value = from_date(date.fromisoformat(text))
    except ValueError as error:
        raise UndecodableError(f"{text[:40]!r} is not a date") from error
    return min(max(value, MIN_COLUMN_DAY), MAX_COLUMN_DAY)


def exact(number: bytes) -> str:
    """Return the literal text of a JSON number (X13), which the column takes as it is; no float touches it.

    Raises:
        UndecodableError: not a plain decimal that Decimal(38, 9) holds exactly.
    """
    if _DECIMAL.fullmatch(number) is None:
        raise UndecodableError(
            f"{number[:60]!r} is not a plain decimal with at most 29 digits before and 9 after the point"
        )
    return number.decode("ascii")


def int64(value: int) -> int:
    """Return an integer that fits its column.

    Raises:
        UndecodableError: beyond 64 bits.
    """
    if -_INT64_MAX <= value <= _INT64_MAX:
        return value
    raise UndecodableError(f"an integer beyond 64 bits: {str(value)[:40]}")


@lru_cache(_ZONE_CACHE_SIZE)
def _zone(name: str) -> tzinfo | None:
    """Return the zone of an IANA name or a fixed offset `±HH:MM` (C29); None if there is no such zone."""
    match = _OFFSET.fullmatch(name)
    if match is not None:
        sign, hours, minutes = match.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        return timezone(-offset if sign == "-" else offset) if offset < timedelta(hours=24) else None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def local_day(ms: int, zone_name: str | None) -> int:
    """Return the calendar date of an instant in a zone, as days since 1970. Without a zone it is the UTC date (N8); so
    it is for a name that this machine does not know, since a row must not be lost for that."""
    zone = _zone(zone_name) if zone_name else None
    if zone is None:
        return ms // DAY_MS
    moment: datetime = to_datetime(ms)
    return min(max(from_date(moment.astimezone(zone).date()), MIN_COLUMN_DAY), MAX_COLUMN_DAY)
