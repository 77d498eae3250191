"""Thermal noise: how much, on which samples, and what it does to magnitudes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scanwise.errors import ScanwiseError
from scanwise.physics._check import Value, check_range
from scanwise.physics.sampling import as_counts

Generators = torch.Generator | Sequence[torch.Generator]
"""One stream for the batch, or one for every patient so that a patient's noise does not depend on the batch."""


@dataclass(frozen=True, kw_only=True)
class NoiseReference:
    """A signal-to-noise ratio that somebody measured, and what it was measured with.

    ``SNR = SNR_reference (V / V_reference) sqrt(t / t_reference) (B / B_reference)^exponent``

    Parameters
    ----------
    snr : signal of 1 (proton density of water) over the standard deviation of the real part, coils combined.
    voxel_volume_mm3 : V [mm^3].
    sampling_s : t, time the receiver was on: lines x readout [s].
    field_t : main field B [T].
    field_exponent : 1 where the body makes the noise, 7/4 where the coil does.

    Raises
    ------
    ScanwiseError
        If a value is not above zero or the exponent not in [0, 2].

    References
    ----------
    Parker DL, Gullberg GT. Signal-to-noise efficiency in magnetic resonance imaging. Med Phys 1990;17:250-257;
    Hoult DI, Lauterbur PC. J Magn Reson 1979;34:425-433 (field).
    """

    snr: float
    voxel_volume_mm3: float
    sampling_s: float
    field_t: float = 3.0
    field_exponent: float = 1.0

    def __post_init__(self) -> None:
        check_range("SNR", self.snr, above=True)
        check_range("voxel volume", self.voxel_volume_mm3, above=True, unit="mm^3")
        check_range("sampling time", self.sampling_s, above=True, unit="s")
        check_range("main field", self.field_t, above=True, unit="T")
        check_range("field exponent", self.field_exponent, high=2.0)

    def sd(self, *, voxel_volume_mm3: Value, sampling_s: Value, field_t: Value | None = None) -> Tensor:
        """Return the standard deviation of the real, and of the imaginary, part of every k-space sample.

        It is that of the image too, because the Fourier transform is orthonormal and coil maps have unit
        root-sum-of-squares. Averages do not belong here: counts above one reduce the noise of their lines.

        Parameters
        ----------
        voxel_volume_mm3 : of this scan [mm^3].
        sampling_s : time the receiver is on while every line of the matrix is taken once [s].
        field_t : main field, that of the reference where left out [T].
        """
        field = self.field_t if field_t is None else field_t
        check_range("voxel volume", voxel_volume_mm3, above=True, unit="mm^3")
        check_range("sampling time", sampling_s, above=True, unit="s")
        check_range("main field", field, above=True, unit="T")
        volume = torch.as_tensor(voxel_volume_mm3) / self.voxel_volume_mm3
        time = torch.as_tensor(sampling_s) / self.sampling_s
        strength = (torch.as_tensor(field) / self.field_t) ** self.field_exponent
        return 1 / (self.snr * volume * time.sqrt() * strength)


def patient_generators(seed: int, patients: Sequence[int], device: torch.device | str = "cpu") -> list[torch.Generator]:
    """Return one stream of noise per patient, the same for a patient in whatever batch or order.

    Parameters
    ----------
    seed : of the cohort or of the acquisition.
    patients : row numbers.
    device : where the noise is drawn; the numbers differ between devices.
    """
    streams = []
    for patient in patients:
        state = np.random.SeedSequence([seed, int(patient)]).generate_state(1, np.uint64)
        streams.append(torch.Generator(device).manual_seed(int(state[0] >> np.uint64(1))))
    return streams


def complex_noise(
    shape: Sequence[int],
    *,
    generator: Generators,
    dtype: torch.dtype = torch.complex64,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return complex Gaussian noise whose real and imaginary parts have unit variance.

    Parameters
    ----------
    shape : patients first.
    generator : one for the batch, or one per patient; noise is drawn on its device.
    dtype, device : of the result; a complex type.
    """
    real = torch.float64 if dtype == torch.complex128 else torch.float32
    if isinstance(generator, torch.Generator):
        parts = torch.randn((*shape, 2), dtype=real, device=generator.device, generator=generator)
        return torch.view_as_complex(parts).to(device)
    if len(generator) != shape[0] or not generator:
        raise ScanwiseError(f"noise needs one generator per patient, but got {len(generator)} for {shape[0]} patients")
    parts = torch.empty((*shape, 2), dtype=real, device=generator[0].device)
    for patient, stream in enumerate(generator):
        parts[patient].normal_(generator=stream)
    return torch.view_as_complex(parts).to(device)


def add_noise(kspace: Tensor, *, counts: Tensor, sd: Value, generator: Generators) -> Tensor:
    """Return k-space with the noise of every coil, independent between coils and samples.

    A line taken c times is the average of c acquisitions: its noise has variance ``sd^2 / c`` in the real and in the
    imaginary part. A line that is not taken stays zero.

    Parameters
    ----------
    kspace : ``(patients, coils, lines, columns)``, complex, as an encoding returns it.
    counts : how often each line is taken, ``(lines,)`` or ``(patients or 1, lines)``.
    sd : of one acquisition, see `NoiseReference.sd`; a number or shape ``(patients,)``.
    generator : one for the batch, or one per patient.

    Raises
    ------
    ScanwiseError
        If counts do not fit the lines, or the standard deviation is negative.
    """
    if kspace.ndim != 4 or not kspace.is_complex():
        raise ScanwiseError(
            f"k-space must be complex with shape (patients, coils, lines, columns), but is {kspace.dtype} with "
            f"{tuple(kspace.shape)}"
        )
    check_range("noise sd", sd)
    taken = as_counts(counts, kspace.shape[-2]).to(kspace.device)
    level = torch.as_tensor(sd, dtype=kspace.real.dtype, device=kspace.device).reshape(-1, 1)
    for name, value in (("counts", taken), ("noise sd", level)):
        if value.shape[0] not in (1, kspace.shape[0]):
            raise ScanwiseError(f"{name} are for {value.shape[0]} patients, but there are {kspace.shape[0]}")
    per_line = torch.where(taken > 0, level * taken.clamp(min=1).to(level.dtype).rsqrt(), torch.zeros_like(level))
    noise = complex_noise(kspace.shape, generator=generator, dtype=kspace.dtype, device=kspace.device)
    return torch.addcmul(kspace, noise, per_line.to(kspace.dtype)[:, None, :, None])


def rician(signal: Tensor, *, sd: Value, generator: torch.Generator) -> Tensor:
    """Return magnitudes of a real signal with noise in the real and imaginary part, element-wise.

    Parameters
    ----------
    signal : without noise, not negative.
    sd : of the real and of the imaginary part, broadcasts.
    generator : source of noise.
    """
    check_range("signal", signal)
    check_range("noise sd", sd)
    shape = torch.broadcast_shapes(signal.shape, torch.as_tensor(sd).shape)
    parts = torch.randn((2, *shape), dtype=signal.dtype, device=generator.device, generator=generator)
    real, imaginary = parts.to(signal.device) * sd
    return torch.hypot(signal + real, imaginary)


def rician_mean(signal: Tensor, *, sd: Value) -> Tensor:
    """Return the expected magnitude: above the signal, and never below ``sd sqrt(pi / 2)``.

    ``E[M] = sd sqrt(pi / 2) L(-A^2 / (2 sd^2))`` with ``L(-2z) = exp(-z) [(1 + 2z) I0(z) + 2z I1(z)]``

    Parameters
    ----------
    signal : A, without noise, not negative.
    sd : of the real and of the imaginary part, above zero, broadcasts.

    References
    ----------
    Rice SO. Bell Syst Tech J 1945;24:46-156, eq. 4.2-3; Gudbjartsson H, Patz S. Magn Reson Med 1995;34:910-914.
    """
    check_range("signal", signal)
    check_range("noise sd", sd, above=True)
    z = (signal / sd).square() / 4
    return sd * math.sqrt(math.pi / 2) * ((1 + 2 * z) * torch.special.i0e(z) + 2 * z * torch.special.i1e(z))


def rician_variance(signal: Tensor, *, sd: Value) -> Tensor:
    """Return the variance of the magnitude, ``2 sd^2 + A^2 - E[M]^2``; computed in double precision.

    From ``(2 - pi / 2) sd^2`` without signal to ``sd^2`` where the signal is far above the noise.

    References
    ----------
    Rice 1945, eq. 4.2-3; Gudbjartsson 1995.
    """
    exact = signal.double()
    level = torch.as_tensor(sd, dtype=torch.float64, device=signal.device)
    variance = 2 * level.square() + exact.square() - rician_mean(exact, sd=level).square()
    return variance.to(signal.dtype)
