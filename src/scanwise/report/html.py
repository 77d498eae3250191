"""The page: one file that needs nothing else, no network, no server."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from scanwise.report import formats
from scanwise.report.card import plain
from scanwise.report.cards import SECTIONS
from scanwise.report.report import Report
from scanwise.report.templating import embedded, environment, source

_LONG = 240
"""Text in a table cell above this length is folded."""


def render_html(report: Report) -> str:
    """Return the page. Every text is escaped; the same report gives the same bytes."""
    figures = {card.id: card.figure for card in report.cards if card.figure is not None}
    front = _front(report)
    if front is not None:
        figures["front"] = _slim(figures["front"], front["points"])
    payload = {"figures": figures, "front": front}
    currency = str(report.head["currency"])
    template = environment().get_template("dashboard.html.j2")
    return template.render(
        head=report.head,
        sections=report.sections,
        short={section.id: section.short for section in SECTIONS},
        cell=lambda value, form: formats.cell(value, form, currency),
        verdict=lambda value: formats.cell(value, "verdict"),
        payload=Markup(embedded(payload)),  # noqa: S704 - `<`, `>` and `&` are escaped
        plotly=Markup(get_plotlyjs()),  # noqa: S704 - the library itself
        style=Markup(source("page.css")),  # noqa: S704 - our own file
        script=Markup(source("page.js")),  # noqa: S704 - our own file
        long=_LONG,
    )


def _front(report: Report) -> Any:
    card = report.card("front")
    return plain(card.data) if card.figure is not None else None


def _slim(figure: Any, points: Any) -> Any:
    """Return the front with rows of `points` in place of keys and labels, which are there."""
    rows = {point["key"]: row for row, point in enumerate(points)}
    slim = [
        {**trace, "customdata": [rows[key] for key, _ in trace["customdata"]]} if trace.get("customdata") else trace
        for trace in figure["data"]
    ]
    return {**figure, "data": slim}
