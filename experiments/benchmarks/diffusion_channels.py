"""Which of 220 diffusion measurements? Benchmark C: growth that knows curves, learned patterns, against greedy ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from _diffusion import diffusion_problem, seconds_of_weightings
from _patterns import (
    Clock,
    CrossJudged,
    Mask,
    around,
    equispaced_mask,
    fit_subsets,
    greedy_linear,
    learned_masks,
    mask_of,
    over_seeds,
    random_mask,
)
from _result import Result, in_words, parser
from numpy.typing import NDArray

from scanwise.model import SubsetModel

NUMBERS = (110, 55, 28, 14)
JUDGE = 2000
CPU_SECONDS = 300.0
COPIES = 50
"""Neighbours of every greedy pattern that the judging networks learn."""
LOOKED_AT = 1000
"""Voxels of each half that judge while a pattern is learned: all of 2,000."""
FIRST = SubsetModel(width=128, steps=3000, batch_size=256, dropout=0.05)
LAST = SubsetModel(width=128, steps=4000, batch_size=256, dropout=0.05, focus=0.8)
GREEDY, OURS = "greedy forward (least squares)", "learned with the network"
CURVED = "greedy forward, squares and logarithms as well"
DARK = 0.02
"""Signals below are taken as this one in logarithms: the noise."""
PUBLISHED = {
    2000: {"TADRED": (0.0260, 0.0318, 0.0393, 0.0530), "greedy forward": (0.0207, 0.0227, 0.0246, 0.0298)},
    10000: {"TADRED": (0.0164, 0.0215, 0.0297, 0.0467), "greedy forward": (0.0133, 0.0151, 0.0191, 0.0261)},
}
"""Rows of facts/peers.md, measured there on another simulator: context, not compared."""


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and publish."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--seeds", type=int, default=5)
    cli.add_argument("--voxels", type=int, default=2000, help="learning voxels")
    cli.add_argument("--steps", type=int, default=LAST.steps, help="training steps of the last network")
    cli.add_argument("--swaps", type=int, default=40, help="swaps at most per pattern")
    options = cli.parse_args(arguments)
    name = "diffusion_channels" if options.voxels == 2000 else f"diffusion_channels_{options.voxels}"
    result = Result(name, str(__doc__), arguments, script="diffusion_channels")
    last = replace(LAST, steps=options.steps)
    first = replace(FIRST, steps=min(FIRST.steps, options.steps))
    errors: dict[str, dict[str, list[NDArray[np.float64]]]] = {}
    seconds = seconds_of_weightings()
    minutes = [number * float(seconds.mean()) / 60 for number in NUMBERS]
    clock = Clock()
    for seed in range(options.seeds):
        problem = diffusion_problem(options.voxels + JUDGE, seed)
        values, target = problem.values[:, :, 0].astype(np.float64), problem.target.astype(np.float64)
        learn, judge = np.arange(options.voxels), np.arange(options.voxels, options.voxels + JUDGE)
        rng = np.random.default_rng([seed, 0x6368])
        by_number = greedy_linear(values[learn], target[learn], max(NUMBERS))
        by_price = greedy_linear(values[learn], target[learn], 220, seconds)
        clock.lap(GREEDY)
        curved = _curved(values[learn])
        curved_by_number = greedy_linear(curved, target[learn], max(NUMBERS))
        curved_by_price = greedy_linear(curved, target[learn], 220, seconds)
        clock.lap(CURVED)
        alike: dict[str, list[Mask]] = {
            "random": [random_mask(220, number, rng) for number in NUMBERS],
            "equispaced": [equispaced_mask(220, number) for number in NUMBERS],
            GREEDY: [mask_of(by_number[:number], 220) for number in NUMBERS],
            CURVED: [mask_of(curved_by_number[:number], 220) for number in NUMBERS],
        }
        paid = {
            GREEDY: [_within(by_price, limit, seconds / 60) for limit in minutes],
            CURVED: [_within(curved_by_price, limit, seconds / 60) for limit in minutes],
        }
        starts, paid_starts = [*alike[CURVED], *alike[GREEDY]], [*paid[CURVED], *paid[GREEDY]]
        judges = CrossJudged(first, problem, learn, seed, around([*starts, *paid_starts], COPIES, rng), LOOKED_AT)
        clock.lap("networks that judge patterns")
        alike[OURS] = learned_masks(
            judges, [float(one) for one in NUMBERS], starts=starts, seed=seed, swaps=options.swaps
        )
        paid[OURS] = learned_masks(
            judges, minutes, starts=paid_starts, seed=seed, money=seconds / 60, swaps=options.swaps
        )
        clock.lap("learned patterns")
        asked = {
            **{
                (name, f"{number} channels"): mask
                for name, masks in alike.items()
                for number, mask in zip(NUMBERS, masks, strict=True)
            },
            **{
                (name, f"{limit:.1f} min"): mask
                for name, masks in paid.items()
                for limit, mask in zip(minutes, masks, strict=True)
            },
        }
        final = fit_subsets(last, problem, learn, seed + 1000, np.stack(list(asked.values())))
        told = final.tell(np.stack(list(asked.values())), judge)
        clock.lap("last network, all patterns")
        for ((name, budget), mask), own in zip(asked.items(), told, strict=True):
            errors.setdefault(f"{name}; network", {}).setdefault(budget, []).append(_square(own, target[judge]))
            linear = _linear(values, target, learn, mask)(judge)
            errors.setdefault(f"{name}; least squares", {}).setdefault(budget, []).append(
                _square(linear, target[judge])
            )
    found = {name: {budget: over_seeds(rows) for budget, rows in per.items()} for name, per in errors.items()}
    for title, budgets in (
        ("Mean square error at equal numbers", [f"{number} channels" for number in NUMBERS]),
        ("Mean square error at equal minutes", [f"{limit:.1f} min" for limit in minutes]),
    ):
        rows = [
            [name, *(f"{found[name][one].value:.4f}" for one in budgets)] for name in found if budgets[0] in found[name]
        ]
        result.table(
            f"{title} (parameters over their range, {JUDGE} voxels, {options.seeds} seeds)",
            ["pattern; read by", *budgets],
            rows,
        )
        for budget in budgets:
            own = errors[f"{OURS}; network"][budget]
            for head in ("least squares", "network"):
                other = errors[f"{GREEDY}; {head}"][budget]
                less = over_seeds([a - b for a, b in zip(own, other, strict=True)])
                result.target(
                    f"{budget}: below {GREEDY}, read by the {head}"
                    if head == "network"
                    else f"{budget}: below {GREEDY}, read by {head}",
                    in_words(less, digits=5, signed=True),
                    less.high < 0,
                )
    mine = (GREEDY, CURVED, "networks that judge patterns", "learned patterns", "last network, all patterns")
    spent = sum(clock.seconds[one] for one in mine) / options.seeds
    result.target(f"all of it within {CPU_SECONDS:.0f} cpu-s", f"{spent:.0f} cpu-s per seed", spent <= CPU_SECONDS)
    if options.voxels in PUBLISHED:
        result.table(
            "For context: the facts, another simulator",
            ["method", *(f"{number} channels" for number in NUMBERS)],
            [[name, *row] for name, row in PUBLISHED[options.voxels].items()],
        )
    result.table(*clock.table("all seeds"))
    result.note(
        "The same last network reads all patterns, trained on all learning voxels. Signals follow tissue along curves: "
        "growth with the square and the logarithm of every channel looks for channels that a network can use. The "
        "learned search starts from whichever of the two greedy patterns serves two networks best, each judging the "
        "half it did not learn from."
    )
    return result.publish(
        options.out, patients=f"{options.voxels} voxels learn, {JUDGE} judge", seeds=list(range(options.seeds))
    )


def _curved(signal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the signal, its square and its logarithm, standardised, shape ``(voxels, channels, 3)``."""
    found = np.stack([signal, signal**2, np.log(np.maximum(signal, DARK))], axis=2)
    standard: NDArray[np.float64] = (found - found.mean(0)) / found.std(0)
    return standard


def _within(order: Sequence[int], limit: float, price: NDArray[np.float64]) -> Mask:
    """Return the first measurements of an order that fit into a budget; what does not fit is left out."""
    taken: list[int] = []
    for shot in order:
        if price[[*taken, shot]].sum() <= limit:
            taken.append(shot)
    return mask_of(taken, len(price))


def _linear(
    values: NDArray[np.float64], target: NDArray[np.float64], learn: NDArray[np.int64], mask: Mask
) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    def design(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.column_stack([np.ones(len(rows)), values[rows][:, mask]])

    weights = np.linalg.lstsq(design(learn), target[learn], rcond=None)[0]
    return lambda rows: design(rows) @ weights


def _square(told: NDArray[Any], target: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = ((told - target) ** 2).mean(1)
    return found


if __name__ == "__main__":
    main()
