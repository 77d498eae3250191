"""Area under the ROC curve within strata: value, covariance, influence of every patient, and fast resampling.

The covariance is DeLong's [1]_ with the mid-rank algorithm of Sun and Xu [2]_. For cross-fitted scores it is too small,
as judging patients are also teachers; the part it misses is `AucEstimates.shared`, see `scanwise.evidence.crossfit`.

References
----------
.. [1] DeLong, DeLong, Clarke-Pearson (1988), Biometrics 44:837-845.
.. [2] Sun, Xu (2014), IEEE Signal Processing Letters 21:1389-1393.
.. [3] LeDell, Petersen, van der Laan (2015), Electronic Journal of Statistics 9:1583-1607: influence curves for
       cross-validated AUC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from scanwise.errors import ScanwiseError
from scanwise.evidence.crossfit import effective_folds, jackknife_scale, variation_over_rounds
from scanwise.evidence.scores import FloatArray, IntArray, ScoreTable

MAX_SHARED_LEARNING = 2.0
"""The part of a *difference*'s variance that comes from shared learning patients, at most so many times DeLong's.

In expectation it is at most once (Cauchy-Schwarz); twice leaves room for the noise of both estimates. With it intervals
for differences cover 95 to 97 % in simulations, without it up to 99.8 %. A single AUC needs no such limit."""

_BLOCK = 512
_PAIRS_IN_MEMORY = 4_000_000


def auc(label: ArrayLike, score: ArrayLike, stratum: ArrayLike | None = None) -> float:
    """Return the probability that a positive is ranked above a negative, ties counting one half.

    Parameters
    ----------
    label : 0 or 1, shape ``(patients,)``.
    score : higher = more likely positive, shape ``(patients,)``, no NaN.
    stratum : patients are compared within a stratum, strata weigh by their number of pairs; -1 = left out.

    Raises
    ------
    ScanwiseError
        If a score is NaN or no stratum has both classes.
    """
    return float(auc_of_rows(label, np.asarray(score, dtype=np.float64)[None], stratum)[0])


def auc_of_rows(label: ArrayLike, scores: ArrayLike, stratum: ArrayLike | None = None) -> FloatArray:
    """Return the AUC of every row of scores, shape ``(rows,)``; see `auc`.

    Parameters
    ----------
    label : 0 or 1, shape ``(patients,)``.
    scores : shape ``(rows, patients)``, no NaN.
    stratum : shape ``(patients,)``.

    Raises
    ------
    ScanwiseError
        If a score is NaN or no stratum has both classes.
    """
    labels, table = np.asarray(label), np.asarray(scores, dtype=np.float64)
    strata = np.zeros(labels.shape, dtype=np.int64) if stratum is None else np.asarray(stratum)
    if np.isnan(table[:, strata >= 0]).any():
        raise ScanwiseError("scores must be numbers to be ranked, but got NaN", "give unscored patients the stratum -1")
    above, pairs = np.zeros(len(table)), 0
    for number in np.unique(strata[strata >= 0]):
        members = strata == number
        positive = labels[members] == 1
        n_positive, n_negative = int(positive.sum()), int((~positive).sum())
        above += _ranks_of(table[:, members], positive) - n_positive * (n_positive + 1) / 2
        pairs += n_positive * n_negative
    if pairs == 0:
        raise _nothing_to_compare(int((labels == 1).sum()), int((labels == 0).sum()))
    return above / pairs


def _ranks_of(scores: FloatArray, positive: NDArray[np.bool_]) -> FloatArray:
    """Return the sum of the ranks of the positives in every row, ties sharing the mean of theirs."""
    total = np.empty(len(scores))
    rank = np.arange(1.0, scores.shape[1] + 1.0)
    for start in range(0, len(scores), _BLOCK):
        block = scores[start : start + _BLOCK]
        order = np.argsort(block, axis=1)
        found = positive[order] @ rank
        ordered = np.take_along_axis(block, order, axis=1)
        tied = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
        if tied.size:
            found[tied] = rankdata(block[tied], axis=1)[:, positive].sum(axis=1)
        total[start : start + _BLOCK] = found
    return total


@dataclass(frozen=True, eq=False)
class AucEstimates:
    """AUCs of several protocols on the same patients, and how they vary together."""

    protocols: tuple[str, ...]
    value: FloatArray
    """AUC, shape ``(protocols,)``."""
    covariance: FloatArray
    """DeLong's covariance, the networks taken as given, ``influence @ influence.T``, ``(protocols, protocols)``."""
    influence: FloatArray
    """What each patient adds to the AUC, centred, times sqrt(n / (n - 1)) of its class, ``(protocols, patients)``."""
    shared: FloatArray
    """Covariance from patients that judge in one fold and teach in another, ``(protocols, protocols)``.

    Zero where one network judges everyone; may have negative entries on the diagonal, as an unbiased estimate can."""
    n_positive: int
    n_negative: int

    @property
    def se(self) -> FloatArray:
        """Standard errors of the AUCs, shape ``(protocols,)``."""
        se: FloatArray = np.sqrt(np.diag(self.covariance) + np.maximum(np.diag(self.shared), 0.0))
        return se

    @property
    def widening(self) -> FloatArray:
        """How much larger `se` is than with networks taken as given, shape ``(protocols,)``; at least 1."""
        given = np.sqrt(np.diag(self.covariance))
        return np.divide(self.se, given, out=np.ones_like(given), where=given > 0)

    def difference_to(self, reference: str) -> tuple[FloatArray, FloatArray]:
        """Return AUC minus the AUC of `reference`, and its standard error, both of shape ``(protocols,)``.

        Paired: what both protocols say about a patient is subtracted before squaring. Exactly 0 with standard error 0
        for scores that rank all patients alike.
        """
        row = self.protocols.index(reference)
        weights = np.eye(len(self.protocols))
        weights[:, row] -= 1.0
        return self.combine(weights)

    def combine(self, weights: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return weighted sums of the AUCs and their standard errors, both of shape ``(sums,)``.

        Paired: what the protocols say about a patient is summed before squaring.

        Parameters
        ----------
        weights : shape ``(sums, protocols)``; for differences they sum to 0.
        """
        weight = np.asarray(weights, dtype=np.float64)
        contrast = weight @ self.influence
        given = np.einsum("si,si->s", contrast, contrast)
        shared = np.einsum("sp,pq,sq->s", weight, self.shared, weight)
        variance = given + np.clip(shared, 0.0, MAX_SHARED_LEARNING * given)
        return weight @ self.value, np.sqrt(variance)


def auc_with_covariance(table: ScoreTable, keys: Sequence[str] | None = None) -> AucEstimates:
    """Return the mean over rounds of the AUC within strata, with its covariance.

    One round and one stratum give DeLong's estimator exactly. Several strata weigh by their pairs, and a patient's
    influence is its structural component, ``(opponents / pairs) * (share of opponents ranked rightly - AUC)``, averaged
    over rounds: the linear part of a ratio of pair counts [3]_.

    The value estimated is the performance of the networks that judged, averaged. The covariance `shared` is, with two
    rounds of folds or more, estimated from the variation of contributions over rounds, less the part due to a different
    choice of opponents in a different fold (binomial in the pairs). With a single round of several folds it is the
    upper bound ``shared = covariance``: right for tests without information, too careful otherwise (95 % intervals
    cover 96 % and 98 to 99 %). With one network for everyone it is 0.

    Parameters
    ----------
    table : scores.
    keys : protocols, all where None.

    Raises
    ------
    ScanwiseError
        If no stratum has both classes, or fewer than two patients of a class can be compared.
    """
    rows = table.rows(keys)
    rounds, patients = table.n_rounds, table.label.size
    component = np.zeros((rounds, rows.size, patients))
    value = np.zeros(rows.size)
    weight = np.zeros((rounds, patients))
    folds: list[float] = []
    for round_ in range(rounds):
        strata = list(table.strata(round_))
        pairs = sum(positive.size * negative.size for positive, negative in strata)
        if pairs == 0:
            continue
        above = np.zeros(rows.size)
        for positive, negative in strata:
            of_positive, of_negative = _placements(table.probability[round_][rows], positive, negative)
            weight[round_, positive], weight[round_, negative] = negative.size / pairs, positive.size / pairs
            component[round_][:, positive], component[round_][:, negative] = of_positive, of_negative
            above += negative.size * of_positive.sum(axis=1)
        of_round = above / pairs
        compared = weight[round_] > 0
        component[round_][:, compared] -= of_round[:, None]
        value += of_round
        folds.append(effective_folds(table.stratum[round_]))
    judging = weight.any(axis=0)
    n_positive, n_negative = int(table.label[judging].sum()), int((1 - table.label[judging]).sum())
    if min(n_positive, n_negative) < 2:
        judged = table.label[table.judged]
        raise _nothing_to_compare(int(judged.sum()), int((1 - judged).sum()))
    used = len(folds)
    influence = np.einsum("rpi,ri->pi", component, weight) / used
    for of_class, size in ((table.label == 1, n_positive), (table.label == 0, n_negative)):
        influence[:, of_class & judging] *= np.sqrt(size / (size - 1))
    covariance = influence @ influence.T
    mean_folds = float(np.mean(folds))
    shared = np.zeros_like(covariance)
    if mean_folds > 1:
        # the number of opponents varies from fold to fold as well: each patient keeps the mean of its weights
        typical = weight.sum(axis=0) / np.maximum((weight > 0).sum(axis=0), 1)
        varying = variation_over_rounds(component * typical, weight > 0, used)
        if varying is None:
            shared = covariance.copy()
        else:
            opponents = _choice_of_opponents(table, rows, np.where(weight > 0, typical, 0.0), used)
            shared = jackknife_scale(mean_folds, used) * (varying - opponents)
    return AucEstimates(
        protocols=tuple(table.protocols[row] for row in rows),
        value=value / used,
        covariance=covariance,
        influence=influence,
        shared=shared,
        n_positive=n_positive,
        n_negative=n_negative,
    )


def roc_points(table: ScoreTable, key: str, n_points: int = 101) -> list[list[float]]:
    """Return ``[[false positive rate, sensitivity], ...]`` on a grid.

    The ROC curve is the distribution of the placement values of positives, the share of negatives of the own stratum
    that are ranked as high or higher (Pepe, Cai (2004), Biometrics 60:528-535); its area is the AUC within strata.
    """
    grid = np.linspace(0.0, 1.0, n_points)
    placement, weight = placement_values(table, key)
    order = np.argsort(placement, kind="stable")
    share = np.concatenate(([0.0], np.cumsum(weight[order])))
    sensitivity = np.clip(share[np.searchsorted(placement[order], grid + 1e-9, side="right")], 0.0, 1.0)
    sensitivity[-1] = 1.0
    return [[float(x), float(y)] for x, y in zip(grid, sensitivity, strict=True)]


def placement_values(table: ScoreTable, key: str) -> tuple[FloatArray, FloatArray]:
    """Return, for every positive in every round, the share of negatives ranked as high or higher, and its weight.

    Both have the shape ``(positives judged, all rounds)``; ties count one half; weights sum to 1, and
    ``1 - sum(weight * placement)`` is the AUC.
    """
    row = table.row(key)
    values: list[FloatArray] = []
    weights: list[FloatArray] = []
    for round_ in range(table.n_rounds):
        strata = list(table.strata(round_))
        pairs = sum(positive.size * negative.size for positive, negative in strata)
        for positive, negative in strata:
            of_positive, _ = _placements(table.probability[round_, [row]], positive, negative)
            values.append(1.0 - of_positive[0])
            weights.append(np.full(positive.size, negative.size / pairs))
    if not values:
        raise _nothing_to_compare(table.n_positive, table.n - table.n_positive)
    weight = np.concatenate(weights)
    return np.concatenate(values), weight / weight.sum()


def resampled_roc(
    table: ScoreTable, keys: Sequence[str], counts: FloatArray, false_positive_rate: float
) -> tuple[FloatArray, FloatArray]:
    """Return AUC and sensitivity for patients that are counted several times or not at all.

    Exact, no approximation: scores are sorted once per protocol, round and stratum, and the counts are summed along
    the order for all resamples together.

    Parameters
    ----------
    table : scores.
    keys : protocols.
    counts : how often each patient is taken, shape ``(resamples, patients)``.
    false_positive_rate : where to read the sensitivity off the ROC curve, one minus the specificity.

    Returns
    -------
    Two arrays of shape ``(protocols, resamples)``; NaN where a resample has no pair to compare.
    """
    rows = table.rows(keys)
    area = np.zeros((rows.size, counts.shape[0]))
    sensitivity = np.zeros_like(area)
    rounds = np.zeros(counts.shape[0])
    strata = [list(table.strata(round_)) for round_ in range(table.n_rounds)]
    for start in range(0, counts.shape[0], _BLOCK):
        block = slice(start, start + _BLOCK)
        weight = np.ascontiguousarray(counts[block].T)
        for round_, of_round in enumerate(strata):
            pairs = np.zeros(weight.shape[1])
            above = np.zeros((rows.size, weight.shape[1]))
            found = np.zeros_like(above)
            for positive, negative in of_round:
                of_positive, of_negative = weight[positive], weight[negative]
                n_negative = of_negative.sum(axis=0)
                pairs += of_positive.sum(axis=0) * n_negative
                enough = 2.0 * (1.0 - false_positive_rate) * n_negative - 1e-9
                for index, row in enumerate(rows):
                    ours, theirs = table.probability[round_, row, positive], table.probability[round_, row, negative]
                    order = np.argsort(theirs)
                    below = np.zeros((negative.size + 1, weight.shape[1]))
                    np.cumsum(of_negative[order], axis=0, out=below[1:])
                    ranked = theirs[order]
                    beaten = below[np.searchsorted(ranked, ours, "left")]
                    beaten += below[np.searchsorted(ranked, ours, "right")]
                    above[index] += 0.5 * np.einsum("ib,ib->b", of_positive, beaten)
                    found[index] += n_negative * np.einsum(
                        "ib,ib->b", of_positive, (beaten >= enough).astype(np.float64)
                    )
            some = pairs > 0
            area[:, block] += np.divide(above, pairs, out=np.zeros_like(above), where=some)
            sensitivity[:, block] += np.divide(found, pairs, out=np.zeros_like(found), where=some)
            rounds[block] += some
    rounds[rounds == 0] = np.nan
    return area / rounds, sensitivity / rounds


def _placements(scores: FloatArray, positive: IntArray, negative: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return the share of opponents ranked rightly, ``(protocols, positives)`` and ``(protocols, negatives)``."""
    together = rankdata(scores[:, np.concatenate((positive, negative))], axis=1)
    of_positive = (together[:, : positive.size] - rankdata(scores[:, positive], axis=1)) / negative.size
    of_negative = 1.0 - (together[:, positive.size :] - rankdata(scores[:, negative], axis=1)) / positive.size
    return of_positive, of_negative


def _choice_of_opponents(table: ScoreTable, rows: IntArray, weight: FloatArray, used: int) -> FloatArray:
    """Return the part of `variation_over_rounds` that comes from meeting other opponents in another fold.

    A share of ``m`` opponents drawn without replacement from K folds of them varies by ``(1 - 1/K) p (1 - p) / m``.
    `weight` of a patient in a round has the shape ``(rounds, patients)``, 0 where not compared.
    """
    times = (weight > 0).sum(axis=0)
    total = np.zeros((rows.size, rows.size))
    for round_ in range(table.n_rounds):
        strata = list(table.strata(round_))
        if not strata:
            continue
        scores = table.probability[round_][rows]
        elsewhere = 1.0 - 1.0 / effective_folds(table.stratum[round_])
        for positive, negative in strata:
            for own, opponents in ((positive, negative), (negative, positive)):
                if opponents.size > 1:
                    squared = np.where(times[own] >= 2, times[own] / used**2, 0.0) * weight[round_, own] ** 2
                    total += elsewhere * _opponent_noise(scores[:, own], scores[:, opponents], squared)
    return total


def _opponent_noise(own: FloatArray, opponents: FloatArray, weight: FloatArray) -> FloatArray:
    """Return the covariance of shares of opponents beaten, due to which opponents were met, summed with weights.

    Shapes: own ``(protocols, patients)``, opponents ``(protocols, opponents)``, weight ``(patients,)``.
    """
    protocols, size = opponents.shape
    total = np.zeros((protocols, protocols))
    step = max(1, _PAIRS_IN_MEMORY // (protocols * size))
    for start in range(0, own.shape[1], step):
        part = slice(start, start + step)
        beaten = 0.5 * np.sign(own[:, part, None] - opponents[:, None, :])
        beaten -= beaten.mean(axis=2, keepdims=True)
        beaten *= np.sqrt(weight[part] / (size * (size - 1)))[None, :, None]
        flat = beaten.reshape(protocols, -1)
        total += flat @ flat.T
    return total


def _nothing_to_compare(n_positive: int, n_negative: int) -> ScanwiseError:
    return ScanwiseError(
        "an AUC needs patients with and without the disease, at least two of each, scored by the same networks, "
        f"but got {n_positive} positive and {n_negative} negative patients, none of them comparable"
        if n_positive and n_negative
        else "an AUC needs patients with and without the disease, "
        f"but got {n_positive} positive and {n_negative} negative patients",
        "use fewer folds, or a cohort with more patients of the rarer class",
    )
