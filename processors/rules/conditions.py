"""What a record must meet before it is applied: its key, its timestamp, the token and time of control records."""

from processors.rules.catalogs import CatalogStore
from processors.rules.control import CONTROL_HEADER, carries_token
from processors.rules.decode import SHOWN, loose_fields
from processors.rules.effects import shown_instant
from processors.rules.errors import RejectedError
from processors.rules.partitioner import partition_of
from processors.rules.plan import Plan
from schemas.instants import EARLIEST_MS, LATEST_MS, to_ms
from schemas.records import ControlRecord, LogRecord
from schemas.topics import MAX_RECORD_BYTES, user_key


def check_key(record: LogRecord, tenant: str, user_id: str, partitions: int | None) -> bytes:
    """Return the user's key, which must be the record's and decide its partition (X1).

    Raises:
        RejectedError: `wrong_key`, `bad_request`.
    """
    key = user_key(tenant, user_id)
    if "\0" in user_id or "\0" in tenant:
        raise RejectedError("bad_request", "user.id and tenant must not hold the character NUL, which separates them")
    if record.key != key:
        given = "no key" if record.key is None else f"the key {record.key[:SHOWN]!r}"
        raise RejectedError(
            "wrong_key",
            f"the record has {given}; set it to the user id {key[:SHOWN]!r}, with a tenant: tenant, NUL, user id",
        )
    if partitions is not None and partition_of(key, partitions) != record.partition:
        raise RejectedError(
            "wrong_key",
            f"key {key[:SHOWN]!r} belongs to partition {partition_of(key, partitions)}, the record is in "
            f"{record.partition}; use the murmur2 partitioner (librdkafka: partitioner=murmur2_random)",
        )
    return key


def check_key_loosely(record: LogRecord, partitions: int | None) -> None:
    """Check the key of a record that does not decode, as far as it names a user.

    Raises:
        RejectedError: as `check_key` does.
    """
    try:
        found = loose_fields(record.value)
    except RejectedError:
        return
    check_key(record, found.tenant, found.user_id, partitions)


def is_addressed(record: LogRecord, partitions: int | None) -> bool:
    """Tell whether a refused record names a user and stands under its key (D-03)."""
    if record.value is None or len(record.value) > MAX_RECORD_BYTES:
        return False
    try:
        found = loose_fields(record.value)
        check_key(record, found.tenant, found.user_id, partitions)
    except RejectedError:
        return False
    return True


def check_timestamp(record: LogRecord) -> None:
    """Refuse a timestamp that no calendar day can be made of (D-11).

    Raises:
        RejectedError: `bad_request`.
    """
    if not EARLIEST_MS <= record.timestamp_ms <= LATEST_MS:
        raise RejectedError(
            "bad_request", f"record timestamp {record.timestamp_ms} ms lies outside the years 3 to 9988"
        )


def check_control(record: LogRecord, control: ControlRecord, token: str | None) -> None:
    """Check a control record: its token (None: none is asked for), and its time, which does not run ahead of the log's (F1).

    Raises:
        RejectedError: `forged_time`, `bad_request`.
    """
    if token is not None and not carries_token(record.headers, token.encode()):
        raise RejectedError(
            "forged_time", f"control records need the header {CONTROL_HEADER} with the configured token"
        )
    at = to_ms(control.at)
    if at > record.timestamp_ms:
        raise RejectedError(
            "forged_time",
            f"at {shown_instant(at)} is later than the record timestamp {shown_instant(record.timestamp_ms)}",
        )
    check_timestamp(record)
    if at < EARLIEST_MS:
        raise RejectedError("bad_request", "at lies before the year 3")


def check_order(plan: Plan, at: int, tenant: str, current: Plan | None, catalogs: CatalogStore) -> None:
    """Refuse a switch that does not say when its version was published, or that goes back (C38, D-22). `current` is the
    tenant's plan in force.

    Raises:
        RejectedError: `stale_catalog`.
    """
    if at != plan.at:
        raise RejectedError(
            "stale_catalog",
            f"at {shown_instant(at)} is not the version's own instant {shown_instant(plan.at)} (C38)",
        )
    if current is not None and not catalogs.follows(tenant, plan.version, current.version):
        raise RejectedError(
            "stale_catalog",
            f"version {plan.version[:SHOWN]!r} is older than {current.version!r}, which is in force; publish it anew",
        )
