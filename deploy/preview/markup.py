"""Pieces of a page. Whatever is text is escaped here, and only here."""

import html
import json
from collections.abc import Sequence

from deploy.preview.charts import Figure


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(text: str | Markup) -> Markup:
    """Return text as HTML; markup as it is."""
    return text if isinstance(text, Markup) else Markup(html.escape(text))


def join(parts: Sequence[str | Markup]) -> Markup:
    """Return parts after one another, each escaped."""
    return Markup("".join(escape(part) for part in parts))


def element(name: str, *parts: str | Markup, **attributes: str) -> Markup:
    """Return an element with escaped content; `class_` stands for the attribute `class`."""
    given = "".join(f' {key.rstrip("_")}="{html.escape(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{given}>{join(parts)}</{name}>")


def table(headers: Sequence[str], rows: Sequence[Sequence[str | Markup]], *, text: Sequence[int] = (0,)) -> Markup:
    """Return a table; `text` are the columns of words, which stand on the left."""

    def cell(kind: str, place: int, content: str | Markup) -> Markup:
        return element(kind, content, class_="text") if place in text else element(kind, content)

    head = element("tr", *(cell("th", place, header) for place, header in enumerate(headers)))
    body = (element("tr", *(cell("td", place, content) for place, content in enumerate(row))) for row in rows)
    return element("div", element("table", element("thead", head), element("tbody", *body)), class_="scroll")


def details(title: str, *parts: str | Markup) -> Markup:
    """Return a part that opens on a click."""
    return element("details", element("summary", title), *parts)


def chart(question: str, note: str, figure: Figure, *, wide: bool = False) -> Markup:
    """Return a chart under the question that it answers."""
    data = json.dumps(figure, sort_keys=True, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    height = figure["layout"]["height"]
    place = element("div", class_="chart", style=f"min-height:{height}px", role="img", **{"aria-label": question})
    holder = Markup(f'<script class="figure" type="application/json">{data}</script>')
    caption = element("figcaption", note)
    return element("figure", element("h3", question), caption, place, holder, class_="wide" if wide else "half")


def card(name: str, figure: str, below: str, tone: str = "") -> Markup:
    """Return one key figure."""
    return element(
        "div",
        element("div", name, class_="name"),
        element("div", figure, class_=f"figure {tone}".strip()),
        element("div", below, class_="from"),
        class_="card",
    )


def facts(pairs: Sequence[tuple[str, str | Markup]]) -> Markup:
    """Return names and what they stand for."""
    return element("dl", *(part for name, value in pairs for part in (element("dt", name), element("dd", value))))
