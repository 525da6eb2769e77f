"""Previews as tables on standard output, key figures first; the page has the rest."""

from collections.abc import Sequence
from typing import Final

from deploy.cli.support.console import counted, table
from deploy.preview.report import HistoryReport, LevelRow, Pair, SystemReport
from deploy.preview.scenario import ScenarioReport, ScenarioSystem
from deploy.preview.wording import change, days, number, shift, signed, span

MAX_ROWS: Final = 12
"""Rows of a table that could grow with the catalog; what changes most comes first."""

MAX_SCENARIO_DAYS: Final = 14
"""Days that are shown of a scenario; beyond, every so many days."""

_TOP: Final = 5

_RIGHT = (False, True, True, True)


def print_history(report: HistoryReport) -> None:
    """Print the comparison of two catalogs."""
    about = report.about
    print(f"{about.new} against {about.old}")
    print(f"over {counted(report.events.old, 'event')} of {counted(report.users.old, 'user')}, {span(report)}")
    for warning in report.warnings:
        print(f"warning: {warning}")
    for system in report.systems:
        _print_system(system)
    _print_achievements(report)
    streaks = report.streaks
    if streaks.started.old or streaks.started.new:
        print("\nstreaks: " + ", ".join(_arrow(name, pair) for name, pair in _streak_figures(report)))
    if report.refused:
        print()
        rows = [[row.reason, number(row.records.old), number(row.records.new), row.example] for row in report.refused]
        table(["refused", "old", "new", "first message"], rows, [False, True, True, False])


def _streak_figures(report: HistoryReport) -> list[tuple[str, Pair]]:
    streaks = report.streaks
    return [
        ("started", streaks.started),
        ("lost", streaks.lost),
        ("alive", streaks.alive),
        ("longest", streaks.longest),
    ]


def _arrow(name: str, pair: Pair) -> str:
    return f"{name} {pair.new:,}" if not pair.change else f"{name} {pair.old:,} → {pair.new:,}"


def _print_system(system: SystemReport) -> None:
    print(f"\n{system.name} ({system.key})\n")
    figures = [
        ("points earned", system.earned),
        ("points deducted", system.deducted),
        ("awards", system.awards),
        ("points of all users at the end", system.outstanding),
        ("median balance", system.median_balance),
    ]
    table(
        ["", "old", "new", "change"],
        [[name, number(pair.old), number(pair.new), change(pair)] for name, pair in figures],
        _RIGHT,
    )
    print(f"\nbalances: {shift(system.moved)}")
    if system.moved_level is not None:
        moved = system.moved_level
        print(f"levels: {moved.up:,} users stand higher, {moved.down:,} lower, {moved.same:,} on the same")
    _print_triggers(system)
    if system.levels:
        print()
        headers = ["level", "from", "users old", "new", "change", "median days to it, old", "new"]
        table(headers, [_level(row) for row in system.levels], [False, *[True] * 6])
    _print_deciles(system)
    for name, rows in (("gain", system.gainers), ("lose", system.losers)):
        if rows:
            shown = (f"{row.user} {signed(row.balance.change)} to {row.balance.new:,}" for row in rows[:_TOP])
            print(f"{'who gains most' if name == 'gain' else 'who loses most'}: {', '.join(shown)}")


def _print_triggers(system: SystemReport) -> None:
    rows = sorted(system.triggers, key=lambda row: (-abs(row.points.change), row.id))[:MAX_ROWS]
    shown = [
        [
            row.id,
            *_pair(row.points),
            number(row.awards.old),
            number(row.awards.new),
            number(row.users.old),
            number(row.users.new),
        ]
        for row in rows
    ]
    print()
    table(
        ["trigger", "points old", "new", "change", "awards old", "new", "users old", "new"], shown, [False, *[True] * 7]
    )
    if len(system.triggers) > len(rows):
        print(f"and {len(system.triggers) - len(rows)} triggers that change less")


def _pair(pair: Pair) -> list[str]:
    return [number(pair.old), number(pair.new), change(pair)]


def _level(row: LevelRow) -> list[str]:
    old, new = row.points_old, row.points_new
    threshold = f"{new:,}" if old == new and new is not None else f"{_threshold(old)} → {_threshold(new)}"
    medians = [days(reach.median) if reach else "-" for reach in (row.reach.old, row.reach.new)]
    return [row.name, threshold, *_pair(row.users), *medians]


def _threshold(points: int | None) -> str:
    return "-" if points is None else f"{points:,}"


def _print_deciles(system: SystemReport) -> None:
    """Show whom the points come from: users in tenths by their old balance."""
    print()
    rows = [
        [
            _tenth(row.decile),
            number(row.users),
            *_pair(row.earned),
            number(row.awards.old),
            number(row.awards.new),
            *_pair(row.balance),
        ]
        for row in reversed(system.deciles)
        if row.users
    ]
    headers = ["users by old balance", "users", "earned old", "new", "change", "awards old", "new"]
    table([*headers, "balance old", "new", "change"], rows, [False, *[True] * 9])
    print()


def _tenth(decile: int) -> str:
    return {10: "top tenth", 1: "lowest tenth"}.get(decile, f"tenth {decile}")


def _print_achievements(report: HistoryReport) -> None:
    changed = [row for row in report.achievements if row.users.change or row.reach.old != row.reach.new]
    if not changed:
        if report.achievements:
            print(f"achievements: all {len(report.achievements)} as before")
        return
    rows = [
        [
            row.name,
            *_pair(row.users),
            *(days(reach.median) if reach else "-" for reach in (row.reach.old, row.reach.new)),
        ]
        for row in sorted(changed, key=lambda row: (-abs(row.users.change), row.id))[:MAX_ROWS]
    ]
    headers = ["achievement", "users old", "new", "change", "median days to it, old", "new"]
    table(headers, rows, [False, *[True] * 5])
    if len(report.achievements) > len(rows):
        print(f"and {len(report.achievements) - len(rows)} achievements as before or that change less")


def print_scenario(report: ScenarioReport) -> None:
    """Print what a scenario brings."""
    about = report.about
    print(f"{about.scenario} with {about.catalog}")
    skipped = f", {about.skipped_days} of them without events" if about.skipped_days else ""
    print(f"one user, {about.days} days from {about.start} on{skipped}: {counted(about.events, 'event')}")
    for refused in report.refused:
        print(f"warning: {counted(refused.records, 'event')} refused with {refused.reason}: {refused.example}")
    for system in report.systems:
        _print_scenario_system(system)
    if report.achievements:
        print("\nachievements: " + ", ".join(f"{one.name} (day {one.day})" for one in report.achievements))


def _print_scenario_system(system: ScenarioSystem) -> None:
    level = next((one.name for one in system.levels if one.key == system.level), None)
    print(
        f"\n{system.name} ({system.key}): {system.balance:,} points at the end{f', {level}' if level else ''}; ", end=""
    )
    print(f"{system.earned:,} earned, {system.deducted:,} deducted\n")
    if system.levels:
        rows = [
            [one.name, number(one.points), "-" if one.day is None else number(one.day), one.date or "not reached"]
            for one in system.levels
        ]
        table(["level", "from", "day", "date"], rows, [False, True, True, False])
        print()
    paying = [one for one in system.triggers if one.awards]
    shown = [[one.id, number(one.awards), number(one.times), number(one.points)] for one in paying]
    table(["trigger", "awards", "times", "points"], shown, _RIGHT)
    silent = [one.id for one in system.triggers if not one.awards]
    if silent:
        print(f"pays nothing here: {', '.join(silent)}")
    print()
    step = -(-len(system.days) // MAX_SCENARIO_DAYS)
    chosen = system.days if step == 1 else [row for row in system.days if row.day % step == 0 or row.day == 1]
    if chosen[-1].day != system.days[-1].day:
        chosen.append(system.days[-1])
    _print_days(system, [row.day for row in chosen])


def _print_days(system: ScenarioSystem, ends: Sequence[int]) -> None:
    """Print days, or spans of days up to each of `ends`."""
    rows, begin = [], 0
    for end in ends:
        span_days = system.days[begin:end]
        last = span_days[-1]
        name = f"{end}" if end - begin == 1 else f"{begin + 1}-{end}"
        sums = [sum(row.earned for row in span_days), sum(row.deducted for row in span_days)]
        moments = sum(row.moments for row in span_days)
        rows.append([name, last.date, *map(number, (*sums, last.balance, moments)), last.level or "-"])
        begin = end
    headers = ["day", "until", "earned", "deducted", "balance", "award moments", "level"]
    table(headers, rows, [True, False, True, True, True, True, False])
