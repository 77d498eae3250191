"""The page: one file that needs nothing else, no network, no server."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from scanwise.report import formats
from scanwise.report.card import plain
from scanwise.report.cards import SECTIONS
from scanwise.report.report import Report

_LONG = 240
"""Text in a table cell above this length is folded."""


def render_html(report: Report) -> str:
    """Return the page. Every text is escaped; the same report gives the same bytes."""
    environment = _environment()
    payload = {
        "figures": {card.id: card.figure for card in report.cards if card.figure is not None},
        "front": _front(report),
    }
    currency = str(report.head["currency"])
    return environment.get_template("dashboard.html.j2").render(
        head=report.head,
        sections=report.sections,
        short={section.id: section.short for section in SECTIONS},
        cell=lambda value, form: formats.cell(value, form, currency),
        verdict=lambda value: formats.cell(value, "verdict"),
        payload=Markup(_embedded(payload)),  # noqa: S704 - `<`, `>` and `&` are escaped
        plotly=Markup(get_plotlyjs()),  # noqa: S704 - the library itself
        style=Markup(_source(environment, "page.css")),  # noqa: S704 - our own file
        script=Markup(_source(environment, "page.js")),  # noqa: S704 - our own file
        long=_LONG,
    )


def _front(report: Report) -> Any:
    card = report.card("front")
    return plain(card.data) if card.figure is not None else None


def _embedded(value: Any) -> str:
    """Return JSON that no text can break out of a script element with."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("scanwise.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None  # noqa: S101 - for mypy
    return environment.loader.get_source(environment, name)[0]
