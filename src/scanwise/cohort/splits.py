"""How patients are dealt into learning, searching and judging: by patient, stratified by diagnosis and site, seeded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from scanwise.cohort.study import CLASSES, Cohort
from scanwise.design import Fold, Patients
from scanwise.errors import ScanwiseError, did_you_mean

PARTS = ("fit", "tune", "test")
"""The parts of a holdout: learn, search, judge."""


class Split(Protocol):
    """A way of dealing patients out."""

    kind: ClassVar[str]

    def folds(self, cohort: Cohort, seed: int) -> tuple[Fold, ...]:
        """Return the folds; equal seeds give equal folds."""

    def describe(self) -> str:
        """Return one sentence for people."""


@dataclass(frozen=True)
class Holdout:
    """Three parts, once: one to learn from, one for the search, one that judges.

    Parameters
    ----------
    fractions : ``{fit, tune, test}``, sum 1.

    Raises
    ------
    ScanwiseError
        If a fraction is missing or not above 0, or if they do not sum to 1.
    """

    kind: ClassVar[str] = "holdout"
    fractions: Mapping[str, float] = field(default_factory=lambda: {"fit": 0.6, "tune": 0.2, "test": 0.2})

    def __post_init__(self) -> None:
        for part in self.fractions:
            if part not in PARTS:
                raise ScanwiseError(f"a holdout has no part {part!r}", did_you_mean(part, PARTS))
        values = [float(self.fractions.get(part, 0.0)) for part in PARTS]
        if min(values) <= 0 or abs(sum(values) - 1) > 1e-9:
            raise ScanwiseError(
                f"the fractions of {', '.join(PARTS)} must be above 0 and sum to 1, but got {dict(self.fractions)!r}",
                "for example {fit: 0.6, tune: 0.2, test: 0.2}",
            )

    def folds(self, cohort: Cohort, seed: int) -> tuple[Fold, ...]:
        """Return one fold.

        Raises
        ------
        ScanwiseError
            If a part would have one class only.
        """
        order = _shuffled(cohort, np.arange(len(cohort)), np.random.default_rng([seed, 0]))
        shares = np.array([float(self.fractions[part]) for part in PARTS])
        counts = np.zeros(len(PARTS))
        part = np.empty(len(cohort), dtype=np.int64)
        for dealt, patient in enumerate(order, start=1):  # to the part that is furthest behind its share
            part[patient] = np.argmax(shares * dealt - counts)
            counts[part[patient]] += 1
        learn, tune, test = (np.flatnonzero(part == index) for index in range(len(PARTS)))
        for name, patients in zip(PARTS, (learn, tune, test), strict=True):
            _check_classes(cohort, patients, f"the {name!r} part", "give it a larger fraction, or use crossfit")
        return (Fold(repeat=0, index=0, learn=learn, inner=np.full(len(learn), -1), tune=tune, test=test),)

    def describe(self) -> str:
        """Return one sentence for people."""
        fit, tune, test = (f"{100 * float(self.fractions[part]):g} %" for part in PARTS)
        return (
            f"{fit} of the patients are learned from, the search looks at {tune}, and {test} judge once; "
            "dealt at random within diagnosis and site."
        )


class Crossfit:
    """Every patient judges once per repeat, scored by networks and a search that never saw this patient.

    The outer folds judge; within the rest, inner folds are left out in turn, so that the search as well looks at
    patients its networks have not seen.

    Parameters
    ----------
    repeats : how often all patients are dealt anew.
    folds : outer folds per repeat.
    inner : inner folds within the learning part of each outer fold.

    Raises
    ------
    ScanwiseError
        If there is no repeat or fewer than two folds.
    """

    kind: ClassVar[str] = "crossfit"

    def __init__(self, repeats: int = 1, folds: int = 5, inner: int = 5) -> None:
        _check_numbers(repeats=(repeats, 1), folds=(folds, 2), inner=(inner, 2))
        self.repeats = repeats
        self.n_folds = folds  # `folds` is the method
        self.inner = inner

    def folds(self, cohort: Cohort, seed: int) -> tuple[Fold, ...]:
        """Return ``repeats x folds`` folds; the patients dealt anew per repeat.

        Raises
        ------
        ScanwiseError
            If a class has fewer patients than there are folds.
        """
        everyone = np.arange(len(cohort))
        _check_rarest(cohort, everyone, self.n_folds, "folds", "among all patients")
        dealt = []
        for repeat in range(self.repeats):
            outer = _deal(cohort, everyone, self.n_folds, np.random.default_rng([seed, repeat]))
            for index in range(self.n_folds):
                learn, test = np.flatnonzero(outer != index), np.flatnonzero(outer == index)
                _check_rarest(cohort, learn, self.inner, "inner", f"outside fold {index}")
                # 1 + index: trailing zeros do not make a stream of its own
                inner = _deal(cohort, learn, self.inner, np.random.default_rng([seed, repeat, 1 + index]))
                dealt.append(Fold(repeat=repeat, index=index, learn=learn, inner=inner, tune=learn, test=test))
        return tuple(dealt)

    def describe(self) -> str:
        """Return one sentence for people."""
        times = "once" if self.repeats == 1 else f"{self.repeats} times, dealt anew each time"
        return (
            f"{self.n_folds}-fold cross-fitting, {times}: every patient judges by networks that never saw this "
            f"patient; the search looks at the others only, {self.inner}-fold in turn; dealt at random within "
            "diagnosis and site."
        )

    def __repr__(self) -> str:
        return f"Crossfit(repeats={self.repeats}, folds={self.n_folds}, inner={self.inner})"


@dataclass(frozen=True)
class SiteSplit:
    """Learn and search at some sites, judge at others.

    Parameters
    ----------
    learn : sites to learn from and to search at.
    judge : sites that judge.
    inner : inner folds within the learning sites.

    Raises
    ------
    ScanwiseError
        If a list is empty or a site is on both.
    """

    kind: ClassVar[str] = "site"
    learn: Sequence[str]
    judge: Sequence[str]
    inner: int = 5

    def __post_init__(self) -> None:
        _check_numbers(inner=(self.inner, 2))
        for part in ("learn", "judge"):
            sites = getattr(self, part)
            if isinstance(sites, str) or not sites:
                raise ScanwiseError(
                    f"at least one site must {part}, but got {part}={sites!r}", f"for example {part}: [site_a]"
                )
        both = sorted(set(self.learn) & set(self.judge))
        if both:
            raise ScanwiseError(
                f"a site must either learn or judge, but {both[0]!r} does both", "take it off one of the lists"
            )

    def folds(self, cohort: Cohort, seed: int) -> tuple[Fold, ...]:
        """Return one fold.

        Raises
        ------
        ScanwiseError
            If a site has no patients in the cohort, or if one side has one class only.
        """
        for site in (*self.learn, *self.judge):
            if site not in cohort.sites:
                raise ScanwiseError(
                    f"site {site!r} is empty: the cohort has no patient of it", did_you_mean(site, cohort.sites)
                )
        learn = np.flatnonzero(np.isin(cohort.site, list(self.learn)))
        test = np.flatnonzero(np.isin(cohort.site, list(self.judge)))
        _check_rarest(cohort, learn, self.inner, "inner", f"at {', '.join(self.learn)}")
        _check_classes(cohort, test, f"{', '.join(self.judge)}", "let another site judge as well")
        inner = _deal(cohort, learn, self.inner, np.random.default_rng([seed, 0]))
        return (Fold(repeat=0, index=0, learn=learn, inner=inner, tune=learn, test=test),)

    def describe(self) -> str:
        """Return one sentence for people."""
        learn, judge = ", ".join(self.learn), ", ".join(self.judge)
        return f"Learned and searched at {learn} ({self.inner}-fold in turn), judged at {judge}."


def _shuffled(cohort: Cohort, patients: Patients, rng: np.random.Generator) -> Patients:
    """Return the patients grouped by diagnosis, then site, in random order within each group.

    Whatever deals this order round-robin gives every part the same share of each group, of each diagnosis and of all,
    to within one patient: the groups of one diagnosis lie side by side, and no group starts anew at the first part.
    """
    order = rng.permutation(patients)
    return order[np.lexsort((cohort.site[order], cohort.label[order]))]  # lexsort is stable


def _deal(cohort: Cohort, patients: Patients, parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the part of each patient, shape ``(patients,)``, 0 ... parts - 1."""
    part = np.empty(len(cohort), dtype=np.int64)
    order = _shuffled(cohort, patients, rng)
    part[order] = np.arange(len(order)) % parts
    return part[patients]


def _check_numbers(**numbers: tuple[int, int]) -> None:
    for name, (value, least) in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ScanwiseError(f"`{name}` of a split must be a whole number >= {least}, but got {value!r}")


def _check_classes(cohort: Cohort, patients: Patients, where: str, hint: str) -> None:
    present = np.unique(cohort.label[patients])
    if len(present) < len(CLASSES):
        one = f"only label {present[0]}" if present.size else "nobody"
        raise ScanwiseError(
            f"both classes must be in every part, but {where} has {one} ({len(patients)} patients)", hint
        )


def _check_rarest(cohort: Cohort, patients: Patients, folds: int, option: str, where: str) -> None:
    """Raise where a class has fewer patients than folds, which would leave it out of one."""
    counts = np.bincount(cohort.label[patients], minlength=len(CLASSES))
    rarest = int(counts.argmin())
    most = int(counts[rarest])
    if most < folds:
        raise ScanwiseError(
            f"both classes must be in every fold, but {most} patients with label {rarest} {where} cannot fill "
            f"{option}={folds}",
            f"at most {most} folds are possible: {option}={most}" if most >= 2 else "no cross-fitting is possible here",
        )
