"""What is put into the input log, and what the pure fold makes of it: the expectation of a schedule."""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, Final

import msgspec

from processors.engine.fold import CatalogStore, Fold
from processors.engine.names import Names
from processors.engine.round import headers_of
from processors.rules.catalogs import CatalogStore as Catalogs
from processors.rules.partition import Partition
from processors.rules.partitioner import partition_of
from processors.rules.settings import FoldSettings
from schemas.catalog_file import encode_config
from schemas.emission import Emission
from schemas.instants import format_instant, parse_instant
from schemas.records import LogRecord
from schemas.topics import AWARDS, DERIVED, LEDGER, OUTCOMES, REJECTED
from tests.engine.toy import ToyFold, ToyStore
from tests.projections import factory
from tests.rules.conftest import sample_config

NAMES: Final = Names()
PARTITIONS: Final = 3
OUTPUTS: Final = (*DERIVED, OUTCOMES, REJECTED)
VARIANTS: Final = 8
"""Different logs of a kind; what is expected of each is computed once in a process."""

Row = tuple[int, bytes | None, bytes]
"""Timestamp (epoch milliseconds), key, value."""

Output = tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]

_encode: Final = msgspec.json.Encoder().encode


class Step(msgspec.Struct, frozen=True):
    """What is written at once: rows by partition of the input log."""

    rows: tuple[tuple[int, Row], ...]
    catalog: bytes | None = None
    """A catalog to be published in the same transaction."""
    transaction: bool = False
    aborted: bool = False


class Expected(msgspec.Struct, frozen=True):
    """What must come out."""

    outputs: dict[tuple[str, int], list[Output]]
    """By full topic name and partition."""
    offsets: dict[int, int]
    """Next input offset, by partition."""
    states: dict[int, Any]
    """By partition: `digest` of the fold."""


class Scenario:
    """An input log, and the fold that it is for."""

    def __init__(
        self,
        steps: list[Step],
        make: Callable[[], tuple[Callable[[int], Fold], CatalogStore]],
        catalogs: list[bytes],
        *,
        by_user: bool,
    ) -> None:
        """`by_user`: the order holds within a key only, since slices of a tick let users alternate."""
        self.by_user = by_user
        self.steps = steps
        self.folds = make
        self._catalogs = catalogs
        self._expected: Expected | None = None

    @property
    def expected(self) -> Expected:
        """What the pure fold makes of the log."""
        if self._expected is None:
            self._expected = self._fold()
        return self._expected

    def _fold(self) -> Expected:
        outputs: dict[tuple[str, int], list[Output]] = defaultdict(list)
        offsets, states = {}, {}
        for partition, records in enumerate(self._records()):
            make_fold, store = self.folds()
            for value in self._catalogs:
                store.add(value)
            fold = make_fold(partition)
            out: list[Emission] = []
            for record in records:
                assert fold.process(record, out, 10**9)
            offsets[partition] = records[-1].offset + 1
            fold.changes(offsets[partition])
            fold.commit()
            states[partition] = digest(fold)
            for emission in out:
                output = (emission.key, emission.value, tuple(headers_of(emission)))
                outputs[NAMES.output(emission.topic), partition].append(output)
        return Expected(dict(outputs), offsets, states)

    def _records(self) -> list[list[LogRecord]]:
        """The committed records by partition, at the offsets that they get: a marker takes one too."""
        ends = [0] * PARTITIONS
        found: list[list[LogRecord]] = [[] for _ in range(PARTITIONS)]
        for step in self.steps:
            for partition, (timestamp, key, value) in step.rows:
                if not step.aborted:
                    found[partition].append(LogRecord(partition, ends[partition], timestamp, key, value))
                ends[partition] += 1
            if step.transaction:
                for partition in {partition for partition, _ in step.rows}:
                    ends[partition] += 1
        return found


def digest(fold: Fold) -> Any:
    """Return the state of a fold in a form that can be compared."""
    if isinstance(fold, Partition):
        keys = fold.keys()
        return {key: _encode(fold.user(key)) for key in keys}, _encode(fold._control)
    assert isinstance(fold, ToyFold)
    return dict(fold.state), fold.next_offset, fold.big


# the toy: counts and sums per key, with derived events that the sink has tables for


class SimFold(ToyFold):
    """The toy fold of the engine's tests; its events are metric changes, awards and refusals."""

    def process(self, record: LogRecord, out: list[Emission], limit: int) -> bool:
        begin = len(out)
        done = super().process(record, out, limit)
        value, key = record.value or b"", record.key or b""
        if done and value.startswith(b"BIG "):
            self._before.setdefault(key, self.state.get(key))
            count, total = self.state.get(key, (0, 0))
            self.state[key] = (count + 1, total + int(value[4:]))
        for index in range(begin, len(out)):
            out[index] = _translate(out[index], record)
        if begin < len(out) and record.offset % 3 == 0 and done and out[-1].topic == LEDGER:
            id = f"{out[-1].id}-award"
            out.append(Emission(AWARDS, key, _award() % (id.encode(), key, record.offset), "points.awarded", id))
        return done


def _translate(emission: Emission, record: LogRecord) -> Emission:
    if emission.topic == REJECTED:
        return Emission(REJECTED, emission.key, _refusal() % record.offset)
    key, id, value = emission.key or b"", emission.id.encode(), emission.value
    total = int(value[value.rindex(b":") + 1 : -1]) if value.startswith(b"{") else int(value)
    return Emission(LEDGER, emission.key, _metric() % (id, key, id, total), "metric.changed", emission.id)


@cache
def _metric() -> bytes:
    value = factory.metric_changed("USER", value=1, total=77777, event_id="EVENT")
    return _template(value, b'"EVENT"', b'"total":77777', b'"total":%d')


@cache
def _award() -> bytes:
    value = factory.points_awarded("USER", total=10, award_id="AWARD")
    value = value.replace(b'"AWARD"', b'"award"').replace(b'"total":10', b'"total":77777', 1)
    return _template(value, b"", b'"total":77777', b'"total":%d')


@cache
def _refusal() -> bytes:
    return factory.rejected("k").replace(b"%", b"%%").replace(b'"offset":17', b'"offset":%d')


def _template(value: bytes, event: bytes, number: bytes, place: bytes) -> bytes:
    id = msgspec.json.decode(value)["id"].encode()
    value = value.replace(b"%", b"%%").replace(id, b"%s", 1).replace(b'"USER"', b'"%s"', 1)
    if event:
        value = value.replace(event, b'"%s"', 1)
    return value.replace(number, place, 1)


def _toy_folds() -> tuple[Callable[[int], Fold], CatalogStore]:
    store = ToyStore()
    return (lambda partition: SimFold(partition, store)), store


@lru_cache(maxsize=VARIANTS)
def toy(variant: int) -> Scenario:
    """Return a log of numbers, records larger than a round, refused ones, catalogs, and transactions of others."""
    rng = random.Random(f"toy-{variant}")
    now, steps, catalogs = 1_700_000_000_000, [], []
    for number in range(rng.randint(14, 24)):
        now += 1000
        draw = rng.random()
        if draw < 0.1:
            name = f"v{number}".encode()
            catalogs.append(name)
            rows = tuple((partition, (now, None, b"NEED " + name)) for partition in range(PARTITIONS))
            steps.append(Step(rows, name, transaction=True))
            continue
        rows = tuple(_toy_row(rng, now) for _ in range(rng.randint(1, 6)))
        own = rng.random() < 0.2
        steps.append(Step(rows, transaction=own, aborted=own and rng.random() < 0.4))
    last = tuple((partition, (now, b"last", b"1")) for partition in range(PARTITIONS))
    return Scenario([*steps, Step(last)], _toy_folds, catalogs, by_user=False)


def _toy_row(rng: random.Random, now: int) -> tuple[int, Row]:
    draw = rng.random()
    value = b"BIG %d" % rng.randint(5, 40) if draw < 0.1 else b"what" if draw < 0.2 else b"%d" % rng.randrange(9)
    return rng.randrange(PARTITIONS), (now, b"u%d" % rng.randrange(6), value)


# the rules


def _real_folds() -> tuple[Callable[[int], Fold], CatalogStore]:
    settings, catalogs = FoldSettings(topic=NAMES.input, partitions=PARTITIONS), Catalogs()
    return (lambda partition: Partition(partition, settings, catalogs)), catalogs


@lru_cache(maxsize=VARIANTS)
def real(variant: int) -> Scenario:
    """Return a log for the rules with the sample catalog: events, days that pass, refusals, a second version."""
    rng = random.Random(f"real-{variant}")
    now, steps, catalogs = parse_instant("2024-03-01T10:00:00Z"), [], []
    total = rng.randint(12, 18)
    for number in range(total):
        if number in (0, total // 2):
            step, value = _publication(now, str(number), doubled=number > 0)
            catalogs.append(value)
            steps.append(step)
        rows = tuple(_event(rng, now) for _ in range(rng.randint(1, 5)))
        own = rng.random() < 0.15
        steps.append(Step(rows, transaction=own, aborted=own and rng.random() < 0.4))
        now += rng.choice([1, 30, 600, 1500]) * 60_000
        if rng.random() < 0.4:
            steps.append(_tick(now))
    return Scenario([*steps, _tick(now + 40 * 86_400_000)], _real_folds, catalogs, by_user=True)


def _event(rng: random.Random, now: int) -> tuple[int, Row]:
    user = f"user{rng.randrange(9)}"
    record: dict[str, Any] = {
        "metric": rng.choice(["commits", "commits", "lines", "nonsense"]),
        "value": rng.randrange(1, 50),
        "user": {"id": user, "tz": rng.choice(["Europe/Berlin", "America/New_York", "Asia/Tokyo"])},
        "occurredAt": format_instant(now),
        "attributes": {"when": rng.choice(["weekend", "night"])},
    }
    key = user.encode()
    return partition_of(key, PARTITIONS), (now, key, _encode(record))


def _tick(now: int) -> Step:
    value = _encode({"type": "tick", "at": format_instant(now)})
    return Step(tuple((partition, (now, None, value)) for partition in range(PARTITIONS)))


def _publication(now: int, version: str, *, doubled: bool) -> tuple[Step, bytes]:
    config = encode_config(sample_config())
    if doubled:
        config = config.replace(b'"metricValue":10', b'"metricValue":3')
    value = _encode({"tenant": "", "version": version, "atMs": now, "config": msgspec.Raw(config)})
    control = _encode({"type": "catalog", "version": version, "at": format_instant(now)})
    rows: Sequence[tuple[int, Row]] = [(partition, (now, None, control)) for partition in range(PARTITIONS)]
    return Step(tuple(rows), value, transaction=True), value
