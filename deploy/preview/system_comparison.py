"""What two catalogs do to one points system."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from deploy.preview.over_time import BucketSize, buckets, months
from deploy.preview.report import (
    HEADLINE_TOP,
    Bin,
    ChangeBin,
    DecileRow,
    LevelRow,
    Pair,
    Reach,
    ReachPair,
    Shift,
    SystemReport,
    TriggerRow,
    UserChange,
)
from deploy.preview.share import Outcome
from deploy.preview.tally import Flow, Holding, TriggerTally
from schemas.catalog import Catalog, Level, PointsSystem
from schemas.instants import DAY_MS

_NOTHING: Final = Holding(0, Flow())


def active_systems(catalog: Catalog | None) -> dict[str, PointsSystem]:
    """Return the active points systems by key."""
    return {system.key: system for system in catalog.systems if system.status == "active"} if catalog else {}


def reach_of(times_ms: list[int]) -> Reach:
    """Return the percentiles of times, ms, in days; nearest rank."""
    ordered = sorted(times_ms)

    def rank(percent: int) -> float | None:
        if not ordered:
            return None
        return round(ordered[-(-percent * len(ordered) // 100) - 1] / DAY_MS, 2)

    return Reach(users=len(ordered), p10=rank(10), median=rank(50), p90=rank(90))


class SystemComparison:
    """Makes the report on one points system."""

    def __init__(self, outcome: Outcome, key: str, size: BucketSize) -> None:
        self._outcome, self._old, self._new = outcome, outcome.old, outcome.new
        self._key, self._size = key, size
        self._system_old = active_systems(outcome.old.catalog).get(key)
        self._system_new = active_systems(outcome.new.catalog).get(key)
        none: dict[str, Holding] = {}
        self._users = [
            (
                user,
                outcome.old.users.get(user, none).get(key, _NOTHING),
                outcome.new.users.get(user, none).get(key, _NOTHING),
            )
            for user in sorted({*outcome.old.users, *outcome.new.users})
        ]

    def report(self) -> SystemReport:
        known = self._system_new or self._system_old
        return SystemReport(
            key=self._key,
            name=known.name if known else self._key,
            awards=self._sum(lambda holding: holding.flow.awards),
            earned=self._sum(lambda holding: holding.flow.earned),
            deducted=self._sum(lambda holding: holding.flow.deducted),
            outstanding=self._sum(lambda holding: holding.balance),
            median_balance=Pair(*(_median([one.balance for one in side]) for side in self._sides())),
            triggers=self._triggers(),
            buckets=buckets(self._outcome, self._key, self._size),
            months=months(self._outcome, self._key),
            deciles=self._deciles(),
            balances=self._balances(),
            levels=self._levels(),
            moved=_shift((old.balance, new.balance) for _, old, new in self._users),
            moved_level=self._moved_level(),
            changes=self._changes(),
            gainers=self._top(gain=True),
            losers=self._top(gain=False),
        )

    def _sides(self) -> tuple[list[Holding], list[Holding]]:
        return [old for _, old, _ in self._users], [new for _, _, new in self._users]

    def _sum(self, figure: Callable[[Holding], int]) -> Pair:
        return Pair(*(sum(map(figure, side)) for side in self._sides()))

    def _triggers(self) -> list[TriggerRow]:
        """All triggers that either catalog has active, or that paid, in the order of the files."""
        types: dict[str, str] = {}
        for system in (self._system_new, self._system_old):
            for trigger in system.triggers if system else ():
                if trigger.status == "active":
                    types.setdefault(trigger.id, trigger.type)
        for tally in (self._old, self._new):
            for (key, identity), paid in tally.triggers.items():
                if key == self._key:
                    types.setdefault(identity, paid.type)
        return [self._trigger(identity, kind) for identity, kind in types.items()]

    def _trigger(self, identity: str, kind: str) -> TriggerRow:
        none = TriggerTally(kind, Flow())
        old = self._old.triggers.get((self._key, identity), none)
        new = self._new.triggers.get((self._key, identity), none)
        return TriggerRow(
            id=identity,
            type=kind,
            awards=Pair(old.flow.awards, new.flow.awards),
            times=Pair(old.times, new.times),
            points=Pair(old.flow.earned - old.flow.deducted, new.flow.earned - new.flow.deducted),
            users=Pair(old.users, new.users),
        )

    def _deciles(self) -> list[DecileRow]:
        """Ties in the old balance are broken by the new one, then by user id, so that the tenths are the same each time."""
        ranked = sorted(self._users, key=lambda one: (one[1].balance, one[2].balance, one[0]))
        own = [sorted(one.balance for one in side) for side in self._sides()]
        count = len(ranked)
        rows = []
        for number in range(1, 11):
            low, high = (number - 1) * count // 10, number * count // 10
            tenth = ranked[low:high]
            rows.append(
                DecileRow(
                    decile=number,
                    users=len(tenth),
                    awards=Pair(sum(one[1].flow.awards for one in tenth), sum(one[2].flow.awards for one in tenth)),
                    earned=Pair(sum(one[1].flow.earned for one in tenth), sum(one[2].flow.earned for one in tenth)),
                    balance=Pair(sum(one[1].balance for one in tenth), sum(one[2].balance for one in tenth)),
                    own_balance=Pair(*(sum(side[low:high]) for side in own)),
                )
            )
        return rows

    def _balances(self) -> list[Bin]:
        """Users by balance in ranges of 1, 2, 5, 10, … : narrow where most of them are."""
        old, new = ([one.balance for one in side] for side in self._sides())
        edges = _edges(max([*old, *new, 1]))
        counts = [[0] * len(edges) for _ in range(2)]
        for count, balances in zip(counts, (old, new), strict=True):
            for balance in balances:
                count[bisect_right(edges, balance) - 1] += 1
        highs = [edge - 1 for edge in edges[1:]]
        return [
            Bin(low=low, high=high, users=Pair(was, now))
            for low, high, was, now in zip(edges, [*highs, _next_edge(edges[-1]) - 1], *counts, strict=True)
        ]

    def _levels(self) -> list[LevelRow]:
        before, after = _levels_of(self._system_old), _levels_of(self._system_new)
        counts = [
            _on_levels(system, side)
            for system, side in zip((self._system_old, self._system_new), self._sides(), strict=True)
        ]
        rows = []
        for key in {**after, **before}:
            was, now = before.get(key), after.get(key)
            named = now or was
            assert named is not None
            reach = ReachPair(
                reach_of(self._old.levels.get((self._key, key), [])) if was else None,
                reach_of(self._new.levels.get((self._key, key), [])) if now else None,
            )
            rows.append(
                LevelRow(
                    key=key,
                    name=named.name,
                    points_old=was.points if was else None,
                    points_new=now.points if now else None,
                    users=Pair(counts[0].get(key, 0), counts[1].get(key, 0)),
                    reach=reach,
                )
            )
        return sorted(rows, key=lambda row: row.points_new if row.points_new is not None else row.points_old or 0)

    def _moved_level(self) -> Shift | None:
        """Compare by place in the new catalog's list of levels; a level that it lacks counts as its nearest below."""
        old, new = self._system_old, self._system_new
        if old is None or new is None or not old.levels or not new.levels:
            return None
        places = {level.key: place for place, level in enumerate(new.levels)}
        of_old: list[int] = []
        for level in old.levels:
            of_old.append(places.get(level.key, of_old[-1] if of_old else -1))
        points_old, points_new = ([level.points for level in system.levels] for system in (old, new))

        def pairs() -> Iterable[tuple[int, int]]:
            for _, had, has in self._users:
                place = bisect_right(points_old, had.balance) - 1
                yield (of_old[place] if place >= 0 else -1), bisect_right(points_new, has.balance) - 1

        return _shift(pairs())

    def _changes(self) -> list[ChangeBin]:
        counts = [0] * len(_CHANGE_LABELS)
        for _, old, new in self._users:
            counts[_change_place(old.balance, new.balance)] += 1
        return [ChangeBin(label=label, users=count) for label, count in zip(_CHANGE_LABELS, counts, strict=True)]

    def _top(self, *, gain: bool) -> list[UserChange]:
        sign = 1 if gain else -1
        moved = [
            (sign * (new.balance - old.balance), user, Pair(old.balance, new.balance)) for user, old, new in self._users
        ]
        moved = sorted((one for one in moved if one[0] > 0), key=lambda one: (-one[0], one[1]))[:HEADLINE_TOP]
        return [UserChange(user=user, balance=balance) for _, user, balance in moved]


_CHANGE_LABELS: Final = (
    "lose all",
    "lose half or more",
    "lose 10 % or more",
    "lose less",
    "the same",
    "gain less than 10 %",
    "gain 10 % or more",
    "gain half or more",
    "double or more",
    "from nothing",
)


def _change_place(old: int, new: int) -> int:
    """Return the place among the labels of a balance's change; whole numbers only, so that edges are exact."""
    if old == new:
        return 4
    if old == 0:
        return 9
    if new == 0:
        return 0
    if new < old:
        return 1 if 2 * new <= old else 2 if 10 * new <= 9 * old else 3
    return 8 if new >= 2 * old else 7 if 2 * new >= 3 * old else 6 if 10 * new >= 11 * old else 5


def _shift(pairs: Iterable[tuple[int, int]]) -> Shift:
    up = down = same = 0
    for old, new in pairs:
        up += new > old
        down += new < old
        same += new == old
    return Shift(up=up, down=down, same=same)


def _median(values: list[int]) -> int:
    """Return the lower median, 0 for nobody."""
    return sorted(values)[(len(values) - 1) // 2] if values else 0


def _next_edge(edge: int) -> int:
    """Return what follows in 0, 1, 2, 5, 10, 20, 50, …"""
    if edge == 0:
        return 1
    return edge * 5 // 2 if str(edge)[0] == "2" else edge * 2


def _edges(highest: int) -> list[int]:
    edges = [0]
    while _next_edge(edges[-1]) <= highest:
        edges.append(_next_edge(edges[-1]))
    return edges


def _levels_of(system: PointsSystem | None) -> dict[str, Level]:
    return {level.key: level for level in system.levels} if system else {}


def _on_levels(system: PointsSystem | None, holdings: list[Holding]) -> dict[str, int]:
    """Return users per level (P65); whoever stands below all levels is on none."""
    counts: dict[str, int] = defaultdict(int)
    if system is not None and system.levels:
        thresholds = [level.points for level in system.levels]
        for holding in holdings:
            place = bisect_right(thresholds, holding.balance)
            if place:
                counts[system.levels[place - 1].key] += 1
    return counts
