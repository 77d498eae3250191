"""How much stopping early can save where evidence is normal: the best decisions, known backwards from the end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm

from scanwise.errors import ScanwiseError

Floats = NDArray[np.float64]

_GRID: Floats = np.linspace(-10, 10, 401)
_PROBABILITY: Floats = expit(_GRID)
_PRICES: Floats = np.geomspace(1e-6, 5e-2, 80)
_ROUNDS = 12
"""How often what a place in the ranking is worth is found anew: it depends on where the others stop."""


class Stages:
    """Stages of an examination, each with what the one before told and more; anybody may stop after any of them.

    Log odds of patients with and without the disease are normal, their variance the information (binormal ROC curves:
    AUC = Phi(sqrt(information / 2))), and what a stage adds is independent of what was known, given the disease.

    Parameters
    ----------
    minutes : of each stage in all, ascending from what costs nothing, shape ``(stages,)``.
    auc : of everybody after each stage, ascending, shape ``(stages,)``.
    prevalence : share of patients with the disease.

    Raises
    ------
    ScanwiseError
        If minutes or AUCs do not ascend, or the first AUC is not above 0.5.
    """

    def __init__(self, minutes: Floats, auc: Floats, prevalence: float) -> None:
        if not (np.diff(minutes) > 0).all() or not (np.diff(auc) > 0).all() or auc[0] <= 0.5:
            raise ScanwiseError(f"minutes and AUCs of stages must ascend, AUCs above 0.5, but are {minutes} and {auc}")
        self.prevalence = prevalence
        self.extra = np.diff(minutes)
        information = 2 * norm.ppf(auc) ** 2
        prior = np.array([logit(prevalence)])
        self._first = [_moved(prior, information[0], sign)[0] for sign in (1, -1)]
        self._moves = [[_moved(_GRID, more, sign) for sign in (1, -1)] for more in np.diff(information)]
        self.minutes = minutes

    def fixed(self, stage: int) -> tuple[Floats, Floats]:
        """Return log odds of the diseased and the others if all get a stage: shares of the grid."""
        diseased, others = self._first
        for ill, well in self._moves[:stage]:
            diseased, others = diseased @ ill, others @ well
        return diseased, others

    def stopped(self, worth: Floats, price: float) -> tuple[Floats, Floats, float]:
        """Return log odds of the diseased and the others where they stop, and mean minutes.

        Parameters
        ----------
        worth : of stopping with log odds, shape ``(grid,)``.
        price : of a minute, in units of that worth.
        """
        best, goes = worth, []
        for extra, (ill, well) in zip(self.extra[::-1], self._moves[::-1], strict=True):
            on = _PROBABILITY * (ill @ best) + (1 - _PROBABILITY) * (well @ best) - price * extra
            goes.append(on > worth)
            best = np.maximum(worth, on)
        (diseased, others), spent = self._first, float(self.minutes[0])
        ended = [np.zeros_like(worth), np.zeros_like(worth)]
        for go, extra, (ill, well) in zip(goes[::-1], self.extra, self._moves, strict=True):
            ended[0], ended[1] = ended[0] + diseased * ~go, ended[1] + others * ~go
            diseased, others = diseased * go, others * go
            spent += extra * float(self.prevalence * diseased.sum() + (1 - self.prevalence) * others.sum())
            diseased, others = diseased @ ill, others @ well
        return ended[0] + diseased, ended[1] + others, spent

    def saved_at_equal_auc(self) -> Floats:
        """Return the share of the minutes of each stage but the first that can be saved at its AUC.

        What a place in the ranking is worth is linear in where one stops: to be above so many others, or below so many
        of the diseased. It is found in turn with where all stop.
        """
        found = []
        for price in _PRICES:
            diseased, others = self.fixed(len(self.extra) // 2)
            for _ in range(_ROUNDS):
                worth = _PROBABILITY / self.prevalence * _below(others)
                worth += (1 - _PROBABILITY) / (1 - self.prevalence) * (1 - _below(diseased))
                *where, spent = self.stopped(worth, price)
                found.append((float(where[0] @ _below(where[1])), spent))
                diseased, others = 0.6 * diseased + 0.4 * where[0], 0.6 * others + 0.4 * where[1]
        return self._saved(
            found, [float(ill @ _below(well)) for ill, well in map(self.fixed, range(len(self.minutes)))]
        )

    def saved_at_equal_net_benefit(self, threshold: float) -> Floats:
        """Return the share of the minutes of each stage but the first that can be saved at its net benefit."""
        worth = np.maximum(0.0, _PROBABILITY - (1 - _PROBABILITY) * threshold / (1 - threshold))

        def benefit(diseased: Floats, others: Floats) -> float:
            return float((self.prevalence * diseased + (1 - self.prevalence) * others) @ worth)

        found = []
        for price in _PRICES / 10:
            *where, spent = self.stopped(worth, price)
            found.append((benefit(*where), spent))
        return self._saved(found, [benefit(*self.fixed(stage)) for stage in range(len(self.minutes))])

    def _saved(self, found: list[tuple[float, float]], wanted: list[float]) -> Floats:
        reached, spent = np.array(found).T
        least = [
            np.min(spent[reached >= one - 1e-7], initial=full) for one, full in zip(wanted, self.minutes, strict=True)
        ]
        saved: Floats = 1 - np.array(least[1:]) / self.minutes[1:]
        return saved


def _moved(odds: Floats, information: float, sign: int) -> Floats:
    """Return where log odds go with so much more information: shares of the grid, shape ``(odds, grid)``."""
    dense = np.exp(-((_GRID - odds[:, None] - sign * information / 2) ** 2) / (2 * information))
    found: Floats = dense / dense.sum(1, keepdims=True)
    return found


def _below(shares: Floats) -> Floats:
    """Return the share below each place of the grid; of those at the place itself, half."""
    found: Floats = np.cumsum(shares) - shares / 2
    return found
