"""Instants are integers: milliseconds since 1970-01-01T00:00Z. Dates are integers: days since 1970-01-01 (N7)."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()

MIN_DAY: Final = date.min.toordinal() - _EPOCH_ORDINAL
MAX_DAY: Final = date.max.toordinal() - _EPOCH_ORDINAL

EARLIEST_MS: Final = (MIN_DAY + 400) * DAY_MS
LATEST_MS: Final = (MAX_DAY - 4000) * DAY_MS
"""Instants beyond these, in the years before 3 and after 9988, are refused: local dates and due instants around them would
leave the calendar (D-11)."""

_TEXT_CACHE_LIMIT: Final = 100_000
_day_text: Final[dict[int, str]] = {}
_MINUTES: Final = [f"T{minute // 60:02d}:{minute % 60:02d}:" for minute in range(24 * 60)]
_SECONDS: Final = [f"{second:02d}.000Z" for second in range(60)]


def to_ms(moment: datetime) -> int:
    """Return an aware datetime as epoch milliseconds, parts of a millisecond dropped (N7)."""
    elapsed = moment - _EPOCH
    return elapsed.days * DAY_MS + elapsed.seconds * SECOND_MS + elapsed.microseconds // 1000


def to_datetime(ms: int) -> datetime:
    """Return epoch milliseconds as an aware UTC datetime."""
    return _EPOCH + timedelta(milliseconds=ms)


def parse_instant(text: str) -> int:
    """Return ISO 8601 text with a UTC offset as epoch milliseconds.

    Raises:
        ValueError: not ISO 8601, or without an offset.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no UTC offset; write for example 2025-03-01T10:00:00Z")
    return to_ms(moment)


def format_instant(ms: int) -> str:
    """Return `YYYY-MM-DDThh:mm:ss.mmmZ` (X13)."""
    day = ms // DAY_MS
    rest = ms - day * DAY_MS
    minute = rest // MINUTE_MS
    millis = rest - minute * MINUTE_MS
    second = millis // SECOND_MS
    milli = millis - second * SECOND_MS
    if not milli:
        return f"{format_day(day)}{_MINUTES[minute]}{_SECONDS[second]}"
    return f"{format_day(day)}{_MINUTES[minute]}{second:02d}.{milli:03d}Z"


def format_day(day: int) -> str:
    """Return a day number as `YYYY-MM-DD` (N7)."""
    text = _day_text.get(day)
    if text is None:
        text = date.fromordinal(day + _EPOCH_ORDINAL).isoformat()
        if len(_day_text) >= _TEXT_CACHE_LIMIT:
            _day_text.clear()
        _day_text[day] = text
    return text


def parse_day(text: str) -> int:
    """Return `YYYY-MM-DD` as a day number.

    Raises:
        ValueError: not a date of that form.
    """
    if not _DATE.fullmatch(text):
        raise ValueError(f"{text!r} is not a date of the form YYYY-MM-DD")
    return date.fromisoformat(text).toordinal() - _EPOCH_ORDINAL


def to_date(day: int) -> date:
    """Return a day number as a `datetime.date`."""
    return date.fromordinal(day + _EPOCH_ORDINAL)


def from_date(value: date) -> int:
    """Return a `datetime.date` as a day number."""
    return value.toordinal() - _EPOCH_ORDINAL
