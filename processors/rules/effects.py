"""Collects the derived events of one record for one user, with ids that a replay reproduces (E2, C33)."""

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import UnsetType
from mypy_extensions import mypyc_attr

from processors.rules.texts import to_json
from processors.rules.trace import Trace
from processors.rules.unset import UNSET
from processors.rules.user import User
from schemas.derived import Meta
from schemas.emission import Emission
from schemas.ids import named_id
from schemas.instants import EARLIEST_MS, LATEST_MS, format_instant
from schemas.topics import TOPIC_OF_TYPE

_TEXTS_LIMIT: Final = 4_096
_texts: Final[dict[int, str]] = {}
_topic_of_type: Final = TOPIC_OF_TYPE  # a name of this module: compiled code need not look it up
_Emission: Final = Emission

Data = msgspec.Struct | str
"""The data of a derived event: its Struct, or the JSON that it would give."""


def instant_text(ms: int) -> str:
    """Return `format_instant`, remembering the last instants: most events of a record carry the same one."""
    text = _texts.get(ms)
    if text is None:
        if len(_texts) >= _TEXTS_LIMIT:
            _texts.clear()
        text = _texts[ms] = format_instant(ms)
    return text


def shown_instant(ms: int) -> str:
    """Return any instant as text, one outside the calendar as its nearest end: for messages about refused records."""
    return instant_text(min(max(ms, EARLIEST_MS), LATEST_MS))


@mypyc_attr(allow_interpreted_subclasses=True)
class Effects:
    """The derived events of one record.

    Attributes:
        out: where emissions go, in order (F7).
        cause: event id of the record; None for control records.
        cause_json: the same as JSON.
        at: append time of the record, epoch ms; `emittedAt` of everything it causes (X10).
        trace: what the rules tell their decisions to; None = nobody asks (X21).
        live: whether the clock has begun to run on this partition; before, no message is due to anybody (D-33).
    """

    __slots__ = (
        "_emitted_at",
        "_numbers",
        "_sender",
        "at",
        "cause",
        "cause_json",
        "live",
        "out",
        "trace",
        "user",
    )

    def __init__(self, out: list[Emission], user: User, environment: str, cause: str | None, at: int) -> None:
        state = user.state
        self.out = out
        self.user = user
        self.cause = cause
        self.cause_json = "" if cause is None else to_json(cause)
        self.at = at
        self.trace: Trace | None = None
        self.live = True
        self._emitted_at = instant_text(at)
        if not user.sender_json:
            tenant, name = f'"tenantId":{to_json(state.tenant)}', f'"userId":{to_json(state.id)}'
            user.sender_json = f'{tenant},"environment":{to_json(environment)},{name}'
            user.name_json = f"{tenant},{name}"
            user.id_prefix, user.id_infix = f"{state.tenant}\0{environment}\0", f"\0{state.id}\0"
        self._sender = f'"emittedAt":"{self._emitted_at}",{user.sender_json}'
        self._numbers: dict[str, int] = {}

    def emit(self, kind: str, data: Data, occurred_ms: int, meta: Meta | UnsetType = UNSET) -> None:
        """Emit an effect of the record itself: identified by its event id and a running number per type (C33)."""
        self._append(kind, data, occurred_ms, meta, self.cause_json, self._sequence(kind), _topic_of_type[kind])

    def emit_to(self, topic: str, kind: str, data: Data, occurred_ms: int) -> None:
        """Emit an effect of the record itself to a topic: for a type that goes to several."""
        self._append(kind, data, occurred_ms, UNSET, self.cause_json, self._sequence(kind), topic)

    def _sequence(self, kind: str) -> str:
        number = self._numbers.get(kind, 0)
        self._numbers[kind] = number + 1
        assert self.cause is not None
        return f"{self.cause}\0{number}"

    def emit_due(self, kind: str, data: Data, due_ms: int, entity: str, meta: Meta | UnsetType = UNSET) -> None:
        """Emit an effect of time: identified by its due instant and what it is about (C33)."""
        self._append(kind, data, due_ms, meta, "", f"{due_ms}\0{entity}", _topic_of_type[kind])

    def _append(
        self,
        kind: str,
        data: Data,
        occurred_ms: int,
        meta: Meta | UnsetType,
        causation_json: str,
        sequence: str,
        topic: str,
    ) -> None:
        """Write the envelope `derived.Envelope` around the data."""
        user = self.user
        identity = named_id(f"{user.id_prefix}{kind}{user.id_infix}{sequence}")
        occurred = self._emitted_at if occurred_ms == self.at else instant_text(occurred_ms)
        causation = f',"causationId":{causation_json}' if causation_json else ""
        about = "" if meta is UNSET else f',"meta":{to_json(meta)}'
        text = data if isinstance(data, str) else to_json(data)
        value = (
            f'{{"id":"{identity}","type":"{kind}","occurredAt":"{occurred}",{self._sender}{causation}{about},'
            f'"data":{text}}}'
        )
        self.out.append(_Emission(topic, user.key, value.encode(), kind, identity))


MakeEffects = Callable[[list[Emission], User, str, str | None, int], Effects]
"""Makes the effects of one record: where emissions go, user, environment, event id, append time."""


def traced(trace: Trace) -> MakeEffects:
    """Return a maker of effects whose rules tell their decisions to `trace`."""

    def make(out: list[Emission], user: User, environment: str, cause: str | None, at: int) -> Effects:
        effects = Effects(out, user, environment, cause, at)
        effects.trace = trace
        return effects

    return make
