"""Mixtures of normal distributions: what a measurement would tell, and what it makes worth doing, is known before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import norm, qmc
from sklearn.cluster import KMeans
from torch import Tensor

from scanwise.design import Patients
from scanwise.errors import ScanwiseError
from scanwise.model._walk import walk_greedily
from scanwise.model.measurements import Measurements

Floats = NDArray[np.float64]

_TINY = 1e-12
_ROUNDS = 200
_SETTLED = 1e-7
"""Rise of the log-likelihood per row, in one round, below which nothing changes any more."""
_STATES_AT_ONCE = 256


@dataclass(frozen=True)
class MixtureModel:
    """Every class is a mixture of normal distributions; given a part, measurements are independent of each other.

    Parts of all classes share the spread of every number, and they share its mean where the rows do not show that it
    differs, so that small cohorts do not read noise. Any subset of measurements can be read, and the mutual information
    of the next one with the class is taken under the model.

    Parameters
    ----------
    most : parts per class at most; Schwarz's criterion chooses how many.
    starts : groupings of the rows that the fit starts from; the likeliest result stays.
    draws : values of a measurement that are imagined per part.

    References
    ----------
    Hastie T, Tibshirani R. Discriminant analysis by Gaussian mixtures. J R Stat Soc B 1996;58:155-176.
    Schwarz G. Estimating the dimension of a model. Ann Stat 1978;6:461-464.
    Rissanen J. Modeling by shortest data description. Automatica 1978;14:465-471.
    MacKay DJC. Information-based objective functions for active data selection. Neural Comput 1992;4:590-604.
    """

    most: int = 8
    starts: int = 3
    draws: int = 4

    def __post_init__(self) -> None:
        for name in ("most", "starts", "draws"):
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
        fits = []
        for parts in range(1, self.most + 1):
            for start in range(self.starts if parts > 1 else 1):
                fits.append(_Fit(values[:, varies], label, measurements.n_outputs, parts, [seed, parts, start]))
            if min(fit.criterion for fit in fits if fit.parts == parts) > min(fit.criterion for fit in fits):
                break  # one part more was worse: so will be two
        return MixtureReader(measurements, varies, min(fits, key=lambda fit: fit.criterion), self.draws, seed)


class _Fit:
    """A mixture of so many parts per class, by expectation maximisation (Dempster 1977).

    Attributes
    ----------
    share : of each part in all rows, shape ``(parts,)``.
    mean, spread : of every number in every part, shapes ``(parts, numbers)`` and ``(numbers,)``.
    of_class : the class of every part, 0 or 1, shape ``(parts, classes)``.
    criterion : of Schwarz, with the price of the levels; lower is better.
    """

    def __init__(self, values: Floats, label: NDArray[np.int64], n_classes: int, parts: int, seed: list[int]) -> None:
        self.parts = parts
        self.of_class = np.repeat(np.eye(n_classes), parts, axis=0)
        n = len(values)
        centre, scale = values.mean(0), values.std(0)
        scaled = (values - centre) / scale
        member = self._grouped(scaled, label, seed)
        before = -np.inf
        for _ in range(_ROUNDS):
            weight = member.sum(0) + _TINY
            self.share, n_free = self._shares(weight, n)
            mean = member.T @ scaled / weight[:, None]
            variance = self._variance(scaled, member, mean)
            price = n_free * np.log(n)
            for number in range(len(variance)):
                mean[:, number], paid = _levels(mean[:, number], weight / variance[number], np.log(n))
                price += paid
            variance = self._variance(scaled, member, mean)
            density = self._density(scaled, mean, variance)
            density = np.where(self.of_class.T[label] > 0, density, -np.inf)
            top = density.max(1, keepdims=True)
            member = np.exp(density - top)
            total = member.sum(1, keepdims=True)
            member /= total
            likelihood = float((top + np.log(total)).mean())
            if likelihood - before < _SETTLED:
                break
            before = likelihood
        self.criterion = -2 * n * likelihood + price
        self.mean, self.spread = centre + mean * scale, np.sqrt(variance) * scale

    def _grouped(self, scaled: Floats, label: NDArray[np.int64], seed: list[int]) -> Floats:
        """Return which part every row begins in, 0 or 1, shape ``(rows, parts)``."""
        member = np.zeros((len(label), len(self.of_class)))
        state = int(np.random.default_rng([*seed, 0x6D78]).integers(2**31))
        for which in range(self.of_class.shape[1]):
            rows = np.flatnonzero(label == which)
            if 1 < self.parts < len(rows):
                group = KMeans(self.parts, n_init=1, random_state=state).fit_predict(scaled[rows])
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

    @staticmethod
    def _variance(scaled: Floats, member: Floats, mean: Floats) -> Floats:
        weight = member.sum(0)
        square = (scaled**2).sum(0) - 2 * ((member.T @ scaled) * mean).sum(0) + (weight[:, None] * mean**2).sum(0)
        found: Floats = np.maximum(square / len(scaled), 1e-6)
        return found

    def _density(self, scaled: Floats, mean: Floats, variance: Floats) -> Floats:
        """Return log of share times density, shape ``(rows, parts)``."""
        square = (
            ((scaled**2) / variance).sum(1)[:, None] - 2 * scaled @ (mean / variance).T + (mean**2 / variance).sum(1)
        )
        found: Floats = np.log(self.share) - 0.5 * (square + np.log(2 * np.pi * variance).sum())
        return found


def _levels(mean: Floats, precision: Floats, each: float) -> tuple[Floats, float]:
    """Return means of which those that do not differ for certain are one, and what is to be paid for the levels.

    Neighbours are joined, those that lose least first (Ward 1963); of all numbers of levels the one stays that loses
    and costs least: so much for each level, and what it takes to say which part has which (Rissanen 1978).

    Parameters
    ----------
    mean, precision : of one number in every part, shape ``(parts,)``.
    each : price of a level, in units of twice the log-likelihood.
    """
    order = np.argsort(mean, kind="stable")
    value, weight, size = mean[order], precision[order], np.ones(len(mean), dtype=np.int64)
    lost, least = 0.0, np.inf
    while True:
        price = float(each * len(value) + 2 * (size * np.log(len(mean) / size)).sum())
        if lost + price <= least:
            least, paid, kept = lost + price, price, np.repeat(value, size)
        if len(value) == 1:
            break
        loss = weight[1:] * weight[:-1] / (weight[1:] + weight[:-1]) * np.diff(value) ** 2
        at = int(loss.argmin())
        lost += loss[at]
        both = weight[at] + weight[at + 1]
        value[at] = (weight[at] * value[at] + weight[at + 1] * value[at + 1]) / both
        weight[at], size[at] = both, size[at] + size[at + 1]
        value, weight, size = np.delete(value, at + 1), np.delete(weight, at + 1), np.delete(size, at + 1)
    found = np.empty_like(mean)
    found[order] = kept
    return found, paid


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
                states, chance = self._after(self._share[None], imagined)
                second = self.information(states[0])
                second[:, shot] = 0
                worth[shot] += chance[0] @ second.max(dim=1).values
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
                draws = len(imagined)
                joint = some @ (imagined.T[:, :, None] * self._class[:, None]).flatten(1)  # times density of each draw
                joint = joint.view(len(some), draws, -1)
                chance = joint.sum(2, keepdim=True)
                entropy = torch.special.entr(joint / chance.clamp(min=_TINY)).sum(2)
                weight = some.repeat_interleave(draws // some.shape[1], dim=1) * some.shape[1] / draws
                left.append((weight * entropy).sum(1))
            gains.append(now[:, None] - torch.stack(left, dim=1))
        return torch.cat(gains)

    def _after(self, state: Tensor, imagined: Tensor) -> tuple[Tensor, Tensor]:
        """Return states after each imagined value, ``(states, draws, parts)``, and how likely these values are."""
        joint = state[:, None] * imagined
        draws, parts = imagined.shape
        chance = state.repeat_interleave(draws // parts, dim=1) * parts / draws
        return joint / joint.sum(2, keepdim=True).clamp(min=_TINY), chance

    def _imagine(self, shot: int, draws: int, seed: int) -> Tensor:
        """Return how dense each part is at values drawn from every part, up to a factor per value.

        Shape ``(parts x draws, parts)``: values of the first part come first.
        """
        own = self._shot == shot
        parts = len(self._share)
        if not own.any():
            return torch.ones(parts * draws, parts)
        unit = norm.ppf(qmc.Sobol(int(own.sum()), seed=seed).random(draws).clip(1e-6, 1 - 1e-6))
        mean, spread = self._mean[:, own], self._spread[own]
        drawn = (mean[:, None] + torch.from_numpy(unit).float() * spread).flatten(0, 1)
        square = ((drawn[:, None] - mean) / spread).square().sum(2)
        return torch.exp(-(square - square.min(1, keepdim=True).values) / 2)

    def _says(self, rows: Patients) -> Tensor:
        """Return the log density of every measurement in every part, shape ``(rows, shots, parts)``."""
        values = torch.from_numpy(self.measurements.values[rows].reshape(len(rows), -1)[:, self._varies])
        found = torch.zeros(len(rows), self.measurements.n_shots, len(self._share))
        for number, shot in enumerate(self._shot):
            off = (values[:, number, None] - self._mean[:, number]) / self._spread[number]
            found[:, shot] -= off.square() / 2
        return found

    def _of(self, said: Tensor) -> Tensor:
        """Return probabilities of the parts, from what was said of them."""
        return torch.softmax(said + torch.log(self._share), dim=-1)
