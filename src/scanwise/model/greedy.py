"""DIME and GDFS, from their papers: policies that take the next measurement greedily, learned with their reader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from scanwise.design import Patients
from scanwise.errors import ScanwiseError
from scanwise.model.measurements import Measurements, SubsetModel, SubsetNetwork, SubsetReader, SubsetTrunk
from scanwise.model.trainer import Progress, TrainerSettings, one_cycle, quiet_training
from scanwise.model.value import Actions, Ticks

GREEDY = ("dime", "gdfs")
_HOT, _COLD = 2.0, 0.2
"""Temperature of the Concrete distribution of GDFS at the first and at the last step (Covert 2023, section 5)."""
_EXPLORE = 0.1
"""Share of random actions of DIME (Gadgil 2024, algorithm 1)."""
_TINY = 1e-9


@dataclass(frozen=True)
class GreedyModel:
    """Learn a reader and a greedy policy together: the baselines of a policy that looks ahead.

    ``"dime"``: a value network regresses what an action takes off the loss, its output bounded by the entropy of the
    prediction; the largest value, per price where prices differ, is taken (Gadgil 2024, eq. 4 and 7). ``"gdfs"``: a
    policy network chooses through a relaxed one-hot draw, by the loss of the reader after it (Covert 2023, eq. 5). The
    reader is trained on random subsets first, and on what the policy takes then.

    Parameters
    ----------
    method : one of `GREEDY`.
    n : actions of an examination.
    network : size and schedule of reader and policy; half of its steps train the reader alone.

    References
    ----------
    Gadgil S, Covert I, Lee S-I. Estimating conditional mutual information for dynamic feature selection. ICLR 2024.
    Covert I, Qiu W, Lu M, Kim N, White N, Lee S-I. Learning to maximize mutual information for dynamic feature
    selection. ICML 2023.
    """

    method: str
    n: int
    network: SubsetModel

    def __post_init__(self) -> None:
        if self.method not in GREEDY:
            raise ScanwiseError(f"a greedy policy must be one of {GREEDY}, but got {self.method!r}")
        if self.n < 1:
            raise ScanwiseError(f"an examination takes at least one measurement, but got {self.n}")

    def fit(
        self,
        measurements: Measurements,
        rows: Patients,
        actions: Actions,
        *,
        seed: int,
        trainer: TrainerSettings,
        directory: Path,
        progress: Progress | None = None,
    ) -> GreedyReader:
        """Train on some rows.

        Parameters
        ----------
        measurements : the problem; its targets are classes or labels.
        rows : who may be learned from.
        actions : what can be done.
        seed : initial weights, examinations and draws.
        trainer, directory, progress : as for the other models.

        Raises
        ------
        ScanwiseError
            If targets are values, of which there is no entropy.
        """
        if measurements.kind != "classes":
            raise ScanwiseError(f"{self.method} tells classes, but the targets are {measurements.kind}")
        half = replace(self.network, steps=max(self.network.steps // 2, 1), focus=0.0, members=1)
        reader = half.fit(measurements, rows, seed=seed, trainer=trainer, directory=directory)
        network = GreedyNetwork(
            reader.networks[0], self.method, self.n, len(actions), measurements, rows, actions, half, seed
        )
        run = trainer.build(steps=half.steps, directory=directory, progress=progress)
        with quiet_training():
            torch.manual_seed(seed)
            run.fit(network, DataLoader(Ticks(half.steps), batch_size=None))
        return GreedyReader(network.eval().cpu(), measurements, actions, self.n)


class GreedyNetwork(pl.LightningModule):
    """A reader and a policy that learn together; see `GreedyModel`."""

    def __init__(
        self,
        reader: SubsetNetwork,
        method: str,
        n: int,
        n_actions: int,
        measurements: Measurements,
        rows: Patients,
        actions: Actions,
        settings: SubsetModel,
        seed: int,
    ) -> None:
        super().__init__()
        self.reader = reader.train().requires_grad_(True)
        self.policy = SubsetTrunk(
            n_shots=measurements.n_shots,
            n_features=measurements.values.shape[2],
            n_outputs=n_actions,
            width=settings.width,
            n_blocks=settings.n_blocks,
            dropout=settings.dropout,
            seed=seed + 1,
        )
        self.policy.standardise_values(torch.from_numpy(measurements.values[rows]))
        self.method = method
        self._n = n
        self._settings = settings
        self._actions = actions
        self._values = torch.from_numpy(measurements.values[rows])
        self._target = torch.from_numpy(measurements.target[rows])
        self._rng = torch.Generator().manual_seed(seed)
        size = min(settings.batch_size, len(rows))
        self._which = torch.randint(len(rows), (size,), generator=self._rng)
        self._taken = torch.zeros(size, measurements.n_shots)
        self._depth = torch.randint(n, (size,), generator=self._rng)  # examinations are at different depths

    def told(self, values: Tensor, taken: Tensor) -> Tensor:
        """Return values of DIME or logits of GDFS, shape ``(rows, actions)``."""
        read: Tensor = self.policy.read(values, taken)
        if self.method == "gdfs":
            return read
        with torch.no_grad():
            share = self.reader(values, taken).softmax(1)
            entropy = -(share * share.clamp(min=_TINY).log()).sum(1, keepdim=True)
        return entropy * read.sigmoid()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Take one action in every examination; reader and policy learn from what it brought."""
        values, target = self._values[self._which], self._target[self._which]
        told = self.told(values, self._taken)
        open_ = self._actions.open(self._taken)
        if self.method == "dime":
            chosen = self._greedy(told.detach(), open_)
            after = torch.maximum(self._taken, self._actions.groups[chosen])
            before = self.reader.losses(self.reader(values, self._taken), target)
            later = self.reader.losses(self.reader(values, after), target)
            gained = (before - later).detach()
            value = told.gather(1, chosen[:, None])[:, 0]
            loss = later.mean() + (value - gained).square().mean()
        else:
            share = min(self.global_step / max(self._settings.steps - 1, 1), 1.0)
            temperature = _HOT * (_COLD / _HOT) ** share
            uniform = torch.rand(told.shape, generator=self._rng).clamp(_TINY, 1 - 1e-7)
            keys = (told - (-uniform.log()).log()).masked_fill(~open_, -1e9)
            soft = (keys / temperature).softmax(1)
            mask = torch.maximum(self._taken, (soft @ self._actions.groups).clamp(max=1))
            loss = self.reader.losses(self.reader(values, mask), target).mean()
            after = torch.maximum(self._taken, self._actions.groups[keys.detach().argmax(1)])
        self._go_on(after)
        self.log("loss", loss.detach(), prog_bar=False, batch_size=1)
        return loss

    def _greedy(self, told: Tensor, open_: Tensor) -> Tensor:
        worth = told / self._actions.costs(self._taken).clamp(min=_TINY)
        best = worth.masked_fill(~open_, -torch.inf).argmax(1)
        any_ = torch.rand(told.shape, generator=self._rng).masked_fill(~open_, -1.0).argmax(1)
        wild = torch.rand(len(told), generator=self._rng) < _EXPLORE
        return torch.where(wild, any_, best)

    def _go_on(self, after: Tensor) -> None:
        self._taken = after.detach().clone()  # changed in place below
        self._depth = self._depth + 1
        over = (self._depth >= self._n) | ~self._actions.open(after).any(1)
        n = int(over.sum())
        if n:
            self._which[over] = torch.randint(len(self._values), (n,), generator=self._rng)
            self._taken[over] = 0.0
            self._depth[over] = 0

    def configure_optimizers(self) -> Any:
        """AdamW with a one-cycle schedule over the fixed number of steps."""
        settings = self._settings
        optimiser = torch.optim.AdamW(self.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
        return one_cycle(optimiser, settings.learning_rate, settings.steps)


class GreedyReader:
    """Examines rows greedily, and tells what they are.

    Parameters
    ----------
    network : trained.
    measurements, actions : the problem.
    n : actions of an examination at most.
    """

    def __init__(self, network: GreedyNetwork, measurements: Measurements, actions: Actions, n: int) -> None:
        self.network = network
        self.measurements = measurements
        self.actions = actions
        self.n = n

    @torch.inference_mode()
    def walk(self, rows: Patients, n: int | None = None) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.float32]]]:
        """Yield, after every action, what was taken of each row, ``(rows, shots)``, and what is told of it.

        Parameters
        ----------
        rows : who is examined.
        n : actions, `None` = as many as were learned.
        """
        values = torch.from_numpy(self.measurements.values[rows])
        taken = torch.zeros(len(rows), self.measurements.n_shots)
        for _ in range(self.n if n is None else n):
            told = self.network.told(values, taken)
            open_ = self.actions.open(taken)
            if self.network.method == "dime":
                told = told / self.actions.costs(taken).clamp(min=_TINY)
            best = told.masked_fill(~open_, -torch.inf).argmax(1)
            taken = torch.where(open_.any(1)[:, None], torch.maximum(taken, self.actions.groups[best]), taken)
            told = self.network.reader(values, taken).softmax(1)
            yield taken.numpy() > 0, told.numpy()

    def reader(self) -> SubsetReader:
        """Return the reader that was learned with the policy."""
        return SubsetReader([self.network.reader], self.measurements)
