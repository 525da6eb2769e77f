"""The streak of a user as reads show it: the open period and the rows before it (streaks.md sections 5 and 12)."""

from typing import TYPE_CHECKING, Any, Final

from deploy.cli.support.clickhouse import ClickHouse, instant_sql
from processors.rules.periods import next_start, period_start
from processors.rules.zones import zone_of
from schemas.catalog import Frequency
from schemas.instants import format_day, parse_day

if TYPE_CHECKING:
    from schemas.catalog import Catalog

_WHERE: Final = "WHERE tenant = {tenant:String} AND user_id = {user:String} AND frequency = {frequency:String}"


def read_streak(
    clickhouse: ClickHouse,
    given: dict[str, str],
    catalog: "Catalog | None",
    tz: str | None,
    now_ms: int,
    periods: int,
) -> dict[str, Any]:
    """Return the streak of the active frequency in the form of reads (S28-S34), the longest ever, and `streakHistory`.

    Args:
        clickhouse: the tables.
        given: `tenant` and `user`.
        catalog: the one in force, None if there is none.
        tz: the user's zone, which decides what is the open period of a user without a chain.
        now_ms: the present, epoch ms.
        periods: number of history rows, the open period included (S85).
    """
    settings = catalog.streak if catalog is not None else None
    frequency: Frequency = settings.frequency if settings is not None else "daily"
    week_start = settings.week_start if settings is not None else 0
    rows = clickhouse.rows(
        f"SELECT length, toString(started) AS begun, {instant_sql('extended_at')} AS extended, "
        f"toString(period_start) AS first, period_met, longest FROM streak_state {_WHERE}",
        frequency=frequency,
        **given,
    )
    row: dict[str, Any] = rows[0] if rows else {"length": 0, "longest": 0}
    start = parse_day(row["first"]) if row["length"] else period_start(frequency, zone_of(tz).day(now_ms), week_start)
    streak = {"length": row["length"], "frequency": frequency, "longest": row["longest"]}
    history = _history(clickhouse, given, frequency, week_start, start, row["length"], periods)
    if settings is None or settings.freezes is None:
        for period in history:
            del period["usedFreeze"]
    if not row["length"]:
        nothing = dict.fromkeys(("started", "periodStart", "periodEnd", "expires", "extended"))
        return {**streak, **nothing, "streakHistory": history}
    following = next_start(frequency, start)
    expires = next_start(frequency, following) if row["period_met"] else following  # S31
    return {
        **streak,
        "started": row["begun"],
        "periodStart": row["first"],
        "periodEnd": format_day(following - 1),
        "expires": format_day(expires - 1),
        "extended": row["extended"],
        "streakHistory": history,
    }


def _history(
    clickhouse: ClickHouse,
    given: dict[str, str],
    frequency: Frequency,
    week_start: int,
    open_start: int,
    length: int,
    periods: int,
) -> list[dict[str, Any]]:
    """Return `periods` rows, oldest first, ending with the open one; those that were not written have length 0 (S85)."""
    starts = [open_start]
    while len(starts) < periods:
        starts.append(period_start(frequency, starts[-1] - 1, week_start))
    starts.reverse()
    settled = clickhouse.rows(
        f"SELECT toString(period_start) AS first, length, used_freeze, used_pause, {instant_sql('reset_at')} AS reset "
        f"FROM streak_periods {_WHERE} AND period_start >= toDate32({{oldest:String}})",
        frequency=frequency,
        oldest=format_day(starts[0]),
        **given,
    )
    by_start = {row["first"]: row for row in settled}
    rows = []
    for start in starts:
        row = by_start.get(format_day(start)) if start != open_start else None
        rows.append(
            {
                "periodStart": format_day(start),
                "periodEnd": format_day(next_start(frequency, start) - 1),
                "length": length if start == open_start else row["length"] if row else 0,
                "usedFreeze": bool(row and row["used_freeze"]),
                "usedPause": bool(row and row["used_pause"]),
                "resetAt": row["reset"] if row else None,
            }
        )
    return rows
