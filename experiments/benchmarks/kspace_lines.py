"""How few lines of k-space tell a diagnosis? Benchmark A: planted lines, learned patterns, and patient by patient."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _patterns import (
    TRAINER,
    Clock,
    CrossJudged,
    Mask,
    equispaced_mask,
    fit_peer,
    fit_subsets,
    greedy,
    learned_masks,
    mask_of,
    over_seeds,
    random_mask,
)
from _phantoms import SIDE, image_problem, line_problem, planted_lines
from _result import Result, in_words, parser
from numpy.typing import NDArray

from scanwise.evidence import Interval, auc_of_rows
from scanwise.model import Actions, SubsetModel, ValueModel

BUDGETS = (3, 5, 8, 16)
LEARN, JUDGE = 2500, 500
"""2,000 phantoms learn and 500 tune in the facts; here 2,500 learn, and each half tunes what the other learned."""
MARGIN = 0.02
HEAD = SubsetModel(width=128, steps=2500, batch_size=128, dropout=0.1, jitter=0.2, focus=0.8)
PEER = SubsetModel(width=128, steps=2500, batch_size=128, dropout=0.1, jitter=0.2)
IMAGE = SubsetModel(width=128, steps=1500, batch_size=128, dropout=0.0)
VALUE = ValueModel(width=128, steps=6000, batch_size=256, weights=(3e-4, 3e-2), learning_rate=2e-3)
WEIGHTS = tuple(float(weight) for weight in np.geomspace(3e-4, 3e-2, 12))
"""Price weights at which the adaptive protocol is read [nats per line]."""
LEARNED, ADAPTIVE = "learned with the network", "line by line (adaptive)"
STATIC_LEARNED = ("LOUPE", "DPS", "greedy growth", LEARNED)
RECONSTRUCTED = ("LOUPE for the image", "DPS for the image")
LINES = 64


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and publish."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--seeds", type=int, default=5)
    cli.add_argument("--coils", type=int, default=1)
    cli.add_argument("--phantoms", type=int, default=LEARN, help="phantoms that learn")
    cli.add_argument(
        "--steps", type=int, default=HEAD.steps, help="training steps of every network but the value network"
    )
    cli.add_argument("--walk-steps", type=int, default=VALUE.steps, help="training steps of the value network")
    cli.add_argument("--swaps", type=int, default=40, help="swaps at most per pattern")
    cli.add_argument("--budgets", type=int, nargs="+", default=list(BUDGETS))
    options = cli.parse_args(arguments)
    name = "kspace_lines" if options.coils == 1 else f"kspace_lines_{options.coils}_coils"
    result = Result(name, str(__doc__), arguments, script="kspace_lines")
    peer = replace(PEER, steps=min(PEER.steps, options.steps))
    image = replace(IMAGE, steps=min(IMAGE.steps, options.steps))
    clock = Clock()
    static: dict[str, dict[int, list[NDArray[np.float64]]]] = {}
    patterns: dict[str, dict[int, list[Mask]]] = {}
    walked: list[list[tuple[float, NDArray[np.float64]]]] = []
    labels = []
    for seed in range(options.seeds):
        problem = line_problem(options.phantoms + JUDGE, seed, options.coils)
        learn, judge = np.arange(options.phantoms), np.arange(options.phantoms, options.phantoms + JUDGE)
        labels.append(problem.target[judge])
        rng = np.random.default_rng([seed, 0x6C69])
        masks = {
            "random": [random_mask(SIDE, n, rng) for n in options.budgets],
            "low-pass": [_centre(n) for n in options.budgets],
            "equispaced": [equispaced_mask(SIDE, n) for n in options.budgets],
            "variable density": [_variable_density(n, rng) for n in options.budgets],
        }
        clock.lap("")
        judges = CrossJudged(peer, problem, learn, seed)
        clock.lap("networks that judge patterns")
        order = greedy(lambda some, judges=judges: judges.losses(some), SIDE, max(options.budgets))
        masks["greedy growth"] = [mask_of(order[:n], SIDE) for n in options.budgets]
        clock.lap("greedy growth")
        masks[LEARNED] = learned_masks(
            judges, [float(n) for n in options.budgets], starts=[], seed=seed, swaps=options.swaps
        )
        clock.lap(LEARNED)
        pictures = image_problem(options.phantoms, seed, options.coils)
        for method in ("LOUPE", "DPS"):
            masks[method] = [fit_peer(method.lower(), n, peer, problem, learn, seed)[0] for n in options.budgets]
            clock.lap(method)
            masks[f"{method} for the image"] = [
                fit_peer(method.lower(), n, image, pictures, learn, seed)[0] for n in options.budgets
            ]
            clock.lap(f"{method} for the image")
        asked = np.stack([mask for of in masks.values() for mask in of])
        head = fit_subsets(replace(HEAD, steps=options.steps), problem, learn, seed + 1000, asked)
        told = iter(head.tell(asked, judge))
        for kind, of in masks.items():
            for n, mask in zip(options.budgets, of, strict=True):
                static.setdefault(kind, {}).setdefault(n, []).append(next(told).astype(np.float64))
                patterns.setdefault(kind, {}).setdefault(n, []).append(mask)
        clock.lap("head that reads all patterns")
        with tempfile.TemporaryDirectory() as folder:
            value = replace(VALUE, steps=options.walk_steps).fit(
                problem,
                judges.judged,
                Actions.single(np.ones(SIDE)),
                seed=seed,
                trainer=TRAINER,
                directory=Path(folder),
            )
            walks = []
            for weight in WEIGHTS:
                taken, _ = value.walk(judge, weight, budget=float(LINES))
                # read by the same head: every patient from lines of their own
                walks.append((float(taken.sum(1).mean()), head.tell_each(taken, judge).astype(np.float64)))
        walked.append(walks)
        clock.lap(ADAPTIVE)
        print(f"seed {seed}: done", flush=True)
    _tell(result, options.budgets, static, patterns, walked, labels)
    result.table(
        "Processor seconds, all seeds",
        ["what", "cpu-s"],
        [[one, round(s, 1)] for one, s in clock.seconds.items() if one],
    )
    return result.publish(
        options.out,
        patients=f"{options.phantoms} phantoms learn, {JUDGE} judge, {options.coils} coil(s)",
        seeds=list(range(options.seeds)),
    )


def _tell(
    result: Result,
    budgets: Sequence[int],
    static: dict[str, dict[int, list[NDArray[np.float64]]]],
    patterns: dict[str, dict[int, list[Mask]]],
    walked: list[list[tuple[float, NDArray[np.float64]]]],
    labels: list[NDArray[np.float32]],
) -> None:
    columns = [f"{n} lines" for n in budgets]
    rows = []
    for kind, per in static.items():
        areas = [np.mean([_area(told, label) for told, label in zip(per[n], labels, strict=True)]) for n in budgets]
        rows.append([kind, *(f"{area:.3f}" for area in areas)])
    result.table("AUROC, mean of three diagnoses, all read by the same head", ["pattern", *columns], rows)
    lines = [np.mean([walks[at][0] for walks in walked]) for at in range(len(WEIGHTS))]
    areas = [
        np.mean([_area(walks[at][1], label) for walks, label in zip(walked, labels, strict=True)])
        for at in range(len(WEIGHTS))
    ]
    result.table(
        "Line by line: what every price weight gives",
        ["nats per line", "lines on average", "AUROC"],
        [[f"{w:.2g}", f"{n:.1f}", f"{a:.3f}"] for w, n, a in zip(WEIGHTS, lines, areas, strict=True)],
    )
    found = planted_lines()
    large = [n for n in budgets if n >= len(found)]
    share = {kind: np.mean([mask[found].mean() for n in large for mask in per[n]]) for kind, per in patterns.items()}
    result.target(
        f"80 % of the {len(found)} planted lines recovered where there are enough lines",
        f"{100 * share[LEARNED]:.0f} % (LOUPE {100 * share['LOUPE']:.0f} %, DPS {100 * share['DPS']:.0f} %)",
        bool(share[LEARNED] >= 0.8),
    )
    for n in budgets:
        best = max(
            RECONSTRUCTED,
            key=lambda kind, n=n: np.mean([_area(t, y) for t, y in zip(static[kind][n], labels, strict=True)]),
        )
        ahead = _difference(static[LEARNED][n], static[best][n], labels)
        result.target(
            f"{n} lines: learned for the diagnosis ahead of {best}", in_words(ahead, signed=True), ahead.low > 0
        )
    for reference, fewer, what in (("variable density", 0.7, "30 %"), ("best static learned", 0.85, "15 %")):
        for n in budgets:
            kinds = STATIC_LEARNED if reference.startswith("best") else (reference,)
            kind = max(
                kinds, key=lambda one, n=n: np.mean([_area(t, y) for t, y in zip(static[one][n], labels, strict=True)])
            )
            wins = []
            for at in range(len(WEIGHTS)):
                gap = _difference([walks[at][1] for walks in walked], static[kind][n], labels)
                if gap.low > -MARGIN and lines[at] <= fewer * n:
                    wins.append((lines[at], gap))
            words = "never"
            if wins:
                mean, gap = min(wins, key=lambda one: one[0])
                fewer_by = 100 * (1 - mean / n)
                words = f"{mean:.1f} lines on average ({fewer_by:.0f} % fewer), AUROC {in_words(gap, signed=True)}"
            result.target(
                f"as good as {f'{reference} ({kind})' if kind != reference else kind} at {n} lines "
                f"(margin {MARGIN}) with {what} fewer",
                words,
                bool(wins),
            )
    result.note(
        "Lines are told as the logarithm of their energy in eight bands of columns. All patterns, also those of single "
        "patients, are read by one network (`SubsetModel`) per seed, trained on all learning phantoms."
    )
    result.note("Intervals: of the bootstrap over phantoms and the scatter over seeds the wider one.")


def _area(told: NDArray[np.float64], label: NDArray[np.float32]) -> float:
    """Return the AUROC, mean over diagnoses."""
    return float(
        np.mean([auc_of_rows(label[:, at].astype(np.int64), told[None, :, at])[0] for at in range(label.shape[1])])
    )


def _difference(
    mine: Sequence[NDArray[np.float64]], other: Sequence[NDArray[np.float64]], labels: Sequence[NDArray[np.float32]]
) -> Interval:
    """Return the difference of mean AUROC; per phantom by its placement values (DeLong), so that it can be averaged."""
    return over_seeds([_placed(a, y) - _placed(b, y) for a, b, y in zip(mine, other, labels, strict=True)])


def _placed(told: NDArray[np.float64], label: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return values per phantom whose mean is the AUROC and whose scatter is that of DeLong, mean over diagnoses."""
    found = np.zeros(len(told))
    for at in range(label.shape[1]):
        sick = label[:, at] == 1
        wins = (told[sick, at][:, None] > told[~sick, at][None]) + 0.5 * (
            told[sick, at][:, None] == told[~sick, at][None]
        )
        area, n = wins.mean(), len(told)
        own = np.empty(n)
        own[sick] = area + (wins.mean(1) - area) * n / sick.sum()
        own[~sick] = area + (wins.mean(0) - area) * n / (~sick).sum()
        found += own / label.shape[1]
    return found


def _centre(n: int) -> Mask:
    return mask_of(np.argsort(np.abs(np.arange(SIDE) - SIDE // 2), kind="stable")[:n], SIDE)


def _variable_density(n: int, rng: np.random.Generator) -> Mask:
    """Draw lines with a density that falls with the square of the distance from the centre; the centre itself is in."""
    distance = np.abs(np.arange(SIDE) - SIDE // 2) / (SIDE / 2)
    keys = 2 * np.log1p(-np.minimum(distance, 0.99)) + rng.gumbel(size=SIDE)
    keys[SIDE // 2] = np.inf
    return mask_of(np.argsort(-keys, kind="stable")[:n], SIDE)


if __name__ == "__main__":
    main()
