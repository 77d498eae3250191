"""Where no test knows anything, how often is one called better, and do 95 % intervals hold what they say?

Virtual patients with separation zero go through the very same stages as real ones: fit, search, confirm, recommend.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from _result import Result, parser

from scanwise.composing import compose_config
from scanwise.evidence import Interval, normal_interval, wilson_interval
from scanwise.pipeline import open_run

FALSE_BETTER, COVERAGE = 0.05, (0.93, 0.97)
SPLITS = {
    "crossfit": ["split=crossfit", "split.repeats=3"],
    "crossfit, one repeat": ["split=crossfit", "split.repeats=1"],
    "holdout": ["split=holdout"],
}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--datasets", type=int, default=200)
    cli.add_argument("--patients", type=int, default=300, help="per data set")
    cli.add_argument("--model", choices=("refit", "amortised"), default="refit")
    cli.add_argument("--splits", nargs="+", choices=SPLITS, default=["crossfit", "holdout"])
    cli.add_argument("--resamples", type=int, default=500, help="bootstrap draws")
    cli.add_argument("--workers", type=int, default=2, help="processes; 1 = in this one")
    cli.add_argument("--first-seed", type=int, default=1000)
    cli.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings, e.g. model.steps=50")
    options = cli.parse_args(arguments)
    suffix = "" if options.model == "refit" else f"_{options.model}"
    result = Result(f"null_coverage{suffix}", str(__doc__), arguments, script="null_coverage")
    seeds = range(options.first_seed, options.first_seed + options.datasets)
    for split in options.splits:
        overrides = [
            *("cohort=virtual_panel", "menu=virtual_panel", "cohort.separation=[0,0,0]", "search=lattice"),
            *(f"cohort.n={options.patients}", f"model={options.model}", f"evidence.n_resamples={options.resamples}"),
            *SPLITS[split],
            *options.set,
        ]
        found = []
        for dataset in _map(partial(one_dataset, overrides), seeds, options.workers):
            found.append(dataset)
            if len(found) % 20 == 0:
                print(f"{split}: {len(found)} of {options.datasets}", file=sys.stderr, flush=True)
        _report(result, split, found)
    result.note(
        "The truth is known: every AUC is 0.5 and every difference 0. Data sets differ in patients, in how they are "
        "dealt out, and in the seeds of the models. Six tests, 32 protocols, all searched; up to 16 judged. With "
        "holdout a fifth of the patients judge."
    )
    result.note(
        "Coverage pooled over candidates: the candidates of a data set are correlated, so the interval around it is "
        "that of a mean over data sets. All other intervals are Wilson's, over data sets."
    )
    result.note(
        "The protocol picked: with cross-fitting the final pick is made on all patients, and the same patients judge "
        "it, by other networks. What looks good by chance is picked, and its own intervals know nothing of that. The "
        "interval of the whole procedure, in which every fold picks without its judging patients, is free of it, and "
        "so is holdout."
    )
    result.note(
        '"Better" is tested one-sided at 0.025, adjusted (Holm) for the list: any such claim in at most 2.5 % of the '
        "data sets is what the method promises."
    )
    return result.publish(
        options.out,
        patients=f"{options.datasets} x {options.patients} virtual",
        seeds=f"{seeds[0]} to {seeds[-1]}, of the patients as well as of the run",
    )


def one_dataset(overrides: Sequence[str], seed: int) -> dict[str, Any]:
    """Take one null data set through all stages and return what was claimed and covered."""
    with tempfile.TemporaryDirectory() as folder:
        run = open_run(compose_config([*overrides, f"cohort.seed={seed}", f"seed={seed}", f"out={folder}"]))
        for stage in ("fit", "search", "confirm"):
            run.run(stage)
        recommendation = run.recommend()
    content = recommendation.content
    reference, least = content["reference"], content["always"]
    assessments = {key: candidate["assessment"] for key, candidate in recommendation.candidates.items()}
    versus = {key: one["versus_reference"] for key, one in assessments.items() if key != reference}
    proposed = content["decision"]["proposed"]
    picked = versus.get(proposed)
    return {
        "better": sum(one["verdict"] == "better" for one in versus.values()),
        "recommended_better": bool(recommendation.status == "change" and picked and picked["verdict"] == "better"),
        "change": recommendation.status == "change",
        "difference": [_covers(one["difference"], 0.0) for one in versus.values()],
        "auc": [_covers(one["auc"], 0.5) for one in assessments.values()],
        "auc_bootstrap": [_covers(one["auc_bootstrap"], 0.5) for one in assessments.values()],
        "simultaneous": all(_covers(assessments[key]["simultaneous"], 0.0) for key in versus),
        "least_difference": _covers(versus[least]["difference"], 0.0),
        "least_auc": _covers(assessments[least]["auc"], 0.5),
        "reference_auc": _covers(assessments[reference]["auc"], 0.5),
        "picked_difference": None if picked is None else _covers(picked["difference"], 0.0),
        "picked_auc": _covers(assessments[proposed]["auc"], 0.5),
        "procedure": None if content["nested"] is None else _covers(content["nested"]["difference"], 0.0),
        "procedure_auc": None if content["nested"] is None else _covers(content["nested"]["auc"], 0.5),
    }


def _report(result: Result, split: str, found: Sequence[dict[str, Any]]) -> None:
    low, high = COVERAGE
    n = len(found)
    any_better = _share([one["better"] > 0 for one in found])
    recommended = _share([one["recommended_better"] for one in found])
    limit, within = f"<= {FALSE_BETTER:.0%}", f"{low:.0%} to {high:.0%}"
    result.target(
        f'{split}: data sets with any candidate called "better" {limit}',
        _text(any_better),
        any_better.value <= FALSE_BETTER,
    )
    result.target(f'{split}: recommended as "better" {limit}', _text(recommended), recommended.value <= FALSE_BETTER)
    coverage = {
        "difference to the reference": _pooled([one["difference"] for one in found]),
        "single AUC": _pooled([one["auc"] for one in found]),
        "difference, of the protocol picked": _share([one["picked_difference"] for one in found]),
        "AUC, of the protocol picked": _share([one["picked_auc"] for one in found]),
        "difference, of the whole procedure": _share([one["procedure"] for one in found]),
    }
    for title, share in coverage.items():
        if np.isfinite(share.value):
            wanted = f"{split}: coverage of 95 % intervals, {title}, {within}"
            result.target(wanted, _text(share), bool(low <= share.value <= high))
    rows = [
        ["any candidate called better", any_better],
        ["recommended as better", recommended],
        ["advice to change (as good and cheaper)", _share([one["change"] for one in found])],
        ["coverage, difference, all candidates", _pooled([one["difference"] for one in found])],
        ["coverage, difference, history alone", _share([one["least_difference"] for one in found])],
        ["coverage, difference, protocol picked", _share([one["picked_difference"] for one in found])],
        ["coverage, difference, whole procedure", _share([one["procedure"] for one in found])],
        ["coverage, all differences together", _share([one["simultaneous"] for one in found])],
        ["coverage, AUC, all candidates", _pooled([one["auc"] for one in found])],
        ["coverage, AUC, all candidates, bootstrap", _pooled([one["auc_bootstrap"] for one in found])],
        ["coverage, AUC, everything", _share([one["reference_auc"] for one in found])],
        ["coverage, AUC, history alone", _share([one["least_auc"] for one in found])],
        ["coverage, AUC, protocol picked", _share([one["picked_auc"] for one in found])],
        ["coverage, AUC, whole procedure", _share([one["procedure_auc"] for one in found])],
    ]
    result.table(
        f"{split}, {n} data sets",
        ("what", "%", "95 % low", "95 % high"),
        [
            [what, *(round(100 * share, 1) for share in (one.value, one.low, one.high))]
            for what, one in rows
            if np.isfinite(one.value)
        ],
    )


def _covers(interval: dict[str, float | None], truth: float) -> bool:
    low, high = interval["low"], interval["high"]
    return low is not None and high is not None and low <= truth <= high


def _share(hits: Sequence[bool | None]) -> Interval:
    known = [hit for hit in hits if hit is not None]
    return wilson_interval(sum(known), len(known))


def _pooled(hits: Sequence[Sequence[bool]]) -> Interval:
    """Return the share over all candidates; the spread is that over data sets."""
    inside, number = np.array([sum(one) for one in hits]), np.array([len(one) for one in hits])
    share = inside.sum() / number.sum()
    residual = inside - share * number
    se = np.sqrt((residual**2).sum() * len(hits) / max(1, len(hits) - 1)) / number.sum()
    wide = normal_interval(float(share), float(se))
    return replace(wide, low=max(0.0, wide.low), high=min(1.0, wide.high))


def _text(share: Interval) -> str:
    return f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"


def _map(work: Callable[[int], Any], seeds: Iterable[int], workers: int) -> Iterator[Any]:
    if workers == 1:
        yield from map(work, seeds)
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # read by the processes that are started next
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, seeds)


if __name__ == "__main__":
    main()
