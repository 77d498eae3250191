"""Do probabilities mean what they say? Log-loss, Brier score, recalibration, calibration curve.

Statistics are computed per round over all patients judged in it, then averaged over rounds. Standard errors are
clustered by patient: the influence of a patient is averaged over rounds before squaring (Liang, Zeger (1986),
Biometrika 73:13-22), and corrected for patients that judge in one fold and teach in another
(`scanwise.evidence.crossfit`) where there are two rounds or more; a single round of folds is taken as if its networks
were given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit

from scanwise.errors import ScanwiseError
from scanwise.evidence.crossfit import effective_folds, jackknife_scale, variation_over_rounds
from scanwise.evidence.intervals import Interval, normal_interval, wilson_interval
from scanwise.evidence.scores import FloatArray, IntArray, ScoreTable

PROBABILITY_EDGE = 1e-7
"""Probabilities are moved this far away from 0 and 1 before a logarithm is taken."""
CALIBRATION_GROUPS = 10
"""Groups of a calibration curve; fewer where a group would have less than ten patients."""

_MAX_STEPS = 60
_MAX_SLOPE = 1e4


@dataclass(frozen=True)
class CurvePoint:
    """One group of patients with similar probability."""

    predicted: float
    """Mean probability."""
    observed: float
    """Share with the disease, with Wilson's interval from `low` to `high`."""
    low: float
    high: float
    n: int
    """Number of patients, averaged over rounds."""


@dataclass(frozen=True)
class Calibration:
    """How probabilities relate to what happened."""

    slope: Interval
    """Slope of the logistic recalibration ``logit P(disease) = a + slope * logit(p)``: 1 is right, below 1 the
    probabilities are too extreme. NaN where it is not identifiable: constant or perfectly separating probabilities."""
    intercept: Interval
    """Calibration in the large: ``a`` of ``logit P(disease) = a + logit(p)``, slope held at 1; 0 is right, above 0 the
    disease is more frequent than predicted (Van Calster et al. (2019), BMC Medicine 17:230)."""
    ece: float
    """Expected calibration error: mean distance of group means from observed shares, weighted by group size."""
    curve: tuple[CurvePoint, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "slope": self.slope.to_dict(),
            "intercept": self.intercept.to_dict(),
            "ece": self.ece,
            "curve": [vars(point).copy() for point in self.curve],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """Build a calibration from what `to_dict` returned."""
        return cls(
            slope=Interval.from_dict(data["slope"]),
            intercept=Interval.from_dict(data["intercept"]),
            ece=float(data["ece"]),
            curve=tuple(CurvePoint(**point) for point in data["curve"]),
        )


def brier(table: ScoreTable, keys: Sequence[str] | None = None, level: float = 0.95) -> tuple[Interval, ...]:
    """Return the mean squared distance of probability and label, per protocol; 0 is best."""
    return _mean_loss(table, keys, level, lambda label, p: (p - label) ** 2)


def log_loss(table: ScoreTable, keys: Sequence[str] | None = None, level: float = 0.95) -> tuple[Interval, ...]:
    """Return the mean negative log-likelihood [nats], per protocol; probabilities are clipped at `PROBABILITY_EDGE`."""

    def loss(label: IntArray, p: FloatArray) -> FloatArray:
        clipped = np.clip(p, PROBABILITY_EDGE, 1 - PROBABILITY_EDGE)
        values: FloatArray = -np.where(label == 1, np.log(clipped), np.log1p(-clipped))
        return values

    return _mean_loss(table, keys, level, loss)


def calibration(table: ScoreTable, keys: Sequence[str] | None = None, level: float = 0.95) -> tuple[Calibration, ...]:
    """Return slope, intercept, curve and expected calibration error, per protocol."""
    rows = table.rows(keys)
    _check_judged(table)
    slopes, intercepts = _recalibration(table, rows, level)
    results = []
    for row, slope, intercept in zip(rows, slopes, intercepts, strict=True):
        curve, ece = _curve(table, int(row), level)
        results.append(Calibration(slope=slope, intercept=intercept, ece=ece, curve=curve))
    return tuple(results)


def _mean_loss(
    table: ScoreTable,
    keys: Sequence[str] | None,
    level: float,
    loss: Callable[[IntArray, FloatArray], FloatArray],
) -> tuple[Interval, ...]:
    _check_judged(table)
    rows = table.rows(keys)
    rounds = _rounds(table)
    value = np.zeros(rows.size)
    influence = np.zeros((table.n_rounds, rows.size, table.label.size))
    for round_ in rounds:
        judged = table.stratum[round_] >= 0
        losses = loss(table.label[judged], table.probability[round_][np.ix_(rows, judged)])
        mean = losses.mean(axis=1)
        value += mean / len(rounds)
        influence[round_][:, judged] = (losses - mean[:, None]) / judged.sum()
    se = _clustered(table, influence)
    return tuple(_not_below_zero(normal_interval(v, s, level)) for v, s in zip(value, se, strict=True))


def _recalibration(table: ScoreTable, rows: IntArray, level: float) -> tuple[list[Interval], list[Interval]]:
    rounds = _rounds(table)
    value = np.zeros((2, rows.size))
    influence = np.zeros((2, table.n_rounds, rows.size, table.label.size))
    for round_ in rounds:
        judged = table.stratum[round_] >= 0
        label = table.label[judged].astype(np.float64)
        clipped = np.clip(table.probability[round_][np.ix_(rows, judged)], PROBABILITY_EDGE, 1 - PROBABILITY_EDGE)
        odds = logit(clipped)
        for which, (estimate, of_patients) in enumerate((_fit_slope(odds, label), _fit_intercept(odds, label))):
            value[which] += estimate / len(rounds)
            influence[which, round_][:, judged] = of_patients
    intervals: list[list[Interval]] = []
    for estimates, of_patients in zip(value, influence, strict=True):
        se = _clustered(table, of_patients)
        intervals.append(
            [
                Interval.unknown(level) if math.isnan(v) else normal_interval(v, s, level)
                for v, s in zip(estimates, se, strict=True)
            ]
        )
    return intervals[0], intervals[1]


def _fit_slope(odds: FloatArray, label: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return slopes ``(protocols,)`` and influence ``(protocols, patients)``; Newton steps, all protocols at once."""
    centre = odds.mean(axis=1, keepdims=True)
    spread = odds.std(axis=1, keepdims=True)
    spread = np.where(spread > 1e-9, spread, np.nan)
    x = (odds - centre) / spread
    coefficients = np.zeros((2, odds.shape[0]))
    step = np.full_like(coefficients, np.inf)
    for _ in range(_MAX_STEPS):
        gradient, hessian = _score_and_information(coefficients, x, label)
        determinant = hessian[0] * hessian[2] - hessian[1] ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.stack(
                (
                    (hessian[2] * gradient[0] - hessian[1] * gradient[1]) / determinant,
                    (hessian[0] * gradient[1] - hessian[1] * gradient[0]) / determinant,
                )
            )
            size = np.abs(step).max(axis=0)
            coefficients = coefficients + step * np.minimum(1.0, 1.0 / size)
        if not (size > 1e-10).any():
            break
    found = (np.abs(step).max(axis=0) < 1e-6) & (np.abs(coefficients[1]) < _MAX_SLOPE)
    residual = label - expit(coefficients[0][:, None] + coefficients[1][:, None] * x)
    _, hessian = _score_and_information(coefficients, x, label)
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = hessian[0] * hessian[2] - hessian[1] ** 2
        influence = (hessian[0][:, None] * residual * x - hessian[1][:, None] * residual) / determinant[:, None]
        slope = np.where(found, coefficients[1] / spread[:, 0], np.nan)
    return slope, np.where(found[:, None], influence / spread, np.nan)


def _score_and_information(coefficients: FloatArray, x: FloatArray, label: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the gradient ``(2, protocols)`` and the information's entries 00, 01, 11 ``(3, protocols)``."""
    p = expit(coefficients[0][:, None] + coefficients[1][:, None] * x)
    residual, weight = label - p, p * (1 - p)
    gradient = np.stack((residual.sum(axis=1), (residual * x).sum(axis=1)))
    return gradient, np.stack((weight.sum(axis=1), (weight * x).sum(axis=1), (weight * x * x).sum(axis=1)))


def _fit_intercept(odds: FloatArray, label: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return intercepts at slope 1, ``(protocols,)``, and influence ``(protocols, patients)``."""
    intercept = np.full(odds.shape[0], math.nan)
    if label.min() == label.max():
        return intercept, np.full_like(odds, math.nan)
    intercept = logit(label.mean()) - np.median(odds, axis=1)
    low, high = -60.0 + np.zeros_like(intercept), 60.0 + np.zeros_like(intercept)
    for _ in range(_MAX_STEPS):
        p = expit(intercept[:, None] + odds)
        gradient, weight = (label - p).sum(axis=1), (p * (1 - p)).sum(axis=1)
        low, high = np.where(gradient > 0, intercept, low), np.where(gradient <= 0, intercept, high)
        newton = intercept + gradient / np.maximum(weight, 1e-12)
        following = np.where((newton > low) & (newton < high), newton, (low + high) / 2)
        done = np.abs(gradient) < 1e-10 * label.size
        intercept = np.where(done, intercept, following)
        if done.all():
            break
    p = expit(intercept[:, None] + odds)
    weight = np.maximum((p * (1 - p)).sum(axis=1), 1e-12)
    return intercept, (label - p) / weight[:, None]


def _curve(table: ScoreTable, row: int, level: float) -> tuple[tuple[CurvePoint, ...], float]:
    """Return the calibration curve in quantile groups, averaged over rounds, and the expected calibration error."""
    rounds = _rounds(table)
    groups = max(1, min(CALIBRATION_GROUPS, min(int((table.stratum[r] >= 0).sum()) for r in rounds) // 10))
    n, predicted, observed = np.zeros(groups), np.zeros(groups), np.zeros(groups)
    ece = 0.0
    for round_ in rounds:
        judged = table.stratum[round_] >= 0
        p, label = table.probability[round_, row, judged], table.label[judged]
        edges = np.quantile(p, np.arange(1, groups) / groups)
        group = np.searchsorted(edges, p, side="left")
        of_round = np.bincount(group, minlength=groups)
        sum_p, sum_label = np.bincount(group, p, groups), np.bincount(group, label, groups)
        ece += float(np.abs(sum_p - sum_label).sum() / p.size) / len(rounds)
        n, predicted, observed = n + of_round, predicted + sum_p, observed + sum_label
    points = []
    for group in np.flatnonzero(n):
        share, mean_n = observed[group] / n[group], n[group] / len(rounds)
        wilson = wilson_interval(share * mean_n, mean_n, level)
        points.append(
            CurvePoint(
                predicted=float(predicted[group] / n[group]),
                observed=float(share),
                low=wilson.low,
                high=wilson.high,
                n=round(mean_n),
            )
        )
    return tuple(points), ece


def _clustered(table: ScoreTable, influence: FloatArray) -> FloatArray:
    """Return standard errors from influence values ``(rounds, protocols, patients)``, each round summing to 0."""
    if table.n < 2:
        return np.full(influence.shape[1], math.nan)
    rounds = _rounds(table)
    mean = influence.sum(axis=0) / len(rounds)
    variance = table.n / (table.n - 1) * np.einsum("pi,pi->p", mean, mean)
    folds = float(np.mean([effective_folds(table.stratum[round_]) for round_ in rounds]))
    varying = variation_over_rounds(influence, table.stratum >= 0, len(rounds)) if folds > 1 else None
    if varying is not None:
        variance += jackknife_scale(folds, len(rounds)) * np.diag(varying)
    se: FloatArray = np.sqrt(variance)
    return se


def _rounds(table: ScoreTable) -> list[int]:
    return [round_ for round_ in range(table.n_rounds) if (table.stratum[round_] >= 0).any()]


def _not_below_zero(interval: Interval) -> Interval:
    return Interval(interval.value, max(interval.low, 0.0), interval.high, interval.se, interval.level)


def _check_judged(table: ScoreTable) -> None:
    if not table.judged.any():
        raise ScanwiseError("calibration needs judged patients, but none has a score", "score the judging patients")
