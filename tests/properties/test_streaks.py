"""Streaks of the production fold against the calendar oracle, over random logs.

Left out of the random logs, because the chapters do not say what happens:

- `delay_alone`: `settleDelaySeconds` goes without settings changes and accumulation; S9 postpones settlements only.
- `old_pause` (any answer will do): the deletion of a pause that no open period needs any more (D-18).
"""

from datetime import timedelta

import pytest
from hypothesis import Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.properties import streak_script as script
from tests.properties.streak_calendar import DAY, local_date
from tests.properties.streak_comparison import describe, differences
from tests.properties.streak_fold import METRICS, Fold, derived, outcomes, refused
from tests.properties.streak_oracle import Oracle
from tests.properties.streak_timeline import Json, Line, instant, steps_of, user_of

pytestmark = pytest.mark.timeout(3600)  # of a long search, and of shrinking what it finds

QUICK_EXAMPLES = 200
"""Without `--property-examples`."""

USERS = ("u", "v")
users = st.sampled_from(("u", "u", "u", "v"))
zones = st.integers(0, len(script.AWAY) + 1)
REQUESTS = ("freeze.grant", "streak.restore", "streak.reset")


class StreakMachine(RuleBasedStateMachine):
    """Appends records of any kind, folds them as they come, compares everything at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.fold = Fold()
        self.script: script.Script | None = None

    @initialize(
        scene=script.scenes,
        settings=script.settings_objects,
        week_start=script.week_starts,
        delay=st.sampled_from((0, 0, 0, 0, 0, 600, 7200)),
    )
    def begin(self, scene: tuple[str, str], settings: Json, week_start: str, delay: int) -> None:
        self.home = scene[0]
        self.delay = delay
        self.fixed: Json = {"weekStart": week_start, "settleDelaySeconds": delay}
        if delay and settings["freezes"]:
            settings = {**settings, "freezes": {n: settings["freezes"][n] for n in ("startCount", "maxCount")}}
        self.script = script.Script(instant(scene[1]), {})
        self.send(self.script.control("catalog", streak={**settings, **self.fixed}))

    def send(self, line: Line, limit: int = 10**9) -> None:
        self.fold.feed(line, limit)

    def zone(self, choice: int | None) -> Json:
        return {} if choice is None else {"tz": (self.home, None, *script.AWAY)[choice]}

    @rule(
        gap=script.gaps,
        user=users,
        key=st.sampled_from(METRICS[:1] + METRICS),
        value=st.sampled_from((1, 2, 1, 3, -1, 0.5, 0)),
        late=script.lateness,
        behind=st.sampled_from((0, 0, 0, 40)),
        zone=st.none() | st.none() | zones,
        repeat=st.none() | st.none() | st.sampled_from(("x", "y")),
    )
    def event(
        self,
        gap: script.Gap,
        user: str,
        key: str,
        value: float,
        late: script.Late,
        behind: int,
        zone: int | None,
        repeat: str | None,
    ) -> None:
        self.script.advance(gap, user)
        record = {"metric": key, "value": value, **({"idempotencyKey": repeat} if repeat else {})}
        moved = {} if repeat else self.zone(zone)
        if user not in self.script.zones:
            moved = moved or {"tz": self.home}
        self.send(self.script.activity(user, late, timedelta(minutes=behind), record, moved))

    @rule(gap=script.next_day, user=users, key=st.sampled_from("aaaab"), days=st.integers(1, 6))
    def act(self, gap: script.Gap, user: str, key: str, days: int) -> None:
        """Enough on every one of some days."""
        for _ in range(days):
            self.event(gap, user, key, 3, script.Late(), 0, None, None)

    @rule(gap=script.next_day, user=users, zone=zones, days=st.integers(1, 3), back=script.soon)
    def travel(self, gap: script.Gap, user: str, zone: int, days: int, back: script.Gap) -> None:
        """A trip of a user with a streak, there and back."""
        self.act(gap, user, "a", days)
        self.move(gap, user, script.Late(), zone)
        self.event(back, user, "a", 3, script.Late(), 0, None, None)
        self.move(back, user, script.Late(), 0)

    @rule(
        gap=script.next_day,
        user=users,
        days=st.integers(1, 3),
        nights=st.sampled_from((2, 2, 1, 3)),
        part=st.booleans(),
        met=st.booleans(),
        between=st.none() | st.sampled_from((*REQUESTS, "off and on")),
        late=script.often_yesterday,
    )
    def repair(
        self,
        gap: script.Gap,
        user: str,
        days: int,
        nights: int,
        part: bool,
        met: bool,
        between: str | None,
        late: script.Late,
    ) -> None:
        """A missed day or two of a user with a streak, perhaps a request, an event that comes late."""
        self.act(gap, user, "a", days)
        if part:
            self.event(gap, user, "a", 1, script.Late(), 0, None, None)
        self.script.advance(script.Gap(nights - part), user)
        if met:
            self.event(script.Gap(), user, "a", 3, script.Late(), 0, None, None)
        if between == "off and on":
            for enabled in (False, True):
                self.prefer(script.Gap(), user, {"enabled": enabled}, script.Late())
        elif between:
            self.request(script.Gap(), user, between, script.Late())
        self.event(script.Gap(), user, "a", 1 if part else 3, late, 0, None, None)

    @rule(user=users, days=st.sampled_from((7, 31)), times=st.integers(1, 13), rest=st.integers(1, 400))
    def restore(self, user: str, days: int, times: int, rest: int) -> None:
        """A streak of weeks or months, a rest, a restore."""
        for _ in range(times):
            self.event(script.Gap(0, timedelta(days=days)), user, "a", 3, script.Late(), 0, None, None)
        self.request(script.Gap(0, timedelta(days=rest)), user, "streak.restore", script.Late())

    @rule(gap=script.gaps | script.clock_change, user=users, late=script.lateness, zone=zones)
    def move(self, gap: script.Gap, user: str, late: script.Late, zone: int) -> None:
        self.script.advance(gap, user, self.zone(zone)["tz"] if gap.to_clock_change else "")
        self.send(self.script.activity(user, late, timedelta(), {"type": "identify"}, self.zone(zone)))

    @rule(gap=script.gaps, limit=st.sampled_from((10**9, 10**9, 1, 3)))
    def tick(self, gap: script.Gap, limit: int) -> None:
        self.script.advance(gap, "u")
        self.send(self.script.control("tick"), limit)

    @rule(
        gap=script.gaps,
        user=users,
        kind=st.sampled_from(REQUESTS),
        late=script.seldom_late,
    )
    def request(self, gap: script.Gap, user: str, kind: str, late: script.Late) -> None:
        if kind == "freeze.grant" or user in self.script.zones:
            self.script.advance(gap, user)
            self.send(self.script.request(kind, user, late))

    @rule(
        gap=script.gaps,
        user=users,
        name=st.sampled_from("pq"),
        first=st.integers(-1, 5),
        days=st.integers(-1, 9),
        late=script.seldom_late,
    )
    def pause(self, gap: script.Gap, user: str, name: str, first: int, days: int, late: script.Late) -> None:
        if user in self.script.zones:
            self.script.advance(gap, user)
            start = local_date(self.script.now, self.script.zones[user]) + first * DAY
            span = {"start": start.isoformat(), "end": (start + days * DAY).isoformat()}
            self.send(self.script.request("streak.pause", user, late, id=name, **span))

    @rule(gap=script.soon, user=users, name=st.sampled_from("ppq"))
    def unpause(self, gap: script.Gap, user: str, name: str) -> None:
        if user in self.script.zones and (
            name == "q" or any(line.record.get("id") == name for line in self.script.lines)
        ):
            self.script.advance(gap, user)
            self.send(self.script.request("streak.unpause", user, script.Late(), id=name))

    @rule(gap=script.gaps, user=users, streak=script.preferences, late=script.seldom_late)
    def prefer(self, gap: script.Gap, user: str, streak: Json, late: script.Late) -> None:
        if user in self.script.zones:
            self.script.advance(gap, user)
            self.send(self.script.request("preferences", user, late, streak=streak))

    @precondition(lambda self: self.script is not None and not self.delay)
    @rule(gap=script.gaps, settings=script.settings_objects)
    def switch(self, gap: script.Gap, settings: Json) -> None:
        self.script.advance(gap, "u")
        self.send(self.script.control("catalog", streak={**settings, **self.fixed}))

    @rule(how=st.sampled_from(("commit", "roll_back", "restart")))
    def end_round(self, how: str) -> None:
        getattr(self.fold, how)()

    def teardown(self) -> None:
        if self.script is None:
            return
        self.script.advance(script.Gap(3), "u")
        self.send(self.script.control("tick"))
        self.fold.commit()
        for line in self.script.lines:
            note(describe(line))
        assert refused(self.fold) == []
        for user in self.script.zones:
            found = differences(self.fold, Oracle(self.script.lines, user), user)
            assert not found, "\n".join([f"user {user}", *found])
        self.check_ticks()

    def check_ticks(self) -> None:
        """X5, S9: where the ticks stand does not change what a user's records and time cause."""
        lines = on_time(self.script.lines)
        without = [line for line in lines[:-1] if line.record.get("type") != "tick"] + lines[-1:]
        expected = [visible(self.fold, user) for user in USERS]
        for other in (without, with_more_ticks(without)):
            fold = Fold()
            for line in other:
                fold.feed(line)
            fold.commit()
            assert [visible(fold, user) for user in USERS] == expected, "ticks change what comes out"


def visible(fold: Fold, user: str) -> list[Json]:
    """Return what came out for a user, without what tells when it was carried out."""
    hidden = ("emittedAt", "causationId")
    found = [{name: one[name] for name in one if name not in hidden} for one in derived(fold, user)]
    return found + outcomes(fold, user)


def on_time(lines: list[Line]) -> list[Line]:
    """Give every record its append time as timestamp, so that a tick less does not move it (X5)."""
    appends = {user: (step.append for step in steps_of(lines, user) if step.own) for user in USERS}
    found = []
    for line in lines:
        user = user_of(line.record)
        if user is None:
            found.append(line)
        else:
            record = {"occurredAt": script.text(line.timestamp), **line.record}
            found.append(Line(next(appends[user]), record))
    return found


def with_more_ticks(lines: list[Line]) -> list[Line]:
    """Put ticks between all records: some on the way, one at the instant of the next record."""
    found: list[Line] = []
    now = lines[0].timestamp
    for place, line in enumerate(lines):
        until = min(later.timestamp for later in lines[place:])
        for part in range(1, 5) if until > now and place else ():
            at = script.text(now + (until - now) * part / 4)
            found.append(Line(instant(at), {"type": "tick", "at": at}))
        now = max(now, until)
        found.append(line)
    return found


StreakMachine.TestCase.settings = settings(
    max_examples=QUICK_EXAMPLES if settings.default.derandomize else settings.default.max_examples,
    stateful_step_count=30,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
TestStreaks = StreakMachine.TestCase
