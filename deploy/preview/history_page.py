"""The page about two catalogs over one history: what a designer asks, from the whole to the parts."""

from collections.abc import Iterator
from pathlib import PurePath

from deploy.preview import charts
from deploy.preview.markup import Markup, card, chart, details, element, facts, join, table
from deploy.preview.report import AchievementRow, HistoryReport, Pair, Reach, SystemReport, UserChange
from deploy.preview.wording import change, days, number, signed, span

_MAX_BARS = 24
"""Bars of a chart that could grow with the catalog; the table has all."""

_PER = {"day": "day by day", "week": "week by week", "month": "month by month"}


def title(report: HistoryReport) -> str:
    """Return what the page is about."""
    return f"{PurePath(report.about.new).name} instead of {PurePath(report.about.old).name}"


def sections(report: HistoryReport) -> Iterator[Markup]:
    """Yield the parts of the page."""
    about = report.about
    yield element("h1", f"What if {PurePath(about.new).name} had been in force?")
    history = f"{report.events.old:,} events of {report.users.old:,} users, {span(report)}"
    taken = f" The new one takes over on {about.since[:10]}; before, the old one is in force." if about.since else ""
    yield element("p", f"Two catalogs over the same history: {history}.{taken}", class_="soft")
    yield from (element("p", _sentence(report, system), class_="lead") for system in report.systems)
    yield element(
        "p",
        element("span", element("i", class_="key old"), f"old: {about.old}"),
        element("span", element("i", class_="key new"), f"new: {about.new}"),
        class_="legend",
    )
    if report.warnings:
        yield element("div", *(element("p", warning) for warning in report.warnings), class_="warnings")
    links = [(f"s{place}", system.name) for place, system in enumerate(report.systems)]
    links += [("achievements", "Achievements and streaks"), ("about", "About")]
    yield element("nav", *(element("a", name, href=f"#{place}") for place, name in links))
    for place, system in enumerate(report.systems):
        yield element("h2", system.name, id=f"s{place}")
        yield from _system(report, system)
    yield element("h2", "Achievements and streaks", id="achievements")
    yield from _achievements(report)
    yield element("h2", "About this page", id="about")
    yield _about(report)


def _sentence(report: HistoryReport, system: SystemReport) -> Markup:
    """Say in words what changes most."""
    name = element("b", system.name)
    earned = system.earned
    if earned.change == 0 and system.moved.up + system.moved.down == 0:
        return join([name, ": nothing changes."])
    percent = earned.percent
    if earned.change == 0:
        flow = "as many points are earned"
    elif percent is None:
        flow = f"{earned.new:,} points are earned, none before"
    else:
        flow = f"{abs(percent):.1f} % {'more' if percent > 0 else 'fewer'} points are earned"
    parts: list[str | Markup] = [name, ": ", flow]
    parts.append(f"; {system.moved.down:,} users end with less, {system.moved.up:,} with more")
    if system.moved_level is not None and system.moved_level.up + system.moved_level.down:
        parts.append(f"; {system.moved_level.down:,} stand on a lower level, {system.moved_level.up:,} on a higher one")
    return join([*parts, f", out of {max(report.users.old, report.users.new):,}."])


def _card(name: str, pair: Pair) -> Markup:
    if not pair.change:
        return card(name, number(pair.new), "as before")
    tone = "up" if pair.change > 0 else "down"
    return card(name, change(pair), f"{pair.old:,} → {pair.new:,}", tone)


def _system(report: HistoryReport, system: SystemReport) -> Iterator[Markup]:
    moved, level = system.moved, system.moved_level
    cards = [
        _card("Points earned", system.earned),
        _card("Points at the end", system.outstanding),
        _card("Awards", system.awards),
        card("Balances up / down", f"{moved.up:,} / {moved.down:,}", f"{moved.same:,} stay the same"),
    ]
    if level is not None:
        cards.append(card("Levels up / down", f"{level.up:,} / {level.down:,}", f"{level.same:,} on the same level"))
    yield element("div", *cards, class_="cards")
    yield element("div", *_charts(report, system), class_="charts")
    yield from _tables(report, system)


def _charts(report: HistoryReport, system: SystemReport) -> Iterator[Markup]:
    per = _PER[report.bucket]
    if system.buckets:
        yield chart(
            "When are points earned?",
            f"Points earned by all users, {per}.",
            charts.over_time(system.buckets, "earned", "points"),
            wide=True,
        )
    triggers = sorted(system.triggers, key=lambda row: (-max(abs(row.points.old), abs(row.points.new)), row.id))
    if triggers:
        yield chart(
            "Which triggers pay?",
            "Points per trigger over the whole period, what is deducted below zero.",
            charts.trigger_points(triggers[:_MAX_BARS]),
            wide=True,
        )
    if system.levels:
        yield chart("On which level do users stand at the end?", "Users per level.", charts.level_users(system.levels))
        climbed = [row for row in system.levels if any(one and one.users for one in (row.reach.old, row.reach.new))]
        if climbed:
            yield chart(
                "How long does it take to reach a level?",
                "Median, and the range of the middle 80 %, of those who got there.",
                charts.reach(
                    [row.name for row in climbed],
                    [row.reach.old for row in climbed],
                    [row.reach.new for row in climbed],
                ),
            )
    yield chart(
        "Who gains, who loses?", "Users by how their balance at the end changes.", charts.changes(system.changes)
    )
    yield chart(
        "How does each tenth of the users fare?",
        "Change of the points they earned; users ranked by their old balance.",
        charts.decile_change(system.deciles),
    )
    if system.buckets:
        yield chart(
            "Do points pile up?",
            f"Points of all users together, {per}.",
            charts.over_time(system.buckets, "outstanding", "points"),
        )
    if system.months:
        yield chart(
            "How much does an active user earn in a month?",
            "Points earned, divided by the users with an event in that month.",
            charts.per_active(system.months),
        )
    yield chart("How are balances spread?", "Users by balance at the end.", charts.balances(system.balances), wide=True)


def _tables(report: HistoryReport, system: SystemReport) -> Iterator[Markup]:
    yield element(
        "div", _users("Who gains most", system.gainers), _users("Who loses most", system.losers), class_="sides"
    )
    rows = [
        [row.id, row.type, *_pair(row.points), *_pair(row.awards), *_numbers(row.times), *_numbers(row.users)]
        for row in system.triggers
    ]
    headers = [
        "trigger",
        "type",
        "points old",
        "new",
        "",
        "awards old",
        "new",
        "",
        "times old",
        "new",
        "users old",
        "new",
    ]
    yield details("Triggers", table(headers, rows, text=(0, 1)))
    if system.levels:
        yield details(
            "Levels",
            table(_level_headers(), [list(_level_cells(system, place)) for place in range(len(system.levels))]),
        )
    rows = [
        [
            _tenth(row.decile),
            number(row.users),
            *_pair(row.awards),
            *_pair(row.earned),
            *_pair(row.balance),
            *_pair(row.own_balance),
        ]
        for row in system.deciles
    ]
    headers = [
        "tenth by old balance",
        "users",
        "awards old",
        "new",
        "",
        "earned old",
        "new",
        "",
        "balance old",
        "new",
        "",
    ]
    note = "The last columns rank the users of each catalog by that catalog's own balances."
    yield details(
        "Tenths of the users",
        element("p", note, class_="note"),
        table([*headers, "own ranking old", "new", ""], rows),
    )
    rows = [
        [row.start, *_pair(row.earned), *_numbers(row.deducted), *_numbers(row.awards), *_pair(row.outstanding)]
        for row in system.buckets
    ]
    headers = [f"{report.bucket} from", "earned old", "new", "", "deducted old", "new", "awards old", "new"]
    yield details(_PER[report.bucket].capitalize(), table([*headers, "points of all users old", "new", ""], rows))


def _users(name: str, rows: list[UserChange]) -> Markup:
    cells = [[row.user, *_numbers(row.balance), signed(row.balance.change)] for row in rows]
    body = table(["user", "balance old", "new", "change"], cells) if rows else element("p", "Nobody.", class_="soft")
    return element("figure", element("h3", name), body)


def _level_headers() -> list[str]:
    days_of = [f"{which} {name}" for which in ("old", "new") for name in ("users", "10 %", "median", "90 %")]
    return ["level", "from old", "new", "users at the end old", "new", "", *(f"reached, {name}" for name in days_of)]


def _level_cells(system: SystemReport, place: int) -> Iterator[str]:
    row = system.levels[place]
    yield row.name
    yield from ("-" if points is None else number(points) for points in (row.points_old, row.points_new))
    yield from _pair(row.users)
    yield from (*_reach(row.reach.old), *_reach(row.reach.new))


def _reach(reach: Reach | None) -> Iterator[str]:
    if reach is None:
        yield from "-" * 4
    else:
        yield number(reach.users)
        yield from map(days, (reach.p10, reach.median, reach.p90))


def _achievements(report: HistoryReport) -> Iterator[Markup]:
    streaks = report.streaks
    if streaks.started.old or streaks.started.new:
        names = {
            "Streaks started": streaks.started,
            "Streaks lost": streaks.lost,
            "Streaks alive at the end": streaks.alive,
            "Longest streak": streaks.longest,
        }
        cards = [_card(name, pair) for name, pair in names.items()]
        yield element("div", *cards, class_="cards")
    if not report.achievements:
        yield element("p", "Neither catalog has an active achievement.", class_="soft")
        return
    rows = sorted(report.achievements, key=lambda row: (-max(row.users.old, row.users.new), row.id))
    yield element("div", *_achievement_charts(rows[:_MAX_BARS]), class_="charts")
    days_of = [f"{which} {name}" for which in ("old", "new") for name in ("users", "10 %", "median", "90 %")]
    cells = [[row.name, *_pair(row.users), *_reach(row.reach.old), *_reach(row.reach.new)] for row in rows]
    yield details(
        "Achievements and days to them",
        table(["achievement", "users old", "new", "", *(f"completed, {name}" for name in days_of)], cells),
    )


def _achievement_charts(rows: list[AchievementRow]) -> Iterator[Markup]:
    yield chart("Which achievements are got?", "Users with each achievement.", charts.achievement_users(rows))
    got = [row for row in reversed(rows) if any(one and one.users for one in (row.reach.old, row.reach.new))]
    if got:
        yield chart(
            "How long do they take?",
            "Median, and the range of the middle 80 %, of those who got there.",
            charts.reach([row.name for row in got], [row.reach.old for row in got], [row.reach.new for row in got]),
        )


def _about(report: HistoryReport) -> Markup:
    about = report.about
    pairs: list[tuple[str, str | Markup]] = [
        ("Old catalog", about.old),
        ("New catalog", about.new),
        ("History", f"{about.records}, {about.records_read:,} records"),
        ("Period", span(report)),
        ("Events that count", f"{report.events.old:,} → {report.events.new:,}"),
    ]
    if about.tenant:
        pairs.append(("Tenant", about.tenant))
    if about.since is not None:
        pairs.append(
            ("Since", f"{about.since}: the old catalog is in force before it in both; awards from then on are compared")
        )
    if report.refused:
        rows = [[row.reason, *_numbers(row.records), row.example] for row in report.refused]
        pairs.append(("Refused records", table(["reason", "old", "new", "first message"], rows, text=(0, 3))))
    pairs.append(("Made by", element("code", about.command)))
    return facts(pairs)


def _tenth(decile: int) -> str:
    return {10: "10, the top", 1: "1, the lowest"}.get(decile, str(decile))


def _numbers(pair: Pair) -> list[str]:
    return [number(pair.old), number(pair.new)]


def _pair(pair: Pair) -> list[str]:
    return [number(pair.old), number(pair.new), change(pair)]
