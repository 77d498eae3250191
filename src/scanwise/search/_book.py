"""What searches share that score as they go, without a journal: limits, ledger, and the signature of `run`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scanwise.design import Budget, Protocol
from scanwise.search._scoring import Ledger, Limits, Objective, Progress, Scoring, Yardstick, resolve_objectives
from scanwise.search.result import DIAGNOSIS, SearchResult, check_objectives
from scanwise.search.space import SearchSpace


class Book:
    """The protocols that one search has scored, and what it may spend.

    Parameters
    ----------
    space, objective, budget, progress : as handed to `Search.run`.
    objectives : what the front trades off.
    """

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        budget: Budget,
        progress: Progress | None,
        objectives: tuple[str, ...],
    ) -> None:
        self.space = space
        self.menu = space.menu
        self.objective = objective
        self.budget = budget
        self.axis = next(name for name in objectives if name != DIAGNOSIS)
        """The first cost of the front."""
        self.ledger = Ledger(space.menu, Yardstick.build(objectives, space.menu, budget))
        self.scoring = Scoring(objective)
        self._progress = progress

    def score(self, protocols: Sequence[Protocol]) -> None:
        """Score what is within the limits and not scored yet."""
        known = self.ledger.scores
        new = [one for one in dict.fromkeys(protocols) if one.key not in known]
        new = [one for one in new if self.budget.allows(self.menu.price(one))]
        for protocol, outcome in zip(new, self.scoring(new), strict=False):
            if not outcome.failed:
                self.ledger.add(protocol, outcome.value)
        self.scoring.raise_broken()
        self.ledger.close_batch()

    def value(self, protocol: Protocol) -> float | None:
        """Return the value of a protocol, `None` where it has none."""
        return self.ledger.scores.get(protocol.key)

    def worth(self, protocol: Protocol) -> float:
        """Return the value of a protocol, minus infinity where it has none."""
        value = self.value(protocol)
        return -np.inf if value is None else value

    def price(self, protocol: Protocol) -> float:
        """Return the price on the axis of the front."""
        return self.menu.price(protocol)[self.axis]

    def told(self, done: int, total: int, text: str) -> None:
        """Pass on how far the search is."""
        if self._progress is not None:
            self._progress(done, total, text)


@dataclass(frozen=True, kw_only=True)
class SinglePass(ABC):
    """A search in one go: what it has scored is not kept when it is interrupted.

    Parameters
    ----------
    objectives : what the front trades off, `None` = diagnosis and the first priced axis (money before others).
    """

    objectives: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.objectives is not None:
            check_objectives(tuple(self.objectives))

    def check(self, space: SearchSpace, *, budget: Budget, directories: Sequence[Path] = ()) -> None:
        """Find what is wrong before any work; see `Search.check`."""
        resolve_objectives(None if self.objectives is None else tuple(self.objectives), space.menu)
        Limits(space, budget).check()

    def is_shared(self, space: SearchSpace) -> bool:
        """Whether several processes share the work: they do not, it is one process's work."""
        return False

    def run(
        self,
        space: SearchSpace,
        *,
        objective: Objective,
        budget: Budget,
        seed: int = 0,
        directory: Path | str | None = None,
        progress: Progress | None = None,
        enqueue: Sequence[Protocol] = (),
        data: str = "",
    ) -> SearchResult:
        """Search; see `Search.run`. What is enqueued is scored first, in the space or not.

        Raises
        ------
        ScanwiseError
            If no protocol is within the limits, or the scoring fails.
        """
        self.check(space, budget=budget)
        objectives = resolve_objectives(None if self.objectives is None else tuple(self.objectives), space.menu)
        book = Book(space, objective, budget, progress, objectives)
        for protocol in enqueue:
            space.menu.check(protocol)
        book.score([space.mandatory, space.menu.reference, *enqueue])
        how = self._look(book, np.random.default_rng([seed, 0x7365]))
        return book.ledger.result(how, complete=False, failures=book.scoring.failures)

    @abstractmethod
    def _look(self, book: Book, rng: np.random.Generator) -> str:
        """Score protocols; return how in a few words."""
