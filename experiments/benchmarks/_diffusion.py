"""Voxels of sphere, ball and stick, measured with 220 diffusion weightings, in closed form: benchmark C."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import spherical_jn

from scanwise.model import Measurements

Floats = NDArray[np.float64]

B_MS_PER_UM2 = (0.09, 0.5, 1.0, 2.0, 3.0)
TIMING_MS = ((5.0, 20.0), (10.0, 35.0), (20.0, 45.0), (30.0, 80.0))
"""Gradient duration and separation, delta and Delta; with the b-values 20 shells."""
DIRECTIONS = 11
NOISE = 1 / 50
"""Standard deviation of the noise in both channels, in units of the signal without diffusion weighting."""
INSIDE = 2.0
"""Diffusivity inside the spheres [um^2/ms], fixed as in VERDICT."""
PARAMETERS = {
    "sphere": (0.0, 1.0),
    "ball": (0.0, 1.0),
    "radius [um]": (2.0, 12.0),
    "ball diffusivity [um^2/ms]": (0.5, 2.5),
    "stick diffusivity [um^2/ms]": (3.0, 8.0),
    "stick x": (-1.0, 1.0),
    "stick y": (-1.0, 1.0),
    "stick z": (0.0, 1.0),
}
"""What is to be told, and the range over which errors are measured."""
_ROOTS = 12


def diffusion_problem(voxels: int, seed: int) -> Measurements:
    """Return voxels with their 220 noisy magnitudes and their 8 parameters, each over its range.

    References
    ----------
    Panagiotaki E et al. Noninvasive quantification of solid tumor microstructure using VERDICT MRI. Cancer Res 2014.
    Murday JS, Cotts RM. Self-diffusion coefficient of liquid lithium. J Chem Phys 1968;48:4938-4945 (spheres).
    """
    rng = np.random.default_rng([seed, 0x6466])
    share = rng.dirichlet([1.0, 1.0, 1.0], voxels)  # sphere, ball, stick
    radius, ball, stick = (
        rng.uniform(*PARAMETERS[name], voxels)
        for name in ("radius [um]", "ball diffusivity [um^2/ms]", "stick diffusivity [um^2/ms]")
    )
    axis = rng.normal(size=(voxels, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    axis *= np.where(axis[:, 2:] < 0, -1.0, 1.0)  # a stick has two ends
    b, delta, separation, direction = weightings()
    along = (axis @ direction.T) ** 2
    signal = (
        share[:, :1] * sphere_signal(radius[:, None], b, delta, separation)
        + share[:, 1:2] * np.exp(-b * ball[:, None])
        + share[:, 2:] * np.exp(-b * stick[:, None] * along)
    )
    noise = NOISE * rng.normal(size=(2, *signal.shape))
    magnitude = np.hypot(signal + noise[0], noise[1])
    told = np.column_stack([share[:, :2], radius, ball, stick, axis])
    low, high = np.array(list(PARAMETERS.values())).T
    return Measurements(
        magnitude[:, :, None].astype(np.float32), ((told - low) / (high - low)).astype(np.float32), "values"
    )


def weightings() -> tuple[Floats, Floats, Floats, Floats]:
    """Return b [ms/um^2], delta and Delta [ms], all of shape ``(220,)``, and directions, ``(220, 3)``.

    Every shell has the same eleven directions, spread over half a sphere and turned from shell to shell.
    """
    shells = [(b, *timing) for b in B_MS_PER_UM2 for timing in TIMING_MS]
    b, delta, separation = np.repeat(np.array(shells), DIRECTIONS, axis=0).T
    height = (np.arange(DIRECTIONS) + 0.5) / DIRECTIONS
    golden = np.pi * (3 - 5**0.5)
    rows = []
    for shell in range(len(shells)):
        turn = golden * np.arange(DIRECTIONS) + 2 * np.pi * shell / len(shells)
        flat = np.sqrt(1 - height**2)
        rows.append(np.column_stack([flat * np.cos(turn), flat * np.sin(turn), height]))
    return b, delta, separation, np.concatenate(rows)


def seconds_of_weightings() -> Floats:
    """Return what each measurement takes: the longer its gradients, the longer [s]; shape ``(220,)``."""
    _, delta, separation, _ = weightings()
    return 2.0 + 0.06 * (delta + separation)


def sphere_signal(radius_um: Floats, b: Floats, delta: Floats, separation: Floats) -> Floats:
    """Return the signal of water in impermeable spheres, Gaussian phase approximation (Murday and Cotts 1968)."""
    squared_gradient = b / (delta**2 * (separation - delta / 3))  # (gamma G)^2
    total = np.zeros(np.broadcast(radius_um, b).shape)
    for root in _roots():
        alpha2 = (root / radius_um) ** 2
        rate = alpha2 * INSIDE
        echo = (
            2
            + np.exp(-rate * (separation - delta))
            - 2 * np.exp(-rate * delta)
            - 2 * np.exp(-rate * separation)
            + np.exp(-rate * (separation + delta))
        )
        total += (2 * delta - echo / rate) / (alpha2**2 * (root**2 - 2))
    signal: Floats = np.exp(-2 * squared_gradient / INSIDE * total)
    return signal


def _roots() -> list[float]:
    """Return the first zeros of the derivative of the spherical Bessel function of order 1."""
    found, step = [], 0.1
    at = 1.0
    while len(found) < _ROOTS:
        here, there = (spherical_jn(1, one, derivative=True) for one in (at, at + step))
        if here * there < 0:
            found.append(float(brentq(lambda x: spherical_jn(1, x, derivative=True), at, at + step)))
        at += step
    return found
