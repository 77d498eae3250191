"""What schemes that take each shot at most once share: how many shots, the centre, random draws, discs.

A scheme takes an exact number of shots: the whole number nearest to ``shots / acceleration`` or, where the table groups
lines into echo trains (``what["train_length"]``), the nearest whole number of trains. Positions are in fractions of the
matrix, so a setting means the same at any resolution, and chance enters only through the seed.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from scanwise.design.scheme import Parameter, Scheme, Setting, Value
from scanwise.design.shots import ShotTable
from scanwise.errors import ScanwiseError

ACCELERATION = Parameter("acceleration", low=1.0, high=8.0, log=True)
LARGE_ACCELERATION = Parameter("acceleration", low=1.0, high=16.0, log=True)
"""Where shots can be left out along two axes, or need not lie on a grid."""
CENTRE = Parameter("centre", low=0.0, high=0.5)
POWER = Parameter("power", low=1.0, high=6.0)
SEED = Parameter("seed", low=0, high=99, integer=True)

_GRID: Mapping[str, tuple[Value, ...]] = {
    "acceleration": (1.0, 4 / 3, 2.0, 8 / 3, 4.0, 8.0),
    "centre": (0.08, 0.16),
    "power": (2.0, 4.0),
    "width": (0.2, 0.4),
    "seed": (0,),
    "fraction": (1.0, 7 / 8, 6 / 8, 5 / 8),
    "start": (0.0,),
}
"""Values on the exact lattice, for each parameter; the longest acquisition comes first."""

_EDGE_TO_CENTRE_SPACING = 3.0
"""How much wider Poisson discs are at the edge of k-space than at its centre."""
_ROUNDING = 1e-9
"""What ``fraction * shots`` may be above a whole number because of binary fractions."""


class ThinningScheme(Scheme):
    """Each shot at most once: a family with one lattice and one rule for the number of shots."""

    searched: ClassVar[tuple[Parameter, ...]]
    """The parameters, the same for every shot table: either "acceleration" or "fraction" says how many shots."""

    def parameters(self, shots: ShotTable) -> tuple[Parameter, ...]:
        """Return the parameters of the family, which do not depend on the matrix."""
        return self.searched

    def settings(self, shots: ShotTable) -> Iterator[Setting]:
        """Iterate over the product of the values of every parameter; of equal patterns the first is kept."""
        names = [parameter.name for parameter in self.parameters(shots)]
        product = itertools.product(*(self._values(name, shots) for name in names))
        return distinct(self, shots, (dict(zip(names, values, strict=True)) for values in product))

    def _values(self, name: str, shots: ShotTable) -> tuple[Value, ...]:
        """Return the values of a parameter on the exact lattice, the one of the longest acquisition first."""
        return _GRID[name]

    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        length = _length(shots, setting)
        if length == len(shots):
            return np.ones(length, dtype=np.int64)
        counts = np.zeros(len(shots), dtype=np.int64)
        counts[self._taken(shots, length, setting)] = 1
        return counts

    @abstractmethod
    def _taken(self, shots: ShotTable, length: int, setting: Setting) -> NDArray[np.int64]:
        """Return which `length` different shots are taken, in any order; fewer than there are."""


def distinct(scheme: Scheme, shots: ShotTable, candidates: Iterable[Setting]) -> Iterator[Setting]:
    """Leave out settings whose pattern was there already."""
    seen: set[bytes] = set()
    for setting in candidates:
        pattern = scheme.counts(shots, setting).tobytes()
        if pattern not in seen:
            seen.add(pattern)
            yield setting


def _length(shots: ShotTable, setting: Setting) -> int:
    """Return how many shots are taken: the smallest number that has the fraction, or the one nearest to n / R.

    Of two numbers equally near the larger one.
    """
    possible = _whole_trains(shots)
    if "fraction" in setting:
        return int(possible[np.argmax(possible >= float(setting["fraction"]) * len(shots) - _ROUNDING)])
    possible = possible[::-1]
    return int(possible[np.argmin(np.abs(possible - len(shots) / float(setting["acceleration"])))])


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


def central_lines(n: int, length: int) -> NDArray[np.int64]:
    """Return neighbouring lines around the centre of k-space; fewer of them are a part of more."""
    return np.arange(length) + n // 2 - length // 2


def centre_lines(n: int, setting: Setting) -> int:
    """Return how many of n lines the fully sampled centre has: the central line at least."""
    return max(int(np.floor(float(setting["centre"]) * n + 0.5)), 1)


def distance_from_centre(n: int) -> NDArray[np.float64]:
    """Return |k| of every line, 0 at the centre, 1 one line beyond the edge, shape ``(lines,)``."""
    return np.abs(np.arange(n) - n // 2) / (n // 2 + 1)


def draw(
    log_density: NDArray[np.float64], *, certain: NDArray[np.int64], length: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return `length` different shots: the certain ones, the others at random without replacement.

    Adding Gumbel noise to the logarithm of the probability and taking the largest sums draws exactly so, gives an exact
    number, and leaves every shot of an acquisition in each longer one of the same seed (Efraimidis 2006).

    Parameters
    ----------
    log_density : logarithm of the probability of each shot, up to a constant, shape ``(shots,)``.
    certain : shots that are taken first.
    length : number of shots.
    rng : source of randomness.
    """
    key = log_density + rng.gumbel(size=len(log_density))
    key[certain] = np.inf
    return np.argsort(-key, kind="stable")[:length]


def fill_with_discs(
    position: NDArray[np.int64], *, certain: NDArray[np.int64], length: int, shrink: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return `length` different shots that keep a distance from each other, wider towards the edge of k-space.

    Shots are tried in random order and taken where their disc overlaps none that is there already; when no further disc
    has room, all shrink. That gives an exact number, and leaves each shot in every longer acquisition.

    Parameters
    ----------
    position : index along each axis, shape ``(shots, 2)``; no two alike.
    certain : shots that are taken first.
    length : number of shots.
    shrink : by what factor discs shrink; nearer to 1, shots stand more regularly.
    rng : source of randomness.
    """
    size = position.max(axis=0) + 1
    y, x = position.T
    shot = np.full(size, -1)
    shot[y, x] = np.arange(len(position))
    distance = np.hypot(*np.ix_(*(distance_from_centre(int(n)) for n in size)))
    width = 1 + (_EDGE_TO_CENTRE_SPACING - 1) * distance
    # the largest scale of the discs at which a shot touches none that is taken; below every scale once it is taken
    room = np.where(shot >= 0, np.inf, -1.0)
    scale = float(size.max())
    widest = float(width.max())
    rows, columns = (np.arange(n) for n in size)

    def take(at_y: int, at_x: int) -> None:
        reach = int(scale * widest) + 1  # further away no disc of this scale touches, nor one of a smaller scale
        window = (
            slice(max(at_y - reach, 0), at_y + reach + 1),
            slice(max(at_x - reach, 0), at_x + reach + 1),
        )
        apart = np.hypot((rows[window[0]] - at_y)[:, None], (columns[window[1]] - at_x)[None, :])
        touching = 2 * apart / (width[window] + width[at_y, at_x])
        room[window] = np.minimum(room[window], touching)

    taken = certain.tolist()
    for at in taken:
        take(int(y[at]), int(x[at]))
    tried = rng.permutation(len(position))
    while len(taken) < length:
        free = tried[room[y[tried], x[tried]] >= scale]
        for at in free.tolist():
            if len(taken) < length and room[y[at], x[at]] >= scale:
                taken.append(at)
                take(int(y[at]), int(x[at]))
        scale *= shrink
    return np.array(taken)
