"""What a model may ask of a cohort, and how patients are dealt out: the seam between `cohort` and `model`."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.design.modality import Measurement
from scanwise.errors import ScanwiseError

Patients = NDArray[np.int64]
"""Row numbers of patients in a cohort, shape ``(patients,)``."""


@dataclass(frozen=True)
class Column:
    """One measured value of a test: where it stands in the data of its modality, and how to read it."""

    name: str
    shot: int
    slot: int
    """The value stands at ``data[:, shot, slot]``."""
    levels: tuple[float, ...] = ()
    """Codes of a categorical value; empty for a number."""
    unit: str = ""


def panel_features(
    data: NDArray[np.float64], columns: typing.Sequence[Column]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Turn raw test values into numeric features.

    A number is one feature; a categorical value is one 0/1 feature per level.

    Parameters
    ----------
    data : shape ``(patients, shots, values)``, NaN where not measured.
    columns : what the values are.

    Returns
    -------
    features : shape ``(patients, features)``, NaN where not measured.
    shot : which shot each feature belongs to, shape ``(features,)``.
    """
    features: list[NDArray[np.float64]] = []
    shot: list[int] = []
    for column in columns:
        value = data[:, column.shot, column.slot]
        for level in column.levels or (None,):
            features.append(
                value if level is None else np.where(np.isnan(value), np.nan, (value == level).astype(float))
            )
            shot.append(column.shot)
    stacked = np.stack(features, axis=1) if features else np.zeros((len(data), 0))
    return stacked, np.array(shot, dtype=np.int64)


class PatientData(typing.Protocol):
    """Data of many patients, by row number."""

    @property
    def label(self) -> NDArray[np.int64]:
        """Diagnosis per patient, 0 or 1, shape ``(cohort,)``."""

    def data(self, modality: str, patients: Patients) -> NDArray[Any]:
        """Complete data of one modality, shape ``(patients, ...)``, NaN where a patient lacks it."""

    def columns(self, modality: str) -> tuple[Column, ...]:
        """What the values of a test panel are, empty for images."""

    def done(self, modality: str) -> NDArray[np.bool_]:
        """Whether a patient has any data of a modality, shape ``(cohort,)``."""

    @property
    def targets(self) -> typing.Mapping[str, NDArray[np.int64]]:
        """Further diagnoses that a network may learn beside `label`, 0 or 1, shape ``(cohort,)`` each; may be empty."""

    def lesions(self, patients: Patients) -> NDArray[np.float32] | None:
        """Where the disease is, for `label` and each of `targets`: the share of each cell, 0 to 1.

        Shape ``(patients, 1 + targets, y, x)`` over the field of view; `None` where nobody drew them.
        """


@typing.runtime_checkable
class MeasuredData(PatientData, typing.Protocol):
    """Data of patients whose scans were measured already, so that nothing is to be acquired or simulated."""

    def measured(self, modality: str, counts: NDArray[np.int64]) -> Measurement:
        """Return what was measured with a scan; an error where other counts were."""


class Scorer(typing.Protocol):
    """A fitted model: what search and confirm are handed."""

    def score(self, protocols: typing.Sequence[Any], patients: Patients) -> NDArray[np.float64]:
        """Return the probability of disease, shape ``(protocols, patients)``.

        No patient is ever scored by a network that learned from that patient: where a patient was used for learning,
        only the networks that left this patient out answer.
        """


@typing.runtime_checkable
class ProductScorer(Scorer, typing.Protocol):
    """A model that scores all combinations of settings from what every single setting adds."""

    def score_product(
        self, product: Any, patients: Patients, *, wanted: NDArray[np.bool_] | None = None, refine: int = 0
    ) -> typing.Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Yield rows of a `scanwise.design.Product`, ascending, and their probabilities, ``(rows, patients)``.

        As `score` would return them, exactly or nearly so.

        Parameters
        ----------
        product : what is combined.
        patients : who is scored.
        wanted : rows that are scored, shape ``(len(product),)``; `None` = all.
        refine : how often an approximation is made finer, exact in the end; changes nothing where there is none.
        """


@dataclass(frozen=True, eq=False)
class Fold:
    """One way of dealing the patients out: who may be learned from, where the search looks, who judges.

    Parameters
    ----------
    repeat, index : which repetition and which fold of it.
    learn : patients a model may learn from, shape ``(learn,)``.
    inner : inner fold of each of them, shape ``(learn,)``; a model leaves each inner fold out once, so that the search
        can look at patients its networks have not seen. All -1 where `tune` is a set of its own.
    tune : patients the search looks at.
    test : patients that judge, once.

    Raises
    ------
    ScanwiseError
        If a patient is named twice, or a judging patient could be learned from or looked at by the search.
    """

    repeat: int
    index: int
    learn: Patients
    inner: NDArray[np.int64]
    tune: Patients
    test: Patients

    def __post_init__(self) -> None:
        if self.learn.shape != self.inner.shape:
            raise ScanwiseError(f"one inner fold per learning patient: {self.learn.shape=} but {self.inner.shape=}")
        for part in ("learn", "tune", "test"):
            patients = getattr(self, part)
            if len(np.unique(patients)) != len(patients):
                raise ScanwiseError(f"a patient is in `{part}` twice", "split by patient")
        shared = np.intersect1d(self.test, np.union1d(self.learn, self.tune))
        if shared.size:
            raise ScanwiseError(
                f"{shared.size} judging patients are also in the learning or searching part", "split by patient"
            )
        seen = np.intersect1d(self.tune, self.learn[self.inner < 0])
        if seen.size:
            raise ScanwiseError(f"the search would look at {seen.size} patients that every network learned from")

    @property
    def name(self) -> str:
        """Short name for files and progress: ``"r0f3"``."""
        return f"r{self.repeat}f{self.index}"

    def __repr__(self) -> str:
        return f"Fold({self.name}: learn {len(self.learn)}, tune {len(self.tune)}, test {len(self.test)})"
