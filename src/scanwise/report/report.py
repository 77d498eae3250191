"""The report: cards computed from a recommendation, in reading order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from scanwise.artifacts import hash_json
from scanwise.errors import ScanwiseError, did_you_mean
from scanwise.report import formats
from scanwise.report.card import Card, plain
from scanwise.report.cards import SECTIONS, Entry
from scanwise.report.inputs import Inputs

SCHEMA_VERSION = 1
"""Of ``recommendation.json`` as read, and of ``report.json`` as written."""


@dataclass(frozen=True)
class Report:
    """What there is to show, computed; drawing it changes nothing.

    Attributes
    ----------
    head : what stands above the cards: headline, lead, title of the study, banner ...
    sections : ``(id, title, cards)`` in reading order.
    """

    head: Mapping[str, Any]
    sections: tuple[tuple[str, str, tuple[Card, ...]], ...]

    @property
    def cards(self) -> tuple[Card, ...]:
        """All cards in reading order."""
        return tuple(card for _, _, cards in self.sections for card in cards)

    def card(self, card_id: str) -> Card:
        """Return one card; a `ScanwiseError` names the known ones where there is none."""
        for card in self.cards:
            if card.id == card_id:
                return card
        known = [card.id for card in self.cards]
        raise ScanwiseError(f"the report has no card {card_id!r}", did_you_mean(card_id, known))

    def figure(self, card_id: str) -> go.Figure:
        """Return the figure of a card as a Plotly object, e.g. ``report.figure("front")``.

        Raises
        ------
        ScanwiseError
            If there is no such card, or it has no figure; the message says why.
        """
        card = self.card(card_id)
        if card.figure is None:
            known = [card.id for card in self.cards if card.figure is not None]
            reason = f": {card.not_applicable_reason}" if card.not_applicable_reason else ""
            raise ScanwiseError(f"the card {card_id!r} has no figure{reason}", "figures: " + ", ".join(known))
        return go.Figure(card.figure)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON, the content of ``report.json``: every number the page shows.

        ``{schema_version, head: {headline, lead, status, virtual, currency, fingerprint, ...}, sections: [{id, title,
        cards: [{id, title, how_to_read, status, table, figure, alt, lists, paragraphs, data,
        not_applicable_reason}]}]}`` where a table is ``{caption, columns: [{id, label, format}], rows: [{role, cells:
        {column id: value}}]}`` and a figure plain Plotly JSON. Values are numbers; `format` says how they are written
        (`scanwise.report.formats`).
        """
        sections = [
            {"id": name, "title": title, "cards": [c.to_dict() for c in cards]} for name, title, cards in self.sections
        ]
        return {"schema_version": SCHEMA_VERSION, "head": plain(self.head), "sections": sections}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Report:
        """Return the report that `to_dict` wrote, to be rendered again; nothing is computed.

        Raises
        ------
        ScanwiseError
            If this is not a report of a known schema version, or not a whole one.
        """
        version = content.get("schema_version")
        if version != SCHEMA_VERSION or "sections" not in content:
            raise ScanwiseError(
                f"a report must have schema_version {SCHEMA_VERSION} and sections, but this one has {version!r}",
                "a report.json is written by the stage report: scanwise stage=report from_run=...",
            )
        try:
            sections = tuple(
                (one["id"], one["title"], tuple(Card.from_dict(card) for card in one["cards"]))
                for one in content["sections"]
            )
            return cls(content["head"], sections)
        except (KeyError, TypeError) as error:
            raise ScanwiseError(
                f"this report is not whole: {type(error).__name__} {error}", "write it anew with the stage report"
            ) from error

    def __repr__(self) -> str:
        lines = [f"Report: {self.head['headline']}"]
        for _, title, cards in self.sections:
            lines.append(f"  {title}")
            marks = {"ok": " ", "attention": "!", "not applicable": "-", "error": "x"}
            lines += [f"   {marks[card.status]} {card.id}: {card.title}" for card in cards]
        return "\n".join(lines)


def build_report(recommendation: Mapping[str, Any]) -> Report:
    """Compute all cards of a recommendation.

    A card that fails becomes an error card that says what went wrong; the others stand.

    Parameters
    ----------
    recommendation : content of ``recommendation.json``, schema version 1.

    Raises
    ------
    ScanwiseError
        If this is not a recommendation of a known schema version.
    """
    version = recommendation.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ScanwiseError(
            f"a recommendation must have schema_version {SCHEMA_VERSION}, but this one has {version!r}",
            "write it anew with this version of scanwise: scanwise stage=recommend from_run=...",
        )
    inputs = Inputs(recommendation)
    sections = tuple(
        (section.id, section.title, tuple(_compute(entry, inputs) for entry in section.entries)) for section in SECTIONS
    )
    return Report(head=_head(inputs), sections=sections)


def _compute(entry: Entry, inputs: Inputs) -> Card:
    try:
        return entry.compute(inputs)
    except Exception as error:  # one broken card must never take the page down; it says what broke
        what = error.message if isinstance(error, ScanwiseError) else f"{type(error).__name__}: {error}"
        return Card(entry.id, f"{entry.name}: could not be computed", "", "error", not_applicable_reason=what)


def _head(inputs: Inputs) -> dict[str, Any]:
    study, decision = inputs.study, inputs.decision
    virtual = bool(study.get("virtual"))
    status = str(decision.get("status") or "unknown")
    facts = [str(study.get("title") or study.get("name") or "")]
    n = study.get("n_patients")
    if n:
        facts.append(f"{n} {'virtual patients' if virtual else 'patients'}")
    sites = study.get("sites") or ()
    if len(sites) > 1:
        facts.append(f"{len(sites)} sites")
    return {
        "title": str(study.get("title") or study.get("name") or "Recommendation"),
        "facts": [fact for fact in facts if fact],
        "question": str(study.get("question") or ""),
        "status": status,
        "headline": str(decision.get("headline") or "No headline was written"),
        "lead": " ".join(text for text in (str(decision.get("lead") or ""), _lost_and_found(inputs)) if text),
        "virtual": virtual,
        "banner": "Virtual cohort: the patients are simulated, nobody was examined." if virtual else "",
        "retrospective": str(study.get("retrospective") or ""),
        "currency": str(inputs.data.get("currency") or ""),
        "budget": str((inputs.data.get("budget") or {}).get("text") or ""),
        "fingerprint": hash_json(inputs.data)[:12],
        "started": str((inputs.data.get("provenance") or {}).get("started") or ""),
    }


def _lost_and_found(inputs: Inputs) -> str:
    """Say what is lost as well as what is gained, in patients; empty where nothing changes."""
    entry = next((one for one in inputs.data.get("flips") or () if "specificity" in one), None)
    if entry is None:
        return ""
    return (
        f"At {formats.percent(entry['specificity'])} specificity {formats.count(entry.get('missed'))} of "
        f"{formats.count(entry.get('positive'))} positive patients found today would be missed, and "
        f"{formats.count(entry.get('found'))} missed today would be found."
    )
