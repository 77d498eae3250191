"""Who needs the dearer measurements? Benchmark E: breast cytology in three groups of features, decided step by step."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from _result import Result, in_words, parser
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scanwise.design import Menu, Protocol
from scanwise.evidence import Interval, normal_interval
from scanwise.modalities.panel import TestPanel
from scanwise.policy import History, Shown, examine, examine_learners, log_odds, make_policy

GROUPS = ("mean", "se", "worst")
POLICIES = ("ahead", "binormal", "myopic", "neighbours", "similarity", "confidence", "fixed", "random")
MARGIN = 0.005
WANTED = 0.20
"""Share of patients who may get the dearer group, at an accuracy within the margin of giving everything to all."""


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and publish."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--repeats", type=int, default=5)
    cli.add_argument("--folds", type=int, default=5)
    options = cli.parse_args(arguments)
    result = Result("staged_tests", str(__doc__), arguments)
    values, label = load_breast_cancer(return_X_y=True)
    label = 1 - label  # malignant is positive
    menu = _menu()
    judges = RepeatedStratifiedKFold(n_splits=options.folds, n_repeats=options.repeats, random_state=0)
    right: dict[str, list[NDArray[np.float64]]] = {}
    given: dict[str, list[NDArray[np.float64]]] = {}
    fixed: dict[str, list[NDArray[np.float64]]] = {}
    for fold, (learn, judge) in enumerate(judges.split(values, label)):
        made = make_policy("ahead").workup(menu)
        tune = np.stack([_left_out(values[learn], label[learn], one) for one in made.protocols])
        test = np.stack([_told(values[learn], label[learn], values[judge], one) for one in made.protocols])
        spread, middle = values[learn].std(0), values[learn].mean(0)
        scaled = (values - middle) / spread
        numbers = tuple(scaled[:, _columns(track.modality)] for track in made.tracks)
        history = History(made, tune, label[learn], tuple(one[learn] for one in numbers))
        shown = Shown(log_odds(test), tuple(one[judge] for one in numbers))
        for state, protocol in enumerate(made.protocols):
            fixed.setdefault(menu.reading(protocol), []).append(_right(test[state], label[judge]))
        for name in POLICIES:
            policy = make_policy(name, measure="error", n_weights=41)
            weights = policy.weights([history], "money")
            own = examine_learners(policy, history, axis="money", weights=weights, seed=fold)
            more = (made.levels[own.state].sum(axis=2) > 0).mean(axis=1)
            within = np.flatnonzero(more <= WANTED)
            chosen = int(within[0]) if within.size else len(weights) - 1
            guide = policy.fit(history, axis="money", weights=weights, seed=fold)
            found = examine(guide, shown, weights[chosen : chosen + 1], seed=fold)
            right.setdefault(name, []).append(_right(found.probability[0], label[judge]))
            given.setdefault(name, []).append((made.levels[found.state[0]].sum(axis=1) > 0).astype(np.float64))
        print(f"fold {fold + 1}: done", flush=True)
    everything = max(fixed, key=lambda one: (one.count("+"), one))
    rows = [[f"{name} for all", in_words(_mean(one), percent=True, digits=2), ""] for name, one in fixed.items()]
    rows += [
        [
            name,
            in_words(_mean(right[name]), percent=True, digits=2),
            in_words(_mean(given[name]), percent=True, digits=1),
        ]
        for name in POLICIES
    ]
    result.table("Accuracy, and who gets more than the mean features [%]", ["", "accuracy", "get more"], rows)
    behind = _mean([a - b for a, b in zip(right["ahead"], fixed[everything], strict=True)])
    share = _mean(given["ahead"])
    result.target(
        f"at most {100 * WANTED:.0f} % get more, within half a point of everything for all",
        f"{100 * share.value:.1f} % get more, accuracy {in_words(behind, percent=True, digits=2, signed=True)} points",
        bool(share.value <= WANTED and behind.value >= -MARGIN),
    )
    for name in POLICIES[1:]:
        gap = _mean([a - b for a, b in zip(right["ahead"], right[name], strict=True)])
        less = _mean([a - b for a, b in zip(given["ahead"], given[name], strict=True)])
        result.target(
            f"ahead, less {name}",
            f"accuracy {in_words(gap, percent=True, digits=2, signed=True)}, get more "
            f"{in_words(less, percent=True, digits=1, signed=True)}",
            None,
        )
    result.note(
        "Logistic regression per set of groups, C = 1, standardised. The price weight of every policy is chosen on "
        "learning patients, each examined by what was learned from others: the smallest at which no more than a fifth "
        "of them get more. Intervals over patients and folds."
    )
    return result.publish(options.out, patients=f"{len(label)}, {options.repeats} x {options.folds}-fold", seeds=[0])


def _menu() -> Menu:
    """Return three groups of features; those of the mean are there in any case, the others cost one each."""
    panels = [
        TestPanel(name, shots={name: {"money": 0.0 if name == "mean" else 1.0}}, title=f"{name} features")
        for name in GROUPS
    ]
    bare = Menu(panels)
    return Menu(panels, always=bare.protocol("mean"))


def _columns(group: str) -> slice:
    at = GROUPS.index(group)
    return slice(10 * at, 10 * (at + 1))


def _design(values: NDArray[np.float64], protocol: Protocol) -> NDArray[np.float64]:
    return np.concatenate([values[:, _columns(group)] for group in GROUPS if protocol.counts(group)], axis=1)


def _left_out(values: NDArray[np.float64], label: NDArray[np.int64], protocol: Protocol) -> NDArray[np.float64]:
    """Return what regressions that did not learn from a patient say, shape ``(patients,)``."""
    parts = StratifiedKFold(5, shuffle=True, random_state=0)
    told: NDArray[np.float64] = cross_val_predict(
        _regression(), _design(values, protocol), label, cv=parts, method="predict_proba"
    )[:, 1]
    return told


def _told(
    learn: NDArray[np.float64], label: NDArray[np.int64], judge: NDArray[np.float64], protocol: Protocol
) -> NDArray[np.float64]:
    told: NDArray[np.float64] = (
        _regression().fit(_design(learn, protocol), label).predict_proba(_design(judge, protocol))[:, 1]
    )
    return told


def _regression() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=500))


def _right(probability: NDArray[np.float64], label: NDArray[np.int64]) -> NDArray[np.float64]:
    return ((probability > 0.5) == label).astype(np.float64)


def _mean(folds: Sequence[NDArray[np.float64]]) -> Interval:
    """Return the mean over all judged patients; every patient is judged once per repeat, so repeats count once."""
    every = np.concatenate(folds)
    patients = len(every) / max(round(len(every) / 569), 1)
    return normal_interval(float(every.mean()), float(every.std(ddof=1)) / patients**0.5)


if __name__ == "__main__":
    main()
