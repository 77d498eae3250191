"""Sampling schemes of magnetic resonance: lines of k-space, averages of b-values, frames of a dynamic series.

The line schemes are handed a table whose shots are phase-encoding lines in order, the centre of k-space at index
``lines // 2``. Each takes an exact number of lines: the whole number nearest to ``lines / acceleration`` or, where the
table groups lines into echo trains (``what["train_length"]``), the nearest whole number of trains. Positions are in
fractions of the matrix, so a setting means the same at any resolution, and chance enters only through the seed.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from scanwise.design.scheme import Parameter, Scheme, Setting, Value, register_scheme
from scanwise.design.shots import ShotTable
from scanwise.errors import ScanwiseError

_ACCELERATION = Parameter("acceleration", low=1.0, high=8.0, log=True)
_CENTRE = Parameter("centre", low=0.0, high=0.5)
_POWER = Parameter("power", low=1.0, high=6.0)
_SEED = Parameter("seed", low=0, high=99, integer=True)
_FRACTION = Parameter("fraction", low=0.5, high=1.0)

_GRID: Mapping[str, tuple[Value, ...]] = {
    "acceleration": (1.0, 4 / 3, 2.0, 8 / 3, 4.0, 8.0),
    "centre": (0.08, 0.16),
    "power": (2.0, 4.0),
    "seed": (0,),
    "fraction": (1.0, 7 / 8, 6 / 8, 5 / 8),
}
"""Values on the exact lattice, for each parameter of the line schemes; the longest acquisition comes first."""

_EDGE_TO_CENTRE_SPACING = 3.0
"""How much wider Poisson discs are at the edge of k-space than at its centre."""
_RADIUS_STEP = 0.7
"""By what factor Poisson discs shrink when no further one has room: nearer to 1, lines stand where room is largest."""

_LONGEST_SPACING = 4
"""Largest distance between the frames that are kept of a dynamic series [frames]."""
_AVERAGE_FACTORS = (1.0, 1.5, 0.5, 0.25)
"""Averages on the exact lattice, relative to what is usual."""

_ROUNDING = 1e-9
"""What ``fraction * lines`` may be above a whole number because of binary fractions."""


class _LineScheme(Scheme):
    """Lines of k-space, each at most once: a family with one lattice and one rule for the number of lines."""

    searched: ClassVar[tuple[Parameter, ...]]
    """The parameters, the same for every shot table."""

    def parameters(self, shots: ShotTable) -> tuple[Parameter, ...]:
        """Return the parameters of the family, which do not depend on the matrix."""
        return self.searched

    def settings(self, shots: ShotTable) -> Iterator[Setting]:
        """Iterate over the product of the values in `_GRID`; of equal patterns the first is kept."""
        names = [parameter.name for parameter in self.searched]
        product = itertools.product(*(_GRID[name] for name in names))
        return _distinct(self, shots, (dict(zip(names, values, strict=True)) for values in product))

    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        counts = np.zeros(len(shots), dtype=np.int64)
        counts[self._lines(len(shots), self._length(shots, setting), setting)] = 1
        return counts

    def _length(self, shots: ShotTable, setting: Setting) -> int:
        """Return how many lines are taken; of two numbers equally near the larger one."""
        possible = _whole_trains(shots)[::-1]
        return int(possible[np.argmin(np.abs(possible - len(shots) / float(setting["acceleration"])))])

    @abstractmethod
    def _lines(self, n: int, length: int, setting: Setting) -> NDArray[np.int64]:
        """Return which `length` different ones of `n` lines are taken, in any order."""


@register_scheme
class Equispaced(_LineScheme):
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
    searched = (_ACCELERATION, _CENTRE)

    def _lines(self, n: int, length: int, setting: Setting) -> NDArray[np.int64]:
        block = _calibration_lines(n, length, setting)
        outer = length - len(block)
        # k-space closed to a ring on which the block is one position: the gaps beside it are as wide as all others
        positions = n - len(block) + 1
        step = np.arange(1, outer + 1)
        distance = (2 * step * positions + outer + 1) // (2 * (outer + 1))
        return np.concatenate([block, (block[-1] + distance) % n])


@register_scheme
class VariableDensity(_LineScheme):
    """Random lines, denser towards the centre: the incoherent undersampling of compressed sensing.

    Lines are drawn without replacement with probabilities proportional to ``(1 - |k|)**power``, |k| = 1 one line beyond
    the edge. Adding Gumbel noise to the logarithm of the probability and taking the largest sums draws exactly so,
    gives an exact number, and leaves every line of an acquisition in each longer one of the same seed.

    References
    ----------
    Lustig M, Donoho D, Pauly JM. Sparse MRI: the application of compressed sensing for rapid MR imaging.
    Magn Reson Med 2007;58:1182-1195 (density a power of the distance from the centre, powers 1 to 6).
    Efraimidis PS, Spirakis PG. Weighted random sampling with a reservoir. Inf Process Lett 2006;97:181-185.
    """

    name = "variable_density"
    searched = (_ACCELERATION, _POWER, _CENTRE, _SEED)

    def _lines(self, n: int, length: int, setting: Setting) -> NDArray[np.int64]:
        block = _calibration_lines(n, length, setting)
        noise = np.random.default_rng(int(setting["seed"])).gumbel(size=n)
        key = float(setting["power"]) * np.log1p(-_distance_from_centre(n)) + noise
        key[block] = np.inf
        return np.argsort(-key, kind="stable")[:length]


@register_scheme
class PoissonDisc(_LineScheme):
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
    searched = (_ACCELERATION, _CENTRE, _SEED)

    def _lines(self, n: int, length: int, setting: Setting) -> NDArray[np.int64]:
        lines = np.arange(n)
        width = 1 + (_EDGE_TO_CENTRE_SPACING - 1) * _distance_from_centre(n)
        tried = np.random.default_rng(int(setting["seed"])).permutation(n)
        taken = list(_calibration_lines(n, length, setting))
        # the largest scale of the discs at which a line touches none that is taken; below every scale once it is taken
        room = np.full(n, np.inf)
        for line in taken:
            room = np.minimum(room, 2 * np.abs(lines - line) / (width + width[line]))
        scale = float(n)
        while len(taken) < length:
            free = tried[room[tried] >= scale]
            if free.size == 0:
                scale *= _RADIUS_STEP
                continue
            taken.append(free[0])
            room = np.minimum(room, 2 * np.abs(lines - free[0]) / (width + width[free[0]]))
        return np.array(taken)


@register_scheme
class LowResolution(_LineScheme):
    """The central lines only: a shorter scan without aliasing, of coarser resolution along phase encoding."""

    name = "low_resolution"
    searched = (_ACCELERATION,)

    def _lines(self, n: int, length: int, setting: Setting) -> NDArray[np.int64]:
        return _central_lines(n, length)


@register_scheme
class PartialFourier(_LineScheme):
    """The last lines, somewhat more than half: the rest is their mirror image up to a slowly varying phase.

    Takes ``ceil(fraction * lines)`` lines, rounded up to whole echo trains, so that the centre is never lost; the
    resolution stays, the signal-to-noise ratio falls with the root of the fraction.

    References
    ----------
    Margosian P, Schmitt F, Purdy D. Faster MR imaging: imaging with half the data. Health Care Instrum 1986;1:195-197.
    """

    name = "partial_fourier"
    searched = (_FRACTION,)

    def _length(self, shots: ShotTable, setting: Setting) -> int:
        """Return the smallest number of whole trains that has the fraction."""
        possible = _whole_trains(shots)
        return int(possible[np.argmax(possible >= float(setting["fraction"]) * len(shots) - _ROUNDING)])

    def _lines(self, n: int, length: int, setting: Setting) -> NDArray[np.int64]:
        return np.arange(n - length, n)


@register_scheme
class Averages(Scheme):
    """How often each b-value is averaged, each on its own: noise falls with the root of the number of averages.

    Two b-values are the fewest that yield a diffusion coefficient, so the lattice has every choice of two or more; it
    doubles with each further shot and is meant for a handful. More averages at high b, where there is little signal,
    make a better use of the time than equal numbers do.

    References
    ----------
    Xing D, Papadakis NG, Huang CL-H et al. Optimised diffusion-weighting for measurement of apparent diffusion
    coefficient (ADC) in human brain. Magn Reson Imaging 1997;15:771-784.
    """

    name = "averages"

    def parameters(self, shots: ShotTable) -> tuple[Parameter, ...]:
        """Return the number of averages of each shot, from none to as many as the table allows."""
        return tuple(
            Parameter(name, low=0, high=int(most), integer=True)
            for name, most in zip(shots.names, shots.max_count, strict=True)
        )

    def settings(self, shots: ShotTable) -> Iterator[Setting]:
        """Iterate over choices of shots, all of them first, each with few averages to many (`_AVERAGE_FACTORS`).

        Averages are relative to ``what["standard"]`` of the table or, where it has none, to what it allows.
        """
        usual = np.asarray(shots.what.get("standard", shots.max_count)).astype(np.float64)
        averages = [
            np.clip(np.floor(factor * usual + 0.5).astype(np.int64), 1, shots.max_count) for factor in _AVERAGE_FACTORS
        ]
        return _distinct(
            self,
            shots,
            (
                {name: int(row[shot]) if shot in chosen else 0 for shot, name in enumerate(shots.names)}
                for size in range(len(shots), min(2, len(shots)) - 1, -1)
                for chosen in itertools.combinations(range(len(shots)), size)
                for row in averages
            ),
        )

    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        return np.array([int(setting[name]) for name in shots.names], dtype=np.int64)


@register_scheme
class FirstN(Scheme):
    """The first n frames of a dynamic series, or every second, third or fourth of them.

    Frames before the contrast agent arrives (``what["baseline"]``, else the first frame) are always taken, for without
    them there is no enhancement to speak of; the spacing counts from the last one.
    """

    name = "first_n"

    def parameters(self, shots: ShotTable) -> tuple[Parameter, ...]:
        """Return where the series ends and which frames are kept until then."""
        return (
            Parameter("n", low=1, high=len(shots), integer=True, unit="frames"),
            Parameter("spacing", low=1, high=min(_LONGEST_SPACING, len(shots)), integer=True, unit="frames"),
        )

    def settings(self, shots: ShotTable) -> Iterator[Setting]:
        """Iterate over every end and spacing, the whole series first."""
        n, spacing = (range(int(parameter.low), int(parameter.high) + 1) for parameter in self.parameters(shots))
        return _distinct(self, shots, ({"n": a, "spacing": b} for b in spacing for a in reversed(n)))

    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        frame = np.arange(len(shots))
        baseline = np.flatnonzero(shots.what.get("baseline", frame == 0))
        last = int(baseline[-1]) if baseline.size else 0
        kept = (frame < int(setting["n"])) & ((frame - last) % int(setting["spacing"]) == 0)
        return np.where(frame <= last, True, kept).astype(np.int64)


def _distinct(scheme: Scheme, shots: ShotTable, candidates: Iterable[Setting]) -> Iterator[Setting]:
    """Leave out settings whose pattern was there already."""
    seen: set[bytes] = set()
    for setting in candidates:
        pattern = scheme.counts(shots, setting).tobytes()
        if pattern not in seen:
            seen.add(pattern)
            yield setting


def _whole_trains(shots: ShotTable) -> NDArray[np.int64]:
    """Return every number of lines that whole echo trains give, ascending; the last train may be short."""
    n = len(shots)
    lengths = np.unique(np.asarray(shots.what.get("train_length", 1)).astype(np.float64)).tolist()
    if len(lengths) != 1 or lengths[0] < 1 or not lengths[0].is_integer():
        raise ScanwiseError(
            f"what['train_length'] must be one whole number >= 1 for all lines, but has {lengths}",
            "give the number of echoes per train, the same for every shot of the table",
        )
    length = int(lengths[0])
    return np.minimum(np.arange(length, n + length, length), n)


def _central_lines(n: int, length: int) -> NDArray[np.int64]:
    """Return neighbouring lines around the centre of k-space; fewer of them are a part of more."""
    return np.arange(length) + n // 2 - length // 2


def _calibration_lines(n: int, length: int, setting: Setting) -> NDArray[np.int64]:
    """Return the fully sampled centre: the central line at least, and no more lines than are taken."""
    wanted = int(np.floor(float(setting["centre"]) * n + 0.5))
    return _central_lines(n, min(max(wanted, 1), length))


def _distance_from_centre(n: int) -> NDArray[np.float64]:
    """Return |k| of every line, 0 at the centre, 1 one line beyond the edge, shape ``(lines,)``."""
    return np.abs(np.arange(n) - n // 2) / (n // 2 + 1)
