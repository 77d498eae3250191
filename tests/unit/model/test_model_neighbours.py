from __future__ import annotations

import numpy as np
import pytest

from scanwise.errors import ScanwiseError
from scanwise.model import Measurements, NeighbourModel, NeighbourReader

LEARN, NEW = np.arange(800), np.arange(800, 1000)


def guided(seed: int = 0) -> Measurements:
    """Measurement 0 says where to look: the class is in measurement 1 or in 2; 3 to 5 are noise."""
    rng = np.random.default_rng(seed)
    where, label = rng.integers(0, 2, 1000), rng.integers(0, 2, 1000)
    values = rng.uniform(0, 1, (1000, 6)).astype(np.float32)
    values[:, 0] = 0.5 * where + 0.1 * values[:, 0] + (1 - where) * 0.3 * label  # tells a little of the class, too
    for place in (1, 2):
        here = where == place - 1
        values[here, place] = 0.9 * label[here] + 0.1 * values[here, place]
    return Measurements(values[:, :, None], label, "classes")


@pytest.fixture(scope="module")
def reader() -> NeighbourReader:
    return NeighbourModel(judged_at=3).fit(guided(), LEARN, seed=0)


def test_the_next_measurement_depends_on_what_was_seen(reader):
    told, order = reader.walk(NEW, 2)

    where = guided().values[NEW, 0, 0]
    assert (order[:, 0] == order[0, 0]).all()
    first = order[0, 0]
    assert first in (0, 1, 2)
    assert len(np.unique(order[:, 1])) > 1
    told, order = reader.walk(NEW, 3)
    assert (told[2].argmax(1) == guided().target[NEW]).mean() > 0.9
    assert set(order[0].tolist()) <= {0, 1, 2} or (where > 0).all()


def test_walks_and_subsets_are_read_alike(reader):
    told, order = reader.walk(NEW[:5], 3)
    for row in range(5):
        taken = np.isin(np.arange(6), order[row])
        assert np.allclose(reader.tell(taken[None], NEW[row : row + 1])[0, 0], told[2, row], atol=1e-5)


def test_nothing_is_measured_twice(reader):
    _, order = reader.walk(NEW, 6)
    assert (np.sort(order, axis=1) == np.arange(6)).all()


def test_a_few_nearest_rows_choose_nearly_as_well_as_all():
    settings = {"bandwidths": (0.15,), "judged_at": 3}
    every = NeighbourModel(**settings).fit(guided(), LEARN, seed=0)
    same = NeighbourModel(**settings, nearest=len(LEARN)).fit(guided(), LEARN, seed=0)
    few = NeighbourModel(**settings, nearest=80).fit(guided(), LEARN, seed=0)
    _, order = every.walk(NEW, 3)
    np.testing.assert_array_equal(same.walk(NEW, 3)[1], order)
    told, chosen = few.walk(NEW, 3)
    assert (chosen[:, 0] == order[:, 0]).all()  # all rows are asked where nothing is measured yet
    assert (told[2].argmax(1) == guided().target[NEW]).mean() > 0.9


def test_information_is_that_of_counting():
    """Two values, two classes, a narrow kernel: the mutual information of a 2 x 2 table."""
    table = np.array([[30, 10], [5, 55]])
    value, label = np.repeat(np.indices((2, 2)).reshape(2, -1), table.ravel(), axis=1)
    noise = np.tile([0.0, 1.0], 50)
    problem = Measurements(np.column_stack([value, noise])[:, :, None].astype(np.float32), label, "classes")
    reader = NeighbourReader(problem, np.arange(100), bandwidth=0.05, levels=2)
    share = table / 100
    wanted = (share * np.log(share / (share.sum(1, keepdims=True) * share.sum(0)))).sum()

    _, order = reader.walk(np.arange(1), 1)

    found = reader.information(reader._weights(reader._scaled(np.arange(1))[:, :0].new_zeros(1, 100))[0])
    assert float(found[0]) == pytest.approx(wanted, abs=1e-5)
    assert float(found[1]) == pytest.approx(0.0, abs=0.02)
    assert order[0, 0] == 0


def test_the_label_of_who_is_read_is_not_looked_at(reader):
    problem = guided()
    shuffled = problem.target.copy()
    shuffled[NEW] = 1 - shuffled[NEW]
    blind = NeighbourReader(
        Measurements(problem.values, shuffled, "classes"), LEARN, reader.bandwidth, NeighbourModel().levels
    )
    assert np.array_equal(blind.walk(NEW, 2)[1], reader.walk(NEW, 2)[1])


def test_a_left_out_row_says_nothing():
    chance = np.random.default_rng(1).integers(0, 2, 1000)  # nobody else can tell
    problem = Measurements(guided().values, chance, "classes")
    reader = NeighbourReader(problem, LEARN, 0.01, 9)
    mine = np.arange(20)
    told, _ = reader.walk(LEARN[mine], 6)
    blind, _ = reader.walk(LEARN[mine], 6, left_out=mine)
    own = (slice(None), np.arange(20), problem.target[LEARN[mine]])
    assert told[own][-1].min() > 0.99
    assert blind[own][-1].min() < 0.5


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bandwidths": ()}, "above 0"),
        ({"bandwidths": (0.1, -1)}, "above 0"),
        ({"levels": 1}, "levels"),
        ({"nearest": 1}, "nearest"),
    ],
)
def test_bad_settings_are_refused(settings, words):
    with pytest.raises(ScanwiseError, match=words):
        NeighbourModel(**settings)


def test_problems_it_cannot_read_are_refused(reader):
    values = np.zeros((10, 3, 2), dtype=np.float32)
    with pytest.raises(ScanwiseError, match="one number each"):
        NeighbourModel().fit(Measurements(values, np.zeros(10, dtype=np.int64), "classes"), np.arange(5), seed=0)
    with pytest.raises(ScanwiseError, match="between 1 and 6"):
        reader.walk(NEW, 7)
