"""How texts, numbers and instants may be written, by the letter of the chapters, with the standard library alone."""

import json
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

Json = dict[str, Any]

DEPTH = 100
LONGEST_TEXT = 1_024
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_NUMBER = re.compile(r"(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?")
INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_OFFSET = re.compile(r"[+-](\d\d):(\d\d)", re.ASCII)


class Number(str):
    """The literal text of a JSON number."""

    __slots__ = ()


class Refused(Exception):
    """A reason code; `grey`: another one, or none, would do too."""

    def __init__(self, reason: str, *, grey: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.grey = reason, grey


def parse(value: bytes) -> Json:
    """The object of a record (X1, X9). Of duplicate names the last counts.

    Raises:
        Refused: malformed.
    """
    try:
        text = value.decode()
        if text.count("[") + text.count("{") > DEPTH and _depth(text) > DEPTH:
            raise Refused("malformed")
        found = json.loads(
            text, parse_int=Number, parse_float=Number, parse_constant=_constant, object_pairs_hook=_pairs
        )
    except (ValueError, RecursionError) as error:
        raise Refused("malformed") from error
    if not isinstance(found, dict):
        raise Refused("malformed")
    return found


def _constant(text: str) -> Any:
    raise ValueError(text)


def _pairs(pairs: list[tuple[str, Any]]) -> Json:
    for name, value in pairs:
        for text in (name, value, *(value if isinstance(value, list) else ())):
            if isinstance(text, str):
                text.encode()  # half a surrogate pair is no text
    return dict(pairs)


def _depth(text: str) -> int:
    depth = deepest = place = 0
    inside = False
    while place < len(text):
        character = text[place]
        if inside:
            if character == "\\":
                place += 1
            inside = character != '"'
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
        place += 1
    return deepest


def instant(text: Any, *, bounded: bool = True) -> tuple[int, bool]:
    """Epoch milliseconds of an instant, and whether the chapters leave its form open. `bounded`: D-11 holds.

    Raises:
        Refused: bad_request.
    """
    if not isinstance(text, str) or isinstance(text, Number):
        raise Refused("bad_request")
    match = INSTANT.fullmatch(text)
    grey = match is None
    if match is None:
        return _leniently(text)
    day, clock, fraction, offset = match.groups()
    minutes = 0
    if offset != "Z":
        hours, rest = int(offset[1:3]), int(offset[4:6])
        if hours > 23 or rest > 59:
            raise Refused("bad_request")
        minutes = (hours * 60 + rest) * (-1 if offset[0] == "-" else 1)
    try:
        local = datetime.fromisoformat(f"{day}T{clock}+00:00")
    except ValueError:
        raise Refused("bad_request", grey=clock[:2] == "24" or clock[6:] == "60") from None
    milliseconds = int(((fraction or "") + "000")[:3])
    at = (local - EPOCH) // timedelta(milliseconds=1) + milliseconds - minutes * 60_000
    year = local.year
    if year in (2, 3, 9988, 9989):
        grey = True  # D-11 names years; where exactly they end in which zone is open
    elif bounded and not 3 <= year <= 9988:
        raise Refused("bad_request")
    return at, grey


def _leniently(text: str) -> tuple[int, bool]:
    """Another way to write an instant: whether it is taken is open."""
    try:
        moment = datetime.fromisoformat(text.upper().replace(" ", "T"))
    except ValueError:
        plausible = re.match(r"\d{4}-\d\d-\d\d[Tt ]\d\d", text, re.ASCII) is not None
        raise Refused("bad_request", grey=plausible) from None
    if moment.tzinfo is None:
        raise Refused("bad_request", grey=True)
    return (moment - EPOCH) // timedelta(milliseconds=1), True


def scaled(text: str) -> int:
    """The value of a number's text times 10^9, rounded half away from zero (N2-N4, C4, C30).

    Raises:
        Refused: value_out_of_range.
    """
    match = _NUMBER.fullmatch(text)
    assert match is not None, text
    sign, whole, fraction, exponent = match.groups()
    digits = (whole + (fraction or "")).lstrip("0")
    if not digits:
        return 0
    shift = _bounded(exponent or "0") - len(fraction or "") + 9
    if len(digits) + shift > 30:
        raise Refused("value_out_of_range")
    if len(digits) + shift < 0:
        return 0
    exact = Decimal(digits).scaleb(shift) if len(digits) < 25 else None
    if exact is not None and shift >= 0:
        magnitude = int(exact)
    elif shift >= 0:
        magnitude = int(digits) * 10**shift
    else:
        kept = digits[:shift] or "0"
        magnitude = int(kept) + (1 if digits[len(digits) + shift] >= "5" else 0)
    if magnitude > 10**21:
        raise Refused("value_out_of_range")
    return -magnitude if sign else magnitude


def _bounded(exponent: str) -> int:
    digits = exponent.lstrip("+-").lstrip("0") or "0"
    magnitude = 10**9 if len(digits) > 9 else int(digits)
    return -magnitude if exponent.startswith("-") else magnitude


def is_text(value: Any, least: int = 0, most: int | None = LONGEST_TEXT) -> bool:
    """Whether a value is a text of a length."""
    return (
        isinstance(value, str)
        and not isinstance(value, Number)
        and len(value) >= least
        and (most is None or len(value) <= most)
    )


def is_day(text: Any) -> bool:
    """Whether a value is a date YYYY-MM-DD."""
    if not is_text(text) or not _DAY.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def is_zone(name: str, zones: set[str]) -> bool:
    """U7: an IANA zone or an offset up to 14:00."""
    offset = _OFFSET.fullmatch(name)
    if offset:
        minutes = int(offset[1]) * 60 + int(offset[2])
        return int(offset[2]) <= 59 and minutes <= 14 * 60
    return name in zones
