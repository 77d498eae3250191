"""What the next step is worth, all that may follow included: optimal stopping by regression, backwards from the end."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from scanwise.errors import ScanwiseError
from scanwise.policy.history import History, Shown
from scanwise.policy.policy import Guide, Policy, at_weight, register_policy
from scanwise.policy.workup import Workup

Floats = NDArray[np.float64]

_FAR = 4.0
"""Values of tests count up to so many standard deviations."""
_PENALTIES = (0.3, 3.0, 30.0, 300.0, 3000.0)
"""Ridge penalties among which generalised cross-validation chooses, in units of one patient."""


class WorthGuide(Guide):
    """Worth of every step as a linear function of what the patient has shown; weights in between are interpolated.

    Parameters
    ----------
    workup, axis : see `Guide`.
    weights : price weights at which it was learned, ascending, shape ``(weights,)``.
    slopes : shape ``(weights, states, steps, features)``.
    scatter : what is left unexplained of a patient, times the caution, shape ``(weights, states, steps)``.
    doubt : how the doubt of a fit grows with the features, shape ``(states, features, features)``.
    """

    def __init__(
        self, workup: Workup, axis: str, weights: Floats, slopes: Floats, scatter: Floats, doubt: Floats
    ) -> None:
        super().__init__(workup, axis)
        self.weights = weights
        self.slopes = slopes
        self.scatter = scatter
        self.doubt = doubt

    def worth(self, state: int, shown: Shown, weight: float, rng: np.random.Generator) -> Floats:
        """See `Guide.worth`."""
        del rng
        told_by = features(self.workup, state, shown)
        slopes, scatter = (at_weight(weight, self.weights, one[:, state]) for one in (self.slopes, self.scatter))
        told: Floats = told_by @ slopes.T - _width(told_by, self.doubt[state])[:, None] * scatter
        told[:, self.workup.after[state] < 0] = -np.inf
        return told

    def arrays(self) -> Mapping[str, NDArray[typing.Any]]:
        """See `Guide.arrays`."""
        single = {name: getattr(self, name).astype(np.float32) for name in ("slopes", "scatter", "doubt")}
        return {"weights": self.weights, **single}


@dataclass(frozen=True, kw_only=True)
class _Regressed(Policy):
    """Policies that regress what steps bring on what a patient has shown.

    Parameters
    ----------
    caution : standard errors that are taken off what a step seems worth.
    folds : parts of the patients; whether a patient goes on is decided by what was learned from the others.
    """

    caution: float = 0.5
    folds: int = 5
    looks_ahead: typing.ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.folds < 2:
            raise ScanwiseError(f"policy.folds must be at least 2, but got {self.folds}")
        if self.caution < 0:
            raise ScanwiseError(f"policy.caution must not be below 0, but got {self.caution}")

    def fit(self, history: History, *, axis: str, weights: Floats, seed: int) -> WorthGuide:
        """See `Policy.fit`."""
        workup, shown, loss = history.workup, history.shown, history.expected(self.measure)
        price = workup.price(axis)
        n_states, n = loss.shape
        part = np.random.default_rng([seed, 0x706F]).permutation(n) % self.folds
        n_features = features(workup, 0, shown).shape[1]
        slopes = np.zeros((len(weights), n_states, len(workup.steps), n_features))
        scatter = np.zeros(slopes.shape[:3])
        doubt = np.zeros((n_states, n_features, n_features))
        ahead = np.repeat(loss[None], len(weights), axis=0)  # what is lost from here on, price included, per weight
        for state in range(n_states - 1, -1, -1):  # every step leads to a state with a larger number
            open_ = np.flatnonzero(workup.after[state] >= 0)
            if not open_.size:
                continue
            told_by = features(workup, state, shown)
            after = workup.after[state, open_]
            extra = price[after] - price[state]
            # what each step takes off, shape (weights, steps, patients); afterwards the best is done, or only this
            left = ahead[:, after] if self.looks_ahead else np.repeat(loss[None, after], len(weights), axis=0)
            gain = loss[state] - left - (weights[:, None] * extra)[:, :, None]
            told = gain.reshape(-1, n).T
            fitted, rest, doubt[state] = _ridge(told_by, told)
            slopes[:, state, open_] = fitted.T.reshape(len(weights), len(open_), -1)
            scatter[:, state, open_] = self.caution * rest.reshape(len(weights), -1)
            if not self.looks_ahead:
                continue
            guess = np.empty_like(told)
            for one in range(self.folds):
                mine = part == one
                fitted, rest, width = _ridge(told_by[~mine], told[~mine])
                guess[mine] = told_by[mine] @ fitted - self.caution * _width(told_by[mine], width)[:, None] * rest
            guess = guess.T.reshape(gain.shape)
            best = guess.argmax(axis=1)[:, None]
            goes = np.take_along_axis(guess, best, 1)[:, 0] > 0
            won = np.take_along_axis(gain, best, 1)[:, 0]
            ahead[:, state] = loss[state] - np.where(goes, won, 0.0)
        return WorthGuide(workup, axis, np.asarray(weights, dtype=np.float64), slopes, scatter, doubt)

    def read(self, workup: Workup, axis: str, arrays: Mapping[str, NDArray[typing.Any]]) -> WorthGuide:
        """See `Policy.read`."""
        parts = (arrays[name].astype(np.float64) for name in ("slopes", "scatter", "doubt"))
        return WorthGuide(workup, axis, arrays["weights"], *parts)


@register_policy("ahead")
@dataclass(frozen=True, kw_only=True)
class AheadPolicy(_Regressed):
    """Steps by what they and all that may follow take off the loss, less the price: ours.

    Least-squares Monte Carlo for optimal stopping (Longstaff and Schwartz 2001): states are gone through backwards; in
    each, what a step took off the loss of every patient, everything included that was worth doing afterwards, is
    regressed on what the patient had shown by then. One looks through a set-up or a test that only says where to look.

    Parameters
    ----------
    caution : standard errors that are taken off what a step seems worth: the best of many steps is otherwise chosen for
        its luck, and what brings nothing is done as soon as it costs little.
    folds : parts of the patients; whether a patient goes on is decided by what was learned from the others, or the
        worth of being able to decide later would be overrated.

    References
    ----------
    Longstaff FA, Schwartz ES. Valuing American options by simulation: a simple least-squares approach. Rev Financ Stud
    2001;14:113-147.
    """


@register_policy("myopic")
@dataclass(frozen=True, kw_only=True)
class MyopicPolicy(_Regressed):
    """Steps by what they themselves take off the loss: greedy conditional mutual information by value regression.

    That is DIME's criterion ``E[loss(s) - loss(s + a) | s]``, per price (Gadgil 2024, eq. 4), with linear regressions
    in place of its network.

    References
    ----------
    Gadgil S, Covert I, Lee S-I. Estimating conditional mutual information for dynamic feature selection. ICLR 2024.
    """

    looks_ahead: typing.ClassVar[bool] = False


def features(workup: Workup, state: int, shown: Shown) -> Floats:
    """Return what patients have shown in a state, shape ``(patients, features)``.

    With p the probability now and h = 4 p (1 - p): 1, h, h (2 p - 1), h^2; for every track its own evidence e, the log
    odds with it alone less those with nothing, as ``h tanh(e / 2)`` and ``h tanh(|e| / 2)``; and the values of tests.
    What was not begun is 0.
    """
    odds = shown.log_odds
    p = expit(odds[state])
    h = 4 * p * (1 - p)
    found = [np.ones_like(h), h, h * (2 * p - 1), h**2]
    for alone, values in zip(workup.parts(state).tolist(), shown.values, strict=True):
        own = odds[alone] - odds[0] if alone else np.zeros_like(h)
        found += [h * np.tanh(own / 2), h * np.tanh(np.abs(own) / 2)]
        found += list(np.clip(values, -_FAR, _FAR).T if alone else np.zeros_like(values.T))
    return np.stack(found, axis=1)


def _width(told_by: Floats, doubt: Floats) -> Floats:
    """Return the standard error of a fit where patients scatter by 1, shape ``(patients,)``."""
    found: Floats = np.sqrt(np.einsum("nf,fg,ng->n", told_by, doubt, told_by).clip(min=0))
    return found


def _ridge(told_by: Floats, told: Floats) -> tuple[Floats, Floats, Floats]:
    """Fit every output with the ridge penalty that cross-validates best (GCV; Golub, Heath, Wahba 1979, eq. 1.4).

    Parameters
    ----------
    told_by : shape ``(patients, features)``; the first feature is 1 and is not penalised.
    told : shape ``(patients, outputs)``.

    Returns
    -------
    slopes : shape ``(features, outputs)``.
    scatter : standard deviation of what is left, shape ``(outputs,)``.
    doubt : covariance of the slopes where that is 1, at the middle penalty, shape ``(features, features)``.
    """
    n = len(told_by)
    mean = told_by[:, 1:].mean(0)
    left, right = told_by[:, 1:] - mean, told - told.mean(0)
    scale = left.std(0)
    scale[scale < 1e-9] = np.inf
    u, singular, vt = np.linalg.svd(left / scale, full_matrices=False)
    along = u.T @ right
    rest = np.maximum((right**2).sum(0) - (along**2).sum(0), 0.0)
    best, unexplained = (np.full(told.shape[1], np.inf) for _ in range(2))
    slopes = np.zeros((told_by.shape[1], told.shape[1]))
    for penalty in _PENALTIES:
        kept = singular**2 / (singular**2 + penalty)
        error = ((1 - kept)[:, None] ** 2 * along**2).sum(0) + rest
        freedom = n - 1 - kept.sum()
        better = error / freedom**2 < best
        best[better] = error[better] / freedom**2
        unexplained[better] = error[better] / freedom
        shrunk = np.divide(kept, singular, out=np.zeros_like(kept), where=singular > 1e-12)
        slope = (vt.T @ (shrunk[:, None] * along[:, better])) / scale[:, None]
        slopes[1:, better] = slope
        slopes[0, better] = told[:, better].mean(0) - mean @ slope
    inner = (vt.T / (singular**2 + _PENALTIES[len(_PENALTIES) // 2])) @ vt / np.outer(scale, scale)
    doubt = np.zeros((told_by.shape[1], told_by.shape[1]))
    doubt[1:, 1:] = inner
    doubt[0, 1:] = doubt[1:, 0] = -mean @ inner
    doubt[0, 0] = 1 / n + mean @ inner @ mean
    return slopes, np.sqrt(unexplained), doubt
