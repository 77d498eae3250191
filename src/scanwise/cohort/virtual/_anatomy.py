"""Drawing on a canvas: smooth random outlines with soft edges, painted tissue, and texture from low-rank fields."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Box = tuple[slice, slice]
"""Rows and columns of a canvas that a shape may touch."""

_ROWS_AT_ONCE = 32
"""Small products stay on the thread that asks: the threads of a BLAS wait for each other longer than they compute."""
MAX_MODES = 48
"""Cosine modes per axis of a texture: bounds its cost; what is finer carries little power."""
SHADING_MODES = 3
_POWER = 1.5
"""Spectrum of a texture: amplitude ``(1 + (k scale)^2)^(-power)``, a Matern field of smoothness ``2 power - 1``."""


@dataclass(frozen=True)
class Outline:
    """An ellipse whose radius is perturbed by a low-order Fourier series.

    Parameters
    ----------
    y, x : middle [mm from the middle of the field of view; y grows towards the back].
    half_y, half_x : half axes [mm].
    turn : rotation [rad].
    harmonics : ``(order, cosine, sine)`` coefficients of the relative radius.
    edge_mm : width over which it fades out.
    """

    y: float
    x: float
    half_y: float
    half_x: float
    turn: float = 0.0
    harmonics: tuple[tuple[int, float, float], ...] = ()
    edge_mm: float = 1.0


class Canvas:
    """The grid of one slice.

    Parameters
    ----------
    fov_mm, matrix : field of view [mm] and number of points, ``(y, x)``.
    """

    def __init__(self, fov_mm: tuple[float, float], matrix: tuple[int, int]) -> None:
        self.fov_mm = fov_mm
        self.matrix = matrix
        self.step = (fov_mm[0] / matrix[0], fov_mm[1] / matrix[1])
        self.y, self.x = (
            ((np.arange(n) + 0.5) * step - size / 2).astype(np.float32)
            for n, step, size in zip(matrix, self.step, fov_mm, strict=True)
        )

    def box(self, outline: Outline) -> Box:
        """Return the rows and columns that an outline can touch; empty slices where it is outside."""
        cosine, sine = math.cos(outline.turn), math.sin(outline.turn)
        grown = 1 + sum(math.hypot(a, b) for _, a, b in outline.harmonics)
        reach = (
            math.hypot(outline.half_y * cosine, outline.half_x * sine) * grown + outline.edge_mm,
            math.hypot(outline.half_x * cosine, outline.half_y * sine) * grown + outline.edge_mm,
        )
        slices = []
        for axis, middle in enumerate((outline.y, outline.x)):
            step, size, n = self.step[axis], self.fov_mm[axis], self.matrix[axis]
            first = math.floor((middle - reach[axis] + size / 2) / step)
            last = math.ceil((middle + reach[axis] + size / 2) / step)
            slices.append(slice(min(max(first, 0), n), min(max(last, 0), n)))
        return slices[0], slices[1]

    def ellipse(self, outline: Outline, box: Box) -> Floats:
        """Return the share of each point of a box that lies within an outline, 0 to 1."""
        dy, dx = (self.y[box[0]] - np.float32(outline.y))[:, None], self.x[box[1]] - np.float32(outline.x)
        cosine, sine = math.cos(outline.turn), math.sin(outline.turn)
        u = np.float32(cosine / outline.half_x) * dx + np.float32(sine / outline.half_x) * dy
        v = np.float32(cosine / outline.half_y) * dy - np.float32(sine / outline.half_y) * dx
        radius = np.sqrt(u * u + v * v) + np.float32(1e-6)
        c, s = u / radius, v / radius
        limit: Any = 1.0  # a number or an array
        ck, sk, order = c, s, 1
        for wanted, a, b in outline.harmonics:
            while order < wanted:  # angle addition: no arctangent is needed
                ck, sk, order = ck * c - sk * s, sk * c + ck * s, order + 1
            limit = limit + np.float32(a) * ck + np.float32(b) * sk
        scale = np.float32(math.sqrt(outline.half_y * outline.half_x) / outline.edge_mm)
        share: Floats = np.clip(np.float32(0.5) + (limit - radius) * scale, 0, 1)
        return share

    def sector(
        self, outline: Outline, toward: tuple[float, float], width_mm: float, box: Box, edge_mm: float
    ) -> Floats:
        """Return the share of each point within a sector that opens from the middle of an outline.

        Parameters
        ----------
        toward : the point ``(y, x)`` [mm] its axis goes through.
        width_mm : its width there.
        """
        dy, dx = (self.y[box[0]] - np.float32(outline.y))[:, None], self.x[box[1]] - np.float32(outline.x)
        ey, ex = toward[0] - outline.y, toward[1] - outline.x
        distance = max(math.hypot(ey, ex), edge_mm)
        uy, ux = np.float32(ey / distance), np.float32(ex / distance)
        along, across = dy * uy + dx * ux, np.abs(dy * ux - dx * uy)
        inside = np.float32(width_mm / 2 / distance) * along - across
        share: Floats = np.clip(np.float32(0.5) + inside / np.float32(edge_mm), 0, 1)
        return share


def paint(stack: Floats, box: Box, share: Floats, values: Floats, given: Floats | None = None) -> None:
    """Replace what is in a stack of maps, ``(maps, y, x)``, by `values` of shape ``(maps,)``, to a share.

    Maps for which `given` is 0 stay as they are.
    """
    here = stack[:, box[0], box[1]]
    change = values[:, None, None] - here
    change *= share
    if given is not None:
        change *= given[:, None, None]
    here += change


class Texture:
    """Smooth random fields of unit variance by separable cosine modes: ``B z B^T``.

    Parameters
    ----------
    canvas : where.
    scale_mm : correlation length [mm].
    modes : cosine modes per axis; default is what the length asks for, at most `MAX_MODES`.
    """

    def __init__(self, canvas: Canvas, scale_mm: float, modes: int | None = None) -> None:
        shape = [
            min(MAX_MODES, n // 2, math.ceil(4 * size / (math.pi * scale_mm))) if modes is None else modes
            for n, size in zip(canvas.matrix, canvas.fov_mm, strict=True)
        ]
        self.shape = (max(shape[0], 2), max(shape[1], 2))
        self._basis = [
            np.cos(np.pi * np.outer((np.arange(n) + 0.5) / n, np.arange(k))).astype(np.float32)
            for n, k in zip(canvas.matrix, self.shape, strict=True)
        ]
        wave = [np.pi * np.arange(k) / size for k, size in zip(self.shape, canvas.fov_mm, strict=True)]
        power = (1 + (wave[0][:, None] ** 2 + wave[1] ** 2) * scale_mm**2) ** (-2 * _POWER)
        power[0] /= 2  # the constant mode stands for half as wide a band of frequencies as the others ...
        power[:, 0] /= 2
        mean_square = np.full(self.shape, 0.25)
        mean_square[0] *= 2  # ... and has mean square 1, a cosine 1/2
        mean_square[:, 0] *= 2
        self._amplitude = np.sqrt(power / (power * mean_square).sum()).astype(np.float32)

    def __call__(self, normal: Floats) -> Floats:
        """Return fields, shape ``(fields, y, x)``, of standard normal numbers of shape ``(fields, *self.shape)``."""
        modes, (of_y, of_x) = self._amplitude * normal, self._basis
        half = np.concatenate([modes @ of_x[piece].T for piece in _pieces(len(of_x))], axis=2)
        field: Floats = np.concatenate([of_y[piece] @ half for piece in _pieces(len(of_y))], axis=1)
        return field


def _pieces(n: int) -> list[slice]:
    return [slice(first, first + _ROWS_AT_ONCE) for first in range(0, n, _ROWS_AT_ONCE)]


def pooled(fine: Floats, matrix: Sequence[int]) -> Floats:
    """Return the means of blocks, shape ``(maps, *matrix)``, of maps whose size is a multiple of it."""
    n, y, x = fine.shape
    means: Floats = fine.reshape(n, matrix[0], y // matrix[0], matrix[1], x // matrix[1]).mean(axis=(2, 4))
    return means
