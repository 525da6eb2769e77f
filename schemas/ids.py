"""Ids are UUID v5 of what they stand for, so that a replay gives the same ones (C33, R15)."""

from hashlib import sha1
from typing import Final
from uuid import NAMESPACE_URL, uuid5

_NAMESPACE: Final = uuid5(NAMESPACE_URL, "urn:plaudit").bytes


def derived_id(*parts: str) -> str:
    """Return the UUID v5 of the parts joined by NUL, in the namespace of Plaudit."""
    digest = bytearray(sha1(_NAMESPACE + "\0".join(parts).encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
