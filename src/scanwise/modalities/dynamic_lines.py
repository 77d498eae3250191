"""Dynamic contrast-enhanced imaging line by line (k-t sampling): shots are lines of k-space of every frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanwise.design import Measurement, ShotTable, register_modality
from scanwise.errors import ScanwiseError
from scanwise.modalities._imaging import Noise, ScanSettings, normal, tensor
from scanwise.modalities.dynamic import DynamicContrast
from scanwise.physics import fft2c, ifft2c

_ROUNDING = 1e-9
"""Share of a frame by which its lines may take longer because of binary fractions."""


class FrameSettings(ScanSettings, total=False):
    """Settings of the frames; see `DynamicContrast`."""

    frames: int
    frame_s: float
    arrival_s: float
    money_per_minute: float
    setups: Sequence[str]
    wait_setups: Sequence[str]
    repetition_time_s: float
    echo_time_s: float
    flip_angle_deg: float
    dose_mmol_per_kg: float
    r1_per_millimolar_s: float
    r2star_per_millimolar_s: float
    r2_prime_per_s: float


@register_modality("dce_lines")
class DynamicLines(DynamicContrast):
    """Dynamic contrast-enhanced imaging whose frames may be sampled in part; one shot is one line of one frame.

    Frames, kinetics, signal and noise are those of `DynamicContrast`, and so are the images a reader gets: with whole
    frames the two are the same. Lines encode along y. A frame that lacks lines borrows them (view sharing): every line
    of k-space is interpolated linearly in time between the frames in which it was taken, as `DynamicContrast` does with
    whole frames, and a line that was taken in no frame is zero. A frame without any line is interpolated as an image.
    There is one coil, as for whole frames: parallel imaging is not part of it.

    A line costs the time in which it is read, ``TR * partitions``; what the scanner does between the lines that are
    left out is not paid for, so this is the price of a series that shares its time with other scans. Where the time of
    observation is paid instead (`wait_setups`), lines are free and a frame with any line needs the waits up to it.

    Complete data are the images of the frames, ``(patients, frames, y, x)``. A measurement is k-space, complex64,
    ``(patients, frames, lines, columns)``, NaN for lines that were not taken.

    Parameters
    ----------
    name, settings : see `DynamicContrast` and `SimulatedScan`; `snr` is that of one whole frame.
    partitions : excitations for each line, those that encode the slices of the volume; as many as a frame has time for
        where left out.

    Raises
    ------
    ScanwiseError
        If the lines of a frame take longer than the frame, and for the settings of `DynamicContrast`.

    References
    ----------
    Korosec FR, Frayne R, Grist TM, Mistretta CA. Time-resolved contrast-enhanced 3D MR angiography. Magn Reson Med
    1996;36:345-351 (outer k-space shared and interpolated in time).
    """

    def __init__(self, name: str, *, partitions: int | None = None, **settings: Unpack[FrameSettings]) -> None:
        super().__init__(name, **settings)
        lines = self.matrix[0]
        most = math.floor(self.frame_s * (1 + _ROUNDING) / (lines * self.repetition_time_s))
        if most < 1:
            raise ScanwiseError(
                f"the {lines} lines of a frame of {name!r} must fit into it, but take "
                f"{lines * self.repetition_time_s:g} s of {self.frame_s:g} s",
                "take longer frames, a shorter TR, or fewer lines",
            )
        if partitions is not None and (
            isinstance(partitions, bool) or not isinstance(partitions, int) or not 1 <= partitions <= most
        ):
            raise ScanwiseError(
                f"partitions of {name!r} must be a whole number in [1, {most}], as many as a frame of {self.frame_s:g} "
                f"s has time for, but is {partitions!r}"
            )
        self.lines = lines
        self.partitions = most if partitions is None else partitions
        self.line_s = self.repetition_time_s * self.partitions
        self._whole = DynamicContrast(name, **settings)  # the same series by whole frames, for what is said of those
        whole = self._whole.shots
        paid_by_waiting = bool(settings.get("wait_setups", ()))
        frame, line = (index.reshape(-1) for index in np.indices((self.frames, lines)))
        self.shots = ShotTable.build(
            [f"{whole.names[f]}_k{at - lines // 2:+d}" for f, at in zip(frame, line, strict=True)],
            seconds=0.0 if paid_by_waiting else self.line_s,
            money=0.0 if paid_by_waiting else self.line_s / 60.0 * settings.get("money_per_minute", 0.0),
            setups=[whole.setups[f] for f in frame],
            what={
                "frame": frame,
                "line": line,
                "time_s": whole.what["time_s"][frame],
                "baseline": whole.what["baseline"][frame],
                "standard": np.ones(len(frame), dtype=np.int64),
            },
        )

    def measure(self, data: NDArray[Any], counts: NDArray[np.int64], rng: Noise) -> Measurement:
        """Acquire lines: k-space with complex noise of variance one over the count in either part.

        Parameters
        ----------
        data : complete data, shape ``(patients, frames, y, x)``; NaN where a patient lacks a frame.
        counts : how often each line is taken, shape ``(patients, frames * lines)`` or ``(frames * lines,)``.
        rng : source of measurement noise; one stream per patient makes it independent of the batch and of the counts.
        """
        images, taken = self._acquired(data, counts)
        averages = torch.from_numpy(np.maximum(taken, 1)).float().unflatten(1, (self.frames, self.lines))
        kspace = self._kspace(images, averages, rng)
        kspace.masked_fill_(~self._there(taken), complex("nan+nanj"))
        return Measurement(kspace.numpy(), taken, {"matrix": self.matrix, "time_s": self._time_s})

    def adjoint(self, measurement: Measurement) -> NDArray[np.complex64]:
        """Return the frames with zeros for lines not taken, ``(patients, frames, y, x)``."""
        return ifft2c(self._measured(measurement)).contiguous().numpy()

    def reconstruct(self, measurement: Measurement) -> NDArray[np.float32]:
        """Return baseline and enhancements as `DynamicContrast.reconstruct`, from frames that share their lines.

        Returns
        -------
        Shape ``(patients, 1 + frames, y, x)``.
        """
        kspace = self._measured(measurement)
        images = torch.empty(len(kspace), 1 + self.frames, *self.matrix)
        patterns, pattern_of = np.unique(measurement.counts > 0, axis=0, return_inverse=True)
        for index, pattern in enumerate(patterns):
            rows = torch.from_numpy(np.flatnonzero(pattern_of.reshape(-1) == index))
            taken = pattern.reshape(self.frames, self.lines)
            weights = torch.from_numpy(self._readout(taken.any(1))).float()
            images[rows] = self._read(_shared(kspace[rows], self._sharing(taken)).abs(), weights)
        return images.numpy()

    def relaxed(self, data: NDArray[Any], counts: Tensor, rng: Noise) -> Tensor:
        """Return the images of `reconstruct` with gradients in the counts; see `VirtualScan.relaxed`.

        The slope of a line is what it says more than what would be interpolated in its place.
        """
        images = self._complete(data, counts)
        by_line = counts.unflatten(0, (self.frames, self.lines))
        kspace = self._kspace(images, by_line.clamp(min=1), rng)
        taken = by_line.detach().numpy() > 0
        without = torch.stack(
            [self._sharing(taken & (np.arange(self.frames) != one)[:, None])[:, one] for one in range(self.frames)],
            dim=1,
        )
        change = by_line.clamp(max=1) - (by_line > 0).float()
        sharing = self._sharing(taken) + change.T[:, :, None] * (torch.eye(self.frames) - without)
        frames = _shared(kspace, sharing).abs()
        there = taken.any(1)
        weights = torch.from_numpy(self._readout(there)).float()
        # a frame without any line is not read as it stands, but a line of it would change what is
        missing = torch.diag(torch.from_numpy(~there).float())
        slopes = torch.cat([torch.zeros(1, self.frames), missing])
        return self._read(torch.cat([frames, frames - frames.detach()], dim=1), torch.cat([weights, slopes], dim=1))

    def describe(self, counts: Sequence[int]) -> str:
        """Return what `DynamicContrast` says of whole frames; else e.g. ``"DCE, 144 of 576 lines (R = 4)"``."""
        taken = self._checked(np.asarray(counts, dtype=np.int64), 1)[0].reshape(self.frames, self.lines) > 0
        if (taken.all(1) | ~taken.any(1)).all():
            return self._whole.describe(taken.any(1).astype(np.int64).tolist())
        number = int(taken.sum())
        words = f"{self.title}, {number} of {taken.size} lines (R = {taken.size / number:.3g})"
        frames = int(taken.any(1).sum())
        return words if frames == self.frames else f"{words} of {frames} frames"

    def console(self, counts: Sequence[int]) -> dict[str, Any]:
        """Return the settings of the frames, and how many lines of each are taken; see `DynamicContrast`."""
        taken = self._checked(np.asarray(counts, dtype=np.int64), 1)[0].reshape(self.frames, self.lines) > 0
        return {
            **self._whole.console(taken.any(1).astype(np.int64).tolist()),
            "sequence": "dynamic spoiled gradient echo, k-t sampling",
            "partitions": self.partitions,
            "lines_in_a_frame": self.lines,
            "lines_taken_in_frames": taken.sum(1).tolist(),
            "acceleration": taken.size / max(int(taken.sum()), 1),
        }

    def _acquired(self, data: NDArray[Any], counts: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int64]]:
        """Return complete data with zeros for frames that are not there, and counts as really taken."""
        images, there = self._images(data)
        return images, np.where(there.repeat(self.lines, axis=1), self._checked(counts, len(data)), 0)

    def _kspace(self, images: Tensor, averages: Tensor, rng: Noise) -> Tensor:
        """Return k-space with noise; averages of shape ``(patients, frames, lines)`` or ``(frames, lines)``.

        Noise is drawn in the image, where that of whole frames is, so that whole frames have the same.
        """
        noise = normal((len(images), 2, *images.shape[1:]), rng)
        return fft2c(images) + fft2c(torch.complex(noise[:, 0], noise[:, 1])) * averages.rsqrt()[..., None]

    def _there(self, counts: NDArray[np.int64]) -> Tensor:
        """Return which lines are taken, shape ``(patients, frames, lines, 1)``."""
        return torch.from_numpy(counts > 0).unflatten(1, (self.frames, self.lines))[..., None]

    def _measured(self, measurement: Measurement) -> Tensor:
        """Return k-space with zeros where nothing was taken, whatever stands there."""
        shape = (len(measurement.counts), self.frames, *self.matrix)
        if measurement.data.shape != shape:
            raise ScanwiseError(
                f"k-space of {self.name!r} must have the shape {shape} for these counts, but has "
                f"{measurement.data.shape}",
                "it was measured by another modality",
            )
        return torch.where(self._there(measurement.counts), tensor(measurement.data), 0.0)

    def _sharing(self, taken: NDArray[np.bool_]) -> Tensor:
        """Return how much each frame takes of a line from each frame, ``(lines, frames, frames)``.

        Parameters
        ----------
        taken : shape ``(frames, lines)``.
        """
        histories, history_of = np.unique(taken.T, axis=0, return_inverse=True)
        weights = []
        for history in histories:
            readout = self._readout(history)
            weights.append(readout[1:] + readout[:1])  # enhancements are relative to the baseline
        return torch.from_numpy(np.stack(weights)[history_of.reshape(-1)]).float()

    @classmethod
    def example(cls) -> Self:
        """Return four frames, two of them before the bolus, on a matrix with an odd and an even side."""
        return cls(
            "example_dce_lines",
            title="DCE",
            frames=4,
            matrix=(9, 8),
            snr=400.0,
            reference_voxel_mm3=300.0,
            money_per_minute=5.0,
            setups=["scanner", "contrast"],
            schemes=["kt_lattice", "kt_random"],
        )


def _shared(kspace: Tensor, sharing: Tensor) -> Tensor:
    """Return images of frames that share their lines, complex, ``(patients, frames, y, x)``."""
    lines = kspace.permute(2, 1, 0, 3)  # (lines, frames, patients, columns)
    filled = sharing.to(lines.dtype) @ lines.flatten(2)
    return ifft2c(filled.unflatten(2, lines.shape[2:]).permute(2, 1, 0, 3))
