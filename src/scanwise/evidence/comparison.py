"""Better than what is done today, no worse, or worse: paired tests and verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import norm

from scanwise.errors import ScanwiseError
from scanwise.evidence.intervals import Interval, normal_interval
from scanwise.evidence.scores import FloatArray

Verdict = Literal["better", "non-inferior", "inferior", "undecided"]


@dataclass(frozen=True)
class Comparison:
    """A protocol against the reference: difference in AUC, tests, and a verdict.

    The verdict is the first of these that holds, all tests one-sided at `alpha`:

    * ``"better"``: the AUC is higher than the reference's, ``p_better_adjusted <= alpha``. Adjusted by Holm's method
      over all protocols compared with the reference: a false "better" anywhere in the list has probability <= alpha.
    * ``"inferior"``: the AUC is lower by more than the margin, ``P(Z <= (difference + margin) / se) <= alpha``, that is
      the upper limit of the two-sided ``1 - 2 alpha`` interval lies below ``-margin``. Not adjusted.
    * ``"non-inferior"``: the AUC is not lower by the margin or more, ``p_noninferior <= alpha``, that is the lower
      limit of that interval lies above ``-margin``. Not adjusted, as each protocol is a question of its own; for the
      best of many look at the simultaneous interval. A protocol may be lower with certainty and still non-inferior.
    * ``"undecided"``: none of these; more patients are needed.
    """

    difference: Interval
    """AUC minus the AUC of the reference, paired."""
    margin: float
    """Loss of AUC that would be accepted, > 0."""
    alpha: float
    """One-sided significance level."""
    p_noninferior: float
    """``P(Z >= (difference + margin) / se)``: small = not worse by the margin."""
    p_better: float
    """``P(Z >= difference / se)``: small = better."""
    p_better_adjusted: float
    """`p_better`, adjusted for the number of protocols compared."""
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "difference": self.difference.to_dict(),
            "margin": self.margin,
            "alpha": self.alpha,
            "p_noninferior": self.p_noninferior,
            "p_better": self.p_better,
            "p_better_adjusted": self.p_better_adjusted,
            "verdict": self.verdict,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Comparison:
        """Build a comparison from what `to_dict` returned."""
        return cls(**{**data, "difference": Interval.from_dict(data["difference"])})


def check_rule(margin: float, alpha: float) -> None:
    """Raise unless the margin is positive and alpha a one-sided significance level."""
    if isinstance(margin, bool) or not (isinstance(margin, int | float) and math.isfinite(margin) and 0 < margin < 1):
        raise ScanwiseError(
            f"a non-inferiority margin is a loss of AUC above 0 and below 1, but got margin={margin!r}",
            "0.03 means: up to 0.03 less AUC is accepted for a lower price",
        )
    if isinstance(alpha, bool) or not (isinstance(alpha, int | float) and 0 < alpha < 0.5):
        raise ScanwiseError(
            f"a one-sided significance level lies between 0 and 0.5, but got alpha={alpha!r}", "0.025 is usual"
        )


def holm(p_values: Sequence[float] | FloatArray) -> FloatArray:
    """Return p values adjusted for their number (Holm (1979), Scandinavian Journal of Statistics 6:65-70)."""
    p = np.asarray(p_values, dtype=np.float64)
    if np.isnan(p).any() or (p < 0).any() or (p > 1).any():
        raise ScanwiseError(f"p values lie within 0 and 1, but got {p.tolist()}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)))
    return adjusted


def compare(
    difference: Sequence[float] | FloatArray,
    se: Sequence[float] | FloatArray,
    *,
    margin: float,
    alpha: float = 0.025,
    level: float = 0.95,
) -> tuple[Comparison, ...]:
    """Compare all protocols of a list with the reference.

    Parameters
    ----------
    difference, se : AUC minus the AUC of the reference and its standard error, shape ``(protocols,)``. The reference
        itself is not in the list, or it would be counted in the adjustment.
    margin, alpha : accepted loss of AUC, one-sided significance level.
    level : confidence level of the intervals.

    Raises
    ------
    ScanwiseError
        If the margin is not above 0, or alpha is not between 0 and 0.5.
    """
    check_rule(margin, alpha)
    values, errors = np.asarray(difference, dtype=np.float64), np.asarray(se, dtype=np.float64)
    p_better = _upper_tail(values, errors)
    p_noninferior = _upper_tail(values + margin, errors)
    p_inferior = _upper_tail(-values - margin, errors)
    adjusted = holm(p_better)
    comparisons = []
    for index in range(values.size):
        verdict: Verdict = "undecided"
        if adjusted[index] <= alpha:
            verdict = "better"
        elif p_inferior[index] <= alpha:
            verdict = "inferior"
        elif p_noninferior[index] <= alpha:
            verdict = "non-inferior"
        comparisons.append(
            Comparison(
                difference=normal_interval(values[index], errors[index], level),
                margin=float(margin),
                alpha=float(alpha),
                p_noninferior=float(p_noninferior[index]),
                p_better=float(p_better[index]),
                p_better_adjusted=float(adjusted[index]),
                verdict=verdict,
            )
        )
    return tuple(comparisons)


def _upper_tail(value: FloatArray, se: FloatArray) -> FloatArray:
    """Return ``P(Z >= value / se)``; without spread 0 above, 1 below and 0.5 at zero."""
    certain = np.where(value > 0, np.inf, np.where(value < 0, -np.inf, 0.0))
    tail: FloatArray = norm.sf(np.divide(value, se, out=certain, where=se > 0))
    return tail
