"""The fold of one partition of the input log: what every record does, in rounds."""

from collections import Counter as Tally
from typing import Final

import msgspec

from processors.rules import boosts
from processors.rules.catalogs import CatalogStore
from processors.rules.conditions import (
    check_control,
    check_key,
    check_key_loosely,
    check_order,
    check_timestamp,
    is_addressed,
)
from processors.rules.decode import SHOWN, decode, is_control
from processors.rules.effects import Effects, MakeEffects
from processors.rules.errors import RejectedError
from processors.rules.isolation import CAREFUL_RECORDS, NO_LIMIT, CarefulRecords, Report, ignore, internal_error
from processors.rules.plan import Plan
from processors.rules.refusal import rejected
from processors.rules.settings import FoldSettings
from processors.rules.store import UserStore
from processors.rules.tallies import Filling
from processors.rules.upcasts import MARK, version_of
from processors.rules.user import User
from processors.rules.user_parts import UserParts
from processors.rules.user_records import UserRecords
from schemas.catalog_file import CatalogError
from schemas.emission import CatalogMissingError, Emission, Measures
from schemas.instants import to_ms
from schemas.records import CatalogSwitch, LogRecord, MetricEvent, Tick
from schemas.state import PartitionState, UserState
from schemas.topics import tenant_of

MARKER_KEY: Final = b"\0partition"
"""Changelog key of what the partition remembers besides its users, the offset marker among it (PartitionState)."""

_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(PartitionState)


class Partition:
    """All users of one input partition (architecture.md sections 1, 5, 6). Pure: no clock, no I/O.

    A round is any number of `process` calls, then `changes`, then `commit` or `rollback`.

    Attributes:
        number: of the partition.
        counters: of committed rounds, cumulative, for metrics: `applied`, `skipped_offsets`, `skipped_events`, `forgotten_ids`,
            `forgotten_tallies` (events with attributes that the tallies had no room for), and `rejected.<reason>`.
    """

    def __init__(
        self,
        number: int,
        settings: FoldSettings,
        catalogs: CatalogStore,
        effects: MakeEffects = Effects,
        report: Report = ignore,
    ) -> None:
        """`effects` makes the collector of each record's derived events: tracing and preview bring their own. `report` hears
        of failures of the rules (X32)."""
        self.number = number
        self.counters: Tally[str] = Tally()
        self._counted: Tally[str] = Tally()  # by the round in hand
        self._settings = settings
        self._catalogs = catalogs
        self._control = PartitionState()
        self._control_before: bytes = _encode(self._control)
        self._store = UserStore(settings.remembered_ids, settings.decoded_users)
        self._records = UserRecords(self._store, settings, self._counted, catalogs, effects)
        self._parts = UserParts(self._store, settings, self._counted, effects, report)
        self._careful_records = CarefulRecords(self._records, self._store, self._counted, report)
        self._report = report
        self._careful = 0  # records to come before which their user is saved
        self._round: list[LogRecord] = []  # what is done, to do it again if a later record fails
        self._sliced = 0  # emissions of the record in hand that came in earlier slices of this round
        self._first: bytes | None = None  # the user in whose midst a slice ended: the next one goes on with it
        self._first_before: bytes | None = None
        self._announcer = boosts.Announcer(settings.environment)
        self._plans: dict[str, Plan] = {}

    @property
    def next_offset(self) -> int:
        """Offset of the next record to apply: what lies below is part of the state."""
        return self._control.next_offset

    # recovery

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record, in log order.

        Raises:
            NewerStateError: a newer version of this program wrote to the changelog.
        """
        if key != MARKER_KEY:
            self._store.load(key, value)
        elif value is not None:
            self._control = _decoder.decode(value if version_of(value) == 1 else value[1:])

    def loaded(self) -> None:
        """Recovery has ended: rebuild the timers."""
        self._control_before = _encode(self._control)
        self._plans = {}
        self._store.loaded()

    # the round

    def process(self, record: LogRecord, out: list[Emission], limit: int) -> bool:
        """Apply one record of the input log; append what it emits to `out`.

        A record larger than `limit` emissions stops at a safe point and returns False: commit the slice, then call
        again with the same record. What a slice did is no longer due, so the next one goes on where it ended.

        A failure of the rules other than RejectedError, a bug, sets aside the record or the user it concerns (X32).

        Raises:
            CatalogMissingError: before anything is touched; see CatalogStore.give_up.
            Exception: a bug that concerns everybody: a control record cannot be carried out (D-89).
        """
        if record.offset < self._control.next_offset:
            self._counted["skipped_offsets"] += 1
            return True
        begin = len(out)
        try:
            done = self._apply(record, out, limit)
        except RejectedError as error:
            self._refuse(record, error, out)
            done = True
        except (CatalogMissingError, MemoryError):
            raise
        except Exception as failure:  # a name of its own: compiled code gives a name one type
            if is_control(record.value):
                failure.add_note(f"in the control record at offset {record.offset} of partition {record.partition}")
                raise
            self._report(failure, record)
            del out[begin:]
            if not self._careful:
                return self._again(record, out, limit)
            self._refuse(record, internal_error(failure), out)  # no part of a user's: nothing is touched yet
            done = True
        if done:
            self._round.append(record)
        self._sliced = 0 if done else self._sliced + len(out) - begin
        return done

    def _again(self, record: LogRecord, out: list[Emission], limit: int) -> bool:
        """Undo a record that failed, and what it may have spoilt: do the round anew, with more care. What earlier slices of
        the record gave out comes again, and is dropped."""
        earlier, sliced = self._round, self._sliced
        self.rollback()
        self._careful = CAREFUL_RECORDS
        for one in earlier:
            self.process(one, [], NO_LIMIT)
        if not sliced:
            return self.process(record, out, limit)
        found: list[Emission] = []
        self.process(record, found, NO_LIMIT)
        out += found[sliced:]
        return True

    def _refuse(self, record: LogRecord, error: RejectedError, out: list[Emission]) -> None:
        self._counted[f"rejected.{error.reason}"] += 1
        out.append(rejected(record, self._settings.topic, error))
        if is_addressed(record, self._settings.partitions):
            self._records.answer_undecoded(record, error, out)

    def _apply(self, record: LogRecord, out: list[Emission], limit: int) -> bool:
        try:
            decoded = decode(record.value)
        except RejectedError as error:
            if error.reason == "bad_request":
                check_key_loosely(record, self._settings.partitions)  # X9: wrong_key comes before Z1
            raise
        if not isinstance(decoded, MetricEvent) and isinstance(decoded, Tick | CatalogSwitch):
            check_control(record, decoded, self._settings.control_token)
            if isinstance(decoded, Tick):
                return self._tick(record, to_ms(decoded.at), out, limit)
            return self._switch(record, decoded, out, limit)
        user = decoded.user
        key = check_key(record, decoded.tenant, user if isinstance(user, str) else user.id, self._settings.partitions)
        check_timestamp(record)
        plan = self._plans.get(decoded.tenant) or self.plan(decoded.tenant)
        if self._careful:
            self._careful -= 1
            return self._careful_records.process(record, decoded, key, plan, self._control.tick, out, limit)
        return self._records.process(record, decoded, key, plan, self._control.tick, out, limit)

    # records of the program

    def _tick(self, record: LogRecord, at: int, out: list[Emission], limit: int) -> bool:
        """Do everything due at or before `at` (F1, S9)."""
        if not self._run_due(record, at, out, limit):
            return False
        if self._control.tick is None or at > self._control.tick:
            self._control.tick = at
        return True

    def _run_due(self, record: LogRecord, at: int, out: list[Emission], limit: int, tenant: str | None = None) -> bool:
        """Advance all users, or those of a tenant, in the order of due instant, then key; as many as emissions fit."""
        append = max(record.timestamp_ms, self._control.tick or record.timestamp_ms)
        plans = {known: self.plan(known) for known in sorted(self._control.catalogs)}  # what is missing shows first
        most = limit - len(out)
        for known, plan in plans.items():
            stages = self._control.boosts.get(known)
            if plan is None or not stages or tenant not in (None, known):
                continue
            if not self._announcer.announce(stages, plan, known, at, append, out, limit):
                return False
        store = self._store
        store.reschedule_touched()
        advanced, done = 0, True
        while done:
            if len(out) >= limit or advanced >= most:
                return False
            item = store.due.pop(at) if self._first is None else store.due.take(self._first)
            self._first = None
            if item is None:
                break
            due, key = item
            known = tenant_of(key)
            plan = plans.get(known)
            if plan is None or (tenant is not None and known != tenant):
                store.due.set_aside(due, key)
                continue
            advanced += 1
            live = tenant is None or self._control.tick is not None
            done = self._parts.advance(record, key, plan, at, append, live, out, limit)
            if not done:
                self._first = key
        if done:
            store.due.return_set_aside()
        return done

    def _switch(self, record: LogRecord, switch: CatalogSwitch, out: list[Emission], limit: int) -> bool:
        """Put a catalog version in force: first what is due under the old one (C8), then every schedule (P25)."""
        tenant, version, at = switch.tenant, switch.version, to_ms(switch.at)
        if self._control.catalogs.get(tenant) == version:
            return True
        try:
            plan = self._catalogs.plan(tenant, version)
        except CatalogError as error:
            raise RejectedError("unknown_catalog", f"version {version!r} does not pass the checks: {error}") from error
        if plan is None:
            if not self._catalogs.is_given_up(tenant, version):
                raise CatalogMissingError(tenant, version)
            raise RejectedError(
                "unknown_catalog", f"version {version[:SHOWN]!r} is not on the catalog topic; publish it there first"
            )
        check_order(plan, at, tenant, self.plan(tenant), self._catalogs)
        if self._control.switching is None:
            if self.plan(tenant) is not None and not self._run_due(record, at, out, limit, tenant):
                return False
            self._control.switching = (tenant, version, "")
        return self._move_users(record, tenant, version, plan, at, out, limit)

    def _move_users(
        self, record: LogRecord, tenant: str, version: str, plan: Plan, at: int, out: list[Emission], limit: int
    ) -> bool:
        """Give every user of the tenant the new plan's schedule and what it backdates, in slices, by key (A22, P25)."""
        assert self._control.switching is not None
        append = max(record.timestamp_ms, self._control.tick or record.timestamp_ms)
        old = self.plan(tenant)
        filling = Filling(old, plan)
        last = bytes.fromhex(self._control.switching[2])
        moved, most = 0, limit - len(out)
        for key in self._store.keys_after(last, f"{tenant}\0".encode() if tenant else b""):
            if tenant_of(key) != tenant:
                continue
            if moved >= most or len(out) >= limit:
                self._control.switching = (tenant, version, last.hex())
                return False
            user = self._store.get(key)
            assert user is not None
            last = key
            if user.state.quarantine is not None:
                continue  # moves with its own next record
            moved += 1
            self._parts.move(record, key, old, plan, filling, at, self._control.tick, append, out)
        if self.number == 0:
            stages, tick = self._control.boosts.get(tenant, {}), self._control.tick or at
            after = self._announcer.switch(stages, old, plan, tenant, tick, append, out, self._control.announced, limit)
            if isinstance(after, int):
                self._control.switching = (tenant, version, last.hex())
                self._control.announced = after
                return False
            self._control.boosts[tenant] = after
            self._control.announced = 0
        self._control.switching = None
        self._control.catalogs[tenant] = version
        self._plans[tenant] = plan
        return True

    # reads

    def plan(self, tenant: str = "") -> Plan | None:
        """Return the plan in force, None if no catalog was published.

        Raises:
            CatalogMissingError: the version in force is not in the store.
        """
        plan = self._plans.get(tenant)
        if plan is None:
            version = self._control.catalogs.get(tenant)
            if version is None:
                return None
            plan = self._catalogs.plan(tenant, version)
            if plan is None:
                raise CatalogMissingError(tenant, version)
            self._plans[tenant] = plan
        return plan

    def view(self, key: bytes) -> User | None:
        """Return a user for reading, None if there is none."""
        return self._store.get(key)

    def user(self, key: bytes) -> UserState | None:
        """Return the state of a user for reading, None if there is none."""
        found = self._store.get(key)
        return found.state if found else None

    def keys(self) -> list[bytes]:
        """Return the keys of all users, sorted."""
        return self._store.keys()

    def measures(self, overdue_at_ms: int) -> Measures:
        """Return how much this partition holds and how far it is; overdue is who has something due at or before
        `overdue_at_ms`. Costs what is overdue, not the number of users."""
        store, tick = self._store, self._control.tick
        return Measures(
            state_bytes=store.stored_bytes,
            users=store.users,
            remembered_ids=store.remembered,
            timers=store.due.noted,
            overdue=0 if tick is None else store.due.overdue(overdue_at_ms),
            tick_ms=tick,
            catalogs=dict(self._control.catalogs),
        )

    # the end of a round

    def changes(self, next_offset: int) -> list[tuple[bytes, bytes | None]]:
        """Return the changelog records of the round, last the marker with the next input offset."""
        records = self._store.changes()
        self._control.next_offset = next_offset
        records.append((MARKER_KEY, MARK + _encode(self._control)))
        return records

    def commit(self) -> None:
        """The round's transaction is committed: it is the state now."""
        self._store.commit()
        self.counters.update(self._counted)
        self._counted.clear()
        self._round, self._sliced = [], 0
        self._first_before = self._first
        self._control_before = _encode(self._control)

    def rollback(self) -> None:
        """The round's transaction is aborted: back to the state before it."""
        self._store.rollback()
        self._counted.clear()
        self._round, self._sliced = [], 0
        self._first = self._first_before
        self._control = _decoder.decode(self._control_before)
        self._plans = {}
