"""One function per type of derived event: decoded event in, row out, in the order of the table's own columns."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from processors.rules.decode import loose_fields
from processors.rules.errors import RejectedError
from projections.rows import events
from projections.rows.events import require_user
from projections.rows.values import day, exact, instant, int64, local_day
from projections.tables import (
    ACHIEVEMENT_COMPLETIONS,
    LEVEL_CHANGES,
    METRIC_EVENTS,
    POINTS_AWARDS,
    STREAK_EVENTS,
    STREAK_FREEZES,
    STREAK_PERIODS,
    STREAK_STATE,
    USERS,
    Table,
)
from schemas.derived import Meta, Rejected
from schemas.outcome import LevelObject

Row = tuple[object, ...]
Build = Callable[[Any], Row]

UNDECODABLE: Final = "undecodable_derived"
"""Reason code of rows that the sink itself adds to `rejected`."""


def user_row(event: events.UserUpsertedEvent) -> Row:
    """`user.upserted` -> `users_log`."""
    user = event.data.user
    created, updated = instant(user.created), instant(user.updated)
    return (event.tenant_id, user.id, user.name, user.email, user.tz, user.attributes, user.control, created, updated)


def metric_event_row(event: events.MetricChangedEvent) -> Row:
    """`metric.changed` -> `metric_events`; `occurredAt` of the envelope is the effective time of the record."""
    data = event.data
    return (
        event.tenant_id,
        require_user(event),
        data.metric,
        instant(event.occurred_at),
        data.event_id,
        exact(bytes(data.value)),
        exact(bytes(data.total)),
        data.attributes,
        day(data.local_date),
        data.idempotency_key,
    )


def award_row(event: events.PointsAwardedEvent) -> Row:
    """`points.awarded` -> `points_awards`."""
    data = event.data
    award = data.award
    boosts = award.boosts
    return (
        event.tenant_id,
        require_user(event),
        data.points_system.key,
        instant(award.date),
        award.id,
        award.trigger.id,
        award.trigger.type,
        int64(award.awarded),
        int64(award.total),
        int64(award.count),
        int64(award.base),
        [boost.id for boost in boosts] if isinstance(boosts, list) else [],
        day(award.local_date),
        data.cause.type,
        data.cause.id,
    )


def _level_key(level: LevelObject | None) -> str:
    return "" if level is None else level.key


def level_change_row(event: events.LevelChangedEvent) -> Row:
    """`points.level_changed` -> `level_changes`; no level is the empty key."""
    data = event.data
    return (
        event.tenant_id,
        require_user(event),
        data.points.key,
        instant(event.occurred_at),
        event.id,
        _level_key(data.previous_level),
        _level_key(data.new_level),
        int64(data.points.total),
    )


def completion_row(event: events.CompletedEvent) -> Row:
    """`achievement.completed` -> `achievement_completions`; its date is that of the zone the event shows."""
    achievement = event.data.achievement
    at = instant(achievement.achieved_at or event.occurred_at)
    return (
        event.tenant_id,
        require_user(event),
        achievement.id,
        at,
        local_day(at, event.data.user.tz),
        False,
        achievement.name,
        achievement.trigger,
        event.data.completion_id,
        "completed",
    )


def backdated_row(event: events.BackdatedEvent) -> Row:
    """`achievement.backdated` -> `achievement_completions`; it shows no user, so its date is the UTC date."""
    achievement = event.data.achievement
    at = instant(achievement.achieved_at or event.occurred_at)
    user_id, local = require_user(event), local_day(at, None)
    shown = (achievement.name, achievement.trigger, "", "backdated")
    return (event.tenant_id, user_id, achievement.id, at, local, True, *shown)


def streak_state_row(event: events.StreakChangedEvent) -> Row:
    """`streak.changed` -> `streak_state_log` (C40)."""
    data = event.data
    return (
        event.tenant_id,
        require_user(event),
        data.frequency,
        int64(data.length),
        None if data.started is None else day(data.started),
        None if data.extended is None else instant(data.extended),
        day(data.period_start),
        day(data.period_end),
        data.met,
        int64(data.longest),
        None if data.longest_at is None else instant(data.longest_at),
    )


def streak_period_row(event: events.StreakPeriodEvent) -> Row:
    """`streak.period_closed`, `streak.period_repaired` -> `streak_periods_log` (S93); a repair replaces the row."""
    data = event.data
    return (
        event.tenant_id,
        require_user(event),
        data.frequency,
        day(data.period_start),
        day(data.period_end),
        int64(data.length),
        data.outcome,
        data.used_freeze,
        data.used_pause,
        data.day_off,
        data.bridged,
        instant(event.occurred_at) if data.outcome == "reset" else None,
        event.type == "streak.period_repaired",
    )


def freezes_row(event: events.FreezesChangedEvent) -> Row:
    """`streak.freezes_changed` -> `streak_freezes` (C40)."""
    data = event.data
    at, user_id = instant(event.occurred_at), require_user(event)
    return (event.tenant_id, user_id, at, event.id, int64(data.delta), data.reason, int64(data.balance))


def streak_event_row(event: events.StreakMovedEvent | events.StreakLostEvent) -> Row:
    """`streak.started`, `.extended`, `.lost` -> `streak_events`; what the payload leaves out is in `meta` (S92)."""
    meta = event.meta or Meta()
    if isinstance(event, events.StreakMovedEvent):
        length, frequency = event.data.streak.length, str(event.data.streak.frequency)
    else:
        length, frequency = event.data.length, ""
    return (
        event.tenant_id,
        require_user(event),
        instant(event.occurred_at),
        event.id,
        event.type.removeprefix("streak."),
        meta.frequency or frequency,
        int64(length),
        meta.cause or "",
        meta.reason or "",
    )


def _text(content: str | dict[str, str] | None) -> str:
    if isinstance(content, dict):
        return msgspec.json.encode(content).decode("utf-8")
    return content or ""


def user_of_key(key: str) -> tuple[str, str]:
    """Return tenant and user that a record key names (X1)."""
    tenant, separator, user_id = key.partition("\0")
    return (tenant, user_id) if separator else ("", key)


def _whose(record: Rejected) -> tuple[str, str]:
    """Return tenant and user whose record was refused: those that it names, or else its key."""
    if isinstance(record.value, str):
        try:
            named = loose_fields(record.value.encode("utf-8", "replace"))
        except RejectedError:
            pass
        else:
            return named.tenant, named.user_id
    return user_of_key(record.key) if isinstance(record.key, str) else ("", "")


def rejected_row(record: Rejected) -> Row:
    """A record of `plaudit.rejected` -> `rejected`."""
    key, origin = record.key, record.origin
    return (
        *_whose(record),
        record.reason,
        instant(origin.timestamp),
        origin.topic,
        int64(origin.partition),
        int64(origin.offset),
        _text(key),
        record.message,
        _text(record.value),
        record.truncated is True,
    )


def erasure_row(event: events.UserErasedEvent) -> Row:
    """`user.erased` -> `erasures`."""
    return (event.tenant_id, require_user(event), instant(event.occurred_at), event.causation_id or "")


BUILDER_OF_TYPE: Final[dict[str, tuple[Table, Build]]] = {
    "user.upserted": (USERS, user_row),
    "metric.changed": (METRIC_EVENTS, metric_event_row),
    "points.awarded": (POINTS_AWARDS, award_row),
    "points.level_changed": (LEVEL_CHANGES, level_change_row),
    "achievement.completed": (ACHIEVEMENT_COMPLETIONS, completion_row),
    "achievement.backdated": (ACHIEVEMENT_COMPLETIONS, backdated_row),
    "streak.changed": (STREAK_STATE, streak_state_row),
    "streak.period_closed": (STREAK_PERIODS, streak_period_row),
    "streak.period_repaired": (STREAK_PERIODS, streak_period_row),
    "streak.freezes_changed": (STREAK_FREEZES, freezes_row),
    "streak.started": (STREAK_EVENTS, streak_event_row),
    "streak.extended": (STREAK_EVENTS, streak_event_row),
    "streak.lost": (STREAK_EVENTS, streak_event_row),
}
"""Table and builder of every projected type."""
