"""The control token: what tells the program's own records from those of anybody who may write to the input log (X7)."""

from collections.abc import Sequence
from hmac import compare_digest
from typing import Final

CONTROL_HEADER: Final = "plaudit-control"
"""Header of control records that holds the control token, where one is configured."""


def carries_token(headers: Sequence[tuple[str, bytes | None]], token: bytes) -> bool:
    """Tell whether a record carries the control token, in a time that does not depend on how much of it fits."""
    return any(name == CONTROL_HEADER and value is not None and compare_digest(value, token) for name, value in headers)
