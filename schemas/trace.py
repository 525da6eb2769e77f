"""What happened inside the application of one record, step by step, with the numbers that decided (wire.md X21).

Every step names the rules of docs/spec it follows. Instants and days are texts as in derived events, metric values exact
decimals, points integers. `lacks` of any step holds the pairs of a filter that were not met (M13-M15).
"""

from decimal import Decimal
from typing import Literal

import msgspec

from schemas.outcome import DateText, InstantText

Pairs = dict[str, str]


class Step(msgspec.Struct, rename="camel", tag_field="kind", frozen=True, kw_only=True):
    """One step. `rules` are ids of docs/spec."""

    rules: tuple[str, ...]


class RecordStep(Step, frozen=True, kw_only=True, tag="record"):
    """What was due is done, the record itself begins: `created` if it is the user's first (X5, T8, U11)."""

    type: str
    occurred_at: InstantText
    appended_at: InstantText
    effective_at: InstantText
    created: bool


class UserStep(Step, frozen=True, kw_only=True, tag="user"):
    """The user object was stored; `zone_before` differs from `zone` if the record moves the user (U2, U3, U8)."""

    created: bool
    zone_before: str
    zone: str
    attributes: Pairs


class ErasedStep(Step, frozen=True, kw_only=True, tag="erased"):
    """Everything known of the user was erased; not `known`: there was nothing in the state (X29)."""

    known: bool


class LocalDateStep(Step, frozen=True, kw_only=True, tag="local_date"):
    """The local date that the record counts for (S7)."""

    zone: str
    effective_at: InstantText
    local_date: DateText


class RepeatStep(Step, frozen=True, kw_only=True, tag="repeat"):
    """The idempotency key was used before: nothing moves (I4). `original` is the event id of its first use."""

    idempotency_key: str
    original: str


class CounterStep(Step, frozen=True, kw_only=True, tag="counter"):
    """A counter moved: total C and high-water mark W of P12; without a filter it is the metric's total."""

    metric: str
    filter: Pairs
    value: Decimal
    total_before: Decimal
    total_after: Decimal
    mark_before: Decimal
    mark_after: Decimal


class FilledStep(Step, frozen=True, kw_only=True, tag="counter_filled"):
    """A filter is new in this version: its counter was filled from the user's tallies (P12, P18, D-25)."""

    metric: str
    filter: Pairs
    total: Decimal
    mark: Decimal


class PassedOverStep(Step, frozen=True, kw_only=True, tag="counter_passed_over"):
    """The event does not match a counter's filter (P15)."""

    metric: str
    filter: Pairs
    lacks: Pairs


class TriggerStep(Step, frozen=True, kw_only=True, tag="trigger"):
    """A trigger was considered.

    `per` is its threshold in units of `metric` or its length in periods, `before` and `after` what moved: the mark W of the
    counter with this `filter`, or the length of the streak; None for triggers that do not count. `multiples` were crossed,
    `count` of them fire.
    """

    system: str
    trigger: str
    type: str
    points: int
    metric: str | None
    filter: Pairs
    per: Decimal | None
    before: Decimal | None
    after: Decimal | None
    multiples: int
    count: int
    outcome: Literal["fires", "no_multiple", "user_filter"]
    lacks: Pairs


class PeriodStep(Step, frozen=True, kw_only=True, tag="streak_period"):
    """The value was counted for a period of a chain: sums after it, what the condition asks for, met before and after.

    `place` tells whether the period is the open one or the last settled one, which a late event may repair (S66).
    """

    frequency: str
    shown: bool
    period_start: DateText
    place: Literal["open", "last_settled"]
    sums: dict[str, Decimal]
    goals: dict[str, Decimal]
    mode: Literal["OR", "AND"]
    met_before: bool
    met_after: bool


class OlderPeriodStep(Step, frozen=True, kw_only=True, tag="streak_period_closed"):
    """The event is late for a period that was met or is too old to be repaired: the chain does not change (S66)."""

    frequency: str
    period_start: DateText


StreakCause = Literal["event", "late_event", "restore", "reset"]
"""What moved the length of a chain, beside settlements."""


class StreakStep(Step, frozen=True, kw_only=True, tag="streak"):
    """A chain grew, or a request moved it; `shown` if it is the active one, which alone fires and completes (S95, S97)."""

    frequency: str
    shown: bool
    period_start: DateText
    cause: StreakCause
    length_before: int
    length_after: int


class AchievementStep(Step, frozen=True, kw_only=True, tag="achievement"):
    """An achievement whose condition is met.

    `round` counts the rounds of composites, from 0 (A14). `requires` is the value, the length, the years or the ids that it needs.
    """

    achievement: str
    name: str
    trigger: str
    requires: Decimal | int | list[str] | None
    round: int
    outcome: Literal["completed", "backdated", "user_filter"]
    lacks: Pairs


class BoostStep(Step, frozen=True, kw_only=True, tag="boost"):
    """A boost was considered for the award that follows (P34, P35)."""

    system: str
    boost: str
    name: str
    multiplier: Decimal
    rounding: str
    local_date: DateText
    outcome: Literal["applied", "not_begun", "over", "user_filter"]
    lacks: Pairs


class AwardStep(Step, frozen=True, kw_only=True, tag="award"):
    """From the firings of a trigger to points (P43).

    Attributes:
        count, points, base: base = count * points (P14).
        boosts: ids of those applied. product: exact, before rounding; None without boosts. rounding: how it was rounded.
        boosted: points after boosts and rounding. limit: of the balance.
        clipped: what cap or floor took of `boosted`, at least 0.
        awarded: what the balance moved by; 0 leaves no award (P47).
        outcome: `blocked` refuses the whole event (P46).
    """

    system: str
    trigger: str
    count: int
    points: int
    base: int
    boosts: list[str]
    product: Decimal | None
    rounding: str | None
    boosted: int
    balance_before: int
    limit: int
    clipped: int
    awarded: int
    balance_after: int
    award_id: str | None
    outcome: Literal["awarded", "nothing", "blocked"]


class BalanceStep(Step, frozen=True, kw_only=True, tag="balance"):
    """All awards of a system are made: balance and level before and after (P50)."""

    system: str
    before: int
    after: int
    level_before: str | None
    level_after: str | None


class NoticeStep(Step, frozen=True, kw_only=True, tag="notice"):
    """`points.changed` is sent, or held for the end of the window (P85, E7); `full` = the window holds no more (D-01)."""

    system: str
    outcome: Literal["sent", "held", "full"]
    added: int
    awards: int
    window_until: InstantText


class WindowStep(Step, frozen=True, kw_only=True, tag="window_end"):
    """A throttle window ended with awards collected, which are sent now (L32)."""

    system: str
    due: InstantText
    added: int
    awards: int


class TickStep(Step, frozen=True, kw_only=True, tag="time_trigger"):
    """A time trigger was due (P26). `passed_over` further ticks could not have paid either and are skipped with it."""

    system: str
    trigger: str
    due: InstantText
    next_due: InstantText
    passed_over: int
    balance: int
    limit: int
    outcome: Literal["fires", "nothing_to_move", "user_filter"]
    lacks: Pairs


class SettledStep(Step, frozen=True, kw_only=True, tag="settlement"):
    """A period of a chain was closed (S22); `shown` if the chain is the active one."""

    frequency: str
    shown: bool
    period_start: DateText
    due: InstantText
    outcome: str
    length_before: int
    length_after: int


class FreezeStep(Step, frozen=True, kw_only=True, tag="freezes"):
    """The balance of streak freezes moved."""

    delta: int
    reason: str
    balance: int


MessageOutcome = Literal["sent", "before_clock", "too_late", "opted_out", "protected", "gone"]
"""What became of a message that was due."""


class MessageStep(Step, frozen=True, kw_only=True, tag="message"):
    """A message was due (E12): `type` of the event, and whether it was sent or why it was left out."""

    type: str
    due: InstantText
    outcome: MessageOutcome


class CatalogStep(Step, frozen=True, kw_only=True, tag="catalog"):
    """The record puts another catalog version in force for the user (P25, A22)."""

    before: str | None
    after: str
    at: InstantText


AnyStep = (
    RecordStep
    | UserStep
    | ErasedStep
    | LocalDateStep
    | RepeatStep
    | CounterStep
    | FilledStep
    | PassedOverStep
    | TriggerStep
    | PeriodStep
    | OlderPeriodStep
    | StreakStep
    | AchievementStep
    | BoostStep
    | AwardStep
    | BalanceStep
    | NoticeStep
    | WindowStep
    | TickStep
    | SettledStep
    | FreezeStep
    | MessageStep
    | CatalogStep
)
"""Any step, by its field `kind`."""
