"""Sampling schemes for series of images: averages of b-values, frames, and lines of a dynamic series."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Iterator

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
    distinct,
    draw,
)
from scanwise.design.scheme import Parameter, Scheme, Setting, register_scheme
from scanwise.design.shot_kinds import B_VALUES, DYNAMIC_LINES, FRAMES
from scanwise.design.shots import ShotTable

_LONGEST_SPACING = 4
"""Largest distance between the frames that are kept of a dynamic series [frames]."""
_AVERAGE_FACTORS = (1.0, 1.5, 0.5, 0.25)
"""Averages on the exact lattice, relative to what is usual."""
_GOLDEN_SECTION = 0.382
"""Share of the spacing by which the lattice of a dynamic series moves on from frame to frame, about."""


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
    kind = B_VALUES

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
        return distinct(
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
    """The first n frames of a dynamic series, or every second, third or fourth of them; the first n views of a scan.

    Frames before the contrast agent arrives (``what["baseline"]``, else the first frame) are always taken, for without
    them there is no enhancement to speak of; the spacing counts from the last one.
    """

    name = "first_n"
    kind = FRAMES

    def parameters(self, shots: ShotTable) -> tuple[Parameter, ...]:
        """Return where the series ends and which frames are kept until then."""
        return (
            Parameter("n", low=1, high=len(shots), integer=True, unit="frames"),
            Parameter("spacing", low=1, high=min(_LONGEST_SPACING, len(shots)), integer=True, unit="frames"),
        )

    def settings(self, shots: ShotTable) -> Iterator[Setting]:
        """Iterate over every end and spacing, the whole series first."""
        n, spacing = (range(int(parameter.low), int(parameter.high) + 1) for parameter in self.parameters(shots))
        return distinct(self, shots, ({"n": a, "spacing": b} for b in spacing for a in reversed(n)))

    def _counts(self, shots: ShotTable, setting: Setting) -> NDArray[np.int64]:
        frame = np.arange(len(shots))
        baseline = np.flatnonzero(shots.what.get("baseline", frame == 0))
        last = int(baseline[-1]) if baseline.size else 0
        kept = (frame < int(setting["n"])) & ((frame - last) % int(setting["spacing"]) == 0)
        return np.where(frame <= last, True, kept).astype(np.int64)


class _DynamicScheme(ThinningScheme):
    """Lines of every frame of a dynamic series: frames differ by one line at most, all have the centre."""

    kind = DYNAMIC_LINES

    def centre_size(self, shots: ShotTable, setting: Setting) -> int:
        """Return how many lines the fully sampled centre asks for, in all frames together."""
        frames, lines = _shape(shots)
        return frames * centre_lines(lines, setting)

    def _taken(self, shots: ShotTable, length: int, setting: Setting) -> NDArray[np.int64]:
        frames, lines = _shape(shots)
        shot = np.empty((frames, lines), dtype=np.int64)
        shot[_index(shots, "frame"), _index(shots, "line")] = np.arange(len(shots))
        ends = np.arange(frames + 1) * length // frames
        per_frame = np.diff(ends)
        centre = min(centre_lines(lines, setting), int(per_frame.min()))
        taken = []
        for frame, number in enumerate(per_frame.tolist()):
            block = central_lines(lines, min(max(centre, 1), number))
            taken.append(shot[frame, self._of_frame(frame, lines, number, block, setting)])
        return np.concatenate(taken)

    @abstractmethod
    def _of_frame(
        self, frame: int, lines: int, number: int, centre: NDArray[np.int64], setting: Setting
    ) -> NDArray[np.int64]:
        """Return which `number` different ones of `lines` lines a frame takes, the centre among them."""


@register_scheme
class KtLattice(_DynamicScheme):
    """Lines of a dynamic series on a lattice in k-space and time: successive frames interleave.

    All frames have the fully sampled centre, which is the training data at full rate in time; the others are spread
    evenly and move on from frame to frame by about the golden section of their spacing, so that aliases of one position
    stay far apart in space and temporal frequency. Where frames have equally many lines, as many successive frames as
    the spacing together take every line.

    References
    ----------
    Tsao J, Boesiger P, Pruessmann KP. k-t BLAST and k-t SENSE: dynamic MRI with high frame rate exploiting
    spatiotemporal correlations. Magn Reson Med 2003;50:1031-1042.
    Tsao J, Kozerke S, Boesiger P, Pruessmann KP. Optimizing spatiotemporal sampling for k-t BLAST and k-t SENSE.
    Magn Reson Med 2005;53:1372-1382 (which lattices).
    """

    name = "kt_lattice"
    searched = (LARGE_ACCELERATION, CENTRE)

    def _of_frame(
        self, frame: int, lines: int, number: int, centre: NDArray[np.int64], setting: Setting
    ) -> NDArray[np.int64]:
        positions, outer = lines - len(centre), number - len(centre)
        if outer == 0:
            return centre
        period = -(-positions // outer)
        # k-space closed to a ring without the centre; a point in [0, positions) is on the line below it
        phase = frame * _shear(period) % period
        position = (np.arange(outer) * period + phase) * positions // (outer * period)
        return np.concatenate([centre, (centre[-1] + 1 + position) % lines])


@register_scheme
class KtRandom(_DynamicScheme):
    """Random lines of a dynamic series, drawn anew for every frame: incoherent in space and in time.

    In every frame lines are drawn without replacement with probabilities proportional to ``(1 - |k|)**power`` around
    the fully sampled centre; frames have equally many lines, to within one.

    References
    ----------
    Lustig M, Santos JM, Donoho DL, Pauly JM. k-t SPARSE: high frame rate dynamic MRI exploiting spatio-temporal
    sparsity. Proc ISMRM 2006:2420.
    Jung H, Sung K, Nayak KS et al. k-t FOCUSS: a general compressed sensing framework for high resolution dynamic MRI.
    Magn Reson Med 2009;61:103-116.
    """

    name = "kt_random"
    searched = (LARGE_ACCELERATION, POWER, CENTRE, SEED)

    def _of_frame(
        self, frame: int, lines: int, number: int, centre: NDArray[np.int64], setting: Setting
    ) -> NDArray[np.int64]:
        return draw(
            float(setting["power"]) * np.log1p(-distance_from_centre(lines)),
            certain=centre,
            length=number,
            rng=np.random.default_rng([int(setting["seed"]), frame]),
        )


def _index(shots: ShotTable, column: str) -> NDArray[np.int64]:
    return np.asarray(shots.what[column]).astype(np.int64)


def _shape(shots: ShotTable) -> tuple[int, int]:
    """Return the number of frames and of lines."""
    return int(_index(shots, "frame").max()) + 1, int(_index(shots, "line").max()) + 1


def _shear(period: int) -> int:
    """Return by how much the lattice moves from frame to frame: prime to the period, nearest to its golden section."""
    prime = [step for step in range(1, period + 1) if math.gcd(step, period) == 1]
    return min(prime, key=lambda step: abs(step - _GOLDEN_SECTION * period))
