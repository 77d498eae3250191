"""Diffusion weighting: mono-exponential decay, and kurtosis at high b-values."""

from __future__ import annotations

import torch
from torch import Tensor

from scanwise.physics._check import LARGEST_ADC_MM2_PER_S, Value, check_not_above, check_range
from scanwise.physics.registry import register_signal_equation


@register_signal_equation(
    ranges={"unweighted": (0.1, 1.0), "adc_mm2_per_s": (0.0004, 0.003)}, settings={"b_s_per_mm2": 800.0}
)
def diffusion_weighting(*, unweighted: Tensor, adc_mm2_per_s: Tensor, b_s_per_mm2: Value) -> Tensor:
    """Return the mono-exponential signal of a b-value.

    ``S(b) = S0 exp(-b ADC)``; S0 from `spin_echo` at the echo time of the sequence keeps the T2 shine-through.

    Parameters
    ----------
    unweighted : signal S0 without diffusion weighting, not negative.
    adc_mm2_per_s : apparent diffusion coefficient [mm^2/s], not 10^-3 mm^2/s.
    b_s_per_mm2 : b-value [s/mm^2]; a tensor that broadcasts gives several at once.

    Raises
    ------
    ScanwiseError
        If S0, the ADC or the b-value is negative, or the ADC was given in 10^-3 mm^2/s.

    References
    ----------
    Stejskal EO, Tanner JE. J Chem Phys 1965;42:288-292; Le Bihan D et al. Radiology 1986;161:401-407.
    """
    check_range("S0", unweighted)
    _check_diffusion("ADC", adc_mm2_per_s, b_s_per_mm2)
    return unweighted * torch.exp(-b_s_per_mm2 * adc_mm2_per_s)


@register_signal_equation(
    ranges={"unweighted": (0.1, 1.0), "diffusivity_mm2_per_s": (0.0004, 0.0015), "kurtosis": (0.2, 1.0)},
    settings={"b_s_per_mm2": 1400.0},
)
def diffusion_kurtosis(
    *, unweighted: Tensor, diffusivity_mm2_per_s: Tensor, kurtosis: Tensor, b_s_per_mm2: Value
) -> Tensor:
    """Return the signal of a b-value where diffusion is not Gaussian.

    ``S(b) = S0 exp(-b D + b^2 D^2 K / 6)``, an expansion that holds while the signal falls, up to ``b = 3 / (D K)``.

    Parameters
    ----------
    unweighted : signal S0 without diffusion weighting, not negative.
    diffusivity_mm2_per_s : D, the decay at small b [mm^2/s].
    kurtosis : K, not negative, no unit; 0 is mono-exponential.
    b_s_per_mm2 : b-value [s/mm^2]; a tensor that broadcasts gives several at once.

    Raises
    ------
    ScanwiseError
        If a value is negative, D was given in 10^-3 mm^2/s, or ``b D K > 3``, where the model would rise again.

    References
    ----------
    Jensen JH et al. Diffusional kurtosis imaging. Magn Reson Med 2005;53:1432-1440, eq. 4.
    """
    check_range("S0", unweighted)
    _check_diffusion("D", diffusivity_mm2_per_s, b_s_per_mm2)
    check_range("kurtosis", kurtosis)
    exponent = b_s_per_mm2 * diffusivity_mm2_per_s
    check_not_above(
        "b D K",
        exponent * kurtosis,
        "3",
        3.0,
        hint="beyond b = 3 / (D K) the model is not valid; use a smaller b-value",
    )
    return unweighted * torch.exp(-exponent + exponent.square() * kurtosis / 6)


def _check_diffusion(name: str, diffusivity_mm2_per_s: Tensor, b_s_per_mm2: Value) -> None:
    check_range(
        name,
        diffusivity_mm2_per_s,
        high=LARGEST_ADC_MM2_PER_S,
        unit="mm^2/s",
        hint=f"{name} is in mm^2/s: 0.001 for 1.0 x 10^-3 mm^2/s",
    )
    check_range("b-value", b_s_per_mm2, unit="s/mm^2")
