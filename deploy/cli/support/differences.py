"""The first difference of a comparison, looked into: the log is folded again up to it, and its user is watched."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from deploy.cli.support.check import Checked, earliest, value_of
from deploy.cli.support.comparison import Mismatch, Position, Recorded
from deploy.cli.support.folding import Folding
from deploy.cli.support.history import event_id_of
from deploy.cli.support.recorded import Head, RecordedLog, head_of
from deploy.cli.support.sources import LogSource
from processors.rules.partition import Partition
from schemas.emission import Emission
from schemas.instants import format_instant, parse_instant
from schemas.records import LogRecord
from schemas.state import UserState
from schemas.topics import DERIVED, OUTCOMES, REJECTED

UNLIMITED: Final = 2**62
RECORDS_PER_ROUND: Final = 500

_ORDER: Final = (*DERIVED, OUTCOMES, REJECTED)
_encode: Final = msgspec.json.Encoder().encode
_state: Final = msgspec.json.Decoder(UserState)
_at: Final = msgspec.json.Decoder(dict[str, Any])


class Hit(msgspec.Struct, frozen=True):
    """An input record with a difference in what it did to one user.

    Attributes:
        record: as the log holds it. event_id: its own or the default one. emitted_at: of what it causes (X10).
        version: of the catalog in force before it, None if none was.
        before: state of the user before it, None if there was none.
        derived: topic and value of what it emits now for the user.
    """

    record: LogRecord
    event_id: str
    emitted_at: str
    version: str | None
    before: UserState | None
    derived: list[tuple[str, bytes]]


class Difference(msgspec.Struct, frozen=True):
    """The first difference.

    Attributes:
        key: of the user. mismatch: the records in which it shows.
        hit: the input record, None if no record of the log causes what is recorded.
        recorded: what is recorded of that input record for the user.
    """

    key: bytes | None
    mismatch: Mismatch
    hit: Hit | None
    recorded: list[Recorded]


class _Trail:
    """Waits for the input record behind the mismatches of one user."""

    def __init__(self, key: bytes | None) -> None:
        self.key = key
        self.hits: dict[str, tuple[Position, Hit]] = {}
        self.open: dict[str, Mismatch] = {}
        self.mismatches: list[Mismatch] = []
        self.due_elsewhere: dict[bytes, tuple[int, int]] = {}
        self._heads: dict[str, Head] = {}

    def add(self, mismatch: Mismatch) -> None:
        self.mismatches.append(mismatch)
        self.open[mismatch.topic] = mismatch
        if mismatch.recorded is not None:
            self._heads[mismatch.topic] = head_of(value_of(mismatch.recorded.form))

    def take(self, position: Position, hit: Hit) -> None:
        """Look at the next input record that may concern the user."""
        place = hit.record.partition, hit.record.offset
        for topic, value in hit.derived:
            if topic in DERIVED and not head_of(value).causation_id:
                self.due_elsewhere[value] = place
        for topic, mismatch in list(self.open.items()):
            head = self._heads.get(topic)
            if mismatch.position is not None and mismatch.position[1:] == place:
                known = self.hits.get(topic)
                if known is None or known[1].emitted_at == hit.emitted_at:
                    self.hits[topic] = position, hit
                del self.open[topic]
            elif head is not None and _caused(head, hit):
                self.hits.setdefault(topic, (position, hit))
                if not _is_due(head):
                    del self.open[topic]


def _is_due(head: Head) -> bool:
    """Whether a derived event has no cause but time: any record may have brought it about."""
    return head.topic in DERIVED and not head.causation_id


def _caused(head: Head, hit: Hit) -> bool:
    """Whether a recorded derived record stems, or may stem, from an input record."""
    if head.origin is not None:
        return (head.origin.partition, head.origin.offset) == (hit.record.partition, hit.record.offset)
    if head.topic == OUTCOMES:
        return head.event_id == hit.event_id
    return head.emitted_at == hit.emitted_at if _is_due(head) else head.causation_id == hit.event_id


def first_difference(
    source: LogSource,
    folding: Folding,
    recorded: RecordedLog,
    checked: Checked,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Difference:
    """Find the earliest input record behind the mismatches of a comparison.

    `folding` has not folded anything yet. The log is read again, of the partitions concerned, up to that record.
    """
    trails: dict[bytes | None, _Trail] = {}
    for mismatch in checked.mismatches:
        trails.setdefault(mismatch.key, _Trail(mismatch.key)).add(mismatch)
    _Second(source, folding, recorded, list(trails.values())).run(_partitions(checked.mismatches), on_progress)
    found = [(*hit, trail) for trail in trails.values() for hit in trail.hits.values()]
    if not found:
        mismatch = min(checked.mismatches, key=earliest)
        return Difference(mismatch.key, mismatch, None, [])
    _, hit, trail = min(found, key=lambda one: one[0])
    mismatch = next(one for one in trail.mismatches if one.topic in trail.hits and trail.hits[one.topic][1] is hit)
    place = hit.record.partition, hit.record.offset
    own = []
    for one in recorded.all(hit.record.partition):
        if one.key != trail.key:
            continue
        value = value_of(one.form)
        if _caused(head_of(value), hit) and trail.due_elsewhere.get(value, place) == place:
            own.append(one)
    own.sort(key=lambda one: (_ORDER.index(one.topic), one.place))
    return Difference(trail.key, mismatch, hit, own)


def _partitions(mismatches: Iterable[Mismatch]) -> set[int] | None:
    """Return the input partitions concerned; None if a mismatch does not say."""
    found = {one.position[1] if one.position is not None else None for one in mismatches}
    return None if None in found else {number for number in found if number is not None}


class _Second:
    """Folds a log once more, without rounds, and tells the trails of every record that may concern them."""

    def __init__(self, source: LogSource, folding: Folding, recorded: RecordedLog, trails: list[_Trail]) -> None:
        self._source = source
        self._folding = folding
        self._recorded = recorded
        self._trails = trails
        self._ticks: dict[int, int] = {}
        self._latest: dict[int, int] = {}

    def run(self, partitions: set[int] | None, on_progress: Callable[[int], None]) -> None:
        since: dict[int, int] = {}
        for record in self._source.records(partitions):
            fold = self._folding.fold(record)
            self._take(record, fold)
            since[record.partition] = since.get(record.partition, 0) + 1
            if since[record.partition] % RECORDS_PER_ROUND == 0:
                fold.changes(record.offset + 1)
                fold.commit()
                on_progress(RECORDS_PER_ROUND)
            if not any(trail.open for trail in self._trails):
                return

    def _take(self, record: LogRecord, fold: Partition) -> None:
        before: dict[bytes | None, bytes] = {}
        control = record.key is None
        for trail in self._trails:
            if (control or record.key == trail.key) and trail.key is not None:
                user = fold.user(trail.key)
                if user is not None:
                    before[trail.key] = _encode(user)
        plan = fold.plan(_tenant(record))
        out: list[Emission] = []
        while not fold.process(record, out, UNLIMITED):
            pass
        latest = max(record.timestamp_ms, self._latest.get(record.partition, record.timestamp_ms))
        self._latest[record.partition] = latest
        position = latest, record.partition, record.offset
        sent = [self._recorded.sent(emission) for emission in out]
        for trail in self._trails:
            own = [(topic, value_of(form)) for topic, key, form in sent if key == trail.key]
            if not own and not control and record.key != trail.key:
                continue
            state = before.get(trail.key)
            hit = Hit(
                record,
                event_id_of(record.value) or f"{self._source.topic}-{record.partition}-{record.offset}",
                self._emitted_at(record, fold, trail.key),
                plan.version if plan is not None else None,
                None if state is None else _state.decode(state),
                own,
            )
            trail.take(position, hit)

    def _emitted_at(self, record: LogRecord, fold: Partition, key: bytes | None) -> str:
        """Return the append time of a record (X5), for the user with this key."""
        tick = self._ticks.get(record.partition)
        latest = max(record.timestamp_ms, tick or record.timestamp_ms)
        if record.key is None:
            try:
                fields = _at.decode(record.value or b"")
                if fields.get("type") == "tick":
                    self._ticks[record.partition] = max(tick or 0, parse_instant(fields["at"]))
            except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, KeyError, TypeError):
                pass
            return format_instant(latest)
        user = fold.user(key) if key is not None else None
        return format_instant(user.append if user is not None else latest)


def _tenant(record: LogRecord) -> str:
    tenant, separator, _ = (record.key or b"").partition(b"\0")
    return tenant.decode(errors="replace") if separator else ""
