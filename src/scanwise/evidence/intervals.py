"""Intervals: normal, logit, Wilson, patient bootstrap, and simultaneous over a list."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm

from scanwise.errors import ScanwiseError
from scanwise.evidence.roc import AucEstimates
from scanwise.evidence.scores import FloatArray, ScoreTable

MINIMUM_RESAMPLES = 100
"""Draws that a percentile interval needs at least."""


@dataclass(frozen=True)
class Interval:
    """An estimate and how far it may be off; all NaN where it cannot be estimated.

    Raises
    ------
    ScanwiseError
        If the level is not between 0 and 1, or the limits are the wrong way round.
    """

    value: float
    low: float
    high: float
    se: float
    """Standard error, on the scale of the value."""
    level: float
    """Share of such intervals that cover the truth, e.g. 0.95."""

    def __post_init__(self) -> None:
        check_level(self.level)
        if self.low > self.high:
            raise ScanwiseError(f"an interval runs from low to high, but got low={self.low!r}, high={self.high!r}")

    @property
    def known(self) -> bool:
        """Whether there is an estimate."""
        return not math.isnan(self.value)

    def reading(self, digits: int = 3) -> str:
        """Return one line for people: ``".913 (.880 to .938)"``."""
        if not self.known:
            return "cannot be estimated"
        return f"{short(self.value, digits)} ({short(self.low, digits)} to {short(self.high, digits)})"

    def to_dict(self) -> dict[str, float | None]:
        """Return plain JSON, None for NaN."""
        return {name: plain(getattr(self, name)) for name in ("value", "low", "high", "se", "level")}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Interval:
        """Build an interval from what `to_dict` returned."""
        return cls(**{name: math.nan if value is None else float(value) for name, value in data.items()})

    @classmethod
    def unknown(cls, level: float) -> Interval:
        """Return the interval of something that cannot be estimated."""
        return cls(math.nan, math.nan, math.nan, math.nan, level)


def short(value: float, digits: int = 3) -> str:
    """Write a number as the field does: no zero before the point, a real minus sign; ``".913"``, ``"−.007"``."""
    text = f"{abs(value):.{digits}f}"
    negative = value < 0 and float(text) != 0
    return ("−" if negative else "") + (text[1:] if text.startswith("0.") else text)


def plain(value: float) -> float | None:
    """Return a Python float, None for NaN."""
    return None if math.isnan(value) else float(value)


def check_level(level: float) -> None:
    """Raise unless a confidence level lies strictly between 0 and 1."""
    if not 0 < level < 1:
        raise ScanwiseError(f"a confidence level lies between 0 and 1, but got level={level!r}", "0.95 is usual")


def quantile(level: float) -> float:
    """Return z such that a normal variable lies within -z and z with probability `level`."""
    check_level(level)
    return float(norm.ppf(0.5 + level / 2))


def normal_interval(value: float, se: float, level: float = 0.95) -> Interval:
    """Return ``value -+ z * se``."""
    reach = quantile(level) * se
    return Interval(float(value), float(value - reach), float(value + reach), float(se), level)


def logit_interval(value: float, se: float, level: float = 0.95, n_effective: float | None = None) -> Interval:
    """Return an interval for a proportion or an AUC that stays within 0 and 1.

    Symmetric on the logit scale, standard error by the delta method (Pepe (2003), The Statistical Evaluation of Medical
    Tests, for the AUC). Where the value is 0 or 1 the standard error is 0 and says nothing; then Wilson's limit for
    `n_effective` observations is used, for an AUC the size of the smaller class.
    """
    z = quantile(level)
    if value <= 0 or value >= 1:
        n = 1.0 if n_effective is None else n_effective
        side = wilson_interval(value * n, n, level)
        return Interval(float(value), side.low, side.high, float(se), level)
    reach = z * se / (value * (1 - value))
    centre = logit(value)
    return Interval(float(value), float(expit(centre - reach)), float(expit(centre + reach)), float(se), level)


def wilson_interval(successes: float, n: float, level: float = 0.95) -> Interval:
    """Return Wilson's score interval for a proportion (Wilson (1927), JASA 22:209-212)."""
    if n <= 0:
        return Interval.unknown(level)
    z = quantile(level)
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * math.sqrt(max(share * (1 - share), 0.0) / n + z**2 / (4 * n**2))
    low, high = max(0.0, min(centre - reach, share)), min(1.0, max(centre + reach, share))
    return Interval(float(share), float(low), float(high), math.sqrt(max(share * (1 - share), 0.0) / n), level)


def resample_counts(table: ScoreTable, n_resamples: int, seed: int) -> FloatArray:
    """Draw patients with replacement, as many per class as were judged; shape ``(resamples, patients)``.

    Stratified by label, as the number of positives is given; a patient drawn twice counts twice in every round.
    """
    whole = isinstance(n_resamples, int | np.integer) and not isinstance(n_resamples, bool)
    if not whole or n_resamples < MINIMUM_RESAMPLES:
        raise ScanwiseError(
            f"a bootstrap needs at least {MINIMUM_RESAMPLES} resamples, but got {n_resamples=}", "2000 is usual"
        )
    rng = np.random.default_rng(seed)
    counts = np.zeros((int(n_resamples), table.label.size))
    for of_class in (0, 1):
        members = np.flatnonzero(table.judged & (table.label == of_class))
        if members.size:
            counts[:, members] = rng.multinomial(
                members.size, np.full(members.size, 1 / members.size), size=int(n_resamples)
            )
    return counts


def patient_bootstrap(
    table: ScoreTable,
    statistic: Callable[[ScoreTable, FloatArray], FloatArray],
    n_resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[Interval, ...]:
    """Return percentile intervals, the patient being the resampling unit.

    Parameters
    ----------
    table : scores.
    statistic : called with the table and counts of shape ``(resamples, patients)``, returns ``(values, resamples)``;
        called once more with all counts 1 for the estimate itself.
    n_resamples, seed, level : number of resamples, seed of the draw, confidence level.

    Returns
    -------
    One interval per value; its standard error is the standard deviation over resamples.
    """
    counts = resample_counts(table, n_resamples, seed)
    estimate = np.atleast_2d(statistic(table, np.ones((1, table.label.size))))[:, 0]
    draws = np.atleast_2d(statistic(table, counts))
    return tuple(percentile_interval(value, of_value, level) for value, of_value in zip(estimate, draws, strict=True))


def percentile_interval(value: float, draws: FloatArray, level: float = 0.95) -> Interval:
    """Return the interval between two percentiles of draws, shape ``(resamples,)``, widened to hold `value`."""
    check_level(level)
    usable = draws[~np.isnan(draws)]
    if usable.size < 2 or math.isnan(value):
        return Interval.unknown(level)
    low, high = np.quantile(usable, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(value), float(min(low, value)), float(max(high, value)), float(usable.std(ddof=1)), level)


def auc_bootstrap_interval(
    value: float, draws: FloatArray, level: float, *, widening: float, n_positive: int, n_negative: int
) -> Interval:
    """Return a percentile interval for an AUC, on the logit scale, its deviations multiplied by `widening`.

    Resampling patients takes the networks as given, exactly as DeLong's variance does, so for cross-fitted scores it
    needs the same correction (`AucEstimates.widening`); the factor is 1 where one network judged everyone.
    """
    edge = 0.5 / (n_positive * n_negative)
    if value <= 0 or value >= 1:
        return logit_interval(value, 0.0, level, n_effective=min(n_positive, n_negative))
    centre = logit(value)
    deviations = logit(np.clip(draws, edge, 1 - edge)) - centre
    on_logit = percentile_interval(float(centre), centre + widening * deviations, level)
    se = float(np.nanstd(draws, ddof=1)) * widening
    return Interval(float(value), float(expit(on_logit.low)), float(expit(on_logit.high)), se, level)


def simultaneous_intervals(
    estimates: AucEstimates, reference: str, *, level: float = 0.95, n_resamples: int = 10_000, seed: int = 0
) -> tuple[Interval | None, ...]:
    """Return intervals for the differences to the reference that all hold together with probability `level`.

    max-|t|: the quantile of the largest standardised difference under a Gaussian multiplier bootstrap of the influence
    values (Chernozhukov, Chetverikov, Kato (2013), Annals of Statistics 41:2786-2819; Hothorn, Bretz,
    Westfall (2008), Biometrical Journal 50:346-363, for the use). Never narrower than the interval for one difference.

    Returns
    -------
    One interval per protocol of `estimates`, None for the reference.
    """
    difference, se = estimates.difference_to(reference)
    contrast = estimates.influence - estimates.influence[estimates.protocols.index(reference)]
    length = np.sqrt(np.einsum("pi,pi->p", contrast, contrast))
    moving = (se > 0) & (length > 0)
    reach = quantile(level)
    if moving.sum() > 1:
        directions = contrast[moving] / length[moving, None]
        rng = np.random.default_rng(seed)
        largest = np.concatenate(
            [
                np.abs(rng.standard_normal((500, directions.shape[1])) @ directions.T).max(axis=1)
                for _ in range(math.ceil(n_resamples / 500))
            ]
        )[:n_resamples]
        reach = max(reach, float(np.quantile(largest, level)))
    return tuple(
        None
        if key == reference
        else Interval(float(value), float(value - reach * error), float(value + reach * error), float(error), level)
        for key, value, error in zip(estimates.protocols, difference, se, strict=True)
    )
