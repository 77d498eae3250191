"""What happens at a threshold: sensitivity at a fixed specificity, net benefit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from scanwise.errors import ScanwiseError
from scanwise.evidence.intervals import (
    Interval,
    percentile_interval,
    resample_counts,
    wilson_interval,
)
from scanwise.evidence.roc import auc_with_covariance, placement_values, resampled_roc
from scanwise.evidence.scores import FloatArray, ScoreTable


@dataclass(frozen=True)
class NetBenefit:
    """Net benefit of acting at a threshold [true positives per patient]."""

    threshold: float
    """Probability from which on one would act."""
    model: float
    """Acting where the probability reaches the threshold."""
    treat_all: float
    """Acting on everyone; acting on no one is 0."""


def check_share(name: str, value: float) -> None:
    """Raise unless a specificity or threshold lies strictly between 0 and 1."""
    if isinstance(value, bool) or not (isinstance(value, int | float) and 0 < value < 1):
        raise ScanwiseError(
            f"a {name} lies between 0 and 1, but got {value!r}", "give a share such as 0.9, not per cent"
        )


def sensitivity_at_specificity(
    table: ScoreTable, key: str, specificity: float, *, level: float = 0.95, n_resamples: int = 2000, seed: int = 0
) -> Interval:
    """Return the sensitivity where `specificity` of the negatives are called negative, within strata.

    A positive is found where at most ``1 - specificity`` of the negatives of its stratum are ranked as high or higher
    (placement values, Pepe, Cai (2004), Biometrics 60:528-535), so the threshold is each stratum's own. The interval is
    the patient bootstrap's, redrawing the threshold too, widened for cross-fitted scores as much as the AUC's
    (`AucEstimates.widening`), and never narrower than Wilson's for a known threshold.
    """
    check_share("specificity", specificity)
    counts = resample_counts(table, n_resamples, seed)
    _, draws = resampled_roc(table, [key], counts, 1 - specificity)
    widening = float(auc_with_covariance(table, [key]).widening[0])
    return sensitivity_interval(table, key, specificity, draws[0], level, widening=widening)


def sensitivity_interval(
    table: ScoreTable, key: str, specificity: float, draws: FloatArray, level: float = 0.95, *, widening: float = 1.0
) -> Interval:
    """Return the interval of `sensitivity_at_specificity` from bootstrap draws, shape ``(resamples,)``.

    Deviations of the draws are multiplied by `widening`, see `AucEstimates.widening`.
    """
    placement, weight = placement_values(table, key)
    value = float(np.clip(weight[placement <= 1 - specificity + 1e-9].sum(), 0.0, 1.0))
    drawn = percentile_interval(value, value + widening * (draws - value), level)
    known = wilson_interval(value * table.n_positive, table.n_positive, level)
    low, high = np.clip((min(drawn.low, known.low), max(drawn.high, known.high)), 0.0, 1.0)
    return Interval(value, float(low), float(high), max(drawn.se, known.se), level)


def net_benefit(label: ArrayLike, probability: ArrayLike, thresholds: Sequence[float]) -> tuple[NetBenefit, ...]:
    """Return the net benefit at each threshold (Vickers, Elkin (2006), Medical Decision Making 26:565-574).

    Parameters
    ----------
    label : 0 or 1, shape ``(patients,)``.
    probability : shape ``(patients,)`` or ``(rounds, patients)``; rounds are averaged, NaN = not judged in that round.
    thresholds : probabilities between 0 and 1.
    """
    labels = np.asarray(label)
    rounds = np.atleast_2d(np.asarray(probability, dtype=np.float64))
    judged = ~np.isnan(rounds)
    rounds, judged = rounds[judged.any(axis=1)], judged[judged.any(axis=1)]
    if not judged.size:
        raise ScanwiseError("net benefit needs judged patients, but none has a score", "score the judging patients")
    n = judged.sum(axis=1)
    positive = (judged & (labels == 1)).sum(axis=1) / n
    results = []
    for threshold in thresholds:
        check_share("threshold", threshold)
        acted = judged & (rounds >= threshold)
        odds = threshold / (1 - threshold)
        true_positive = (acted & (labels == 1)).sum(axis=1) / n
        false_positive = (acted & (labels == 0)).sum(axis=1) / n
        results.append(
            NetBenefit(
                threshold=float(threshold),
                model=float(np.mean(true_positive - odds * false_positive)),
                treat_all=float(np.mean(positive - odds * (1 - positive))),
            )
        )
    return tuple(results)
