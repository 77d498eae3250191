"""What every modality must offer, and what a protocol yields for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scanwise.design.protocol import Protocol
from scanwise.design.scheme import Scheme, Whole
from scanwise.design.shots import ShotTable
from scanwise.errors import ScanwiseError


@dataclass(frozen=True, eq=False)
class Measurement:
    """What a protocol yields for a batch of patients and one modality.

    Parameters
    ----------
    data : measured values, shape ``(patients, ...)``; NaN where nothing was measured.
    counts : how often each shot was really taken, shape ``(patients, shots)``; 0 where a patient lacks the shot.
    geometry : what a reader must know to interpret `data` (matrix size, field of view ...).
    """

    data: NDArray[Any]
    counts: NDArray[np.int64]
    geometry: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Measurement(data {self.data.shape}, counts {self.counts.shape})"


class Modality(ABC):
    """One technique or contrast: a table of shots, how shots become measurements, which sampling makes sense.

    Attributes
    ----------
    name : identifier, lower case.
    title : name for people.
    shots : the shot table.
    schemes : sampling schemes on offer, the first one is the default.
    requires : other modalities whose data were used to make this one's features (leakage audit).
    """

    name: str
    title: str
    shots: ShotTable
    schemes: tuple[Scheme, ...] = (Whole(),)
    requires: tuple[str, ...] = ()

    @property
    def standard(self) -> NDArray[np.int64]:
        """How often each shot is usually taken, shape ``(shots,)``: ``what["standard"]`` of the shot table, or once."""
        usual = self.shots.what.get("standard", np.ones(len(self.shots)))
        return np.asarray(usual).astype(np.int64)

    @classmethod
    @abstractmethod
    def example(cls) -> Self:
        """Return a small instance; the contract tests run on it."""

    @abstractmethod
    def example_data(self, patients: int, seed: int) -> NDArray[Any]:
        """Return complete data of made-up patients for it, shape ``(patients, ...)``."""

    @abstractmethod
    def measure(self, data: NDArray[Any], counts: NDArray[np.int64], rng: np.random.Generator) -> Measurement:
        """Acquire: what the shots yield for a batch of patients.

        Parameters
        ----------
        data : complete data of the patients, shape ``(patients, ...)``; NaN where a patient lacks it.
        counts : how often each shot is asked for, shape ``(patients, shots)`` or ``(shots,)`` for all alike.
        rng : source of measurement noise.
        """

    def describe(self, counts: Sequence[int]) -> str:
        """Return what the counts mean in a few words: ``"all 3 shots"``, ``"exang + slope"``."""
        taken = [(name, count) for name, count in zip(self.shots.names, counts, strict=True) if count]
        if len(taken) == len(self.shots) and all(count == 1 for _, count in taken):
            return self.title
        words = [name if count == 1 else f"{count} x {name}" for name, count in taken]
        inside = " + ".join(words) if len(words) <= 6 else f"{len(words)} of {len(self.shots)} shots"
        return f"{self.title} ({inside})"

    def console(self, counts: Sequence[int]) -> dict[str, Any]:
        """Return what is set at the console to acquire these counts, ``{setting: plain value}``, units in the names.

        ``sequence`` names the kind of sequence. Empty where there is nothing to set, as for a blood test.

        Parameters
        ----------
        counts : how often each shot is taken, shape ``(shots,)``.
        """
        return {}

    def check(self, protocol: Protocol) -> NDArray[np.int64]:
        """Return the counts of this modality, shape ``(shots,)``, after checking them against the shot table."""
        counts = protocol.array(self.name, len(self.shots))
        over = np.flatnonzero(counts > self.shots.max_count)
        if over.size:
            shot = int(over[0])
            raise ScanwiseError(
                f"shot {self.shots.names[shot]!r} of {self.name!r} can be taken at most {self.shots.max_count[shot]} "
                f"times, but the protocol asks for {counts[shot]}",
                "take it less often, or raise max_count in the menu",
            )
        return counts

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self.shots)} shots)"


_MODALITIES: dict[str, type[Modality]] = {}


def register_modality(kind: str) -> Callable[[type[Modality]], type[Modality]]:
    """Make a kind of modality known, so that the contract tests run on it; a second one of that kind is an error."""

    def keep(cls: type[Modality]) -> type[Modality]:
        key = kind.strip().lower()
        known = _MODALITIES.get(key, cls)  # the same class again: its file was reloaded
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ScanwiseError(f"there is already a kind of modality called {key!r}")
        _MODALITIES[key] = cls
        return cls

    return keep


def modality_kinds() -> dict[str, type[Modality]]:
    """Return every registered kind of modality; call ``scanwise.modalities.load_all`` first."""
    return dict(_MODALITIES)
