"""The cards of a report in the order they are read; a new card is a function and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from scanwise.report.card import Card
from scanwise.report.cards import (
    about,
    adaptive,
    considered,
    console,
    cost,
    doubts,
    evidence,
    front,
    guards,
    limits,
    parts,
    proposal,
    sites,
)
from scanwise.report.checklist import checklist
from scanwise.report.inputs import Inputs


class Entry(NamedTuple):
    """One card of the registry."""

    id: str
    compute: Callable[[Inputs], Card]
    name: str
    """What stands in the title if the card fails."""


class Section(NamedTuple):
    """One section of the page."""

    id: str
    title: str
    short: str
    """What stands in the navigation."""
    entries: tuple[Entry, ...]


def _checklist(inputs: Inputs) -> Card:
    """Return the checklists, which point at every other card."""
    others = [(section, entry) for section in SECTIONS for entry in section.entries if entry.compute is not _checklist]
    cards = {entry.id: entry.compute for _, entry in others}
    return checklist(inputs, cards, {entry.id: f"{section.title}: {entry.name}" for section, entry in others})


SECTIONS: tuple[Section, ...] = (
    Section(
        "proposal",
        "Proposal",
        "Proposal",
        (
            Entry("tiles", proposal.tiles, "The proposal against today's protocol"),
            Entry("order", proposal.order, "What to order"),
            Entry("front", front.compute, "AUC against price"),
            Entry("reasons", proposal.reasons, "What would change this advice"),
            Entry("ladder", proposal.ladder, "Other budgets"),
        ),
    ),
    Section(
        "evidence",
        "Evidence",
        "Evidence",
        (
            Entry("roc", evidence.roc, "ROC curve"),
            Entry("calibration", evidence.calibration, "Calibration"),
            Entry("decision_curve", evidence.decision_curve, "Decision curve"),
            Entry("nested", evidence.nested, "Honest estimate of the whole procedure"),
            Entry("operating", evidence.operating, "Sensitivity at a fixed specificity"),
            Entry("flips", evidence.flips, "Whose diagnosis changes"),
        ),
    ),
    Section(
        "parts",
        "What each part is worth",
        "Parts",
        (
            Entry("contributions", parts.contributions, "What each part is worth"),
            Entry("pairs", parts.pairs, "Which parts stand in for each other"),
        ),
    ),
    Section(
        "sampling",
        "Sampling, and what the reader would see",
        "Images",
        (
            Entry("patterns", parts.patterns, "How it is sampled"),
            Entry("console", console.console, "What to enter at the console"),
            Entry("pictures", parts.pictures, "What the reader would see"),
        ),
    ),
    Section(
        "adaptive",
        "Patient by patient",
        "Step by step",
        (
            Entry("walked", adaptive.walked, "Decided step by step"),
            Entry("stops", adaptive.stops, "Who stops where"),
            Entry("changed", adaptive.changed, "Whose diagnosis changes"),
        ),
    ),
    Section("cost", "Cost breakdown", "Cost", (Entry("bill", cost.bill, "Cost breakdown"),)),
    Section(
        "sites",
        "Sites and groups of patients",
        "Groups",
        (Entry("sites", sites.forest, "Sites"), Entry("groups", sites.groups, "Groups of patients")),
    ),
    Section(
        "considered",
        "What was considered",
        "Considered",
        (
            Entry("considered", considered.considered, "What was considered"),
            Entry("search", considered.search, "Search"),
        ),
    ),
    Section(
        "guards",
        "Guards and leakage audit",
        "Guards",
        (Entry("guards", guards.guards, "Guards"), Entry("audit", guards.audit, "Leakage audit")),
    ),
    Section(
        "limits",
        "Limits",
        "Limits",
        (
            Entry("limits", limits.limits, "What this study cannot show"),
            Entry("data", limits.data, "Patients and tests"),
            Entry("assumptions", limits.assumptions, "Assumed numbers"),
            Entry("doubts", doubts.doubts, "If a number of the virtual patients is otherwise"),
        ),
    ),
    Section(
        "methods",
        "Methods",
        "Methods",
        (
            Entry("methods", about.methods, "Methods text"),
            Entry("checklist", _checklist, "Checklists"),
        ),
    ),
    Section("provenance", "Provenance", "Provenance", (Entry("provenance", about.provenance, "Provenance"),)),
)
