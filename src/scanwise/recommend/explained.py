"""What today's protocol consists of is worth, whom a change concerns, and what readers would see; plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.design import Menu, subsets_of_today
from scanwise.errors import ScanwiseError
from scanwise.evidence import (
    ScoreTable,
    auc_with_covariance,
    interaction_weights,
    logit_interval,
    normal_interval,
    shapley_weights,
)
from scanwise.evidence.assess import MINIMUM_PER_SITE
from scanwise.recommend.choose import Rule

_GUESSING = 0.5
"""AUC where nothing is acquired."""


@dataclass(frozen=True, eq=False)
class Explained:
    """What stage `explain` left behind.

    Parameters
    ----------
    about : ``about.json``: parts of today's protocol, groups.
    subsets : every subset of these parts that holds anything, on judging patients; `None` where there are too many.
    members : which patients are in which group, shape ``(groups, patients)``.
    pictures : ``pictures.json``.
    moved : ``doubts.npz``: what was said of patients made of other numbers, or `None`.
    """

    about: Mapping[str, Any]
    subsets: ScoreTable | None
    members: NDArray[np.bool_]
    pictures: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    moved: Mapping[str, NDArray[Any]] | None = None


def contributions(explained: Explained | None, menu: Menu, rule: Rule) -> dict[str, Any]:
    """Return the Shapley value of every part of today's protocol, and the interaction of every pair, with intervals.

    The game is the AUC on judging patients; the interval is that of a weighted sum of AUCs on the same patients.
    """
    if explained is None:
        return {"applicable": False, "reason": _NOT_RUN}
    parts = [str(name) for name in explained.about["parts"]]
    if explained.subsets is None:
        return {"applicable": False, "reason": f"{len(parts)} parts have too many subsets to score all of them"}
    if len(parts) < 2:
        return {"applicable": False, "reason": "today's protocol has fewer than two parts that could be left out"}
    estimates = auc_with_covariance(explained.subsets)
    known = {key: row for row, key in enumerate(estimates.protocols)}
    rows = [
        known.get(subset.key) for subset in subsets_of_today(menu, parts)
    ]  # nothing at all was not scored: its AUC is one half

    def told(weights: NDArray[np.float64]) -> list[dict[str, Any]]:
        of_rows = np.zeros((len(weights), len(estimates.protocols)))
        guessed = np.zeros(len(weights))
        for bits, row in enumerate(rows):
            if row is None:
                guessed += weights[:, bits] * _GUESSING
            else:
                of_rows[:, row] = weights[:, bits]
        value, se = estimates.combine(of_rows)
        return [
            normal_interval(float(v), float(s), rule.level).to_dict() for v, s in zip(value + guessed, se, strict=True)
        ]

    pairs, of_pairs = interaction_weights(len(parts))
    n = len(parts)
    alone, last = np.zeros((n, 2**n)), np.zeros((n, 2**n))
    for at in range(n):
        alone[at, [1 << at, 0]] = 1.0, -1.0
        last[at, [2**n - 1, (2**n - 1) ^ (1 << at)]] = 1.0, -1.0
    values, first, lasts = told(shapley_weights(n)), told(alone), told(last)
    least = rows[0]
    base: dict[str, Any] = {"value": _GUESSING, "low": _GUESSING, "high": _GUESSING}
    if least is not None:
        base = logit_interval(float(estimates.value[least]), float(estimates.se[least]), rule.level).to_dict()
    full = int(rows[-1] or 0)
    return {
        "applicable": True,
        "parts": [
            {"modality": name, "shapley": values[at], "alone": first[at], "last": lasts[at]}
            for at, name in enumerate(parts)
        ],
        "pairs": [
            {"modalities": [parts[one], parts[other]], "interaction": interval}
            for (one, other), interval in zip(pairs, told(of_pairs), strict=True)
        ],
        "always": base,
        "all": logit_interval(float(estimates.value[full]), float(estimates.se[full]), rule.level).to_dict(),
    }


def groups(explained: Explained | None, test: ScoreTable, shown: str | None, reference: str, rule: Rule) -> Any:
    """Return the AUC of the proposal, and its difference to today's protocol, in every group of patients.

    Groups that are too small to be judged say so. Nothing is adjusted for the number of groups.
    """
    if explained is None:
        return {"applicable": False, "reason": _NOT_RUN}
    key = shown or reference
    found = []
    for about, inside in zip(explained.about["groups"], explained.members, strict=True):
        mine = test.subset(inside & test.judged)
        entry: dict[str, Any] = {**about, "n": mine.n, "n_positive": mine.n_positive, "auc": None, "difference": None}
        entry["reason"] = ""
        if min(mine.n_positive, mine.n - mine.n_positive) < MINIMUM_PER_SITE:
            entry["reason"] = f"fewer than {MINIMUM_PER_SITE} patients of a class"
        else:
            try:
                estimates = auc_with_covariance(mine, tuple(dict.fromkeys((key, reference))))
            except ScanwiseError as error:
                entry["reason"] = error.message
            else:
                entry["auc"] = logit_interval(float(estimates.value[0]), float(estimates.se[0]), rule.level).to_dict()
                if key != reference:
                    difference, se = estimates.difference_to(reference)
                    entry["difference"] = normal_interval(float(difference[0]), float(se[0]), rule.level).to_dict()
        found.append(entry)
    return {"applicable": True, "groups": found}


def doubts(explained: Explained | None, shown: str | None, reference: str, rule: Rule) -> dict[str, Any]:
    """Return how the difference to today's protocol changes where one number that patients are made of is another one.

    The same patients are made again, so that changes are paired; their intervals are those of a weighted sum of AUCs.
    Where nothing is proposed it is the AUC of today's protocol that changes.
    """
    if explained is None:
        return {"applicable": False, "reason": _NOT_RUN}
    about = explained.about.get("doubts")
    if about is None:
        return {"applicable": False, "reason": f"this run explained itself before this was looked at; {_NOT_RUN}"}
    key = shown or reference
    if explained.moved is None or "reason" in about:  # numbers of an earlier turn of the stage may still be there
        return {"applicable": False, "reason": str(about["reason"])}
    if key not in about["protocols"]:
        return {"applicable": False, "reason": f"{key} was not among the protocols it was looked at for"}
    keys = (key,) if key == reference else (key, reference)
    probability = np.asarray(explained.moved["probability"])[:, [about["protocols"].index(one) for one in keys]]
    label = np.asarray(explained.moved["label"])
    names = [f"{move} {one}" for move in range(len(probability)) for one in keys]
    table = ScoreTable.of_one_round(names, probability.reshape(-1, len(label)), label)
    estimates = auc_with_covariance(table)
    contrast = np.array([1.0, -1.0])[: len(keys)]
    weights = np.kron(np.eye(len(probability)), contrast)
    weights[:, : len(keys)] -= contrast
    found = [
        normal_interval(float(v), float(s), rule.level).to_dict()
        for v, s in zip(*estimates.combine(weights[1:]), strict=True)
    ]
    return {
        "applicable": True,
        "n": len(label),
        "n_positive": int(label.sum()),
        "moved": [
            {**about["moved"][at], "down": found[2 * at], "up": found[2 * at + 1]} for at in range(len(about["moved"]))
        ],
    }


def flips(test: ScoreTable, shown: str | None, reference: str, rule: Rule) -> list[dict[str, Any]]:
    """Return how many diagnoses change between two protocols, mean over rounds of judging.

    At each threshold agreed beforehand, and at the specificity agreed beforehand, where the threshold of each protocol
    is its own, as that of a reader who gets used to it.
    """
    if shown is None or shown == reference:
        return []
    scored = test.stratum >= 0
    mine, theirs = (test.probability[:, test.row(key)] for key in (shown, reference))
    label = np.broadcast_to(test.label, scored.shape)
    found = [
        {"threshold": threshold, **changes(mine >= threshold, theirs >= threshold, scored, label)}
        for threshold in rule.thresholds
    ]
    above = [_above_specificity(values, test.stratum, label, rule.specificity) for values in (mine, theirs)]
    return [{"specificity": rule.specificity, **changes(above[0], above[1], scored, label)}, *found]


def changes(
    mine: NDArray[np.bool_], theirs: NDArray[np.bool_], scored: NDArray[np.bool_], label: NDArray[np.int64]
) -> dict[str, float]:
    """Return how many diagnoses change, and how many are right both times; mean over rounds.

    Parameters
    ----------
    mine, theirs : who is called positive by either protocol, shape ``(rounds, patients)``.
    scored : who was judged in a round, and `label` the diagnosis; of the same shape.
    """
    positive, negative = scored & (label == 1), scored & (label == 0)
    cells = {
        "found": mine & ~theirs & positive,
        "missed": ~mine & theirs & positive,
        "alarmed": mine & ~theirs & negative,
        "spared": ~mine & theirs & negative,
        "kept_positive": mine & theirs & positive,
        "kept_negative": ~mine & ~theirs & negative,
        "positive": positive,
        "negative": negative,
    }
    return {name: float(cell.sum() / len(scored)) for name, cell in cells.items()}


def _above_specificity(
    values: NDArray[np.float64], stratum: NDArray[np.int64], label: NDArray[np.int64], specificity: float
) -> NDArray[np.bool_]:
    """Return who is alarmed where a share of the negative patients of the same networks may not be."""
    alarmed = np.zeros(values.shape, dtype=bool)
    for round_ in range(len(values)):
        for number in np.unique(stratum[round_][stratum[round_] >= 0]):
            mine = stratum[round_] == number
            negative = values[round_, mine & (label[round_] == 0)]
            if negative.size:
                alarmed[round_, mine] = values[round_, mine] > np.quantile(negative, specificity, method="higher")
    return alarmed


def pictures(explained: Explained | None, shown: str | None, reference: str) -> dict[str, Any]:
    """Return what a reader would see at the proposal and today."""
    if explained is None:
        return {"applicable": False, "reason": _NOT_RUN}
    if not explained.pictures:
        return {"applicable": False, "reason": "the measurements of this study are no images"}
    if shown is None or shown == reference:
        return {"applicable": False, "reason": "today's protocol stays as it is"}
    return {"applicable": True, "patients": [dict(one) for one in explained.pictures if one["key"] == shown]}


def layout(menu: Menu) -> dict[str, Any]:
    """Return what the shots of every modality are, for drawing: ``{modality: {kind, shots, position, most}}``."""
    found = {}
    for name, modality in menu.modalities.items():
        what = modality.shots.what
        kind = next((kind for kind, column in _KINDS if column in what), "shots")
        column = dict(_KINDS).get(kind)
        entry: dict[str, Any] = {"kind": kind, "shots": list(modality.shots.names)}
        entry["position"] = None if column is None else np.asarray(what[column]).astype(float).tolist()
        entry["standard"] = modality.standard.tolist()
        if {"line", "frame"} <= set(what) or {"ky", "kz"} <= set(what):
            first, second = ("frame", "line") if "line" in what else ("ky", "kz")
            entry["kind"] = "dynamic lines" if "line" in what else "phase encodes"
            entry["position"] = np.stack([what[first], what[second]], axis=1).astype(float).tolist()
        found[name] = entry
    return found


_NOT_RUN = "stage explain was not run: scanwise stage=explain from_run=..., then stage=recommend and stage=report"
_KINDS = (("lines", "line"), ("views", "angle_rad"), ("b-values", "b_s_per_mm2"), ("frames", "time_s"))
