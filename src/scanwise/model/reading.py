"""Reading many protocols of images from evidence that adds up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanwise.model.image_network import ImageNetwork
from scanwise.model.product import in_threads

_AT_ONCE = 64
"""Patients whose maps are read at once: no slower than fewer for many protocols, twice as fast for one."""
_AT_ONCE_ELSEWHERE = 256
"""The same for a device that is no CPU."""
_TOGETHER = 16
"""Protocols whose maps are kept until they are pooled."""


def logits_of_sums(network: ImageNetwork, added: Sequence[Sequence[Tensor]], n_patients: int) -> NDArray[np.float64]:
    """Return logits of the first diagnosis of several protocols, shape ``(protocols, patients)``.

    Parameters
    ----------
    network : whose head reads the sums.
    added : per protocol, what is alike at all places, ``(patients, evidence)``, then every image, ``(patients, places,
        evidence)``. What two protocols, one after the other, begin with alike is added once.
    n_patients : at least one.
    """
    if not added:
        return np.zeros((0, n_patients))
    distinct = list({id(one): one for parts in added for one in parts}.values())
    number = {id(one): index for index, one in enumerate(distinct)}
    numbers = [[number[id(one)] for one in parts] for parts in added]
    most = max(map(len, numbers))
    padded = torch.tensor([parts + [len(distinct)] * (most - len(parts)) for parts in numbers], device=network.device)
    additions = _additions(numbers)
    step = _AT_ONCE if network.device.type == "cpu" else _AT_ONCE_ELSEWHERE

    @torch.inference_mode()
    def read(start: int) -> NDArray[np.float64]:
        n = min(step, n_patients - start)
        here = [one[start : start + n] for one in distinct]
        means = [one.float().mean(1) if one.ndim == 3 else one for one in here]
        here = [one if one.ndim == 3 else one[:, None] for one in here]
        shape = (n, network.n_places, means[0].shape[1])
        sums = [torch.empty(shape, device=network.device) for _ in range(most)]
        maps = torch.empty((_TOGETHER, *shape[:2]), device=network.device)
        flat, flat_maps = sums[-1].flatten(0, 1), maps.flatten(1).unbind()
        write_map = network.head.map_writer(len(flat))
        logits = torch.empty((len(added), n), device=network.device)
        mean = _sums(torch.stack([*means, torch.zeros_like(means[0])]), padded)
        for row, steps in enumerate(additions):
            for before, one, after in steps:
                if before is None:
                    sums[after].copy_(here[one])
                else:
                    torch.add(sums[before], here[one], out=sums[after])
            at = row % _TOGETHER
            write_map(flat, flat_maps[at])
            if at == _TOGETHER - 1 or row == len(added) - 1:
                rows = slice(row - at, row + 1)
                logits[rows] = network.head.label_logits(maps, mean[row - at : row - at + _TOGETHER])[: at + 1]
        return logits.double().cpu().numpy()

    return np.concatenate(in_threads(read, range(0, n_patients, step)), axis=1)


def _additions(numbers: Sequence[Sequence[int]]) -> list[list[tuple[int | None, int, int]]]:
    """Return what is added for every protocol: to which sum, `None` = nothing, what, and which sum that makes.

    The last sum of a protocol is -1, which is read and may be overwritten; sums before it are kept for the next.
    """
    found = []
    before: Sequence[int] = ()
    for parts in numbers:
        last, known = len(parts) - 1, 0
        while known < min(last, len(before) - 1) and parts[known] == before[known]:
            known += 1
        found.append(
            [
                (depth - 1 if depth else None, parts[depth], depth if depth < last else -1)
                for depth in range(known, len(parts))
            ]
        )
        before = parts
    return found


def _sums(table: Tensor, padded: Tensor) -> Tensor:
    """Return sums of entries of a table per protocol, and zeros up to a multiple of `_TOGETHER` protocols.

    Entry by entry, and read in blocks of one size, so that not even the last bit of a logit depends on which other
    protocols are asked for.
    """
    total = table.new_zeros((-(-len(padded) // _TOGETHER) * _TOGETHER, *table.shape[1:]))
    for column in padded.T:
        total[: len(padded)] += table[column]
    return total
