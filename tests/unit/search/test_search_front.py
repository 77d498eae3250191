from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from scanwise.errors import ScanwiseError
from scanwise.search import hypervolume, knee, nondominated


def naive_front(values: NDArray[np.float64], maximise: tuple[bool, ...]) -> list[bool]:
    signs = [-1.0 if up else 1.0 for up in maximise]
    rows = [[sign * value for sign, value in zip(signs, row, strict=True)] for row in values.tolist()]
    return [
        not any(all(a <= b for a, b in zip(rival, row, strict=True)) and rival != row for rival in rows) for row in rows
    ]


@pytest.mark.parametrize("n_objectives", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("levels", [4, 1000])
def test_the_front_is_what_all_pairs_say(n_objectives: int, levels: int) -> None:
    rng = np.random.default_rng(n_objectives)
    values = rng.integers(0, levels, size=(700, n_objectives)) / 7.0  # few levels: many ties and duplicates
    maximise = tuple(index % 2 == 0 for index in range(n_objectives))
    assert nondominated(values, maximise).tolist() == naive_front(values, maximise)


def test_equal_points_both_stay_and_a_missing_value_never_does() -> None:
    values = np.array([[0.9, 10.0], [0.9, 10.0], [0.8, 12.0], [np.nan, 0.0]])
    assert nondominated(values, (True, False)).tolist() == [True, True, False, False]


def test_no_point_has_no_front() -> None:
    assert nondominated(np.empty((0, 3)), (True, False, False)).tolist() == []


def test_infinite_costs_are_on_the_front_only_when_nothing_beats_them() -> None:
    values = np.array([[0.5, np.inf], [0.7, np.inf], [0.6, 1.0]])
    assert nondominated(values, (True, False)).tolist() == [False, True, True]


@pytest.mark.parametrize("everything_on_front", [False, True])
def test_a_hundred_thousand_points(everything_on_front: bool) -> None:
    rng = np.random.default_rng(3)
    values = rng.random((100_000, 3))
    if everything_on_front:
        values[:, 2] = 2.0 - values[:, 0] - values[:, 1]
    mask = nondominated(values, (False, False, False))
    assert mask.all() if everything_on_front else 20 < mask.sum() < 1000


def test_the_directions_must_fit_the_columns() -> None:
    with pytest.raises(ScanwiseError, match=r"shape \(points, 2\)"):
        nondominated(np.zeros((4, 3)), (True, False))


def by_inclusion_exclusion(points: NDArray[np.float64], bound: NDArray[np.float64]) -> float:
    """Volume of a union of boxes, from the volumes of all their intersections."""
    total = 0.0
    for size in range(1, len(points) + 1):
        for chosen in itertools.combinations(points, size):
            total += (-1) ** (size + 1) * float(np.prod(np.maximum(bound - np.max(chosen, axis=0), 0.0)))
    return total


@pytest.mark.parametrize("n_objectives", [1, 2, 3, 4])
def test_hypervolume_equals_inclusion_and_exclusion(n_objectives: int) -> None:
    rng = np.random.default_rng(n_objectives)
    points = rng.random((9, n_objectives)) * 1.2  # some are outside
    bound = np.linspace(1.0, 1.1, n_objectives)
    assert hypervolume(points, bound) == pytest.approx(by_inclusion_exclusion(points, bound), abs=1e-12)


def test_hypervolume_of_many_points_agrees_with_throwing_darts() -> None:
    rng = np.random.default_rng(11)
    points = rng.random((150, 3)) ** 0.3
    darts = rng.random((200_000, 3))
    hit = np.zeros(len(darts), dtype=bool)
    for point in points:
        hit |= (darts >= point).all(axis=1)
    assert hypervolume(points, np.ones(3)) == pytest.approx(hit.mean(), abs=4 * np.sqrt(0.25 / len(darts)))


def test_hypervolume_of_a_value_and_a_cost_is_the_mean_best_value_over_limits() -> None:
    points = np.array([[0.5, 0.0], [0.8, 0.25], [0.9, 0.75]])
    assert hypervolume(points, [0.0, 1.0], (True, False)) == pytest.approx(0.5 * 0.25 + 0.8 * 0.5 + 0.9 * 0.25)


def test_a_point_no_better_than_the_reference_adds_nothing() -> None:
    assert hypervolume(np.array([[0.2, 1.0], [2.0, 0.1], [np.nan, 0.1]]), [1.0, 1.0]) == 0.0
    assert hypervolume(np.empty((0, 2)), [1.0, 1.0]) == 0.0


def test_an_infinite_reference_is_refused() -> None:
    with pytest.raises(ScanwiseError, match="must be finite"):
        hypervolume(np.zeros((1, 2)), [np.inf, 1.0])


def test_the_knee_is_where_a_front_bends() -> None:
    values = np.array([[0.50, 0.0], [0.55, 10.0], [0.85, 12.0], [0.88, 60.0], [0.90, 100.0], [0.60, 90.0]])
    assert knee(values, (True, False)) == 2


def test_the_knee_of_one_point_is_that_point() -> None:
    assert knee(np.array([[0.1, 5.0], [0.9, 5.0]]), (True, False)) == 1


def test_a_knee_needs_a_point() -> None:
    with pytest.raises(ScanwiseError, match="at least one point"):
        knee(np.array([[np.nan, 1.0]]), (True, False))
