from __future__ import annotations

import numpy as np
import pytest
from model_scenario import TRAINER

from scanwise.errors import ScanwiseError
from scanwise.model import Actions, GreedyModel, Measurements, SubsetModel

LEARN, NEW = np.arange(1000), np.arange(1000, 1300)
NETWORK = SubsetModel(width=32, n_blocks=1, steps=500, batch_size=128, dropout=0.0, learning_rate=0.01)


def bits(seed: int = 0) -> Measurements:
    """Two bits make four classes; three more measurements are noise."""
    rng = np.random.default_rng(seed)
    bit = rng.integers(0, 2, (1300, 2))
    values = np.column_stack([bit + rng.normal(0, 0.1, (1300, 2)), rng.normal(size=(1300, 3))]).astype(np.float32)
    return Measurements(values[:, :, None], bit[:, 0] + 2 * bit[:, 1], "classes")


@pytest.mark.parametrize("method", ["dime", "gdfs"])
def test_what_tells_is_taken_first(method, tmp_path):
    problem = bits()
    reader = GreedyModel(method, 2, NETWORK).fit(
        problem, LEARN, Actions.single(np.ones(5)), seed=0, trainer=TRAINER, directory=tmp_path
    )
    steps = list(reader.walk(NEW))
    assert len(steps) == 2
    taken, told = steps[-1]
    assert (taken.sum(axis=1) == 2).all()
    assert taken[:, :2].mean() > 0.95
    assert (told.argmax(axis=1) == problem.target[NEW]).mean() > 0.95


def test_a_price_makes_dime_choose_otherwise(tmp_path):
    problem = bits()
    reader = GreedyModel("dime", 1, NETWORK).fit(
        problem, LEARN, Actions.single(np.array([1.0, 10.0, 1, 1, 1])), seed=0, trainer=TRAINER, directory=tmp_path
    )
    ((taken, _),) = reader.walk(NEW)
    assert taken[:, 0].all()


def test_bad_settings_are_refused(tmp_path):
    with pytest.raises(ScanwiseError, match="dime"):
        GreedyModel("greedy", 2, NETWORK)
    with pytest.raises(ScanwiseError, match="at least one"):
        GreedyModel("dime", 0, NETWORK)
    values = Measurements(np.zeros((4, 2, 1), dtype=np.float32), np.zeros((4, 1)), "values")
    with pytest.raises(ScanwiseError, match="classes"):
        GreedyModel("dime", 1, NETWORK).fit(
            values, np.arange(4), Actions.single(np.ones(2)), seed=0, trainer=TRAINER, directory=tmp_path
        )
