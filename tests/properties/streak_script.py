"""Strategies for logs: where and when a story plays, the settings, and the time between records."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any

from hypothesis import strategies as st

from tests.properties.streak_calendar import DAY, WEEKDAYS, change_between, first_instant, local_date, zone_named
from tests.properties.streak_fold import METRICS
from tests.properties.streak_timeline import Json, Line

ALL_ZONES = sorted(name for name in files("tzdata").joinpath("zones").read_text().split() if name != "Factory")

SCENES = (
    ("Europe/London", "2025-03-28T10:00Z"),  # a day of 23 h
    ("America/New_York", "2025-11-01T12:00Z"),  # a day of 25 h
    ("Africa/Cairo", "2024-04-24T12:00Z"),  # no midnight
    ("Africa/Cairo", "2024-10-30T12:00Z"),  # back from midnight to 23:00
    ("America/Sao_Paulo", "2018-02-15T12:00Z"),
    ("America/Havana", "2025-11-01T12:00Z"),  # back from 01:00 to midnight
    ("America/St_Johns", "2006-10-27T12:00Z"),  # back from 00:01 to 23:01
    ("America/St_Johns", "1999-10-28T12:00Z"),
    ("Atlantic/Azores", "2025-10-24T12:00Z"),
    ("Australia/Lord_Howe", "2025-04-04T12:00Z"),  # half an hour
    ("Antarctica/Troll", "2025-10-24T12:00Z"),  # two hours
    ("Pacific/Apia", "2011-12-28T18:00Z"),  # skipped 30 December
    ("Pacific/Kiritimati", "1994-12-29T12:00Z"),  # skipped the last day of a year
    ("Pacific/Kwajalein", "1993-08-19T12:00Z"),  # skipped a Saturday
    ("Pacific/Kwajalein", "1969-09-28T12:00Z"),  # had the last of September twice
    ("UTC", "2025-12-29T12:00Z"),  # week, month and year end
    ("Asia/Tokyo", "2024-02-27T12:00Z"),  # leap day
)
AWAY = (
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "Asia/Tokyo",
    "America/Los_Angeles",
    "Asia/Kolkata",
    "+05:45",
    "-12:00",
    "America/St_Johns",  # until 2011 an hour that repeats a date
)

scenes = st.one_of(
    st.sampled_from(SCENES),
    st.tuples(
        st.sampled_from(ALL_ZONES),
        st.datetimes(datetime(1975, 1, 1), datetime(2036, 1, 1)).map(lambda at: at.strftime("%Y-%m-%dT%H:00Z")),  # noqa: DTZ001
    ),
)

freezes = st.builds(
    lambda start, room, earn: {
        "startCount": start,
        "maxCount": start + room,
        **({"autoEarnInterval": earn[0], "autoEarnAmount": earn[1]} if earn else {}),
    },
    st.integers(0, 2),
    st.integers(0, 3),
    st.none() | st.tuples(st.integers(1, 4), st.integers(1, 2)),
)
modes = st.sampled_from(("OR", "AND"))
days_off = st.lists(st.integers(0, 6), unique=True, max_size=3)


def thresholds(amounts: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Json]]:
    """Lists of metrics with thresholds."""
    one = st.fixed_dictionaries({"key": st.sampled_from(METRICS), "threshold": amounts})
    return st.lists(one, max_size=3, unique_by=lambda metric: metric["key"])


settings_objects = st.fixed_dictionaries(
    {
        "frequency": st.sampled_from(("daily", "daily", "weekly", "monthly")),
        "evaluationMode": modes,
        "metrics": st.one_of(
            st.integers(1, 2).map(lambda n: [{"key": "a", "threshold": n}]), thresholds(st.integers(1, 3))
        ),
        "customizationEnabled": st.booleans(),
        "daysOff": st.just([]) | days_off,
        "freezes": st.one_of(st.none(), freezes, freezes),
    }
).map(lambda found: found if found["frequency"] == "daily" else {**found, "daysOff": []})

preferences = st.fixed_dictionaries(
    {},
    optional={
        "enabled": st.booleans(),
        "evaluationMode": modes,
        "metrics": thresholds(st.sampled_from((1, 2, 0.5, 2.5))),
        "daysOff": days_off,
    },
)


@dataclass(frozen=True)
class Gap:
    """Time to the next record: to the n-th next midnight of the user, or his next clock change, and so much more."""

    midnights: int = 0
    more: timedelta = timedelta()
    to_clock_change: bool = False


def _gap(midnights: int, **more: int) -> Gap:
    return Gap(midnights, timedelta(**more))


next_day = st.integers(0, 20).map(lambda hours: _gap(1, hours=hours))
soon = st.one_of(
    next_day,
    st.integers(0, 180).map(lambda n: _gap(0, minutes=n)),
    st.integers(1, 30).map(lambda n: _gap(0, hours=n)),
    st.builds(
        lambda n, ms: _gap(n, milliseconds=ms), st.integers(1, 3), st.sampled_from((0, -1, 1, -60_000, 1_800_000))
    ),
)
clock_change = st.sampled_from((-3_600_000, -1, 0, 1, 1_800_000, 3_599_999, 3_600_000)).map(
    lambda ms: Gap(0, timedelta(milliseconds=ms), to_clock_change=True)
)
gaps = st.one_of(soon, soon, soon, clock_change, st.sampled_from((4, 7, 14, 31, 80)).map(lambda n: _gap(0, days=n)))


@dataclass(frozen=True)
class Late:
    """How late an event is: so many local midnights ago and some more; negative = stamped in the future."""

    midnights: int = 0
    more: timedelta = timedelta()


lateness = st.one_of(
    st.just(Late()),
    st.builds(lambda n, hours: Late(n, timedelta(hours=hours)), st.integers(1, 2), st.integers(0, 26)),
    st.builds(lambda n, days: Late(n, timedelta(days=days)), st.integers(0, 1), st.integers(1, 31)),
    st.just(Late(0, timedelta(hours=-2))),
)
often_yesterday = st.one_of(st.just(Late(1)), st.just(Late(1)), lateness)
seldom_late = st.one_of(st.just(Late()), st.just(Late()), lateness)


def text(at: datetime) -> str:
    """Write an instant as in a record."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Script:
    """A log in the making.

    Attributes:
        now: timestamp of the last record; timestamps never decrease, but for records that a tick has overtaken.
        zones: zone of each user that exists.
    """

    now: datetime
    settings: Json
    zones: dict[str, str | None] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    switched: datetime | None = None

    def advance(self, gap: Gap, user: str, zone: str | None = "") -> None:
        """Let time pass; by the clock of the user's zone, if none is given."""
        at = self.now
        zone = self.zones.get(user) if zone == "" else zone
        for _ in range(gap.midnights):
            at = next_midnight(at, zone)
        if gap.to_clock_change:
            at = next_change(at, zone) or at
        self.now = max(self.now, at + gap.more)

    def control(self, kind: str, **fields: Any) -> Line:
        """Append a tick or a catalog switch."""
        if kind == "catalog":
            self.switched = self.now
        return self._append(self.now, {"type": kind, "at": text(self.now), **fields})

    def request(self, kind: str, user: str, late: Late, **fields: Any) -> Line:
        """Append a record about a user's streak."""
        return self._append(
            self.now, {"type": kind, **self._dated(self.now, late, user), "user": {"id": user}, **fields}
        )

    def activity(self, user: str, late: Late, behind: timedelta, record: Json, zone: Json) -> Line:
        """Append a metric event or an identify call, perhaps late, perhaps overtaken by a tick."""
        timestamp = max(self.now - behind, self.switched or self.now)
        dated = self._dated(timestamp, late, user)
        self.zones[user] = zone.get("tz", self.zones.get(user))
        return self._append(timestamp, {**record, **dated, "user": {"id": user, **zone}})

    def _dated(self, timestamp: datetime, late: Late, user: str) -> Json:
        return {"occurredAt": text(before(timestamp, late, self.zones.get(user)))} if late != Late() else {}

    def _append(self, timestamp: datetime, record: Json) -> Line:
        if "user" in record:
            record = {"eventId": f"e{len(self.lines)}", **record}
        line = Line(timestamp, record)
        self.lines.append(line)
        return line


def next_midnight(at: datetime, zone: str | None) -> datetime:
    """Return the first instant of the next local date that begins after `at`."""
    day = local_date(at, zone) + DAY
    while first_instant(day, zone) <= at:
        day += DAY
    return first_instant(day, zone)


def next_change(at: datetime, zone: str | None) -> datetime | None:
    """Return the next instant at which the offset of the zone changes, within 200 days."""
    for day in range(200):
        one, other = at + day * DAY, at + (day + 1) * DAY
        if one.astimezone(zone_named(zone)).utcoffset() != other.astimezone(zone_named(zone)).utcoffset():
            return change_between(one, other, zone)
    return None


def before(at: datetime, late: Late, zone: str | None) -> datetime:
    """Return the instant of an event that is so late."""
    for _ in range(late.midnights):
        at = first_instant(local_date(at, zone), zone) - timedelta(milliseconds=1)
    return at - late.more


week_starts = st.sampled_from(("sunday", "monday", "saturday", *WEEKDAYS))
