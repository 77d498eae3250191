"""Many combinations told from few: within a tolerance, exactly in the end."""

from __future__ import annotations

import numpy as np
import pytest

from scanwise.design import Product, Protocol
from scanwise.model import interpolation as interpolation_module
from scanwise.model.interpolation import Line, interpolated_logits

SHAPE = (12, 9, 20, 11)


def smooth(shape, n_patients=7):
    """Return a product and log odds that are no sums over modalities, but in which settings are alike."""
    product = Product(Protocol(), {f"scan_{k}": ((), *[(n,) for n in range(1, size)]) for k, size in enumerate(shape)})
    settings = product.settings(np.arange(len(product)))
    total = (settings / (np.array(shape) - 1)).sum(axis=1)
    return product, np.log1p(np.exp(2 * total[:, None] + np.random.default_rng(0).normal(size=n_patients)))


def interpolated(product, logits, tolerance, wanted=None):
    """Return the log odds of the rows that are wanted, and how many were read for them."""
    asked = []

    def read(rows):
        asked.append(len(rows))
        return logits[rows]

    wanted = np.ones(len(product), dtype=bool) if wanted is None else wanted
    blocks = list(interpolated_logits(product, read, tolerance=tolerance, wanted=wanted))
    np.testing.assert_array_equal(np.concatenate([rows for rows, _ in blocks]), np.flatnonzero(wanted))
    return np.concatenate([found for _, found in blocks]), sum(asked)


@pytest.mark.parametrize("at_once", [4_000_000, 10_000, 100, 1])
def test_interpolation_is_within_its_tolerance_and_reads_little(at_once, monkeypatch):
    monkeypatch.setattr(interpolation_module, "_VALUES", at_once)
    product, logits = smooth(SHAPE)
    off_before, read_before = np.inf, 0
    for tolerance in (1e-1, 1e-2, 1e-4):
        found, n_read = interpolated(product, logits, tolerance)
        off = np.sqrt(np.mean((found - logits) ** 2))
        assert off < 4 * tolerance  # of each of four modalities
        assert off < off_before
        assert read_before < n_read < len(product) / 8
        off_before, read_before = off, n_read
    wanted = np.random.default_rng(2).random(len(product)) < 0.2
    wanted[2000:9000] = False
    some, _ = interpolated(product, logits, tolerance, wanted)
    np.testing.assert_allclose(some, found[wanted], atol=1e-12)


def test_what_cannot_be_told_or_is_little_is_read_itself():
    product, logits = smooth(SHAPE)
    rough = np.random.default_rng(0).normal(size=logits.shape)
    found, n_read = interpolated(product, rough, 1e-3)
    np.testing.assert_array_equal(found, rough)
    assert n_read == 16 * sum(SHAPE) + len(product)
    few = np.zeros(len(product), dtype=bool)
    few[[5, 77, 1234]] = True
    found, n_read = interpolated(product, logits, 0.1, few)
    np.testing.assert_array_equal(found, logits[few])
    assert n_read == 3


def test_a_product_without_a_choice_is_read():
    found, n_read = interpolated(Product(Protocol({"scan": [1]}), {}), np.array([[0.5, -1.0]]), 0.1)
    assert found.tolist() == [[0.5, -1.0]]
    assert n_read == 1


def test_nothing_is_read_where_nothing_is_wanted():
    product, logits = smooth(SHAPE)
    wanted = np.zeros(len(product), dtype=bool)
    assert not list(interpolated_logits(product, lambda rows: 1 / 0, tolerance=0.1, wanted=wanted))
    assert logits.size


def test_a_modality_whose_settings_differ_by_a_constant_needs_one_of_them():
    logits = np.random.default_rng(0).normal(size=(16, 1, 5)) + np.arange(4.0)[:, None]
    line = Line.through(logits, 1e-6)
    assert line.anchors.shape == (1,)
    np.testing.assert_allclose(line.along(logits[:, line.anchors], 1), logits, atol=1e-12)


def test_log_odds_that_never_change_are_told():
    line = Line.through(np.full((16, 4, 5), 2.0), 1e-6)
    np.testing.assert_array_equal(line.along(np.full((3, 1, 5), 2.0), 1), np.full((3, 4, 5), 2.0))


def test_anchors_are_as_few_as_the_tolerance_allows():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(16, 2, 50))
    mixed = np.concatenate([logits, 0.5 * logits.sum(axis=1, keepdims=True) + 0.01 * rng.normal(size=(16, 1, 50))], 1)
    assert len(Line.through(mixed, 0.1).anchors) == 2
    assert len(Line.through(mixed, 0.001).anchors) == 3
    assert len(Line.through(mixed, 10.0).anchors) == 1


def test_every_setting_is_read_beside_many_and_beside_few_other_modalities():
    product, _ = smooth((5, 4, 30))
    fibres = interpolation_module._fibres(product)
    for column, rows in enumerate(fibres):
        settings = product.settings(rows)
        assert np.bincount(settings[:, column]).tolist() == [16] * product.shape[column]
        there = (np.delete(settings, column, axis=1) > 0).sum(axis=1)
        assert there.max() == 2
        assert there.min() < 2
    for one, other in zip(fibres, interpolation_module._fibres(product), strict=True):
        np.testing.assert_array_equal(one, other)
