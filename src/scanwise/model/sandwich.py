"""Which protocols a training step decodes."""

from __future__ import annotations

import numpy as np

from scanwise.design import Menu, Protocol, random_protocol, settings_of


def sandwich(menu: Menu, n: int, rng: np.random.Generator) -> list[Protocol]:
    """Return `n` protocols: the full one, the smallest, current practice, every modality alone, and random ones.

    The sandwich rule of slimmable networks (Yu and Huang 2019, arXiv 1903.05134). The chance of a modality differs from
    protocol to protocol, so that short and long ones are equally frequent.
    """
    fixed = [menu.everything() | menu.always, menu.always, menu.reference]
    fixed += [menu.protocol(name) for name in menu.modalities if name not in menu.always.modalities]
    n_random = max(1, n - len(fixed))
    return fixed[: n - 1] + [random_protocol(menu, rng, probability=rng.uniform(0.1, 0.9)) for _ in range(n_random)]


def small_lattice(menu: Menu, limit: int) -> list[Protocol]:
    """Return every protocol of the menu where there are at most `limit`, otherwise nothing."""
    protocols = [menu.always]
    for name, modality in menu.modalities.items():
        if name in menu.always.modalities:
            continue
        grown = list(protocols)
        for counts in settings_of(modality):
            grown += [protocol | Protocol({name: counts}) for protocol in protocols]
            if len(grown) > limit:
                return []
        protocols = grown
    return protocols
