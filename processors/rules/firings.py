"""Which points triggers a creation, a grown streak and a completion fire (P19, P22, P28)."""

from processors.rules.effects import Effects
from processors.rules.filters import matches
from processors.rules.plan import AchievementPlan, Plan, TriggerPlan
from processors.rules.points import Firing, Firings
from processors.rules.user import User


def _fire(user: User, system_key: str, trigger: TriggerPlan, count: int, place: int, firings: Firings) -> bool:
    fires = count > 0 and matches(trigger.user_filter, user.state.attributes)
    if fires:
        kind, _, created, order, identity = trigger.order
        firings.setdefault(system_key, []).append(Firing((kind, place, created, order, identity), trigger, count))
    return fires


def creation_firings(user: User, plan: Plan, effects: Effects) -> Firings:
    """Fire `user_creation` triggers with the attributes of the first identification (P28, P29)."""
    firings: Firings = {}
    for system in plan.systems.values():
        for trigger in system.on_creation:
            fires = _fire(user, system.key, trigger, 1, 0, firings)
            if effects.trace is not None:
                effects.trace.trigger(system.key, trigger, user, 1, fires=fires)
    return firings


def fire_streak(user: User, plan: Plan, grown: tuple[int, int], firings: Firings, effects: Effects) -> None:
    """Fire streak triggers for each multiple in (L0, L1] (P19, P21)."""
    before, after = grown
    for system in plan.systems.values():
        for trigger in system.by_streak:
            count = after // trigger.length - before // trigger.length
            fires = _fire(user, system.key, trigger, count, 0, firings)
            if effects.trace is not None:
                effects.trace.trigger(system.key, trigger, user, count, before, after, fires=fires)


def fire_achievements(user: User, plan: Plan, done: list[AchievementPlan], firings: Firings, effects: Effects) -> None:
    """Fire achievement triggers in the order of completion (P22, P32)."""
    for place, achievement in enumerate(done):
        for system in plan.systems.values():
            for trigger in system.by_achievement.get(achievement.id, ()):
                fires = _fire(user, system.key, trigger, 1, place, firings)
                if effects.trace is not None:
                    effects.trace.trigger(system.key, trigger, user, 1, fires=fires)
