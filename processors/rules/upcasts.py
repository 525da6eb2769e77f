"""Versions of the stored state, and how what earlier ones wrote is brought to the present form (X33).

A stored form begins with the number of its version in one byte; version 1 had none and begins with the bracket of its JSON.
What comes new into a state with a default needs a new version too, but no conversion: an older worker would drop it.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from schemas.state import NewerStateError

STATE_VERSION: Final = 2
"""Version of states and markers that this program writes.

1: none. 2: `UserState.quarantine`; the mark itself.
"""

Upcast = Callable[[list[Any]], list[Any]]
"""From the decoded array of a user's state to that of the next version. Pure."""

UPCASTS: Final[dict[int, Upcast | None]] = {1: None}
"""By version: the way to the next one; None = new fields have defaults, the array stays as it is."""

MARK: Final = bytes([STATE_VERSION])

_UNMARKED: Final = ord("[")
_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(list[Any])


def version_of(form: bytes) -> int:
    """Return the version that wrote a stored form.

    Raises:
        NewerStateError: one that this program does not know.
    """
    version = 1 if form[0] == _UNMARKED else form[0]
    if version > STATE_VERSION:
        raise NewerStateError(version, STATE_VERSION)
    return version


def present_json(form: bytes, upcasts: dict[int, Upcast | None] = UPCASTS) -> bytes:
    """Return the JSON of a stored state in the form of the present version.

    Raises:
        NewerStateError: see `version_of`.
    """
    version = version_of(form)
    json = form if version == 1 else form[1:]
    steps = [upcasts[number] for number in range(version, STATE_VERSION)]
    if not any(steps):
        return json
    state = _decoder.decode(json)
    for step in steps:
        if step is not None:
            state = step(state)
    return _encode(state)
