from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from modality_scenario import TISSUE, error, scene_of, spots

from scanwise.design import Cost, Menu, Protocol, Setup
from scanwise.errors import ScanwiseError
from scanwise.modalities.dynamic import DynamicContrast
from scanwise.physics import ParkerAif, PartialVolume, extended_tofts

WAITS = [f"wait_{index}" for index in range(6)]


def dce(**settings) -> DynamicContrast:
    """Six frames of 15 s, two before the bolus; voxels of 96/16 x 96/20 x 3 mm = 86.4 mm^3."""
    return DynamicContrast(
        "dce",
        **{"title": "DCE", "frames": 6, "matrix": (16, 20), "snr": 500.0, "reference_voxel_mm3": 86.4, **settings},
    )


def expected_signal(agent: np.ndarray) -> np.ndarray:
    t1_s = 1 / (1 / TISSUE["t1_s"] + 4.5 * agent)
    decay = np.exp(-0.002 * (1 / TISSUE["t2_s"] + 15 + 5.5 * agent))
    lost, angle = 1 - np.exp(-0.005 / t1_s), math.radians(15)
    return TISSUE["proton_density"] * math.sin(angle) * lost / (1 - math.cos(angle) * (1 - lost)) * decay


def agent_in_tissue(modality: DynamicContrast, scale: float = 1.0) -> np.ndarray:
    kinetics = {name: torch.tensor(TISSUE[name], dtype=torch.float64) for name in ("ktrans_per_s", "ve", "vp")}
    time_s = torch.arange(modality.frames, dtype=torch.float64) * 15 + 7.5
    return scale * extended_tofts(**kinetics, time_s=time_s, aif=ParkerAif(arrival_s=30.0)).numpy()


class TestSignal:
    @pytest.mark.parametrize("rendered", [(16, 20), (32, 40), (50, 64)])
    def test_uniform_tissue_follows_tofts_and_the_gradient_echo(self, rendered):
        modality = dce()

        data = modality.synthesise(scene_of(rendered))

        expected = 500 * expected_signal(agent_in_tissue(modality))
        np.testing.assert_allclose(data[1].mean(axis=(1, 2)), expected, rtol=5e-3)
        np.testing.assert_allclose(data.std(axis=(2, 3)), 0, atol=0.05)
        assert expected[4] > 1.3 * expected[0]

    def test_the_agent_scales_with_what_arrives(self):
        scene = scene_of((32, 40))
        scene.arterial_scale[1] = 0.5
        modality = dce()

        data = modality.synthesise(scene)

        for patient, scale in ((0, 1.0), (1, 0.5)):
            expected = 500 * expected_signal(agent_in_tissue(modality, scale))
            np.testing.assert_allclose(data[patient].mean(axis=(1, 2)), expected, rtol=5e-3)

    def test_properties_averaged_on_the_way_keep_the_image(self):
        modality = dce(r2_prime_per_s=0.0, echo_time_s=0.0)
        density = spots((80, 90), inside=1.0, outside=0.3)

        image = modality.synthesise(scene_of((80, 90), 1, proton_density=density))[0, 0].astype(np.float32)

        exact = PartialVolume((80, 90), (16, 20)).forward(torch.from_numpy(density).float()[None])[0].real.numpy()
        shift = [np.roll(exact, step, axis=0) for step in (-1, 0, 1)]
        errors = [error(image / image.mean(), moved / moved.mean()) for moved in shift]
        assert errors[1] < 0.12
        assert errors[1] < 0.4 * min(errors[0], errors[2])

    def test_slow_uptake_below_the_table_is_none(self):
        data = dce().synthesise(scene_of((32, 40), ktrans_per_s=1e-8, vp=0.0))

        np.testing.assert_allclose(data[:, 5], data[:, 0], rtol=1e-3)


class TestImages:
    def test_channels_are_the_baseline_and_the_enhancement_of_every_frame(self):
        modality = dce(snr=1e5)
        data = modality.synthesise(scene_of((32, 40)))
        signal = expected_signal(agent_in_tissue(modality))

        images = modality.reconstruct(
            modality.measure(data.astype(np.float32), modality.standard, np.random.default_rng(0))
        )

        assert images.shape == (2, 7, 16, 20)
        np.testing.assert_allclose(images[:, 0], 1, atol=0.01)
        for frame in range(6):
            np.testing.assert_allclose(images[:, 1 + frame].mean(), signal[frame] / signal[0] - 1, atol=0.01)

    def test_frames_not_taken_are_interpolated_and_the_last_one_stays(self):
        modality = dce()
        ramp = np.array([10.0, 10.0, 20.0, 30.0, 40.0, 50.0]) * 1e4
        data = np.broadcast_to(ramp[:, None, None], (1, 6, 16, 20))

        images = modality.reconstruct(modality.measure(data, np.array([1, 1, 0, 1, 0, 0]), np.random.default_rng(0)))

        np.testing.assert_allclose(images[0, 1:].mean(axis=(1, 2)), [0, 0, 1, 2, 2, 2], atol=1e-3)

    @pytest.mark.parametrize(
        ("counts", "enhancement"),
        [
            ([0, 1, 0, 0, 0, 1], [0, 0, 1, 2, 3, 4]),  # one of two baseline frames is enough
            ([1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]),  # no frame after the bolus
            ([0, 0, 1, 0, 1, 0], [0, 0, 0, 0.5, 1, 1]),  # no baseline: relative to the first frame taken
        ],
    )
    def test_what_a_few_frames_say(self, counts, enhancement):
        ramp = np.array([10.0, 10.0, 20.0, 30.0, 40.0, 50.0]) * 1e4
        data = np.broadcast_to(ramp[:, None, None], (1, 6, 16, 20))

        images = dce().reconstruct(dce().measure(data, np.array(counts), np.random.default_rng(0)))

        np.testing.assert_allclose(images[0, 1:].mean(axis=(1, 2)), enhancement, atol=1e-3)

    def test_a_dark_baseline_does_not_blow_up(self):
        modality = dce()
        data = np.full((1, 6, 16, 20), 100.0)
        data[:, :2, 3, 4] = 0.0

        images = modality.reconstruct(modality.measure(data, modality.standard, np.random.default_rng(0)))

        assert 2 < images[0, 4, 3, 4] < 6  # over a quarter of the mean baseline
        assert np.abs(images).max() < 6

    def test_magnitudes_are_rician(self):
        modality = dce(matrix=(100, 120))

        measured = modality.measure(np.zeros((1, 6, 100, 120)), np.array([1, 1, 1, 4, 4, 0]), np.random.default_rng(0))

        assert np.nanmean(measured.data[:, :3]) == pytest.approx(math.sqrt(math.pi / 2), rel=0.01)
        assert np.nanmean(measured.data[:, 3:5]) == pytest.approx(math.sqrt(math.pi / 2) / 2, rel=0.01)
        assert np.isnan(measured.data[:, 5]).all()

    def test_streams_of_noise_are_one_or_one_per_patient(self):
        modality = dce()
        data = modality.synthesise(scene_of((32, 40)))

        with pytest.raises(ScanwiseError, match="one stream for all or one per patient, but 3 for 2 patients"):
            modality.measure(data, modality.standard, [np.random.default_rng(row) for row in range(3)])


class TestSettings:
    def test_the_price_is_the_time_of_observation(self):
        modality = dce(setups=["contrast"], wait_setups=WAITS)
        menu = Menu(
            [modality],
            [
                Setup("contrast", Cost(minutes=5.0, money=100.0, contrast_ml=8.0)),
                *(Setup(name, Cost(minutes=0.25, money=2.0)) for name in WAITS),
            ],
        )

        dense = menu.price(Protocol({"dce": [1, 1, 1, 1, 0, 0]}))
        sparse = menu.price(Protocol({"dce": [1, 0, 0, 1, 0, 0]}))

        assert dense == sparse == Cost(minutes=6.0, money=108.0, contrast_ml=8.0)

    def test_without_waiting_every_frame_costs_its_own_time(self):
        menu = Menu([dce(money_per_minute=8.0)])

        assert menu.price(Protocol({"dce": [1, 0, 0, 1, 0, 0]})) == Cost(minutes=0.5, money=4.0)

    def test_frames_before_the_bolus_are_the_baseline(self):
        assert dce().shots.what["baseline"].tolist() == [True, True, False, False, False, False]
        assert dce().shots.what["time_s"].tolist() == [15, 30, 45, 60, 75, 90]

    @pytest.mark.parametrize(
        ("counts", "words"),
        [
            ([1, 1, 1, 1, 1, 1], "DCE"),
            ([1, 1, 1, 1, 0, 0], "DCE to 1:00, every 15 s"),
            ([1, 1, 0, 1, 0, 1], "DCE to 1:30, every 30 s"),
            ([0, 1, 0, 1, 0, 1], "DCE to 1:30, every 30 s"),
            ([1, 1, 1, 0, 0, 1], "DCE to 1:30, 4 frames"),
            ([1, 0, 0, 0, 0, 0], "DCE to 0:15, before contrast"),
            ([0, 0, 0, 0, 0, 0], "DCE, no frame"),
        ],
    )
    def test_words(self, counts, words):
        assert dce().describe(counts) == words

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"arrival_s": 10.0}, "must end before the bolus arrives"),
            ({"wait_setups": ["a", "b"]}, "one waiting set-up for each of its 6 frames or none, but has 2"),
            ({"wait_setups": "wait"}, "must be a list of names"),
            ({"frames": 0}, "at least one frame"),
            ({"frame_s": 0.0}, "at least one frame of some time"),
            ({"echo_time_s": 0.006}, "TE must not be above TR"),
            ({"flip_angle_deg": 200.0}, "flip angle must be"),
        ],
    )
    def test_wrong_settings_are_refused(self, settings, message):
        with pytest.raises(ScanwiseError, match=message):
            dce(**settings)
