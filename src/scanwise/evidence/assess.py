"""Everything there is to say about a protocol, from the score table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scanwise.errors import ScanwiseError
from scanwise.evidence.calibration import Calibration, brier, calibration, log_loss
from scanwise.evidence.comparison import Comparison, check_rule, compare
from scanwise.evidence.intervals import (
    Interval,
    auc_bootstrap_interval,
    check_level,
    logit_interval,
    normal_interval,
    resample_counts,
    simultaneous_intervals,
)
from scanwise.evidence.operating import NetBenefit, check_share, net_benefit, sensitivity_interval
from scanwise.evidence.roc import AucEstimates, auc_with_covariance, resampled_roc, roc_points
from scanwise.evidence.scores import ScoreTable

MINIMUM_PER_SITE = 5
"""Patients of each class a site needs to be judged on its own."""
DEFAULT_THRESHOLDS = (0.1, 0.2, 0.3, 0.5)
"""Probabilities at which net benefit is reported, where none are asked for."""


@dataclass(frozen=True)
class Sensitivity:
    """Sensitivity at a fixed specificity."""

    specificity: float
    value: Interval


@dataclass(frozen=True)
class SiteResult:
    """One site on its own; where it cannot be judged, `reason` says why and the intervals are None."""

    site: str
    n: int
    n_positive: int
    auc: Interval | None
    difference: Interval | None
    """AUC minus the AUC of the reference; None for the reference itself."""
    reason: str


@dataclass(frozen=True)
class Assessment:
    """What the judging patients say about one protocol."""

    key: str
    n: int
    """Judged patients."""
    n_positive: int
    auc: Interval
    """DeLong's variance on the logit scale, corrected for cross-fitting."""
    auc_bootstrap: Interval
    """The same by patient bootstrap, percentiles on the logit scale."""
    versus_reference: Comparison | None
    """None for the reference itself."""
    simultaneous: Interval | None
    """Difference to the reference; all differences of the list are covered together. None for the reference."""
    log_loss: Interval
    brier: Interval
    calibration: Calibration
    sensitivity: Sensitivity
    roc: tuple[tuple[float, float], ...]
    """False positive rate and sensitivity."""
    net_benefit: tuple[NetBenefit, ...]
    sites: tuple[SiteResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON: no arrays, None for what cannot be estimated."""
        return {
            "key": self.key,
            "n": self.n,
            "n_positive": self.n_positive,
            "auc": self.auc.to_dict(),
            "auc_bootstrap": self.auc_bootstrap.to_dict(),
            "versus_reference": None if self.versus_reference is None else self.versus_reference.to_dict(),
            "simultaneous": _to_dict(self.simultaneous),
            "log_loss": self.log_loss.to_dict(),
            "brier": self.brier.to_dict(),
            "calibration": self.calibration.to_dict(),
            "sensitivity": {
                "specificity": self.sensitivity.specificity,
                "value": self.sensitivity.value.to_dict(),
            },
            "roc": [list(point) for point in self.roc],
            "net_benefit": [vars(point).copy() for point in self.net_benefit],
            "sites": [
                {**vars(site), "auc": _to_dict(site.auc), "difference": _to_dict(site.difference)}
                for site in self.sites
            ],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Assessment:
        """Build an assessment from what `to_dict` returned."""
        versus = data["versus_reference"]
        return cls(
            key=data["key"],
            n=data["n"],
            n_positive=data["n_positive"],
            auc=Interval.from_dict(data["auc"]),
            auc_bootstrap=Interval.from_dict(data["auc_bootstrap"]),
            versus_reference=None if versus is None else Comparison.from_dict(versus),
            simultaneous=_from_dict(data["simultaneous"]),
            log_loss=Interval.from_dict(data["log_loss"]),
            brier=Interval.from_dict(data["brier"]),
            calibration=Calibration.from_dict(data["calibration"]),
            sensitivity=Sensitivity(
                data["sensitivity"]["specificity"], Interval.from_dict(data["sensitivity"]["value"])
            ),
            roc=tuple((float(x), float(y)) for x, y in data["roc"]),
            net_benefit=tuple(NetBenefit(**point) for point in data["net_benefit"]),
            sites=tuple(
                SiteResult(**{**site, "auc": _from_dict(site["auc"]), "difference": _from_dict(site["difference"])})
                for site in data["sites"]
            ),
        )


def assess(
    table: ScoreTable,
    key: str,
    reference: str,
    *,
    margin: float,
    alpha: float = 0.025,
    level: float = 0.95,
    specificity: float = 0.9,
    thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Assessment:
    """Assess one protocol that was fixed beforehand; for the best of several use `assess_all`."""
    return assess_all(
        table,
        (key,),
        reference,
        margin=margin,
        alpha=alpha,
        level=level,
        specificity=specificity,
        thresholds=thresholds,
        n_resamples=n_resamples,
        seed=seed,
    )[0]


def assess_all(
    table: ScoreTable,
    keys: Sequence[str],
    reference: str,
    *,
    margin: float,
    alpha: float = 0.025,
    level: float = 0.95,
    specificity: float = 0.9,
    thresholds: Sequence[float] = DEFAULT_THRESHOLDS,
    n_resamples: int = 2000,
    seed: int = 0,
) -> tuple[Assessment, ...]:
    """Assess a short list against the reference.

    Parameters
    ----------
    table : scores, with the reference among its protocols.
    keys : the short list; multiplicity is that of this list, the reference not counted.
    reference : key of the protocol to compare with.
    margin : loss of AUC that is accepted for a lower price, > 0.
    alpha : one-sided significance level of "better", "non-inferior" and "inferior", see `Comparison`.
    level : confidence level of all intervals.
    specificity : where to read the sensitivity.
    thresholds : probabilities for the net benefit.
    n_resamples, seed : patient bootstrap; the same patients are drawn for all protocols.

    Returns
    -------
    One assessment per key, in the order of `keys`.

    Raises
    ------
    ScanwiseError
        For an unknown or repeated key, a rule out of range, or patients that cannot be compared.
    """
    check_rule(margin, alpha)
    check_level(level)
    check_share("specificity", specificity)
    for threshold in thresholds:
        check_share("threshold", threshold)
    if not keys or len(set(keys)) != len(keys):
        raise ScanwiseError(
            f"a short list names different protocols, at least one, but got {list(keys)}", "list each protocol once"
        )
    others = tuple(key for key in keys if key != reference)
    listed = (reference, *others)
    estimates = auc_with_covariance(table, listed)
    difference, se = estimates.difference_to(reference)
    compared = compare(difference[1:], se[1:], margin=margin, alpha=alpha, level=level)
    versus = dict(zip(others, compared, strict=True))
    simultaneous = dict(zip(listed, simultaneous_intervals(estimates, reference, level=level, seed=seed), strict=True))
    counts = resample_counts(table, n_resamples, seed)
    area, sensitivity = resampled_roc(table, listed, counts, 1 - specificity)
    losses, briers = log_loss(table, listed, level), brier(table, listed, level)
    calibrations = calibration(table, listed, level)
    sites = _sites(table, listed, reference, level)
    results = []
    for key in keys:
        index = listed.index(key)
        results.append(
            Assessment(
                key=key,
                n=table.n,
                n_positive=table.n_positive,
                auc=_auc_interval(estimates, index, level),
                auc_bootstrap=auc_bootstrap_interval(
                    float(estimates.value[index]),
                    area[index],
                    level,
                    widening=float(estimates.widening[index]),
                    n_positive=estimates.n_positive,
                    n_negative=estimates.n_negative,
                ),
                versus_reference=versus.get(key),
                simultaneous=simultaneous[key],
                log_loss=losses[index],
                brier=briers[index],
                calibration=calibrations[index],
                sensitivity=Sensitivity(
                    float(specificity),
                    sensitivity_interval(
                        table,
                        key,
                        specificity,
                        sensitivity[index],
                        level,
                        widening=float(estimates.widening[index]),
                    ),
                ),
                roc=tuple((x, y) for x, y in roc_points(table, key)),
                net_benefit=net_benefit(table.label, table.probability[:, table.row(key)], thresholds),
                sites=tuple(of_site[index] for of_site in sites),
            )
        )
    return tuple(results)


def _sites(table: ScoreTable, keys: Sequence[str], reference: str, level: float) -> list[tuple[SiteResult, ...]]:
    """Return, per site, one result per key."""
    results = []
    for site in np.unique(table.site[table.judged]).tolist():
        of_site = table.subset((table.site == site) & table.judged)
        n, n_positive = of_site.n, of_site.n_positive
        reason = ""
        estimates = None
        if min(n_positive, n - n_positive) < MINIMUM_PER_SITE:
            reason = (
                f"{n_positive} positive and {n - n_positive} negative patients, "
                f"but a site needs {MINIMUM_PER_SITE} of each to be judged"
            )
        else:
            try:
                estimates = auc_with_covariance(of_site, keys)
            except ScanwiseError:
                reason = "the patients of this site are spread over so many folds that none can be compared"
        if estimates is None:
            results.append(tuple(SiteResult(site, n, n_positive, None, None, reason) for _ in keys))
            continue
        difference, se = estimates.difference_to(reference)
        results.append(
            tuple(
                SiteResult(
                    site=site,
                    n=n,
                    n_positive=n_positive,
                    auc=_auc_interval(estimates, index, level),
                    difference=None if key == reference else normal_interval(difference[index], se[index], level),
                    reason="",
                )
                for index, key in enumerate(keys)
            )
        )
    return results


def _auc_interval(estimates: AucEstimates, index: int, level: float) -> Interval:
    return logit_interval(
        float(estimates.value[index]),
        float(estimates.se[index]),
        level,
        n_effective=min(estimates.n_positive, estimates.n_negative),
    )


def _to_dict(interval: Interval | None) -> dict[str, float | None] | None:
    return None if interval is None else interval.to_dict()


def _from_dict(data: Mapping[str, Any] | None) -> Interval | None:
    return None if data is None else Interval.from_dict(data)
