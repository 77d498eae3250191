"""Deciding step by step in chest pain: what accuracy, at what mean price? Cleveland, real prices, policies compared."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from _result import Result, in_words, parser
from numpy.typing import NDArray
from scipy.special import expit

import scanwise
from scanwise.evidence import Interval, ScoreTable, auc_with_covariance, calibration, normal_interval
from scanwise.policy import (
    History,
    Policy,
    Shown,
    TrackValues,
    examine,
    examine_learners,
    fixed_front,
    log_odds,
    make_policy,
)

PRICE, ACCURACY = 160.0, 0.84
PRICES = (60.0, 110.0, PRICE, 200.0, 240.0, 280.0)
"""Mean prices at which policies are compared [CA$]."""
POLICIES = ("ahead", "binormal", "myopic", "neighbours", "similarity", "confidence", "random")
SLOPES = (0.9, 1.1)
_LEAST = 50
Floats = NDArray[np.float64]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and publish."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--runs", default="reports/runs", help="folder of the run")
    cli.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings of the run")
    options = cli.parse_args(arguments)
    result = Result("heart_policy", str(__doc__), arguments)
    run = scanwise.run("experiment=heart", "stage=fit", f"out={options.runs}", *options.set)
    cohort, folds = run.cohort, run.folds
    workup = make_policy("ahead").workup(run.menu)
    protocols, price = list(workup.protocols), workup.price("money")
    histories, shown = [], []
    for index, fold in enumerate(folds):
        values = TrackValues.learn(workup, cohort, fold.learn)
        scorer = run.scorer(index)
        histories.append(
            History(workup, scorer.score(protocols, fold.tune), cohort.label[fold.tune], values.of(cohort, fold.tune))
        )
        shown.append(Shown(log_odds(scorer.score(protocols, fold.test)), values.of(cohort, fold.test)))
    told: dict[str, Floats] = {}
    paid: dict[str, Floats] = {}
    depth: dict[str, NDArray[np.int64]] = {}
    rounds = 1 + max(fold.repeat for fold in folds)
    stratum = np.full((rounds, len(cohort)), -1)
    for fold in folds:
        stratum[fold.repeat, fold.test] = fold.index

    def note(name: str, policy: Policy) -> None:
        """Choose price weights on searching patients, one per limit, and examine the judging ones."""
        weights = policy.weights(histories, "money")
        empty = np.full((rounds, len(cohort)), np.nan)
        for limit in PRICES:
            title = f"{name}, {limit:g}"
            told[title], paid[title], depth[title] = empty.copy(), empty.copy(), np.full(empty.shape, -1)
        for index, (fold, history) in enumerate(zip(folds, histories, strict=True)):
            own = examine_learners(policy, history, axis="money", weights=weights, seed=index)
            found = examine(
                policy.fit(history, axis="money", weights=weights, seed=index), shown[index], weights, seed=index
            )
            for limit in PRICES:
                title = f"{name}, {limit:g}"
                within = np.flatnonzero(price[own.state].mean(axis=1) <= limit)
                chosen = int(within[0]) if within.size else len(weights) - 1
                told[title][fold.repeat, fold.test] = found.probability[chosen]
                paid[title][fold.repeat, fold.test] = price[found.state[chosen]]
                depth[title][fold.repeat, fold.test] = found.depth[chosen]
        print(f"{name}: done", flush=True)

    for measure in ("error", "brier"):
        for ours in POLICIES[:2]:
            note(f"{ours}, {measure}", make_policy(ours, measure=measure, n_weights=41))
    for other in POLICIES[2:]:
        note(f"{other}, error", make_policy(other, measure="error", n_weights=41))
    for limit in PRICES:
        _note_fixed(f"fixed, {limit:g}", limit, run, histories, shown, told, paid)
    everything = workup.n_states - 1
    told["everything"], paid["everything"] = (
        _state(run, shown, everything),
        np.where(stratum >= 0, price[everything], np.nan),
    )
    _tell(result, run, told, paid, depth, stratum)
    return result.publish(options.out, patients=len(cohort), seeds=[run.config["seed"]])


def _state(run: Any, shown: Sequence[Shown], state: int) -> Floats:
    """Return what is told of everybody in one state, shape ``(rounds, patients)``."""
    found = np.full((1 + max(fold.repeat for fold in run.folds), len(run.cohort)), np.nan)
    for fold, one in zip(run.folds, shown, strict=True):
        found[fold.repeat, fold.test] = expit(one.log_odds[state])
    return found


def _note_fixed(
    name: str,
    limit: float,
    run: Any,
    histories: Sequence[History],
    shown: Sequence[Shown],
    told: dict[str, Floats],
    paid: dict[str, Floats],
) -> None:
    """Take the protocol that is best on searching patients within a price, in every fold."""
    price = histories[0].workup.price("money")
    rounds = 1 + max(fold.repeat for fold in run.folds)
    probability, cost = (np.full((rounds, len(run.cohort)), np.nan) for _ in range(2))
    for fold, history, one in zip(run.folds, histories, shown, strict=True):
        front = fixed_front([history], "money", "brier")
        best = int(front[price[front] <= limit][-1])
        probability[fold.repeat, fold.test] = expit(one.log_odds[best])
        cost[fold.repeat, fold.test] = price[best]
    told[name], paid[name] = probability, cost


def _tell(
    result: Result,
    run: Any,
    told: Mapping[str, Floats],
    paid: Mapping[str, Floats],
    depth: Mapping[str, NDArray[np.int64]],
    stratum: NDArray[np.int64],
) -> None:
    label = run.cohort.label
    names = sorted(told, key=lambda name: float(name.rsplit(", ", 1)[1]) if ", " in name else np.inf)
    table = ScoreTable(tuple(names), np.stack([told[name] for name in names], axis=1), stratum, label, run.cohort.site)
    estimates = auc_with_covariance(table)
    area = dict(zip(names, estimates.value.tolist(), strict=True))
    right = {name: _mean((told[name] > 0.5) == label) for name in names}
    rows = [[name, f"{np.nanmean(paid[name]):.0f}", in_words(right[name]), f"{area[name]:.3f}"] for name in names]
    columns = ["policy, loss, limit [CA$]", "mean CA$", "accuracy", "AUC"]
    result.table("Judging patients; price weights chosen on others", columns, rows)
    best = f"ahead, error, {PRICE:g}"
    mean = float(np.nanmean(paid[best]))
    result.target(
        f"accuracy at least {ACCURACY} at a mean of at most CA$ {PRICE:g}",
        f"{in_words(right[best])} at CA$ {mean:.0f} (everything for all: {in_words(right['everything'])})",
        bool(right[best].value >= ACCURACY and mean <= PRICE),
    )
    for limit in PRICES:
        mine, other = f"ahead, brier, {limit:g}", f"fixed, {limit:g}"
        difference, se = estimates.difference_to(other)
        at = names.index(mine)
        gap = normal_interval(float(difference[at]), float(se[at]))
        result.target(
            f"AUC not below the fixed protocol at CA$ {limit:g}",
            f"{in_words(gap, signed=True)}, for CA$ {np.nanmean(paid[mine]):.0f} against {np.nanmean(paid[other]):.0f}",
            bool(gap.high >= 0),
        )
    slopes = []
    for steps in np.unique(depth[mine := f"ahead, brier, {PRICE:g}"][stratum >= 0]).tolist():
        here = np.where(depth[mine] == steps, stratum, -1)
        scored = ScoreTable((mine,), np.where(here >= 0, told[mine], np.nan)[:, None], here, label, run.cohort.site)
        if min(scored.n_positive, scored.n - scored.n_positive) == 0 or scored.n < _LEAST:
            continue
        (found,) = calibration(scored)
        slopes.append((steps, (here >= 0).sum() / len(here), found.slope))
    result.target(
        f"calibration slope {SLOPES[0]} to {SLOPES[1]} at every depth (within the interval)",
        "; ".join(f"{steps} steps, {n:.0f} patients: {in_words(slope, digits=2)}" for steps, n, slope in slopes),
        all(slope.low <= SLOPES[1] and slope.high >= SLOPES[0] for _, _, slope in slopes),
    )
    result.note(
        "Cross-fitted: networks, policies and price weights learn from other patients than those who are judged. The "
        "limit holds for the mean price on the patients a policy learned from; fixed: in every fold the best protocol "
        "within it."
    )


def _mean(right: NDArray[np.bool_]) -> Interval:
    """Return the mean over patients, each averaged over rounds."""
    each = right.mean(axis=0)
    return normal_interval(float(each.mean()), float(each.std(ddof=1)) / len(each) ** 0.5)


if __name__ == "__main__":
    main()
