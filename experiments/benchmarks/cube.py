"""Does looking ahead pay? Benchmark B: CUBE, and CUBE-NM, where one measurement only says where to look."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _patterns import Clock, fit_subsets, greedy, losses_of, mask_of, one_more, over_seeds, walk_peer
from _result import Kept, Result, in_words, packed, parser, unpacked
from numpy.typing import NDArray

from scanwise.model import Measurements, MixtureModel, SubsetModel

BUDGETS = (3, 5, 7, 10)
CLASSES, WITHIN, FEATURES, BLOCKS = 8, 3, 20, 5
NOISE, CONTEXT = 0.3, 0.1
JUDGE = 2000
PROBLEMS = ("CUBE", "CUBE-NM")
OURS = "mixtures, measurement by measurement"
CEILING = {"CUBE": {3: 59.4, 5: 75.5, 10: 85.6}, "CUBE-NM": {3: 49.9, 5: 70.6, 7: 80.7, 10: 86.7}}
"""Accuracy of the true model, choosing greedily by information, after the context where there is one [%] (facts, B)."""
READER = SubsetModel(width=192, n_blocks=2, steps=6000, batch_size=256, dropout=0.05, learning_rate=3e-3)
MIXTURE = MixtureModel()
CPU_MINUTES = 10.0


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and publish."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--seeds", type=int, default=5)
    cli.add_argument("--rows", type=int, nargs="+", default=[20_000, 600], help="rows that learn")
    cli.add_argument("--steps", type=int, default=READER.steps, help="training steps of every network")
    cli.add_argument("--judges", type=int, default=JUDGE, help="rows that judge")
    cli.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    cli.add_argument("--keep", type=Path, help="file of seeds that are done; a run that was broken off goes on there")
    options = cli.parse_args(arguments)
    result = Result("cube", str(__doc__), arguments)
    kept = Kept(options.keep, {"steps": options.steps, "judges": options.judges}, result)
    right: dict[tuple[str, int, str, int], list[NDArray[np.float64]]] = {}
    errors: dict[tuple[str, int], list[float]] = {}
    clock = Clock()
    for seed in range(options.seeds):
        for name in options.problems:
            for n in options.rows:
                key = f"{name}, {n} rows, seed {seed}"
                if key not in kept.content:
                    told, error, seconds = _one(name, n, seed, options, clock)
                    kept.content[key] = {
                        "error": error,
                        "seconds": seconds,
                        "right": [[method, budget, packed(hits)] for (method, budget), hits in told.items()],
                    }
                    kept.save()
                    print(f"{key}: done", flush=True)
                for method, budget, hits in kept.content[key]["right"]:
                    right.setdefault((name, n, method, budget), []).append(unpacked(hits))
                errors.setdefault((name, n), []).append(kept.content[key]["error"])
    longest = max(one["seconds"] for one in kept.content.values())
    _tell(result, options, right, errors, longest, clock)
    return result.publish(
        options.out, patients=f"{options.rows} rows learn, {options.judges} judge", seeds=options.seeds
    )


def cube(name: str, rows: int, seed: int) -> Measurements:
    """Return a problem.

    In class c features c, c + 1 and c + 2 are around the bits of c, the others around one half. With ``CUBE-NM`` five
    blocks of ten such features come after a context that says which of them tells anything.

    References
    ----------
    Rueckstiess T, Osendorfer C, van der Smagt P. Minimizing data consumption with sequential online feature selection.
    Int J Mach Learn Cybern 2013;4:235-243.
    Shim H, Hwang SJ, Yang E. Joint active feature acquisition and classification with variable-size set encoding.
    NeurIPS 2018.
    """
    rng = np.random.default_rng([seed, rows, 0x6375])
    label = rng.integers(0, CLASSES, rows)
    size = FEATURES if name == "CUBE" else 2 * FEATURES // 4
    mean = np.full((rows, size), 0.5)
    for at in range(WITHIN):
        mean[np.arange(rows), label + at] = label >> at & 1
    if name == "CUBE":
        values = (mean + NOISE * rng.normal(size=mean.shape))[:, :, None]
    else:
        block = rng.integers(0, BLOCKS, rows)
        every = np.full((rows, BLOCKS, size), 0.5)
        every[np.arange(rows), block] = mean
        every += NOISE * rng.normal(size=every.shape)
        context = np.eye(BLOCKS)[block] + CONTEXT * rng.normal(size=(rows, BLOCKS))
        flat = every.reshape(rows, -1, 1)
        wide = np.concatenate([flat, np.zeros((rows, flat.shape[1], BLOCKS - 1))], axis=2)
        values = np.concatenate([context[:, None], wide], axis=1)
    return Measurements(values.astype(np.float32), label, "classes")


def _one(
    name: str, rows: int, seed: int, options: Any, clock: Clock
) -> tuple[dict[tuple[str, int], NDArray[np.float64]], float, float]:
    """Return who was told right by every method after so many measurements, and our calibration error and seconds."""
    problem = cube(name, rows + options.judges, seed)
    learn, judge = np.arange(rows), np.arange(rows, rows + options.judges)
    label = problem.target[judge]
    few = rows < 2000
    model = replace(
        READER, steps=min(READER.steps, options.steps) // (2 if few else 1), dropout=0.3 if few else READER.dropout
    )
    right: dict[tuple[str, int], NDArray[np.float64]] = {}

    def note(method: str, n: int, told: NDArray[np.floating[Any]]) -> None:
        right[method, n] = (told.argmax(1) == label).astype(np.float64)

    clock.lap("")
    began = time.process_time()
    told, _ = MIXTURE.fit(problem, learn, seed=seed).walk(judge, max(BUDGETS))
    for n in BUDGETS:
        note(OURS, n, told[n - 1])
    error = float(np.mean([_calibration_error(told[n - 1], label) for n in BUDGETS]))
    seconds = time.process_time() - began
    clock.lap(f"{name}, {rows}: {OURS}")
    reader = fit_subsets(model, problem, learn, seed)
    some = np.random.default_rng(seed).permutation(learn)[:1000]
    order = greedy(one_more(partial(losses_of, reader.on(some))), problem.n_shots, max(BUDGETS))
    rng = np.random.default_rng(seed)
    for n in BUDGETS:
        note("greedy, the same for all", n, reader.tell(mask_of(order[:n], problem.n_shots)[None], judge)[0])
        any_ = rng.random((options.judges, problem.n_shots)).argsort(1).argsort(1) < n
        note("random", n, reader.tell_each(any_, judge))
    clock.lap(f"{name}, {rows}: simple")
    for method in ("dime", "gdfs"):
        network = replace(model, steps=2 * model.steps)
        guess = walk_peer(method, max(BUDGETS), network, problem, learn, judge, seed)
        for n in BUDGETS:
            note(method.upper(), n, guess[n - 1])
        clock.lap(f"{name}, {rows}: {method.upper()}")
    return right, error, seconds


def _calibration_error(told: NDArray[np.float32], label: NDArray[np.int64], bins: int = 10) -> float:
    """Return the expected calibration error of the likeliest class (Guo 2017, eq. 3)."""
    sure, hit = told.max(1), told.argmax(1) == label
    of = np.minimum((sure * bins).astype(int), bins - 1)
    return float(sum(abs(hit[of == b].mean() - sure[of == b].mean()) * (of == b).mean() for b in np.unique(of)))


def _tell(result: Result, options: Any, right: Any, errors: Any, longest: float, clock: Clock) -> None:
    methods = list(dict.fromkeys(method for _, _, method, _ in right))
    means = {key: over_seeds(hits) for key, hits in right.items()}
    for name in options.problems:
        for n in options.rows:
            rows = [
                [method, *(in_words(means[name, n, method, b], percent=True, digits=1) for b in BUDGETS)]
                for method in methods
            ]
            rows.append(["true model (facts)", *(str(CEILING[name].get(b, "")) for b in BUDGETS)])
            result.table(f"{name}: accuracy [%], {n:,} rows learn", ["", *(f"{b} measurements" for b in BUDGETS)], rows)

    def accuracy(name: str, n: int, budget: int) -> float:
        return 100 * means[name, n, OURS, budget].value

    for name in options.problems:
        for n in options.rows:
            if name == "CUBE-NM" and n >= 20_000:
                for budget, least in ((5, 64.0), (7, 76.0)):
                    found = accuracy(name, n, budget)
                    result.target(f"{name}, {n:,}: at least {least:g} % at {budget}", f"{found:.1f} %", found >= least)
            if name == "CUBE-NM" and n < 20_000:
                for other in ("DIME", "GDFS"):
                    pairs = zip(right[name, n, OURS, 5], right[name, n, other, 5], strict=True)
                    ahead = over_seeds([a - b for a, b in pairs])
                    words = in_words(ahead, percent=True, signed=True, digits=1)
                    result.target(f"{name}, {n:,}: 10 points ahead of {other} at 5", words, ahead.value >= 0.1)
            if name == "CUBE":
                for budget, best in CEILING[name].items():
                    found = accuracy(name, n, budget)
                    result.target(
                        f"{name}, {n:,}: within 2 points of the greedy true model at {budget} ({best})",
                        f"{found:.1f} %",
                        found >= best - 2,
                    )
            error = float(np.mean(errors[name, n]))
            result.target(f"{name}, {n:,}: calibration error at most .05", f"{error:.3f}", error <= 0.05)
    words = f"{longest / 60:.1f} per problem and seed at most"
    result.target(f"ours within {CPU_MINUTES:g} cpu-min", words, longest <= 60 * CPU_MINUTES)
    if clock.seconds:
        result.table(*clock.table("all seeds"))
    result.note(
        "One mixture for all budgets; what is measured first is chosen with what the best second one would tell, "
        "all others by what they tell themselves. How means are shrunk and how finely information is integrated was "
        "settled on other seeds (100 to 205), the latter after a first result of +9.9 against GDFS. Calibration "
        "error: of the likeliest class, mean of budgets. A value network (`ValueModel`) was tried before, on the "
        "first seed: after 20,000 rows of CUBE-NM 45.6 and 58.7 % at 5 and 7, behind GDFS."
    )


if __name__ == "__main__":
    main()
