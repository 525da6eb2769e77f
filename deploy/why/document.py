"""The answer as one object: what `plaudit why --json` prints (X21)."""

import json
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from deploy.records_file import Bytes, shown
from deploy.why.ids import Asked, Place, names_effect
from deploy.why.rebuilding import Rebuilt
from processors.rules.effects import shown_instant
from processors.rules.errors import RULES
from processors.rules.points import level_of
from processors.rules.streak_views import show_streak
from processors.rules.user import User
from schemas.instants import format_instant
from schemas.numbers import exact
from schemas.outcome import InstantText, StreakObject
from schemas.topics import OUTCOMES, full_name
from schemas.trace import AnyStep

_text: Final = json.JSONDecoder(parse_float=Decimal).decode


class _Object(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """JSON object with camelCase names; what is UNSET is left out."""


class RecordShown(_Object, frozen=True, kw_only=True):
    """The input record. `value` is its JSON, or its bytes where they are none; `type` as in outcomes (X12)."""

    topic: str
    partition: int
    offset: int
    timestamp: InstantText
    key: Bytes
    type: str
    event_id: str
    value: Any


class CatalogShown(_Object, frozen=True, kw_only=True):
    """The catalog version in force for the record, its instant, and the offset of the switch in the record's partition."""

    version: str
    since: InstantText
    switched_at_offset: int | None


class BalanceShown(_Object, frozen=True, kw_only=True):
    """Balance and level of a system."""

    total: int
    level: str | None


class UserShown(_Object, frozen=True, kw_only=True):
    """The user as the state was before the record."""

    zone: str
    attributes: dict[str, str]
    metrics: dict[str, Decimal]
    points: dict[str, BalanceShown]
    streak: StreakObject
    achievements: list[str]


class Refusal(_Object, frozen=True, kw_only=True):
    """Why the record was refused; nothing of it is applied (F2, T10)."""

    reason: str
    message: str
    rules: tuple[str, ...]


class Repeat(_Object, frozen=True, kw_only=True):
    """The record was skipped: its event id was applied before, at this offset of the same partition (I13)."""

    original_offset: int | None
    rules: tuple[str, ...] = ("I13",)


class Effect(_Object, frozen=True, kw_only=True):
    """One record that came out: full topic name, type and id from its headers, its JSON. `asked`: what the id names."""

    topic: str
    type: str
    id: str
    asked: bool
    value: Raw


class Answer(_Object, frozen=True, kw_only=True):
    """The whole answer.

    Attributes:
        id: as asked. sentence: the answer in short.
        user: id, None if no user's state was concerned. before: the user before the record, None if there was none.
        due: instant of the asked effect if time alone caused it (E2), which this record only carried out.
        steps: what the rules decided, in order. effects: what came out, in order.
        sent_again: offsets of later records with the same event id, which are skipped.
    """

    id: str
    sentence: str
    record: RecordShown
    catalog: CatalogShown | None
    tenant: str
    user: str | None
    before: UserShown | None
    refused: Refusal | UnsetType = UNSET
    skipped: Repeat | UnsetType = UNSET
    due: InstantText | UnsetType = UNSET
    steps: list[AnyStep]
    effects: list[Effect]
    sent_again: list[int] = []


def answer_of(one: Asked, found: Rebuilt, topic: str, prefix: str) -> Answer:
    """Return the answer without its sentence. `topic` is the input topic, `prefix` that of the derived ones."""
    record, owner = found.record, found.owner
    asked_effect = None if found.is_event else next(e for e in found.emissions if names_effect(one, e))
    due: InstantText | UnsetType = UNSET
    if asked_effect is not None:
        envelope = decoded(asked_effect.value)
        due = UNSET if "causationId" in envelope else envelope["occurredAt"]
    return Answer(
        id=one.id,
        sentence="",
        record=RecordShown(
            topic=topic,
            partition=record.partition,
            offset=record.offset,
            timestamp=shown_instant(record.timestamp_ms),
            key=shown(record.key),
            type=found.control or _type(found),
            event_id=found.event_id,
            value=_value(record.value),
        ),
        catalog=_catalog(found),
        tenant=owner.tenant,
        user=owner.user_id or None,
        before=None if found.before is None else _user(found.before, found),
        refused=_refusal(found),
        skipped=UNSET if found.emissions or found.control else Repeat(original_offset=_offset(found.original)),
        due=due,
        steps=found.steps,
        effects=[
            Effect(topic=full_name(e.topic, prefix), type=e.type, id=e.id, asked=e is asked_effect, value=Raw(e.value))
            for e in found.emissions
        ],
        sent_again=[place.offset for place in found.again],
    )


def decoded(value: bytes | Raw) -> Any:
    """Return JSON with exact numbers."""
    return _text(bytes(value).decode())


def _offset(place: Place | None) -> int | None:
    return None if place is None else place.offset


def _type(found: Rebuilt) -> str:
    """Return the type that the outcome tells; a record without one, which could not be read, has none."""
    outcomes = [emission for emission in found.emissions if emission.topic == OUTCOMES]
    return str(decoded(outcomes[-1].value)["type"]) if outcomes else ""


def _value(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        msgspec.json.decode(value)
        return Raw(msgspec.json.format(value, indent=-1))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return shown(value)


def _catalog(found: Rebuilt) -> CatalogShown | None:
    plan = found.plan
    if plan is None:
        return None
    return CatalogShown(version=plan.version, since=format_instant(plan.at), switched_at_offset=_offset(found.switched))


def _refusal(found: Rebuilt) -> Refusal | UnsetType:
    for emission in found.emissions:
        if emission.is_refusal:
            fields = decoded(emission.value)
            reason = fields["reason"]
            return Refusal(reason=reason, message=fields["message"], rules=RULES.get(reason, ()))
    return UNSET


def _user(user: User, found: Rebuilt) -> UserShown | None:
    """Return the state before the record under the plan in force for it."""
    plan, state = found.plan, user.state
    if plan is None:
        return None
    user.use(plan)
    points: dict[str, BalanceShown] = {}
    for key, system in plan.systems.items():
        total = state.balances.get(key, 0)
        level = level_of(system, total)
        points[key] = BalanceShown(total=total, level=level.key if level is not None else None)
    return UserShown(
        zone=state.tz or "UTC",
        attributes=state.attributes,
        metrics={key: exact(counter.total) for key, counter in state.totals.items()},
        points=points,
        streak=show_streak(user, plan, extended=False, read=True),
        achievements=list(state.completions),
    )
