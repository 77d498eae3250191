"""The yardstick: a penalised logistic regression trained anew for every protocol."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from scanwise.artifacts import read_json, write_json
from scanwise.design import Fold, Menu, PatientData, Patients, Protocol, panel_features
from scanwise.errors import ScanwiseError
from scanwise.model.encoders import check_panels
from scanwise.model.parts import Parts
from scanwise.model.trainer import Progress, TrainerSettings


@dataclass(frozen=True)
class RefitModel:
    """Logistic regression per protocol, behind the same interface as the amortised network.

    Values are standardised on the learning patients; a value that is unknown counts as the mean and is marked by an
    indicator of its own where that happens among them.

    Parameters
    ----------
    regularisation : inverse penalty `C`; where several are given, the best cross-entropy on the patients left out wins.

    Raises
    ------
    ScanwiseError
        If a penalty is not positive.
    """

    regularisation: tuple[float, ...] = (0.1,)

    kind = "logistic regression per protocol"
    fuses = False
    """Whether what it fits is a `scanwise.design.ProductScorer`."""

    def __post_init__(self) -> None:
        values = tuple(float(value) for value in np.ravel(self.regularisation))  # one number will do
        if not values or not all(value > 0 for value in values):
            raise ScanwiseError(
                f"model.regularisation must be one or more numbers above 0, but got {self.regularisation!r}"
            )
        object.__setattr__(self, "regularisation", values)

    def check(self, menu: Menu) -> None:
        """Raise a `ScanwiseError` where this menu cannot be read, before anything is trained."""
        check_panels(menu)

    def describe(self) -> str:
        """Return one sentence for the methods text."""
        values = ", ".join(f"{value:g}" for value in self.regularisation)
        return f"a logistic regression trained anew for every protocol (L2 penalty, C = {values})"

    def fit(
        self,
        data: PatientData,
        menu: Menu,
        fold: Fold,
        *,
        seed: int,
        trainer: TrainerSettings,
        directory: Path,
        progress: Progress | None = None,
    ) -> RefitScorer:
        """Prepare a scorer; training happens per protocol, when it is scored."""
        del trainer
        write_json(directory / "refit.json", {"regularisation": self.regularisation})
        if progress:
            progress(1, 1, "trained when scored")
        return RefitScorer(self, data, menu, Parts.of(fold, data.label, members_per_part=1, seed=seed))

    def load(self, data: PatientData, menu: Menu, fold: Fold, *, seed: int, directory: Path) -> RefitScorer:
        """Return the scorer of a fold that was fitted before."""
        read_json(directory / "refit.json")
        return RefitScorer(self, data, menu, Parts.of(fold, data.label, members_per_part=1, seed=seed))

    def reader(self, menu: Menu, directory: Path) -> NoReturn:
        """Refuse: regressions are trained from the cohort whenever a protocol is scored, so none was kept.

        Raises
        ------
        ScanwiseError
            Always.
        """
        raise ScanwiseError(
            "model=refit keeps no network that could read a new patient", "ask a run with model=amortised"
        )


class RefitScorer:
    """Trains one regression per protocol on all learning patients, and one per inner fold left out."""

    def __init__(self, model: RefitModel, data: PatientData, menu: Menu, parts: Parts) -> None:
        self._model = model
        self._data = data
        self._menu = menu
        self._parts = parts

    def score(self, protocols: Sequence[Protocol], patients: Patients) -> NDArray[np.float64]:
        """Return probabilities, shape ``(protocols, patients)``; see `scanwise.design.Scorer`."""
        scores = [self._score_one(protocol, patients) for protocol in protocols]
        return np.array(scores, dtype=np.float64).reshape(len(protocols), len(patients))

    def _score_one(self, protocol: Protocol, patients: Patients) -> NDArray[np.float64]:
        parts = self._parts
        learn, label = parts.learn, self._data.label[parts.learn]
        inside = np.isin(patients, learn)
        features = self._features(protocol, np.concatenate([learn, patients]))
        mine, theirs = features[: len(learn)], features[len(learn) :]

        def left_out(penalty: float) -> NDArray[np.float64]:
            probability = np.empty(len(learn))
            for part in np.unique(parts.part):
                out = parts.part == part
                probability[out] = _fit_predict(mine[~out], label[~out], mine[out], penalty)
            return probability

        best, held_out = self._model.regularisation[0], None
        if len(self._model.regularisation) > 1:
            candidates = {penalty: left_out(penalty) for penalty in self._model.regularisation}
            best = min(candidates, key=lambda penalty: _cross_entropy(label, candidates[penalty]))
            held_out = candidates[best]
        probability = np.empty(len(patients))
        if (~inside).any():
            probability[~inside] = _fit_predict(mine, label, theirs[~inside], best)
        if inside.any():
            held_out = left_out(best) if held_out is None else held_out
            row = {int(patient): index for index, patient in enumerate(learn)}
            probability[inside] = held_out[[row[int(patient)] for patient in patients[inside]]]
        return probability

    def _features(self, protocol: Protocol, patients: Patients) -> NDArray[np.float64]:
        blocks = [np.zeros((len(patients), 0))]
        for name in protocol.modalities:
            modality = self._menu.modalities[name]
            counts = modality.check(protocol)
            measured = modality.measure(self._data.data(name, patients), counts, np.random.default_rng(0))
            columns = [column for column in self._data.columns(name) if counts[column.shot] > 0]
            blocks.append(panel_features(measured.data, columns)[0])
        return np.concatenate(blocks, axis=1)


def _fit_predict(
    learn: NDArray[np.float64], label: NDArray[np.int64], other: NDArray[np.float64], penalty: float
) -> NDArray[np.float64]:
    if learn.shape[1] == 0:
        return np.full(len(other), label.mean())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=RuntimeWarning)  # a column that is unknown for every learning patient
        mean = np.nan_to_num(np.nanmean(learn, axis=0))
        scale = np.nan_to_num(np.nanstd(learn, axis=0))
    scale[scale <= 1e-9 * np.abs(mean)] = 1.0  # relative, whatever the unit
    marked = np.isnan(learn).any(axis=0)

    def prepare(values: NDArray[np.float64]) -> NDArray[np.float64]:
        unknown = np.isnan(values)
        return np.concatenate([np.where(unknown, 0.0, (values - mean) / scale), unknown[:, marked]], axis=1)

    regression = LogisticRegression(C=penalty, max_iter=2000).fit(prepare(learn), label)
    probability: NDArray[np.float64] = regression.predict_proba(prepare(other))[:, 1]
    return probability


def _cross_entropy(label: NDArray[np.int64], probability: NDArray[np.float64]) -> float:
    clipped = np.clip(probability, 1e-7, 1 - 1e-7)
    return float(-np.mean(label * np.log(clipped) + (1 - label) * np.log(1 - clipped)))
