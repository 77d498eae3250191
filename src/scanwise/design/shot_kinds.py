"""What the shots of a table are, as far as a sampling scheme has to know: lines, phase encodes, spokes, views, frames.

A scheme names the kind of shots it is made for. The kind knows which columns of ``ShotTable.what`` tell where a shot
is, refuses tables of another kind, and lays out a plain table of any size for exports, examples and tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scanwise.design.shots import ShotTable
from scanwise.errors import ScanwiseError

GOLDEN_ANGLE_RAD = math.pi * (math.sqrt(5.0) - 1.0) / 2.0
"""Angle between successive spokes, 111.25 degrees: half a turn divided by the golden ratio (Winkelmann 2007) [rad]."""

_LARGEST_TABLE = 2**22
"""More shots than this in a plain table are a slip of the keyboard."""


@dataclass(frozen=True)
class ShotKind:
    """A kind of shots, and how a table of them is laid out.

    Parameters
    ----------
    name : plural, for people.
    axes : what a plain table is as long as, one word for each axis.
    columns : columns of `ShotTable.what` that a table must have: the index along each axis, the centre of k-space at
        ``n // 2``, or ``angle_rad``.
    foreign : columns that only tables of another kind have.
    complete : whether every combination of the indices must be there.
    max_count : how often a shot of a plain table may be taken.
    angle_step_rad : angle between successive shots of a plain table [rad]; `None` divides one turn evenly.
    """

    name: str
    axes: tuple[str, ...]
    columns: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    complete: bool = False
    max_count: int = 1
    angle_step_rad: float | None = None

    def check(self, shots: ShotTable) -> None:
        """Raise a `ScanwiseError` unless the shots of a table are of this kind."""
        _check(self, shots)

    def suits(self, shots: ShotTable) -> bool:
        """Whether the shots of a table are of this kind."""
        try:
            self.check(shots)
        except ScanwiseError:
            return False
        return True

    def plain_table(
        self, size: Sequence[int], *, seconds: float = 0.0, money: float = 0.0, msv: float = 0.0
    ) -> ShotTable:
        """Return a table of this kind, every shot at the same price.

        Parameters
        ----------
        size : number of shots along each axis; the last axis runs fastest.
        seconds, money, msv : price of one shot [s, menu currency, mSv].

        Raises
        ------
        ScanwiseError
            If there is not one whole number >= 1 for each axis.
        """
        asked = ", ".join(self.axes)
        if len(size) != len(self.axes) or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in size):
            raise ScanwiseError(
                f"the size of a table of {self.name} must be whole numbers >= 1, one for each of [{asked}], but got "
                f"{list(size)}",
                f"write size=[{asked}] in numbers",
            )
        if math.prod(size) > _LARGEST_TABLE:
            raise ScanwiseError(
                f"a table of {self.name} can have {_LARGEST_TABLE} shots at most, but {list(size)} are "
                f"{math.prod(size)}",
                "give the matrix, not the number of voxels",
            )
        index = np.indices(size).reshape(len(size), -1)
        if self.columns == ("angle_rad",):
            step = 2 * math.pi / size[0] if self.angle_step_rad is None else self.angle_step_rad
            what: dict[str, NDArray[np.generic]] = {"angle_rad": index[0] * step % (2 * math.pi)}
        else:
            what = dict(zip(self.columns, index, strict=False))  # some kinds need no column at all
        names = ["_".join(f"{axis}{at}" for axis, at in zip(self.axes, row, strict=True)) for row in index.T.tolist()]
        return ShotTable.build(names, seconds=seconds, money=money, msv=msv, max_count=self.max_count, what=what)


ANY_SHOTS = ShotKind("shots", ("shot",))
LINES = ShotKind("lines of k-space", ("line",), foreign=("ky", "kz", "frame", "angle_rad"))
B_VALUES = ShotKind("b-values", ("b_value",), max_count=16)
FRAMES = ShotKind("frames", ("frame",), foreign=("ky", "kz", "line"))
PHASE_ENCODES = ShotKind("phase encodes of a volume", ("ky", "kz"), columns=("ky", "kz"), foreign=("frame",))
DYNAMIC_LINES = ShotKind("lines of a dynamic series", ("frame", "line"), columns=("frame", "line"), complete=True)
SPOKES = ShotKind("spokes", ("spoke",), columns=("angle_rad",), angle_step_rad=GOLDEN_ANGLE_RAD)
VIEWS = ShotKind("views", ("view",), columns=("angle_rad",))


@lru_cache(maxsize=64)
def _check(kind: ShotKind, shots: ShotTable) -> None:
    for column in kind.columns:
        if column not in shots.what:
            raise ScanwiseError(
                f"a table of {kind.name} must have what[{column!r}], but has {sorted(shots.what)}",
                f"add the column, or take a scheme that is not for {kind.name}",
            )
    for column in kind.foreign:
        if column in shots.what:
            raise ScanwiseError(
                f"a table of {kind.name} must not have what[{column!r}]: it tells that shots are something else",
                f"take a scheme that is not for {kind.name}",
            )
    values = [np.asarray(shots.what[column]).astype(np.float64) for column in kind.columns]
    for column, array in zip(kind.columns, values, strict=True):
        if array.shape != (len(shots),) or not np.isfinite(array).all():
            raise ScanwiseError(f"what[{column!r}] must be one finite number per shot, but has shape {array.shape}")
        if column != "angle_rad" and ((array < 0).any() or (array % 1 != 0).any()):
            raise ScanwiseError(f"what[{column!r}] must be whole numbers >= 0, the index of each shot along that axis")
    if values and kind.columns != ("angle_rad",):
        places = np.stack(values, axis=1)
        if len(np.unique(places, axis=0)) != len(shots):
            raise ScanwiseError(f"no two {kind.name} may be at the same {kind.columns}", "let max_count say averages")
        if kind.complete and math.prod(len(np.unique(array)) for array in values) != len(shots):
            raise ScanwiseError(f"a table of {kind.name} must have every line in every frame")
        if kind.complete and any(array.max() + 1 != len(np.unique(array)) for array in values):
            raise ScanwiseError(f"{' and '.join(kind.columns)} of {kind.name} must count from 0 without gaps")
