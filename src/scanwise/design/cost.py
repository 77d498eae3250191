"""What an acquisition costs, and limits on it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from scanwise.errors import ScanwiseError, did_you_mean


@dataclass(frozen=True, slots=True)
class Cost:
    """A price in five currencies at once: addable, comparable by dominance.

    Raises
    ------
    ScanwiseError
        If a component is negative or not finite.
    """

    minutes: float = 0.0
    """Time on the table or in the chair [min]."""
    money: float = 0.0
    """Money, in the currency of the menu."""
    msv: float = 0.0
    """Effective dose [mSv]."""
    contrast_ml: float = 0.0
    """Contrast agent [mL]."""
    visits: float = 0.0
    """Number of times the patient has to come."""

    def __post_init__(self) -> None:
        for axis in COST_AXES:
            value = getattr(self, axis)
            if not _is_amount(value):
                raise ScanwiseError(
                    f"a cost must be a finite number >= 0, but got {axis}={value!r}",
                    "give a number, or leave it out where it is nothing",
                )
            object.__setattr__(self, axis, float(value))

    def __add__(self, other: Cost) -> Cost:
        return Cost(*(a + b for a, b in zip(self, other, strict=True)))

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(getattr(self, axis) for axis in COST_AXES)

    def __getitem__(self, axis: str) -> float:
        if axis not in COST_AXES:
            raise ScanwiseError(
                f"a cost axis must be one of {COST_AXES}, but got {axis!r}", did_you_mean(axis, COST_AXES)
            )
        return float(getattr(self, axis))

    def to_array(self) -> NDArray[np.float64]:
        """Return the cost, shape ``(axes,)`` in the order of ``COST_AXES``."""
        return np.array(tuple(self), dtype=np.float64)

    @classmethod
    def from_array(cls, values: Iterable[float]) -> Cost:
        """Build a cost from an array in the order of ``COST_AXES``."""
        return cls(*(float(value) for value in values))

    def to_dict(self) -> dict[str, float]:
        """Return ``{axis: value}`` for every axis."""
        return {axis: float(getattr(self, axis)) for axis in COST_AXES}

    def dominates(self, other: Cost) -> bool:
        """Whether this is nowhere dearer than `other` and somewhere cheaper."""
        return all(a <= b for a, b in zip(self, other, strict=True)) and self != other

    def reading(self, currency: str = "") -> str:
        """Return one line for people: the axes that are not zero, with units."""
        parts = [amount(axis, self[axis], currency) for axis in _READING_ORDER if self[axis]]
        return ", ".join(parts) or "nothing"


def _is_amount(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
        return False
    return 0 <= float(value) < math.inf


COST_AXES: tuple[str, ...] = tuple(field.name for field in fields(Cost))
"""The axes of a cost, in the order of every cost array."""

_READING_ORDER = ("money", "minutes", "msv", "contrast_ml", "visits")
_UNITS = {"minutes": "min", "msv": "mSv", "contrast_ml": "mL contrast"}


def amount(axis: str, value: float, currency: str = "") -> str:
    """Return an amount for people: ``"CA$ 194.20"``, ``"9.8 min"``, ``"1 visit"``."""
    if axis == "money":
        return f"{currency}{' ' if len(currency) > 1 else ''}{value:,.2f}"
    if axis == "visits":
        return f"{value:g} visit{'' if value == 1 else 's'}"
    return f"{round(value, 1 if axis == 'minutes' else 2):g} {_UNITS[axis]}"


@dataclass(frozen=True)
class Budget:
    """Upper limits on a cost; an axis that is `None` is free.

    Raises
    ------
    ScanwiseError
        If a limit is negative or not a number.
    """

    minutes: float | None = None
    money: float | None = None
    msv: float | None = None
    contrast_ml: float | None = None
    visits: float | None = None

    def __post_init__(self) -> None:
        for axis, limit in self.limits.items():
            if not _is_amount(limit):
                raise ScanwiseError(
                    f"a budget must be a finite number >= 0, but got budget.{axis}={limit!r}",
                    f"leave budget.{axis} out (null) for no limit",
                )

    @classmethod
    def from_mapping(cls, limits: Mapping[str, float | None]) -> Budget:
        """Build a budget from ``{axis: limit}``; an unknown axis is an error with a suggestion."""
        for axis in limits:
            if axis not in COST_AXES:
                raise ScanwiseError(
                    f"a budget is on one of {COST_AXES}, but got {axis!r}", did_you_mean(axis, COST_AXES)
                )
        return cls(**limits)

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set, ``{axis: limit}``."""
        return {axis: getattr(self, axis) for axis in COST_AXES if getattr(self, axis) is not None}

    def violations(self, cost: Cost) -> dict[str, float]:
        """Return ``{axis: cost - limit}`` for every limit that is set; feasible where no value is above 0."""
        return {axis: cost[axis] - limit for axis, limit in self.limits.items()}

    def allows(self, cost: Cost) -> bool:
        """Whether no limit is exceeded (to within rounding of the sum)."""
        return all(excess <= 1e-9 for excess in self.violations(cost).values())

    def reading(self, currency: str = "") -> str:
        """Return one line for people."""
        if not self.limits:
            return "no limit"
        return "at most " + ", ".join(amount(axis, limit, currency) for axis, limit in self.limits.items())
