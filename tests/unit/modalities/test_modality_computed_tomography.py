from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from modality_scenario import error

from scanwise.design import Cost, Menu, Protocol, Scene, Setup, make_scheme
from scanwise.errors import ScanwiseError
from scanwise.modalities.computed_tomography import ComputedTomography

FOV_MM = (200.0, 240.0)
WATER_PER_CM = 0.193


def ct(**settings) -> ComputedTomography:
    return ComputedTomography(
        "ct",
        **{
            "title": "CT",
            "matrix": (40, 48),
            "fov_mm": FOV_MM,
            "views": 60,
            "photons": 2e5,
            "window_hu": (-1000.0, 1000.0),
            "kernel": "ram_lak",
            **settings,
        },
    )


def body(rendered=(80, 96), patients: int = 1, noise: float = 1.0, **maps) -> Scene:
    """A disc of water of 8 cm radius, in it a disc of 2 cm radius 100 HU above, with air around."""
    y, x = ((np.arange(n) + 0.5) * side / n - side / 2 for n, side in zip(rendered, FOV_MM, strict=True))
    distance = np.hypot(y[:, None], x)
    spot = np.hypot(y[:, None] - 30, x + 20) < 20
    attenuation = np.where(spot, 1.1, 1.0) * WATER_PER_CM * (distance < 80)
    ones = np.ones(patients, dtype=np.float32)
    values = {"attenuation_per_cm": attenuation, "iodine_mg_per_ml": 2.0 * spot, **maps}
    return Scene(
        maps={name: np.broadcast_to(value, (patients, *rendered)).astype(np.float32) for name, value in values.items()},
        fov_mm=FOV_MM,
        field_t=3 * ones,
        noise=noise * ones,
        gain=np.ones((patients, *rendered), dtype=np.float32),
        arterial_scale=ones,
    )


def acquired(modality: ComputedTomography, data: np.ndarray, counts: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return CT numbers [HU] of the reconstruction, where the window is 1000 HU to either side."""
    measured = modality.measure(data, counts, np.random.default_rng(seed))
    return 1000 * modality.reconstruct(measured)[:, 0]


class TestAttenuation:
    def test_data_are_ct_numbers(self):
        data = ct().synthesise(body())

        assert data.shape == (1, 2, 40, 48)
        assert data[0, 0, 20, 24] == pytest.approx(0, abs=0.1)
        assert data[0, 0, 26, 20] == pytest.approx(100, abs=0.2)
        assert data[0, 0, 0, 0] == -1000
        assert (data[0, 1] == 0).all()

    def test_iodine_adds_25_hu_per_mg_per_ml(self):
        scene = body(patients=2)
        scene.arterial_scale[1] = 0.5

        native = ct().synthesise(scene)
        enhanced = ct(contrast_setup="iodine").synthesise(scene)

        added = enhanced[:, 0].astype(float) - native[:, 0].astype(float)
        per_mg = 1000 * 4.9e-3 / WATER_PER_CM
        assert per_mg == pytest.approx(25.4, abs=0.1)
        np.testing.assert_allclose(added[:, 26, 20], [2 * per_mg, per_mg], atol=0.2)
        np.testing.assert_allclose(added[:, 20, 24], 0, atol=0.1)

    def test_pixels_are_means_of_what_is_inside(self):
        """Two and a half rendered rows to a pixel, and two columns."""
        rng = np.random.default_rng(0)
        fine = rng.uniform(0.1, 0.3, (100, 96))

        data = ct().synthesise(body((100, 96), attenuation_per_cm=fine))

        columns = fine.reshape(100, 48, 2).mean(axis=2)
        rows = np.repeat(columns, 2, axis=0).reshape(40, 5, 48).mean(axis=1)
        np.testing.assert_allclose(data[0, 0], 1000 * (rows / WATER_PER_CM - 1), atol=0.4)

    def test_a_scan_without_contrast_needs_no_iodine(self):
        scene = body()
        bare = Scene(**{**vars(scene), "maps": {"attenuation_per_cm": scene.map("attenuation_per_cm")}})

        np.testing.assert_array_equal(ct().synthesise(bare), ct().synthesise(scene))
        with pytest.raises(ScanwiseError, match="renders no 'iodine_mg_per_ml'"):
            ct(contrast_setup="iodine").synthesise(bare)

    def test_another_field_of_view_is_refused_with_the_line_to_write(self):
        with pytest.raises(ScanwiseError, match=r"must be that of the organ(?s:.*)fov_mm: \[200, 240\]"):
            ct(fov_mm=(200.0, 200.0)).synthesise(body())


class TestImages:
    def test_many_photons_and_views_give_the_object(self):
        modality = ct(views=120)
        data = modality.synthesise(body())

        images = acquired(modality, data, 10**6 * modality.standard)

        y, x = np.mgrid[:40, :48]
        inside = np.hypot(5 * (y - 19.5), 5 * (x - 23.5)) < 70
        assert error(images[0][inside] + 1000, data[0, 0].astype(float)[inside] + 1000) < 0.01
        assert images[0, 26, 20] == pytest.approx(100, abs=10)

    def test_noise_follows_the_output_and_the_number_of_views(self):
        modality = ct(electronic_photons=0.0)
        data = np.repeat(modality.synthesise(body()), 100, axis=0)

        def noise(counts):
            return acquired(modality, data, counts)[:, 15:25, 18:30].std(axis=0).mean()

        usual = noise(modality.standard)
        assert noise(modality.standard // 4) == pytest.approx(2 * usual, rel=0.05)
        assert noise(2 * modality.standard) == pytest.approx(usual / math.sqrt(2), rel=0.05)
        assert noise(modality.standard * (np.arange(60) % 4 == 0)) == pytest.approx(2 * usual, rel=0.1)

    def test_few_views_make_streaks_that_low_output_does_not(self):
        """With no noise to speak of, a quarter of the output changes nothing, a quarter of the views does."""
        modality = ct(photons=1e12)
        data = modality.synthesise(body())
        exact = acquired(modality, data, modality.standard)

        quiet = acquired(modality, data, modality.standard // 4)
        sparse = acquired(modality, data, modality.standard * (np.arange(60) % 6 == 0))

        inside = np.s_[0, 12:28, 16:32]
        assert np.abs(quiet - exact)[inside].max() < 0.1
        assert (sparse - exact)[inside].std() > 5

    def test_limited_angle_loses_edges(self):
        modality = ct(photons=1e12)
        data = modality.synthesise(body())
        whole = acquired(modality, data, modality.standard)
        truth = data[0, 0].astype(float)
        errors = []
        for fraction in (1.0, 0.75, 0.5):
            setting = {"fraction": fraction, "start": 0.0, "output": 4}
            counts = make_scheme("limited_angle").counts(modality.shots, setting)
            errors.append(error(acquired(modality, data, counts)[0], truth))

        assert errors == sorted(errors)
        assert errors[0] == pytest.approx(error(whole[0], truth))
        assert errors[2] > 2 * errors[0]

    def test_the_window_is_what_a_reader_sees(self):
        modality = ct(window_hu=(-50.0, 150.0), photons=1e12)
        data = modality.synthesise(body())

        images = modality.reconstruct(modality.measure(data, modality.standard, np.random.default_rng(0)))[0, 0]

        assert images.min() == -1, "air is black"
        assert images[20, 24] == pytest.approx(-0.5, abs=0.05)
        assert images[26, 20] == pytest.approx(0.5, abs=0.1)
        assert modality.channels == ("CT number, -50 to 150 HU as -1 to 1",)

    def test_nothing_taken_is_the_middle_of_the_window(self):
        modality = ct()
        data = modality.synthesise(body(patients=2))
        counts = np.stack([modality.standard, 0 * modality.standard])

        images = modality.reconstruct(modality.measure(data, counts, np.random.default_rng(0)))

        assert (images[1] == 0).all()
        assert images[0].std() > 0.1

    def test_a_blank_object_is_water(self):
        modality = ct(blank=True, photons=1e9)

        images = acquired(modality, modality.synthesise(body()), modality.standard)

        np.testing.assert_allclose(images[0, 15:25, 18:30], 0, atol=8)

    def test_photons_that_do_not_come_through_leave_a_finite_image(self):
        modality = ct(photons=10.0)
        data = modality.synthesise(body(attenuation_per_cm=1.5))

        assert np.isfinite(acquired(modality, data, modality.standard)).all()

    def test_projections_of_another_detector_are_refused(self):
        modality = ct()
        measured = modality.measure(modality.synthesise(body()), modality.standard, np.random.default_rng(0))

        with pytest.raises(ScanwiseError, match="other detectors"):
            ct(detectors=30).reconstruct(measured)


class TestSlope:
    def test_between_whole_counts_it_is_that_of_the_noise(self):
        modality = ct(matrix=(10, 12), views=12, photons=500.0, electronic_photons=0.0, window_hu=(-9000.0, 9000.0))
        data = modality.synthesise(body())
        counts = torch.full((12,), 2.0, requires_grad=True)

        def value(at):
            return 1e3 * modality.relaxed(data, at, [np.random.default_rng(3)]).square().mean()

        (slope,) = torch.autograd.grad(value(counts), counts)
        step = torch.zeros(12)
        step[4] = 0.1
        rise = (value(counts.detach() + step) - value(counts.detach() - step)) / 2

        assert rise.item() == pytest.approx(float(slope @ step), rel=0.05)

    def test_a_view_that_is_left_out_would_add_itself_with_its_share(self):
        """The slope at none is the difference that the view makes, its neighbours' shares included."""
        modality = ct(matrix=(10, 12), views=6, photons=1e12, window_hu=(-9000.0, 9000.0))
        data = modality.synthesise(body())
        counts = torch.tensor([1.0, 0, 1, 1, 1, 1], requires_grad=True)
        weights = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 1, 10, 12))).float()

        def value(at):
            return (modality.relaxed(data, at, [np.random.default_rng(3)]) * weights).sum()

        (slope,) = torch.autograd.grad(value(counts), counts)
        difference = value(torch.ones(6)) - value(counts.detach())

        assert slope[1].item() == pytest.approx(difference.item(), rel=0.01)


class TestSettings:
    def test_angles_are_half_a_turn(self):
        np.testing.assert_allclose(ct().shots.what["angle_rad"], np.arange(60) * np.pi / 60)

    def test_dose_and_time_are_those_of_the_output(self):
        modality = ct(
            seconds=6.0, money_per_minute=20.0, msv=8.0, setups=["scanner"], contrast_setup="iodine", usual_output=4
        )
        menu = Menu(
            [modality],
            [
                Setup("scanner", Cost(money=70.0, minutes=5.0, visits=1)),
                Setup("iodine", Cost(money=35.0, contrast_ml=100.0)),
            ],
        )

        usual = menu.price(Protocol({"ct": modality.standard}))
        half = menu.price(Protocol({"ct": modality.standard // 2}))
        sparse = menu.price(Protocol({"ct": modality.standard * (np.arange(60) % 3 == 0)}))

        for cost, part in ((usual, 1.0), (half, 1 / 2), (sparse, 1 / 3)):
            found = [cost.money, cost.minutes, cost.msv, cost.contrast_ml, cost.visits]
            np.testing.assert_allclose(found, [105 + 2 * part, 5 + 0.1 * part, 8 * part, 100, 1])

    @pytest.mark.parametrize(
        ("counts", "words"),
        [
            ([4] * 60, "CT"),
            ([2] * 60, "CT, 50 % tube output"),
            ([4, 0, 0] * 20, "CT, 20 of 60 views (R = 3)"),
            ([8, 0, 0, 0] * 15, "CT, 15 of 60 views (R = 4), 200 % tube output"),
            ([4, 2] * 30, "CT, 75 % tube output"),
            ([0] * 60, "CT, 0 of 60 views"),
        ],
    )
    def test_words(self, counts, words):
        assert ct().describe(counts) == words

    def test_what_is_set_at_the_console(self):
        told = ct().console([4, 0, 2, 0] * 15)

        assert told["views_taken"] == 30
        assert told["acceleration"] == 2
        assert told["tube_output_of_usual"][:2] == [1.0, 0.5]
        assert ct().console([2, 0] * 30)["tube_output_of_usual"] == 0.5
        assert ct().console([0] * 60)["tube_output_of_usual"] == []
        assert told["field_of_view_mm"] == [200.0, 240.0]

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"views": 0}, "views of 'ct' must be a whole number >= 1, but is 0"),
            ({"usual_output": 1.5}, "usual_output of 'ct' must be a whole number >= 1, but is 1.5"),
            ({"max_output": 3}, "not below usual_output, but is 3 with usual_output=4"),
            ({"photons": 0.0}, "photons of 'ct' must be above 0, but is 0.0"),
            ({"electronic_photons": -1.0}, "electronic_photons of 'ct' must not be below 0, but is -1.0"),
            ({"iodine_cm2_per_g": math.nan}, "iodine_cm2_per_g of 'ct' must not be below 0, but is nan"),
            ({"fov_mm": (200.0,)}, r"fov_mm of 'ct' must be two lengths"),
            ({"fov_mm": (200.0, 0.0)}, r"fov_mm of 'ct' must be two lengths"),
            ({"window_hu": (100.0, 0.0)}, "window_hu of 'ct' must be two CT numbers, the lower one first"),
            ({"kernel": "han"}, "the kernel of 'ct' must be one of (?s:.*)hann"),
            ({"detectors": 1}, "detectors must be a whole number >= 2, but are 1"),
            ({"setups": "scanner"}, "must be a list of names"),
            ({"matrix": (1, 4)}, "the matrix of 'ct' must be two whole numbers"),
        ],
    )
    def test_wrong_settings_are_refused(self, settings, message):
        with pytest.raises(ScanwiseError, match=message):
            ct(**settings)
