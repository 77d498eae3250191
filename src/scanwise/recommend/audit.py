"""The leakage audit: what would make a result too good to be true, looked for before anyone believes it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency

from scanwise.design import Fold, Menu, PatientData
from scanwise.evidence import auc, short
from scanwise.recommend.findings import Finding, Severity

TELLING_FEATURE = 0.90
"""AUC above which one value alone nearly determines the diagnosis."""
TELLING_ABSENCE = 0.65
"""AUC above which it tells about the diagnosis whether a test was done at all."""
TELLING_SITE = 0.10
"""Cramer's V above which the site alone says much about the diagnosis."""
MINIMUM_KNOWN = 20
"""Patients of each class in whom a value must be known for its AUC to be looked at."""
VOXELS_COMPARED = 64
"""Voxels of an image, evenly spread, by which two patients are told to be the same."""
PATIENTS_AT_ONCE = 256
"""Patients whose images are in memory together."""


def audit(data: PatientData, site: NDArray[np.str_], menu: Menu, folds: Sequence[Fold]) -> list[Finding]:
    """Look for leakage.

    Declared dependence (`requires`), values that alone nearly determine the diagnosis, diagnoses that can be read from
    what was *not* done, patients on both sides of a split, identical patients, and sites that predict the diagnosis.

    Parameters
    ----------
    data : all patients.
    site : where each was examined, shape ``(cohort,)``.
    menu : what is on offer.
    folds : how patients were dealt out.
    """
    return [
        *_requires(menu),
        *_telling_values(data, menu),
        *_telling_absence(data, menu),
        _shared_patients(folds),
        _identical_patients(data, menu, folds),
        _sites(data.label, site),
    ]


def _requires(menu: Menu) -> list[Finding]:
    findings = []
    for name, modality in menu.modalities.items():
        needs = [menu.modalities[other].title for other in modality.requires if other != name]
        if needs:
            findings.append(
                Finding(
                    f"requires:{name}",
                    Severity.WARNING,
                    f"The values of {modality.title} were computed with the help of {_list(needs)}.",
                    f"A protocol without {_list(needs)} would not have these values; its AUC here is an upper bound.",
                )
            )
    return findings or [Finding("requires", Severity.PASS, "No modality declares that it needed another one.")]


def _telling_values(data: PatientData, menu: Menu) -> list[Finding]:
    patients = np.arange(len(data.label))
    telling: list[tuple[float, str, str]] = []
    for name, modality in menu.modalities.items():
        if not data.columns(name):  # an image: no single value of it is a feature
            continue
        values = data.data(name, patients)
        for column in data.columns(name):
            value = values[:, column.shot, column.slot]
            known = ~np.isnan(value)
            label = data.label[known]
            if min(label.sum(), (1 - label).sum()) < MINIMUM_KNOWN:
                continue
            variants = [value[known]] if not column.levels else [value[known] == level for level in column.levels]
            best = max(max(area, 1.0 - area) for area in (auc(label, variant.astype(float)) for variant in variants))
            if best >= TELLING_FEATURE:
                telling.append((best, column.name, modality.title))
    if not telling:
        return [Finding("telling-value", Severity.PASS, "No single value nearly determines the diagnosis.")]
    telling.sort(key=lambda item: (-item[0], item[1]))
    best, column_name, title = telling[0]
    listed = "; ".join(f"{name} ({of}) {short(area)}" for area, name, of in telling[:8])
    return [
        Finding(
            "telling-value",
            Severity.WARNING,
            f"{column_name} of {title} alone reaches an AUC of {short(best)}: was it made with the diagnosis?",
            f"{len(telling)} value{'s' if len(telling) > 1 else ''} at or above {TELLING_FEATURE}: {listed}. "
            "Find out how they were made before believing any protocol that uses them.",
        )
    ]


def _telling_absence(data: PatientData, menu: Menu) -> list[Finding]:
    findings = []
    for name, modality in menu.modalities.items():
        done = data.done(name)
        if done.all() or not done.any():
            continue
        area = auc(data.label, done.astype(float))
        if max(area, 1 - area) >= TELLING_ABSENCE:
            findings.append(
                Finding(
                    f"telling-absence:{name}",
                    Severity.WARNING,
                    f"Whether {modality.title} was done tells about the diagnosis (AUC {max(area, 1 - area):.2f}).",
                    "Who ordered the test knew more than the table says; a network can learn the order, not the test.",
                )
            )
    return findings or [
        Finding("telling-absence", Severity.PASS, "Whether a test was done says little about the diagnosis.")
    ]


def _shared_patients(folds: Sequence[Fold]) -> Finding:
    shared = sum(np.intersect1d(fold.test, np.union1d(fold.learn, fold.tune)).size for fold in folds)
    if shared:  # the folds themselves refuse this; the audit looks again at what was really used
        return Finding(
            "shared-patients", Severity.FAIL, f"{shared} patients judge a network that learned from them.", vetoes=True
        )
    return Finding("shared-patients", Severity.PASS, "No patient judges a network that learned from this patient.")


def _identical_patients(data: PatientData, menu: Menu, folds: Sequence[Fold]) -> Finding:
    patients = np.arange(len(data.label))
    rows = np.concatenate([_compared(data, name) for name in menu.modalities], axis=1)
    measured = ~np.isnan(rows).all(axis=1)  # patients of whom nothing is known are alike, but not the same
    rows = np.column_stack([np.nan_to_num(rows.astype(np.float64), nan=-1e300), data.label])[measured]
    judges = np.array([np.isin(patients[measured], fold.test) for fold in folds])
    teaches = np.array([np.isin(patients[measured], fold.learn) for fold in folds])
    _, group, size = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    pairs = crossing = 0
    for number in np.flatnonzero(size > 1):
        members = group.reshape(-1) == number
        pairs += math.comb(int(size[number]), 2)
        # what a patient does in all folds; copies that do the same everywhere are on one side of every split
        does, often = np.unique(np.concatenate([judges, teaches])[:, members], axis=1, return_counts=True)
        judge, teach = does[: len(folds)], does[len(folds) :]
        for a, b in itertools.combinations(range(len(often)), 2):
            apart = (judge[:, a] != judge[:, b]) & (teach[:, a] | teach[:, b])
            crossing += int(often[a] * often[b]) if apart.any() else 0
    if not pairs:
        return Finding("identical-patients", Severity.PASS, "No two patients have the same values throughout.")
    return Finding(
        "identical-patients",
        Severity.WARNING if crossing else Severity.INFO,
        f"{pairs} pair{'s' if pairs > 1 else ''} of patients have the same values throughout.",
        f"{crossing} of them stand on both sides of a split: the same patient twice, or chance?",
    )


def _compared(data: PatientData, modality: str) -> NDArray[Any]:
    """Return what two patients are compared by, shape ``(patients, values)``: all of a table, a few voxels of an image.

    Images are read a few patients at a time, so that they are never in memory together.
    """
    patients = np.arange(len(data.label))
    if data.columns(modality):
        return data.data(modality, patients).reshape(len(patients), -1)
    pieces = []
    for first in range(0, len(patients), PATIENTS_AT_ONCE):
        values = data.data(modality, patients[first : first + PATIENTS_AT_ONCE])
        values = values.reshape(len(values), -1)
        pieces.append(values[:, np.linspace(0, values.shape[1] - 1, VOXELS_COMPARED).astype(np.int64)])
    return np.concatenate(pieces)


def _sites(label: NDArray[np.int64], site: NDArray[np.str_]) -> Finding:
    names = np.unique(site)
    if len(names) < 2:
        return Finding("telling-site", Severity.PASS, "There is one site, so none can predict the diagnosis.")
    table = np.array([[np.sum((site == name) & (label == value)) for value in (0, 1)] for name in names])
    chi2 = float(chi2_contingency(table, correction=False).statistic)
    cramers_v = float(np.sqrt(chi2 / table.sum()))
    shares = ", ".join(f"{name} {row[1] / row.sum():.0%}" for name, row in zip(names, table, strict=True))
    if cramers_v < TELLING_SITE:
        return Finding(
            "telling-site", Severity.PASS, f"The site says little about the diagnosis (V = {cramers_v:.2f})."
        )
    return Finding(
        "telling-site",
        Severity.WARNING,
        f"The site predicts the diagnosis (Cramer's V {cramers_v:.2f}): sites differ in who they see.",
        f"Share of positives: {shares}. A network that recognises the site looks better than it is; judge by site.",
    )


def _list(words: Sequence[Any]) -> str:
    texts = [str(word) for word in words]
    return texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + " and " + texts[-1]
