"""Exact numbers against the standard library's decimals (N1-N5, C4, C30)."""

import time
from decimal import ROUND_HALF_UP, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.numbers import MAX_EVENT_VALUE, SCALE, NotANumberError, ValueOutOfRangeError, format_scaled, parse_scaled

NUMBER = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)


@given(NUMBER)
def test_parsing_agrees_with_decimals(text: str) -> None:
    """Rounded to 9 digits, halves away from zero; beyond 10^12 after rounding it is out of range."""
    with localcontext() as context:
        context.prec = 400
        expected = Decimal(text).quantize(Decimal("1e-9"), rounding=ROUND_HALF_UP)
        scaled = int(expected.scaleb(9))
    if abs(scaled) > MAX_EVENT_VALUE:
        with pytest.raises(ValueOutOfRangeError):
            parse_scaled(text.encode())
    else:
        assert parse_scaled(text.encode()) == scaled


@given(st.integers(-(10**30), 10**30))
def test_formatting_is_exact_and_plain(value: int) -> None:
    """No exponent, no trailing zeros, no -0, and nothing lost."""
    text = format_scaled(value)
    assert Decimal(text) == Decimal(value).scaleb(-9, context=None) or abs(value) > 10**27
    assert "e" not in text.lower()
    assert not ("." in text and text.endswith(("0", ".")))
    assert text != "-0"


@pytest.mark.parametrize(
    "text", ["", "-", "1.", ".5", "1e", "0x1", "NaN", "Infinity", '"1"', "true", "[1]", "١", "1 2"]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    """Z1: the value must be a JSON number."""
    with pytest.raises(NotANumberError):
        parse_scaled(text.encode())


@pytest.mark.parametrize(
    ("text", "scaled"),
    [
        ("0.30000000000000004", 300_000_000),
        ("0.0000000005", 1),
        ("-0.0000000005", -1),
        ("0.00000000049999", 0),
        ("1e12", MAX_EVENT_VALUE),
        ("1000000000000.0000000004", MAX_EVENT_VALUE),
        ("0e999999999999999999", 0),
        ("1e-999999999999999999", 0),
        ("-0", 0),
        ("0.000001e6", SCALE),
    ],
)
def test_known_values(text: str, scaled: int) -> None:
    """Edges of rounding and range."""
    assert parse_scaled(text.encode()) == scaled


@pytest.mark.parametrize("text", ["1e3000000", "-1e3000000", "9" * 400, "1e" + "9" * 400, "1000000000000.0000000005"])
def test_beyond_the_range_costs_nothing(text: str) -> None:
    """The exponent is looked at before anything is scaled (C30)."""
    start = time.process_time()
    with pytest.raises(ValueOutOfRangeError):
        parse_scaled(text.encode())
    assert time.process_time() - start < 1
