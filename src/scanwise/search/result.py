"""What a search found, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.design import COST_AXES, Protocol
from scanwise.errors import ScanwiseError, did_you_mean
from scanwise.search.front import nondominated

DIAGNOSIS = "diagnosis"
"""Name of the objective that is not a cost: more is better."""
_BLOCK = 2048  # protocols compared with the front at once


@dataclass(frozen=True, eq=False)
class SearchResult:
    """The protocols that were scored, and which of them nothing beats.

    Of a large lattice only what is on or near the front is listed here, scored one by one; the rest is in the arrays
    that the search wrote.

    Parameters
    ----------
    protocols : distinct, in the order they were scored.
    costs : shape ``(protocols, axes)`` in the order of ``COST_AXES``.
    values : diagnosis value on the patients the search looks at, shape ``(protocols,)``; more is better.
    front : rows of the protocols on the front, cheapest first, shape ``(front,)``.
    objectives : what the front trades off: ``"diagnosis"`` and cost axes.
    how : one sentence on what was done: ``"exact lattice of 32 protocols"``.
    history : ``{"evaluated": protocols scored so far, "hypervolume": of their front}`` after every batch.
    complete : whether every protocol of the lattice that is within the limits was scored.
    n_scored : how many protocols were scored, `None` = those that are listed.

    Raises
    ------
    ScanwiseError
        If lengths differ, an axis is unknown, or the front names rows that do not exist.
    """

    protocols: tuple[Protocol, ...]
    costs: NDArray[np.float64]
    values: NDArray[np.float64]
    front: NDArray[np.int64]
    objectives: tuple[str, ...]
    how: str
    history: tuple[Mapping[str, float], ...] = ()
    complete: bool = False
    n_scored: int | None = None

    def __post_init__(self) -> None:
        n = len(self.protocols)
        if self.n_scored is None:
            object.__setattr__(self, "n_scored", n)
        if self.costs.shape != (n, len(COST_AXES)) or self.values.shape != (n,):
            raise ScanwiseError(
                f"{n} protocols need costs of shape {(n, len(COST_AXES))} and {n} values, "
                f"but got {self.costs.shape} and {self.values.shape}"
            )
        if self.front.ndim != 1 or (self.front.size and (self.front.min() < 0 or self.front.max() >= n)):
            raise ScanwiseError(f"the front must be rows of the {n} protocols, but got {self.front!r}")
        check_objectives(self.objectives)

    @property
    def front_protocols(self) -> tuple[Protocol, ...]:
        """The protocols on the front, cheapest first."""
        return tuple(self.protocols[row] for row in self.front)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for a JSON file."""
        return {
            "schema_version": 1,
            "protocols": [protocol.key for protocol in self.protocols],
            "axes": list(COST_AXES),
            "costs": self.costs.tolist(),
            "values": self.values.tolist(),
            "front": self.front.tolist(),
            "objectives": list(self.objectives),
            "how": self.how,
            "history": [dict(entry) for entry in self.history],
            "complete": self.complete,
            "n_scored": self.n_scored,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> SearchResult:
        """Read the plain data back; another schema version or other axes are an error."""
        if plain.get("schema_version") != 1 or tuple(plain.get("axes", ())) != COST_AXES:
            raise ScanwiseError(
                f"a search result must have schema_version 1 and the axes {COST_AXES}, "
                f"but has {plain.get('schema_version')!r} and {plain.get('axes')!r}",
                "it was written by another version of scanwise: run the search again",
            )
        return cls(
            protocols=tuple(Protocol.from_key(key) for key in plain["protocols"]),
            costs=np.array(plain["costs"], dtype=np.float64).reshape(-1, len(COST_AXES)),
            values=np.array(plain["values"], dtype=np.float64),
            front=np.array(plain["front"], dtype=np.int64),
            objectives=tuple(plain["objectives"]),
            how=plain["how"],
            history=tuple(plain["history"]),
            complete=bool(plain["complete"]),
            n_scored=plain.get("n_scored"),
        )

    def __repr__(self) -> str:
        return f"SearchResult({self.how}; {len(self.front)} on the front of {', '.join(self.objectives)})"


def check_objectives(objectives: Sequence[str]) -> None:
    """Raise a `ScanwiseError` unless there are two or three different objectives, the diagnosis among them."""
    known = (DIAGNOSIS, *COST_AXES)
    for name in objectives:
        if name not in known:
            raise ScanwiseError(f"an objective must be one of {known}, but got {name!r}", did_you_mean(name, known))
    if DIAGNOSIS not in objectives or len(set(objectives)) != len(objectives) or not 2 <= len(objectives) <= 3:
        raise ScanwiseError(
            f"the objectives must be {DIAGNOSIS!r} and one or two cost axes, each once, but are {list(objectives)}",
            "put every further axis into the budget: a limit is easier to search under than a fourth objective",
        )


def objective_table(
    objectives: Sequence[str], values: NDArray[np.float64], costs: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return what is traded off, shape ``(protocols, objectives)``."""
    columns = [values if name == DIAGNOSIS else costs[:, COST_AXES.index(name)] for name in objectives]
    return np.stack(columns, axis=1)


def directions(objectives: Sequence[str]) -> tuple[bool, ...]:
    """Return per objective whether more is better."""
    return tuple(name == DIAGNOSIS for name in objectives)


def distance_to_front(
    objectives: Sequence[str], values: NDArray[np.float64], costs: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return by how much the value of each protocol is below the best that costs no more, shape ``(protocols,)``."""
    table = objective_table(objectives, values, costs)
    value = objectives.index(DIAGNOSIS)
    table = np.delete(table, value, axis=1)
    front = front_rows(objectives, values, costs)
    distance = np.empty(len(values))
    for start in range(0, len(values), _BLOCK):
        rows = slice(start, start + _BLOCK)
        affordable = (table[front][None] <= table[rows][:, None]).all(axis=2)
        distance[rows] = np.where(affordable, values[front], -np.inf).max(axis=1) - values[rows]
    return distance


def front_rows(objectives: Sequence[str], values: NDArray[np.float64], costs: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rows on the front, sorted by the cost objectives in their order."""
    table = objective_table(objectives, values, costs)
    rows = np.flatnonzero(nondominated(table, directions(objectives)))
    prices = [table[rows, column] for column, name in enumerate(objectives) if name != DIAGNOSIS]
    return rows[np.lexsort(prices[::-1])].astype(np.int64)
