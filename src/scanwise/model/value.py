"""What the next measurement is worth: a network that looks ahead to all that may follow, at any price weight."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from scanwise.design import Patients
from scanwise.errors import ScanwiseError
from scanwise.model.measurements import Measurements, SubsetReader, SubsetTrunk
from scanwise.model.trainer import Progress, TrainerSettings, quiet_training

_FOLLOW = 0.005
"""Share of the difference to the learning network that the network which looks ahead takes over per step."""
_STALE = 0.02
"""Chance per step that an examination is broken off, so that others begin, whatever the policy does."""


class Actions:
    """What can be done next, and what it costs in a state: groups of measurements, with shared set-ups paid once.

    Parameters
    ----------
    groups : which measurements each action takes, shape ``(actions, shots)``.
    price : of every measurement, shape ``(shots,)``.
    needs : which set-ups every measurement needs, shape ``(shots, set_ups)``; `None` = none.
    setup_price : shape ``(set_ups,)``.

    Raises
    ------
    ScanwiseError
        If shapes do not fit, an action takes nothing, or a price is negative.
    """

    def __init__(
        self,
        groups: NDArray[np.bool_],
        price: NDArray[np.float64],
        needs: NDArray[np.bool_] | None = None,
        setup_price: NDArray[np.float64] | None = None,
    ) -> None:
        shots = groups.shape[1]
        needed = np.zeros((shots, 0), dtype=bool) if needs is None else needs
        dear = np.zeros(0) if setup_price is None else np.asarray(setup_price, dtype=np.float64)
        if len(price) != shots or needed.shape != (shots, len(dear)):
            raise ScanwiseError(
                f"{shots} measurements need as many prices and rows of set-ups, but got {len(price)} and {needed.shape}"
            )
        if not groups.any(axis=1).all():
            raise ScanwiseError("every action must take a measurement", "leave empty groups out")
        if not (np.asarray(price) >= 0).all() or not (dear >= 0).all():
            raise ScanwiseError("prices must not be negative")
        self.groups = torch.from_numpy(groups.astype(np.float32))
        self.price = torch.as_tensor(price, dtype=torch.float32)
        self.needs = torch.from_numpy(needed.astype(np.float32))
        self.setup_price = torch.as_tensor(dear, dtype=torch.float32)
        self._needed = (self.groups @ self.needs > 0).float()  # actions, set-ups

    @classmethod
    def single(cls, price: NDArray[np.float64]) -> Actions:
        """Return one action per measurement, without set-ups."""
        return cls(np.eye(len(price), dtype=bool), price)

    def __len__(self) -> int:
        return len(self.groups)

    def costs(self, taken: Tensor) -> Tensor:
        """Return what each action would cost, shape ``(rows, actions)``, given what was taken, ``(rows, shots)``."""
        shots = (1 - taken) * self.price @ self.groups.T
        have = (taken @ self.needs > 0).float()
        setups = ((1 - have) * self.setup_price) @ self._needed.T
        return shots + setups

    def open(self, taken: Tensor) -> Tensor:
        """Return which actions would still bring something, shape ``(rows, actions)``, bool."""
        return (1 - taken) @ self.groups.T > 0

    def spent(self, taken: Tensor) -> Tensor:
        """Return what was spent on what was taken, shape ``(rows,)``."""
        return taken @ self.price + (taken @ self.needs > 0).float() @ self.setup_price


@dataclass(frozen=True)
class ValueModel:
    """Learns the worth of every action in every state, for every price weight at once.

    The worth of action a in state s is what it takes off the loss, less what it costs, and whatever is worth doing
    afterwards: ``Q(s, a) = E[loss(s) - loss(s + a)] - w cost(s, a) + E[max(0, max_b Q(s + a, b))]``, the Bellman
    equation of optimal stopping. One looks through a set-up, or a test that only says where to look, because what
    follows is part of the worth. The price weight w [loss per unit of price] is an input, so that one network serves
    every budget: acting on the largest Q, and stopping where none is above 0.

    Learned by Q-learning (Watkins and Dayan 1992) with a slowly following network and its action chosen by the
    learning one (van Hasselt 2016), on examinations that the policy itself carries out with some random actions.
    Losses are those of readers that did not learn from the row.

    Parameters
    ----------
    width, n_blocks, dropout : size of the network.
    learning_rate, weight_decay, steps, batch_size : one-cycle AdamW; the batch is the number of examinations at once.
    weights : smallest and largest price weight; drawn evenly on a log scale.
    explore : share of random actions.

    References
    ----------
    Watkins CJCH, Dayan P. Q-learning. Machine Learning 1992;8:279-292.
    van Hasselt H, Guez A, Silver D. Deep reinforcement learning with double Q-learning. AAAI 2016.
    Janisch J, Pevny T, Lisy V. Classification with costly features using deep reinforcement learning. AAAI 2019.
    """

    width: int = 128
    n_blocks: int = 2
    dropout: float = 0.0
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    steps: int = 3000
    batch_size: int = 256
    weights: tuple[float, float] = (1e-3, 1.0)
    explore: float = 0.2

    def __post_init__(self) -> None:
        for name in ("width", "n_blocks", "learning_rate", "steps", "batch_size"):
            if not getattr(self, name) > 0:
                raise ScanwiseError(f"{name} must be above 0, but got {getattr(self, name)!r}")
        low, high = self.weights
        if not 0 < low <= high:
            raise ScanwiseError(f"weights must be two ascending numbers above 0, but got {self.weights}")
        if not 0 <= self.explore <= 1:
            raise ScanwiseError(f"explore must be in [0, 1], but got {self.explore}")

    def fit(
        self,
        measurements: Measurements,
        judged: Sequence[tuple[SubsetReader, Patients]],
        actions: Actions,
        *,
        seed: int,
        trainer: TrainerSettings,
        directory: Path,
        progress: Progress | None = None,
    ) -> ValueReader:
        """Train on rows with the losses of readers that did not learn from them.

        Parameters
        ----------
        measurements : the problem.
        judged : readers, each with the rows whose losses it says.
        actions : what can be done.
        seed : initial weights, examinations, exploration.
        trainer, directory, progress : as for the other models.
        """
        rows = np.concatenate([of for _, of in judged])
        network = ValueNetwork(
            n_shots=measurements.n_shots,
            n_features=measurements.values.shape[2],
            n_actions=len(actions),
            width=self.width,
            n_blocks=self.n_blocks,
            dropout=self.dropout,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            steps=self.steps,
            weights=self.weights,
            seed=seed,
        )
        network.standardise_values(torch.from_numpy(measurements.values[rows]))
        network.examine(_Examinations(measurements, judged, actions, self, seed))
        run = trainer.build(steps=self.steps, directory=directory, progress=progress)
        with quiet_training():
            torch.manual_seed(seed)
            run.fit(network, DataLoader(Ticks(self.steps), batch_size=None))
        network.examine(None)
        return ValueReader(network.eval().cpu(), measurements, actions)


class ValueNetwork(SubsetTrunk):
    """From what was measured and the price weight to the worth of every action; see `ValueModel`."""

    def __init__(
        self,
        *,
        n_shots: int,
        n_features: int,
        n_actions: int,
        width: int,
        n_blocks: int,
        dropout: float,
        learning_rate: float,
        weight_decay: float,
        steps: int,
        weights: tuple[float, float],
        seed: int,
    ) -> None:
        super().__init__(
            n_shots=n_shots,
            n_features=n_features,
            n_outputs=n_actions,
            n_further=1,
            width=width,
            n_blocks=n_blocks,
            dropout=dropout,
            seed=seed,
        )
        self.save_hyperparameters()
        nn.init.zeros_(self.told.weight)
        low, high = (math.log(one) for one in weights)
        self._middle, self._half = (low + high) / 2, max((high - low) / 2, 1e-6)
        self._examinations: _Examinations | None = None
        self._following: list[ValueNetwork] = []  # in a list: no submodule

    def examine(self, examinations: _Examinations | None) -> None:
        """Hand over what is learned from; `None` = nothing more."""
        self._examinations = examinations
        self._following = []

    def forward(self, values: Tensor, taken: Tensor, weight: Tensor) -> Tensor:
        """Return the worth of every action, shape ``(rows, actions)``.

        Parameters
        ----------
        values : shape ``(rows, shots, features)``.
        taken : shape ``(rows, shots)``.
        weight : price weight, shape ``(rows,)``.
        """
        return self.read(values, taken, ((weight.log() - self._middle) / self._half)[:, None])

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Take one action in every examination, and learn from what it brought."""
        examinations = self._examinations
        if examinations is None:
            raise ScanwiseError("there is nothing to learn from", "train with ValueModel.fit")
        if not self._following:
            self._following.append(copy.deepcopy(self).requires_grad_(False).eval())
        following = self._following[0]
        values, taken, weight = examinations.values, examinations.taken, examinations.weight
        told = self(values, taken, weight)
        chosen, gain, after = examinations.act(told.detach())
        left = examinations.actions.open(after)
        with torch.no_grad():
            self.eval()
            best = self(values, after, weight).masked_fill(~left, -torch.inf).argmax(1)
            self.train()
            ahead = following(values, after, weight).gather(1, best[:, None])[:, 0]
            ahead = torch.where(left.any(1), ahead.clamp(min=0), 0.0)
            for slow, fast in zip(following.parameters(), self.parameters(), strict=True):
                slow.lerp_(fast, max(_FOLLOW, 1 / (2 + self.global_step)))
        wanted = gain + ahead
        loss = nn.functional.smooth_l1_loss(told.gather(1, chosen[:, None])[:, 0], wanted)
        examinations.go_on(told.detach(), after, left)
        self.log("loss", loss.detach(), prog_bar=False, batch_size=1)
        return loss


class ValueReader:
    """Says what every next action is worth, and carries examinations out.

    Parameters
    ----------
    network : trained.
    measurements : the problem.
    actions : what can be done.
    """

    def __init__(self, network: ValueNetwork, measurements: Measurements, actions: Actions) -> None:
        self.network = network
        self.measurements = measurements
        self.actions = actions

    @torch.inference_mode()
    def worth(self, rows: Patients, taken: NDArray[np.bool_], weight: float) -> NDArray[np.float32]:
        """Return the worth of every action, minus infinity where it would bring nothing new.

        Parameters
        ----------
        rows : who is examined.
        taken : what was measured of each, shape ``(rows, shots)``; nothing else of `values` is looked at.
        weight : price weight.

        Returns
        -------
        Shape ``(rows, actions)``.
        """
        state = torch.from_numpy(taken.astype(np.float32))
        values = torch.from_numpy(self.measurements.values[rows])
        worth = self.network(values, state, torch.full((len(rows),), float(weight)))
        found: NDArray[np.float32] = worth.masked_fill(~self.actions.open(state), -torch.inf).numpy()
        return found

    def walk(
        self,
        rows: Patients,
        weight: float,
        *,
        budget: float | None = None,
        stops: bool = True,
        start: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Examine every row by what is worth most, until nothing is worth its price or the budget is spent.

        Parameters
        ----------
        rows : who is examined.
        weight : price weight.
        budget : nothing dearer in all is done; `None` = no limit.
        stops : whether to stop where nothing is worth its price; otherwise the budget alone decides.
        start : what everybody has, shape ``(shots,)``.

        Returns
        -------
        taken : what was measured, shape ``(rows, shots)``.
        order : actions in their order, shape ``(rows, steps)``, -1 once stopped.

        Raises
        ------
        ScanwiseError
            If neither the budget nor the worth ends an examination.
        """
        if not stops and budget is None:
            raise ScanwiseError("an examination must end: give a budget, or stop where nothing is worth its price")
        taken = np.zeros((len(rows), self.measurements.n_shots), dtype=bool)
        if start is not None:
            taken |= start
        groups = self.actions.groups.numpy() > 0
        order: list[NDArray[np.int64]] = []
        going = np.ones(len(rows), dtype=bool)
        while going.any():
            here = np.flatnonzero(going)
            worth = self.worth(rows[here], taken[here], weight)
            if budget is not None:
                state = torch.from_numpy(taken[here].astype(np.float32))
                dear = (self.actions.spent(state)[:, None] + self.actions.costs(state)).numpy() > budget + 1e-6
                worth[dear] = -np.inf
            best = worth.argmax(axis=1)
            value = worth[np.arange(len(here)), best]
            done = value <= (0 if stops else -np.inf)
            step = np.full(len(rows), -1)
            step[here[~done]] = best[~done]
            taken[here[~done]] |= groups[best[~done]]
            going[here[done]] = False
            if (step >= 0).any():
                order.append(step)
        return taken, np.stack(order, axis=1) if order else np.zeros((len(rows), 0), dtype=np.int64)


class Ticks(IterableDataset[int]):
    """One tick per step: the examinations are inside the network."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._steps))


class _Examinations:
    """Many examinations at once, each of a learning row at a price weight of its own, with what is known so far."""

    def __init__(
        self,
        measurements: Measurements,
        judged: Sequence[tuple[SubsetReader, Patients]],
        actions: Actions,
        settings: ValueModel,
        seed: int,
    ) -> None:
        self.actions = actions
        self._settings = settings
        self._rng = torch.Generator().manual_seed(seed)
        self._readers = [reader.networks for reader, _ in judged]
        self._rows = torch.from_numpy(np.concatenate([rows for _, rows in judged]))
        self._judge_of = torch.cat([torch.full((len(rows),), at) for at, (_, rows) in enumerate(judged)])
        self._values = torch.from_numpy(measurements.values)
        self._target = torch.from_numpy(measurements.target)
        n, shots = settings.batch_size, measurements.n_shots
        self._which = torch.zeros(n, dtype=torch.int64)
        self.taken = torch.zeros(n, shots)
        self.weight = torch.ones(n)
        self._loss = torch.zeros(n)
        self._begin(torch.ones(n, dtype=torch.bool))

    @property
    def values(self) -> Tensor:
        """What would be measured of everybody, shape ``(examinations, shots, features)``."""
        return self._values[self._rows[self._which]]

    def act(self, told: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Choose an action per examination; return it, what it brought less its price, and what is taken then."""
        n = len(told)
        open_ = self.actions.open(self.taken)
        random = torch.rand(told.shape, generator=self._rng).masked_fill(~open_, -1.0).argmax(1)
        best = told.masked_fill(~open_, -torch.inf).argmax(1)
        wild = torch.rand(n, generator=self._rng) < self._settings.explore
        chosen = torch.where(wild, random, best)
        cost = self.actions.costs(self.taken).gather(1, chosen[:, None])[:, 0]
        after = torch.maximum(self.taken, self.actions.groups[chosen])
        loss = self._losses(self._which, after)
        gain = self._loss - loss - self.weight * cost
        self._after = loss
        return chosen, gain, after

    def go_on(self, told: Tensor, after: Tensor, left: Tensor) -> None:
        """Go on with what is taken; who has all, whom nothing was worth it, or by chance, is followed by another."""
        stop = told.masked_fill(~self.actions.open(self.taken), -torch.inf).amax(1) <= 0
        explore = torch.rand(len(told), generator=self._rng) < 0.5  # half of them go on, to learn whether it was right
        over = (stop & explore) | ~left.any(1)
        over |= torch.rand(len(told), generator=self._rng) < _STALE
        self.taken, self._loss = after, self._after
        self._begin(over)

    @torch.no_grad()
    def _losses(self, which: Tensor, taken: Tensor) -> Tensor:
        """Return the losses of some rows with what was taken, by readers that did not learn from them."""
        losses = torch.zeros(len(which))
        for at, networks in enumerate(self._readers):
            mine = self._judge_of[which] == at
            if mine.any():
                rows = self._rows[which[mine]]
                values, target = self._values[rows], self._target[rows]
                losses[mine] = torch.stack([one.losses(one(values, taken[mine]), target) for one in networks]).mean(0)
        return losses

    def _begin(self, over: Tensor) -> None:
        """Begin anew where one is over: another row, another price weight, nothing or a random part known."""
        n = int(over.sum())
        if not n:
            return
        self._which[over] = torch.randint(len(self._rows), (n,), generator=self._rng)
        low, high = (math.log(one) for one in self._settings.weights)
        self.weight[over] = torch.exp(low + (high - low) * torch.rand(n, generator=self._rng))
        share = torch.rand(n, 1, generator=self._rng).square()
        some = torch.rand(n, len(self.actions), generator=self._rng) < share
        some &= torch.rand(n, 1, generator=self._rng) < 0.3  # most begin with nothing
        self.taken[over] = (some.float() @ self.actions.groups).clamp(max=1)
        self._loss[over] = self._losses(self._which[over], self.taken[over])
