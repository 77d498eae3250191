"""Every setting a modality offers, and protocols drawn at random from a menu."""

from __future__ import annotations

from collections.abc import Iterator

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
