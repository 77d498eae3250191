"""The protocol card as plain content: what a committee reads, decides and signs; Markdown and the page render it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from scanwise.report import formats
from scanwise.report.card import Card, Column, Row, Table
from scanwise.report.cards.console import ACQUIRED
from scanwise.report.report import Report

ROLES = ("Medical physicist", "Radiologist", "Technologist")
"""Who signs."""
_SITES = 5
"""Sites that the card shows; the dashboard shows all."""
_RUNGS = 5
"""Budgets that the card shows."""
_VERSION = {
    "Version of scanwise": "scanwise",
    "Commit of scanwise": "commit",
    "Configuration (hash)": "configuration",
    "Data (hash)": "data",
}
"""Rows of the provenance that say what this card rests on."""
_HASH = 12


@dataclass(frozen=True)
class Block:
    """One finding of the card; where `reason` is given there is nothing else."""

    finding: str = ""
    table: Table | None = None
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()
    notes: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class Section:
    """One heading of the card and what stands below it."""

    id: str
    heading: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Sheet:
    """The protocol card.

    Attributes
    ----------
    facts : study, patients, sites.
    version : ``(what, hash or number)``.
    review_by : proposed date, one year after the run started; `None` where that is not known.
    """

    headline: str
    lead: str
    banner: str
    facts: str
    retrospective: str
    currency: str
    fingerprint: str
    sections: tuple[Section, ...]
    version: tuple[tuple[str, str], ...]
    review_by: date | None


def sheet_of(report: Report) -> Sheet:
    """Return the protocol card of a report."""
    head = report.head
    sections = (
        Section("short", "In short", (_tiles(report.card("tiles")),)),
        Section("order", "What to order", (_block(report.card("order")),)),
        Section("console", "What to enter at the console", (_console(report.card("console")),)),
        Section("why", "Why, and what would change this advice", (_why(report),)),
        Section("evidence", "Evidence", (_evidence(report),)),
        Section("ladder", "Other budgets", (_ladder(report.card("ladder")),)),
        Section("sites", "Sites", (_sites(report.card("sites")),)),
        Section("risks", "Risks and limits", (_block(report.card("limits")),)),
        Section(
            "guards", "Guards and leakage audit", tuple(_checks(report.card(name)) for name in ("guards", "audit"))
        ),
    )
    return Sheet(
        headline=str(head["headline"]),
        lead=str(head["lead"]),
        banner=str(head["banner"]),
        facts=" · ".join(head["facts"]),
        retrospective=str(head["retrospective"]),
        currency=str(head["currency"]),
        fingerprint=str(head["fingerprint"]),
        sections=sections,
        version=_version(report),
        review_by=review_by(str(head["started"])),
    )


def review_by(started: str) -> date | None:
    """Return the day one year after a run started, given in ISO 8601; `None` where that is no date."""
    try:
        day = datetime.fromisoformat(started).date()
    except ValueError:
        return None
    if day.year == date.max.year:
        return None
    leap_day = (day.month, day.day) == (2, 29)
    return day.replace(year=day.year + 1, day=28 if leap_day else day.day)


def _block(card: Card) -> Block:
    if card.not_applicable_reason is not None:
        word = "Not available" if card.status == "error" else "Not applicable"
        return Block(card.title, reason=f"{word}: {card.not_applicable_reason}")
    return Block(card.title, card.table, card.lists)


def _tiles(card: Card) -> Block:
    """Return cost and diagnosis of the proposal, with what they are today."""
    block = _block(card)
    if block.table is None:
        return block
    rows = []
    for row in block.table.rows:
        verdict = formats.cell(row.cells["verdict"], "verdict") if row.cells["verdict"] else None
        words = (row.cells["detail"], row.cells["change"], verdict)
        cells = {**row.cells, "detail": ", ".join(str(word) for word in words if word)}
        rows.append(Row(cells, row.role))
    columns = (Column("what", ""), Column("value", "proposed", "amount"), Column("detail", ""))
    return Block("", Table("In short", columns, tuple(rows)))


def _console(card: Card) -> Block:
    """Return only the settings that differ; what stays is named in a sentence."""
    block = _block(card)
    if block.table is None:
        return block
    rows = [row for row in block.table.rows if row.role != "same"]
    # of what is left out, its settings do not matter
    rows = [row for row in rows if row.role != "out" or row.cells["setting"] == ACQUIRED]
    changed = {row.cells["modality"] for row in rows}
    kept = dict.fromkeys(str(title) for title in block.table.column("modality") if title not in changed)
    notes = (f"As today: {', '.join(kept)}.",) if kept else ()
    return replace(block, table=replace(block.table, rows=tuple(rows)) if rows else None, notes=notes)


def _why(report: Report) -> Block:
    block = _block(report.card("reasons"))
    rule = str(report.card("methods").data.get("rule") or "")
    return replace(block, lists=(*block.lists, ("Rule of choice, declared beforehand", (rule,)))) if rule else block


def _evidence(report: Report) -> Block:
    """Return the numbers of both protocols, and what every figure of the evidence says."""
    block = _block(report.card("operating"))
    titles = []
    for name in ("roc", "calibration", "decision_curve", "nested", "flips"):
        card = next((card for card in report.cards if card.id == name), None)
        if card is not None and card.status in ("ok", "attention"):
            titles.append(f"{card.title}.")
    return replace(block, lists=(*block.lists, ("", tuple(titles)))) if titles else block


def _ladder(card: Card) -> Block:
    """Return the budgets, where there are many those around the proposal."""
    block = _block(card)
    if block.table is None or len(block.table.rows) <= _RUNGS:
        return block
    rows = block.table.rows
    at = next((index for index, row in enumerate(rows) if row.role == "proposal"), len(rows) - 1)
    first = max(0, min(at - _RUNGS // 2, len(rows) - _RUNGS))
    note = f"The budgets around the proposal; {formats.plural(len(rows) - _RUNGS, 'other')} in the dashboard."
    return replace(block, table=replace(block.table, rows=rows[first : first + _RUNGS]), notes=(note,))


def _sites(card: Card) -> Block:
    """Return the sites, where there are many those that may lose most."""
    block, table = _block(card), card.table
    if block.table is None or table is None:
        return block
    if not any(table.column("reason")):
        table = replace(table, columns=tuple(column for column in table.columns if column.id != "reason"))
    if len(table.rows) <= _SITES + 1:
        return replace(block, table=table)
    total, sites = table.rows[0], table.rows[1:]

    def lowest(row: Row) -> float:
        difference = row.cells.get("difference")
        low = formats.finite(difference.get("low")) if isinstance(difference, Mapping) else None
        return float("inf") if low is None else low

    shown = sorted(sites, key=lowest)[:_SITES]
    rest = len(sites) - len(shown)
    note = f"The {len(shown)} sites that may lose most; {formats.plural(rest, 'other')} in the dashboard."
    return replace(block, table=replace(table, rows=(total, *shown)), notes=(note,))


def _checks(card: Card) -> Block:
    """Return the checks that were raised; those that passed are counted in the title."""
    block = _block(card)
    if block.table is None:
        return block
    raised = tuple(
        f"{row.role}{' (veto)' if row.cells['vetoes'] else ''}: {_stopped(row.cells['title'])} {row.cells['detail']}"
        for row in block.table.rows
        if row.role not in ("pass", "info")
    )
    return Block(block.finding, lists=(("", raised),) if raised else ())


def _version(report: Report) -> tuple[tuple[str, str], ...]:
    table = report.card("provenance").table
    found = {} if table is None else {str(row.cells["what"]): str(row.cells["value"]) for row in table.rows}
    known = [(words, found[what][:_HASH]) for what, words in _VERSION.items() if what in found]
    return (("card", str(report.head["fingerprint"])), *known)


def _stopped(text: Any) -> str:
    words = str(text)
    return words if words.endswith((".", "!", "?")) else f"{words}."
