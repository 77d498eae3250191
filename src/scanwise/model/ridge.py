"""The strong simple reader of flat problems: a ridge regression for every subset, judged by leaving one out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from scanwise.design import Patients, Protocol
from scanwise.errors import ScanwiseError
from scanwise.model.measurements import FAR, Measurements

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RidgeModel:
    """Linear in powers of every measurement, with a ridge penalty; no training, nothing shared between subsets.

    Parameters
    ----------
    penalty : ridge penalty on standardised features, as a share of the rows.
    degree : powers of every measurement, without products of two.
    """

    penalty: float = 0.04
    degree: int = 2

    def __post_init__(self) -> None:
        if not self.penalty > 0:
            raise ScanwiseError(f"penalty must be above 0, but got {self.penalty}")
        if self.degree < 1:
            raise ScanwiseError(f"degree must be at least 1, but got {self.degree}")

    def fit(self, measurements: Measurements, rows: Patients) -> RidgeReader:
        """Return a reader that learns from some rows.

        Parameters
        ----------
        measurements : the problem.
        rows : which rows may be learned from.
        """
        return RidgeReader(self, measurements, rows)


class RidgeReader:
    """Reads any subset by a regression of its own; an objective for searches on the rows it learned from.

    The mean square error of leaving one row out follows from one fit (Allen 1974): the residual over one minus the
    leverage. So patterns are judged on all learning rows, by readers as good as the last one will be.

    Parameters
    ----------
    model : settings.
    measurements : the problem.
    rows : rows that are learned from.

    References
    ----------
    Allen DM. The relationship between variable selection and data augmentation. Technometrics 1974;16:125-127.
    """

    def __init__(self, model: RidgeModel, measurements: Measurements, rows: Patients) -> None:
        self.measurements = measurements
        self._rows = rows
        self._degree = model.degree
        values = measurements.values[rows].astype(np.float64)
        self._mean, spread = values.mean(0), values.std(0)
        self._spread = np.where(spread > 0, spread, 1.0)
        powers = self._powers(rows)
        self._centre = powers.mean(0)
        scale = powers.std(0)
        self._scale = np.where(scale > 0, scale, 1.0)
        self._features = self._standardised(powers)
        target = self._target(rows)
        self._level = target.mean(0)
        self._rest = target - self._level
        self._penalty = model.penalty * len(rows)
        self._gram = self._features.T @ self._features
        self._moment = self._features.T @ self._rest
        self._width = self._features.shape[1] // measurements.n_shots

    def losses(self, taken: Sequence[NDArray[np.bool_]]) -> Floats:
        """Return the mean square error of subsets, each row left out of what tells it, shape ``(subsets,)``."""
        return np.array([np.mean(self._off(mask) ** 2) for mask in taken])

    def __call__(self, protocols: Sequence[Protocol]) -> Floats:
        """Return minus the mean square error of leaving one out, shape ``(protocols,)``."""
        return -self.losses(list(self.measurements.taken(protocols)))

    def tell(self, taken: NDArray[np.bool_], rows: Patients) -> Floats:
        """Return what is told of other rows, shape ``(subsets, rows, outputs)``: values, or regressed 0 or 1 of labels.

        Parameters
        ----------
        taken : subsets, shape ``(subsets, shots)``.
        rows : who is told.
        """
        features = self._standardised(self._powers(rows))
        told = []
        for mask in taken:
            some, gram = self._equations(mask)
            told.append(self._level + features[:, some] @ np.linalg.solve(gram, self._moment[some]))
        return np.stack(told)

    def _off(self, mask: NDArray[np.bool_]) -> Floats:
        """Return how far off every learning row is when it is left out, shape ``(rows, outputs)``."""
        some, gram = self._equations(mask)
        features = self._features[:, some]
        lower = np.linalg.cholesky(gram)
        leverage = 1 / len(features) + (solve_triangular(lower, features.T, lower=True, check_finite=False) ** 2).sum(0)
        off: Floats = (self._rest - features @ np.linalg.solve(gram, self._moment[some])) / (1 - leverage)[:, None]
        return off

    def _equations(self, mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Floats]:
        """Return the features of a subset, and the matrix of its normal equations."""
        some = np.flatnonzero(np.repeat(mask, self._width))
        return some, self._gram[np.ix_(some, some)] + self._penalty * np.eye(len(some))

    def _powers(self, rows: Patients) -> Floats:
        """Return powers of standardised values, ``(rows, shots x features x degree)``."""
        values = (self.measurements.values[rows].astype(np.float64) - self._mean) / self._spread
        values = np.clip(values, -FAR, FAR)
        return np.concatenate([values**power for power in range(1, self._degree + 1)], axis=2).reshape(len(rows), -1)

    def _standardised(self, powers: Floats) -> Floats:
        return (powers - self._centre) / self._scale

    def _target(self, rows: Patients) -> Floats:
        target = self.measurements.target[rows]
        if self.measurements.kind == "classes":
            return np.asarray(target[:, None] == np.arange(self.measurements.n_outputs), dtype=np.float64)
        return np.asarray(target, dtype=np.float64)
