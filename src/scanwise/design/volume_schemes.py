"""Sampling schemes for phase encodes of a volume: two axes of k-space along which shots can be left out.

A table has ``what["ky"]`` and ``what["kz"]``, the index along each axis with the centre of k-space at ``n // 2``; the
corners may be missing (elliptical k-space). Distances are in steps of the table, which are inverse fields of view: what
counts for aliasing is how far shots are apart in these steps, whatever the two fields of view are.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from scanwise.design._thinning import (
    CENTRE,
    LARGE_ACCELERATION,
    POWER,
    SEED,
    ThinningScheme,
    central_lines,
    centre_lines,
    distance_from_centre,
    draw,
    fill_with_discs,
)
from scanwise.design.scheme import Setting, register_scheme
from scanwise.design.shot_kinds import PHASE_ENCODES
from scanwise.design.shots import ShotTable

_DISC_SHRINK = 0.95
"""By what factor Poisson discs shrink when no further one has room: nearer to 1, the pattern is more regular."""


class _VolumeScheme(ThinningScheme):
    """Phase encodes around a fully sampled rectangle, which has the given share of either axis."""

    kind = PHASE_ENCODES

    def centre_size(self, shots: ShotTable, setting: Setting) -> int:
        """Return how many phase encodes the fully sampled centre asks for, the central one at least."""
        return len(self._centre(shots, len(shots), setting))

    def _centre(self, shots: ShotTable, length: int, setting: Setting) -> NDArray[np.int64]:
        """Return the fully sampled rectangle or, where it has more than are taken, what is nearest to its centre."""
        inside = np.ones(len(shots), dtype=bool)
        for index in _position(shots).T:
            n = int(index.max()) + 1
            inside &= np.isin(index, central_lines(n, centre_lines(n, setting)))
        nearest = np.argsort(np.where(inside, _distance(shots), np.inf), kind="stable")
        return nearest[: min(int(inside.sum()), length)]


@register_scheme
class VariableDensity2D(_VolumeScheme):
    """Random phase encodes of a volume, denser towards the centre: compressed sensing with two axes to spare.

    Phase encodes are drawn without replacement with probabilities proportional to ``(1 - |k|)**power``, |k| = 1 just
    beyond the corners. The number is exact, and every one of an acquisition is in each longer one of the same seed.

    References
    ----------
    Lustig M, Donoho D, Pauly JM. Sparse MRI: the application of compressed sensing for rapid MR imaging.
    Magn Reson Med 2007;58:1182-1195.
    Efraimidis PS, Spirakis PG. Weighted random sampling with a reservoir. Inf Process Lett 2006;97:181-185.
    """

    name = "variable_density_2d"
    searched = (LARGE_ACCELERATION, POWER, CENTRE, SEED)

    def _taken(self, shots: ShotTable, length: int, setting: Setting) -> NDArray[np.int64]:
        return draw(
            float(setting["power"]) * np.log1p(-_distance(shots)),
            certain=self._centre(shots, length, setting),
            length=length,
            rng=np.random.default_rng(int(setting["seed"])),
        )


@register_scheme
class PoissonDisc2D(_VolumeScheme):
    """Random phase encodes of a volume that keep a distance from each other, wider towards the edge.

    Incoherent for compressed sensing, yet without the large gaps that parallel imaging cannot fill. Phase encodes are
    tried in random order and taken where their disc overlaps none that is there already; when no further disc has room,
    all shrink. That gives an exact number and leaves each one in every longer acquisition.

    References
    ----------
    Bridson R. Fast Poisson disk sampling in arbitrary dimensions. ACM SIGGRAPH 2007 Sketches.
    McCool M, Fiume E. Hierarchical Poisson disk sampling distributions. Graphics Interface 1992:94-105 (shrinking).
    Vasanawala SS, Murphy MJ, Alley MT et al. Practical parallel imaging compressed sensing MRI. IEEE ISBI
    2011:1039-1043 (variable density).
    """

    name = "poisson_disc_2d"
    searched = (LARGE_ACCELERATION, CENTRE, SEED)

    def _taken(self, shots: ShotTable, length: int, setting: Setting) -> NDArray[np.int64]:
        return fill_with_discs(
            _position(shots),
            certain=self._centre(shots, length, setting),
            length=length,
            shrink=_DISC_SHRINK,
            rng=np.random.default_rng(int(setting["seed"])),
        )


def _position(shots: ShotTable) -> NDArray[np.int64]:
    """Return the index along each axis, shape ``(shots, 2)``."""
    return np.stack([np.asarray(shots.what[column]).astype(np.int64) for column in ("ky", "kz")], axis=1)


def _distance(shots: ShotTable) -> NDArray[np.float64]:
    """Return |k|, 0 at the centre and 1 just beyond the corners of the rectangle, shape ``(shots,)``."""
    along = [distance_from_centre(int(index.max()) + 1)[index] for index in _position(shots).T]
    return np.hypot(*along) / math.sqrt(2)
