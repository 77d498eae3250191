"""What all simulated scans share: their settings, the noise they are measured in units of, checks of what they get."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Required, TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanwise.design import ImagingModality, Measurement, Scene, make_scheme
from scanwise.errors import ScanwiseError
from scanwise.physics import NoiseReference, PartialVolume

_PATIENTS_AT_ONCE = 4
"""How many patients are synthesised together; their maps then stay in the cache of the processor."""
_ELLIPSE = 0.7
"""Half axes of the central ellipse that sets the scale of an image, in half fields of view."""
_SMALLEST_SCALE = 1e-6
"""A scale below this is that of an image in which nothing was measured."""

Noise = np.random.Generator | Sequence[np.random.Generator]
"""Source of measurement noise: one stream for all patients, or one for each."""


class VirtualScanSettings(TypedDict, total=False):
    """Settings that every scan of virtual patients has; see `VirtualScan` for their meaning."""

    title: str
    matrix: Sequence[int]
    slice_mm: float
    schemes: Sequence[str]
    blank: bool


class ScanSettings(VirtualScanSettings, total=False):
    """Settings that every simulated scan with thermal noise has; see `SimulatedScan` for their meaning."""

    snr: Required[float]
    reference_voxel_mm3: Required[float]
    reference_field_t: float
    field_exponent: float


class VirtualScan(ImagingModality):
    """A scan of virtual patients.

    Parameters
    ----------
    name : identifier, lower case.
    title : name for people.
    matrix : ``(y, x)`` of the images.
    slice_mm : thickness of the slice [mm].
    schemes : names of sampling schemes on offer, the first is the default.
    blank : the object is uniform, so that only noise is measured: a negative control.

    Raises
    ------
    ScanwiseError
        For a setting that is not physical.
    """

    def __init__(
        self,
        name: str,
        *,
        title: str = "",
        matrix: Sequence[int] = (64, 64),
        slice_mm: float = 3.0,
        schemes: Sequence[str] = ("whole",),
        blank: bool = False,
    ) -> None:
        self.name = name
        self.title = title or name.replace("_", " ")
        if len(matrix) != 2 or not all(float(n).is_integer() and n >= 2 for n in matrix):
            raise ScanwiseError(
                f"the matrix of {name!r} must be two whole numbers (y, x) of at least 2, but is {list(matrix)}"
            )
        self.matrix = (int(matrix[0]), int(matrix[1]))
        if not 0 < slice_mm < float("inf"):
            raise ScanwiseError(f"the slice of {name!r} must be thicker than 0 mm, but {slice_mm=}")
        self.slice_mm = float(slice_mm)
        self.schemes = tuple(make_scheme(scheme) for scheme in schemes)
        self.blank = blank

    @property
    def images(self) -> int:
        """Number of images in complete data."""
        return 1

    @abstractmethod
    def relaxed(self, data: NDArray[Any], counts: Tensor, rng: Noise) -> Tensor:
        """Return what `reconstruct` makes of `measure`, with gradients in the counts, ``(patients, channels, y, x)``.

        Where the counts are whole the images are the same, noise included. The gradient of a shot that was taken is
        that of its noise and of its weight in the reconstruction; of one that was not, what it would add if it were.

        Parameters
        ----------
        data : complete data, shape ``(patients, images, y, x)``; all patients must have all of it.
        counts : how often each shot is taken, float, shape ``(shots,)``.
        rng : source of measurement noise.
        """

    def _complete(self, data: NDArray[Any], counts: Tensor) -> Tensor:
        """Return complete data as float32 and refuse, for `relaxed`, patients without and counts of another table."""
        whole = np.rint(counts.detach().numpy()).astype(np.int64)
        images, taken = self._acquired(data, np.ones_like(whole) if whole.shape == (len(self.shots),) else whole)
        if not taken.all():
            raise ScanwiseError(
                f"gradients need all of {self.name!r} of every patient, but {int((~taken.all(1)).sum())} lack some",
                "leave these patients out",
            )
        return images

    def _acquired(self, data: NDArray[Any], counts: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int64]]:
        """Return complete data as float32 with zeros for images that are not there, and counts as really taken.

        Counts come back with the shape ``(patients, shots)`` and zero where the image of a shot, or where all shots
        make one image that image, is not there (NaN).
        """
        images, there = self._images(data)
        return images, np.where(there, self._checked(counts, len(data)), 0)

    def _images(self, data: NDArray[Any]) -> tuple[Tensor, NDArray[np.bool_]]:
        """Return complete data as float32 with zeros for images that are not there, and which are: (patients, images).

        Raises
        ------
        ScanwiseError
            If the data are those of another matrix.
        """
        shape = (self.images, *self.matrix)
        if data.ndim != 4 or data.shape[1:] != shape:
            raise ScanwiseError(
                f"data of {self.name!r} must have shape (patients, {', '.join(map(str, shape))}), but have "
                f"{data.shape}",
                "all patients of a cohort need one matrix size: resample, or give the modality that matrix",
            )
        images = torch.from_numpy(data.astype(np.float32))
        there = ~images.sum(dim=(-2, -1)).isnan()
        if not there.all():
            images = torch.where(there[:, :, None, None], images, 0.0)
        return images, there.numpy()

    def _checked(self, counts: NDArray[np.int64], patients: int) -> NDArray[np.int64]:
        """Return counts of shape ``(patients, shots)``, checked against the shot table."""
        counts = np.asarray(counts)
        if counts.shape not in ((len(self.shots),), (patients, len(self.shots))):
            raise ScanwiseError(
                f"{self.name!r} has {len(self.shots)} shots and {patients} patients are measured, but the counts have "
                f"the shape {counts.shape}",
                "give one count per shot, for all patients alike or for each",
            )
        if not np.issubdtype(counts.dtype, np.integer) or (counts.size and counts.min() < 0):
            raise ScanwiseError(f"the counts of {self.name!r} must be whole numbers >= 0, but are {counts!r:.80}")
        return np.broadcast_to(counts, (patients, len(self.shots)))


class SimulatedScan(VirtualScan):
    """A scan of virtual patients, from tissue properties to images over the noise of one acquisition.

    The object is real and has the grid of the scan's field of view: its phase is taken as known and removed, which no
    real scan can do completely.

    Parameters
    ----------
    name, settings : see `VirtualScan`; the field of view is that of the scene, a blank object gives no signal.
    snr : signal of proton density 1, before relaxation, over the standard deviation of the noise (of its real part)
        when every shot that makes one image is taken once, at the reference voxel and field.
    reference_voxel_mm3, reference_field_t : voxel [mm^3] and main field [T] at which `snr` holds.
    field_exponent : how the signal-to-noise ratio grows with the field, see `NoiseReference`.

    Raises
    ------
    ScanwiseError
        For a setting that is not physical, with the equation's own words.
    """

    maps: Sequence[str]
    """Tissue maps that the signal depends on."""

    def __init__(
        self,
        name: str,
        *,
        snr: float,
        reference_voxel_mm3: float,
        reference_field_t: float = 3.0,
        field_exponent: float = 1.0,
        **settings: Unpack[VirtualScanSettings],
    ) -> None:
        super().__init__(name, **settings)
        self.noise_reference = NoiseReference(
            snr=snr,
            voxel_volume_mm3=reference_voxel_mm3,
            sampling_s=1.0,
            field_t=reference_field_t,
            field_exponent=field_exponent,
        )

    @property
    def noise_factor(self) -> float:
        """How much stronger the noise of one acquisition is than the reference says."""
        return 1.0

    @abstractmethod
    def signal(self, tissue: Mapping[str, Tensor], arterial_scale: Tensor) -> Tensor:
        """Return the images of a few patients, at the resolution of the scan, in units of the proton density.

        Parameters
        ----------
        tissue : the maps named in `maps`, float32, shape ``(patients, rendered_y, rendered_x)``; the receive gain is
            in the proton density, in which all equations are linear.
        arterial_scale : of the contrast agent, shape ``(patients, 1, 1)``.

        Returns
        -------
        Shape ``(patients, images, y, x)``.
        """

    def noise_sd(self, scene: Scene) -> NDArray[np.float32]:
        """Return the noise of one acquisition in units of the proton density, shape ``(patients,)``."""
        voxel_mm3 = self.slice_mm * scene.fov_mm[0] * scene.fov_mm[1] / (self.matrix[0] * self.matrix[1])
        level = self.noise_reference.sd(
            voxel_volume_mm3=voxel_mm3, sampling_s=1.0, field_t=torch.from_numpy(scene.field_t.astype(np.float32))
        )
        return (level.numpy() * scene.noise * self.noise_factor).astype(np.float32)

    def synthesise(self, scene: Scene) -> NDArray[np.float16]:
        """Return complete data: images over the noise of one acquisition, shape ``(patients, images, y, x)``.

        Raises
        ------
        ScanwiseError
            If the organ lacks a map, its tissue is not physical, or it is rendered more coarsely than the matrix.
        """
        data = np.zeros((len(scene), self.images, *self.matrix), dtype=np.float16)
        if self.blank:
            return data
        with one_thread():
            self._synthesise(scene, data)
        return data

    def _synthesise(self, scene: Scene, data: NDArray[np.float16]) -> None:
        sd = torch.from_numpy(self.noise_sd(scene))[:, None, None, None]
        for start in range(0, len(scene), _PATIENTS_AT_ONCE):
            rows = slice(start, start + _PATIENTS_AT_ONCE)
            tissue = {name: torch.from_numpy(scene.map(name)[rows].astype(np.float32)) for name in self.maps}
            tissue["proton_density"] *= torch.from_numpy(scene.gain[rows].astype(np.float32))
            arterial_scale = torch.from_numpy(scene.arterial_scale[rows].astype(np.float32))[:, None, None]
            data[rows] = (self.signal(tissue, arterial_scale) / sd[rows]).half().numpy()

    def console(self, counts: Sequence[int]) -> dict[str, Any]:
        """Return the matrix ``[y, x]`` and the slice; the field of view is that of the cohort. See `Modality`."""
        return {"matrix": list(self.matrix), "slice_mm": self.slice_mm}

    def example_data(self, patients: int, seed: int) -> NDArray[Any]:
        """Return complete data of made-up patients (`example_scene`)."""
        return self.synthesise(example_scene(patients, (2 * self.matrix[0], 2 * self.matrix[1]), seed))

    def _refuse_bad_settings(self) -> None:
        """Let the signal equations look at the settings now, and not when the first patient comes."""
        voxels = torch.ones((1, 2 * self.matrix[0], 2 * self.matrix[1]))
        self.signal({name: SOFT_TISSUE[name] * voxels for name in self.maps}, torch.ones((1, 1, 1)))

    def _magnitudes(self, measurement: Measurement) -> Tensor:
        """Return images whose shots encode all of k-space, with zeros where none was taken, whatever stands there."""
        taken = torch.from_numpy(measurement.counts > 0)
        return torch.where(taken[:, :, None, None], tensor(measurement.data), 0.0)


def setup_names(name: str, setups: Sequence[str]) -> tuple[str, ...]:
    """Return names of set-ups; a single string in place of a list is an error."""
    if isinstance(setups, str) or not all(isinstance(setup, str) for setup in setups):
        raise ScanwiseError(
            f"the set-ups of {name!r} must be a list of names, but got {setups!r}", "write setups: [..]"
        )
    return tuple(setups)


def tensor(array: NDArray[Any]) -> Tensor:
    """Return an array as a tensor that shares its memory, unless the array is read-only."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def streams(rng: Noise, patients: int) -> torch.Generator | list[torch.Generator]:
    """Return streams of torch that follow from those of numpy, and move these on; one per patient where given so."""
    if isinstance(rng, np.random.Generator):
        return torch.Generator().manual_seed(int(rng.integers(2**63)))
    if len(rng) != patients:
        raise ScanwiseError(
            f"noise needs one stream for all or one per patient, but {len(rng)} for {patients} patients"
        )
    return [torch.Generator().manual_seed(int(one.integers(2**63))) for one in rng]


def normal(shape: Sequence[int], rng: Noise) -> Tensor:
    """Return standard normal noise, patients first; that of a patient with its own stream depends on nothing else."""
    source = streams(rng, shape[0])
    if isinstance(source, torch.Generator):
        return torch.randn(shape, generator=source)
    noise = torch.empty(shape)
    for patient, stream in enumerate(source):
        noise[patient].normal_(generator=stream)
    return noise


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread in this thread: batches are rendered side by side, and would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=32)
def blend(rendered: int, size: int) -> Tensor:
    """Return how one axis of a finely rendered object becomes that of a scan, shape ``(size, rendered)``, float32.

    The real part of `PartialVolume` along one axis: exact but for the one line of an even matrix that has no mirror
    image, whose imaginary part is dropped.
    """
    delta = torch.eye(rendered, dtype=torch.complex128)[None]
    return PartialVolume((rendered, rendered), (size, rendered)).forward(delta)[0].real.float().contiguous()


@lru_cache(maxsize=32)
def thin_out(rendered: int, size: int) -> Tensor:
    """Return weights that resample tissue properties along one axis, shape ``(size, rendered)``, float32.

    Triangles as wide as the coarse grid is: no weight is negative and each row sums to one, so that properties stay
    physical, which ringing would not let them. The origin stays element ``n // 2``.
    """
    step = rendered / size
    centre = (torch.arange(size, dtype=torch.float64) - size // 2) * step + rendered // 2
    distance = (torch.arange(rendered, dtype=torch.float64)[None, :] - centre[:, None]).abs()
    weights = (1 - distance / step).clamp(min=0)
    return (weights / weights.sum(dim=1, keepdim=True)).float().contiguous()


def partial_volume(images: Tensor, matrix: tuple[int, int]) -> Tensor:
    """Return finely rendered images at the resolution of a scan, ``(..., y', x')`` to ``(..., y, x)``."""
    return blend(images.shape[-2], matrix[0]) @ images @ blend(images.shape[-1], matrix[1]).T


@lru_cache(maxsize=32)
def _ellipse(matrix: tuple[int, int]) -> Tensor:
    y, x = ((torch.arange(n) - (n - 1) / 2) / (n / 2) for n in matrix)
    inside = (y[:, None] ** 2 + x[None, :] ** 2 <= _ELLIPSE**2).float()
    return (inside / inside.sum()).flatten()


def central_mean(images: Tensor) -> Tensor:
    """Return the mean of the central ellipse, ``(..., y, x)`` to ``(..., 1, 1)``, above zero for magnitudes."""
    weights = _ellipse((images.shape[-2], images.shape[-1]))
    return (images.flatten(-2) @ weights).clamp(min=_SMALLEST_SCALE)[..., None, None]


SOFT_TISSUE = {
    "proton_density": 0.9,
    "t1_s": 1.8,
    "t2_s": 0.1,
    "adc_mm2_per_s": 0.0014,
    "kurtosis": 0.5,
    "ktrans_per_s": 0.002,
    "ve": 0.3,
    "vp": 0.02,
}
"""One voxel of soft tissue; made-up patients vary around it."""
_SPREAD = 0.3


def example_scene(patients: int, rendered: tuple[int, int], seed: int) -> Scene:
    """Return made-up patients for examples and tests: smooth random tissue around soft tissue, at two fields.

    Parameters
    ----------
    patients : number of them.
    rendered : ``(y, x)`` of the maps.
    seed : which patients.
    """
    rng = np.random.default_rng(seed)
    waves = [np.cos(np.pi * np.outer(np.arange(4), np.linspace(0, 1, n))) for n in rendered]
    maps = {}
    for name, typical in SOFT_TISSUE.items():
        texture = np.einsum("pij,iy,jx->pyx", rng.uniform(-1, 1, (patients, 4, 4)), *waves, optimize=True)
        maps[name] = (typical * (1 + _SPREAD * np.tanh(texture))).astype(np.float32)
    return Scene(
        maps=maps,
        fov_mm=(96.0, 96.0),
        field_t=np.resize([3.0, 1.5], patients).astype(np.float32),
        noise=rng.uniform(0.8, 1.25, patients).astype(np.float32),
        gain=rng.uniform(0.9, 1.1, (patients, 1, 1)).astype(np.float32) * np.ones(rendered, np.float32),
        arterial_scale=rng.uniform(0.8, 1.25, patients).astype(np.float32),
    )
