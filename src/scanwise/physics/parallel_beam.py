"""Projections of a parallel X-ray beam (Radon transform), and their filtered backprojection."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from scanwise.errors import ScanwiseError, did_you_mean
from scanwise.physics._check import check_range
from scanwise.physics.operator import Operator
from scanwise.physics.registry import register_operator

KERNELS = ("ram_lak", "hann")
"""Windows on the ramp filter: none up to the Nyquist frequency of the detector, and a raised cosine that ends there."""

_WIDE_GAP = 3.0
"""A gap between views is a missing wedge where it is more than so many times the median gap."""
_FLAT = 1e-9
"""A pixel whose shadow has flanks below this share of its width throws a rectangle."""
_MATRICES_KEPT = 16


@register_operator
@dataclass(frozen=True, eq=False, repr=False)
class ParallelBeam(Operator):
    """Image to line integrals along parallel rays, ``(patients, y, x)`` to ``(patients, views, detectors)``.

    ``p(a, s) = integral of image(x, y) over the line x cos a + y sin a = s``, the origin in the middle of the image and
    y growing downwards (Kak and Slaney 1988, section 3.1, but for the direction of y). Pixels are uniform rectangles
    and a detector averages over its width, so an element is exactly ``area that pixel and strip share / detector
    width``: an image in 1/cm has projections without unit. Detector i is at ``(i - (n - 1) / 2) width``.

    Parameters
    ----------
    matrix : ``(y, x)`` of the image.
    pixel_cm : ``(y, x)`` sides of a pixel [cm].
    angle_rad : angle of each view, shape ``(1, views)`` [rad].
    n_detectors : detectors of a view.
    detector_cm : width of one [cm].

    Raises
    ------
    ScanwiseError
        If a size is not above zero, or an angle is not finite.

    References
    ----------
    Kak AC, Slaney M. Principles of Computerized Tomographic Imaging. IEEE Press 1988, chapter 3.
    """

    name: ClassVar[str] = "parallel_beam"
    matrix: tuple[int, int]
    pixel_cm: tuple[float, float]
    angle_rad: Tensor
    n_detectors: int
    detector_cm: float

    def __post_init__(self) -> None:
        for side in (*self.matrix, self.n_detectors):
            check_range("every size of a parallel beam", float(side), low=1.0)
        for length in (*self.pixel_cm, self.detector_cm):
            check_range("pixels and detectors of a parallel beam", length, above=True, unit="cm")
        angles = self.angle_rad
        if angles.ndim != 2 or angles.shape[0] != 1 or not angles.shape[1] or not bool(angles.isfinite().all()):
            raise ScanwiseError(
                f"angles of a parallel beam must be finite, shape (1, views), but have shape {tuple(angles.shape)}",
                "ParallelBeam.build takes a list of angles",
            )

    @classmethod
    def build(
        cls,
        *,
        matrix: tuple[int, int],
        pixel_cm: tuple[float, float],
        angle_rad: Tensor,
        n_detectors: int | None = None,
        detector_cm: float | None = None,
    ) -> Self:
        """Return the operator; detectors left out are as wide as the shorter side of a pixel, and cover the diagonal.

        Raises
        ------
        ScanwiseError
            See the class.
        """
        width = min(pixel_cm) if detector_cm is None else detector_cm
        check_range("pixels and detectors of a parallel beam", width, above=True, unit="cm")
        diagonal = math.hypot(matrix[0] * pixel_cm[0], matrix[1] * pixel_cm[1])
        number = math.ceil(diagonal / width) if n_detectors is None else n_detectors
        angles = torch.as_tensor(angle_rad).reshape(1, -1).double()
        return cls((int(matrix[0]), int(matrix[1])), (float(pixel_cm[0]), float(pixel_cm[1])), angles, number, width)

    @property
    def domain_shape(self) -> tuple[int, int]:
        """``(y, x)``."""
        return self.matrix

    @property
    def range_shape(self) -> tuple[int, int]:
        """``(views, detectors)``."""
        return self.angle_rad.shape[1], self.n_detectors

    def filtered_backprojection(
        self, projections: Tensor, *, share_rad: Tensor | None = None, kernel: str = "ram_lak"
    ) -> Tensor:
        """Return the image whose projections these are, ``(patients, views, detectors)`` to ``(patients, y, x)``.

        ``image = sum_a share_a Q_a(x cos a + y sin a)`` with Q the projection convolved with the band-limited ramp,
        ``h(0) = 1 / (4 w^2)``, ``h(n) = -1 / (pi n w)^2`` for odd n and 0 for even n, w the detector width; Q is
        averaged over the shadow of the pixel (Kak and Slaney 1988, section 3.3).

        Parameters
        ----------
        projections : line integrals, real or complex.
        share_rad : what part of half a turn each view stands for, shape ``(patients or 1, views)`` or ``(views,)``;
            `angular_shares` of all views where left out. Views with the share 0 say nothing.
        kernel : one of `KERNELS`.

        Raises
        ------
        ScanwiseError
            If shapes do not fit, or there is no such kernel.
        """
        self._check(projections, self.range_shape, "projections")
        if kernel not in KERNELS:
            raise ScanwiseError(
                f"the kernel must be one of {list(KERNELS)}, but is {kernel!r}", did_you_mean(kernel, KERNELS)
            )
        share = angular_shares(self.angle_rad[0]) if share_rad is None else share_rad
        share = share.reshape(-1, share.shape[-1])
        if share.shape[-1] != self.range_shape[0] or share.shape[0] not in (1, projections.shape[0]):
            raise ScanwiseError(
                f"shares must be one per view, ({self.range_shape[0]},) or ({projections.shape[0]}, "
                f"{self.range_shape[0]}), but have shape {tuple(share.shape)}"
            )
        real = projections.real.dtype if projections.is_complex() else projections.dtype
        device = projections.device
        ramp = _ramp(self.n_detectors, self.detector_cm, kernel).to(device, real)
        n = 2 * (ramp.shape[0] - 1)

        def filtered(values: Tensor) -> Tensor:
            spectrum = torch.fft.rfft(values, n=n)
            return torch.fft.irfft(spectrum * ramp, n=n)[..., : self.n_detectors]

        if projections.is_complex():
            passed = torch.complex(filtered(projections.real), filtered(projections.imag))
        else:
            passed = filtered(projections)
        passed = passed * (share.to(device, real)[:, :, None] * (self.detector_cm / math.prod(self.pixel_cm)))
        return self._apply(passed, self.matrix, backwards=True)

    def _forward(self, image: Tensor) -> Tensor:
        return _complex(self._apply(image, self.range_shape, backwards=False))

    def _adjoint(self, kspace: Tensor) -> Tensor:
        return _complex(self._apply(kspace, self.matrix, backwards=True))

    def _apply(self, values: Tensor, shape: tuple[int, int], *, backwards: bool) -> Tensor:
        real = values.real.dtype if values.is_complex() else values.dtype
        angles = tuple(self.angle_rad[0].tolist())
        pair = _matrices(
            self.matrix, self.pixel_cm, angles, self.n_detectors, self.detector_cm, real, str(values.device)
        )
        first, second = pair[::-1] if backwards else pair
        flat = torch.view_as_real(values).movedim(-1, 0).flatten(0, 1) if values.is_complex() else values
        columns: Tensor = _Product.apply(flat.flatten(1).T.contiguous(), first, second)
        result = columns.T.reshape(-1, *shape)
        if values.is_complex():
            return torch.complex(*result.chunk(2))
        return result

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        """Return half a turn on oblong pixels, and a few views of a narrow detector that misses the corners."""
        half_a_turn = torch.arange(7, dtype=torch.float64) * math.pi / 7
        return (
            cls.build(matrix=(12, 17), pixel_cm=(0.5, 0.4), angle_rad=half_a_turn),
            cls.build(
                matrix=(13, 8),
                pixel_cm=(0.3, 0.3),
                angle_rad=torch.tensor([0.0, 0.3, 2.0]),
                n_detectors=10,
                detector_cm=0.35,
            ),
        )


def angular_shares(angle_rad: Tensor, taken: Tensor | None = None) -> Tensor:
    """Return what part of half a turn each view stands for, float64 [rad]; 0 for views that are not taken.

    Parallel views half a turn apart see the same, so angles count modulo pi. A view stands for half of the gap on
    either side. Where views are missing over a wide gap (more than three times the median), nothing can stand for them:
    the views beside it stand for half of the median gap on that side.

    Parameters
    ----------
    angle_rad : angles, shape ``(views,)`` [rad].
    taken : which views there are, bool, shape ``(patterns, views)`` or ``(views,)``; all where left out.

    Returns
    -------
    Shape ``(patterns, views)``, or ``(views,)`` where `taken` has that shape or is left out.

    Raises
    ------
    ScanwiseError
        If there is not one flag per view.
    """
    angle, order = torch.sort(angle_rad.double() % math.pi, stable=True)
    mask = torch.ones(len(angle), dtype=torch.bool) if taken is None else taken
    if mask.shape[-1] != len(angle) or mask.ndim > 2:
        raise ScanwiseError(f"there are {len(angle)} views, but flags of shape {tuple(mask.shape)}")
    flags = mask.reshape(-1, len(angle))[:, order]
    highest = torch.where(flags, angle, -math.inf).cummax(1).values
    lowest = torch.where(flags, angle, math.inf).flip(1).cummin(1).values.flip(1)
    before = torch.cat([torch.full_like(highest[:, :1], -math.inf), highest[:, :-1]], dim=1)
    after = torch.cat([lowest[:, 1:], torch.full_like(lowest[:, :1], math.inf)], dim=1)
    before = torch.where(before.isinf(), highest[:, -1:] - math.pi, before)
    after = torch.where(after.isinf(), lowest[:, :1] + math.pi, after)
    gaps = torch.stack([angle - before, after - angle])
    usual = torch.where(flags & (gaps[1] > 0), gaps[1], torch.nan).nanmedian(1, keepdim=True).values
    gaps = torch.where(gaps > _WIDE_GAP * usual, usual, gaps)
    shares = torch.zeros_like(gaps[0])
    shares[:, order] = torch.where(flags, gaps.sum(0) / 2, 0.0)
    return shares if mask.ndim == 2 else shares[0]


def _complex(values: Tensor) -> Tensor:
    return values if values.is_complex() else torch.complex(values, torch.zeros_like(values))


class _Product(torch.autograd.Function):
    """A sparse matrix times columns; the gradient is its transpose times the gradient."""

    @staticmethod
    def forward(ctx: Any, columns: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
        ctx.matrix, ctx.transpose = matrix, transpose
        return matrix @ columns

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _Product.apply(gradients[0].contiguous(), ctx.transpose, ctx.matrix), None, None


@lru_cache(maxsize=_MATRICES_KEPT)
def _matrices(
    matrix: tuple[int, int],
    pixel_cm: tuple[float, float],
    angle_rad: tuple[float, ...],
    n_detectors: int,
    detector_cm: float,
    dtype: torch.dtype,
    device: str,
) -> tuple[Tensor, Tensor]:
    """Return the matrix of the projection and its transpose, sparse, ``(views * detectors, y * x)`` and the other."""
    y, x = (
        ((torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * side) for n, side in zip(matrix, pixel_cm, strict=True)
    )
    pixel = torch.arange(matrix[0] * matrix[1])
    rows, columns, values = [], [], []
    for view, angle in enumerate(angle_rad):
        wide = sorted((pixel_cm[1] * abs(math.cos(angle)), pixel_cm[0] * abs(math.sin(angle))))
        reach = sum(wide) / 2
        middle = (x[None, :] * math.cos(angle) + y[:, None] * math.sin(angle)).flatten() + n_detectors * detector_cm / 2
        first = torch.floor((middle - reach) / detector_cm).long()
        for step in range(math.ceil(2 * reach / detector_cm) + 1):
            detector = first + step
            edge = detector * detector_cm - middle
            share = _shadow(edge + detector_cm, wide) - _shadow(edge, wide)
            seen = (share > 0) & (detector >= 0) & (detector < n_detectors)
            rows.append(view * n_detectors + detector[seen])
            columns.append(pixel[seen])
            values.append(share[seen] * (math.prod(pixel_cm) / detector_cm))
    size = (len(angle_rad) * n_detectors, len(pixel))
    place = torch.stack([torch.cat(rows), torch.cat(columns)])
    whole = torch.sparse_coo_tensor(place, torch.cat(values).to(dtype), size, check_invariants=True).to(device)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return whole.coalesce().to_sparse_csr(), whole.t().coalesce().to_sparse_csr()


def _shadow(place: Tensor, wide: list[float]) -> Tensor:
    """Return which share of the shadow of a pixel is below a place: two boxes of these widths convolved."""
    narrow, broad = wide
    reach, plateau = (broad + narrow) / 2, (broad - narrow) / 2
    if narrow < _FLAT * broad:
        return ((place + reach) / broad).clamp(0, 1)
    flank = [(place + corner).clamp(min=0).square() for corner in (reach, plateau, -plateau, -reach)]
    return ((flank[0] - flank[1] - flank[2] + flank[3]) / (2 * narrow * broad)).clamp(0, 1)


@lru_cache(maxsize=_MATRICES_KEPT)
def _ramp(n_detectors: int, detector_cm: float, kernel: str) -> Tensor:
    """Return the filter of projections padded so that nothing wraps around, for `torch.fft.rfft`."""
    n = 2 ** math.ceil(math.log2(max(2 * n_detectors, 4)))
    at = torch.arange(n, dtype=torch.float64)
    distance = torch.minimum(at, n - at)
    response = torch.where(distance % 2 == 1, -1 / (math.pi * distance * detector_cm) ** 2, 0.0)
    response[0] = 1 / (4 * detector_cm**2)
    ramp = torch.fft.rfft(response).real * detector_cm
    if kernel == "hann":
        ramp = ramp * (0.5 + 0.5 * torch.cos(math.pi * torch.linspace(0, 1, n // 2 + 1, dtype=torch.float64)))
    return ramp
