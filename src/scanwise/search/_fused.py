"""A lattice that is too large to be scored protocol by protocol, fused from what every single setting adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanwise.artifacts import write_arrays
from scanwise.design import COST_AXES, Menu, Product, Protocol
from scanwise.errors import ScanwiseError
from scanwise.search._scoring import Ledger, Limits, ProductObjective, Progress, Scoring, Yardstick
from scanwise.search.result import SearchResult, distance_to_front

ARRAYS = "lattice.npz"
"""Values and costs of every protocol of a fused lattice, in the folder of its search."""
_CHECKED = 256
"""Protocols that are also scored one by one, to see how far the fused values are off."""
_NOISE = 64
"""Protocols among these whose differences say how large the noise is."""
_SHARE_OF_NOISE = 0.25
"""How far they may be off, as a share of the noise."""
_EXACT = 1e-6
"""Differences that are called none."""
_REFINEMENTS = 12


@dataclass(frozen=True)
class Check:
    """How far fused values are from those of the same protocols scored one by one.

    Parameters
    ----------
    n : protocols compared.
    rms, largest : root mean square and largest difference.
    noise : standard error, from the sampling of patients, of the difference between two of these protocols, median.
    """

    n: int
    rms: float
    largest: float
    noise: float

    @classmethod
    def of(cls, off: NDArray[np.float64], noise: NDArray[np.float64]) -> Check:
        """Summarise differences and standard errors."""
        known = noise[np.isfinite(noise)]
        return cls(
            len(off),
            float(np.sqrt(np.mean(off**2))),
            float(np.abs(off).max()),
            float(np.median(known)) if known.size else 0.0,
        )

    @property
    def exact(self) -> bool:
        """Whether there is no difference but rounding."""
        return self.largest <= _EXACT

    @property
    def passed(self) -> bool:
        """Whether the differences are well below the noise."""
        return self.exact or self.rms <= _SHARE_OF_NOISE * self.noise

    def reading(self) -> str:
        """Return one line for people."""
        return (
            f"values off by {self.rms:.1g} (root mean square; largest {self.largest:.1g}) in {self.n} protocols scored "
            f"one by one, where the standard error of a difference is {self.noise:.1g}"
        )


def fuse_lattice(
    product: Product,
    *,
    menu: Menu,
    objective: ProductObjective,
    scoring: Scoring,
    limits: Limits,
    yardstick: Yardstick,
    first: Sequence[Protocol],
    keep: int,
    batch_size: int,
    directory: Path | None,
    progress: Progress | None,
) -> SearchResult:
    """Score all protocols of a product that are within the limits; see `LatticeSearch`.

    Raises
    ------
    ScanwiseError
        If fused values stay too far from those of protocols scored one by one, or the scoring fails.
    """
    costs = product.prices(menu)
    wanted = limits.within(costs)
    n_wanted = int(wanted.sum())
    checked = np.flatnonzero(wanted)
    if len(checked) > _CHECKED:
        checked = np.sort(np.random.default_rng(0).choice(checked, size=_CHECKED, replace=False))
    some = product.protocols(checked)
    one_by_one = _values(scoring, some, batch_size)
    noise = np.asarray(objective.noise(some[:_NOISE]), dtype=np.float64)
    values, check = _fused(product, objective, wanted, checked, one_by_one, noise, progress)

    scored = np.flatnonzero(np.isfinite(values))
    distance = distance_to_front(yardstick.objectives, values[scored], costs[scored])
    near = int((distance <= 2.0 * check.rms).sum())  # what may be on the front, for all that is known
    n_front = int((distance <= 0.0).sum())
    nearest = np.argsort(distance, kind="stable")[: max(keep, n_front, min(near, 2 * keep))]
    listed = product.protocols(np.sort(scored[nearest]))
    known = set(listed)
    listed += [one for one in first if one not in known and limits.budget.allows(menu.price(one))]

    ledger = Ledger(menu, yardstick)
    for protocol, value in zip(listed, _values(scoring, listed, batch_size), strict=True):
        if np.isfinite(value):
            ledger.add(protocol, float(value))
    text = ledger.close_batch()
    if directory is not None:
        write_arrays(directory / ARRAYS, values=values, costs=costs, axes=np.array(COST_AXES), **_settings(product))
    if progress is not None:
        progress(n_wanted, n_wanted, text)

    words = [f"{'exact ' if check.exact else ''}lattice of {len(product):,} protocols, fused from single settings"]
    if not check.exact:
        words.append(check.reading())
    if n_wanted < len(product):
        words.append(f"{len(product) - n_wanted:,} over the limits not scored")
    missing = n_wanted - len(scored)
    if missing:
        words.append(f"{missing:,} could not be scored")
    words.append(f"the {len(ledger.scores):,} on or nearest to the front scored one by one")
    found = ledger.result("; ".join(words), complete=not missing, failures=scoring.failures)
    history = ({"evaluated": len(scored), "hypervolume": found.history[-1]["hypervolume"]},)
    return replace(found, n_scored=len(scored), history=history)


def _fused(
    product: Product,
    objective: ProductObjective,
    wanted: NDArray[np.bool_],
    checked: NDArray[np.int64],
    one_by_one: NDArray[np.float64],
    noise: NDArray[np.float64],
    progress: Progress | None,
) -> tuple[NDArray[np.float64], Check]:
    """Return the values of all rows, NaN where not scored, once they are close to those scored one by one."""
    n_wanted = int(wanted.sum())
    for refine in range(_REFINEMENTS):
        values, done = np.full(len(product), np.nan), 0
        for rows, of_rows in objective.of_product(product, wanted=wanted, refine=refine):
            values[rows] = of_rows
            done += len(rows)
            if progress is not None:
                progress(min(done, n_wanted - 1), n_wanted, f"{n_wanted:,} protocols fused from single settings")
        both = np.isfinite(values[checked]) & np.isfinite(one_by_one)
        if not both.any():
            raise ScanwiseError(
                "not one of the protocols of the lattice could be scored",
                "look at the cohort: are there enough patients of both classes?",
            )
        check = Check.of(values[checked][both] - one_by_one[both], noise)
        if check.passed:
            return values, check
    raise ScanwiseError(
        f"the lattice cannot be fused from single settings: {check.reading()}", "use search=tpe for this model"
    )


def _values(scoring: Scoring, protocols: Sequence[Protocol], batch_size: int) -> NDArray[np.float64]:
    """Score protocols one by one; NaN where that fails."""
    values = np.full(len(protocols), np.nan)
    for start in range(0, len(protocols), batch_size):
        batch = protocols[start : start + batch_size]
        for row, outcome in enumerate(scoring(batch), start):
            values[row] = outcome.value
        scoring.raise_broken()
    return values


def _settings(product: Product) -> dict[str, NDArray[np.generic]]:
    """Return what the rows of the arrays mean: counts per modality and setting, the last modality changing fastest."""
    shots = {name: max(map(len, patterns)) for name, patterns in product.choices.items()}
    return {
        "fixed": np.array(product.fixed.key),
        "modalities": np.array(list(product.choices), dtype=np.str_),
        **{
            f"settings_{name}": np.array([pattern or (0,) * shots[name] for pattern in patterns])
            for name, patterns in product.choices.items()
        },
    }
