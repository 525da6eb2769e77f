"""Erasing a user: nothing is left in the state, everything later starts anew, and every log replays (X29, X30)."""

import json
import random
from typing import Any

import msgspec
import pytest

from processors.rules.catalogs import CatalogStore
from processors.rules.memory import CHUNK_ENTRIES
from processors.rules.settings import FoldSettings
from schemas.derived import Envelope, UserErased
from schemas.emission import Emission
from schemas.instants import format_instant
from schemas.records import LogRecord
from schemas.topics import ERASED, ERASED_TOPICS, OUTCOMES, REJECTED
from tests.rules.conftest import sample_log
from tests.rules.fold import HOUR, HOURLY, START, Fold, Json, config
from tests.rules.test_rounds import Installation, Log, chunks

STREAK = {"streak": {"frequency": "daily", "metrics": [{"key": "m", "threshold": 1}]}}
EVENT = {"metric": "m", "value": 1, "attributes": {"a": "x"}}


@pytest.fixture
def fold() -> Fold:
    """A partition with one metric, a streak and an hourly payment."""
    one = Fold()
    one.publish(
        config(HOURLY, {"id": "each", "type": "metric", "metric": "m", "metricThreshold": 1, "points": 2}, **STREAK), 0
    )
    return one


def erase(fold: Fold, hour: float, user: Any = "u", **fields: Any) -> list[Emission]:
    """Send an erase; return what it emits."""
    out: list[Emission] = []
    name = user if isinstance(user, str) else user["id"]
    fold.take({"type": "erase", "user": user, **fields}, hour, name, out)
    return out


def outcome(emissions: list[Emission]) -> Json:
    """Return the only outcome among emissions."""
    (found,) = [json.loads(emission.value) for emission in emissions if emission.topic == OUTCOMES]
    return dict(found)


def test_every_topic_of_users_is_told(fold: Fold) -> None:
    """One event per topic, with the id alone, before the outcome; each has an id of its own."""
    fold.event(1, user="u")
    emitted = erase(fold, 2, eventId="ticket-1")
    assert [emission.topic for emission in emitted] == [*ERASED_TOPICS, OUTCOMES]
    told = emitted[:-1]
    assert len({emission.id for emission in told}) == len(told)
    for emission in told:
        assert (emission.key, emission.type) == (b"u", ERASED)
        event = msgspec.json.decode(emission.value, type=Envelope)
        assert (event.id, event.user_id, event.causation_id) == (emission.id, "u", "ticket-1")
        assert msgspec.convert(event.data, UserErased, strict=True) == UserErased(topic=emission.topic)
        assert event.emitted_at == format_instant(START + 2 * HOUR)
        assert msgspec.json.encode(event) == emission.value
    assert outcome(emitted) == {
        "eventId": "ticket-1",
        "type": "erase",
        "tenantId": "",
        "userId": "u",
        "occurredAt": format_instant(START + 2 * HOUR),
        "effectiveAt": format_instant(START + 2 * HOUR),
        "status": 200,
        "issues": [],
    }


def test_nothing_of_the_user_stays_in_state_or_changelog() -> None:
    """State, history, tallies and every chunk of ids: each key that the changelog had gets a tombstone."""
    store, records = _worn_user()
    installation = Installation(store)
    installation.round(records)
    kinds = {key[:1] for key, value in installation.changelog.items() if key.endswith(b"u") and value is not None}
    assert kinds == {b"u", b"h", b"t", b"e", b"k"}
    installation.restart()
    installation.round([_record(records, {"type": "erase", "user": "u"})])
    assert {key: value for key, value in installation.changelog.items() if key[-1:] == b"u" and value is not None} == {}
    assert installation.partition.user(b"u") is None
    assert installation.partition.keys() == []
    installation.restart()
    assert installation.partition.keys() == []


def test_a_given_event_id_of_an_erase_counts_once(fold: Fold) -> None:
    """A resend of the erase does not erase the next life; one without id, or with another, does."""
    fold.event(1)
    erase(fold, 2, eventId="ticket-1")
    fold.event(3)
    assert erase(fold, 4, eventId="ticket-1") == []
    assert fold.partition.user(b"u") is not None
    assert outcome(erase(fold, 5, eventId="ticket-2"))["issues"] == []
    assert fold.partition.user(b"u") is None
    fold.event(6)
    erase(fold, 7)
    assert fold.partition.user(b"u") is None


def test_an_unknown_user_is_told_of_all_the_same(fold: Fold) -> None:
    """Tables may hold more than the state: the events go out, and the outcome says that nobody was there."""
    emitted = erase(fold, 1, user="nobody", eventId="ticket-1")
    assert [emission.topic for emission in emitted] == [*ERASED_TOPICS, OUTCOMES]
    assert outcome(emitted)["issues"] == [{"id": "nobody", "severity": "warning", "message": "User does not exist"}]
    assert erase(fold, 2, user="nobody", eventId="ticket-1") == []
    assert fold.partition.user(b"nobody") is None


def test_no_catalog_is_needed() -> None:
    """Refused records may have to go even where nothing was ever applied."""
    assert [emission.topic for emission in erase(Fold(), 1)] == [*ERASED_TOPICS, OUTCOMES]


@pytest.mark.parametrize("more", [{"email": "u@example.org"}, {"name": "U"}, {"attributes": {"p": "x"}}, {"tz": None}])
def test_more_than_the_id_is_refused(fold: Fold, more: Json) -> None:
    """An erase must not bring what it is to remove."""
    fold.event(1)
    emitted = erase(fold, 2, user={"id": "u", **more})
    assert [emission.topic for emission in emitted] == [REJECTED, OUTCOMES]
    assert outcome(emitted)["reason"] == "bad_request"
    assert fold.partition.user(b"u") is not None


def test_what_was_due_is_not_done_and_never_comes(fold: Fold) -> None:
    """Hourly payments, the end of a streak, a throttle window: neither the erase nor later ticks bring them."""
    fold.event(0.5)
    assert len(erase(fold, 30)) == len(ERASED_TOPICS) + 1
    assert fold.tick(100) == []
    fold.event(100.5, user="other")
    assert {event["userId"] for event in fold.tick(200)} == {"other"}


def test_a_resent_event_of_the_former_life_counts_anew(fold: Fold) -> None:
    """Event ids and idempotency keys are forgotten with the user (I13, I4)."""
    fields = {"eventId": "e-1", "idempotencyKey": "k-1"}
    first = fold.event(1, **fields)
    assert fold.event(1, **fields) == []
    erase(fold, 2)
    again = fold.event(3, **fields)
    assert [event["type"] for event in again if "data" in event] == [
        event["type"] for event in first if "data" in event
    ]
    state = fold.partition.user(b"u")
    assert state is not None
    assert (state.created, state.totals["m"].total) == (START + 3 * HOUR, 10**9)


@pytest.fixture(scope="module")
def erasing() -> Log:
    """The sample history with ids, attributes and keys, in which the busiest users are erased again and again."""
    store, records = sample_log(1_500)
    chance = random.Random(7)
    users = [record.key for record in records if record.key]
    busy = sorted(set(users), key=users.count)[-12:]
    found: list[LogRecord] = []

    def add(like: LogRecord, key: bytes | None, value: Json) -> None:
        found.append(LogRecord(0, len(found), like.timestamp_ms, key, msgspec.json.encode(value)))

    for number, record in enumerate(records):
        value = json.loads(record.value or b"")
        if record.key:
            value |= {"eventId": f"e-{number}", "idempotencyKey": f"k-{number % 400}"}
        add(record, record.key, value)
        if record.key in busy and chance.random() < 0.05:
            given = {"eventId": f"erase-{number}"} if chance.random() < 0.5 else {}
            add(record, record.key, {"type": "erase", "user": record.key.decode(), **given})
            if chance.random() < 0.5:
                add(record, record.key, value)
    return store, found


def kept(installation: Installation) -> dict[bytes, bytes]:
    """Return what a compacted changelog holds in the end."""
    return {key: value for key, value in installation.changelog.items() if value is not None}


@pytest.fixture(scope="module")
def undisturbed(erasing: Log) -> Installation:
    """The log in one round: lives begin and end in it that the changelog never sees."""
    installation = Installation(erasing[0])
    installation.round(erasing[1])
    assert sum(emission.type == ERASED for emission in installation.emitted) > 20 * len(ERASED_TOPICS)
    return installation


@pytest.mark.parametrize("size", [1, 7, 200])
def test_round_size_changes_nothing(erasing: Log, undisturbed: Installation, size: int) -> None:
    """Same bytes and same changelog, whether lives end within a round or between rounds."""
    installation = Installation(erasing[0])
    for records in chunks(erasing[1], size):
        installation.round(records)
    assert installation.result() == undisturbed.result()
    assert kept(installation) == kept(undisturbed)


@pytest.mark.parametrize("restarts", [False, True])
def test_aborted_rounds_and_restarts_change_nothing(erasing: Log, undisturbed: Installation, restarts: bool) -> None:
    """An erase that is rolled back brings the user back whole: state, annexes, ids, timers."""
    chance = random.Random(4)
    installation = Installation(erasing[0])
    for records in chunks(erasing[1], 40):
        while chance.random() < 0.5:
            installation.round(records[: chance.randint(1, len(records))], abort=True)
        installation.round(records, limit=25)
        if restarts and chance.random() < 0.3:
            installation.restart()
    assert installation.result() == undisturbed.result()
    assert kept(installation) == kept(undisturbed)


def test_the_next_life_is_as_if_there_had_been_none_before(erasing: Log, undisturbed: Installation) -> None:
    """Whoever was erased has the state that the records since then give alone; everybody else is untouched."""
    latest = {
        record.key: record.offset for record in erasing[1] if json.loads(record.value or b"").get("type") == "erase"
    }
    without = [record for record in erasing[1] if record.offset >= latest.get(record.key, 0)]
    alone = Installation(erasing[0])
    alone.round(without)
    users = undisturbed.partition.keys()
    assert alone.partition.keys() == users
    for key in users:
        assert msgspec.json.encode(alone.partition.user(key)) == msgspec.json.encode(undisturbed.partition.user(key))


def _worn_user() -> tuple[CatalogStore, list[LogRecord]]:
    """A user with every kind of changelog key, of ids several chunks."""
    fold = Fold()
    version = fold.add(config(HOURLY, **STREAK), 0)
    first = {"type": "catalog", "version": version, "at": format_instant(START)}
    records = [LogRecord(0, 0, START, None, msgspec.json.encode(first))]
    for number in range(3 * CHUNK_ENTRIES):
        ids = {"eventId": f"e{number}", "idempotencyKey": f"k{number}"}
        records.append(_record(records, {**EVENT, "user": "u", **ids}))
    return fold.store, records


def _record(before: list[LogRecord], value: Json) -> LogRecord:
    return LogRecord(0, len(before), START + len(before) * HOUR, b"u", msgspec.json.encode(value))


def test_chunks_that_fell_out_of_memory_get_no_second_tombstone() -> None:
    """What an erase writes depends on what is remembered, not on how long the user's past is."""
    store, records = _worn_user()
    installation = Installation(store)
    installation.partition._store._remembered_ids = CHUNK_ENTRIES
    for one in chunks(records, 10):
        installation.round(one)
    before = {key for key, value in installation.changelog.items() if value is not None and key.endswith(b"u")}
    installation.partition.process(_record(records, {"type": "erase", "user": "u"}), [], 10**6)
    written = dict(installation.partition.changes(len(records) + 1))
    assert {key for key, value in written.items() if value is None} == before
    assert FoldSettings().remembered_ids > CHUNK_ENTRIES
