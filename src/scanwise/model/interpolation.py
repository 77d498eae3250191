"""Scoring every combination of settings from few of them.

A network reads a whole protocol at once, so that its log odds are no sum over modalities. Settings of one modality,
however, are alike in what they do beside whatever else is acquired: the log odds with one of them follow a straight
line in those with a few others of the same modality, the same line for all patients. So few settings of every modality
are chosen, their combinations are read, and all others are interpolated, one modality after the other. As a tensor, the
log odds of a patient are nearly of low multilinear rank, and this is its Tucker decomposition by interpolation; what is
new here is that all patients share it, save for an offset per setting.

References
----------
Oseledets IV, Savostianov DV, Tyrtyshnikov EE. Tucker dimensionality reduction of three-dimensional arrays in linear
time. SIAM J Matrix Anal Appl 2008;30:939-956.
Cheng H, Gimbutas Z, Martinsson PG, Rokhlin V. On the compression of low rank matrices. SIAM J Sci Comput
2005;26:1389-1404.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

from scanwise.design import Product

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

_CONTEXTS = 16
"""Combinations of the other modalities beside which all settings of one are read."""
_SEED = 0x706C
_VALUES = 4_000_000
"""Log odds handed over at once; 32 MB."""


@dataclass(frozen=True, eq=False)
class Line:
    """How the log odds with any setting of a modality follow from those with some of its settings.

    Parameters
    ----------
    anchors : the settings they follow from, shape ``(anchors,)``.
    slopes : shape ``(settings, anchors)``.
    offset : mean log odds beside some other modalities, shape ``(settings, patients)``; the line runs through it.
    """

    anchors: Rows
    slopes: Floats
    offset: Floats

    @classmethod
    def through(cls, logits: Floats, tolerance: float) -> Line:
        """Choose the fewest settings from which all others are told within the tolerance.

        Parameters
        ----------
        logits : beside several combinations of the other modalities, shape ``(combinations, settings, patients)``.
        tolerance : root mean square of what may be wrong, over combinations, settings and patients.
        """
        offset = logits.mean(axis=0)
        around = (logits - offset).transpose(0, 2, 1).reshape(-1, len(offset))
        triangle, order = qr(around, mode="r", pivoting=True, check_finite=False)
        triangle = triangle[: len(offset)]  # one row per setting; fewer where less was read
        left = np.cumsum(np.square(triangle).sum(axis=1)[::-1])[::-1] / around.size  # with so many anchors
        n = max(1, int((left > tolerance**2).sum()))
        told, *_ = np.linalg.lstsq(triangle[:n, :n], triangle[:n, n:], rcond=None)
        slopes = np.zeros((len(offset), n))
        slopes[order[:n]] = np.eye(n)
        slopes[order[n:]] = told.T
        return cls(order[:n], slopes, offset)

    def along(self, logits: Floats, axis: int) -> Floats:
        """Return log odds with every setting from those with the anchors, which an axis runs over; patients last."""
        anchored = np.moveaxis(logits, axis, -2) - self.offset[self.anchors]
        return np.moveaxis(self.slopes @ anchored + self.offset, -2, axis)


def interpolated_logits(
    product: Product, read: Callable[[Rows], Floats], *, tolerance: float, wanted: NDArray[np.bool_]
) -> Iterator[tuple[Rows, Floats]]:
    """Yield rows of a product, ascending, and their log odds, shape ``(rows, patients)``.

    Where interpolation would need as many protocols as are wanted, these are read themselves.

    Parameters
    ----------
    product : what is combined.
    read : returns the log odds of some rows, shape ``(rows, patients)``.
    tolerance : what the interpolation along one modality may be wrong by, root mean square; see `Line.through`.
    wanted : rows that are yielded, shape ``(len(product),)``.
    """
    few = np.flatnonzero(wanted)
    fibres = _fibres(product)
    if 0 < sum(map(len, fibres)) < len(few):
        beside = np.split(read(np.concatenate(fibres)), np.cumsum([len(rows) for rows in fibres])[:-1])
        lines = [
            Line.through(logits.reshape(_CONTEXTS, size, -1), tolerance)
            for logits, size in zip(beside, product.shape, strict=True)
        ]
        core = np.arange(len(product)).reshape(product.shape)[np.ix_(*(line.anchors for line in lines))]
        if core.size < len(few):
            yield from _expanded(read(core.reshape(-1)).reshape(*core.shape, -1), lines, product.shape, wanted)
            return
    if len(few):
        logits = read(few)
        step = max(1, _VALUES // max(1, logits.shape[1]))
        for start in range(0, len(few), step):
            yield few[start : start + step], logits[start : start + step]


def _fibres(product: Product) -> list[Rows]:
    """Return rows with every setting of a modality beside `_CONTEXTS` combinations of the others, per modality.

    In some combinations most modalities are there, in others hardly any: what a setting does beside few others may
    differ, and cheap protocols are the ones that are looked at.
    """
    rng = np.random.default_rng(_SEED)
    found = []
    for column, size in enumerate(product.shape):
        settings = np.repeat(_contexts(product, rng)[:, None], size, axis=1)
        settings[:, :, column] = np.arange(size)
        found.append(product.rows(settings.reshape(-1, settings.shape[2])))
    return found


def _contexts(product: Product, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw combinations, shape ``(_CONTEXTS, modalities)``, modalities with a chance that differs between them."""
    chance = rng.uniform(0.2, 1.0, size=_CONTEXTS)
    columns = []
    for patterns in product.choices.values():
        absent = [setting for setting, counts in enumerate(patterns) if not any(counts)]
        there = [setting for setting, counts in enumerate(patterns) if any(counts)]
        if not absent or not there:
            columns.append(rng.integers(len(patterns), size=_CONTEXTS))
        else:
            columns.append(np.where(rng.random(_CONTEXTS) < chance, rng.choice(there, _CONTEXTS), absent[0]))
    return np.stack(columns, axis=1)


def _expanded(
    core: Floats, lines: Sequence[Line], shape: Sequence[int], wanted: NDArray[np.bool_], first: int = 0
) -> Iterator[tuple[Rows, Floats]]:
    """Yield rows from `first` on, and their log odds, from those of the anchors, shape ``(anchors, ..., patients)``."""
    if not wanted.any():
        return
    if len(shape) > 1 and len(wanted) * core.shape[-1] > _VALUES:
        each = math.prod(shape[1:])
        for setting, rest in enumerate(lines[0].along(core, 0)):
            part = wanted[setting * each : (setting + 1) * each]
            yield from _expanded(rest, lines[1:], shape[1:], part, first + setting * each)
        return
    for axis, line in enumerate(lines):
        core = line.along(core, axis)
    yield first + np.flatnonzero(wanted), core.reshape(len(wanted), -1)[wanted]
