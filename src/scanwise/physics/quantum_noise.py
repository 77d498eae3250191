"""Noise of X-ray transmission: counted photons and the electronics of the detector, after the logarithm."""

from __future__ import annotations

import torch
from torch import Tensor

from scanwise.physics._check import Value, check_range, like

FEWEST_PHOTONS = 1.0
"""A ray through which fewer photons come is recorded as this many: its logarithm must exist."""


def transmitted_photons(line_integral: Tensor, *, photons: Value) -> Tensor:
    """Return the mean number of photons behind the object, ``N = N0 exp(-p)``, at least `FEWEST_PHOTONS`.

    Parameters
    ----------
    line_integral : p, without unit.
    photons : N0, photons per ray in air: proportional to the tube output (mAs) of the view; broadcasts.

    References
    ----------
    Kak AC, Slaney M. Principles of Computerized Tomographic Imaging. IEEE Press 1988, chapter 4.
    """
    check_range("photons per ray", photons, above=True)
    return (like(photons, line_integral) * torch.exp(-line_integral)).clamp(min=FEWEST_PHOTONS)


def projection_sd(line_integral: Tensor, *, photons: Value, electronic_photons: Value = 0.0) -> Tensor:
    """Return the standard deviation of a measured line integral, without unit.

    A detector reads ``Poisson(N) + Normal(0, s)`` and reports ``ln N0 - ln reading``. To first order its variance is
    ``1 / N + s^2 / N^2``: Poisson noise in the logarithm, and the floor of the electronics that takes over where few
    photons come through. The first order is good to a few per cent where N is 30 or more and well above s.

    Parameters
    ----------
    line_integral : p, without unit.
    photons : N0, photons per ray in air; broadcasts.
    electronic_photons : s, noise of one reading, in photons.

    References
    ----------
    Yu L, Shiung M, Jondal D, McCollough CH. Development and validation of a practical lower-dose-simulation tool for
    optimizing computed tomography scan protocols. J Comput Assist Tomogr 2012;36:477-487.
    Zeng D, Huang J, Bian Z et al. A simple low-dose x-ray CT simulation from high-dose scan. IEEE Trans Nucl Sci
    2015;62:2226-2233.
    """
    check_range("electronic noise", electronic_photons, unit="photons")
    behind = transmitted_photons(line_integral, photons=photons)
    return (1 / behind + (like(electronic_photons, line_integral) / behind).square()).sqrt()


def add_quantum_noise(
    line_integral: Tensor, *, photons: Value, electronic_photons: Value = 0.0, noise: Tensor
) -> Tensor:
    """Return measured line integrals: Gaussian noise of the right variance in the logarithm (`projection_sd`).

    Counts themselves are not drawn, so that the result has gradients in the tube output, and the same ray has the same
    `noise` at any output. The bias of the logarithm of few photons is left out.

    Parameters
    ----------
    line_integral : p, without unit.
    photons, electronic_photons : see `projection_sd`.
    noise : standard normal numbers, of the shape of the result.
    """
    behind = transmitted_photons(line_integral, photons=photons)
    seen = torch.log(like(photons, line_integral) / behind)
    return seen + noise * projection_sd(line_integral, photons=photons, electronic_photons=electronic_photons)


def counted_projections(
    line_integral: Tensor, *, photons: Value, electronic_photons: Value = 0.0, generator: torch.Generator
) -> Tensor:
    """Return measured line integrals from drawn counts, ``ln N0 - ln max(Poisson(N) + Normal(0, s), 1)``.

    What `add_quantum_noise` approximates; it has no gradients.

    Parameters
    ----------
    line_integral : p, without unit.
    photons, electronic_photons : see `projection_sd`.
    generator : source of noise.
    """
    check_range("electronic noise", electronic_photons, unit="photons")
    check_range("photons per ray", photons, above=True)
    air = like(photons, line_integral)
    counted = torch.poisson(air * torch.exp(-line_integral), generator=generator)
    electronic = torch.randn(counted.shape, dtype=counted.dtype, generator=generator) * like(
        electronic_photons, line_integral
    )
    return torch.log(air / (counted + electronic).clamp(min=FEWEST_PHOTONS))
