"""Measuring step by step: each time, in every row, what tells most and was not measured yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanwise.errors import ScanwiseError


def walk_greedily(
    n_rows: int, n_shots: int, n: int, *, gain: Callable[[int], Tensor], measure: Callable[[Tensor], Tensor]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Measure every row n times.

    Parameters
    ----------
    n_rows, n_shots : rows, and measurements there are.
    n : measurements that are taken.
    gain : what each measurement would tell at a step, counted from 0, shape ``(rows, shots)``.
    measure : takes one measurement in every row, shape ``(rows,)``; returns probabilities, ``(rows, classes)``.

    Returns
    -------
    told : probabilities after 1 to n measurements, shape ``(n, rows, classes)``.
    order : what was measured, shape ``(rows, n)``.

    Raises
    ------
    ScanwiseError
        If there are fewer than n measurements.
    """
    if not 1 <= n <= n_shots:
        raise ScanwiseError(f"between 1 and {n_shots} measurements can be taken, but {n} were asked for")
    everyone = torch.arange(n_rows)
    order = torch.zeros(n_rows, n, dtype=torch.int64)
    seen = torch.zeros(n_rows, n_shots, dtype=torch.bool)
    told = []
    for step in range(n):
        now = gain(step).masked_fill(seen, -torch.inf).argmax(dim=1)
        order[:, step] = now
        seen[everyone, now] = True
        told.append(measure(now))
    return cast("NDArray[np.float32]", torch.stack(told).numpy()), order.numpy()
