"""Trade-offs: which points nothing beats, how much they cover, and where the bend is (numpy only)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scanwise.errors import ScanwiseError

_BLOCK = 512  # points compared at once where there are four objectives or more


def nondominated(values: ArrayLike, maximise: Sequence[bool]) -> NDArray[np.bool_]:
    """Mark the points that no other point beats.

    A point is dominated where another is nowhere worse and somewhere better. Equal points do not dominate each other:
    both stay. A point with a NaN is never on the front and beats nobody.

    Parameters
    ----------
    values : shape ``(points, objectives)``.
    maximise : per objective, whether more is better.

    Returns
    -------
    numpy.ndarray
        Shape ``(points,)``. One to three objectives take O(n log n), more are compared block by block.
    """
    points = _to_minimise(values, maximise)
    mask = np.zeros(len(points), dtype=bool)
    known = np.flatnonzero(~np.isnan(points).any(axis=1))
    if not known.size:
        return mask
    # unique rows come sorted lexicographically, and who dominates comes before who is dominated
    unique, inverse = np.unique(points[known], axis=0, return_inverse=True)
    match unique.shape[1]:
        case 1:
            kept = np.arange(len(unique)) == 0
        case 2:
            best_before = np.minimum.accumulate(np.concatenate([[np.inf], unique[:-1, 1]]))
            kept = unique[:, 1] < best_before
            kept[0] = True
        case 3:
            kept = _staircase(unique)
        case _:
            kept = _blocked(unique)
    mask[known] = kept[inverse.reshape(-1)]
    return mask


def hypervolume(points: ArrayLike, reference: ArrayLike, maximise: Sequence[bool] | None = None) -> float:
    """Return the volume that is dominated by the points and bounded by the reference point, exactly.

    Sliced objective by objective: While et al. (2006), "A faster algorithm for calculating hypervolume", IEEE Trans.
    Evol. Comput. 10(1). Meant for two and three objectives; more work, but slowly.

    Parameters
    ----------
    points : shape ``(points, objectives)``; a point that is not better than the reference everywhere adds nothing,
        nor does one with a NaN.
    reference : a point that is worse than all of interest, shape ``(objectives,)``.
    maximise : per objective, whether more is better; `None` = less is better everywhere.
    """
    bound = np.asarray(reference, dtype=np.float64)
    directions = (False,) * bound.size if maximise is None else maximise
    bound = _to_minimise(bound[None, :], directions)[0]
    if not np.isfinite(bound).all():
        raise ScanwiseError(f"the reference point of a hypervolume must be finite, but got {reference!r}")
    inside = _to_minimise(np.asarray(points, dtype=np.float64).reshape(-1, bound.size), directions)
    return _sliced_volume(inside[(inside < bound).all(axis=1)], bound)


def knee(values: ArrayLike, maximise: Sequence[bool]) -> int:
    """Return the row of the point where the front bends most.

    Every objective is scaled to 0 (best on the front) ... 1 (worst on the front); the knee is farthest, along the
    normal, from the plane through the extremes, i.e. has the smallest sum of scaled objectives: Das (1999), "On
    characterizing the 'knee' of the Pareto curve based on Normal-Boundary Intersection", Struct. Optim. 18. The first
    of equals is returned.

    Parameters
    ----------
    values : shape ``(points, objectives)``; need not be non-dominated, points beside the front are not candidates.
    maximise : per objective, whether more is better.

    Raises
    ------
    ScanwiseError
        If there is no point without a NaN.
    """
    rows = np.flatnonzero(nondominated(values, maximise))
    if not rows.size:
        raise ScanwiseError("a knee needs at least one point whose objectives are all numbers")
    front = _to_minimise(values, maximise)[rows]
    low, high = front.min(axis=0), front.max(axis=0)
    moves = high > low
    return int(rows[np.argmin(((front - low)[:, moves] / (high - low)[moves]).sum(axis=1))])


def _to_minimise(values: ArrayLike, maximise: Sequence[bool]) -> NDArray[np.float64]:
    points = np.asarray(values, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != len(maximise) or not len(maximise):
        raise ScanwiseError(
            f"objectives must have shape (points, {len(maximise)}), one column per direction, but have {points.shape}"
        )
    return np.where(np.asarray(maximise, dtype=bool), -points, points) + 0.0  # no negative zeros


def _staircase(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Sweep along the first of three objectives; keep the front of the other two as rising y with falling z."""
    kept = np.zeros(len(points), dtype=bool)
    ys: list[float] = []
    zs: list[float] = []
    for row, (_, y, z) in enumerate(points.tolist()):
        before = bisect_right(ys, y)
        if before and zs[before - 1] <= z:
            continue
        kept[row] = True
        first = last = bisect_left(ys, y)
        while last < len(ys) and zs[last] >= z:
            last += 1
        ys[first:last] = [y]
        zs[first:last] = [z]
    return kept


def _blocked(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Compare lexicographically sorted, distinct points with the front so far, a block at a time."""
    kept = np.zeros(len(points), dtype=bool)
    front = points[:0]
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        alive = np.ones(len(block), dtype=bool)
        for begin in range(0, len(front), _BLOCK):
            rivals = front[begin : begin + _BLOCK]
            alive[alive] = ~(rivals[:, None, :] <= block[None, alive, :]).all(axis=2).any(axis=0)
        rows = np.flatnonzero(alive)
        beats = (block[rows, None, :] <= block[None, rows, :]).all(axis=2)
        rows = rows[np.count_nonzero(beats, axis=0) == 1]  # nobody but the point itself
        kept[start + rows] = True
        front = np.concatenate([front, block[rows]])
    return kept


def _sliced_volume(points: NDArray[np.float64], bound: NDArray[np.float64]) -> float:
    """Volume between points and bound, all minimised and inside, by slicing along the last objective."""
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(bound[0] - points.min())
    points = points[nondominated(points, (False,) * points.shape[1])]
    points = points[np.argsort(points[:, -1], kind="stable")]
    if points.shape[1] == 2:  # along the front the first objective falls while the second rises
        previous = np.concatenate([[bound[0]], points[:-1, 0]])
        return float(((previous - points[:, 0]) * (bound[1] - points[:, 1])).sum())
    heights = np.diff(np.concatenate([points[:, -1], bound[-1:]]))
    return float(
        sum(
            height * _sliced_volume(points[: row + 1, :-1], bound[:-1])
            for row, height in enumerate(heights)
            if height > 0
        )
    )
