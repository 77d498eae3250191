"""The one interface of everything linear between an object and its k-space."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from scanwise.errors import ScanwiseError


@dataclass(frozen=True, eq=False)
class Operator(ABC):
    """A linear map over a batch of patients, with its adjoint.

    Operators are values: frozen dataclasses of tensors, without parameters to learn and without state. Tensors that
    belong to patients have the patients as first axis, of size 1 where all patients share them. The result has the
    precision of the input (``complex64`` for ``float32`` or ``complex64``) and lies on the same device.
    """

    name: ClassVar[str]
    extra: ClassVar[str] = ""
    """Module that must be installed besides, where there is one."""

    @property
    @abstractmethod
    def domain_shape(self) -> tuple[int, ...]:
        """Shape of what `forward` takes, without the patients."""

    @property
    @abstractmethod
    def range_shape(self) -> tuple[int, ...]:
        """Shape of what `forward` returns, without the patients."""

    @property
    def patients(self) -> int:
        """Number of patients this operator was made for; 1 where it serves any number."""
        return common_patients(self)

    def forward(self, image: Tensor) -> Tensor:
        """Apply the operator, ``(patients, *domain_shape)`` to ``(patients, *range_shape)``.

        Raises
        ------
        ScanwiseError
            If the shape does not fit.
        """
        self._check(image, self.domain_shape, "input of `forward`")
        return self._forward(image)

    def adjoint(self, kspace: Tensor) -> Tensor:
        """Apply the adjoint, ``(patients, *range_shape)`` to ``(patients, *domain_shape)``.

        ``<forward(x), y> == <x, adjoint(y)>`` for all x and y, summed over everything but the patients.

        Raises
        ------
        ScanwiseError
            If the shape does not fit.
        """
        self._check(kspace, self.range_shape, "input of `adjoint`")
        return self._adjoint(kspace)

    @abstractmethod
    def _forward(self, image: Tensor) -> Tensor: ...

    @abstractmethod
    def _adjoint(self, kspace: Tensor) -> Tensor: ...

    @classmethod
    @abstractmethod
    def examples(cls) -> tuple[Self, ...]:
        """Return small instances with odd and even, non-square sizes; the contract tests run on them."""

    def _check(self, tensor: Tensor, shape: tuple[int, ...], what: str) -> None:
        if tuple(tensor.shape[1:]) != shape or self.patients not in (1, tensor.shape[0]):
            patients = "patients" if self.patients == 1 else str(self.patients)
            axes = ", ".join([patients, *map(str, shape)])
            raise ScanwiseError(f"the {what} of {self.name!r} must have shape ({axes}), but has {tuple(tensor.shape)}")

    def to(self, device: torch.device | str) -> Self:
        """Return the operator with all its tensors on a device."""
        moved = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor | Operator):
                moved[field.name] = value.to(device)
        return dataclasses.replace(self, **moved)

    def __matmul__(self, other: Operator) -> Chain:
        """Return the operator that applies `other` first and then this one."""
        return Chain(self, other)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.domain_shape} -> {self.range_shape})"


@dataclass(frozen=True, eq=False, repr=False)
class Chain(Operator):
    """Two operators in a row: `first` acts first, then `last`.

    Raises
    ------
    ScanwiseError
        If the result of `first` is not what `last` takes.
    """

    name: ClassVar[str] = "chain"
    last: Operator
    first: Operator

    def __post_init__(self) -> None:
        if self.first.range_shape != self.last.domain_shape:
            raise ScanwiseError(
                f"in a chain {self.last.name!r} must take what {self.first.name!r} yields, but it takes "
                f"{self.last.domain_shape} and gets {self.first.range_shape}"
            )
        _ = self.patients

    @property
    def domain_shape(self) -> tuple[int, ...]:
        """Shape of what the first operator takes."""
        return self.first.domain_shape

    @property
    def range_shape(self) -> tuple[int, ...]:
        """Shape of what the last operator returns."""
        return self.last.range_shape

    def _forward(self, image: Tensor) -> Tensor:
        return self.last.forward(self.first.forward(image))

    def _adjoint(self, kspace: Tensor) -> Tensor:
        return self.first.adjoint(self.last.adjoint(kspace))

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        """Return nothing: a chain is tested with the operators it is made of."""
        return ()


def common_patients(operator: Operator) -> int:
    """Return the number of patients on which all tensors of an operator agree, where 1 agrees with anything."""
    sizes = set()
    for field in dataclasses.fields(operator):
        value = getattr(operator, field.name)
        if isinstance(value, Operator):
            sizes.add(value.patients)
        elif isinstance(value, Tensor):
            sizes.add(value.shape[0])
    sizes -= {1}
    if len(sizes) > 1:
        raise ScanwiseError(
            f"all tensors of {operator.name!r} must belong to the same patients, but they have {sorted(sizes)}"
        )
    return sizes.pop() if sizes else 1
