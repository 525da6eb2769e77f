"""A preview as one HTML page: no network is needed to look at it, and the same report gives the same bytes."""

import base64
import gzip
from importlib.resources import files
from typing import Final

from deploy.preview import history_page, scenario_page
from deploy.preview.markup import Markup, element, join
from deploy.preview.report import HistoryReport
from deploy.preview.scenario import ScenarioReport

_ICON: Final = "data:,"  # none; browsers would ask a server for one


def render(report: HistoryReport | ScenarioReport) -> bytes:
    """Return the page, with style, charts and the plotting library in it."""
    if isinstance(report, HistoryReport):
        name, sections = history_page.title(report), history_page.sections(report)
    else:
        name, sections = scenario_page.title(report), scenario_page.sections(report)
    head = element(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup(f'<link rel="icon" href="{_ICON}">'),
        element("title", f"Plaudit preview: {name}"),
        element("style", Markup(_asset("page.css"))),
    )
    body = element(
        "body",
        element("main", *sections),
        element("script", Markup(_library()), type="text/plain", id="library"),
        element("script", Markup(_asset("page.js"))),
    )
    return join([Markup("<!doctype html>\n"), element("html", head, body, lang="en"), Markup("\n")]).encode()


def _asset(name: str) -> str:
    return files("deploy.preview").joinpath(name).read_text(encoding="utf-8")


def _library() -> str:
    """Return the plotting library, packed: a page of 2 MB instead of 5."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()
