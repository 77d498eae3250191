from __future__ import annotations

import numpy as np
import pytest
import torch
from model_scenario import TRAINER

from scanwise.errors import ScanwiseError
from scanwise.model import Actions, Measurements, SubsetModel, ValueModel, fit_halves

LEARN, NEW = np.arange(1200), np.arange(1200, 1600)
READER = SubsetModel(width=32, n_blocks=2, steps=400, batch_size=128, dropout=0.0, learning_rate=0.01)
VALUE = ValueModel(width=32, n_blocks=2, steps=700, batch_size=128, learning_rate=0.01, weights=(0.01, 0.3))


def guided(seed: int = 0) -> Measurements:
    """Measurement 0 says where the class is, in 1 or in 2, and nothing of the class itself; 3 is noise."""
    rng = np.random.default_rng(seed)
    where, bits = rng.integers(0, 2, 1600), rng.integers(0, 2, (1600, 2))
    label = bits[np.arange(1600), where]
    values = np.column_stack([where, bits, rng.integers(0, 2, 1600)]).astype(np.float32)
    return Measurements(values[:, :, None], label, "classes")


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    return fit_halves(READER, guided(), LEARN, seed=0, trainer=TRAINER, directory=tmp_path_factory.mktemp("halves"))


@pytest.fixture(scope="module")
def reader(judged, tmp_path_factory):
    return VALUE.fit(
        guided(),
        judged,
        Actions.single(np.ones(4)),
        seed=0,
        trainer=TRAINER,
        directory=tmp_path_factory.mktemp("value"),
    )


def accuracy(judged, taken) -> float:
    """Everybody is read by both networks."""
    told = [
        torch.stack(
            [
                one(torch.from_numpy(guided().values[NEW]), torch.from_numpy(taken.astype(np.float32)))
                for one in reader.networks
            ]
        )
        for reader, _ in judged
    ]
    with torch.no_grad():
        best = torch.cat(told).softmax(2).mean(0).argmax(1).numpy()
    return float((best == guided().target[NEW]).mean())


def test_one_looks_first_where_to_look(reader, judged):
    """The first look brings nothing by itself: who does not look ahead never takes it."""
    taken, order = reader.walk(NEW, 0.05, budget=2.0)

    assert (order[:, 0] == 0).mean() > 0.95
    where = guided().values[NEW, 0, 0].astype(int)
    assert (order[:, 1] == 1 + where).mean() > 0.95
    assert accuracy(judged, taken) > 0.95


def test_the_dearer_a_measurement_the_fewer_are_made(reader):
    numbers = [reader.walk(NEW, weight)[0].sum(axis=1).mean() for weight in (0.02, 0.28)]
    assert numbers[0] > 1.5
    assert numbers[1] <= numbers[0]
    assert all(number < 3 for number in numbers)  # nobody buys the noise


def test_budgets_hold_and_nothing_is_measured_twice(reader):
    taken, order = reader.walk(NEW, 0.01, budget=3.0, stops=False)
    assert (taken.sum(axis=1) == 3).all()
    assert all(len(set(row.tolist())) == 3 for row in order)


def test_a_price_that_is_never_worth_it_ends_at_once(judged, tmp_path):
    dear = Actions.single(np.full(4, 1e3))
    found = ValueModel(width=16, steps=150, batch_size=64, weights=(0.1, 1.0)).fit(
        guided(), judged, dear, seed=0, trainer=TRAINER, directory=tmp_path
    )
    taken, order = found.walk(NEW[:20], 1.0)
    assert not taken.any()
    assert order.shape[1] == 0


def test_what_was_not_measured_is_not_looked_at(reader):
    problem = guided()
    taken = np.zeros((10, 4), dtype=bool)
    taken[:, 0] = True
    before = reader.worth(NEW[:10], taken, 0.05)
    kept = problem.values[NEW[:10], 1:].copy()
    try:
        reader.measurements.values[NEW[:10], 1:] = 99.0
        assert np.array_equal(reader.worth(NEW[:10], taken, 0.05), before)
    finally:
        reader.measurements.values[NEW[:10], 1:] = kept


def test_set_ups_are_paid_once():
    groups = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1]], dtype=bool)
    needs = np.array([[1, 0], [1, 1], [0, 1]], dtype=bool)
    actions = Actions(groups, np.array([1.0, 2.0, 4.0]), needs, np.array([10.0, 100.0]))
    nothing, first = torch.zeros(1, 3), torch.tensor([[1.0, 0, 0]])

    assert actions.costs(nothing).tolist() == [[11.0, 112.0, 116.0]]
    assert actions.costs(first).tolist() == [[0.0, 102.0, 106.0]]
    assert actions.open(first).tolist() == [[False, True, True]]
    assert actions.spent(torch.tensor([[1.0, 1.0, 0.0]])).tolist() == [113.0]


def test_bad_settings_are_refused(reader):
    with pytest.raises(ScanwiseError, match="ascending"):
        ValueModel(weights=(1.0, 0.1))
    with pytest.raises(ScanwiseError, match="explore"):
        ValueModel(explore=2.0)
    with pytest.raises(ScanwiseError, match="must take a measurement"):
        Actions(np.zeros((1, 2), dtype=bool), np.ones(2))
    with pytest.raises(ScanwiseError, match="negative"):
        Actions.single(np.array([1.0, -1.0]))
    with pytest.raises(ScanwiseError, match="must end"):
        reader.walk(NEW, 0.1, stops=False)
