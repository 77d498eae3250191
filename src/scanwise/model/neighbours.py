"""Nearest neighbours as a model: what patients alike had, and which measurement would tell most about the next one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scanwise.design import Patients
from scanwise.errors import ScanwiseError
from scanwise.model._walk import walk_greedily
from scanwise.model.measurements import Measurements

_TINY = 1e-12
_LIGHT = 1e-4
"""Neighbours with less than this share of the largest weight say nothing of the next measurement."""
_JUDGES = 300
"""Learning rows, each left out in turn, that judge a bandwidth."""


@dataclass(frozen=True)
class NeighbourModel:
    """Kernel density of the learning rows; there is nothing to train, so any subset of measurements can be read.

    With measurements S taken, a learning row i has the weight ``w_i ~ exp(-sum_{s in S} |x_s - x_is|^2 / (2 h^2))``,
    and a class the probability of the rows that have it (Parzen 1962). What a further measurement would tell is its
    mutual information with the class under the same density (MacKay 1992; on learning rows as samples: Valancius 2024).

    Parameters
    ----------
    bandwidths : candidates for h, in units of the range of the values; the one with the smallest log-loss of learning
        rows that are left out, each measured adaptively, is taken.
    levels : into how many levels the range of a value is divided for the mutual information.
    judged_at : measurements at most while bandwidths are judged.
    nearest : of so many learning rows, those with the largest weights, the mutual information is taken once something
        is measured; `None` = of all that weigh anything.

    References
    ----------
    Parzen E. On estimation of a probability density function and mode. Ann Math Stat 1962;33:1065-1076.
    MacKay DJC. Information-based objective functions for active data selection. Neural Comput 1992;4:590-604.
    Valancius M, Lennon M, Oliva J. Acquisition conditioned oracle for nongreedy active feature acquisition. ICML 2024.
    """

    bandwidths: Sequence[float] = (0.1, 0.15, 0.2, 0.25, 0.3)
    levels: int = 9
    judged_at: int = 15
    nearest: int | None = None

    def __post_init__(self) -> None:
        if not self.bandwidths or not all(one > 0 for one in self.bandwidths):
            raise ScanwiseError(f"bandwidths must be above 0, but are {list(self.bandwidths)}")
        if self.levels < 2 or self.judged_at < 1:
            raise ScanwiseError(
                f"levels must be at least 2 and judged_at at least 1, but are {self.levels} and {self.judged_at}"
            )
        if self.nearest is not None and self.nearest < 2:
            raise ScanwiseError(f"nearest must be at least 2 rows, but is {self.nearest}", "leave it out for all rows")

    def fit(self, measurements: Measurements, rows: Patients, *, seed: int) -> NeighbourReader:
        """Choose the bandwidth on learning rows.

        Raises
        ------
        ScanwiseError
            If the target is not a class, or a measurement yields more than one number.
        """
        if measurements.kind != "classes" or measurements.values.shape[2] != 1:
            raise ScanwiseError(
                f"neighbours tell classes from measurements of one number each, but the target is "
                f"{measurements.kind!r} and each yields {measurements.values.shape[2]}",
                "use the network of SubsetModel",
            )
        readers = [
            NeighbourReader(measurements, rows, bandwidth, self.levels, self.nearest) for bandwidth in self.bandwidths
        ]
        if len(readers) == 1:
            return readers[0]
        judges = np.sort(np.random.default_rng([seed, 0x6E62]).permutation(len(rows))[:_JUDGES])
        n = min(self.judged_at, measurements.n_shots)
        losses = []
        for reader in readers:
            told, _ = reader.walk(rows[judges], n, left_out=judges)
            losses.append(-np.log(told[:, np.arange(len(judges)), measurements.target[rows[judges]]] + _TINY).mean())
        return readers[int(np.argmin(losses))]


class NeighbourReader:
    """Reads any subset, and says what to measure next.

    Parameters
    ----------
    measurements : the problem.
    rows : learning rows.
    bandwidth : h, in units of the range of the values.
    levels : of a value.
    nearest : rows that are asked what to measure next; `None` = all that weigh anything.
    """

    def __init__(
        self, measurements: Measurements, rows: Patients, bandwidth: float, levels: int, nearest: int | None = None
    ) -> None:
        values = torch.from_numpy(measurements.values[rows, :, 0])
        self._low, self._range = values.min(), (values.max() - values.min()).clamp(min=_TINY)
        self.measurements = measurements
        self.rows = rows
        self.bandwidth = bandwidth
        self.nearest = len(rows) if nearest is None else min(nearest, len(rows))
        self._known = (values - self._low) / self._range
        classes = torch.from_numpy(measurements.target[rows])
        self._class = nn.functional.one_hot(classes, measurements.n_outputs).float()
        off = (self._known[:, :, None] - torch.linspace(0, 1, levels)) / bandwidth
        self._near = torch.softmax(-off.square() / 2, dim=2).flatten(1)  # rows, shots x levels

    @torch.inference_mode()
    def tell(self, taken: NDArray[np.bool_], rows: Patients) -> NDArray[np.float32]:
        """Return probabilities, shape ``(subsets, rows, classes)``.

        Parameters
        ----------
        taken : subsets, shape ``(subsets, shots)``.
        rows : who is told.
        """
        values = self._scaled(rows)
        told = []
        for mask in torch.from_numpy(taken):
            square = torch.cdist(values[:, mask], self._known[:, mask]).square()
            told.append(self._weights(square) @ self._class)
        return cast("NDArray[np.float32]", torch.stack(told).numpy())

    @torch.inference_mode()
    def walk(
        self, rows: Patients, n: int, *, left_out: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Measure every row n times, each time what tells most about its class after what it has shown.

        Parameters
        ----------
        rows : who is measured.
        n : measurements.
        left_out : for every one of `rows`, the learning row that must not be looked at (its position among them);
            `None` = look at all.

        Returns
        -------
        told : probabilities after 1 to n measurements, shape ``(n, rows, classes)``.
        order : what was measured, shape ``(rows, n)``.

        Raises
        ------
        ScanwiseError
            If there are fewer than n measurements.
        """
        values = self._scaled(rows)
        everyone = torch.arange(len(rows))
        square = torch.zeros(len(rows), len(self.rows))
        if left_out is not None:
            square[everyone, torch.from_numpy(left_out)] = torch.inf
        weights = self._weights(square)

        def gain(step: int) -> Tensor:
            if step == 0 and left_out is None:  # nothing is known of anyone yet
                return self.information(weights[0]).expand(len(rows), -1)
            return torch.stack([self.information(*self._nearest(weight)) for weight in weights])

        def measure(now: Tensor) -> Tensor:
            nonlocal square, weights
            square += (values[everyone, now][:, None] - self._known[:, now].T).square()
            weights = self._weights(square)
            return weights @ self._class

        return walk_greedily(len(rows), self.measurements.n_shots, n, gain=gain, measure=measure)

    def information(self, weight: Tensor, some: Tensor | None = None) -> Tensor:
        """Return what each measurement would tell of the class, shape ``(shots,)`` [nats].

        Parameters
        ----------
        weight : of learning rows, adding up to 1, shape ``(some,)``.
        some : which learning rows; `None` = all.
        """
        of = slice(None) if some is None else some
        joint = (weight[:, None] * self._class[of]).T @ self._near[of]
        joint = joint.view(len(joint), self._known.shape[1], -1)  # classes, shots, levels
        level, chance = joint.sum(0), joint.sum((1, 2)) / joint.shape[1]
        told = torch.special.entr(level).sum(1) - torch.special.entr(joint).sum((0, 2))
        return told + torch.special.entr(chance).sum()

    def _nearest(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights of the rows that are asked what to measure next, adding up to 1, and which rows."""
        if self.nearest < len(weight):
            heavy, some = weight.topk(self.nearest)
        else:
            some = (weight > _LIGHT * weight.max()).nonzero()[:, 0]
            heavy = weight[some]
        return heavy / heavy.sum(), some

    def _scaled(self, rows: Patients) -> Tensor:
        return (torch.from_numpy(self.measurements.values[rows, :, 0]) - self._low) / self._range

    def _weights(self, square: Tensor) -> Tensor:
        return torch.softmax(-square / (2 * self.bandwidth**2), dim=1)
