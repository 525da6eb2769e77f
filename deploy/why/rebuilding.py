"""The state before a record, by folding the user's own records again, and the record itself, traced (D-46).

Users are independent of each other, so a user's state follows from the user's records and the control records of the
partition: all others are passed over.
"""

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from deploy.cli.support.folding import Folding
from deploy.cli.support.sources import LogSource
from deploy.records_file import control_type
from deploy.why.ids import Asked, Place, fields_of, names_effect, names_record
from processors.rules.partition import Partition
from processors.rules.plan import Plan
from processors.rules.trace import Trace
from processors.rules.user import User
from schemas.emission import Emission
from schemas.records import LogRecord
from schemas.state import UserState
from schemas.topics import ERASED
from schemas.trace import AnyStep

NO_LIMIT: Final = 2**62
"""Emissions of one slice of a record: it is carried out whole."""

_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(UserState)


class _Envelope(msgspec.Struct, rename="camel", frozen=True):
    tenant_id: str = ""
    user_id: str = ""


_envelope: Final = msgspec.json.Decoder(_Envelope)


class Owner(msgspec.Struct, frozen=True):
    """Whose records are folded: those with this key, in this partition. None as key: control records only.

    `tenant` and `user_id` are what the key says (X1); the user is empty where an effect is nobody's (E3).
    """

    key: bytes | None
    partition: int
    tenant: str = ""
    user_id: str = ""

    @classmethod
    def of(cls, key: bytes | None, partition: int) -> "Owner":
        """Return the owner of a record with this key."""
        tenant, _, user_id = (key or b"").rpartition(b"\0")
        return cls(key or None, partition, tenant.decode("utf-8", "replace"), user_id.decode("utf-8", "replace"))

    @classmethod
    def of_effect(cls, key: bytes | None, value: bytes, partition: int) -> "Owner":
        """Return the owner of a derived event; one without user has the key of something else."""
        envelope = _envelope.decode(value)
        return cls.of(key, partition) if envelope.user_id else cls(None, partition, envelope.tenant_id)


class Rebuilt(msgspec.Struct, kw_only=True):
    """A record and what came of it.

    Attributes:
        record: as the log holds it. control: `tick` or `catalog`, else empty. event_id: given or default (X4).
        plan: in force for the record, None if there is none. switched: where it was put in force, None = before the log.
        before: the user before the record, None if there was none.
        steps: what the rules decided. emissions: what came out for the user, in order.
        is_event: the id asked about is the record's own, not one of its effects.
        original: of a skipped repeat (I13): where the event was applied. again: later records with the same event id.
    """

    owner: Owner
    record: LogRecord
    control: str
    event_id: str
    plan: Plan | None
    switched: Place | None
    before: User | None
    steps: list[AnyStep]
    emissions: list[Emission]
    is_event: bool
    original: Place | None = None
    again: list[Place] = []


class _Snapshots:
    """The user's state before each record, copied only when the last one may have changed it."""

    def __init__(self, fold: Partition, key: bytes | None) -> None:
        self._fold, self._key = fold, key
        self._known: bytes | None = None

    def changed(self) -> None:
        self._known = None

    def take(self) -> None:
        if self._known is None and self._key is not None:
            state = self._fold.user(self._key)
            self._known = None if state is None else _encode(state)

    def user(self) -> User | None:
        if self._known is None or self._key is None:
            return None
        return User(self._key, _decoder.decode(self._known))


class Rebuilding:
    """Folds one user's records up to the one that is asked about."""

    def __init__(self, source: LogSource, folding: Folding, trace: Trace, owner: Owner) -> None:
        """`folding` has not folded anything yet, and its effects report to `trace`."""
        self._source, self._folding, self._trace, self._owner = source, folding, trace, owner
        self._switched: Place | None = None
        self._first: dict[str, Place] = {}

    def find(self, one: Asked, on_progress: Callable[[int], None]) -> Rebuilt | None:
        """Return the record that the id names or that had the effect that it names, None if there is none."""
        fold: Partition | None = None
        found: Rebuilt | None = None
        self._begin()
        for record in self._own(on_progress):
            if found is not None:
                if names_record(one, record.value):
                    found.again.append(Place(record.partition, record.offset))
                continue
            if fold is None:
                fold = self._folding.fold(record)
                snapshots = _Snapshots(fold, self._owner.key)
            snapshots.take()
            found = self._apply(fold, snapshots, record, one)
            if found is not None and (not found.is_event or one.place is not None):
                break
        return found

    def _begin(self) -> None:
        """Let the folding see the log's first record, whoever's: a given catalog is in force from its instant on."""
        if not self._source.brings_catalogs:
            for record in self._source.records():
                self._folding.fold(record)
                break

    def _own(self, on_progress: Callable[[int], None]) -> Iterator[LogRecord]:
        passed = 0
        for record in self._source.records({self._owner.partition}):
            passed += 1
            if passed % 1000 == 0:
                on_progress(1000)
            if (record.key or None) == self._owner.key or control_type(record.value):
                yield record
        on_progress(passed % 1000)

    def _apply(self, fold: Partition, snapshots: _Snapshots, record: LogRecord, one: Asked) -> Rebuilt | None:
        tenant = self._owner.tenant
        before = fold.plan(tenant)
        emitted: list[Emission] = []
        self._trace.take()
        assert self._folding.apply(record, emitted, NO_LIMIT)
        steps = self._trace.take()
        control = control_type(record.value)
        place = Place(record.partition, record.offset)
        plan = fold.plan(tenant)
        if plan is not before:
            self._switched = place
        is_event = one.place == place or (one.place is None and not control and names_record(one, record.value))
        event_id, original = self._remember(record, control, place, emitted)
        if is_event or any(names_effect(one, emission) for emission in emitted):
            return Rebuilt(
                owner=self._owner,
                record=record,
                control=control,
                event_id=event_id,
                plan=plan,
                switched=self._switched,
                before=snapshots.user(),
                steps=steps,
                emissions=emitted,
                is_event=is_event,
                original=original,
            )
        if emitted or not control:
            snapshots.changed()
        return None

    def _remember(
        self, record: LogRecord, control: str, place: Place, emitted: list[Emission]
    ) -> tuple[str, Place | None]:
        """Return the event id, and where it was applied first if this record was skipped for it (I13)."""
        default = f"{self._source.topic}-{place.partition}-{place.offset}"
        if control:
            return default, None
        found = fields_of(record.value)
        event_id = found.event_id or default if found is not None else default
        if not emitted:
            return event_id, self._first.get(event_id)
        if any(emission.type == ERASED for emission in emitted):
            self._first = {}
        if not any(emission.is_refusal for emission in emitted):
            self._first.setdefault(event_id, place)
        return event_id, None
