"""Receive coils: smooth, analytic sensitivity maps that mean the same at every resolution."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from scanwise.errors import ScanwiseError

_LOOP_RADIUS = 0.8
"""Radius of a loop, in half fields of view; also how fast its sensitivity falls off."""
_ARRAY_RADIUS = 1.9
"""Distance of the loops from the centre, in half fields of view: even jittered they are outside the corners (sqrt 2),
because the phase is singular at the loop itself."""
_ANGLE_JITTER = 0.25
_DISTANCE_JITTER = 0.1
"""Irregularity of the array: share of the angle between neighbours, and share of the distance."""


def coil_maps(
    matrix: tuple[int, int],
    *,
    n_coils: int,
    seed: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.complex64,
) -> Tensor:
    """Return sensitivities of a ring of surface loops, with unit root-sum-of-squares in every voxel.

    Each loop has the magnitude of a circular loop's field on its axis, ``a^3 / (d^2 + a^2)^(3/2)`` at distance d, and
    the phase of the direction in which the voxel lies from the loop plus a constant. Positions are fractions of the
    field of view measured from the voxel ``n // 2``, so maps of 64 x 64 are those of 128 x 128 at every second voxel
    (before and after normalisation), and what is combined with ``sum_c conj(map_c) image_c`` has the noise of one coil.

    Parameters
    ----------
    matrix : ``(y, x)``.
    n_coils : number of coils, at least 1.
    seed : where the loops sit and their phases; the same seed is the same array at any matrix size.
    device, dtype : of the result; a complex type.

    Returns
    -------
    Sensitivities, shape ``(coils, y, x)``.

    References
    ----------
    Roemer PB et al. The NMR phased array. Magn Reson Med 1990;16:192-225 (combination with known maps, eq. 26).
    """
    if n_coils < 1 or min(matrix) < 1:
        raise ScanwiseError(
            f"coil maps need n_coils >= 1 and a matrix of at least 1 x 1, but got {n_coils=}, {matrix=}"
        )
    rng = np.random.default_rng(seed)
    step = 2 * math.pi / n_coils
    angle = rng.uniform(0, 2 * math.pi) + step * (np.arange(n_coils) + _ANGLE_JITTER * rng.uniform(-1, 1, n_coils))
    distance = _ARRAY_RADIUS * (1 + _DISTANCE_JITTER * rng.uniform(-1, 1, n_coils))
    constant = torch.from_numpy(rng.uniform(0, 2 * math.pi, n_coils))[:, None, None]
    loop_y = torch.from_numpy(distance * np.sin(angle))[:, None, None]
    loop_x = torch.from_numpy(distance * np.cos(angle))[:, None, None]
    y, x = (2 * (torch.arange(n, dtype=torch.float64) - n // 2) / n for n in matrix)
    from_loop_y, from_loop_x = y[None, :, None] - loop_y, x[None, None, :] - loop_x
    magnitude = (from_loop_y**2 + from_loop_x**2 + _LOOP_RADIUS**2) ** -1.5
    phase = torch.atan2(from_loop_y, from_loop_x) + constant
    maps = torch.polar(magnitude / magnitude.square().sum(dim=0, keepdim=True).sqrt(), phase)
    return maps.to(device=device, dtype=dtype)


def combine_coils(coil_images: Tensor, maps: Tensor) -> Tensor:
    """Return ``sum_c conj(map_c) image_c``, ``(patients, coils, y, x)`` to ``(patients, y, x)``.

    The combination of best signal-to-noise for maps of unit root-sum-of-squares and equal, independent coil noise
    (Roemer 1990, eq. 26).
    """
    return (maps.conj() * coil_images).sum(dim=-3)
