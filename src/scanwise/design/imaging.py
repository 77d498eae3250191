"""Modalities whose measurement is an image: what they are handed, and what a network reads of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.design.modality import Measurement, Modality
from scanwise.errors import ScanwiseError, did_you_mean

TISSUE_MAPS: Mapping[str, tuple[float, float]] = {
    "proton_density": (0.0, 1.5),
    "t1_s": (0.02, 10.0),
    "t2_s": (0.002, 5.0),
    "adc_mm2_per_s": (0.0, 0.005),
    "kurtosis": (0.0, 3.0),
    "ktrans_per_s": (0.0, 0.1),
    "ve": (0.01, 1.0),
    "vp": (0.0, 0.5),
    "attenuation_per_cm": (0.0, 2.0),
    "iodine_mg_per_ml": (0.0, 50.0),
}
"""The properties of tissue that a virtual organ may render, with the range that is physical.

The last two are what X-rays see: linear attenuation without contrast agent at the effective energy of the beam, and the
concentration of iodine when a scan after contrast is taken.
"""


@dataclass(frozen=True, eq=False)
class Scene:
    """A batch of virtual patients as the scanner finds them: tissue, coil and noise.

    Parameters
    ----------
    maps : properties of the tissue (`TISSUE_MAPS`), float32, shape ``(patients, y, x)`` each, rendered more finely than
        any scan of them.
    fov_mm : field of view ``(y, x)`` [mm].
    field_t : main field, shape ``(patients,)`` [T]; of no meaning to X-rays, as `gain` is.
    noise : standard deviation of the noise relative to the reference of each modality, shape ``(patients,)``.
    gain : what is left of the receive sensitivity after the coils are combined, shape ``(patients, y, x)``.
    arterial_scale : contrast agent that reaches the organ relative to the population, shape ``(patients,)``.

    Raises
    ------
    ScanwiseError
        If shapes differ, a map is unknown or outside its physical range, or T2 > T1.
    """

    maps: Mapping[str, NDArray[np.float32]]
    fov_mm: tuple[float, float]
    field_t: NDArray[np.float32]
    noise: NDArray[np.float32]
    gain: NDArray[np.float32]
    arterial_scale: NDArray[np.float32]

    def __post_init__(self) -> None:
        shape = self.gain.shape
        for name, values in self.maps.items():
            if name not in TISSUE_MAPS:
                raise ScanwiseError(f"there is no tissue map {name!r}", did_you_mean(name, TISSUE_MAPS))
            if values.shape != shape or len(shape) != 3:
                raise ScanwiseError(
                    f"every map must have the shape (patients, y, x) of the gain, {shape}, but {name!r} has "
                    f"{values.shape}",
                    "render all maps on one matrix",
                )
            low, high = TISSUE_MAPS[name]
            if not (values.min() >= low and values.max() <= high):  # also where one is NaN
                raise ScanwiseError(
                    f"{name} must be in [{low:g}, {high:g}], but the scene has {values.min():g} to {values.max():g}",
                    "mend the tissue of the organ; units are in the name",
                )
        if {"t1_s", "t2_s"} <= set(self.maps) and (self.maps["t2_s"] > self.maps["t1_s"]).any():
            raise ScanwiseError(
                "T2 must not be above T1, but is somewhere in the scene", "mend the tissue of the organ"
            )
        for name in ("field_t", "noise", "arterial_scale"):
            values = getattr(self, name)
            if values.shape != shape[:1] or not (np.isfinite(values) & (values > 0)).all():
                raise ScanwiseError(f"{name} of a scene must be one number above 0 per patient, but is {values!r}")

    def map(self, name: str) -> NDArray[np.float32]:
        """Return one map; a missing one is an error that says which the organ lacks."""
        if name not in self.maps:
            raise ScanwiseError(f"the organ renders no {name!r}, which this modality needs", "add it to its tissues")
        return self.maps[name]

    def __len__(self) -> int:
        return len(self.gain)

    def __repr__(self) -> str:
        return f"Scene({len(self)} patients, {', '.join(self.maps)}, {self.gain.shape[1:]})"


class ImagingModality(Modality):
    """A modality that yields images: k-space or frames that are measured, and images reconstructed from them.

    Complete data of a patient are noise-free images over the standard deviation of the noise of one acquisition, so a
    shot that is taken once has noise of unit variance in its real and in its imaginary part, whatever the scanner.
    Where photons are counted (`counts_photons`) the noise depends on what they have come through: complete data are
    then in physical units.

    Attributes
    ----------
    matrix : ``(y, x)`` of the reconstructed images.
    channels : what each reconstructed image is, in words.
    counts_photons : whether the noise is that of counted photons.
    """

    matrix: tuple[int, int]
    channels: tuple[str, ...]
    counts_photons: bool = False

    @property
    def shown_channels(self) -> tuple[int, ...]:
        """Which of the images people look at first, two at most; a report shows them."""
        return tuple(range(len(self.channels)))[-2:]

    @abstractmethod
    def synthesise(self, scene: Scene) -> NDArray[np.float16]:
        """Return complete data of virtual patients, shape ``(patients, images, y, x)``."""

    @abstractmethod
    def adjoint(self, measurement: Measurement) -> NDArray[np.complex64]:
        """Return the coil-combined adjoint of the acquisition, complex, shape ``(patients, images, y, x)``."""

    @abstractmethod
    def reconstruct(self, measurement: Measurement) -> NDArray[np.float32]:
        """Return the images a reader is given, shape ``(patients, channels, y, x)``; zeros where nothing was measured.

        Every image is on a scale that does not depend on the scanner.
        """

    def sampling(self, counts: NDArray[np.int64]) -> NDArray[Any]:
        """Return what a reader is told of the sampling: per shot, the root of its count over what is usual.

        Parameters
        ----------
        counts : shape ``(patients, shots)`` or ``(shots,)``.
        """
        return np.sqrt(counts / np.maximum(self.standard, 1)).astype(np.float32)
