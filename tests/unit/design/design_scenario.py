"""Modalities that are only priced, and Turney's price list of the Cleveland tests written out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scanwise.design import Cost, Measurement, Menu, Modality, Scheme, Setup, ShotTable, Whole


class Plain(Modality):
    """A modality of the given shots that reads what it is handed."""

    def __init__(
        self,
        name: str,
        shots: ShotTable,
        schemes: Sequence[Scheme] = (Whole(),),
        *,
        title: str = "",
        requires: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.title = title or name
        self.shots = shots
        self.schemes = tuple(schemes)
        self.requires = tuple(requires)

    @classmethod
    def example(cls) -> Self:
        return cls("plain", ShotTable.build(["first", "second"], money=1.0))

    def example_data(self, patients: int, seed: int) -> NDArray[Any]:
        return np.random.default_rng(seed).normal(size=(patients, len(self.shots)))

    def measure(self, data: NDArray[Any], counts: NDArray[np.int64], rng: np.random.Generator) -> Measurement:
        asked = np.broadcast_to(counts, data.shape)
        return Measurement(np.where(asked > 0, data, np.nan), np.where(np.isnan(data), 0, asked))


def one(name: str, **prices: Any) -> Plain:
    """Return a modality of one shot."""
    return Plain(name, ShotTable.build(["only"], **prices))


TURNEY = {
    # test: (group, full price, price where another test of the group is ordered already)  [CA$, Turney 1995]
    "age": ("", 1.00, 1.00),
    "sex": ("", 1.00, 1.00),
    "cp": ("", 1.00, 1.00),
    "trestbps": ("", 1.00, 1.00),
    "chol": ("A", 7.27, 5.17),
    "fbs": ("A", 5.20, 3.10),
    "restecg": ("", 15.50, 15.50),
    "thalach": ("B", 102.90, 1.00),
    "exang": ("C", 87.30, 1.00),
    "oldpeak": ("C", 87.30, 1.00),
    "slope": ("C", 87.30, 1.00),
    "ca": ("", 100.90, 100.90),
    "thal": ("B", 102.90, 1.00),
}
IMMEDIATE = ("age", "sex", "cp", "trestbps")
"""Tests whose result is there at once; all others are delayed."""


def turney_menu() -> Menu:
    """Every test a modality of its own; what a group shares and the second visit are set-ups."""
    fees = {group: round(full - next_one, 2) for group, full, next_one in TURNEY.values() if group}
    modalities = [
        one(
            name,
            money=next_one,
            setups=[
                *(["group_" + group.lower()] if group else []),
                "visit" if name in IMMEDIATE else "results_visit",
            ],
        )
        for name, (group, _, next_one) in TURNEY.items()
    ]
    setups = [Setup("group_" + group.lower(), Cost(money=fee)) for group, fee in fees.items()]
    visits = [Setup("visit", Cost(visits=1)), Setup("results_visit", Cost(visits=1), title="visit for delayed results")]
    return Menu(modalities, [*setups, *visits], currency="CA$", source="Turney 1995")
