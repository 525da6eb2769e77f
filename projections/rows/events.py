"""Decoders of the derived events that are projected: envelope E2 with the data of one type."""

from collections.abc import Callable
from typing import Final

import msgspec

from projections.errors import UndecodableError
from schemas.derived import (
    AchievementBackdated,
    AchievementCompleted,
    Envelope,
    FreezesChanged,
    LevelChanged,
    MetricChanged,
    PointsAwarded,
    Rejected,
    StreakChanged,
    StreakLost,
    StreakMoved,
    StreakPeriod,
    UserErased,
    UserUpserted,
)


class TypeOnly(msgspec.Struct, frozen=True):
    """The type of an envelope, for a record whose header is missing."""

    type: str


type_of_value: Final = msgspec.json.Decoder(TypeOnly).decode


class UserUpsertedEvent(Envelope, frozen=True, kw_only=True):
    """Envelope of `user.upserted`."""

    data: UserUpserted


class MetricChangedEvent(Envelope, frozen=True, kw_only=True):
    """Envelope of `metric.changed`."""

    data: MetricChanged


class PointsAwardedEvent(Envelope, frozen=True, kw_only=True):
    """Envelope of `points.awarded`."""

    data: PointsAwarded


class LevelChangedEvent(Envelope, frozen=True, kw_only=True):
    """Envelope of `points.level_changed`."""

    data: LevelChanged


class CompletedEvent(Envelope, frozen=True, kw_only=True):
    """Envelope of `achievement.completed`."""

    data: AchievementCompleted


class BackdatedEvent(Envelope, frozen=True, kw_only=True):
    """Envelope of `achievement.backdated`."""

    data: AchievementBackdated


class StreakChangedEvent(Envelope, frozen=True, kw_only=True):
    """Envelope of `streak.changed`."""

    data: StreakChanged


class StreakPeriodEvent(Envelope, frozen=True, kw_only=True):
    """Envelope of `streak.period_closed` and `streak.period_repaired`."""

    data: StreakPeriod


class FreezesChangedEvent(Envelope, frozen=True, kw_only=True):
    """Envelope of `streak.freezes_changed`."""

    data: FreezesChanged


class StreakMovedEvent(Envelope, frozen=True, kw_only=True):
    """Envelope of `streak.started` and `streak.extended`."""

    data: StreakMoved


class StreakLostEvent(Envelope, frozen=True, kw_only=True):
    """Envelope of `streak.lost`."""

    data: StreakLost


class UserErasedEvent(Envelope, frozen=True, kw_only=True):
    """Envelope of `user.erased`."""

    data: UserErased


Decode = Callable[[bytes], Envelope]

DECODER_OF_TYPE: Final[dict[str, Decode]] = {
    name: msgspec.json.Decoder(event).decode
    for name, event in {
        "user.upserted": UserUpsertedEvent,
        "metric.changed": MetricChangedEvent,
        "points.awarded": PointsAwardedEvent,
        "points.level_changed": LevelChangedEvent,
        "achievement.completed": CompletedEvent,
        "achievement.backdated": BackdatedEvent,
        "streak.changed": StreakChangedEvent,
        "streak.period_closed": StreakPeriodEvent,
        "streak.period_repaired": StreakPeriodEvent,
        "streak.freezes_changed": FreezesChangedEvent,
        "streak.started": StreakMovedEvent,
        "streak.extended": StreakMovedEvent,
        "streak.lost": StreakLostEvent,
    }.items()
}
"""Types that are projected; the others of the same topics are passed over."""

decode_erased: Final = msgspec.json.Decoder(UserErasedEvent).decode

_decode_rejected = msgspec.json.Decoder(Rejected).decode


def decode_rejected(value: bytes) -> Rejected:
    """Decode a record of `plaudit.rejected` (X11).

    Raises:
        UndecodableError: it is something else.
    """
    try:
        return _decode_rejected(value)
    except msgspec.MsgspecError as error:
        raise UndecodableError(str(error)) from error


def require_user(event: Envelope) -> str:
    """Return the user of a user-scoped event.

    Raises:
        UndecodableError: it names none.
    """
    if isinstance(event.user_id, str):
        return event.user_id
    raise UndecodableError(f"event {event.id} of type {event.type} names no userId")
