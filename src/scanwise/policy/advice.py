"""What is worth acquiring next in one patient, in numbers and in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from scanwise.design import Budget, Cost, Protocol, Scorer, amount
from scanwise.errors import ScanwiseError
from scanwise.policy.course import Guidance
from scanwise.policy.history import Shown, log_odds
from scanwise.policy.outlook import outlook
from scanwise.policy.patient import PatientSoFar
from scanwise.policy.workup import Workup

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class NextStep:
    """One acquisition that could come next.

    Parameters
    ----------
    title : what it is.
    protocol : what would have been done after it.
    worth : what it takes off the expected loss, what may follow included, less its price at the weight.
    gain : the same without the price of this step.
    at_once : what it takes off the expected loss by itself.
    cost : what it costs on top of what was done.
    low, high : between which the probability would be afterwards, in 8 of 10 patients who looked alike.
    """

    title: str
    protocol: Protocol
    worth: float
    gain: float
    at_once: float
    cost: Cost
    low: float
    high: float


@dataclass(frozen=True)
class Advice:
    """What to do next in one patient.

    Parameters
    ----------
    done : what was done.
    probability : of disease now.
    steps : what could come next, best first; what is not worth its price is below 0.
    notes : what the reader must know: extrapolation, incomplete tests.
    weight, axis : price weight, and the price it weighs.
    """

    done: Protocol
    probability: float
    steps: tuple[NextStep, ...]
    notes: tuple[str, ...]
    weight: float
    axis: str

    @property
    def next(self) -> NextStep | None:
        """The step to take, `None` where it is enough."""
        return self.steps[0] if self.steps and self.steps[0].worth > 0 else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "done": self.done.key,
            "probability": self.probability,
            "stop": self.next is None,
            "steps": [
                {
                    "title": one.title,
                    "protocol": one.protocol.key,
                    "worth": one.worth,
                    "gain": one.gain,
                    "at_once": one.at_once,
                    "cost": one.cost.to_dict(),
                    "low": one.low,
                    "high": one.high,
                }
                for one in self.steps
            ],
            "notes": list(self.notes),
            "weight": self.weight,
            "axis": self.axis,
        }


class Advisor:
    """Says what next, from the files of a run alone: the networks and what was learned in every fold, averaged.

    Parameters
    ----------
    about : ``about.json`` of the policy.
    guidance : per fold.
    readers : per fold, gives the model that reads a patient nobody learned from.
    weight : price weight.
    """

    def __init__(
        self,
        about: Mapping[str, Any],
        guidance: Sequence[Guidance],
        readers: Sequence[Callable[[PatientSoFar], Scorer]],
        weight: float,
    ) -> None:
        self.about = about
        self.weight = weight
        self._guidance = tuple(guidance)
        self._readers = tuple(readers)
        self.workup: Workup = guidance[0].guide.workup

    @property
    def panels(self) -> Mapping[str, Any]:
        """What the values of every panel are, and between which limits they were learned."""
        panels: Mapping[str, Any] = self.about["panels"]
        return panels

    def patient(self, content: Mapping[str, Any], folder: Path = Path()) -> PatientSoFar:
        """Return a patient from plain data; see `PatientSoFar`."""
        return PatientSoFar(self.workup.menu, self.panels, content, folder)

    def advise(self, patient: PatientSoFar, budget: Budget | None = None, *, seed: int = 0) -> Advice:
        """Say what next.

        Parameters
        ----------
        patient : so far.
        budget : limits of everything together, what was done included.
        seed : of policies that draw lots.

        Raises
        ------
        ScanwiseError
            If what was done is over the budget already.
        """
        workup, menu = self.workup, self.workup.menu
        state = workup.of(patient.protocol)
        limits = budget or Budget()
        spent = menu.price(workup.protocols[state])
        if not limits.allows(spent):
            raise ScanwiseError(
                f"what was done costs {spent.reading(menu.currency)}, more than the budget: "
                f"{limits.reading(menu.currency)}",
                "raise the budget, or leave it out",
            )
        asked = sorted({0, state, *workup.parts(state).tolist()})
        told = [self._told(index, patient, state, asked) for index in range(len(self._guidance))]
        probability = float(expit(np.mean([odds for odds, _, _, _ in told])))
        worth = np.mean([one for _, one, _, _ in told], axis=0)
        ends = np.mean([one for _, _, one, _ in told], axis=0)
        later = np.mean([one for _, _, _, one in told], axis=0)
        price = workup.price(self.about["axis"])
        if limits.limits:
            worth = self._within(state, limits, later, price)
        steps = []
        for index, after in enumerate(workup.after[state].tolist()):
            if after < 0:
                continue
            cost = Cost.from_array(workup.costs[after] - workup.costs[state])
            if not limits.allows(Cost.from_array(workup.costs[after])):
                continue
            steps.append(
                NextStep(
                    workup.title(workup.steps[index]),
                    workup.protocols[after],
                    float(worth[index]),
                    float(worth[index] + self.weight * (price[after] - price[state])),
                    float(later[state] - later[after]),
                    cost,
                    *(float(end) for end in ends[index]),
                )
            )
        steps.sort(key=lambda one: (-one.worth, one.protocol.key))
        return Advice(
            workup.protocols[state],
            probability,
            tuple(steps),
            (*patient.notes, *self._incomplete(patient, state)),
            self.weight,
            str(self.about["axis"]),
        )

    def _within(self, state: int, limits: Budget, later: Floats, price: Floats) -> Floats:
        """Return what steps are worth where not everything that could follow is affordable, shape ``(steps,)``.

        What was learned looks ahead to all that may follow. Under a budget the best affordable state that contains a
        step counts instead, in the patients who looked alike.
        """
        dear = [not limits.allows(Cost.from_array(cost)) for cost in self.workup.costs]
        return self.workup.gains(state, np.where(dear, np.inf, later + self.weight * price))

    def _told(
        self, index: int, patient: PatientSoFar, state: int, asked: Sequence[int]
    ) -> tuple[float, Floats, Floats, Floats]:
        """Return log odds now, worth and range afterwards per step, and the expected loss per state."""
        known, workup = self._guidance[index], self.workup
        row = np.zeros(1, dtype=np.int64)
        scores = self._readers[index](patient).score([workup.protocols[one] for one in asked], row)
        odds = np.full((workup.n_states, 1), np.nan)
        odds[asked] = log_odds(scores)
        begun = workup.levels[state] > 0
        values = tuple(
            one if mine else np.zeros_like(one) for one, mine in zip(known.values.of(patient, row), begun, strict=True)
        )
        shown = Shown(odds, values)
        worth = known.guide.worth(state, shown, self.weight, np.random.default_rng(index))[0]
        ends, later = outlook(workup, shown, known.earlier, state, measure=self.about["measure"])
        return float(odds[state, 0]), worth, ends, later

    def _incomplete(self, patient: PatientSoFar, state: int) -> list[str]:
        """Return which tests were begun but do not count yet, because values are missing."""
        counted, notes = self.workup.protocols[state], []
        for name in patient.protocol.modalities:
            mine = np.array(patient.protocol.counts(name))
            used = counted.array(name, len(mine))
            if (mine > used).any():
                title = self.workup.menu.modalities[name].title
                notes.append(f"{title} does not count yet: it is not complete, or this study has no such length of it")
        return notes


def in_words(advice: Advice, workup: Workup, *, disease: str = "disease", shown: int = 5) -> str:
    """Return advice as text for the terminal.

    Parameters
    ----------
    advice : what to say.
    workup : its menu.
    disease : what a positive patient has.
    shown : steps that are listed.
    """
    menu = workup.menu
    lines = [
        f"Done so far: {menu.reading(advice.done)} ({menu.price(advice.done).reading(menu.currency)})",
        f"Probability of {disease}: {100 * advice.probability:.0f} %",
        *(f"Note: {note}" for note in advice.notes),
    ]
    if not advice.steps:
        everything = workup.of(advice.done) == workup.n_states - 1
        lines.append("Everything on the menu was done." if everything else "Nothing more fits the budget.")
        return "\n".join(lines) + "\n"
    best = advice.next
    if best is None:
        lines.append("It is enough: nothing that is left is worth its price.")
    else:
        lines.append(f"Next: {best.title}, for {amount(advice.axis, best.cost[advice.axis], menu.currency)} more")
        lines.append(f"Why: {_why(best, advice)}")
    lines += ["", f"  {'what could come next':<44}{'price':>12}{'worth':>9}   probability then"]
    for one in advice.steps[:shown]:
        price = amount(advice.axis, one.cost[advice.axis], menu.currency)
        title = one.title if len(one.title) <= 42 else one.title[:41] + "…"
        lines.append(
            f"  {title:<44}{price:>12}{1000 * one.worth:>+9.1f}   {100 * one.low:.0f} to {100 * one.high:.0f} %"
        )
    lines += [
        "",
        "  worth: thousandths of expected loss taken off, less the price; ranges: 8 of 10 earlier patients who looked "
        "alike.",
    ]
    return "\n".join(lines) + "\n"


def _why(best: NextStep, advice: Advice) -> str:
    paid = best.gain - best.worth
    text = (
        f"in patients who looked alike it moved the probability from {100 * advice.probability:.0f} % to between "
        f"{100 * best.low:.0f} and {100 * best.high:.0f} %"
    )
    if best.at_once < paid:
        return f"{text}; alone that would not pay, but it opens the way to what comes after it"
    return f"{text}, more than its price weighs"
