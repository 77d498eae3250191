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

_FOLDS = 5
"""Parts of the learning rows, each of which is left out of the regressions that choose for it."""


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

    Attributes
    ----------
    measurements, rows : the same.

    References
    ----------
    Allen DM. The relationship between variable selection and data augmentation. Technometrics 1974;16:125-127.
    """

    def __init__(self, model: RidgeModel, measurements: Measurements, rows: Patients) -> None:
        self.measurements = measurements
        self.rows = np.asarray(rows)
        self._degree = model.degree
        values = measurements.values[rows].astype(np.float64)
        self._mean, spread = values.mean(0), values.std(0)
        self._spread = np.where(spread > 0, spread, 1.0)
        powers = self._powers(rows, np.arange(measurements.n_shots))
        self._centre = powers.mean(0)
        scale = powers.std(0)
        self._scale = np.where(scale > 0, scale, 1.0)
        self._features = (powers - self._centre) / self._scale
        target = self._target(rows)
        self._level = target.mean(0)
        self._rest = target - self._level
        self._penalty = model.penalty * len(rows)
        self._gram = self._features.T @ self._features
        self._moment = self._features.T @ self._rest
        self._width = self._features.shape[1] // measurements.n_shots

    def losses(self, taken: Sequence[NDArray[np.bool_]]) -> Floats:
        """Return the mean square error of subsets, each row left out of what tells it, shape ``(subsets,)``."""
        return np.array([np.mean(self.left_out(mask)[1] ** 2) for mask in taken])

    def with_one_more(self, mask: NDArray[np.bool_]) -> Floats:
        """Return the mean square error, as from `losses`, of one subset with each further shot, shape ``(shots,)``.

        One factorisation serves all of them: what a further shot says beyond the subset is a block of its own (the
        block matrix inverse), many times less work than every larger subset by itself. Infinite where a shot is taken.

        Parameters
        ----------
        mask : the subset, shape ``(shots,)``.
        """
        some, gram = self._equations(mask)
        left = np.flatnonzero(~mask)
        further = (left[:, None] * self._width + np.arange(self._width)).ravel()
        lower = np.linalg.cholesky(gram)
        known = solve_triangular(lower, self._features[:, some].T, lower=True, check_finite=False)
        shared = solve_triangular(lower, self._gram[np.ix_(some, further)], lower=True, check_finite=False)
        weights = solve_triangular(lower, self._moment[some], lower=True, check_finite=False)
        off = self._rest - known.T @ weights
        leverage = 1 / len(off) + (known**2).sum(0)
        beyond = self._features[:, further] - known.T @ shared
        moment = self._moment[further] - shared.T @ weights
        found = np.full(len(mask), np.inf)
        for at, shot in enumerate(left):
            own = slice(at * self._width, (at + 1) * self._width)
            gram = self._gram[np.ix_(further[own], further[own])] + self._penalty * np.eye(self._width)
            lower = np.linalg.cholesky(gram - shared[:, own].T @ shared[:, own])
            block = solve_triangular(lower, beyond[:, own].T, lower=True, check_finite=False)
            now = off - block.T @ solve_triangular(lower, moment[own], lower=True, check_finite=False)
            found[shot] = np.mean((now / (1 - leverage - (block**2).sum(0))[:, None]) ** 2)
        return found

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
        shots = taken.any(axis=0)
        needed = np.flatnonzero(np.repeat(shots, self._width))
        features = (self._powers(rows, np.flatnonzero(shots)) - self._centre[needed]) / self._scale[needed]
        told = []
        for mask in taken:
            some, gram = self._equations(mask)
            here = features[:, np.searchsorted(needed, some)]
            told.append(self._level + here @ np.linalg.solve(gram, self._moment[some]))
        return np.stack(told)

    def left_out(self, mask: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Return what one subset tells of every learning row when it is left out, and how far that is off.

        Parameters
        ----------
        mask : the subset, shape ``(shots,)``.

        Returns
        -------
        told, off : what is told, and the truth less what is told, both of shape ``(rows, outputs)``.
        """
        some, gram = self._equations(mask)
        features = self._features[:, some]
        lower = np.linalg.cholesky(gram)
        leverage = 1 / len(features) + (solve_triangular(lower, features.T, lower=True, check_finite=False) ** 2).sum(0)
        off: Floats = (self._rest - features @ np.linalg.solve(gram, self._moment[some])) / (1 - leverage)[:, None]
        return self._level + self._rest - off, off

    def _equations(self, mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Floats]:
        """Return the features of a subset, and the matrix of its normal equations."""
        some = np.flatnonzero(np.repeat(mask, self._width))
        return some, self._gram[np.ix_(some, some)] + self._penalty * np.eye(len(some))

    def _powers(self, rows: Patients, shots: NDArray[np.int64]) -> Floats:
        """Return powers of standardised values of some shots, ``(rows, shots x features x degree)``."""
        values = self.measurements.values[np.ix_(rows, shots)].astype(np.float64)
        values = (values - self._mean[shots]) / self._spread[shots]
        values = np.clip(values, -FAR, FAR)
        return np.concatenate([values**power for power in range(1, self._degree + 1)], axis=2).reshape(len(rows), -1)

    def _target(self, rows: Patients) -> Floats:
        target = self.measurements.target[rows]
        if self.measurements.kind == "classes":
            return np.asarray(target[:, None] == np.arange(self.measurements.n_outputs), dtype=np.float64)
        return np.asarray(target, dtype=np.float64)


class RidgePolicy:
    """Measures row by row: each time what is expected to take most off the square error, after what is told so far.

    What a further measurement takes off is known of every learning row, each left out of what tells it. It is
    regressed on what the measurements so far tell of the row and its square, for every subset anew: a value of
    information in closed form. Measuring stops where nothing is expected to take off more than its price.

    Parameters
    ----------
    reader : reads every subset.
    among : measurements it may choose from; as many readings are fitted as there are subsets of them that occur.
    """

    def __init__(self, reader: RidgeReader, among: Sequence[int]) -> None:
        self.reader = reader
        self.among = list(among)
        self._left_out: dict[bytes, tuple[Floats, Floats]] = {}
        self._promises: dict[bytes, Floats] = {}

    def walk(
        self, first: NDArray[np.bool_], weight: float, rows: Patients | None = None
    ) -> tuple[NDArray[np.bool_], Floats]:
        """Measure rows, and tell what they have.

        Parameters
        ----------
        first : what is measured in every row, shape ``(shots,)``.
        weight : price of one measurement, in square error summed over the outputs.
        rows : who is measured; `None` = the learning rows, each left out of what tells it, and with a fifth of the
            others of what chooses its next measurement.

        Returns
        -------
        taken : shape ``(rows, shots)``.
        told : shape ``(rows, outputs)``, as from `RidgeReader.tell`.
        """
        count = len(self.reader.rows if rows is None else rows)
        taken = np.repeat(first[None], count, axis=0)
        told = np.zeros((count, self.reader.measurements.n_outputs))
        going = np.ones(count, dtype=bool)
        while going.any():
            keys = np.packbits(taken, axis=1)  # as bytes, equal rows are found ten times as fast
            _, first_with, of = np.unique(keys.view(f"S{keys.shape[1]}"), return_index=True, return_inverse=True)
            was_going, going = going, np.zeros(count, dtype=bool)
            for at, row in enumerate(first_with):
                state, who = taken[row].copy(), np.flatnonzero((of.ravel() == at) & was_going)
                if not who.size:
                    continue
                told[who] = (
                    self._known(state)[0][who]
                    if rows is None
                    else self.reader.tell(state[None], np.asarray(rows)[who])[0]
                )
                left = [shot for shot in self.among if not state[shot]]
                if not left:
                    continue
                promise = self._promise(state, left)[_FOLDS if rows is not None else who % _FOLDS]
                gain = (_curves(told[who])[:, None] @ promise)[:, 0]
                pays = gain.max(axis=1) > weight
                taken[who[pays], np.array(left)[gain.argmax(axis=1)[pays]]] = True
                going[who[pays]] = True
        return taken, told

    def weight_for(self, first: NDArray[np.bool_], mean: float, halvings: int = 20) -> float:
        """Return the price at which the learning rows are measured so often on average, or just less often.

        Parameters
        ----------
        first : what is measured in every row, shape ``(shots,)``.
        mean : measurements on average, not fewer than those of `first`.
        halvings : precision, as halvings of the range of prices.

        Raises
        ------
        ScanwiseError
            If more is measured in every row already.
        """
        if first.sum() > mean:
            raise ScanwiseError(f"every row has {first.sum()} measurements, more than {mean:g} on average")
        high = float(self._known(first)[1].max())
        low = -high
        for _ in range(halvings):
            middle = (low + high) / 2
            low, high = (middle, high) if self.walk(first, middle)[0].sum(axis=1).mean() > mean else (low, middle)
        return high

    def _known(self, state: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Return what a subset tells of the learning rows left out, and its square error, summed over outputs."""
        key = state.tobytes()
        if key not in self._left_out:
            told, off = self.reader.left_out(state)
            self._left_out[key] = told, (off**2).sum(axis=1)
        return self._left_out[key]

    def _promise(self, state: NDArray[np.bool_], left: Sequence[int]) -> Floats:
        """Return what tells how much each further measurement is going to take off.

        Shape ``(folds + 1, curves, left)``: learned without every fifth row, and last from all.
        """
        key = state.tobytes()
        if key not in self._promises:
            told, now = self._known(state)
            after = []
            for shot in left:
                more = state.copy()
                more[shot] = True
                after.append(self._known(more)[1])
            curves, gain = _curves(told), now[:, None] - np.stack(after, axis=1)
            fold = np.arange(len(told)) % _FOLDS
            self._promises[key] = np.stack(
                [np.linalg.lstsq(curves[fold != out], gain[fold != out])[0] for out in range(_FOLDS + 1)]
            )
        return self._promises[key]


def _curves(told: Floats) -> Floats:
    """Return what the worth of a measurement depends on, shape ``(rows, 1 + 2 outputs)``."""
    return np.concatenate([np.ones((len(told), 1)), told, told**2], axis=1)
