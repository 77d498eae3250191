"""Sampling schemes for shots at an angle: spokes of k-space, and views of a tomograph (``what["angle_rad"]``)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from scanwise.design._thinning import LARGE_ACCELERATION, ThinningScheme
from scanwise.design.scheme import Parameter, Setting, register_scheme
from scanwise.design.shot_kinds import GOLDEN_ANGLE_RAD, SPOKES, VIEWS
from scanwise.design.shots import ShotTable

_DIGITS = 9
"""Angles that agree to that many digits are the same [rad]."""


@register_scheme
class GoldenAngle(ThinningScheme):
    """Spokes through the centre of k-space, each turned by 111.25 degrees from the one before.

    However many are taken, they are spread nearly evenly, and so is any run of successive ones: the series can be cut
    into frames afterwards. Each spoke takes what is nearest to its angle and still free, so on a table in golden-angle
    order these are the first ones. Every acquisition is part of each longer one.

    References
    ----------
    Winkelmann S, Schaeffter T, Koehler T et al. An optimal radial profile order based on the golden ratio for
    time-resolved MRI. IEEE Trans Med Imaging 2007;26:68-76.
    """

    name = "golden_angle"
    kind = SPOKES
    searched = (LARGE_ACCELERATION,)

    def _taken(self, shots: ShotTable, length: int, setting: Setting) -> NDArray[np.int64]:
        angle = _angle(shots)
        taken = np.empty(length, dtype=np.int64)
        free = np.ones(len(shots), dtype=bool)
        for spoke in range(length):
            apart = np.abs((angle - spoke * GOLDEN_ANGLE_RAD + math.pi / 2) % math.pi - math.pi / 2)
            taken[spoke] = np.argmin(np.where(free, apart.round(_DIGITS), np.inf))
            free[taken[spoke]] = False
        return taken


@register_scheme
class SparseViews(ThinningScheme):
    """Every k-th view of a tomograph, k the acceleration: the dose falls by k, thin streaks appear.

    Where k is no whole number, or does not divide the number of views, they are spread as evenly as whole numbers
    allow.

    References
    ----------
    Sidky EY, Pan X. Image reconstruction in circular cone-beam computed tomography by constrained, total-variation
    minimization. Phys Med Biol 2008;53:4777-4807.
    """

    name = "sparse_views"
    kind = VIEWS
    searched = (LARGE_ACCELERATION,)

    def _taken(self, shots: ShotTable, length: int, setting: Setting) -> NDArray[np.int64]:
        order = np.argsort(_angle(shots), kind="stable")
        return order[np.arange(length) * len(shots) // length]


@register_scheme
class LimitedAngle(ThinningScheme):
    """Neighbouring views of a tomograph: a tube that turns only part of the way, as in tomosynthesis or a C-arm.

    Takes ``ceil(fraction * views)`` views in the order of their angle from `start` on, in turns; from 0 on these are
    the first n views of a rotation. What is tangential to no view that is taken gets lost.

    References
    ----------
    Davison ME. The ill-conditioned nature of the limited angle tomography problem. SIAM J Appl Math 1983;43:428-448.
    """

    name = "limited_angle"
    kind = VIEWS
    searched = (Parameter("fraction", low=0.125, high=1.0), Parameter("start", low=0.0, high=1.0, unit="turns"))

    def _taken(self, shots: ShotTable, length: int, setting: Setting) -> NDArray[np.int64]:
        angle = _angle(shots)
        order = np.argsort(angle, kind="stable")
        first = int(np.searchsorted(angle[order], round(float(setting["start"]) * 2 * math.pi, _DIGITS)))
        return order[(first + np.arange(length)) % len(shots)]


def _angle(shots: ShotTable) -> NDArray[np.float64]:
    """Return angles in ``[0, 2 pi)``, rounded so that a whole turn is none, shape ``(shots,)`` [rad]."""
    angle: NDArray[np.float64] = np.asarray(shots.what["angle_rad"]).astype(np.float64).round(_DIGITS)
    return angle % round(2 * math.pi, _DIGITS)
