"""What a run keeps of a policy: what was learned in every fold, and how patients fared who took no part in that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.artifacts import read_arrays, read_json, write_arrays, write_json
from scanwise.design import Fold, ImagingModality, Menu, Patients, Scorer
from scanwise.errors import ScanwiseError
from scanwise.policy.examine import examine, examine_learners, fixed_front
from scanwise.policy.history import History, Shown, log_odds, realised_loss
from scanwise.policy.policy import Guide, Policy, make_policy
from scanwise.policy.values import TrackValues
from scanwise.policy.workup import Workup, alone

Floats = NDArray[np.float64]

_SCHEMA_VERSION = 1
_LEAST_PATIENTS = 50
"""Searching patients of whom everything was acquired; fewer teach nothing."""
_MERIT_PATIENTS = 512
"""Searching patients on whom the lengths of a scan are compared, to become rungs."""
ABOUT, WALKS = "about.json", "walks.npz"


@dataclass(frozen=True, eq=False)
class Guidance:
    """What was learned in one fold, as it is kept in a file.

    Parameters
    ----------
    guide : says what next.
    values : how numbers of tests are standardised.
    earlier : what learning patients showed.
    """

    guide: Guide
    values: TrackValues
    earlier: Shown


def learn_policy(
    policy: Policy,
    data: Any,
    menu: Menu,
    folds: Sequence[Fold],
    scorer: Callable[[int], Scorer],
    *,
    axis: str,
    seed: int,
    directory: Path,
    progress: Callable[[int, int, str], None],
) -> None:
    """Learn a policy in every fold, examine its judging patients, and write what a recommendation and `next` need.

    The policy learns from the searching patients, read by networks that did not learn from them; the price weight is
    chosen on them later, each examined by what was learned from the others; judging patients are only examined.

    Parameters
    ----------
    policy : settings.
    data : patients.
    menu, folds : what is on offer, and who may be learned from.
    scorer : gives the fitted model of a fold.
    axis : the price that is weighed.
    seed : of what is random.
    directory : where files go.
    progress : told how far the work is.

    Raises
    ------
    ScanwiseError
        If there is nothing to decide, too many states, or too few patients of whom everything was acquired.
    """
    workup = policy.workup(menu, merit_of_lengths(policy, data, menu, folds, scorer))
    complete = np.all([data.done(track.modality) for track in workup.tracks], axis=0)
    learners = [fold.tune[complete[fold.tune]] for fold in folds]
    fewest = min(len(rows) for rows in learners)
    if fewest < _LEAST_PATIENTS:
        raise ScanwiseError(
            f"a policy learns from at least {_LEAST_PATIENTS} patients of whom everything was acquired, but a fold has "
            f"{fewest}",
            "name modalities that few patients have in policy.without",
        )
    total, protocols = 3 * len(folds), list(workup.protocols)
    histories, values = [], []
    for index, (fold, rows) in enumerate(zip(folds, learners, strict=True)):
        values.append(TrackValues.learn(workup, data, fold.learn))
        probability = scorer(index).score(protocols, rows)
        histories.append(History(workup, probability, data.label[rows], values[-1].of(data, rows)))
        progress(3 * index + 1, total, f"fold {index + 1} of {len(folds)}: searching patients read in all states")
    weights = policy.weights(histories, axis)
    front = fixed_front(histories, axis, policy.measure)
    shape = (1 + max(fold.repeat for fold in folds), len(weights), len(data.label))
    walks: dict[str, NDArray[Any]] = {
        "weights": weights,
        "front": front,
        "test_state": np.full(shape, -1, dtype=np.int32),
        "test_depth": np.full(shape, -1, dtype=np.int16),
        "test_probability": np.full(shape, np.nan, dtype=np.float32),
        "test_fixed": np.full((shape[0], len(front), shape[2]), np.nan, dtype=np.float32),
        "tune_state": np.full((len(folds), *shape[1:]), -1, dtype=np.int32),
        "tune_probability": np.full((len(folds), *shape[1:]), np.nan, dtype=np.float32),
        "tune_fixed": np.full((len(folds), len(front), shape[2]), np.nan, dtype=np.float32),
    }
    directory.mkdir(parents=True, exist_ok=True)
    for index, (fold, rows, history) in enumerate(zip(folds, learners, histories, strict=True)):
        here = f"fold {index + 1} of {len(folds)}"
        guide = policy.fit(history, axis=axis, weights=weights, seed=seed)
        own = examine_learners(policy, history, axis=axis, weights=weights, seed=seed)
        walks["tune_state"][index][:, rows] = own.state
        walks["tune_probability"][index][:, rows] = own.probability
        walks["tune_fixed"][index][:, rows] = history.probability[front]
        progress(len(folds) + 2 * index + 1, total, f"{here}: learned")
        probability = scorer(index).score(protocols, fold.test)
        shown = Shown(log_odds(probability), values[index].of(data, fold.test))
        found = examine(guide, shown, weights, seed=seed)
        walks["test_state"][fold.repeat][:, fold.test] = found.state
        walks["test_depth"][fold.repeat][:, fold.test] = found.depth
        walks["test_probability"][fold.repeat][:, fold.test] = found.probability
        walks["test_fixed"][fold.repeat][:, fold.test] = probability[front]
        _write_guidance(directory / f"{fold.name}.npz", guide, history.shown)
        progress(len(folds) + 2 * index + 2, total, f"{here}: {len(fold.test)} judging patients examined")
    write_arrays(directory / WALKS, **walks)
    write_json(
        directory / ABOUT,
        {
            "schema_version": _SCHEMA_VERSION,
            "policy": policy.name,
            "measure": policy.measure,
            "axis": axis,
            "workup": workup.to_dict(),
            "states": [protocol.key for protocol in workup.protocols],
            "folds": [fold.name for fold in folds],
            "values": [one.to_dict() for one in values],
            "panels": _panels(data, menu, np.concatenate([fold.learn for fold in folds])),
            "n_learners": int(np.median([len(rows) for rows in learners])),
        },
    )


def leave_policy_out(directory: Path, reason: str) -> None:
    """Write why there is no policy."""
    write_json(directory / ABOUT, {"not_applicable": reason})


def read_walks(directory: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
    """Return what a recommendation needs of a policy; `None` where its stage was not run."""
    if not (directory / ABOUT).exists():
        return None
    about = read_json(directory / ABOUT)
    return about, {} if "not_applicable" in about else read_arrays(directory / WALKS)


def read_guidance(directory: Path, menu: Menu) -> tuple[dict[str, Any], list[Guidance]]:
    """Return what `learn_policy` wrote: what it is about, and what was learned in every fold.

    Raises
    ------
    ScanwiseError
        If the run has no policy.
    """
    if not (directory / ABOUT).exists():
        raise ScanwiseError("this run has learned no policy", "start it with policy=ahead stage=policy")
    about = read_json(directory / ABOUT)
    if "not_applicable" in about:
        raise ScanwiseError(f"this run has no policy: {about['not_applicable']}")
    workup = Workup.from_dict(menu, about["workup"])
    found = []
    for name, values in zip(about["folds"], about["values"], strict=True):
        arrays = read_arrays(directory / f"{name}.npz")
        earlier = Shown.from_arrays(arrays, len(workup.tracks))
        own = {key.removeprefix("guide_"): value for key, value in arrays.items() if key.startswith("guide_")}
        guide = make_policy(about["policy"], measure=about["measure"]).read(workup, about["axis"], own)
        found.append(Guidance(guide, TrackValues.from_dict(workup, values), earlier))
    return about, found


def merit_of_lengths(
    policy: Policy, data: Any, menu: Menu, folds: Sequence[Fold], scorer: Callable[[int], Scorer]
) -> dict[str, float]:
    """Return minus the mean loss of every setting of a scan by itself, on some searching patients of the first fold."""
    settings = alone(menu, policy.without)
    if not settings:
        return {}
    some = folds[0].tune[:_MERIT_PATIENTS]
    odds = log_odds(scorer(0).score(settings, some))
    lost = realised_loss(odds, data.label[some], policy.measure).mean(axis=1)
    return dict(zip([one.key for one in settings], (-lost).tolist(), strict=True))


def _write_guidance(path: Path, guide: Guide, earlier: Shown) -> None:
    write_arrays(path, **earlier.arrays(), **{f"guide_{key}": value for key, value in guide.arrays().items()})


def _panels(data: Any, menu: Menu, patients: Patients) -> dict[str, list[dict[str, Any]]]:
    """Return what the values of every panel are, and between which limits they were learned."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, modality in menu.modalities.items():
        if isinstance(modality, ImagingModality):
            continue
        values = data.data(name, patients)
        rows = []
        for column in data.columns(name):
            known = values[:, column.shot, column.slot]
            known = known[~np.isnan(known)]
            rows.append(
                {
                    "name": column.name,
                    "shot": column.shot,
                    "slot": column.slot,
                    "levels": list(column.levels),
                    "unit": column.unit,
                    "low": float(known.min()) if known.size else None,
                    "high": float(known.max()) if known.size else None,
                }
            )
        found[name] = rows
    return found
