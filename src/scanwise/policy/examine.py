"""How a policy fares: walks of patients who took no part in learning it, at every price weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from scanwise.policy.history import History, Shown
from scanwise.policy.policy import Guide, Policy
from scanwise.policy.walk import walk

Floats = NDArray[np.float64]

_PARTS = 5
"""Parts of the learning patients; each is examined by a policy that learned from the others."""


@dataclass(frozen=True, eq=False)
class Examined:
    """Where patients stopped at every price weight, and what was said of them then.

    Parameters
    ----------
    state : shape ``(weights, patients)``.
    depth : steps until then, shape ``(weights, patients)``.
    probability : of disease, shape ``(weights, patients)``.
    """

    state: NDArray[np.int64]
    depth: NDArray[np.int64]
    probability: Floats


def examine(guide: Guide, shown: Shown, weights: Floats, *, seed: int) -> Examined:
    """Examine patients of whom everything is known, at every weight.

    Parameters
    ----------
    guide : learned from others.
    shown : what they would show if everything was done.
    weights : price weights.
    seed : of policies that draw lots.
    """
    walks = [walk(guide, shown, float(weight), seed=seed) for weight in weights]
    state = np.stack([one.state for one in walks])
    probability = expit(np.take_along_axis(shown.log_odds, state, axis=0))
    return Examined(state, np.stack([one.depth for one in walks]), probability)


def examine_learners(policy: Policy, history: History, *, axis: str, weights: Floats, seed: int) -> Examined:
    """Examine the learning patients themselves, each by a policy that learned from the others.

    What is fixed beforehand, such as the price weight, is fixed on these.
    """
    n = len(history.label)
    part = np.random.default_rng([seed, 0x6578]).permutation(n) % _PARTS
    found = Examined(
        np.zeros((len(weights), n), dtype=np.int64),
        np.zeros((len(weights), n), dtype=np.int64),
        np.zeros((len(weights), n)),
    )
    for one in range(_PARTS):
        mine, others = np.flatnonzero(part == one), np.flatnonzero(part != one)
        guide = policy.fit(history.of(others), axis=axis, weights=weights, seed=seed)
        told = examine(guide, history.shown.of(mine), weights, seed=seed)
        found.state[:, mine], found.depth[:, mine], found.probability[:, mine] = (
            told.state,
            told.depth,
            told.probability,
        )
    return found


def fixed_front(histories: Sequence[History], axis: str, measure: str) -> NDArray[np.int64]:
    """Return the states in which more cannot be had for less, by the expected loss of learning patients, ascending."""
    price = histories[0].workup.price(axis)
    lost = np.mean([one.expected(measure).mean(axis=1) for one in histories], axis=0)
    best, found = np.inf, []
    for state in np.lexsort((lost, price)).tolist():
        if lost[state] < best:
            best = lost[state]
            found.append(state)
    return np.array(found, dtype=np.int64)
