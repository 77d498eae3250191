"""Patterns learned by gradient: the chance of every shot, raised or lowered by what the shot adds to the diagnosis."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from scanwise.design import COST_AXES, Menu, Protocol, settings_of
from scanwise.errors import ScanwiseError, did_you_mean
from scanwise.search._book import Book, SinglePass
from scanwise.search.space import SearchSpace

Floats = NDArray[np.float64]

RELAXATIONS = ("bernoulli", "gumbel")
_UNSURE = 0.02
"""A chance stays this far from 0 and 1 when learning starts, so that it can still move."""
_REACH = 6.0
"""The logit of no chance ever gets larger, so that none is lost for good."""
_FAR, _HALVINGS = 40.0, 60
"""Range and precision of the shift that keeps a number of shots."""
_MOMENTUM, _SQUARES, _TINY = 0.9, 0.99, 1e-12
"""Constants of Adam (Kingma and Ba 2015)."""
_PRICE_PACE = 0.1
"""How fast the price of the budget rises while it is exceeded, as a share of the loss per step."""
_TEMPERATURE = 0.5
"""Width of the relaxed top-k, in logits."""


@typing.runtime_checkable
class GradientObjective(typing.Protocol):
    """An objective that can also say what every shot adds."""

    def __call__(self, protocols: Sequence[Protocol]) -> Floats:
        """Return the value of several protocols, shape ``(protocols,)``; higher is better."""

    def slopes(self, protocol: Protocol, rng: np.random.Generator) -> tuple[float, Mapping[str, Floats]]:
        """Return the value of a protocol for a few patients, and its slope in the count of every shot.

        Only modalities of the protocol have slopes, shape ``(shots,)`` each.
        """


@dataclass(frozen=True, kw_only=True)
class LearnedSearch(SinglePass):
    """Learn how often every shot is taken, in all modalities together, for several budgets.

    Every shot has a chance p; a draw takes it ``floor(M p + u)`` times, M its largest count in the lattice, u uniform.
    The exact protocol that was drawn is acquired and read, and its slopes go back to the chances as if the draw had
    been ``M p`` itself (straight-through; Bengio 2013). With ``relaxation="gumbel"`` each modality keeps the number of
    shots it has, and the draw takes those with the largest perturbed logits (Gumbel top-k; Kool 2019), relaxed to a
    sigmoid around the k-th one: which shots, not how many; shots that may be taken several times are drawn as before.
    The expected price, shared set-ups paid once, is held at the budget by dual ascent on its multiplier. What is
    learned is rounded to a protocol within the budget (whole echo trains where the shots come in trains), shots are
    swapped for others of the same modality as long as that helps, and the result is scored like any other.

    LOUPE (Bahadir 2020) and DPS (Huijben 2020) are the cases "one modality, no price, reconstruction".

    Parameters
    ----------
    relaxation : ``"bernoulli"`` (length and pattern) or ``"gumbel"`` (pattern alone).
    levels : how many budgets between the cheapest and the dearest protocol are learned, evenly spaced.
    budgets : the budgets themselves, on the first priced axis of the front, in place of `levels`.
    starts : from how many protocols each budget is learned, besides equal chances for all shots: those of the caller
        and current practice, the best within the budget first. Which modalities there are stays as in the start.
    steps : steps per budget and start.
    draws : protocols drawn per step.
    swaps : swaps at most after rounding: the shots whose slopes promise least for those whose slopes promise most.
    tried : shots of a modality that a swap may take away, and as many that it may bring in. The swaps that promise
        most are scored first, as many at a time, and the best of the first lot that holds a better one is taken.
    learning_rate : of Adam, in logits per step.

    References
    ----------
    Bengio Y, Leonard N, Courville A. Estimating or propagating gradients through stochastic neurons. arXiv 1308.3432.
    Kool W, van Hoof H, Welling M. Stochastic beams and where to find them. ICML 2019.
    Bahadir CD et al. Deep-learning-based optimization of the under-sampling pattern in MRI. IEEE TCI 2020;6:1139-1152.
    Huijben IAM, Veeling BS, van Sloun RJG. Deep probabilistic subsampling for task-adaptive compressed sensing.
    ICLR 2020.
    """

    relaxation: str = "bernoulli"
    levels: int = 5
    budgets: Sequence[float] | None = None
    starts: int = 1
    steps: int = 120
    draws: int = 2
    swaps: int = 4
    tried: int = 4
    learning_rate: float = 0.15

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.relaxation not in RELAXATIONS:
            raise ScanwiseError(
                f"search.relaxation must be one of {RELAXATIONS}, but got {self.relaxation!r}",
                did_you_mean(str(self.relaxation), RELAXATIONS),
            )
        for name in ("levels", "starts", "steps", "draws", "swaps", "tried"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < (name not in ("starts", "swaps")):
                raise ScanwiseError(f"search.{name} must be a whole number above 0, but got {value!r}")
        if self.budgets is not None and not (len(self.budgets) and all(limit > 0 for limit in self.budgets)):
            raise ScanwiseError(
                f"search.budgets must be numbers above 0, but got {list(self.budgets)}", "use null for even levels"
            )
        if not self.learning_rate > 0:
            raise ScanwiseError(f"search.learning_rate must be above 0, but got {self.learning_rate!r}")

    def _look(self, book: Book, rng: np.random.Generator) -> str:
        objective, space, menu = book.objective, book.space, book.menu
        if not isinstance(objective, GradientObjective):
            raise ScanwiseError(
                "patterns can only be learned from a model that says what every shot adds, and this one does not",
                "use model=imaging, or another search",
            )
        book.score([space.alone(name) for name in space.optional])
        price = Pricing(menu, book.axis)
        least = menu.matrix([space.mandatory])[0]
        most = _most(space, least)
        cheapest, dearest = price.of(least), min(price.of(most), book.budget.limits.get(book.axis, np.inf))
        limits = [cheapest + (dearest - cheapest) * level / (self.levels + 1) for level in range(1, self.levels + 1)]
        if self.budgets is not None:
            limits = sorted(min(limit, dearest) for limit in self.budgets)
        total, done = len(limits) * (1 + self.starts), 0
        for limit in limits:
            known = sorted(book.ledger.scores.items(), key=lambda one: -one[1])
            starts = [menu.matrix([Protocol.from_key(key)])[0] for key, _ in known]
            within = [counts for counts in starts if price.of(counts) <= limit and (counts > least).any()]
            for start in [None, *within[: self.starts]]:
                learner = Learner(menu, price, most, least, limit, start, self)
                for _ in range(self.steps):
                    learner.step(objective, rng)
                learned = learner.rounded()
                book.score([learned])
                if start is not None:  # learning may have led astray
                    learned = max(learned, _protocol(menu, start), key=book.worth)
                learned = self._swapped(book, learned, price, most, least, limit, rng)
                done += 1
                book.told(done, total, f"{book.axis} {book.price(learned):.4g} of {limit:.4g}")
        each = f"{1 + self.starts} starts each"
        return f"learned by gradient ({self.relaxation}), {len(limits)} budgets of {book.axis}, {each}"

    def _swapped(
        self,
        book: Book,
        protocol: Protocol,
        price: Pricing,
        most: NDArray[np.int64],
        least: NDArray[np.int64],
        limit: float,
        rng: np.random.Generator,
    ) -> Protocol:
        """Swap single shots within modalities while that raises the value; what is tried is scored and kept."""
        objective, menu = typing.cast("GradientObjective", book.objective), book.menu
        for _ in range(self.swaps):
            counts = menu.matrix([protocol])[0]
            _, slopes = objective.slopes(protocol, rng)
            promised: list[tuple[float, Protocol]] = []
            for name, slope in slopes.items():
                columns = np.arange(len(counts))[menu.columns(name)]
                out = columns[counts[columns] > least[columns]]
                into = columns[counts[columns] < most[columns]]
                by = dict(zip(columns.tolist(), slope.tolist(), strict=True))
                for worst in sorted(out.tolist(), key=by.__getitem__)[: self.tried]:
                    for best in sorted(into.tolist(), key=by.__getitem__)[: -self.tried - 1 : -1]:
                        other = counts.copy()
                        other[worst] -= 1
                        other[best] += 1
                        if best != worst and price.of(other) <= limit + 1e-9:
                            promised.append((by[best] - by[worst], _protocol(menu, other)))
            others = [other for _, other in sorted(promised, key=lambda one: -one[0])]
            for first in range(0, len(others), self.tried):
                block = others[first : first + self.tried]
                book.score(block)
                better = max([protocol, *block], key=book.worth)  # itself where nothing is better
                if better != protocol:
                    protocol = better
                    break
            else:
                return protocol
        return protocol


class Pricing:
    """The price of counts on one axis, and its expectation where shots are taken by chance.

    Parameters
    ----------
    menu : shots and set-ups.
    axis : one of `COST_AXES`.
    """

    def __init__(self, menu: Menu, axis: str) -> None:
        column = COST_AXES.index(axis)
        self.shot = menu.shot_costs[:, column]
        self.setup = menu.setup_costs[:, column]
        self.needs = menu.shot_setups

    def of(self, counts: NDArray[typing.Any]) -> float:
        """Return the price of counts, shape ``(shots,)``."""
        return float(counts @ self.shot + self.needs[np.asarray(counts) > 0].any(axis=0) @ self.setup)

    def expected(self, mean: Floats) -> tuple[float, Floats]:
        """Return the expected price of independent draws ``floor(mean + u)``, and its slope in every mean.

        A set-up is paid with the probability that any shot that needs it is taken.
        """
        taken = np.minimum(mean, 1.0)
        slope = self.shot.copy()
        total = float(mean @ self.shot)
        for setup, cost in enumerate(self.setup):
            rows = np.flatnonzero(self.needs[:, setup])
            if cost == 0 or not rows.size:
                continue
            left_out = 1 - taken[rows]
            none = float(np.prod(left_out))
            total += float(cost * (1 - none))
            others = np.array([np.prod(np.delete(left_out, at)) for at in range(len(rows))])
            slope[rows] += np.where(mean[rows] < 1, cost * others, 0.0)
        return total, slope


class Learner:
    """The chances of all shots for one budget.

    Parameters
    ----------
    menu, price : shots and their price on the axis that is limited.
    most, least : largest count of every shot and what must be taken, shape ``(shots,)``.
    limit : the budget.
    start : counts to begin with, `None` = equal chances for all shots; what it has none of stays out.
    settings : of the search.
    """

    def __init__(
        self,
        menu: Menu,
        price: Pricing,
        most: NDArray[np.int64],
        least: NDArray[np.int64],
        limit: float,
        start: NDArray[np.int64] | None,
        settings: LearnedSearch,
    ) -> None:
        self._menu = menu
        self._price = price
        self._settings = settings
        self._limit = limit
        self._least = least
        room = most - least
        if start is None:
            share = min(1.0, max(limit - price.of(least), 0.0) / max(price.of(most) - price.of(least), 1e-9))
            chance = np.full(len(most), share)
        else:
            for name in menu.modalities:
                columns = menu.columns(name)
                if not (start[columns] > least[columns]).any():
                    room[columns] = 0
            chance = np.divide(start - least, room, out=np.zeros(len(most)), where=room > 0)
        self._room = room
        self._logits = logit(np.clip(chance, _UNSURE, 1 - _UNSURE))
        self._of_fixed_length: list[tuple[NDArray[np.int64], int]] = []
        if settings.relaxation == "gumbel":
            self._of_fixed_length = list(self._lengths(chance))
        self._multiplier = 0.0
        self._scale = 0.0
        self._first = np.zeros(len(most))
        self._second = np.zeros(len(most))
        self._n = 0

    @property
    def mean(self) -> Floats:
        """Expected counts, shape ``(shots,)``."""
        mean: Floats = self._least + self._room * expit(self._logits)
        return mean

    def step(self, objective: GradientObjective, rng: np.random.Generator) -> None:
        """Draw a few protocols, ask what their shots add, and move the chances and the price of the budget."""
        slope = np.zeros(len(self._room))
        value = 0.0
        for _ in range(self._settings.draws):
            counts, pace = self._draw(rng)
            found, slopes = objective.slopes(_protocol(self._menu, counts), rng)
            value += found / self._settings.draws
            of_shots = np.zeros(len(slope))
            for name, slopes_of in slopes.items():
                of_shots[self._menu.columns(name)] = slopes_of
            slope += self._pulled(of_shots, pace) / self._settings.draws
        expected, rising = self._price.expected(self.mean)
        chance = expit(self._logits)
        self._scale = max(self._scale, abs(value))
        over = expected / self._limit - 1
        self._multiplier = max(0.0, self._multiplier + _PRICE_PACE * self._scale * over)
        weight = self._multiplier + self._scale * max(over, 0.0)
        slope -= self._pulled(weight * rising / self._limit, self._room * chance * (1 - chance))
        self._n += 1
        self._first = _MOMENTUM * self._first + (1 - _MOMENTUM) * slope
        self._second = _SQUARES * self._second + (1 - _SQUARES) * slope**2
        first = self._first / (1 - _MOMENTUM**self._n)
        second = self._second / (1 - _SQUARES**self._n)
        self._logits = self._logits + self._settings.learning_rate * first / (np.sqrt(second) + _TINY)
        self._logits = np.clip(self._logits, -_REACH, _REACH)
        self._keep_lengths()

    def rounded(self) -> Protocol:
        """Return the protocol within the budget that comes closest to the chances."""
        mean = self.mean
        counts = np.floor(mean + 0.5)
        for name, modality in self._menu.modalities.items():
            columns = self._menu.columns(name)
            counts[columns] = _whole_trains(counts[columns], mean[columns], modality.shots.what)
        while self._price.of(counts) > self._limit + 1e-9:
            self._take_away(counts, mean)
        return _protocol(self._menu, counts)

    def _take_away(self, counts: Floats, mean: Floats) -> None:
        """Take away what is needed least for what it saves: a shot, a train of lines, or a whole modality."""
        now = self._price.of(counts)
        best: tuple[float, Floats] | None = None
        for without in self._less(counts, mean):
            saved = now - self._price.of(without)
            loss = float((np.minimum(mean, counts) - without).clip(min=0).sum())
            if saved > 0 and (best is None or loss / saved < best[0]):
                best = loss / saved, without
        if best is None:
            raise ScanwiseError(f"what must be taken costs more than {self._limit:g}", "raise the limit")
        counts[:] = best[1]

    def _less(self, counts: Floats, mean: Floats) -> Iterator[Floats]:
        """Iterate over what is left when a part of one modality is taken away."""
        for name, modality in self._menu.modalities.items():
            columns = np.arange(len(counts))[self._menu.columns(name)]
            spare = columns[counts[columns] > self._least[columns]]
            if not spare.size:
                continue
            train = _train_length(modality.shots.what)
            order = spare[np.argsort(mean[spare] - counts[spare], kind="stable")]
            parts = (
                [order[: (len(spare) - 1) % train + 1]]
                if train > 1
                else [spare[at : at + 1] for at in range(len(spare))]
            )
            for part in parts:
                without = counts.copy()
                without[part] -= 1
                yield without
            without = counts.copy()
            without[spare] = self._least[spare]
            yield without

    def _lengths(self, chance: Floats) -> Iterator[tuple[NDArray[np.int64], int]]:
        """Iterate over the free shots of every modality, none taken twice, and how many of them are taken."""
        for name in self._menu.modalities:
            columns = np.arange(len(chance))[self._menu.columns(name)]
            free = columns[self._room[columns] > 0]
            n = int(np.floor(chance[free].sum() + 0.5))
            if 0 < n < len(free) and (self._room[free] == 1).all():
                yield free, n

    def _draw(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return counts, and how fast the relaxed count of every shot moves with its logit, both ``(shots,)``."""
        chance = expit(self._logits)
        counts = np.minimum(np.floor(self.mean + rng.random(len(chance))), self._least + self._room)
        pace = self._room * chance * (1 - chance)
        for free, n in self._of_fixed_length:
            perturbed = self._logits[free] + rng.gumbel(size=len(free))
            order = np.argsort(-perturbed, kind="stable")
            counts[free] = self._least[free]
            counts[free[order[:n]]] += 1
            edge = perturbed[order[n - 1 : n + 1]].mean()  # between the last one in and the first one out
            soft = expit((perturbed - edge) / _TEMPERATURE)
            pace[free] = soft * (1 - soft) / _TEMPERATURE
        return counts, pace

    def _pulled(self, slopes: Floats, pace: Floats) -> Floats:
        """Return the slope in the logits; where the number of shots is fixed, one can only rise at another's cost."""
        pulled = pace * slopes
        for free, _ in self._of_fixed_length:
            pulled[free] -= pace[free] * pulled[free].sum() / max(pace[free].sum(), _TINY)
        return pulled

    def _keep_lengths(self) -> None:
        """Shift logits so that the chances add up to the number of shots where that is fixed."""
        for free, n in self._of_fixed_length:
            low, high = -_FAR, _FAR
            for _ in range(_HALVINGS):
                middle = (low + high) / 2
                low, high = (middle, high) if expit(self._logits[free] + middle).sum() < n else (low, middle)
            self._logits[free] += low


def _most(space: SearchSpace, least: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how often the lattice takes every shot at most; what is not allowed stays as it must be."""
    most = least.copy()
    for name, modality in space.optional.items():
        most[space.menu.columns(name)] = np.max(list(settings_of(modality)), axis=0)
    return np.maximum(most, least)


def _protocol(menu: Menu, counts: NDArray[typing.Any]) -> Protocol:
    whole = np.asarray(counts).astype(np.int64)
    return Protocol({name: whole[menu.columns(name)] for name in menu.modalities})


def _train_length(what: Mapping[str, NDArray[typing.Any]]) -> int:
    return int(np.max(what.get("train_length", 1)))


def _whole_trains(counts: Floats, mean: Floats, what: Mapping[str, NDArray[typing.Any]]) -> Floats:
    """Take the nearest number of shots that fills whole echo trains, those with the largest means."""
    train = _train_length(what)
    if train == 1 or not counts.any():
        return counts
    wanted = min(max(round(counts.sum() / train), 1) * train, len(counts))
    chosen = np.zeros_like(counts)
    chosen[np.argsort(-mean, kind="stable")[:wanted]] = 1
    return chosen
