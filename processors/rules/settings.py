"""Settings that the fold depends on. They are part of the result: change them and a replay gives other ids or limits."""

from typing import Final

import msgspec

REMEMBERED_IDS: Final = 65_536
"""Event ids, and idempotency keys, remembered per user (C32)."""

DECODED_USERS: Final = 20_000
"""Users kept decoded: a decoded user takes four times what is stored of it, and decoding it several times an event."""


class FoldSettings(msgspec.Struct, frozen=True):
    """What a partition's fold is configured with.

    Attributes:
        topic: full name of the input topic; part of default event ids (X4).
        environment: part of every derived id (C42).
        partitions: number of partitions of the input topic; None = the placement of keys is not checked.
        control_token: what the header `plaudit-control` of control records must hold; None = not checked (X7).
        remembered_ids: event ids and idempotency keys remembered per user (C32).
        decoded_users: users of a partition kept decoded, those changed last; of others only what the changelog has is in
            memory. Not part of the result.
    """

    topic: str = "plaudit.events"
    environment: str = "production"
    partitions: int | None = None
    control_token: str | None = None
    remembered_ids: int = REMEMBERED_IDS
    decoded_users: int = DECODED_USERS
