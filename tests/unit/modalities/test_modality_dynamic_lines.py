from __future__ import annotations

import numpy as np
import pytest
import torch
from modality_scenario import error, scene_of, spots

from scanwise.design import Cost, Menu, Protocol, Setup, make_scheme
from scanwise.errors import ScanwiseError
from scanwise.modalities.dynamic import DynamicContrast
from scanwise.modalities.dynamic_lines import DynamicLines

SETTINGS = {"title": "DCE", "frames": 6, "matrix": (16, 20), "snr": 500.0, "reference_voxel_mm3": 86.4}


def by_lines(**settings) -> DynamicLines:
    """Six frames of 15 s, two before the bolus, of sixteen lines."""
    return DynamicLines("dce", **{**SETTINGS, **settings})


def by_frames(**settings) -> DynamicContrast:
    return DynamicContrast("dce", **{**SETTINGS, **settings})


def lines_of(frames: list[int]) -> np.ndarray:
    """Return counts of lines where every frame is taken whole, as often as these counts say."""
    return np.repeat(np.array(frames, dtype=np.int64), 16)


def streams(patients: int, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, row]) for row in range(patients)]


def enhancing(patients: int = 2):
    """Return patients with spots that take up contrast agent."""
    return scene_of((32, 40), patients, ktrans_per_s=spots((32, 40), inside=0.006, outside=0.001))


class TestWholeFrames:
    @pytest.mark.parametrize(
        "frames",
        [
            [1, 1, 1, 1, 1, 1],
            [1, 1, 0, 1, 0, 1],
            [0, 1, 0, 0, 0, 1],
            [0, 0, 1, 0, 1, 0],
            [0, 0, 0, 1, 0, 0],
            [2, 1, 1, 3, 1, 0],
            [0, 0, 0, 0, 0, 0],
        ],
    )
    def test_they_give_what_dynamic_contrast_gives(self, frames):
        """The same patients, the same noise, the same images: all frames, some of them, averages."""
        lines, whole = by_lines(), by_frames()
        data = whole.synthesise(enhancing())

        measured = lines.measure(data, lines_of(frames), streams(2))
        images = lines.reconstruct(measured)

        expected = whole.reconstruct(whole.measure(data, np.array(frames), streams(2)))
        np.testing.assert_allclose(images, expected, rtol=1e-4, atol=1e-4)

    def test_synthesis_and_channels_are_the_same(self):
        np.testing.assert_array_equal(by_lines().synthesise(enhancing()), by_frames().synthesise(enhancing()))
        assert by_lines().channels == by_frames().channels
        assert by_lines().shown_channels == by_frames().shown_channels

    def test_the_adjoint_is_the_frames_with_their_phase(self):
        lines = by_lines()
        data = lines.synthesise(enhancing())

        images = lines.adjoint(lines.measure(1e4 * data.astype(np.float32), lines.standard, streams(2)))

        np.testing.assert_allclose(images.real / 1e4, data, rtol=1e-2, atol=1e-2)
        np.testing.assert_allclose(images.imag / 1e4, 0, atol=1e-2)

    def test_a_patient_who_lacks_a_frame(self):
        lines, whole = by_lines(), by_frames()
        data = whole.synthesise(enhancing()).astype(np.float32)
        data[1, 3] = np.nan

        measured = lines.measure(data, lines.standard, streams(2))

        assert measured.counts.reshape(2, 6, 16)[1, 3].sum() == 0
        assert np.isnan(measured.data[1, 3]).all()
        expected = whole.reconstruct(whole.measure(data, whole.standard, streams(2)))
        np.testing.assert_allclose(lines.reconstruct(measured), expected, rtol=1e-4, atol=1e-4)


class TestViewSharing:
    def test_a_line_is_interpolated_in_time(self):
        """Each line of a ramp in time is known at two frames; between and beyond them it is as for whole frames."""
        lines = by_lines()
        rng = np.random.default_rng(0)
        profile = rng.uniform(1, 2, (16, 20))
        ramp = np.array([10.0, 10, 20, 30, 40, 50])
        data = (1e3 * ramp[:, None, None] * profile)[None]
        taken = np.zeros((6, 16), dtype=np.int64)
        taken[0] = 1
        taken[2, ::2] = 1
        taken[4, ::2] = 1
        taken[3, 1::2] = 1

        images = lines.reconstruct(lines.measure(data, taken.ravel(), streams(1)))

        # even lines: frames 0, 2 and 4; odd ones: 0 and 3, the third of the way in frame 1 is baseline by rule
        even = np.array([10, 10, 20, 30, 40, 40.0])
        odd = np.array([10, 10, 10 + 2 / 3 * 20, 30, 30, 30])
        there = [0, 2, 3, 4]  # frames with any line; the others are interpolated as images
        kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(profile)))
        filled = {}
        for frame in there:
            mixed = kspace.copy()
            mixed[::2] *= even[frame]
            mixed[1::2] *= odd[frame]
            filled[frame] = np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(mixed))))
        filled[1], filled[5] = filled[0], filled[4]
        expected = np.stack([filled[frame] / filled[0] - 1 for frame in range(6)])
        np.testing.assert_allclose(images[0, 1:], expected, atol=5e-3)

    def test_a_line_nobody_took_is_zero(self):
        lines = by_lines()
        data = lines.synthesise(enhancing(1))
        taken = np.ones((6, 16), dtype=np.int64)
        taken[:, :4] = taken[:, 12:] = 0

        images = lines.reconstruct(lines.measure(1e4 * data.astype(np.float32), taken.ravel(), streams(1)))

        kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(data[0, :2].astype(float).mean(0))))
        kspace[:4] = kspace[12:] = 0
        low = np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace))))
        assert error(images[0, 0] / images[0, 0].mean(), low / low.mean()) < 0.01

    def test_before_the_bolus_lines_are_borrowed_from_before_it(self):
        """A line taken in one of two baseline frames is not mixed with what comes after the bolus."""
        lines = by_lines()
        data = np.full((1, 6, 16, 20), 1e5)
        data[:, 2:] *= 2
        taken = np.ones((6, 16), dtype=np.int64)
        taken[0, ::2] = 0
        taken[1, 1::2] = 0

        images = lines.reconstruct(lines.measure(data, taken.ravel(), streams(1)))

        np.testing.assert_allclose(images[0, 1:3], 0, atol=1e-3)
        np.testing.assert_allclose(images[0, 3:], 1, atol=1e-3)

    @pytest.mark.parametrize("scheme", ["kt_lattice", "kt_random"])
    def test_more_lines_show_more(self, scheme):
        lines = by_lines(frames=12, snr=5e4)
        data = lines.synthesise(enhancing(1))
        exact = lines.reconstruct(lines.measure(data, lines.standard, streams(1)))
        errors = []
        for acceleration in (1.0, 2.0, 4.0, 8.0):
            chosen = {"acceleration": acceleration, "centre": 0.1, "power": 2.0, "seed": 0}
            known = {parameter.name for parameter in make_scheme(scheme).parameters(lines.shots)}
            counts = make_scheme(scheme).counts(lines.shots, {key: chosen[key] for key in known})
            errors.append(error(lines.reconstruct(lines.measure(data, counts, streams(1))), exact))

        assert errors[0] < 1e-4
        assert 0.01 < errors[1] < min(errors[2:]), "every second line, against every fourth and eighth"
        assert max(errors) < 1

    def test_patients_with_patterns_of_their_own_are_reconstructed_as_if_alone(self):
        lines = by_lines()
        data = lines.synthesise(enhancing(3))
        counts = np.tile(lines.standard, (3, 1))
        counts[1, ::2] = 0

        together = lines.reconstruct(lines.measure(data, counts, streams(3)))
        alone = lines.reconstruct(lines.measure(data[1:2], counts[1], [np.random.default_rng([0, 1])]))

        np.testing.assert_allclose(together[1], alone[0], rtol=1e-4, atol=1e-4)

    def test_k_space_of_another_series_is_refused(self):
        lines = by_lines()
        measured = lines.measure(lines.synthesise(enhancing()), lines.standard, streams(2))

        with pytest.raises(ScanwiseError, match="it was measured by another modality"):
            by_lines(frames=5).reconstruct(
                type(measured)(measured.data, measured.counts[:, : 5 * 16], measured.geometry)
            )


class TestSlope:
    def test_a_line_that_is_left_out_changes_the_image_as_its_slope_says(self):
        """Where frames are linear in the lines, the slope at none is the difference that the line makes."""
        lines = by_lines(snr=1e5)
        data = lines.synthesise(enhancing(1))
        counts = torch.ones(96)
        counts[3 * 16 + 8] = 0
        counts.requires_grad_()
        weights = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 7, 16, 20))).float()

        def value(at):
            return (lines.relaxed(data, at, streams(1)) * weights).sum()

        (slope,) = torch.autograd.grad(value(counts), counts)
        difference = value(torch.ones(96)) - value(counts.detach())

        assert slope[3 * 16 + 8].item() == pytest.approx(difference.item(), rel=0.1)

    def test_a_frame_without_any_line_has_a_slope(self):
        lines = by_lines()
        data = lines.synthesise(enhancing(1))
        counts = torch.from_numpy(lines_of([1, 1, 1, 0, 1, 1])).float().requires_grad_()

        images = lines.relaxed(data, counts, streams(1))
        (slope,) = torch.autograd.grad((images[:, 4] ** 2).sum(), counts)

        assert (slope[48:64] != 0).all()
        expected = lines.reconstruct(lines.measure(data, lines_of([1, 1, 1, 0, 1, 1]), streams(1)))
        np.testing.assert_allclose(images.detach().numpy(), expected, rtol=1e-3, atol=1e-3)


class TestSettings:
    def test_a_line_costs_its_repetitions(self):
        lines = by_lines(partitions=50, repetition_time_s=0.005, money_per_minute=6.0, setups=["contrast"])
        menu = Menu([lines], [Setup("contrast", Cost(minutes=5.0, money=100.0, contrast_ml=8.0))])

        assert lines.shots.seconds.tolist() == [0.25] * 96
        cost = menu.price(Protocol({"dce": (np.arange(96) < 24).astype(int)}))
        assert cost.minutes == pytest.approx(5 + 24 * 0.25 / 60)
        assert cost.money == pytest.approx(100 + 24 * 0.25 / 60 * 6)

    def test_partitions_fill_the_frame_where_they_are_left_out(self):
        lines = by_lines(repetition_time_s=0.005)

        assert lines.partitions == 187  # 16 lines x 187 x 5 ms = 14.96 s of 15
        assert lines.shots.seconds.sum() <= 6 * 15

    def test_where_waiting_is_paid_lines_are_free(self):
        waits = [f"wait_{index}" for index in range(6)]
        lines = by_lines(wait_setups=waits, money_per_minute=6.0)
        menu = Menu([lines], [Setup(name, Cost(minutes=0.25, money=2.0)) for name in waits])
        some = np.zeros(96, dtype=np.int64)
        some[[3, 20, 50]] = 1  # frames 0, 1 and 3

        assert menu.price(Protocol({"dce": some})) == Cost(minutes=1.0, money=8.0)

    def test_the_table_says_which_frame_and_line(self):
        shots = by_lines().shots

        assert len(shots) == 96
        assert shots.names[0] == "t15_k-8"
        assert shots.names[-1] == "t90_k+7"
        assert shots.what["frame"][[0, 15, 16]].tolist() == [0, 0, 1]
        assert shots.what["line"][[0, 15, 16]].tolist() == [0, 15, 0]
        assert shots.what["baseline"].reshape(6, 16).all(1).tolist() == [True, True, False, False, False, False]

    @pytest.mark.parametrize(
        ("counts", "words"),
        [
            (lines_of([1] * 6), "DCE"),
            (lines_of([1, 1, 1, 1, 0, 0]), "DCE to 1:00, every 15 s"),
            (lines_of([0] * 6), "DCE, no frame"),
            (np.arange(96) % 4 == 0, "DCE, 24 of 96 lines (R = 4)"),
            ((np.arange(96) % 2 == 0) & (np.arange(96) < 64), "DCE, 32 of 96 lines (R = 3) of 4 frames"),
        ],
    )
    def test_words(self, counts, words):
        assert by_lines().describe(np.asarray(counts).astype(int).tolist()) == words

    def test_what_is_set_at_the_console(self):
        told = by_lines(partitions=50).console((np.arange(96) % 4 == 0).astype(int).tolist())

        assert told["lines_taken_in_frames"] == [4] * 6
        assert told["partitions"] == 50
        assert told["acceleration"] == 4
        assert told["flip_angle_deg"] == 15

    def test_schemes_of_frames_are_refused(self):
        with pytest.raises(ScanwiseError, match=r"scheme 'first_n' is for frames: (?s:.*)must not have what"):
            make_scheme("first_n").counts(by_lines().shots, {"n": 3, "spacing": 1})

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (
                {"frame_s": 0.05, "arrival_s": 0.1},
                r"16 lines of a frame of 'dce' must fit into it, but take 0.08 s of 0.05",
            ),
            ({"partitions": 188}, r"partitions of 'dce' must be a whole number in \[1, 187\]"),
            ({"partitions": 0}, r"whole number in \[1, 187\](?s:.*)but is 0"),
            ({"partitions": 1.5}, r"but is 1.5"),
            ({"arrival_s": 10.0}, "must end before the bolus arrives"),
        ],
    )
    def test_wrong_settings_are_refused(self, settings, message):
        with pytest.raises(ScanwiseError, match=message):
            by_lines(**settings)
