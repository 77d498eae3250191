"""The protocol card as a page to print: A4, one file, no script, no network."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from scanwise.report import formats
from scanwise.report.card import Column
from scanwise.report.report import Report
from scanwise.report.sheet import ROLES, sheet_of
from scanwise.report.templating import environment, source


def render_card_page(report: Report) -> str:
    """Return the page. Every text is escaped; the same report gives the same bytes."""
    sheet = sheet_of(report)

    def cell(value: Any, column: Column) -> str:
        return formats.cell(value, column.format, sheet.currency)

    return (
        environment()
        .get_template("protocol_card.html.j2")
        .render(
            sheet=sheet,
            roles=ROLES,
            cell=cell,
            style=Markup(source("protocol_card.css")),  # noqa: S704 - our own file
        )
    )
