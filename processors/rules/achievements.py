"""Which achievements a record completes, in the order F6 (achievements.md)."""

from processors.rules import anniversaries, messages, texts
from processors.rules.effects import Effects, instant_text
from processors.rules.filters import matches
from processors.rules.plan import AchievementPlan, CounterPlan, Plan
from processors.rules.user import User
from schemas.catalog import FREQUENCIES
from schemas.derived import AchievementBackdated
from schemas.ids import derived_id


def completion_id(user: User, achievement_id: str) -> str:
    """Return the id of a completion, the same on every replay (achievements.md section 7)."""
    return derived_id(user.state.tenant, "completion", user.state.id, achievement_id)


def _suits(user: User, achievement: AchievementPlan, effects: Effects) -> bool:
    """Tell whether the user filter matches (A7)."""
    suits = matches(achievement.user_filter, user.state.attributes)
    if not suits and effects.trace is not None:
        effects.trace.unsuited(achievement, user)
    return suits


def reached_by_counter(user: User, counter: CounterPlan, value: int, effects: Effects) -> list[AchievementPlan]:
    """Return what a counter's present value completes, by `metricValue`, then id (A5-A9, F6).

    Looks only at achievements the user still lacks, and stops at the first whose value is not reached.
    """
    pending = user.pending.get(counter.id)
    if pending is None:
        completions = user.state.completions
        pending = user.pending[counter.id] = [a for a in counter.achievements if a.id not in completions]
    if not pending or pending[0].value > value:
        return []
    done: list[AchievementPlan] = []
    for achievement in pending:
        if achievement.value > value:
            break
        if _suits(user, achievement, effects):
            done.append(achievement)
    if done:
        user.pending[counter.id] = [achievement for achievement in pending if achievement not in done]
    return done


def reached_by_streak(user: User, plan: Plan, before: int, after: int, effects: Effects) -> list[AchievementPlan]:
    """Return the streak achievements with before < length <= after (A10, S95)."""
    return [
        achievement
        for achievement in plan.streak_achievements
        if before < achievement.achievement.streak_length <= after
        and achievement.id not in user.state.completions
        and _suits(user, achievement, effects)
    ]


def reached_by_date(user: User, plan: Plan, day: int, effects: Effects) -> list[AchievementPlan]:
    """Take the anniversaries up to a day; return those whose user filter matches (A31)."""
    return [achievement for achievement in anniversaries.take(user, plan, day) if _suits(user, achievement, effects)]


def reached_late(user: User, plan: Plan, day: int, effects: Effects) -> list[AchievementPlan]:
    """Return what an event of a local day completes of the anniversaries whose filter did not match in time (A31a)."""
    found = [
        achievement
        for when, achievement in anniversaries.missed(user, plan)
        if when <= day and _suits(user, achievement, effects)
    ]
    if found:
        user.anniversaries_changed()
    return found


def complete(
    user: User, plan: Plan, reached: list[AchievementPlan], at_ms: int, effects: Effects, *, due: bool = False
) -> list[AchievementPlan]:
    """Complete achievements and, round by round, the composites that can complete (A13-A18); `due` = by time alone (A31).

    Returns all that were completed, in order (F6); each emits `achievement.completed`.
    """
    reached = reached or _ready_composites(user, plan, effects)
    if not reached:
        return reached
    completions = user.state.completions
    done: list[AchievementPlan] = []
    number = 0
    while reached:
        for achievement in reached:
            completions[achievement.id] = at_ms
            done.append(achievement)
            if effects.trace is not None:
                effects.trace.achievement(achievement, "completed", number)
            data = texts.achievement_completed(
                user.shown_json(), achievement.show_json(instant_text(at_ms)), completion_id(user, achievement.id)
            )
            if due:
                effects.emit_due("achievement.completed", data, at_ms, achievement.id)
            else:
                effects.emit("achievement.completed", data, at_ms)
        user.composites = None
        number += 1
        reached = _ready_composites(user, plan, effects)
    if plan.messages is not None:
        messages.expect(user, plan, done)
    return done


def backdate(user: User, plan: Plan, at_ms: int, effects: Effects) -> None:
    """Complete silently what a new version activated or edited and the user meets already (A22-A26).

    `achievedAt` is the instant of the version. Composites follow if a gained completion leads to them (C17).
    """
    changed = plan.changed_achievements
    reached = (
        _met_metrics(user, plan, effects)
        + _met_streaks(user, plan, effects)
        + _met_anniversaries(user, plan, at_ms, effects)
    )
    _complete_silently(user, plan, reached, changed, at_ms, effects, due=True)


def backdate_anniversaries(user: User, plan: Plan, at_ms: int, effects: Effects) -> None:
    """A record set the sign-up date: complete silently the anniversaries that its effectiveAt is past (A31, E4)."""
    day = anniversaries.begin(user, plan, max(at_ms, plan.at))
    if day is not None:
        user.state.anniversary_day = day  # a late record may know less of them to be past
        reached = [a for a in anniversaries.past(user, plan, day) if _suits(user, a, effects)]
        _complete_silently(user, plan, reached, frozenset(), at_ms, effects, due=False)


def _complete_silently(
    user: User,
    plan: Plan,
    reached: list[AchievementPlan],
    changed: frozenset[str],
    at_ms: int,
    effects: Effects,
    *,
    due: bool,
) -> None:
    """Complete achievements without events to the public, then round by round the composites of A26."""
    gained: set[str] = set()
    reached = reached or _met_composites(user, plan, changed, gained, effects)
    while reached:
        for achievement in reached:
            user.state.completions[achievement.id] = at_ms
            gained.add(achievement.id)
            if effects.trace is not None:
                effects.trace.achievement(achievement, "backdated")
            data = AchievementBackdated(achievement=achievement.show(instant_text(at_ms)))
            if due:
                effects.emit_due("achievement.backdated", data, at_ms, achievement.id)
            else:
                effects.emit("achievement.backdated", data, at_ms)
        reached = _met_composites(user, plan, changed, gained, effects)
    if gained:
        user.pending, user.composites = {}, None
        user.anniversaries_changed()


def _met_metrics(user: User, plan: Plan, effects: Effects) -> list[AchievementPlan]:
    """Return the changed metric achievements whose counter suffices, by value, then id (A24, F6)."""
    state = user.state
    found = []
    for metric in plan.metrics.values():
        for counter in (metric.total, *metric.filtered):
            held = state.counters.get(counter.id) if counter.filter else state.totals.get(metric.key)
            total = held.total if held else 0
            found += [a for a in counter.achievements if a.value <= total and _may_gain(user, plan, a, effects)]
    return sorted(found, key=lambda a: (a.value, a.id.encode()))


def _met_streaks(user: User, plan: Plan, effects: Effects) -> list[AchievementPlan]:
    """Return the changed streak achievements that the present length meets (A24)."""
    chains = user.state.chains
    length = chains[FREQUENCIES.index(plan.frequency)].length if chains else 0
    return [
        a
        for a in plan.streak_achievements
        if a.achievement.streak_length <= length and _may_gain(user, plan, a, effects)
    ]


def _met_anniversaries(user: User, plan: Plan, at_ms: int, effects: Effects) -> list[AchievementPlan]:
    """Return the changed anniversary achievements whose day has begun, by years, then id (A31, A24)."""
    if not plan.anniversaries:
        return []
    past = anniversaries.past(user, plan, user.zone.reached_day(at_ms))
    return [achievement for achievement in past if _may_gain(user, plan, achievement, effects)]


def _met_composites(
    user: User, plan: Plan, changed: frozenset[str], gained: set[str], effects: Effects
) -> list[AchievementPlan]:
    """Return one round of composites that were changed, or that a gained completion leads to (A26, C17)."""
    completions = user.state.completions
    return [
        composite
        for composite in plan.composites
        if composite.id not in completions
        and (composite.id in changed or not gained.isdisjoint(composite.achievement.achievement_ids))
        and all(required in completions for required in composite.achievement.achievement_ids)
        and _suits(user, composite, effects)
    ]


def _may_gain(user: User, plan: Plan, achievement: AchievementPlan, effects: Effects) -> bool:
    return (
        achievement.id in plan.changed_achievements
        and achievement.id not in user.state.completions
        and _suits(user, achievement, effects)
    )


def _ready_composites(user: User, plan: Plan, effects: Effects) -> list[AchievementPlan]:
    """Return the composites of one round: all prerequisites complete, user filter matching, by id (A14).

    Those that only wait for their user filter are remembered, so that an event does not look at all composites.
    """
    if user.composites is None:
        completions = user.state.completions
        user.composites = [
            composite
            for composite in plan.composites
            if composite.id not in completions
            and all(required in completions for required in composite.achievement.achievement_ids)
        ]
    if not user.composites:
        return []
    return [composite for composite in user.composites if _suits(user, composite, effects)]
