"""Applying the records of one user, in the order of effects F1-F9."""

from typing import Final

from msgspec import UnsetType

from processors.rules import achievements, boosts, freezes, messages, streak_views, streaks, texts, timers
from processors.rules.effects import Effects, instant_text
from processors.rules.errors import RejectedError
from processors.rules.filters import matches, undeclared
from processors.rules.firings import creation_firings, fire_achievements, fire_streak
from processors.rules.memory import Memory, digest
from processors.rules.plan import AchievementPlan, CounterPlan, MetricPlan, Plan
from processors.rules.points import Firing, Firings, crossed, pay
from processors.rules.tallies import Tallies
from processors.rules.unset import UNSET
from processors.rules.user import User, check_form, check_user, new_state, touch, update_profile
from processors.rules.zones import zone_of
from schemas.derived import Cause, UserUpserted
from schemas.instants import format_day
from schemas.numbers import MAX_TOTAL, NotANumberError, ValueOutOfRangeError, format_scaled, parse_scaled
from schemas.outcome import Issue
from schemas.records import (
    MAX_IDEMPOTENCY_KEY_LENGTH,
    MetricEvent,
    UserInput,
)
from schemas.state import Counter

NO_ATTRIBUTES: Final[dict[str, str]] = {}


class Applied:
    """What applying a record gave.

    `status` is as the HTTP call would answer, `outcome` JSON of an EventOutcome, CompletionOutcome or IdentifyOutcome, empty
    if there is none, `issues` those of a request, `forgotten` how many idempotency keys had to be forgotten for it, `tallied`
    tells whether the tallies had room for the event.
    """

    __slots__ = ("forgotten", "issues", "outcome", "status", "tallied")

    def __init__(
        self,
        status: int,
        outcome: str,
        forgotten: int = 0,
        issues: list[Issue] | UnsetType = UNSET,
        *,
        tallied: bool = True,
    ) -> None:
        self.status = status
        self.outcome = outcome
        self.forgotten = forgotten
        self.issues = issues
        self.tallied = tallied


class CheckedEvent:
    """A metric event that passed validation. `value` is scaled, `idempotency_key` empty if there is none."""

    __slots__ = ("attributes", "given", "idempotency_key", "metric", "value")

    def __init__(
        self, given: UserInput, metric: MetricPlan, value: int, attributes: dict[str, str], idempotency_key: str
    ) -> None:
        self.given = given
        self.metric = metric
        self.value = value
        self.attributes = attributes
        self.idempotency_key = idempotency_key


def given_user(user: UserInput | str) -> UserInput:
    """Return the user object of a record that may hold just an id (X3)."""
    return UserInput(id=user) if isinstance(user, str) else user


def check_event(event: MetricEvent, user: User | None, plan: Plan, at_ms: int) -> CheckedEvent:
    """Validate a metric event in the order of Z12.

    Raises:
        RejectedError: bad_request, unknown_metric, value_out_of_range, then user and attribute errors.
    """
    given = event.user
    if isinstance(given, str):
        given = UserInput(id=given)
    elif given.sign_up_date is not UNSET:
        check_form(given)
    out_of_range: ValueOutOfRangeError | None = None
    value = 0
    try:
        value = parse_scaled(bytes(event.value))
    except NotANumberError as error:
        raise RejectedError("bad_request", f"value {error} is not a number; send a JSON number") from error
    except ValueOutOfRangeError as beyond:
        out_of_range = beyond
    metric = plan.metrics.get(event.metric)
    if metric is None:
        known = ", ".join(sorted(plan.metrics)) or "none"
        raise RejectedError(
            "unknown_metric", f"metric {event.metric[:80]!r} is unknown or archived; active metrics: {known}"
        )
    if out_of_range is not None:
        raise RejectedError("value_out_of_range", f"value: {out_of_range}; at most 10^12 per event") from out_of_range
    if user is not None and user.given is not None and given == user.given:
        given = user.given  # the very object: nothing to look at again
    if user is None or given is not user.given or given.sign_up_date is not UNSET:
        check_user(given, user.state if user else None, plan, at_ms)
    attributes = event.attributes
    if attributes is UNSET:
        attributes = NO_ATTRIBUTES
    elif attributes:
        unknown = undeclared(attributes, plan.event_attributes)
        if unknown:
            raise RejectedError(
                "unknown_attribute",
                f"event attributes {', '.join(unknown)} are not declared; add them to eventAttributes of the catalog",
            )
    key = event.idempotency_key
    if key is UNSET:
        key = ""
    elif len(key) > MAX_IDEMPOTENCY_KEY_LENGTH:
        raise RejectedError(
            "invalid_idempotency_key",
            f"idempotencyKey has {len(key)} characters, the limit is {MAX_IDEMPOTENCY_KEY_LENGTH}",
        )
    return CheckedEvent(given, metric, value, attributes, key)


def upsert(user: User, given: UserInput, plan: Plan, at_ms: int, effects: Effects, *, created: bool) -> None:
    """Store what the user object carries (step 5); a changed zone moves the streak chains (U3, U8, S60).

    A new user's first periods open at `at_ms` (C1, S27).
    """
    if given is user.given or given == user.given:
        return
    state = user.state
    signed_up, zone_before = state.sign_up_date, state.tz
    changed = update_profile(user, given, at_ms)
    moved = given.tz is not UNSET and given.tz != state.tz
    if given.tz is not UNSET and moved:
        if not created:
            streaks.change_zone(user, plan, zone_of(given.tz), effects.at, effects)
        state.tz = given.tz
        touch(user, at_ms)
        if not created:
            freezes.zone_changed(user, plan, effects.at, effects)
            if plan.user_boosts:
                boosts.change_zone(user, plan, effects.at, effects)
        changed = True
    if created or changed:
        if effects.trace is not None:
            effects.trace.user(user, zone_before, created=created)
        effects.emit("user.upserted", UserUpserted(user=user.shown()), at_ms)
    if created:
        streaks.open_chains(user, plan, at_ms)
        timers.schedule(user, plan)
        freezes.grant_initial(user, plan, at_ms, effects)
        if plan.user_boosts:
            boosts.begin(user, plan, at_ms, effects)
    if plan.anniversaries:
        if state.sign_up_date != signed_up:
            achievements.backdate_anniversaries(user, plan, at_ms, effects)
        elif moved and not created:
            timers.complete_anniversaries(user, plan, user.zone.reached_day(effects.at), effects.at, effects)
    user.given = given


def apply_event(
    user: User,
    checked: CheckedEvent,
    event_id: str,
    plan: Plan,
    at_ms: int,
    memory: Memory | None,
    effects: Effects,
    *,
    created: bool,
) -> Applied:
    """Apply a validated metric event, steps 4-12 of F1. `memory` is given if the event carries an idempotency key.

    Raises:
        RejectedError: total_out_of_range, out_of_points; the caller undoes the record.
    """
    state, metric, key = user.state, checked.metric, checked.idempotency_key
    remembered = b""
    if memory is not None:
        remembered = digest(metric.key, key)
        original = memory.keys.get(remembered)
        if original is not None:
            return _replay(user, checked, original, plan, effects)
    counter = state.totals.get(metric.key)
    if abs((counter.total if counter else 0) + checked.value) > MAX_TOTAL:
        raise RejectedError(
            "total_out_of_range", f"the total of {metric.key} would pass 10^18; correct it with a negative value"
        )
    upsert(user, checked.given, plan, at_ms, effects, created=created)
    if plan.messages is not None:
        messages.note_event(user, plan, at_ms, effects.at)
    local_day = _local_day(user, at_ms, effects)
    firings = creation_firings(user, plan, effects) if created else {}
    reached = _count(user, checked, firings, effects)
    total = format_scaled(state.totals[metric.key].total)
    event_id_json = effects.cause_json
    key_json = texts.to_json(key) if key else ""
    effects.emit(
        "metric.changed",
        texts.metric_changed(
            metric.key_json,
            event_id_json,
            format_scaled(checked.value),
            total,
            format_day(local_day),
            texts.to_json(checked.attributes),
            key_json or "null",
        ),
        at_ms,
    )
    grown = streaks.count_event(user, plan, metric.key, checked.value, local_day, at_ms, effects, created=created)
    if grown is not None:
        fire_streak(user, plan, grown, firings, effects)
        reached = reached + achievements.reached_by_streak(user, plan, *grown, effects)
    if plan.anniversaries:
        reached = reached + achievements.reached_late(user, plan, local_day, effects)
    done = achievements.complete(user, plan, reached, at_ms, effects)
    if done:
        fire_achievements(user, plan, done, firings, effects)
    points = ""
    if firings:
        points = pay(user, plan.systems, firings, at_ms, local_day, Cause(type="event", id=event_id), effects)
    # nothing refuses the event from here on: the tallies need no undoing
    tallied = not checked.attributes or _tally(user, checked)
    forgotten = memory.keys.add(remembered, event_id) if memory is not None else 0
    shown = ",".join([achievement.show_json(instant_text(at_ms)) for achievement in done]) if done else ""
    streak = streak_views.answer(user, plan, extended=grown is not None)
    outcome = texts.event_outcome(event_id_json, metric.id_json, total, shown, streak, points, key_json, replayed=False)
    return Applied(201, outcome, forgotten, tallied=tallied)


def _tally(user: User, checked: CheckedEvent) -> bool:
    """Remember an event with attributes for filters that a later catalog may bring (P12)."""
    if user.tallies is None:
        user.tallies = Tallies()
    return user.tallies.add(checked.metric.key, checked.attributes, checked.value)


def _local_day(user: User, at_ms: int, effects: Effects) -> int:
    """Return the local date an event counts for (S7)."""
    local_day = user.zone.day(at_ms)
    if effects.trace is not None:
        effects.trace.local_date(user, at_ms, local_day)
    return local_day


def _replay(user: User, checked: CheckedEvent, original: str, plan: Plan, effects: Effects) -> Applied:
    """Answer a repeat of an idempotency key: nothing moves (I4-I7, R12)."""
    if effects.trace is not None:
        effects.trace.repeat(checked.idempotency_key, original)
    counter = user.state.totals.get(checked.metric.key)
    outcome = texts.event_outcome(
        texts.to_json(original),
        checked.metric.id_json,
        format_scaled(counter.total if counter else 0),
        "",
        streak_views.answer(user, plan, extended=False),
        "",
        texts.to_json(checked.idempotency_key),
        replayed=True,
    )
    return Applied(202, outcome)


def _count(user: User, checked: CheckedEvent, firings: Firings, effects: Effects) -> list[AchievementPlan]:
    """Move the total, counters and high-water marks (step 6); collect metric triggers and achievements."""
    state, metric, value = user.state, checked.metric, checked.value
    counter = state.totals.get(metric.key)
    if counter is None:
        counter = state.totals[metric.key] = Counter()
    reached = _move(user, metric.total, counter, value, firings, effects)
    if metric.filtered:
        several = bool(reached)
        for plan in metric.filtered:
            if not matches(plan.filter, checked.attributes):
                if effects.trace is not None:
                    effects.trace.passed_over(plan, checked.attributes)
                continue  # P15
            counter = state.counters.get(plan.id)
            if counter is None:
                counter = state.counters[plan.id] = Counter()
            more = _move(user, plan, counter, value, firings, effects)
            if more:
                reached, several = reached + more, True
        if several:
            reached.sort(key=lambda a: (a.value, a.id.encode()))  # F6
    return reached


def _move(
    user: User, plan: CounterPlan, counter: Counter, value: int, firings: Firings, effects: Effects
) -> list[AchievementPlan]:
    """Move one counter and its high-water mark; a multiple is paid once (P12-P17)."""
    trace = effects.trace
    before = counter.high
    counter.total += value
    after = counter.total
    if after > before:
        counter.high = after
    if trace is not None:
        trace.counter(plan, counter, value, before)
    if after > before:
        for system, trigger in plan.triggers:
            count = crossed(trigger, before, after)
            fires = count > 0 and matches(trigger.user_filter, user.state.attributes)
            if fires:
                firings.setdefault(system.key, []).append(Firing(trigger.order, trigger, count))
            if trace is not None:
                trace.trigger(system.key, trigger, user, count, before, after, fires=fires)
    return achievements.reached_by_counter(user, plan, after, effects) if plan.achievements else []


def create(user_key: bytes, given: UserInput, tenant: str, plan: Plan, at_ms: int, append_ms: int) -> User:
    """Return a user seen for the first time (U11)."""
    return User(user_key, new_state(given.id, tenant, plan, at_ms, append_ms))
