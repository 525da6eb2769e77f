"""The charts of a preview page, as figures of the plotting library. Colours are variables of the page's style sheet."""

import html
from collections.abc import Sequence
from typing import Any, Final

import plotly.graph_objects as go

from deploy.preview.report import (
    AchievementRow,
    Bin,
    Bucket,
    ChangeBin,
    DecileRow,
    LevelRow,
    MonthRow,
    Pair,
    Reach,
    TriggerRow,
)
from deploy.preview.scenario import LevelReached, ScenarioSystem, TriggerTotal

OLD: Final = "var(--old)"
NEW: Final = "var(--new)"
_UP: Final = "var(--up)"
_DOWN: Final = "var(--down)"
_GRID: Final = "var(--grid)"
_SOFT: Final = "var(--soft)"
_NONE: Final = "rgba(0,0,0,0)"

_WORDS: Final = {"type": "category", "showgrid": False}

_ROW_PX: Final = 36
_BASE_PX: Final = 60
_HEIGHT_PX: Final = 300
_OFFSET: Final = 0.17
_LABEL_SHARE: Final = 0.05  # of the height of a chart that a line of text takes

Figure = dict[str, Any]


def _text(text: str) -> str:
    """Return text as the library shows it letter by letter: it takes some tags for markup."""
    return html.escape(text, quote=False)


def _figure(traces: Sequence[Any], *, height: int = _HEIGHT_PX, **layout: Any) -> Figure:
    axis = {"gridcolor": _GRID, "zerolinecolor": _GRID, "linecolor": _GRID, "automargin": True, "fixedrange": True}
    for name in ("xaxis", "yaxis"):
        layout[name] = {**axis, **layout.get(name, {})}
    figure = go.Figure(
        data=list(traces),
        layout={
            "template": go.layout.Template(),
            "height": height,
            "margin": {"l": 8, "r": 16, "t": 10, "b": 8},
            "paper_bgcolor": _NONE,
            "plot_bgcolor": _NONE,
            "font": {"color": _SOFT, "size": 12, "family": "inherit"},
            "showlegend": False,
            "bargap": 0.28,
            "bargroupgap": 0.06,
            **layout,
        },
    )
    made: Figure = figure.to_plotly_json()
    return made


# two catalogs


def over_time(buckets: Sequence[Bucket], field: str, unit: str) -> Figure:
    """Lines of both catalogs over the buckets; `field` names a Pair of Bucket."""
    starts = [bucket.start for bucket in buckets]
    pairs: list[Pair] = [getattr(bucket, field) for bucket in buckets]
    return _lines(starts, [pair.old for pair in pairs], [pair.new for pair in pairs], unit)


def per_active(months: Sequence[MonthRow]) -> Figure:
    """Lines of the points earned per active user."""
    starts = [f"{row.month}-01" for row in months]
    old, new = [row.earned_per_active_old for row in months], [row.earned_per_active_new for row in months]
    return _lines(starts, old, new, "points")


def _lines(starts: list[str], old: Sequence[float | None], new: Sequence[float | None], unit: str) -> Figure:
    mode = "lines" if len(starts) > 40 else "lines+markers"
    traces = [
        go.Scatter(
            x=starts,
            y=list(values),
            name=name,
            mode=mode,
            line={"color": colour, "width": width},
            marker={"size": 5},
            hovertemplate=f"%{{y:,}} {unit}",
        )
        for name, values, colour, width in (("old", old, OLD, 1.7), ("new", new, NEW, 1.9))
    ]
    return _figure(traces, hovermode="x unified", yaxis={"rangemode": "tozero", "tickformat": ",~s"})


def trigger_points(triggers: Sequence[TriggerRow]) -> Figure:
    """Bars of the points of each trigger."""
    return _bars([row.id for row in triggers], [row.points for row in triggers], "points")


def level_users(levels: Sequence[LevelRow]) -> Figure:
    """Bars of the users on each level, the lowest at the bottom."""
    return _bars([row.name for row in reversed(levels)], [row.users for row in reversed(levels)], "users")


def achievement_users(achievements: Sequence[AchievementRow]) -> Figure:
    """Bars of the users with each achievement."""
    return _bars([row.name for row in achievements], [row.users for row in achievements], "users")


def _bars(names: Sequence[str], pairs: Sequence[Pair], unit: str) -> Figure:
    """Horizontal pairs of bars, the first at the top, old above new."""
    names = _distinct(names)
    traces = [
        go.Bar(
            y=names,
            x=values,
            name=name,
            orientation="h",
            marker={"color": colour},
            text=[f"{value:,}" for value in values],
            textposition="outside",
            cliponaxis=False,
            constraintext="none",
            textfont={"size": 11, "color": _SOFT},
            hovertemplate=f"%{{y}}, {name}: %{{x:,}} {unit}<extra></extra>",
        )
        for name, values, colour in (
            ("new", [pair.new for pair in pairs], NEW),
            ("old", [pair.old for pair in pairs], OLD),
        )
    ]
    low = min([0, *(min(pair.old, pair.new) for pair in pairs)])
    high = max([1, *(max(pair.old, pair.new) for pair in pairs)])
    room = 0.14 * (high - low)
    return _figure(
        traces,
        height=_BASE_PX + _ROW_PX * len(names),
        yaxis=_categories(names),
        xaxis={"range": [low - (room if low < 0 else 0), high + room], "tickformat": ",~s", "nticks": 6},
    )


def _categories(names: Sequence[str]) -> dict[str, Any]:
    return {
        "showgrid": False,
        "categoryorder": "array",
        "categoryarray": list(reversed(names)),
        "ticklabelstandoff": 6,
    }


def _distinct(names: Sequence[str]) -> list[str]:
    """Return escaped names for an axis, told apart where two are the same."""
    seen: dict[str, int] = {}
    made = []
    for name in map(_text, names):
        seen[name] = seen.get(name, 0) + 1
        made.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return made


def reach(names: Sequence[str], old: Sequence[Reach | None], new: Sequence[Reach | None]) -> Figure:
    """Medians with the range from the 10th to the 90th percentile, the first name at the bottom."""
    traces = []
    for label, reaches, colour, offset in (("old", old, OLD, _OFFSET), ("new", new, NEW, -_OFFSET)):
        points = [
            (place + offset, one.median, one.p10, one.p90, one.users)
            for place, one in enumerate(reaches)
            if one is not None and one.median is not None and one.p10 is not None and one.p90 is not None
        ]
        traces.append(
            go.Scatter(
                x=[point[1] for point in points],
                y=[point[0] for point in points],
                mode="markers",
                name=label,
                marker={"color": colour, "size": 10},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [round(point[3] - point[1], 2) for point in points],
                    "arrayminus": [round(point[1] - point[2], 2) for point in points],
                    "color": colour,
                    "thickness": 3,
                    "width": 0,
                },
                customdata=[[point[2], point[3], point[4]] for point in points],
                hovertemplate=label
                + ": median %{x:,} days, 10 to 90 % in %{customdata[0]:,} to %{customdata[1]:,} "
                + "(%{customdata[2]:,} users)<extra></extra>",
            )
        )
    ticks = {"tickmode": "array", "tickvals": list(range(len(names))), "ticktext": _distinct(names)}
    return _figure(
        traces,
        height=_BASE_PX + _ROW_PX * len(names),
        yaxis={**ticks, "range": [-0.6, len(names) - 0.4], "showgrid": False, "zeroline": False},
        xaxis={
            "rangemode": "tozero",
            "tickformat": ",",
            "title": {"text": "days since the user's first event", "font": {"size": 12}},
        },
    )


def decile_change(deciles: Sequence[DecileRow]) -> Figure:
    """Bars of the change of what each tenth of the users earned, in percent."""
    shown = [(row.decile, row.earned, row.earned.percent) for row in deciles if row.users]
    values = [0.0 if percent is None else round(percent, 1) for _, _, percent in shown]
    bars = go.Bar(
        x=[_tenth(decile) for decile, _, _ in shown],
        y=values,
        marker={"color": [_DOWN if value < 0 else _UP for value in values]},
        text=[f"{value:+.0f} %" if value else "=" for value in values],
        textposition="outside",
        cliponaxis=False,
        constraintext="none",
        textfont={"size": 11, "color": _SOFT},
        customdata=[[pair.old, pair.new] for _, pair, _ in shown],
        hovertemplate="%{x}: %{customdata[0]:,} → %{customdata[1]:,} points earned<extra></extra>",
    )
    low, high = min([0.0, *values]), max([0.0, *values])
    room = 0.14 * max(high - low, 10)
    return _figure([bars], yaxis={"range": [low - room, high + room], "ticksuffix": " %"}, xaxis=_WORDS)


def _tenth(decile: int) -> str:
    return {1: "lowest", 10: "top"}.get(decile, str(decile))


def balances(bins: Sequence[Bin]) -> Figure:
    """Bars of the users per range of balances."""
    names = [_range(one.low, one.high) for one in bins]
    traces = [
        go.Bar(
            x=names,
            y=values,
            name=name,
            marker={"color": colour},
            hovertemplate=f"%{{x}} points, {name}: %{{y:,}} users<extra></extra>",
        )
        for name, values, colour in (
            ("old", [one.users.old for one in bins], OLD),
            ("new", [one.users.new for one in bins], NEW),
        )
    ]
    return _figure(traces, xaxis={**_WORDS, "title": {"text": "points", "font": {"size": 12}}})


def _range(low: int, high: int) -> str:
    if high < 1000:
        return f"{low}" if low == high else f"{low}–{high}"
    return f"{_short(low)}–{_short(high + 1)}"


def _short(value: int) -> str:
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size and value % (size // 10) == 0:
            return f"{value / size:g}{letter}"
    return f"{value:,}"


def changes(bins: Sequence[ChangeBin]) -> Figure:
    """Bars of the users by how their balance changes; the middle one is no change."""
    middle = next(place for place, one in enumerate(bins) if one.label == "the same")
    bars = go.Bar(
        x=[_text(one.label) for one in bins],
        y=[one.users for one in bins],
        marker={"color": [_DOWN if place < middle else OLD if place == middle else _UP for place in range(len(bins))]},
        text=[f"{one.users:,}" if one.users else "" for one in bins],
        textposition="outside",
        cliponaxis=False,
        constraintext="none",
        textfont={"size": 11, "color": _SOFT},
        hovertemplate="%{x}: %{y:,} users<extra></extra>",
    )
    high = max([1, *(one.users for one in bins)])
    return _figure([bars], xaxis={**_WORDS, "tickangle": -35}, yaxis={"range": [0, high * 1.14], "tickformat": ","})


# a scenario


def balance_with_levels(system: ScenarioSystem) -> Figure:
    """The balance at the end of each day, and the thresholds of the levels that it comes near."""
    dates = [row.date for row in system.days]
    top = max([1, *(row.balance for row in system.days)])
    near = [level for level in system.levels if 0 < level.points <= 1.25 * top]
    high = max([top, *(level.points for level in near)])
    line = go.Scatter(
        x=dates,
        y=[row.balance for row in system.days],
        mode="lines",
        line={"color": NEW, "width": 2.2, "shape": "hv"},
        fill="tozeroy",
        fillcolor="rgba(70,130,240,0.12)",
        hovertemplate="%{x}: %{y:,} points<extra></extra>",
    )
    shapes = [
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": level.points,
            "y1": level.points,
            "line": {"color": OLD, "width": 1, "dash": "dot"},
        }
        for level in near
    ]
    notes = [
        {
            "xref": "paper",
            "x": 0.005,
            "y": level.points,
            "text": _text(f"{level.name} {level.points:,}" + (f", day {level.day}" if level.day else "")),
            "showarrow": False,
            "xanchor": "left",
            "yanchor": "bottom",
            "font": {"size": 11, "color": _SOFT},
        }
        for level in _apart(near, _LABEL_SHARE * high)
    ]
    return _figure(
        [line], height=360, shapes=shapes, annotations=notes, yaxis={"range": [0, high * 1.1], "tickformat": ",~s"}
    )


def _apart(levels: Sequence[LevelReached], distance: float) -> list[LevelReached]:
    """Return levels, the highest first, whose names do not stand on one another."""
    kept: list[LevelReached] = []
    for level in sorted(levels, key=lambda one: -one.points):
        if not kept or kept[-1].points - level.points >= distance:
            kept.append(level)
    return kept


def earned_per_day(system: ScenarioSystem) -> Figure:
    """Bars of what each day brings and takes."""
    dates = [row.date for row in system.days]
    traces = [
        go.Bar(
            x=dates,
            y=values,
            name=name,
            marker={"color": colour},
            hovertemplate=f"%{{x}}: %{{y:,}} {name}<extra></extra>",
        )
        for name, values, colour in (
            ("earned", [row.earned for row in system.days], _UP),
            ("deducted", [-row.deducted for row in system.days], _DOWN),
        )
    ]
    return _figure(traces, barmode="relative", bargap=0.1)


def trigger_totals(triggers: Sequence[TriggerTotal]) -> Figure:
    """Bars of the points of each trigger, most first."""
    ordered = sorted(triggers, key=lambda one: (-one.points, one.id))
    names = _distinct([one.id for one in ordered])
    bars = go.Bar(
        y=names,
        x=[one.points for one in ordered],
        orientation="h",
        marker={"color": [_DOWN if one.points < 0 else NEW for one in ordered]},
        text=[f"{one.points:,}" for one in ordered],
        textposition="outside",
        cliponaxis=False,
        constraintext="none",
        textfont={"size": 11, "color": _SOFT},
        hovertemplate="%{y}: %{x:,} points<extra></extra>",
    )
    low, high = min([0, *(one.points for one in ordered)]), max([1, *(one.points for one in ordered)])
    room = 0.14 * (high - low)
    return _figure(
        [bars],
        height=max(_HEIGHT_PX, _BASE_PX + 28 * len(names)),
        yaxis=_categories(names),
        xaxis={"range": [low - (room if low < 0 else 0), high + room], "tickformat": ",~s"},
    )
