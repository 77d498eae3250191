"""The shot table of a modality, and the set-ups that shots share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scanwise.design.cost import COST_AXES, Cost
from scanwise.errors import ScanwiseError


@dataclass(frozen=True)
class Setup:
    """A cost paid once, when the first shot that needs it is bought, and shared by all that need it.

    Positioning per scanner visit, a contrast injection, a venepuncture, the fee that a group of tests has in common
    (group discounts), or the second visit that a delayed result makes necessary.
    """

    name: str
    cost: Cost
    title: str = ""
    scanning: bool = False
    """Whether its minutes are scanning, such as waiting between the frames of a dynamic series."""

    @property
    def label(self) -> str:
        """The title, or the name in words."""
        return self.title or self.name.replace("_", " ")


@dataclass(frozen=True, eq=False)
class ShotTable:
    """The smallest things one can decide to acquire in one modality, in order.

    Parameters
    ----------
    names : one unique name per shot.
    seconds, money, msv, contrast_ml : price of one shot, shape ``(shots,)`` each [s, menu currency, mSv, mL].
    setups : names of the set-ups each shot needs, one tuple per shot.
    max_count : how often each shot may be taken, shape ``(shots,)``.
    what : what each shot is (line index, b-value, view angle, feature ...), ``{column: array of shape (shots, ...)}``.

    Raises
    ------
    ScanwiseError
        If lengths differ, names repeat, or a price is negative or not finite.
    """

    names: tuple[str, ...]
    seconds: NDArray[np.float64]
    money: NDArray[np.float64]
    msv: NDArray[np.float64]
    contrast_ml: NDArray[np.float64]
    setups: tuple[tuple[str, ...], ...]
    max_count: NDArray[np.int64]
    what: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        names: Sequence[str],
        *,
        seconds: Sequence[float] | float = 0.0,
        money: Sequence[float] | float = 0.0,
        msv: Sequence[float] | float = 0.0,
        contrast_ml: Sequence[float] | float = 0.0,
        setups: Sequence[Sequence[str]] | Sequence[str] = (),
        max_count: Sequence[int] | int = 1,
        what: Mapping[str, NDArray[np.generic]] | None = None,
    ) -> ShotTable:
        """Build a table; a single price, set-up list or maximum holds for every shot."""
        n = len(names)
        if not setups or isinstance(setups[0], str):
            needed: tuple[tuple[str, ...], ...] = (tuple(str(name) for name in setups),) * n
        else:
            needed = tuple(tuple(row) for row in setups)

        def column(values: Sequence[float] | float) -> NDArray[np.float64]:
            array = np.asarray(values, dtype=np.float64)
            return np.full(n, array) if array.ndim == 0 else array

        return cls(
            names=tuple(names),
            seconds=column(seconds),
            money=column(money),
            msv=column(msv),
            contrast_ml=column(contrast_ml),
            setups=needed,
            max_count=column(max_count).astype(np.int64),
            what=dict(what or {}),
        )

    def __post_init__(self) -> None:
        n = len(self.names)
        if n == 0 or len(set(self.names)) != n:
            raise ScanwiseError(f"a shot table needs at least one shot and unique names, but got {self.names!r}")
        for column in ("seconds", "money", "msv", "contrast_ml"):
            values = getattr(self, column)
            if values.shape != (n,):
                raise ScanwiseError(f"{column} must have one value per shot ({n}), but has shape {values.shape}")
            for name, value in zip(self.names, values, strict=True):
                if not (np.isfinite(value) and value >= 0):
                    raise ScanwiseError(
                        f"the price of a shot must be a finite number >= 0, but {name!r} has {column}={value:g}",
                        "mend the menu; leave the price out where it is nothing",
                    )
        if len(self.setups) != n or self.max_count.shape != (n,) or (self.max_count < 1).any():
            raise ScanwiseError(f"a shot table of {n} shots needs {n} set-up lists and {n} maxima >= 1")
        for column, array in self.what.items():
            if len(array) != n:
                raise ScanwiseError(f"what[{column!r}] must describe {n} shots, but describes {len(array)}")

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"ShotTable({len(self)} shots: {', '.join(self.names[:6])}{', ...' if len(self) > 6 else ''})"

    @property
    def unit_costs(self) -> NDArray[np.float64]:
        """Cost of taking each shot once, without set-ups, shape ``(shots, axes)`` in the order of ``COST_AXES``."""
        columns = {
            "minutes": self.seconds / 60.0,
            "money": self.money,
            "msv": self.msv,
            "contrast_ml": self.contrast_ml,
            "visits": np.zeros(len(self)),
        }
        return np.stack([columns[axis] for axis in COST_AXES], axis=1)
