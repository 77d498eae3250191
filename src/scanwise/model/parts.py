"""Which member of an ensemble learns from which patient, so that no patient is scored by a network that saw it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanwise.design import Fold, Patients
from scanwise.errors import ScanwiseError

_OWN_PARTS = 5
"""Parts a model makes for itself where the split brings none; every member leaves one out, for calibration."""


@dataclass(frozen=True, eq=False)
class Parts:
    """The learning patients of a fold, dealt into parts that the members leave out in turn.

    Parameters
    ----------
    learn : patients, shape ``(learn,)``.
    part : part of each of them, shape ``(learn,)``.
    leaves_out : part that each member leaves out, shape ``(members,)``.
    """

    learn: Patients
    part: NDArray[np.int64]
    leaves_out: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        fold: Fold,
        label: NDArray[np.int64],
        *,
        members_per_part: int,
        seed: int,
        n_parts: int = _OWN_PARTS,
        own: int | None = None,
    ) -> Parts:
        """Take the inner folds of a split, or deal the patients out by label where it has none.

        Parameters
        ----------
        fold, label : the patients.
        members_per_part : networks that leave the same part out.
        seed : how patients are dealt where the split has no inner folds.
        n_parts : how many parts are dealt there.
        own : how many of these are left out at all, `None` = each in turn.
        """
        part = fold.inner
        dealt_here = bool((part < 0).all())
        if dealt_here:
            part = np.empty(len(fold.learn), dtype=np.int64)
            rng = np.random.default_rng([seed, 0x7061])
            for value in np.unique(label[fold.learn]):
                rows = np.flatnonzero(label[fold.learn] == value)
                part[rng.permutation(rows)] = np.arange(len(rows)) % n_parts
        names = np.unique(part)[: own if dealt_here else None]
        return cls(fold.learn, part, np.repeat(names, members_per_part))

    @classmethod
    def nobody(cls, members: int) -> Parts:
        """Return parts in which nobody was learned from: all members answer for everybody."""
        none = np.zeros(0, dtype=np.int64)
        return cls(none, none, np.zeros(members, dtype=np.int64))

    @property
    def learns(self) -> NDArray[np.bool_]:
        """Whether a member learns from a patient, shape ``(members, learn)``."""
        return self.leaves_out[:, None] != self.part[None, :]

    @property
    def left_out(self) -> Patients:
        """Learning patients that at least one member leaves out."""
        return self.learn[np.isin(self.part, self.leaves_out)]

    def weights(self, patients: Patients) -> NDArray[np.float64]:
        """Return how members are averaged for each patient, shape ``(members, patients)``, summing to 1 over members.

        Patients that nobody learned from are scored by all members, the others only by members that left them out.

        Raises
        ------
        ScanwiseError
            If every member has learned from a patient.
        """
        allowed = np.ones((len(self.leaves_out), len(patients)), dtype=bool)
        known = np.isin(patients, self.learn)
        order = np.argsort(self.learn)
        at = order[np.searchsorted(self.learn, patients[known], sorter=order)]
        allowed[:, known] = ~self.learns[:, at]
        n_allowed = allowed.sum(axis=0)
        if (n_allowed == 0).any():
            raise ScanwiseError(
                f"{int((n_allowed == 0).sum())} patients were learned from by every network of the ensemble"
            )
        return allowed / n_allowed
