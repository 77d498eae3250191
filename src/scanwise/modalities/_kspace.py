"""Scans that measure k-space with several coils: acquisition, and what its reconstructions share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanwise.design import Measurement, ShotTable
from scanwise.errors import ScanwiseError
from scanwise.modalities._imaging import Noise, ScanSettings, SimulatedScan, central_mean, setup_names, streams, tensor
from scanwise.physics import CartesianEncoding, RadialEncoding, add_noise, coil_maps, complex_noise

_PRIOR_SHARE = 0.25
"""What a voxel is expected to hold, as a share of the signal of proton density 1 without relaxation."""


class KspaceSettings(ScanSettings, total=False):
    """Settings of scans that measure k-space; see `KspaceScan`."""

    seconds: float
    money_per_minute: float
    setups: Sequence[str]
    max_count: int
    n_coils: int
    coil_seed: int
    prior_snr: float | None


class KspaceScan(SimulatedScan):
    """A scan whose shots are parts of k-space, each read by all coils at once.

    Complete data are one real image per patient, shape ``(patients, 1, y, x)``. A measurement is the k-space of every
    coil, complex64, ``(patients, coils, shots, samples)``, NaN for shots that were not taken.

    Parameters
    ----------
    name, settings : see `SimulatedScan`.
    seconds : time in which all shots are taken once [s]; each costs its share.
    money_per_minute : price of scanner time.
    setups : names of the set-ups that every shot needs.
    max_count : how often a shot may be averaged.
    n_coils, coil_seed : the receive array, see `coil_maps`; fixed for the modality.
    prior_snr : what the reconstruction expects of a voxel before it has seen any data: a normal distribution around
        zero whose standard deviation is that many times the noise of one acquisition. By default a quarter of `snr`.
    turned : whether k-space has the axes of the image swapped.
    """

    channels = ("image over its mean",)
    shot_name: ClassVar[str]
    """What several shots are called."""

    def __init__(
        self,
        name: str,
        *,
        seconds: float = 0.0,
        money_per_minute: float = 0.0,
        setups: Sequence[str] = (),
        max_count: int = 2,
        n_coils: int = 4,
        coil_seed: int = 0,
        prior_snr: float | None = None,
        turned: bool = False,
        **settings: Unpack[ScanSettings],
    ) -> None:
        super().__init__(name, **settings)
        self._prior_snr = _PRIOR_SHARE * settings["snr"] if prior_snr is None else float(prior_snr)
        if not 0 < self._prior_snr < float("inf"):
            raise ScanwiseError(f"prior_snr of {name!r} must be above 0, but is {prior_snr}")
        self._seconds = float(seconds)
        self._money_per_minute = float(money_per_minute)
        self._setups = setup_names(name, setups)
        self._max_count = max_count
        self._turn = turned
        y, x = self.matrix[::-1] if turned else self.matrix
        self._array = (y, x, n_coils, coil_seed)
        coils(*self._array)  # refuses an array without coils

    def _shot_table(self, names: Sequence[str], what: Mapping[str, NDArray[np.generic]]) -> ShotTable:
        """Return the table of the shots, which share the time of the scan; each is usually taken once."""
        return ShotTable.build(
            names,
            seconds=self._seconds / len(names),
            money=self._seconds / 60.0 * self._money_per_minute / len(names),
            setups=self._setups,
            max_count=self._max_count,
            what={**what, "standard": np.ones(len(names), dtype=np.int64)},
        )

    @abstractmethod
    def _encoding(self, counts: NDArray[np.int64]) -> CartesianEncoding | RadialEncoding:
        """Return the encoding of counts, shape ``(patients, shots)``."""

    @abstractmethod
    def _solve_weighted(self, weighted: Tensor, counts: Tensor) -> Tensor:
        """Return what `solve` does, with gradients in the counts.

        Parameters
        ----------
        weighted : k-space times the counts, ``(patients, coils, shots, samples)``.
        counts : how often each shot is taken, float, shape ``(shots,)``.
        """

    @abstractmethod
    def solve(self, measurement: Measurement) -> Tensor:
        """Return the most probable real image, in units of the noise of one acquisition, ``(patients, y, x)``."""

    def measure(self, data: NDArray[Any], counts: NDArray[np.int64], rng: Noise) -> Measurement:
        """Acquire k-space with every coil; noise of unit variance over the count in either part.

        Parameters
        ----------
        data : complete data, shape ``(patients, 1, y, x)``; NaN where a patient lacks the scan.
        counts : how often each shot is taken, shape ``(patients, shots)`` or ``(shots,)``.
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
        return Measurement(kspace.numpy(), taken, self._geometry())

    def relaxed(self, data: NDArray[Any], counts: Tensor, rng: Noise) -> Tensor:
        """Return the images of `reconstruct` with gradients in the counts; see `SimulatedScan.relaxed`."""
        images = self._turned(self._complete(data, counts)[:, 0])
        encoding = self._encoding(self._every_shot())
        signal = encoding.forward(images)
        noise = complex_noise(signal.shape, generator=streams(rng, len(images)))
        # W y = c k + sqrt(c) n: at c = 0 the slope is that of the signal, the noise has none
        weight, taken = counts[:, None], (counts > 0)[:, None]
        weighted = weight * signal + torch.where(taken, weight, 1.0).sqrt() * torch.where(taken, noise, 0)
        image = self._turned(self._solve_weighted(weighted, counts))
        return (image / central_mean(image.abs()))[:, None]

    def adjoint(self, measurement: Measurement) -> NDArray[np.complex64]:
        """Return the coil-combined image of the shots taken, zeros elsewhere in k-space: ``(patients, 1, y, x)``."""
        encoding = self._encoding(measurement.counts)
        combined = encoding.adjoint(self._measured(measurement, encoding.range_shape))
        return self._turned(combined)[:, None].contiguous().numpy()

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
            factor = f" (R = {len(values) / taken:.3g})" if taken else ""
            words.append(f"{taken} of {len(values)} {self.shot_name}{factor}")
        if taken and total > taken:
            words.append(f"{total / taken:.3g} averages")
        return ", ".join(words)

    def console(self, counts: Sequence[int]) -> dict[str, Any]:
        """Return how many shots are taken, the acceleration and the mean number of averages; see `Modality`."""
        values = self._checked(np.asarray(counts, dtype=np.int64), 1)[0]
        taken, total = int((values > 0).sum()), int(values.sum())
        return {
            **super().console(counts),
            f"{self.shot_name}_taken": taken,
            f"{self.shot_name}_in_all": len(values),
            "acceleration": len(values) / max(taken, 1),
            "averages": total / max(taken, 1),
        }

    def _every_shot(self) -> NDArray[np.int64]:
        return np.ones((1, len(self.shots)), dtype=np.int64)

    def _geometry(self) -> dict[str, Any]:
        return {"matrix": self.matrix}

    def _turned(self, image: Tensor) -> Tensor:
        """Swap the axes where those of k-space are swapped."""
        return image.mT if self._turn else image

    def _measured(self, measurement: Measurement, shape: tuple[int, ...]) -> Tensor:
        """Return k-space with zeros where nothing was taken, whatever stands there."""
        shape = (len(measurement.counts), *shape)
        if measurement.data.shape != shape:
            raise ScanwiseError(
                f"k-space of {self.name!r} must have the shape {shape} for these counts, but has "
                f"{measurement.data.shape}",
                "it was measured by another modality, or with another array of coils",
            )
        taken = torch.from_numpy(measurement.counts > 0)
        return torch.where(taken[:, None, :, None], tensor(measurement.data), 0.0)


def patterns(counts: NDArray[np.int64]) -> dict[bytes, list[int]]:
    """Return which patients share a sampling pattern, ``{counts as int64 bytes: rows}``."""
    groups: dict[bytes, list[int]] = {}
    for patient, row in enumerate(counts.astype(np.int64)):
        groups.setdefault(row.tobytes(), []).append(patient)
    return groups


@lru_cache(maxsize=32)
def coils(y: int, x: int, n_coils: int, seed: int) -> Tensor:
    """Return `coil_maps` of an array, shape ``(coils, y, x)``."""
    return coil_maps((y, x), n_coils=n_coils, seed=seed)
