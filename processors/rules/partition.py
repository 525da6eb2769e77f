"""The fold of one partition of the input log: `apply` for every kind of record, rounds with roll-back, recovery."""

import heapq
from collections import Counter as Tally
from typing import Final

import msgspec
from msgspec import UNSET

from processors.rules import apply, timers
from processors.rules.catalogs import CatalogStore
from processors.rules.decode import decode, loose_user_id
from processors.rules.effects import Effects, instant_text
from processors.rules.errors import RejectedError
from processors.rules.memory import EVENT_IDS, IDEMPOTENCY_KEYS, Memory, digest
from processors.rules.partitioner import partition_of
from processors.rules.plan import Plan
from processors.rules.refusal import rejected
from processors.rules.settings import FoldSettings
from processors.rules.user import User
from schemas.catalog_file import CatalogError
from schemas.emission import CatalogMissingError, Emission
from schemas.instants import MAX_DAY, MIN_DAY, DAY_MS, to_ms
from schemas.outcome import OutcomeRecord
from schemas.records import (
    CatalogSwitch,
    CompleteAchievement,
    ControlRecord,
    Identify,
    InputRecord,
    LogRecord,
    MetricEvent,
    Tick,
    UserRecord,
)
from schemas.state import PartitionState, UserState
from schemas.topics import OUTCOMES, user_key

CONTROL_HEADER: Final = "plaudit-control"

_MARKER_KEY: Final = b"\0partition"
_USER_PREFIX: Final = b"u"
_CHUNK_NUMBER_BYTES: Final = 4
_DUE_BYTES: Final = 8
_NEVER: Final = 2**63 - 1
_EARLIEST_MS: Final = (MIN_DAY + 400) * DAY_MS
_LATEST_MS: Final = (MAX_DAY - 4000) * DAY_MS

_encode: Final = msgspec.json.Encoder().encode
_state_decoder: Final = msgspec.json.Decoder(UserState)
_partition_decoder: Final = msgspec.json.Decoder(PartitionState)


class _Entry:
    """One user: the state as the changelog has it, and as it is in memory once touched."""

    __slots__ = ("due", "stored", "user")

    def __init__(self, stored: bytes | None, user: User | None) -> None:
        self.stored = stored
        self.user = user
        self.due = _NEVER if stored is None else int.from_bytes(stored[:_DUE_BYTES], signed=True)


class Partition:
    """All users of one input partition (architecture.md sections 1, 5, 6). Pure: no clock, no I/O.

    A round is any number of `process` calls, then `changes`, then `commit` or `rollback`.

    Attributes:
        number: of the partition.
        counters: cumulative, for metrics: `applied`, `skipped_offsets`, `skipped_events`, `forgotten_ids`, `rejected.<reason>`.
    """

    def __init__(self, number: int, settings: FoldSettings, catalogs: CatalogStore) -> None:
        self.number = number
        self.counters: Tally[str] = Tally()
        self._settings = settings
        self._catalogs = catalogs
        self._control = PartitionState()
        self._control_before: bytes = _encode(self._control)
        self._entries: dict[bytes, _Entry] = {}
        self._memories: dict[bytes, Memory] = {}
        self._plans: dict[str, Plan] = {}
        self._heap: list[tuple[int, bytes]] = []
        self._touched: dict[bytes, bytes | None] = {}  # user key -> stored before the round
        self._prepared: dict[bytes, bytes] = {}

    @property
    def next_offset(self) -> int:
        """Offset of the next record to apply: what lies below is part of the state."""
        return self._control.next_offset

    # recovery

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record, in log order."""
        kind = key[:1]
        if key == _MARKER_KEY:
            if value is not None:
                self._control = _partition_decoder.decode(value)
        elif kind == _USER_PREFIX:
            if value is None:
                self._entries.pop(key[1:], None)
            else:
                self._entries[key[1:]] = _Entry(value, None)
        elif kind in (EVENT_IDS, IDEMPOTENCY_KEYS):
            chunk = int.from_bytes(key[1 : 1 + _CHUNK_NUMBER_BYTES])
            self._memory(key[1 + _CHUNK_NUMBER_BYTES :]).of(kind).load(chunk, value)

    def loaded(self) -> None:
        """Recovery has ended: rebuild the timers from the due instants in front of each state."""
        self._control_before = _encode(self._control)
        self._plans = {}
        self._heap = [(entry.due, key) for key, entry in self._entries.items() if entry.due != _NEVER]
        heapq.heapify(self._heap)

    # the round

    def process(self, record: LogRecord, out: list[Emission], limit: int) -> bool:
        """Apply one record of the input log; append what it emits to `out`.

        A record larger than `limit` emissions stops at a safe point and returns False: commit the slice, then call
        again with the same record. What a slice did is no longer due, so the next one goes on where it ended.

        Raises:
            CatalogMissingError: before anything is touched; see CatalogStore.give_up.
        """
        if record.offset < self._control.next_offset:
            self.counters["skipped_offsets"] += 1
            return True
        start = len(out)
        try:
            done = self._apply(record, out, limit)
        except RejectedError as error:
            self._refuse(record, None, error, out)
            done = True
        if not done and len(out) == start:
            # the slice began with a full list: the caller commits it and comes again
            assert start >= limit, "a slice must make progress"
        return done

    def _apply(self, record: LogRecord, out: list[Emission], limit: int) -> bool:
        if not _EARLIEST_MS <= record.timestamp_ms <= _LATEST_MS:
            raise RejectedError("bad_request", f"record timestamp {record.timestamp_ms} ms lies outside the years 3 to 9988")
        try:
            decoded = decode(record.value)
        except RejectedError as error:
            if error.reason == "bad_request":
                self._check_key_loosely(record)  # X9: wrong_key comes before Z1
            raise
        if isinstance(decoded, Tick | CatalogSwitch):
            self._check_control(record, decoded)
            if isinstance(decoded, Tick):
                return self._tick(record, to_ms(decoded.at), out, limit)
            return self._switch(record, decoded, out, limit)
        given = apply.given_user(decoded.user)
        key = user_key(decoded.tenant, given.id)
        self._check_key(record, key)
        return self._apply_user_record(record, decoded, key, out, limit)

    def _check_key(self, record: LogRecord, key: bytes) -> None:
        if record.key != key:
            given = "no key" if record.key is None else f"the key {record.key[:80]!r}"
            raise RejectedError(
                "wrong_key", f"the record has {given}; set it to the user id {key[:80]!r}, with a tenant: tenant, NUL, user id"
            )
        partitions = self._settings.partitions
        if partitions is not None and partition_of(key, partitions) != record.partition:
            raise RejectedError(
                "wrong_key",
                f"key {key[:80]!r} belongs to partition {partition_of(key, partitions)}, the record is in {record.partition}; "
                "use the murmur2 partitioner (librdkafka: partitioner=murmur2_random)",
            )

    def _check_key_loosely(self, record: LogRecord) -> None:
        found = loose_user_id(record.value)
        if found is not None:
            self._check_key(record, user_key(*found))

    def _check_control(self, record: LogRecord, control: ControlRecord) -> None:
        token = self._settings.control_token
        if token is not None and (CONTROL_HEADER, token.encode()) not in record.headers:
            raise RejectedError("forged_time", f"control records need the header {CONTROL_HEADER} with the configured token")
        at = to_ms(control.at)
        if at > record.timestamp_ms:
            raise RejectedError(
                "forged_time", f"at {instant_text(at)} is later than the record timestamp {instant_text(record.timestamp_ms)}"
            )
        if at < _EARLIEST_MS:
            raise RejectedError("bad_request", "at lies before the year 3")

    # records of users

    def _apply_user_record(
        self, record: LogRecord, decoded: UserRecord, key: bytes, out: list[Emission], limit: int
    ) -> bool:
        own_id = decoded.event_id is not UNSET
        event_id = (
            decoded.event_id
            if decoded.event_id is not UNSET
            else f"{self._settings.topic}-{record.partition}-{record.offset}"
        )
        if own_id and key in self._memories and self._memories[key].event_ids.get(digest(event_id)) is not None:
            self.counters["skipped_events"] += 1  # I13
            return True
        user = self._user(key)
        append = self._append_time(record, user)
        occurred = record.timestamp_ms if decoded.occurred_at is UNSET else to_ms(decoded.occurred_at)
        try:
            if occurred < _EARLIEST_MS:
                raise RejectedError("bad_request", f"occurredAt {decoded.occurred_at} lies before the year 3")
            at = min(occurred, append)  # T8
            plan = self._plan(decoded.tenant)
            if plan is None:
                raise RejectedError("unknown_metric", f"no catalog is in force for tenant {decoded.tenant!r}; publish one first")
            if user is not None:
                user.use(plan)
            return self._apply_valid(decoded, key, user, plan, event_id, own_id, occurred, at, append, out, limit)
        except RejectedError as error:
            self._refuse(record, (decoded, event_id, occurred), error, out)
            return True

    def _apply_valid(
        self,
        decoded: UserRecord,
        key: bytes,
        user: User | None,
        plan: Plan,
        event_id: str,
        own_id: bool,
        occurred: int,
        at: int,
        append: int,
        out: list[Emission],
        limit: int,
    ) -> bool:
        checked = None
        answered = None
        if isinstance(decoded, MetricEvent):
            checked = apply.check_event(decoded, user, plan, at)
        elif isinstance(decoded, Identify):
            apply.check_user(apply.given_user(decoded.user), user.state if user else None, plan, at)
        elif isinstance(decoded, CompleteAchievement):
            answered = apply.check_completion(decoded, user, plan, at)
        else:
            raise RejectedError("not_supported", f"records of type {_type_name(decoded)!r} are not carried out by this version yet")
        created = user is None
        if user is None:
            user = apply.create(key, apply.given_user(decoded.user), decoded.tenant, plan, at, append)
            user.use(plan)
        effects = Effects(out, user, self._settings.environment, event_id, append)
        if not created:
            self._touch(key)
            if not timers.advance(user, plan, append, effects, limit, reached_ms=at):
                return False
        mark = len(out)
        saved = _encode(user.state) if checked is not None and checked.metric.blocks and not created else None
        memory = self._memories.get(key) or Memory(self._settings.remembered_ids)
        try:
            if checked is not None:
                applied = apply.apply_event(user, checked, event_id, plan, at, memory, effects, created=created)
            elif isinstance(decoded, Identify):
                given = apply.given_user(decoded.user)
                applied = apply.apply_identify(user, given, event_id, plan, at, effects, created=created)
            elif answered is not None:
                applied = answered
            else:
                assert isinstance(decoded, CompleteAchievement)
                applied = apply.apply_completion(user, decoded, event_id, plan, at, effects, created=created)
        except RejectedError:
            del out[mark:]  # F2: nothing of it is applied
            if saved is not None:
                undone = self._entries[key].user = User(key, _state_decoder.decode(saved))
                undone.use(plan)
            raise
        if created:
            self._entries[key] = _Entry(None, user)
            self._touch(key)
        if own_id:
            self.counters["forgotten_ids"] += memory.event_ids.add(digest(event_id), "")
        if own_id or (checked is not None and checked.idempotency_key):
            self._memories[key] = memory
        user.state.append = append
        self.counters["applied"] += 1
        self._emit_outcome(decoded, event_id, occurred, at, applied.status, applied.outcome, None, key, out)
        return True

    def _append_time(self, record: LogRecord, user: User | None) -> int:
        """Return the append time of a record: never before the user's previous record or the last tick (X5)."""
        append = record.timestamp_ms
        if user is not None and user.state.append > append:
            append = user.state.append
        tick = self._control.tick
        return tick if tick is not None and tick > append else append

    def _emit_outcome(
        self,
        decoded: UserRecord,
        event_id: str,
        occurred: int,
        at: int | None,
        status: int,
        outcome: msgspec.Struct | None,
        reason: str | None,
        key: bytes,
        out: list[Emission],
    ) -> None:
        data = OutcomeRecord(
            event_id=event_id,
            type=_type_name(decoded),
            tenant_id=decoded.tenant,
            user_id=decoded.user if isinstance(decoded.user, str) else decoded.user.id,
            metric=decoded.metric if isinstance(decoded, MetricEvent) else UNSET,
            occurred_at=instant_text(occurred),
            effective_at=UNSET if at is None else instant_text(at),
            status=status,
            reason=reason if reason is not None else UNSET,
            outcome=UNSET if outcome is None else outcome,
        )
        out.append(Emission(OUTCOMES, key, _encode(data)))

    def _refuse(
        self, record: LogRecord, decoded: tuple[UserRecord, str, int] | None, error: RejectedError, out: list[Emission]
    ) -> None:
        """Report a refused record with its reason (C34); it leaves no trace in state (T10)."""
        self.counters[f"rejected.{error.reason}"] += 1
        out.append(rejected(record, self._settings.topic, error))
        if decoded is not None:
            user_record, event_id, occurred = decoded
            key = record.key or b""
            occurred = min(max(occurred, _EARLIEST_MS), _LATEST_MS)
            self._emit_outcome(user_record, event_id, occurred, None, error.status, None, error.reason, key, out)

    # records of the program

    def _tick(self, record: LogRecord, at: int, out: list[Emission], limit: int) -> bool:
        """Do everything due at or before `at`, users by due instant, then key (F1, S9)."""
        if not self._run_due(record, at, out, limit):
            return False
        if self._control.tick is None or at > self._control.tick:
            self._control.tick = at
        return True

    def _run_due(self, record: LogRecord, at: int, out: list[Emission], limit: int, tenant: str | None = None) -> bool:
        append = max(record.timestamp_ms, self._control.tick or record.timestamp_ms)
        self._flush_due()
        skipped: list[tuple[int, bytes]] = []
        done = True
        while self._heap and self._heap[0][0] <= at:
            due, key = self._heap[0]
            entry = self._entries.get(key)
            if entry is None or entry.due != due:
                heapq.heappop(self._heap)  # an older schedule
                continue
            if len(out) >= limit:
                done = False
                break
            heapq.heappop(self._heap)
            user = self._user(key)
            assert user is not None
            plan = self._plan(user.state.tenant)
            if plan is None or (tenant is not None and user.state.tenant != tenant):
                skipped.append((due, key))
                continue
            user.use(plan)
            self._touch(key)
            effects = Effects(out, user, self._settings.environment, None, append)
            done = timers.advance(user, plan, at, effects, limit)
            self._reschedule(key)
            if not done:
                break
        for item in skipped:
            heapq.heappush(self._heap, item)
        return done

    def _switch(self, record: LogRecord, switch: CatalogSwitch, out: list[Emission], limit: int) -> bool:
        """Put a catalog version in force: what is due under the old one first (C8), then every user's schedule (P25)."""
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
            raise RejectedError("unknown_catalog", f"version {version[:80]!r} is not on the catalog topic; publish it there first")
        if self._control.switching is None:
            if self._plan(tenant) is not None and not self._run_due(record, at, out, limit, tenant):
                return False
            self._control.switching = (tenant, version, "")
        return self._reschedule_all(tenant, version, plan, out, limit)

    def _reschedule_all(self, tenant: str, version: str, plan: Plan, out: list[Emission], limit: int) -> bool:
        assert self._control.switching is not None
        last = bytes.fromhex(self._control.switching[2])
        prefix = f"{tenant}\0".encode() if tenant else b""
        touched = 0
        for key in sorted(key for key in self._entries if key > last and key.startswith(prefix)):
            if touched >= limit or len(out) >= limit:
                self._control.switching = (tenant, version, last.hex())
                return False
            last = key
            user = self._user(key)
            assert user is not None
            if user.state.tenant != tenant:
                continue
            touched += 1
            self._touch(key)
            timers.schedule(user, plan)
            user.use(plan)
            self._reschedule(key)
        self._control.switching = None
        self._control.catalogs[tenant] = version
        self._plans[tenant] = plan
        return True

    def _plan(self, tenant: str) -> Plan | None:
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

    # state

    def user(self, key: bytes) -> UserState | None:
        """Return the state of a user for reading, None if there is none."""
        found = self._user(key)
        return found.state if found else None

    def plan(self, tenant: str = "") -> Plan | None:
        """Return the plan in force."""
        return self._plan(tenant)

    def view(self, key: bytes) -> User | None:
        """Return a user for reading, None if there is none."""
        return self._user(key)

    def keys(self) -> list[bytes]:
        """Return the keys of all users, sorted."""
        return sorted(self._entries)

    def _user(self, key: bytes) -> User | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.user is None:
            assert entry.stored is not None
            entry.user = User(key, _state_decoder.decode(entry.stored[_DUE_BYTES:]))
        return entry.user

    def _memory(self, key: bytes) -> Memory:
        memory = self._memories.get(key)
        if memory is None:
            memory = self._memories[key] = Memory(self._settings.remembered_ids)
        return memory

    def _touch(self, key: bytes) -> None:
        if key not in self._touched:
            self._touched[key] = self._entries[key].stored

    def _reschedule(self, key: bytes) -> None:
        """Note a user's next due instant; older notes in the heap no longer match and are passed over."""
        entry = self._entries[key]
        assert entry.user is not None and entry.user.plan is not None
        due = timers.next_due(entry.user, entry.user.plan)
        entry_due = _NEVER if due is None else due
        if entry_due != entry.due:
            entry.due = entry_due
            if entry_due != _NEVER:
                heapq.heappush(self._heap, (entry_due, key))

    def _flush_due(self) -> None:
        """Bring the schedule of all users touched by records of this round up to date."""
        for key in self._touched:
            entry = self._entries.get(key)
            if entry is not None and entry.user is not None and entry.user.plan is not None:
                self._reschedule(key)

    def changes(self, next_offset: int) -> list[tuple[bytes, bytes | None]]:
        """Return the changelog records of the round: touched states, ids, and the marker with the next input offset."""
        self._flush_due()
        records: list[tuple[bytes, bytes | None]] = []
        self._prepared = {}
        for key in self._touched:
            entry = self._entries[key]
            assert entry.user is not None
            stored = entry.due.to_bytes(_DUE_BYTES, signed=True) + _encode(entry.user.state)
            self._prepared[key] = stored
            records.append((_USER_PREFIX + key, stored))
            memory = self._memories.get(key)
            if memory is not None:
                for kind in (EVENT_IDS, IDEMPOTENCY_KEYS):
                    for chunk, value in memory.of(kind).changes():
                        records.append((kind + chunk.to_bytes(_CHUNK_NUMBER_BYTES) + key, value))
        self._control.next_offset = next_offset
        records.append((_MARKER_KEY, _encode(self._control)))
        return records

    def commit(self) -> None:
        """The round's transaction is committed: it is the state now."""
        for key, stored in self._prepared.items():
            self._entries[key].stored = stored
            memory = self._memories.get(key)
            if memory is not None:
                memory.event_ids.commit()
                memory.keys.commit()
        self._control_before = _encode(self._control)
        self._touched.clear()
        self._prepared = {}

    def rollback(self) -> None:
        """The round's transaction is aborted: back to the state before it."""
        for key, stored in self._touched.items():
            if stored is None:
                self._entries.pop(key, None)
            else:
                entry = self._entries[key] = _Entry(stored, None)
                if entry.due != _NEVER:
                    heapq.heappush(self._heap, (entry.due, key))
            memory = self._memories.get(key)
            if memory is not None:
                memory.event_ids.rollback()
                memory.keys.rollback()
        self._control = _partition_decoder.decode(self._control_before)
        self._plans = {}
        self._touched.clear()
        self._prepared = {}


def _type_name(record: InputRecord) -> str:
    tag = type(record).__struct_config__.tag
    return str(tag) if tag is not None else "metric"
