"""Exact numbers (N1-N5, C30): metric values are integers scaled by 10^9; a float never touches them."""

import re
from decimal import Decimal
from typing import Final

FRACTION_DIGITS: Final = 9
"""Digits kept after the point (N3)."""

SCALE: Final = 10**FRACTION_DIGITS
"""A metric value of 1 is this integer."""

MAX_EVENT_VALUE: Final = 10**12 * SCALE
"""Largest absolute scaled value of one event (N4)."""

MAX_TOTAL: Final = 10**18 * SCALE
"""Largest absolute scaled metric total of a user (N4)."""

MAX_POINTS: Final = 2**53 - 1
"""Largest points balance (P5)."""

_MAX_INTEGER_DIGITS: Final = 13  # 10^12 has thirteen
_MAX_EXPONENT_DIGITS: Final = 9  # a longer exponent is decided by its sign alone

_NUMBER = re.compile(rb"(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?)(\d+))?", re.ASCII)


class NotANumberError(ValueError):
    """The text is not a JSON number (Z1). The producer must send a number, not a string, bool or object."""


class ValueOutOfRangeError(ValueError):
    """The absolute value exceeds 10^12 (N4, Z7). The producer must split or correct the value."""


def parse_scaled(text: bytes) -> int:
    """Return the scaled integer of a JSON number's literal text, halves away from zero (N3).

    The exponent is looked at before anything is scaled, so `1e3000000` costs nothing (C30).

    Raises:
        NotANumberError: the text is no JSON number.
        ValueOutOfRangeError: the rounded value is beyond 10^12 (C4: rounded first, then checked).
    """
    if text.isdigit() and len(text) < _MAX_INTEGER_DIGITS:
        return int(text) * SCALE
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise NotANumberError(text[:40].decode("utf-8", "replace"))
    sign, integer, fraction, exponent_sign, exponent_text = match.groups()
    digits = (integer + (fraction or b"")).lstrip(b"0")
    if not digits:
        return 0
    exponent_digits = (exponent_text or b"0").lstrip(b"0") or b"0"
    negative_exponent = exponent_sign == b"-"
    if len(exponent_digits) > _MAX_EXPONENT_DIGITS:
        if negative_exponent:
            return 0
        raise ValueOutOfRangeError(f"exponent of {len(exponent_digits)} digits")
    exponent = -int(exponent_digits) if negative_exponent else int(exponent_digits)
    point = len(digits) - len(fraction or b"") + exponent  # digits before the point
    if point > _MAX_INTEGER_DIGITS:
        raise ValueOutOfRangeError(f"a number of {point} digits before the point")
    kept = point + FRACTION_DIGITS
    if kept < 0:
        return 0
    magnitude: int = int(digits[:kept] or b"0") * 10 ** max(0, kept - len(digits))
    if kept < len(digits) and digits[kept] >= 0x35:  # '5'
        magnitude += 1
    if magnitude > MAX_EVENT_VALUE:
        raise ValueOutOfRangeError("absolute value beyond 10^12")
    return -magnitude if sign else magnitude


def format_scaled(value: int) -> str:
    """Return the shortest plain decimal of a scaled integer: no exponent, no trailing zeros, no -0 (N5)."""
    magnitude = -value if value < 0 else value
    whole = magnitude // SCALE
    fraction = magnitude - whole * SCALE
    sign = "-" if value < 0 else ""
    if not fraction:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{fraction:09d}".rstrip("0")


def exact(value: int) -> Decimal:
    """Return a scaled integer as the number it stands for, for showing."""
    return Decimal(format_scaled(value))
