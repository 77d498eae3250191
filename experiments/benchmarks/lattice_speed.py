"""How long does a whole lattice take, 100,000 protocols on 500 patients, and how does the work of encoders grow?"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _result import Result, parser
from numpy.typing import NDArray

from scanwise.cohort import Holdout, VirtualPanel
from scanwise.composing import compose_config
from scanwise.design import Budget, Menu, ProductScorer, Protocol
from scanwise.model import AmortisedModel, TrainerSettings
from scanwise.model.encoders import PanelEncoder
from scanwise.model.image_network import ImageEncoder
from scanwise.pipeline import Run, build_menu, open_run
from scanwise.search import LatticeSearch, SearchResult, SearchSpace
from scanwise.tuning import objective_of

LIMIT_SECONDS = 60.0
PROTOCOLS = 100_000
NEIGHBOURS = 256
"""Pairs of neighbouring protocols in which the error of a difference is measured."""
TRAINER = TrainerSettings(threads=1, log=False)
T2W_SCHEMES = ["equispaced", "poisson_disc"]
"""Schemes of the lattice of images, so that it is not much larger than it has to be."""


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and publish."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--patients", type=int, default=500, help="who are scored; nobody learned from them")
    cli.add_argument("--tests", type=int, default=17, help="optional tests on the menu of tests, three values each")
    cli.add_argument("--sizes", type=int, nargs="*", default=[3, 5, 7], help="modalities on the menus that grow")
    cli.add_argument("--few", type=int, default=150, help="patients scored with the menus that grow")
    cli.add_argument("--seed", type=int, default=0)
    cli.add_argument(
        "--runs", type=Path, help="folder that keeps the fitted imaging model; a second call finds it there"
    )
    cli.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the imaging study")
    options = cli.parse_args(arguments)
    result = Result("lattice_speed", str(__doc__), arguments)
    with tempfile.TemporaryDirectory() as folder:
        place = options.runs or Path(folder)
        _whole_tests(result, options, place)
        _whole_images(result, options, place)
        _grow(result, options, place)
    result.note(
        "Seconds are from the menu to the search result: encoding, fusing, prices, the check against protocols scored "
        "one by one, the objective, the front, the list of what is near it scored one by one, the arrays written; "
        "training was before."
    )
    result.note(
        "Processor seconds are what a quiet machine divides by its cores; wall clock contains whoever else computes."
    )
    return result.publish(options.out, patients=options.patients, seeds=[options.seed])


def _whole_tests(result: Result, options: Any, place: Path) -> None:
    menu = build_menu(_panel_menu([f"test_{index:02d}" for index in range(options.tests)], ("a", "b", "c"), "whole"))
    scorer, patients, label = _fitted_tests(menu, options.patients, options.seed, place / "tests")
    _time(result, "tests (ensemble of five)", SearchSpace(menu, fusible=True), scorer, patients, label, place / "tests")


def _whole_images(result: Result, options: Any, place: Path) -> None:
    run = small_prostate(place, options.patients, options.seed, options.set)
    patients = run.folds[0].tune[: options.patients]
    menu = run.config["menu"]
    shorter = {**menu["modalities"], "t2w": {**menu["modalities"]["t2w"], "schemes": T2W_SCHEMES}}
    space = SearchSpace(build_menu({**menu, "modalities": shorter}), grid=True, fusible=True)
    label = run.cohort.label[patients]
    _time(result, "images (16 x 16 places)", space, run.scorer(), patients, label, place / "images")
    _differences(result, space, run.scorer(), patients, label, place / "images")


def small_prostate(place: Path, patients: int, seed: int, typed: Sequence[str]) -> Run:
    """Return a small imaging study, fitted here or found in the folder, whose searching part has so many patients."""
    made = [
        "experiment=prostate_small",
        f"cohort.n={max(40, round(patients / 0.15) + 8)}",
        f"cohort.cache={(place / 'cache').as_posix()}",
        "model.steps=400",
        f"seed={seed}",
        f"out={place.as_posix()}",
    ]
    return open_run(compose_config([*made, *typed], None)).run("fit")


def _time(
    result: Result,
    what: str,
    space: SearchSpace,
    scorer: Any,
    patients: NDArray[np.int64],
    label: NDArray[np.int64],
    folder: Path,
) -> SearchResult:
    began, used = time.monotonic(), time.process_time()
    found = LatticeSearch(max_protocols=1, max_product=10**7).run(
        space, objective=objective_of(scorer, patients, label), budget=Budget(), directory=folder
    )
    wall, used = time.monotonic() - began, time.process_time() - used
    result.target(
        f"{what}: at least {PROTOCOLS:,} protocols on {len(patients)} patients in under {LIMIT_SECONDS:g} s on 2 cores",
        f"{found.n_scored:,} protocols: {wall:.1f} s, {used:.1f} processor seconds",
        bool(wall < LIMIT_SECONDS and (found.n_scored or 0) >= PROTOCOLS),
    )
    result.note(f"{what}, as the search tells it: {found.how}.")
    return found


def _differences(
    result: Result,
    space: SearchSpace,
    scorer: Any,
    patients: NDArray[np.int64],
    label: NDArray[np.int64],
    folder: Path,
) -> None:
    """Compare the fused lattice with protocols scored one by one: single values, and differences of neighbours."""
    with np.load(folder / "lattice.npz") as arrays:
        values = arrays["values"]
    product = space.product()
    rng = np.random.default_rng(1)
    objective = objective_of(scorer, patients, label)
    settings = product.settings(rng.choice(len(product), size=min(NEIGHBOURS, len(product) // 2), replace=False))
    other = settings.copy()
    for row, column in zip(other, rng.integers(len(product.shape), size=len(other)), strict=True):
        row[column] = (row[column] + rng.integers(1, product.shape[column])) % product.shape[column]
    pairs = np.stack([product.rows(settings), product.rows(other)], axis=1)
    rows, at = np.unique(pairs, return_inverse=True)
    protocols = product.protocols(rows)
    exact = objective(protocols)
    fused = values[rows]
    at = at.reshape(pairs.shape)
    off = (fused[at[:, 0]] - fused[at[:, 1]]) - (exact[at[:, 0]] - exact[at[:, 1]])
    noise = np.array([_noise(objective, [protocols[a], protocols[b]]) for a, b in at])
    single = fused - exact
    result.table(
        "Images: fused against scored one by one",
        ("", "n", "root mean square", "95 % below", "largest", "standard error from the sampling of patients, median"),
        [
            ["AUC of a protocol", len(single), *_spread(single), ""],
            ["difference of neighbours (one modality differs)", len(off), *_spread(off), float(np.median(noise))],
        ],
    )
    error, sampling = float(np.sqrt(np.mean(off**2))), float(np.median(noise))
    result.target(
        "images: error of a difference of neighbours below its standard error from the sampling of patients",
        f"{error:.5f} (root mean square) against {sampling:.5f} (median)",
        error < sampling,
    )


def _noise(objective: Any, pair: Sequence[Protocol]) -> float:
    return float(objective.noise(pair)[0])


def _spread(off: NDArray[np.float64]) -> list[float]:
    size = np.abs(off)
    return [float(np.sqrt(np.mean(off**2))), float(np.quantile(size, 0.95)), float(size.max())]


def _grow(result: Result, options: Any, place: Path) -> None:
    """Score whole lattices of menus of growing length; count what the encoders are asked."""
    rows = []
    for kind, fitted in (("tests", _grown_tests), ("images", _grown_images)):
        for n in options.sizes:
            menu, scorer, patients = fitted(n, options.few, options.seed, place / f"{kind}{n}")
            product = SearchSpace(menu).product()
            with _counted() as asked:
                began = time.monotonic()
                scored = sum(len(found) for found, _ in scorer.score_product(product, patients))
                seconds = time.monotonic() - began
            assert scored == len(product)  # noqa: S101 - or nothing was timed
            settings = sum(product.shape) - n  # "not at all" needs no encoder
            rows.append([kind, n, settings, scored, asked["patients"] / len(patients), asked["seconds"], seconds])
    result.table(
        f"Menus that grow, {options.few} patients",
        (
            "kind",
            "modalities",
            "settings in all",
            "protocols",
            "encodings per patient",
            "seconds in encoders, of all threads",
            "seconds in all",
        ),
        rows,
    )
    images = [row for row in rows if row[0] == "images"]
    tests = [row for row in rows if row[0] == "tests"]
    result.target(
        "images: one encoding per patient and setting, whatever the product",
        "; ".join(
            f"{row[1]} modalities: {row[4]:g} encodings for {row[2]} settings, {row[3]:,} protocols" for row in images
        ),
        all(row[4] == row[2] for row in images),
    )
    result.target(
        "tests: one encoding per patient and modality, whatever the product",
        "; ".join(f"{row[1]} modalities: {row[4]:g} encodings, {row[3]:,} protocols" for row in tests),
        all(row[4] == row[1] for row in tests),
    )


def _grown_tests(n: int, patients: int, seed: int, folder: Path) -> tuple[Menu, ProductScorer, NDArray[np.int64]]:
    menu = build_menu(_panel_menu([f"test_{index:02d}" for index in range(n)], ("a", "b"), "subset", always=False))
    scorer, scored, _ = _fitted_tests(menu, patients, seed, folder)
    return menu, scorer, scored


def _grown_images(n: int, patients: int, seed: int, folder: Path) -> tuple[Menu, ProductScorer, NDArray[np.int64]]:
    """T2W scans of growing echo time, of three resolutions each."""
    typed = [
        "experiment=prostate_small",
        f"cohort.n={max(40, 3 * patients)}",
        "cohort.cache=null",
        "split.fractions={fit: 0.34, tune: 0.34, test: 0.32}",
        f"seed={seed}",
        f"out={folder.as_posix()}",
        "model.steps=10",
        "model.batch_size=16",
        "model.grid=[8,8]",
    ]
    config = compose_config(typed, None)
    scan = {**config.menu.modalities.t2w, "matrix": [32, 32], "schemes": ["low_resolution"], "train_length": 8}
    made = {f"t2w_{row}": {**scan, "echo_time_s": 0.0125 * (1 + row)} for row in range(n)}
    config.menu.modalities = made
    config.menu.always = []
    run = open_run(config).run("fit")
    scorer = run.scorer()
    assert isinstance(scorer, ProductScorer)  # noqa: S101 - for the type checker
    return run.menu, scorer, run.folds[0].tune[:patients]


def _fitted_tests(
    menu: Menu, n: int, seed: int, folder: Path
) -> tuple[ProductScorer, NDArray[np.int64], NDArray[np.int64]]:
    tests = {name: _test(index, modality.shots.names) for index, (name, modality) in enumerate(menu.modalities.items())}
    cohort = VirtualPanel(name="wide_panel", tests=tests, separation=[1.0, 0.7], n=3 * n, seed=seed).load(menu)
    (fold,) = Holdout({"fit": 0.5, "tune": 1 / 6, "test": 1 / 3}).folds(cohort, seed)
    scorer = AmortisedModel().fit(cohort, menu, fold, seed=seed, trainer=TRAINER, directory=folder)
    return scorer, fold.test, cohort.label[fold.test]


@contextmanager
def _counted() -> Iterator[Mapping[str, float]]:
    """Count patients and seconds of all encoders while it lasts."""
    asked = {"patients": 0.0, "seconds": 0.0}
    lock = threading.Lock()
    before = {kind: kind.forward for kind in (PanelEncoder, ImageEncoder)}

    def watched(kind: Any) -> Any:
        def forward(self: torch.nn.Module, *inputs: torch.Tensor) -> Any:
            began = time.monotonic()
            found = before[kind](self, *inputs)
            with lock:
                asked["patients"] += len(inputs[0])
                asked["seconds"] += time.monotonic() - began
            return found

        return forward

    try:
        for kind in before:
            kind.forward = watched(kind)  # type: ignore[method-assign]
        yield asked
    finally:
        for kind, forward in before.items():
            kind.forward = forward  # type: ignore[method-assign]


def _panel_menu(names: Sequence[str], shots: Sequence[str], scheme: str, *, always: bool = True) -> dict[str, Any]:
    def panel(money: float) -> dict[str, Any]:
        return {
            "_target_": "scanwise.modalities.panel.TestPanel",
            "shots": {shot: {"money": money} for shot in shots},
            "schemes": [scheme],
        }

    tests = {name: panel(10.0 + row) for row, name in enumerate(names)}
    return {
        "currency": "€",
        "source": "assumed",
        "setups": {},
        "modalities": {"history": panel(1.0), **tests} if always else tests,
        "always": ["history"] if always else [],
        "reference": None,
    }


def _test(index: int, shots: Sequence[str]) -> dict[str, Any]:
    """Return a test that knows more or less, missing in one patient of twenty."""
    first, second = 0.1 + 0.05 * (index % 8), 0.4 - 0.05 * (index % 7)
    return {"missing": 0.05, "shots": {shot: {"loadings": [first, second]} for shot in shots}}


if __name__ == "__main__":
    main()
