"""Sampling schemes for shots at an angle: spokes of k-space, and views of a tomograph (``what["angle_rad"]``)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from scanwise.design._thinning import LARGE_ACCELERATION, ThinningScheme
from scanwise.design.scheme import Parameter, Setting, Value, register_scheme
from scanwise.design.shot_kinds import GOLDEN_ANGLE_RAD, SPOKES, VIEWS
from scanwise.design.shots import ShotTable

_DIGITS = 9
"""Angles that agree to that many digits are the same [rad]."""
_OUTPUT_FACTORS = (1.0, 0.5, 0.25)
"""Tube output on the exact lattice, relative to what is usual."""


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
        return _golden_order(shots, length)


class _ViewScheme(ThinningScheme):
    """Views of a tomograph, all of them at one tube output.

    Where a table lets views be taken at several outputs (`ShotTable.max_count` above 1), `output` says at which: counts
    are multiples of the lowest one. Half the output is half the dose.
    """

    kind = VIEWS

    def parameters(self, shots: ShotTable) -> tuple[Parameter, ...]:
        """Return the parameters of the family, and the tube output where the table leaves a choice."""
        most = int(shots.max_count.min())
        if most == 1:
            return self.searched
        return (*self.searched, Parameter("output", low=1, high=most, integer=True))

    def _values(self, name: str, shots: ShotTable) -> tuple[Value, ...]:
        """Return the usual output, a half and a quarter of it; for other parameters what is usual for them.

        The usual output is ``what["standard"]`` of the table or, where it has none, the highest.
        """
        if name != "output":
            return super()._values(name, shots)
        most = int(shots.max_count.min())
        usual = int(np.asarray(shots.what.get("standard", shots.max_count)).max())
        return tuple(dict.fromkeys(min(max(math.floor(part * usual + 0.5), 1), most) for part in _OUTPUT_FACTORS))

    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        return super()._counts(shots, setting) * int(setting.get("output", 1))


@register_scheme
class SparseViews(_ViewScheme):
    """Every k-th view of a tomograph, k the acceleration: the dose falls by k, thin streaks appear.

    Where k is no whole number, or does not divide the number of views, they are spread as evenly as whole numbers
    allow.

    References
    ----------
    Sidky EY, Pan X. Image reconstruction in circular cone-beam computed tomography by constrained, total-variation
    minimization. Phys Med Biol 2008;53:4777-4807.
    """

    name = "sparse_views"
    searched = (LARGE_ACCELERATION,)

    def _taken(self, shots: ShotTable, length: int, setting: Setting) -> NDArray[np.int64]:
        order = np.argsort(_angle(shots), kind="stable")
        return order[np.arange(length) * len(shots) // length]


@register_scheme
class GoldenViews(_ViewScheme):
    """Views of a tomograph turned by 111.25 degrees from one to the next, as `GoldenAngle` takes spokes.

    However many are taken, they are spread nearly evenly over half a turn, and those of a shorter scan are part of each
    longer one: a scan can be stopped when it has seen enough. Parallel views half a turn apart count as the same.

    References
    ----------
    Köhler T. A projection access scheme for iterative reconstruction based on the golden section. IEEE Nucl Sci Symp
    Conf Rec 2004;6:3961-3965.
    """

    name = "golden_views"
    searched = (LARGE_ACCELERATION,)

    def _taken(self, shots: ShotTable, length: int, setting: Setting) -> NDArray[np.int64]:
        return _golden_order(shots, length)


@register_scheme
class LimitedAngle(_ViewScheme):
    """Neighbouring views of a tomograph: a tube that turns only part of the way, as in tomosynthesis or a C-arm.

    Takes ``ceil(fraction * views)`` views in the order of their angle from `start` on, in turns; from 0 on these are
    the first n views of a rotation. What is tangential to no view that is taken gets lost.

    References
    ----------
    Davison ME. The ill-conditioned nature of the limited angle tomography problem. SIAM J Appl Math 1983;43:428-448.
    """

    name = "limited_angle"
    searched = (Parameter("fraction", low=0.125, high=1.0), Parameter("start", low=0.0, high=1.0, unit="turns"))

    def _taken(self, shots: ShotTable, length: int, setting: Setting) -> NDArray[np.int64]:
        angle = _angle(shots)
        order = np.argsort(angle, kind="stable")
        first = int(np.searchsorted(angle[order], round(float(setting["start"]) * 2 * math.pi, _DIGITS)))
        return order[(first + np.arange(length)) % len(shots)]


def _golden_order(shots: ShotTable, length: int) -> NDArray[np.int64]:
    """Return shots in golden-angle order, each what is nearest to its angle modulo half a turn and still free."""
    angle = _angle(shots)
    taken = np.empty(length, dtype=np.int64)
    free = np.ones(len(shots), dtype=bool)
    for turn in range(length):
        apart = np.abs((angle - turn * GOLDEN_ANGLE_RAD + math.pi / 2) % math.pi - math.pi / 2)
        taken[turn] = np.argmin(np.where(free, apart.round(_DIGITS), np.inf))
        free[taken[turn]] = False
    return taken


def _angle(shots: ShotTable) -> NDArray[np.float64]:
    """Return angles in ``[0, 2 pi)``, rounded so that a whole turn is none, shape ``(shots,)`` [rad]."""
    angle: NDArray[np.float64] = np.asarray(shots.what["angle_rad"]).astype(np.float64).round(_DIGITS)
    return angle % round(2 * math.pi, _DIGITS)
