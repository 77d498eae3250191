"""What scans after contrast agent share: from kinetic maps to the concentration in tissue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from scanwise.physics import ParkerAif, ToftsTable

KINETIC_MAPS = ("ktrans_per_s", "ve", "vp")
"""Tissue maps that the concentration depends on."""
_SLOWEST_PER_S = 1e-6
_FASTEST_PER_S = 1.0
"""Range of kep that is tabulated; Ktrans below its lower end lets nothing in during a scan."""
_ROWS = 1024


def kinetic_table(time_s: Sequence[float], *, arrival_s: float, dose_mmol_per_kg: float) -> ToftsTable:
    """Return extended Tofts for frame times, with the arterial input of a population (Parker 2006)."""
    return _table(tuple(float(time) for time in time_s), float(arrival_s), float(dose_mmol_per_kg))


@lru_cache(maxsize=16)
def _table(time_s: tuple[float, ...], arrival_s: float, dose_mmol_per_kg: float) -> ToftsTable:
    return ToftsTable.build(
        time_s=torch.tensor(time_s, dtype=torch.float64),
        aif=ParkerAif(arrival_s=arrival_s, dose_mmol_per_kg=dose_mmol_per_kg),
        low_per_s=_SLOWEST_PER_S,
        high_per_s=_FASTEST_PER_S,
        rows=_ROWS,
    )


def contrast_millimolar(table: ToftsTable, tissue: Mapping[str, Tensor], arterial_scale: Tensor) -> Tensor:
    """Return the concentration in tissue [mM], shape ``(patients, y, x, frames)``; linear in what arrives by blood."""
    ktrans = tissue["ktrans_per_s"]
    agent = table.concentration_millimolar(
        ktrans_per_s=torch.where(ktrans < _SLOWEST_PER_S, 0.0, ktrans), ve=tissue["ve"], vp=tissue["vp"]
    )
    return agent * arterial_scale[..., None]


def t2star_s(t2_s: Tensor, r2_prime_per_s: float) -> Tensor:
    """Return T2* [s], ``1 / (1 / T2 + R2')``, where an inhomogeneous field adds R2' to the rate of decay."""
    return t2_s / (1 + t2_s * r2_prime_per_s)
