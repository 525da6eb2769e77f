"""Settings that the fold depends on. They are part of the result: change them and a replay gives other ids or limits."""

from typing import Final

import msgspec

REMEMBERED_IDS: Final = 65_536
"""Event ids, and idempotency keys, remembered per user (C32)."""


class FoldSettings(msgspec.Struct, frozen=True):
    """What a partition's fold is configured with.

    Attributes:
        topic: full name of the input topic; part of default event ids (X4).
        environment: part of every derived id (C42).
        partitions: number of partitions of the input topic; None = the placement of keys is not checked.
        control_token: what the header `plaudit-control` of control records must hold; None = not checked (X7).
        remembered_ids: event ids and idempotency keys remembered per user (C32).
    """

    topic: str = "plaudit.events"
    environment: str = "production"
    partitions: int | None = None
    control_token: str | None = None
    remembered_ids: int = REMEMBERED_IDS
