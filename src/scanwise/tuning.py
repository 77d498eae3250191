"""What a search maximises: the diagnosis of protocols on the patients it may look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.design import Patients, Product, ProductScorer, Protocol, Scorer
from scanwise.errors import ScanwiseError, did_you_mean
from scanwise.evidence import ScoreTable, auc_of_rows, auc_with_covariance

Floats = NDArray[np.float64]

MEASURES = ("auc", "log_loss", "net_benefit")
_SLOPE_PATIENTS = 64
"""Patients that one slope of a learned pattern looks at."""
_LEAST = 1e-6
"""Probabilities are kept this far from 0 and 1, so that one patient cannot decide."""


@dataclass(frozen=True)
class Measure:
    """How good a diagnosis is; more is better.

    ``"auc"``: the area under the ROC curve, patients ranked within strata. ``"log_loss"``: minus the mean log-loss.
    ``"net_benefit"``: that of acting above a threshold (Vickers and Elkin, Med Decis Making 2006;26:565-574).

    Parameters
    ----------
    name : one of `MEASURES`.
    threshold : probability above which one acts; of the net benefit alone.

    Raises
    ------
    ScanwiseError
        For an unknown measure, or a threshold that is not between 0 and 1.
    """

    name: str = "auc"
    threshold: float = 0.1

    def __post_init__(self) -> None:
        if self.name not in MEASURES:
            raise ScanwiseError(
                f"objective.name must be one of {MEASURES}, but got {self.name!r}",
                did_you_mean(str(self.name), MEASURES),
            )
        if not 0 < self.threshold < 1:
            raise ScanwiseError(f"objective.threshold must be between 0 and 1, but got {self.threshold!r}")

    def of_rows(self, label: NDArray[np.int64], probability: Floats, stratum: NDArray[np.int64]) -> Floats:
        """Return the value of every protocol, shape ``(protocols,)``.

        Parameters
        ----------
        label : 0 or 1, shape ``(patients,)``.
        probability : shape ``(protocols, patients)``.
        stratum : patients are ranked within a stratum, shape ``(patients,)``.
        """
        if self.name == "auc":
            return auc_of_rows(label, probability, stratum)
        mean: Floats = self.of_patients(label, probability).mean(axis=1)
        return mean

    def noise(self, label: NDArray[np.int64], probability: Floats, stratum: NDArray[np.int64]) -> Floats:
        """Return the standard errors of the differences between neighbouring rows, shape ``(protocols - 1,)``."""
        if self.name == "auc":
            table = ScoreTable(
                tuple(str(row) for row in range(len(probability))),
                probability[None],
                stratum[None],
                label,
                np.full(len(label), ""),
            )
            return np.linalg.norm(np.diff(auc_with_covariance(table).influence, axis=0), axis=1)
        change = np.diff(self.of_patients(label, probability), axis=0)
        se: Floats = change.std(axis=1, ddof=1) / len(label) ** 0.5
        return se

    def of_patients(self, label: NDArray[np.int64], probability: Floats) -> Floats:
        """Return what every patient adds to it, but for the AUC, shape ``(protocols, patients)``.

        Parameters
        ----------
        label, probability : see `of_rows`.
        """
        if self.name == "log_loss":
            own = np.where(label == 1, probability, 1 - probability)
            return np.log(np.clip(own, _LEAST, 1.0))
        worth = np.where(label == 1, 1.0, -self.threshold / (1 - self.threshold))
        return np.where(probability >= self.threshold, worth, 0.0)


def objective_of(
    scorer: Scorer,
    patients: Patients,
    label: NDArray[np.int64],
    stratum: NDArray[np.int64] | None = None,
    measure: Measure | None = None,
) -> Any:
    """Return what a search maximises: a measure of protocols on the patients it may look at.

    A `scanwise.search.ProductObjective` where the model can score whole products of settings, and a
    `scanwise.search.GradientObjective` where it says what every shot adds.

    Parameters
    ----------
    scorer : the fitted model.
    patients, label : who is looked at, and the diagnoses of these.
    stratum : patients are ranked within a stratum, shape ``(patients,)``; `None` = all together.
    measure : what is maximised, `None` = the AUC.
    """
    kind = {
        (False, False): _Objective,
        (True, False): _FusedObjective,
        (False, True): _LearnableObjective,
        (True, True): _FusedLearnableObjective,
    }[isinstance(scorer, ProductScorer), hasattr(scorer, "slopes")]
    strata = np.zeros(len(label), dtype=np.int64) if stratum is None else stratum
    return kind(scorer, patients, label, strata, measure or Measure())


@dataclass(frozen=True, eq=False)
class _Objective:
    """The measure of protocols on some patients."""

    scorer: Any
    patients: Patients
    label: NDArray[np.int64]
    stratum: NDArray[np.int64]
    measure: Measure

    def __call__(self, protocols: Sequence[Protocol]) -> Floats:
        return self.measure.of_rows(self.label, self.scorer.score(protocols, self.patients), self.stratum)


class _FusedObjective(_Objective):
    """The same for models that score all combinations of settings; see `scanwise.search.ProductObjective`."""

    def of_product(
        self, product: Product, *, wanted: NDArray[np.bool_], refine: int
    ) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        found = self.scorer.score_product(product, self.patients, wanted=wanted, refine=refine)
        for rows, probability in found:
            yield rows, self.measure.of_rows(self.label, probability, self.stratum)

    def noise(self, protocols: Sequence[Protocol]) -> Floats:
        return self.measure.noise(self.label, self.scorer.score(protocols, self.patients), self.stratum)


class _LearnableObjective(_Objective):
    """The same, for models that say what every shot adds: to the log-likelihood, whatever the measure."""

    def slopes(self, protocol: Protocol, rng: np.random.Generator) -> tuple[float, dict[str, Floats]]:
        size = min(_SLOPE_PATIENTS, len(self.patients))
        some = np.sort(rng.choice(self.patients, size, replace=False))
        found: tuple[float, dict[str, Floats]] = self.scorer.slopes(protocol, some, rng)
        return found


class _FusedLearnableObjective(_FusedObjective, _LearnableObjective):
    """Both."""
