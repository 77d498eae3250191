"""The protocol: how many times each shot of each modality is taken."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from scanwise.errors import ScanwiseError

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_ITEM = re.compile(rf"(?P<name>{_NAME.pattern})=(?P<runs>\d+(x\d+)?(,\d+(x\d+)?)*)")


class Protocol:
    """Non-negative integer counts per modality and shot, nothing else; immutable and hashable.

    *Combination* is which modalities have any shot, *length* how many, *pattern* which, *averages* counts above one.
    A modality without a shot is absent, so two protocols that acquire the same are equal.

    Parameters
    ----------
    counts : ``{modality: counts}``, each of shape ``(shots,)``.

    Raises
    ------
    ScanwiseError
        If a count is negative or not a whole number, or a name does not fit into a key.
    """

    __slots__ = ("_counts", "key")

    def __init__(self, counts: Mapping[str, Iterable[int]] | None = None) -> None:
        kept: list[tuple[str, tuple[int, ...]]] = []
        for name in sorted(counts or {}):
            if not _NAME.fullmatch(name):
                raise ScanwiseError(
                    f"the name of a modality is a lower-case letter, then such letters, digits and _, but got {name!r}",
                    "give it a short name, and the full one as its title",
                )
            values = tuple((counts or {})[name])
            for value in values:
                number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
                if not number or not float(value).is_integer() or value < 0:
                    raise ScanwiseError(
                        f"the counts of a protocol must be whole numbers >= 0, but {name!r} has {value!r}",
                        "a shot is taken 0, 1, 2 ... times",
                    )
            if any(values):
                kept.append((name, tuple(int(value) for value in values)))
        self._counts: dict[str, tuple[int, ...]] = dict(kept)
        self.key: str = " ".join(f"{name}={_runs(values)}" for name, values in kept) or "nothing"
        """Canonical text, equal exactly where the protocols are: ``"exercise=1x3 fluoroscopy=1"``."""

    @classmethod
    def from_key(cls, key: str) -> Protocol:
        """Read a canonical key back; ``from_key(p.key) == p``."""
        counts: dict[str, tuple[int, ...]] = {}
        for item in [] if key == "nothing" else key.split():
            match = _ITEM.fullmatch(item)
            if match is None or match["name"] in counts:
                raise ScanwiseError(
                    f"a protocol key reads like 'exercise=1x3 fluoroscopy=1', but got {key!r}", f"look at {item!r}"
                )
            runs = (run.partition("x") for run in match["runs"].split(","))
            counts[match["name"]] = tuple(
                int(value) for value, _, length in runs for _ in range(int(length) if length else 1)
            )
        return cls(counts)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities with any shot, sorted."""
        return tuple(self._counts)

    def counts(self, modality: str) -> tuple[int, ...]:
        """Return the counts of one modality, empty where it is absent."""
        return self._counts.get(modality, ())

    def items(self) -> Iterable[tuple[str, tuple[int, ...]]]:
        """Iterate over ``(modality, counts)`` of the modalities that have any shot."""
        return self._counts.items()

    def total(self, modality: str) -> int:
        """Return how many shots of a modality are taken, averages included."""
        return sum(self.counts(modality))

    def array(self, modality: str, n_shots: int) -> NDArray[np.int64]:
        """Return the counts of one modality, shape ``(shots,)``, zeros where it is absent.

        Raises
        ------
        ScanwiseError
            If the protocol was made for another shot table.
        """
        values = self.counts(modality) or (0,) * n_shots
        if len(values) != n_shots:
            raise ScanwiseError(
                f"{modality!r} has {n_shots} shots, but the protocol counts {len(values)}: {self.key!r}",
                "the protocol was made for another menu",
            )
        return np.array(values, dtype=np.int64)

    def covers(self, other: Protocol) -> bool:
        """Whether every shot of `other` is taken here at least as often."""
        return all(
            len(self.counts(name)) == len(values)
            and all(a >= b for a, b in zip(self.counts(name), values, strict=True))
            for name, values in other.items()
        )

    def __or__(self, other: Protocol) -> Protocol:
        """Take every shot as often as the more demanding of the two."""
        merged = dict(self._counts)
        for name, values in other.items():
            mine = merged.get(name, (0,) * len(values))
            if len(mine) != len(values):
                raise ScanwiseError(f"{name!r} has {len(mine)} shots in one protocol and {len(values)} in the other")
            merged[name] = tuple(max(a, b) for a, b in zip(mine, values, strict=True))
        return Protocol(merged)

    def without(self, modality: str) -> Protocol:
        """Return the protocol with one modality left out."""
        return Protocol({name: values for name, values in self.items() if name != modality})

    def to_dict(self) -> dict[str, list[int]]:
        """Return ``{modality: counts}`` of plain numbers."""
        return {name: list(values) for name, values in self.items()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Protocol) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Protocol({self.key!r})"


def _runs(values: tuple[int, ...]) -> str:
    lengths = ((value, len(list(group))) for value, group in groupby(values))
    return ",".join(f"{value}x{length}" if length > 1 else f"{value}" for value, length in lengths)
