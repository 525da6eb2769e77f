"""The summary at the end of `plaudit run`, from the tables."""

from typing import Any, Final

from deploy.cli.support.clickhouse import ClickHouse
from deploy.cli.support.console import counted, table
from schemas.catalog import Catalog, PointsSystem

TOP: Final = 5

_TOTALS: Final = """SELECT
    (SELECT count() FROM metric_events FINAL WHERE tenant = '') AS events,
    (SELECT count() FROM users WHERE tenant = '') AS users,
    (SELECT count() FROM points_awards FINAL WHERE tenant = '') AS awards,
    (SELECT count() FROM rejected FINAL) AS rejected,
    (SELECT toString(min(first_event_at)) FROM users WHERE tenant = '') AS since,
    (SELECT toString(max(last_event_at)) FROM users WHERE tenant = '') AS until"""


def print_summary(clickhouse: ClickHouse, catalog: Catalog) -> int:
    """Print what the tables hold: totals, points, levels, top users, achievements, streaks. Return how many records
    are refused."""
    (totals,) = clickhouse.rows(_TOTALS)
    users = totals["users"]
    refused = f"; {counted(totals['rejected'], 'record')} refused (plaudit tail rejected --from-beginning)"
    print(
        f"\n{counted(totals['events'], 'event')} of {counted(users, 'user')}, "
        f"{(totals['since'] or '-')[:10]} to {(totals['until'] or '-')[:10]}: {counted(totals['awards'], 'award')}"
        + (refused if totals["rejected"] else "")
    )
    for system in catalog.systems:
        _print_system(clickhouse, system, users)
    _print_achievements(clickhouse, catalog, users)
    _print_streaks(clickhouse, catalog)
    return int(totals["rejected"])


def _print_system(clickhouse: ClickHouse, system: PointsSystem, users: int) -> None:
    given = {"system": system.key}
    (sums,) = clickhouse.rows(
        "SELECT sum(total) AS balance, count() AS holders FROM points_balances WHERE tenant = '' AND system_key = {system:String}",
        **given,
    )
    (flow,) = clickhouse.rows(
        "SELECT sumIf(awarded, awarded > 0) AS earned, sumIf(awarded, awarded < 0) AS lost FROM points_awards FINAL "
        "WHERE tenant = '' AND system_key = {system:String}",
        **given,
    )
    limit = f", at most {system.max_points:,} each" if system.max_points is not None else ""
    print(
        f"\n{system.name} ({system.key}{limit}): {sums['balance']:,} points now; "
        f"{flow['earned']:,} earned, {-flow['lost']:,} deducted"
    )
    if system.levels:
        print("  " + ", ".join(f"{name} {count:,}" for name, count in _levels(clickhouse, system, users)))
    top = clickhouse.rows(
        "SELECT user_id, total FROM points_balances WHERE tenant = '' AND system_key = {system:String} "
        f"ORDER BY total DESC, user_id LIMIT {TOP}",
        **given,
    )
    if system is not None and top:
        print("  top: " + ", ".join(f"{row['user_id']} {row['total']:,}" for row in top))


def _levels(clickhouse: ClickHouse, system: PointsSystem, users: int) -> list[tuple[str, int]]:
    """Return users per level, ascending; whoever has no balance counts as 0 (P65)."""
    thresholds = [level.points for level in system.levels]
    rows = clickhouse.rows(
        f"SELECT arrayLastIndex(x -> x <= total, {thresholds}::Array(Int64)) AS place, count() AS users FROM points_balances "
        "WHERE tenant = '' AND system_key = {system:String} GROUP BY place",
        system=system.key,
    )
    counts = {row["place"]: row["users"] for row in rows}
    at_zero = sum(1 for points in thresholds if points <= 0)
    counts[at_zero] = counts.get(at_zero, 0) + users - sum(counts.values())
    named = [(level.name, counts.get(place, 0)) for place, level in enumerate(system.levels, 1)]
    return [("no level", counts[0]), *named] if counts.get(0) else named


def _print_achievements(clickhouse: ClickHouse, catalog: Catalog, users: int) -> None:
    rows = clickhouse.rows(
        "SELECT achievement_id, count() AS completions, toString(min(achieved_at)) AS first FROM achievement_completions FINAL "
        "WHERE tenant = '' GROUP BY achievement_id"
    )
    found: dict[str, dict[str, Any]] = {row["achievement_id"]: row for row in rows}
    shown = []
    for achievement in sorted(catalog.achievements, key=lambda one: -found.get(one.id, {}).get("completions", 0)):
        row = found.get(achievement.id, {"completions": 0, "first": "-"})
        rarity = f"{100 * row['completions'] / users:.2f} %" if users else "-"
        shown.append([achievement.name, achievement.trigger, f"{row['completions']:,}", rarity, row["first"][:10]])
    if shown:
        print()
        table(["achievement", "trigger", "users", "rarity", "first"], shown, [False, False, True, True])


def _print_streaks(clickhouse: ClickHouse, catalog: Catalog) -> None:
    if catalog.streak is None:
        return
    frequency = catalog.streak.frequency
    rows = clickhouse.rows(
        "SELECT user_id, longest, toString(longest_at) AS at FROM streak_state "
        "WHERE tenant = '' AND frequency = {frequency:String} AND longest > 0 ORDER BY longest DESC, user_id "
        f"LIMIT {TOP}",
        frequency=frequency,
    )
    (alive,) = clickhouse.rows(
        "SELECT countIf(length > 0) AS alive FROM streak_state WHERE tenant = '' AND frequency = {frequency:String}",
        frequency=frequency,
    )
    longest = ", ".join(f"{row['user_id']} {row['longest']:,} (until {(row['at'] or '-')[:10]})" for row in rows)
    print(f"\nlongest {frequency} streaks: {longest or '-'}; {alive['alive']:,} alive")
