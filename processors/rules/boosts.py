"""Announcing boosts: `points.boost_started` and `points.boost_finished` (P87, E9, C37, D-26).

Whoever announces, partition 0 for the boosts of everybody and each user for its own, remembers per boost how far it is:
SCHEDULED, STARTED or FINISHED. What is not in that memory has not been looked at yet and is looked at by the next switch.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from processors.rules.boost_plan import NEVER, BoostPlan
from processors.rules.effects import Effects
from processors.rules.plan import Plan
from processors.rules.user import User
from processors.rules.zones import Zone
from schemas.derived import Envelope
from schemas.emission import Emission
from schemas.ids import named_id
from schemas.instants import format_instant
from schemas.topics import TOPIC_OF_TYPE

SCHEDULED: Final = 0
STARTED: Final = 1
FINISHED: Final = 2

Stages = dict[str, int]
"""How far each boost is, by the key of its plan."""

_encode: Final = msgspec.json.Encoder().encode


class Notice:
    """A boost starts or finishes at an instant, epoch ms; `entity` tells it from others of that instant (C33)."""

    __slots__ = ("at", "boost", "entity", "finished")

    def __init__(self, at: int, boost: BoostPlan, finished: bool, entity: str) -> None:
        self.at = at
        self.boost = boost
        self.finished = finished
        self.entity = entity


def _order(notice: Notice) -> tuple[int, str, bool]:
    return notice.at, notice.boost.key, notice.finished


def _stage(window: tuple[int, int], now: int) -> int:
    if now < window[0]:
        return SCHEDULED
    return STARTED if now < window[1] else FINISHED


def _pending(stages: Stages, boosts: Sequence[BoostPlan], zone: Zone | None, until: int) -> list[Notice]:
    """Return what is due at or before `until`, in order."""
    found = []
    for boost in boosts:
        stage = stages.get(boost.key, FINISHED)
        if stage == FINISHED:
            continue
        start, end = boost.window(zone)
        if stage == SCHEDULED and start <= until:
            found.append(Notice(start, boost, False, boost.key))
            stage = STARTED
        if stage == STARTED and end <= until:
            found.append(Notice(end, boost, True, boost.key))
    found.sort(key=_order)
    return found


def _switch(
    stages: Stages,
    old: Sequence[BoostPlan],
    new: Sequence[BoostPlan],
    zone: Zone | None,
    at: int,
    now: int,
    version: str,
) -> tuple[list[Notice], Stages]:
    """Return what a new version announces, and how far its boosts are (E9, D-26).

    A boost that runs and is dropped, switched off or moved away finishes at the version's `at`, one that runs for the first
    time starts then; one that is over already is not mentioned. `now` is up to when everything due was done, at or after `at`.
    """
    found: list[Notice] = []
    after: Stages = {}
    for boost in new:
        start, end = boost.window(zone)
        before, stage = stages.get(boost.key, SCHEDULED), _stage((start, end), now)
        after[boost.key] = stage
        if before == STARTED and stage != STARTED:
            moment = max(end, at) if stage == FINISHED else at
            found.append(Notice(moment, boost, True, f"{boost.key}\0{version}"))
        elif before != STARTED and stage == STARTED:
            found.append(Notice(max(start, at), boost, False, f"{boost.key}\0{version}"))
    for boost in old:
        if stages.get(boost.key) == STARTED and boost.key not in after:
            found.append(Notice(at, boost, True, f"{boost.key}\0{version}"))
    found.sort(key=_order)
    return found, after


# boosts of one user


def _own(user: User, plan: Plan) -> Sequence[BoostPlan]:
    return plan.user_boosts.get(user.state.id, ())


def _emit(notices: list[Notice], effects: Effects) -> None:
    for notice in notices:
        data = notice.boost.notice(notice.finished, notice.at)
        effects.emit_due(data.type, data, notice.at, notice.entity)


def begin(user: User, plan: Plan, at: int, effects: Effects) -> None:
    """A user comes into being: boosts of its own that run already start with it (D-26)."""
    notices, user.state.boosts = _switch({}, (), _own(user, plan), user.zone, at, at, plan.version)
    _emit(notices, effects)


def next_due(user: User, plan: Plan) -> int | None:
    """Return when the next boost of the user's own starts or finishes, epoch ms; None if none does."""
    first = NEVER
    for boost in _own(user, plan):
        stage = user.state.boosts.get(boost.key, FINISHED)
        if stage != FINISHED:
            first = min(first, boost.window(user.zone)[stage])
    return None if first == NEVER else first


def announce(user: User, plan: Plan, due: int, effects: Effects) -> None:
    """Announce what is due at an instant that `next_due` gave."""
    notice = _pending(user.state.boosts, _own(user, plan), user.zone, due)[0]
    user.state.boosts[notice.boost.key] = FINISHED if notice.finished else STARTED
    _emit([notice], effects)


def change_zone(user: User, plan: Plan, at: int, effects: Effects) -> None:
    """After a zone change at `at`: what the new zone has passed already happens now.

    Nothing is announced twice: a boost that had started or finished stays so, even where its local date lies ahead again. One
    that the change jumps over altogether is not mentioned.
    """
    notices: list[Notice] = []
    for boost in _own(user, plan):
        before = user.state.boosts.get(boost.key, FINISHED)
        stage = max(before, _stage(boost.window(user.zone), at))
        user.state.boosts[boost.key] = stage
        if stage != before and (before, stage) != (SCHEDULED, FINISHED):
            notices.append(Notice(at, boost, stage == FINISHED, boost.key))
    _emit(notices, effects)


def switch_user(user: User, old: Plan | None, plan: Plan, at: int, now: int, effects: Effects) -> None:
    """Announce what a new version changes for the user's own boosts; call it if the user has or had any."""
    before = _own(user, old) if old is not None else ()
    notices, user.state.boosts = _switch(user.state.boosts, before, _own(user, plan), user.zone, at, now, plan.version)
    user.due_changed()
    _emit(notices, effects)


# boosts of everybody


class Announcer:
    """Announces the boosts of everybody, in partition 0 (C37)."""

    def __init__(self, environment: str) -> None:
        self._environment = environment

    def announce(
        self, stages: Stages, plan: Plan, tenant: str, until: int, append: int, out: list[Emission], limit: int
    ) -> bool:
        """Emit what is due at or before `until` and note it. False: `out` holds `limit` emissions, and more is due."""
        for notice in _pending(stages, plan.boosts, None, until):
            if len(out) >= limit:
                return False
            stages[notice.boost.key] = FINISHED if notice.finished else STARTED
            out.append(self._emission(notice, tenant, append))
        return True

    def switch(
        self,
        stages: Stages,
        old: Plan | None,
        plan: Plan,
        tenant: str,
        now: int,
        append: int,
        out: list[Emission],
        announced: int,
        limit: int,
    ) -> Stages | int:
        """Emit what a new version announces, from notice number `announced` on; return how far its boosts are, or, when
        `out` holds `limit` emissions before the last, the number of notices that are out."""
        before = old.boosts if old is not None else []
        notices, after = _switch(stages, before, plan.boosts, None, plan.at, max(plan.at, now), plan.version)
        for number in range(announced, len(notices)):
            if len(out) >= limit:
                return number
            out.append(self._emission(notices[number], tenant, append))
        return after

    def _emission(self, notice: Notice, tenant: str, append: int) -> Emission:
        """Return an event without user, under the key of its points system (E3)."""
        data = notice.boost.notice(notice.finished, notice.at)
        key = notice.boost.system.id
        identity = named_id(f"{tenant}\0{self._environment}\0{data.type}\0{key}\0{notice.at}\0{notice.entity}")
        envelope = Envelope(
            id=identity,
            type=data.type,
            occurred_at=data.timestamp,
            emitted_at=format_instant(append),
            tenant_id=tenant,
            environment=self._environment,
            data=data,
        )
        return Emission(TOPIC_OF_TYPE[data.type], key.encode(), _encode(envelope), data.type, identity)
