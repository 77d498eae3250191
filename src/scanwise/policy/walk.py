"""Carry examinations out: step by step, each patient by what that patient has shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanwise.errors import ScanwiseError
from scanwise.policy.history import Shown
from scanwise.policy.policy import Guide

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Walk:
    """How examinations went.

    Parameters
    ----------
    state : where each patient stopped, shape ``(patients,)``.
    steps : steps in their order, -1 once stopped, shape ``(patients, most steps)``.
    """

    state: NDArray[np.int64]
    steps: NDArray[np.int64]

    @property
    def depth(self) -> NDArray[np.int64]:
        """Steps of each patient, shape ``(patients,)``."""
        depth: NDArray[np.int64] = (self.steps >= 0).sum(axis=1)
        return depth


def walk(
    guide: Guide,
    shown: Shown,
    weight: float,
    *,
    seed: int = 0,
    budget: float | None = None,
    start: int = 0,
    stops: bool = True,
) -> Walk:
    """Examine patients of whom everything is known; nothing is looked at before it was acquired.

    Parameters
    ----------
    guide : says what every step is worth.
    shown : what they would show if everything was done.
    weight : nats per unit of price.
    seed : of policies that draw lots.
    budget : nothing dearer in all is done; `None` = no limit.
    start : what was done of everybody.
    stops : whether to stop where nothing is worth its price; otherwise the budget alone decides.

    Raises
    ------
    ScanwiseError
        If neither the budget nor the worth ends an examination, or the budget does not even pay for what is done.
    """
    workup, price = guide.workup, guide.price
    if not stops and budget is None:
        raise ScanwiseError("an examination must end: give a budget, or stop where nothing is worth its price")
    limit = np.inf if budget is None else float(budget)
    if price[start] > limit + _ROUNDING:
        raise ScanwiseError(
            f"the budget must pay for what was done, {price[start]:g}, but is {limit:g}", "raise the budget"
        )
    rng = np.random.default_rng([seed, 0x776B])
    n = shown.log_odds.shape[1]
    state = np.full(n, start, dtype=np.int64)
    taken: list[NDArray[np.int64]] = []
    going = np.ones(n, dtype=bool)
    while going.any():
        step = np.full(n, -1, dtype=np.int64)
        for here in np.unique(state[going]).tolist():
            who = np.flatnonzero(going & (state == here))
            worth = guide.worth(here, shown.of(who).until(workup, here), weight, rng)
            worth[:, price[here] + guide.prices_from(here) > limit + _ROUNDING] = -np.inf
            best = worth.argmax(axis=1)
            go = worth[np.arange(len(who)), best] > (0.0 if stops else -np.inf)
            step[who[go]] = best[go]
            going[who[~go]] = False
        moved = step >= 0
        state[moved] = workup.after[state[moved], step[moved]]
        if moved.any():
            taken.append(step)
    return Walk(state, np.stack(taken, axis=1) if taken else np.full((n, 0), -1, dtype=np.int64))
