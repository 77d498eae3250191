from __future__ import annotations

import numpy as np
import pytest
from evidence_scenario import crossfitted_table, random_table

from scanwise.errors import ScanwiseError
from scanwise.evidence import ScoreTable, net_benefit, sensitivity_at_specificity


def test_sensitivity_by_hand():
    # ten negatives 0.00 .. 0.09; at 90 % specificity one may be called positive: positives must beat 0.08
    negative = np.arange(10) / 100
    positive = np.array([0.5, 0.085, 0.075, 0.001])
    table = ScoreTable(
        ("a",), np.concatenate((positive, negative))[None, None], np.zeros((1, 14)), [1] * 4 + [0] * 10, ["x"] * 14
    )
    interval = sensitivity_at_specificity(table, "a", 0.9, n_resamples=200)
    assert interval.value == 0.5
    assert interval.low < 0.5 < interval.high
    assert sensitivity_at_specificity(table, "a", 0.8, n_resamples=200).value == 0.75


def test_sensitivity_thresholds_are_each_stratums_own():
    table = random_table(rounds=1, protocols=1, patients=203)
    shifted = table.probability.copy() / 2
    stratum = (np.arange(203) % 2)[None]
    shifted[0, 0, 1::2] += 0.5  # the second network says much more, and ranks as well
    apart = ScoreTable(("p0",), shifted, stratum, table.label, table.site)
    together = ScoreTable(("p0",), table.probability, stratum, table.label, table.site)
    first = sensitivity_at_specificity(apart, "p0", 0.8, n_resamples=200)
    assert first.value == sensitivity_at_specificity(together, "p0", 0.8, n_resamples=200).value


def test_sensitivity_of_a_perfect_test_keeps_a_lower_limit():
    label = np.array([1] * 12 + [0] * 12)
    table = ScoreTable(("a",), label[None, None] * 0.8 + 0.1, np.zeros((1, 24)), label, ["x"] * 24)
    interval = sensitivity_at_specificity(table, "a", 0.9, n_resamples=200)
    assert interval.value == interval.high == 1.0
    assert interval.low == pytest.approx(12 / (12 + 1.959964**2), rel=1e-5)


def test_sensitivity_is_repeatable_and_wider_for_cross_fitted_scores():
    table = crossfitted_table(np.random.default_rng(0), patients=101, features=6, rounds=3, folds=5)
    first = sensitivity_at_specificity(table, "all", 0.9, n_resamples=400, seed=3)
    assert first == sensitivity_at_specificity(table, "all", 0.9, n_resamples=400, seed=3)
    assert first.low < first.value < first.high


@pytest.mark.parametrize("specificity", [0, 1, 90, True])
def test_specificity_is_a_share(specificity):
    with pytest.raises(ScanwiseError, match="specificity lies between 0 and 1"):
        sensitivity_at_specificity(random_table(), "p0", specificity)


def test_net_benefit_by_hand():
    label = [1, 1, 0, 0, 0]
    probability = [0.9, 0.2, 0.3, 0.1, 0.25]
    (point,) = net_benefit(label, probability, [0.25])
    # acted on: one true, two false positives (0.25 counts); odds 1/3
    assert point.model == pytest.approx((1 - 2 / 3) / 5)
    assert point.treat_all == pytest.approx((2 - 3 / 3) / 5)


def test_net_benefit_averages_rounds_and_skips_the_unjudged():
    label = [1, 0, 1, 0]
    rounds = [[0.9, 0.1, np.nan, np.nan], [0.1, 0.9, 0.9, 0.1]]
    (point,) = net_benefit(label, rounds, [0.5])
    assert point.model == pytest.approx((1 / 2 + (1 - 1) / 4) / 2)
    with pytest.raises(ScanwiseError, match="none has a score"):
        net_benefit(label, np.full(4, np.nan), [0.5])
    with pytest.raises(ScanwiseError, match="threshold lies between"):
        net_benefit(label, rounds, [1.5])
