"""What a points system paid over time: by day, week or month, and per active user."""

from collections import defaultdict
from collections.abc import Callable
from datetime import date
from itertools import accumulate
from typing import Final, Literal

from deploy.preview.report import Bucket, MonthRow, Pair
from deploy.preview.share import Outcome
from deploy.preview.tally import Flow, Tally, format_month, month_of
from schemas.instants import format_day, from_date, to_date

DAILY_UP_TO_DAYS: Final = 92
WEEKLY_UP_TO_DAYS: Final = 731
"""Longest histories that are shown by day and by week; beyond, by month."""

BucketSize = Literal["day", "week", "month"]

_MONDAY: Final = 3  # 1970-01-01 was a Thursday


def bucket_size(outcome: Outcome) -> BucketSize:
    """Return what an outcome is shown by: so that there are at most some hundred buckets."""
    days = [day for tally in (outcome.old, outcome.new) for _, day in tally.days]
    span = max(days) - min(days) + 1 if days else 0
    return "day" if span <= DAILY_UP_TO_DAYS else "week" if span <= WEEKLY_UP_TO_DAYS else "month"


def buckets(outcome: Outcome, system: str, size: BucketSize) -> list[Bucket]:
    """Return every bucket from the first award of the period to the last, empty ones included."""
    old, new = _by_bucket(outcome.old, system, size), _by_bucket(outcome.new, system, size)
    starts = sorted({*old, *new})
    if not starts:
        return []
    every = [starts[0]]
    while every[-1] < starts[-1]:
        every.append(_next_start(size, every[-1]))
    before = _outstanding(old, every, outcome.old.before[system])
    after = _outstanding(new, every, outcome.new.before[system])
    rows = []
    for start, had, has in zip(every, before, after, strict=True):
        was, now = old.get(start) or Flow(), new.get(start) or Flow()
        rows.append(
            Bucket(
                start=format_day(start),
                awards=Pair(was.awards, now.awards),
                earned=Pair(was.earned, now.earned),
                deducted=Pair(was.deducted, now.deducted),
                outstanding=Pair(had, has),
            )
        )
    return rows


def months(outcome: Outcome, system: str) -> list[MonthRow]:
    """Return the months in which anybody was active, with the points earned per active user."""
    old, new = _by_month(outcome.old, system), _by_month(outcome.new, system)
    rows = []
    for month in sorted({*outcome.old.active, *outcome.new.active}):
        active = Pair(outcome.old.active[month], outcome.new.active[month])
        rows.append(
            MonthRow(
                month=format_month(month),
                active_users=active,
                earned_per_active_old=_per(old.get(month, 0), active.old),
                earned_per_active_new=_per(new.get(month, 0), active.new),
            )
        )
    return rows


def _by_bucket(tally: Tally, system: str, size: BucketSize) -> dict[int, Flow]:
    """Return the flows by first day of the bucket."""
    start_of = _bucket_start(size)
    found: dict[int, Flow] = {}
    for (key, day), flow in tally.days.items():
        if key == system:
            found.setdefault(start_of(day), Flow()).merge(flow)
    return found


def _by_month(tally: Tally, system: str) -> dict[int, int]:
    sums: dict[int, int] = defaultdict(int)
    for (key, day), flow in tally.days.items():
        if key == system:
            sums[month_of(day)] += flow.earned
    return sums


def _outstanding(flows: dict[int, Flow], starts: list[int], base: int) -> list[int]:
    """Return the points outstanding at the end of each bucket."""
    nothing = Flow()
    net = (flow.earned - flow.deducted for flow in (flows.get(start, nothing) for start in starts))
    return list(accumulate(net, initial=base))[1:]


def _bucket_start(size: BucketSize) -> Callable[[int], int]:
    """Return the function from a day to the first day of its bucket."""
    if size == "day":
        return lambda day: day
    if size == "week":
        return lambda day: day - (day + _MONDAY) % 7
    return lambda day: from_date(to_date(day).replace(day=1))


def _next_start(size: BucketSize, start: int) -> int:
    if size == "month":
        first = to_date(start)
        return from_date(date(first.year + first.month // 12, first.month % 12 + 1, 1))
    return start + (1 if size == "day" else 7)


def _per(points: int, users: int) -> float | None:
    return round(points / users, 2) if users else None
