"""What a search tries between its starting protocols and its sampler: sums of what every part seemed worth."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scanwise.design import COST_AXES, Product, Protocol
from scanwise.search._scoring import Limits, Yardstick
from scanwise.search.front import nondominated
from scanwise.search.result import DIAGNOSIS
from scanwise.search.space import SearchSpace

MAX_CANDIDATES = 4096
"""Protocols among which the next proposal is looked for."""
LEAST_GAIN = 1e-4
"""Nothing more is proposed where the best would add no more than this share of the hypervolume."""
_NOT_ADDITIVE = 0.05  # variance of what the sum leaves unexplained, as a share of the mean square of what is explained
_POWERS = (1.0, 2.0)  # of the value above the least protocol: either may be what adds up
_BLOCK = 256  # candidates whose gains are worked out at once
_ROUNDING = 1e-9  # gains that differ by no more, as a share, are the same


class AdditiveStart:
    """Proposes what promises most if the parts of a protocol add up.

    Every search scores each modality alone, so what a combination is worth can be guessed before any was scored: what
    different modalities tell adds up, roughly. The guess is too high where they tell the same, but it ranks
    combinations better than chance, and chance is all a sampler has before it has learned from dozens of trials. What
    is scored corrects the guess.

    The model is a Bayesian linear regression of the value above that of the least protocol, or of its square, whatever
    tells the scored protocols better from each other. An AUC that starts near 0.5 levels off, and its square does so
    less: there it grows like the squared distance between the classes, which is what adds up. A shot that is taken adds
    its weight divided by the root of the number of shots of its modality; one that is averaged less often than in
    `SearchSpace.alone` adds a share of it, one that is averaged more often adds no more. Before anything is scored all
    weights are the same, and as uncertain as they are large. None is negative, as what is taken need not be looked at.

    Looked through are the protocols of the lattice where they are at most `MAX_CANDIDATES`; otherwise the modalities
    as they are alone, in all combinations; where these are too many as well, nothing is proposed.

    What the model has wrong goes on promising what is not there. Once as many further protocols in a row as
    the search started from have added less than `LEAST_GAIN`, nothing is proposed any more.

    Parameters
    ----------
    space, limits, yardstick : of the search; what is over a limit is not proposed.
    first : the protocols it starts from.
    """

    def __init__(
        self, space: SearchSpace, *, limits: Limits, yardstick: Yardstick, first: Collection[Protocol]
    ) -> None:
        self._space = space
        self._limits = limits
        self._first = {protocol.key for protocol in first}
        self._is_over = False
        self._upper = {
            COST_AXES.index(name): upper
            for name, upper in zip(yardstick.objectives, yardstick.upper, strict=True)
            if name != DIAGNOSIS
        }
        self._usual = {
            name: np.maximum(space.alone(name).array(name, len(modality.shots)), 1)
            for name, modality in space.optional.items()
        }
        self._candidates: list[Protocol] | None = None
        self._features = self._costs = np.empty((0, 0))
        self._known: tuple[NDArray[np.float64], NDArray[np.float64]] = (np.empty(0), np.empty((0, len(self._upper))))
        self._weights: NDArray[np.float64] | None = None
        self._least = 0.0
        self._power = 1.0

    def learn(self, scores: Mapping[str, float]) -> None:
        """Learn from all that has been scored, values by protocol key in the order in which they were scored."""
        self._weights = None
        if self._is_over or self._space.mandatory.key not in scores:  # the latter: there is nothing to count from
            return
        protocols = [Protocol.from_key(key) for key in scores]
        values = np.array(list(scores.values()))
        costs = self._shares(self._space.menu.price_many(protocols))
        self._least = scores[self._space.mandatory.key]
        self._known = (values, costs)
        self._is_over = self._gained_nothing([key in self._first for key in scores])
        if not self._is_over:
            features, added = self._features_of(protocols), np.maximum(values - self._least, 0.0)
            fits = [fit_sum(features, added**power) for power in _POWERS]
            errors = [
                np.mean((np.maximum(fit.left_out, 0.0) ** (1.0 / power) - added) ** 2)
                for power, fit in zip(_POWERS, fits, strict=True)
            ]
            best = int(np.argmin(errors))
            self._weights, self._power = fits[best].weights, _POWERS[best]

    def propose(self, asked: Collection[str], running: Collection[str]) -> Protocol | None:
        """Return the protocol that promises to add most hypervolume, `None` where none promises enough.

        Parameters
        ----------
        asked : keys of protocols that are not proposed again.
        running : keys of those whose scores are not known yet; they count with what the model expects of them.
        """
        if self._weights is None:
            return None
        candidates = self._candidates_within()
        free = np.array([row for row, one in enumerate(candidates) if one.key not in asked], dtype=np.int64)
        if not free.size:
            return None
        values, costs = self._known
        if running:
            expected = [Protocol.from_key(key) for key in sorted(running)]
            values = np.concatenate([values, self._expected(self._features_of(expected))])
            costs = np.concatenate([costs, self._shares(self._space.menu.price_many(expected))])
        floor = min(0.0, float(values.min()))
        promised = self._expected(self._features[free])
        there = Staircase(values - floor, costs)
        gains = there.gains(promised - floor, self._costs[free])
        best = int(np.argmax(gains >= gains.max() * (1.0 - _ROUNDING)))  # the first of those that are the same
        return candidates[int(free[best])] if gains[best] > LEAST_GAIN * there.volume else None

    def _expected(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values that the model expects; only after it has learned."""
        added = np.zeros(len(features)) if self._weights is None else features @ self._weights
        return self._least + added ** (1.0 / self._power)

    def _gained_nothing(self, is_first: Sequence[bool]) -> bool:
        """Whether the last protocols, as many as the search started from, added next to nothing to the rest."""
        last = np.flatnonzero(~np.array(is_first))[-len(self._first) :]
        if len(last) < len(self._first):
            return False
        values, costs = self._known
        values = values - min(0.0, float(values.min()))
        before = np.delete(np.arange(len(values)), last)
        volume = Staircase(values, costs).volume
        return volume - Staircase(values[before], costs[before]).volume <= LEAST_GAIN * volume

    def _candidates_within(self) -> list[Protocol]:
        """List what may be proposed, once, with its features and its costs."""
        if self._candidates is None:
            space = self._space
            if space.fits(MAX_CANDIDATES):
                product = space.product()
            elif 2 ** len(space.optional) <= MAX_CANDIDATES:
                alone = {name: ((), space.alone(name).counts(name)) for name in space.optional}
                product = Product(space.mandatory, alone)
            else:
                product = Product(space.mandatory, {})
            prices = product.prices(space.menu)
            rows = np.flatnonzero(self._limits.within(prices))
            self._candidates = product.protocols(rows)
            self._features = self._features_of(self._candidates)
            self._costs = self._shares(prices[rows])
        return self._candidates

    def _features_of(self, protocols: Sequence[Protocol]) -> NDArray[np.float64]:
        """Return what is multiplied by the weights, shape ``(protocols, shots of what is optional)``."""
        menu = self._space.menu
        counts = menu.matrix(protocols)
        blocks = [
            np.minimum(counts[:, menu.columns(name)] / usual, 1.0) / math.sqrt(len(usual))
            for name, usual in self._usual.items()
        ]
        return np.concatenate([np.empty((len(protocols), 0)), *blocks], axis=1)

    def _shares(self, costs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return costs, shape ``(protocols, axes)``, as shares of their upper ends, only those traded off."""
        return costs[:, list(self._upper)] / np.array(list(self._upper.values()))


class Fit(NamedTuple):
    """A sum fitted to what protocols add."""

    weights: NDArray[np.float64]
    """Mean of the posterior, negative ones as 0, shape ``(shots,)``."""
    left_out: NDArray[np.float64]
    """What each protocol is expected to add, judged by the others, shape ``(protocols,)``."""


def fit_sum(features: NDArray[np.float64], target: NDArray[np.float64]) -> Fit:
    """Fit a Bayesian linear regression.

    The prior is normal, with the same mean for all weights, the sum of the target over that of the features, and this
    mean as its standard deviation. Where the mean is not above 0, all weights are 0.

    Parameters
    ----------
    features : shape ``(protocols, shots)``.
    target : what each protocol adds to the least one, shape ``(protocols,)``.
    """
    n, width = features.shape
    total, noise = float(features.sum()), _NOT_ADDITIVE * float(np.mean(target**2))
    slope = float(target.sum()) / total if total else 0.0
    if slope <= 0.0 or not noise:
        return Fit(np.zeros(width), np.zeros(n))
    left = target - slope * features.sum(axis=1)
    inverse = np.linalg.inv(features @ features.T + noise / slope**2 * np.eye(n))
    dual = inverse @ left
    return Fit(np.maximum(slope + features.T @ dual, 0.0), target - dual / np.diag(inverse))


class Staircase:
    """The best value that can be had at each cost, constant in the cells between the costs of some points.

    Much faster than `hypervolume` for every one of thousands of further points: one of them adds what it lies above the
    staircase, cell by cell.

    Parameters
    ----------
    values : higher is better, counted from the reference point, shape ``(points,)``.
    costs : one or two costs, lower is better, 1 = the reference point, shape ``(points, costs)``.
    """

    def __init__(self, values: NDArray[np.float64], costs: NDArray[np.float64]) -> None:
        costs = _two(costs)
        kept = nondominated(np.column_stack([values, costs]), (True, False, False)) & (costs < 1.0).all(axis=1)
        self._edges = [np.unique(np.concatenate([[0.0, 1.0], axis])) for axis in costs[kept].T]
        self._widths = [np.diff(edges) for edges in self._edges]
        level = np.zeros([len(widths) for widths in self._widths])
        np.maximum.at(level, self._cells(costs[kept]), values[kept])
        self._level = np.maximum.accumulate(np.maximum.accumulate(level, axis=0), axis=1)
        self.volume = float(self._widths[0] @ self._level @ self._widths[1])
        """The hypervolume of the points."""

    def gains(self, values: NDArray[np.float64], costs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what each of some further points alone would add; 0 where it is known to be less than the most."""
        gains = np.zeros(len(values))
        costs = np.minimum(_two(costs), 1.0)
        bounds = np.maximum(values - self._level[self._cells(costs)], 0.0) * (1.0 - costs).prod(axis=1)
        order = np.argsort(-bounds, kind="stable")
        for start in range(0, len(order), _BLOCK):
            rows = order[start : start + _BLOCK]
            if bounds[rows[0]] <= gains.max() * (1.0 - _ROUNDING):
                break
            first, second = (
                np.clip(edges[1:] - costs[rows, axis, None], 0.0, widths)
                for axis, (edges, widths) in enumerate(zip(self._edges, self._widths, strict=True))
            )
            above = np.maximum(values[rows, None, None] - self._level, 0.0)
            gains[rows] = np.einsum("rij,ri,rj->r", above, first, second)
        return gains

    def _cells(self, costs: NDArray[np.float64]) -> tuple[NDArray[np.int64], ...]:
        """Return the cell in which each point lies, or at whose lower edges."""
        return tuple(
            np.minimum(np.searchsorted(edges, axis, side="right") - 1, len(edges) - 2)
            for edges, axis in zip(self._edges, costs.T, strict=True)
        )


def _two(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add a second cost that is always 0 where there is only one."""
    return costs if costs.shape[1] == 2 else np.column_stack([costs, np.zeros(len(costs))])
