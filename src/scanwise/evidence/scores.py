"""The table everything is judged from: one probability per round, protocol and patient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scanwise.errors import ScanwiseError, did_you_mean

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, repr=False)
class ScoreTable:
    """What the networks said about patients they had not seen.

    Every statistic is computed per round, patients being ranked only against patients of their own stratum, and then
    averaged over rounds. The resampling unit is the patient: a bootstrap draw takes the same patients in every round.

    Raises
    ------
    ScanwiseError
        If shapes disagree, a label is not 0 or 1, a protocol is listed twice, a probability lies outside [0, 1], or a
        patient has a probability without a stratum or a stratum without a probability.
    """

    protocols: tuple[str, ...]
    """Canonical protocol keys, all different."""
    probability: FloatArray
    """Probability of disease, shape ``(rounds, protocols, patients)``; NaN where not scored in that round."""
    stratum: IntArray
    """Shape ``(rounds, patients)``: patients scored by the same networks share a number >= 0; -1 = not scored."""
    label: IntArray
    """Diagnosis, 0 or 1, shape ``(patients,)``."""
    site: NDArray[np.str_]
    """Where the patient was seen, shape ``(patients,)``."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "protocols", tuple(str(key) for key in self.protocols))
        object.__setattr__(self, "probability", np.asarray(self.probability, dtype=np.float64))
        object.__setattr__(self, "site", np.asarray(self.site, dtype=np.str_))
        label = np.asarray(self.label)
        if not np.isin(label, (0, 1)).all():
            wrong = label[~np.isin(label, (0, 1))][0]
            raise ScanwiseError(f"a label must be 0 or 1, but got {wrong!r}", "mend the label column of the cohort")
        object.__setattr__(self, "label", label.astype(np.int64))
        object.__setattr__(self, "stratum", np.asarray(self.stratum, dtype=np.int64))
        self._check()

    def _check(self) -> None:
        if self.probability.ndim != 3 or self.label.ndim != 1:
            raise ScanwiseError(
                "scores have the shape (rounds, protocols, patients) and labels (patients,), "
                f"but got {self.probability.shape} and {self.label.shape}"
            )
        rounds, rows, patients = self.probability.shape
        for what, got, wanted in (
            ("protocols", (len(self.protocols),), (rows,)),
            ("stratum", self.stratum.shape, (rounds, patients)),
            ("label", self.label.shape, (patients,)),
            ("site", self.site.shape, (patients,)),
        ):
            if got != wanted:
                raise ScanwiseError(
                    f"{what} must have the shape {wanted} to match scores of shape {self.probability.shape}, "
                    f"but has {got}"
                )
        if len(set(self.protocols)) != rows:
            twice = next(key for key in self.protocols if self.protocols.count(key) > 1)
            raise ScanwiseError(f"every protocol is scored once, but {twice!r} is listed twice", "list it once")
        scored = self.stratum >= 0
        inside = self.probability.transpose(0, 2, 1)[scored]
        wrong_values = ~((inside >= 0) & (inside <= 1))
        if wrong_values.any():
            raise ScanwiseError(
                f"a scored patient must have a probability in [0, 1], but got {inside[wrong_values][0]!r} "
                f"({int(wrong_values.sum())} such values)",
                "a network that returns NaN has diverged: lower its learning rate, or drop the protocol",
            )
        if not np.isnan(self.probability.transpose(0, 2, 1)[~scored]).all():
            raise ScanwiseError("a patient without a stratum was not scored and must have NaN, but has a probability")

    @classmethod
    def of_one_round(
        cls, protocols: Sequence[str], probability: FloatArray, label: IntArray, site: NDArray[np.str_] | None = None
    ) -> ScoreTable:
        """Return the scores of patients whom one network judged, all in one stratum.

        Parameters
        ----------
        protocols, label : see `ScoreTable`.
        probability : shape ``(protocols, patients)``.
        site : see `ScoreTable`; `None` = the same for all.
        """
        stratum = np.zeros((1, len(label)), dtype=np.int64)
        return cls(
            tuple(protocols), probability[None], stratum, label, np.full(len(label), "") if site is None else site
        )

    @property
    def n_rounds(self) -> int:
        """Number of times every patient was judged by other networks."""
        return self.probability.shape[0]

    @property
    def judged(self) -> BoolArray:
        """Whether a patient has any score, shape ``(patients,)``."""
        judged: BoolArray = np.any(self.stratum >= 0, axis=0)
        return judged

    @property
    def n_positive(self) -> int:
        """Number of judged patients with the disease."""
        return int(self.label[self.judged].sum())

    @property
    def n(self) -> int:
        """Number of judged patients."""
        return int(self.judged.sum())

    def row(self, key: str) -> int:
        """Return the row of a protocol; an unknown key is an error with a suggestion."""
        if key not in self.protocols:
            raise ScanwiseError(f"no scores for the protocol {key!r}", did_you_mean(key, self.protocols))
        return self.protocols.index(key)

    def rows(self, keys: Sequence[str] | None = None) -> IntArray:
        """Return the rows of protocols, of all where `keys` is None, shape ``(protocols,)``."""
        return np.array([self.row(key) for key in (self.protocols if keys is None else keys)], dtype=np.int64)

    def strata(self, round_: int) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield patients with and without the disease in every stratum of a round that has a pair to compare.

        A stratum with one class only has no pair; a stratum of one patient per class says next to nothing and is left
        out with its one pair.
        """
        of_round = self.stratum[round_]
        for number in np.unique(of_round[of_round >= 0]):
            members = np.flatnonzero(of_round == number)
            positive, negative = members[self.label[members] == 1], members[self.label[members] == 0]
            if positive.size * negative.size > 1:
                yield positive, negative

    def subset(self, mask: ArrayLike) -> ScoreTable:
        """Keep the patients where `mask` is true, shape ``(patients,)``."""
        keep = np.asarray(mask)
        if keep.dtype != np.bool_ or keep.shape != self.label.shape:
            raise ScanwiseError(
                f"a subset is a boolean mask of shape {self.label.shape}, but got {keep.dtype} of shape {keep.shape}"
            )
        return ScoreTable(
            self.protocols, self.probability[:, :, keep], self.stratum[:, keep], self.label[keep], self.site[keep]
        )

    def extend(self, other: ScoreTable) -> ScoreTable:
        """Add the protocols of another table that judges the same patients in the same rounds and strata."""
        same = (
            np.array_equal(self.stratum, other.stratum)
            and np.array_equal(self.label, other.label)
            and np.array_equal(self.site, other.site)
        )
        if not same:
            raise ScanwiseError(
                "tables can be joined where rounds, strata, labels and sites agree, but these differ",
                "score the protocols with the same folds of the same cohort",
            )
        return ScoreTable(
            self.protocols + other.protocols,
            np.concatenate((self.probability, other.probability), axis=1),
            self.stratum,
            self.label,
            self.site,
        )

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays, ready to be written; strings as fixed-width text."""
        return {
            "protocols": np.array(self.protocols, dtype=np.str_),
            "probability": self.probability,
            "stratum": self.stratum,
            "label": self.label,
            "site": self.site,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ScoreTable:
        """Build a table from what `to_arrays` returned."""
        names = ("protocols", "probability", "stratum", "label", "site")
        missing = [name for name in names if name not in arrays]
        if missing:
            raise ScanwiseError(f"a score table has the arrays {names}, but {missing} are missing", "score again")
        protocols = tuple(str(key) for key in arrays["protocols"])
        return cls(protocols, *(np.asarray(arrays[name]) for name in names[1:]))

    def __repr__(self) -> str:
        rounds, rows, patients = self.probability.shape
        sites = len(set(self.site.tolist()))
        return (
            f"<ScoreTable {rows} protocols x {patients} patients ({self.n} judged, {self.n_positive} positive), "
            f"{rounds} round{'s' if rounds != 1 else ''}, {sites} site{'s' if sites != 1 else ''}>"
        )
