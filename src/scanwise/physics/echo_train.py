"""Turbo spin echo: which line is taken at which echo of which train, and what T2 decay along the train does to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from scanwise.errors import ScanwiseError
from scanwise.physics._check import check_range, check_tissue
from scanwise.physics.fourier import fftc, ifftc
from scanwise.physics.operator import Operator
from scanwise.physics.registry import register_operator, register_signal_equation

_TIMING_TOLERANCE = 1e-6
"""How far, in echo spacings, an effective echo time may be from an echo."""


@dataclass(frozen=True, kw_only=True)
class EchoTrain:
    """Timing of a turbo spin echo and the order in which its trains (shots) take the lines of k-space.

    Lines are dealt to the trains in turn: train s takes lines s, s + n_trains, s + 2 n_trains ...; leaving trains out
    undersamples regularly. Each echo takes one band of `n_trains` neighbouring lines; the order of the bands is
    rotated so that the band with the centre of k-space comes at the effective echo time. Echoes that get no band,
    because the lines are fewer than trains times length, are not used.

    Parameters
    ----------
    n_lines : lines of the matrix.
    length : echoes per train.
    spacing_s : time between echoes [s].
    effective_echo_time_s : time of the echo that takes the centre of k-space [s], a multiple of `spacing_s`.
    repetition_time_s : time from one train to the next [s].

    Raises
    ------
    ScanwiseError
        If the effective echo time is no echo of the train, the train is longer than the repetition time or than the
        number of lines, or a time is not above zero.

    References
    ----------
    Hennig J, Nauerth A, Friedburg H. RARE imaging. Magn Reson Med 1986;3:823-833.
    """

    n_lines: int
    length: int
    spacing_s: float
    effective_echo_time_s: float
    repetition_time_s: float

    def __post_init__(self) -> None:
        if not 1 <= self.length <= self.n_lines:
            raise ScanwiseError(
                f"an echo train must have between 1 and {self.n_lines} echoes, one line each, but got {self.length=}"
            )
        check_range("echo spacing", self.spacing_s, above=True, unit="s")
        check_range("TE", self.effective_echo_time_s, above=True, unit="s")
        if not self.length * self.spacing_s < self.repetition_time_s:
            raise ScanwiseError(
                f"the echo train must be shorter than TR, but {self.length} echoes of {self.spacing_s:g} s do not fit "
                f"in TR = {self.repetition_time_s:g} s",
                "shorten the train or lengthen TR",
            )
        echo = self.effective_echo_time_s / self.spacing_s
        if abs(echo - round(echo)) > _TIMING_TOLERANCE or not 1 <= round(echo) <= self.length:
            raise ScanwiseError(
                f"the effective TE must be one of the {self.length} echoes every {self.spacing_s:g} s, but got "
                f"{self.effective_echo_time_s:g} s",
                f"the nearest is {min(max(round(echo), 1), self.length) * self.spacing_s:g} s",
            )

    @property
    def n_trains(self) -> int:
        """Number of trains (shots) that take every line once."""
        return math.ceil(self.n_lines / self.length)

    @property
    def train_of_line(self) -> Tensor:
        """Which train takes a line, shape ``(lines,)``, from 0."""
        return torch.arange(self.n_lines) % self.n_trains

    @property
    def echo_of_line(self) -> Tensor:
        """Which echo takes a line, shape ``(lines,)``, from 1 to `length`."""
        band = torch.arange(self.n_lines) // self.n_trains
        centre = (self.n_lines // 2) // self.n_trains
        effective = round(self.effective_echo_time_s / self.spacing_s)
        return (band - centre + effective - 1) % self.length + 1

    @property
    def echo_time_of_line_s(self) -> Tensor:
        """When a line is taken after the excitation [s], shape ``(lines,)``, float64."""
        return self.echo_of_line.to(torch.float64) * self.spacing_s


_EXAMPLE_TRAIN = EchoTrain(n_lines=26, length=8, spacing_s=0.012, effective_echo_time_s=0.060, repetition_time_s=3.2)


@register_signal_equation(
    ranges={"proton_density": (0.5, 1.0), "t1_s": (0.8, 2.5), "t2_s": (0.04, 0.3)},
    settings={"train": _EXAMPLE_TRAIN},
)
def turbo_spin_echo(*, proton_density: Tensor, t1_s: Tensor, t2_s: Tensor, train: EchoTrain) -> Tensor:
    """Return the signal of a turbo spin echo at its effective echo time.

    ``S = PD (1 - exp(-(TR - ETL ESP) / T1)) exp(-TE_eff / T2)``: magnetisation recovers only after the train. Weight
    each line of k-space with `echo_train_modulation` for the blur.

    Parameters
    ----------
    proton_density : relative to water, any shape.
    t1_s, t2_s : relaxation times [s], broadcast against it.
    train : timing.

    Returns
    -------
    Signal in units of proton density, broadcast shape.

    Raises
    ------
    ScanwiseError
        If the proton density is negative, a relaxation time is not above zero, or T2 > T1.

    References
    ----------
    Hennig 1986; Bernstein MA, King KF, Zhou XJ. Handbook of MRI Pulse Sequences, 2004, section 16.4.
    """
    check_tissue(proton_density=proton_density, t1_s=t1_s, t2_s=t2_s)
    recovery_s = train.repetition_time_s - train.length * train.spacing_s
    return proton_density * -torch.expm1(-recovery_s / t1_s) * torch.exp(-train.effective_echo_time_s / t2_s)


@register_signal_equation(ranges={"t2_s": (0.04, 0.3)}, settings={"train": _EXAMPLE_TRAIN}, appends="lines")
def echo_train_modulation(*, t2_s: Tensor, train: EchoTrain) -> Tensor:
    """Return how much brighter or darker each line is than the line at the centre of k-space.

    ``m(line) = exp(-(TE(line) - TE_eff) / T2)``: one at the centre; its Fourier transform is the point-spread function
    along the phase-encoding axis.

    Parameters
    ----------
    t2_s : [s], shape ``(...)``, for instance ``(patients, tissues)``.
    train : timing and order of the lines.

    Returns
    -------
    Weights, shape ``(..., lines)``.

    References
    ----------
    Constable RT, Gore JC. The loss of small objects in variable TE imaging. Magn Reson Med 1992;28:9-24.
    """
    check_range("T2", t2_s, above=True, unit="s")
    later_s = (train.echo_time_of_line_s - train.effective_echo_time_s).to(t2_s)
    return torch.exp(-later_s / t2_s.unsqueeze(-1))


@register_operator
@dataclass(frozen=True, eq=False, repr=False)
class EchoTrainBlur(Operator):
    """Tissue images to what a turbo spin echo sees, ``(patients, tissues, y, x)`` to ``(patients, y, x)``.

    ``sum_tissues F_y^H diag(modulation) F_y image``: every tissue is blurred along y by its own point-spread function.
    On a finely rendered grid only the lines of the scan are weighted and kept; the others are outside its k-space.
    The blur acts before the coils; that is exact up to the variation of the coil maps over the point-spread function.

    Parameters
    ----------
    modulation : from `echo_train_modulation`, shape ``(patients or 1, tissues, lines)``.
    rendered : ``(y, x)`` of the images; y not below the number of lines.
    """

    name: ClassVar[str] = "echo_train_blur"
    modulation: Tensor
    rendered: tuple[int, int]

    def __post_init__(self) -> None:
        if self.modulation.ndim != 3 or self.modulation.shape[-1] > self.rendered[0]:
            raise ScanwiseError(
                f"the modulation must have shape (patients, tissues, lines) with at most {self.rendered[0]} lines, "
                f"but has {tuple(self.modulation.shape)}"
            )

    @property
    def domain_shape(self) -> tuple[int, int, int]:
        """``(tissues, y, x)``."""
        return self.modulation.shape[1], *self.rendered

    @property
    def range_shape(self) -> tuple[int, int]:
        """``(y, x)``."""
        return self.rendered

    def _lines(self) -> slice:
        start = self.rendered[0] // 2 - self.modulation.shape[-1] // 2
        return slice(start, start + self.modulation.shape[-1])

    def _forward(self, image: Tensor) -> Tensor:
        taken = (fftc(image, -2)[..., self._lines(), :] * self.modulation[..., None]).sum(dim=1)
        kspace = taken.new_zeros((taken.shape[0], *self.rendered))
        kspace[:, self._lines()] = taken
        return ifftc(kspace, -2)

    def _adjoint(self, kspace: Tensor) -> Tensor:
        taken = fftc(kspace, -2)[:, None, self._lines(), :] * self.modulation[..., None]
        spread = taken.new_zeros((taken.shape[0], *self.domain_shape))
        spread[..., self._lines(), :] = taken
        return ifftc(spread, -2)

    @classmethod
    def examples(cls) -> tuple[Self, ...]:
        """Return three tissues that all patients share, on the grid of the scan, and two of each patient on a finer."""
        shared = echo_train_modulation(t2_s=torch.tensor([[0.05, 0.09, 0.2]]), train=_EXAMPLE_TRAIN)
        own = echo_train_modulation(t2_s=torch.tensor([[0.05, 0.2], [0.07, 0.15]]), train=_EXAMPLE_TRAIN)
        return cls(shared, (26, 37)), cls(own, (53, 16))
