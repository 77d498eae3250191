"""Multi-coil radial encoding: spokes through the centre of k-space (extra ``nufft``: torchkbnufft)."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import ClassVar, Self

import torch
from torch import Tensor

from scanwise.errors import ScanwiseError
from scanwise.physics.coils import coil_maps, combine_coils
from scanwise.physics.encoding import check_maps
from scanwise.physics.operator import Operator
from scanwise.physics.registry import register_operator
from scanwise.physics.sampling import as_counts


def nufft_library() -> ModuleType:
    """Return torchkbnufft, imported when it is first needed.

    Raises
    ------
    ScanwiseError
        If it is not installed.
    """
    try:
        with warnings.catch_warnings():
            # torchkbnufft 1.5.2 compiles with torch.jit.script, which torch 2.13 deprecates
            warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
            import torchkbnufft
    except ImportError as error:
        raise ScanwiseError(
            "radial scans need the package torchkbnufft, which is not installed", "pip install scanwise[nufft]"
        ) from error
    return torchkbnufft


@register_operator
@dataclass(frozen=True, eq=False, repr=False)
class RadialEncoding(Operator):
    """Image to the spokes of every coil, ``(patients, y, x)`` to ``(patients, coils, spokes, samples)``.

    Sample i of a spoke at the angle a is at ``k = r (sin a, cos a)`` along ``(y, x)`` with ``r = (i - c) / samples``
    cycles per voxel, ``c = samples // 2``: every spoke runs through the centre of k-space, and to its edge in any
    direction. A sample is ``s sum_(y,x) S_c image exp(-2 pi i (k_y (y - n_y // 2) + k_x (x - n_x // 2)))``, with the
    factor ``s = (spokes * samples)^(-1/2)``: over all spokes ``E^H E`` has the mean diagonal 1, so that noise of unit
    variance is, on average over k-space, that of a fully sampled Cartesian matrix. Spokes that are not taken are zero.

    The non-uniform transform interpolates on a grid twice as fine with Kaiser-Bessel kernels of six points; its error
    is below 1e-3 of the signal (in the root mean square). The adjoint is that of this very transform, to rounding.

    Parameters
    ----------
    maps : coil sensitivities, complex, shape ``(patients or 1, coils, y, x)``.
    counts : how often each spoke is taken, int64, shape ``(patients or 1, spokes)``.
    angle_rad : angle of each spoke, shape ``(1, spokes)`` [rad].
    n_samples : readout samples along a spoke.

    Raises
    ------
    ScanwiseError
        If shapes do not fit, a count is negative, or an angle is not finite.

    References
    ----------
    Fessler JA, Sutton BP. Nonuniform fast Fourier transforms using min-max interpolation. IEEE Trans Signal Process
    2003;51:560-574.
    Muckley MJ, Stern R, Murrell T, Knoll F. TorchKbNufft: a high-level, hardware-agnostic non-uniform fast Fourier
    transform. ISMRM Workshop on Data Sampling and Image Reconstruction 2020.
    """

    name: ClassVar[str] = "radial_encoding"
    extra: ClassVar[str] = "torchkbnufft"
    maps: Tensor
    counts: Tensor
    angle_rad: Tensor
    n_samples: int

    def __post_init__(self) -> None:
        check_maps(self.maps)
        if self.counts.ndim != 2:
            raise ScanwiseError(
                f"counts must have shape (patients or 1, spokes), but have {tuple(self.counts.shape)}",
                "RadialEncoding.build takes counts of shape (spokes,) as well",
            )
        as_counts(self.counts, self.counts.shape[-1])
        if self.angle_rad.shape != (1, self.counts.shape[-1]) or not self.angle_rad.isfinite().all():
            raise ScanwiseError(
                f"angles must be finite, one for each of the {self.counts.shape[-1]} spokes, but have shape "
                f"{tuple(self.angle_rad.shape)}"
            )
        if self.n_samples < 1:
            raise ScanwiseError(f"a spoke must have at least one sample, but {self.n_samples=}")
        _ = self.patients

    @classmethod
    def build(cls, *, maps: Tensor, counts: Tensor, angle_rad: Tensor, n_samples: int) -> Self:
        """Return the encoding; `maps`, `counts` and `angle_rad` may lack the patients.

        Raises
        ------
        ScanwiseError
            See the class.
        """
        angles = angle_rad.reshape(1, -1).to(maps.device, torch.float64)
        return cls(
            maps if maps.ndim == 4 else maps[None],
            as_counts(counts, angles.shape[-1]).to(maps.device),
            angles,
            n_samples,
        )

    @property
    def domain_shape(self) -> tuple[int, int]:
        """``(y, x)``."""
        return self.maps.shape[-2], self.maps.shape[-1]

    @property
    def range_shape(self) -> tuple[int, int, int]:
        """``(coils, spokes, samples)``."""
        return self.maps.shape[1], self.counts.shape[-1], self.n_samples

    @property
    def trajectory_rad(self) -> Tensor:
        """Place of every sample, float64, shape ``(2, spokes * samples)`` [radians per voxel], along y and x."""
        steps = torch.arange(self.n_samples, dtype=torch.float64, device=self.maps.device) - self.n_samples // 2
        radius = 2 * math.pi / self.n_samples * steps
        direction = torch.stack([self.angle_rad[0].sin(), self.angle_rad[0].cos()])
        return (direction[:, :, None] * radius).flatten(1)

    def gram_kernel(self, weights: Tensor | None = None) -> Tensor:
        """Return ``E^H W E`` of one coil as a filter, complex128, shape ``(patients or 1, 2 y, 2 x)``.

        What it filters is padded with zeros to twice the size, at the end of each axis, and cropped again; the middle
        of its Fourier transform, every second sample, is about how densely each place of k-space is sampled.

        Parameters
        ----------
        weights : W of each spoke, shape ``(patients or 1, spokes)``; the counts where left out.

        References
        ----------
        Feichtinger HG, Gröchenig K, Strohmer T. Efficient numerical methods in non-uniform sampling theory. Numer Math
        1995;69:423-440 (Toeplitz structure).
        """
        kernels = [
            nufft_library().calc_toeplitz_kernel(
                self.trajectory_rad, self.domain_shape, weights=row.repeat_interleave(self.n_samples)[None].double()
            )
            for row in (self.counts if weights is None else weights)
        ]
        stacked = torch.stack(kernels)
        # the filter of torchkbnufft goes with an inverse transform that does not divide by the number of elements
        return stacked * (self._scale**2 * stacked[0].numel())

    @property
    def _scale(self) -> float:
        return float(self.counts.shape[-1] * self.n_samples) ** -0.5

    def _forward(self, image: Tensor) -> Tensor:
        images = self.maps * image[:, None]
        transform, _ = _transforms(self.domain_shape, images.dtype, images.device)
        kspace = transform(images, self.trajectory_rad.to(images.real.dtype))
        return self._taken(kspace.unflatten(-1, self.range_shape[1:]) * self._scale)

    def _adjoint(self, kspace: Tensor) -> Tensor:
        samples = torch.complex(kspace, torch.zeros_like(kspace)) if not kspace.is_complex() else kspace
        samples = (self._taken(samples) * self._scale).flatten(-2)
        _, transform = _transforms(self.domain_shape, samples.dtype, samples.device)
        return combine_coils(transform(samples, self.trajectory_rad.to(samples.real.dtype)), self.maps)

    def _taken(self, kspace: Tensor) -> Tensor:
        return kspace * (self.counts > 0)[:, None, :, None]

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        """Return undersampling shared by all patients, and each patient's own counts."""
        own = torch.stack([torch.arange(7) % 2, torch.full((7,), 2)])
        golden = torch.arange(11) * math.pi * (math.sqrt(5) - 1) / 2
        return (
            cls.build(
                maps=coil_maps((12, 17), n_coils=3, seed=0),
                counts=torch.arange(11) % 3,
                angle_rad=golden,
                n_samples=34,
            ),
            cls.build(
                maps=coil_maps((13, 8), n_coils=2, seed=1), counts=own, angle_rad=torch.arange(7) * 0.4, n_samples=15
            ),
        )


@lru_cache(maxsize=16)
def _transforms(
    matrix: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Return the non-uniform transform of a matrix and its adjoint, with their interpolation tables."""
    library = nufft_library()
    settings = {"im_size": matrix, "dtype": dtype, "device": device}
    return library.KbNufft(**settings), library.KbNufftAdjoint(**settings)
