"""Complex phantoms with diagnoses planted at known lines of k-space: the problem of benchmark A."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from _patterns import image_of, lines_of
from numpy.typing import NDArray

from scanwise.model import Measurements
from scanwise.physics import coil_maps, combine_coils, fft2c, ifft2c

SIDE = 64
PLANTED = {"first": 7, "second": 15, "third": 24}
"""Spatial frequency along y of each diagnosis [cycles per field of view]; it is planted at plus and minus that."""
PREVALENCE = 0.35
"""Of each diagnosis where they are drawn independently."""
NOISE = 1.0
STRENGTH = {"first": 60.0, "second": 17.0, "third": 9.0}
"""Amplitude of a planted pattern in k-space, in units of the noise: more where bodies have more energy themselves."""
BANDS = 8
"""Bands of columns over which the energy of a line is told."""


def planted_lines() -> NDArray[np.int64]:
    """Return the lines of k-space, 0 to 63 with the centre at 32, at which diagnoses were planted."""
    return np.sort([SIDE // 2 + sign * at for at in PLANTED.values() for sign in (-1, 1)])


@dataclass(frozen=True)
class Phantoms:
    """How phantoms are drawn.

    Parameters
    ----------
    n_coils : receive coils; one sees all alike.
    exclusive : one diagnosis at most per phantom, none as often as each; otherwise they are drawn independently.
    strength : times the amplitudes of `STRENGTH`.
    """

    n_coils: int = 1
    exclusive: bool = False
    strength: float = 1.0

    def bodies(self, n: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64], np.random.Generator]:
        """Return diagnoses, ``(phantoms, 3)``, half axes of bodies [share of the field of view], ``(phantoms, 2)``.

        The generator draws what else there is.
        """
        rng = np.random.default_rng([seed, 0x7068])
        if self.exclusive:
            label = np.eye(len(PLANTED) + 1, len(PLANTED), dtype=np.int64)[rng.integers(len(PLANTED) + 1, size=n)]
        else:
            label = (rng.random((n, len(PLANTED))) < PREVALENCE).astype(np.int64)
        return label, rng.uniform(0.28, 0.42, (n, 2)), rng


def phantom_kspace(n: int, seed: int, kind: Phantoms) -> tuple[NDArray[np.complex64], NDArray[np.int64]]:
    """Return noisy k-space, ``(phantoms, coils, lines, columns)``, and diagnoses, ``(phantoms, 3)``.

    Bodies are ellipses with texture whose power falls with spatial frequency, and a smooth phase. A diagnosis adds a
    ripple along y somewhere in the body: its energy is around two lines, its place and phase are anyone's.
    """
    label, half, rng = kind.bodies(n, seed)
    at = (np.arange(SIDE) - SIDE // 2) / SIDE
    y, x = at[:, None], at[None, :]
    half = half[:, :, None, None]
    body = 1 / (1 + np.exp((np.hypot(y / half[:, 0], x / half[:, 1]) - 1) / 0.04))
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None]) * SIDE
    power = 1 / (1 + (frequency / 2) ** 2) ** 0.75
    texture = np.fft.ifft2(power * np.fft.fft2(rng.normal(size=(n, SIDE, SIDE)))).real
    texture /= texture.std((1, 2), keepdims=True)
    slope = rng.normal(0, 2.0, (n, 2, 1, 1))
    phase = np.exp(1j * (rng.uniform(0, 2 * np.pi, (n, 1, 1)) + slope[:, 0] * y + slope[:, 1] * x))
    image = body * (1 + 0.25 * texture)
    for which, (name, cycles) in enumerate(PLANTED.items()):
        centre = rng.uniform(-0.12, 0.12, (n, 2, 1, 1))
        window = np.exp(-((y - centre[:, 0]) ** 2 + (x - centre[:, 1]) ** 2) / (2 * 0.16**2))
        ripple = np.cos(2 * np.pi * cycles * y + rng.uniform(0, 2 * np.pi, (n, 1, 1))) * window
        amplitude = kind.strength * STRENGTH[name] * rng.uniform(0.6, 1.4, (n, 1, 1))
        ripple *= amplitude / np.linalg.norm(ripple, axis=(1, 2), keepdims=True)
        image = image + label[:, which, None, None] * ripple / _GAIN
    coil_images = torch.from_numpy((_GAIN * image * phase).astype(np.complex64))[:, None] * _maps(kind.n_coils)
    kspace = fft2c(coil_images).numpy()
    for part in (kspace.real, kspace.imag):
        for of_phantom in part:  # noise of all at once would be several times as large as what it is added to
            of_phantom += rng.normal(size=of_phantom.shape) * NOISE / 2**0.5
    return kspace, label


def line_problem(n: int, seed: int, kind: Phantoms) -> Measurements:
    """Return phantoms whose measurements are lines, each told by the logarithm of its energy in bands of columns."""
    kspace, label = phantom_kspace(n, seed, kind)
    energy = (np.abs(kspace) ** 2).sum(1).reshape(n, SIDE, BANDS, -1).mean(3)
    return Measurements(np.log(energy).astype(np.float32), label.astype(np.float32), "labels")


def image_problem(n: int, seed: int, kind: Phantoms) -> Measurements:
    """Return the same phantoms for reconstruction: lines of the coil-combined image, and that image, complex."""
    kspace, _ = phantom_kspace(n, seed, kind)
    image = combine_coils(ifft2c(torch.from_numpy(kspace)), _maps(kind.n_coils))
    lines = lines_of(image)
    return Measurements(lines.numpy(), complex_image(lines).numpy(), "values", inverse=complex_image)


def complex_image(lines: torch.Tensor) -> torch.Tensor:
    """Return the image of k-space, real and imaginary parts in turn, shape ``(phantoms, 2 * voxels)``.

    Parameters
    ----------
    lines : as from `lines_of`; those not taken are 0.
    """
    return torch.view_as_real(image_of(lines)).flatten(1)


_GAIN = 30.0
"""Signal of the body over the noise, per voxel of the image."""


def _maps(n_coils: int) -> torch.Tensor:
    """Return sensitivity maps, ``(coils, y, x)``; one coil sees all alike."""
    if n_coils == 1:
        return torch.ones(1, SIDE, SIDE, dtype=torch.complex64)
    return coil_maps((SIDE, SIDE), n_coils=n_coils, seed=0, dtype=torch.complex64)
