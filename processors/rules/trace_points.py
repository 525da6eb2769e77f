"""Records how firings become points while it happens (X21); see `processors.rules.trace`."""

from decimal import Decimal
from typing import Literal

from processors.rules.filters import lacking
from processors.rules.plan import SystemPlan, TimeTriggerPlan, TriggerPlan
from processors.rules.user import User
from schemas.catalog import Boost, Level
from schemas.instants import format_day, format_instant
from schemas.numbers import exact
from schemas.trace import AnyStep, AwardStep, BalanceStep, BoostStep, NoticeStep, TickStep, WindowStep

NoBoost = Literal["not_begun", "over", "user_filter"]
"""Why a boost does not apply."""


class PointsTrace:
    """Adds its steps to those of a record."""

    __slots__ = ("_boosts", "_product", "_rounding", "_steps")

    def __init__(self, steps: list[AnyStep]) -> None:
        self._steps = steps
        self._boosts: list[str] = []  # applied to the award under way
        self._product: Decimal | None = None
        self._rounding: str | None = None

    def boost(self, system: SystemPlan, boost: Boost, user: User, local_day: int, why_not: NoBoost | None) -> None:
        """A boost was considered for the award under way."""
        if why_not is None:
            self._boosts.append(boost.id)
        self._steps.append(
            BoostStep(
                rules=("P34", "P35") if why_not is None else ("P35",) if why_not in ("not_begun", "over") else ("P34",),
                system=system.key,
                boost=boost.id,
                name=boost.name,
                multiplier=exact(boost.multiplier_micro * 1000),
                rounding=boost.rounding,
                local_date=format_day(local_day),
                outcome=why_not or "applied",
                lacks=lacking(boost.user_attributes, user.state.attributes) if why_not == "user_filter" else {},
            )
        )

    def product(self, product: int, scale: int, rounding: str) -> None:
        """Boosts apply to the award under way: base times multipliers is exactly `product / scale`."""
        whole, rest = divmod(product, scale)
        digits = str(rest).rjust(len(str(scale)) - 1, "0").rstrip("0")
        self._product = Decimal(f"{whole}.{digits}" if digits else str(whole))
        self._rounding = rounding

    def award(
        self,
        system: SystemPlan,
        trigger: TriggerPlan,
        count: int,
        base: int,
        boosted: int,
        balance: int,
        amount: int,
        award_id: str | None,
    ) -> None:
        """A firing came to `amount` points; None as id: the event is blocked, nothing is awarded."""
        blocked = amount != 0 and award_id is None
        rules: tuple[str, ...] = ("P14", "P43")
        if self._boosts:
            rules += ("P37", "P38", "P39") if len(self._boosts) > 1 else ("P38",)
        if blocked:
            rules += ("P46",)
        elif amount != boosted:
            rules += ("P44",) if base > 0 else ("P45",)
        if amount == 0:
            rules += ("P47",)
        moved = 0 if blocked else amount
        self._steps.append(
            AwardStep(
                rules=rules,
                system=system.key,
                trigger=trigger.trigger.id,
                count=count,
                points=trigger.base,
                base=base,
                boosts=self._boosts,
                product=self._product,
                rounding=self._rounding,
                boosted=boosted,
                balance_before=balance,
                limit=system.limit,
                clipped=abs(boosted - amount),
                awarded=moved,
                balance_after=balance + moved,
                award_id=award_id if amount else None,
                outcome="blocked" if blocked else "awarded" if amount else "nothing",
            )
        )
        self._boosts, self._product, self._rounding = [], None, None

    def balance(self, system: SystemPlan, before: int, after: int, old: Level | None, new: Level | None) -> None:
        """All awards of a system are made."""
        self._steps.append(
            BalanceStep(
                rules=("P48", "P49", "P50"),
                system=system.key,
                before=before,
                after=after,
                level_before=old.key if old is not None else None,
                level_after=new.key if new is not None else None,
            )
        )

    def notice(
        self, system: SystemPlan, outcome: Literal["sent", "held", "full"], added: int, awards: int, until: int
    ) -> None:
        """`points.changed` was sent or held."""
        self._steps.append(
            NoticeStep(
                rules=("P85", "E7", "D-01") if outcome == "full" else ("P85", "E7", "L32"),
                system=system.key,
                outcome=outcome,
                added=added,
                awards=awards,
                window_until=format_instant(until),
            )
        )

    def window(self, system: SystemPlan, due_ms: int, added: int, awards: int) -> None:
        """A throttle window ended."""
        self._steps.append(
            WindowStep(rules=("L32", "C23"), system=system.key, due=format_instant(due_ms), added=added, awards=awards)
        )

    def tick(
        self,
        trigger: TimeTriggerPlan,
        user: User,
        due_ms: int,
        next_due_ms: int,
        balance: int,
        *,
        clipped: bool,
        mismatch: bool,
    ) -> None:
        """A time trigger was due; `clipped`: the balance leaves it nothing to move, `mismatch`: its user filter fails."""
        system = trigger.system
        cause = ("P26", "P44" if trigger.base > 0 else "P45", "P47") if clipped else ("P26",)
        self._steps.append(
            TickStep(
                rules=("P25", *cause),
                system=system.key,
                trigger=trigger.trigger.id,
                due=format_instant(due_ms),
                next_due=format_instant(next_due_ms),
                passed_over=(next_due_ms - due_ms) // trigger.interval - 1,
                balance=balance,
                limit=system.limit,
                outcome="nothing_to_move" if clipped else "user_filter" if mismatch else "fires",
                lacks=lacking(trigger.user_filter, user.state.attributes) if mismatch else {},
            )
        )
