"""Which points triggers a creation, a grown streak and a completion fire (P19, P22, P28)."""

from processors.rules.filters import matches
from processors.rules.plan import AchievementPlan, Plan, TriggerPlan
from processors.rules.points import Firing, Firings
from processors.rules.user import User


def _fire(user: User, system_key: str, trigger: TriggerPlan, count: int, place: int, firings: Firings) -> None:
    if count and matches(trigger.user_filter, user.state.attributes):
        kind, _, created, order, identity = trigger.order
        firings.setdefault(system_key, []).append(Firing((kind, place, created, order, identity), trigger, count))


def creation_firings(user: User, plan: Plan) -> Firings:
    """Fire `user_creation` triggers with the attributes of the first identification (P28, P29)."""
    firings: Firings = {}
    for system in plan.systems.values():
        for trigger in system.on_creation:
            _fire(user, system.key, trigger, 1, 0, firings)
    return firings


def fire_streak(user: User, plan: Plan, grown: tuple[int, int], firings: Firings) -> None:
    """Fire streak triggers for each multiple in (L0, L1] (P19, P21)."""
    before, after = grown
    for system in plan.systems.values():
        for trigger in system.by_streak:
            _fire(user, system.key, trigger, after // trigger.length - before // trigger.length, 0, firings)


def fire_achievements(user: User, plan: Plan, done: list[AchievementPlan], firings: Firings) -> None:
    """Fire achievement triggers in the order of completion (P22, P32)."""
    for place, achievement in enumerate(done):
        for system in plan.systems.values():
            for trigger in system.by_achievement.get(achievement.id, ()):
                _fire(user, system.key, trigger, 1, place, firings)
