"""`msgspec.UNSET` as a name of a compiled module: compiled code need not look it up."""

from typing import Final

import msgspec

UNSET: Final = msgspec.UNSET
