"""Bugs of the rules: what they cannot carry out for one user is set aside, and everybody else goes on (X32, D-88, D-89)."""

from collections import Counter as Tally
from collections.abc import Callable
from typing import Final

from processors.rules.entries import Savepoint
from processors.rules.errors import RejectedError
from processors.rules.plan import Plan
from processors.rules.store import UserStore
from processors.rules.user_records import UserRecords
from schemas.emission import CatalogMissingError, Emission
from schemas.records import LogRecord, UserRecord

CAREFUL_RECORDS: Final = 1_000
"""Records after a failure before each of which the user is saved, so that the next failure costs no more than itself."""

NO_LIMIT: Final = 2**62

Report = Callable[[BaseException, LogRecord], None]
"""Hears of every failure, for a log. What comes out must not depend on it."""

Attempt = Callable[[list[Emission], int], bool]
"""One user's part of a record: takes where emissions go and the limit of the slice; False = stopped at a safe point."""


def ignore(error: BaseException, record: LogRecord) -> None:
    """Report nothing."""


def internal_error(error: BaseException) -> RejectedError:
    """Return the refusal for a bug (X32). It names no value: what an exception says may hold anything."""
    return RejectedError(
        "internal_error",
        f"{type(error).__name__} in the rules: a bug of this program, not of the record. Its log has the traceback; "
        "once it is mended, plaudit rejected retry applies the record",
    )


def to_safe_point(store: UserStore, key: bytes, saved: Savepoint | None, attempt: Attempt, out: list[Emission]) -> bool:
    """After `attempt` failed for a user and `out` is as before: do again what can be done, up to the last point where a
    slice could have ended. So it makes no difference where slices ended (architecture.md).

    Returns:
        Whether the attempt went through after all.
    """
    store.restore(key, saved)
    safe = 0
    scratch: list[Emission] = []
    try:
        while not attempt(scratch, safe + 1):
            safe = len(scratch)
    except (CatalogMissingError, MemoryError):
        raise
    except Exception:
        store.restore(key, saved)
        if safe:
            attempt(out, len(out) + safe)
        return False
    out.extend(scratch)
    return True


class CarefulRecords:
    """Applies users' records as `UserRecords` does, each so that its failure leaves no trace (F2)."""

    def __init__(self, records: UserRecords, store: UserStore, counters: Tally[str], report: Report) -> None:
        self._records = records
        self._store = store
        self._counters = counters
        self._report = report

    def process(
        self,
        record: LogRecord,
        decoded: UserRecord,
        key: bytes,
        plan: Plan | None,
        tick: int | None,
        out: list[Emission],
        limit: int,
    ) -> bool:
        """See UserRecords.process.

        Raises:
            RejectedError: internal_error; what was due for the user before the failure is done (D-04).
        """
        saved = self._store.savepoint(key)
        counted = dict(self._counters)
        begin = len(out)
        try:
            return self._records.process(record, decoded, key, plan, tick, out, limit)
        except (CatalogMissingError, MemoryError):
            raise
        except Exception as error:
            del out[begin:]
            self._count_as(counted)
            self._report(error, record)

            def attempt(where: list[Emission], room: int) -> bool:
                return self._records.process(record, decoded, key, plan, tick, where, room)

            if to_safe_point(self._store, key, saved, attempt, out):
                return True
            self._count_as(counted)
            raise internal_error(error) from error

    def _count_as(self, counted: dict[str, int]) -> None:
        self._counters.clear()
        self._counters.update(counted)
