"""At equal minutes, is a jointly searched protocol ahead of shortening by hand, tuning sequences alone, LOUPE, DPS?"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _patterns import fit_peer
from _result import Kept, Result, in_words, parser
from _scans import image_of_lines, train_length
from numpy.typing import NDArray

from scanwise.composing import compose_config
from scanwise.design import Budget, Menu, Protocol, relative_lengths, settings_of
from scanwise.evidence import auc, normal_interval
from scanwise.model import SubsetModel
from scanwise.pipeline import Run, open_run
from scanwise.search import (
    LearnedSearch,
    OptunaSearch,
    SearchSpace,
    SeparateSearch,
    UniformSearch,
)
from scanwise.tuning import Measure, objective_of

BUDGETS = (13.0, 15.0, 19.0, 23.0)
"""Minutes in the room; the multiparametric exam takes 27, of which 11 are set-ups."""
SHARES = (0.1, 0.125, 0.2, 0.25, 0.3, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
HAND, ALONE, PEERS = "all sequences shortened alike, equispaced", "each sequence tuned alone", ("LOUPE", "DPS")
JOINT, LEARNED = "searched jointly (TPE)", "searched jointly, then learned"
BIPARAMETRIC = ", without contrast"
LINES = SubsetModel(width=128, n_blocks=2, steps=2000, batch_size=128, dropout=0.0, learning_rate=2e-3)
"""Reconstruction network of LOUPE and DPS, in place of the U-Net."""
RECONSTRUCTED = 2000
"""Learning patients whose scans LOUPE and DPS learn from."""


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and publish."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--seeds", type=int, default=5, help="searches with seeds of their own")
    cli.add_argument("--trials", type=int, default=256)
    cli.add_argument("--steps", type=int, default=LINES.steps, help="training steps of LOUPE, DPS and learned patterns")
    cli.add_argument("--budgets", type=float, nargs="+", default=list(BUDGETS), help="minutes")
    cli.add_argument("--keep", type=Path, help="file of searches that are done; one that was broken off goes on there")
    cli.add_argument("overrides", nargs="*", help="e.g. from_run=reports/runs/prostate/1a2b3c4d")
    options = cli.parse_args(arguments)
    result = Result("prostate_patterns", str(__doc__), arguments)
    run = open_run(compose_config(["experiment=prostate", *options.overrides], None)).run("fit")
    cohort, menu, fold, scorer = run.cohort, run.menu, run.folds[0], run.scorer()
    tune, test = fold.tune, fold.test
    objective = objective_of(scorer, tune, cohort.label[tune], measure=Measure("log_loss"))
    settings = {
        "run": run.manifest["config_hash"],
        "trials": options.trials,
        "steps": options.steps,
        "budgets": options.budgets,
    }
    kept = Kept(options.keep, settings, result)
    known: dict[str, float] = kept.content.pop("known", {})
    chosen = {name: _protocols(runs) for name, runs in kept.content.items()}

    def value(protocols: Sequence[Protocol]) -> NDArray[np.float64]:
        new = [one for one in dict.fromkeys(protocols) if one.key not in known]
        known.update(zip((one.key for one in new), objective(new).tolist(), strict=True) if new else ())
        return np.array([known[one.key] for one in protocols])

    def note(name: str, candidates: Sequence[Protocol]) -> None:
        best = {}
        for limit in options.budgets:
            within = [one for one in candidates if menu.price(one).minutes <= limit + 1e-9]
            if within:
                best[limit] = within[int(np.argmax(value(within)))]
        chosen.setdefault(name, []).append(best)
        kept.content = {
            "known": known,
            **{n: [{str(at): one.key for at, one in b.items()} for b in runs] for n, runs in chosen.items()},
        }
        kept.save()

    plain = Menu(
        [one for name, one in menu.modalities.items() if name != "dce"], menu.setups.values(), always=menu.always
    )
    offers = {"": menu, BIPARAMETRIC: plain}
    for suffix, offered in offers.items():
        space = SearchSpace(offered)
        for name, search in ((HAND, UniformSearch(shares=SHARES)), (ALONE, SeparateSearch(shares=SHARES))):
            if name + suffix not in chosen:
                found = search.run(space, objective=value, budget=Budget())
                note(name + suffix, _of_all(found.protocols, offered))
    for method in PEERS:
        if method + BIPARAMETRIC not in chosen:
            lines = _learned_lines(run, method, options.steps)
            for suffix, offered in offers.items():
                chosen.pop(method + suffix, None)  # of a start that was broken off between the two
                note(method + suffix, _shortened_alike(offered, lines))
        print(f"{method}: done", flush=True)
    for seed in range(len(chosen.get(LEARNED, ())), options.seeds):
        del chosen.setdefault(JOINT, [])[seed:]  # of a search that was broken off
        search = OptunaSearch(n_trials=options.trials, objectives=("diagnosis", "minutes"))
        found = search.run(SearchSpace(menu), objective=value, budget=Budget(), seed=seed)
        note(JOINT, found.protocols)
        first = list(chosen[JOINT][-1].values())
        learned = LearnedSearch(
            budgets=options.budgets, objectives=("diagnosis", "minutes"), steps=min(60, options.steps), swaps=3
        ).run(SearchSpace(menu), objective=_Learnable(value, objective), budget=Budget(), seed=seed, enqueue=first)
        note(LEARNED, [*found.protocols, *learned.protocols])
        print(f"seed {seed}: done", flush=True)
    _tell(result, run, chosen, options.budgets, test)
    return result.publish(
        options.out,
        patients=f"{len(tune)} search, {len(test)} judge",
        seeds=list(range(max(options.seeds, len(chosen[LEARNED])))),
    )


def _protocols(runs: Sequence[Mapping[str, str]]) -> list[dict[float, Protocol]]:
    return [{float(limit): Protocol.from_key(key) for limit, key in best.items()} for best in runs]


class _Learnable:
    """The objective with its memory, and with slopes."""

    def __init__(self, value: Any, objective: Any) -> None:
        self._value, self._objective = value, objective

    def __call__(self, protocols: Sequence[Protocol]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = self._value(protocols)
        return found

    def slopes(self, protocol: Protocol, rng: np.random.Generator) -> tuple[float, Mapping[str, NDArray[np.float64]]]:
        told: tuple[float, Mapping[str, NDArray[np.float64]]] = self._objective.slopes(protocol, rng)
        return told


def _of_all(protocols: Sequence[Protocol], menu: Menu) -> list[Protocol]:
    """Return the protocols that contain all sequences; single sequences were scored on the way."""
    return [one for one in protocols if set(one.modalities) == set(menu.modalities)]


def _shortened_alike(menu: Menu, lines: Mapping[str, Sequence[tuple[int, ...]]]) -> list[Protocol]:
    """Return exams with learned lines where there are any, all sequences shortened by the same share."""
    offered = {
        name: relative_lengths(modality, lines.get(name) or settings_of(modality))
        for name, modality in menu.modalities.items()
    }
    return [
        menu.always
        | Protocol({name: min(of, key=lambda one: (abs(of[one] - share), one)) for name, of in offered.items()})
        for share in SHARES
    ]


def _learned_lines(run: Run, method: str, steps: int) -> dict[str, list[tuple[int, ...]]]:
    """Return line patterns per scan, a whole number of echo trains each, learned for the reconstruction error."""
    model = replace(LINES, steps=steps)
    found: dict[str, list[tuple[int, ...]]] = {}
    for name, modality in run.menu.modalities.items():
        length = train_length(modality)
        if length is None:
            continue
        problem = image_of_lines(run, name, run.folds[0].learn[:RECONSTRUCTED])
        everybody = np.arange(len(problem.values))
        masks = [
            fit_peer(method.lower(), taken, model, problem, everybody, run.config["seed"])[0]
            for taken in range(length, problem.n_shots, length)
        ]
        found[name] = [(1,) * problem.n_shots, *(tuple(mask.astype(int).tolist()) for mask in masks)]
    return found


def _tell(
    result: Result,
    run: Run,
    chosen: Mapping[str, Sequence[Mapping[float, Protocol]]],
    budgets: Sequence[float],
    test: NDArray[np.int64],
) -> None:
    label = run.cohort.label[test]
    asked = list(dict.fromkeys(one for runs in chosen.values() for best in runs for one in best.values()))
    probability = np.clip(run.scorer().score(asked, test), 1e-6, 1 - 1e-6)
    loss = dict(zip(asked, -np.log(np.where(label == 1, probability, 1 - probability)), strict=True))
    area = dict(zip(asked, [auc(label, row) for row in probability], strict=True))
    columns = [f"{limit:g} min" for limit in budgets]
    tables: dict[str, list[list[Any]]] = {"loss": [], "auc": [], "what": []}
    for name, runs in chosen.items():
        losses = [[loss[best[limit]].mean() for best in runs if limit in best] for limit in budgets]
        areas = [[area[best[limit]] for best in runs if limit in best] for limit in budgets]
        tables["loss"].append([name, *(f"{np.mean(one):.4f}" if one else "none fits" for one in losses)])
        tables["auc"].append([name, *(f"{np.mean(one):.3f}" if one else "none fits" for one in areas)])
        tables["what"].append(
            [name, *(run.menu.reading(runs[0][limit]) if limit in runs[0] else "-" for limit in budgets)]
        )
    result.table("Log-loss on unseen patients", ["protocol", *columns], tables["loss"])
    result.table("AUC on unseen patients", ["protocol", *columns], tables["auc"])
    result.table("What was chosen (first seed)", ["protocol", *columns], tables["what"])
    others = [name for name in chosen if name not in (JOINT, LEARNED)]
    for ours in (JOINT, LEARNED):
        for name in others:
            ahead, behind, words = 0, 0, []
            for limit in budgets:
                pairs = [
                    (mine[limit], other[limit])
                    for mine, other in zip(chosen[ours], itertools.cycle(chosen[name]))  # most others have no seed
                    if limit in mine and limit in other
                ]
                if not pairs:
                    words.append(f"{limit:g} min: none fits")
                    continue
                gap = np.mean([loss[one] - loss[other] for one, other in pairs], axis=0)
                found = normal_interval(float(gap.mean()), float(gap.std(ddof=1)) / len(gap) ** 0.5)
                ahead += found.high < 0
                behind += found.low > 0
                words.append(f"{limit:g} min: {in_words(found, digits=4, signed=True)}")
            result.target(
                f"{ours}: ahead of {name} at two budgets or more, never behind",
                "; ".join(words),
                ahead >= 2 and not behind,
            )
    result.note(
        "Log-loss of the one network of the study, per patient on patients the search never saw; the mean over "
        "searches with seeds of their own, the interval over patients. All choose by the log-loss on the same "
        "searching patients."
    )
    result.note(
        "LOUPE and DPS learn the lines of T2W for the mean square error of the image (in place of the U-Net a fully "
        "connected network fills in lines that were not taken; the inverse Fourier transform follows), one training "
        "per number of echo trains; the other sequences are shortened alike."
    )


if __name__ == "__main__":
    main()
