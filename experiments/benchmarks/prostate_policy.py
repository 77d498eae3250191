"""Deciding step by step in the virtual men: is a quarter of the minutes saved at an equal diagnosis, and can it be?"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from _result import Result, in_words, parser
from _stopping import Stages
from numpy.typing import NDArray

from scanwise.composing import compose_config
from scanwise.evidence import Interval, ScoreTable, auc_of_rows, auc_with_covariance, normal_interval
from scanwise.pipeline import open_run
from scanwise.policy import (
    History,
    Shown,
    TrackValues,
    examine,
    examine_learners,
    log_odds,
    make_policy,
    merit_of_lengths,
)
from scanwise.recommend import Rule
from scanwise.tuning import Measure

OURS = "binormal"
POLICIES = (OURS, "ahead", "myopic", "neighbours", "similarity", "confidence")
MEASURE = "log_loss"
FEWER, CONTRAST = 0.25, 1 / 3
"""Share of the minutes to be saved at an equal AUC, and share of men who may get a contrast agent."""
ACTED = (0.1, 0.2, 0.3)
"""Probabilities from which one acts, for the net benefit."""
BETTER = 0.003
"""By how much the AUC of a fixed protocol must be above that of a shorter one to be compared with."""
Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and publish."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--weights", type=int, default=41, help="price weights per policy")
    cli.add_argument("--rungs", type=int, default=4, help="lengths of a scan at most")
    cli.add_argument("overrides", nargs="*", help="e.g. from_run=reports/runs/prostate/1a2b3c4d")
    options = cli.parse_args(arguments)
    result = Result("prostate_policy", str(__doc__), arguments)
    run = open_run(compose_config(["experiment=prostate", *options.overrides], None)).run("fit")
    cohort, fold, scorer = run.cohort, run.folds[0], run.scorer()
    ours = make_policy(OURS, measure=MEASURE, rungs=options.rungs)
    workup = ours.workup(run.menu, merit_of_lengths(ours, cohort, run.menu, run.folds, run.scorer))
    protocols, values = list(workup.protocols), TrackValues.learn(workup, cohort, fold.learn)
    tune, test = scorer.score(protocols, fold.tune), scorer.score(protocols, fold.test)
    learned, label = cohort.label[fold.tune], cohort.label[fold.test]
    history = History(workup, tune, learned, values.of(cohort, fold.tune))
    shown = Shown(log_odds(test), values.of(cohort, fold.test))
    minutes, contrast = workup.price("minutes"), workup.price("contrast_ml") > 0
    front = _front(tune, minutes, learned)
    told = {("fixed", 1.0, state): test[state] for state in front}
    ended: dict[tuple[str, float, int], NDArray[np.int64]] = {}
    for name in POLICIES:
        policy = make_policy(name, measure=MEASURE, n_weights=options.weights)
        weights = policy.weights([history], "minutes")
        own = examine_learners(policy, history, axis="minutes", weights=weights, seed=0)
        spent = np.minimum.accumulate(minutes[own.state].mean(axis=1))
        asked = [(name, share, state) for share in (1.0, 1 - FEWER) for state in front]
        chosen = np.exp(
            np.interp([-share * minutes[state] for _, share, state in asked], -spent, np.log(weights))
        )  # the dearer a minute, the fewer
        found = examine(policy.fit(history, axis="minutes", weights=weights, seed=0), shown, chosen, seed=0)
        told.update(zip(asked, found.probability, strict=True))
        ended.update(zip(asked, found.state, strict=True))
        print(f"{name}: done", flush=True)
    names = ["|".join(map(str, key)) for key in told]
    estimates = auc_with_covariance(ScoreTable.of_one_round(names, np.stack(list(told.values())), label))
    area = dict(zip(front, auc_of_rows(label, test[front]).tolist(), strict=True))
    at_most = _at_most(test, minutes, front, label)

    against = {state: estimates.difference_to(f"fixed|1.0|{state}") for state in front}

    def better(name: str, share: float, state: int) -> Interval:
        difference, se = against[state]
        at = names.index(f"{name}|{share}|{state}")
        return normal_interval(float(difference[at]), float(se[at]))

    def spent_by(name: str, share: float, state: int) -> float:
        return float(minutes[ended[name, share, state]].mean())

    def gained(threshold: float, state: int) -> Interval:
        mine, other = told[OURS, 1 - FEWER, state], told["fixed", 1.0, state]
        worth = Measure("net_benefit", threshold=threshold).of_patients(label, np.stack([mine, other]))
        more = 1000 * (worth[0] - worth[1])
        return normal_interval(float(more.mean()), float(more.std(ddof=1) / np.sqrt(len(more))))

    def given(state: int) -> float:
        return float(contrast[ended[OURS, 1 - FEWER, state]].mean())

    def titled(state: int) -> list[str]:
        return [run.menu.reading(protocols[state]), f"{minutes[state]:.1f}", f"{area[state]:.3f}"]

    fewer = f"{100 * FEWER:g} % fewer minutes"
    result.table(
        "Step by step in place of a fixed protocol: AUC, difference (95 %)",
        [
            *("fixed for all", "min", "AUC", "as many minutes", fewer),
            *("min", "get contrast [%]", "could be saved at its AUC [%]"),
        ],
        [
            [
                *titled(state),
                in_words(better(OURS, 1.0, state), signed=True),
                in_words(better(OURS, 1 - FEWER, state), signed=True),
                f"{spent_by(OURS, 1 - FEWER, state):.1f}",
                f"{100 * given(state):.0f}",
                f"{100 * at_most['AUC'][state]:.0f}",
            ]
            for state in front
        ],
    )
    result.table(
        f"Net benefit with {fewer}, per 1,000 men, difference (95 %), and what could be saved at an equal one",
        ["fixed for all", "min", "AUC", *(f"acting from {100 * threshold:g} %" for threshold in ACTED)],
        [
            titled(state)
            + [
                f"{in_words(gained(threshold, state), digits=0, signed=True)}; "
                f"{100 * at_most[_title(threshold)][state]:.0f} %"
                for threshold in ACTED
            ]
            for state in front
        ],
    )
    result.table(
        f"AUC with {fewer}, difference of every policy (mean minutes)",
        ["fixed for all", "min", "AUC", *POLICIES],
        [
            titled(state)
            + [
                f"{better(name, 1 - FEWER, state).value:+.3f} ({spent_by(name, 1 - FEWER, state):.1f})"
                for name in POLICIES
            ]
            for state in front
        ],
    )
    like_today = _like_today(tune, front, learned)
    for state in front:
        found_auc = better(OURS, 1 - FEWER, state)
        which = f"fixed, {minutes[state]:.1f} min, AUC {area[state]:.3f}"
        result.target(
            f"{which}{' (the shortest that is non-inferior)' if state == like_today else ''}: {fewer} at an equal "
            "AUC, contrast given to under a third",
            f"AUC {in_words(found_auc, signed=True)}, contrast to {100 * given(state):.0f} %; "
            f"{100 * at_most['AUC'][state]:.0f} % could be saved",
            bool(found_auc.high >= 0 and given(state) < CONTRAST),
        )
    result.note(
        f"Fixed protocols: those whose AUC in searching men is at least {BETTER:g} above that of all shorter ones. The "
        "price weight is the one at which searching men, each examined by what was learned from others, need so many "
        "minutes; judging men are only examined. An AUC is equal where the interval of the difference reaches 0. What "
        "could be saved: the best decisions of anybody who knew the AUCs of the fixed protocols on the judging men, "
        "where each contains what cheaper ones told and what it adds is normal and independent (binormal ROC curves)."
    )
    result.note(
        "The AUC counts the order of men whom nobody would treat differently, so that even those far from any decision "
        "must be examined to the end; the net benefit does not."
    )
    return result.publish(
        options.out, patients=f"{len(learned)} search, {len(label)} judge", seeds=[run.config["seed"]]
    )


def _title(threshold: float) -> str:
    return f"net benefit from {threshold:g}"


def _front(tune: Floats, minutes: Floats, label: Labels) -> list[int]:
    """Return the states with which all are compared, ascending."""
    areas = auc_of_rows(label, tune)
    best, found = areas[0], []
    for state in np.lexsort((-areas, minutes)).tolist():
        if areas[state] >= best + BETTER:
            best = areas[state]
            found.append(state)
    return found


def _like_today(tune: Floats, front: Sequence[int], label: Labels) -> int:
    """Return the shortest state of the front that searching men show to be non-inferior to everything."""
    rule = Rule()
    table = ScoreTable.of_one_round([*map(str, front), "everything"], tune[[*front, -1]], label)
    difference, se = auc_with_covariance(table).difference_to("everything")
    low = [normal_interval(*one, 1 - 2 * rule.alpha).low for one in zip(difference.tolist(), se.tolist(), strict=True)]
    return front[int(np.flatnonzero(np.array(low) > -rule.margin)[0])]


def _at_most(test: Floats, minutes: Floats, front: Sequence[int], label: Labels) -> dict[str, dict[int, float]]:
    """Return what can be saved of every state of the front; what tells less than a cheaper one, as if it told that."""
    states, areas = [0], auc_of_rows(label, test).tolist()
    for state in front:
        if areas[state] > areas[states[-1]] and minutes[state] > minutes[states[-1]]:
            states.append(state)
    stages = Stages(minutes[states], np.array([areas[state] for state in states]), float(label.mean()))
    saved = [stages.saved_at_equal_auc(), *map(stages.saved_at_equal_net_benefit, ACTED)]
    found: dict[str, dict[int, float]] = {}
    for title, shares in zip(["AUC", *map(_title, ACTED)], saved, strict=True):
        found[title] = {}
        for state in front:
            at = max(index for index, one in enumerate(states) if minutes[one] <= minutes[state])
            spent = (1 - shares[at - 1]) * minutes[states[at]] if at else 0.0
            found[title][state] = float(1 - spent / minutes[state])
    return found


if __name__ == "__main__":
    main()
