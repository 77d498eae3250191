"""Schemes beyond lines: phase encodes of a volume, spokes, views, lines of a dynamic series, and Gaussian density."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from scanwise.design import (
    DYNAMIC_LINES,
    GOLDEN_ANGLE_RAD,
    LINES,
    PHASE_ENCODES,
    SPOKES,
    VIEWS,
    ShotTable,
    make_scheme,
    schemes,
)
from scanwise.errors import ScanwiseError

VOLUME = {
    "variable_density_2d": {"power": 3.0, "centre": 0.1, "seed": 5},
    "poisson_disc_2d": {"centre": 0.1, "seed": 5},
}


def taken(name: str, *size: int, **setting: float) -> NDArray[np.int64]:
    """Which shots of a plain table are taken, as a mask."""
    scheme = make_scheme(name)
    counts = scheme.counts(scheme.kind.plain_table(size), setting)
    assert set(counts.tolist()) <= {0, 1}
    return counts.reshape(size)


# ---- Gaussian density


def test_gaussian_density_is_a_bell():
    """Of five lines one is drawn beside the central one; |k| = 2/3, 1/3, 0, 1/3, 2/3."""
    drawn = [taken("gaussian_density", 5, acceleration=2.5, width=0.4, centre=0.0, seed=seed) for seed in range(100)]
    others = np.delete(np.sum(drawn, axis=0), 2)
    near, far = math.exp(-((1 / 3) ** 2) / 0.32), math.exp(-((2 / 3) ** 2) / 0.32)

    assert others[[1, 2]].sum() / others.sum() == pytest.approx(near / (near + far), abs=0.1)  # 0.74 +- 0.044
    assert (others > 0).all()


def test_a_narrow_bell_keeps_closer_to_the_centre():
    def spread(width: float) -> float:
        found = [taken("gaussian_density", 64, acceleration=4, width=width, centre=0.05, seed=s) for s in range(30)]
        return float(np.average(np.abs(np.arange(64) - 32), weights=np.sum(found, axis=0)))

    assert spread(0.15) + 1 < spread(0.3) < spread(1.0) - 1


# ---- volumes


@pytest.mark.parametrize("name", VOLUME)
@pytest.mark.parametrize(
    ("size", "acceleration", "expected"), [((48, 37), 4, 444), ((31, 7), 16, 14), ((5, 9), 1.5, 30), ((2, 3), 1.0, 6)]
)
def test_the_number_of_phase_encodes_is_exact(name, size, acceleration, expected):
    assert taken(name, *size, acceleration=acceleration, **VOLUME[name]).sum() == expected


@pytest.mark.parametrize("name", VOLUME)
def test_the_centre_of_a_volume_is_a_full_rectangle(name):
    mask = taken(name, 40, 31, acceleration=12, **{**VOLUME[name], "centre": 0.16})

    assert mask[17:23, 13:18].all(), "6.4 of 40 lines around 20, 4.96 of 31 around 15"
    assert mask.sum() == 103


@pytest.mark.parametrize("name", VOLUME)
def test_a_centre_that_does_not_fit_is_what_is_nearest(name):
    mask = taken(name, 24, 24, acceleration=16, **{**VOLUME[name], "centre": 0.5})
    ky, kz = np.nonzero(mask)

    assert mask.sum() == 36
    assert np.hypot(ky - 12, kz - 12).max() <= 3.7, "36 positions fill a disc of radius 3.4"


@pytest.mark.parametrize("name", VOLUME)
def test_longer_acquisitions_of_a_volume_hold_the_shorter_ones(name):
    masks = [taken(name, 30, 23, acceleration=R, **{**VOLUME[name], "centre": 0.0}) for R in (16, 8, 3, 1.5)]

    for shorter, longer in itertools.pairwise(masks):
        assert (longer >= shorter).all()


@pytest.mark.parametrize("name", VOLUME)
def test_corners_may_be_missing(name):
    ky, kz = (index.ravel() for index in np.indices((21, 16)))
    inside = ((ky - 10) / 10.5) ** 2 + ((kz - 8) / 8) ** 2 <= 1
    shots = ShotTable.build([f"p{i}" for i in range(inside.sum())], what={"ky": ky[inside], "kz": kz[inside]})
    counts = make_scheme(name).counts(shots, {"acceleration": 4.0, **VOLUME[name]})

    assert counts.sum() == round(inside.sum() / 4)
    centre = (shots.what["ky"] == 10) & (shots.what["kz"] == 8)
    assert counts[centre].tolist() == [1]


def test_the_density_of_a_volume_falls_to_the_corners():
    """Of nine positions the central one is certain and one more is drawn: |k| = 1/2 at an edge over root 2."""
    drawn = np.sum(
        [taken("variable_density_2d", 3, 3, acceleration=4.5, power=3, centre=0, seed=s) for s in range(100)], axis=0
    )
    edge, corner = (1 - 0.5 / math.sqrt(2)) ** 3, 0.5**3

    assert drawn[1, 1] == 100
    assert drawn[[0, 1, 1, 2], [1, 0, 2, 1]].sum() / 100 == pytest.approx(edge / (edge + corner), abs=0.1)  # 0.68


@pytest.mark.parametrize("acceleration", [3.0, 8.0])
def test_discs_of_a_volume_are_packed(acceleration):
    """A phase encode is left out only where its disc would be less than 1 / 0.95 of the smallest one."""
    place = np.stack(np.indices((33, 20)), axis=-1).reshape(-1, 2)
    width = 1 + 2 * np.hypot((place[:, 0] - 16) / 17, (place[:, 1] - 10) / 11)
    fits = 2 * np.hypot(*(place[:, None] - place).T) / (width + width[:, None])
    for seed in range(3):
        mask = taken("poisson_disc_2d", 33, 20, acceleration=acceleration, centre=0.0, seed=seed).ravel() > 0
        among = fits[np.ix_(mask, mask)]
        smallest = among[among > 0].min()

        assert fits[np.ix_(~mask, mask)].min(axis=1).max() < smallest / 0.95


def test_discs_keep_a_distance_that_chance_does_not():
    def nearest(mask: NDArray[np.int64]) -> float:
        """Smallest distance between two positions, both beyond half of k-space."""
        place = np.argwhere(mask)
        place = place[np.hypot((place[:, 0] - 32) / 33, (place[:, 1] - 24) / 25) > 0.5]
        apart = np.hypot(*(place[:, None] - place).T)
        return float(apart[apart > 0].min())

    assert nearest(taken("poisson_disc_2d", 64, 48, acceleration=8, centre=0.08, seed=0)) >= 2
    assert nearest(taken("variable_density_2d", 64, 48, acceleration=8, power=1, centre=0.08, seed=0)) == 1


# ---- spokes


def test_spokes_turn_by_the_golden_angle():
    assert math.degrees(GOLDEN_ANGLE_RAD) == pytest.approx(111.246, abs=0.001)  # Winkelmann 2007
    assert taken("golden_angle", 40, acceleration=8).nonzero()[0].tolist() == [0, 1, 2, 3, 4]


def test_on_other_tables_spokes_take_what_is_nearest():
    """Half a turn in steps of one degree: 0, 111.2, 222.5 - 180, 333.7 - 180 and 445.0 - 360 degrees."""
    shots = ShotTable.build([f"a{degree}" for degree in range(180)], what={"angle_rad": np.radians(np.arange(180))})
    counts = make_scheme("golden_angle").counts(shots, {"acceleration": 15.0})

    assert counts.sum() == 12
    first = make_scheme("golden_angle").counts(shots, {"acceleration": 16.0})
    assert set(np.flatnonzero(first)) <= set(np.flatnonzero(counts))
    assert {0, 111, 42, 154, 85} <= set(np.flatnonzero(first))


def test_gaps_between_golden_spokes_are_nearly_even():
    """Three gaps at most, the largest no more than 1 + golden ratio times the smallest (Winkelmann 2007)."""
    angle = SPOKES.plain_table([233]).what["angle_rad"]
    for acceleration in (16, 9.3, 4.1, 2):
        found = np.sort(angle[taken("golden_angle", 233, acceleration=acceleration) > 0] % np.pi)
        gaps = np.diff(np.append(found, found[0] + np.pi))

        assert gaps.max() / gaps.min() < 2.62
        assert len(np.unique(gaps.round(6))) <= 3


# ---- views


def test_sparse_views_are_every_kth():
    assert taken("sparse_views", 24, acceleration=4).nonzero()[0].tolist() == [0, 4, 8, 12, 16, 20]
    assert np.diff(taken("sparse_views", 25, acceleration=4).nonzero()[0]).tolist() == [4, 4, 4, 4, 4]


def test_views_are_counted_in_the_order_of_their_angle():
    order = np.random.default_rng(3).permutation(12)
    shots = ShotTable.build([f"v{i}" for i in range(12)], what={"angle_rad": np.radians(30 * order)})
    sparse = make_scheme("sparse_views").counts(shots, {"acceleration": 4.0})
    limited = make_scheme("limited_angle").counts(shots, {"fraction": 0.3, "start": 0.75})

    assert sorted(order[sparse > 0]) == [0, 4, 8]
    assert sorted(order[limited > 0]) == [0, 9, 10, 11], "3.6 views from 270 degrees on"


def test_a_limited_angle_from_zero_is_the_first_views():
    assert taken("limited_angle", 20, fraction=0.25, start=0.0).nonzero()[0].tolist() == [0, 1, 2, 3, 4]
    whole_turn = taken("limited_angle", 20, fraction=0.25, start=1.0)
    np.testing.assert_array_equal(whole_turn, taken("limited_angle", 20, fraction=0.25, start=0.0))


# ---- lines of a dynamic series


@pytest.mark.parametrize(
    ("lines", "acceleration", "centre"), [(48, 4, 0.05), (60, 5, 0.05), (31, 3.1, 0.1), (64, 8, 0)]
)
def test_successive_frames_of_the_lattice_take_every_line(lines, acceleration, centre):
    mask = taken("kt_lattice", 24, lines, acceleration=acceleration, centre=centre)
    block = max(1, round(centre * lines))
    spacing = math.ceil((lines - block) / (mask[0].sum() - block))

    assert len(set(mask.sum(axis=1))) == 1, "every frame has as many lines"
    for first in range(24 - spacing):
        assert mask[first : first + spacing].any(axis=0).all()
        assert not np.array_equal(mask[first], mask[first + 1])


def test_a_small_lattice():
    """Seven lines, one of them the centre: six others in two halves, three frames until all are taken."""
    mask = taken("kt_lattice", 3, 7, acceleration=7 / 3, centre=0.0)

    assert [row.nonzero()[0].tolist() for row in mask] == [[0, 3, 4], [1, 3, 5], [2, 3, 6]]


@pytest.mark.parametrize("name", ["kt_lattice", "kt_random"])
def test_frames_have_the_centre_and_equally_many_lines(name):
    rest = {"power": 2.0, "seed": 3} if name == "kt_random" else {}
    mask = taken(name, 11, 37, acceleration=5, centre=0.1, **rest)

    assert mask.sum() == 81, "81.4 of 407"
    assert set(mask.sum(axis=1)) == {7, 8}
    assert mask[:, 16:20].all(), "four of 37 lines around line 18"


def test_fewer_lines_than_frames_are_central_ones():
    mask = taken("kt_random", 9, 5, acceleration=8, centre=0.2, power=2.0, seed=0)

    assert mask.sum() == 6
    assert mask[:, 2].sum() == 6


def test_random_frames_differ():
    mask = taken("kt_random", 6, 64, acceleration=4, centre=0.05, power=2.0, seed=1)

    assert len({row.tobytes() for row in mask}) == 6


# ---- tables of another kind


@pytest.mark.parametrize(
    ("name", "what", "message"),
    [
        ("poisson_disc_2d", {"ky": [0, 1, 2]}, r"for phase encodes of a volume: .* must have what\['kz'\]"),
        ("poisson_disc_2d", {"ky": [0, 0, 0], "kz": [1, 2, 2]}, "no two phase encodes of a volume may be at the same"),
        ("variable_density_2d", {"ky": [0, 1, 2], "kz": [0.5, 1, 2]}, r"what\['kz'\] must be whole numbers >= 0"),
        ("variable_density_2d", {"ky": [0, 1, 2], "kz": [-1, 1, 2]}, r"what\['kz'\] must be whole numbers >= 0"),
        ("equispaced", {"ky": [0, 1, 2], "kz": [0, 1, 2]}, r"for lines of k-space: .* must not have what\['ky'\]"),
        ("first_n", {"frame": [0, 1, 2], "line": [0, 0, 0]}, r"for frames: .* must not have what\['line'\]"),
        ("kt_lattice", {"frame": [0, 0, 1], "line": [0, 1, 0]}, "must have every line in every frame"),
        ("kt_lattice", {"frame": [0, 1, 3], "line": [0, 0, 0]}, "must count from 0 without gaps"),
        ("golden_angle", {}, r"for spokes: .* must have what\['angle_rad'\]"),
        ("sparse_views", {"angle_rad": [0, 1, np.nan]}, r"what\['angle_rad'\] must be one finite number per shot"),
    ],
)
def test_a_table_of_another_kind_is_refused(name, what, message):
    shots = ShotTable.build(["a", "b", "c"], what={key: np.array(values) for key, values in what.items()})
    with pytest.raises(ScanwiseError, match=message):
        next(make_scheme(name).settings(shots))


@pytest.mark.parametrize("size", [[], [0], [3, 4], [2.0], ["3"], [True]])
def test_a_plain_table_needs_one_number_for_each_axis(size):
    with pytest.raises(ScanwiseError, match=r"must be whole numbers >= 1, one for each of \[line\]"):
        LINES.plain_table(size)


def test_a_plain_table_counts_the_last_axis_fastest():
    shots = PHASE_ENCODES.plain_table([2, 3], seconds=1.5)

    assert shots.names == ("ky0_kz0", "ky0_kz1", "ky0_kz2", "ky1_kz0", "ky1_kz1", "ky1_kz2")
    assert shots.what["kz"].tolist() == [0, 1, 2, 0, 1, 2]
    assert shots.seconds.tolist() == [1.5] * 6
    assert VIEWS.plain_table([4]).what["angle_rad"].tolist() == pytest.approx([0, np.pi / 2, np.pi, 3 * np.pi / 2])


# ---- resolution


RANDOM = sorted(name for name, cls in schemes().items() if cls.kind in (LINES, PHASE_ENCODES, DYNAMIC_LINES))


@pytest.mark.parametrize("name", RANDOM)
def test_a_setting_means_the_same_at_any_resolution(name):
    """Share of the shots in each quarter of |k|, on a matrix and on one twice as fine."""

    def profile(lines: int) -> NDArray[np.float64]:
        scheme = make_scheme(name)
        axes = len(scheme.kind.axes)
        shots = scheme.kind.plain_table([8, lines] if scheme.kind is DYNAMIC_LINES else [lines, lines // 2][:axes])
        middle = {"acceleration": 3.0, "centre": 0.1, "power": 2.0, "width": 0.4, "fraction": 0.7}
        setting = {p.name: middle.get(p.name, 0) for p in scheme.parameters(shots)}
        seeds = range(20 if axes == 1 else 4)
        settings = [{**setting, "seed": seed} if "seed" in setting else setting for seed in seeds]
        counts = sum(scheme.counts(shots, one) for one in settings)
        line = shots.what.get("line", shots.what.get("ky", np.arange(len(shots))))
        zone = np.minimum(np.abs(line - lines // 2) * 8 // lines, 3)
        return np.bincount(zone, weights=counts, minlength=4) / counts.sum()

    np.testing.assert_allclose(profile(128), profile(64), atol=0.06)
