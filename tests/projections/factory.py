"""Derived records for tests, made with the Structs of schemas.derived as the engine does."""

from decimal import Decimal

import msgspec
from msgspec import UNSET

from schemas.derived import (
    AchievementBackdated,
    AchievementCompleted,
    Cause,
    Envelope,
    FreezesChanged,
    LevelChanged,
    LevelPoints,
    Meta,
    MetricChanged,
    Origin,
    PointsAwarded,
    Rejected,
    StreakChanged,
    StreakLost,
    StreakMoved,
    StreakPeriod,
    SystemRef,
    UserErased,
    UserUpserted,
)
from schemas.ids import derived_id
from schemas.instants import format_instant
from schemas.outcome import (
    AchievementObject,
    BoostObject,
    LevelObject,
    StoredAward,
    StreakObject,
    TriggerObject,
    UserObject,
)
from schemas.topics import ERASED

AT = "2025-03-01T23:30:00.000Z"


def number(value: Decimal | int | str) -> msgspec.Raw:
    """A JSON number by its text."""
    return msgspec.Raw(str(value).encode())


def envelope(
    type_name: str,
    data: object,
    *,
    user: str = "u1",
    tenant: str = "",
    at: str = AT,
    sequence: str = "1",
    meta: Meta | None = None,
) -> bytes:
    """One derived record."""
    event = Envelope(
        id=derived_id(tenant, "production", type_name, user, sequence),
        type=type_name,
        occurred_at=at,
        emitted_at=at,
        tenant_id=tenant,
        environment="production",
        user_id=user,
        causation_id="plaudit.events-0-7",
        meta=meta or UNSET,
        data=data,
    )
    return msgspec.json.encode(event)


def user_object(user: str = "u1", *, tz: str | None = "Europe/Berlin", name: str | None = "Ann") -> UserObject:
    """A user."""
    return UserObject(
        id=user,
        email="ann@example.com",
        name=name,
        tz=tz,
        sign_up_date=None,
        device_tokens=None,
        subscribe_to_emails=True,
        attributes={"plan": "pro"},
        control=False,
        created=AT,
        updated=AT,
    )


def user_upserted(user: str = "u1", *, name: str | None = "Ann", sequence: str = "1") -> bytes:
    """`user.upserted`."""
    return envelope("user.upserted", UserUpserted(user=user_object(user, name=name)), user=user, sequence=sequence)


def metric_changed(
    user: str = "u1",
    *,
    value: Decimal | int | str = 1,
    total: Decimal | int | str = 1,
    at: str = AT,
    event_id: str = "e1",
    metric: str = "words",
    local_date: str = "2025-03-02",
) -> bytes:
    """`metric.changed`."""
    data = MetricChanged(
        metric=metric,
        event_id=event_id,
        value=number(value),
        total=number(total),
        local_date=local_date,
        attributes={"lang": "de"},
        idempotency_key=None,
    )
    return envelope("metric.changed", data, user=user, at=at, sequence=event_id)


def trigger() -> TriggerObject:
    """A metric trigger."""
    return TriggerObject(
        id="t1",
        type="metric",
        points=10,
        status="active",
        user_attributes=[],
        metric_id="words",
        metric_name="Words",
        metric_threshold=100,
        event_attributes=[],
        created=AT,
        updated=AT,
    )


def points_awarded(
    user: str = "u1", *, awarded: int = 10, total: int = 10, at: str = AT, award_id: str = "a1", boosted: bool = False
) -> bytes:
    """`points.awarded`."""
    boost = BoostObject(
        id="b1", name="Double", status="active", start="2025-03-01", end=None, multiplier=number("2.5"), rounding="down"
    )
    award = StoredAward(
        id=award_id,
        awarded=awarded,
        date=at,
        total=total,
        trigger=trigger(),
        boosts=[boost] if boosted else UNSET,
        count=1,
        base=awarded,
        local_date="2025-03-02",
    )
    data = PointsAwarded(
        points_system=SystemRef(id="s1", key="xp"), award=award, total=total, cause=Cause(type="event", id="e1")
    )
    return envelope("points.awarded", data, user=user, at=at, sequence=award_id)


def level(key: str) -> LevelObject:
    """A level."""
    return LevelObject(id=key, key=key, name=key.title(), description="", badge_url=None, points=10)


def level_changed(
    user: str = "u1", *, before: str | None = None, after: str | None = "bronze", sequence: str = "1"
) -> bytes:
    """`points.level_changed`."""
    data = LevelChanged(
        user=user_object(user),
        points=LevelPoints(id="s1", key="xp", name="XP", description=None, badge_url=None, max_points=None, total=10),
        previous_level=None if before is None else level(before),
        new_level=None if after is None else level(after),
    )
    return envelope("points.level_changed", data, user=user, sequence=sequence)


def achievement(achieved_at: str | None = AT) -> AchievementObject:
    """An achievement of a metric."""
    return AchievementObject(
        id="first",
        name="First words",
        trigger="metric",
        description=None,
        badge_url=None,
        achieved_at=achieved_at,
        user_attributes=[],
        metric_id="words",
        metric_name="Words",
        metric_value=number(100),
        event_attributes=[],
    )


def completed(user: str = "u1", *, tz: str | None = "Europe/Berlin", at: str = AT) -> bytes:
    """`achievement.completed`."""
    data = AchievementCompleted(user=user_object(user, tz=tz), achievement=achievement(at), completion_id="c1")
    return envelope("achievement.completed", data, user=user, at=at)


def backdated(user: str = "u1") -> bytes:
    """`achievement.backdated`."""
    return envelope("achievement.backdated", AchievementBackdated(achievement=achievement()), user=user)


def streak_changed(user: str = "u1", *, length: int = 1, met: bool = True, sequence: str = "1") -> bytes:
    """`streak.changed`."""
    data = StreakChanged(
        frequency="daily",
        length=length,
        started="2025-03-02" if length else None,
        extended=AT if length else None,
        period_start="2025-03-02",
        period_end="2025-03-02",
        met=met,
        longest=length,
        longest_at=AT if length else None,
    )
    return envelope("streak.changed", data, user=user, sequence=sequence)


def period(user: str = "u1", *, repaired: bool = False, outcome: str = "lost", sequence: str = "1") -> bytes:
    """`streak.period_closed` or `streak.period_repaired`."""
    data = StreakPeriod(
        frequency="daily",
        period_start="2025-03-01",
        period_end="2025-03-01",
        length=0 if outcome == "lost" else 4,
        outcome=outcome,  # type: ignore[arg-type]
        used_freeze=outcome == "frozen",
        used_pause=False,
        day_off=False,
        bridged=False,
    )
    return envelope(
        "streak.period_repaired" if repaired else "streak.period_closed", data, user=user, sequence=sequence
    )


def freezes_changed(user: str = "u1") -> bytes:
    """`streak.freezes_changed`."""
    return envelope("streak.freezes_changed", FreezesChanged(delta=-1, reason="consumed", balance=2), user=user)


def streak_started(user: str = "u1") -> bytes:
    """`streak.started`."""
    streak = StreakObject(
        length=1,
        frequency="weekly",
        started="2025-03-02",
        period_start="2025-03-02",
        period_end="2025-03-08",
        expires="2025-03-15",
        extended=True,
    )
    data = StreakMoved(type="streak.started", user=user_object(user), streak=streak)
    return envelope("streak.started", data, user=user, meta=Meta(frequency="weekly", cause="event"))


def streak_lost(user: str = "u1") -> bytes:
    """`streak.lost`."""
    meta = Meta(frequency="daily", cause="settlement", reason="missed", period_start="2025-03-01")
    return envelope("streak.lost", StreakLost(user=user_object(user), length=7), user=user, meta=meta)


def erased(
    topic: str, user: str = "u1", *, tenant: str = "", at: str = AT, sequence: str = "1", event_id: str = "ticket-1"
) -> bytes:
    """`user.erased` as it stands in a logical topic."""
    value = envelope(ERASED, UserErased(topic=topic), user=user, tenant=tenant, at=at, sequence=f"{topic}{sequence}")
    return value.replace(b"plaudit.events-0-7", event_id.encode())


def rejected(key: str | dict[str, str] | None = "acme\0u1", value: str | dict[str, str] | None = "{}") -> bytes:
    """A record of `plaudit.rejected`."""
    origin = Origin(topic="plaudit.events", partition=3, offset=17, timestamp=format_instant(1_740_871_800_000))
    return msgspec.json.encode(
        Rejected(reason="unknown_metric", message="no metric 'wrods'", origin=origin, key=key, value=value)
    )
