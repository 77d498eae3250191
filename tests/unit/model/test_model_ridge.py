"""Ridge regression for every subset: the error of leaving one out is that of doing so, and it reads new rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from scanwise.design import Protocol
from scanwise.errors import ScanwiseError
from scanwise.model import Measurements, RidgeModel

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
