"""Ridge regression for every subset: the error of leaving one out is that of doing so, and it reads new rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from scanwise.design import Protocol
from scanwise.errors import ScanwiseError
from scanwise.model import Measurements, RidgeModel, RidgePolicy

ROWS = 60


def problem(kind: str = "values") -> Measurements:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2 * ROWS, 4, 2)).astype(np.float32)
    told = values[:, 0, 0] + values[:, 1, 1] ** 2 + 0.1 * rng.normal(size=2 * ROWS)
    if kind == "classes":
        return Measurements(values, (told > 1).astype(np.int64), kind)
    target = np.stack([told, values[:, 2, 0]], axis=1).astype(np.float32)
    return Measurements(values, target if kind == "values" else (target > 0).astype(np.float32), kind)


def test_the_error_of_leaving_one_out_is_that_of_doing_so() -> None:
    made = problem()
    learn = np.arange(ROWS)
    reader = RidgeModel(penalty=0.1).fit(made, learn)
    mask = np.array([True, False, True, False])
    features = reader._features[:, np.repeat(mask, 4)]
    wrong = []
    for row in learn:
        others = np.delete(learn, row)
        # the centre of the features is that of all rows, so that of the others is a part of the fit
        fitted = Ridge(alpha=0.1 * ROWS).fit(features[others], made.target[others])
        wrong.append(made.target[row] - fitted.predict(features[[row]])[0])
    expected = np.mean(np.square(wrong))
    assert reader.losses([mask])[0] == pytest.approx(expected, rel=2e-3)
    assert reader([Protocol({"shots": mask.astype(int)})])[0] == -reader.losses([mask])[0]


@pytest.mark.parametrize("taken", [[], [2], [0, 1, 3], [0, 1, 2, 3]])
def test_the_error_with_one_more_is_that_of_the_larger_subset(taken: list[int]) -> None:
    reader = RidgeModel().fit(problem(), np.arange(ROWS))
    mask = np.isin(np.arange(4), taken)

    found = reader.with_one_more(mask)

    assert np.isinf(found[mask]).all()
    for shot in np.flatnonzero(~mask):
        assert found[shot] == pytest.approx(reader.losses([mask | (np.arange(4) == shot)])[0], rel=1e-10)


def test_what_tells_is_found_and_new_rows_are_told() -> None:
    made = problem()
    reader = RidgeModel().fit(made, np.arange(ROWS))
    singles = reader.losses(list(np.eye(4, dtype=bool)))
    assert singles.argmax() == 3  # it says nothing
    new = np.arange(ROWS, 2 * ROWS)
    told = reader.tell(np.array([[True, True, True, False], [False, False, False, True]]), new)
    assert told.shape == (2, ROWS, 2)
    off = ((told - made.target[new]) ** 2).mean(axis=(1, 2)) / made.target[new].var(axis=0).mean()
    assert off[0] < 0.1
    assert off[1] > 0.9


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_diagnoses_are_told_by_regression(kind: str) -> None:
    made = problem(kind)
    told = RidgeModel().fit(made, np.arange(ROWS)).tell(np.ones((1, 4), dtype=bool), np.arange(ROWS, 2 * ROWS))[0]
    target = made.target[ROWS:] if kind == "labels" else np.eye(2)[made.target[ROWS:]]
    assert ((told > 0.5) == (target > 0.5)).mean() > 0.8


def test_no_subset_at_all_is_the_mean() -> None:
    made = problem()
    reader = RidgeModel().fit(made, np.arange(ROWS))
    told = reader.tell(np.zeros((1, 4), dtype=bool), np.arange(3))
    np.testing.assert_allclose(told[0], np.tile(made.target[:ROWS].mean(0, dtype=np.float64), (3, 1)), rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"), [({"penalty": 0.0}, "penalty must be"), ({"degree": 0}, "degree must")]
)
def test_settings_are_checked(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ScanwiseError, match=message):
        RidgeModel(**changes)


def staged(n: int) -> Measurements:
    """Return diagnoses told roughly by the first measurement, well by the second, and not at all by the third."""
    rng = np.random.default_rng(1)
    sick = rng.random(n) < 0.5
    values = np.stack([sick + rng.normal(0, 0.6, n), sick + rng.normal(0, 0.4, n), rng.normal(size=n)], axis=1)
    return Measurements(values[:, :, None].astype(np.float32), sick[:, None].astype(np.float32), "labels")


def test_the_next_measurement_goes_to_those_it_helps() -> None:
    made = staged(3000)
    learn, new = np.arange(1000), np.arange(1000, 3000)
    reader = RidgeModel(degree=3).fit(made, learn)
    policy, first = RidgePolicy(reader, [0, 1, 2]), np.array([True, False, False])
    weight = policy.weight_for(first, 1.4)

    mine, _ = policy.walk(first, weight)
    taken, told = policy.walk(first, weight, new)

    assert 1.3 < mine.sum(axis=1).mean() <= 1.4
    assert taken[:, 0].all()
    assert not taken[:, 2].any()
    assert taken.sum(axis=1).mean() == pytest.approx(1.4, abs=0.05)
    wrong = np.mean((told - made.target[new]) ** 2)
    few, more = (np.mean((one - made.target[new]) ** 2) for one in reader.tell(np.tri(3, dtype=bool)[:2], new))
    by_chance = few - taken[:, 1].mean() * (few - more)
    assert few - wrong > 1.3 * (few - by_chance)
    for state in np.unique(taken, axis=0):  # what is told is what the regression of that subset tells
        rows = (taken == state).all(axis=1)
        np.testing.assert_allclose(told[rows], reader.tell(state[None], new[rows])[0])


def test_measuring_ends_where_nothing_is_worth_its_price() -> None:
    reader = RidgeModel().fit(staged(300), np.arange(300))
    policy, none = RidgePolicy(reader, [0, 1, 2]), np.zeros(3, dtype=bool)
    assert not policy.walk(none, 1.0)[0].any()
    assert policy.walk(none, -1.0, np.arange(5))[0].all()
    with pytest.raises(ScanwiseError, match=r"more than 0\.5 on average"):
        policy.weight_for(~none, 0.5)
