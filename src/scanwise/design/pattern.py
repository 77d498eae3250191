"""One pattern for one's own matrix: exact in the number of shots, and written to a file that says how it was made."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.artifacts import json_text, write_bytes, write_text
from scanwise.design.scheme import Parameter, Setting, Value, make_scheme
from scanwise.design.shot_kinds import ShotKind
from scanwise.design.shots import ShotTable
from scanwise.errors import ScanwiseError, did_you_mean

_SUFFIXES = (".npy", ".csv")


@dataclass(frozen=True, eq=False)
class SamplingPattern:
    """A pattern on a plain table, and how it was made (`sampling_pattern`).

    Parameters
    ----------
    scheme : name of the scheme.
    kind : what the shots are.
    size : number of shots along each axis of `kind`.
    setting : value of every parameter of the scheme.
    shots : the table.
    counts : how often each shot is taken, shape ``(shots,)``.
    """

    scheme: str
    kind: ShotKind
    size: tuple[int, ...]
    setting: Setting
    shots: ShotTable
    counts: NDArray[np.int64]

    @property
    def mask(self) -> NDArray[np.uint8]:
        """How often each shot is taken, shape `size`; the centre of k-space is at ``n // 2`` along each axis."""
        return self.counts.reshape(self.size).astype(np.uint8)

    @property
    def count(self) -> int:
        """How many shots are taken."""
        return int(self.counts.sum())

    @property
    def acceleration(self) -> float:
        """How many times more shots there are than are taken."""
        return len(self.counts) / self.count

    def overrides(self) -> list[str]:
        """Return what makes this pattern again: ``["scheme=equispaced", "size=[64]", "acceleration=2", ...]``."""
        values = [f"{name}={value!r}" for name, value in self.setting.items()]
        return [f"scheme={self.scheme}", f"size=[{','.join(map(str, self.size))}]", *values]

    def to_dict(self) -> dict[str, Any]:
        """Return how it was made, and how many shots it has."""
        return {
            "scheme": self.scheme,
            "shots": self.kind.name,
            "axes": list(self.kind.axes),
            "size": list(self.size),
            "setting": dict(self.setting),
            "count": self.count,
            "of": len(self.counts),
            "acceleration": self.acceleration,
            "command": f"scanwise pattern {' '.join(self.overrides())}",
        }

    def save(self, path: Path) -> tuple[Path, ...]:
        """Write the pattern; return the files that were written.

        ``.npy`` holds `mask` (uint8), with `to_dict` beside it in ``.npy.json``. ``.csv`` lists the shots that are
        taken, one row each: index along each axis, the columns of the table, and the count; `to_dict` is in comments at
        the top, so that ``numpy.loadtxt(path, delimiter=",")`` reads it.

        Raises
        ------
        ScanwiseError
            If the file is neither, or cannot be written.
        """
        if path.suffix not in _SUFFIXES:
            raise ScanwiseError(
                f"a pattern is written to a file that ends in {' or '.join(_SUFFIXES)}, but got {path.name!r}",
                "name it e.g. mask.npy (the mask) or mask.csv (the shots that are taken)",
            )
        if path.suffix == ".csv":
            write_text(path, self._csv())
            return (path,)
        buffer = io.BytesIO()
        np.save(buffer, self.mask, allow_pickle=False)
        write_bytes(path, buffer.getvalue())
        beside = path.with_name(f"{path.name}.json")
        write_text(beside, json_text(self.to_dict()) + "\n")
        return path, beside

    def _csv(self) -> str:
        taken = np.flatnonzero(self.counts)
        index = dict(zip(self.kind.axes, np.unravel_index(taken, self.size), strict=True))
        further = {name: values[taken] for name, values in self.shots.what.items() if name not in index}
        columns = {**index, **further, "count": self.counts[taken]}
        head = [f"# {key}: {value}" for key, value in self.to_dict().items()]
        rows = [",".join(map(repr, row)) for row in zip(*(column.tolist() for column in columns.values()), strict=True)]
        return "\n".join([*head, f"# {','.join(columns)}", *rows]) + "\n"

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.size))
        setting = ", ".join(f"{name} {value:.4g}" for name, value in self.setting.items())
        once = self.kind.max_count == 1
        words = [
            f"{self.count} {'of' if once else 'acquisitions of'} {len(self.counts)} {self.kind.name} ({size})",
            *([f"R = {self.acceleration:.4g}"] if once else []),
            *([setting] if setting else []),
        ]
        return f"{self.scheme}: {', '.join(words)}"


def sampling_pattern(
    scheme: str, size: int | Sequence[int], *, count: int | None = None, **setting: Value
) -> SamplingPattern:
    """Return a pattern for a matrix of one's own.

    Parameters
    ----------
    scheme : name of a sampling scheme.
    size : number of shots along each axis of its kind: ``256`` lines, ``(320, 256)`` phase encodes, ``(20, 96)`` frames
        and lines.
    count : exact number of shots, in place of the acceleration or the fraction.
    setting : parameters of the scheme; one that is left out has its first value on the exact lattice.

    Raises
    ------
    ScanwiseError
        For more shots than exist, an acceleration that leaves no room for the centre, and every other value that
        cannot be.

    Examples
    --------
    >>> from scanwise.design import sampling_pattern
    >>> sampling_pattern("poisson_disc_2d", (320, 256), acceleration=4, seed=1).mask.sum()
    np.uint64(20480)
    >>> sampling_pattern("equispaced", 64, count=20).count
    20
    """
    chosen = make_scheme(scheme)
    lengths = (size,) if isinstance(size, int) else tuple(size)
    shots = chosen.kind.plain_table(lengths)
    known = {parameter.name: parameter for parameter in chosen.parameters(shots)}
    for name in setting:
        if name not in known:
            raise ScanwiseError(f"scheme {chosen.name!r} has no parameter {name!r}", did_you_mean(name, known))
    if count is not None:
        setting = {**setting, **_setting_of_count(chosen.name, known, setting, count, len(shots))}
    acceleration = setting.get("acceleration", 1.0)
    if isinstance(acceleration, int | float) and acceleration < 1:
        raise ScanwiseError(
            f"acceleration={acceleration:g} asks for {len(shots) / acceleration if acceleration > 0 else np.inf:g} "
            f"{chosen.kind.name}, but there are only {len(shots)}",
            "an acceleration is 1 (all of them) or above",
        )
    full: dict[str, Value] = {**next(iter(chosen.settings(shots))), **setting}
    pattern = SamplingPattern(chosen.name, chosen.kind, lengths, full, shots, chosen.counts(shots, full))
    if count is not None and pattern.count != count:
        raise ScanwiseError(f"scheme {chosen.name!r} cannot take {count} shots here, but {pattern.count}")
    centre = chosen.centre_size(shots, full)
    if centre > pattern.count:
        raise ScanwiseError(
            f"the acceleration leaves no room for the centre: centre={full['centre']:g} is {centre} "
            f"{chosen.kind.name}, but only {pattern.count} of {len(shots)} are taken",
            f"lower the acceleration to {math.floor(100 * len(shots) / centre) / 100:g}, or take a smaller centre",
        )
    return pattern


def _setting_of_count(
    scheme: str, known: Mapping[str, Parameter], setting: Setting, count: int, n: int
) -> dict[str, Value]:
    """Return the parameter that makes a scheme take exactly `count` of n shots."""
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= n:
        raise ScanwiseError(f"count={count!r} shots were asked for, but there are {n}", f"take 1 to {n}")
    for name, value in (("acceleration", n / count), ("fraction", count / n), ("n", count)):
        if name in known:
            if name in setting:
                raise ScanwiseError(f"count and {name} both say how many shots are taken", "give one of them")
            if not known[name].low <= value <= known[name].high:
                fewest = math.ceil(n / known[name].high if name == "acceleration" else n * known[name].low)
                raise ScanwiseError(
                    f"scheme {scheme!r} takes at least {fewest} of {n} shots, but count={count}",
                    f"take {fewest} to {n}",
                )
            return {name: value}
    raise ScanwiseError(
        f"scheme {scheme!r} takes no count",
        f"its parameters say how many shots are taken: {', '.join(known) or 'all of them, always'}",
    )
