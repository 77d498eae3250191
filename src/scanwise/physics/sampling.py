"""Counts of k-space lines: how often each phase-encoding line is taken."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scanwise.errors import ScanwiseError
from scanwise.physics._check import check_range

_ROUNDING = 1e-9
"""What ``fraction * n_lines`` may be above a whole number because of binary fractions."""


def as_counts(counts: Tensor, n_lines: int) -> Tensor:
    """Return counts as int64 of shape ``(patients or 1, lines)``.

    Parameters
    ----------
    counts : non-negative integers, ``(lines,)`` for all patients alike or ``(patients, lines)``.
    n_lines : lines that the matrix has.

    Raises
    ------
    ScanwiseError
        If there are more or fewer counts than lines, or a count is negative or no integer.
    """
    if counts.ndim not in (1, 2) or counts.shape[-1] != n_lines:
        raise ScanwiseError(
            f"counts need one value for each of the {n_lines} lines of the matrix, but have shape "
            f"{tuple(counts.shape)}",
            "give counts of shape (lines,) or (patients, lines)",
        )
    if counts.dtype.is_floating_point or counts.dtype.is_complex or counts.dtype == torch.bool:
        raise ScanwiseError(f"counts must be integers, but are {counts.dtype}", "use torch.int64")
    check_range("every count", counts)
    return counts.to(torch.int64).reshape(-1, n_lines)


def partial_fourier_counts(n_lines: int, fraction: float, *, count: int = 1) -> Tensor:
    """Return counts that leave out the first lines of k-space, shape ``(lines,)``.

    The lines kept are the last ``ceil(fraction * n_lines)``; what is left out is the mirror image of lines that were
    taken, up to a slowly varying phase (Margosian 1986).

    Raises
    ------
    ScanwiseError
        If the fraction is not in [0.5, 1], where the centre of k-space would be lost or lines would not exist.
    """
    check_range("the partial Fourier fraction", fraction, low=0.5, high=1.0, hint="6/8 and 7/8 are usual")
    kept = math.ceil(fraction * n_lines - _ROUNDING)
    counts = torch.zeros(n_lines, dtype=torch.int64)
    counts[n_lines - kept :] = count
    return counts
