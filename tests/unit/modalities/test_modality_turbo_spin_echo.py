from __future__ import annotations

import numpy as np
import pytest
import torch
from modality_scenario import TISSUE, error, scene_of, spots

from scanwise.design import Cost, Menu, Protocol, Setup, make_scheme
from scanwise.errors import ScanwiseError
from scanwise.modalities._cartesian import BLUR_T2_S
from scanwise.modalities.turbo_spin_echo import TurboSpinEcho
from scanwise.physics import EchoTrainBlur, PartialVolume, coil_maps, echo_train_modulation, turbo_spin_echo


def t2w(**settings) -> TurboSpinEcho:
    """A small T2W: 32 lines of 36 columns, short trains."""
    return TurboSpinEcho(
        "t2w",
        **{
            "title": "T2W axial",
            "matrix": (32, 36),
            "train_length": 4,
            "echo_time_s": 0.025,
            "snr": 80.0,
            "reference_voxel_mm3": 24.0,
            **settings,
        },
    )


def structured(modality: TurboSpinEcho, patients: int = 8, **changes):
    """Complete data of patients with many spots, and the same as float images."""
    rendered = (2 * modality.matrix[0], 2 * modality.matrix[1])
    t2_s = np.stack([spots(rendered, inside=0.06, outside=0.18, seed=seed) for seed in range(patients)])
    data = modality.synthesise(scene_of(rendered, patients, t2_s=t2_s, **changes))
    return data, data[:, 0].astype(np.float32)


class TestSignal:
    def test_uniform_tissue_has_the_signal_of_the_equation_over_the_noise(self):
        modality = t2w(echo_time_s=0.05)  # voxels of 96/32 x 96/36 x 3 mm = 24 mm^3, as in the reference

        data = modality.synthesise(scene_of((64, 72)))

        recovery = 1 - np.exp(-(4.0 - 4 * 0.0125) / TISSUE["t1_s"])
        expected = 80.0 * TISSUE["proton_density"] * recovery * np.exp(-0.05 / TISSUE["t2_s"])
        np.testing.assert_allclose(data, expected, rtol=2e-3)

    def test_noise_law(self):
        uniform = t2w().synthesise(scene_of((64, 72))).astype(np.float32)

        np.testing.assert_allclose(t2w(slice_mm=1.5).synthesise(scene_of((64, 72))), uniform / 2, rtol=2e-3)
        np.testing.assert_allclose(t2w().synthesise(scene_of((64, 72), field_t=1.5)), uniform / 2, rtol=2e-3)
        half_as_fine = t2w(matrix=(16, 36)).synthesise(scene_of((64, 72)))
        np.testing.assert_allclose(half_as_fine, 2 * uniform[:, :, :16], rtol=2e-3)

    @pytest.mark.parametrize("phase_axis", ["y", "x"])
    def test_blur_and_partial_volume_are_those_of_the_physics(self, phase_axis):
        modality = t2w(matrix=(15, 19), train_length=5, phase_axis=phase_axis)  # odd: no line without mirror image
        scene = scene_of((31, 40), 1, t2_s=BLUR_T2_S[1], proton_density=spots((31, 40), inside=1.0, outside=0.2))
        tissue = [torch.from_numpy(scene.map(name)) for name in ("proton_density", "t1_s", "t2_s")]
        signal = turbo_spin_echo(
            **dict(zip(("proton_density", "t1_s", "t2_s"), tissue, strict=True)), train=modality.train
        )
        turned = signal if phase_axis == "y" else signal.mT
        modulation = echo_train_modulation(t2_s=torch.tensor([[BLUR_T2_S[1]]]), train=modality.train)
        blurred = EchoTrainBlur(modulation, tuple(turned.shape[1:])).forward(turned[:, None])
        low = PartialVolume(tuple(turned.shape[1:]), (modality.train.n_lines, 34 - modality.train.n_lines))
        expected = low.forward(blurred).real
        expected = expected if phase_axis == "y" else expected.mT

        image = modality.at_resolution(signal, torch.from_numpy(scene.map("t2_s")))

        torch.testing.assert_close(image[:, 0], expected, rtol=0, atol=2e-5)

    def test_an_even_matrix_differs_from_the_physics_by_one_line_at_most(self):
        modality = t2w()
        image = torch.rand((1, 64, 72), generator=torch.Generator().manual_seed(0)) + 1
        smooth = PartialVolume((64, 72), (32, 36))
        no_blur = torch.full_like(image, 1e6)  # T2 without end: clamped, so compare the part without blur
        modality.train = None

        ours = modality.at_resolution(image, no_blur)[:, 0]

        exact = smooth.forward(image).real
        assert 0 < error(ours.numpy(), exact.numpy()) < 0.01  # of white noise, for which all lines are alike

    @pytest.mark.parametrize("t2_s", [0.035, 0.08, 0.1, 0.2, 0.4])
    def test_blur_between_the_tabulated_t2_is_nearly_exact(self, t2_s):
        modality = t2w(train_length=8, echo_time_s=0.05)
        image = torch.from_numpy(spots((64, 72), inside=1.0, outside=0.2)).float()[None]
        modulation = echo_train_modulation(t2_s=torch.tensor([[t2_s]]), train=modality.train)
        exact = PartialVolume((64, 72), (32, 36)).forward(EchoTrainBlur(modulation, (64, 72)).forward(image[:, None]))

        ours = modality.at_resolution(image, torch.full_like(image, t2_s))[:, 0]

        assert error(ours.numpy(), exact.real.numpy()) < 0.03

    def test_short_t2_is_blurred_more_than_long_t2(self):
        spot = spots((64, 72), inside=1.0, outside=0.2)

        def sharpness(t2_s):
            image = (
                t2w(train_length=8, echo_time_s=0.0125)
                .synthesise(scene_of((64, 72), 1, proton_density=spot, t2_s=t2_s))[0, 0]
                .astype(np.float32)
            )
            return np.abs(np.diff(image / image.mean(), axis=0)).max()

        assert sharpness(0.03) < 0.8 * sharpness(0.5)


class TestAcquisition:
    def test_full_sampling_without_regularisation_returns_the_object(self):
        modality = t2w(prior_snr=1e5)
        data, truth = structured(modality)
        measured = modality.measure(data.astype(np.float32) * 1e4, modality.standard, np.random.default_rng(0))

        assert error(modality.solve(measured).numpy() / 1e4, truth) < 1e-3
        assert error(modality.adjoint(measured)[:, 0].real / 1e4, truth) < 1e-3

    def test_kspace_is_that_of_every_coil(self):
        modality = t2w(coil_seed=5)
        data, truth = structured(modality, 1)

        kspace = modality.measure(data.astype(np.float32) * 1e5, modality.standard, np.random.default_rng(0)).data

        coils = coil_maps((32, 36), n_coils=4, seed=5).numpy() * truth
        expected = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(coils, axes=(1, 2)), norm="ortho"), axes=(1, 2))
        np.testing.assert_allclose(kspace[0] / 1e5, expected, atol=1e-3)

    @pytest.mark.parametrize("phase_axis", ["y", "x"])
    def test_regular_undersampling_is_unfolded(self, phase_axis):
        modality = t2w(phase_axis=phase_axis, snr=200.0)
        data, truth = structured(modality)
        counts = make_scheme("equispaced").counts(modality.shots, {"acceleration": 2.0, "centre": 0.1})
        measured = modality.measure(data, counts, np.random.default_rng(0))

        ours, folded = modality.solve(measured).numpy(), modality.adjoint(measured)[:, 0].real
        assert counts.sum() < 0.6 * len(modality.shots)
        best = folded * (folded * truth).sum() / (folded**2).sum()
        assert error(ours, truth) < 0.6 * error(best, truth)

    def test_half_of_kspace_determines_a_real_object(self):
        modality = t2w(n_coils=1, snr=2000.0, prior_snr=2000.0)
        data, truth = structured(modality)
        half = make_scheme("partial_fourier").counts(modality.shots, {"fraction": 0.55})
        centre = np.zeros_like(half)
        centre[16 - half.sum() // 2 : 16 + half.sum() // 2] = 1

        errors = [
            error(modality.solve(modality.measure(data, counts, np.random.default_rng(0))).numpy(), truth)
            for counts in (half, centre)
        ]

        assert half.sum() == centre.sum() == 20
        assert errors[0] < 0.02
        assert errors[0] < 0.5 * errors[1]  # the centre is all there is without the symmetry

    def test_the_solution_is_that_of_the_normal_equations(self):
        modality = t2w(matrix=(9, 7), n_coils=3, prior_snr=4.0)
        rng = np.random.default_rng(0)
        counts = np.array([0, 1, 2, 0, 1, 1, 0, 3, 1])
        measured = modality.measure(rng.normal(size=(2, 1, 9, 7)) * 10, counts, rng)
        maps = coil_maps((9, 7), n_coils=3, seed=0, dtype=torch.complex128).numpy()
        fourier = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(np.eye(9), axes=0), axis=0, norm="ortho"), axes=0)
        power = 1 / (1 + (np.arange(9) - 4) ** 2)
        power *= 4.0**2 / power.mean()
        precision = (fourier.conj().T / power @ fourier).real
        hybrid = np.fft.fftshift(
            np.fft.ifft(np.fft.ifftshift(np.nan_to_num(measured.data), axes=3), axis=3, norm="ortho"), axes=3
        )
        expected = np.empty((2, 9, 7))
        for column in range(7):
            system = np.concatenate([fourier * maps[coil, :, column] for coil in range(3)])
            weight = np.tile(counts, 3)[:, None]
            normal = (system.conj().T @ (weight * system)).real + precision
            for patient in range(2):
                right = (system.conj().T @ (weight[:, 0] * hybrid[patient, :, :, column].reshape(-1))).real
                expected[patient, :, column] = np.linalg.solve(normal, right)

        np.testing.assert_allclose(modality.solve(measured).numpy(), expected, rtol=1e-4, atol=1e-4)

    def test_patients_may_have_patterns_of_their_own(self):
        modality = t2w()
        data, _ = structured(modality, 3)
        counts = np.stack([modality.standard, modality.standard, 2 * modality.standard])
        counts[1, ::3] = 0

        measured = modality.measure(data, counts, np.random.default_rng(0))
        together = modality.reconstruct(measured)

        for row in range(3):
            alone = type(measured)(measured.data[row : row + 1], measured.counts[row : row + 1])
            np.testing.assert_allclose(modality.reconstruct(alone)[0], together[row], atol=1e-5)

    def test_averages_and_more_lines_come_nearer_to_the_object(self):
        modality = t2w(snr=30.0)
        data, truth = structured(modality)
        counts = [
            make_scheme("equispaced").counts(modality.shots, {"acceleration": r, "centre": 0.1}) for r in (4, 2, 1)
        ]
        errors = [
            error(modality.solve(modality.measure(data, row, np.random.default_rng(0))).numpy(), truth)
            for row in [*counts, 2 * counts[-1]]
        ]

        assert errors == sorted(errors, reverse=True)
        assert errors[-1] < 0.8 * errors[-2]

    def test_measurements_of_another_modality_are_refused(self):
        modality, other = t2w(), t2w(n_coils=3)
        data, _ = structured(modality, 2)
        measured = other.measure(data, other.standard, np.random.default_rng(0))

        with pytest.raises(ScanwiseError, match=r"shape \(2, 4, 32, 36\) .*but has \(2, 3, 32, 36\)"):
            modality.reconstruct(measured)


class TestSettings:
    def test_shots_are_lines_with_their_share_of_time_and_money(self):
        modality = t2w(seconds=210.0, money_per_minute=6.0, setups=["scanner"], max_count=3)
        menu = Menu([modality], [Setup("scanner", Cost(minutes=5.0, money=80.0))])

        assert menu.price(Protocol({"t2w": modality.standard})) == Cost(minutes=8.5, money=101.0)
        half = menu.price(Protocol({"t2w": [1, 0] * 16}))
        np.testing.assert_allclose(half.minutes, 5 + 1.75)
        assert modality.shots.max_count.tolist() == [3] * 32
        assert modality.shots.names[0] == "k-16"
        assert modality.shots.names[16] == "k+0"
        assert modality.shots.what["echo"][16] == 2  # the centre is read at the effective echo time
        assert set(modality.shots.what["train_length"]) == {4}

    def test_lines_run_along_the_phase_axis(self):
        assert len(t2w(phase_axis="y").shots) == 32
        assert len(t2w(phase_axis="x").shots) == 36

    @pytest.mark.parametrize(
        ("counts", "words"),
        [
            ([1] * 32, "T2W axial"),
            ([1, 0] * 16, "T2W axial, 16 of 32 lines (R = 2)"),
            ([1, 1, 0, 0] * 2 + [1] * 24, "T2W axial, 28 of 32 lines (R = 1.14)"),
            ([2] * 32, "T2W axial, 2 averages"),
            ([2, 1] + [0] * 30, "T2W axial, 2 of 32 lines (R = 16), 1.5 averages"),
            ([0] * 32, "T2W axial, 0 of 32 lines"),
        ],
    )
    def test_words(self, counts, words):
        assert t2w().describe(counts) == words

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"echo_time_s": 0.03}, r"effective TE must be one of the 4 echoes"),
            ({"echo_time_s": 5.0}, r"effective TE must be one of the 4 echoes"),
            ({"train_length": 40, "matrix": (32, 36)}, "between 1 and 32 echoes"),
            ({"repetition_time_s": 0.04}, "shorter than TR"),
            ({"phase_axis": "z"}, "phase axis of 't2w' must be 'y' or 'x'"),
            ({"matrix": (32,)}, "two whole numbers"),
            ({"matrix": (32, 3.5)}, "two whole numbers"),
            ({"slice_mm": 0.0}, "thicker than 0 mm"),
            ({"snr": -1.0}, "SNR must be"),
            ({"reference_voxel_mm3": 0.0}, "voxel volume must be"),
            ({"prior_snr": 0.0}, "prior_snr of 't2w' must be above 0"),
            ({"n_coils": 0}, "n_coils >= 1"),
            ({"setups": "scanner"}, "must be a list of names"),
            ({"seconds": -5.0}, "finite number >= 0"),
            ({"max_count": 0}, "maxima >= 1"),
            ({"schemes": ["equispace"]}, "did you mean 'equispaced'"),
        ],
    )
    def test_wrong_settings_are_refused_when_the_modality_is_made(self, settings, message):
        with pytest.raises(ScanwiseError, match=message):
            t2w(**settings)

    def test_an_unknown_setting_is_an_error(self):
        with pytest.raises(TypeError, match="echo_train_lenght"):
            t2w(echo_train_lenght=3)
