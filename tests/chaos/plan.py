"""Which faults come when: all from a seed."""

import random
from collections.abc import Collection
from typing import Final

import msgspec

from tests.chaos.faults import KINDS

AT_ONCE: Final = 0.3
"""How often a second fault strikes together with the first."""

CLASHES: Final = (frozenset({"broker", "leaders"}), frozenset({"broker", "network"}))
"""Targets that are not struck together: moving leaders needs all brokers, and a cluster without any broker that can be
reached is a fault of its own."""


class Fault(msgspec.Struct, frozen=True):
    """One fault: its kind, and the seed of everything that it chooses."""

    kind: str
    seed: int


def make_plan(seed: int, faults: int, kinds: Collection[str] = ()) -> list[list[Fault]]:
    """Return groups of one or two faults that strike together; `kinds` are allowed, all by default. Every kind comes
    before any comes a second time."""
    choice = random.Random(seed)
    allowed = [kind for kind in KINDS if not kinds or kind in kinds]
    drawn = [kind for kind in allowed if KINDS[kind].weight]
    choice.shuffle(drawn)
    weights = [KINDS[kind].weight for kind in allowed]
    drawn += choice.choices(allowed, weights, k=max(0, faults - len(drawn)))
    groups: list[list[Fault]] = []
    for kind in drawn[:faults]:
        fault = Fault(kind, choice.randrange(2**32))
        if groups and len(groups[-1]) == 1 and choice.random() < AT_ONCE and _together(groups[-1][0], fault):
            groups[-1].append(fault)
        else:
            groups.append([fault])
    return groups


def _together(one: Fault, other: Fault) -> bool:
    targets = frozenset({KINDS[one.kind].target, KINDS[other.kind].target})
    return len(targets) == 2 and targets not in CLASHES
