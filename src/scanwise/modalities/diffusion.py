"""Diffusion-weighted imaging (DWI) with single-shot echo-planar readout: a shot is one average of one b-value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Self, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanwise.design import Measurement, ShotTable, register_modality
from scanwise.errors import ScanwiseError
from scanwise.modalities._imaging import (
    Noise,
    ScanSettings,
    SimulatedScan,
    central_mean,
    normal,
    partial_volume,
    setup_names,
)
from scanwise.physics import diffusion_kurtosis, rician_mean, rician_variance, spin_echo

G_FACTOR = 1.1
"""Noise amplification by the geometry of the coils where parallel imaging is used; about 1.1 at R = 2."""
ADC_LARGEST_B = 1000.0
"""b-values up to this one make the ADC, where there are two (PI-RADS v2.1) [s/mm^2]."""
ADC_RANGE = (0.0, 4.0)
"""ADC that is shown [10^-3 mm^2/s]; free water at body temperature has 3."""
_LOG_RANGE = (-4.0, 2.5)
"""Logarithm of the signal over its reference that is shown."""
_FLOOR_SQUARED = math.pi / 2
"""Square of the mean magnitude of noise alone, in units of its variance."""
_LEAST_WEIGHT = 0.1
_EXACT_AVERAGES = 2
"""Up to so many averages every magnitude is drawn; the mean of more is drawn from its normal approximation."""
_TABLE_STEP = 1 / 64
_TABLE_END = 32.0
"""Grid of Rician moments [noise sd]; beyond its end the first terms of their expansion are exact to 1e-6."""


@register_modality("dwi")
class DiffusionWeighted(SimulatedScan):
    """Diffusion-weighted imaging; a shot is one average of one b-value.

    Complete data are the images of the b-values, ``(patients, b_values, y, x)``; a measurement are averaged magnitudes,
    float32, NaN for b-values that were not taken.

    Motion during the diffusion gradients gives every shot a phase of its own, so averages are averaged as magnitudes.
    The mean of many does not approach the signal but its Rician mean, and diffusion looks slower where little signal is
    left (Mazaheri 2013). A shot encodes all of k-space (what parallel imaging leaves out costs `noise_factor`), the
    Fourier transform is orthonormal and coil maps have unit root-sum-of-squares, so that the combined image has white
    noise with the standard deviation of a k-space sample: drawing noise in the image is exact.

    Parameters
    ----------
    name, settings : see `SimulatedScan`; `snr` is that of one average of b = 0 without parallel imaging.
    b_values : ascending [s/mm^2].
    averages : how often each is usually taken.
    max_averages : how often each may be taken; by default twice as often as usual.
    seconds : time in which all are taken as often as usual [s]; every average costs the same.
    money_per_minute : price of scanner time.
    setups : names of the set-ups that every shot needs.
    repetition_time_s, echo_time_s : TR and TE, the same for all b-values [s].
    parallel_imaging : R, which raises the noise by ``sqrt(R) g`` with g of `G_FACTOR`; 1 is none.

    Raises
    ------
    ScanwiseError
        If b-values do not ascend, averages do not fit them, R < 1, or TE > TR.

    References
    ----------
    Mazaheri Y et al. Diffusion-weighted MRI of the prostate at 3.0 T: signal-to-noise ratio and ADC. Med Phys 2013.
    Pruessmann KP et al. Magn Reson Med 1999;42:952-962 (noise of parallel imaging).
    """

    maps: Sequence[str] = ("proton_density", "t1_s", "t2_s", "adc_mm2_per_s", "kurtosis")

    def __init__(
        self,
        name: str,
        *,
        b_values: Sequence[float] = (50, 400, 800, 1400),
        averages: Sequence[int] = (2, 4, 8, 12),
        max_averages: Sequence[int] | None = None,
        seconds: float = 0.0,
        money_per_minute: float = 0.0,
        setups: Sequence[str] = (),
        repetition_time_s: float = 4.0,
        echo_time_s: float = 0.08,
        parallel_imaging: float = 1.0,
        **settings: Unpack[ScanSettings],
    ) -> None:
        super().__init__(name, **settings)
        b = np.asarray(b_values, dtype=np.float64)
        if b.ndim != 1 or not b.size or not (np.isfinite(b).all() and b[0] >= 0 and (np.diff(b) > 0).all()):
            raise ScanwiseError(f"the b-values of {name!r} must ascend from 0 or more, but are {list(b_values)}")
        most = [2 * count for count in averages] if max_averages is None else list(max_averages)
        for what, row in (("averages", averages), ("max_averages", most)):
            if len(row) != b.size or not all(float(count).is_integer() and count >= 1 for count in row):
                raise ScanwiseError(
                    f"{what} of {name!r} must be {b.size} whole numbers >= 1, one per b-value, but are {list(row)}"
                )
        if not 1 <= parallel_imaging < math.inf:
            raise ScanwiseError(f"parallel_imaging of {name!r} must be 1 (none) or above, but is {parallel_imaging}")
        self.b_s_per_mm2 = tuple(float(value) for value in b)
        self.repetition_time_s = float(repetition_time_s)
        self.echo_time_s = float(echo_time_s)
        self.parallel_imaging = float(parallel_imaging)
        self._b = torch.tensor(self.b_s_per_mm2)
        each_s = seconds / sum(averages)
        self.shots = ShotTable.build(
            [f"b{value:g}" for value in b],
            seconds=each_s,
            money=each_s / 60.0 * money_per_minute,
            setups=setup_names(name, setups),
            max_count=most,
            what={"b_s_per_mm2": b, "standard": np.array(averages, dtype=np.int64)},
        )
        self.channels = (*(f"log signal at b = {value:g} s/mm^2" for value in b), "ADC [10^-3 mm^2/s]")
        self._refuse_bad_settings()

    @property
    def images(self) -> int:
        """Number of b-values."""
        return len(self.b_s_per_mm2)

    @property
    def noise_factor(self) -> float:
        """``sqrt(R) g`` with parallel imaging."""
        return math.sqrt(self.parallel_imaging) * G_FACTOR if self.parallel_imaging > 1 else 1.0

    def signal(self, tissue: Mapping[str, Tensor], arterial_scale: Tensor) -> Tensor:
        """Return the images of the b-values, ``(patients, b_values, y, x)``.

        Beyond ``b = 3 / (D K)``, where the kurtosis expansion would rise again, the signal stays at its minimum.
        """
        unweighted = spin_echo(
            proton_density=tissue["proton_density"],
            t1_s=tissue["t1_s"],
            t2_s=tissue["t2_s"],
            repetition_time_s=self.repetition_time_s,
            echo_time_s=self.echo_time_s,
        )[:, None]
        diffusivity, kurtosis = tissue["adc_mm2_per_s"][:, None], tissue["kurtosis"][:, None]
        images = [
            diffusion_kurtosis(
                unweighted=unweighted,
                diffusivity_mm2_per_s=torch.minimum(diffusivity, 3 / (b * kurtosis)) if b else diffusivity,
                kurtosis=kurtosis,
                b_s_per_mm2=b,
            )
            for b in self.b_s_per_mm2
        ]
        return partial_volume(torch.cat(images, dim=1), self.matrix).clamp(min=0)

    def measure(self, data: NDArray[Any], counts: NDArray[np.int64], rng: Noise) -> Measurement:
        """Acquire and average magnitudes.

        One or two averages are drawn as they are. The mean of c > 2 is drawn from a normal distribution with the exact
        mean and variance of a Rician magnitude over c.

        Parameters
        ----------
        data : complete data, shape ``(patients, b_values, y, x)``; NaN where a patient lacks one.
        counts : averages of each b-value, shape ``(patients, b_values)`` or ``(b_values,)``.
        rng : source of measurement noise; one stream per patient makes it independent of the batch and of the counts.
        """
        images, taken = self._acquired(data, counts)
        images.abs_()
        noise = normal((len(images), 2 * _EXACT_AVERAGES, *images.shape[1:]), rng)
        measured = self._averaged(images, taken, noise)
        return Measurement(measured.numpy(), taken, {"matrix": self.matrix, "b_s_per_mm2": self.b_s_per_mm2})

    def adjoint(self, measurement: Measurement) -> NDArray[np.complex64]:
        """Return the averaged magnitudes, zeros for b-values not taken: every shot is fully encoded."""
        return self._magnitudes(measurement).to(torch.complex64).numpy()

    def reconstruct(self, measurement: Measurement) -> NDArray[np.float32]:
        """Return the logarithm of every b-value's signal and the map of the apparent diffusion coefficient.

        Signals are over the central mean of the lowest b-value taken; a b-value that was not taken shows what the fit
        expects there. The ADC is the slope of a weighted linear fit to the logarithm, over the b-values up to
        `ADC_LARGEST_B` or, where fewer than two of those were taken, over all. Weights are the averages times
        ``signal^2 - pi / 2``, so that magnitudes which are noise alone have none next to others; the bias of what is
        fitted stays, as it does on a scanner.

        Returns
        -------
        Shape ``(patients, b_values + 1, y, x)``; an ADC of zero where fewer than two b-values were taken.
        """
        counts = torch.from_numpy(measurement.counts.astype(np.float32))
        return self._read(self._magnitudes(measurement), counts).numpy()

    def relaxed(self, data: NDArray[Any], counts: Tensor, rng: Noise) -> Tensor:
        """Return the images of `reconstruct` with gradients in the counts; see `SimulatedScan.relaxed`."""
        images = self._complete(data, counts).abs_()
        mean, sd = rician_moments(images)
        # the mean of the averages; where there are one or two, its slope alone
        taken = counts.clamp(min=1)[:, None, None]
        noise = normal((len(images), 2 * _EXACT_AVERAGES, *images.shape[1:]), rng)
        smooth = torch.addcmul(mean, sd * taken.rsqrt(), noise[:, 0]).clamp(min=0)
        drawn = self._averaged(images, np.maximum(np.rint(counts.detach().numpy()), 1).astype(np.int64), noise)
        return self._read(drawn + (smooth - smooth.detach()), counts.expand(len(images), -1))

    def _averaged(self, images: Tensor, counts: NDArray[np.int64], noise: Tensor) -> Tensor:
        """Return averages of magnitudes, NaN where none is taken; see `measure`."""
        measured = torch.full_like(images, torch.nan)
        count = torch.from_numpy(counts).expand(len(images), -1)
        for draws in range(1, _EXACT_AVERAGES + 1):
            patient, image = (count == draws).nonzero(as_tuple=True)
            if len(patient):
                parts = noise[patient, : 2 * draws, image].unflatten(1, (draws, 2))
                signal = images[patient, image][:, None]
                measured[patient, image] = torch.hypot(signal + parts[:, :, 0], parts[:, :, 1]).mean(dim=1)
        patient, image = (count > _EXACT_AVERAGES).nonzero(as_tuple=True)
        if len(patient):
            mean, sd = rician_moments(images[patient, image])
            sd *= count[patient, image].float().rsqrt()[:, None, None]
            measured[patient, image] = torch.addcmul(mean, sd, noise[patient, 0, image]).clamp_(min=0)
        return measured

    def _read(self, images: Tensor, counts: Tensor) -> Tensor:
        """Return what `reconstruct` does, from images and counts of shape ``(patients, b_values)``."""
        taken = counts > 0
        lowest = taken.int().argmax(dim=1)
        reference = central_mean(images[torch.arange(len(images)), lowest])[:, None]
        log = torch.log((images / reference).clamp(min=math.exp(_LOG_RANGE[0]), max=math.exp(_LOG_RANGE[1])))
        fitted = taken & (self._b <= ADC_LARGEST_B)
        enough = (fitted.sum(dim=1) >= 2)[:, None]
        weight = (images.square() - _FLOOR_SQUARED).clamp(min=_LEAST_WEIGHT)
        weight = weight * torch.where(enough & (self._b > ADC_LARGEST_B), 0.0, counts)[:, :, None, None]
        b = (self._b / 1000.0)[:, None, None]
        share = weight / weight.sum(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        middle = (share * b).sum(dim=1)
        offset = b - middle[:, None]  # from the weighted mean of b: the sums do not cancel
        spread = (share * offset.square()).sum(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
        adc = -(share * offset * log).sum(dim=1) / spread
        adc = torch.where((enough[:, 0] | (taken.sum(dim=1) >= 2))[:, None, None], adc.clamp(*ADC_RANGE), 0.0)
        height = (share * log).sum(dim=1) + middle * adc  # of the fitted line at b = 0
        expected = (height[:, None] - b * adc[:, None]).clamp(*_LOG_RANGE)
        there = counts.clamp(max=1)[:, :, None, None]
        return torch.cat([torch.lerp(expected, log, there), adc[:, None]], dim=1)

    def describe(self, counts: Sequence[int]) -> str:
        """Return e.g. ``"DWI b50 x2, b400 x4"``."""
        values = self._checked(np.asarray(counts, dtype=np.int64), 1)[0]
        if (values == self.standard).all():
            return self.title
        taken = [(name, count) for name, count in zip(self.shots.names, values, strict=True) if count]
        words = [name if count == 1 else f"{name} x{count}" for name, count in taken]
        return f"{self.title} {', '.join(words) or 'without any b-value'}"

    def console(self, counts: Sequence[int]) -> dict[str, Any]:
        """Return the b-values that are taken with their averages, TR, TE and parallel imaging; see `Modality`."""
        values = self._checked(np.asarray(counts, dtype=np.int64), 1)[0]
        taken = np.flatnonzero(values)
        return {
            "sequence": "diffusion-weighted single-shot spin echo EPI",
            **super().console(counts),
            "repetition_time_s": self.repetition_time_s,
            "echo_time_s": self.echo_time_s,
            "b_values_s_per_mm2": [self.b_s_per_mm2[index] for index in taken],
            "averages_of_b_values": values[taken].tolist(),
            "parallel_imaging": self.parallel_imaging,
        }

    @classmethod
    def example(cls) -> Self:
        """Return three b-values on a matrix with an odd and an even side."""
        return cls(
            "example_dwi",
            b_values=(0, 500, 1400),
            averages=(1, 2, 4),
            matrix=(9, 14),
            snr=40.0,
            reference_voxel_mm3=200.0,
            seconds=90.0,
            money_per_minute=6.5,
            setups=["scanner"],
            schemes=["averages"],
        )


@lru_cache(maxsize=1)
def _moments() -> tuple[Tensor, Tensor]:
    signal = torch.arange(0.0, _TABLE_END + 2 * _TABLE_STEP, _TABLE_STEP, dtype=torch.float64)
    return rician_mean(signal, sd=1.0).float(), rician_variance(signal, sd=1.0).sqrt().float()


def rician_moments(signal: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of magnitudes with noise of unit variance, from a table.

    `rician_mean` and the root of `rician_variance` within 1e-4, at a tenth of their price.

    Parameters
    ----------
    signal : without noise, not negative, float32, any shape.
    """
    mean_at, sd_at = _moments()
    position = signal.flatten() / _TABLE_STEP
    row = position.clamp(max=_TABLE_END / _TABLE_STEP).int()
    share = position - row
    beyond = share > 1
    share.clamp_(max=1.0)
    mean = torch.lerp(mean_at.index_select(0, row), mean_at.index_select(0, row + 1), share)
    sd = torch.lerp(sd_at.index_select(0, row), sd_at.index_select(0, row + 1), share)
    if beyond.any():
        far = signal.flatten()
        mean = torch.where(beyond, far + 0.5 / far, mean)
        sd = torch.where(beyond, 1 - 0.25 / far.square(), sd)
    return mean.view_as(signal), sd.view_as(signal)
