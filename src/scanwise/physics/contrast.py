"""Dynamic contrast: blood, tissue, relaxation. Concentrations are in mM (mmol per litre), times in seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scanwise.errors import ScanwiseError
from scanwise.physics._check import (
    LONGEST_T1_S,
    Value,
    check_flip_angle,
    check_not_above,
    check_range,
    check_timing,
    check_tissue,
    like,
)
from scanwise.physics.registry import register_signal_equation

_SECONDS_PER_MINUTE = 60.0
_PARKER_DOSE_MMOL_PER_KG = 0.1
"""Dose at which the population was measured."""
_STEP_S = 0.5
"""Longest step of the fine grid on which blood is convolved; Simpson's rule then errs by less than 1e-5 of the peak."""
_NOTHING = 1e-20
"""Concentrations below this are none [mM]."""
_KEP_ROUNDING = 1e-5
"""Share by which single precision may put kep outside the table that covers it."""
_TABLE_ROWS = 512
"""Rows of a table over kep; linear interpolation in between errs by less than 1e-4 of the peak."""


@dataclass(frozen=True, kw_only=True)
class ParkerAif:
    """Population arterial input function: two Gaussians (first pass, recirculation) and a washed-out sigmoid.

    ``Cb(t) = sum_n A_n / (s_n sqrt(2 pi)) exp(-(t - T_n)^2 / (2 s_n^2))``
    ``+ alpha exp(-beta t) / (1 + exp(-s (t - tau)))``, with t in minutes after the arrival of the bolus, and zero
    before. The numbers are those of the paper, for 0.1 mmol/kg at 3 mL/s; concentrations scale with the dose.

    Parameters
    ----------
    arrival_s : when the bolus arrives, on the clock of the scan [s].
    dose_mmol_per_kg : injected dose [mmol/kg].
    haematocrit : share of blood that is cells, which the agent does not enter.
    first_area_millimolar_min, second_area_millimolar_min : A [mM min].
    first_centre_min, second_centre_min : T [min].
    first_width_min, second_width_min : sigma [min].
    tail_millimolar : alpha [mM].
    tail_rate_per_min : beta [1/min].
    sigmoid_rate_per_min, sigmoid_centre_min : s [1/min] and tau [min].

    References
    ----------
    Parker GJM et al. Experimentally-derived functional form for a population-averaged high-temporal-resolution
    arterial input function. Magn Reson Med 2006;56:993-1000, eq. 1 and table 1.
    """

    arrival_s: float = 0.0
    dose_mmol_per_kg: float = _PARKER_DOSE_MMOL_PER_KG
    haematocrit: float = 0.42
    first_area_millimolar_min: float = 0.809
    second_area_millimolar_min: float = 0.330
    first_centre_min: float = 0.17046
    second_centre_min: float = 0.365
    first_width_min: float = 0.0563
    second_width_min: float = 0.132
    tail_millimolar: float = 1.050
    tail_rate_per_min: float = 0.1685
    sigmoid_rate_per_min: float = 38.078
    sigmoid_centre_min: float = 0.483

    def __post_init__(self) -> None:
        check_range("bolus arrival", self.arrival_s, unit="s")
        check_range("contrast dose", self.dose_mmol_per_kg, unit="mmol/kg")
        check_range("haematocrit", self.haematocrit, high=0.95)
        for field in ("first_width_min", "second_width_min", "sigmoid_rate_per_min"):
            check_range(field, getattr(self, field), above=True)

    def blood_millimolar(self, time_s: Tensor) -> Tensor:
        """Return the concentration in whole blood [mM] at times [s], same shape."""
        minutes = (time_s - self.arrival_s) / _SECONDS_PER_MINUTE
        after = minutes.clamp(min=0.0)
        blood = (
            self.tail_millimolar
            * torch.exp(-self.tail_rate_per_min * after)
            * torch.sigmoid(self.sigmoid_rate_per_min * (after - self.sigmoid_centre_min))
        )
        for area, centre, width in (
            (self.first_area_millimolar_min, self.first_centre_min, self.first_width_min),
            (self.second_area_millimolar_min, self.second_centre_min, self.second_width_min),
        ):
            peak = area / (width * math.sqrt(2 * math.pi))
            blood = blood + peak * torch.exp(-(((after - centre) / width) ** 2) / 2)
        dose = self.dose_mmol_per_kg / _PARKER_DOSE_MMOL_PER_KG
        return torch.where(minutes < 0, torch.zeros_like(blood), blood) * dose

    def plasma_millimolar(self, time_s: Tensor) -> Tensor:
        """Return the concentration in plasma [mM], ``Cb / (1 - haematocrit)``, at times [s], same shape."""
        return self.blood_millimolar(time_s) / (1 - self.haematocrit)


def _check_frames(time_s: Tensor) -> None:
    if time_s.ndim != 1 or time_s.numel() == 0 or not bool((time_s.diff() > 0).all()):
        raise ScanwiseError(
            f"frame times must be one ascending row of at least one number, but have shape {tuple(time_s.shape)}"
            if time_s.ndim != 1 or time_s.numel() == 0
            else f"frame times must ascend, but got {[round(float(t), 3) for t in time_s[:8]]}"
        )
    check_range("frame time", time_s, unit="s")


def blood_residue(*, kep_per_s: Tensor, time_s: Tensor, aif: ParkerAif, step_s: float = _STEP_S) -> Tensor:
    """Return plasma convolved with exponential washout, ``H(t) = integral_0^t Cp(u) exp(-kep (t - u)) du`` [mM s].

    Between frames the integral is carried along on a grid of steps h of at most `step_s`, by Simpson's rule:
    ``H(t + h) = E H(t) + h/6 [E Cp(t) + 4 sqrt(E) Cp(t + h/2) + Cp(t + h)]`` with ``E = exp(-kep h)``. Blood is smooth
    after the arrival of the bolus, where the grid begins, so the error falls with the fourth power of the step.

    Parameters
    ----------
    kep_per_s : washout rate [1/s], shape ``(...)``.
    time_s : ascending frame times on the clock of the scan [s], shape ``(frames,)``.
    aif : the arterial input.
    step_s : longest step [s].

    Returns
    -------
    Shape ``(..., frames)``, differentiable in `kep_per_s`.
    """
    check_range("kep", kep_per_s, unit="1/s")
    check_range("step", step_s, above=True, unit="s")
    _check_frames(time_s)
    total = torch.zeros_like(kep_per_s)
    frames = []
    now = aif.arrival_s
    for frame in time_s.detach().to("cpu", torch.float64).tolist():
        n_steps = max(0, math.ceil((frame - now) / step_s))
        if n_steps:
            h = (frame - now) / n_steps
            grid = now + torch.arange(2 * n_steps + 1, dtype=torch.float64) * (h / 2)
            # a bolus that arrives at `now` must not be lost to rounding
            plasma = aif.plasma_millimolar(grid.clamp(min=aif.arrival_s)).tolist()
            root = torch.exp(-kep_per_s * (h / 2))
            whole = root.square()
            middle = root * (4 * h / 6)
            for step in range(n_steps):
                begin, half, end = plasma[2 * step : 2 * step + 3]
                total = whole * (total + begin * h / 6) + half * middle + end * h / 6
            now = frame
        frames.append(total)
    return torch.stack(frames, dim=-1)


_EXAMPLE_TIME_S = torch.tensor([0.0, 7.0, 14.5, 22.0, 40.0, 75.0, 150.0], dtype=torch.float64)
_KINETICS = {"ktrans_per_s": (0.001, 0.01), "ve": (0.15, 0.5), "vp": (0.005, 0.1)}


@register_signal_equation(
    ranges=_KINETICS, settings={"time_s": _EXAMPLE_TIME_S, "aif": ParkerAif(arrival_s=5.0)}, appends="frames"
)
def extended_tofts(
    *, ktrans_per_s: Tensor, ve: Tensor, vp: Tensor, time_s: Tensor, aif: ParkerAif, step_s: float = _STEP_S
) -> Tensor:
    """Return the contrast concentration in tissue.

    ``Ct(t) = vp Cp(t) + Ktrans integral_0^t Cp(u) exp(-(Ktrans / ve) (t - u)) du``

    Parameters
    ----------
    ktrans_per_s : transfer constant [1/s]; divide 1/min by 60. Shape ``(...)``: voxels, tissues or a grid.
    ve : volume share of extravascular extracellular space, in (0, 1], same shape.
    vp : volume share of plasma, in [0, 1), same shape.
    time_s : ascending frame times [s], shape ``(frames,)``.
    aif : the arterial input.
    step_s : longest step of the convolution, see `blood_residue` [s].

    Returns
    -------
    Concentration [mM], shape ``(..., frames)``; differentiable in the kinetic parameters.

    Raises
    ------
    ScanwiseError
        If a parameter is out of range, ``ve + vp > 1``, or the times do not ascend.

    References
    ----------
    Tofts PS et al. J Magn Reson Imaging 1999;10:223-232, eq. 13, with the plasma term of Tofts PS. JMRI 1997;7:91-101.
    """
    ktrans_per_s, ve, vp = _check_kinetics(ktrans_per_s, ve, vp)
    residue = blood_residue(kep_per_s=ktrans_per_s / ve, time_s=time_s, aif=aif, step_s=step_s)
    plasma = aif.plasma_millimolar(time_s.to(torch.float64)).to(ktrans_per_s)
    return vp.unsqueeze(-1) * plasma + ktrans_per_s.unsqueeze(-1) * residue


def _check_kinetics(ktrans_per_s: Tensor, ve: Tensor, vp: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    check_range("Ktrans", ktrans_per_s, unit="1/s")
    check_range("ve", ve, high=1.0, above=True)
    check_range("vp", vp, high=1.0)
    check_not_above("ve + vp", ve + vp, "1", 1.0, hint="they are shares of the volume of tissue")
    ktrans_per_s, ve, vp = torch.broadcast_tensors(ktrans_per_s, ve, vp)
    return ktrans_per_s, ve, vp


@dataclass(frozen=True, eq=False)
class ToftsTable:
    """Extended Tofts for whole images: the convolution depends on kep alone, so it is done once on a grid of kep.

    Parameters
    ----------
    plasma_millimolar : plasma concentration in the frames [mM], shape ``(frames,)``.
    residue_millimolar_s : `blood_residue` on the grid [mM s], shape ``(rows, frames)``.
    low_per_s, high_per_s : ends of the grid of kep, equidistant in its logarithm [1/s].
    """

    plasma_millimolar: Tensor
    residue_millimolar_s: Tensor
    low_per_s: float
    high_per_s: float

    @classmethod
    def build(
        cls,
        *,
        time_s: Tensor,
        aif: ParkerAif,
        low_per_s: float = 1e-4,
        high_per_s: float = 0.5,
        rows: int = _TABLE_ROWS,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> ToftsTable:
        """Convolve on a grid of kep; frame times as in `extended_tofts`."""
        check_range("smallest kep of the table", low_per_s, above=True, unit="1/s")
        if not (low_per_s < high_per_s and rows >= 2):
            raise ScanwiseError(
                f"a table needs low < high and two rows, but got {low_per_s=:g}, {high_per_s=:g} and {rows=}"
            )
        kep = torch.logspace(math.log10(low_per_s), math.log10(high_per_s), rows, dtype=torch.float64)
        residue = blood_residue(kep_per_s=kep, time_s=time_s, aif=aif)
        plasma = aif.plasma_millimolar(time_s.to("cpu", torch.float64))
        # before the bolus both are so small that arithmetic with them is many times slower
        plasma, residue = (torch.where(values < _NOTHING, 0.0, values) for values in (plasma, residue))
        return cls(plasma.to(device, dtype), residue.to(device, dtype), low_per_s, high_per_s)

    def concentration_millimolar(self, *, ktrans_per_s: Tensor, ve: Tensor, vp: Tensor) -> Tensor:
        """Return the concentration in tissue as `extended_tofts` does, ``(...)`` to ``(..., frames)`` [mM].

        Linear in the logarithm of kep between rows, and differentiable. Where Ktrans is zero, kep does not matter.

        Raises
        ------
        ScanwiseError
            If a parameter is out of range or kep is not covered by the table.
        """
        ktrans_per_s, ve, vp = _check_kinetics(ktrans_per_s, ve, vp)
        kep = torch.where(ktrans_per_s > 0, ktrans_per_s / ve, torch.full_like(ve, self.low_per_s))
        check_range(
            "kep = Ktrans / ve",
            kep,
            low=self.low_per_s * (1 - _KEP_ROUNDING),
            high=self.high_per_s * (1 + _KEP_ROUNDING),
            unit="1/s",
            hint="build the table for a wider range of kep",
        )
        rows = len(self.residue_millimolar_s)
        position = torch.log(kep / self.low_per_s) * ((rows - 1) / math.log(self.high_per_s / self.low_per_s))
        row = position.detach().floor().clamp(0, rows - 2).long()
        share = (position - row).unsqueeze(-1)
        table = self.residue_millimolar_s.to(ktrans_per_s.dtype)
        residue = torch.lerp(table[row], table[row + 1], share)
        plasma = self.plasma_millimolar.to(ktrans_per_s.dtype)
        return torch.addcmul(vp.unsqueeze(-1) * plasma, ktrans_per_s.unsqueeze(-1), residue)


@register_signal_equation(
    ranges={"native_s": (0.8, 2.5), "concentration_millimolar": (0.0, 4.0)},
    settings={"relaxivity_per_millimolar_s": 4.5},
)
def relaxation_with_contrast_s(
    *, native_s: Tensor, concentration_millimolar: Tensor, relaxivity_per_millimolar_s: Value
) -> Tensor:
    """Return the relaxation time with contrast agent, ``1 / T = 1 / T_native + r C`` [s]; for T1, T2 and T2* alike.

    Parameters
    ----------
    native_s : relaxation time without the agent [s].
    concentration_millimolar : of the agent [mM].
    relaxivity_per_millimolar_s : r1 for T1, r2 or r2* for the others [1/(mM s)]; r1 is 3.5 to 5 at 3 T.

    Raises
    ------
    ScanwiseError
        If the time is not above zero, or the concentration or relaxivity is negative.

    References
    ----------
    Tofts 1997, eq. 3 (fast exchange).
    """
    check_range("relaxation time", native_s, high=LONGEST_T1_S, above=True, unit="s")
    check_range("concentration", concentration_millimolar, unit="mM")
    check_range("relaxivity", relaxivity_per_millimolar_s, unit="1/(mM s)")
    return native_s / (1 + native_s * relaxivity_per_millimolar_s * concentration_millimolar)


@register_signal_equation(
    ranges={
        "proton_density": (0.5, 1.0),
        "t1_s": (0.8, 2.5),
        "t2star_s": (0.01, 0.06),
        "concentration_millimolar": (0.0, 4.0),
    },
    settings={
        "r1_per_millimolar_s": 4.5,
        "r2star_per_millimolar_s": 5.5,
        "flip_angle_rad": 0.2,
        "repetition_time_s": 0.005,
        "echo_time_s": 0.002,
    },
)
def contrast_enhanced_signal(
    *,
    proton_density: Tensor,
    t1_s: Tensor,
    t2star_s: Tensor,
    concentration_millimolar: Tensor,
    r1_per_millimolar_s: Value,
    r2star_per_millimolar_s: Value,
    flip_angle_rad: Value,
    repetition_time_s: Value,
    echo_time_s: Value,
) -> Tensor:
    """Return the spoiled gradient-echo signal at a contrast concentration: concentration, relaxation, signal.

    `spoiled_gradient_echo` with the times of `relaxation_with_contrast_s`, for T1 with r1 and for T2* with r2*. Maps
    broadcast against the concentration: give ``(patients, y, x, 1)`` with a concentration of
    ``(patients, y, x, frames)``.

    Parameters
    ----------
    proton_density : relative to water.
    t1_s, t2star_s : without the agent [s].
    concentration_millimolar : of the agent in tissue [mM].
    r1_per_millimolar_s, r2star_per_millimolar_s : relaxivities [1/(mM s)].
    flip_angle_rad, repetition_time_s, echo_time_s : of the spoiled gradient echo [rad, s, s].

    Raises
    ------
    ScanwiseError
        As the equations it is made of.
    """
    check_not_above("T2*", t2star_s, "T1", t1_s, unit="s", hint="no tissue loses phase more slowly than it recovers")
    check_tissue(proton_density=proton_density, t1_s=t1_s, t2_s=t2star_s, t2_name="T2*")
    check_timing(repetition_time_s=repetition_time_s, echo_time_s=echo_time_s)
    check_flip_angle(flip_angle_rad)
    check_range("concentration", concentration_millimolar, unit="mM")
    for relaxivity in (r1_per_millimolar_s, r2star_per_millimolar_s):
        check_range("relaxivity", relaxivity, unit="1/(mM s)")
    angle = like(flip_angle_rad, t1_s)
    # in rates, 1/T + r C, so that the frames are gone through a few times only; E1 - 1 without cancellation at short TR
    gained = torch.expm1(
        -repetition_time_s / t1_s - (repetition_time_s * r1_per_millimolar_s) * concentration_millimolar
    )
    decay = torch.exp(-echo_time_s / t2star_s - (echo_time_s * r2star_per_millimolar_s) * concentration_millimolar)
    steady = gained / ((1 - torch.cos(angle)) - torch.cos(angle) * gained)
    return (-proton_density * torch.sin(angle)) * (steady * decay)
