"""Ids are UUID v5 of what they stand for, so that a replay gives the same ones (C33, R15)."""

from hashlib import sha1
from typing import Final
from uuid import NAMESPACE_URL, uuid5

_SEED: Final = sha1(uuid5(NAMESPACE_URL, "urn:plaudit").bytes, usedforsecurity=False)
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def derived_id(*parts: str) -> str:
    """Return the UUID v5 of the parts joined by NUL, in the namespace of Plaudit."""
    return named_id("\0".join(parts))


def named_id(name: str) -> str:
    """Return the UUID v5 of a name in the namespace of Plaudit."""
    hasher = _SEED.copy()
    hasher.update(name.encode())
    text = hasher.hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"
