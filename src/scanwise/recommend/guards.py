"""Guards: reasons not to change a protocol, whatever the numbers say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2, norm

from scanwise.design import Menu, Protocol
from scanwise.evidence import Assessment, Interval, short
from scanwise.recommend.findings import Finding, Severity

FEW_EVENTS = 100
"""Patients of each class below which the evidence is called thin (Collins 2016, external validation)."""
TOO_FEW_EVENTS = 30
"""Patients of each class below which nothing is recommended."""
STEADY_PICKS = 0.5
"""Share of the folds that must pick the recommended protocol for the pick to be called steady."""
STALLED = 0.25
"""The last part of a search in which the front must not move for the search to be called converged."""
STILL_MOVING = 0.005
"""Relative gain in hypervolume that counts as moving."""
SLOPE_RANGE = (0.7, 1.4)
"""Calibration slopes that are tolerated."""
RARELY_DONE = 0.5
"""Share of a site's patients who must have had a test for the site to judge it."""


@dataclass(frozen=True)
class Case:
    """What the guards look at."""

    menu: Menu
    proposed: Assessment
    reference: Assessment
    minimal: Assessment | None
    """The protocol of what is always done, the least one can do; `None` where nothing is."""
    gain_by_site: Mapping[str, Interval]
    """AUC of the proposed protocol minus AUC of the minimal one (minus 0.5 where there is none), per judging site."""
    learned_gain: Interval
    """The same difference on the searching patients."""
    learned_auc: Interval
    """AUC of the proposed protocol on the searching patients."""
    margin: float
    """AUC that may be lost at most."""
    learned_at: Sequence[str]
    """Sites of the searching patients."""
    done: Mapping[str, Mapping[str, float]]
    """Share of patients per site and modality in whom the modality was done."""
    searches: Sequence[Mapping[str, Any]]
    """What every search reports: complete, history."""
    pick_share: float | None
    """Share of outer folds that pick the proposed protocol; `None` with one fold."""
    nested: Interval | None
    """Difference to the reference of the whole procedure, judged by nested cross-fitting."""
    affordable_reference: bool
    """Whether the reference is within the budget."""
    nested_auc: Interval | None = None
    """AUC of the whole procedure, choice included; `None` where the pick was made on other patients anyway."""


def guards(case: Case) -> list[Finding]:
    """Return what every guard found."""
    changes = case.proposed.key != case.reference.key
    findings = [_patients(case), _informative(case), _search(case), _edge(case), _calibration(case), _sites(case)]
    if changes and case.affordable_reference:
        findings.insert(0, _confirmed(case))
    if changes and case.nested is not None and case.affordable_reference:
        findings.append(_nested(case))
    if case.pick_share is not None:
        findings.append(_steady(case))
    findings += _transfer(case)
    return findings


def _confirmed(case: Case) -> Finding:
    comparison = case.proposed.versus_reference
    assert comparison is not None  # noqa: S101 - the proposed protocol is not the reference here
    interval = comparison.difference.reading()
    if comparison.verdict in ("better", "non-inferior"):
        return Finding(
            "confirmed",
            Severity.PASS,
            f"Held-out patients confirm it: {comparison.verdict}, margin {short(comparison.margin, 2)}.",
            f"Difference in AUC to the reference {interval}.",
        )
    words = "is inferior" if comparison.verdict == "inferior" else "is not shown to be non-inferior"
    return Finding(
        "confirmed",
        Severity.FAIL,
        f"On held-out patients the cheaper protocol {words}, margin {short(comparison.margin, 2)}.",
        f"Difference in AUC to the reference {interval}; more patients, or a wider margin, could settle it.",
        vetoes=True,
    )


def _patients(case: Case) -> Finding:
    n_positive = case.proposed.n_positive
    fewest = min(n_positive, case.proposed.n - n_positive)
    detail = f"{case.proposed.n} patients judge, {n_positive} of them positive."
    if fewest < TOO_FEW_EVENTS:
        return Finding(
            "patients",
            Severity.FAIL,
            f"Too few patients: the smaller class has {fewest}, at least {TOO_FEW_EVENTS} are needed.",
            detail,
            vetoes=True,
        )
    if fewest < FEW_EVENTS:
        return Finding(
            "patients",
            Severity.WARNING,
            f"Few patients: the smaller class has {fewest}, fewer than {FEW_EVENTS}.",
            detail,
        )
    return Finding("patients", Severity.PASS, "There are enough patients of both classes.", detail)


def _informative(case: Case) -> Finding:
    """A pick that its own judges helped to make looks better than it is, so the whole procedure must inform too."""
    area = case.proposed.auc
    procedure = case.nested_auc
    if not area.low > 0.5 or (procedure is not None and not procedure.low > 0.5):
        beside = "" if procedure is None else f" With the choice left to other patients as well: {procedure.reading()}."
        return Finding(
            "informative",
            Severity.FAIL,
            "The protocol does not tell the sick from the well: its AUC may be 0.5.",
            f"AUC {area.reading()}.{beside}",
            vetoes=True,
        )
    return Finding("informative", Severity.PASS, "The protocol tells the sick from the well.", f"AUC {area.reading()}.")


def _search(case: Case) -> Finding:
    if all(search["complete"] for search in case.searches):
        return Finding("search", Severity.PASS, "Every protocol was scored: the search can have missed none.")
    moving = 0
    for search in case.searches:
        if search["complete"]:
            continue
        volumes = [entry["hypervolume"] for entry in search["history"]]
        before = volumes[max(0, int(len(volumes) * (1 - STALLED)) - 1)]
        moving += volumes[-1] > before * (1 + STILL_MOVING)
    if moving:
        return Finding(
            "search",
            Severity.WARNING,
            f"{moving} of {len(case.searches)} searches had not settled: the front still moved at the end.",
            "Raise search.n_trials and start the same command again; it goes on where it stopped.",
        )
    return Finding("search", Severity.PASS, "The search had settled: the front no longer moved at the end.")


def _edge(case: Case) -> Finding:
    everything = case.menu.everything() | case.menu.always
    if Protocol.from_key(case.proposed.key) == everything:
        return Finding(
            "edge",
            Severity.INFO,
            "The protocol takes everything on the menu: with more on offer, more might be better.",
        )
    return Finding("edge", Severity.PASS, "The protocol lies inside the menu, not at its edge.")


def _calibration(case: Case) -> Finding:
    slope = case.proposed.calibration.slope
    detail = (
        f"Calibration slope {slope.reading(2)} (ideal 1), intercept {case.proposed.calibration.intercept.reading(2)} "
        f"(ideal 0), expected calibration error {case.proposed.calibration.ece:.3f}."
    )
    if not slope.known:
        return Finding("calibration", Severity.INFO, "The calibration slope cannot be estimated.", detail)
    if slope.high < SLOPE_RANGE[0] or slope.low > SLOPE_RANGE[1]:
        return Finding("calibration", Severity.FAIL, "The probabilities cannot be trusted as they are.", detail)
    if not SLOPE_RANGE[0] <= slope.value <= SLOPE_RANGE[1]:
        return Finding("calibration", Severity.WARNING, "The probabilities may be off.", detail)
    return Finding("calibration", Severity.PASS, "The probabilities can be taken as they are.", detail)


def _sites(case: Case) -> Finding:
    """Cochran's Q over the differences to the reference, and sites that lie beyond the margin."""
    comparison = case.proposed.versus_reference
    known = [site for site in case.proposed.sites if site.difference is not None and site.difference.se > 0]
    if comparison is None or len(known) < 2:
        return Finding(
            "sites", Severity.INFO, "With fewer than two sites to judge, nothing is known about other sites."
        )
    values = np.array([site.difference.value for site in known if site.difference is not None])
    weights = np.array([site.difference.se**-2.0 for site in known if site.difference is not None])
    mean = float((weights * values).sum() / weights.sum())
    q = float((weights * (values - mean) ** 2).sum())
    p_value = float(chi2.sf(q, len(known) - 1))
    beyond = [site.site for site in known if site.difference is not None and site.difference.high < -comparison.margin]
    detail = f"Cochran's Q {q:.2f} over {len(known)} sites, p = {p_value:.3f}."
    if beyond:
        return Finding(
            "sites",
            Severity.FAIL,
            f"At {', '.join(beyond)} the protocol loses more than the margin of {short(comparison.margin, 2)}.",
            detail,
            vetoes=True,
        )
    if p_value < 0.05:
        return Finding("sites", Severity.WARNING, "The sites disagree on what the change does.", detail)
    return Finding("sites", Severity.PASS, "The sites agree on what the change does.", detail)


def _nested(case: Case) -> Finding:
    assert case.nested is not None  # noqa: S101 - asked by the caller
    comparison = case.proposed.versus_reference
    assert comparison is not None  # noqa: S101 - the proposed protocol is not the reference here
    detail = f"Difference in AUC of the whole procedure, choice included: {case.nested.reading()}."
    if case.nested.low > -comparison.margin:
        return Finding("procedure", Severity.PASS, "It holds when choosing is part of what is judged.", detail)
    return Finding(
        "procedure",
        Severity.WARNING,
        "With the choice itself judged too, non-inferiority is not shown: other patients might lead to another pick.",
        detail,
    )


def _steady(case: Case) -> Finding:
    assert case.pick_share is not None  # noqa: S101 - asked by the caller
    text = f"{case.pick_share:.0%} of the outer folds pick this protocol."
    if case.pick_share < STEADY_PICKS:
        return Finding("steady", Severity.WARNING, "Other patients would have led to another protocol.", text)
    return Finding("steady", Severity.PASS, "The pick is steady: most folds agree.", text)


def _transfer(case: Case) -> list[Finding]:
    """Whether what the tests add where the network learned, they add elsewhere too."""
    strangers = [site for site in case.proposed.sites if site.site not in case.learned_at]
    if not strangers:
        return []
    learned = f"at {', '.join(case.learned_at)} the tests add {case.learned_gain.reading()}"
    bought = [
        name for name in Protocol.from_key(case.proposed.key).modalities if name not in case.menu.always.modalities
    ]
    findings = []
    for site in strangers:
        gain = case.gain_by_site.get(site.site)
        rare = [
            f"{case.menu.modalities[name].title} {case.done[site.site][name]:.0%}"
            for name in bought
            if case.done[site.site][name] < RARELY_DONE
        ]
        rarely = f" Done there in few: {', '.join(rare)}." if rare else ""
        if gain is None or site.auc is None:
            findings.append(
                Finding(
                    f"transfer:{site.site}",
                    Severity.WARNING,
                    f"{site.site} cannot judge: {site.reason}.",
                    rarely.strip(),
                )
            )
            continue
        level = f"AUC {site.auc.reading()} there, {case.learned_auc.reading()} where it was learned"
        today = next((other.auc for other in case.reference.sites if other.site == site.site), None)
        detail = (
            f"{level}; over the minimal protocol {gain.reading()}, while {learned}."
            f"{f' All tests of today reach {short(today.value)} there.' if today else ''}{rarely}"
        )
        drop = site.auc.value - case.learned_auc.value
        se = float(np.hypot(site.auc.se, case.learned_auc.se))
        lost = drop + norm.isf(0.025) * se < -case.margin
        if lost or gain.low <= 0:
            why = (
                f"an AUC of {short(site.auc.value)}, against {short(case.learned_auc.value)} where it was learned"
                if lost
                else "what the tests add there cannot be told from none"
            )
            findings.append(
                Finding(
                    f"transfer:{site.site}",
                    Severity.FAIL,
                    f"The gain does not carry to {site.site}: {why}.",
                    detail,
                    vetoes=True,
                )
            )
        else:
            findings.append(
                Finding(f"transfer:{site.site}", Severity.PASS, f"The gain carries to {site.site}.", detail)
            )
    return findings
