from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from modality_scenario import scene_of

from scanwise.design import Cost, Menu, Protocol
from scanwise.errors import ScanwiseError
from scanwise.modalities.diffusion import G_FACTOR, DiffusionWeighted, rician_moments
from scanwise.physics import rician_mean, rician_variance


def dwi(**settings) -> DiffusionWeighted:
    """A small DWI whose reference is its own voxel: 96/24 x 96/18 x 3 mm = 64 mm^3."""
    return DiffusionWeighted(
        "dwi", **{"title": "DWI", "matrix": (24, 18), "snr": 50.0, "reference_voxel_mm3": 64.0, **settings}
    )


def adc_of(modality: DiffusionWeighted, data: np.ndarray, counts: object, seed: int = 0) -> np.ndarray:
    return modality.reconstruct(modality.measure(data, np.asarray(counts), np.random.default_rng(seed)))[:, -1]


class TestSignal:
    def test_mono_exponential(self):
        data = dwi().synthesise(scene_of((48, 36)))

        unweighted = 50 * 0.9 * (1 - math.exp(-4.0 / 1.6)) * math.exp(-0.08 / 0.09)
        for image, b in zip(data[0], (50, 400, 800, 1400), strict=True):
            np.testing.assert_allclose(image, unweighted * math.exp(-b * 0.0015), rtol=2e-3)

    def test_kurtosis_holds_the_signal_at_its_minimum(self):
        low, high = (
            dwi(b_values=[0, b], averages=[1, 1]).synthesise(scene_of((48, 36), adc_mm2_per_s=0.001, kurtosis=1.5))
            for b in (1000, 3000)
        )

        ratio = (low[:, 1] / low[:, 0]).astype(np.float32)
        np.testing.assert_allclose(ratio, math.exp(-1 + 1.5 / 6), rtol=3e-3)
        np.testing.assert_allclose((high[:, 1] / high[:, 0]).astype(np.float32), math.exp(-1.5 / 1.5), rtol=3e-3)

    def test_parallel_imaging_raises_the_noise(self):
        data = dwi().synthesise(scene_of((48, 36)))

        twice = dwi(parallel_imaging=2.0).synthesise(scene_of((48, 36)))

        np.testing.assert_allclose(twice * math.sqrt(2) * G_FACTOR, data, rtol=3e-3)

    def test_images_are_magnitudes_even_where_the_resolution_rings(self):
        density = np.zeros((48, 36))
        density[20:28, 15:21] = 1.0

        data = dwi().synthesise(scene_of((48, 36), proton_density=density))

        assert data.min() == 0
        assert data.max() > 1


class TestNoise:
    def test_moments_are_those_of_the_physics(self):
        signal = torch.cat([torch.linspace(0, 40, 20_001), torch.tensor([31.99, 32.0, 32.01, 500.0, 6e4])])

        mean, sd = rician_moments(signal)

        exact = signal.double()
        torch.testing.assert_close(mean.double(), rician_mean(exact, sd=1.0), rtol=1e-6, atol=1e-4)
        torch.testing.assert_close(sd[:-1].double(), rician_variance(exact[:-1], sd=1.0).sqrt(), rtol=0, atol=1e-4)
        assert float(sd[-1]) == pytest.approx(1.0)

    @pytest.mark.parametrize("averages", [1, 2, 3, 8])
    @pytest.mark.parametrize("signal", [0.0, 0.7, 2.0, 9.0])
    def test_averages_are_means_of_magnitudes(self, averages, signal):
        modality = dwi(b_values=[0], averages=[averages], matrix=(200, 300))
        rng = np.random.default_rng(0)
        parts = rng.normal(size=(2, averages, 60_000))
        brute = np.hypot(parts[0] + signal, parts[1]).mean(axis=0)

        ours = modality.measure(np.full((1, 1, 200, 300), signal), np.array([averages]), rng).data.reshape(-1)

        assert ours.mean() == pytest.approx(brute.mean(), abs=0.015)
        assert ours.std() == pytest.approx(brute.std(), rel=0.02)
        assert ours.min() >= 0
        # a normal distribution stands for the mean of three and more: the tails are near
        np.testing.assert_allclose(
            np.quantile(ours, [0.05, 0.5, 0.95]), np.quantile(brute, [0.05, 0.5, 0.95]), atol=0.06
        )

    def test_averaging_does_not_lower_the_rician_floor(self):
        modality = dwi(b_values=[0], averages=[1], matrix=(100, 100))

        measured = modality.measure(np.zeros((1, 1, 100, 100)), np.array([400]), np.random.default_rng(0)).data

        assert measured.mean() == pytest.approx(math.sqrt(math.pi / 2), abs=0.01)


class TestImages:
    def test_the_adc_of_uniform_tissue_is_recovered(self):
        modality = dwi(snr=400.0)
        for adc in (0.0006, 0.0012, 0.0024):
            data = modality.synthesise(scene_of((48, 36), adc_mm2_per_s=adc))
            np.testing.assert_allclose(adc_of(modality, data, modality.standard).mean(), 1000 * adc, rtol=0.02)

    def test_the_rician_floor_lowers_the_adc_at_low_signal(self):
        """Mazaheri 2013: with the signal of a phased array, ADC at b = 1500 and 2000 is biased low."""
        modality = dwi(b_values=[0, 2000], averages=[1, 1])
        scenes = [scene_of((48, 36), adc_mm2_per_s=0.0017, noise=noise) for noise in (0.01, 1.0, 4.0)]

        adc = [adc_of(modality, modality.synthesise(scene), [50, 50]).mean() for scene in scenes]

        assert adc[0] == pytest.approx(1.7, rel=0.02)
        assert adc[0] > adc[1] + 0.2 > adc[2] + 0.4

    def test_the_noise_of_the_adc_is_that_of_the_two_point_formula(self):
        modality = dwi(b_values=[0, 800], averages=[1, 1], matrix=(60, 50), snr=200.0)
        data = np.zeros((1, 2, 60, 50))
        data[:, 0], data[:, 1] = 80.0, 80.0 * math.exp(-800 * 0.0012)

        adc = adc_of(modality, data, [2, 6])

        expected = 1000 / 800 / 80 * math.sqrt(1 / 2 + math.exp(2 * 800 * 0.0012) / 6)
        assert adc.std() == pytest.approx(expected, rel=0.05)
        assert adc.mean() == pytest.approx(1.2, rel=0.01)

    def test_b_values_above_1000_are_used_only_where_nothing_else_is_there(self):
        modality = dwi(snr=2000.0)
        data = modality.synthesise(scene_of((48, 36), adc_mm2_per_s=0.001, kurtosis=1.0))

        standard, high, one, none = (
            adc_of(modality, data, counts)[0].mean()
            for counts in ([2, 4, 8, 12], [0, 0, 8, 12], [0, 0, 0, 12], [0, 0, 0, 0])
        )
        without_high = adc_of(modality, data, [2, 4, 8, 0])[0].mean()

        assert standard == pytest.approx(without_high, rel=0.005)
        slope = (-0.8 + 0.64 / 6) - (-1.4 + 1.96 / 6)
        assert high == pytest.approx(slope / 0.6, rel=0.02)
        assert high < standard - 0.1
        assert (one, none) == (0, 0)

    def test_logarithms_are_relative_to_the_lowest_b_value_taken(self):
        modality = dwi(snr=2000.0)
        data = modality.synthesise(scene_of((48, 36)))

        images = modality.reconstruct(modality.measure(data, np.array([0, 4, 8, 12]), np.random.default_rng(0)))

        for channel, b in ((0, 50), (1, 400), (2, 800), (3, 1400)):  # b50 was not taken: it is where the fit expects it
            np.testing.assert_allclose(images[:, channel].mean(), -(b - 400) * 0.0015, atol=0.01)

    def test_patients_may_have_b_values_of_their_own(self):
        modality = dwi(snr=2000.0)
        data = modality.synthesise(scene_of((48, 36), 4))
        data[1, 0] = np.nan  # this patient lacks b = 50

        measured = modality.measure(data, np.array([[1, 1, 1, 1]] * 3 + [[0, 0, 1, 0]]), np.random.default_rng(0))
        images = modality.reconstruct(measured)

        assert measured.counts.tolist() == [[1, 1, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 0]]
        np.testing.assert_allclose(images[:3, -1].mean(axis=(1, 2)), 1.5, atol=0.02)
        assert (images[3, -1] == 0).all()


class TestSettings:
    def test_every_average_costs_the_same(self):
        modality = dwi(seconds=260.0, money_per_minute=6.0)
        menu = Menu([modality])

        np.testing.assert_allclose(menu.price(menu.everything()).to_array()[:2], [260 / 60, 26.0])
        np.testing.assert_allclose(menu.price(Protocol({"dwi": [2, 0, 11, 0]})).minutes, 130 / 60)
        assert menu.price(Protocol()) == Cost()
        assert modality.shots.max_count.tolist() == [4, 8, 16, 24]
        assert modality.standard.tolist() == [2, 4, 8, 12]

    @pytest.mark.parametrize(
        ("counts", "words"),
        [
            ([2, 4, 8, 12], "DWI"),
            ([2, 4, 0, 0], "DWI b50 x2, b400 x4"),
            ([1, 0, 0, 12], "DWI b50, b1400 x12"),
            ([0, 0, 0, 0], "DWI without any b-value"),
        ],
    )
    def test_words(self, counts, words):
        assert dwi().describe(counts) == words

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"b_values": [400, 50, 800, 1400]}, "must ascend from 0 or more"),
            ({"b_values": [-50, 400, 800, 1400]}, "must ascend from 0 or more"),
            ({"b_values": []}, "must ascend from 0 or more"),
            ({"averages": [2, 4]}, "averages of 'dwi' must be 4 whole numbers"),
            ({"averages": [2, 4, 8, 0]}, "averages of 'dwi' must be 4 whole numbers"),
            ({"max_averages": [2, 4, 8, 1.5]}, "max_averages of 'dwi' must be 4 whole numbers"),
            ({"parallel_imaging": 0.5}, "parallel_imaging of 'dwi' must be 1"),
            ({"echo_time_s": 5.0}, "TE must not be above TR"),
            ({"setups": "scanner"}, "must be a list of names"),
        ],
    )
    def test_wrong_settings_are_refused(self, settings, message):
        with pytest.raises(ScanwiseError, match=message):
            dwi(**settings)
