from __future__ import annotations

import numpy as np
import pytest
from evidence_scenario import crossfitted_table, random_table
from sklearn.metrics import roc_auc_score

from scanwise.errors import ScanwiseError
from scanwise.evidence import (
    ScoreTable,
    auc,
    auc_of_rows,
    auc_with_covariance,
    logit_interval,
    resampled_roc,
    roc_points,
)


def naive_delong(label, scores):
    """DeLong 1988, by loops over pairs."""
    positive, negative = np.flatnonzero(label == 1), np.flatnonzero(label == 0)

    def kernel(x, y):
        return 1.0 if x > y else 0.5 if x == y else 0.0

    psi = np.array([[[kernel(row[i], row[j]) for j in negative] for i in positive] for row in scores])
    v10, v01 = psi.mean(axis=2), psi.mean(axis=1)
    covariance = np.atleast_2d(np.cov(v10)) / positive.size + np.atleast_2d(np.cov(v01)) / negative.size
    return psi.mean(axis=(1, 2)), covariance


@pytest.mark.parametrize("ties", [False, True])
def test_one_round_and_one_stratum_is_delong_exactly(ties):
    table = random_table(protocols=3, patients=61, ties=ties)
    estimates = auc_with_covariance(table)
    value, covariance = naive_delong(table.label, table.probability[0])
    np.testing.assert_allclose(estimates.value, value, rtol=1e-12)
    np.testing.assert_allclose(estimates.covariance, covariance, rtol=1e-10)
    np.testing.assert_allclose(estimates.influence @ estimates.influence.T, covariance, rtol=1e-10)
    assert not estimates.shared.any()
    difference, se = estimates.difference_to("p1")
    contrast = np.array([1.0, -1.0, 0.0])
    assert difference[0] == pytest.approx(value[0] - value[1])
    assert se[0] == pytest.approx(np.sqrt(contrast @ covariance @ contrast))


def test_textbook_example_by_hand():
    # positives 3, 1; negatives 2, 0: three of four pairs are right
    table = ScoreTable(("a",), [[[0.3, 0.1, 0.2, 0.0]]], [[0, 0, 0, 0]], [1, 1, 0, 0], ["x"] * 4)
    estimates = auc_with_covariance(table)
    assert estimates.value[0] == 0.75
    # placements 1, 0.5 and 0.5, 1: both have variance 1/8, divided by two patients each
    assert estimates.covariance[0, 0] == pytest.approx(1 / 8)


@pytest.mark.parametrize("ties", [False, True])
def test_auc_agrees_with_scikit_learn(ties):
    table = random_table(patients=97, ties=ties)
    for row in range(3):
        expected = roc_auc_score(table.label, table.probability[0, row])
        assert auc(table.label, table.probability[0, row]) == pytest.approx(expected)
        assert auc_with_covariance(table).value[row] == pytest.approx(expected)


@pytest.mark.parametrize("ties", [False, True])
def test_auc_of_many_rows_agrees_with_scikit_learn(ties):
    table = random_table(protocols=700, patients=37, ties=ties)  # more than one block
    expected = [roc_auc_score(table.label, row) for row in table.probability[0]]
    np.testing.assert_allclose(auc_of_rows(table.label, table.probability[0]), expected, rtol=1e-12)


def test_strata_weigh_by_pairs_and_rounds_are_averaged():
    table = random_table(rounds=2, protocols=3, patients=83, folds=4)
    expected = []
    for round_ in range(2):
        above = pairs = 0.0
        for fold in range(4):
            members = table.stratum[round_] == fold
            label, score = table.label[members], table.probability[round_, 1, members]
            weight = label.sum() * (1 - label).sum()
            above += weight * roc_auc_score(label, score)
            pairs += weight
        expected.append(above / pairs)
        assert auc(table.label, table.probability[round_, 1], table.stratum[round_]) == pytest.approx(expected[-1])
    assert auc_with_covariance(table).value[1] == pytest.approx(np.mean(expected))


def test_influence_is_the_derivative_of_the_auc():
    table = random_table(rounds=2, protocols=2, patients=41, folds=2)
    estimates = auc_with_covariance(table)
    positive = table.label == 1
    size = int(positive.sum())
    patient = int(np.flatnonzero(positive)[3])
    step = 1e-6
    counts = np.ones((1, 41))
    counts[0, patient] += step
    moved, _ = resampled_roc(table, ["p0"], counts, 0.1)
    derivative = (moved[0, 0] - estimates.value[0]) / step
    assert estimates.influence[0, patient] == pytest.approx(derivative * np.sqrt(size / (size - 1)), rel=1e-3)
    np.testing.assert_allclose(estimates.influence.sum(axis=1), 0.0, atol=1e-2)


def test_identical_scores_differ_by_exactly_nothing():
    table = random_table(rounds=3, protocols=2, folds=5)
    twin = ScoreTable(("twin",), table.probability[:, :1] ** 2, table.stratum, table.label, table.site)
    difference, se = auc_with_covariance(table.extend(twin)).difference_to("p0")
    assert difference[2] == 0.0
    assert se[2] == 0.0
    assert se[1] > 0.0


def test_shared_learning_is_none_for_one_network_bound_for_one_round_and_estimated_for_several():
    assert not auc_with_covariance(random_table(rounds=3, folds=1)).shared.any()
    one_round = auc_with_covariance(random_table(rounds=1, folds=4))
    np.testing.assert_array_equal(one_round.shared, one_round.covariance)
    np.testing.assert_allclose(one_round.widening, np.sqrt(2))


def test_same_network_in_every_round_shows_no_shared_learning_on_average():
    # scores do not depend on the fold: what varies over rounds is the choice of opponents alone
    relative = []
    for seed in range(60):
        table = random_table(rounds=1, protocols=1, patients=120, seed=seed)
        rng = np.random.default_rng(1000 + seed)
        stratum = np.stack([rng.permutation(120) % 4 for _ in range(4)])
        estimates = auc_with_covariance(
            ScoreTable(("p0",), np.repeat(table.probability, 4, axis=0), stratum, table.label, table.site)
        )
        relative.append(estimates.shared[0, 0] / estimates.covariance[0, 0])
    assert abs(np.mean(relative)) < 3 * np.std(relative) / np.sqrt(60) + 0.02
    assert min(relative) < 0 < max(relative)


def test_intervals_cover_on_null_data_scored_by_cross_fitting():
    rng = np.random.default_rng(7)
    covered, as_if_given, covered_difference = [], [], []
    for _ in range(250):
        estimates = auc_with_covariance(crossfitted_table(rng, patients=101, features=6, rounds=3, folds=5))
        interval = logit_interval(float(estimates.value[0]), float(estimates.se[0]))
        covered.append(interval.low <= 0.5 <= interval.high)
        as_if_given.append(abs(estimates.value[0] - 0.5) <= 1.96 * np.sqrt(estimates.covariance[0, 0]))
        difference, se = estimates.difference_to("all")
        covered_difference.append(abs(difference[1]) <= 1.96 * se[1])
    assert 0.92 <= np.mean(covered) <= 0.985
    assert 0.92 <= np.mean(covered_difference) <= 0.985
    assert np.mean(as_if_given) < 0.9


def test_unscored_rounds_count_only_where_scored():
    table = random_table(rounds=3, protocols=2, patients=60, folds=3)
    probability, stratum = table.probability.copy(), table.stratum.copy()
    probability[0][:, :20], stratum[0, :20] = np.nan, -1
    partly = ScoreTable(table.protocols, probability, stratum, table.label, table.site)
    rounds = [auc(table.label, np.nan_to_num(probability[r, 0]), stratum[r]) for r in range(3)]
    assert auc_with_covariance(partly).value[0] == pytest.approx(np.mean(rounds))


def test_strata_without_a_comparison_are_left_out_with_their_pairs():
    label = np.array([1, 1, 0, 0, 1, 1, 1, 0, 0])
    stratum = np.array([[0, 0, 0, 0, 1, 1, 2, 2, -1]])  # 1 has one class, 2 one patient per class
    score = np.array([0.9, 0.4, 0.5, 0.1, 0.0, 0.0, 0.0, 0.9, np.nan])
    table = ScoreTable(("a",), score[None, None], stratum, label, ["x"] * 9)
    estimates = auc_with_covariance(table)
    assert estimates.value[0] == 0.75
    assert (estimates.n_positive, estimates.n_negative) == (2, 2)
    assert not estimates.influence[0, 4:].any()


@pytest.mark.parametrize(
    ("label", "stratum", "message"),
    [
        ([1, 1, 1, 1], [0, 0, 0, 0], "4 positive and 0 negative"),
        ([1, 0, 1, 0], [-1, -1, -1, -1], "0 positive and 0 negative"),
        ([1, 1, 0, 0], [0, 0, 1, 1], "none of them comparable"),
        ([1, 0, 1, 0], [0, 0, 1, 1], "none of them comparable"),
        ([1, 0, 0, 0], [0, 0, 0, 0], "at least two of each"),
    ],
)
def test_nothing_to_compare_is_an_error(label, stratum, message):
    score = np.where(np.array(stratum) >= 0, 0.5, np.nan)
    table = ScoreTable(("a",), score[None, None], [stratum], label, ["x"] * 4)
    with pytest.raises(ScanwiseError, match=message):
        auc_with_covariance(table)


def test_auc_refuses_nan_and_one_class():
    with pytest.raises(ScanwiseError, match="NaN"):
        auc([0, 1], [0.2, np.nan])
    with pytest.raises(ScanwiseError, match="2 positive and 0 negative"):
        auc([1, 1], [0.2, 0.3])


def test_constant_scores_have_auc_one_half():
    table = random_table(protocols=1)
    flat = ScoreTable(("a",), np.full_like(table.probability, 0.3), table.stratum, table.label, table.site)
    estimates = auc_with_covariance(flat)
    assert estimates.value[0] == 0.5
    assert estimates.se[0] == 0.0


@pytest.mark.parametrize("ties", [False, True])
def test_resampling_equals_copying_patients(ties):
    table = random_table(rounds=2, protocols=2, patients=53, folds=3, ties=ties)
    counts = np.random.default_rng(3).integers(0, 4, size=(5, 53)).astype(float)
    area, _ = resampled_roc(table, ["p1", "p0"], counts, 0.1)
    for draw in range(5):
        copies = np.repeat(np.arange(53), counts[draw].astype(int))
        for index, row in enumerate((1, 0)):
            rounds = [
                auc(table.label[copies], table.probability[r, row, copies], table.stratum[r, copies]) for r in range(2)
            ]
            assert area[index, draw] == pytest.approx(np.mean(rounds))


def test_roc_points_rise_to_one_and_enclose_the_auc():
    table = random_table(rounds=2, protocols=1, patients=301, folds=2)
    points = np.array(roc_points(table, "p0"))
    assert points.shape == (101, 2)
    assert (np.diff(points[:, 1]) >= 0).all()
    assert points[-1].tolist() == [1.0, 1.0]
    area = np.sum(np.diff(points[:, 0]) * (points[1:, 1] + points[:-1, 1]) / 2)
    assert area == pytest.approx(auc_with_covariance(table).value[0], abs=0.01)
