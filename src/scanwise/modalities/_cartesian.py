"""Scans whose shots are lines of k-space: acquisition with several coils, and the reconstruction of any pattern."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanwise.design import Measurement
from scanwise.errors import ScanwiseError
from scanwise.modalities._imaging import blend, partial_volume, tensor
from scanwise.modalities._kspace import KspaceScan, KspaceSettings, coils, patterns
from scanwise.physics import (
    CartesianEncoding,
    EchoTrain,
    EchoTrainBlur,
    PartialVolume,
    coil_maps,
    echo_train_modulation,
    fft2c,
)

_PATTERNS_KEPT = 64
"""How many sampling patterns keep their solution; one of 64 x 64 takes 1 MiB."""
_PRIOR_CYCLES = 1.0
"""Spatial frequency beyond which the expected power falls, [cycles per field of view]."""
BLUR_T2_S = (0.03, 0.06, 0.12, 0.48)
"""Values of T2 whose point-spread functions are mixed for those in between, linearly in 1 / T2 [s]."""


class TrainTiming(TypedDict):
    """Timing of an `EchoTrain`, which takes the number of lines from the matrix."""

    length: int
    spacing_s: float
    effective_echo_time_s: float
    repetition_time_s: float


class LineSettings(KspaceSettings, total=False):
    """Settings of scans whose shots are lines; see `LineScan`."""

    phase_axis: str


class LineScan(KspaceScan):
    """A scan whose shots are phase-encoding lines, each read by all coils at once.

    K-space has lines along the phase-encoding axis, ``(patients, coils, lines, columns)``, with its centre at
    ``n // 2``.

    Parameters
    ----------
    name, settings : see `KspaceScan` and `SimulatedScan`.
    phase_axis : ``"y"`` or ``"x"``, the axis of the image along which lines encode.
    train : timing of the echo trains that take the lines, where there are any.
    """

    shot_name = "lines"

    def __init__(
        self,
        name: str,
        *,
        phase_axis: str = "y",
        train: TrainTiming | None = None,
        **settings: Unpack[KspaceSettings],
    ) -> None:
        super().__init__(name, turned=phase_axis == "x", **settings)
        if phase_axis not in ("y", "x"):
            raise ScanwiseError(f"the phase axis of {name!r} must be 'y' or 'x', but is {phase_axis!r}")
        self.phase_axis = phase_axis
        lines = self._array[0]
        self.train = EchoTrain(n_lines=lines, **train) if train else None
        self.shots = self._shot_table(
            [f"k{line - lines // 2:+d}" for line in range(lines)],
            {
                "line": np.arange(lines),
                "echo": self.train.echo_of_line.numpy() if self.train else np.ones(lines, dtype=np.int64),
                "train_length": np.full(lines, self.train.length if self.train else 1),
            },
        )
        self._refuse_bad_settings()

    def at_resolution(self, signal: Tensor, t2_s: Tensor) -> Tensor:
        """Return what the lines see of a finely rendered signal, ``(patients, y', x')`` to ``(patients, 1, y, x)``.

        Partial volume, and for echo trains the blur along the lines: every voxel has the point-spread function of its
        T2, mixed from those of `BLUR_T2_S`. Of the blurred image the part in phase is kept, so that lines and their
        mirror images share their weights. Echo times are those of the complete acquisition, whichever lines are taken.
        """
        if self.train is None:
            return partial_volume(signal, self.matrix)[:, None]
        if self.phase_axis == "x":
            signal, t2_s = signal.mT, t2_s.mT
        rate = (1 / t2_s).clamp(1 / BLUR_T2_S[-1], 1 / BLUR_T2_S[0])
        mixed = []
        for index, node in enumerate(BLUR_T2_S):
            share = torch.ones_like(rate)
            if index > 0:
                lower = 1 / BLUR_T2_S[index - 1]
                share = torch.minimum(share, (lower - rate) / (lower - 1 / node))
            if index < len(BLUR_T2_S) - 1:
                upper = 1 / BLUR_T2_S[index + 1]
                share = torch.minimum(share, (rate - upper) / (1 / node - upper))
            mixed.append(share.clamp(min=0).mul_(signal))
        blurred = _blur(signal.shape[-2], self.train) @ torch.cat(mixed, dim=-2)
        image = blurred @ blend(signal.shape[-1], self._array[1]).T
        return (image.mT if self.phase_axis == "x" else image)[:, None]

    def solve(self, measurement: Measurement) -> Tensor:
        """Return the most probable real image, in units of the noise of one acquisition, ``(patients, y, x)``.

        Minimises ``sum_lines W |k - E x|^2 + sum_columns x^T P x`` over real x, W the counts: SENSE with Tikhonov
        regularisation (Pruessmann 1999). It is the maximum a posteriori where every column is normal around zero with
        the covariance ``P^-1 = F^H diag(power) F``, ``power ~ 1 / (1 + k^2)`` over the spatial frequency k (what edges
        have), so that a voxel has the standard deviation `prior_snr`. Columns are independent, and for each the normal
        equations are solved exactly: ``[Re(T o sum_c conj(S_c) S_c^T) + P] x = Re(E^H W k)`` with ``T = F^H W F`` along
        the lines. A real object makes mirror lines redundant, so partial Fourier needs nothing of its own (Margosian
        1986).

        References
        ----------
        Pruessmann KP et al. SENSE: sensitivity encoding for fast MRI. Magn Reson Med 1999;42:952-962.
        Margosian P, Schmitt F, Purdy D. Faster MR imaging: imaging with half the data. Health Care Instrum 1986;1:195.
        """
        encoding = self._encoding(measurement.counts)
        kspace = self._measured(measurement, encoding.range_shape)
        weighted = kspace.mul_(encoding.counts[:, None, :, None])
        right = encoding.adjoint(weighted).real.permute(2, 1, 0)  # (columns, lines, patients)
        groups = patterns(measurement.counts)
        if len(groups) == 1:
            image = _inverse(next(iter(groups)), self._prior_snr, self._array) @ right
        else:
            image = torch.empty(right.shape)
            for pattern, patients in groups.items():
                image[:, :, patients] = _inverse(pattern, self._prior_snr, self._array) @ right[:, :, patients]
        return self._turned(image.permute(2, 1, 0))

    def console(self, counts: Sequence[int]) -> dict[str, Any]:
        """Return the axis of the phase encoding and the timing of the echo train, where there is one."""
        settings = {**super().console(counts), "phase_axis": self.phase_axis}
        if self.train is not None:
            settings |= {
                "repetition_time_s": self.train.repetition_time_s,
                "echo_time_s": self.train.effective_echo_time_s,
                "echo_spacing_s": self.train.spacing_s,
                "echo_train_length": self.train.length,
            }
        return settings

    def _geometry(self) -> dict[str, Any]:
        return {**super()._geometry(), "phase_axis": self.phase_axis}

    def _solve_weighted(self, weighted: Tensor, counts: Tensor) -> Tensor:
        right = self._encoding(self._every_shot()).adjoint(weighted).real.permute(2, 1, 0)
        solution = _solved(_normal(counts.double(), self._prior_snr, self._array)) @ right
        return solution.permute(2, 1, 0)

    def _encoding(self, counts: NDArray[np.int64]) -> CartesianEncoding:
        lines, columns = self._array[:2]
        return CartesianEncoding.build(
            maps=coils(*self._array), counts=tensor(counts.astype(np.int64)), matrix=(lines, columns)
        )


@lru_cache(maxsize=32)
def _coil_products(lines: int, columns: int, n_coils: int, seed: int) -> Tensor:
    """Return ``sum_c conj(S_c[y]) S_c[y']`` of every column, shape ``(columns, lines, lines)``, complex128."""
    maps = coil_maps((lines, columns), n_coils=n_coils, seed=seed, dtype=torch.complex128).permute(2, 1, 0)
    return maps.conj() @ maps.mT


@lru_cache(maxsize=_PATTERNS_KEPT)
def _inverse(pattern: bytes, prior_snr: float, array: tuple[int, int, int, int]) -> Tensor:
    """Return the inverse of the normal equations of every column, shape ``(columns, lines, lines)``, float32."""
    weights = torch.from_numpy(np.frombuffer(pattern, dtype=np.int64).astype(np.float64))
    return _solved(_normal(weights, prior_snr, array))


def _normal(weights: Tensor, prior_snr: float, array: tuple[int, int, int, int]) -> Tensor:
    """Return the normal equations of every column for weights of the lines, ``(columns, lines, lines)``, float64."""
    lines = array[0]
    delta = torch.eye(lines, dtype=torch.complex128)
    along_lines = fft2c(delta[:, :, None])[..., 0]  # (delta, line): one column, so this transforms the lines alone
    toeplitz = (along_lines.conj() * weights) @ along_lines.mT
    frequency = torch.arange(lines, dtype=torch.float64) - lines // 2
    power = 1 / (1 + (frequency / _PRIOR_CYCLES).square())
    precision = (along_lines.conj() * (power.mean() / (power * prior_snr**2))) @ along_lines.mT
    return (toeplitz * _coil_products(*array)).real + precision.real


def _solved(normal: Tensor) -> Tensor:
    """Return the inverse of symmetric positive matrices, float32."""
    return torch.cholesky_inverse(torch.linalg.cholesky(normal)).float()


@lru_cache(maxsize=32)
def _blur(rendered: int, train: EchoTrain) -> Tensor:
    """Return blur and partial volume along the lines for every T2 of `BLUR_T2_S`, ``(lines, T2 x rendered)``."""
    delta = torch.eye(rendered, dtype=torch.complex128)
    encode = PartialVolume((rendered, rendered), (train.n_lines, rendered))
    parts = []
    for t2_s in BLUR_T2_S:
        modulation = echo_train_modulation(t2_s=torch.tensor([[t2_s]], dtype=torch.float64), train=train)
        blurred = EchoTrainBlur(modulation, (rendered, rendered)).forward(delta[None, None])
        parts.append(encode.forward(blurred)[0].real)
    return torch.cat(parts, dim=1).float().contiguous()
