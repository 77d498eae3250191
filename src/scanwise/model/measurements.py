"""One network that reads any subset of measurements: classes, labels or values, from whatever was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from scanwise.design import Patients, Protocol
from scanwise.errors import ScanwiseError
from scanwise.model.trainer import Progress, TrainerSettings, one_cycle, quiet_training

KINDS = ("classes", "labels", "values")
FAR = 6.0
"""Values further than so many standard deviations from their mean are taken as that far: a pixel that is nearly always
dark must not outweigh all others where it is bright."""
_ROWS_AT_ONCE, _NUMBERS_AT_ONCE = 65_536, 2**28
"""Rows decoded at once, and numbers they have at most."""
_SAME = 1e-3
"""Share of a target by which what its inverse yields may be off: that of float32 after a few transforms."""
Inverse = Callable[[Tensor], Tensor]
"""What complete measurements ``(rows, shots, features)`` say of targets ``(rows, outputs)`` by themselves; linear."""


@dataclass(frozen=True, eq=False)
class Measurements:
    """A flat problem: every row has the same list of measurements, of which any subset may be taken.

    Parameters
    ----------
    values : what every measurement yields, float32, shape ``(rows, shots, features)``, real and imaginary parts apart.
    target : what is to be told, by `kind`: ``"classes"`` whole numbers from 0, shape ``(rows,)``; ``"labels"`` 0 or 1,
        shape ``(rows, labels)``; ``"values"`` numbers, shape ``(rows, outputs)``.
    kind : one of `KINDS`; the loss is cross-entropy, or the mean square error of targets over their spread.
    modality : name under which a protocol counts the shots.
    inverse : where the physics is known and linear, what turns complete measurements into the target of kind
        ``"values"``, as the inverse Fourier transform turns k-space into an image. Networks then fill in measurements
        that were not taken, and tell what the inverse makes of these and of those taken, which stay as they are
        (data consistency; Schlemper 2018).

    Raises
    ------
    ScanwiseError
        If shapes do not fit, a value is not finite, the kind is unknown, or an inverse does not yield the targets.

    References
    ----------
    Schlemper J, Caballero J, Hajnal JV, Price AN, Rueckert D. A deep cascade of convolutional neural networks for
    dynamic MR image reconstruction. IEEE Trans Med Imaging 2018;37:491-503.
    """

    values: NDArray[np.float32]
    target: NDArray[Any]
    kind: str
    modality: str = "shots"
    inverse: Inverse | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ScanwiseError(f"the kind of a target must be one of {KINDS}, but got {self.kind!r}")
        if self.values.ndim != 3 or len(self.target) != len(self.values):
            raise ScanwiseError(
                f"values must have the shape (rows, shots, features) and one target per row, but have "
                f"{self.values.shape} for {len(self.target)} targets"
            )
        if self.target.ndim != (1 if self.kind == "classes" else 2):
            raise ScanwiseError(f"targets of kind {self.kind!r} cannot have the shape {self.target.shape}")
        if not np.isfinite(self.values).all():
            raise ScanwiseError("measurements must be finite numbers", "leave rows with gaps out")
        if self.inverse is not None:
            told = self.inverse(torch.from_numpy(self.values[:1])).numpy()
            wanted = self.target[:1]
            if self.kind != "values" or told.shape != wanted.shape:
                raise ScanwiseError(
                    f"an inverse must yield targets of kind 'values' and shape {wanted.shape}, but yields {told.shape} "
                    f"for kind {self.kind!r}"
                )
            off = float(np.linalg.norm(told - wanted)) / max(float(np.linalg.norm(wanted)), 1e-12)
            if off > _SAME:
                raise ScanwiseError(
                    f"an inverse must turn complete measurements into their target, but is off by {100 * off:.3g} % "
                    "in the first row"
                )

    @property
    def n_shots(self) -> int:
        """Number of measurements."""
        return self.values.shape[1]

    @property
    def n_outputs(self) -> int:
        """Number of classes, labels or values."""
        return int(self.target.max()) + 1 if self.kind == "classes" else int(self.target.shape[1])

    def taken(self, protocols: Sequence[Protocol]) -> NDArray[np.bool_]:
        """Return which measurements protocols take, shape ``(protocols, shots)``."""
        return np.stack([one.array(self.modality, self.n_shots) > 0 for one in protocols])


class SubsetTrunk(pl.LightningModule):
    """What networks that read any subset of measurements share.

    ``z = sum_s m_s (W_s x_s + v_s) + b`` with m the mask, then blocks ``z + B silu(A norm(z))``.

    Parameters
    ----------
    n_shots, n_features : measurements, and numbers each yields.
    n_outputs : what is told.
    n_further : numbers that are known besides.
    width, n_blocks : size.
    dropout : share of hidden units left out while learning.
    seed : initial weights.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        *,
        n_shots: int,
        n_features: int,
        n_outputs: int,
        n_further: int = 0,
        width: int,
        n_blocks: int,
        dropout: float,
        seed: int,
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.measured = nn.Linear(n_shots * n_features, width)
            self.known = nn.Linear(n_shots + n_further, width, bias=False)
            self.blocks = nn.ModuleList(
                nn.Sequential(
                    nn.LayerNorm(width),
                    nn.Linear(width, width),
                    nn.SiLU(),
                    nn.Dropout(dropout),
                    nn.Linear(width, width),
                )
                for _ in range(n_blocks)
            )
            self.told = nn.Linear(width, n_outputs)
        self.norm = nn.LayerNorm(width)
        self.register_buffer("mean", torch.zeros(n_shots, n_features))
        self.register_buffer("scale", torch.ones(n_shots, n_features))

    def standardise_values(self, values: Tensor) -> None:
        """Set means and scales from learning rows; the features of one measurement share their scale."""
        self.mean.copy_(values.double().mean(0))
        spread = values.double().var(0).mean(1, keepdim=True).sqrt()
        self.scale.copy_(torch.where(spread > 1e-9, spread, 1.0).expand_as(self.scale))

    def read(self, values: Tensor, mask: Tensor, further: Tensor | None = None) -> Tensor:
        """Return what is told, shape ``(rows, outputs)``.

        Parameters
        ----------
        values : shape ``(rows, shots, features)``.
        mask : which were taken, 0 to 1, shape ``(rows or 1, shots)``.
        further : what is known besides, shape ``(rows, further)``.
        """
        seen = ((values - self.mean) / self.scale).clamp(-FAR, FAR) * mask[:, :, None]
        known = mask if further is None else torch.cat([mask, further], dim=1)
        hidden = self.measured(seen.flatten(1)) + self.known(known)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        told: Tensor = self.told(self.norm(hidden))
        return told

    def configure_optimizers(self) -> Any:
        """AdamW with a one-cycle schedule over the fixed number of steps."""
        settings: Any = self.hparams
        rate = settings["learning_rate"]
        optimiser = torch.optim.AdamW(self.parameters(), lr=rate, weight_decay=settings["weight_decay"])
        return one_cycle(optimiser, rate, settings["steps"])


class SubsetNetwork(SubsetTrunk):
    """Classes, labels or values from any subset of measurements.

    Parameters
    ----------
    n_shots, n_features : measurements, and numbers each yields.
    n_outputs, kind : what is told; see `Measurements`.
    width, n_blocks, dropout, seed : see `SubsetTrunk`.
    learning_rate, weight_decay, steps : one-cycle AdamW.
    inverse : see `Measurements`; the network begins with the mean of measurements that were not taken (zero filling).
    """

    target_mean: Tensor
    target_scale: Tensor

    def __init__(
        self,
        *,
        n_shots: int,
        n_features: int,
        n_outputs: int,
        kind: str,
        width: int,
        n_blocks: int,
        dropout: float,
        learning_rate: float,
        weight_decay: float,
        steps: int,
        seed: int,
        inverse: Inverse | None = None,
    ) -> None:
        super().__init__(
            n_shots=n_shots,
            n_features=n_features,
            n_outputs=n_outputs if inverse is None else n_shots * n_features,
            width=width,
            n_blocks=n_blocks,
            dropout=dropout,
            seed=seed,
        )
        self.save_hyperparameters(ignore=["inverse"])
        self.kind = kind
        self.inverse = inverse
        if inverse is not None:
            nn.init.zeros_(self.told.weight)
            nn.init.zeros_(self.told.bias)
        self.register_buffer("target_mean", torch.zeros(n_outputs))
        self.register_buffer("target_scale", torch.ones(n_outputs))

    def standardise(self, values: Tensor, target: Tensor) -> None:
        """Set means and scales of values and targets from learning rows; see `SubsetTrunk.standardise_values`.

        Targets of an inverse have one unit, as voxels of an image have, and share their scale.
        """
        self.standardise_values(values)
        if self.kind == "values":
            self.target_mean.copy_(target.double().mean(0))
            spread = target.double().std(0)
            self.target_scale.copy_(
                (spread if self.inverse is None else spread.square().mean().sqrt()).clamp(min=1e-12)
            )

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        """Return logits or standardised values, shape ``(rows, outputs)``; see `SubsetTrunk.read`."""
        told = self.read(values, mask)
        if self.inverse is None:
            return told
        filled = torch.lerp(told.unflatten(1, self.mean.shape) * self.scale, values - self.mean, mask[:, :, None])
        return self.inverse(filled) / self.target_scale

    def losses(self, told: Tensor, target: Tensor) -> Tensor:
        """Return the loss of every row, shape ``(rows,)``; see `Measurements`."""
        if self.kind == "classes":
            return nn.functional.cross_entropy(told, target, reduction="none")
        if self.kind == "labels":
            return nn.functional.binary_cross_entropy_with_logits(told, target.to(told.dtype), reduction="none").mean(1)
        wanted = (target - self.target_mean) / self.target_scale
        return (told - wanted.to(told.dtype)).square().mean(1)

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the mean loss."""
        loss = self.losses(self(batch["values"], batch["mask"]), batch["target"]).mean()
        self.log("loss", loss.detach(), prog_bar=False, batch_size=1)
        return loss


@dataclass(frozen=True)
class SubsetModel:
    """Settings of the network for flat problems; `fit` trains one network, or several, for all subsets at once.

    Parameters
    ----------
    width, n_blocks, dropout, learning_rate, weight_decay, steps, batch_size : see `SubsetNetwork`.
    focus : share of the learning rows that get one of the subsets that are asked for in `fit`, and parts of it; the
        others get a random number of random measurements.
    jitter : noise added to the standardised values of every batch.
    members : networks averaged.
    """

    width: int = 128
    n_blocks: int = 2
    dropout: float = 0.1
    learning_rate: float = 3e-3
    weight_decay: float = 0.05
    steps: int = 2000
    batch_size: int = 256
    focus: float = 0.5
    jitter: float = 0.0
    members: int = 1

    def __post_init__(self) -> None:
        for name in ("width", "n_blocks", "learning_rate", "steps", "batch_size", "members"):
            if not getattr(self, name) > 0:
                raise ScanwiseError(f"{name} must be above 0, but got {getattr(self, name)!r}")
        if not 0 <= self.focus <= 1 or not 0 <= self.dropout < 1:
            raise ScanwiseError(f"focus must be in [0, 1] and dropout in [0, 1), but got {self.focus}, {self.dropout}")

    def fit(
        self,
        measurements: Measurements,
        rows: Patients,
        *,
        seed: int,
        trainer: TrainerSettings,
        directory: Path,
        subsets: NDArray[np.bool_] | None = None,
        walks: NDArray[np.bool_] | None = None,
        progress: Progress | None = None,
    ) -> SubsetReader:
        """Train on some rows.

        Parameters
        ----------
        measurements : the problem.
        rows : which rows may be learned from.
        seed : initial weights, batches and subsets.
        trainer, directory, progress : as for the other models.
        subsets : subsets that will be asked for, shape ``(subsets, shots)``; learned with the share `focus`.
        walks : the same where they depend on the row, as those of a policy do: shape ``(walks, rows, shots)``, for all
            rows of the problem; learned in turn with `subsets`.
        """
        networks = []
        for member in range(self.members):
            network = self.network(measurements, int(np.random.SeedSequence([seed, member]).generate_state(1)[0]))
            network.standardise(
                torch.from_numpy(measurements.values[rows]), torch.from_numpy(measurements.target[rows])
            )
            batches = SubsetBatches(
                measurements, rows, self, subsets, np.random.default_rng([seed, member, 0x7375]), walks
            )
            run = trainer.build(steps=self.steps, directory=directory, progress=progress)
            with quiet_training():
                run.fit(network, DataLoader(batches, batch_size=None))
            networks.append(network.eval().cpu())
        return SubsetReader(networks, measurements)

    def network(self, measurements: Measurements, seed: int) -> SubsetNetwork:
        """Return an untrained network for a problem."""
        return SubsetNetwork(
            n_shots=measurements.n_shots,
            n_features=measurements.values.shape[2],
            n_outputs=measurements.n_outputs,
            kind=measurements.kind,
            width=self.width,
            n_blocks=self.n_blocks,
            dropout=self.dropout,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            steps=self.steps,
            seed=seed,
            inverse=measurements.inverse,
        )


@dataclass
class SubsetReader:
    """Reads any subset with the trained networks; an objective for searches on some of the rows.

    Parameters
    ----------
    networks : trained, averaged.
    measurements : the problem.
    rows : rows that `__call__` and `slopes` look at.
    """

    networks: list[SubsetNetwork]
    measurements: Measurements
    rows: Patients = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    slope_rows: int = 256

    def on(self, rows: Patients) -> SubsetReader:
        """Return the same reader as an objective on some rows."""
        return SubsetReader(self.networks, self.measurements, rows, self.slope_rows)

    @torch.inference_mode()
    def tell(self, taken: NDArray[np.bool_], rows: Patients) -> NDArray[np.float32]:
        """Return probabilities or values, shape ``(subsets, rows, outputs)``.

        Parameters
        ----------
        taken : subsets, shape ``(subsets, shots)``.
        rows : who is told.
        """
        values = torch.from_numpy(self.measurements.values[rows])
        told = []
        for mask in torch.from_numpy(taken).float():
            told.append(torch.stack([_told(network, network(values, mask[None])) for network in self.networks]).mean(0))
        return cast("NDArray[np.float32]", torch.stack(told).numpy())

    @torch.inference_mode()
    def tell_each(self, taken: NDArray[np.bool_], rows: Patients) -> NDArray[np.float32]:
        """Return probabilities or values where every row has a subset of its own, shape ``(rows, outputs)``.

        Parameters
        ----------
        taken : subsets, shape ``(rows, shots)``.
        rows : who is told.
        """
        values, masks = torch.from_numpy(self.measurements.values[rows]), torch.from_numpy(taken).float()
        told = torch.stack([_told(network, network(values, masks)) for network in self.networks]).mean(0)
        return cast("NDArray[np.float32]", told.numpy())

    def __call__(self, protocols: Sequence[Protocol]) -> NDArray[np.float64]:
        """Return minus the mean loss on the rows of the objective, shape ``(protocols,)``."""
        taken = torch.from_numpy(self.measurements.taken(protocols)).float()
        values = torch.from_numpy(self.measurements.values[self.rows])
        target = torch.from_numpy(self.measurements.target[self.rows])
        found = np.zeros(len(protocols))
        rows, numbers = max(len(self.rows), 1), max(values.numel(), 1)
        at_once = max(1, min(_ROWS_AT_ONCE // rows, _NUMBERS_AT_ONCE // numbers))
        with torch.inference_mode():
            for network in self.networks:
                for start in range(0, len(taken), at_once):
                    masks = taken[start : start + at_once]
                    told = network(values.repeat(len(masks), 1, 1), masks.repeat_interleave(len(values), 0))
                    losses = network.losses(told, target.repeat(len(masks), *[1] * (target.ndim - 1)))
                    mean = losses.view(len(masks), -1).mean(1).double().numpy()
                    found[start : start + at_once] -= mean / len(self.networks)
        return found

    def slopes(self, protocol: Protocol, rng: np.random.Generator) -> tuple[float, dict[str, NDArray[np.float64]]]:
        """Return minus the mean loss, and its slope in whether each measurement is taken."""
        rows = rng.choice(self.rows, min(self.slope_rows, len(self.rows)), replace=False)
        mask = torch.from_numpy(self.measurements.taken([protocol])).float().requires_grad_()
        values = torch.from_numpy(self.measurements.values[rows])
        target = torch.from_numpy(self.measurements.target[rows])
        value = -torch.stack([one.losses(one(values, mask), target).mean() for one in self.networks]).mean()
        (slope,) = torch.autograd.grad(value, mask)
        return float(value.detach()), {self.measurements.modality: slope[0].double().numpy()}


def fit_halves(
    model: SubsetModel,
    measurements: Measurements,
    rows: Patients,
    *,
    seed: int,
    trainer: TrainerSettings,
    directory: Path,
    subsets: NDArray[np.bool_] | None = None,
    walks: NDArray[np.bool_] | None = None,
) -> list[tuple[SubsetReader, Patients]]:
    """Train a reader on each half of the rows; return each with the half it did not learn from.

    Parameters are those of `SubsetModel.fit`.
    """
    halves = np.array_split(np.random.default_rng([seed, 0x6861]).permutation(rows), 2)

    def of(learn: Patients) -> SubsetReader:
        return model.fit(
            measurements, learn, seed=seed, trainer=trainer, directory=directory, subsets=subsets, walks=walks
        )

    return [(of(np.sort(learn)), np.sort(judge)) for learn, judge in (halves, halves[::-1])]


def _told(network: SubsetNetwork, read: Tensor) -> Tensor:
    """Return probabilities, or values in their own unit."""
    if network.kind == "classes":
        return read.softmax(1)
    return read.sigmoid() if network.kind == "labels" else read * network.target_scale + network.target_mean


class SubsetBatches(IterableDataset[Mapping[str, Tensor]]):
    """Random rows, each with a random subset of its measurements."""

    def __init__(
        self,
        measurements: Measurements,
        rows: Patients,
        settings: SubsetModel,
        subsets: NDArray[np.bool_] | None,
        rng: np.random.Generator,
        walks: NDArray[np.bool_] | None = None,
    ) -> None:
        self._values = torch.from_numpy(measurements.values[rows])
        self._target = torch.from_numpy(measurements.target[rows])
        self._settings = settings
        self._subsets = subsets if subsets is not None and len(subsets) else None
        self._walks = walks[:, rows] if walks is not None and len(walks) else None
        self._rng = rng
        self._jitter = settings.jitter * measurements.values[rows].std(0).astype(np.float32)

    def __iter__(self) -> Iterator[Mapping[str, Tensor]]:
        rng, n = self._rng, len(self._values)
        order = np.zeros(0, dtype=np.int64)
        size = min(self._settings.batch_size, n)
        for _ in range(self._settings.steps):
            if len(order) < size:
                order = np.concatenate([order, rng.permutation(n)])
            some, order = torch.from_numpy(order[:size]), order[size:]
            values = self._values[some]
            if self._settings.jitter:
                noise = rng.standard_normal(values.shape, dtype=np.float32)
                values = values + torch.from_numpy(noise * self._jitter)
            yield {
                "values": values,
                "target": self._target[some],
                "mask": torch.from_numpy(self._masks(rng, some.numpy())),
            }

    def _masks(self, rng: np.random.Generator, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Draw subsets: random ones of random size, all sizes alike on a log scale, and those that are asked for."""
        shots, n = self._values.shape[1], len(rows)
        size = np.exp(rng.uniform(0, np.log(shots + 1), n)).astype(np.int64)
        drawn = rng.random((n, shots))
        masks = drawn <= np.sort(drawn, axis=1)[np.arange(n), size - 1, None]
        if self._subsets is None and self._walks is None:
            return masks.astype(np.float32)
        wanted = np.flatnonzero(rng.random(n) < self._settings.focus)
        asked = np.zeros((len(wanted), shots), dtype=bool)
        walked = np.full(len(wanted), self._subsets is None)
        if self._subsets is not None:
            asked = self._subsets[rng.integers(len(self._subsets), size=len(wanted))]
        if self._walks is not None:
            walked |= rng.random(len(wanted)) < 0.5
            asked[walked] = self._walks[rng.integers(len(self._walks), size=walked.sum()), rows[wanted[walked]]]
        # whole, or with a random share left out, so that what leads to a subset is learned as well
        kept = rng.random(asked.shape) < np.where(rng.random(len(wanted)) < 0.5, 1.0, rng.random(len(wanted)))[:, None]
        masks[wanted] = asked & kept
        return masks.astype(np.float32)
