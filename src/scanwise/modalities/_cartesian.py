"""Scans whose shots are lines of k-space: acquisition with several coils, and the reconstruction of any pattern."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanwise.design import Measurement, ShotTable
from scanwise.errors import ScanwiseError
from scanwise.modalities._imaging import (
    Noise,
    ScanSettings,
    SimulatedScan,
    blend,
    central_mean,
    partial_volume,
    setup_names,
    streams,
    tensor,
)
from scanwise.physics import (
    CartesianEncoding,
    EchoTrain,
    EchoTrainBlur,
    PartialVolume,
    add_noise,
    coil_maps,
    complex_noise,
    echo_train_modulation,
    fft2c,
)

_PATTERNS_KEPT = 64
"""How many sampling patterns keep their solution; one of 64 x 64 takes 1 MiB."""
_PRIOR_SHARE = 0.25
"""What a voxel is expected to hold, as a share of the signal of proton density 1 without relaxation."""
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


class LineSettings(ScanSettings, total=False):
    """Settings of scans whose shots are lines; see `LineScan`."""

    seconds: float
    money_per_minute: float
    setups: Sequence[str]
    max_count: int
    phase_axis: str
    n_coils: int
    coil_seed: int
    prior_snr: float | None


class LineScan(SimulatedScan):
    """A scan whose shots are phase-encoding lines, each read by all coils at once.

    Complete data are one real image per patient, shape ``(patients, 1, y, x)``. A measurement is the k-space of every
    coil, complex64, ``(patients, coils, lines, columns)``, with lines along the phase-encoding axis, the centre of
    k-space at ``n // 2``, and NaN on lines that were not taken.

    Parameters
    ----------
    name, settings : see `SimulatedScan`.
    seconds : time in which all lines are taken once [s]; each line costs its share.
    money_per_minute : price of scanner time.
    setups : names of the set-ups that every line needs.
    max_count : how often a line may be averaged.
    phase_axis : ``"y"`` or ``"x"``, the axis of the image along which lines encode.
    n_coils, coil_seed : the receive array, see `coil_maps`; fixed for the modality.
    prior_snr : what the reconstruction expects of a voxel before it has seen any data: a normal distribution around
        zero whose standard deviation is that many times the noise of one acquisition. By default a quarter of `snr`.
    train : timing of the echo trains that take the lines, where there are any.
    """

    channels = ("image over its mean",)

    def __init__(
        self,
        name: str,
        *,
        seconds: float = 0.0,
        money_per_minute: float = 0.0,
        setups: Sequence[str] = (),
        max_count: int = 2,
        phase_axis: str = "y",
        n_coils: int = 4,
        coil_seed: int = 0,
        prior_snr: float | None = None,
        train: TrainTiming | None = None,
        **settings: Unpack[ScanSettings],
    ) -> None:
        super().__init__(name, **settings)
        if phase_axis not in ("y", "x"):
            raise ScanwiseError(f"the phase axis of {name!r} must be 'y' or 'x', but is {phase_axis!r}")
        self.phase_axis = phase_axis
        self._prior_snr = _PRIOR_SHARE * settings["snr"] if prior_snr is None else float(prior_snr)
        if not 0 < self._prior_snr < float("inf"):
            raise ScanwiseError(f"prior_snr of {name!r} must be above 0, but is {prior_snr}")
        lines, columns = self.matrix if phase_axis == "y" else self.matrix[::-1]
        self._array = (lines, columns, n_coils, coil_seed)
        _coils(*self._array)  # refuses an array without coils
        self.train = EchoTrain(n_lines=lines, **train) if train else None
        self.shots = ShotTable.build(
            [f"k{line - lines // 2:+d}" for line in range(lines)],
            seconds=seconds / lines,
            money=seconds / 60.0 * money_per_minute / lines,
            setups=setup_names(name, setups),
            max_count=max_count,
            what={
                "line": np.arange(lines),
                "echo": self.train.echo_of_line.numpy() if self.train else np.ones(lines, dtype=np.int64),
                "train_length": np.full(lines, self.train.length if self.train else 1),
                "standard": np.ones(lines, dtype=np.int64),
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

    def measure(self, data: NDArray[Any], counts: NDArray[np.int64], rng: Noise) -> Measurement:
        """Acquire lines of k-space with every coil; noise of unit variance over the count in either part.

        Parameters
        ----------
        data : complete data, shape ``(patients, 1, y, x)``; NaN where a patient lacks the scan.
        counts : how often each line is taken, shape ``(patients, lines)`` or ``(lines,)``.
        rng : source of measurement noise; one stream per patient makes it independent of the batch and of the counts.
        """
        images, taken = self._acquired(data, counts)
        encoding = self._encoding(taken)
        kspace = add_noise(
            encoding.forward(self._turned(images[:, 0])),
            counts=encoding.counts,
            sd=1.0,
            generator=streams(rng, len(images)),
        )
        kspace.masked_fill_((encoding.counts == 0)[:, None, :, None], complex("nan+nanj"))
        return Measurement(kspace.numpy(), taken, {"matrix": self.matrix, "phase_axis": self.phase_axis})

    def relaxed(self, data: NDArray[Any], counts: Tensor, rng: Noise) -> Tensor:
        """Return the images of `reconstruct` with gradients in the counts; see `SimulatedScan.relaxed`."""
        images = self._turned(self._complete(data, counts)[:, 0])
        encoding = self._encoding(np.ones((1, len(self.shots)), dtype=np.int64))
        signal = encoding.forward(images)
        noise = complex_noise(signal.shape, generator=streams(rng, len(images)))
        # W y = c k + sqrt(c) n: at c = 0 the slope is that of the signal, the noise has none
        weight, taken = counts[:, None], (counts > 0)[:, None]
        weighted = weight * signal + torch.where(taken, weight, 1.0).sqrt() * torch.where(taken, noise, 0)
        right = encoding.adjoint(weighted).real.permute(2, 1, 0)
        solution = _solved(_normal(counts.double(), self._prior_snr, self._array)) @ right
        image = self._turned(solution.permute(2, 1, 0))
        return (image / central_mean(image.abs()))[:, None]

    def adjoint(self, measurement: Measurement) -> NDArray[np.complex64]:
        """Return the coil-combined image of the lines taken, zeros elsewhere in k-space: ``(patients, 1, y, x)``."""
        encoding = self._encoding(measurement.counts)
        combined = encoding.adjoint(self._kspace(measurement))
        return self._turned(combined)[:, None].contiguous().numpy()

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
        weighted = self._kspace(measurement).mul_(encoding.counts[:, None, :, None])
        right = encoding.adjoint(weighted).real.permute(2, 1, 0)  # (columns, lines, patients)
        groups: dict[bytes, list[int]] = {}
        for patient, row in enumerate(measurement.counts.astype(np.int64)):
            groups.setdefault(row.tobytes(), []).append(patient)
        if len(groups) == 1:
            image = _inverse(next(iter(groups)), self._prior_snr, self._array) @ right
        else:
            image = torch.empty(right.shape)
            for pattern, patients in groups.items():
                image[:, :, patients] = _inverse(pattern, self._prior_snr, self._array) @ right[:, :, patients]
        return self._turned(image.permute(2, 1, 0))

    def reconstruct(self, measurement: Measurement) -> NDArray[np.float32]:
        """Return the solution over its mean magnitude in a central ellipse, ``(patients, 1, y, x)``."""
        image = self.solve(measurement)
        return (image / central_mean(image.abs()))[:, None].contiguous().numpy()

    def describe(self, counts: Sequence[int]) -> str:
        """Return e.g. ``"T2W axial, 32 of 64 lines (R = 2)"``."""
        values = self._checked(np.asarray(counts, dtype=np.int64), 1)[0]
        taken, total = int((values > 0).sum()), int(values.sum())
        words = [self.title]
        if taken < len(values):
            words.append(f"{taken} of {len(values)} lines" + (f" (R = {len(values) / taken:.3g})" if taken else ""))
        if taken and total > taken:
            words.append(f"{total / taken:.3g} averages")
        return ", ".join(words)

    def _turned(self, image: Tensor) -> Tensor:
        """Swap the axes where the phase is encoded along x."""
        return image.mT if self.phase_axis == "x" else image

    def _encoding(self, counts: NDArray[np.int64]) -> CartesianEncoding:
        lines, columns = self._array[:2]
        return CartesianEncoding.build(
            maps=_coils(*self._array), counts=tensor(counts.astype(np.int64)), matrix=(lines, columns)
        )

    def _kspace(self, measurement: Measurement) -> Tensor:
        """Return k-space with zeros where nothing was taken, whatever stands there."""
        lines, columns, n_coils, _ = self._array
        shape = (len(measurement.counts), n_coils, lines, columns)
        if measurement.data.shape != shape:
            raise ScanwiseError(
                f"k-space of {self.name!r} must have the shape {shape} for these counts, but has "
                f"{measurement.data.shape}",
                "it was measured by another modality, or with another array of coils",
            )
        taken = torch.from_numpy(measurement.counts > 0)
        return torch.where(taken[:, None, :, None], tensor(measurement.data), 0.0)


@lru_cache(maxsize=32)
def _coils(lines: int, columns: int, n_coils: int, seed: int) -> Tensor:
    return coil_maps((lines, columns), n_coils=n_coils, seed=seed)


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
