"""Local dates and the first instants of days, against a search minute by minute (S8)."""

import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from processors.rules.zones import find_zone, zone_of
from schemas.instants import DAY_MS, MINUTE_MS, format_instant, parse_day

NAMES = sorted(zoneinfo.available_timezones())
DAYS = st.integers(parse_day("1970-01-03"), parse_day("2037-12-30"))


def _local_day(ms: int, name: str) -> int:
    moment = datetime.fromtimestamp(ms / 1000, UTC).astimezone(zoneinfo.ZoneInfo(name))
    return (moment.date() - datetime(1970, 1, 1, tzinfo=UTC).date()) // timedelta(days=1)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(NAMES), DAYS)
@example("Pacific/Apia", parse_day("2011-12-30"))
@example("Africa/Cairo", parse_day("2024-04-26"))
@example("America/Sao_Paulo", parse_day("2018-02-18"))
@example("Asia/Gaza", parse_day("2011-08-01"))
def test_first_instant_of_a_day_is_the_first(name: str, day: int) -> None:
    """At the instant the local date has been reached; at no minute before it had it been."""
    zone = zone_of(name)
    first = zone.first_instant(day)
    assert _local_day(first, name) >= day
    assert _local_day(first - 1, name) < day
    earlier = range(first - 3 * DAY_MS, first, 15 * MINUTE_MS)
    assert all(_local_day(at, name) < day for at in earlier)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 2_000_000_000_000))
def test_day_agrees_with_the_zone_database(name: str, ms: int) -> None:
    """The local date of an instant."""
    assert zone_of(name).day(ms) == _local_day(ms, name)


def test_a_skipped_date_has_no_length() -> None:
    """Apia skipped 2011-12-30: it begins and ends at one instant (S10)."""
    zone = zone_of("Pacific/Apia")
    assert zone.first_instant(parse_day("2011-12-30")) == zone.first_instant(parse_day("2011-12-31"))
    assert format_instant(zone.first_instant(parse_day("2011-12-31"))) == "2011-12-30T10:00:00.000Z"


@pytest.mark.parametrize(
    "name", ["Mars/Base", "", "europe/berlin", "+2:00", "+14:01", "+05:60", "UTC+2", "../etc/passwd"]
)
def test_unknown_zones_are_not_found(name: str) -> None:
    """U7, C29."""
    assert find_zone(name) is None


@pytest.mark.parametrize(("name", "hours"), [("+14:00", 14), ("-14:00", -14), ("+00:00", 0), ("-00:00", 0)])
def test_fixed_offsets(name: str, hours: int) -> None:
    """A history carries offsets only (C29)."""
    zone = find_zone(name)
    assert zone is not None
    assert zone.first_instant(0) == -hours * 3_600_000


def _local_minutes(ms: int, name: str) -> float:
    moment = datetime.fromtimestamp(ms / 1000, UTC).astimezone(zoneinfo.ZoneInfo(name)).replace(tzinfo=None)
    return (moment - datetime(1970, 1, 1)) / timedelta(minutes=1)  # noqa: DTZ001 - local time is naive


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(NAMES), DAYS, st.integers(0, 24 * 60 - 1))
@example("Pacific/Apia", parse_day("2011-12-30"), 540)
@example("America/New_York", parse_day("2024-03-10"), 150)
@example("America/New_York", parse_day("2024-11-03"), 90)
def test_the_instant_of_a_local_time_is_the_first(name: str, day: int, minute: int) -> None:
    """At the instant the local date and time has been reached; at no minute before it had it been."""
    first = zone_of(name).instant_of(day, minute)
    wanted = day * 24 * 60 + minute
    assert _local_minutes(first, name) >= wanted
    assert _local_minutes(first - 1, name) < wanted
    assert all(_local_minutes(at, name) < wanted for at in range(first - 3 * DAY_MS, first, 15 * MINUTE_MS))


def test_local_times_of_a_fixed_offset() -> None:
    assert format_instant(zone_of("+05:30").instant_of(parse_day("2024-06-01"), 540)) == "2024-06-01T03:30:00.000Z"
