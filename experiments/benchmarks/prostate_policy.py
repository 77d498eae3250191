"""Deciding step by step in the virtual men: how many minutes are saved at an equal diagnosis, and how many can be?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from _result import Result, in_words, parser
from _stopping import Stages
from numpy.typing import NDArray

from scanwise.composing import compose_config
from scanwise.evidence import ScoreTable, auc_of_rows, auc_with_covariance, net_benefit, normal_interval
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

OURS = "binormal"
POLICIES = (OURS, "ahead", "myopic", "neighbours", "similarity", "confidence")
MEASURE = "log_loss"
WANTED, CONTRAST = 0.25, 1 / 3
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
    told = {("fixed", "", state): test[state] for state in front}
    stopped: dict[tuple[str, str, int], NDArray[np.int64]] = {}
    for name in POLICIES:
        policy = make_policy(name, measure=MEASURE, n_weights=options.weights)
        weights = policy.weights([history], "minutes")
        own = examine_learners(policy, history, axis="minutes", weights=weights, seed=0)
        chosen = {
            (title, state): _weight(weights, merit(own.probability, learned), float(merit(tune[[state]], learned)[0]))
            for title, merit in MERITS.items()
            for state in front
        }
        guide = policy.fit(history, axis="minutes", weights=weights, seed=0)
        found = examine(guide, shown, np.array(list(chosen.values())), seed=0)
        for (title, state), probability, ended in zip(chosen, found.probability, found.state, strict=True):
            told[name, title, state] = probability
            stopped[name, title, state] = ended
        print(f"{name}: done", flush=True)
    names = ["|".join(map(str, key)) for key in told]
    estimates = auc_with_covariance(ScoreTable.of_one_round(names, np.stack(list(told.values())), label))
    at_most = _at_most(test, minutes, front, label)

    def spent(*key: Any) -> float:
        return float(minutes[stopped[key]].mean())

    def saved(*key: Any) -> float:
        return 1 - spent(*key) / float(minutes[key[-1]])

    def gap(name: str, state: int) -> Any:
        difference, se = estimates.difference_to(f"fixed||{state}")
        at = names.index(f"{name}|AUC|{state}")
        return normal_interval(float(difference[at]), float(se[at]))

    area = dict(zip(front, auc_of_rows(label, test[front]).tolist(), strict=True))
    result.table(
        "At an equal AUC",
        [
            *("fixed for all", "min", "AUC", "step by step, min", "AUC, difference (95 %)"),
            *("saved [%]", "can be saved [%]", "get contrast [%]"),
        ],
        [
            [
                run.menu.reading(protocols[state]),
                f"{minutes[state]:.1f}",
                f"{area[state]:.3f}",
                f"{spent(OURS, 'AUC', state):.1f}",
                in_words(gap(OURS, state), signed=True),
                f"{100 * saved(OURS, 'AUC', state):.0f}",
                f"{100 * at_most['AUC'][state]:.0f}",
                f"{100 * contrast[stopped[OURS, 'AUC', state]].mean():.0f}",
            ]
            for state in front
        ],
    )
    result.table(
        "Minutes saved at an equal net benefit, of those that can be saved [%]",
        ["fixed for all", "min", *list(MERITS)[1:]],
        [
            [run.menu.reading(protocols[state]), f"{minutes[state]:.1f}"]
            + [
                f"{100 * saved(OURS, title, state):.0f} of {100 * at_most[title][state]:.0f}"
                for title in list(MERITS)[1:]
            ]
            for state in front
        ],
    )
    result.table(
        "Mean minutes at an equal AUC (difference of AUC)",
        ["fixed for all", *POLICIES],
        [
            [f"{minutes[state]:.1f} min, AUC {area[state]:.3f}"]
            + [f"{spent(name, 'AUC', state):.1f} ({gap(name, state).value:+.3f})" for name in POLICIES]
            for state in front
        ],
    )
    like_today = _like_today(tune, front, learned)
    fixed = f"{minutes[like_today]:.1f} min, AUC {area[like_today]:.3f}"
    result.target(
        f"at least {100 * WANTED:g} % fewer minutes at an equal AUC than the best fixed protocol ({fixed})",
        f"{100 * saved(OURS, 'AUC', like_today):.0f} %, AUC {in_words(gap(OURS, like_today), signed=True)} "
        f"({100 * at_most['AUC'][like_today]:.0f} % can be saved)",
        bool(saved(OURS, "AUC", like_today) >= WANTED and gap(OURS, like_today).high >= 0),
    )
    given = float(contrast[stopped[OURS, "AUC", like_today]].mean())
    result.target("contrast given to under a third of men", f"{100 * given:.0f} %", given < CONTRAST)
    for title in list(MERITS)[1:]:
        enough = saved(OURS, title, like_today)
        result.target(
            f"the same at an equal {title}",
            f"{100 * enough:.0f} % ({100 * at_most[title][like_today]:.0f} % can be saved)",
            enough >= WANTED,
        )
    result.note(
        f"Fixed protocols: those whose AUC in searching men is at least {BETTER:g} above that of all shorter ones; the "
        "best fixed one is the shortest of them that searching men show to be non-inferior to everything. "
        "The price weight is the largest at which searching men, each examined by what was learned from others, are "
        "diagnosed as well as by the fixed protocol; judging men are only examined. What can be saved: the best "
        "decisions of anybody who knew the AUCs of the fixed protocols on the judging men, where each contains what "
        "cheaper ones told and what it adds is normal and independent (binormal ROC curves)."
    )
    result.note(
        "The AUC counts the order of men whom nobody would treat differently, so that even those far from any decision "
        "must be examined to the end; the net benefit does not."
    )
    return result.publish(
        options.out, patients=f"{len(learned)} search, {len(label)} judge", seeds=[run.config["seed"]]
    )


def _benefit(threshold: float) -> Callable[[Floats, Labels], Floats]:
    def merit(probability: Floats, label: Labels) -> Floats:
        return np.array([net_benefit(label, one, [threshold])[0].model for one in probability])

    return merit


MERITS: dict[str, Callable[[Floats, Labels], Floats]] = {
    "AUC": lambda probability, label: auc_of_rows(label, probability),
    **{f"net benefit, acting from {100 * one:g} %": _benefit(one) for one in ACTED},
}
"""By what diagnoses are called equal: of every row of probabilities, shape ``(rows, patients)``."""


def _front(tune: Floats, minutes: Floats, label: Labels) -> list[int]:
    """Return the states with which all are compared, ascending."""
    areas = auc_of_rows(label, tune)
    best, found = areas[0], []
    for state in np.lexsort((-areas, minutes)).tolist():
        if areas[state] >= best + BETTER:
            best = areas[state]
            found.append(state)
    return found


def _weight(weights: Floats, reached: Floats, wanted: float) -> float:
    """Return the largest price weight that reaches what is wanted, between two in a straight line.

    Parameters
    ----------
    weights : ascending: the dearer a minute, the earlier men stop; shape ``(weights,)``.
    reached : at each of them.
    wanted : what is to be reached; if nowhere, the lowest weight is returned.
    """
    good = np.flatnonzero(reached >= wanted)
    at = int(good[-1]) if good.size else 0
    if not good.size or at + 1 == len(weights):
        return float(weights[at])
    return float(np.exp(np.interp(-wanted, -reached[at : at + 2], np.log(weights[at : at + 2]))))


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
    for title, shares in zip(MERITS, saved, strict=True):
        found[title] = {}
        for state in front:
            at = max(index for index, one in enumerate(states) if minutes[one] <= minutes[state])
            spent = (1 - shares[at - 1]) * minutes[states[at]] if at else 0.0
            found[title][state] = float(1 - spent / minutes[state])
    return found


if __name__ == "__main__":
    main()
