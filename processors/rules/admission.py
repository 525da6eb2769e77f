"""Admission of a batch of metric events: a pure function beside `apply` (B1-B6, C39)."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from processors.rules.apply import check_event, given_user
from processors.rules.decode import decode
from processors.rules.errors import RejectedError
from processors.rules.plan import Plan
from processors.rules.user import User
from schemas.records import MetricEvent
from schemas.topics import user_key

MAX_BATCH: Final = 1_000
"""Items of one batch (B1)."""


class Refusal(msgspec.Struct, frozen=True):
    """Why an item is refused: its index, reason code, HTTP status and message."""

    index: int
    reason: str
    status: int
    message: str


class Admission(msgspec.Struct, frozen=True):
    """The answer to a batch.

    Attributes:
        records: what goes to the log, in array order, as (key, value); empty if anything is refused (B3).
        refusals: refused items by index; the first decides the answer. A refusal of the whole batch has index -1.
    """

    records: list[tuple[bytes, bytes]]
    refusals: list[Refusal]


def admit(items: Sequence[bytes], plan: Plan | None, user_of: Callable[[bytes], User | None], at_ms: int) -> Admission:
    """Validate a whole batch before anything of it reaches the log (B3).

    Args:
        items: metric events as JSON (X3).
        plan: the catalog in force, None if there is none.
        user_of: the stored user of a key as it is before the batch (C6), None if there is none.
        at_ms: ingest time of the batch (B4).
    """
    if not 1 <= len(items) <= MAX_BATCH:
        message = f"the batch has {len(items)} items; send 1 to {MAX_BATCH}"
        return Admission([], [Refusal(-1, "batch_size", 422, message)])
    records: list[tuple[bytes, bytes]] = []
    refusals: list[Refusal] = []
    for index, item in enumerate(items):
        try:
            event = decode(item)
            if not isinstance(event, MetricEvent):
                raise RejectedError("bad_request", "a batch holds metric events only; leave out type")
            if plan is None:
                raise RejectedError("unknown_metric", "no catalog is in force; publish one first")
            key = user_key(event.tenant, given_user(event.user).id)
            check_event(event, user_of(key), plan, at_ms)
            records.append((key, item))
        except RejectedError as error:
            refusals.append(Refusal(index, error.reason, error.status, error.message))
    return Admission([] if refusals else records, refusals)
