"""Counters of filters that are new in a catalog start from true history (P12, A6, P18, D-25)."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from processors.rules.entries import TALLIES_PREFIX
from processors.rules.partition import Partition
from processors.rules.settings import FoldSettings
from processors.rules.tallies import MAX_TALLY_BYTES, Tallies, attribute_text, attributes_of
from schemas.records import LogRecord
from schemas.state import Counter
from tests.rules.fold import HOUR, START, Fold, Json, config

KEYS = ("a", "b")

few = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(("x", "")))  # few, so that filters match
filters = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(("x", "")), min_size=1)
attributes = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(("", "x", "=", "1:x", "\n", "\0", "b=1:x", '"')))
events = st.lists(st.tuples(st.sampled_from(("m", "n")), few, st.integers(-3, 3)), max_size=40)


def on(identity: str, **filter_: str) -> Json:
    """A trigger of the metric with an event filter."""
    made = {"id": identity, "type": "metric", "metric": "m", "metricThreshold": 5, "points": 4}
    return {**made, "eventAttributes": filter_}


def catalog(*wanted: tuple[str, dict[str, str]]) -> Json:
    """A catalog whose triggers use these filters on these metrics."""
    triggers = [{**on(f"t{number}", **pairs), "metric": metric} for number, (metric, pairs) in enumerate(wanted)]
    return {**config(*triggers), "metrics": ["m", "n"], "eventAttributes": list(KEYS)}


def counters(fold: Fold, user: str = "u") -> dict[str, tuple[int, int]]:
    """Return C and W by counter; one that is missing is 0."""
    state = fold.partition.user(user.encode())
    if state is None:
        return {}
    return {key: (one.total, one.high) for key, one in state.counters.items() if one != Counter()}


def feed(fold: Fold, log: list[tuple[str, dict[str, str], int]]) -> None:
    """Send events, a second apart."""
    for second, (metric, pairs, value) in enumerate(log):
        fold.event(1 + second / 3600, metric=metric, value=value, attributes=pairs)


@given(events, events, st.lists(st.tuples(st.sampled_from(("m", "n")), filters), min_size=1, max_size=4))
def test_a_new_filter_counts_as_if_it_had_always_been_there(
    before: list[Any], after: list[Any], wanted: list[tuple[str, dict[str, str]]]
) -> None:
    """C and W from tallies equal C and W from the events one by one, for any events and filters."""
    late, always = Fold(), Fold()
    late.publish(catalog(), 0)
    always.publish(catalog(*wanted), 0)
    for fold in (late, always):
        feed(fold, before)
    late.publish(catalog(*wanted), 1.5)
    assert counters(late) == counters(always)
    for fold in (late, always):
        feed(fold, after)
    assert counters(late) == counters(always)


@given(events)
def test_tallies_come_back_as_they_were_stored(log: list[tuple[str, dict[str, str], int]]) -> None:
    """Stored and read again at any point, they go on as if they had stayed in memory."""
    kept, stored = Tallies(), Tallies()
    for metric, pairs, value in log:
        kept.add(metric, pairs, value)
        stored = Tallies(stored.encode())
        stored.add(metric, pairs, value)
    assert kept.encode() == stored.encode()


@given(attributes)
def test_attributes_are_read_back_from_their_text(pairs: dict[str, str]) -> None:
    """Whatever the values hold; equal pairs in another order give the same text."""
    assert attributes_of(attribute_text(pairs)) == pairs
    assert attribute_text(dict(reversed(pairs.items()))) == attribute_text(pairs)


def test_a_changed_filter_starts_from_its_own_history() -> None:
    """P18: neither the past nor the old filter's progress is paid."""
    fold = Fold()
    fold.publish(config(on("t", a="x")), 0)
    fold.event(1, value=4, attributes={"a": "x"})
    fold.event(1, value=9, attributes={"a": "y"})
    fold.publish(config(on("t", a="y")), 2)
    assert counters(fold) == {"m\0a\0y": (9 * 10**9, 9 * 10**9)}
    fold.event(3, value=1, attributes={"a": "y"})
    assert fold.balance() == 4


def test_a_filter_that_comes_back_counts_what_it_missed() -> None:
    """A counter that no filter needs is dropped; a stale one does not return with its filter."""
    fold = Fold()
    fold.publish(config(on("t", a="x")), 0)
    fold.event(1, value=4, attributes={"a": "x"})
    fold.publish(config(), 2)
    assert counters(fold) == {}
    fold.event(3, value=5, attributes={"a": "x"})
    fold.event(3, value=-1, attributes={"a": "x"})
    fold.publish(config(on("t", a="x")), 4)
    assert counters(fold) == {"m\0a\0x": (8 * 10**9, 9 * 10**9)}


def test_a_filled_counter_completes_an_achievement_at_the_switch() -> None:
    """A24: the check of a new achievement sees the whole history."""
    fold = Fold()
    fold.publish(config(), 0)
    fold.event(1, value=9, attributes={"a": "x"})
    achievement = {"id": "g", "name": "G", "trigger": "metric", "metric": "m", "metricValue": 9, "status": "active"}
    version = fold.add(config(achievements=[{**achievement, "eventAttributes": {"a": "x"}}]), 2)
    gained = [e["data"]["achievement"]["id"] for e in fold.switch(version, 2) if e["type"] == "achievement.backdated"]
    assert gained == ["g"]


def test_a_version_that_the_partition_skipped_is_nobodys_predecessor() -> None:
    """What is new is measured against the version in force, not against the one published before."""
    fold = Fold()
    fold.publish(config(), 0)
    fold.event(1, value=7, attributes={"a": "x"})
    fold.add(config(on("t", a="x")), 2)
    fold.publish({**config(on("t", a="x")), "userAttributes": []}, 3)
    assert counters(fold) == {"m\0a\0x": (7 * 10**9, 7 * 10**9)}


def test_a_switch_in_slices_fills_the_same_counters() -> None:
    """Slices and one go give the same counters."""
    folds = [Fold(), Fold()]
    for fold, limit in zip(folds, (2, 10**6), strict=True):
        fold.publish(config(), 0)
        for number in range(9):
            fold.event(1, f"u{number}", value=number + 1, attributes={"a": "xy"[number % 2]})
        fold.switch(fold.add(config(on("t", a="x"), on("s", a="y")), 2), 2, limit=limit)
    assert [[counters(fold, f"u{number}") for number in range(9)] for fold in folds] == [
        [{f"m\0a\0{'xy'[number % 2]}": ((number + 1) * 10**9,) * 2} for number in range(9)]
    ] * 2


def test_a_refused_event_leaves_no_tally() -> None:
    """P46: nothing of the event is applied; nor of one that would have made its user, nor of a repeated key (I4)."""
    blocking = {**on("t"), "metricThreshold": 1, "points": -1, "blockIfOutOfPoints": True, "userAttributes": {"p": "1"}}
    fold = Fold()
    fold.publish(config(blocking), 0)
    fold.event(1, value=3, attributes={"a": "x"}, idempotencyKey="k")
    fold.event(1, value=3, attributes={"a": "x"}, idempotencyKey="k")
    refused = {"id": "u", "attributes": {"p": "1"}}
    assert (
        fold.send({"metric": "m", "user": refused, "value": 2, "attributes": {"a": "x"}}, 2, "u")[-1]["status"] == 422
    )
    new = {"id": "new", "attributes": {"p": "1"}}
    assert fold.send({"metric": "m", "user": new, "value": 2, "attributes": {"a": "x"}}, 2, "new")[-1]["status"] == 422
    fold.event(3, value=1, attributes={"a": "x"})
    fold.publish(config(on("t", a="x")), 4)
    assert counters(fold) == {"m\0a\0x": (4 * 10**9, 4 * 10**9)}
    assert counters(fold, "new") == {}


def open_event(fold: Fold, value: int, **fields: Any) -> None:
    """Process an event and leave the round open."""
    record = msgspec.json.encode({"metric": "m", "user": "u", "value": value, **fields})
    assert fold.partition.process(LogRecord(0, fold.partition.next_offset, START + HOUR, b"u", record), [], 10**6)


def test_a_round_that_is_rolled_back_leaves_no_tally_and_untouched_tallies_are_not_written() -> None:
    """A changelog record of its own, only when an event with attributes came."""
    fold = Fold()
    fold.publish(config(), 0)
    fold.event(1, value=1, attributes={"a": "x"})
    open_event(fold, 5, attributes={"a": "x"})
    assert TALLIES_PREFIX + b"u" in dict(fold.partition.changes(9))
    fold.partition.rollback()
    open_event(fold, 5)
    assert TALLIES_PREFIX + b"u" not in dict(fold.partition.changes(9))
    fold.partition.rollback()
    fold.event(2, value=1, attributes={"a": "x"})
    fold.publish(config(on("t", a="x")), 3)
    assert counters(fold) == {"m\0a\0x": (2 * 10**9, 2 * 10**9)}


def test_tallies_survive_recovery_whatever_the_order_of_keys() -> None:
    """After compaction a user's tallies may stand before the user."""
    fold = Fold()
    fold.publish(config(), 0)
    open_event(fold, 3, attributes={"a": "x"})
    changelog = fold.partition.changes(fold.partition.next_offset + 1)
    for records in (changelog, changelog[::-1]):
        partition = Partition(0, FoldSettings(), fold.store)
        for key, value in records:
            partition.load(key, value)
        partition.loaded()
        fold.partition = partition
        fold.versions += 1
        fold.publish(config(on("t", a="x")), 2)
        assert counters(fold) == {"m\0a\0x": (3 * 10**9, 3 * 10**9)}


def test_tallies_stay_within_their_bound() -> None:
    """Beyond it new sets are not remembered, and a counter says how many events; known sets count on."""
    fold = Fold()
    fold.publish(config(), 0)
    sent = 3_000
    for number in range(sent):
        fold.event(1, value=1, attributes={"a": f'"{number}'})
    fold.event(1, value=1, attributes={"a": '"0'})
    open_event(fold, 1, attributes={"a": '"0'})
    stored = dict(fold.partition.changes(9))[TALLIES_PREFIX + b"u"]
    assert stored is not None
    assert MAX_TALLY_BYTES / 3 < len(stored) <= MAX_TALLY_BYTES
    assert 0 < fold.partition.counters["forgotten_tallies"] < sent
    fold.partition.rollback()
    fold.publish(config(on("t", a='"0'), on("s", a=f'"{sent - 1}')), 2)
    assert counters(fold) == {'m\0a\0"0': (2 * 10**9, 2 * 10**9)}


def test_corrections_that_are_made_good_leave_no_mark() -> None:
    """A thousand ups and downs of the same sets of attributes take no more room than a few."""
    tallies = Tallies()
    for number in range(1_000):
        tallies.add("up", {"a": "x"}, 5)
        tallies.add("up", {"a": "xy"[number % 2]}, 2)
        tallies.add("up", {"a": "x"}, -3)
        tallies.add("down", {"a": "x"}, -5)
        tallies.add("down", {"a": "x"}, 3)
        tallies.add("level", {"a": "x"}, -1)
        tallies.add("level", {"a": "x"}, 1)
    assert len(list(tallies.blocks("up"))) == 2
    assert len(list(tallies.blocks("down"))) == 2
    assert list(tallies.blocks("level")) == []
    assert tallies.add("level", {"a": "x"}, -1) and list(tallies.blocks("level")) == [{"a=1:x": -1}]


@given(st.lists(st.tuples(attributes, st.integers(-(10**12), 10**12)), max_size=60))
def test_the_size_counted_is_never_below_the_size_stored(log: list[tuple[dict[str, str], int]]) -> None:
    """The largest sums and texts that need escapes included."""
    tallies = Tallies()
    for number, (pairs, value) in enumerate(log):
        tallies.add(f"metric{number % 3}", pairs, value * 10**18)
    stored = tallies.encode()
    assert len(stored) <= msgspec.json.decode(stored.split(b",", 1)[0] + b"]")[0] + len(b"[65536,{}]")
