"""Centred, orthonormal Fourier transforms: the origin is element ``n // 2`` in both domains, for odd and even n."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from scanwise.errors import ScanwiseError
from scanwise.physics.operator import Operator
from scanwise.physics.registry import register_operator


def fftc(signal: Tensor, dim: int) -> Tensor:
    """Return the centred orthonormal Fourier transform along one axis.

    ``X[k] = n^(-1/2) sum_r x[r] exp(-2 pi i (k - c) (r - c) / n)`` with ``c = n // 2``.
    """
    return torch.fft.fftshift(torch.fft.fft(torch.fft.ifftshift(signal, dim), dim=dim, norm="ortho"), dim)


def ifftc(spectrum: Tensor, dim: int) -> Tensor:
    """Return the inverse, and adjoint, of `fftc`."""
    return torch.fft.fftshift(torch.fft.ifft(torch.fft.ifftshift(spectrum, dim), dim=dim, norm="ortho"), dim)


def fft2c(image: Tensor) -> Tensor:
    """Return the k-space of an image, ``(..., y, x)`` to ``(..., lines, columns)``: unitary, DC in the centre."""
    axes = (-2, -1)
    return torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(image, axes), norm="ortho"), axes)


def ifft2c(kspace: Tensor) -> Tensor:
    """Return the image of a k-space, ``(..., lines, columns)`` to ``(..., y, x)``: inverse and adjoint of `fft2c`."""
    axes = (-2, -1)
    return torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(kspace, axes), norm="ortho"), axes)


def crop_centre(kspace: Tensor, size: int, dim: int) -> Tensor:
    """Keep the `size` elements around the origin of one axis."""
    return kspace.narrow(dim, kspace.shape[dim] // 2 - size // 2, size)


def pad_centre(kspace: Tensor, size: int, dim: int) -> Tensor:
    """Put zeros around one axis, so that it has `size` elements and the origin stays the origin."""
    shape = list(kspace.shape)
    shape[dim] = size
    padded = kspace.new_zeros(shape)
    padded.narrow(dim, size // 2 - kspace.shape[dim] // 2, kspace.shape[dim]).copy_(kspace)
    return padded


def encode_down(image: Tensor, matrix: tuple[int, int]) -> Tensor:
    """Return the part of k-space that a coarser matrix acquires of a finely rendered object.

    The field of view stays; only the centre of k-space is kept, so that a voxel blends the tissues inside it, with
    the ringing of a real acquisition. The factor ``sqrt(y x / (rendered_y rendered_x))`` keeps intensities: a
    constant object keeps its value at every size.

    Parameters
    ----------
    image : rendered object, ``(..., rendered_y, rendered_x)``.
    matrix : ``(lines, columns)`` to acquire, neither above the rendered size.

    Returns
    -------
    k-space, ``(..., lines, columns)``.
    """
    lines, columns = matrix
    rendered = (image.shape[-2], image.shape[-1])
    if rendered == matrix:
        return fft2c(image)
    kspace = crop_centre(fftc(image, -1), columns, -1)
    kspace = crop_centre(fftc(kspace, -2), lines, -2)
    return kspace * ((lines * columns) / (rendered[0] * rendered[1])) ** 0.5


def encode_down_adjoint(kspace: Tensor, rendered: tuple[int, int]) -> Tensor:
    """Return the adjoint of `encode_down`, ``(..., lines, columns)`` to ``(..., rendered_y, rendered_x)``."""
    lines, columns = kspace.shape[-2], kspace.shape[-1]
    if rendered == (lines, columns):
        return ifft2c(kspace)
    image = ifftc(pad_centre(kspace, rendered[0], -2), -2)
    image = ifftc(pad_centre(image, rendered[1], -1), -1)
    return image * ((lines * columns) / (rendered[0] * rendered[1])) ** 0.5


def check_matrix(matrix: tuple[int, int], rendered: tuple[int, int]) -> None:
    """Raise a `ScanwiseError` where more lines or columns are asked for than the rendered matrix has."""
    for asked, size, what in zip(matrix, rendered, ("lines", "columns"), strict=True):
        if not 1 <= asked <= size:
            raise ScanwiseError(
                f"the number of {what} must be in [1, {size}], the size of the rendered matrix, but got {asked}",
                "ask for fewer, or render on a finer grid",
            )


@register_operator
@dataclass(frozen=True, eq=False, repr=False)
class Fourier(Operator):
    """Image to k-space of one matrix size, ``(patients, y, x)`` to ``(patients, lines, columns)``; unitary."""

    name: ClassVar[str] = "fourier"
    matrix: tuple[int, int]

    @property
    def domain_shape(self) -> tuple[int, int]:
        """``(y, x)``."""
        return self.matrix

    @property
    def range_shape(self) -> tuple[int, int]:
        """``(lines, columns)``."""
        return self.matrix

    def _forward(self, image: Tensor) -> Tensor:
        return fft2c(image)

    def _adjoint(self, kspace: Tensor) -> Tensor:
        return ifft2c(kspace)

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        """Return one with an odd and an even axis, either way round, and one with both odd."""
        return cls((24, 37)), cls((37, 24)), cls((9, 15))


@register_operator
@dataclass(frozen=True, eq=False, repr=False)
class PartialVolume(Operator):
    """A finely rendered object at the resolution of the scan, ``(patients, rendered_y, rendered_x)`` to ``(y, x)``.

    ``F_matrix^H crop F_rendered`` with the factor of `encode_down`. Cheaper than encoding every coil on the fine grid,
    and the same up to the variation of the coil maps within a voxel.

    Raises
    ------
    ScanwiseError
        If the matrix is larger than what is rendered.
    """

    name: ClassVar[str] = "partial_volume"
    rendered: tuple[int, int]
    matrix: tuple[int, int]

    def __post_init__(self) -> None:
        check_matrix(self.matrix, self.rendered)

    @property
    def domain_shape(self) -> tuple[int, int]:
        """``(rendered_y, rendered_x)``."""
        return self.rendered

    @property
    def range_shape(self) -> tuple[int, int]:
        """``(y, x)``."""
        return self.matrix

    def _forward(self, image: Tensor) -> Tensor:
        return ifft2c(encode_down(image, self.matrix))

    def _adjoint(self, kspace: Tensor) -> Tensor:
        return encode_down_adjoint(fft2c(kspace), self.rendered)

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        """Return twice the size, an uneven ratio, and no change."""
        return cls((48, 74), (24, 37)), cls((37, 30), (24, 13)), cls((11, 8), (11, 8))
