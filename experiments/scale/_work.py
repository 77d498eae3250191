"""One worker with an objective of known duration: ``python experiments/scale/_work.py FOLDER SECONDS TRIALS BATCH N``.

It sleeps for so many seconds per protocol, so that what is measured is what sharing costs, on any number of cores. No
worker begins before N of them were there, so that loading the libraries is not measured.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.design import Budget, Menu, Protocol
from scanwise.pipeline import build_menu
from scanwise.search import OptunaSearch, SearchSpace

N_TESTS = 16


def make_menu() -> Menu:
    """Sixteen tests, each on or off: 65,536 protocols."""

    def test(money: float) -> dict[str, Any]:
        return {"_target_": "scanwise.modalities.panel.TestPanel", "shots": {"value": {"money": money}}}

    return build_menu(
        {
            "currency": "€",
            "source": "assumed",
            "setups": {},
            "modalities": {"history": test(1.0), **{f"test_{row:02d}": test(4.0 + row) for row in range(N_TESTS)}},
            "always": ["history"],
            "reference": None,
        }
    )


def main() -> None:
    folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
    n_trials, batch_size, crew = map(int, sys.argv[3:6])
    menu = make_menu()

    def objective(protocols: Sequence[Protocol]) -> NDArray[np.float64]:
        time.sleep(seconds * len(protocols))
        worth = [sum(sum(counts) for _, counts in protocol.items()) for protocol in protocols]
        return 1.0 - 0.5 * np.exp(-0.2 * np.array(worth))  # more is better, with less and less gain

    search = OptunaSearch(n_trials=n_trials, batch_size=batch_size)
    (folder / f"ready-{os.getpid()}").touch()
    while len(list(folder.glob("ready-*"))) < crew:
        time.sleep(0.01)
    search.run(SearchSpace(menu), objective=objective, budget=Budget(), seed=0, directory=folder / "search")


if __name__ == "__main__":
    main()
