"""Mixtures of normal distributions: what a measurement would tell, and what it makes worth doing, is known before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp, rel_entr
from scipy.stats import norm, qmc
from sklearn.cluster import KMeans
from torch import Tensor

from scanwise.design import Patients
from scanwise.errors import ScanwiseError
from scanwise.model._walk import walk_greedily
from scanwise.model.measurements import Measurements

Floats = NDArray[np.float64]

_TINY = 1e-12
_ROUNDS = 100
_SETTLED = 1e-4
"""Change of the bound on the log-likelihood per row, in one round, below which nothing changes any more."""
_GROUPINGS = 10
_GRID = 300
"""Places at which the prior of the means may have mass."""
_PRIOR_ROUNDS = 50
_STATES_AT_ONCE = 256
_ALIKE = 0.2
"""Means this many spreads apart are alike where values are imagined."""


@dataclass(frozen=True)
class MixtureModel:
    """Every class is a mixture of normal distributions; given a part, measurements are independent of each other.

    Parts of all classes share the spread of every number. Their means are shrunk towards what the means of all parts
    and numbers look like, so that small cohorts do not read noise. Any subset of measurements can be read, and the
    mutual information of the next one with the class is taken under the model.

    Parameters
    ----------
    most : parts per class at most; Schwarz's criterion chooses how many.
    draws : values of a measurement that are imagined for parts with the same mean.

    References
    ----------
    Hastie T, Tibshirani R. Discriminant analysis by Gaussian mixtures. J R Stat Soc B 1996;58:155-176.
    Kiefer J, Wolfowitz J. Consistency of the maximum likelihood estimator in the presence of infinitely many incidental
    parameters. Ann Math Stat 1956;27:887-906.
    Dicker LH, Zhao SD. High-dimensional classification via nonparametric empirical Bayes and maximum likelihood
    inference. Biometrika 2016;103:21-34.
    Attias H. A variational Bayesian framework for graphical models. NeurIPS 1999.
    Schwarz G. Estimating the dimension of a model. Ann Stat 1978;6:461-464.
    MacKay DJC. Information-based objective functions for active data selection. Neural Comput 1992;4:590-604.
    """

    most: int = 8
    draws: int = 16

    def __post_init__(self) -> None:
        for name in ("most", "draws"):
            if getattr(self, name) < 1:
                raise ScanwiseError(f"{name} must be at least 1, but is {getattr(self, name)}")

    def fit(self, measurements: Measurements, rows: Patients, *, seed: int) -> MixtureReader:
        """Fit mixtures of one to `most` parts per class, and return the one that Schwarz's criterion prefers.

        Raises
        ------
        ScanwiseError
            If the target is not a class.
        """
        if measurements.kind != "classes":
            raise ScanwiseError(
                f"mixtures tell classes, but the target is {measurements.kind!r}", "use the network of SubsetModel"
            )
        values = measurements.values[rows].reshape(len(rows), -1).astype(np.float64)
        varies = values.std(0) > 0
        label = measurements.target[rows]
        fits: list[_Fit] = []
        for parts in range(1, self.most + 1):
            fits.append(_Fit(values[:, varies], label, measurements.n_outputs, parts, [seed, parts]))
            if parts > 1 and fits[-1].criterion > fits[-2].criterion:
                break  # one part more was worse: so will be two
        return MixtureReader(measurements, varies, min(fits, key=lambda fit: fit.criterion), self.draws, seed)


class _Fit:
    """A mixture of so many parts per class, by variational expectation maximisation (Attias 1999).

    Attributes
    ----------
    share : of each part in all rows, shape ``(parts,)``.
    mean, spread : of the next value of every number in every part, shapes ``(parts, numbers)``; the spread counts that
        the mean is not known for certain.
    of_class : the class of every part, 0 or 1, shape ``(parts, classes)``.
    criterion : of Schwarz, with the bound for the likelihood; lower is better.
    """

    def __init__(self, values: Floats, label: NDArray[np.int64], n_classes: int, parts: int, seed: list[int]) -> None:
        self.parts = parts
        self.of_class = np.repeat(np.eye(n_classes), parts, axis=0)
        n = len(values)
        centre, scale = values.mean(0), values.std(0)
        scaled = (values - centre) / scale
        member = self._grouped(scaled, label, seed)
        weight = member.sum(0) + _TINY
        variance = _variance(scaled, member, member.T @ scaled / weight[:, None])
        before = -np.inf
        for _ in range(_ROUNDS):
            weight = member.sum(0) + _TINY
            self.share, n_free = self._shares(weight, n)
            means = member.T @ scaled / (weight[:, None] * np.sqrt(variance))
            mean, doubt, divergence = _shrunk(means, weight)
            mean *= np.sqrt(variance)
            doubt *= variance
            variance = _variance(scaled, member, mean, doubt)
            density = self._density(scaled, mean, variance) - 0.5 * (doubt / variance).sum(1)
            density = np.where(self.of_class.T[label] > 0, density, -np.inf)
            likelihood = logsumexp(density, axis=1, keepdims=True)
            member = np.exp(density - likelihood)
            bound = float(likelihood.mean()) - divergence / n
            if abs(bound - before) < _SETTLED:
                break
            before = bound
        self.criterion = -2 * n * bound + n_free * np.log(n)
        self.mean, self.spread = centre + mean * scale, np.sqrt(variance + doubt) * scale

    def _grouped(self, scaled: Floats, label: NDArray[np.int64], seed: list[int]) -> Floats:
        """Return which part every row begins in, 0 or 1, shape ``(rows, parts)``."""
        member = np.zeros((len(label), len(self.of_class)))
        state = int(np.random.default_rng([*seed, 0x6D78]).integers(2**31))
        for which in range(self.of_class.shape[1]):
            rows = np.flatnonzero(label == which)
            if 1 < self.parts < len(rows):
                group = KMeans(self.parts, n_init=_GROUPINGS, random_state=state).fit_predict(scaled[rows])
            else:
                group = np.arange(len(rows)) % self.parts
            member[rows, which * self.parts + group] = 1
        return member

    def _shares(self, weight: Floats, n: int) -> tuple[Floats, int]:
        """Return the share of every part, and how many are free: parts of a class are alike unless it shows."""
        by_class = weight.reshape(-1, self.parts)
        alike = np.repeat(by_class.mean(1, keepdims=True), self.parts, axis=1)
        shows = 2 * (by_class * np.log(by_class / alike)).sum(1) > (self.parts - 1) * np.log(n)
        share = np.where(shows[:, None], by_class, alike).ravel()
        return share / share.sum(), len(by_class) - 1 + int(shows.sum()) * (self.parts - 1)

    def _density(self, scaled: Floats, mean: Floats, variance: Floats) -> Floats:
        """Return log of share times density, shape ``(rows, parts)``."""
        square = (
            ((scaled**2) / variance).sum(1)[:, None] - 2 * scaled @ (mean / variance).T + (mean**2 / variance).sum(1)
        )
        found: Floats = np.log(self.share) - 0.5 * (square + np.log(2 * np.pi * variance).sum())
        return found


def _variance(scaled: Floats, member: Floats, mean: Floats, doubt: Floats | float = 0.0) -> Floats:
    """Return the variance of every number within parts, shape ``(numbers,)``."""
    weight = member.sum(0)[:, None]
    square = (scaled**2).sum(0) - 2 * ((member.T @ scaled) * mean).sum(0) + (weight * (mean**2 + doubt)).sum(0)
    found: Floats = np.maximum(square / len(scaled), 1e-6)
    return found


def _shrunk(mean: Floats, weight: Floats) -> tuple[Floats, Floats, float]:
    """Return what the means of parts are likely to be, given what the means of all look like.

    The prior is the one on a grid that makes them likeliest (Kiefer 1956), the same for all numbers (Dicker 2016).

    Parameters
    ----------
    mean : of the rows of every part, in units of the spread within parts, shape ``(parts, numbers)``.
    weight : rows of every part, shape ``(parts,)``.

    Returns
    -------
    mean, variance : of what they are likely to be, shapes ``(parts, numbers)``.
    divergence : of that from the prior, summed (Kullback 1951) [nats].
    """
    grid = np.linspace(mean.min(), mean.max(), _GRID)
    near = -0.5 * np.repeat(weight, mean.shape[1])[:, None] * (mean.reshape(-1, 1) - grid) ** 2
    near = np.exp(near - near.max(1, keepdims=True))
    prior = np.full(_GRID, 1 / _GRID)
    for _ in range(_PRIOR_ROUNDS):
        prior *= (1 / (near @ prior)) @ near / len(near)
    likely = near * prior
    likely /= likely.sum(1, keepdims=True)
    found = likely @ grid
    doubt = np.maximum(likely @ grid**2 - found**2, 0)
    divergence = float(rel_entr(likely, prior).sum())
    return found.reshape(mean.shape), doubt.reshape(mean.shape), divergence


@dataclass(frozen=True, eq=False)
class _Imagined:
    """Values of a measurement, as many from every group of parts in which it is alike.

    Parameters
    ----------
    dense : how dense each part is at each of them, up to a factor per value, shape ``(values, parts)``; values of the
        first group come first.
    of : which group each part belongs to, 0 or 1, shape ``(parts, groups)``.
    """

    dense: Tensor
    of: Tensor

    def chance(self, state: Tensor) -> Tensor:
        """Return how likely each value is, shape ``(states, values)``."""
        each = len(self.dense) // self.of.shape[1]
        return (state @ self.of).repeat_interleave(each, dim=1) / each


class MixtureReader:
    """Reads any subset, and says what to measure next.

    Parameters
    ----------
    measurements : the problem.
    varies : which of its numbers are not the same in all learning rows, shape ``(shots x features,)``.
    fit : the mixture.
    draws, seed : of imagined values.
    """

    def __init__(self, measurements: Measurements, varies: NDArray[np.bool_], fit: _Fit, draws: int, seed: int) -> None:
        self.measurements = measurements
        self.parts_per_class = fit.parts
        self._varies = varies
        width = measurements.values.shape[2]
        self._shot = np.flatnonzero(varies) // width
        self._mean = torch.from_numpy(fit.mean).float()
        self._spread = torch.from_numpy(fit.spread).float()
        self._share = torch.from_numpy(fit.share).float()
        self._class = torch.from_numpy(fit.of_class).float()
        self._imagined = [self._imagine(shot, draws, seed) for shot in range(measurements.n_shots)]

    @torch.inference_mode()
    def tell(self, taken: NDArray[np.bool_], rows: Patients) -> NDArray[np.float32]:
        """Return probabilities, shape ``(subsets, rows, classes)``.

        Parameters
        ----------
        taken : subsets, shape ``(subsets, shots)``.
        rows : who is told.
        """
        says = self._says(rows)
        told = [self._of(says[:, torch.from_numpy(mask)].sum(1)) @ self._class for mask in taken]
        return cast("NDArray[np.float32]", torch.stack(told).numpy())

    @torch.inference_mode()
    def walk(self, rows: Patients, n: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Measure every row n times, each time what tells most about its class after what it has shown.

        The first measurement, before which all rows are alike, is chosen with what the best second one would then
        tell: what says nothing but where to look is bought if looking there pays.

        Parameters
        ----------
        rows : who is measured.
        n : measurements.

        Returns
        -------
        told : probabilities after 1 to n measurements, shape ``(n, rows, classes)``.
        order : what was measured, shape ``(rows, n)``.

        Raises
        ------
        ScanwiseError
            If there are fewer than n measurements.
        """
        says = self._says(rows)
        everyone = torch.arange(len(rows))
        said = torch.zeros(len(rows), len(self._share))

        def gain(step: int) -> Tensor:
            if step == 0:
                return self._worth_first(looks_ahead=n > 1).expand(len(rows), -1)
            return self.information(self._of(said))

        def measure(now: Tensor) -> Tensor:
            nonlocal said
            said += says[everyone, now]
            return self._of(said) @ self._class

        return walk_greedily(len(rows), self.measurements.n_shots, n, gain=gain, measure=measure)

    def _worth_first(self, looks_ahead: bool) -> Tensor:
        """Return what each measurement is worth before any was made, with what the best second one would then tell."""
        worth = self.information(self._share[None])[0]
        if looks_ahead:
            for shot, imagined in enumerate(self._imagined):
                joint = self._share * imagined.dense
                second = self.information(joint / joint.sum(1, keepdim=True).clamp(min=_TINY))
                second[:, shot] = 0
                worth[shot] += imagined.chance(self._share[None])[0] @ second.max(dim=1).values
        return worth

    @torch.inference_mode()
    def information(self, state: Tensor) -> Tensor:
        """Return what each measurement would tell of the class, shape ``(states, shots)`` [nats].

        Parameters
        ----------
        state : probabilities of the parts, shape ``(states, parts)``.
        """
        gains = []
        for some in state.split(_STATES_AT_ONCE):
            now = torch.special.entr(some @ self._class).sum(1)
            left = []
            for imagined in self._imagined:
                joint = some @ (imagined.dense.T[:, :, None] * self._class[:, None]).flatten(1)
                joint = joint.view(len(some), len(imagined.dense), -1)  # of each value and class
                entropy = torch.special.entr(joint / joint.sum(2, keepdim=True).clamp(min=_TINY)).sum(2)
                left.append((imagined.chance(some) * entropy).sum(1))
            gains.append(now[:, None] - torch.stack(left, dim=1))
        return torch.cat(gains)

    def _imagine(self, shot: int, draws: int, seed: int) -> _Imagined:
        own = self._shot == shot
        mean, spread = self._mean[:, own], self._spread[:, own]
        _, group = np.unique(torch.round(mean / spread / _ALIKE).numpy(), axis=0, return_inverse=True)
        of = torch.nn.functional.one_hot(torch.from_numpy(group.ravel())).float()
        size = of.sum(0)[:, None]
        unit = torch.zeros(draws, 0)
        if own.any():
            drawn = qmc.Sobol(int(own.sum()), seed=seed).random(draws).clip(1e-6, 1 - 1e-6)
            unit = torch.from_numpy(norm.ppf(drawn)).float()
        values = (of.T @ mean / size)[:, None] + unit * (of.T @ spread / size)[:, None]
        off = (values.flatten(0, 1)[:, None] - mean) / spread
        square = off.square().sum(2) + 2 * torch.log(spread).sum(1)
        return _Imagined(torch.exp(-(square - square.min(1, keepdim=True).values) / 2), of)

    def _says(self, rows: Patients) -> Tensor:
        """Return the log density of every measurement in every part, shape ``(rows, shots, parts)``."""
        values = torch.from_numpy(self.measurements.values[rows].reshape(len(rows), -1)[:, self._varies])
        found = torch.zeros(len(rows), self.measurements.n_shots, len(self._share))
        for number, shot in enumerate(self._shot):
            off = (values[:, number, None] - self._mean[:, number]) / self._spread[:, number]
            found[:, shot] -= off.square() / 2 + torch.log(self._spread[:, number])
        return found

    def _of(self, said: Tensor) -> Tensor:
        """Return probabilities of the parts, from what was said of them."""
        return torch.softmax(said + torch.log(self._share), dim=-1)
