"""Numbers that tests measured, standardised as a policy reads them, and the ranges in which they were learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.design import ImagingModality, PatientData, Patients, panel_features
from scanwise.policy.workup import Workup

Floats = NDArray[np.float64]


class TrackValues:
    """Turns the tests of a patient into numbers of mean 0 and spread 1, per track; 0 where a value is unknown.

    Parameters
    ----------
    workup : tracks; a scan has no numbers.
    mean, scale : per track, of learning patients, shape ``(numbers,)``.
    """

    def __init__(self, workup: Workup, mean: tuple[Floats, ...], scale: tuple[Floats, ...]) -> None:
        self.workup = workup
        self.mean = mean
        self.scale = scale

    @classmethod
    def learn(cls, workup: Workup, data: PatientData, patients: Patients) -> TrackValues:
        """Take means and spreads from some patients."""
        means, scales = [], []
        for raw in _raw(workup, data, patients):
            known = ~np.isnan(raw)
            n = np.maximum(known.sum(axis=0), 1)
            mean = np.where(known, raw, 0.0).sum(axis=0) / n
            spread = np.sqrt((np.where(known, raw - mean, 0.0) ** 2).sum(axis=0) / n)
            means.append(mean)
            scales.append(np.where(spread > 1e-9 * np.abs(mean), spread, 1.0))
        return cls(workup, tuple(means), tuple(scales))

    def of(self, data: PatientData, patients: Patients) -> tuple[Floats, ...]:
        """Return the numbers of patients, per track, shape ``(patients, numbers)``."""
        return tuple(
            np.nan_to_num((raw - mean) / np.where(scale > 0, scale, 1.0))
            for raw, mean, scale in zip(_raw(self.workup, data, patients), self.mean, self.scale, strict=True)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {"mean": [one.tolist() for one in self.mean], "scale": [one.tolist() for one in self.scale]}

    @classmethod
    def from_dict(cls, workup: Workup, content: Mapping[str, Any]) -> TrackValues:
        """Read `to_dict` back."""
        return cls(
            workup, *(tuple(np.array(one, dtype=np.float64) for one in content[key]) for key in ("mean", "scale"))
        )


def _raw(workup: Workup, data: PatientData, patients: Patients) -> list[Floats]:
    """Return the features of every track, shape ``(patients, features)``, NaN where unknown."""
    found = []
    for track in workup.tracks:
        modality = workup.menu.modalities[track.modality]
        if isinstance(modality, ImagingModality):
            found.append(np.zeros((len(patients), 0)))
            continue
        counts = np.array(track.rungs[-1], dtype=np.int64)
        always = workup.menu.always.array(track.modality, len(counts))
        measured = modality.measure(data.data(track.modality, patients), counts, np.random.default_rng(0))
        features, shot = panel_features(measured.data, data.columns(track.modality))
        found.append(features[:, (counts > always)[shot]])
    return found
