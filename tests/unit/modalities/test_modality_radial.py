from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from modality_scenario import error, scene_of, spots

from scanwise.design import GOLDEN_ANGLE_RAD, make_scheme
from scanwise.errors import ScanwiseError
from scanwise.modalities.radial import RadialT1Weighted
from scanwise.physics import coil_maps


@pytest.fixture
def radial():
    pytest.importorskip("torchkbnufft", reason="needs pip install scanwise[nufft]", exc_type=ImportError)

    return lambda **settings: RadialT1Weighted(
        "radial", **{"matrix": (14, 11), "snr": 900.0, "reference_voxel_mm3": 108.0, **settings}
    )


def test_spokes_follow_the_golden_angle(radial):
    modality = radial(spokes=30, seconds=60.0, money_per_minute=6.0, setups=["scanner"])
    angle = modality.shots.what["angle_rad"]

    np.testing.assert_allclose(np.diff(angle) % (2 * np.pi), GOLDEN_ANGLE_RAD)
    assert modality.shots.seconds.sum() == pytest.approx(60)
    assert modality.shots.money.sum() == pytest.approx(6)
    counts = make_scheme("golden_angle").counts(modality.shots, {"acceleration": 3.0})
    assert np.flatnonzero(counts).tolist() == list(range(10))
    assert modality.describe(counts) == "radial, 10 of 30 spokes (R = 3)"


def test_spokes_sample_all_of_k_space_where_their_number_is_left_out(radial):
    assert len(radial().shots) == 22, "pi / 2 times 14"


def test_signal_is_that_of_a_spoiled_gradient_echo(radial):
    data = radial().synthesise(scene_of((28, 22)))
    voxel = 3.0 * 96 * 96 / (14 * 11)
    lost, angle = 1 - math.exp(-0.005 / 1.6), math.radians(12)
    steady = math.sin(angle) * lost / (1 - math.cos(angle) * (1 - lost))
    decay = math.exp(-0.002 * (1 / 0.09 + 15))

    np.testing.assert_allclose(data, 900 * voxel / 108 * 0.9 * steady * decay, rtol=3e-3)


def test_the_solution_is_that_of_the_normal_equations(radial, monkeypatch):
    """Against the Fourier sums and the covariance of the prior written down, and solved at once."""
    modality = radial(spokes=9, n_coils=3, prior_snr=30.0)
    data = modality.synthesise(scene_of((28, 22), 1, t1_s=spots((28, 22), inside=0.5, outside=1.5)))
    counts = np.array([1, 1, 0, 2, 1, 0, 1, 1, 0])
    measured = modality.measure(data, counts, np.random.default_rng(1))

    n_y, n_x, samples = 14, 11, 28
    y, x = (axis.ravel() for axis in np.mgrid[-7:7, -5:6])
    maps = coil_maps((n_y, n_x), n_coils=3, seed=0).numpy().reshape(3, -1)
    rows, values = [], []
    for spoke, angle in enumerate(np.arange(9) * GOLDEN_ANGLE_RAD):
        for sample in range(samples if counts[spoke] else 0):
            r = 2 * math.pi * (sample - 14) / samples
            wave = np.exp(-1j * r * (math.sin(angle) * y + math.cos(angle) * x)) / math.sqrt(9 * samples)
            rows.append(math.sqrt(counts[spoke]) * maps * wave)
            values.append(math.sqrt(counts[spoke]) * measured.data[0, :, spoke, sample])
    matrix, right = np.concatenate(rows), np.concatenate(values)
    k_y, k_x = (axis.ravel() for axis in np.mgrid[-7:7, -5:6])
    power = (1.0 + k_y**2 + k_x**2) ** -1.5
    waves = np.exp(-2j * np.pi * (np.outer(k_y, y) / n_y + np.outer(k_x, x) / n_x)) / math.sqrt(n_y * n_x)
    precision = (waves.conj().T * (power.mean() / power / 30.0**2)) @ waves
    normal = (matrix.conj().T @ matrix).real + precision.real
    exact = np.linalg.solve(normal, (matrix.conj().T @ right).real).reshape(n_y, n_x)

    assert error(modality.solve(measured)[0].numpy(), exact) < 0.04
    monkeypatch.setattr("scanwise.modalities.radial._ITERATIONS", 200)
    assert error(modality.solve(measured)[0].numpy(), exact) < 5e-3, "what is left is the interpolation"


def test_more_spokes_show_more(radial):
    modality = radial(matrix=(32, 29), snr=5000.0, reference_voxel_mm3=27.0)
    data = modality.synthesise(scene_of((64, 58), 2, t1_s=spots((64, 58), inside=0.5, outside=1.5)))
    truth = data[:, 0].astype(np.float64)
    errors = []
    for acceleration in (1.0, 3.0, 6.0, 12.0):
        counts = make_scheme("golden_angle").counts(modality.shots, {"acceleration": acceleration})
        solved = modality.solve(modality.measure(data, counts, np.random.default_rng(2)))
        errors.append(error(solved.numpy(), truth))

    assert errors == sorted(errors)
    assert errors[0] < 0.04
    assert errors[-1] < 0.3, "coils and the prior fill in what four spokes leave out"


def test_patients_with_patterns_of_their_own_are_solved_as_if_alone(radial):
    modality = radial(spokes=12)
    data = modality.synthesise(scene_of((28, 22), 3, t1_s=spots((28, 22), inside=0.5, outside=1.5)))
    counts = np.ones((3, 12), dtype=np.int64)
    counts[1, 4:] = 0
    measured = modality.measure(data, counts, np.random.default_rng(3))
    alone = modality.measure(data[1:2], counts[1], [np.random.default_rng(9)])
    again = modality.measure(data, counts, [np.random.default_rng(9) for _ in range(3)])

    assert not np.array_equal(modality.reconstruct(measured)[0], modality.reconstruct(measured)[1])
    np.testing.assert_allclose(modality.reconstruct(again)[1], modality.reconstruct(alone)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spokes": 0}, "the spokes of 'radial' must be a whole number >= 1, but are 0"),
        ({"spokes": 2.5}, "the spokes of 'radial' must be a whole number >= 1, but are 2.5"),
        ({"prior_snr": 0.0}, "prior_snr of 'radial' must be above 0"),
        ({"echo_time_s": 0.1}, "echo time"),
        ({"setups": "scanner"}, "must be a list of names"),
    ],
)
def test_settings_that_cannot_be_are_refused(radial, settings, message):
    with pytest.raises(ScanwiseError, match=message):
        radial(**settings)


def test_without_the_extra_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchkbnufft", None)
    with pytest.raises(ScanwiseError, match=r"pip install scanwise\[nufft\]"):
        RadialT1Weighted.example()


def test_lines_are_refused_by_the_scheme_of_another_kind(radial):
    with pytest.raises(ScanwiseError, match=r"scheme 'equispaced' is for lines of k-space: .* must not have"):
        make_scheme("equispaced").counts(radial().shots, {"acceleration": 2.0, "centre": 0.1})
