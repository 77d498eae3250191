"""How much of a whole lattice do samplers find with a twentieth of its evaluations? The lattice is the ground truth."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _result import Result, parser
from lattice_speed import small_prostate
from numpy.typing import NDArray
from scipy.stats import t as student

from scanwise.artifacts import read_arrays
from scanwise.cohort import Holdout, VirtualPanel
from scanwise.composing import compose_config
from scanwise.design import COST_AXES, Budget, Protocol
from scanwise.model import AmortisedModel, TrainerSettings
from scanwise.pipeline import build_menu, open_run
from scanwise.search import LatticeSearch, OptunaSearch, SearchSpace, hypervolume
from scanwise.tuning import objective_of

SHARE, WANTED = 0.05, 0.99
PLAIN, SAME_START = "nsga2 by itself", "nsga2, the same start"
SAMPLERS = {"tpe": ("tpe", True), "random": ("random", False), PLAIN: ("nsga2", False), SAME_START: ("nsga2", True)}
"""What is compared: the sampler, and whether it waits for what promises most if the parts of a protocol add up."""
BATCH = 8
TRAINER = TrainerSettings(threads=1, log=False)
SEVERAL = ("blood_panel", "exercise_test", "ct_angiography")
"""Modalities of the virtual panel that are two tests."""
T2W_SCHEMES = ["low_resolution", "partial_fourier"]
"""Schemes of the lattice of images: a twentieth of it is then not too long for a search."""
MEASURES = ("from 0", "from the least protocol")


@dataclass(frozen=True, eq=False)
class Lattice:
    """A whole lattice, scored: what samplers are judged against."""

    space: SearchSpace
    values: NDArray[np.float64]
    costs: NDArray[np.float64]
    axis: str

    @classmethod
    def of(cls, space: SearchSpace, objective: Any, axis: str, folder: Path) -> Lattice:
        """Score it."""
        search = LatticeSearch(max_protocols=1, objectives=["diagnosis", axis])
        search.run(space, objective=objective, budget=Budget(), directory=folder)
        arrays = read_arrays(folder / "lattice.npz")
        return cls(space, arrays["values"], arrays["costs"][:, COST_AXES.index(axis)], axis)

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, protocols: Sequence[Protocol]) -> NDArray[np.int64]:
        """Return where protocols stand in the lattice."""
        product = self.space.product()
        where = {
            name: {pattern: row for row, pattern in enumerate(patterns)} for name, patterns in product.choices.items()
        }
        settings = [[at[protocol.counts(name)] for name, at in where.items()] for protocol in protocols]
        return product.rows(np.array(settings))

    def __call__(self, protocols: Sequence[Protocol]) -> NDArray[np.float64]:
        """Look values up."""
        return self.values[self.rows(protocols)]

    def volume(self, rows: NDArray[np.int64] | slice, measure: str) -> float:
        """Return the mean, over limits on the cost, of the best value within the limit, counted from a floor."""
        floor = 0.0 if measure == "from 0" else float(self.values[np.argmin(self.costs)])
        points = np.column_stack([self.values[rows], self.costs[rows] / self.costs.max()])
        return hypervolume(points, [floor, 1.0 + 1e-9], [True, False])


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and publish."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--seeds", type=int, default=20)
    cli.add_argument("--patients", type=int, default=500, help="virtual patients the searches look at")
    cli.add_argument("--menus", nargs="*", default=list(MENUS), choices=list(MENUS))
    cli.add_argument(
        "--runs", type=Path, help="folder that keeps the fitted imaging model; a second call finds it there"
    )
    cli.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the imaging study")
    options = cli.parse_args(arguments)
    result = Result("samplers", str(__doc__), arguments)
    rows: list[list[Any]] = []
    for menu in options.menus:
        with tempfile.TemporaryDirectory() as folder:
            lattices = MENUS[menu](options, options.runs or Path(folder))
            shares: dict[tuple[str, str], list[float]] = {}
            needed: dict[str, list[float]] = {}
            spent: dict[str, list[int]] = {}
            for seed, lattice in lattices:
                n = max(1, round(SHARE * len(lattice)))
                for sampler in SAMPLERS:
                    found = _search(lattice, sampler, n, seed)
                    spent.setdefault(sampler, []).append(min(n, len(found)))
                    for measure in MEASURES:
                        whole = lattice.volume(slice(None), measure)
                        share = lattice.volume(found[:n], measure) / whole
                        shares.setdefault((sampler, measure), []).append(share)
                    needed.setdefault(sampler, []).append(_needed(lattice, found))
                print(f"{menu}, seed {seed}: {len(lattice):,} protocols, {n} evaluations", file=sys.stderr)
        _report(result, rows, menu, len(lattice), n, shares, needed, spent)
    result.table(
        f"Share of the hypervolume of the lattice after {100 * SHARE:g} % of its evaluations, mean of seeds",
        (
            "menu",
            "protocols",
            "evaluations",
            "sampler",
            "evaluated",
            *(f"counted {measure}" for measure in MEASURES),
            "worst seed (from 0)",
            f"share of the lattice until {100 * WANTED:g} % (from 0)",
        ),
        rows,
    )
    result.note(
        "The hypervolume is the mean, over all limits on the cost, of the best AUC within the limit, as in every "
        "search. Counted from 0, half of it is there without any test; counted from the AUC of the least protocol, "
        "only what the choice of a protocol adds is left."
    )
    result.note(
        "Evaluations are different protocols: what a sampler proposes again costs nothing. All begin with current "
        "practice, the least one can do, and each modality alone. TPE, as search=tpe does, then tries what promises "
        "most if the parts of a protocol add up, until that gains nothing more; so does NSGA-II with the same start, "
        "which shows what is left to the sampler: where that start is all there is to spend, nothing. NSGA-II by "
        "itself is Optuna's (search.additive_start=false). Intervals: Student's t over seeds, paired."
    )
    return result.publish(options.out, patients=options.patients, seeds=list(range(options.seeds)))


def _search(lattice: Lattice, name: str, n: int, seed: int) -> NDArray[np.int64]:
    """Return the rows of the lattice that a sampler looked at, in order, at least `n` where it finds so many."""
    sampler, additive = SAMPLERS[name]
    search = OptunaSearch(
        sampler=sampler,
        n_trials=2 * n + 16,
        batch_size=BATCH,
        objectives=["diagnosis", lattice.axis],
        additive_start=additive,
    )
    found = search.run(lattice.space, objective=lattice, budget=Budget(), seed=seed)
    return lattice.rows(found.protocols)


def _needed(lattice: Lattice, found: NDArray[np.int64]) -> float:
    """Return the share of the lattice that was evaluated until the wanted volume was reached; NaN = never."""
    whole = lattice.volume(slice(None), MEASURES[0])
    low, high = 0, len(found)
    if lattice.volume(found, MEASURES[0]) < WANTED * whole:
        return float("nan")
    while high - low > 1:  # the volume never falls
        middle = (low + high) // 2
        if lattice.volume(found[:middle], MEASURES[0]) >= WANTED * whole:
            high = middle
        else:
            low = middle
    return high / len(lattice)


def _report(
    result: Result,
    rows: list[list[Any]],
    menu: str,
    size: int,
    n: int,
    shares: dict[tuple[str, str], list[float]],
    needed: dict[str, list[float]],
    spent: dict[str, list[int]],
) -> None:
    for sampler in SAMPLERS:
        means = [float(np.mean(shares[sampler, measure])) for measure in MEASURES]
        worst = float(np.min(shares[sampler, MEASURES[0]]))
        until = f"{100 * np.mean(needed[sampler]):.2g} %" if np.isfinite(needed[sampler]).all() else "not in all seeds"
        rows.append([menu, size, n, sampler, int(np.mean(spent[sampler])), *means, worst, until])
    tpe = np.array(shares["tpe", MEASURES[0]])
    result.target(
        f"{menu}: TPE reaches {100 * WANTED:g} % of the lattice's hypervolume with {n} of {size:,} evaluations",
        f"{100 * tpe.mean():.2f} % (seeds {100 * tpe.min():.2f} to {100 * tpe.max():.2f})",
        bool(tpe.mean() >= WANTED),
    )
    for other in list(SAMPLERS)[1:]:
        for measure in MEASURES:
            gain = np.array(shares["tpe", measure]) - np.array(shares[other, measure])
            low, high = _interval(gain)
            judged = measure == MEASURES[0] and other != SAME_START
            result.target(
                f"{menu}: TPE ahead of {other}, {measure}",
                f"{100 * gain.mean():+.2f} points (95 % {100 * low:+.2f} to {100 * high:+.2f})",
                bool(low > 0) if judged else None,
            )


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    if len(values) < 2:
        return float("nan"), float("nan")
    half = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half


# ---- menus: (seed, lattice) for every seed


def _panel(options: Any, place: Path) -> Iterator[tuple[int, Lattice]]:
    """The virtual panel, every single test on its own; the history always."""
    yield from _virtual(options, place, SEVERAL)


def _whole_panel(options: Any, place: Path) -> Iterator[tuple[int, Lattice]]:
    """The same, the history a choice like all others."""
    yield from _virtual(options, place, ("history", *SEVERAL), "menu.always=[]")


def _virtual(options: Any, place: Path, single: Sequence[str], *more: str) -> Iterator[tuple[int, Lattice]]:
    for seed in range(options.seeds):
        typed = [f"seed={seed}", f"cohort.seed={seed}", f"cohort.n={3 * options.patients}"]
        typed += [f"+menu.modalities.{name}.schemes=[subset]" for name in single]
        run = open_run(compose_config([*typed, *more], None))
        yield seed, _of_tests(SearchSpace(run.menu, fusible=True), run.cohort, seed, place / str(seed))


def _heart(options: Any, place: Path) -> Iterator[tuple[int, Lattice]]:
    """Cleveland, every single test on its own."""
    for seed in range(options.seeds):
        run = open_run(compose_config(["experiment=heart_tests", f"seed={seed}"], None))
        yield seed, _of_tests(SearchSpace(run.menu, fusible=True), run.cohort, seed, place / str(seed))


def _wide(options: Any, place: Path) -> Iterator[tuple[int, Lattice]]:
    """Twelve tests of known worth and different prices."""
    names = [f"test_{index:02d}" for index in range(12)]
    for seed in range(options.seeds):
        rng = np.random.default_rng(seed)
        prices = rng.uniform(5.0, 120.0, size=len(names))
        kind = "scanwise.modalities.panel.TestPanel"
        menu = build_menu(
            {
                "currency": "€",
                "source": "assumed",
                "setups": {},
                "modalities": {
                    name: {"_target_": kind, "shots": {"value": {"money": round(float(price), 2)}}}
                    for name, price in zip(names, prices, strict=True)
                },
                "always": [],
                "reference": None,
            }
        )
        tests = {
            name: {"missing": 0.05, "shots": {"value": {"loadings": rng.dirichlet([0.5, 0.5, 2.0])[:2].tolist()}}}
            for name in names
        }
        cohort = VirtualPanel(
            name="wide_panel", tests=tests, separation=[1.0, 0.7], n=3 * options.patients, seed=seed
        ).load(menu)
        yield seed, _of_tests(SearchSpace(menu, fusible=True), cohort, seed, place / str(seed))


def _images(options: Any, place: Path) -> Iterator[tuple[int, Lattice]]:
    """T2W, DWI and DCE of virtual men, settings of the grid; one model, five seeds of the samplers."""
    run = small_prostate(place, options.patients, 0, options.set)
    menu = run.config["menu"]
    shorter = {**menu["modalities"], "t2w": {**menu["modalities"]["t2w"], "schemes": T2W_SCHEMES}}
    smaller = build_menu({**menu, "modalities": shorter})
    space = SearchSpace(smaller, allowed=["t2w", "dwi", "dce"], grid=True, fusible=True)
    patients = run.folds[0].tune[: options.patients]
    objective = objective_of(run.scorer(), patients, run.cohort.label[patients])
    lattice = Lattice.of(space, objective, "minutes", place / "lattice")
    for seed in range(options.seeds):
        yield seed, lattice


def _of_tests(space: SearchSpace, cohort: Any, seed: int, place: Path) -> Lattice:
    (fold,) = Holdout({"fit": 0.34, "tune": 0.33, "test": 0.33}).folds(cohort, seed)
    scorer = AmortisedModel().fit(cohort, space.menu, fold, seed=seed, trainer=TRAINER, directory=place)
    return Lattice.of(space, objective_of(scorer, fold.tune, cohort.label[fold.tune]), "money", place)


MENUS: dict[str, Callable[[Any, Path], Iterator[tuple[int, Lattice]]]] = {
    "virtual panel": _whole_panel,
    "virtual panel, history always": _panel,
    "heart": _heart,
    "twelve tests": _wide,
    "prostate": _images,
}


if __name__ == "__main__":
    main()
