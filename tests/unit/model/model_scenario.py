"""A handful of made-up patients whose tests are known to be worth something or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scanwise.design import Column, Fold, Menu, Patients, Protocol
from scanwise.modalities.panel import TestPanel
from scanwise.model import TrainerSettings

TRAINER = TrainerSettings(threads=1, log=False)

N_LEARN = 150
N_NEW = 400


@dataclass(frozen=True)
class MadeUpPatients:
    """Patient data by row number, as `scanwise.design.PatientData` asks for."""

    label: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    what: dict[str, tuple[Column, ...]]

    def data(self, modality: str, patients: Patients) -> NDArray[np.float64]:
        return self.values[modality][patients]

    def columns(self, modality: str) -> tuple[Column, ...]:
        return self.what[modality]

    def changed(self, modality: str, rows: object, value: object) -> MadeUpPatients:
        """Return a copy with other values in some rows of one modality."""
        values = {name: array.copy() for name, array in self.values.items()}
        values[modality][rows] = value
        return replace(self, values=values)


COLUMNS = {
    "marker": (Column("marker", shot=0, slot=0, unit="U/L"),),
    "exam": (
        Column("pressure", shot=0, slot=0),
        Column("pulse", shot=0, slot=1),
        Column("grade", shot=1, slot=0, levels=(1.0, 2.0, 3.0)),
        Column("width", shot=2, slot=0),
    ),
    "noise": (Column("noise", shot=0, slot=0),),
}
"""The marker is worth most, the exam a little; its second shot is categorical; noise is worth nothing."""


def make_patients(n: int = N_LEARN + N_NEW, *, seed: int = 0, missing: float = 0.15) -> MadeUpPatients:
    """Draw patients: marker (d' = 1.8), exam of three shots (pressure d' = 0.8, the others nothing), noise."""
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < 0.4).astype(np.int64)
    marker = 100.0 + 20.0 * (rng.normal(size=(n, 1, 1)) + 1.8 * label[:, None, None])
    exam = np.full((n, 3, 2), np.nan)
    exam[:, 0, 0] = rng.normal(size=n) + 0.8 * label
    exam[:, 0, 1] = rng.normal(size=n)
    exam[:, 1, 0] = rng.integers(1, 4, size=n)
    exam[:, 2, 0] = 0.001 * rng.normal(size=n)
    exam[rng.random(n) < missing] = np.nan  # not examined at all
    exam[rng.random(n) < missing, 0, 1] = np.nan  # the pulse alone was forgotten
    exam[rng.random(n) < missing, 2] = np.nan  # one shot was not done
    return MadeUpPatients(label, {"marker": marker, "exam": exam, "noise": rng.normal(size=(n, 1, 1))}, COLUMNS)


def make_menu() -> Menu:
    """The three tests; the shots of the exam can be had one by one."""
    return Menu(
        [
            TestPanel("marker", {"marker": {"money": 50.0}}),
            TestPanel("exam", {"vitals": None, "grade": {"money": 5.0}, "width": {"money": 9.0}}, schemes=["subset"]),
            TestPanel("noise", {"noise": {"money": 20.0}}),
        ]
    )


def make_fold(n_learn: int = N_LEARN, n_new: int = N_NEW, *, parts: int = 3) -> Fold:
    """The first patients learn, in inner folds; the last ones judge."""
    learn = np.arange(n_learn)
    return Fold(0, 1, learn, learn % parts, learn, np.arange(n_learn, n_learn + n_new))


def every_protocol() -> list[Protocol]:
    """All 2 x 8 x 2 protocols of the menu."""
    exams = [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    return [Protocol({"marker": [m], "exam": exam, "noise": [n]}) for m in (0, 1) for exam in exams for n in (0, 1)]


def auc(label: NDArray[np.int64], score: NDArray[np.float64]) -> float:
    """Share of pairs that are in the right order."""
    difference = score[label == 1][:, None] - score[label == 0][None, :]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def cross_entropy(label: NDArray[np.int64], probability: NDArray[np.float64]) -> float:
    """Mean over everything of minus the logarithm of the probability of what was so."""
    return float(-np.mean(np.log(np.where(label == 1, probability, 1.0 - probability))))


def sigmoid(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-logit))


def keys(protocols: Sequence[Protocol]) -> list[str]:
    return [protocol.key for protocol in protocols]
