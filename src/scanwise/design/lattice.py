"""Every setting a modality offers, all combinations of them, and protocols drawn at random from a menu."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanwise.design.menu import Menu
from scanwise.design.modality import Modality
from scanwise.design.protocol import Protocol
from scanwise.design.scheme import Value


def settings_of(modality: Modality) -> Iterator[tuple[int, ...]]:
    """Iterate over the distinct counts that the schemes of a modality offer, in scheme order, without "not at all"."""
    seen: set[tuple[int, ...]] = set()
    for scheme in modality.schemes:
        for setting in scheme.settings(modality.shots):
            counts = tuple(int(count) for count in scheme.counts(modality.shots, setting))
            if any(counts) and counts not in seen:
                seen.add(counts)
                yield counts


def relative_lengths(modality: Modality, settings: Iterable[tuple[int, ...]]) -> dict[tuple[int, ...], float]:
    """Return how long each setting is, as a share of the usual price of the shots (their number where all are free)."""
    price = modality.shots.unit_costs.sum(axis=1)
    price = price if price.any() else np.ones(len(price))
    usual = float(modality.standard @ price)
    return {setting: float(np.array(setting) @ price) / usual for setting in settings}


@dataclass(frozen=True, eq=False)
class Product:
    """All protocols that take one of several settings of every modality, without listing them.

    Rows are numbered as by `itertools.product`, the last modality changing fastest.

    Parameters
    ----------
    fixed : what every protocol contains.
    choices : settings per modality, each the counts of its shots; ``()`` = not at all. None of `fixed`.
    """

    fixed: Protocol
    choices: Mapping[str, tuple[tuple[int, ...], ...]]

    @property
    def shape(self) -> tuple[int, ...]:
        """How many settings every modality has."""
        return tuple(len(patterns) for patterns in self.choices.values())

    def __len__(self) -> int:
        return math.prod(self.shape)

    def settings(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return which setting of each modality the protocols of some rows take, shape ``(rows, modalities)``."""
        if not self.choices:
            return np.zeros((len(rows), 0), dtype=np.int64)
        return np.stack(np.unravel_index(rows, self.shape), axis=1).astype(np.int64)

    def rows(self, settings: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of the protocols with some settings, shape ``(rows, modalities)``; undoes `settings`."""
        strides = np.cumprod((*self.shape, 1)[::-1])[-2::-1]  # the last modality changes fastest
        found: NDArray[np.int64] = settings @ strides
        return found

    def row(self, protocol: Protocol) -> int | None:
        """Return the row of a protocol, `None` where it is not among them."""
        at = []
        for name, patterns in self.choices.items():
            if protocol.counts(name) not in patterns:
                return None
            at.append(patterns.index(protocol.counts(name)))
        row = int(self.rows(np.array([at], dtype=np.int64))[0])
        return row if self.protocols(np.array([row]))[0] == protocol else None

    def protocols(self, rows: NDArray[np.int64]) -> list[Protocol]:
        """Return the protocols of some rows."""
        fixed = dict(self.fixed.items())
        return [
            Protocol(
                {
                    **fixed,
                    **{
                        name: patterns[index]
                        for (name, patterns), index in zip(self.choices.items(), settings, strict=True)
                    },
                }
            )
            for settings in self.settings(rows).tolist()
        ]

    def counts(self, menu: Menu, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the counts of the protocols of some rows, shape ``(rows, shots)``; see `Menu.matrix`."""
        counts = np.repeat(menu.matrix([self.fixed]), len(rows), axis=0)
        for (name, patterns), at in zip(self.choices.items(), self.settings(rows).T, strict=True):
            columns = menu.columns(name)
            counts[:, columns] = menu.matrix([Protocol({name: pattern}) for pattern in patterns])[at, columns]
        return counts

    def prices(self, menu: Menu) -> NDArray[np.float64]:
        """Return the cost of every protocol, shape ``(len(self), axes)``; see `Menu.price_many`."""
        costs, needs = menu.unit_prices([self.fixed])
        for name, patterns in self.choices.items():
            added, needed = menu.unit_prices([Protocol({name: pattern}) for pattern in patterns])
            costs = (costs[:, None] + added).reshape(-1, added.shape[1])
            needs = (needs[:, None] | needed).reshape(len(costs), needed.shape[1])
        return costs + menu.setup_prices(needs)


def random_counts(modality: Modality, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw a scheme of a modality and its parameters uniformly; return the counts, shape ``(shots,)``."""
    scheme = modality.schemes[rng.integers(len(modality.schemes))]
    setting: dict[str, Value] = {}
    for parameter in scheme.parameters(modality.shots):
        if parameter.choices:
            setting[parameter.name] = parameter.choices[rng.integers(len(parameter.choices))]
        elif parameter.integer:
            setting[parameter.name] = int(rng.integers(int(parameter.low), int(parameter.high) + 1))
        elif parameter.log:
            setting[parameter.name] = float(np.exp(rng.uniform(np.log(parameter.low), np.log(parameter.high))))
        else:
            setting[parameter.name] = float(rng.uniform(parameter.low, parameter.high))
    return scheme.counts(modality.shots, setting)


def random_protocol(menu: Menu, rng: np.random.Generator, probability: float = 0.5) -> Protocol:
    """Draw a protocol: each modality with the given probability, its scheme and parameters uniformly.

    Parameters
    ----------
    menu : what is on offer; what is always acquired is part of the protocol.
    rng : source of randomness.
    probability : chance of each modality.
    """
    counts: dict[str, tuple[int, ...]] = {}
    for name, modality in menu.modalities.items():
        if rng.random() < probability:
            counts[name] = tuple(random_counts(modality, rng).tolist())
    return Protocol(counts) | menu.always
