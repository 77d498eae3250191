"""Shapley values and interactions of games whose answers are known."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from evidence_scenario import random_table

from scanwise.evidence import auc_with_covariance, interaction_weights, shapley_weights


def game(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=2**n)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_shapley_values_are_the_mean_over_all_orders(n):
    value = game(n, seed=n)
    expected = np.zeros(n)
    orders = list(permutations(range(n)))
    for order in orders:
        subset = 0
        for player in order:
            expected[player] += value[subset | 1 << player] - value[subset]
            subset |= 1 << player
    np.testing.assert_allclose(shapley_weights(n) @ value, expected / len(orders))


@pytest.mark.parametrize("n", [2, 4])
def test_shapley_values_sum_to_what_all_are_worth_together(n):
    value = game(n, seed=0)
    assert (shapley_weights(n) @ value).sum() == pytest.approx(value[-1] - value[0])


def test_who_adds_nothing_is_worth_nothing_and_interacts_with_nobody():
    worth = np.array([0.3, 0.1])
    value = np.array([worth[0] * (s & 1) + worth[1] * (s >> 1 & 1) for s in range(8)])  # player 2 adds nothing
    np.testing.assert_allclose(shapley_weights(3) @ value, [0.3, 0.1, 0.0], atol=1e-12)
    pairs, weights = interaction_weights(3)
    assert pairs == [(0, 1), (0, 2), (1, 2)]
    np.testing.assert_allclose(weights @ value, 0.0, atol=1e-12)


def test_twins_stand_in_for_each_other_and_partners_need_each_other():
    twins = np.array([float(s & 1 or s >> 1 & 1) for s in range(4)])
    partners = np.array([float(s == 3) for s in range(4)])
    _, weights = interaction_weights(2)
    np.testing.assert_allclose(weights @ twins, [-1.0])
    np.testing.assert_allclose(weights @ partners, [1.0])


def test_a_weighted_sum_of_aucs_has_the_error_of_the_difference_it_is():
    estimates = auc_with_covariance(random_table(protocols=3, rounds=2, folds=3, patients=120))
    difference, se = estimates.difference_to("p2")
    value, error = estimates.combine([[1.0, 0.0, -1.0], [0.0, 1.0, -1.0]])
    np.testing.assert_allclose(value, difference[:2])
    np.testing.assert_allclose(error, se[:2])


def test_the_error_of_a_weighted_sum_is_that_of_drawing_patients_anew():
    table = random_table(protocols=4, patients=400, seed=3)
    weights = np.array([[0.5, -1.0, 0.7, -0.2]])
    _, error = auc_with_covariance(table).combine(weights)
    rng, drawn = np.random.default_rng(0), []
    positive, negative = np.flatnonzero(table.label == 1), np.flatnonzero(table.label == 0)
    for _ in range(400):
        rows = np.concatenate([rng.choice(group, len(group)) for group in (positive, negative)])
        above = (
            table.probability[0][:, rows[: len(positive)], None] - table.probability[0][:, None, rows[len(positive) :]]
        )
        drawn.append((weights @ ((above > 0) + 0.5 * (above == 0)).mean(axis=(1, 2)))[0])
    assert error[0] == pytest.approx(np.std(drawn), rel=0.15)
