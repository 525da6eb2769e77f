"""Catalog versions one after the other: what a switch does, and what it must not (C18, C20, C38, P8, P17, P25)."""

import pytest

from schemas.catalog_file import CatalogError
from tests.rules.fold import HOURLY, Fold, Json, config


def test_an_old_version_does_not_come_back() -> None:
    """A control record sent again, or late, neither undoes an edit nor pays ticks twice (C38)."""
    fold = Fold()
    first = fold.publish(config(HOURLY), 0)
    fold.event(0)
    fold.tick(5.5)
    assert fold.balance() == 5
    fold.publish(config({**HOURLY, "timeInterval": 2}), 5.5)
    assert [one["reason"] for one in fold.switch(first, 0, sent=6)] == ["stale_catalog"]
    fold.tick(8)
    assert fold.balance() == 6


def test_a_switch_must_carry_the_instant_of_its_version() -> None:
    """C38: a version has one instant."""
    fold = Fold()
    version = fold.add(config(HOURLY), 5)
    assert [one["reason"] for one in fold.switch(version, 4, sent=6)] == ["stale_catalog"]


def test_saving_a_time_trigger_unchanged_keeps_its_anchor_and_an_edit_moves_it() -> None:
    """P25, C18."""
    fold = Fold()
    fold.publish(config(HOURLY), 0)
    fold.event(0)
    fold.publish(config({**HOURLY, "points": 2}), 2.5)
    fold.tick(3)
    assert fold.balance() == 4
    fold.publish(config({**HOURLY, "points": 2, "timeInterval": 3}), 3.5)
    fold.tick(6.4)
    assert fold.balance() == 4
    fold.tick(6.5)
    assert fold.balance() == 6


def test_two_versions_of_one_instant_stand_in_the_order_of_the_topic() -> None:
    """C20, C38: 10 comes after 9."""
    fold = Fold()
    fold.add(config({**HOURLY, "status": "inactive"}), 0, "9")
    fold.add(config(HOURLY), 0, "10")
    fold.switch("9", 0)
    fold.switch("10", 0)
    fold.event(0)
    fold.tick(2)
    assert fold.balance() == 2


def test_a_version_that_does_not_pass_stops_nobody() -> None:
    """It is refused; the one in force and later ones work on, also after a roll-back."""
    fold = Fold()
    fold.publish(config(HOURLY), 1)
    bad = fold.add({"metrics": "none"}, 0.5, "bad")
    assert [one["reason"] for one in fold.switch(bad, 0.5, sent=1)] == ["unknown_catalog"]
    fold.partition.rollback()
    assert fold.event(1.5)[-1]["status"] == 201
    fold.publish(config({**HOURLY, "points": 7}), 2)
    fold.tick(2.5)
    assert fold.balance() == 7


@pytest.mark.parametrize(
    "trigger",
    [
        {"id": "t", "type": "metric", "metric": ["m"], "metricThreshold": 1, "points": 1},
        {**HOURLY, "userAttributes": [{"key": [], "value": "1"}]},
        {**HOURLY, "created": "0001-01-01T00:00:00+01:00"},
        {**HOURLY, "id": "a\0b"},
        {**HOURLY, "points": []},
    ],
)
def test_no_catalog_breaks_the_reader(trigger: Json) -> None:
    """Whatever stands in it, the answer is a list of mistakes."""
    fold = Fold()
    version = fold.add(config(trigger), 0)
    with pytest.raises(CatalogError):
        fold.store.plan("", version)
    assert [one["reason"] for one in fold.switch(version, 0)] == ["unknown_catalog"]


def test_counters_move_whatever_the_status() -> None:
    """P17, A24: a filtered counter of an inactive trigger counts, so activation pays nothing for the past."""
    trigger = {
        "id": "t",
        "type": "metric",
        "metric": "m",
        "metricThreshold": 10,
        "points": 1,
        "eventAttributes": {"a": "x"},
    }
    fold = Fold()
    fold.publish(config({**trigger, "status": "inactive"}), 0)
    fold.event(1, value=15, attributes={"a": "x"})
    fold.publish(config(trigger), 2)
    fold.event(3, value=4, attributes={"a": "x"})
    assert fold.balance() == 0
    fold.event(4, value=1, attributes={"a": "x"})
    assert fold.balance() == 1


def test_triggers_of_one_explicit_instant_order_by_id() -> None:
    """P32: the order of the file decides only where it gives no time (C20)."""
    made = {"created": "2024-01-01T00:00:00Z"}
    pays = {"type": "user_creation", "points": 1}
    fold = Fold()
    fold.publish(config({**pays, **made, "id": "b"}, {**pays, **made, "id": "a"}), 0)
    awards = [e["data"]["award"]["trigger"]["id"] for e in fold.event(1) if e.get("type") == "points.awarded"]
    assert awards == ["a", "b"]
    other = Fold()
    other.publish(config({**pays, "id": "b"}, {**pays, "id": "a"}), 0)
    awards = [e["data"]["award"]["trigger"]["id"] for e in other.event(1) if e.get("type") == "points.awarded"]
    assert awards == ["b", "a"]


def test_a_postponed_settlement_holds_up_nothing_else() -> None:
    """S9: `settleDelaySeconds` postpones the settlement, not time triggers (P27)."""
    streak = {"metrics": [{"key": "m", "threshold": 1}], "settleDelaySeconds": 6 * 3600}
    fold = Fold()
    fold.publish(config(HOURLY, streak=streak), 0)
    fold.event(0)
    fold.tick(48 + 3)
    state = fold.partition.user(b"u")
    assert state is not None
    assert state.balances["xp"] == 51
    assert state.chains[0].length == 1
    lost = [e for e in fold.tick(48 + 6) if e["type"] == "streak.lost"]
    assert [e["occurredAt"] for e in lost] == ["2025-01-03T00:00:00.000Z"]


def test_collected_awards_of_a_system_that_goes_come_out_at_the_switch() -> None:
    """D-22: nobody would close the window later."""
    pays = {"id": "t", "type": "metric", "metric": "m", "metricThreshold": 1, "points": 1}
    fold = Fold()
    fold.publish(config(pays), 0)
    fold.event(1)
    fold.event(1.01)
    version = fold.add({"metrics": ["m"]}, 1.02)
    changed = [e for e in fold.switch(version, 1.02) if e["type"] == "points.changed"]
    assert [e["data"]["points"]["added"] for e in changed] == [1]


def test_an_edit_older_than_the_user_reaches_the_user() -> None:
    """The version was published before the user came, its switch stands after it: the first tick has the new interval."""
    fold = Fold()
    fold.publish(config(HOURLY), 0)
    version = fold.add(config({**HOURLY, "timeInterval": 3}), 1)
    fold.event(1.5)
    fold.switch(version, 1, sent=2)
    fold.tick(4.4)
    assert fold.balance() == 0
    fold.tick(4.5)
    assert fold.balance() == 1
