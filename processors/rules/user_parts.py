"""The part of a control record that concerns one user: what time does to it, or a switch of the catalog.

If it fails, the user is set aside: it stands still until its own next record, and the others go on (X32, D-89).
"""

from collections import Counter as Tally

from processors.rules import timers
from processors.rules.effects import MakeEffects
from processors.rules.entries import Savepoint
from processors.rules.isolation import Attempt, Report, internal_error, to_safe_point
from processors.rules.plan import Plan
from processors.rules.refusal import rejected
from processors.rules.settings import FoldSettings
from processors.rules.store import UserStore
from processors.rules.switching import move_user
from processors.rules.tallies import Filling
from schemas.emission import Emission
from schemas.records import LogRecord


class UserParts:
    """Carries control records out for the users of a partition, one by one."""

    def __init__(
        self, store: UserStore, settings: FoldSettings, counters: Tally[str], effects: MakeEffects, report: Report
    ) -> None:
        self._store = store
        self._settings = settings
        self._counters = counters
        self._effects = effects
        self._report = report

    def advance(
        self,
        record: LogRecord,
        key: bytes,
        plan: Plan,
        at: int,
        append: int,
        live: bool,
        out: list[Emission],
        limit: int,
    ) -> bool:
        """Do what is due for a user at or before `at`. `live`: messages are due to it (D-33); False = the slice is full."""
        saved, begin = self._store.savepoint(key), len(out)
        try:
            return self._advance(key, plan, at, append, live, out, limit)
        except MemoryError:
            raise
        except Exception as error:
            del out[begin:]

            def attempt(where: list[Emission], room: int) -> bool:
                return self._advance(key, plan, at, append, live, where, room)

            self._set_aside(record, key, plan, saved, attempt, error, out)
            return True

    def _advance(
        self, key: bytes, plan: Plan, at: int, append: int, live: bool, out: list[Emission], limit: int
    ) -> bool:
        user = self._store.get(key)
        assert user is not None
        user.use(plan)
        self._store.touch(key)
        effects = self._effects(out, user, self._settings.environment, None, append)
        effects.live = live
        done = timers.advance(user, plan, at, effects, limit)
        self._store.reschedule(key)
        return done

    def move(
        self,
        record: LogRecord,
        key: bytes,
        old: Plan | None,
        plan: Plan,
        filling: Filling,
        at: int,
        tick: int | None,
        append: int,
        out: list[Emission],
    ) -> None:
        """Take a user over to another plan (see switching.move_user)."""
        saved, begin = self._store.savepoint(key), len(out)
        try:
            self._move(key, old, plan, filling, at, tick, append, out)
        except MemoryError:
            raise
        except Exception as error:
            del out[begin:]

            def attempt(where: list[Emission], _: int) -> bool:
                return self._move(key, old, plan, filling, at, tick, append, where)

            self._set_aside(record, key, plan if old is None else old, saved, attempt, error, out)

    def _move(
        self,
        key: bytes,
        old: Plan | None,
        plan: Plan,
        filling: Filling,
        at: int,
        tick: int | None,
        append: int,
        out: list[Emission],
    ) -> bool:
        user = self._store.get(key)
        assert user is not None
        self._store.touch(key)
        effects = self._effects(out, user, self._settings.environment, None, append)
        move_user(user, old, plan, filling, at, tick, effects)
        self._store.reschedule(key)
        return True

    def _set_aside(
        self,
        record: LogRecord,
        key: bytes,
        plan: Plan,
        saved: Savepoint | None,
        attempt: Attempt,
        error: Exception,
        out: list[Emission],
    ) -> None:
        """Leave a user at its last safe point, under `plan`, until its own next record; report it as refused."""
        self._report(error, record)
        if to_safe_point(self._store, key, saved, attempt, out):
            return
        user = self._store.get(key)
        assert user is not None
        user.use(plan)
        user.state.quarantine = plan.version
        self._store.touch(key)
        self._store.reschedule(key)
        refusal = internal_error(error)
        self._counters[f"rejected.{refusal.reason}"] += 1
        letter = LogRecord(record.partition, record.offset, record.timestamp_ms, key, record.value, record.headers)
        out.append(rejected(letter, self._settings.topic, refusal))
