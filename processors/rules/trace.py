"""Records what the rules decide while they decide it, for `plaudit why` (X21).

The rules call a `Trace` only where `Effects.trace` is set: without one, a decision costs one look at an attribute. Nothing
here decides; every number is handed over by the code that used it.
"""

from decimal import Decimal
from typing import Final, Literal

from processors.rules.filters import lacking
from processors.rules.plan import METRIC, STREAK, AchievementPlan, CounterPlan, Plan, TriggerPlan
from processors.rules.trace_points import PointsTrace
from processors.rules.user import User
from schemas.catalog import Frequency
from schemas.instants import format_day, format_instant
from schemas.numbers import exact
from schemas.state import Counter
from schemas.trace import (
    AchievementStep,
    AnyStep,
    CatalogStep,
    CounterStep,
    ErasedStep,
    FilledStep,
    FreezeStep,
    LocalDateStep,
    MessageOutcome,
    MessageStep,
    OlderPeriodStep,
    Pairs,
    PassedOverStep,
    PeriodStep,
    RecordStep,
    RepeatStep,
    SettledStep,
    StreakCause,
    StreakStep,
    TriggerStep,
    UserStep,
)

_TRIGGER_RULES: Final = {
    "metric": ("P13", "P14"),
    "streak": ("P19", "P21", "S95"),
    "achievement": ("P22",),
    "user_creation": ("P28", "P29"),
    "time": ("P26",),
}
_ACHIEVEMENT_RULES: Final = {
    "metric": ("A5", "A6"),
    "streak": ("A10", "S95"),
    "achievement": ("A13", "A14"),
    "api": ("A12",),
    "anniversary": ("A31",),
}
_STREAK_RULES: Final = {"late_event": ("S66", "S96"), "restore": ("S72", "S73", "S74"), "reset": ("S75",)}
_SETTLEMENT_RULES: Final = {
    "met": ("S22",),
    "reset": ("S22", "S75"),
    "bridged": ("S10", "S61"),
    "paused": ("S23", "S51"),
    "day_off": ("S23", "S57"),
    "frozen": ("S24", "S40"),
    "lost": ("S25",),
}
_FREEZE_RULES: Final = {
    "initial": ("S39",),
    "auto": ("S42", "S44"),
    "admin": ("S45",),
    "refund": ("S67",),
    "consumed": ("S24", "S40"),
}


_MESSAGE_RULES: Final = {
    "emails.recap_due": ("E14",),
    "emails.reactivation_due": ("E15",),
    "emails.streak_reminder_due": ("E16",),
    "emails.achievement_due": ("E17",),
}
_NO_MESSAGE_RULES: Final = {
    "sent": (),
    "before_clock": ("E12a", "D-33"),
    "too_late": ("E12a", "D-34"),
    "opted_out": ("E12", "U13a"),
    "protected": ("S31",),
    "gone": ("A4",),
}


class Trace:
    """The steps of a record, in the order in which they were taken.

    Attributes:
        steps: so far.
        points: records the steps of points among them.
    """

    __slots__ = ("points", "steps")

    def __init__(self) -> None:
        self.steps: list[AnyStep] = []
        self.points = PointsTrace(self.steps)

    def take(self) -> list[AnyStep]:
        """Return the steps, and begin anew."""
        taken = list(self.steps)
        self.steps.clear()
        return taken

    # the record and its user

    def record(self, kind: str, occurred_ms: int, append_ms: int, at_ms: int, *, created: bool) -> None:
        """What was due is done; the record itself is carried out at `at_ms`, its effectiveAt."""
        self.steps.append(
            RecordStep(
                rules=("X5", "T8", "U11") if created else ("X5", "T8"),
                type=kind,
                occurred_at=format_instant(occurred_ms),
                appended_at=format_instant(append_ms),
                effective_at=format_instant(at_ms),
                created=created,
            )
        )

    def user(self, user: User, zone_before: str | None, *, created: bool) -> None:
        """The user object was stored, and changed something."""
        self.steps.append(
            UserStep(
                rules=("U11",) if created else ("U2", "U3", "U8") if zone_before != user.state.tz else ("U2", "U3"),
                created=created,
                zone_before=zone_before or "UTC",
                zone=user.state.tz or "UTC",
                attributes=dict(user.state.attributes),
            )
        )

    def erased(self, *, known: bool) -> None:
        """Everything known of the user was erased."""
        self.steps.append(ErasedStep(rules=("X29", "X30"), known=known))

    def local_date(self, user: User, at_ms: int, local_day: int) -> None:
        """The event counts for a local date."""
        self.steps.append(
            LocalDateStep(
                rules=("S5", "S7") if user.state.tz is None else ("S7",),
                zone=user.state.tz or "UTC",
                effective_at=format_instant(at_ms),
                local_date=format_day(local_day),
            )
        )

    def repeat(self, key: str, original: str) -> None:
        """The idempotency key was used before."""
        self.steps.append(RepeatStep(rules=("I4", "I7"), idempotency_key=key, original=original))

    def catalog(self, before: Plan | None, after: Plan, at_ms: int) -> None:
        """The user goes over to another version."""
        version = before.version if before is not None else None
        self.steps.append(
            CatalogStep(rules=("P25", "A22"), before=version, after=after.version, at=format_instant(at_ms))
        )

    # counters and triggers

    def counter(self, plan: CounterPlan, counter: Counter, value: int, mark_before: int) -> None:
        """A counter has moved by `value`, scaled."""
        self.steps.append(
            CounterStep(
                rules=("P12", "P16", "P17") if counter.high == mark_before else ("P12",),
                metric=_metric_of(plan),
                filter=dict(plan.filter),
                value=exact(value),
                total_before=exact(counter.total - value),
                total_after=exact(counter.total),
                mark_before=exact(mark_before),
                mark_after=exact(counter.high),
            )
        )

    def filled(self, plans: list[CounterPlan], user: User) -> None:
        """The counters of new filters were filled."""
        for plan in plans:
            counter = user.state.counters.get(plan.id, Counter())
            self.steps.append(
                FilledStep(
                    rules=("P12", "P18", "D-25"),
                    metric=_metric_of(plan),
                    filter=dict(plan.filter),
                    total=exact(counter.total),
                    mark=exact(counter.high),
                )
            )

    def passed_over(self, plan: CounterPlan, attributes: dict[str, str]) -> None:
        """An event does not match a counter's filter."""
        self.steps.append(
            PassedOverStep(
                rules=("P10", "P15"),
                metric=_metric_of(plan),
                filter=dict(plan.filter),
                lacks=lacking(plan.filter, attributes),
            )
        )

    def trigger(
        self,
        system_key: str,
        plan: TriggerPlan,
        user: User,
        multiples: int,
        before: int | None = None,
        after: int | None = None,
        *,
        fires: bool,
    ) -> None:
        """A trigger was considered: `multiples` of its threshold lie in (before, after], which are marks or lengths."""
        missing = lacking(plan.user_filter, user.state.attributes) if multiples and not fires else {}
        kind = plan.trigger.type
        rules = _TRIGGER_RULES[kind]
        per, low, high = None, None, None
        if plan.order[0] == METRIC and before is not None and after is not None:
            per, low, high = exact(plan.threshold), exact(before), exact(after)
        elif plan.order[0] == STREAK and before is not None and after is not None:
            per, low, high = Decimal(plan.length), Decimal(before), Decimal(after)
        self.steps.append(
            TriggerStep(
                rules=(*rules, "P9", "P17") if missing and kind == "metric" else (*rules, "P9") if missing else rules,
                system=system_key,
                trigger=plan.trigger.id,
                type=kind,
                points=plan.base,
                metric=plan.trigger.metric,
                filter=dict(plan.trigger.event_attributes),
                per=per,
                before=low,
                after=high,
                multiples=multiples,
                count=multiples if fires else 0,
                outcome="fires" if fires else "user_filter" if multiples else "no_multiple",
                lacks=missing,
            )
        )

    # streaks

    def period(
        self,
        plan: Plan,
        frequency: Frequency,
        start: int,
        place: Literal["open", "last_settled"],
        sums: dict[str, int],
        wanted: list[tuple[str, int]],
        needs_all: bool,
        met_before: bool,
        met_after: bool,
    ) -> None:
        """A value was counted for a period; `wanted` and `needs_all` as in `User.goals`."""
        rules: tuple[str, ...] = ("S11", "S12", "S15")
        if place != "open":
            rules = ("S65", "S66")
        elif met_before:
            rules = ("S16", "S21")
        self.steps.append(
            PeriodStep(
                rules=rules,
                frequency=frequency,
                shown=frequency == plan.frequency,
                period_start=format_day(start),
                place=place,
                sums={key: exact(value) for key, value in sums.items()},
                goals={key: exact(value) for key, value in wanted},
                mode="AND" if needs_all else "OR",
                met_before=met_before,
                met_after=met_after,
            )
        )

    def older_period(self, frequency: Frequency, start: int) -> None:
        """The event is late for a period that cannot be repaired, or was met: the chain does not change."""
        self.steps.append(OlderPeriodStep(rules=("S65", "S66"), frequency=frequency, period_start=format_day(start)))

    def streak(
        self,
        plan: Plan,
        frequency: Frequency,
        start: int,
        cause: StreakCause,
        before: int,
        after: int,
    ) -> None:
        """A chain grew by an event, or a request moved it."""
        rules = _STREAK_RULES[cause] if cause != "event" else ("S20",) if before else ("S19",)
        self.steps.append(
            StreakStep(
                rules=rules,
                frequency=frequency,
                shown=frequency == plan.frequency,
                period_start=format_day(start),
                cause=cause,
                length_before=before,
                length_after=after,
            )
        )

    def settled(
        self, plan: Plan, frequency: Frequency, start: int, at_ms: int, outcome: str, before: int, after: int
    ) -> None:
        """A period was closed."""
        self.steps.append(
            SettledStep(
                rules=("S9", *_SETTLEMENT_RULES[outcome]),
                frequency=frequency,
                shown=frequency == plan.frequency,
                period_start=format_day(start),
                due=format_instant(at_ms),
                outcome=outcome,
                length_before=before,
                length_after=after,
            )
        )

    def freezes(self, delta: int, reason: str, balance: int) -> None:
        """The balance of freezes moved."""
        self.steps.append(FreezeStep(rules=_FREEZE_RULES[reason], delta=delta, reason=reason, balance=balance))

    # achievements

    def message(self, kind: str, due_ms: int, outcome: MessageOutcome) -> None:
        """A message was due; it was sent, or left out for a reason."""
        rules = (*_MESSAGE_RULES[kind], *_NO_MESSAGE_RULES[outcome])
        self.steps.append(MessageStep(rules=rules, type=kind, due=format_instant(due_ms), outcome=outcome))

    def achievement(self, plan: AchievementPlan, outcome: Literal["completed", "backdated"], number: int = 0) -> None:
        """An achievement was completed, in round `number` of composites."""
        rules = _ACHIEVEMENT_RULES.get(plan.achievement.trigger, ())
        self._achievement(
            plan, (*rules, *(("A22", "A23", "A24") if outcome == "backdated" else ("F6",))), outcome, number, {}
        )

    def unsuited(self, plan: AchievementPlan, user: User) -> None:
        """The condition is met, the user filter does not match."""
        missing = lacking(plan.user_filter, user.state.attributes)
        rules = _ACHIEVEMENT_RULES.get(plan.achievement.trigger, ())
        self._achievement(plan, (*rules, "A7", "A8"), "user_filter", 0, missing)

    def _achievement(
        self,
        plan: AchievementPlan,
        rules: tuple[str, ...],
        outcome: Literal["completed", "backdated", "user_filter"],
        number: int,
        missing: Pairs,
    ) -> None:
        one = plan.achievement
        requires: Decimal | int | list[str] | None = None
        if one.trigger == "metric":
            requires = exact(one.metric_value)
        elif one.trigger == "streak":
            requires = one.streak_length
        elif one.trigger == "anniversary":
            requires = one.anniversary_years
        elif one.trigger == "achievement":
            requires = list(one.achievement_ids)
        self.steps.append(
            AchievementStep(
                rules=rules,
                achievement=plan.id,
                name=one.name,
                trigger=one.trigger,
                requires=requires,
                round=number,
                outcome=outcome,
                lacks=missing,
            )
        )


def _metric_of(plan: CounterPlan) -> str:
    return plan.id.partition("\0")[0]
