"""Patient by patient: what a policy reached on judging patients, against protocols fixed for everybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.design import COST_AXES, Menu, Protocol
from scanwise.errors import ScanwiseError
from scanwise.evidence import (
    ScoreTable,
    auc_of_rows,
    auc_with_covariance,
    calibration,
    logit_interval,
    normal_interval,
)
from scanwise.evidence.assess import MINIMUM_PER_SITE
from scanwise.recommend.choose import Rule
from scanwise.recommend.explained import changes

Floats = NDArray[np.float64]

_SHOWN_STOPS = 12
_LEAST_AT_DEPTH = 50
"""Patients who must have stopped at a depth for their probabilities to be judged on their own."""
_QUANTILES = (0.5, 0.95)


@dataclass(frozen=True, eq=False)
class Walks:
    """What stage `policy` left behind.

    Parameters
    ----------
    about : ``about.json``.
    arrays : ``walks.npz``.
    """

    about: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


def adaptive(
    walks: Walks | None, menu: Menu, tune: ScoreTable, test: ScoreTable, shown: str | None, rule: Rule
) -> dict[str, Any]:
    """Return how the policy fared, as plain data.

    The price weight is the largest at which searching patients, each examined by a policy that learned from others,
    are diagnosed as well as by the fixed protocol that is shown; everything else is seen on judging patients alone.

    Parameters
    ----------
    walks : of stage `policy`; `None` where there was none.
    menu : prices.
    tune, test : the short list on searching and on judging patients.
    shown : key of the protocol for everybody that is recommended; `None` = today's.
    rule : level, thresholds and the price that counts.
    """
    if walks is None or "not_applicable" in walks.about:
        reason = "stage policy was not run" if walks is None else walks.about["not_applicable"]
        return {"applicable": False, "reason": reason}
    target = shown or menu.reference.key
    states = [Protocol.from_key(key) for key in walks.about["states"]]
    costs = menu.price_many(states)
    arrays, axis = walks.arrays, str(walks.about["axis"])
    column = COST_AXES.index(axis)
    weights, front = arrays["weights"], arrays["front"]
    judged = test.stratum >= 0
    names = [f"walk {index}" for index in range(len(weights))]
    fixed = [f"fixed {index}" for index in range(len(front))]
    extra = [key for key in dict.fromkeys((target, menu.reference.key)) if key in test.protocols]
    table = ScoreTable(
        (*names, *fixed, *extra),
        np.concatenate(
            [
                np.where(judged[:, None], arrays["test_probability"].astype(np.float64), np.nan),
                np.where(judged[:, None], arrays["test_fixed"].astype(np.float64), np.nan),
                test.probability[:, test.rows(extra)],
            ],
            axis=1,
        ),
        test.stratum,
        test.label,
        test.site,
    )
    estimates = auc_with_covariance(table)
    chosen = _chosen(arrays, tune, target)
    paid = [_paid(costs, arrays["test_state"][:, index], judged) for index in range(len(weights))]
    partners = [
        max((at for at, state in enumerate(front) if costs[state, column] <= one[axis]["mean"] + 1e-9), default=0)
        for one in paid
    ]
    against = {at: estimates.difference_to(fixed[at]) for at in set(partners)}
    versus = estimates.difference_to(target) if target in extra else None
    rows = []
    for index, weight in enumerate(weights.tolist()):
        difference, se = against[partners[index]]
        rows.append(
            {
                "weight": weight,
                "cost": paid[index],
                "auc": _area(estimates, index, rule.level),
                "correct": _correct(table, index, judged),
                "fixed": partners[index],
                "ahead_of_fixed": normal_interval(float(difference[index]), float(se[index]), rule.level).to_dict(),
                "difference": None
                if versus is None
                else normal_interval(float(versus[0][index]), float(versus[1][index]), rule.level).to_dict(),
            }
        )
    return {
        "applicable": True,
        "policy": walks.about["policy"],
        "measure": walks.about["measure"],
        "axis": axis,
        "n_learners": walks.about["n_learners"],
        "target": target,
        "chosen": chosen,
        "weights": rows,
        "fixed": [
            {
                "key": states[state].key,
                "reading": menu.reading(states[state]),
                "cost": dict(zip(COST_AXES, costs[state].tolist(), strict=True)),
                "auc": _area(estimates, len(names) + at, rule.level),
                "correct": _correct(table, len(names) + at, judged),
            }
            for at, state in enumerate(front.tolist())
        ],
        "stops": _stops(menu, states, costs, arrays["test_state"][:, chosen], table, chosen, judged),
        "flow": _flow(menu, states, arrays["test_state"][:, chosen], arrays["test_depth"][:, chosen], judged),
        "given": _given(menu, states, costs, arrays["test_state"][:, chosen], judged),
        "calibration": _by_depth(table, names[chosen], arrays["test_depth"][:, chosen], rule.level),
        "flips": _flips(table, names[chosen], menu.reference.key, rule.thresholds),
        "sites": _sites(table, names[chosen], target, rule.level),
    }


def _chosen(arrays: Mapping[str, NDArray[Any]], tune: ScoreTable, target: str) -> int:
    """Return the largest weight at which searching patients are diagnosed as well as by the target."""
    told = arrays["tune_probability"].astype(np.float64)
    gap = []
    for fold, probability in enumerate(told):
        learners = ~np.isnan(probability[0]) & (tune.stratum[fold] >= 0)
        label, stratum = tune.label[learners], tune.stratum[fold][learners]
        usual = tune.probability[fold, tune.row(target), learners]
        areas = auc_of_rows(label, np.concatenate([probability[:, learners], usual[None]]), stratum)
        gap.append(areas[:-1] - areas[-1])
    as_good = np.flatnonzero(np.mean(gap, axis=0) >= 0)
    return int(as_good[-1]) if as_good.size else 0


def _paid(costs: Floats, state: NDArray[np.int64], judged: NDArray[np.bool_]) -> dict[str, dict[str, float]]:
    """Return mean, median and 95th percentile of what patients cost, per axis."""
    found = {}
    for column, axis in enumerate(COST_AXES):
        of_patients = costs[state[judged], column]
        median, high = np.quantile(of_patients, _QUANTILES)
        found[axis] = {"mean": float(of_patients.mean()), "median": float(median), "p95": float(high)}
    return found


def _area(estimates: Any, index: int, level: float) -> dict[str, Any]:
    found: dict[str, Any] = logit_interval(float(estimates.value[index]), float(estimates.se[index]), level).to_dict()
    return found


def _correct(table: ScoreTable, row: int, judged: NDArray[np.bool_]) -> float:
    """Return the share of patients whose likelier diagnosis is right."""
    label = np.broadcast_to(table.label, judged.shape)[judged]
    return float(((table.probability[:, row][judged] > 0.5) == label).mean())


def _stops(
    menu: Menu,
    states: Sequence[Protocol],
    costs: Floats,
    state: NDArray[np.int64],
    table: ScoreTable,
    row: int,
    judged: NDArray[np.bool_],
) -> list[dict[str, Any]]:
    """Return where patients stop, most frequent first; the rest is one line."""
    label = np.broadcast_to(table.label, judged.shape)[judged]
    here, probability = state[judged], table.probability[:, row][judged]
    found = []
    for one, n in sorted(zip(*np.unique(here, return_counts=True), strict=True), key=lambda pair: -pair[1]):
        mine = here == one
        found.append(
            {
                "key": states[one].key,
                "reading": menu.reading(states[one]),
                "share": float(n / len(here)),
                "positive": float(label[mine].mean()),
                "low": float(np.quantile(probability[mine], 0.1)),
                "high": float(np.quantile(probability[mine], 0.9)),
                "cost": dict(zip(COST_AXES, costs[one].tolist(), strict=True)),
            }
        )
    rest = found[_SHOWN_STOPS:]
    shown = found[:_SHOWN_STOPS]
    if rest:
        shown.append({"key": None, "reading": f"{len(rest)} other ways", "share": sum(one["share"] for one in rest)})
    return shown


def _flow(
    menu: Menu,
    states: Sequence[Protocol],
    state: NDArray[np.int64],
    depth: NDArray[np.int64],
    judged: NDArray[np.bool_],
) -> list[dict[str, Any]]:
    """Return, for every number of steps, the share of patients who stop there, by the modalities they have had."""
    here, steps = state[judged], depth[judged]
    had = [
        " + ".join(
            menu.modalities[name].title
            for name in menu.modalities
            if one.counts(name) and name not in menu.always.modalities
        )
        for one in states
    ]
    found = []
    for step in np.unique(steps).tolist():
        ends: dict[str, float] = {}
        for one, n in zip(*np.unique(here[steps == step], return_counts=True), strict=True):
            name = had[int(one)] or "nothing more"
            ends[name] = ends.get(name, 0.0) + float(n / len(here))
        found.append({"steps": int(step), "stop": ends, "go_on": float((steps > step).mean())})
    return found


def _given(
    menu: Menu, states: Sequence[Protocol], costs: Floats, state: NDArray[np.int64], judged: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return the share of patients who get each modality, and a contrast agent."""
    here = state[judged]
    has = {name: np.array([bool(one.counts(name)) for one in states]) for name in menu.modalities}
    contrast = costs[:, COST_AXES.index("contrast_ml")] > 0
    return {
        "modalities": {name: float(of[here].mean()) for name, of in has.items()},
        "contrast": float(contrast[here].mean()),
    }


def _by_depth(table: ScoreTable, name: str, depth: NDArray[np.int64], level: float) -> list[dict[str, Any]]:
    """Return how probabilities are calibrated among patients who stopped after so many steps."""
    found = []
    for steps in np.unique(depth[depth >= 0]).tolist():
        stratum = np.where(depth == steps, table.stratum, -1)
        mine = ScoreTable(
            (name,),
            np.where((stratum >= 0)[:, None], table.probability[:, [table.row(name)]], np.nan),
            stratum,
            table.label,
            table.site,
        )
        entry: dict[str, Any] = {"steps": steps, "n": float((stratum >= 0).sum() / len(stratum))}
        if min(mine.n_positive, mine.n - mine.n_positive) > 0 and mine.n >= _LEAST_AT_DEPTH:
            (told,) = calibration(mine, level=level)
            entry |= {"slope": told.slope.to_dict(), "intercept": told.intercept.to_dict(), "ece": told.ece}
        found.append(entry)
    return found


def _flips(table: ScoreTable, name: str, other: str, thresholds: Sequence[float]) -> list[dict[str, Any]]:
    """Return how many diagnoses change against another protocol, at each threshold of acting."""
    scored = table.stratum >= 0
    mine, theirs = (table.probability[:, table.row(one)] for one in (name, other))
    label = np.broadcast_to(table.label, scored.shape)
    return [
        {"threshold": threshold, **changes(mine >= threshold, theirs >= threshold, scored, label)}
        for threshold in thresholds
    ]


def _sites(table: ScoreTable, name: str, target: str, level: float) -> list[dict[str, Any]]:
    """Return the difference to the fixed protocol in every site that can be judged, worst first."""
    found = []
    for site in np.unique(table.site[table.judged]).tolist():
        mine = table.subset((table.site == site) & table.judged)
        if target not in table.protocols or min(mine.n_positive, mine.n - mine.n_positive) < MINIMUM_PER_SITE:
            continue
        try:
            difference, se = auc_with_covariance(mine, (name, target)).difference_to(target)
        except ScanwiseError:  # too few of a site in a fold
            continue
        interval = normal_interval(float(difference[0]), float(se[0]), level)
        found.append({"site": str(site), "n": mine.n, "difference": interval.to_dict()})
    return sorted(found, key=lambda one: one["difference"]["value"])
