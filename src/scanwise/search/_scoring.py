"""What every search shares: scoring in batches, limits, the protocols one starts from, the measure of progress."""

from __future__ import annotations

import traceback
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanwise.design import COST_AXES, Budget, Cost, Menu, Product, Protocol
from scanwise.errors import ScanwiseError
from scanwise.search.front import hypervolume
from scanwise.search.result import (
    DIAGNOSIS,
    SearchResult,
    check_objectives,
    directions,
    front_rows,
    objective_table,
)
from scanwise.search.space import SearchSpace

Objective = Callable[[Sequence[Protocol]], NDArray[np.float64]]
"""Scores several protocols at once, shape ``(protocols,)``; higher is better."""


@typing.runtime_checkable
class ProductObjective(typing.Protocol):
    """An objective that can also score all combinations of settings, from what every single setting adds."""

    def __call__(self, protocols: Sequence[Protocol]) -> NDArray[np.float64]:
        """Score several protocols one by one, shape ``(protocols,)``; higher is better."""

    def of_product(
        self, product: Product, *, wanted: NDArray[np.bool_], refine: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Yield rows of a product and their values, ``(rows,)``; see `scanwise.design.ProductScorer`."""

    def noise(self, protocols: Sequence[Protocol]) -> NDArray[np.float64]:
        """Return the standard error of the difference between each protocol and the next, ``(protocols - 1,)``.

        From the sampling of patients.
        """


Progress = Callable[[int, int, str], None]
"""Is told how much is done, of how much, and what the front looks like."""

MAX_CONSECUTIVE_FAILURES = 3
_TRACEBACK_CHARACTERS = 2000
_ROUNDING = 1e-9  # as in Budget.allows

SAMPLERS: dict[str, str] = {"tpe": "TPE", "nsga2": "NSGA-II", "random": "random", "gp": "Gaussian process"}
"""Samplers of `OptunaSearch`, and their names for people."""


@dataclass(frozen=True)
class Outcome:
    """The score of one protocol, or why there is none."""

    value: float
    error: str = ""
    traceback: str = ""

    @property
    def failed(self) -> bool:
        """Whether there is no score."""
        return bool(self.error)


class Scoring:
    """Calls the objective, a batch at a time, and keeps count of what goes wrong.

    Where a batch raises, its protocols are scored one by one, so that one of them does not take the others along. A
    value that is not finite is recorded as a failure of that protocol; after three exceptions in a row `broken` holds
    the last one and no further protocol is scored.
    """

    def __init__(self, objective: Objective) -> None:
        self.broken: Exception | None = None
        self.failures: list[tuple[str, str]] = []
        self._objective = objective
        self._raised_in_a_row = 0

    def __call__(self, protocols: Sequence[Protocol]) -> list[Outcome]:
        """Return one outcome per protocol, fewer where the objective turns out to be broken."""
        if not protocols or self.broken:
            return []
        try:
            outcomes = self._batch(protocols)
            self._raised_in_a_row = 0
        except Exception as error:
            outcomes = self._one_by_one(protocols) if len(protocols) > 1 else [self._raised(error)]
        for protocol, outcome in zip(protocols, outcomes, strict=False):
            if outcome.failed:
                self.failures.append((protocol.key, outcome.error))
        return outcomes

    def _batch(self, protocols: Sequence[Protocol]) -> list[Outcome]:
        values = np.asarray(self._objective(list(protocols)), dtype=np.float64)
        if values.shape != (len(protocols),):
            raise ValueError(f"the objective must return shape ({len(protocols)},), but returned {values.shape}")
        return [
            Outcome(float(value))
            if np.isfinite(value)
            else Outcome(np.nan, f"the value is {value}, not a finite number")
            for value in values
        ]

    def _one_by_one(self, protocols: Sequence[Protocol]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for protocol in protocols:
            if self.broken:
                break
            try:
                outcomes += self._batch([protocol])
                self._raised_in_a_row = 0
            except Exception as error:
                outcomes.append(self._raised(error))
        return outcomes

    def _raised(self, error: Exception) -> Outcome:
        self._raised_in_a_row += 1
        if self._raised_in_a_row >= MAX_CONSECUTIVE_FAILURES:
            self.broken = error
        trace = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARACTERS:]
        return Outcome(np.nan, f"{type(error).__name__}: {error}", trace)

    def raise_broken(self) -> None:
        """Raise a `ScanwiseError` where the objective failed too often in a row."""
        if self.broken:
            raise ScanwiseError(
                f"{MAX_CONSECUTIVE_FAILURES} protocols in a row could not be scored, the last one was "
                f"{self.failures[-1][0]!r}: {self.failures[-1][1]}",
                "mend the cause, then start the same command again",
            ) from self.broken


@dataclass(frozen=True)
class Limits:
    """The budget, applied before anything is scored."""

    space: SearchSpace
    budget: Budget

    def check(self) -> None:
        """Raise a `ScanwiseError` where no protocol at all is within the limits.

        Prices are never negative, so what is mandatory, alone, is the cheapest protocol on every axis.
        """
        space, menu = self.space, self.space.menu
        broken: list[str] = []
        for axis, excess in self.budget.violations(menu.price(space.mandatory)).items():
            if excess <= _ROUNDING:
                continue
            limit = self.budget.limits[axis]
            alone = [Protocol({name: counts}) for name, counts in space.mandatory.items()]
            dearest = max(alone, key=lambda one: menu.price(one)[axis])
            blamed = dearest if menu.price(dearest)[axis] - limit > _ROUNDING else space.mandatory
            broken.append(
                f"limits.{axis}={limit:g} contradicts {menu.reading(blamed)!r}, which is always acquired and takes "
                f"{menu.price(blamed)[axis]:g}"
            )
        if broken:
            raise ScanwiseError(
                f"no protocol is within the limits: {'; '.join(broken)}",
                "raise the limit, or take the modality out of mandatory or menu.always",
            )

    def within(self, costs: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Mark the costs, shape ``(protocols, axes)``, that exceed no limit."""
        inside = np.ones(len(costs), dtype=bool)
        for axis, limit in self.budget.limits.items():
            inside &= costs[:, COST_AXES.index(axis)] - limit <= _ROUNDING
        return inside

    def excess(self, cost: Cost) -> dict[str, float]:
        """Return per limit how far it is exceeded, as a share of the limit; at most 0 exactly where it is kept.

        Shares, because samplers add the excess of several limits up, and minutes and money cannot be added.
        """
        shares = {}
        for axis, excess in self.budget.violations(cost).items():
            share = excess / (self.budget.limits[axis] or 1.0)
            shares[axis] = share if excess > _ROUNDING else min(share, 0.0)
        return shares


@dataclass(frozen=True)
class Yardstick:
    """How much of what is affordable a set of protocols covers.

    The hypervolume with every cost as a share of the limit, or of the dearest of everything-once and current practice
    where there is no limit. Over a diagnosis value and one cost it is the mean, over all limits on that cost, of the
    best value within that limit. The value counts from 0, or from the worst one where values are negative.
    """

    objectives: tuple[str, ...]
    upper: tuple[float, ...]

    @classmethod
    def build(cls, objectives: tuple[str, ...], menu: Menu, budget: Budget) -> Yardstick:
        """Take the upper ends of the cost axes from the limits and the menu."""
        dearest = menu.price_many([menu.everything(), menu.reference]).max(axis=0)
        upper = [
            1.0 if name == DIAGNOSIS else budget.limits.get(name, dearest[COST_AXES.index(name)]) or 1.0
            for name in objectives
        ]
        return cls(objectives, tuple(float(value) for value in upper))

    def hypervolume(self, values: NDArray[np.float64], costs: NDArray[np.float64]) -> float:
        """Return the hypervolume of scored protocols; 0 where there are none."""
        if not len(values):
            return 0.0
        floor = min(0.0, float(values.min()))
        reference = [floor if name == DIAGNOSIS else 1.0 for name in self.objectives]
        scaled = objective_table(self.objectives, values, costs) / np.array(self.upper)
        return hypervolume(scaled, reference, directions(self.objectives))


class Ledger:
    """The protocols scored so far, in order, with the history of their front."""

    def __init__(self, menu: Menu, yardstick: Yardstick) -> None:
        self.scores: dict[str, float] = {}
        self.history: list[dict[str, float]] = []
        self._menu = menu
        self._yardstick = yardstick
        self._protocols: list[Protocol] = []
        self._costs: list[NDArray[np.float64]] = []

    def add(self, protocol: Protocol, value: float) -> None:
        """Enter a score."""
        self.scores[protocol.key] = value
        self._protocols.append(protocol)
        self._costs.append(self._menu.price_many([protocol])[0])

    def close_batch(self) -> str:
        """Note how good the front is by now, and return it in a few words."""
        values, costs = self._arrays()
        volume = self._yardstick.hypervolume(values, costs)
        self.history.append({"evaluated": len(values), "hypervolume": volume})
        return f"{len(front_rows(self._yardstick.objectives, values, costs))} on the front, hypervolume {volume:.2f}"

    def result(self, how: str, *, complete: bool, failures: Sequence[tuple[str, str]] = ()) -> SearchResult:
        """Return the result; no score at all is a `ScanwiseError` that gives the last reason."""
        if not self._protocols:
            reason = f"; the last one was {failures[-1][0]!r}: {failures[-1][1]}" if failures else ""
            raise ScanwiseError(
                f"not one protocol could be scored{reason}",
                "look at the cohort: are there enough patients of both classes?",
            )
        values, costs = self._arrays()
        objectives = self._yardstick.objectives
        return SearchResult(
            protocols=tuple(self._protocols),
            costs=costs,
            values=values,
            front=front_rows(objectives, values, costs),
            objectives=objectives,
            how=how,
            history=tuple(self.history),
            complete=complete,
        )

    def _arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.array(list(self.scores.values())), np.array(self._costs).reshape(-1, len(COST_AXES))


def resolve_objectives(objectives: tuple[str, ...] | None, menu: Menu) -> tuple[str, ...]:
    """Return the objectives asked for, or the diagnosis and the first axis that is priced, money before others."""
    priced = menu.priced_axes()
    if objectives is None:
        return (DIAGNOSIS, "money" if "money" in priced or not priced else priced[0])
    check_objectives(objectives)
    for name in objectives:
        if name != DIAGNOSIS and name not in priced:
            raise ScanwiseError(
                f"the objective {name!r} is nothing on this menu, whatever is acquired",
                "priced are: " + (", ".join(priced) or "no axis at all"),
            )
    return objectives


def starting_points(space: SearchSpace, enqueue: Sequence[Protocol]) -> list[Protocol]:
    """Return what every search looks at first: current practice, nothing optional, each modality alone, the caller's.

    Current practice is left out where it is not in the space (it lacks what is mandatory, or needs what is not
    allowed).

    Raises
    ------
    ScanwiseError
        If the caller asks for a protocol that is not in the space.
    """
    menu = space.menu
    for protocol in enqueue:
        menu.check(protocol)
        if protocol != menu.reference and space.params(protocol) is None:
            raise ScanwiseError(
                f"a protocol to start from must be in the search space, but {protocol.key!r} is not in {space!r}",
                "add what is mandatory, allow its modalities, or take counts that one of their schemes yields",
            )
    alone = [space.alone(name) for name in space.optional]
    wanted = dict.fromkeys([menu.reference, space.mandatory, *alone, *enqueue])
    return [protocol for protocol in wanted if space.params(protocol) is not None]
