"""The fold, watched: it hands over what its derived events would say, instead of encoding them."""

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from processors.rules.effects import Effects
from processors.rules.user import User
from schemas.derived import Meta
from schemas.emission import Emission

WATCHED: Final = frozenset(
    {"metric.changed", "points.awarded", "points.level_changed", "streak.started", "streak.lost"}
)
"""Types of which a preview takes note; the others cost it nothing."""


class Noted(Emission, frozen=True, kw_only=True, gc=False):
    """What a derived event would say. It stands among the emissions, so that whatever a rule takes back is gone (F2).

    Attributes:
        data: as in schemas.derived, by `type`.
        user: the user in memory, with the plan in force.
        occurred_ms: epoch ms.
    """

    data: msgspec.Struct
    user: User
    occurred_ms: int


class Watching(Effects):
    """Effects that are noted, not published."""

    __slots__ = ()

    def emit(self, kind: str, data: msgspec.Struct, occurred_ms: int, meta: Meta | UnsetType = UNSET) -> None:
        """See Effects."""
        if kind in WATCHED:
            self.out.append(Noted("", None, b"", kind, data=data, user=self.user, occurred_ms=occurred_ms))

    def emit_due(
        self, kind: str, data: msgspec.Struct, due_ms: int, entity: str, meta: Meta | UnsetType = UNSET
    ) -> None:
        """See Effects."""
        if kind in WATCHED:
            self.out.append(Noted("", None, b"", kind, data=data, user=self.user, occurred_ms=due_ms))
