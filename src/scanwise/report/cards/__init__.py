"""The cards of a report in the order they are read; a new card is a function and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from scanwise.report.card import Card
from scanwise.report.cards import about, adaptive, considered, cost, evidence, front, guards, limits, proposal, sites
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
    Section("sites", "Sites", "Sites", (Entry("sites", sites.forest, "Sites"),)),
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
        ),
    ),
    Section("methods", "Methods", "Methods", (Entry("methods", about.methods, "Methods text"),)),
    Section("provenance", "Provenance", "Provenance", (Entry("provenance", about.provenance, "Provenance"),)),
)
