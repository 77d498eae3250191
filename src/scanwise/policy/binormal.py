"""What the next step is worth where evidence is normal: optimal stopping in the log odds, with nothing to regress."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from scipy.special import expit, logit
from scipy.stats import norm

from scanwise.policy.history import LEAST, History, Shown, expected_loss
from scanwise.policy.policy import Guide, Policy, at_weight, register_policy
from scanwise.policy.workup import Workup

Floats = NDArray[np.float64]

_GRID: Floats = np.linspace(logit(LEAST), -logit(LEAST), 185)
"""Log odds at which what is lost from here on is known."""
_FAR = 6.0
"""Standard deviations beyond which nothing is expected."""
_INFORMATION: Floats = np.concatenate([[0.0], np.geomspace(1e-3, 100, 200)])


class BinormalGuide(Guide):
    """Worth of every step as a function of the log odds; weights in between are interpolated.

    Parameters
    ----------
    workup, axis : see `Guide`.
    measure : the loss that steps take off.
    weights : price weights at which it was learned, ascending, shape ``(weights,)``.
    information : of every state, shape ``(states,)``; see `BinormalPolicy`.
    lost : from here on, price included, shape ``(weights, states, grid)``.
    """

    def __init__(
        self, workup: Workup, axis: str, measure: str, weights: Floats, information: Floats, lost: Floats
    ) -> None:
        super().__init__(workup, axis)
        self.measure = measure
        self.weights = weights
        self.information = information
        self.lost = lost

    def worth(self, state: int, shown: Shown, weight: float, rng: np.random.Generator) -> Floats:
        """See `Guide.worth`."""
        del rng
        odds, extra = shown.log_odds[state], self.prices_from(state)
        stopped = expected_loss(_GRID, self.measure)
        found = np.full((len(odds), len(extra)), -np.inf)
        for step, after in enumerate(self.workup.after[state].tolist()):
            if after >= 0:
                lost = at_weight(weight, self.weights, self.lost[:, after])
                off = stopped - _expected(lost, float(self.information[after] - self.information[state]))
                found[:, step] = np.interp(odds, _GRID, off) - weight * extra[step]
        return found

    def arrays(self) -> Mapping[str, NDArray[typing.Any]]:
        """See `Guide.arrays`."""
        return {
            "weights": self.weights,
            "information": self.information.astype(np.float32),
            "lost": self.lost.astype(np.float32),
        }


@register_policy("binormal")
@dataclass(frozen=True, kw_only=True)
class BinormalPolicy(Policy):
    """Steps by what they and all that may follow take off the loss, where evidence is normal.

    The log odds of patients with and without the disease are normal around plus and minus half the information of a
    state, which is their variance, too (the binormal model of ROC curves; Green and Swets 1966). The information of
    every state is the one with which the model expects the loss that learning patients have in that state; what a step
    adds is the difference. So the distribution of what the next step will show is known for any patient, and the best
    decisions follow backwards from the end (Wald 1947). A few hundred patients are enough, as nothing else is learned
    from them; that a test tells more about some patients than about others with the same probability is not seen.

    References
    ----------
    Wald A. Sequential analysis. Wiley 1947.
    Green DM, Swets JA. Signal detection theory and psychophysics. Wiley 1966.
    """

    def fit(self, history: History, *, axis: str, weights: Floats, seed: int) -> BinormalGuide:
        """See `Policy.fit`."""
        del seed
        workup, price = history.workup, history.workup.price(axis)
        information = _information(history, self.measure)
        lost = np.empty((len(weights), workup.n_states, len(_GRID)))
        stopped = expected_loss(_GRID, self.measure)
        for state in range(workup.n_states - 1, -1, -1):  # every step leads to a state with a larger number
            best = np.repeat(stopped[None], len(weights), axis=0)
            for after in workup.after[state][workup.after[state] >= 0].tolist():
                paid = weights * (price[after] - price[state])
                went = _expected(lost[:, after], float(information[after] - information[state]))
                np.minimum(best, went + paid[:, None], out=best)
            lost[:, state] = best
        return BinormalGuide(workup, axis, self.measure, np.asarray(weights, dtype=np.float64), information, lost)

    def read(self, workup: Workup, axis: str, arrays: Mapping[str, NDArray[typing.Any]]) -> BinormalGuide:
        """See `Policy.read`."""
        parts = (arrays[name].astype(np.float64) for name in ("weights", "information", "lost"))
        return BinormalGuide(workup, axis, self.measure, *parts)


def _information(history: History, measure: str) -> Floats:
    """Return with how much information the model expects the loss of every state, shape ``(states,)``."""
    mean = history.expected(measure).mean(axis=1)
    prior, stopped = logit(history.label.mean()), expected_loss(_GRID, measure)
    curve = [float(np.interp(prior, _GRID, _expected(stopped, float(one)))) for one in _INFORMATION]
    falling = np.minimum.accumulate(curve)
    found: Floats = np.interp(-mean, -falling, _INFORMATION)
    return found


def _expected(lost: Floats, information: float) -> Floats:
    """Return what is expected to be lost with so much more information, shape ``(..., grid)`` as what is lost then.

    Exact for what is lost between places of the grid on straight lines, and beyond its ends as there.
    """
    if information <= 0:
        return lost
    p, width, spread = expit(_GRID), _GRID[1] - _GRID[0], np.sqrt(information)
    far = int((information / 2 + _FAR * spread) / width) + 1
    place = width * np.arange(-far - 1, far + 2)
    found = np.zeros_like(lost)
    for sign, chance in ((1, p), (-1, 1 - p)):
        beyond = sign * information / 2 - place
        above = beyond * norm.cdf(beyond / spread) + spread * norm.pdf(beyond / spread)  # expectation of what is beyond
        found += chance * correlate1d(lost, np.diff(above, 2) / width, mode="nearest")
    return found
