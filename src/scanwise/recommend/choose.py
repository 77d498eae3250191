"""The rule that picks a protocol: declared before anyone looks, chosen and ordered by searching patients only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from scanwise.design import COST_AXES, Budget, Cost
from scanwise.errors import ScanwiseError, did_you_mean
from scanwise.evidence import ScoreTable, auc_with_covariance
from scanwise.evidence.comparison import check_rule
from scanwise.evidence.intervals import MINIMUM_RESAMPLES, check_level
from scanwise.evidence.operating import check_share


@dataclass(frozen=True)
class Rule:
    """How a protocol is chosen and judged; fixed beforehand.

    Among the protocols within the budget, take the cheapest on the primary cost axis that the searching patients show
    to be non-inferior to the reference; where none is, the cheapest within one standard error of the highest AUC
    (Breiman et al. 1984). Where the judging patients took no part in the choice, non-inferior protocols are tested on
    them in a fixed sequence: from the dearest on the front of the searching patients down, and the last one before the
    first that fails is taken. Each test has the full level, because a later one counts only if all before it passed
    (Maurer et al. 1995; Westfall and Krishen 2001).

    Raises
    ------
    ScanwiseError
        For an unknown primary cost axis, or a number out of its range.
    """

    margin: float = 0.03
    """AUC that may be lost at most."""
    alpha: float = 0.025
    """One-sided level of the non-inferiority test."""
    level: float = 0.95
    """Level of the intervals."""
    specificity: float = 0.8
    """Specificity at which sensitivity is reported."""
    thresholds: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5)
    """Probabilities at which one would act (decision curve)."""
    n_resamples: int = 2000
    """Bootstrap draws."""
    primary: str = "money"
    """The cost axis that is to be low."""
    seed: int = 0
    """Of the bootstrap."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", tuple(float(value) for value in self.thresholds))
        check_rule(self.margin, self.alpha)
        check_level(self.level)
        for name, share in (("specificity", self.specificity), *(("threshold", value) for value in self.thresholds)):
            check_share(name, share)
        if self.n_resamples < MINIMUM_RESAMPLES:
            raise ScanwiseError(
                f"n_resamples must be at least {MINIMUM_RESAMPLES}, but got {self.n_resamples}", "2000 is usual"
            )
        if self.seed < 0:
            raise ScanwiseError(f"seed must be a whole number >= 0, but got {self.seed}", "0 is as good as any")
        if self.primary not in COST_AXES:
            raise ScanwiseError(
                f"the primary cost must be one of {COST_AXES}, but got {self.primary!r}",
                did_you_mean(self.primary, COST_AXES),
            )

    def reading(self, *, in_sequence: bool) -> str:
        """Return the rule as two sentences.

        Parameters
        ----------
        in_sequence : whether other patients judge, in a fixed sequence; otherwise all patients judge in turn.
        """
        chosen = (
            f"Of all protocols within the budget, the one lowest in {self.primary.replace('_', ' ')} whose AUC the "
            f"searching patients show to be no more than {self.margin:g} below the reference (one-sided "
            f"alpha {self.alpha:g}); where none is, the lowest within one standard error of the highest AUC."
        )
        if not in_sequence:
            return f"{chosen} Judged by networks that never saw the patients who judge."
        return (
            f"{chosen} The non-inferior ones on the front are judged on other patients from the dearest down, each at "
            "the same level, and the last before the first that fails is taken (fixed-sequence test)."
        )


Status = Literal["non-inferior", "best affordable", "nothing affordable"]


@dataclass(frozen=True)
class Choice:
    """What the rule picks."""

    key: str | None
    status: Status


class Chooser:
    """Applies the rule to one score table of searching patients.

    Parameters
    ----------
    table : scores of the searching patients; the reference is among its protocols.
    costs : of every protocol of the table.
    reference : key of the reference.
    rule : how to choose.
    confirmed : whether other patients show a protocol to be non-inferior, for a fixed sequence of tests; `None` where
        the judging patients took part in the choice.
    """

    def __init__(
        self,
        table: ScoreTable,
        costs: Mapping[str, Cost],
        reference: str,
        rule: Rule,
        confirmed: Mapping[str, bool] | None = None,
    ) -> None:
        self._estimates = auc_with_covariance(table)
        difference, se = self._estimates.difference_to(reference)
        self.keys: tuple[str, ...] = table.protocols
        self.auc: NDArray[np.float64] = self._estimates.value
        lower = difference - norm.isf(rule.alpha) * se
        # the reference is no worse than itself, whatever the rounding
        self.non_inferior = (lower > -rule.margin) | np.array([key == reference for key in self.keys])
        self._costs = [costs[key] for key in self.keys]
        self._primary = rule.primary
        self._reference = self.keys.index(reference)
        self._confirmed = confirmed

    def pick(self, budget: Budget) -> Choice:
        """Return the protocol that the rule picks within a budget."""
        affordable = [row for row, cost in enumerate(self._costs) if budget.allows(cost)]
        if not affordable:
            return Choice(None, "nothing affordable")
        good = [row for row in affordable if self.non_inferior[row]]
        if good:
            row = min(good, key=self._dearness) if self._confirmed is None else self._in_sequence(good)
            return Choice(self.keys[row], "non-inferior")
        best = max(affordable, key=lambda row: float(self.auc[row]))
        difference, se = self._estimates.difference_to(self.keys[best])
        alike = [row for row in affordable if difference[row] >= -se[row]]
        return Choice(self.keys[min(alike, key=self._dearness)], "best affordable")

    def ladder(self, budget: Budget) -> list[tuple[float, Choice]]:
        """Return what is picked as the limit on the primary axis grows, ``(limit, choice)``; other limits are kept."""
        steps: list[tuple[float, Choice]] = []
        limits = {axis: limit for axis, limit in budget.limits.items() if axis != self._primary}
        for limit in sorted({round(cost[self._primary], 9) for cost in self._costs}):
            choice = self.pick(Budget.from_mapping({**limits, self._primary: limit}))
            if choice.key is not None and (not steps or steps[-1][1] != choice):
                steps.append((limit, choice))
        return steps

    def non_inferior_by_price(self) -> list[str]:
        """Return the keys of all protocols that are shown to be non-inferior, in the order they would be picked."""
        rows = np.flatnonzero(self.non_inferior).tolist()
        return [self.keys[row] for row in sorted(rows, key=self._dearness)]

    def _in_sequence(self, good: Sequence[int]) -> int:
        """Return the last protocol of the sequence before the first that fails; that one where it comes first."""
        assert self._confirmed is not None  # noqa: S101 - for the type checker
        front: list[int] = []
        for row in sorted(good, key=self._dearness):
            if not front or self.auc[row] > self.auc[front[-1]] or row == self._reference:
                front.append(row)
        if self._reference in front:  # what costs more than today is no saving
            front = front[: front.index(self._reference) + 1]
        passed = None
        for row in reversed(front):
            if row != self._reference and not self._confirmed[self.keys[row]]:
                return row if passed is None else passed
            passed = None if row == self._reference else row
        return self._reference if passed is None else passed

    def _dearness(self, row: int) -> tuple[float, ...]:
        cost = self._costs[row]
        return (round(cost[self._primary], 9), *(round(value, 9) for value in cost), -float(self.auc[row]))


def one_round(table: ScoreTable, round_: int) -> ScoreTable:
    """Return the table of one round alone, with the patients scored in it."""
    scored = table.stratum[round_] >= 0
    return ScoreTable(
        protocols=table.protocols,
        probability=table.probability[round_ : round_ + 1][:, :, scored],
        stratum=table.stratum[round_ : round_ + 1][:, scored],
        label=table.label[scored],
        site=table.site[scored],
    )


def nested_table(
    test: ScoreTable, picks: Sequence[str | None], places: Sequence[tuple[int, int]], reference: str, name: str
) -> ScoreTable:
    """Return the scores of the whole procedure: in every fold, the protocol that was picked without its patients.

    Parameters
    ----------
    test : scores of the judging patients.
    picks : what was picked in every outer fold.
    places : round and stratum of the judging patients of every outer fold.
    reference : key of the reference, the second protocol of the table returned.
    name : key of the first one, the procedure.
    """
    probability = np.full((test.n_rounds, 2, len(test.label)), np.nan)
    probability[:, 1] = test.probability[:, test.row(reference)]
    for pick, (round_, stratum) in zip(picks, places, strict=True):
        if pick is not None:
            judged = test.stratum[round_] == stratum
            probability[round_, 0, judged] = test.probability[round_, test.row(pick), judged]
    return ScoreTable((name, reference), probability, test.stratum, test.label, test.site)
