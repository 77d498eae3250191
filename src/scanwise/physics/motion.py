"""Rigid and bulk motion between shots."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from scanwise.errors import ScanwiseError
from scanwise.physics._check import check_range
from scanwise.physics.coils import coil_maps, combine_coils
from scanwise.physics.encoding import check_maps
from scanwise.physics.fourier import check_matrix, encode_down, encode_down_adjoint
from scanwise.physics.operator import Operator
from scanwise.physics.registry import register_operator

_LARGEST_ROTATION_RAD = math.pi / 4
"""Beyond it, three shears push the corners of the field of view far outside and back in on the other side."""


def rotate(image: Tensor, angle_rad: Tensor) -> Tensor:
    """Return images turned about voxel ``n // 2`` by resampling, ``(patients, ..., y, x)``, one angle per patient.

    Three shears, each a shift of rows or columns by phase ramps in the Fourier domain (band-limited interpolation,
    periodic at the edges). Every step is unitary, so turning back is inverse and adjoint. Pixels are taken as square.

    Parameters
    ----------
    image : real or complex.
    angle_rad : shape ``(patients,)`` or ``(1,)``, from the x axis towards the y axis, within +-pi/4 [rad].

    Returns
    -------
    Complex image of the same shape.

    References
    ----------
    Unser M, Thevenaz P, Yaroslavsky L. Convolution-based interpolation for fast, high-quality rotation of images.
    IEEE Trans Image Process 1995;4:1371-1381.
    """
    check_range(
        "rotation", angle_rad.abs(), high=_LARGEST_ROTATION_RAD, unit="rad", hint="motion between shots is small"
    )
    image = image if image.is_complex() else image.to(_complex(image.dtype))
    angle = angle_rad.to(image.device, _real(image.dtype)).reshape(-1, *[1] * (image.ndim - 1))
    along_x = -torch.tan(angle / 2)
    image = _shear(image, along_x, shifted=-1, by=-2)
    image = _shear(image, torch.sin(angle), shifted=-2, by=-1)
    return _shear(image, along_x, shifted=-1, by=-2)


def _shear(image: Tensor, slope: Tensor, *, shifted: int, by: int) -> Tensor:
    """Shift along one axis by the slope times the distance from the centre along the other."""
    n_shifted, n_by = image.shape[shifted], image.shape[by]
    real = _real(image.dtype)
    frequency = torch.fft.fftfreq(n_shifted, dtype=real, device=image.device)
    distance = torch.arange(n_by, dtype=real, device=image.device) - n_by // 2
    frequency = frequency if shifted == -1 else frequency[:, None]
    distance = distance if by == -1 else distance[:, None]
    turns = slope * frequency * distance
    ramp = torch.polar(torch.ones_like(turns), -2 * math.pi * turns)
    return torch.fft.ifft(torch.fft.fft(image, dim=shifted) * ramp, dim=shifted)


def _real(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype in (torch.complex128, torch.float64) else torch.float32


def _complex(dtype: torch.dtype) -> torch.dtype:
    return torch.complex128 if dtype == torch.float64 else torch.complex64


@dataclass(frozen=True, eq=False, kw_only=True)
class Motion:
    """Where the body is in every shot, relative to the object as rendered; all of shape ``(patients or 1, shots)``.

    Parameters
    ----------
    shift_y_px, shift_x_px : translation, in voxels of the acquired matrix.
    rotation_rad : about the centre, from the x axis towards the y axis, within +-pi/4 [rad].
    phase_rad : one phase for the whole image, as bulk motion during diffusion gradients leaves behind [rad].

    Raises
    ------
    ScanwiseError
        If shapes differ, a value is not finite, or a rotation is too large.
    """

    shift_y_px: Tensor
    shift_x_px: Tensor
    rotation_rad: Tensor
    phase_rad: Tensor

    def __post_init__(self) -> None:
        shapes = {tuple(value.shape) for value in self._all()}
        if len(shapes) != 1 or self.shift_y_px.ndim != 2:
            raise ScanwiseError(f"motion needs four tensors of one shape (patients, shots), but got {sorted(shapes)}")
        for name, value in zip(("shift_y_px", "shift_x_px", "phase_rad"), self._all()[:3], strict=True):
            check_range(f"the size of {name}", value.abs())
        check_range("rotation", self.rotation_rad.abs(), high=_LARGEST_ROTATION_RAD, unit="rad")

    def _all(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.shift_y_px, self.shift_x_px, self.phase_rad, self.rotation_rad

    @classmethod
    def still(cls, patients: int, shots: int) -> Self:
        """Return no motion at all."""
        none = torch.zeros(patients, shots)
        return cls(shift_y_px=none, shift_x_px=none, rotation_rad=none, phase_rad=none)

    @classmethod
    def random(
        cls,
        patients: int,
        shots: int,
        *,
        shift_sd_px: float,
        rotation_sd_rad: float = 0.0,
        phase_sd_rad: float = 0.0,
        generator: torch.Generator,
    ) -> Self:
        """Draw drifts: a random walk from shot to shot that begins at rest, and an independent phase in every shot.

        Parameters
        ----------
        patients, shots : sizes.
        shift_sd_px, rotation_sd_rad : standard deviation of one step of the walk [voxels, rad].
        phase_sd_rad : standard deviation of the phase of a shot [rad].
        generator : source of randomness.

        Raises
        ------
        ScanwiseError
            If a standard deviation is negative, or so large that a rotation leaves the range.
        """
        for name, value in (("shift", shift_sd_px), ("rotation", rotation_sd_rad), ("phase", phase_sd_rad)):
            check_range(f"the standard deviation of the {name}", value)
        draws = torch.randn(4, patients, shots, generator=generator, device=generator.device)
        steps = draws[:3].clone()
        steps[:, :, 0] = 0
        walk = steps.cumsum(dim=-1)
        return cls(
            shift_y_px=walk[0] * shift_sd_px,
            shift_x_px=walk[1] * shift_sd_px,
            rotation_rad=walk[2] * rotation_sd_rad,
            phase_rad=draws[3] * phase_sd_rad,
        )


@register_operator
@dataclass(frozen=True, eq=False, repr=False)
class MovingEncoding(Operator):
    """Cartesian encoding of a body that moves between shots.

    ``(patients, y, x)`` to ``(patients, coils, lines, columns)``:
    ``sum_shots share(shot, line) ramp(shot) F crop R(shot) S image``: in every shot the body is turned by resampling
    and shifted by phase ramps, and acquisitions of the same line in several shots are averaged. The coils move with the
    body, as an array strapped to it does. Without rotation one Fourier transform serves all shots.

    Parameters
    ----------
    maps : coil sensitivities on the rendered grid, complex, shape ``(patients or 1, coils, y, x)``.
    shot_counts : how often each line is taken in each shot, int64, shape ``(patients or 1, shots, lines)``.
    n_columns : readout samples, along x.
    shift_y_px, shift_x_px, rotation_rad, phase_rad : see `Motion`, shape ``(patients or 1, shots)``.

    Raises
    ------
    ScanwiseError
        If shapes do not fit, a count is negative, or the matrix has more lines or columns than the rendered object.
    """

    name: ClassVar[str] = "moving_encoding"
    maps: Tensor
    shot_counts: Tensor
    n_columns: int
    shift_y_px: Tensor
    shift_x_px: Tensor
    rotation_rad: Tensor
    phase_rad: Tensor

    def __post_init__(self) -> None:
        check_maps(self.maps)
        shots = self.shift_y_px.shape[-1]
        if self.shot_counts.ndim != 3 or self.shot_counts.shape[1] != shots:
            raise ScanwiseError(
                f"shot counts must have shape (patients or 1, {shots} shots, lines), but have "
                f"{tuple(self.shot_counts.shape)}"
            )
        if self.shot_counts.dtype != torch.int64:
            raise ScanwiseError(f"shot counts must be torch.int64, but are {self.shot_counts.dtype}")
        check_range("every count", self.shot_counts)
        check_matrix((self.shot_counts.shape[-1], self.n_columns), (self.maps.shape[-2], self.maps.shape[-1]))
        _ = self.patients

    @classmethod
    def build(cls, *, maps: Tensor, shot_counts: Tensor, matrix: tuple[int, int], motion: Motion) -> Self:
        """Return the encoding of a matrix ``(lines, columns)``.

        `maps` may lack the patients, ``(coils, y, x)``, and so may `shot_counts`, ``(shots, lines)``.

        Raises
        ------
        ScanwiseError
            If the counts are not one per line of the matrix; see the class for the rest.
        """
        lines, columns = matrix
        if shot_counts.shape[-1] != lines:
            raise ScanwiseError(
                f"shot counts need one value for each of the {lines} lines of the matrix, but have shape "
                f"{tuple(shot_counts.shape)}"
            )
        return cls(
            maps if maps.ndim == 4 else maps[None],
            (shot_counts if shot_counts.ndim == 3 else shot_counts[None]).to(maps.device),
            columns,
            motion.shift_y_px.to(maps.device),
            motion.shift_x_px.to(maps.device),
            motion.rotation_rad.to(maps.device),
            motion.phase_rad.to(maps.device),
        )

    @property
    def counts(self) -> Tensor:
        """How often each line is taken in all shots, shape ``(patients or 1, lines)``."""
        return self.shot_counts.sum(dim=1)

    @property
    def domain_shape(self) -> tuple[int, int]:
        """Rendered ``(y, x)``."""
        return self.maps.shape[-2], self.maps.shape[-1]

    @property
    def range_shape(self) -> tuple[int, int, int]:
        """``(coils, lines, columns)``."""
        return self.maps.shape[1], self.shot_counts.shape[-1], self.n_columns

    def _weights(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Share and phase per shot and line, ``(patients, shots, lines)``, and phase per shot and column."""
        real = _real(dtype)
        _, lines, columns = self.range_shape
        line = torch.arange(lines, dtype=real, device=self.maps.device) - lines // 2
        column = torch.arange(columns, dtype=real, device=self.maps.device) - columns // 2
        along_y = self.phase_rad[..., None] - 2 * math.pi * self.shift_y_px[..., None] * line / lines
        along_x = -2 * math.pi * self.shift_x_px[..., None] * column / columns
        share = self.shot_counts / self.counts.clamp(min=1)[:, None]
        return share * torch.exp(1j * along_y.to(dtype)), torch.exp(1j * along_x.to(dtype))

    def _turns(self) -> bool:
        return bool((self.rotation_rad != 0).any())

    def _forward(self, image: Tensor) -> Tensor:
        image = image if image.is_complex() else image.to(_complex(image.dtype))
        coil_images = self.maps * image[:, None]
        matrix = self.range_shape[1:]
        of_line, of_column = self._weights(coil_images.dtype)
        if not self._turns():
            weight = torch.einsum("psl,psc->plc", of_line, of_column)
            return encode_down(coil_images, matrix) * weight[:, None]
        kspace = coil_images.new_zeros((image.shape[0], *self.range_shape))
        for shot in range(self.shift_y_px.shape[-1]):
            turned = encode_down(rotate(coil_images, self.rotation_rad[:, shot]), matrix)
            weight = of_line[:, shot, :, None] * of_column[:, shot, None, :]
            kspace = kspace + turned * weight[:, None]
        return kspace

    def _adjoint(self, kspace: Tensor) -> Tensor:
        kspace = kspace if kspace.is_complex() else kspace.to(_complex(kspace.dtype))
        of_line, of_column = (weight.conj() for weight in self._weights(kspace.dtype))
        if not self._turns():
            weight = torch.einsum("psl,psc->plc", of_line, of_column)
            return combine_coils(encode_down_adjoint(kspace * weight[:, None], self.domain_shape), self.maps)
        coil_images = kspace.new_zeros((kspace.shape[0], kspace.shape[1], *self.domain_shape))
        for shot in range(self.shift_y_px.shape[-1]):
            weight = of_line[:, shot, :, None] * of_column[:, shot, None, :]
            turned = encode_down_adjoint(kspace * weight[:, None], self.domain_shape)
            coil_images = coil_images + rotate(turned, -self.rotation_rad[:, shot])
        return combine_coils(coil_images, self.maps)

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        """Return shifts and phases shared by all, and two patients who turn as well, on a finely rendered object."""
        generator = torch.Generator().manual_seed(0)
        lines = torch.arange(24)
        interleaved = torch.stack([(lines % 3 == shot).long() for shot in range(3)])
        interleaved[0, 10:14] += 1
        shifted = Motion.random(1, 3, shift_sd_px=1.5, phase_sd_rad=0.7, generator=generator)
        turned = Motion.random(2, 3, shift_sd_px=0.6, rotation_sd_rad=0.05, generator=generator)
        return (
            cls.build(
                maps=coil_maps((24, 37), n_coils=4, seed=0), shot_counts=interleaved, matrix=(24, 37), motion=shifted
            ),
            cls.build(
                maps=coil_maps((31, 44), n_coils=2, seed=1), shot_counts=interleaved, matrix=(24, 19), motion=turned
            ),
        )
