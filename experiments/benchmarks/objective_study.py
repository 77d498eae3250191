"""Does a pattern that is best for the image also serve the diagnosis? T2W lines, chosen for either, judged by both."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _patterns import CrossJudged, Mask, fit_peer, fit_subsets, learned_masks, over_seeds
from _result import Kept, Result, in_words, parser
from _scans import image_of_lines, train_length
from numpy.typing import NDArray

from scanwise.composing import compose_config
from scanwise.design import Budget, Menu, Protocol, settings_of
from scanwise.errors import ScanwiseError
from scanwise.evidence import auc
from scanwise.model import SubsetModel
from scanwise.pipeline import Run, open_run
from scanwise.search import LearnedSearch, SearchSpace
from scanwise.tuning import Measure, objective_of

DIAGNOSIS, IMAGE = "learned for the diagnosis", "learned for the image"
SCHEME_DIAGNOSIS, SCHEME_IMAGE = "scheme best for the diagnosis", "scheme best for the image"
PEERS = ("LOUPE", "DPS")
READER = SubsetModel(width=192, n_blocks=2, steps=1500, batch_size=128, dropout=0.0, learning_rate=2e-3)
"""Reconstruction from any lines."""
SCANS, JUDGED = 2000, 1000
"""Scans that reconstructions learn from, and that judge them."""
LOOKED_AT, TRIED = 500, 8
"""Scans of each half that judge while a pattern is learned, and lines that a swap may take away or bring in."""


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and publish."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--seeds", type=int, default=5)
    cli.add_argument("--scan", default="t2w", help="a modality whose shots are lines of echo trains")
    cli.add_argument("--steps", type=int, default=READER.steps, help="training steps of reconstructions")
    cli.add_argument("--learned-steps", type=int, default=60, help="steps of the gradient per pattern")
    cli.add_argument("--swaps", type=int, default=6, help="swaps at most per pattern")
    cli.add_argument("--keep", type=Path, help="file of seeds that are done; a run that was broken off goes on there")
    cli.add_argument("overrides", nargs="*", help="e.g. from_run=reports/runs/prostate/1a2b3c4d")
    options = cli.parse_args(arguments)
    result = Result("objective_study", str(__doc__), arguments)
    run = open_run(compose_config(["experiment=prostate", *options.overrides], None)).run("fit")
    modality = run.menu.modalities[options.scan]
    length = train_length(modality)
    if length is None:
        raise ScanwiseError(f"the shots of {options.scan!r} must be lines of echo trains", "name another scan")
    fold, scorer = run.folds[0], run.scorer()
    judge = fold.test[:JUDGED]
    scans = image_of_lines(run, options.scan, np.concatenate([fold.learn[:SCANS], judge]))
    learn = np.arange(len(scans.values) - len(judge))
    unseen = np.arange(len(learn), len(scans.values))
    menu = Menu([run.menu.modalities["clinical"], modality], run.menu.setups.values(), always=run.menu.always)
    objective = objective_of(scorer, fold.tune, run.cohort.label[fold.tune], measure=Measure("log_loss"))
    numbers = [trains * length for trains in range(1, len(modality.shots) // length)]
    schemes = {n: [np.array(one) > 0 for one in settings_of(modality) if np.count_nonzero(one) == n] for n in numbers}
    model = replace(READER, steps=options.steps)
    kept = Kept(
        options.keep,
        {"scan": options.scan, "steps": options.steps, "learned_steps": options.learned_steps, "swaps": options.swaps},
        result,
    )
    lines: dict[str, dict[int, list[Mask]]] = {}
    errors: dict[str, dict[int, list[NDArray[np.float64]]]] = {}
    for kind, per in kept.content.items():
        lines[kind] = {int(n): [np.array(one) > 0 for one in of["lines"]] for n, of in per.items()}
        errors[kind] = {int(n): [np.array(one) for one in of["errors"]] for n, of in per.items()}
    for seed in range(len(lines[DIAGNOSIS][numbers[0]]) if lines else 0, options.seeds):
        judges = CrossJudged(model, scans, learn, seed, looked_at=LOOKED_AT)
        masks = {
            DIAGNOSIS: _learned(menu, run, options, objective, numbers, schemes, seed),
            IMAGE: learned_masks(
                judges,
                [float(n) for n in numbers],
                starts=[mask for of in schemes.values() for mask in of],
                seed=seed,
                steps=options.learned_steps,
                swaps=options.swaps,
                tried=TRIED,
            ),
            SCHEME_DIAGNOSIS: [
                of[int(np.argmax(objective([_exam(run, options.scan, one) for one in of])))] for of in schemes.values()
            ],
            SCHEME_IMAGE: [of[int(np.argmin(judges.losses(of)))] for of in schemes.values()],
            **{
                method: [fit_peer(method.lower(), n, model, scans, learn, seed)[0] for n in numbers] for method in PEERS
            },
        }
        reader = fit_subsets(model, scans, learn, seed + 1000, np.stack([one for of in masks.values() for one in of]))
        for kind, of in masks.items():
            for n, mask in zip(numbers, of, strict=True):
                told = reader.tell(mask[None], unseen)[0].astype(np.float64)
                spread = float(scans.target[learn].var(0).mean())
                errors.setdefault(kind, {}).setdefault(n, []).append(
                    ((told - scans.target[unseen]) ** 2).mean(1) / spread
                )
                lines.setdefault(kind, {}).setdefault(n, []).append(mask)
        kept.content = {
            kind: {
                str(n): {
                    "lines": [one.astype(int).tolist() for one in of],
                    "errors": [one.tolist() for one in errors[kind][n]],
                }
                for n, of in per.items()
            }
            for kind, per in lines.items()
        }
        kept.save()
        print(f"seed {seed}: done", flush=True)
    _tell(result, run, options.scan, numbers, lines, errors)
    return result.publish(
        options.out,
        patients=f"{len(learn)} scans teach reconstruction, {len(fold.tune)} search, {len(judge)} and {len(fold.test)} "
        "judge image and diagnosis",
        seeds=list(range(options.seeds)),
    )


def _exam(run: Run, scan: str, mask: Mask) -> Protocol:
    """Return the clinical tests and some lines of one scan."""
    return run.menu.always | Protocol({scan: mask.astype(int)})


def _learned(
    menu: Menu,
    run: Run,
    options: Any,
    objective: Any,
    numbers: Sequence[int],
    schemes: Mapping[int, Sequence[Mask]],
    seed: int,
) -> list[Mask]:
    """Return the lines that are best for the diagnosis, by the same search that looks for the image."""
    space = SearchSpace(menu)
    minutes = [menu.price(_exam(run, options.scan, schemes[n][0])).minutes for n in numbers]
    search = LearnedSearch(
        budgets=minutes,
        objectives=("diagnosis", "minutes"),
        starts=1,
        steps=options.learned_steps,
        swaps=options.swaps,
        tried=TRIED,
    )
    known = [_exam(run, options.scan, mask) for of in schemes.values() for mask in of]
    found = search.run(space, objective=objective, budget=Budget(), seed=seed, enqueue=known)
    masks = []
    for limit in minutes:
        within = [
            (value, one.key)
            for one, value in zip(found.protocols, found.values, strict=True)
            if menu.price(one).minutes <= limit + 1e-9
        ]
        masks.append(Protocol.from_key(max(within)[1]).array(options.scan, len(schemes[numbers[0]][0])) > 0)
    return masks


def _tell(
    result: Result,
    run: Run,
    scan: str,
    numbers: Sequence[int],
    lines: Mapping[str, Mapping[int, Sequence[Mask]]],
    errors: Mapping[str, Mapping[int, Sequence[NDArray[np.float64]]]],
) -> None:
    test = run.folds[0].test
    label = run.cohort.label[test]
    asked = list(
        dict.fromkeys(_exam(run, scan, mask) for per in lines.values() for masks in per.values() for mask in masks)
    )
    probability = np.clip(run.scorer().score(asked, test), 1e-6, 1 - 1e-6)
    loss = dict(zip(asked, -np.log(np.where(label == 1, probability, 1 - probability)), strict=True))
    area = dict(zip(asked, [auc(label, row) for row in probability], strict=True))
    centre = len(next(iter(lines.values()))[numbers[0]][0]) // 2
    for n in numbers:
        rows = []
        for kind, per in lines.items():
            exams = [_exam(run, scan, mask) for mask in per[n]]
            distance = np.mean([np.abs(np.flatnonzero(mask) - centre).mean() for mask in per[n]])
            rows.append(
                [
                    kind,
                    f"{np.mean([mask.sum() for mask in per[n]]):.0f}",
                    f"{np.mean([one.mean() for one in errors[kind][n]]):.4f}",
                    f"{np.mean([loss[one].mean() for one in exams]):.4f}",
                    f"{np.mean([area[one] for one in exams]):.3f}",
                    f"{distance:.1f}",
                    f"`{''.join('|' if taken else '.' for taken in per[n][0])}`",
                ]
            )
        result.table(
            f"{n} of {2 * centre} lines at most",
            [
                "pattern",
                "lines",
                "image error",
                "log-loss",
                "AUC",
                "mean distance from the centre",
                "lines (first seed)",
            ],
            rows,
        )
        for one, other in ((DIAGNOSIS, IMAGE), *((DIAGNOSIS, peer) for peer in PEERS)):
            worse = over_seeds([a - b for a, b in zip(errors[one][n], errors[other][n], strict=True)])
            gap = over_seeds(
                [
                    loss[_exam(run, scan, a)] - loss[_exam(run, scan, b)]
                    for a, b in zip(lines[one][n], lines[other][n], strict=True)
                ]
            )
            pairs = zip(lines[one][n], lines[other][n], strict=True)
            shared = np.mean([(a & b).sum() / max(a.sum(), b.sum()) for a, b in pairs])
            result.target(
                f"{n} lines, {one} less {other}: log-loss not behind",
                f"{in_words(gap, digits=4, signed=True)}; image error {in_words(worse, digits=4, signed=True)}; "
                f"{100 * shared:.0f} % of the lines shared",
                bool(gap.low <= 0),
            )
    result.note(
        "Image error: mean square error over the spread of the image between patients, of one network that reads any "
        "lines: it fills in those not taken, and the inverse Fourier transform follows. Log-loss and AUC: of the "
        "network of the study, clinical tests and this scan alone. Both objectives are searched in the same way: "
        "gradient, whole echo trains, swaps, starting from the same schemes. Fewer lines than allowed may be best."
    )


if __name__ == "__main__":
    main()
