"""What the contract tests run over: every signal equation and every operator of this package, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from scanwise.errors import ScanwiseError, did_you_mean
from scanwise.physics.operator import Operator


@dataclass(frozen=True, eq=False)
class SignalEquation:
    """A signal equation, and how to try it.

    Parameters
    ----------
    name : name of the function.
    function : takes every tensor of `ranges` and every value of `settings` by keyword.
    ranges : physical range of each tissue parameter, ``{keyword: (low, high)}``; any draw is physical.
    settings : what does not belong to the tissue, ``{keyword: value}``.
    appends : axis that the result has after those of the tissue maps: ``""``, ``"lines"`` or ``"frames"``.
    """

    name: str
    function: Callable[..., Tensor]
    ranges: Mapping[str, tuple[float, float]]
    settings: Mapping[str, Any]
    appends: str = ""

    def __call__(self, **tissue: Tensor) -> Tensor:
        """Evaluate at some tissue, with the settings of the example."""
        return self.function(**tissue, **self.settings)

    def __repr__(self) -> str:
        return f"SignalEquation({self.name!r}: {', '.join(self.ranges)})"


_EQUATIONS: dict[str, SignalEquation] = {}
_OPERATORS: dict[str, type[Operator]] = {}

Function = TypeVar("Function", bound=Callable[..., Tensor])
OperatorClass = TypeVar("OperatorClass", bound=type[Operator])


def register_signal_equation(
    *, ranges: Mapping[str, tuple[float, float]], settings: Mapping[str, Any], appends: str = ""
) -> Callable[[Function], Function]:
    """Make a signal equation known under the name of its function; a second one of that name is an error."""

    def keep(function: Function) -> Function:
        name = function.__name__
        if name in _EQUATIONS:
            raise ScanwiseError(f"there is already a signal equation called {name!r}")
        _EQUATIONS[name] = SignalEquation(name, function, dict(ranges), dict(settings), appends)
        return function

    return keep


def register_operator(cls: OperatorClass) -> OperatorClass:
    """Make an operator known under its name; a second one of that name is an error."""
    key = cls.name.strip().lower()
    if key in _OPERATORS:
        raise ScanwiseError(f"there is already an operator called {key!r}")
    _OPERATORS[key] = cls
    return cls


def signal_equations() -> dict[str, SignalEquation]:
    """Return every registered signal equation by name."""
    return dict(_EQUATIONS)


def signal_equation(name: str) -> SignalEquation:
    """Return a signal equation by name; an unknown name is an error with a suggestion."""
    if name not in _EQUATIONS:
        raise ScanwiseError(f"there is no signal equation {name!r}", did_you_mean(name, _EQUATIONS))
    return _EQUATIONS[name]


def operators() -> dict[str, type[Operator]]:
    """Return every registered operator class by name."""
    return dict(_OPERATORS)
