"""The page about a scenario: how fast one user rises."""

from collections.abc import Iterator
from pathlib import PurePath

from deploy.preview import charts
from deploy.preview.markup import Markup, card, chart, details, element, facts, table
from deploy.preview.scenario import ScenarioReport, ScenarioSystem
from deploy.preview.wording import number


def title(report: ScenarioReport) -> str:
    """Return what the page is about."""
    return f"{PurePath(report.about.scenario).name} with {PurePath(report.about.catalog).name}"


def sections(report: ScenarioReport) -> Iterator[Markup]:
    """Yield the parts of the page."""
    about = report.about
    yield element("h1", f"How fast does the user of {PurePath(about.scenario).name} rise?")
    skipped = f", {about.skipped_days} of them without events" if about.skipped_days else ""
    yield element(
        "p",
        f"One fresh user under {PurePath(about.catalog).name}: {about.events:,} events in {about.days} days "
        f"from {about.start} on{skipped}.",
        class_="soft",
    )
    if report.refused:
        texts = (f"{one.records:,} events are refused with {one.reason}: {one.example}" for one in report.refused)
        yield element("div", *(element("p", text) for text in texts), class_="warnings")
    for system in report.systems:
        yield element("h2", system.name)
        yield from _system(system)
    if report.achievements:
        yield element("h2", "Achievements")
        rows = [[one.name, number(one.day), one.date] for one in report.achievements]
        yield element("figure", table(["achievement", "day", "date"], rows))
    yield element("h2", "About this page")
    yield facts([("Scenario", about.scenario), ("Catalog", about.catalog), ("Made by", element("code", about.command))])


def _system(system: ScenarioSystem) -> Iterator[Markup]:
    names = {level.key: level.name for level in system.levels}
    reached = [level for level in system.levels if level.day is not None]
    awarded = sum(1 for row in system.days if row.moments)
    moments = sum(row.moments for row in system.days)
    cards = [
        card("Balance at the end", number(system.balance), f"{system.earned:,} earned, {system.deducted:,} deducted"),
        card("Award moments", number(moments), f"on {awarded:,} of {len(system.days):,} days"),
    ]
    if system.levels:
        level = names.get(system.level, "-") if system.level is not None else "none"
        cards.append(card("Level at the end", level, f"{len(reached)} of {len(system.levels)} levels reached"))
    yield element("div", *cards, class_="cards")
    figures = [
        chart(
            "How do points grow?",
            "Balance at the end of each day, and the levels on its way.",
            charts.balance_with_levels(system),
            wide=True,
        ),
        chart("What does a day bring?", "Points earned and deducted per day.", charts.earned_per_day(system)),
    ]
    paying = [one for one in system.triggers if one.awards]
    if paying:
        figures.append(chart("Where do points come from?", "Points per trigger.", charts.trigger_totals(paying)))
    yield element("div", *figures, class_="charts")
    if system.levels:
        rows = [
            [one.name, number(one.points), "-" if one.day is None else number(one.day), one.date or "not reached"]
            for one in system.levels
        ]
        yield details("Levels", table(["level", "from", "day", "date"], rows))
    rows = [[one.id, one.type, number(one.awards), number(one.times), number(one.points)] for one in system.triggers]
    yield details("Triggers", table(["trigger", "type", "awards", "times", "points"], rows, text=(0, 1)))
    rows = [
        [
            number(row.day),
            row.date,
            *map(number, (row.earned, row.deducted, row.balance, row.moments)),
            names.get(row.level, "-") if row.level is not None else "-",
        ]
        for row in system.days
    ]
    headers = ["day", "date", "earned", "deducted", "balance", "award moments", "level"]
    yield details("Day by day", table(headers, rows, text=(1, 6)))
