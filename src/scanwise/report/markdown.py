"""The protocol card as one page of Markdown with a place to sign, and how text is written in Markdown."""

from __future__ import annotations

import re
from typing import Any

from scanwise.report import formats
from scanwise.report.card import Card, Table
from scanwise.report.report import Report
from scanwise.report.sheet import ROLES, Block, sheet_of

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~])")
_LONGEST = 400
_LONGEST_ITEM = 800
_LONGEST_SETTING = 2000
"""Signs of a cell that is to be entered somewhere: it is not cut where others are."""
_LINE = "____________________"


def render_markdown(report: Report) -> str:
    """Return the protocol card: proposal against today, evidence, risks, and a block to sign."""
    sheet = sheet_of(report)
    lines = [f"# {_text(sheet.headline)}", ""]
    if sheet.banner:
        lines += [f"> **{_text(sheet.banner)}**", ""]
    if sheet.lead:
        lines += [_text(sheet.lead), ""]
    lines += [f"Study: {_text(sheet.facts)}  ", f"Version of this card: `{sheet.fingerprint}`", ""]
    if sheet.retrospective:
        lines += [_text(sheet.retrospective), ""]
    for section in sheet.sections:
        lines += [f"## {section.heading}", ""]
        for block in section.blocks:
            lines += _block(block, sheet.currency)
    lines += [
        "## Decision",
        "",
        "| role | name | agreed / not agreed | date | signature |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {role} | | | | |" for role in ROLES),
        "",
        f"Protocol version: {', '.join(f'{what} `{_code(value)}`' for what, value in sheet.version)}  ",
    ]
    proposed = f"{sheet.review_by.isoformat()} (proposed: one year after the run started)" if sheet.review_by else _LINE
    lines += [f"Review by: {proposed}", ""]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def opening(report: Report, title: str) -> list[str]:
    """Return the first lines of a document beside the card: what it belongs to, and whether patients are real."""
    head = report.head
    lines = [
        f"# {title}",
        "",
        f"Study: {escaped(' · '.join(head['facts']))}  ",
        f"Version: `{head['fingerprint']}`",
        "",
    ]
    return [*lines, f"> **{escaped(head['banner'])}**", ""] if head["virtual"] else lines


def unavailable(card: Card) -> str:
    """Return why a card has nothing to show."""
    word = "Not available" if card.status == "error" else "Not applicable"
    return f"{word}: {escaped(card.not_applicable_reason or '')}"


def escaped(value: Any, longest: int | None = None) -> str:
    """Return text on one line that Markdown shows as it is.

    Parameters
    ----------
    value : what to write.
    longest : signs after which it is cut; `None` = never.
    """
    line = " ".join(str(value).split())
    if longest is not None and len(line) > longest:
        line = line[: longest - 1].rstrip() + "…"
    return _SPECIAL.sub(r"\\\1", line)


def _block(block: Block, currency: str) -> list[str]:
    lines = [f"**{_text(block.finding.removesuffix('.'))}.**", ""] if block.finding else []
    if block.reason is not None:
        return [*lines, _text(block.reason), ""]
    if block.table is not None:
        lines += [*_table(block.table, currency), ""]
    for note in block.notes:
        lines += [_text(note), ""]
    for name, items in block.lists:
        lines += [f"{_text(name)}:", ""] if name else []
        lines += [*(f"* {escaped(item, _LONGEST_ITEM)}" for item in items), ""]
    return lines


def _table(table: Table, currency: str) -> list[str]:
    lines = [
        "| " + " | ".join(_text(column.label) for column in table.columns) + " |",
        "| " + " | ".join("---:" if column.numeric else "---" for column in table.columns) + " |",
    ]
    longest = _LONGEST_SETTING if any(column.id == "setting" for column in table.columns) else _LONGEST
    for row in table.rows:
        cells = [
            escaped(formats.cell(row.cells.get(column.id), column.format, currency), longest)
            for column in table.columns
        ]
        lines.append(
            "| " + " | ".join(f"**{cell}**" if row.role == "total" and cell else cell for cell in cells) + " |"
        )
    return lines


def _text(value: Any) -> str:
    return escaped(value, _LONGEST)


def _code(value: str) -> str:
    """Return text for a code span, where nothing can be escaped."""
    return re.sub(r"[^\w.+:-]", "", value)
