"""What must be conserved, read from the emitted events alone, without the oracle."""

from collections import defaultdict
from typing import Any

from tests.properties.points_facts import Json
from tests.properties.points_pair import Pair

_LARGEST = 2**53 - 1


def check_conservation(pair: Pair, *, all_shown: bool = False) -> None:
    """Check everything emitted so far; `all_shown` = no throttle window holds anything back any more."""
    derived = [event for event in pair.emitted if event.get("type") and "data" in event]
    check_ids(derived)
    check_completions(derived)
    balances = check_awards(derived)
    check_changes(derived, balances, all_shown=all_shown)
    for (user, system), balance in balances.items():
        state = pair.partition.user(user.encode())
        assert state is not None
        assert state.balances[system] == balance, (user, system)


def check_ids(derived: list[Json]) -> None:
    """Ids of derived events and of awards are unique (R15, P56, D6)."""
    for ids in (
        [event["id"] for event in derived],
        [event["data"]["award"]["id"] for event in derived if event["type"] == "points.awarded"],
    ):
        assert len(set(ids)) == len(ids), sorted(one for one in ids if ids.count(one) > 1)


def check_completions(derived: list[Json]) -> None:
    """A user completes an achievement once, silently or not (A18)."""
    kinds = ("achievement.completed", "achievement.backdated")
    done = [(event["userId"], event["data"]["achievement"]["id"]) for event in derived if event["type"] in kinds]
    assert len(set(done)) == len(done), done


def check_awards(derived: list[Json]) -> dict[tuple[str, str], int]:
    """`total` is the running sum, never below 0, never raised above the cap; returns the balances (P5, P43, P44)."""
    balances: dict[tuple[str, str], int] = defaultdict(int)
    for event in derived:
        if event["type"] == "points.awarded":
            award, cap = event["data"]["award"], event["cap"]
            slot = (event["userId"], event["data"]["pointsSystem"]["key"])
            balances[slot] += award["awarded"]
            assert award["awarded"] != 0, event
            assert award["total"] == balances[slot] >= 0, event
            assert award["awarded"] < 0 or award["total"] <= (cap or _LARGEST), event
    return balances


def check_changes(derived: list[Json], balances: dict[tuple[str, str], int], *, all_shown: bool) -> None:
    """`points.changed` shows every award once, in order; what it has added and what is held back make the balance (E7)."""
    awarded: dict[Any, list[Json]] = defaultdict(list)
    shown: dict[Any, list[str]] = defaultdict(list)
    added: dict[Any, int] = defaultdict(int)
    for event in derived:
        if event["type"] == "points.awarded":
            awarded[event["userId"], event["data"]["pointsSystem"]["key"]].append(event["data"]["award"])
        elif event["type"] == "points.changed":
            points = event["data"]["points"]
            slot = (event["userId"], points["key"])
            shown[slot] += [award["id"] for award in points["awards"]]
            added[slot] += points["added"]
            assert points["added"] == sum(award["awarded"] for award in points["awards"]), event
            assert points["total"] == added[slot] == awarded[slot][-1]["total"], event
    for slot, awards in awarded.items():
        ids, count = [award["id"] for award in awards], len(shown[slot])
        assert shown[slot] == ids[:count], slot
        assert count == len(ids) or not all_shown, slot
        assert added[slot] + sum(award["awarded"] for award in awards[count:]) == balances[slot], slot
