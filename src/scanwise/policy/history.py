"""What a policy learns from: patients of whom everything is known, and what the model said after every part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, xlogy

from scanwise.errors import ScanwiseError, did_you_mean
from scanwise.policy.workup import Workup

Floats = NDArray[np.float64]

MEASURES = ("log_loss", "brier", "error")
"""What a policy lowers; see `History.expected`."""
LEAST = 1e-4
"""Probabilities are kept this far from 0 and 1, so that one patient cannot decide."""


def log_odds(probability: Floats) -> Floats:
    """Return clipped log odds; NaN stays NaN."""
    found: Floats = logit(np.clip(probability, LEAST, 1 - LEAST))
    return found


def check_measure(name: str) -> None:
    """Raise a `ScanwiseError` for an unknown measure."""
    if name not in MEASURES:
        raise ScanwiseError(f"policy.measure must be one of {MEASURES}, but got {name!r}", did_you_mean(name, MEASURES))


def expected_loss(log_odds: Floats, measure: str) -> Floats:
    """Return the loss that is to be expected where probabilities are calibrated; see `History.expected`."""
    p: Floats = expit(log_odds)
    if measure == "log_loss":
        return np.asarray(-(xlogy(p, p) + xlogy(1 - p, 1 - p)), dtype=np.float64)
    return np.asarray(p * (1 - p) if measure == "brier" else np.minimum(p, 1 - p), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Shown:
    """What patients have shown, as far as it was acquired.

    Parameters
    ----------
    log_odds : of disease after every part of what was done, shape ``(states, patients)``.
    values : per track, what tests measured, standardised, 0 where unknown, shape ``(patients, numbers)``; images have
        no number.
    """

    log_odds: Floats
    values: tuple[Floats, ...]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the numbers for a file, in single precision; `from_arrays` takes them back."""
        values = {f"values_{track}": one.astype(np.float32) for track, one in enumerate(self.values)}
        return {"odds": self.log_odds.astype(np.float32), **values}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], tracks: int) -> Shown:
        """Read what `arrays` gave."""
        values = tuple(arrays[f"values_{track}"].astype(np.float64) for track in range(tracks))
        return cls(arrays["odds"].astype(np.float64), values)

    def of(self, patients: NDArray[np.int64]) -> Shown:
        """Return some of the patients."""
        return Shown(self.log_odds[:, patients], tuple(one[patients] for one in self.values))

    def until(self, workup: Workup, state: int) -> Shown:
        """Return what is known in a state; NaN in place of all else."""
        begun = workup.levels[state] > 0
        return Shown(
            np.where(workup.covered(state)[:, None], self.log_odds, np.nan),
            tuple(one if known else np.full_like(one, np.nan) for one, known in zip(self.values, begun, strict=True)),
        )


@dataclass(frozen=True, eq=False)
class History:
    """Patients of whom everything was acquired, read after every part of it by networks that did not learn from them.

    Parameters
    ----------
    workup : the states.
    probability : of disease, shape ``(states, patients)``.
    label : 0 or 1, shape ``(patients,)``.
    values : see `Shown`; none where left out.

    Raises
    ------
    ScanwiseError
        If shapes do not fit, a probability is missing, or there is one diagnosis only.
    """

    workup: Workup
    probability: Floats
    label: NDArray[np.int64]
    values: tuple[Floats, ...] = ()

    def __post_init__(self) -> None:
        if self.probability.shape != (self.workup.n_states, len(self.label)):
            raise ScanwiseError(
                f"a policy learns from probabilities of the shape (states, patients) = "
                f"{(self.workup.n_states, len(self.label))}, but got {self.probability.shape}"
            )
        if not self.values:
            object.__setattr__(self, "values", tuple(np.zeros((len(self.label), 0)) for _ in self.workup.tracks))
        if [len(one) for one in self.values] != [len(self.label)] * len(self.workup.tracks):
            raise ScanwiseError("a policy learns from the values of every track, one row per patient")
        if np.isnan(self.probability).any() or any(np.isnan(one).any() for one in self.values):
            raise ScanwiseError("a policy learns from patients of whom everything was acquired")
        if len(np.unique(self.label)) < 2:
            raise ScanwiseError("a policy cannot learn from one diagnosis alone", "take more patients")

    @cached_property
    def shown(self) -> Shown:
        """What the patients have shown once everything was done."""
        return Shown(log_odds(self.probability), self.values)

    def of(self, patients: NDArray[np.int64]) -> History:
        """Return some of the patients."""
        values = tuple(one[patients] for one in self.values)
        return History(self.workup, self.probability[:, patients], self.label[patients], values)

    def expected(self, measure: str) -> Floats:
        """Return the loss that is to be expected of every patient in every state, shape ``(states, patients)``.

        With p the probability of disease, as told by networks that did not learn from the patient: the log-loss
        ``-p log p - (1 - p) log(1 - p)`` [nats], the Brier score ``p (1 - p)``, the error ``min(p, 1 - p)``. What the
        diagnoses themselves lose has much more scatter: in a few hundred patients, steps chosen by it do not even reach
        the best fixed protocol. But where networks are surer than they should be in some states, these would seem
        worth reaching. So every state is moved by how much more was lost there than expected, relative to the other
        states, shrunk by how sure that is (empirical Bayes; Morris 1983).

        References
        ----------
        Morris CN. Parametric empirical Bayes inference: theory and applications. J Am Stat Assoc 1983;78:47-55.
        """
        odds = self.shown.log_odds
        expected = expected_loss(odds, measure)
        over = realised_loss(odds, self.label, measure) - expected
        over = over - over.mean(axis=0)  # what a patient loses in all states says nothing of the states
        mean, noise = over.mean(axis=1), over.var(axis=1) / max(over.shape[1] - 1, 1)
        spread = max(float((mean**2 - noise).mean()), 0.0)
        moved: Floats = expected + (mean * spread / np.maximum(spread + noise, 1e-12))[:, None]
        return moved


def realised_loss(log_odds: Floats, label: NDArray[np.int64], measure: str) -> Floats:
    """Return what diagnoses lost, shape ``(states, patients)``; see `History.expected`."""
    own = expit(np.where(label == 1, log_odds, -log_odds))
    found: Floats = {"log_loss": -np.log(own), "brier": (1 - own) ** 2, "error": (own < 0.5).astype(np.float64)}[
        measure
    ]
    return found
