"""Views of a tomograph: which ones, and at which tube output."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scanwise.design import VIEWS, ShotTable, make_scheme, sampling_pattern

HALF_A_TURN = np.arange(32) * math.pi / 32
SCHEMES = ("sparse_views", "golden_views", "limited_angle")


def table(max_count: int = 8, standard: int | None = 4) -> ShotTable:
    what = {"angle_rad": HALF_A_TURN, **({} if standard is None else {"standard": np.full(32, standard)})}
    return ShotTable.build([f"view{index}" for index in range(32)], msv=0.1, max_count=max_count, what=what)


@pytest.mark.parametrize("name", SCHEMES)
def test_without_a_choice_of_output_there_is_no_such_parameter(name):
    scheme = make_scheme(name)

    assert "output" not in {parameter.name for parameter in scheme.parameters(table(max_count=1))}
    assert all("output" not in setting for setting in scheme.settings(VIEWS.plain_table([24])))
    output = next(parameter for parameter in scheme.parameters(table()) if parameter.name == "output")
    assert (output.low, output.high, output.integer) == (1, 8, True)


def test_all_views_that_are_taken_have_the_output():
    counts = make_scheme("sparse_views").counts(table(), {"acceleration": 4.0, "output": 3})

    assert np.flatnonzero(counts).tolist() == list(range(0, 32, 4))
    assert set(counts[counts > 0]) == {3}
    assert counts @ table().msv == pytest.approx(2.4)


@pytest.mark.parametrize(
    ("shots", "outputs"),
    [
        (table(), {4, 2, 1}),
        (table(max_count=3, standard=2), {2, 1}),
        (table(max_count=8, standard=None), {8, 4, 2}),
        (table(max_count=2, standard=4), {2, 1}),
    ],
)
@pytest.mark.parametrize("name", SCHEMES)
def test_the_lattice_has_the_usual_output_and_less(name, shots, outputs):
    settings = list(make_scheme(name).settings(shots))

    assert {setting["output"] for setting in settings} == outputs
    first = make_scheme(name).counts(shots, settings[0])
    assert (first == max(outputs)).all(), "everything at the usual output comes first"


def test_golden_views_are_nested_and_nearly_even():
    taken = [
        set(np.flatnonzero(make_scheme("golden_views").counts(table(1), {"acceleration": 32 / n})).tolist())
        for n in (4, 8, 16)
    ]

    assert taken[0] < taken[1] < taken[2]
    gaps = np.diff(sorted(taken[1] | {min(taken[1]) + 32}))
    assert gaps.sum() == 32
    assert gaps.max() <= 3 * gaps.min()


def test_golden_views_are_golden_spokes():
    angle = sampling_pattern("golden_angle", 21).shots.what["angle_rad"]
    spokes = ShotTable.build([f"s{index}" for index in range(21)], what={"angle_rad": angle})

    for acceleration in (1.5, 3.0, 7.0):
        np.testing.assert_array_equal(
            make_scheme("golden_views").counts(spokes, {"acceleration": acceleration}),
            make_scheme("golden_angle").counts(spokes, {"acceleration": acceleration}),
        )
