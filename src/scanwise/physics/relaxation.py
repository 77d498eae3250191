"""Signals of sequences that relaxation governs: spin echo, spoiled and balanced gradient echo, inversion recovery.

Every function is element-wise: tissue maps of any shape that broadcast, settings as numbers or tensors that broadcast
too. Times are in seconds, angles in radians, and the signal is in units of the proton density.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

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

_SOFT_TISSUE = {"proton_density": (0.5, 1.0), "t1_s": (0.8, 2.5), "t2_s": (0.04, 0.3)}


@register_signal_equation(ranges=_SOFT_TISSUE, settings={"repetition_time_s": 2.4, "echo_time_s": 0.08})
def spin_echo(
    *, proton_density: Tensor, t1_s: Tensor, t2_s: Tensor, repetition_time_s: Value, echo_time_s: Value
) -> Tensor:
    """Return the signal of a spin echo with a 90 degree excitation.

    ``S = PD (1 - exp(-TR / T1)) exp(-TE / T2)``

    Parameters
    ----------
    proton_density : relative to water.
    t1_s, t2_s : relaxation times [s].
    repetition_time_s, echo_time_s : TR and TE [s].

    Raises
    ------
    ScanwiseError
        If the proton density is negative, a time is not above zero, T2 > T1, or TE > TR.

    References
    ----------
    Bernstein 2004, section 14.3, for TE << TR.
    """
    check_tissue(proton_density=proton_density, t1_s=t1_s, t2_s=t2_s)
    check_timing(repetition_time_s=repetition_time_s, echo_time_s=echo_time_s)
    return proton_density * -torch.expm1(-repetition_time_s / t1_s) * torch.exp(-echo_time_s / t2_s)


@register_signal_equation(
    ranges={"proton_density": (0.5, 1.0), "t1_s": (0.3, 2.5), "t2star_s": (0.01, 0.06)},
    settings={"flip_angle_rad": 0.2, "repetition_time_s": 0.005, "echo_time_s": 0.002},
)
def spoiled_gradient_echo(
    *,
    proton_density: Tensor,
    t1_s: Tensor,
    t2star_s: Tensor,
    flip_angle_rad: Value,
    repetition_time_s: Value,
    echo_time_s: Value,
) -> Tensor:
    """Return the steady state of a spoiled gradient echo (SPGR, FLASH).

    ``S = PD sin(a) (1 - E1) / (1 - cos(a) E1) exp(-TE / T2*)`` with ``E1 = exp(-TR / T1)``

    Parameters
    ----------
    proton_density : relative to water.
    t1_s, t2star_s : T1 and T2* [s].
    flip_angle_rad : excitation angle a, in (0, pi] [rad].
    repetition_time_s, echo_time_s : TR and TE [s].

    Raises
    ------
    ScanwiseError
        If the proton density is negative, a time is not above zero, T2* > T1, TE > TR, or the angle is out of range.

    References
    ----------
    Haase A et al. FLASH imaging. J Magn Reson 1986;67:258-266; Bernstein 2004, eq. 14.7.
    """
    check_tissue(proton_density=proton_density, t1_s=t1_s, t2_s=t2star_s, t2_name="T2*")
    check_timing(repetition_time_s=repetition_time_s, echo_time_s=echo_time_s)
    check_flip_angle(flip_angle_rad)
    angle = like(flip_angle_rad, t1_s)
    lost = -torch.expm1(-repetition_time_s / t1_s)  # 1 - E1 without cancellation at short TR
    steady = torch.sin(angle) * lost / (1 - torch.cos(angle) * (1 - lost))
    return proton_density * steady * torch.exp(-echo_time_s / t2star_s)


def ernst_angle_rad(*, t1_s: Tensor, repetition_time_s: Value) -> Tensor:
    """Return the flip angle of largest spoiled gradient-echo signal, ``acos(exp(-TR / T1))`` [rad].

    References
    ----------
    Ernst RR, Anderson WA. Rev Sci Instrum 1966;37:93-102.
    """
    check_range("T1", t1_s, high=LONGEST_T1_S, above=True, unit="s")
    check_range("TR", repetition_time_s, above=True, unit="s")
    return torch.acos(torch.exp(-repetition_time_s / t1_s))


@register_signal_equation(
    ranges=_SOFT_TISSUE, settings={"inversion_time_s": 2.2, "repetition_time_s": 9.0, "echo_time_s": 0.12}
)
def inversion_recovery(
    *,
    proton_density: Tensor,
    t1_s: Tensor,
    t2_s: Tensor,
    inversion_time_s: Value,
    repetition_time_s: Value,
    echo_time_s: Value,
    signed: bool = False,
) -> Tensor:
    """Return the signal of an inversion recovery with spin-echo readout; FLAIR where TI nulls the fluid.

    ``S = PD |1 - 2 exp(-TI / T1) + exp(-TR / T1)| exp(-TE / T2)``

    Parameters
    ----------
    proton_density : relative to water.
    t1_s, t2_s : relaxation times [s].
    inversion_time_s : TI, see `null_inversion_time_s` [s].
    repetition_time_s, echo_time_s : TR and TE [s].
    signed : keep the sign of the longitudinal magnetisation, as a phase-sensitive reconstruction does.

    Raises
    ------
    ScanwiseError
        If the proton density is negative, a time is not above zero, T2 > T1, TE > TR, or TI + TE > TR.

    References
    ----------
    Bernstein 2004, section 14.2; De Coene B et al. FLAIR. AJNR 1992;13:1555-1564.
    """
    check_tissue(proton_density=proton_density, t1_s=t1_s, t2_s=t2_s)
    check_timing(repetition_time_s=repetition_time_s, echo_time_s=echo_time_s)
    check_range("TI", inversion_time_s, above=True, unit="s")
    check_not_above(
        "TI + TE", inversion_time_s + echo_time_s, "TR", repetition_time_s, unit="s", hint="lengthen TR or shorten TI"
    )
    longitudinal = 1 - 2 * torch.exp(-inversion_time_s / t1_s) + torch.exp(-repetition_time_s / t1_s)
    seen = longitudinal if signed else longitudinal.abs()
    return proton_density * seen * torch.exp(-echo_time_s / t2_s)


def null_inversion_time_s(*, t1_s: Value, repetition_time_s: Value) -> Tensor:
    """Return the inversion time that nulls a T1, ``TI = T1 [ln 2 - ln(1 + exp(-TR / T1))]`` [s]; for FLAIR that of CSF.

    References
    ----------
    The zero of the equation of `inversion_recovery`.
    """
    check_range("T1", t1_s, high=LONGEST_T1_S, above=True, unit="s")
    check_range("TR", repetition_time_s, above=True, unit="s")
    t1 = torch.as_tensor(t1_s)
    return t1 * (math.log(2) - torch.log1p(torch.exp(-repetition_time_s / t1)))


@register_signal_equation(
    ranges=_SOFT_TISSUE, settings={"flip_angle_rad": 0.9, "repetition_time_s": 0.004, "echo_time_s": 0.002}
)
def balanced_ssfp(
    *,
    proton_density: Tensor,
    t1_s: Tensor,
    t2_s: Tensor,
    flip_angle_rad: Value,
    repetition_time_s: Value,
    echo_time_s: Value,
) -> Tensor:
    """Return the steady state of balanced SSFP, on resonance with alternating phase.

    ``S = PD sin(a) (1 - E1) exp(-TE / T2) / (1 - (E1 - E2) cos(a) - E1 E2)`` with ``E1,2 = exp(-TR / T1,2)``

    Parameters
    ----------
    proton_density : relative to water.
    t1_s, t2_s : relaxation times [s].
    flip_angle_rad : excitation angle a, in (0, pi] [rad].
    repetition_time_s, echo_time_s : TR and TE, usually TR / 2 [s].

    Raises
    ------
    ScanwiseError
        If the proton density is negative, a time is not above zero, T2 > T1, TE > TR, or the angle is out of range.

    References
    ----------
    Scheffler K, Lehnhardt S. Eur Radiol 2003;13:2409-2418, eq. 1 with the echo at TE.
    """
    check_tissue(proton_density=proton_density, t1_s=t1_s, t2_s=t2_s)
    check_timing(repetition_time_s=repetition_time_s, echo_time_s=echo_time_s)
    check_flip_angle(flip_angle_rad)
    angle = like(flip_angle_rad, t1_s)
    lost1, lost2 = -torch.expm1(-repetition_time_s / t1_s), -torch.expm1(-repetition_time_s / t2_s)
    # 1 - (E1 - E2) cos(a) - E1 E2, written in 1 - E1 and 1 - E2 because both are tiny
    divisor = lost1 + lost2 - lost1 * lost2 - (lost2 - lost1) * torch.cos(angle)
    return proton_density * torch.sin(angle) * lost1 * torch.exp(-echo_time_s / t2_s) / divisor
