"""What benchmarks of measurement patterns share: simple patterns, readers behind one interface, paired intervals."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from sklearn.ensemble import ExtraTreesClassifier
from torch import Tensor

from scanwise.design import Budget, Menu, Protocol, ShotTable, make_scheme
from scanwise.evidence import Interval
from scanwise.modalities.panel import TestPanel
from scanwise.model import (
    Actions,
    GreedyModel,
    Measurements,
    PatternModel,
    SubsetModel,
    SubsetReader,
    TrainerSettings,
    fit_halves,
)
from scanwise.physics import fft2c, ifft2c
from scanwise.search import LearnedSearch, Objective, SearchSpace

Mask = NDArray[np.bool_]
Tells = Callable[[NDArray[np.int64]], NDArray[np.float64]]
"""What somebody who was given a pattern tells of rows: probabilities or values, shape ``(rows, outputs)``."""
Grown = Callable[[Mask], NDArray[np.float64]]
"""The loss of a pattern with each further shot, shape ``(shots,)``; infinite where a shot is taken."""

TRAINER = TrainerSettings(threads=1, log=False)


def mask_of(shots: Sequence[int | np.integer] | NDArray[np.int64], n: int) -> Mask:
    """Return the mask of some of n shots."""
    mask = np.zeros(n, dtype=bool)
    mask[np.asarray(shots, dtype=np.int64)] = True
    return mask


def protocol_of(mask: Mask) -> Protocol:
    """Return the protocol that takes each shot of a mask once."""
    return Protocol({"shots": mask.astype(int)})


def lines_of(image: Tensor) -> Tensor:
    """Return the lines of k-space of complex images ``(rows, y, x)``.

    Shape ``(rows, lines, 2 * columns)``, real and imaginary parts in turn.
    """
    return torch.view_as_real(fft2c(image)).flatten(2)


def image_of(lines: Tensor) -> Tensor:
    """Return the complex images ``(rows, y, x)`` of lines as from `lines_of`."""
    return ifft2c(torch.view_as_complex(lines.unflatten(2, (-1, 2)).contiguous()))


def random_mask(n: int, take: int, rng: np.random.Generator) -> Mask:
    """Return any `take` of n shots."""
    return mask_of(rng.permutation(n)[:take], n)


def equispaced_mask(n: int, take: int) -> Mask:
    """Return `take` of n shots, evenly spaced."""
    return mask_of(np.floor((np.arange(take) + 0.5) * n / take).astype(int), n)


def fit_subsets(
    model: SubsetModel,
    problem: Measurements,
    rows: NDArray[np.int64],
    seed: int,
    subsets: Mask | None = None,
    walks: Mask | None = None,
) -> SubsetReader:
    """Train the network that reads any subset, in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        return model.fit(
            problem, rows, seed=seed, trainer=TRAINER, directory=Path(folder), subsets=subsets, walks=walks
        )


def reads(reader: SubsetReader, mask: Mask) -> Tells:
    """Return what a network that reads any subset tells from one pattern."""
    return lambda whom: reader.tell(mask[None], whom)[0].astype(np.float64)


def fit_peer(
    method: str, take: int, model: SubsetModel, problem: Measurements, rows: NDArray[np.int64], seed: int
) -> tuple[Mask, Tells]:
    """Train LOUPE or DPS for one number of measurements; return its pattern and what its own network tells."""
    with tempfile.TemporaryDirectory() as folder:
        mask, reader = PatternModel(method, take, model).fit(
            problem, rows, seed=seed, trainer=TRAINER, directory=Path(folder)
        )
    return mask, reads(reader, mask)


def walk_peer(
    method: str,
    take: int,
    model: SubsetModel,
    problem: Measurements,
    rows: NDArray[np.int64],
    judge: NDArray[np.int64],
    seed: int,
) -> list[NDArray[np.float32]]:
    """Train DIME or GDFS; return what it tells of rows that judge after 1 to `take` measurements, each of price 1."""
    with tempfile.TemporaryDirectory() as folder:
        policy = GreedyModel(method, take, model).fit(
            problem,
            rows,
            Actions.single(np.ones(problem.n_shots)),
            seed=seed,
            trainer=TRAINER,
            directory=Path(folder),
        )
    return [told for _, told in policy.walk(judge)]


def trees(problem: Measurements, rows: NDArray[np.int64], mask: Mask, seed: int) -> Tells:
    """Train extra-trees on one pattern (Geurts 2006)."""
    values = problem.values[:, mask].reshape(len(problem.values), -1)
    forest = ExtraTreesClassifier(300, random_state=seed).fit(values[rows], problem.target[rows])
    return lambda whom: forest.predict_proba(values[whom])


def losses_of(objective: Objective, masks: Sequence[Mask]) -> NDArray[np.float64]:
    """Return the mean loss of patterns, shape ``(masks,)``, of an objective that gives minus the loss of protocols."""
    return -objective([protocol_of(mask) for mask in masks])


def one_more(loss: Callable[[Sequence[Mask]], NDArray[np.float64]]) -> Grown:
    """Return what gives the loss of a pattern with each further shot, of what gives that of any pattern."""

    def grown(mask: Mask) -> NDArray[np.float64]:
        left = np.flatnonzero(~mask)
        found = np.full(len(mask), np.inf)
        found[left] = loss([mask | mask_of([shot], len(mask)) for shot in left])
        return found

    return grown


def greedy(grown: Grown, n: int, take: int) -> list[int]:
    """Return shots in the order of forward selection: each time the one that lowers the loss most."""
    order: list[int] = []
    for _ in range(take):
        order.append(int(np.argmin(grown(mask_of(order, n)))))
    return order


def exchange(grown: Grown, mask: Mask, rounds: int = 20) -> Mask:
    """Exchange one shot for another, the best pair first, while that lowers the loss (Fedorov 1972)."""
    for _ in range(rounds):
        taken = np.flatnonzero(mask)
        losses = np.stack([grown(mask & ~mask_of([shot], len(mask))) for shot in taken])
        now = losses[0, taken[0]]
        losses[np.arange(len(taken)), taken] = np.inf
        out, into = np.unravel_index(losses.argmin(), losses.shape)
        if losses[out, into] >= now:
            break
        mask = (mask & ~mask_of([taken[out]], len(mask))) | mask_of([into], len(mask))
    return mask


def over_seeds(differences: Sequence[NDArray[np.float64]], level: float = 0.95) -> Interval:
    """Return the mean difference and its interval from rows within, and scatter between, seeds.

    The variance of the mean is the larger one of two: seeds as the sample (t distribution), rows as the sample.

    Parameters
    ----------
    differences : per seed, the difference of every judging row, shape ``(rows,)``.
    """
    means = np.array([one.mean() for one in differences])
    value, n = float(means.mean()), len(means)
    by_row = float(np.sqrt(sum(one.var(ddof=1) / len(one) for one in differences))) / n
    wide = [(by_row, float(stats.norm.ppf(0.5 + level / 2)))]
    if n > 1:
        wide.append((float(means.std(ddof=1)) / n**0.5, float(stats.t.ppf(0.5 + level / 2, n - 1))))
    se, times = max(wide, key=lambda one: one[0] * one[1])
    return Interval(value, value - times * se, value + times * se, se, level)


class Clock:
    """Processor seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = time.process_time()

    def lap(self, name: str) -> None:
        """Give what has passed since the last lap to a name."""
        now = time.process_time()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._began
        self._began = now

    def add(self, other: Clock) -> None:
        """Add what another clock measured."""
        for name, spent in other.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + spent

    def table(self, of: str) -> tuple[str, list[str], list[list[str | float]]]:
        """Return title, columns and rows of a table of all names but the empty one.

        Parameters
        ----------
        of : what the seconds are of, e.g. ``"all seeds"``.
        """
        rows: list[list[str | float]] = [[name, round(spent, 1)] for name, spent in self.seconds.items() if name]
        return f"Processor seconds, {of}", ["what", "cpu-s"], rows


class Shots(TestPanel):
    """A flat list of measurements with a price each; searches decide which are taken."""

    def __init__(self, n: int, *, money: Sequence[float] | NDArray[np.float64] | float = 1.0) -> None:
        names = [f"s{index}" for index in range(n)]
        super().__init__("shots", shots={name: {} for name in names})
        self.shots = ShotTable.build(names, money=money)
        self.schemes = (make_scheme("whole"),)


def around(masks: Sequence[Mask], copies: int, rng: np.random.Generator, share: float = 0.5) -> Mask:
    """Return copies of patterns in which up to a share of the shots was replaced, ``(masks x copies, shots)``.

    Networks that learn these judge a pattern and its neighbours alike; those that learn the pattern itself favour it.
    """
    found = []
    for mask in masks:
        for _ in range(copies):
            taken, left = np.flatnonzero(mask), np.flatnonzero(~mask)
            n = int(rng.uniform(0, share) * min(len(taken), len(left)))
            other = mask.copy()
            other[rng.permutation(taken)[:n]] = False
            other[rng.permutation(left)[:n]] = True
            found.append(other)
    return np.stack(found)


class CrossJudged:
    """An objective on all learning rows: each half is judged by the network that learned from the other one.

    Parameters
    ----------
    model, problem, rows, seed : of the two networks.
    subsets : subsets around which patterns will be looked for; learned with the share `focus` of the model.
    looked_at : rows of each half that judge, about so many, evenly spread; `None` = all.

    Attributes
    ----------
    judged : each network with the rows it judges.
    """

    def __init__(
        self,
        model: SubsetModel,
        problem: Measurements,
        rows: NDArray[np.int64],
        seed: int,
        subsets: Mask | None = None,
        looked_at: int | None = None,
    ) -> None:
        self.n_shots = problem.n_shots
        with tempfile.TemporaryDirectory() as folder:
            self.judged = fit_halves(
                model, problem, rows, seed=seed, trainer=TRAINER, directory=Path(folder), subsets=subsets
            )
        self._readers = [
            reader.on(judge[:: max(1, len(judge) // (looked_at or len(judge)))]) for reader, judge in self.judged
        ]

    def __call__(self, protocols: Sequence[Protocol]) -> NDArray[np.float64]:
        """Return minus the mean loss, shape ``(protocols,)``."""
        found: NDArray[np.float64] = np.mean([reader(protocols) for reader in self._readers], axis=0)
        return found

    def losses(self, masks: Sequence[Mask]) -> NDArray[np.float64]:
        """Return the mean loss of patterns, shape ``(masks,)``."""
        return losses_of(self, masks)

    def slopes(self, protocol: Protocol, rng: np.random.Generator) -> tuple[float, dict[str, NDArray[np.float64]]]:
        """Return the value of a protocol for some rows, and its slope in every count."""
        told = [reader.slopes(protocol, rng) for reader in self._readers]
        slopes = {name: np.mean([one[1][name] for one in told], axis=0) for name in told[0][1]}
        return float(np.mean([value for value, _ in told])), slopes


def learned_masks(
    objective: CrossJudged,
    budgets: Sequence[float],
    *,
    starts: Sequence[Mask],
    seed: int,
    money: NDArray[np.float64] | float = 1.0,
    steps: int = 120,
    swaps: int = 40,
    tried: int = 12,
) -> list[Mask]:
    """Return one pattern per budget, learned by gradient through a reader and mended by swaps.

    Parameters
    ----------
    objective : networks that read any subset.
    budgets : price of the whole pattern at most.
    starts : patterns known before.
    seed, money, steps, swaps, tried : as for `LearnedSearch` and `Shots`.
    """
    menu = Menu([Shots(objective.n_shots, money=money)])
    search = LearnedSearch(budgets=budgets, starts=1, steps=steps, swaps=swaps, tried=tried)
    found = search.run(
        SearchSpace(menu),
        objective=objective,
        budget=Budget(),
        seed=seed,
        enqueue=[protocol_of(start) for start in starts],
    )
    masks = []
    for limit in budgets:
        within = [
            (value, one.key)
            for one, value in zip(found.protocols, found.values, strict=True)
            if menu.price(one)["money"] <= limit + 1e-9
        ]
        masks.append(Protocol.from_key(max(within)[1]).array("shots", objective.n_shots) > 0)
    return masks


def greedy_linear(
    values: NDArray[np.float64], target: NDArray[np.float64], take: int, price: NDArray[np.float64] | None = None
) -> list[int]:
    """Return measurements in the order of forward selection by linear least squares (orthogonalised).

    Parameters
    ----------
    values : what every measurement tells, shape ``(rows, shots)`` or ``(rows, shots, features)``.
    target : shape ``(rows, outputs)``.
    take : how many.
    price : of each; the gain is divided by it.
    """
    values = values.reshape(*values.shape[:2], -1)
    left = (values - values.mean(0)).transpose(1, 0, 2)  # what a measurement says beyond those before
    small = (1e-12 + 1e-6 * np.einsum("snf,snf->s", left, left))[:, None, None] * np.eye(values.shape[2])
    rest = target - target.mean(0)
    open_, order = np.ones(len(left), dtype=bool), []
    for _ in range(take):
        moment = left.mT @ rest
        gain = np.einsum("sfo,sfo->s", moment, np.linalg.solve(left.mT @ left + small, moment))
        says = np.einsum("snf,snf->s", left, left) > 1e-9
        merit = np.where(open_ & says, gain if price is None else gain / price, -np.inf)
        best = int(np.argmax(merit))
        if not np.isfinite(merit[best]):  # nothing is left that those before do not say; the others follow as they are
            return [*order, *np.flatnonzero(open_).tolist()][:take]
        axes = np.linalg.qr(left[best])[0]
        left = left - axes @ (axes.T @ left)
        rest = rest - axes @ (axes.T @ rest)
        open_[best] = False
        order.append(best)
    return order
