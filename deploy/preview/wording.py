"""How figures are written, in the terminal and on the page."""

from deploy.preview.report import HistoryReport, Pair, Shift


def number(value: int) -> str:
    """Return `1,234`."""
    return f"{value:,}"


def signed(value: int) -> str:
    """Return `+1,234`, `−5`, `0`."""
    return "0" if value == 0 else f"{'+' if value > 0 else '−'}{abs(value):,}"


def change(pair: Pair) -> str:
    """Return the change in percent, `new` or `gone` where there is nothing to relate it to."""
    if pair.change == 0:
        return "="
    percent = pair.percent
    if percent is None:
        return "new"
    if pair.new == 0:
        return "gone"
    sign = "+" if percent > 0 else "−"
    if abs(percent) < 0.05:
        return f"{sign}<0.1 %"
    text = f"{abs(percent):,.1f}" if abs(percent) < 1000 else f"{abs(percent):,.0f}"
    return f"{sign}{text} %"


def days(value: float | None) -> str:
    """Return a number of days with one digit, `-` if there is none."""
    return "-" if value is None else f"{value:,.1f}"


def span(report: HistoryReport) -> str:
    """Return `2005-04-07 to 2026-08-20`, `-` without any event."""
    about = report.about
    if about.first is None or about.last is None:
        return "-"
    return f"{(about.since or about.first)[:10]} to {about.last[:10]}"


def shift(moved: Shift) -> str:
    """Return how many users go up and down."""
    return f"{moved.up:,} more, {moved.down:,} less, {moved.same:,} the same"
