"""What the fold hands to whoever runs it."""

import msgspec

from schemas.topics import REJECTED


class Emission(msgspec.Struct, frozen=True, gc=False):
    """One record to publish.

    Attributes:
        topic: logical topic name, a constant of `schemas.topics`.
        key: record key.
        value: record value, JSON.
        type: derived type, for the header `type`; empty = no header.
        id: derived id, for the header `id`; empty = no header.
    """

    topic: str
    key: bytes | None
    value: bytes
    type: str = ""
    id: str = ""

    @property
    def is_refusal(self) -> bool:
        """Whether it tells of a refused record (X11); the topic holds markers of erasures too (X30)."""
        return self.topic == REJECTED and not self.type


class CatalogMissingError(Exception):
    """A `catalog` record names a version that the store does not hold yet; read `plaudit.catalog` to its end and retry."""

    def __init__(self, tenant: str, version: str) -> None:
        super().__init__(f"catalog version {version!r} of tenant {tenant!r} is not known yet")
        self.tenant = tenant
        self.version = version
