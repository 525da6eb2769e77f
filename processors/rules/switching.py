"""What a switch of the catalog does to one user (C8, P25, A22)."""

from processors.rules import boosts, timers
from processors.rules.achievements import backdate
from processors.rules.effects import Effects
from processors.rules.plan import Plan
from processors.rules.tallies import Filling
from processors.rules.user import User


def move_user(
    user: User, old: Plan | None, plan: Plan, filling: Filling, at: int, tick: int | None, effects: Effects
) -> None:
    """Give a user the new plan's schedule and what it backdates; what is due under the old one by `at` is done.

    `filling` is from `old` to `plan`, `tick` the last tick of the partition.
    """
    if old is not None:
        timers.leave(user, old, plan, at, max(at, tick or at), effects)
    if effects.trace is not None:
        effects.trace.catalog(old, plan, at)
    user.use(plan)
    if filling.needed:
        filling.apply(user.state, user.tallies)
        if effects.trace is not None:
            effects.trace.filled(filling.added, user)
    timers.schedule(user, plan)
    if plan.changed_achievements:
        backdate(user, plan, at, effects)
    if plan.user_boosts or user.state.boosts:
        boosts.switch_user(user, old, plan, at, max(at, user.state.append, tick or at), effects)
