"""Policies that a clever one has to beat: the same for all, confidence, nearest neighbours, similarity, chance."""

from __future__ import annotations

import typing
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanwise.errors import ScanwiseError
from scanwise.policy.ahead import features
from scanwise.policy.history import History, Shown, expected_loss, realised_loss
from scanwise.policy.policy import Guide, Policy, register_policy
from scanwise.policy.workup import Workup

Floats = NDArray[np.float64]

_AT_ONCE = 256
"""Patients whose neighbours are looked for together."""


class _OfHistory(Guide):
    """A guide that keeps the patients it learned from."""

    def __init__(self, workup: Workup, axis: str, shown: Shown, label: NDArray[np.int64], measure: str) -> None:
        super().__init__(workup, axis)
        self.shown = shown
        self.label = label
        self.measure = measure
        self.loss = realised_loss(shown.log_odds, label, measure)

    def arrays(self) -> Mapping[str, NDArray[typing.Any]]:
        """See `Guide.arrays`."""
        return {"label": self.label.astype(np.int8), **self.shown.arrays()}


@dataclass(frozen=True, kw_only=True)
class _KeepsHistory(Policy):
    """Settings of a policy that keeps the patients it learned from."""

    def fit(self, history: History, *, axis: str, weights: Floats, seed: int) -> Guide:
        """See `Policy.fit`."""
        del weights, seed
        return self._guide(history.workup, axis, history.shown, history.label)

    def read(self, workup: Workup, axis: str, arrays: Mapping[str, NDArray[typing.Any]]) -> Guide:
        """See `Policy.read`."""
        shown = Shown.from_arrays(arrays, len(workup.tracks))
        return self._guide(workup, axis, shown, arrays["label"].astype(np.int64))

    @abstractmethod
    def _guide(self, workup: Workup, axis: str, shown: Shown, label: NDArray[np.int64]) -> Guide:
        """Return the guide of these patients."""


@register_policy("fixed")
@dataclass(frozen=True, kw_only=True)
class FixedPolicy(_KeepsHistory):
    """The same for everybody: the state whose mean loss plus its price at the weight is lowest."""

    def _guide(self, workup: Workup, axis: str, shown: Shown, label: NDArray[np.int64]) -> Guide:
        return _Fixed(workup, axis, shown, label, self.measure)


class _Fixed(_OfHistory):
    def worth(self, state: int, shown: Shown, weight: float, rng: np.random.Generator) -> Floats:
        """See `Guide.worth`."""
        del rng
        merit = self.loss.mean(axis=1) + weight * self.price
        return np.repeat(_towards(self, state, merit[None]), shown.log_odds.shape[1], axis=0)


@register_policy("confidence")
@dataclass(frozen=True, kw_only=True)
class ConfidencePolicy(_KeepsHistory):
    """One order for everybody, by what a step brings for its price; whoever is sure enough stops.

    Sure enough is an expected loss below the price of the next step at the weight.
    """

    def _guide(self, workup: Workup, axis: str, shown: Shown, label: NDArray[np.int64]) -> Guide:
        return _Confidence(workup, axis, shown, label, self.measure)


class _Confidence(_OfHistory):
    def worth(self, state: int, shown: Shown, weight: float, rng: np.random.Generator) -> Floats:
        """See `Guide.worth`."""
        del rng
        extra, after = self.prices_from(state), self.workup.after[state]
        mean = self.loss.mean(axis=1)
        merit = np.where(after >= 0, (mean[state] - mean[after]) / np.maximum(extra, 1e-9), -np.inf)
        found = np.full((shown.log_odds.shape[1], len(after)), -np.inf)
        if np.isfinite(merit).any():
            best = int(merit.argmax())
            found[:, best] = expected_loss(shown.log_odds[state], self.measure) - weight * extra[best]
        return found


@register_policy("neighbours")
@dataclass(frozen=True, kw_only=True)
class NeighboursPolicy(_KeepsHistory):
    """Ask the patients who looked alike so far what would have been best for them (acquisition conditioned oracle).

    The worth of a step is what the best state that contains it takes off the mean loss of the nearest patients, less
    its price (AACO: Valancius 2024, eq. 3). The distance is that of what was shown (`features`), standardised.

    Parameters
    ----------
    n : nearest patients.

    References
    ----------
    Valancius M, Lennon M, Oliva J. Acquisition conditioned oracle for nongreedy active feature acquisition. ICML 2024.
    """

    n: int = 25

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n < 1:
            raise ScanwiseError(f"policy.n must be at least 1, but got {self.n}")

    def _guide(self, workup: Workup, axis: str, shown: Shown, label: NDArray[np.int64]) -> Guide:
        return _Neighbours(workup, axis, shown, label, self.measure, self.n)


class _Alike(_OfHistory):
    """Weighs the patients it learned from by how much they look like a new one."""

    def worth(self, state: int, shown: Shown, weight: float, rng: np.random.Generator) -> Floats:
        """See `Guide.worth`."""
        del rng
        mine, theirs = features(self.workup, state, shown), features(self.workup, state, self.shown)
        mean, scale = theirs.mean(0), theirs.std(0)
        scale[scale < 1e-9] = np.inf
        mine, theirs = (mine - mean) / scale, (theirs - mean) / scale
        lost = self._lost()
        found = np.empty((len(mine), len(self.workup.steps)))
        for start in range(0, len(mine), _AT_ONCE):
            rows = mine[start : start + _AT_ONCE]
            distance = ((rows**2).sum(1)[:, None] + (theirs**2).sum(1) - 2 * rows @ theirs.T).clip(min=0)
            merit = self._weights(distance) @ lost.T + weight * self.price
            found[start : start + _AT_ONCE] = _towards(self, state, merit)
        return found

    def _lost(self) -> Floats:
        """Return what the patients lose in every state, shape ``(states, patients)``."""
        return self.loss

    @abstractmethod
    def _weights(self, distance: Floats) -> Floats:
        """Return weights that sum to 1 from squared distances, both ``(new patients, patients)``."""


class _Neighbours(_Alike):
    def __init__(self, workup: Workup, axis: str, shown: Shown, label: NDArray[np.int64], measure: str, n: int) -> None:
        super().__init__(workup, axis, shown, label, measure)
        self.n = min(n, len(label))

    def _weights(self, distance: Floats) -> Floats:
        nearest = np.argpartition(distance, self.n - 1, axis=1)[:, : self.n]
        found = np.zeros_like(distance)
        np.put_along_axis(found, nearest, 1.0 / self.n, axis=1)
        return found


@register_policy("similarity")
@dataclass(frozen=True, kw_only=True)
class SimilarityPolicy(_KeepsHistory):
    """Weigh all earlier patients by similarity, and expect the uncertainty that they were left with.

    In the style of CEEDesigns: the worth of a step is what the best state that contains it takes off the expected loss
    (with ``measure="log_loss"`` the entropy), less its price; a patient weighs
    ``exp(-sharpness * distance^2 / features)``.

    Parameters
    ----------
    sharpness : how much less those weigh who are further away.

    References
    ----------
    CEEDesigns.jl, cost-efficient experimental designs, Merck 2023: generative designs with similarity weighting.
    """

    sharpness: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sharpness > 0:
            raise ScanwiseError(f"policy.sharpness must be above 0, but got {self.sharpness}")

    def _guide(self, workup: Workup, axis: str, shown: Shown, label: NDArray[np.int64]) -> Guide:
        return _Similarity(workup, axis, shown, label, self.measure, self.sharpness)


class _Similarity(_Alike):
    def __init__(
        self, workup: Workup, axis: str, shown: Shown, label: NDArray[np.int64], measure: str, sharpness: float
    ) -> None:
        super().__init__(workup, axis, shown, label, measure)
        self.sharpness = sharpness
        self._expected = expected_loss(shown.log_odds, measure)

    def _lost(self) -> Floats:
        return self._expected

    def _weights(self, distance: Floats) -> Floats:
        near = distance - distance.min(axis=1, keepdims=True)
        found = np.exp(-self.sharpness * near / (4 + len(self.workup.tracks)))
        normed: Floats = found / found.sum(axis=1, keepdims=True)
        return normed


@register_policy("random")
@dataclass(frozen=True, kw_only=True)
class RandomPolicy(Policy):
    """Any step; ends with the budget, or when everything was done."""

    def fit(self, history: History, *, axis: str, weights: Floats, seed: int) -> Guide:
        """See `Policy.fit`."""
        del weights, seed
        return _Random(history.workup, axis)

    def read(self, workup: Workup, axis: str, arrays: Mapping[str, NDArray[typing.Any]]) -> Guide:
        """See `Policy.read`."""
        del arrays
        return _Random(workup, axis)


class _Random(Guide):
    def worth(self, state: int, shown: Shown, weight: float, rng: np.random.Generator) -> Floats:
        """See `Guide.worth`."""
        del weight
        after = self.workup.after[state]
        return np.where(after >= 0, rng.uniform(0.1, 1.0, (shown.log_odds.shape[1], len(after))), -np.inf)


def _towards(guide: Guide, state: int, merit: Floats) -> Floats:
    """Return what every step is worth when afterwards the best state that contains it is reached.

    Of steps that lead to the same place the smallest comes first.

    Parameters
    ----------
    merit : expected loss and weighed price of every state, shape ``(patients, states)``.

    Returns
    -------
    Shape ``(patients, steps)``.
    """
    found = guide.workup.gains(state, merit)
    best = found.max(axis=1, initial=-np.inf)
    paid = np.where(found >= best[:, None] - 1e-12, guide.prices_from(state), np.inf)
    first, pays = paid.argmin(axis=1), best > 0
    found[pays, first[pays]] += 1e-9
    return found
