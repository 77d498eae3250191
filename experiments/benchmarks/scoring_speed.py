"""How long does one network take to score 10,000 protocols on 300 patients, and what would refitting cost?"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _result import Result, parser

from scanwise.cohort import Holdout, VirtualPanel
from scanwise.design import Protocol, random_protocol
from scanwise.evidence import auc
from scanwise.model import AmortisedModel, RefitModel, TrainerSettings
from scanwise.pipeline import build_menu

LIMIT_SECONDS = 30.0


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--protocols", type=int, default=10_000)
    cli.add_argument("--patients", type=int, default=300, help="who are scored; nobody learned from them")
    cli.add_argument("--tests", type=int, default=16, help="optional tests on the menu, three values each")
    cli.add_argument("--refits", type=int, default=20, help="protocols that are refitted, to extrapolate from")
    cli.add_argument("--steps", type=int, default=150, help="training steps of the network")
    cli.add_argument("--seed", type=int, default=0)
    options = cli.parse_args(arguments)
    if 2**options.tests < options.protocols:
        cli.error(f"{options.tests} tests make only {2**options.tests} protocols")
    result = Result("scoring_speed", str(__doc__), arguments)

    names = [f"test_{index:02d}" for index in range(options.tests)]
    menu = build_menu(_menu(names))
    cohort = VirtualPanel(
        name="wide_panel",
        tests={name: _test(index) for index, name in enumerate(["history", *names])},
        separation=[1.0, 0.7],
        n=3 * options.patients,
        seed=options.seed,
    ).load(menu)
    (fold,) = Holdout({"fit": 0.5, "tune": 1 / 6, "test": 1 / 3}).folds(cohort, options.seed)
    rng = np.random.default_rng(options.seed)
    drawn: dict[str, Protocol] = {}
    while len(drawn) < options.protocols:
        protocol = random_protocol(menu, rng)
        drawn[protocol.key] = protocol
    protocols, patients = list(drawn.values()), fold.test

    trainer = TrainerSettings(threads=1, log=False)
    with tempfile.TemporaryDirectory() as folder:
        place = {"seed": options.seed, "trainer": trainer, "directory": Path(folder)}
        began = time.monotonic()
        network = AmortisedModel(steps=options.steps).fit(cohort, menu, fold, **place)
        training = time.monotonic() - began
        began = time.monotonic()
        probability = network.score(protocols, patients)
        scoring = time.monotonic() - began
        refit = RefitModel().fit(cohort, menu, fold, **place)
        few = rng.choice(len(protocols), size=options.refits, replace=False)
        began = time.monotonic()
        refitted = refit.score([protocols[row] for row in few], patients)
        per_refit = (time.monotonic() - began) / len(few)
    label = cohort.label[patients]
    reached = {
        name: float(np.mean([auc(label, row) for row in rows]))
        for name, rows in (("network", probability[few]), ("refit", refitted))
    }
    assert probability.shape == (options.protocols, len(patients))  # noqa: S101 - or nothing was timed
    extrapolated = per_refit * len(protocols)
    result.target(
        f"{len(protocols)} different protocols on {len(patients)} patients in under {LIMIT_SECONDS:g} s",
        f"{scoring:.2f} s, {len(protocols) / scoring:,.0f} protocols per second",
        bool(scoring < LIMIT_SECONDS),
    )
    result.table(
        "Side by side",
        ("", "seconds", "protocols per second", "how"),
        [
            ["network, scoring", scoring, len(protocols) / scoring, "measured, all of them"],
            ["network, training before", training, "", f"measured, once, {options.steps} steps"],
            ["refit, all of them", extrapolated, 1 / per_refit, f"extrapolated from {len(few)} measured refits"],
        ],
    )
    result.target(
        "refitting costs so many times more (extrapolated)",
        f"{extrapolated / scoring:.0f} x scoring alone, {extrapolated / (scoring + training):.0f} x with training",
        None,
    )
    result.note(
        f"It is no empty shell that is timed: over those {len(few)} protocols the mean AUC of the network is "
        f"{reached['network']:.3f}, that of the regressions {reached['refit']:.3f}."
    )
    result.note(f"A menu of {options.tests} optional tests of three values each; one network ensemble of 5 members.")
    result.note(
        "For judging patients a refit is one regression; a search, which leaves patients out in turn, needs five."
    )
    return result.publish(options.out, patients=len(patients), seeds=[options.seed])


def _menu(names: Sequence[str]) -> dict[str, Any]:
    def panel(money: float) -> dict[str, Any]:
        shots = {shot: {"money": money} for shot in ("a", "b", "c")}
        return {"_target_": "scanwise.modalities.panel.TestPanel", "shots": shots}

    return {
        "currency": "€",
        "source": "assumed",
        "setups": {},
        "modalities": {"history": panel(1.0), **{name: panel(10.0 + row) for row, name in enumerate(names)}},
        "always": ["history"],
        "reference": None,
    }


def _test(index: int) -> dict[str, Any]:
    """Return a test that knows more or less, missing in one patient of twenty."""
    first, second = 0.1 + 0.05 * (index % 8), 0.4 - 0.05 * (index % 7)
    return {"missing": 0.05, "shots": {shot: {"loadings": [first, second]} for shot in ("a", "b", "c")}}


if __name__ == "__main__":
    main()
