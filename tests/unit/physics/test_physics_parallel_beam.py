"""Projections against integrals written down, and images from projections that are exact."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from scanwise.errors import ScanwiseError
from scanwise.physics import ParallelBeam, angular_shares

ATTENUATION_PER_CM = 0.2
RADIUS_CM = 10.0
MIDDLE_CM = (-4.0, 3.0)


def half_a_turn(views: int) -> torch.Tensor:
    return torch.arange(views, dtype=torch.float64) * math.pi / views


def beam(matrix=(65, 64), views=90, pixel_cm=(0.6, 0.6), **settings) -> ParallelBeam:
    return ParallelBeam.build(matrix=matrix, pixel_cm=pixel_cm, angle_rad=half_a_turn(views), **settings)


def places_cm(n: int, side_cm: float) -> np.ndarray:
    return (np.arange(n) - (n - 1) / 2) * side_cm


def disc(matrix=(65, 64), pixel_cm=(0.6, 0.6), finer: int = 16) -> np.ndarray:
    """A disc as pixels see it: the share of each that is inside."""
    y, x = (places_cm(finer * n, side / finer) for n, side in zip(matrix, pixel_cm, strict=True))
    inside = (y[:, None] - MIDDLE_CM[0]) ** 2 + (x - MIDDLE_CM[1]) ** 2 <= RADIUS_CM**2
    return ATTENUATION_PER_CM * inside.reshape(matrix[0], finer, matrix[1], finer).mean(axis=(1, 3))


def disc_projections(operator: ParallelBeam, finer: int = 64) -> np.ndarray:
    """``2 mu sqrt(R^2 - (s - s0)^2)``, averaged over the width of a detector."""
    angle = operator.angle_rad[0].numpy()
    at = MIDDLE_CM[1] * np.cos(angle) + MIDDLE_CM[0] * np.sin(angle)
    s = places_cm(operator.n_detectors * finer, operator.detector_cm / finer).reshape(-1, finer)
    chord = 2 * np.sqrt(np.maximum(RADIUS_CM**2 - (s - at[:, None, None]) ** 2, 0))
    return ATTENUATION_PER_CM * chord.mean(axis=2)


class TestProjections:
    def test_a_disc_has_its_analytic_sinogram(self):
        operator = beam()

        projected = operator.forward(torch.from_numpy(disc())[None])[0].real.numpy()

        exact = disc_projections(operator)
        assert np.linalg.norm(projected - exact) / np.linalg.norm(exact) < 0.01
        assert projected.max() == pytest.approx(2 * ATTENUATION_PER_CM * RADIUS_CM, rel=0.01)

    def test_a_point_moves_on_a_sine(self):
        operator = beam(matrix=(33, 40), pixel_cm=(0.5, 0.4), views=24)
        image = torch.zeros(1, 33, 40, dtype=torch.float64)
        image[0, 5, 31] = 1.0

        projected = operator.forward(image)[0].real.numpy()

        s = places_cm(operator.n_detectors, operator.detector_cm)
        centre = (projected * s).sum(axis=1) / projected.sum(axis=1)
        angle = operator.angle_rad[0].numpy()
        expected = (31 - 19.5) * 0.4 * np.cos(angle) + (5 - 16) * 0.5 * np.sin(angle)
        np.testing.assert_allclose(centre, expected, atol=0.03, err_msg="a twelfth of a detector")

    @pytest.mark.parametrize(("pixel_cm", "matrix"), [((0.5, 0.5), (9, 12)), ((0.3, 0.7), (13, 8))])
    def test_no_view_loses_anything(self, pixel_cm, matrix):
        """All detectors of a view together see the sum of the pixels times their area."""
        operator = beam(matrix=matrix, pixel_cm=pixel_cm, views=37)
        image = torch.rand((2, *matrix), dtype=torch.float64, generator=torch.Generator().manual_seed(0))

        mass = operator.forward(image).real.sum(-1) * operator.detector_cm

        expected = image.sum((1, 2)) * math.prod(pixel_cm)
        torch.testing.assert_close(mass, expected[:, None].expand_as(mass))

    def test_views_along_the_axes_are_sums(self):
        operator = ParallelBeam.build(
            matrix=(6, 9), pixel_cm=(0.5, 0.5), angle_rad=torch.tensor([0.0, math.pi / 2]), n_detectors=9
        )
        image = torch.rand((1, 6, 9), dtype=torch.float64, generator=torch.Generator().manual_seed(1))

        over_y, over_x = operator.forward(image)[0].real

        torch.testing.assert_close(over_y, 0.5 * image[0].sum(0))
        # six rows are centred on nine detectors: each covers halves of two
        rows = 0.5 * image[0].sum(1)
        halves = torch.zeros(9, dtype=torch.float64)
        halves[1:7] += rows / 2
        halves[2:8] += rows / 2
        torch.testing.assert_close(over_x, halves)

    def test_an_element_is_the_area_that_pixel_and_strip_share(self):
        """Counted on a fine grid."""
        angle, detector_cm = 0.7, 0.31
        operator = ParallelBeam.build(
            matrix=(3, 2), pixel_cm=(0.5, 0.8), angle_rad=torch.tensor([angle]), n_detectors=11, detector_cm=detector_cm
        )
        image = torch.zeros(1, 3, 2, dtype=torch.float64)
        image[0, 2, 0] = 1.0

        shares = operator.forward(image)[0, 0].real.numpy()

        fine = 2000
        y = 0.5 + 0.5 * ((np.arange(fine) + 0.5) / fine - 0.5)
        x = -0.4 + 0.8 * ((np.arange(fine) + 0.5) / fine - 0.5)
        s = x[None, :] * math.cos(angle) + y[:, None] * math.sin(angle)
        strip = np.floor(s / detector_cm + 5.5).astype(int)
        counted = np.bincount(strip.ravel(), minlength=11) * (0.5 * 0.8 / fine**2) / detector_cm
        np.testing.assert_allclose(shares, counted, atol=2e-3)


class TestFilteredBackprojection:
    @pytest.mark.parametrize(("kernel", "blur"), [("ram_lak", 0.10), ("hann", 0.14)])
    def test_a_disc_comes_back_from_its_exact_projections(self, kernel, blur):
        operator = beam()

        image = operator.filtered_backprojection(torch.from_numpy(disc_projections(operator))[None], kernel=kernel)

        truth, found = disc(), image[0].numpy()
        y, x = (places_cm(n, 0.6) for n in (65, 64))
        distance = np.hypot(y[:, None] - MIDDLE_CM[0], x - MIDDLE_CM[1])
        assert found[distance < RADIUS_CM - 1.5].mean() == pytest.approx(ATTENUATION_PER_CM, rel=0.002)
        assert np.abs(found[distance < RADIUS_CM - 1.5] - ATTENUATION_PER_CM).max() < 0.02 * ATTENUATION_PER_CM
        assert np.abs(found[(distance > RADIUS_CM + 1.5) & (distance < 15)]).mean() < 0.02 * ATTENUATION_PER_CM
        assert np.linalg.norm(found - truth) / np.linalg.norm(truth) < blur

    def test_the_smooth_kernel_has_less_noise(self):
        operator = beam()
        noise = torch.randn(4, 90, operator.n_detectors, generator=torch.Generator().manual_seed(2))

        sharp, smooth = (operator.filtered_backprojection(noise, kernel=kernel) for kernel in ("ram_lak", "hann"))

        assert smooth.std() < 0.5 * sharp.std()

    def test_noise_is_what_theory_says(self):
        """``pi / w sqrt(1 / (12 views))`` at a detector as wide as a pixel, less what averaging takes off."""
        operator = beam(matrix=(41, 41), views=60)
        noise = torch.randn(200, 60, operator.n_detectors, generator=torch.Generator().manual_seed(3))

        found = operator.filtered_backprojection(noise)[:, 15:26, 15:26].std().item()

        ideal = math.pi / 0.6 * math.sqrt(1 / (12 * 60))
        assert 0.4 * ideal < found < ideal

    def test_complex_projections_are_two_real_ones(self):
        operator = beam(matrix=(9, 12), views=7)
        real, imaginary = torch.randn(2, 1, 7, operator.n_detectors, generator=torch.Generator().manual_seed(4))

        both = operator.filtered_backprojection(torch.complex(real, imaginary))

        torch.testing.assert_close(both.real, operator.filtered_backprojection(real))
        torch.testing.assert_close(both.imag, operator.filtered_backprojection(imaginary))

    def test_views_without_a_share_say_nothing(self):
        operator = beam(matrix=(9, 12), views=8)
        projections = torch.randn(2, 8, operator.n_detectors, generator=torch.Generator().manual_seed(5))
        share = angular_shares(operator.angle_rad[0], torch.arange(8) % 2 == 0)
        other = projections.clone()
        other[:, 1::2] = 777.0

        torch.testing.assert_close(
            operator.filtered_backprojection(other, share_rad=share),
            operator.filtered_backprojection(projections, share_rad=share),
        )

    def test_sparse_views_keep_the_level(self):
        operator = beam()
        share = angular_shares(operator.angle_rad[0], torch.arange(90) % 5 == 0)

        image = operator.filtered_backprojection(torch.from_numpy(disc_projections(operator))[None], share_rad=share)

        y, x = (places_cm(n, 0.6) for n in (65, 64))
        inside = np.hypot(y[:, None] - MIDDLE_CM[0], x - MIDDLE_CM[1]) < RADIUS_CM - 1.5
        assert image[0].numpy()[inside].mean() == pytest.approx(ATTENUATION_PER_CM, rel=0.01)

    def test_it_has_gradients(self):
        operator = beam(matrix=(5, 6), views=3)
        projections = torch.randn(1, 3, operator.n_detectors, dtype=torch.float64).requires_grad_()

        assert torch.autograd.gradcheck(operator.filtered_backprojection, projections, fast_mode=True)


class TestAngularShares:
    def test_all_views_share_half_a_turn(self):
        torch.testing.assert_close(angular_shares(half_a_turn(7)), torch.full((7,), math.pi / 7, dtype=torch.float64))

    def test_every_third_view_stands_for_three(self):
        taken = torch.arange(9) % 3 == 1

        shares = angular_shares(half_a_turn(9), taken)

        assert shares[~taken].tolist() == [0] * 6
        torch.testing.assert_close(shares[taken], torch.full((3,), math.pi / 3, dtype=torch.float64))

    def test_nothing_stands_for_a_missing_wedge(self):
        taken = torch.zeros(2, 30, dtype=torch.bool)
        taken[0, :10] = True
        taken[1, 25:] = True
        taken[1, :5] = True  # the same, around half a turn

        shares = angular_shares(half_a_turn(30), taken)

        torch.testing.assert_close(shares[taken], torch.full((20,), math.pi / 30, dtype=torch.float64))

    def test_unequal_gaps_are_halved(self):
        shares = angular_shares(torch.tensor([0.0, 0.5, 1.5, 2.5]))

        wrap = math.pi - 2.5
        expected = [(0.5 + wrap) / 2, 0.75, 1.0, (1 + wrap) / 2]
        torch.testing.assert_close(shares, torch.tensor(expected, dtype=torch.float64))
        assert shares.sum().item() == pytest.approx(math.pi)

    def test_views_half_a_turn_apart_share_what_they_see(self):
        whole_turn = torch.arange(8, dtype=torch.float64) * math.pi / 4

        torch.testing.assert_close(angular_shares(whole_turn), torch.full((8,), math.pi / 8, dtype=torch.float64))

    def test_one_view_and_none(self):
        one = torch.eye(3, dtype=torch.bool)

        assert angular_shares(half_a_turn(3), one).sum(1).tolist() == pytest.approx([math.pi] * 3)
        assert angular_shares(half_a_turn(3), torch.zeros(3, dtype=torch.bool)).tolist() == [0, 0, 0]

    def test_order_does_not_matter(self):
        order = torch.tensor([3, 0, 2, 1])
        angle = torch.tensor([0.1, 0.9, 1.2, 2.9])

        torch.testing.assert_close(angular_shares(angle[order]), angular_shares(angle)[order])

    def test_flags_of_other_views_are_refused(self):
        with pytest.raises(ScanwiseError, match=r"there are 3 views, but flags of shape \(4,\)"):
            angular_shares(half_a_turn(3), torch.ones(4, dtype=torch.bool))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pixel_cm": (0.0, 1.0)}, "pixels and detectors of a parallel beam must be finite and > 0 cm, but got 0 cm"),
        ({"detector_cm": -1.0}, "pixels and detectors of a parallel beam must be finite and > 0 cm"),
        ({"n_detectors": 0}, "every size of a parallel beam must be"),
        ({"angle_rad": torch.tensor([0.0, math.nan])}, r"angles of a parallel beam must be finite"),
        ({"angle_rad": torch.zeros(0)}, r"finite, shape \(1, views\), but have shape \(1, 0\)"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    with pytest.raises(ScanwiseError, match=message):
        ParallelBeam.build(
            **{"matrix": (4, 5), "pixel_cm": (1.0, 1.0), "angle_rad": torch.tensor([0.0, 1.0]), **settings}
        )


def test_angles_without_the_first_axis_are_for_build():
    with pytest.raises(ScanwiseError, match=r"ParallelBeam\.build takes a list of angles"):
        ParallelBeam((4, 5), (1.0, 1.0), torch.zeros(3), 6, 1.0)


def test_other_kernels_and_shares_are_refused():
    operator = beam(matrix=(4, 5), views=3)
    projections = torch.zeros(2, 3, operator.n_detectors)

    with pytest.raises(ScanwiseError, match=r"kernel must be one of \['ram_lak', 'hann'\], but is 'han'"):
        operator.filtered_backprojection(projections, kernel="han")
    with pytest.raises(ScanwiseError, match=r"one per view, \(3,\) or \(2, 3\), but have shape \(1, 4\)"):
        operator.filtered_backprojection(projections, share_rad=torch.ones(4))
    with pytest.raises(ScanwiseError, match="projections of 'parallel_beam' must have shape"):
        operator.filtered_backprojection(projections[:, :2])
