"""LOUPE and DPS, from their papers: one pattern of a given length, learned together with the network that reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from scanwise.design import Patients
from scanwise.errors import ScanwiseError
from scanwise.model.measurements import Measurements, SubsetBatches, SubsetModel, SubsetNetwork, SubsetReader
from scanwise.model.trainer import Progress, TrainerSettings, one_cycle, quiet_training

METHODS = ("loupe", "dps")
_LOUPE_CHANCE, _LOUPE_CHOICE = 5.0, 12.0
"""Slopes of the sigmoids that make chances of weights, and choices of chances (Bahadir 2020: 5 and 12)."""
_DPS_HOT, _DPS_COLD = 5.0, 0.5
"""Temperature of the relaxed draw at the first and at the last step (Huijben 2020)."""
_DPS_PACE = 10.0
"""How much faster the logits of DPS learn than the network (Huijben 2020 use 2e-3 and 2e-4)."""
_TINY = 1e-9
_FAR = 600.0
"""Distance from the largest key beyond which nothing is picked."""


@dataclass(frozen=True)
class PatternModel:
    """Learn one pattern and one network for one number of measurements: the baselines that a joint search must beat.

    ``"loupe"``: every measurement has a chance ``sigmoid(5 w)``, all rescaled so that they add up to the length; a draw
    takes those whose chance exceeds a uniform number, relaxed to a sigmoid. ``"dps"``: the draw takes the k largest of
    logits plus Gumbel noise; the gradient is that of k softmaxes, each without what was picked before. Both are told by
    the network of `SubsetModel` in place of the U-Net (which fills in what was not taken where `Measurements` know the
    inverse), and are read out as the k most likely measurements.

    Parameters
    ----------
    method : one of `METHODS`.
    n : measurements that are taken.
    network : size and schedule of the network.

    References
    ----------
    Bahadir CD, Wang AQ, Dalca AV, Sabuncu MR. Deep-learning-based optimization of the under-sampling pattern in MRI.
    IEEE Trans Comput Imaging 2020;6:1139-1152.
    Huijben IAM, Veeling BS, van Sloun RJG. Deep probabilistic subsampling for task-adaptive compressed sensing.
    ICLR 2020.
    """

    method: str
    n: int
    network: SubsetModel

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ScanwiseError(f"a peer must be one of {METHODS}, but got {self.method!r}")
        if self.n < 1:
            raise ScanwiseError(f"a pattern takes at least one measurement, but got {self.n}")

    def fit(
        self,
        measurements: Measurements,
        rows: Patients,
        *,
        seed: int,
        trainer: TrainerSettings,
        directory: Path,
        progress: Progress | None = None,
    ) -> tuple[NDArray[np.bool_], SubsetReader]:
        """Return the pattern, shape ``(shots,)``, and its reader.

        Raises
        ------
        ScanwiseError
            If there are fewer measurements than are to be taken.
        """
        if self.n > measurements.n_shots:
            raise ScanwiseError(f"{self.n} of {measurements.n_shots} measurements cannot be taken", "ask for fewer")
        plain = self.network.network(measurements, seed)
        network = PatternNetwork(method=self.method, n=self.n, inverse=plain.inverse, **dict(plain.hparams))
        network.load_state_dict(plain.state_dict(), strict=False)
        network.standardise(torch.from_numpy(measurements.values[rows]), torch.from_numpy(measurements.target[rows]))
        settings = replace(self.network, focus=0.0)
        batches = SubsetBatches(measurements, rows, settings, None, np.random.default_rng([seed, 0x7065]))
        run = trainer.build(steps=self.network.steps, directory=directory, progress=progress)
        with quiet_training():
            torch.manual_seed(seed)
            run.fit(network, DataLoader(batches, batch_size=None))
        network = network.eval().cpu()
        taken = np.zeros(measurements.n_shots, dtype=bool)
        taken[np.argsort(-network.weights.detach().numpy(), kind="stable")[: self.n]] = True
        return taken, SubsetReader([network], measurements)


class PatternNetwork(SubsetNetwork):
    """A `SubsetNetwork` that learns which measurements it reads; see `PatternModel`."""

    def __init__(self, *, method: str, n: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.save_hyperparameters(ignore=["inverse"])
        self.method = method
        self.n = n
        generator = torch.Generator().manual_seed(settings["seed"])
        shots = settings["n_shots"]
        if method == "loupe":  # chances spread evenly over (0, 1)
            chance = torch.rand(shots, generator=generator).clamp(0.01, 0.99)
            start = torch.logit(chance) / _LOUPE_CHANCE
        else:
            start = 0.25 * torch.randn(shots, generator=generator)
        self.weights = nn.Parameter(start)

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the mean loss with patterns drawn anew for every row."""
        mask = self.drawn(len(batch["values"]))
        return super().training_step({**batch, "mask": mask}, batch_idx)

    def drawn(self, rows: int) -> Tensor:
        """Return relaxed draws of the pattern, shape ``(rows, shots)``."""
        if self.method == "loupe":
            uniform = torch.rand(rows, len(self.weights), device=self.weights.device)
            return torch.sigmoid(_LOUPE_CHOICE * (self.chances() - uniform))
        share = min(self.global_step / max(self.hparams["steps"] - 1, 1), 1.0)
        temperature = _DPS_HOT + (_DPS_COLD - _DPS_HOT) * share
        uniform = torch.rand(rows, len(self.weights), device=self.weights.device).clamp(_TINY, 1 - 1e-7)
        keys = self.weights - (-uniform.log()).log()
        hard = torch.zeros_like(keys).scatter_(1, keys.topk(self.n, dim=1).indices, 1.0)
        soft = picked_softly(keys / temperature, self.n)
        return hard + soft - soft.detach()

    def chances(self) -> Tensor:
        """Return LOUPE's chances, rescaled to add up to the length (Bahadir 2020, eq. 7)."""
        chance = torch.sigmoid(_LOUPE_CHANCE * self.weights)
        wanted, mean = self.n / len(chance), chance.mean()
        return torch.where(mean >= wanted, chance * wanted / mean, 1 - (1 - chance) * (1 - wanted) / (1 - mean))

    def configure_optimizers(self) -> Any:
        """As the network alone; the logits of DPS learn faster, LOUPE's weights alike."""
        settings: Any = self.hparams
        rate = settings["learning_rate"]
        network = [weight for name, weight in self.named_parameters() if name != "weights"]
        rates = [rate, rate * (_DPS_PACE if self.method == "dps" else 1.0)]
        optimiser = torch.optim.AdamW(
            [
                {"params": network, "weight_decay": settings["weight_decay"]},
                {"params": [self.weights], "weight_decay": 0.0},
            ],
            lr=rate,
        )
        return one_cycle(optimiser, rates, settings["steps"])


def picked_softly(keys: Tensor, n: int) -> Tensor:
    """Return the sum of n softmaxes, each without the largest keys that those before it picked (Huijben 2020).

    The sums of all are known from one sort, instead of n passes over all keys.

    Parameters
    ----------
    keys : shape ``(rows, shots)``.
    n : picks.
    """
    falling, order = keys.sort(dim=1, descending=True)
    odds = (falling - falling[:, :1]).double().clamp(min=-_FAR).exp()
    left = odds.flip(1).cumsum(dim=1).flip(1)  # of what is still there at each pick
    until = (1 / left[:, :n]).cumsum(dim=1)
    until = torch.cat([until, until[:, -1:].expand(-1, keys.shape[1] - n)], dim=1)
    return torch.zeros_like(keys).scatter(1, order, (odds * until).to(keys.dtype))
