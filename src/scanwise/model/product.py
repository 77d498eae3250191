"""Scoring every combination of settings from what every single setting adds.

Evidence adds up, so a modality in a setting is encoded once for all protocols that contain it. What is left per
protocol is a sum and the head. Sums are built along the product: the partial sum of the first modalities is kept while
the last ones run through all their settings.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanwise.design import Patients

MAX_WORKERS = 4
_TAIL = 16
"""Combinations of the last modalities that are added to one partial sum, at least."""
_VALUES = 4_000_000
"""Logits handed over at once; 32 MB."""
_ROWS = 24_000
"""Rows of evidence that are read at once: enough to make calls cheap, few enough for the cache of a core."""
_ROWS_ELSEWHERE = 1_000_000
"""The same for a device that is no CPU."""

Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class Part:
    """Some patients, as one network reads them.

    Evidence may come in several streams that add up separately and are read together.

    Parameters
    ----------
    patients : columns of the result that this part adds to.
    weight : how much the network counts for each of them.
    base : what is there whatever is chosen: per stream, shape ``(rows, width)``.
    tables : what every setting of a modality adds: per modality and stream, shape ``(settings, rows, width)``.
    read : turns the streams, ``(protocols, rows, width)`` each, into logits ``(protocols, patients)``; it may overwrite
        the streams.
    """

    patients: Patients
    weight: NDArray[np.float64]
    base: tuple[Tensor, ...]
    tables: tuple[tuple[Tensor, ...], ...]
    read: Callable[..., Tensor]


def product_logits(
    shape: Sequence[int], parts: Sequence[Part], n_patients: int, wanted: NDArray[np.bool_] | None = None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield rows of a product, ascending, and their logits, summed over parts, shape ``(rows, patients)``.

    Parameters
    ----------
    shape : settings per modality.
    parts : patients and networks.
    n_patients : columns of the result.
    wanted : rows that are scored, `None` = all.
    """
    split = len(shape)
    while split and math.prod(shape[split:]) < _TAIL:
        split -= 1
    n_tails, n_heads = math.prod(shape[split:]), math.prod(shape[:split])
    heads = np.arange(n_heads)
    if wanted is not None:
        heads = heads[wanted.reshape(n_heads, n_tails).any(axis=1)]
    step = max(1, _VALUES // (n_tails * max(1, n_patients)))
    for start in range(0, len(heads), step):
        here = heads[start : start + step]
        logits = np.zeros((len(here), n_tails, n_patients))

        def of_part(part: Part, here: NDArray[np.int64] = here) -> NDArray[np.float32]:
            return _logits_of(part, shape, split, here)

        for part, found in zip(parts, in_threads(of_part, parts), strict=True):
            logits[:, :, part.patients] += part.weight * found
        rows = (here[:, None] * n_tails + np.arange(n_tails)).reshape(-1)
        flat = logits.reshape(-1, n_patients)
        if wanted is not None:
            rows, flat = rows[wanted[rows]], flat[wanted[rows]]
        yield rows, flat


@torch.inference_mode()
def _logits_of(part: Part, shape: Sequence[int], split: int, heads: NDArray[np.int64]) -> NDArray[np.float32]:
    tails = []
    for stream, base in enumerate(part.base):
        tail = torch.zeros((1, *base.shape), device=base.device)
        for table in part.tables[split:]:
            tail = (tail[:, None] + table[stream]).flatten(0, 1)
        tails.append(tail)
    n_rows = max(1, *(len(base) for base in part.base))
    step = max(1, (_ROWS if part.base[0].device.type == "cpu" else _ROWS_ELSEWHERE) // n_rows)
    chosen = np.array(np.unravel_index(heads, shape[:split])).T if split else np.zeros((1, 0), dtype=np.int64)
    partial = [part.base] * (split + 1)
    logits = torch.empty((len(heads), len(tails[0]), len(part.patients)), device=part.base[0].device)
    sums = [torch.empty_like(tail[:step]) for tail in tails]  # kept: memory that comes and goes makes threads wait
    before = np.full(split, -1)
    for row, settings in enumerate(chosen):
        changed = int(np.argmax(settings != before)) if split else 0
        for depth in range(changed, split):
            added = (table[int(settings[depth])] for table in part.tables[depth])
            partial[depth + 1] = tuple(a + b for a, b in zip(partial[depth], added, strict=True))
        before = settings
        for start in range(0, len(tails[0]), step):
            some = [tail[start : start + step] for tail in tails]
            both = zip(partial[-1], some, sums, strict=True)
            evidence = [torch.add(a, b, out=kept[: len(b)]) for a, b, kept in both]
            logits[row, start : start + step] = part.read(*evidence)
    return logits.cpu().numpy()


def in_threads(work: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """Do independent work in threads, one per core, each of which keeps torch to itself."""
    with _single_threaded(), ThreadPoolExecutor(n_workers()) as pool:
        return list(pool.map(work, items))


def n_workers() -> int:
    """Return the number of cores this process may use, at most `MAX_WORKERS`."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MAX_WORKERS, usable)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Let torch use one thread per caller, for a while: threads inside threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
