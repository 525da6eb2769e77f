"""Second half of the streak oracle: walks the timeline of one user and says what must come out.

Written from docs/spec (streaks.md, metrics-and-events.md, wire.md) alone; shares no code with the project. Plain and
slow: every length, start and balance is counted anew from what has happened.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from tests.properties.streak_answers import Answer, Emission, shown_row
from tests.properties.streak_calendar import (
    DAY,
    FREQUENCIES,
    first_instant,
    last_day,
    local_date,
    next_start,
    period_start,
    weekday,
)
from tests.properties.streak_chain import Break, Chain, Close, Restored, Rise
from tests.properties.streak_timeline import ACCUMULATION, BEFORE_RECORD, WITH_MOVE, Due, Json, Line, Timeline


class Oracle:
    """Everything that must come out for one user of a log.

    Attributes:
        emitted: derived events in order.
        answers: one per record of the user, in order.
    """

    def __init__(self, lines: list[Line], user: str) -> None:
        self.user = user
        self.time = Timeline(lines, user)
        self.emitted: list[Emission] = []
        self.answers: list[Answer] = []
        self._chains: list[Chain] = []
        self._balance_changes: list[int] = []
        self._values: list[tuple[str, Decimal, date]] = []
        self._preferences: Json = {}
        self._pauses: dict[str, tuple[date, date]] = {}
        self._index = 0
        self._zone: str | None = None
        self._settings: Json = {}
        for index in range(len(self.time.steps)):
            self._index = index
            self._step()

    # the present

    @property
    def balance(self) -> int:
        return sum(self._balance_changes)

    @property
    def enabled(self) -> bool:
        return bool(self._preferences.get("enabled", True))

    @property
    def active(self) -> int:
        """Rank of the active frequency."""
        return FREQUENCIES.index(self._settings.get("frequency", "daily"))

    def _effective(self, name: str) -> Any:
        """Return a setting as it holds for the user (S79, S80)."""
        if self._settings.get("customizationEnabled") and name in self._preferences:
            return self._preferences[name]
        return self._settings.get(name)

    def _condition(self, frequency: str, period: date) -> bool:
        """Whether the sums of a period satisfy the condition (S11, S12, S18)."""
        metrics = self._effective("metrics") or []
        if not self.enabled or not metrics:
            return False
        found = []
        for metric in metrics:
            total = sum(
                value
                for key, value, day in self._values
                if key == metric["key"] and period <= day <= last_day(frequency, period)
            )
            found.append(total >= Decimal(str(metric["threshold"])))
        return any(found) if (self._effective("evaluationMode") or "OR") == "OR" else all(found)

    def _is_paused(self, frequency: str, period: date) -> bool:
        """S51."""
        end = last_day(frequency, period)
        return any(start <= end and last >= period for start, last in self._pauses.values())

    def _is_day_off(self, rank: int, period: date) -> bool:
        """S57, C11."""
        return rank == self.active == 0 and weekday(period) in (self._effective("daysOff") or [])

    def _is_protected(self, rank: int, period: date) -> bool:
        return self._is_paused(FREQUENCIES[rank], period) or self._is_day_off(rank, period)

    # one step

    def _step(self) -> None:
        step = self.time.steps[self._index]
        self._zone = self.time.zone_before(self._index)
        for due in self.time.due(self._index, BEFORE_RECORD):
            self._carry_out(due)
        self._settings = self.time.settings[self._index]
        self._zone = self.time.zones[self._index]
        if self._index == self.time.creation:
            self._create()
        for due in self.time.due(self._index, WITH_MOVE):
            self._carry_out(due)
        if step.own:
            answer = Answer(step.kind)
            self.answers.append(answer)
            getattr(self, "_on_" + step.kind.split(".")[-1])(step.record, step.effective, answer)
            if step.kind in ("metric", "repeat"):
                answer.streak = self.shown(extended=bool(answer.streak))

    def _create(self) -> None:
        at = self.time.steps[self._index].effective
        day = local_date(at, self._zone)
        self._chains = [Chain(name, period_start(name, day, self.time.week_start)) for name in FREQUENCIES]
        freezes = self._settings.get("freezes")
        if freezes:
            self._move_balance(min(freezes["startCount"], freezes["maxCount"]), "initial", at)

    def _on_identify(self, record: Json, at: datetime, answer: Answer) -> None:
        """Only the zone matters, and it has been applied."""

    _on_repeat = _on_identify

    def _on_metric(self, record: Json, at: datetime, answer: Answer) -> None:
        """S15, S19-S21, S66. Leaves True as the answer's streak if the active chain grew (S32)."""
        day = local_date(at, self._zone)
        self._values.append((record["metric"], Decimal(str(record["value"])), day))
        self._emit("metric.changed", at, {"localDate": day.isoformat()})
        for rank, chain in enumerate(self._chains):
            period = period_start(chain.frequency, day, self.time.week_start)
            last = chain.last_settled()
            grown = False
            if period == chain.open:
                if not chain.met and self._condition(chain.frequency, period):
                    chain.story.append(Rise(period, day, at))
                    grown = True
                    self._announce(rank, at, period, "event")
            elif last is not None and chain.story[last].period == period:  # type: ignore[union-attr]
                grown = self._try_repair(rank, last, Rise(period, day, at))
            if grown:
                self._changed(rank, at)
                answer.streak = {"grown": True} if rank == self.active else answer.streak

    def _try_repair(self, rank: int, index: int, rise: Rise) -> bool:
        """S66, S67: the late event may still meet the last settled period."""
        chain = self._chains[rank]
        close = chain.story[index]
        assert isinstance(close, Close)
        if close.verdict == "met" or not self._condition(chain.frequency, rise.period):
            return False
        freezes = self._settings.get("freezes")
        if close.verdict == "frozen" and freezes and self.balance < freezes["maxCount"]:
            append = self.time.steps[self._index].append
            self._move_balance(1, "refund", append)
            self._emit("streak.freeze_earned", append, {"earned": 1, "freezes": self.balance}, reason="refund")
        chain.repair(index, rise)
        self._announce(rank, rise.at, rise.period, "late_event")
        self._row("streak.period_repaired", rank, rise.period, "met", chain.reading(index + 1).length, rise.at)
        return True

    def _announce(self, rank: int, at: datetime, period: date, cause: str) -> None:
        if rank == self.active:
            kind = "streak.started" if self._chains[rank].length == 1 else "streak.extended"
            meta = {"frequency": FREQUENCIES[rank], "cause": cause, "periodStart": period.isoformat()}
            self._emit(kind, at, {"streak": self.shown(extended=True)}, **meta)

    # what time causes

    def _carry_out(self, due: Due) -> None:
        if due.rank == ACCUMULATION:
            self._accumulate(due)
        else:
            self._settle(due)

    def _accumulate(self, due: Due) -> None:
        """S42, S44, S46, S76."""
        freezes = self._settings["freezes"]
        granted = min(freezes["autoEarnAmount"], freezes["maxCount"] - self.balance)
        if granted > 0:
            self._move_balance(granted, "auto", due.at)
            if self.enabled:
                self._emit("streak.freeze_earned", due.at, {"earned": granted, "freezes": self.balance}, reason="auto")

    def _settle(self, due: Due) -> None:
        """S22-S26."""
        rank, chain, period = due.rank, self._chains[due.rank], due.day
        length = chain.length
        verdict, is_reset = self._verdict(due), chain.is_reset
        meta = {"frequency": chain.frequency, "cause": "settlement", "periodStart": period.isoformat()}
        if verdict == "lost" and rank == self.active:
            self._emit("streak.lost", due.at, {"length": length}, reason="missed", **meta)
        if verdict == "frozen":
            self._move_balance(-1, "consumed", due.at)
            self._emit("streak.freeze_consumed", due.at, {"consumed": 1, "freezes": self.balance}, **meta)
        chain.story.append(Close(period, verdict))
        if verdict != "none":
            self._row("streak.period_closed", rank, period, verdict, chain.length, due.at)
            self._changed(rank, due.at)
        elif is_reset:  # D-20, D-61
            self._row("streak.period_closed", rank, period, "reset", 0, due.at)
            self._changed(rank, due.at)

    def _verdict(self, due: Due) -> str:
        """Return what becomes of a period (S22; S61 for one that a move ends)."""
        chain, period = self._chains[due.rank], due.day
        following = next_start(chain.frequency, period)
        if chain.met:
            return "met"
        if chain.length == 0:
            return "none"
        if due.phase == WITH_MOVE or first_instant(period, self._zone) == first_instant(following, self._zone):
            return "bridged"
        if self._is_paused(chain.frequency, period):
            return "paused"
        if self._is_day_off(due.rank, period):
            return "day_off"
        if due.rank == self.active and self._settings.get("freezes") and self.balance > 0:
            return "frozen"
        return "lost"

    # requests

    def _on_grant(self, record: Json, at: datetime, answer: Answer) -> None:
        """S45, C14, C15."""
        freezes = self._settings.get("freezes")
        if not self._chains or not freezes:
            answer.issues = [(self.user, "error")]
        elif self.balance + 1 > freezes["maxCount"]:
            answer.issues = [(self.user, "warning")]
        else:
            answer.issues = []
            self._move_balance(1, "admin", at)
            if self.enabled:
                self._emit("streak.freeze_earned", at, {"earned": 1, "freezes": self.balance}, reason="admin")

    def _on_pause(self, record: Json, at: datetime, answer: Answer) -> None:
        """S49, D-18."""
        start, end = date.fromisoformat(record["start"]), date.fromisoformat(record["end"])
        today = local_date(self.time.steps[self._index].append, self._zone)
        if start < today or end < start:
            answer.issues = [(record["id"], "error")]
        else:
            answer.issues = []
            self._pauses[record["id"]] = (start, end)

    def _on_unpause(self, record: Json, at: datetime, answer: Answer) -> None:
        """S54, D-18."""
        pause = self._pauses.pop(record["id"], None)
        answer.issues = [] if pause else [(record["id"], "error")]
        if pause and pause[1] < min(chain.open for chain in self._chains):
            answer.issues = None

    def _on_restore(self, record: Json, at: datetime, answer: Answer) -> None:
        """S72-S74."""
        chain = self._chains[self.active]
        today = local_date(self.time.steps[self._index].append, self._zone)
        if chain.frequency == "daily":
            since = today - 90 * DAY
        elif chain.frequency == "weekly":
            since = period_start("weekly", date(today.year, 1, 1), self.time.week_start)
        else:
            since = date(today.year - 1, 1, 1)
        rows = [reading for period, _, reading in chain.rows() if period >= since]
        best = max((reading.length for reading in rows), default=0)
        if not self.enabled or best <= chain.length:
            answer.issues = [(self.user, "warning")]
            return
        answer.issues = []
        started = [reading.started for reading in rows if reading.length == best][-1]
        chain.story.append(Restored(best, started))
        self._emit("streak.restored", at, {"frequency": chain.frequency, "length": best})
        self._changed(self.active, at)

    def _on_reset(self, record: Json, at: datetime, answer: Answer) -> None:
        """S75, S70."""
        if not self.enabled:
            answer.issues = [(self.user, "warning")]
            return
        answer.issues = []
        for rank, chain in enumerate(self._chains):
            length = chain.length
            chain.story.append(Break("reset", length))
            if length:
                if rank == self.active:
                    meta = {"frequency": chain.frequency, "cause": "admin", "reason": "reset"}
                    self._emit("streak.lost", at, {"length": length}, **meta)
                self._changed(rank, at)

    def _on_preferences(self, record: Json, at: datetime, answer: Answer) -> None:
        """S76, S79."""
        was_enabled = self.enabled
        self._preferences = {**self._preferences, **record["streak"]}
        if was_enabled and not self.enabled:
            for rank, chain in enumerate(self._chains):
                moved = chain.length > 0 or chain.met
                chain.story.append(Break("disabled", chain.length))
                if moved:
                    self._changed(rank, at)

    # what comes out

    def _emit(self, kind: str, at: datetime, data: Json, **meta: str) -> None:
        self.emitted.append(Emission(kind, at, data, meta))

    def _move_balance(self, delta: int, reason: str, at: datetime) -> None:
        if delta:
            self._balance_changes.append(delta)
            self._emit("streak.freezes_changed", at, {"delta": delta, "reason": reason, "balance": self.balance})

    def _row(self, kind: str, rank: int, period: date, verdict: str, length: int, at: datetime) -> None:
        row = shown_row(FREQUENCIES[rank], period, verdict, length)
        self._emit(kind, at, {"frequency": FREQUENCIES[rank], "outcome": verdict, **row})

    def _changed(self, rank: int, at: datetime) -> None:
        chain = self._chains[rank]
        reading, period = chain.reading(), chain.open
        if reading.length > chain.longest:
            chain.longest, chain.longest_at = reading.length, at
        data = {
            "frequency": chain.frequency,
            "length": reading.length,
            "started": reading.started.isoformat() if reading.started else None,
            "extended": reading.extended,
            "periodStart": period.isoformat(),
            "periodEnd": last_day(chain.frequency, period).isoformat(),
            "met": chain.met,
            "longest": chain.longest,
            "longestAt": chain.longest_at,
        }
        self._emit("streak.changed", at, data)

    def shown(self, *, extended: bool = False, read: bool = False, rank: int | None = None) -> Json:
        """Return the streak object (§5): of the active chain, or of another one; in a read or in an outcome (S32)."""
        chain = self._chains[self.active if rank is None else rank]
        reading, period = chain.reading(), chain.open
        found: Json = {"frequency": chain.frequency, "length": reading.length}
        if reading.length == 0:
            found |= {"started": None, "periodStart": None, "periodEnd": None, "expires": None}
        else:
            assert reading.started is not None
            found |= {
                "started": reading.started.isoformat(),
                "periodStart": period.isoformat(),
                "periodEnd": last_day(chain.frequency, period).isoformat(),
                "expires": self._expires(FREQUENCIES.index(chain.frequency)).isoformat(),
            }
        found["extended"] = reading.extended if read else extended
        freezes = self._settings.get("freezes")
        if freezes:
            found |= {"freezes": self.balance, "maxFreezes": freezes["maxCount"]}
            if freezes.get("autoEarnInterval"):
                found["freezeAutoEarnInterval"] = freezes["autoEarnInterval"]
                found["freezeAutoEarnAmount"] = freezes["autoEarnAmount"]
        return found

    def _expires(self, rank: int) -> date:
        """S31."""
        chain = self._chains[rank]
        period = next_start(chain.frequency, chain.open) if chain.met else chain.open
        while self._is_protected(rank, period):
            period = next_start(chain.frequency, period)
        return last_day(chain.frequency, period)

    def history(self, count: int, rank: int | None = None) -> list[Json]:
        """Return the last rows of a chain, the open period last (S85)."""
        chain = self._chains[self.active if rank is None else rank]
        rows = [(period, verdict, reading.length) for period, verdict, reading in chain.rows()]
        rows.append((chain.open, "open", chain.length))
        while len(rows) < count:
            before = period_start(chain.frequency, rows[0][0] - DAY, self.time.week_start)
            rows.insert(0, (before, "none", 0))
        return [shown_row(chain.frequency, *row) for row in rows[-count:]]
