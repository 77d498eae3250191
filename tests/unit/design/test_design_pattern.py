from __future__ import annotations

import json

import numpy as np
import pytest

from scanwise.design import SamplingPattern, make_scheme, sampling_pattern, schemes
from scanwise.errors import ScanwiseError

LINE_SCHEMES = ["equispaced", "variable_density", "gaussian_density", "poisson_disc", "low_resolution"]
SIZES = {1: (24,), 2: (12, 9)}


def plain(name: str) -> SamplingPattern:
    return sampling_pattern(name, SIZES[len(schemes()[name].kind.axes)])


@pytest.mark.parametrize("name", sorted(schemes()))
def test_every_scheme_gives_a_pattern_that_its_own_words_give_again(name):
    pattern = plain(name)
    words = dict(word.split("=", 1) for word in pattern.overrides())
    size, scheme = json.loads(words.pop("size")), words.pop("scheme")
    again = sampling_pattern(scheme, size, **{key: json.loads(value) for key, value in words.items()})

    np.testing.assert_array_equal(again.mask, pattern.mask)
    assert again.mask.shape == SIZES[len(pattern.size)]
    assert "\n" not in repr(pattern)


@pytest.mark.parametrize("count", [8, 9, 17, 23, 41, 64])
@pytest.mark.parametrize(
    "name", ["equispaced", "variable_density", "gaussian_density", "poisson_disc", "low_resolution"]
)
def test_the_count_of_lines_is_what_was_asked_for(name, count):
    rest = {} if name == "low_resolution" else {"centre": 0.05}

    assert sampling_pattern(name, 64, count=count, **rest).count == count


@pytest.mark.parametrize(
    ("name", "size", "count"),
    [
        ("poisson_disc_2d", (41, 30), 100),
        ("variable_density_2d", (41, 30), 777),
        ("kt_random", (7, 31), 50),
        ("kt_lattice", (7, 31), 51),
        ("golden_angle", 377, 34),
        ("sparse_views", 360, 49),
        ("limited_angle", 360, 91),
        ("partial_fourier", 37, 20),
        ("first_n", 12, 5),
    ],
)
def test_other_counts_are_exact_too(name, size, count):
    assert sampling_pattern(name, size, count=count).count == count


def test_what_is_left_out_is_the_first_value_of_the_lattice():
    pattern = sampling_pattern("poisson_disc_2d", (32, 20), acceleration=4)

    assert pattern.setting == {"acceleration": 4, "centre": 0.08, "seed": 0}
    assert repr(pattern) == (
        "poisson_disc_2d: 160 of 640 phase encodes of a volume (32 x 20), R = 4, acceleration 4, centre 0.08, seed 0"
    )


def test_averages_are_no_acceleration():
    pattern = sampling_pattern("averages", 3, b_value0=2, b_value1=0, b_value2=9)

    assert repr(pattern) == "averages: 11 acquisitions of 3 b-values (3), b_value0 2, b_value1 0, b_value2 9"
    assert pattern.mask.tolist() == [2, 0, 9]


@pytest.mark.parametrize(
    ("name", "size", "setting", "message"),
    [
        ("equispaced", 64, {"count": 65}, "count=65 shots were asked for, but there are 64"),
        ("equispaced", 64, {"count": 0}, "count=0 shots were asked for"),
        ("equispaced", 64, {"count": 32.0}, "count=32.0 shots were asked for"),
        ("equispaced", 64, {"count": 7}, "takes at least 8 of 64 shots, but count=7"),
        ("partial_fourier", 64, {"count": 31}, "takes at least 32 of 64 shots, but count=31"),
        ("equispaced", 64, {"count": 32, "acceleration": 2}, "count and acceleration both say how many"),
        ("subset", 3, {"count": 2}, "scheme 'subset' takes no count\n  -> its parameters say"),
        ("whole", 3, {"count": 2}, "scheme 'whole' takes no count\n  -> .*all of them, always"),
        ("first_n", 12, {"count": 5, "spacing": 2}, "scheme 'first_n' cannot take 5 shots here, but 3"),
        ("equispaced", 64, {"acceleration": 0.5}, "acceleration=0.5 asks for 128 lines of k-space, but .* only 64"),
        ("equispaced", 64, {"acceleration": 0}, "acceleration=0 asks for inf lines"),
        ("equispaced", 64, {"acceleration": None}, "acceleration must be a number"),
        ("equispaced", 64, {"acceleration": [2]}, "acceleration must be a number"),
        (
            "equispaced",
            64,
            {"acceleration": 8, "centre": 0.3},
            "no room for the centre: .*=0.3 is 19 lines .* 8 of",
        ),
        ("poisson_disc_2d", (40, 30), {"acceleration": 16, "centre": 0.5}, "no room for the centre: .* is 300 phase"),
        ("kt_lattice", (20, 96), {"acceleration": 16}, "no room for the centre: .* is 160 lines .* 120 of 1920"),
        ("equispaced", 64, {"acelleration": 2}, "no parameter 'acelleration'\n  -> did you mean 'acceleration'"),
        ("equispaced", (64, 3), {}, r"whole numbers >= 1, one for each of \[line\]"),
        ("poisson_disc_2d", 64, {}, r"whole numbers >= 1, one for each of \[ky, kz\]"),
        ("whole", 2**23, {}, "can have 4194304 shots at most"),
        ("poison_disc", 64, {}, "did you mean 'poisson_disc'"),
    ],
)
def test_what_cannot_be_is_refused(name, size, setting, message):
    with pytest.raises(ScanwiseError, match=message):
        sampling_pattern(name, size, **setting)


def test_the_cure_for_a_centre_without_room_works():
    """R = 64 / 19 leaves just the centre."""
    with pytest.raises(ScanwiseError, match=r"lower the acceleration to 3\.36,"):
        sampling_pattern("equispaced", 64, acceleration=8, centre=0.3)
    assert sampling_pattern("equispaced", 64, acceleration=3.36, centre=0.3).mask[23:42].sum() == 19


# ---- files


def test_a_mask_has_its_origin_beside_it(tmp_path):
    pattern = sampling_pattern("variable_density_2d", (9, 14), count=20, seed=3)
    written = pattern.save(tmp_path / "mask.npy")
    beside = json.loads((tmp_path / "mask.npy.json").read_text("utf-8"))

    assert written == (tmp_path / "mask.npy", tmp_path / "mask.npy.json")
    mask = np.load(tmp_path / "mask.npy", allow_pickle=False)
    assert (mask.shape, mask.dtype, mask.sum()) == ((9, 14), np.uint8, 20)
    assert (beside["scheme"], beside["size"], beside["count"], beside["of"]) == (
        "variable_density_2d",
        [9, 14],
        20,
        126,
    )
    assert beside["setting"] == pattern.setting
    assert beside["command"].startswith("scanwise pattern scheme=variable_density_2d size=[9,14] acceleration=6.3 ")


def test_a_list_of_shots_reads_as_numbers(tmp_path):
    pattern = sampling_pattern("poisson_disc_2d", (9, 14), count=20)
    (written,) = pattern.save(tmp_path / "mask.csv")
    rows = np.loadtxt(written, delimiter=",", dtype=int)
    text = written.read_text("utf-8")

    np.testing.assert_array_equal(rows[:, :2], np.argwhere(pattern.mask))
    np.testing.assert_array_equal(rows[:, 2], 1)
    assert "# scheme: poisson_disc_2d\n" in text
    assert "# count: 20\n" in text
    assert "# ky,kz,count\n" in text


def test_spokes_are_listed_with_their_angle(tmp_path):
    (written,) = sampling_pattern("golden_angle", 20, count=3).save(tmp_path / "spokes.csv")
    rows = np.loadtxt(written, delimiter=",")

    np.testing.assert_allclose(np.degrees(rows[:, 1]), [0, 111.2461, 222.4922], atol=1e-4)
    np.testing.assert_array_equal(rows[:, [0, 2]], [[0, 1], [1, 1], [2, 1]])


def test_the_same_words_give_the_same_bytes(tmp_path):
    for suffix in ("csv", "npy"):
        for name in ("one", "two"):
            sampling_pattern("kt_random", (6, 17), acceleration=3, seed=4).save(tmp_path / f"{name}.{suffix}")
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


@pytest.mark.parametrize("name", ["mask.mat", "mask", "mask.npz"])
def test_other_files_are_refused(tmp_path, name):
    with pytest.raises(ScanwiseError, match=r"ends in .npy or .csv, but got 'mask"):
        plain("equispaced").save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_counts_are_taken_as_the_scheme_gives_them():
    pattern = sampling_pattern("kt_random", (6, 17), acceleration=3, seed=4)
    scheme = make_scheme("kt_random")

    np.testing.assert_array_equal(pattern.counts, scheme.counts(pattern.shots, pattern.setting))
    assert pattern.acceleration == pytest.approx(3)
