from __future__ import annotations

import numpy as np
import pytest

from scanwise.design import Fold
from scanwise.errors import ScanwiseError
from scanwise.model import Parts

LEARN = np.array([7, 3, 11, 5, 2])
INNER = np.array([0, 2, 1, 0, 2])


def crossfit() -> Fold:
    return Fold(0, 0, LEARN, INNER, LEARN, np.array([0, 20]))


def holdout(n: int) -> Fold:
    return Fold(0, 0, np.arange(n), np.full(n, -1), np.arange(n, n + 4), np.arange(n + 4, n + 8))


def test_members_leave_the_inner_folds_out_in_turn():
    parts = Parts.of(crossfit(), np.zeros(30, dtype=np.int64), members_per_part=2, seed=0)
    np.testing.assert_array_equal(parts.leaves_out, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(parts.part, INNER)
    assert parts.learns.shape == (6, 5)
    np.testing.assert_array_equal(parts.learns[0], [False, True, True, False, True])
    np.testing.assert_array_equal(parts.learns[2], [True, True, False, True, True])


@pytest.mark.parametrize("members_per_part", [1, 2, 3])
def test_weights_sum_to_one_and_leave_out_who_learned(members_per_part):
    parts = Parts.of(crossfit(), np.zeros(30, dtype=np.int64), members_per_part=members_per_part, seed=0)
    asked = np.array([20, 3, 7, 0, 11, 3, 29, 5])
    weights = parts.weights(asked)
    assert weights.shape == (3 * members_per_part, 8)
    np.testing.assert_allclose(weights.sum(axis=0), 1.0)
    for column, patient in zip(weights.T, asked, strict=True):
        for member, weight in enumerate(column):
            learned = patient in set(LEARN[parts.leaves_out[member] != INNER])
            assert (weight > 0) == (not learned)
        assert len(set(column[column > 0])) == 1, "those that may answer count alike"
    np.testing.assert_allclose(weights[:, 0], 1 / (3 * members_per_part))
    assert (weights[:, 2] > 0).sum() == members_per_part


def test_nobody_asked_nothing_weighed():
    parts = Parts.of(crossfit(), np.zeros(30, dtype=np.int64), members_per_part=1, seed=0)
    assert parts.weights(np.array([], dtype=np.int64)).shape == (3, 0)


def test_a_patient_everyone_learned_from_cannot_be_scored():
    parts = Parts(np.array([4, 8, 9]), np.array([0, 0, 1]), leaves_out=np.array([1]))
    np.testing.assert_array_equal(parts.weights(np.array([9, 3])), [[1.0, 1.0]])
    with pytest.raises(ScanwiseError, match="2 patients were learned from by every network of the ensemble"):
        parts.weights(np.array([9, 4, 3, 8]))


def test_one_part_alone_means_that_no_one_learns():
    fold = Fold(0, 0, LEARN, np.zeros(5, dtype=np.int64), LEARN, np.array([0]))
    parts = Parts.of(fold, np.zeros(30, dtype=np.int64), members_per_part=1, seed=0)
    assert not parts.learns.any()


def test_a_holdout_is_dealt_into_parts_by_label():
    label = (np.arange(40) % 3 == 0).astype(np.int64)
    parts = Parts.of(holdout(32), label, members_per_part=1, seed=4)
    np.testing.assert_array_equal(parts.leaves_out, [0, 1, 2, 3, 4])
    for value in (0, 1):
        sizes = np.bincount(parts.part[label[:32] == value], minlength=5)
        assert sizes.sum() == (label[:32] == value).sum()
        assert sizes.max() - sizes.min() <= 1
    tune = parts.weights(np.arange(32, 36))
    np.testing.assert_allclose(tune, 0.2)
    again, other = (Parts.of(holdout(32), label, members_per_part=1, seed=seed) for seed in (4, 5))
    np.testing.assert_array_equal(again.part, parts.part)
    assert (other.part != parts.part).any()


def test_a_holdout_of_few_patients_has_fewer_parts():
    parts = Parts.of(holdout(4), np.array([0, 0, 0, 1] + [0] * 8), members_per_part=1, seed=0)
    assert len(parts.leaves_out) == 3
    np.testing.assert_allclose(parts.weights(np.arange(4)).sum(axis=0), 1.0)
