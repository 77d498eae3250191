"""Mixtures per class: parts are found, any subset is read, and what only says where to look is bought."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from scanwise.errors import ScanwiseError
from scanwise.model import Measurements, MixtureModel, MixtureReader
from scanwise.model.mixture import _shrunk

LEARN, NEW = np.arange(3800), np.arange(3800, 4000)


def guided() -> Measurements:
    """Measurement 0 says where to look and nothing else: the class is in 1 or 2; 3 is noise, 4 is the same for all."""
    rng = np.random.default_rng(0)
    where, label = rng.integers(0, 2, 4000), rng.integers(0, 2, 4000)
    values = np.zeros((4000, 5, 2))
    values[:, 0] = np.eye(2)[where] + 0.1 * rng.normal(size=(4000, 2))
    values[:, 1:4, 0] = 0.5 + 0.1 * rng.normal(size=(4000, 3))
    values[np.arange(4000), 1 + where, 0] += np.where(label == 1, 0.4, -0.4)
    return Measurements(values.astype(np.float32), label, "classes")


@pytest.fixture(scope="module")
def reader() -> MixtureReader:
    return MixtureModel(most=4).fit(guided(), LEARN, seed=0)


def test_what_only_says_where_to_look_is_bought_first(reader):
    told, order = reader.walk(NEW, 2)

    where = guided().values[NEW, 0].argmax(1)
    assert reader.parts_per_class == 2
    assert (order[:, 0] == 0).all()
    assert (order[:, 1] == 1 + where).all()
    np.testing.assert_allclose(told[0], 0.5, atol=0.05)
    assert (told[1].argmax(1) == guided().target[NEW]).mean() > 0.97


def test_with_one_measurement_left_nobody_asks_where_to_look(reader):
    _, order = reader.walk(NEW, 1)
    assert order[0, 0] in (1, 2)
    assert (order == order[0]).all()


def test_walks_and_subsets_are_read_alike(reader):
    told, order = reader.walk(NEW[:5], 3)
    for row in range(5):
        taken = np.isin(np.arange(5), order[row])
        assert np.allclose(reader.tell(taken[None], NEW[row : row + 1])[0, 0], told[2, row], atol=1e-5)


def test_nothing_is_measured_twice(reader):
    _, order = reader.walk(NEW, 5)
    assert (np.sort(order, axis=1) == np.arange(5)).all()


def test_the_same_seed_gives_the_same_reader(reader):
    again = MixtureModel(most=4).fit(guided(), LEARN, seed=0)
    for one, other in zip(reader.walk(NEW, 3), again.walk(NEW, 3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_label_of_who_is_read_is_not_looked_at(reader):
    problem = guided()
    shuffled = problem.target.copy()
    shuffled[NEW] = 1 - shuffled[NEW]
    blind = MixtureModel(most=4).fit(Measurements(problem.values, shuffled, "classes"), LEARN, seed=0)
    np.testing.assert_array_equal(blind.walk(NEW, 2)[1], reader.walk(NEW, 2)[1])


def test_information_is_that_of_two_normal_distributions():
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, 4000)
    values = (label + 0.8 * rng.normal(size=4000))[:, None, None].astype(np.float32)
    reader = MixtureModel(most=1, draws=256).fit(Measurements(values, label, "classes"), np.arange(4000), seed=0)

    def left(x: float) -> float:
        dense = norm.pdf(x, [0, 1], 0.8) / 2
        return float(-(dense * np.log(dense / dense.sum())).sum())

    wanted = np.log(2) - quad(left, -8, 9)[0]
    assert float(reader.information(reader._share[None])[0, 0]) == pytest.approx(wanted, rel=0.05)


def test_without_parts_it_is_a_linear_discriminant():
    rng = np.random.default_rng(2)
    label = rng.integers(0, 2, 12_000)
    values = (np.outer(label, [1.0, -0.5]) + rng.normal(size=(12_000, 2))).astype(np.float32)[:, :, None]
    problem = Measurements(values, label, "classes")
    learn, new = np.arange(11_000), np.arange(11_000, 12_000)
    told = MixtureModel(most=3).fit(problem, learn, seed=0).tell(np.ones((1, 2), bool), new)
    by_the_book = LinearDiscriminantAnalysis().fit(values[learn, :, 0], label[learn]).predict_proba(values[new, :, 0])
    np.testing.assert_allclose(told[0], by_the_book, atol=0.02)
    log_odds = values[new, :, 0] @ [1.0, -0.5] - 0.625  # sum of (x - mean / 2) times the mean
    np.testing.assert_allclose(told[0, :, 1], 1 / (1 + np.exp(-log_odds)), atol=0.06)


def test_means_are_shrunk_towards_what_the_means_of_all_look_like():
    rng = np.random.default_rng(3)
    true = np.where(rng.random((40, 50)) < 0.05, 1.5, 0.0)
    weight = np.full(40, 16.0)
    seen = true + rng.normal(size=true.shape) / 4
    mean, variance, divergence = _shrunk(seen, weight)
    assert np.sqrt(((mean - true) ** 2).mean()) < 0.1  # unshrunk .25
    assert np.sqrt(variance[np.abs(seen) < 0.5].mean()) < 0.12
    assert divergence > 0
    near, _, _ = _shrunk(seen, 1e5 * weight)
    np.testing.assert_allclose(near, seen, atol=(seen.max() - seen.min()) / 299)


def test_what_is_not_known_of_means_widens_the_next_value():
    rng = np.random.default_rng(4)
    values = rng.normal(size=(4000, 3, 1)).astype(np.float32)
    problem = Measurements(values, (np.arange(4000) % 2).astype(np.int64), "classes")
    few = MixtureModel(most=1).fit(problem, np.arange(8), seed=0)
    many = MixtureModel(most=1).fit(problem, np.arange(4000), seed=0)
    full, new = np.ones((1, 3), bool), np.arange(2000, 4000)
    assert np.abs(few.tell(full, new) - 0.5).mean() < 0.35
    np.testing.assert_allclose(many.tell(full, new), 0.5, atol=0.05)


def test_a_class_with_fewer_rows_than_parts_is_read():
    problem = guided()
    rows = np.concatenate([np.flatnonzero(problem.target == 0)[:100], np.flatnonzero(problem.target == 1)[:2]])
    told = MixtureModel(most=4).fit(problem, rows, seed=0).tell(np.ones((1, 5), bool), NEW)
    assert np.isfinite(told).all()
    np.testing.assert_allclose(told.sum(2), 1, atol=1e-5)


@pytest.mark.parametrize("name", ["most", "draws"])
def test_bad_settings_are_refused(name):
    with pytest.raises(ScanwiseError, match=f"{name} must be at least 1, but is 0"):
        MixtureModel(**{name: 0})


def test_problems_it_cannot_read_are_refused(reader):
    with pytest.raises(ScanwiseError, match="mixtures tell classes, but the target is 'values'"):
        MixtureModel().fit(Measurements(guided().values, np.zeros((4000, 1)), "values"), LEARN, seed=0)
    with pytest.raises(ScanwiseError, match="between 1 and 5 measurements"):
        reader.walk(NEW, 6)
