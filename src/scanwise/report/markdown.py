"""The protocol card: one page of Markdown with a place to sign."""

from __future__ import annotations

import re
from typing import Any

from scanwise.report import formats
from scanwise.report.card import Card, Table
from scanwise.report.report import Report

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~])")
_ROLES = ("Medical physicist", "Radiologist", "Technologist")
_LONGEST = 400


def render_markdown(report: Report) -> str:
    """Return the protocol card: proposal against today, evidence, risks, and a block to sign."""
    head = report.head
    lines = [f"# {_text(head['headline'])}", ""]
    if head["virtual"]:
        lines += [f"> **{_text(head['banner'])}**", ""]
    if head["lead"]:
        lines += [_text(head["lead"]), ""]
    lines += [f"Study: {_text(' · '.join(head['facts']))}  ", f"Version of this card: `{head['fingerprint']}`", ""]
    if head["retrospective"]:
        lines += [_text(head["retrospective"]), ""]
    currency = str(head["currency"])
    tiles = report.card("tiles")
    if tiles.table is not None:
        lines += ["## In short", "", "| | proposed | |", "| --- | ---: | --- |"]
        for row in tiles.table.rows:
            words = [
                row.cells["detail"],
                row.cells["change"],
                formats.cell(row.cells["verdict"], "verdict") if row.cells["verdict"] else None,
            ]
            detail = ", ".join(_text(word) for word in words if word)
            lines.append(f"| {_text(row.cells['what'])} | {_text(row.cells['value'])} | {detail} |")
        lines.append("")
    for card_id, heading in (
        ("order", "What to order"),
        ("ladder", "Other budgets"),
        ("operating", "Evidence"),
        ("sites", "Sites"),
    ):
        lines += _section(report.card(card_id), heading, currency)
    for card_id, heading in (("reasons", "Why, and what would change this advice"), ("limits", "Risks and limits")):
        lines += _section(report.card(card_id), heading, currency)
    lines += ["## Guards and leakage audit", ""]
    for card_id in ("guards", "audit"):
        card = report.card(card_id)
        lines += [f"**{_text(card.title)}**", ""]
        if card.table is None:
            lines += [_text(card.not_applicable_reason or ""), ""]
            continue
        for row in card.table.rows:
            if row.role not in ("pass", "info"):
                veto = " (veto)" if row.cells["vetoes"] else ""
                lines.append(f"* {row.role}{veto}: {_text(row.cells['title'])}. {_text(row.cells['detail'])}")
        lines.append("")
    lines += [
        "## Decision",
        "",
        "| role | name | agreed / not agreed | date | signature |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [f"| {role} | | | | |" for role in _ROLES]
    lines += ["", f"Protocol version: `{head['fingerprint']}`  ", "Review by: ____________________", ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _section(card: Card, heading: str, currency: str) -> list[str]:
    lines = [f"## {heading}", "", f"**{_text(card.title)}.**", ""]
    if card.not_applicable_reason is not None:
        word = "Not available" if card.status == "error" else "Not applicable"
        return [*lines, f"{word}: {_text(card.not_applicable_reason)}", ""]
    if card.table is not None:
        lines += [*_table(card.table, currency), ""]
    for name, items in card.lists:
        lines += [f"{_text(name)}:", ""] if name else []
        lines += [*(f"* {_text(item)}" for item in items), ""]
    return lines


def _table(table: Table, currency: str) -> list[str]:
    lines = [
        "| " + " | ".join(_text(column.label) for column in table.columns) + " |",
        "| " + " | ".join("---:" if column.numeric else "---" for column in table.columns) + " |",
    ]
    for row in table.rows:
        cells = [_text(formats.cell(row.cells.get(column.id), column.format, currency)) for column in table.columns]
        lines.append(
            "| " + " | ".join(f"**{cell}**" if row.role == "total" and cell else cell for cell in cells) + " |"
        )
    return lines


def _text(value: Any) -> str:
    """Return text on one line that Markdown shows as it is."""
    line = " ".join(str(value).split())
    if len(line) > _LONGEST:
        line = line[: _LONGEST - 1].rstrip() + "…"
    return _SPECIAL.sub(r"\\\1", line)
