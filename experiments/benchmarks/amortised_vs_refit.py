"""Is one network for all protocols as good as a regression trained anew for each? Cleveland, all 32 sets of tests."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _result import Result, parser
from scipy.stats import kendalltau

from scanwise.composing import compose_config
from scanwise.design import Protocol
from scanwise.evidence import AucEstimates, Interval, ScoreTable, auc_with_covariance, normal_interval
from scanwise.evidence.roc import MAX_SHARED_LEARNING
from scanwise.model import AmortisedModel, RefitModel, TrainerSettings
from scanwise.pipeline import Run, open_run
from scanwise.search import SearchSpace

MEAN_GAP, WORST_GAP, TAU = -0.005, -0.02, 0.9
REFERENCE_FIGURES = {  # logistic regression, as measured when the targets were set
    "nothing more": 0.838,
    "exercise": 0.881,
    "exercise + fluoroscopy": 0.908,
    "everything": 0.913,
}
NETWORK, YARDSTICK, CHOSEN = "network", "refit", "refit, C chosen"


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--repeats", type=int, default=5)
    cli.add_argument("--folds", type=int, default=5)
    cli.add_argument("--seed", type=int, default=0, help="deals the patients and starts the networks")
    cli.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings, e.g. model.steps=50")
    options = cli.parse_args(arguments)
    result = Result("amortised_vs_refit", str(__doc__), arguments)
    with tempfile.TemporaryDirectory() as folder:
        overrides = [f"split.repeats={options.repeats}", f"split.folds={options.folds}", f"seed={options.seed}"]
        run = open_run(compose_config(["experiment=heart", *overrides, f"out={folder}", *options.set]))
        protocols = list(SearchSpace(run.menu, mandatory=run.menu.always).lattice())
        settings = {key: value for key, value in run.config["model"].items() if key != "_target_"}
        models = {
            NETWORK: AmortisedModel(**settings),
            YARDSTICK: RefitModel(),
            CHOSEN: RefitModel((0.03, 0.1, 0.3, 1.0)),
        }
        scores, seconds = {}, {}
        for name, model in models.items():
            began = time.process_time()
            scores[name] = _scores(run, model, protocols, Path(folder) / name)
            seconds[name] = time.process_time() - began
            print(f"{name}: {seconds[name]:.1f} cpu-s", file=sys.stderr)
        estimates = auc_with_covariance(_together(run, protocols, scores))
    n = len(protocols)
    value = dict(zip(models, estimates.value.reshape(len(models), n), strict=True))
    for yardstick, binding in ((YARDSTICK, True), (CHOSEN, False)):
        gap = value[NETWORK] - value[yardstick]
        interval = _mean_gap(estimates, list(models).index(yardstick), n)
        tau = float(kendalltau(value[NETWORK], value[yardstick]).statistic)
        worst = _short(run, protocols[int(gap.argmin())])
        what = f"network minus {yardstick}"
        result.target(
            f"{what}: mean gap in AUC >= {MEAN_GAP:g}" if binding else f"{what}: mean gap in AUC (second yardstick)",
            f"{gap.mean():+.4f} (95 % {interval.low:+.4f} to {interval.high:+.4f})",
            bool(gap.mean() >= MEAN_GAP) if binding else None,
        )
        result.target(
            f"{what}: worst gap >= {WORST_GAP:g}" if binding else f"{what}: worst gap",
            f"{gap.min():+.4f} ({worst}); best {gap.max():+.4f}",
            bool(gap.min() >= WORST_GAP) if binding else None,
        )
        result.target(
            f"{what}: Kendall tau of the rankings >= {TAU:g}" if binding else f"{what}: Kendall tau",
            f"{tau:.3f}",
            bool(tau >= TAU) if binding else None,
        )
        result.content[f"versus {yardstick}"] = {
            "mean_gap": interval.to_dict(),
            "worst_gap": float(gap.min()),
            "best_gap": float(gap.max()),
            "kendall_tau": tau,
        }
    result.target(
        "processor seconds, training and scoring",
        ", ".join(f"{name} {of_model:.1f}" for name, of_model in seconds.items()),
        None,
    )
    result.content["cpu_seconds"] = seconds
    prices = run.menu.price_many(protocols)[:, 1]
    order = np.lexsort(([protocol.key for protocol in protocols], prices))
    result.table(
        "AUC per set of tests",
        ("tests beside the history", run.menu.currency, NETWORK, YARDSTICK, CHOSEN, "gap", "reference figure"),
        [
            [
                _short(run, protocols[row]),
                round(float(prices[row]), 2),
                *(round(float(value[name][row]), 4) for name in models),
                round(float(value[NETWORK][row] - value[YARDSTICK][row]), 4) + 0.0,  # no -0
                REFERENCE_FIGURES.get(_short(run, protocols[row]), ""),
            ]
            for row in order
        ],
    )
    result.note(
        "AUC: pairs within a test fold only, mean over repeats. Same folds and patients for all models. The interval "
        "is that of the mean gap, paired by patient, with the part due to shared learning patients."
    )
    result.note(
        "The network also learns what the search needs, scores for patients left out in turn, in the same training; "
        f"the regressions are timed on the judging patients only. Network: {models[NETWORK].describe()}."
    )
    result.note(
        "For 32 protocols training one network costs more time than it saves; see scoring_speed for where it pays. "
        "What it must show here is that nothing is lost."
    )
    result.note(f"Refit: {models[YARDSTICK].describe()}; second yardstick: {models[CHOSEN].describe()}.")
    return result.publish(options.out, patients=len(run.cohort), seeds=[options.seed])


def _scores(run: Run, model: Any, protocols: Sequence[Protocol], folder: Path) -> np.ndarray:
    """Return the probabilities of judging patients, shape ``(repeats, protocols, patients)``."""
    trainer = TrainerSettings(**{key: value for key, value in run.config["trainer"].items() if key != "_target_"})
    probability = np.full((1 + run.folds[-1].repeat, len(protocols), len(run.cohort)), np.nan)
    for index, fold in enumerate(run.folds):
        scorer = model.fit(
            run.cohort,
            run.menu,
            fold,
            seed=1000 * run.config["seed"] + index,
            trainer=trainer,
            directory=folder / fold.name,
        )
        probability[fold.repeat][:, fold.test] = scorer.score(protocols, fold.test)
    return probability


def _together(run: Run, protocols: Sequence[Protocol], scores: dict[str, np.ndarray]) -> ScoreTable:
    """Return one table with a row per model and protocol, so that everything is paired."""
    probability = np.concatenate(list(scores.values()), axis=1)
    stratum = np.full((len(probability), len(run.cohort)), -1)
    for fold in run.folds:
        stratum[fold.repeat, fold.test] = fold.index
    keys = tuple(f"{name}: {protocol.key}" for name in scores for protocol in protocols)
    return ScoreTable(keys, probability, stratum, run.cohort.label, run.cohort.site)


def _mean_gap(estimates: AucEstimates, yardstick: int, n: int) -> Interval:
    """Return the mean over protocols of the gap to a yardstick, as `AucEstimates.difference_to` does for one."""
    contrast = np.zeros(len(estimates.value))
    contrast[:n], contrast[yardstick * n : (yardstick + 1) * n] = 1 / n, -1 / n
    given = float(contrast @ estimates.covariance @ contrast)
    shared = float(np.clip(contrast @ estimates.shared @ contrast, 0, MAX_SHARED_LEARNING * given))
    return normal_interval(float(contrast @ estimates.value), float(np.sqrt(given + shared)))


def _short(run: Run, protocol: Protocol) -> str:
    bought = [name for name in protocol.modalities if name not in run.menu.always.modalities]
    if len(bought) == len(run.menu.modalities) - len(run.menu.always.modalities):
        return "everything"
    return " + ".join(bought) or "nothing more"


if __name__ == "__main__":
    main()
