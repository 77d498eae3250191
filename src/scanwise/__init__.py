"""scanwise: which imaging protocols, each how long and sampled how, give the best diagnosis for their cost.

>>> import scanwise
>>> run = scanwise.run("experiment=heart")  # doctest: +SKIP
>>> run.recommend(money=200)  # doctest: +SKIP
>>> run.figure("front").show()  # doctest: +SKIP
>>> scanwise.load_run("reports/runs/heart/1a2b3c4d").recommend(money=100)  # doctest: +SKIP
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from scanwise.errors import ScanwiseError

if TYPE_CHECKING:
    from scanwise.pipeline import Run

__all__ = ["ScanwiseError", "load_run", "run"]


def run(*overrides: str, **settings: Any) -> Run:
    """Run stages as on the command line: ``scanwise.run("experiment=heart", "budget.money=200")``.

    See `scanwise.pipeline.run`.
    """
    from scanwise.pipeline import run as start

    return start(*overrides, **settings)


def load_run(path: str | os.PathLike[str]) -> Run:
    """Open a finished run folder; see `scanwise.pipeline.load_run`."""
    from scanwise.pipeline import load_run as load

    return load(path)
