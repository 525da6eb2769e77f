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


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """How much a fold holds and how far it is, as of its last round; for metrics.

    Attributes:
        state_bytes: encoded states of all users.
        users: users with a state.
        remembered_ids: event ids and idempotency keys; chunks read in a recovery count as full.
        timers: users with something due some time.
        overdue: users with something due by the instant asked about, counted up to 10,000; 0 before the first tick.
        tick_ms: last tick applied, epoch milliseconds; None before the first.
        catalogs: version in force by tenant.
    """

    state_bytes: int = 0
    users: int = 0
    remembered_ids: int = 0
    timers: int = 0
    overdue: int = 0
    tick_ms: int | None = None
    catalogs: dict[str, str] = {}


class CatalogMissingError(Exception):
    """A `catalog` record names a version that the store does not hold yet; read `plaudit.catalog` to its end and retry."""

    def __init__(self, tenant: str, version: str) -> None:
        super().__init__(f"catalog version {version!r} of tenant {tenant!r} is not known yet")
        self.tenant = tenant
        self.version = version
