"""Multi-coil Cartesian encoding: lines of k-space, each taken as often as its count says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from scanwise.errors import ScanwiseError
from scanwise.physics.coils import coil_maps, combine_coils
from scanwise.physics.fourier import check_matrix, encode_down, encode_down_adjoint
from scanwise.physics.operator import Operator
from scanwise.physics.registry import register_operator
from scanwise.physics.sampling import as_counts


@register_operator
@dataclass(frozen=True, eq=False, repr=False)
class CartesianEncoding(Operator):
    """Image to the k-space of every coil, ``(patients, y, x)`` to ``(patients, coils, lines, columns)``.

    ``taken(counts) F crop S image``: coil maps, centred orthonormal Fourier transform, the centre of k-space where the
    object is rendered more finely than the matrix (see `encode_down`), and zero on the lines that are not taken. Lines
    taken several times are averaged, so their signal stays and their noise falls (see `add_noise`).

    Parameters
    ----------
    maps : coil sensitivities on the rendered grid, complex, shape ``(patients or 1, coils, y, x)``.
    counts : how often each line is taken, int64, shape ``(patients or 1, lines)``; lines run along y.
    n_columns : readout samples, along x.

    Raises
    ------
    ScanwiseError
        If shapes do not fit, a count is negative, or the matrix has more lines or columns than the rendered object.
    """

    name: ClassVar[str] = "cartesian_encoding"
    maps: Tensor
    counts: Tensor
    n_columns: int

    def __post_init__(self) -> None:
        check_maps(self.maps)
        if self.counts.ndim != 2:
            raise ScanwiseError(
                f"counts must have shape (patients or 1, lines), but have {tuple(self.counts.shape)}",
                "CartesianEncoding.build takes counts of shape (lines,) as well",
            )
        as_counts(self.counts, self.counts.shape[-1])
        check_matrix((self.counts.shape[-1], self.n_columns), (self.maps.shape[-2], self.maps.shape[-1]))
        _ = self.patients

    @classmethod
    def build(cls, *, maps: Tensor, counts: Tensor, matrix: tuple[int, int]) -> Self:
        """Return the encoding of a matrix ``(lines, columns)``.

        `maps` may lack the patients, ``(coils, y, x)``, and so may `counts`, ``(lines,)``. Counts go to the device of
        the maps.

        Raises
        ------
        ScanwiseError
            If counts are not one per line of the matrix; see the class for the rest.
        """
        lines, columns = matrix
        return cls(maps if maps.ndim == 4 else maps[None], as_counts(counts, lines).to(maps.device), columns)

    @property
    def domain_shape(self) -> tuple[int, int]:
        """Rendered ``(y, x)``."""
        return self.maps.shape[-2], self.maps.shape[-1]

    @property
    def range_shape(self) -> tuple[int, int, int]:
        """``(coils, lines, columns)``."""
        return self.maps.shape[1], self.counts.shape[-1], self.n_columns

    def _forward(self, image: Tensor) -> Tensor:
        return self._taken(encode_down(self.maps * image[:, None], self.range_shape[1:]))

    def _adjoint(self, kspace: Tensor) -> Tensor:
        return combine_coils(encode_down_adjoint(self._taken(kspace), self.domain_shape), self.maps)

    def _taken(self, kspace: Tensor) -> Tensor:
        return kspace * (self.counts > 0)[:, None, :, None]

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        """Return undersampling shared by all patients, and each patient's own counts on a finely rendered object."""
        counts = torch.arange(24) % 3
        own = torch.stack([torch.arange(13) % 2, torch.full((13,), 2)])
        return (
            cls.build(maps=coil_maps((24, 37), n_coils=4, seed=0), counts=counts, matrix=(24, 37)),
            cls.build(maps=coil_maps((26, 37), n_coils=3, seed=1), counts=own, matrix=(13, 18)),
        )


def check_maps(maps: Tensor) -> None:
    """Raise a `ScanwiseError` unless coil maps are complex with axes ``(patients or 1, coils, y, x)``."""
    if maps.ndim != 4 or not maps.is_complex():
        raise ScanwiseError(
            f"coil maps must be complex with shape (patients or 1, coils, y, x), but are {maps.dtype} with "
            f"{tuple(maps.shape)}"
        )
