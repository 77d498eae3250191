"""The seam of this room: what every policy can be asked, and the register of those there are."""

from __future__ import annotations

import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from scanwise.design import Menu
from scanwise.errors import ScanwiseError, did_you_mean
from scanwise.policy.history import History, Shown, check_measure
from scanwise.policy.workup import Workup

Floats = NDArray[np.float64]

_WEIGHTS = (0.05, 5.0)
"""Smallest and largest price weight, as shares of what everything together takes off the loss per price."""
_POLICIES: dict[str, type[Policy]] = {}


class Guide(ABC):
    """A learned policy: says what every next step is worth.

    Parameters
    ----------
    workup : states and steps.
    axis : the price that is weighed.
    """

    def __init__(self, workup: Workup, axis: str) -> None:
        self.workup = workup
        self.axis = axis
        self.price = workup.price(axis)

    @abstractmethod
    def worth(self, state: int, shown: Shown, weight: float, rng: np.random.Generator) -> Floats:
        """Return what each step is worth, shape ``(patients, steps)``, less its price times the weight.

        Stop where nothing is above 0. Minus infinity where a step brings nothing new.

        Parameters
        ----------
        state : what was done.
        shown : what patients have shown; what was not done yet is never looked at, it may be NaN.
        weight : nats per unit of price.
        rng : of policies that draw lots.
        """

    def prices_from(self, state: int) -> Floats:
        """Return the price of every step from a state, shape ``(steps,)``; infinite where it brings nothing."""
        after = self.workup.after[state]
        return np.where(after >= 0, self.price[after] - self.price[state], np.inf)

    def arrays(self) -> Mapping[str, NDArray[typing.Any]]:
        """Return what was learned, for files; `Policy.read` takes it back."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Policy(ABC):
    """Settings of a policy; `fit` learns one from patients of whom everything is known.

    Parameters
    ----------
    measure : the loss that steps take off; see `History.expected`.
    rungs : lengths of a scan at most.
    without : modalities that are never done.
    n_weights : price weights at which it is learned and judged, from "whatever helps" to "nothing is worth it".
    """

    measure: str = "brier"
    rungs: int = 4
    without: Sequence[str] = ()
    n_weights: int = 21

    name: ClassVar[str]

    def __post_init__(self) -> None:
        check_measure(self.measure)
        if self.n_weights < 2:
            raise ScanwiseError(f"policy.n_weights must be at least 2, but got {self.n_weights}")

    def workup(self, menu: Menu, merit: Mapping[str, float] | None = None) -> Workup:
        """Return the states and steps of an examination on a menu; see `Workup`."""
        return Workup(menu, rungs=self.rungs, without=self.without, merit=merit)

    def weights(self, histories: Sequence[History], axis: str) -> Floats:
        """Return price weights around what everything together takes off the loss per price, ascending.

        Raises
        ------
        ScanwiseError
            If nothing on the menu costs anything on that axis.
        """
        price = histories[0].workup.price(axis)
        if not price.max() > price[0]:
            raise ScanwiseError(
                f"nothing that could be done next costs any {axis}, so there is nothing to weigh", "choose primary=..."
            )
        lost = np.mean([one.expected(self.measure).mean(axis=1) for one in histories], axis=0)
        usual = max(float(lost[0] - lost.min()), 1e-6) / float(price.max() - price[0])
        found: Floats = usual * np.geomspace(*_WEIGHTS, self.n_weights)
        return found

    @abstractmethod
    def fit(self, history: History, *, axis: str, weights: Floats, seed: int) -> Guide:
        """Learn.

        Parameters
        ----------
        history : patients, none of whom judges.
        axis : the price that is weighed.
        weights : price weights that will be asked for [nats per unit of price], ascending.
        seed : of what is random.
        """

    @abstractmethod
    def read(self, workup: Workup, axis: str, arrays: Mapping[str, NDArray[typing.Any]]) -> Guide:
        """Return the guide whose `Guide.arrays` were written."""


def at_weight(weight: float, weights: Floats, learned: Floats) -> Floats:
    """Return what was learned at price weights, at one in between: linear in its logarithm, beyond the ends as there.

    Parameters
    ----------
    weight : above 0.
    weights : ascending, shape ``(weights,)``.
    learned : shape ``(weights, ...)``.
    """
    at = np.interp(np.log(weight), np.log(weights), np.arange(len(weights)))
    low = min(int(at), len(weights) - 2)
    found: Floats = np.tensordot([1 - (at - low), at - low], learned[low : low + 2], axes=1)
    return found


def register_policy(name: str) -> Callable[[type[Policy]], type[Policy]]:
    """Enter a policy under its name."""

    def enter(cls: type[Policy]) -> type[Policy]:
        if name in _POLICIES:
            raise ScanwiseError(f"two policies are called {name!r}")
        cls.name = name
        _POLICIES[name] = cls
        return cls

    return enter


def policies() -> Mapping[str, type[Policy]]:
    """Return every registered policy by name."""
    return dict(_POLICIES)


def make_policy(name: str, **settings: typing.Any) -> Policy:
    """Return a policy by name.

    Raises
    ------
    ScanwiseError
        For an unknown name.
    """
    if name not in _POLICIES:
        raise ScanwiseError(f"there is no policy {name!r}", did_you_mean(name, _POLICIES))
    return _POLICIES[name](**settings)
