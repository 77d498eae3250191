"""A small examination in which a test that tells nothing of the disease says which of two others does."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from scanwise.design import Cost, Menu, Setup
from scanwise.modalities.panel import TestPanel
from scanwise.policy import History, Workup


def menu() -> Menu:
    """Age for nothing; a pointer for 1; left and right for 4 each, of which 2 are shared; nothing useful for 3."""
    return Menu(
        [
            TestPanel("age", {"years": {}}),
            TestPanel("pointer", {"side": {"money": 1.0}}),
            TestPanel("left", {"value": {"money": 2.0, "setups": ["visit"]}}),
            TestPanel("right", {"value": {"money": 2.0, "setups": ["visit"]}}),
            TestPanel("useless", {"value": {"money": 3.0}}),
        ],
        [Setup("visit", Cost(money=2.0))],
        always=None,
    )


def with_age() -> Menu:
    """Return the menu on which age is always known."""
    bare = menu()
    return Menu(bare.modalities.values(), bare.setups.values(), always=bare.protocol("age"))


def history(n: int = 600, seed: int = 0) -> History:
    """Return patients with calibrated probabilities; the pointer shows which side is the one to look at."""
    rng = np.random.default_rng(seed)
    workup = Workup(with_age())
    side = rng.integers(0, 2, n)
    values = rng.normal(0, 2.5, (n, 2))  # log odds that left and right would say, if they are the ones to look at
    label = (rng.random(n) < expit(values[np.arange(n), side])).astype(np.int64)
    found = np.empty((workup.n_states, n))
    for state, (pointer, left, right, _) in enumerate(workup.levels.tolist()):
        seen = np.array([left, right]) > 0
        if pointer:
            known = seen[side]
            found[state] = np.where(known, expit(values[np.arange(n), side]), 0.5)
        else:  # either side with the same chance
            told = np.where(seen, expit(values), 0.5)
            found[state] = told.mean(axis=1)
    nothing = np.zeros((n, 0))
    return History(workup, found, label, ((2.0 * side - 1)[:, None], nothing, nothing, nothing))
