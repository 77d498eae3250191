"""What a step may show: how far the probability of patients who looked alike moved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from scanwise.policy.ahead import features
from scanwise.policy.history import Shown, expected_loss
from scanwise.policy.workup import Workup

Floats = NDArray[np.float64]

_ALIKE = 50
"""Earlier patients who are asked."""


def outlook(
    workup: Workup,
    shown: Shown,
    earlier: Shown,
    state: int,
    *,
    measure: str = "brier",
    level: float = 0.8,
    n: int = _ALIKE,
) -> tuple[Floats, Floats]:
    """Return the range in which the probability would be after each step, and the expected loss in every state.

    Of the earlier patients who looked most alike in this state (`features`, standardised), the middle `level` of the
    log odds after the step, moved by what the patient differs from them now.

    Parameters
    ----------
    workup : states and steps.
    shown : what one patient has shown.
    earlier : what earlier patients showed, everything done.
    state : what was done.
    measure : of the loss, see `History.expected`.
    level : share of the earlier patients that the range contains.
    n : how many are asked.

    Returns
    -------
    Shapes ``(steps, 2)``, NaN where a step brings nothing, and ``(states,)``, NaN where less was done than here.
    """
    mine, theirs = features(workup, state, shown), features(workup, state, earlier)
    scale = theirs.std(axis=0)
    scale[scale < 1e-9] = np.inf
    distance = (((theirs - mine) / scale) ** 2).sum(axis=1)
    alike = np.argsort(distance, kind="stable")[: min(n, len(distance))]
    moved = earlier.log_odds[:, alike] - earlier.log_odds[state, alike] + shown.log_odds[state, 0]
    found = np.full((len(workup.steps), 2), np.nan)
    for step, after in enumerate(workup.after[state].tolist()):
        if after >= 0:
            found[step] = expit(np.quantile(moved[after], [(1 - level) / 2, (1 + level) / 2]))
    return found, np.where(workup.beyond(state), expected_loss(moved, measure).mean(axis=1), np.nan)
