"""Sampling schemes for lines of k-space, which a table holds in order, the centre of k-space at ``lines // 2``."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from scanwise.design._thinning import (
    ACCELERATION,
    CENTRE,
    POWER,
    SEED,
    ThinningScheme,
    central_lines,
    centre_lines,
    distance_from_centre,
    draw,
    fill_with_discs,
)
from scanwise.design.scheme import Parameter, Setting, register_scheme
from scanwise.design.shot_kinds import LINES
from scanwise.design.shots import ShotTable

_DISC_SHRINK = 0.7
"""By what factor Poisson discs shrink when no further one has room: nearer to 1, the pattern is more regular."""


class _CentredScheme(ThinningScheme):
    """Lines around a fully sampled centre, which calibrates the coils and counts towards the length."""

    kind = LINES

    def centre_size(self, shots: ShotTable, setting: Setting) -> int:
        """Return how many lines the fully sampled centre asks for, the central one at least."""
        return centre_lines(len(shots), setting)

    def _centre(self, shots: ShotTable, length: int, setting: Setting) -> NDArray[np.int64]:
        """Return the fully sampled centre, no more lines than are taken."""
        return central_lines(len(shots), min(self.centre_size(shots, setting), length))


@register_scheme
class Equispaced(_CentredScheme):
    """Regular undersampling with autocalibration lines, as parallel imaging wants it.

    The central lines that calibrate the coils are taken without gaps and count towards the length; the others are
    spread as evenly as whole numbers allow. With no more than the central line and an acceleration that divides the
    matrix, this is every R-th line.

    References
    ----------
    Griswold MA, Jakob PM, Heidemann RM et al. Generalized autocalibrating partially parallel acquisitions (GRAPPA).
    Magn Reson Med 2002;47:1202-1210.
    """

    name = "equispaced"
    searched = (ACCELERATION, CENTRE)

    def _taken(self, shots: ShotTable, length: int, setting: Setting) -> NDArray[np.int64]:
        n, block = len(shots), self._centre(shots, length, setting)
        outer = length - len(block)
        # k-space closed to a ring on which the block is one position: the gaps beside it are as wide as all others
        positions = n - len(block) + 1
        step = np.arange(1, outer + 1)
        distance = (2 * step * positions + outer + 1) // (2 * (outer + 1))
        return np.concatenate([block, (block[-1] + distance) % n])


class _RandomLines(_CentredScheme):
    """Lines drawn without replacement, with a probability that falls towards the edge."""

    def _taken(self, shots: ShotTable, length: int, setting: Setting) -> NDArray[np.int64]:
        return draw(
            self._log_density(distance_from_centre(len(shots)), setting),
            certain=self._centre(shots, length, setting),
            length=length,
            rng=np.random.default_rng(int(setting["seed"])),
        )

    @abstractmethod
    def _log_density(self, distance: NDArray[np.float64], setting: Setting) -> NDArray[np.float64]:
        """Return the logarithm of the density at |k|, up to a constant."""


@register_scheme
class VariableDensity(_RandomLines):
    """Random lines, denser towards the centre: the incoherent undersampling of compressed sensing.

    Lines are drawn without replacement with probabilities proportional to ``(1 - |k|)**power``, |k| = 1 one line beyond
    the edge. The number is exact, and every line of an acquisition is in each longer one of the same seed.

    References
    ----------
    Lustig M, Donoho D, Pauly JM. Sparse MRI: the application of compressed sensing for rapid MR imaging.
    Magn Reson Med 2007;58:1182-1195 (density a power of the distance from the centre, powers 1 to 6).
    Efraimidis PS, Spirakis PG. Weighted random sampling with a reservoir. Inf Process Lett 2006;97:181-185.
    """

    name = "variable_density"
    searched = (ACCELERATION, POWER, CENTRE, SEED)

    def _log_density(self, distance: NDArray[np.float64], setting: Setting) -> NDArray[np.float64]:
        return float(setting["power"]) * np.log1p(-distance)


@register_scheme
class GaussianDensity(_RandomLines):
    """Random lines with a bell-shaped density: nearly all of the middle, and a few lines far out.

    Lines are drawn without replacement with probabilities proportional to ``exp(-k^2 / (2 width^2))``, |k| = 1 at the
    edge; small widths leave the resolution to few lines. The number is exact, and every line of an acquisition is in
    each longer one of the same seed.

    References
    ----------
    Wang Z, Arce GR. Variable density compressed image sampling. IEEE Trans Image Process 2010;19:264-270.
    Efraimidis PS, Spirakis PG. Weighted random sampling with a reservoir. Inf Process Lett 2006;97:181-185.
    """

    name = "gaussian_density"
    searched = (ACCELERATION, Parameter("width", low=0.1, high=1.0), CENTRE, SEED)

    def _log_density(self, distance: NDArray[np.float64], setting: Setting) -> NDArray[np.float64]:
        return -0.5 * (distance / float(setting["width"])) ** 2


@register_scheme
class PoissonDisc(_CentredScheme):
    """Random lines that keep a distance from each other, wider towards the edge: incoherent, yet without large gaps.

    Lines are tried in random order and taken where their disc overlaps none that is there already; when no further disc
    has room, all shrink. That gives an exact number of lines and leaves each one in every longer acquisition.

    References
    ----------
    Bridson R. Fast Poisson disk sampling in arbitrary dimensions. ACM SIGGRAPH 2007 Sketches.
    McCool M, Fiume E. Hierarchical Poisson disk sampling distributions. Graphics Interface 1992:94-105 (shrinking).
    Vasanawala SS, Murphy MJ, Alley MT et al. Practical parallel imaging compressed sensing MRI. IEEE ISBI
    2011:1039-1043 (variable density).
    """

    name = "poisson_disc"
    searched = (ACCELERATION, CENTRE, SEED)

    def _taken(self, shots: ShotTable, length: int, setting: Setting) -> NDArray[np.int64]:
        line = np.arange(len(shots))
        return fill_with_discs(
            np.stack([line, np.zeros_like(line)], axis=1),
            certain=self._centre(shots, length, setting),
            length=length,
            shrink=_DISC_SHRINK,
            rng=np.random.default_rng(int(setting["seed"])),
        )


@register_scheme
class LowResolution(ThinningScheme):
    """The central lines only: a shorter scan without aliasing, of coarser resolution along phase encoding."""

    name = "low_resolution"
    kind = LINES
    searched = (ACCELERATION,)

    def _taken(self, shots: ShotTable, length: int, setting: Setting) -> NDArray[np.int64]:
        return central_lines(len(shots), length)


@register_scheme
class PartialFourier(ThinningScheme):
    """The last lines, somewhat more than half: the rest is their mirror image up to a slowly varying phase.

    Takes ``ceil(fraction * lines)`` lines, rounded up to whole echo trains, so that the centre is never lost; the
    resolution stays, the signal-to-noise ratio falls with the root of the fraction.

    References
    ----------
    Margosian P, Schmitt F, Purdy D. Faster MR imaging: imaging with half the data. Health Care Instrum 1986;1:195-197.
    """

    name = "partial_fourier"
    kind = LINES
    searched = (Parameter("fraction", low=0.5, high=1.0),)

    def _taken(self, shots: ShotTable, length: int, setting: Setting) -> NDArray[np.int64]:
        return np.arange(len(shots) - length, len(shots))
