"""What the cards read: the recommendation, with the look-ups that all of them need."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from scanwise.design import Protocol
from scanwise.errors import ScanwiseError
from scanwise.report import formats


class Inputs:
    """A recommendation dictionary, looked at by protocol key and never by position.

    Parameters
    ----------
    recommendation : content of ``recommendation.json``.

    Notes
    -----
    Properties raise where their part of the dictionary is broken, so only the cards that need it fail.
    """

    def __init__(self, recommendation: Mapping[str, Any]) -> None:
        self.data = recommendation

    @cached_property
    def study(self) -> Mapping[str, Any]:
        """What was studied; empty where it is missing."""
        study = self.data.get("study")
        return study if isinstance(study, Mapping) else {}

    @cached_property
    def currency(self) -> str:
        """Symbol written before money."""
        return str(self.data.get("currency") or "")

    @cached_property
    def primary(self) -> str:
        """The cost axis that budgets are asked on."""
        return str((self.data.get("rule") or {}).get("primary") or self.axes[0])

    @cached_property
    def axes(self) -> tuple[str, ...]:
        """Priced cost axes, the primary one first."""
        axes = [str(axis) for axis in self.data.get("axes") or ["money"]]
        first = str((self.data.get("rule") or {}).get("primary") or axes[0])
        return (first, *(axis for axis in axes if axis != first))

    @cached_property
    def candidates(self) -> tuple[Mapping[str, Any], ...]:
        """The short list, in the order of the file."""
        return tuple(self.data["candidates"])

    @cached_property
    def by_key(self) -> dict[str, Mapping[str, Any]]:
        """The short list by protocol key."""
        return {candidate["key"]: candidate for candidate in self.candidates}

    def candidate(self, key: str) -> Mapping[str, Any]:
        """Return the candidate with a key.

        Raises
        ------
        ScanwiseError
            If the short list does not contain it.
        """
        if key not in self.by_key:
            raise ScanwiseError(
                f"the recommendation speaks of the protocol {key!r}, which is not on its short list",
                "run the recommend stage again",
            )
        return self.by_key[key]

    @cached_property
    def decision(self) -> Mapping[str, Any]:
        """The decision; empty where it is missing."""
        decision = self.data.get("decision")
        return decision if isinstance(decision, Mapping) else {}

    @cached_property
    def reference(self) -> Mapping[str, Any]:
        """Today's protocol."""
        return self.candidate(self.data["reference"])

    @cached_property
    def chosen(self) -> Mapping[str, Any] | None:
        """The proposed protocol; None where nothing can be proposed."""
        key = self.decision.get("key")
        return None if key is None else self.candidate(key)

    @property
    def shown(self) -> Mapping[str, Any]:
        """The protocol that the evidence is shown for: the proposed one, today's where there is none."""
        return self.reference if self.chosen is None else self.chosen

    def role(self, key: str | None) -> str:
        """Return the role of a protocol in tables and figures: ``"reference"``, ``"proposal"`` or empty."""
        if key is not None and key == self.data.get("reference"):
            return "reference"
        return "proposal" if key is not None and key == self.decision.get("key") else ""

    @property
    def vetoed(self) -> str | None:
        """Key of the protocol that the rule picked and a guard forbade; None where nothing was forbidden."""
        picked = self.decision.get("proposed")
        return str(picked) if picked is not None and picked != self.decision.get("key") else None

    @property
    def changes(self) -> bool:
        """Whether a protocol other than today's is proposed."""
        return self.chosen is not None and self.chosen["key"] != self.data.get("reference")

    @cached_property
    def pair(self) -> tuple[tuple[str, str, Mapping[str, Any]], ...]:
        """``(role, name, candidate)`` of what is compared: the proposal, where it differs, and today's protocol."""
        proposal = (("proposal", "proposed", self.shown),) if self.changes else ()
        return (*proposal, ("reference", "today", self.reference))

    @property
    def margin(self) -> float | None:
        """Accepted loss of AUC."""
        return formats.finite((self.data.get("rule") or {}).get("margin"))

    @property
    def level(self) -> str:
        """Confidence level as text: ``"95 %"``."""
        return formats.percent((self.data.get("rule") or {}).get("level") or 0.95)

    def cost_of(self, candidate: Mapping[str, Any], axis: str) -> float | None:
        """Return the cost of a candidate along an axis."""
        return formats.finite((candidate.get("cost") or {}).get(axis))

    def price(self, value: Any, axis: str | None = None) -> str:
        """Write a cost along an axis, by default the primary one."""
        return formats.cost(axis or self.primary, value, self.currency)

    def verdict(self, candidate: Mapping[str, Any] | None) -> str:
        """Return what the comparison with today's protocol says; ``"reference"`` for today's, empty for nothing."""
        if candidate is None:
            return ""
        if candidate["key"] == self.data.get("reference"):
            return "reference"
        return str(versus(candidate).get("verdict") or "undecided")

    @cached_property
    def titles(self) -> dict[str, str]:
        """Name for people of every modality that occurs, in the order of the menu as far as it is known."""
        titles = {str(entry["name"]): str(entry.get("title") or "") for entry in self.data.get("modalities") or ()}
        for entry in self.study.get("missing") or ():
            titles.setdefault(str(entry["modality"]), str(entry.get("title") or ""))
        for candidate in (self.reference, *self.candidates):
            for name in candidate.get("modalities") or Protocol.from_key(candidate["key"]).modalities:
                titles.setdefault(str(name), "")
        return {name: title or name.replace("_", " ") for name, title in titles.items()}

    def parts(self, candidate: Mapping[str, Any]) -> dict[str, str]:
        """Return what is acquired of every modality of a candidate, in words: ``{"exercise": "exercise ECG"}``.

        The words are those of the bill; a modality that cannot be found there is described from the protocol key.
        """
        labels: dict[str, str] = {}
        for line in candidate.get("bill") or ():
            label = str(line["label"])
            if line.get("kind") == "shots" and (name := self._named(label)) is not None:
                labels.setdefault(name, label)
        protocol = Protocol.from_key(candidate["key"])
        parts = {}
        for name in candidate.get("modalities") or protocol.modalities:
            counts = protocol.counts(name)
            taken = sum(count > 0 for count in counts)
            text = "in full" if taken == len(counts) and set(counts) == {1} else f"{taken} of {len(counts)} parts"
            parts[name] = labels.get(name, f"{self.titles[name]} ({text})")
        return parts

    def _named(self, label: str) -> str | None:
        """Return the modality that a line of the bill is about: of those whose title it begins with, the longest."""
        known = [
            name
            for name, title in self.titles.items()
            if label == title or (label.startswith(title) and label[len(title)] in " ,(")
        ]
        return max(known, key=lambda name: len(self.titles[name]), default=None)

    def scan_minutes(self, candidate: Mapping[str, Any]) -> float | None:
        """Return the minutes that a candidate acquires, without its set-ups; None where it carries no bill."""
        lines = candidate.get("bill") or ()
        if not lines:
            return None
        return sum(formats.finite(line["cost"].get("minutes")) or 0.0 for line in lines if line.get("kind") == "shots")

    def test_cost(self, candidate: Mapping[str, Any], name: str, axis: str) -> float:
        """Return what a candidate pays for one modality along an axis, without the set-ups it shares."""
        lines = [line for line in candidate.get("bill") or () if line.get("kind") == "shots"]
        mine = [line for line in lines if self._named(str(line["label"])) == name]
        return sum(formats.finite(line["cost"].get(axis)) or 0.0 for line in mine)

    def bill_line(self, line: Mapping[str, Any]) -> tuple[str, str]:
        """Return what a line of a bill is about and its kind; one line per test, however it is acquired.

        A test and the fee of its session may share a label, so the kind (``"shots"`` or ``"setup"``) belongs to it.
        """
        label, kind = str(line["label"]), str(line["kind"])
        name = self._named(label) if kind == "shots" else None
        return (label if name is None else self.titles[name]), kind

    def own_cost(self, candidate: Mapping[str, Any], about: tuple[str, str], axis: str) -> float:
        """Return what the lines of a candidate's bill about something cost along an axis; see `bill_line`."""
        lines = [line for line in candidate.get("bill") or () if self.bill_line(line) == about]
        return sum(formats.finite(line["cost"].get(axis)) or 0.0 for line in lines)


def assessment(candidate: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the assessment of a candidate; empty where it was not judged."""
    found = (candidate or {}).get("assessment")
    return found if isinstance(found, Mapping) else {}


def auc_of(candidate: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the AUC of a candidate as ``{value, low, high}``; empty where it was not judged."""
    interval = assessment(candidate).get("auc")
    return interval if isinstance(interval, Mapping) else {}


def versus(candidate: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the comparison of a candidate with today's protocol; empty where there is none."""
    comparison = assessment(candidate).get("versus_reference")
    return comparison if isinstance(comparison, Mapping) else {}
