"""Fourier transforms, coils, partial volume, echo trains and lines, against direct sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scanwise.physics import (
    CartesianEncoding,
    EchoTrain,
    EchoTrainBlur,
    PartialVolume,
    coil_maps,
    combine_coils,
    echo_train_modulation,
    encode_down,
    fft2c,
    ifft2c,
    partial_fourier_counts,
)


def dft(n, rows=None):
    """Centred orthonormal transform matrix; `rows` central frequencies where given."""
    frequency = np.arange(n) - n // 2
    if rows is not None:
        frequency = np.arange(rows) - rows // 2
    return np.exp(-2j * np.pi * np.outer(frequency, np.arange(n) - n // 2) / n) / np.sqrt(n)


def complex_image(*shape, seed=0):
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(24, 37), (37, 24), (7, 5)])
def test_fft2c_is_the_sum_it_stands_for(shape):
    image = complex_image(2, *shape)

    expected = dft(shape[0]) @ image.numpy() @ dft(shape[1]).T
    np.testing.assert_allclose(fft2c(image).numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(ifft2c(torch.from_numpy(expected)).numpy(), image.numpy(), atol=1e-12)


def test_the_origin_is_in_the_middle():
    point = torch.zeros(24, 37)
    point[12, 18] = 1

    torch.testing.assert_close(fft2c(point), torch.full((24, 37), 1 / math.sqrt(24 * 37), dtype=torch.complex64))
    flat = fft2c(torch.ones(24, 37)).abs()
    assert flat.argmax() == 12 * 37 + 18


class TestPartialVolume:
    @pytest.mark.parametrize(("rendered", "matrix"), [((48, 74), (24, 37)), ((37, 30), (24, 13))])
    def test_is_the_sum_it_stands_for(self, rendered, matrix):
        image = complex_image(2, *rendered)

        expected = dft(rendered[0], matrix[0]) @ image.numpy() @ dft(rendered[1], matrix[1]).T
        expected *= math.sqrt(matrix[0] * matrix[1] / (rendered[0] * rendered[1]))
        np.testing.assert_allclose(encode_down(image, matrix).numpy(), expected, atol=1e-12)

    def test_a_constant_keeps_its_value_and_a_total_is_kept(self):
        coarse = PartialVolume((48, 74), (24, 37))
        image = torch.rand(2, 48, 74, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

        torch.testing.assert_close(coarse.forward(torch.full((1, 48, 74), 0.7)).real, torch.full((1, 24, 37), 0.7))
        torch.testing.assert_close(coarse.forward(image).real.mean((1, 2)), image.mean((1, 2)))

    def test_a_voxel_blends_what_is_inside_it(self):
        image = torch.zeros(1, 64, 48)
        image[:, :, 24] = 0.5  # the edge passes through the middle of fine voxel 24, which is that of coarse voxel 12
        image[:, :, 25:] = 1

        coarse = PartialVolume((64, 48), (32, 24)).forward(image).real[0, 16]

        assert 0.35 < coarse[12] < 0.65
        assert coarse[8] == pytest.approx(0, abs=0.15)
        assert coarse[16] == pytest.approx(1, abs=0.15)

    def test_encoding_the_fine_grid_is_encoding_the_coarse_image(self):
        y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 96), indexing="ij")
        image = torch.exp(-4 * (y**2 + x**2))[None]
        counts = torch.ones(32, dtype=torch.int64)
        fine = CartesianEncoding.build(maps=coil_maps((64, 96), n_coils=4, seed=3), counts=counts, matrix=(32, 48))
        coarse = CartesianEncoding.build(maps=coil_maps((32, 48), n_coils=4, seed=3), counts=counts, matrix=(32, 48))

        exact, cheap = fine.forward(image), coarse.forward(PartialVolume((64, 96), (32, 48)).forward(image))

        assert (exact - cheap).norm() < 0.01 * exact.norm()


class TestCoils:
    def test_unit_root_sum_of_squares(self):
        maps = coil_maps((24, 37), n_coils=5, seed=0)

        assert maps.shape == (5, 24, 37)
        assert maps.dtype == torch.complex64
        torch.testing.assert_close(maps.abs().square().sum(0), torch.ones(24, 37))

    def test_combining_undoes_the_coils(self):
        maps, image = coil_maps((24, 37), n_coils=4, seed=2, dtype=torch.complex128), complex_image(3, 24, 37)

        torch.testing.assert_close(combine_coils(maps * image[:, None], maps), image)

    def test_the_same_array_at_every_resolution(self):
        coarse, fine = coil_maps((24, 37), n_coils=4, seed=1), coil_maps((48, 74), n_coils=4, seed=1)

        torch.testing.assert_close(fine[:, ::2, 1::2], coarse)  # the origin n // 2 is 12, 18 and 24, 37

    @pytest.mark.parametrize("seed", range(8))
    def test_smooth_and_different(self, seed):
        maps = coil_maps((64, 48), n_coils=4, seed=seed)

        assert max(maps.diff(dim=axis).abs().max() for axis in (1, 2)) < 0.1
        assert len(set(maps.abs().flatten(1).argmax(1).tolist())) == 4
        assert maps.abs().amax() > 0.8  # a loop sees what is next to it
        assert maps.abs().amin() < 0.25

    def test_seeds(self):
        one, again, other = (coil_maps((24, 37), n_coils=4, seed=seed) for seed in (0, 0, 1))

        assert torch.equal(one, again)
        assert not torch.allclose(one, other, atol=0.05)

    def test_one_coil_sees_everything_equally(self):
        torch.testing.assert_close(coil_maps((24, 37), n_coils=1, seed=0).abs(), torch.ones(1, 24, 37))


class TestLines:
    def test_lines_not_taken_are_zero_and_averages_keep_the_signal(self):
        counts = torch.tensor([0, 1, 3] * 8)
        maps = coil_maps((24, 37), n_coils=4, seed=0, dtype=torch.complex128)
        image = complex_image(2, 24, 37)

        kspace = CartesianEncoding.build(maps=maps, counts=counts, matrix=(24, 37)).forward(image)

        full = dft(24) @ (maps.numpy() * image.numpy()[:, None]) @ dft(37).T
        assert kspace.shape == (2, 4, 24, 37)
        assert bool((kspace[:, :, 0::3] == 0).all())
        np.testing.assert_allclose(kspace[:, :, 1::3].numpy(), full[:, :, 1::3], atol=1e-12)
        np.testing.assert_allclose(kspace[:, :, 2::3].numpy(), full[:, :, 2::3], atol=1e-12)

    def test_every_patient_has_own_counts(self):
        counts = torch.zeros(2, 24, dtype=torch.int64)
        counts[0, 12] = counts[1, 5] = 1
        encoding = CartesianEncoding.build(maps=coil_maps((24, 37), n_coils=2, seed=0), counts=counts, matrix=(24, 37))

        taken = encoding.forward(complex_image(2, 24, 37).to(torch.complex64)).abs().sum((1, 3)) > 0

        assert encoding.patients == 2
        assert torch.equal(taken, counts > 0)

    def test_the_adjoint_of_a_full_scan_is_the_image(self):
        encoding = CartesianEncoding.build(
            maps=coil_maps((24, 37), n_coils=4, seed=0), counts=torch.ones(24, dtype=torch.int64), matrix=(24, 37)
        )
        image = complex_image(2, 24, 37).to(torch.complex64)

        torch.testing.assert_close(encoding.adjoint(encoding.forward(image)), image)

    @pytest.mark.parametrize(
        ("n_lines", "fraction", "kept"), [(24, 0.75, 18), (37, 0.5, 19), (40, 0.55, 22), (24, 1.0, 24)]
    )
    def test_partial_fourier(self, n_lines, fraction, kept):
        counts = partial_fourier_counts(n_lines, fraction, count=2)

        assert counts.tolist() == [0] * (n_lines - kept) + [2] * kept
        assert counts[n_lines // 2] == 2


class TestEchoTrain:
    TRAIN = EchoTrain(n_lines=8, length=4, spacing_s=0.01, effective_echo_time_s=0.02, repetition_time_s=2.0)

    def test_order_worked_out_by_hand(self):
        # two trains; bands of two lines; the centre, line 4, is in the third band and must be the second echo
        assert self.TRAIN.n_trains == 2
        assert self.TRAIN.train_of_line.tolist() == [0, 1, 0, 1, 0, 1, 0, 1]
        assert self.TRAIN.echo_of_line.tolist() == [4, 4, 1, 1, 2, 2, 3, 3]
        assert self.TRAIN.echo_time_of_line_s.tolist() == pytest.approx(
            [0.04, 0.04, 0.01, 0.01, 0.02, 0.02, 0.03, 0.03]
        )

    @pytest.mark.parametrize(("n_lines", "length", "echo"), [(64, 12, 10), (37, 5, 1), (24, 24, 24), (26, 1, 1)])
    def test_every_train_takes_every_echo_at_most_once(self, n_lines, length, echo):
        train = EchoTrain(
            n_lines=n_lines, length=length, spacing_s=0.01, effective_echo_time_s=0.01 * echo, repetition_time_s=3.0
        )

        taken = list(zip(train.train_of_line.tolist(), train.echo_of_line.tolist(), strict=True))
        assert len(set(taken)) == n_lines
        assert {echo for _, echo in taken} <= set(range(1, length + 1))
        assert train.echo_of_line[n_lines // 2] == echo

    def test_blur_is_the_sum_it_stands_for(self):
        modulation = echo_train_modulation(
            t2_s=torch.tensor([[0.04, 0.2], [0.08, 0.1]], dtype=torch.float64), train=self.TRAIN
        )
        image = complex_image(2, 2, 8, 5)

        blurred = EchoTrainBlur(modulation, (8, 5)).forward(image)

        echoes = np.array([4, 4, 1, 1, 2, 2, 3, 3])
        weight = np.exp(-(echoes - 2) * 0.01 / np.array([[0.04, 0.2], [0.08, 0.1]])[..., None])
        expected = np.einsum("ky,ptk,kr,ptrx->pyx", dft(8).conj(), weight, dft(8), image.numpy())
        np.testing.assert_allclose(blurred.numpy(), expected, atol=1e-12)

    def test_short_t2_blurs_long_t2_does_not(self):
        train = EchoTrain(n_lines=64, length=16, spacing_s=0.01, effective_echo_time_s=0.08, repetition_time_s=4.0)
        point = torch.zeros(1, 1, 64, 5)
        point[:, :, 32, 2] = 1

        def height(t2_s):
            modulation = echo_train_modulation(t2_s=torch.tensor([[t2_s]]), train=train)
            seen = EchoTrainBlur(modulation, (64, 5)).forward(point)[0, :, 2].abs()
            return float(seen[32] / seen.square().sum().sqrt())

        assert height(1000.0) == pytest.approx(1, abs=1e-3)
        assert height(0.05) < 0.9 < height(0.3)

    def test_blurring_before_the_coils_is_nearly_exact(self):
        train = EchoTrain(n_lines=32, length=8, spacing_s=0.01, effective_echo_time_s=0.05, repetition_time_s=4.0)
        y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 48), indexing="ij")
        lesion = ((y - 0.2) ** 2 + (x + 0.1) ** 2 < 0.05).float()
        organ = (y**2 + x**2 < 0.6).float() - lesion
        tissues = torch.stack([organ, lesion])[None]
        modulation = echo_train_modulation(t2_s=torch.tensor([[0.15, 0.06]]), train=train)
        maps, counts = coil_maps((64, 48), n_coils=4, seed=3), torch.ones(32, dtype=torch.int64)
        encoding = CartesianEncoding.build(maps=maps, counts=counts, matrix=(32, 24))

        cheap = (encoding @ EchoTrainBlur(modulation, (64, 48))).forward(tissues)

        exact = sum(encoding.forward(tissues[:, t]) * modulation[:, t, None, :, None] for t in (0, 1))
        assert (cheap - exact).norm() < 0.03 * exact.norm()
