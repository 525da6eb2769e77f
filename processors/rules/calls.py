"""Records of users that are no metric events: identify, completions by call, requests about streaks (F8, F9)."""

from msgspec import UNSET

from processors.rules import achievements, freezes, messages, streak_requests, texts
from processors.rules.apply import Applied, given_user, upsert
from processors.rules.effects import Effects, instant_text
from processors.rules.errors import RejectedError
from processors.rules.filters import matches
from processors.rules.firings import creation_firings, fire_achievements
from processors.rules.plan import Plan
from processors.rules.points import pay
from processors.rules.user import User, check_form, check_user
from schemas.derived import Cause
from schemas.outcome import Issue
from schemas.records import (
    CompleteAchievement,
    GrantFreeze,
    PauseStreak,
    Preferences,
    ResetStreak,
    RestoreStreak,
    UnpauseStreak,
    UserInput,
)


def apply_identify(
    user: User, given: UserInput, event_id: str, plan: Plan, at_ms: int, effects: Effects, *, created: bool
) -> Applied:
    """Create or update a user; `user_creation` triggers fire if it is new (F9)."""
    upsert(user, given, plan, at_ms, effects, created=created)
    points = ""
    if created:
        firings = creation_firings(user, plan, effects)
        cause = Cause(type="identify", id=event_id)
        points = pay(user, plan.systems, firings, at_ms, user.zone.day(at_ms), cause, effects)
    return Applied(200, texts.identify_outcome(user.shown_json(), points))


def check_completion(record: CompleteAchievement, user: User | None, plan: Plan, at_ms: int) -> None:
    """Validate a completion by call: the user object, then the key (C5).

    Raises:
        RejectedError: user errors, unknown_achievement (A20).
    """
    given = given_user(record.user)
    check_form(given)
    check_user(given, user.state if user else None, plan, at_ms)
    achievement = plan.by_key.get(record.achievement)
    if achievement is None or achievement.status == "inactive":
        known = ", ".join(sorted(key for key, known in plan.by_key.items() if known.status == "active")) or "none"
        raise RejectedError(
            "unknown_achievement", f"no API achievement has the key {record.achievement[:80]!r}; active keys: {known}"
        )


def look_up_completion(record: CompleteAchievement, user: User | None, plan: Plan) -> Applied | None:
    """Return the answer to a repeat (A21), None if there is something to complete; what was due is done (F8).

    Raises:
        RejectedError: achievement_locked (A19), attributes_mismatch (A20).
    """
    given = given_user(record.user)
    achievement = plan.by_key[record.achievement]
    achieved_ms = user.state.completions.get(achievement.id) if user else None
    if user is not None and achieved_ms is not None:
        shown = texts.to_json(plan.show_achievement(achievement, instant_text(achieved_ms)))
        completion = achievements.completion_id(user, achievement.id)
        return Applied(200, texts.completion_outcome(completion, shown, ""))
    if achievement.status == "locked":
        raise RejectedError(
            "achievement_locked", f"achievement {record.achievement!r} is locked; nobody new can complete it"
        )
    attributes = dict(user.state.attributes) if user else {}
    attributes.update(given.attributes if given.attributes is not UNSET else {})
    if not matches(achievement.user_attributes, attributes):
        needed = dict(achievement.user_attributes)
        raise RejectedError(
            "attributes_mismatch", f"the user lacks what achievement {record.achievement!r} requires: {needed}"
        )
    return None


def apply_completion(
    user: User, record: CompleteAchievement, event_id: str, plan: Plan, at_ms: int, effects: Effects, *, created: bool
) -> Applied:
    """Complete an API achievement, then composites and points (F8)."""
    upsert(user, given_user(record.user), plan, at_ms, effects, created=created)
    firings = creation_firings(user, plan, effects) if created else {}
    called = plan.achievements[plan.by_key[record.achievement].id]
    done = achievements.complete(user, plan, [called], at_ms, effects)
    fire_achievements(user, plan, done, firings, effects)
    cause = Cause(type="completion", id=event_id)
    points = pay(user, plan.systems, firings, at_ms, user.zone.day(at_ms), cause, effects)
    completion = achievements.completion_id(user, called.id)
    return Applied(201, texts.completion_outcome(completion, called.show_json(instant_text(at_ms)), points))


StreakRequest = GrantFreeze | PauseStreak | UnpauseStreak | RestoreStreak | ResetStreak | Preferences


def check_request(record: StreakRequest, user: User | None, plan: Plan) -> Applied | None:
    """Validate a request about streaks; one for an unknown user is answered here (S36, S45, U13).

    Raises:
        RejectedError: bad_request, invalid_preferences, unknown_user.
    """
    if isinstance(record, PauseStreak):
        streak_requests.check_pause(record)
    elif isinstance(record, Preferences):
        streak_requests.check_preferences(record, plan)
        messages.check_notifications(record)
        if user is None:
            raise RejectedError(
                "unknown_user", f"user {given_user(record.user).id[:80]!r} does not exist; identify it first"
            )
    if user is None:
        return _with_issue(record, ("error", "User does not exist"))
    return None


def apply_request(user: User, record: StreakRequest, plan: Plan, at_ms: int, effects: Effects) -> Applied:
    """Carry out a request about streaks (S45, S49-S54, S71-S76, S79-S82)."""
    refused: streak_requests.Refusal | None = None
    if isinstance(record, GrantFreeze):
        refused = freezes.grant(user, plan, at_ms, effects)
    elif isinstance(record, PauseStreak):
        refused = streak_requests.pause(user, record, effects.at)
    elif isinstance(record, UnpauseStreak):
        refused = streak_requests.unpause(user, record.id)
    elif isinstance(record, RestoreStreak):
        refused = streak_requests.restore(user, plan, at_ms, effects.at, effects)
    elif isinstance(record, ResetStreak):
        refused = streak_requests.reset(user, plan, at_ms, effects.at, effects)
    else:
        streak_requests.prefer(user, record, plan, effects.at, at_ms, effects)
        messages.choose(user, record)
        return Applied(200, "")
    if refused is not None:
        return _with_issue(record, refused)
    return Applied(200 if isinstance(record, UnpauseStreak | ResetStreak) else 201, "", issues=[])


def _with_issue(record: StreakRequest, refused: tuple[str, str]) -> Applied:
    severity, message = refused
    named = record.id if isinstance(record, PauseStreak | UnpauseStreak) else given_user(record.user).id
    return Applied(200, "", issues=[Issue(named, "error" if severity == "error" else "warning", message)])
