"""Computed tomography (CT): shots are views of a parallel X-ray beam, counts are the tube output of each view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Self, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanwise.design import Measurement, Scene, ShotTable, register_modality
from scanwise.errors import ScanwiseError, did_you_mean
from scanwise.modalities._imaging import (
    Noise,
    VirtualScan,
    VirtualScanSettings,
    example_scene,
    normal,
    one_thread,
    setup_names,
    tensor,
)
from scanwise.physics import KERNELS, ParallelBeam, add_quantum_noise, angular_shares

_CM_PER_MM = 0.1
_G_PER_MG = 1e-3
_IMAGES = 2
"""CT numbers, and how much stronger than the reference the noise of the scanner is."""


@register_modality("ct")
class ComputedTomography(VirtualScan):
    """Computed tomography of one slice, with a parallel beam over half a turn; one shot is one view.

    A view may be taken with more tube output (mAs): its count is a multiple of the lowest output on offer, and its
    photons, its dose and, the tube current being fixed, its time are proportional to it. The usual scan takes every
    view `usual_output` times. Views that are left out, and output that is lowered, cost less dose; what they do to the
    image differs: streaks, and noise.

    Tissue attenuates by ``mu = attenuation_per_cm + iodine_cm2_per_g * iodine`` where the scan is one after contrast
    agent, by its attenuation alone otherwise. Complete data are two images per patient, ``(patients, 2, y, x)``: the CT
    number ``1000 (mu / mu_water - 1)`` [HU], and the logarithm of the noise of the scanner over the reference, the same
    everywhere; the main field and the receive gain of a scene mean nothing here. A measurement are line integrals with
    the noise of the photons of their rays (`add_quantum_noise`), float32, ``(patients, views, detectors)``, NaN for
    views that were not taken.

    The beam has one energy and no scatter, so that neither hardening nor cupping is simulated; projections are those of
    the image at the matrix of the scan, and nothing moves.

    Parameters
    ----------
    name, settings : see `VirtualScan`; a blank object is water all over.
    fov_mm : ``(y, x)`` of the field of view, that of the scene; the whole body must be inside [mm].
    views : number of views over half a turn.
    detectors : number of detectors, together as wide as the diagonal; as wide as a pixel each where left out.
    photons : photons per ray in air at the usual output.
    electronic_photons : noise of the electronics of one reading, in photons.
    usual_output, max_output : tube output of the usual scan and the highest one, in multiples of the lowest.
    seconds : time of the usual scan [s]; each view costs its share, in proportion to its output.
    money_per_minute : price of scanner time.
    msv : effective dose of the usual scan [mSv]; each view costs its share, in proportion to its output.
    setups : names of the set-ups that every view needs.
    contrast_setup : name of the set-up that injects the agent; `None` is a scan without it.
    water_per_cm : attenuation of water at the effective energy of the beam [1/cm].
    iodine_cm2_per_g : what one g/mL of iodine adds to the attenuation [cm^2/g].
    window_hu : ``(low, high)``, CT numbers that are black and white to the reader [HU].
    kernel : ``"hann"`` (smooth) or ``"ram_lak"`` (sharp), of the filtered backprojection.

    Raises
    ------
    ScanwiseError
        For a setting that is not physical.

    References
    ----------
    Kak AC, Slaney M. Principles of Computerized Tomographic Imaging. IEEE Press 1988.
    """

    counts_photons = True

    def __init__(
        self,
        name: str,
        *,
        fov_mm: Sequence[float],
        views: int = 96,
        detectors: int | None = None,
        photons: float,
        electronic_photons: float = 10.0,
        usual_output: int = 4,
        max_output: int = 8,
        seconds: float = 0.0,
        money_per_minute: float = 0.0,
        msv: float = 0.0,
        setups: Sequence[str] = (),
        contrast_setup: str | None = None,
        water_per_cm: float = 0.193,
        iodine_cm2_per_g: float = 4.9,
        window_hu: Sequence[float] = (-160.0, 240.0),
        kernel: str = "hann",
        **settings: Unpack[VirtualScanSettings],
    ) -> None:
        super().__init__(name, **settings)
        for what, value, least in (("views", views, 1), ("usual_output", usual_output, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ScanwiseError(f"{what} of {name!r} must be a whole number >= {least}, but is {value!r}")
        if isinstance(max_output, bool) or not isinstance(max_output, int) or max_output < usual_output:
            raise ScanwiseError(
                f"max_output of {name!r} must be a whole number and not below usual_output, but is {max_output!r} with "
                f"{usual_output=}"
            )
        for what, amount in (("photons", photons), ("water_per_cm", water_per_cm)):
            if not 0 < amount < math.inf:
                raise ScanwiseError(f"{what} of {name!r} must be above 0, but is {amount!r}")
        for what, amount in (("electronic_photons", electronic_photons), ("iodine_cm2_per_g", iodine_cm2_per_g)):
            if not 0 <= amount < math.inf:
                raise ScanwiseError(f"{what} of {name!r} must not be below 0, but is {amount!r}")
        if len(fov_mm) != 2 or not all(0 < side < math.inf for side in fov_mm):
            raise ScanwiseError(f"fov_mm of {name!r} must be two lengths (y, x) above 0, but is {fov_mm!r}")
        if len(window_hu) != 2 or not window_hu[0] < window_hu[1]:
            raise ScanwiseError(
                f"window_hu of {name!r} must be two CT numbers, the lower one first, but is {window_hu!r}"
            )
        if kernel not in KERNELS:
            raise ScanwiseError(
                f"the kernel of {name!r} must be one of {list(KERNELS)}, but is {kernel!r}",
                did_you_mean(kernel, KERNELS),
            )
        self.fov_mm = (float(fov_mm[0]), float(fov_mm[1]))
        self.views = views
        self.photons = float(photons)
        self.electronic_photons = float(electronic_photons)
        self.usual_output = usual_output
        self.water_per_cm = float(water_per_cm)
        self.iodine_cm2_per_g = float(iodine_cm2_per_g)
        self.window_hu = (float(window_hu[0]), float(window_hu[1]))
        self.kernel = kernel
        self.after_contrast = contrast_setup is not None
        self._beam = _beam(self.matrix, self.fov_mm, views, detectors)
        units = views * usual_output
        self.shots = ShotTable.build(
            [f"view{index}" for index in range(views)],
            seconds=seconds / units,
            money=seconds / 60.0 * money_per_minute / units,
            msv=msv / units,
            setups=(*setup_names(name, setups), *([contrast_setup] if contrast_setup is not None else [])),
            max_count=max_output,
            what={
                "angle_rad": self._beam.angle_rad[0].numpy(),
                "standard": np.full(views, usual_output, dtype=np.int64),
            },
        )
        low, high = self.window_hu
        self.channels = (f"CT number, {low:g} to {high:g} HU as -1 to 1",)

    @property
    def images(self) -> int:
        """CT numbers, and the noise of the scanner."""
        return _IMAGES

    @property
    def maps(self) -> tuple[str, ...]:
        """Tissue maps that the attenuation depends on."""
        return ("attenuation_per_cm", "iodine_mg_per_ml") if self.after_contrast else ("attenuation_per_cm",)

    def synthesise(self, scene: Scene) -> NDArray[np.float16]:
        """Return complete data, shape ``(patients, 2, y, x)``; a pixel has the mean attenuation of what is inside.

        Raises
        ------
        ScanwiseError
            If the organ lacks a map, has another field of view, or is rendered more coarsely than the matrix.
        """
        if not np.allclose(scene.fov_mm, self.fov_mm, rtol=1e-6):
            raise ScanwiseError(
                f"the field of view of {self.name!r} must be that of the organ, {tuple(scene.fov_mm)} mm, but is "
                f"{self.fov_mm} mm",
                f"write fov_mm: [{scene.fov_mm[0]:g}, {scene.fov_mm[1]:g}] in the menu; X-rays see the whole body",
            )
        data = np.zeros((len(scene), _IMAGES, *self.matrix), dtype=np.float16)
        if self.blank:
            return data
        with one_thread():
            maps = {name: torch.from_numpy(scene.map(name).astype(np.float32)) for name in self.maps}
            attenuation = maps["attenuation_per_cm"]
            if self.after_contrast:
                arrived = torch.from_numpy(scene.arterial_scale.astype(np.float32))[:, None, None]
                agent = maps["iodine_mg_per_ml"] * arrived
                attenuation = attenuation + self.iodine_cm2_per_g * _G_PER_MG * agent
            along_y, along_x = (
                _mean_of(fine, coarse) for fine, coarse in zip(attenuation.shape[1:], self.matrix, strict=True)
            )
            mean = along_y @ attenuation @ along_x.T
        data[:, 0] = (1000 * (mean / self.water_per_cm - 1)).numpy()
        data[:, 1] = np.log(scene.noise)[:, None, None]
        return data

    def measure(self, data: NDArray[Any], counts: NDArray[np.int64], rng: Noise) -> Measurement:
        """Acquire views: line integrals with the noise of the photons that come through.

        Parameters
        ----------
        data : complete data, shape ``(patients, 2, y, x)``; NaN where a patient lacks the scan.
        counts : tube output of each view, shape ``(patients, views)`` or ``(views,)``.
        rng : source of measurement noise; one stream per patient makes it independent of the batch and of the counts.
        """
        images, taken = self._acquired(data, counts)
        noise = normal((len(images), *self._beam.range_shape), rng)
        projections = self._projections(images, torch.from_numpy(np.maximum(taken, 1)).float(), noise)
        projections.masked_fill_(torch.from_numpy(taken == 0)[:, :, None], torch.nan)
        return Measurement(projections.numpy(), taken, {"matrix": self.matrix, "fov_mm": self.fov_mm})

    def adjoint(self, measurement: Measurement) -> NDArray[np.complex64]:
        """Return the sum of the backprojected views, without any filter [cm], ``(patients, 2, y, x)``.

        The second image is zero: projections tell nothing of the scanner.
        """
        image = self._beam.adjoint(self._measured(measurement))
        return torch.stack([image, torch.zeros_like(image)], dim=1).numpy()

    def reconstruct(self, measurement: Measurement) -> NDArray[np.float32]:
        """Return the filtered backprojection of the views that were taken, in the window of the reader.

        A view stands for half of the angle to either neighbour (`angular_shares`); over a wide gap nothing does. Its
        output has no influence on its weight. Zeros where nothing was taken.

        Returns
        -------
        Shape ``(patients, 1, y, x)``, -1 to 1.
        """
        patterns, pattern_of = np.unique(measurement.counts > 0, axis=0, return_inverse=True)
        shares = angular_shares(self._beam.angle_rad[0], torch.from_numpy(patterns))[pattern_of.reshape(-1)]
        images = self._shown(self._measured(measurement), shares.float())
        images[torch.from_numpy(~(measurement.counts > 0).any(1))] = 0
        return images.numpy()

    def relaxed(self, data: NDArray[Any], counts: Tensor, rng: Noise) -> Tensor:
        """Return the images of `reconstruct` with gradients in the counts; see `VirtualScan.relaxed`.

        The slope of a view is what the image changes where it is there, with its share of the angle, and its neighbours
        have theirs; above one it is that of the noise.
        """
        images = self._complete(data, counts)
        noise = normal((len(images), *self._beam.range_shape), rng)
        projections = self._projections(images, counts.clamp(min=1)[None], noise)
        angle, taken = self._beam.angle_rad[0], counts.detach() > 0
        one = torch.eye(len(taken), dtype=torch.bool)
        change = angular_shares(angle, taken | one) - angular_shares(angle, taken & ~one)
        shares = angular_shares(angle, taken).float() + (counts.clamp(max=1) - taken.float()) @ change.float()
        return self._shown(projections, shares[None])

    def describe(self, counts: Sequence[int]) -> str:
        """Return e.g. ``"CT, 24 of 96 views (R = 4), 50 % tube output"``."""
        values = self._checked(np.asarray(counts, dtype=np.int64), 1)[0]
        taken = int((values > 0).sum())
        words = [self.title]
        if taken < self.views:
            factor = f" (R = {self.views / taken:.3g})" if taken else ""
            words.append(f"{taken} of {self.views} views{factor}")
        if taken and values.sum() != taken * self.usual_output:
            words.append(f"{100 * values.sum() / (taken * self.usual_output):.3g} % tube output")
        return ", ".join(words)

    def console(self, counts: Sequence[int]) -> dict[str, Any]:
        """Return how many views are taken, and their tube output over the usual one: one number where all agree."""
        values = self._checked(np.asarray(counts, dtype=np.int64), 1)[0]
        taken = values[values > 0]
        output = (taken / self.usual_output).tolist()
        return {
            "sequence": "computed tomography",
            **super().console(counts),
            "matrix": list(self.matrix),
            "field_of_view_mm": list(self.fov_mm),
            "slice_mm": self.slice_mm,
            "views_taken": len(taken),
            "views_in_all": self.views,
            "acceleration": self.views / max(len(taken), 1),
            "tube_output_of_usual": output[0] if len(set(output)) == 1 else output,
            "kernel": self.kernel,
            "after_contrast": self.after_contrast,
        }

    def example_data(self, patients: int, seed: int) -> NDArray[Any]:
        """Return complete data of made-up patients: soft tissue of varied density, and iodine where it is perfused."""
        scene = example_scene(patients, (2 * self.matrix[0], 2 * self.matrix[1]), seed)
        maps = {
            "attenuation_per_cm": self.water_per_cm * scene.map("proton_density"),
            "iodine_mg_per_ml": 1000 * scene.map("ktrans_per_s"),
        }
        return self.synthesise(replace(scene, maps={**scene.maps, **maps}, fov_mm=self.fov_mm))

    def _acquired(self, data: NDArray[Any], counts: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int64]]:
        """Return complete data with zeros for patients who lack the scan, and counts as really taken."""
        images, there = self._images(data)
        whole: NDArray[np.bool_] = np.asarray(there.all(axis=1))
        taken = np.where(whole[:, None], self._checked(counts, len(data)), 0)
        return torch.where(torch.from_numpy(whole)[:, None, None, None], images, 0.0), taken

    def _projections(self, images: Tensor, output: Tensor, noise: Tensor) -> Tensor:
        """Return measured line integrals; `output` in multiples of the lowest, shape ``(patients or 1, views)``."""
        attenuation = (self.water_per_cm * (1 + images[:, 0] / 1000)).clamp(min=0)
        stronger = images[:, 1].mean(dim=(1, 2)).exp()[:, None]
        photons = self.photons * output / self.usual_output / stronger.square()
        return add_quantum_noise(
            self._beam.forward(attenuation).real,
            photons=photons[:, :, None],
            electronic_photons=self.electronic_photons,
            noise=noise,
        )

    def _shown(self, projections: Tensor, shares: Tensor) -> Tensor:
        """Return what `reconstruct` does, from views and the angle that each stands for, ``(patients, 1, y, x)``."""
        attenuation = self._beam.filtered_backprojection(projections, share_rad=shares, kernel=self.kernel)
        low, high = self.window_hu
        number = 1000 * (attenuation / self.water_per_cm - 1)
        return ((2 * number - low - high) / (high - low)).clamp(-1, 1)[:, None]

    def _measured(self, measurement: Measurement) -> Tensor:
        """Return projections with zeros where no view was taken, whatever stands there."""
        shape = (len(measurement.counts), *self._beam.range_shape)
        if measurement.data.shape != shape:
            raise ScanwiseError(
                f"projections of {self.name!r} must have the shape {shape} for these counts, but have "
                f"{measurement.data.shape}",
                "they were measured by another modality, or with other detectors",
            )
        taken = torch.from_numpy(measurement.counts > 0)
        return torch.where(taken[:, :, None], tensor(measurement.data), 0.0)

    @classmethod
    def example(cls) -> Self:
        """Return a small scan after contrast with an odd and an even side."""
        return cls(
            "example_ct",
            title="CT",
            matrix=(12, 15),
            fov_mm=(96.0, 80.0),
            views=9,
            photons=2e4,
            electronic_photons=3.0,
            usual_output=2,
            max_output=4,
            seconds=4.5,
            money_per_minute=20.0,
            msv=6.0,
            setups=["scanner"],
            contrast_setup="iodine",
            window_hu=(-1000.0, 1000.0),
            schemes=["sparse_views", "golden_views", "limited_angle"],
        )


def _beam(matrix: tuple[int, int], fov_mm: tuple[float, float], views: int, detectors: int | None) -> ParallelBeam:
    """Return half a turn of views; angles in equal steps."""
    sides_cm = tuple(_CM_PER_MM * side / n for side, n in zip(fov_mm, matrix, strict=True))
    diagonal_cm = _CM_PER_MM * math.hypot(*fov_mm)
    if detectors is not None and (isinstance(detectors, bool) or not isinstance(detectors, int) or detectors < 2):
        raise ScanwiseError(f"detectors must be a whole number >= 2, but are {detectors!r}")
    return ParallelBeam.build(
        matrix=matrix,
        pixel_cm=(sides_cm[0], sides_cm[1]),
        angle_rad=torch.arange(views, dtype=torch.float64) * math.pi / views,
        n_detectors=detectors,
        detector_cm=None if detectors is None else diagonal_cm / detectors,
    )


@lru_cache(maxsize=32)
def _mean_of(rendered: int, size: int) -> Tensor:
    """Return weights that average one axis of a finely rendered object over pixels, shape ``(size, rendered)``."""
    if not 1 <= size <= rendered:
        raise ScanwiseError(
            f"the number of pixels must be in [1, {rendered}], the size of the rendered matrix, but got {size}",
            "ask for fewer, or render on a finer grid",
        )
    edge = torch.arange(rendered + 1, dtype=torch.float64) * size / rendered
    pixel = torch.arange(size, dtype=torch.float64)[:, None]
    inside = edge[None, :].clamp(min=0).sub(pixel).clamp(0, 1)
    return inside.diff(dim=1).float().contiguous()
