"""Dynamic contrast-enhanced imaging (DCE): shots are frames of a spoiled gradient echo while contrast agent arrives."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanwise.design import Measurement, ShotTable, register_modality
from scanwise.errors import ScanwiseError
from scanwise.modalities._contrast import KINETIC_MAPS, contrast_millimolar, kinetic_table, t2star_s
from scanwise.modalities._imaging import (
    Noise,
    ScanSettings,
    SimulatedScan,
    central_mean,
    normal,
    partial_volume,
    setup_names,
    thin_out,
)
from scanwise.physics import contrast_enhanced_signal

_FINENESS = 2
"""How many times finer than the matrix tissue properties are kept before signals are computed frame by frame."""
_PEAK_S = 30.0
"""A cancer is brightest about so long after the bolus arrives [s]."""
_DARKEST_BASELINE = 0.25
"""Enhancement is relative to the baseline, or to this share of its mean where the baseline is darker."""


@register_modality("dce")
class DynamicContrast(SimulatedScan):
    """Dynamic contrast-enhanced T1-weighted imaging; one shot is one frame of the whole slice.

    The bolus is injected so that it arrives at `arrival_s` whatever is bought. A frame cannot be taken without waiting
    for it, even where those before it are left out: with `wait_setups`, one set-up per frame, a frame needs those of
    all frames up to it and costs nothing else, so that the price is the time of observation. Without, each frame costs
    its own time.

    Complete data are the images of the frames, ``(patients, frames, y, x)``; a measurement are their magnitudes with
    Rician noise, float32, NaN for frames not taken. Every frame is fully encoded, so the noise is white in the image.

    Parameters
    ----------
    name, settings : see `SimulatedScan`; `snr` is that of one frame.
    frames : number of frames.
    frame_s : time of one frame [s].
    arrival_s : when the bolus reaches the organ [s]; frames that end by then are the baseline.
    money_per_minute : price of scanner time, where frames cost time.
    setups : names of the set-ups that every frame needs (scanner, contrast).
    wait_setups : names of the set-ups that are the time of the frames, one per frame, or none.
    repetition_time_s, echo_time_s : TR and TE [s].
    flip_angle_deg : excitation [degrees].
    dose_mmol_per_kg : injected dose.
    r1_per_millimolar_s, r2star_per_millimolar_s : relaxivities [1/(mM s)].
    r2_prime_per_s : what field inhomogeneity adds to 1 / T2 [1/s].

    Raises
    ------
    ScanwiseError
        If no frame ends before the bolus arrives, or there is not one waiting set-up per frame.
    """

    maps: Sequence[str] = ("proton_density", "t1_s", "t2_s", *KINETIC_MAPS)

    def __init__(
        self,
        name: str,
        *,
        frames: int = 12,
        frame_s: float = 15.0,
        arrival_s: float = 30.0,
        money_per_minute: float = 0.0,
        setups: Sequence[str] = (),
        wait_setups: Sequence[str] = (),
        repetition_time_s: float = 0.005,
        echo_time_s: float = 0.002,
        flip_angle_deg: float = 15.0,
        dose_mmol_per_kg: float = 0.1,
        r1_per_millimolar_s: float = 4.5,
        r2star_per_millimolar_s: float = 5.5,
        r2_prime_per_s: float = 15.0,
        **settings: Unpack[ScanSettings],
    ) -> None:
        super().__init__(name, **settings)
        if not (float(frames).is_integer() and frames >= 1 and 0 < frame_s < math.inf):
            raise ScanwiseError(f"{name!r} must have at least one frame of some time, but {frames=} and {frame_s=}")
        end_s = frame_s * np.arange(1, int(frames) + 1)
        baseline = end_s <= arrival_s
        if not baseline[0]:
            raise ScanwiseError(
                f"the first frame of {name!r} must end before the bolus arrives, but it ends at {end_s[0]:g} s and the "
                f"bolus arrives at {arrival_s:g} s",
                "inject later, or take shorter frames",
            )
        waits = setup_names(name, wait_setups)
        if waits and len(waits) != frames:
            raise ScanwiseError(
                f"{name!r} must have one waiting set-up for each of its {frames} frames or none, but has {len(waits)}"
            )
        self.frames = int(frames)
        self.frame_s = float(frame_s)
        self.arrival_s = float(arrival_s)
        self.repetition_time_s = float(repetition_time_s)
        self.echo_time_s = float(echo_time_s)
        self.flip_angle_rad = math.radians(flip_angle_deg)
        self.dose_mmol_per_kg = float(dose_mmol_per_kg)
        self.r1_per_millimolar_s = float(r1_per_millimolar_s)
        self.r2star_per_millimolar_s = float(r2star_per_millimolar_s)
        self.r2_prime_per_s = float(r2_prime_per_s)
        self._before = baseline
        self._time_s = end_s - frame_s / 2
        self._table = kinetic_table(self._time_s.tolist(), arrival_s=arrival_s, dose_mmol_per_kg=dose_mmol_per_kg)
        always = setup_names(name, setups)
        self.shots = ShotTable.build(
            [f"t{round(end)}" for end in end_s] if frame_s >= 1 else [f"frame{index}" for index in range(self.frames)],
            seconds=0.0 if waits else frame_s,
            money=0.0 if waits else frame_s / 60.0 * money_per_minute,
            setups=[(*always, *waits[: index + 1]) for index in range(self.frames)],
            what={
                "time_s": end_s,
                "baseline": baseline,
                "standard": np.ones(self.frames, dtype=np.int64),
            },
        )
        self.channels = ("baseline over its mean", *(f"enhancement at {end:g} s" for end in end_s))
        self._refuse_bad_settings()

    @property
    def shown_channels(self) -> tuple[int, ...]:
        """Early and late enhancement."""
        early = 1 + int(np.argmin(np.abs(self._time_s - self.arrival_s - _PEAK_S)))
        return (early, self.frames) if early < self.frames else (self.frames,)

    @property
    def images(self) -> int:
        """Number of frames."""
        return self.frames

    def signal(self, tissue: Mapping[str, Tensor], arterial_scale: Tensor) -> Tensor:
        """Return the frames, ``(patients, frames, y, x)``.

        Signals are computed on twice the matrix; where tissue is rendered more finely, its properties are averaged
        down to that.
        """
        rendered = tissue["proton_density"].shape[-2:]
        fine_y, fine_x = (min(n, _FINENESS * size) for n, size in zip(rendered, self.matrix, strict=True))
        if (fine_y, fine_x) != tuple(rendered):
            along_y, along_x = thin_out(rendered[0], fine_y), thin_out(rendered[1], fine_x).T
            tissue = {name: along_y @ values @ along_x for name, values in tissue.items()}
        frames = contrast_enhanced_signal(
            proton_density=tissue["proton_density"][..., None],
            t1_s=tissue["t1_s"][..., None],
            t2star_s=t2star_s(tissue["t2_s"], self.r2_prime_per_s)[..., None],
            concentration_millimolar=contrast_millimolar(self._table, tissue, arterial_scale),
            r1_per_millimolar_s=self.r1_per_millimolar_s,
            r2star_per_millimolar_s=self.r2star_per_millimolar_s,
            flip_angle_rad=self.flip_angle_rad,
            repetition_time_s=self.repetition_time_s,
            echo_time_s=self.echo_time_s,
        )
        return partial_volume(frames.permute(0, 3, 1, 2), self.matrix).clamp(min=0)

    def measure(self, data: NDArray[Any], counts: NDArray[np.int64], rng: Noise) -> Measurement:
        """Acquire frames: magnitudes of the images with complex noise of variance one over the count in either part.

        Parameters
        ----------
        data : complete data, shape ``(patients, frames, y, x)``; NaN where a patient lacks a frame.
        counts : how often each frame is taken, shape ``(patients, frames)`` or ``(frames,)``.
        rng : source of measurement noise; one stream per patient makes it independent of the batch and of the counts.
        """
        images, taken = self._acquired(data, counts)
        noise = normal((len(images), 2, *images.shape[1:]), rng)
        noise *= torch.from_numpy(np.maximum(taken, 1) ** -0.5).float()[:, None, :, None, None]
        magnitude = torch.hypot(noise[:, 0].add_(images), noise[:, 1])
        magnitude.masked_fill_(torch.from_numpy(taken == 0)[:, :, None, None], torch.nan)
        return Measurement(magnitude.numpy(), taken, {"matrix": self.matrix, "time_s": self._time_s})

    def adjoint(self, measurement: Measurement) -> NDArray[np.complex64]:
        """Return the frames taken, zeros elsewhere, ``(patients, frames, y, x)``: every frame is fully encoded."""
        return self._magnitudes(measurement).to(torch.complex64).numpy()

    def reconstruct(self, measurement: Measurement) -> NDArray[np.float32]:
        """Return the baseline over its central mean, and the enhancement of every frame relative to the baseline.

        The baseline is the mean of the baseline frames that were taken or, where none was, the first frame that was.
        Frames that were not taken are interpolated linearly in time; beyond the last one its enhancement stays.

        Returns
        -------
        Shape ``(patients, 1 + frames, y, x)``.
        """
        patterns, pattern_of = np.unique(measurement.counts > 0, axis=0, return_inverse=True)
        weights = np.stack([self._readout(taken) for taken in patterns])[pattern_of.reshape(-1)]
        return self._read(self._magnitudes(measurement), torch.from_numpy(weights).float()).numpy()

    def relaxed(self, data: NDArray[Any], counts: Tensor, rng: Noise) -> Tensor:
        """Return the images of `reconstruct` with gradients in the counts; see `SimulatedScan.relaxed`.

        The slope of a frame is what its image is more than what would be interpolated in its place.
        """
        images = self._complete(data, counts)
        noise = normal((len(images), 2, *images.shape[1:]), rng)
        noise = noise * counts.clamp(min=1).rsqrt()[:, None, None]
        frames = torch.hypot(noise[:, 0] + images, noise[:, 1])
        taken = counts.detach().numpy() > 0
        weights = torch.from_numpy(self._readout(taken)).float()
        without = np.stack(
            [self._readout(taken & (np.arange(self.frames) != one))[1 + one] for one in range(self.frames)]
        )
        alone = torch.eye(self.frames) - weights[:1] - torch.from_numpy(without).float()
        change = counts.clamp(max=1) - (counts > 0).float()
        return self._read(frames, torch.cat([weights[:1], weights[1:] + change[:, None] * alone]))

    def _read(self, frames: Tensor, weights: Tensor) -> Tensor:
        """Return what `reconstruct` does, from frames and their weights, ``(patients or none, 1 + frames, frames)``."""
        read = (weights @ frames.flatten(2)).unflatten(2, self.matrix)
        baseline = read[:, :1]
        scale = central_mean(baseline)
        return torch.cat([baseline / scale, read[:, 1:] / torch.maximum(baseline, _DARKEST_BASELINE * scale)], dim=1)

    def _readout(self, taken: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return weights of the frames in baseline and enhancements, shape ``(1 + frames, frames)``."""
        if not taken.any():
            return np.zeros((1 + self.frames, self.frames))
        first = np.arange(self.frames) == np.argmax(taken)
        before = self._before & taken
        baseline = (before if before.any() else first).astype(np.float64)
        baseline /= baseline.sum()
        delta = np.eye(self.frames)[taken]
        filled = np.stack([np.interp(self._time_s, self._time_s[taken], column) for column in delta.T], axis=1)
        filled[self._before & ~taken] = baseline
        return np.concatenate([baseline[None], filled - baseline])

    def describe(self, counts: Sequence[int]) -> str:
        """Return e.g. ``"DCE to 2:00, every 30 s"``; frames before the bolus are not mentioned."""
        taken = np.flatnonzero(self._checked(np.asarray(counts, dtype=np.int64), 1)[0])
        if taken.size in (0, self.frames):
            return self.title if taken.size else f"{self.title}, no frame"
        minutes, seconds = divmod(round((taken[-1] + 1) * self.frame_s), 60)
        words = f"{self.title} to {minutes}:{seconds:02d}"
        last_baseline = int(np.flatnonzero(self._before)[-1])
        steps = np.diff([last_baseline, *taken[taken > last_baseline]])
        if steps.size == 0:
            return f"{words}, before contrast"
        if (steps == steps[0]).all():
            return f"{words}, every {steps[0] * self.frame_s:g} s"
        return f"{words}, {taken.size} frames"

    def console(self, counts: Sequence[int]) -> dict[str, Any]:
        """Return TR, TE, the flip angle, the frames that are taken and when the bolus arrives; see `Modality`."""
        values = self._checked(np.asarray(counts, dtype=np.int64), 1)[0]
        return {
            "sequence": "dynamic spoiled gradient echo",
            **super().console(counts),
            "repetition_time_s": self.repetition_time_s,
            "echo_time_s": self.echo_time_s,
            "flip_angle_deg": round(math.degrees(self.flip_angle_rad), 9),
            "frame_s": self.frame_s,
            "frames_end_s": [(index + 1) * self.frame_s for index in np.flatnonzero(values).tolist()],
            "bolus_arrival_s": self.arrival_s,
            "dose_mmol_per_kg": self.dose_mmol_per_kg,
        }

    @classmethod
    def example(cls) -> Self:
        """Return six frames, two of them before the bolus, on a matrix with an odd and an even side."""
        return cls(
            "example_dce",
            frames=6,
            matrix=(11, 8),
            snr=400.0,
            reference_voxel_mm3=300.0,
            setups=["scanner", "contrast"],
            wait_setups=[f"wait_{index}" for index in range(6)],
            schemes=["first_n"],
        )
