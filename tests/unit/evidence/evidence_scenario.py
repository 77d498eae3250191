"""Score tables for the tests of `scanwise.evidence`."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from scanwise.evidence import ScoreTable


def random_table(
    *, rounds: int = 1, protocols: int = 3, patients: int = 83, folds: int = 1, seed: int = 0, ties: bool = False
) -> ScoreTable:
    """Informative, correlated scores of protocols p0, p1, ...; with `ties` on a grid of few values."""
    rng = np.random.default_rng(seed)
    label = (rng.random(patients) < 0.4).astype(np.int64)
    patient = rng.normal(size=patients)
    odds = 1.2 * label - 0.6 + 0.5 * patient + 0.7 * rng.normal(size=(rounds, protocols, patients))
    probability = expit(odds)
    if ties:
        probability = np.round(probability * 8) / 8
    stratum = np.stack([rng.permutation(patients) % folds for _ in range(rounds)])
    site = np.array(["north", "south"])[rng.integers(0, 2, patients)]
    return ScoreTable(tuple(f"p{i}" for i in range(protocols)), probability, stratum, label, site)


def crossfitted_table(rng: np.random.Generator, *, patients: int, features: int, rounds: int, folds: int) -> ScoreTable:
    """Null data scored by cross-fitted mean-difference classifiers: p0 reads all features, p1 the first two."""
    label = rng.permutation(np.arange(patients) % 2)
    data = rng.normal(size=(patients, features))
    probability = np.empty((rounds, 2, patients))
    stratum = np.empty((rounds, patients), dtype=np.int64)
    for round_ in range(rounds):
        for of_class in (0, 1):
            members = np.flatnonzero(label == of_class)
            stratum[round_, rng.permutation(members)] = np.arange(members.size) % folds
        for fold in range(folds):
            test = stratum[round_] == fold
            direction = data[~test & (label == 1)].mean(axis=0) - data[~test & (label == 0)].mean(axis=0)
            for row, width in enumerate((features, 2)):
                probability[round_, row, test] = expit(data[test][:, :width] @ direction[:width])
    return ScoreTable(("all", "two"), probability, stratum, label, np.full(patients, "here"))
