"""Noise: its size, where it is, and what magnitudes make of it. Tolerances are four standard errors or more."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from scanwise.physics import (
    CartesianEncoding,
    NoiseReference,
    add_noise,
    coil_maps,
    complex_noise,
    ifft2c,
    patient_generators,
    rician,
    rician_mean,
    rician_variance,
)


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def test_variance_falls_with_the_count_of_the_line():
    counts = torch.tensor([0, 1, 2, 4, 9, 16] * 4)
    silence = torch.zeros(30, 4, 24, 37, dtype=torch.complex64)

    noise = add_noise(silence, counts=counts, sd=0.3, generator=stream())

    assert bool((noise[:, :, counts == 0] == 0).all())
    for count in (1, 2, 4, 9, 16):
        lines = noise[:, :, counts == count]
        for part in (lines.real, lines.imag):
            assert part.var().item() == pytest.approx(0.3**2 / count, rel=0.05)
            assert part.mean().item() == pytest.approx(0, abs=4 * 0.3 / math.sqrt(count * part.numel()))


def test_coils_and_parts_are_independent():
    noise = complex_noise((20, 3, 24, 37), generator=stream())

    rows = torch.cat([noise.real.transpose(0, 1).flatten(1), noise.imag.transpose(0, 1).flatten(1)])
    correlation = torch.corrcoef(rows) - torch.eye(6)
    assert correlation.abs().max() < 4 / math.sqrt(rows.shape[1])
    torch.testing.assert_close(rows.var(1), torch.ones(6), rtol=0.05, atol=0)


def test_every_patient_may_have_own_noise_level_and_counts():
    silence = torch.zeros(2, 8, 24, 37, dtype=torch.complex64)
    counts = torch.stack([torch.full((24,), 1), torch.full((24,), 4)])

    noise = add_noise(silence, counts=counts, sd=torch.tensor([0.2, 0.8]), generator=stream())

    assert noise[0].real.std().item() == pytest.approx(0.2, rel=0.05)
    assert noise[1].real.std().item() == pytest.approx(0.4, rel=0.05)


def test_the_signal_is_not_changed():
    kspace = complex_noise((2, 3, 24, 37), generator=stream(1), dtype=torch.complex128)
    ones = torch.ones(24, dtype=torch.int64)

    assert torch.equal(add_noise(kspace, counts=ones, sd=0.0, generator=stream()), kspace)
    noisy = add_noise(kspace, counts=ones, sd=0.5, generator=stream())
    torch.testing.assert_close(noisy - kspace, add_noise(kspace * 0, counts=ones, sd=0.5, generator=stream()))
    assert noisy.dtype == torch.complex128


@pytest.mark.parametrize("count", [1, 4])
def test_noise_of_the_combined_image_is_that_of_a_sample_over_the_root_of_averages(count):
    counts = torch.full((24,), count)
    encoding = CartesianEncoding.build(maps=coil_maps((24, 37), n_coils=4, seed=0), counts=counts, matrix=(24, 37))
    silence = torch.zeros(40, 4, 24, 37, dtype=torch.complex64)

    image = encoding.adjoint(add_noise(silence, counts=counts, sd=0.3, generator=stream()))

    assert image.real.std().item() == pytest.approx(0.3 / math.sqrt(count), rel=0.03)
    assert image.imag.std().item() == pytest.approx(0.3 / math.sqrt(count), rel=0.03)


def test_snr_law():
    reference = NoiseReference(snr=20.0, voxel_volume_mm3=4.0, sampling_s=2.0, field_t=3.0, field_exponent=1.5)

    assert reference.sd(voxel_volume_mm3=4.0, sampling_s=2.0).item() == pytest.approx(0.05)
    assert reference.sd(voxel_volume_mm3=2.0, sampling_s=2.0).item() == pytest.approx(0.1)
    assert reference.sd(voxel_volume_mm3=4.0, sampling_s=8.0).item() == pytest.approx(0.025)
    assert reference.sd(voxel_volume_mm3=4.0, sampling_s=2.0, field_t=1.5).item() == pytest.approx(0.05 * 2**1.5)
    fields = reference.sd(voxel_volume_mm3=torch.tensor([4.0, 1.0]), sampling_s=2.0)
    assert fields.tolist() == pytest.approx([0.05, 0.2])


class TestStreams:
    def test_a_patient_has_the_same_noise_in_every_batch(self):
        ones, silence = torch.ones(24, dtype=torch.int64), torch.zeros(3, 2, 24, 37, dtype=torch.complex64)

        together = add_noise(silence, counts=ones, sd=1.0, generator=patient_generators(5, [4, 9, 2]))
        alone = add_noise(silence[:1], counts=ones, sd=1.0, generator=patient_generators(5, [9]))

        assert torch.equal(together[1:2], alone)
        assert not torch.allclose(together[0], together[1])

    def test_seeds_and_patients_are_not_confused(self):
        first = [
            complex_noise((1, 4), generator=patient_generators(seed, [patient]))[0, 0].item()
            for seed, patient in ((0, 1), (1, 0), (0, 0), (1, 1))
        ]

        assert len(set(first)) == 4

    def test_one_generator_for_the_batch(self):
        assert torch.equal(complex_noise((2, 5), generator=stream(3)), complex_noise((2, 5), generator=stream(3)))


class TestRician:
    SIGNAL = np.array([0.0, 0.1, 0.5, 1.0, 2.0, 5.0])

    @pytest.mark.parametrize("sd", [0.2, 1.0])
    def test_moments_against_scipy(self, sd):
        signal = torch.from_numpy(self.SIGNAL)
        theory = stats.rice(b=self.SIGNAL / sd, scale=sd)

        np.testing.assert_allclose(rician_mean(signal, sd=sd).numpy(), theory.mean(), rtol=1e-9)
        np.testing.assert_allclose(rician_variance(signal, sd=sd).numpy(), theory.var(), rtol=1e-5)

    def test_limits(self):
        nothing, much = torch.zeros(1), torch.full((1,), 1000.0)

        assert rician_mean(nothing, sd=2.0).item() == pytest.approx(2 * 1.2533, rel=1e-4)
        assert rician_variance(nothing, sd=2.0).item() == pytest.approx((2 * 0.6551) ** 2, rel=1e-3)
        assert rician_mean(much, sd=1.0).item() == pytest.approx(1000.0005, rel=1e-6)
        assert rician_variance(much, sd=1.0).item() == pytest.approx(1, rel=1e-3)
        assert rician_mean(much, sd=1.0).dtype == rician_variance(much, sd=1.0).dtype == torch.float32

    def test_gradient(self):
        signal = torch.tensor([0.3, 1.0, 4.0], dtype=torch.float64, requires_grad=True)

        assert torch.autograd.gradcheck(lambda s: rician_mean(s, sd=0.7), signal)

    @pytest.mark.parametrize("level", [0.0, 0.15, 0.6])
    def test_bias_of_acquired_magnitudes_matches_theory(self, level):
        ones = torch.ones(24, dtype=torch.int64)
        encoding = CartesianEncoding.build(maps=coil_maps((24, 37), n_coils=4, seed=0), counts=ones, matrix=(24, 37))
        kspace = encoding.forward(torch.full((50, 24, 37), level))

        magnitude = encoding.adjoint(add_noise(kspace, counts=ones, sd=0.2, generator=stream())).abs().double()

        theory = stats.rice(b=level / 0.2, scale=0.2)
        error = 4 * theory.std() / math.sqrt(magnitude.numel())
        assert magnitude.mean().item() == pytest.approx(theory.mean(), abs=error)
        assert magnitude.var().item() == pytest.approx(theory.var(), rel=0.03)
        assert abs(theory.mean() - level) > error  # there is a bias to be seen

    def test_one_coil_too(self):
        ones = torch.ones(24, dtype=torch.int64)
        silence = torch.zeros(50, 1, 24, 37, dtype=torch.complex64)

        magnitude = ifft2c(add_noise(silence, counts=ones, sd=0.2, generator=stream())).abs()

        assert magnitude.mean().item() == pytest.approx(0.2 * math.sqrt(math.pi / 2), rel=0.015)

    def test_draws_follow_the_distribution(self):
        draws = rician(torch.full((20000,), 0.3, dtype=torch.float64), sd=0.2, generator=stream(1))

        assert stats.kstest(draws.numpy(), stats.rice(b=1.5, scale=0.2).cdf).pvalue > 0.001
        assert stats.kstest(draws.numpy(), stats.rice(b=1.4, scale=0.2).cdf).pvalue < 0.001
