from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from scanwise.design import Scheme, ShotTable, make_scheme, schemes
from scanwise.errors import ScanwiseError

ACCELERATED = {
    "equispaced": {"centre": 0.1},
    "variable_density": {"power": 3.0, "centre": 0.1, "seed": 5},
    "poisson_disc": {"centre": 0.1, "seed": 5},
    "low_resolution": {},
}
"""The line schemes that have an acceleration, with values of their other parameters."""


def lines(n: int, train_length: int | None = None) -> ShotTable:
    what = {} if train_length is None else {"train_length": np.full(n, train_length)}
    return ShotTable.build([f"k{index}" for index in range(n)], seconds=1.0, what=what)


def taken(name: str, n: int, **setting: float) -> NDArray[np.int64]:
    """Which lines a scheme takes of n, each once."""
    counts = make_scheme(name).counts(lines(n), setting)
    assert set(counts.tolist()) <= {0, 1}
    return np.flatnonzero(counts)


def test_all_are_registered():
    assert {*ACCELERATED, "partial_fourier", "averages", "first_n"} <= set(schemes())


# ---- how many lines


@pytest.mark.parametrize("name", ACCELERATED)
@pytest.mark.parametrize(("n", "acceleration", "expected"), [(64, 4 / 3, 48), (64, 8.0, 8), (33, 2.5, 13), (7, 4, 2)])
def test_the_number_of_lines_is_exact(name, n, acceleration, expected):
    assert len(taken(name, n, acceleration=acceleration, **ACCELERATED[name])) == expected


@pytest.mark.parametrize("name", ACCELERATED)
@pytest.mark.parametrize(
    ("n", "train", "acceleration", "expected"),
    [
        (64, 8, 1.0, 64),
        (64, 8, 2.5, 24),  # 25.6 lines
        (64, 8, 8.0, 8),
        (26, 8, 1.0, 26),  # the fourth train has two echoes
        (26, 8, 1.5, 16),  # 17.3 lines
        (26, 8, 8.0, 8),  # one train at least
        (5, 9, 8.0, 5),
    ],
)
def test_lines_come_in_whole_trains(name, n, train, acceleration, expected):
    counts = make_scheme(name).counts(lines(n, train), {"acceleration": acceleration, **ACCELERATED[name]})

    assert counts.sum() == expected


@pytest.mark.parametrize("name", [*ACCELERATED, "partial_fourier"])
@pytest.mark.parametrize("lengths", [[4, 4, 8], [0, 0, 0], [1.5, 1.5, 1.5], [np.nan, np.nan, np.nan]])
def test_a_train_length_that_cannot_be_is_refused(name, lengths):
    shots = ShotTable.build(["a", "b", "c"], what={"train_length": np.array(lengths)})
    setting = {"fraction": 1.0} if name == "partial_fourier" else {"acceleration": 2.0, **ACCELERATED[name]}
    with pytest.raises(ScanwiseError, match=r"what\['train_length'\] must be one whole number >= 1 for all lines"):
        make_scheme(name).counts(shots, setting)


# ---- which lines


@pytest.mark.parametrize("name", ACCELERATED)
@pytest.mark.parametrize("n", [1, 2, 9, 48, 65])
def test_the_centre_of_k_space_is_always_taken(name, n):
    for acceleration in (1.0, 1.7, 3.3, 8.0):
        rest = {**ACCELERATED[name], "centre": 0.0} if "centre" in ACCELERATED[name] else {}

        assert n // 2 in taken(name, n, acceleration=acceleration, **rest)


@pytest.mark.parametrize("name", ["equispaced", "variable_density", "poisson_disc"])
@pytest.mark.parametrize(
    ("n", "centre", "block"),
    [(50, 0.1, range(23, 28)), (50, 0.16, range(21, 29)), (33, 0.2, range(13, 20)), (33, 0.5, range(11, 22))],
)
def test_the_calibration_lines_are_in_the_middle(name, n, centre, block):
    setting = {**ACCELERATED[name], "centre": centre, "acceleration": 3.0}

    assert set(block) <= set(taken(name, n, **setting).tolist())


@pytest.mark.parametrize("name", ["variable_density", "poisson_disc", "low_resolution"])
@pytest.mark.parametrize("n", [21, 64])
def test_a_longer_acquisition_has_every_line_of_a_shorter_one(name, n):
    nested = [
        set(taken(name, n, acceleration=acceleration, **ACCELERATED[name]).tolist())
        for acceleration in (8.0, 6.0, 4.0, 3.0, 2.0, 1.5, 1.2, 1.0)
    ]

    assert all(short < long for short, long in itertools.pairwise(nested))


def test_without_calibration_every_rth_line_is_taken():
    assert taken("equispaced", 24, acceleration=4.0, centre=0.0).tolist() == [0, 4, 8, 12, 16, 20]
    assert taken("equispaced", 15, acceleration=3.0, centre=0.0).tolist() == [1, 4, 7, 10, 13]


@pytest.mark.parametrize("n", [31, 64, 97])
@pytest.mark.parametrize("centre", [0.0, 0.08, 0.16])
def test_equispaced_gaps_differ_by_one_at_most(n, centre):
    for acceleration in (1.3, 1.9, 2.4, 3.1):
        found = taken("equispaced", n, acceleration=acceleration, centre=centre)
        block = max(1, round(centre * n))
        around = np.diff(np.append(found, found[0] + n))
        outer = np.delete(
            around, [gap for gap, left in enumerate(found) if 0 <= left - n // 2 + block // 2 < block - 1]
        )

        assert len(outer) == len(found) - block + 1
        assert outer.max() - outer.min() <= 1


def test_variable_density_follows_its_density():
    """Of five lines one is drawn beside the central one; |k| = 2/3, 1/3, 0, 1/3, 2/3."""
    found = [taken("variable_density", 5, acceleration=2.5, power=3.0, centre=0.0, seed=seed) for seed in range(100)]
    drawn = np.array([line for pair in found for line in pair if line != 2])
    near, far = (2 / 3) ** 3, (1 / 3) ** 3

    assert np.isin(drawn, [1, 3]).mean() == pytest.approx(near / (near + far), abs=0.07)  # 0.89, standard error 0.03
    assert (drawn > 2).mean() == pytest.approx(0.5, abs=0.15)


def test_a_higher_power_keeps_closer_to_the_centre():
    def spread(power: float) -> float:
        found = [
            taken("variable_density", 64, acceleration=4.0, power=power, centre=0.05, seed=seed) for seed in range(30)
        ]
        return float(np.abs(np.concatenate(found) - 32).mean())

    assert spread(1.0) > spread(3.0) + 1 > spread(6.0) + 2


@pytest.mark.parametrize("acceleration", [2.0, 3.0, 5.0])
def test_poisson_discs_are_packed(acceleration):
    """A line is left out only where its disc would be less than 1 / 0.7 of the smallest one."""
    line = np.arange(65)
    width = 1 + 2 * np.abs(line - 32) / 33  # three times wider beyond the edge
    fits = 2 * np.abs(line - line[:, None]) / (width + width[:, None])  # scale at which two discs touch
    for seed in range(20):
        found = taken("poisson_disc", 65, acceleration=acceleration, centre=0.0, seed=seed)
        others = np.setdiff1d(line, found)
        smallest = (fits[np.ix_(found, found)] + np.diag(np.full(len(found), np.inf))).min()

        assert fits[np.ix_(others, found)].min(axis=1).max() < smallest / 0.7


def test_poisson_discs_leave_smaller_gaps_than_chance():
    def largest_gap(name: str, **rest: float) -> float:
        found = [taken(name, 64, acceleration=4.0, centre=0.08, seed=seed, **rest) for seed in range(40)]
        return float(np.mean([np.diff([-1, *rows, 64]).max() for rows in found]))

    even = 64 / (16 - 5)
    assert even < largest_gap("poisson_disc") < 2 * even < largest_gap("variable_density", power=1.0)


@pytest.mark.parametrize("name", ["variable_density", "poisson_disc"])
def test_seeds_give_different_patterns(name):
    setting = {**ACCELERATED[name], "acceleration": 4.0}
    patterns = {tuple(taken(name, 64, **{**setting, "seed": seed})) for seed in range(20)}

    assert len(patterns) >= 18


def test_low_resolution_is_the_middle():
    assert taken("low_resolution", 9, acceleration=3.0).tolist() == [3, 4, 5]
    assert taken("low_resolution", 12, acceleration=3.0).tolist() == [4, 5, 6, 7]


# ---- partial Fourier


@pytest.mark.parametrize(
    ("n", "train", "fraction", "kept"),
    [
        (64, None, 0.5, 32),
        (64, None, 5 / 8, 40),
        (33, None, 0.5, 17),
        (33, None, 6 / 8, 25),
        (50, None, 0.58, 29),  # 0.58 * 50 is 28.999999999999996
        (100, None, 0.55, 55),  # 0.55 * 100 is 55.00000000000001
        (64, 8, 0.55, 40),  # 35.2 lines: five trains
        (26, 8, 0.95, 26),
    ],
)
def test_partial_fourier_keeps_the_last_lines(n, train, fraction, kept):
    counts = make_scheme("partial_fourier").counts(lines(n, train), {"fraction": fraction})

    np.testing.assert_array_equal(np.flatnonzero(counts), np.arange(n - kept, n))
    assert counts[n // 2] == 1


def test_less_than_half_of_k_space_is_refused():
    with pytest.raises(ScanwiseError, match=r"fraction must be a number in \[0.5, 1\], but got 0.49"):
        make_scheme("partial_fourier").counts(lines(64), {"fraction": 0.49})


# ---- averages


def b_values(**what: list[int]) -> ShotTable:
    names = ["b50", "b400", "b800", "b1400"]
    return ShotTable.build(names, max_count=[4, 8, 16, 16], what={key: np.array(row) for key, row in what.items()})


def lattice(scheme: Scheme, shots: ShotTable) -> list[tuple[int, ...]]:
    return [tuple(scheme.counts(shots, setting).tolist()) for setting in scheme.settings(shots)]


def test_averages_are_the_counts():
    setting = {"b50": 2, "b400": 0, "b800": 16, "b1400": 5}

    np.testing.assert_array_equal(make_scheme("averages").counts(b_values(), setting), [2, 0, 16, 5])


def test_more_averages_than_the_table_allows_are_refused():
    with pytest.raises(ScanwiseError, match=r"b50 must be a whole number in \[0, 4\], but got 5"):
        make_scheme("averages").counts(b_values(), {"b50": 5, "b400": 0, "b800": 0, "b1400": 0})


def test_the_lattice_of_averages_is_two_b_values_or_more_around_what_is_usual():
    found = lattice(make_scheme("averages"), b_values(standard=[2, 4, 8, 12]))

    assert found[:4] == [(2, 4, 8, 12), (3, 6, 12, 16), (1, 2, 4, 6), (1, 1, 2, 3)], "16 is the most there is"
    assert len(found) == len(set(found)) == 11 * 4, "six pairs, four triples, one quadruple"
    assert min(sum(count > 0 for count in row) for row in found) == 2
    assert (2, 0, 8, 0) in found


def test_without_a_standard_averages_are_relative_to_the_most():
    found = lattice(make_scheme("averages"), b_values())

    assert found[:3] == [(4, 8, 16, 16), (2, 4, 8, 8), (1, 2, 4, 4)]
    assert len(found) == 11 * 3, "more than the most is the most"


def test_a_single_b_value_may_stand_alone():
    shots = ShotTable.build(["b800"], max_count=6, what={"standard": np.array([3])})

    assert lattice(make_scheme("averages"), shots) == [(3,), (5,), (2,), (1,)], "half an average is one more"


# ---- frames


def frames(n: int, baseline: int | None = None) -> ShotTable:
    what = {} if baseline is None else {"baseline": np.arange(n) < baseline}
    return ShotTable.build([f"frame{index}" for index in range(n)], what=what)


@pytest.mark.parametrize(
    ("baseline", "n", "spacing", "expected"),
    [
        (None, 9, 1, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (None, 5, 1, [0, 1, 2, 3, 4]),
        (None, 8, 3, [0, 3, 6]),
        (None, 2, 4, [0]),
        (0, 6, 2, [0, 2, 4]),
        (2, 9, 3, [0, 1, 4, 7]),
        (3, 1, 1, [0, 1, 2]),
        (3, 7, 2, [0, 1, 2, 4, 6]),
    ],
)
def test_frames_are_counted_from_the_baseline(baseline, n, spacing, expected):
    counts = make_scheme("first_n").counts(frames(9, baseline), {"n": n, "spacing": spacing})

    np.testing.assert_array_equal(np.flatnonzero(counts), expected)


def test_the_lattice_of_frames_starts_with_the_whole_series():
    found = lattice(make_scheme("first_n"), frames(6))

    assert found[:2] == [(1, 1, 1, 1, 1, 1), (1, 1, 1, 1, 1, 0)]
    assert len(found) == len(set(found)) == 6 + 2 + 1 + 1, "a spacing adds a pattern for each frame it can end with"


# ---- the lattice of the line schemes


@pytest.mark.parametrize(("name", "size"), [("low_resolution", 6), ("partial_fourier", 4), ("poisson_disc", 11)])
def test_line_lattices_start_with_all_lines(name, size):
    found = lattice(make_scheme(name), lines(64))

    assert sum(found[0]) == 64
    assert len(found) == size, "all lines, and at R = 8 with 16 % centre only the centre, look alike"


def test_small_matrices_have_small_lattices():
    assert lattice(make_scheme("low_resolution"), lines(2)) == [(1, 1), (0, 1)]
    for name in [*ACCELERATED, "partial_fourier"]:
        assert lattice(make_scheme(name), lines(1)) == [(1,)]
