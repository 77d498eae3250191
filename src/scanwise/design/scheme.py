"""Sampling schemes: named families with few parameters that yield counts."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from scanwise.design.shot_kinds import ANY_SHOTS, ShotKind
from scanwise.design.shots import ShotTable
from scanwise.errors import ScanwiseError, did_you_mean

Value = bool | int | float | str
Setting = Mapping[str, Value]


@dataclass(frozen=True)
class Parameter:
    """One searchable number or choice of a scheme: data, so that only `search` knows any optimiser.

    Either `choices` is given, or `low` and `high`; both bounds belong to the range.
    """

    name: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()
    integer: bool = False
    log: bool = False
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.choices and not self.low <= self.high:
            raise ScanwiseError(
                f"`low <= high` must hold for parameter {self.name!r}, but got {self.low=} {self.high=}"
            )
        if self.log and not self.low > 0:
            raise ScanwiseError(f"parameter {self.name!r} is on a log scale and needs `low > 0`, but got {self.low=}")
        if self.integer and not (float(self.low).is_integer() and float(self.high).is_integer()):
            raise ScanwiseError(f"{self.name!r} is a whole number, but its range is [{self.low:g}, {self.high:g}]")

    def check(self, value: Value) -> None:
        """Raise a `ScanwiseError` that names the parameter where `value` is outside its range."""
        if self.choices:
            if value not in self.choices:
                raise ScanwiseError(f"{self.name} must be one of {self.choices}, but got {value!r}")
            return
        if (
            not isinstance(value, int | float | np.number)
            or not self.low <= value <= self.high
            or (self.integer and not float(value).is_integer())
        ):
            kind = "a whole number" if self.integer else "a number"
            raise ScanwiseError(f"{self.name} must be {kind} in [{self.low:g}, {self.high:g}], but got {value!r}")


class Scheme(ABC):
    """A family of sampling patterns for one modality; resolution-independent, seeded through its parameters.

    Attributes
    ----------
    name : identifier, lower case.
    kind : what the shots of a table must be; tables of another kind are refused.
    """

    name: ClassVar[str]
    kind: ClassVar[ShotKind] = ANY_SHOTS

    @abstractmethod
    def parameters(self, shots: ShotTable) -> tuple[Parameter, ...]:
        """Return the parameters that may be searched, for this shot table."""

    @abstractmethod
    def settings(self, shots: ShotTable) -> Iterator[Setting]:
        """Iterate over the settings of the exact lattice: a finite grid, every one a different pattern."""

    def counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        """Return how often each shot is taken, shape ``(shots,)``.

        Raises
        ------
        ScanwiseError
            If the table is of another kind, or a parameter is missing, unknown, or out of range.
        """
        self.check(shots)
        known = {parameter.name: parameter for parameter in self.parameters(shots)}
        for name in setting:
            if name not in known:
                raise ScanwiseError(f"scheme {self.name!r} has no parameter {name!r}", did_you_mean(name, known))
        for name, parameter in known.items():
            if name not in setting:
                raise ScanwiseError(f"scheme {self.name!r} needs a value for {name!r}")
            parameter.check(setting[name])
        return self._counts(shots, setting)

    def check(self, shots: ShotTable) -> None:
        """Raise a `ScanwiseError` where the shots of a table are not what this scheme is made for."""
        try:
            self.kind.check(shots)
        except ScanwiseError as error:
            raise ScanwiseError(f"scheme {self.name!r} is for {self.kind.name}: {error.message}", error.hint) from None

    def centre_size(self, shots: ShotTable, setting: Setting) -> int:
        """Return how many shots the fully sampled centre asks for; 0 for schemes without one.

        An acquisition with fewer shots than that is all centre. Whoever asks for one pattern by hand is told so
        (`sampling_pattern`); a search, in which parameters meet by chance, is not.
        """
        return 0

    @abstractmethod
    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]: ...


_SCHEMES: dict[str, type[Scheme]] = {}


def register_scheme(cls: type[Scheme]) -> type[Scheme]:
    """Make a scheme known under its name; a second one of that name is an error."""
    key = cls.name.strip().lower()
    if key in _SCHEMES:
        raise ScanwiseError(f"there is already a scheme called {key!r}")
    _SCHEMES[key] = cls
    return cls


def schemes() -> dict[str, type[Scheme]]:
    """Return every registered scheme by name."""
    return dict(_SCHEMES)


def make_scheme(name: str) -> Scheme:
    """Return a scheme by name; an unknown name is an error with a suggestion."""
    key = name.strip().lower()
    if key not in _SCHEMES:
        raise ScanwiseError(f"there is no sampling scheme {name!r}", did_you_mean(key, _SCHEMES))
    return _SCHEMES[key]()


@register_scheme
class Whole(Scheme):
    """Every shot once: the test or series as it stands."""

    name = "whole"

    def parameters(self, shots: ShotTable) -> tuple[Parameter, ...]:
        """Return nothing: there is no choice."""
        return ()

    def settings(self, shots: ShotTable) -> Iterator[Setting]:
        """Iterate over the one setting."""
        yield {}

    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        return np.ones(len(shots), dtype=np.int64)


@register_scheme
class Subset(Scheme):
    """Each shot on its own, taken or not; at least one."""

    name = "subset"

    def parameters(self, shots: ShotTable) -> tuple[Parameter, ...]:
        """Return one switch per shot."""
        return tuple(Parameter(name=name, low=0, high=1, integer=True) for name in shots.names)

    def settings(self, shots: ShotTable) -> Iterator[Setting]:
        """Iterate over every combination of shots but the empty one."""
        for taken in itertools.product((0, 1), repeat=len(shots)):
            if any(taken):
                yield dict(zip(shots.names, taken, strict=True))

    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        return np.array([int(setting[name]) for name in shots.names], dtype=np.int64)
