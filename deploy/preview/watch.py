"""The fold, watched: it hands over what its derived events would say, instead of encoding them."""

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from processors.rules.effects import Data, Effects
from processors.rules.user import User
from schemas.derived import Meta
from schemas.emission import Emission

WATCHED: Final = frozenset(
    {"metric.changed", "points.awarded", "points.level_changed", "streak.started", "streak.lost"}
)
"""Types of which a preview takes note; the others cost it nothing."""


class _Seen(msgspec.Struct, rename="camel", gc=False):
    """The part of the data of a type that a preview reads."""


class SystemSeen(_Seen):
    """A points system by key."""

    key: str


class TriggerSeen(_Seen):
    """The trigger of an award."""

    id: str
    type: str


class AwardSeen(_Seen):
    """An award: points, the trigger and how often it fired."""

    awarded: int
    count: int
    trigger: TriggerSeen


class CauseSeen(_Seen):
    """What an award stems from."""

    id: str


class PointsAwardedSeen(_Seen):
    """`points.awarded`."""

    points_system: SystemSeen
    award: AwardSeen
    cause: CauseSeen


class LevelSeen(_Seen):
    """A level by its threshold."""

    points: int


class LevelChangedSeen(_Seen):
    """`points.level_changed`."""

    points: SystemSeen
    previous_level: LevelSeen | None
    new_level: LevelSeen | None


_award: Final = msgspec.json.Decoder(PointsAwardedSeen)
_level: Final = msgspec.json.Decoder(LevelChangedSeen)


class Noted(Emission, frozen=True, kw_only=True, gc=False):
    """What a derived event would say. It stands among the emissions, so that whatever a rule takes back is gone (F2).

    Attributes:
        data: what `award_of` or `level_of` reads, by `type`.
        user: the user in memory, with the plan in force.
        occurred_ms: epoch ms.
    """

    data: Data
    user: User
    occurred_ms: int


class Watching(Effects):
    """Effects that are noted, not published."""

    __slots__ = ()

    def emit(self, kind: str, data: Data, occurred_ms: int, meta: Meta | UnsetType = UNSET) -> None:
        """See Effects."""
        if kind in WATCHED:
            self.out.append(Noted("", None, b"", kind, data=data, user=self.user, occurred_ms=occurred_ms))

    def emit_due(self, kind: str, data: Data, due_ms: int, entity: str, meta: Meta | UnsetType = UNSET) -> None:
        """See Effects."""
        if kind in WATCHED:
            self.out.append(Noted("", None, b"", kind, data=data, user=self.user, occurred_ms=due_ms))

    def emit_to(self, topic: str, kind: str, data: Data, occurred_ms: int) -> None:
        """See Effects; nothing that goes to several topics is watched."""


def award_of(noted: Noted) -> PointsAwardedSeen:
    """Return what a noted `points.awarded` says."""
    return _award.decode(_text(noted))


def level_of(noted: Noted) -> LevelChangedSeen:
    """Return what a noted `points.level_changed` says."""
    return _level.decode(_text(noted))


def _text(noted: Noted) -> str | bytes:
    data = noted.data
    return data if isinstance(data, str) else msgspec.json.encode(data)
