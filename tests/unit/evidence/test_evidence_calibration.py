from __future__ import annotations

import math

import numpy as np
import pytest
from evidence_scenario import crossfitted_table, random_table
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from scanwise.errors import ScanwiseError
from scanwise.evidence import ScoreTable, brier, calibration, log_loss


def _table(label, *rounds):
    probability = np.array(rounds, dtype=float)[:, None, :]
    return ScoreTable(("a",), probability, np.zeros((len(rounds), len(label)), dtype=int), label, ["x"] * len(label))


def test_losses_agree_with_scikit_learn_and_are_averaged_over_rounds():
    table = random_table(rounds=2, protocols=2, patients=71, folds=3)
    for row in range(2):
        both = [table.probability[r, row] for r in range(2)]
        assert brier(table)[row].value == pytest.approx(np.mean([brier_score_loss(table.label, p) for p in both]))
        assert log_loss(table)[row].value == pytest.approx(np.mean([sklearn_log_loss(table.label, p) for p in both]))


def test_standard_error_of_one_network_is_that_of_a_mean():
    table = random_table(protocols=1, patients=71)
    loss = (table.probability[0, 0] - table.label) ** 2
    assert brier(table)[0].se == pytest.approx(loss.std(ddof=1) / np.sqrt(71))


def test_repeating_the_same_scores_adds_no_certainty():
    table = random_table(protocols=1, patients=71)
    again = ScoreTable(
        ("p0",), np.repeat(table.probability, 4, axis=0), np.repeat(table.stratum, 4, axis=0), table.label, table.site
    )
    assert log_loss(again)[0].se == pytest.approx(log_loss(table)[0].se)
    assert calibration(again)[0].slope.se == pytest.approx(calibration(table)[0].slope.se)


def test_cross_fitting_widens_the_interval_of_a_loss():
    table = crossfitted_table(np.random.default_rng(0), patients=101, features=6, rounds=3, folds=5)
    as_if_given = ScoreTable(table.protocols, table.probability, np.zeros_like(table.stratum), table.label, table.site)
    assert log_loss(table)[0].value == pytest.approx(log_loss(as_if_given)[0].value)
    assert log_loss(table)[0].se > 1.02 * log_loss(as_if_given)[0].se


def test_certain_and_wrong_is_clipped():
    assert log_loss(_table([1, 0], [0.0, 0.0]))[0].value == pytest.approx(-math.log(1e-7) / 2, rel=1e-6)
    assert brier(_table([1, 0], [0.0, 0.0]))[0].value == 0.5


def test_slope_and_intercept_are_maximum_likelihood():
    table = random_table(protocols=3, patients=160, seed=2)
    results = calibration(table)
    for row in range(3):
        odds, label = logit(table.probability[0, row]), table.label

        def loss(b, odds=odds, label=label):
            return np.logaddexp(0, b[0] + b[1] * odds).sum() - label @ (b[0] + b[1] * odds)

        fitted = minimize(loss, [0.0, 1.0], tol=1e-10).x
        offset = minimize(lambda a, loss=loss: loss([a[0], 1.0]), [0.0], tol=1e-10).x
        assert results[row].slope.value == pytest.approx(fitted[1], abs=1e-4)
        assert results[row].intercept.value == pytest.approx(offset[0], abs=1e-4)


def test_slope_interval_is_the_sandwich():
    table = random_table(protocols=1, patients=160, seed=2)
    result = calibration(table)[0]
    odds, label = logit(table.probability[0, 0]), table.label
    design = np.column_stack((np.ones(160), odds))
    coefficients = np.zeros(2)
    for _ in range(30):
        p = expit(design @ coefficients)
        information = (design * (p * (1 - p))[:, None]).T @ design
        coefficients = coefficients + np.linalg.solve(information, design.T @ (label - p))
    score = design * (label - expit(design @ coefficients))[:, None]
    bread = np.linalg.inv(information)
    sandwich = 160 / 159 * bread @ score.T @ score @ bread
    assert result.slope.value == pytest.approx(coefficients[1])
    assert result.slope.se == pytest.approx(np.sqrt(sandwich[1, 1]))


def test_calibrated_and_overconfident_probabilities_are_told_apart():
    rng = np.random.default_rng(1)
    odds = rng.normal(size=4000)
    label = (rng.random(4000) < expit(odds)).astype(int)
    good = calibration(_table(label, expit(odds)))[0]
    assert abs(good.slope.value - 1) < 3 * good.slope.se < 0.2
    assert abs(good.intercept.value) < 3 * good.intercept.se < 0.2
    assert good.ece < 0.03
    extreme = calibration(_table(label, expit(2 * odds)))[0]
    assert extreme.slope.value == pytest.approx(good.slope.value / 2, rel=1e-6)
    shifted = calibration(_table(label, expit(odds - 1)))[0]
    assert shifted.intercept.value == pytest.approx(good.intercept.value + 1, rel=1e-6)
    assert shifted.ece > 0.1


def test_slope_is_unknown_where_it_is_not_identifiable():
    constant = calibration(_table([1, 0, 1, 0, 0] * 4, [0.3] * 20))[0]
    assert not constant.slope.known
    assert constant.intercept.value == pytest.approx(logit(0.4) - logit(0.3))
    separated = calibration(_table([0] * 10 + [1] * 10, np.linspace(0.1, 0.9, 20)))[0]
    assert not separated.slope.known
    one_class = calibration(_table([0] * 12, np.linspace(0.1, 0.9, 12)))[0]
    assert not one_class.slope.known
    assert not one_class.intercept.known


def test_probabilities_zero_and_one_do_not_break_calibration():
    p = np.tile([0.0, 1.0, 0.4, 0.6], 10)
    label = np.tile([0, 1, 0, 1], 10)
    label[:6] = 1 - label[:6]
    result = calibration(_table(label, p))[0]
    assert 0 < result.slope.value < 1
    assert np.isfinite(result.intercept.value)


def test_curve_by_hand():
    p = np.repeat([0.2, 0.6], 10)
    label = np.array([1] * 3 + [0] * 7 + [1] * 6 + [0] * 4)
    low, high = calibration(_table(label, p))[0].curve
    assert (low.predicted, low.observed, low.n) == pytest.approx((0.2, 0.3, 10))
    assert (high.predicted, high.observed, high.n) == pytest.approx((0.6, 0.6, 10))
    assert low.low < 0.3 < low.high
    assert calibration(_table(label, p))[0].ece == pytest.approx(0.05)


def test_nobody_judged_is_an_error():
    table = ScoreTable(("a",), np.full((1, 1, 3), np.nan), [[-1, -1, -1]], [0, 1, 1], ["x"] * 3)
    with pytest.raises(ScanwiseError, match="none has a score"):
        brier(table)
    with pytest.raises(ScanwiseError, match="none has a score"):
        calibration(table)
