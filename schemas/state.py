"""The state of one user: what a changelog record holds (architecture.md section 6).

Encoded as JSON arrays (array_like): totals at 9 digits exceed 64 bits. New fields go to the end, with a default, so that
older records still decode; they raise `upcasts.STATE_VERSION`, so that no older worker drops them (X33). Instants are epoch
milliseconds, days day numbers, metric values scaled integers.
"""

from typing import Final

import msgspec
from msgspec import Raw


class NewerStateError(Exception):
    """State that a newer version of this program wrote. The operator starts that version, or goes back (docs/upgrades.md).

    Attributes:
        found: version of the state.
        known: the latest version that this program can read.
    """

    def __init__(self, found: int, known: int) -> None:
        super().__init__(f"the state has schema version {found}, this program knows versions up to {known}")
        self.found = found
        self.known = known


class Counter(msgspec.Struct, array_like=True, gc=False):
    """Sum of values and the highest it ever was, at least 0 (C and W of P12)."""

    total: int = 0
    high: int = 0


class SettledPeriod(msgspec.Struct, array_like=True, gc=False):
    """Snapshot of the last settled period, the only one a late event may repair (S66); `frozen` if a freeze kept it (S67)."""

    start: int
    sums: dict[str, int]
    met: bool
    length_before: int
    started_before: int | None
    frozen: bool = False


class Chain(msgspec.Struct, array_like=True, gc=False):
    """One streak chain (streaks.md section 4).

    `start` is the first day of the open period, `extended_at` what S32 shows, `increased_at` the latest increase, which a
    loss does not clear (S73), `reset` tells that the open period saw a reset (S75).
    """

    start: int
    sums: dict[str, int] = {}
    met: bool = False
    met_at: int | None = None
    length: int = 0
    started: int | None = None
    extended_at: int | None = None
    settled: SettledPeriod | None = None
    longest: int = 0
    longest_at: int | None = None
    increased_at: int | None = None
    reset: bool = False


USED_FREEZE: Final = 1
USED_PAUSE: Final = 2
"""What kept a settled period that was not met (S85)."""


class Row(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A settled period with a length, as restore and reads look back on it (S72, S85).

    First day, length, start of the chain; `used` is USED_FREEZE, USED_PAUSE or 0.
    """

    start: int
    length: int
    started: int | None
    used: int = 0


class Pause(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A pause: inclusive range of local dates (S49)."""

    id: str
    start: int
    end: int


class TimeTrigger(msgspec.Struct, array_like=True, gc=False):
    """Schedule of one time trigger: its latest activation or edit, and the user's next due instant (P25)."""

    anchor: int
    due: int


class Window(msgspec.Struct, array_like=True, gc=False):
    """Throttle window of `points.changed` of one system (L32): awards collected since the last event."""

    until: int
    level: str | None
    added: int = 0
    awards: list[Raw] = []


class Messages(msgspec.Struct, array_like=True, gc=False):
    """What is known of a user's messages (E12-E17), while the catalog wants any.

    `active` is the latest effectiveAt of a metric event and `sent` how many reactivation messages it was long enough ago for;
    `aggregation` that of the recaps, `recaps` the first days of periods with events whose recap is to come, `recapped` that
    of the latest recap; `reminded` the chain and period of the latest streak reminder; `waiting` completed achievements
    whose message is to come.
    """

    active: int | None = None
    sent: int = 0
    aggregation: str = ""
    recaps: list[int] = []
    recapped: int | None = None
    reminded: tuple[int, int] | None = None
    waiting: list[str] = []


class UserState(msgspec.Struct, array_like=True, gc=False):
    """Everything a rule needs to know of one user.

    `subscribe` is None as long as it was never set explicitly (U6). `append` is the append time of the user's latest
    record (X5). `totals` is by metric key, `counters` by counter id of the plan, `balances` by system key,
    `completions` by achievement id, `time_triggers` by trigger reference, `windows` by system key. `freezes` is the balance
    (S37), `freeze_anchor` the instant accumulation counts from and `freeze_next` its next due day (S42). The `streak_` fields
    are preferences; None = the setting of the account (S79). `anniversary_day` is the local day up to which anniversaries are
    done (A31). `boosts` tells of the user's own boosts whether they are scheduled, started or finished: 0, 1, 2 (P87).
    `notifications` holds the channels chosen per kind of message (U13a). `quarantine` is the catalog version under which the
    user stands still, because time or a catalog switch could not be carried out for it (D-89); None = it does not.
    """

    tenant: str
    id: str
    created: int
    updated: int
    control: bool
    append: int
    email: str | None = None
    name: str | None = None
    tz: str | None = None
    sign_up_date: str | None = None
    device_tokens: list[str] | None = None
    subscribe: bool | None = None
    attributes: dict[str, str] = {}
    totals: dict[str, Counter] = {}
    counters: dict[str, Counter] = {}
    balances: dict[str, int] = {}
    completions: dict[str, int] = {}
    chains: list[Chain] = []
    time_triggers: dict[str, TimeTrigger] = {}
    windows: dict[str, Window] = {}
    freezes: int = 0
    freeze_anchor: int | None = None
    freeze_next: int | None = None
    pauses: list[Pause] = []
    streak_enabled: bool = True
    streak_mode: str | None = None
    streak_goals: list[tuple[str, int]] | None = None
    streak_days_off: list[int] | None = None
    anniversary_day: int | None = None
    boosts: dict[str, int] = {}
    notifications: dict[str, list[str]] = {}
    messages: Messages | None = None
    quarantine: str | None = None


class StoredTallies(msgspec.Struct, array_like=True, gc=False):
    """Tallies of a user, under a key of their own: the size they count for; by metric key, blocks of sums by attribute text.

    Blocks alternate in sign, no sum is 0, no block empty (processors/rules/tallies.py).
    """

    size: int
    metrics: dict[str, list[dict[str, int]]]


class PartitionState(msgspec.Struct, array_like=True, gc=False):
    """What a partition remembers besides its users.

    `next_offset` is the offset marker, `tick` the latest tick, `catalogs` the version in force per tenant,
    `switching` = [tenant, version, last user key done (hex)] while a catalog switch is carried out in slices,
    `boosts` per tenant how far the boosts of everybody are: 0 scheduled, 1 started, 2 finished; in partition 0 only (C37),
    `announced` the number of the switch's notices that are out, while it is carried out in slices.
    """

    next_offset: int = 0
    tick: int | None = None
    catalogs: dict[str, str] = {}
    switching: tuple[str, str, str] | None = None
    boosts: dict[str, dict[str, int]] = {}
    announced: int = 0
