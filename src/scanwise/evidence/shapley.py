"""What each part of an examination is worth on average over everything else that may have been done.

A game of `n` players gives every subset a value; here players are modalities and the value of a subset is the AUC of
the protocol that consists of it. Subsets are numbered by their bits: player 0 is the lowest bit.

References
----------
.. [1] Shapley (1953), Contributions to the Theory of Games II, 307-317.
.. [2] Grabisch, Roubens (1999), International Journal of Game Theory 28:547-565: the interaction of two players.
"""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def shapley_weights(n: int) -> FloatArray:
    """Return the weights of the subsets' values in the Shapley value [1]_ of every player, ``(players, subsets)``.

    The values of all players sum to the value of all minus the value of none.
    """
    size = _sizes(n)
    weights = np.zeros((n, 2**n))
    for player in range(n):
        without = _without(n, player)
        share = np.array([factorial(s) * factorial(n - s - 1) / factorial(n) for s in size[without]])
        weights[player, without] = -share
        weights[player, without | 1 << player] = share
    return weights


def interaction_weights(n: int) -> tuple[list[tuple[int, int]], FloatArray]:
    """Return all pairs of players, and the weights of the subsets' values in their interaction [2]_.

    Positive: together they are worth more than the sum of both; negative: one can stand in for the other.

    Returns
    -------
    pairs : lower player first.
    weights : shape ``(pairs, subsets)``.
    """
    size, pairs = _sizes(n), list(combinations(range(n), 2))
    weights = np.zeros((len(pairs), 2**n))
    for row, (one, other) in enumerate(pairs):
        without = _without(n, one, other)
        share = np.array([factorial(s) * factorial(n - s - 2) / factorial(n - 1) for s in size[without]])
        weights[row, without] = share
        weights[row, without | 1 << one] = -share
        weights[row, without | 1 << other] = -share
        weights[row, without | 1 << one | 1 << other] = share
    return pairs, weights


def _sizes(n: int) -> NDArray[np.int64]:
    return np.array([bin(subset).count("1") for subset in range(2**n)])


def _without(n: int, *players: int) -> NDArray[np.int64]:
    subsets = np.arange(2**n)
    return subsets[(subsets & sum(1 << player for player in players)) == 0]
