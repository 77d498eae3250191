"""One network that reads any imaging protocol: evidence maps on one coarse grid add up, one head reads every place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn

from scanwise.errors import ScanwiseError
from scanwise.model.encoders import PanelEncoder
from scanwise.model.trainer import one_cycle

_TOLD = 32
"""Hidden units between what is told of the sampling and what it does to the channels."""


class ImageEncoder(nn.Module):
    """Evidence of one imaging modality, given what of it was sampled.

    Convolutions lead from the matrix of the images down to the grid; there, residual blocks look at the surroundings of
    every place. The sampling scales and shifts the images and every channel (FiLM; Perez et al. 2018), so that the same
    grey value may mean less where fewer lines or averages were taken.

    Parameters
    ----------
    channels : images of the modality.
    matrix : ``(y, x)`` of its images, a multiple of the grid.
    n_shots : length of what is told of the sampling.
    grid : ``(y, x)`` places.
    width, n_blocks : channels and residual blocks on the grid.
    n_evidence : channels of evidence.

    Raises
    ------
    ScanwiseError
        If the matrix is no multiple of the grid.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        *,
        channels: int,
        matrix: tuple[int, int],
        n_shots: int,
        grid: tuple[int, int],
        width: int,
        n_blocks: int,
        n_evidence: int,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("scale", torch.ones(channels, 1, 1))
        strides = strides_to(matrix, grid)
        layers: list[nn.Module] = []
        here = channels
        for index, stride in enumerate(strides):
            wide = width if index == len(strides) - 1 else max(width // 2, 8)
            layers += [nn.Conv2d(here, wide, kernel_size=stride + 2, stride=stride, padding=1), nn.ReLU()]
            here = wide
        self.down = nn.Sequential(*layers)
        film = nn.Linear(_TOLD, 2 * (channels + here * (1 + n_blocks)))
        self.film = nn.Sequential(nn.Linear(n_shots, _TOLD), nn.SiLU(), film)
        self.blocks = nn.ModuleList([nn.Conv2d(here, here, 3, padding=1) for _ in range(n_blocks)])
        self.out = nn.Conv2d(here, n_evidence, 1)
        self.absent = nn.Parameter(torch.zeros(n_evidence))
        nn.init.zeros_(film.weight)
        nn.init.zeros_(film.bias)

    def standardise(self, images: Tensor) -> None:
        """Set mean and scale of every channel from images of learning patients, ``(patients, channels, y, x)``."""
        mean = images.double().mean((0, 2, 3))
        sd = images.double().std((0, 2, 3))
        self.mean.copy_(mean[:, None, None])
        self.scale.copy_(torch.where(sd > 1e-6 * mean.abs() + 1e-12, sd, 1.0)[:, None, None])

    def forward(self, images: Tensor, sampling: Tensor) -> Tensor:
        """Return evidence, shape ``(patients, places, evidence)``.

        Parameters
        ----------
        images : shape ``(patients, channels, y, x)``.
        sampling : what was sampled, shape ``(patients, shots)``.
        """
        channels, width = images.shape[1], self.out.in_channels
        scale, shift = self.film(sampling)[:, :, None, None].chunk(2, dim=1)
        hidden = (images - self.mean) / self.scale
        hidden = self.down(hidden * (1 + scale[:, :channels]) + shift[:, :channels])
        scale, shift = (of[:, channels:].unflatten(1, (-1, width)) for of in (scale, shift))
        hidden = hidden * (1 + scale[:, 0]) + shift[:, 0]
        for index, block in enumerate(self.blocks, start=1):
            hidden = hidden + nn.functional.relu(block(hidden) * (1 + scale[:, index]) + shift[:, index])
        evidence: Tensor = self.out(hidden)
        return evidence.flatten(2).transpose(1, 2)


def strides_to(matrix: tuple[int, int], grid: tuple[int, int]) -> list[int]:
    """Return the strides that lead from a matrix to the grid, each 2 or 3, the larger ones first.

    Raises
    ------
    ScanwiseError
        If the matrix is not the same multiple of the grid along both axes, or the multiple has another prime factor.
    """
    rest, remainders = matrix[0] // grid[0], (matrix[0] % grid[0], matrix[1] % grid[1])
    strides: list[int] = []
    for factor in (3, 2):
        while rest > 1 and rest % factor == 0:
            strides.append(factor)
            rest //= factor
    if any(remainders) or matrix[0] // grid[0] != matrix[1] // grid[1] or rest != 1:
        raise ScanwiseError(
            f"the matrix of a scan must be 1, 2, 3, 4, 6, 8 ... times the grid {tuple(grid)} along y and x, but is "
            f"{tuple(matrix)}",
            "change the matrix in the menu, or model.grid",
        )
    return strides or [1]


class PlaceHead(nn.Module):
    """From summed evidence to one logit per diagnosis: every place is read alone, then the places are pooled.

    The logit of a patient is ``LSE(map) + u . mean(evidence)`` with the log-sum-exp over places, a smooth "the disease
    is somewhere", and a linear reading of the mean evidence for what has no place.
    """

    def __init__(self, *, n_evidence: int, n_hidden: int, n_targets: int, n_places: int) -> None:
        super().__init__()
        self.places = nn.Linear(n_evidence, n_hidden)
        self.read = nn.Linear(n_hidden, n_targets)
        whole = nn.Linear(n_hidden, n_targets)
        self.whole = nn.Sequential(nn.Linear(n_evidence, n_hidden), nn.ReLU(), whole)
        self.sharpness = nn.Parameter(torch.zeros(n_targets))
        self.bias = nn.Parameter(torch.zeros(n_targets))
        nn.init.constant_(self.read.bias, -math.log(n_places))
        nn.init.zeros_(whole.weight)
        nn.init.zeros_(whole.bias)

    def forward(self, evidence: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits ``(rows, targets)`` and maps ``(rows, places, targets)`` from ``(rows, places, evidence)``."""
        maps = self.read(nn.functional.relu(self.places(nn.functional.relu(evidence))))
        pooled = torch.logsumexp(maps.float(), dim=1) * torch.exp(self.sharpness) + self.bias
        return pooled + self.whole(evidence.mean(1)), maps

    def map_writer(self, n_rows: int) -> Callable[[Tensor, Tensor], None]:
        """Return what writes maps of the first diagnosis; called often, it asks for no memory.

        It takes evidence of shape ``(n_rows, evidence)``, which it overwrites, and where the map goes, ``(n_rows,)``.
        """
        weight, bias = self.places.weight.detach().T, self.places.bias.detach()
        read, read_bias = self.read.weight.detach()[0], self.read.bias.detach()[:1].expand(n_rows)
        hidden = weight.new_empty((n_rows, weight.shape[1]))

        def write(evidence: Tensor, out: Tensor) -> None:
            evidence.relu_()
            torch.mm(evidence, weight, out=hidden).add_(bias).relu_()  # quicker than addmm
            torch.addmv(read_bias, hidden, read, out=out)

        return write

    def label_logits(self, maps: Tensor, mean: Tensor) -> Tensor:
        """Return logits of the first diagnosis, shape ``(...)``, as `forward` does.

        Parameters
        ----------
        maps : of the first diagnosis, shape ``(..., places)``.
        mean : of the evidence over places, shape ``(..., evidence)``.
        """
        pooled = torch.logsumexp(maps, dim=-1)
        return pooled * torch.exp(self.sharpness[0]) + self.bias[0] + self.whole(mean)[..., 0]


class ImageNetwork(pl.LightningModule):
    """Set fusion of images and tests, trained on many protocols at once.

    Every modality turns into evidence on one grid, images place by place, tests alike everywhere; an absent one adds a
    learned constant; the sum is read by one head. A training step encodes every modality once, in a random length and
    pattern, and decodes several subsets of them from the same maps (the sandwich rule; Yu and Huang 2019). Drawn
    lesions supervise the maps of all diagnoses where there are any.

    Parameters
    ----------
    panels : ``{modality: {"n_shots": int, "shot": [shot of every feature]}}``.
    images : ``{modality: {"channels": int, "matrix": (y, x), "n_shots": int}}``.
    n_targets : diagnoses; the first one is the label of the cohort.
    grid : ``(y, x)`` places.
    width, n_blocks, n_evidence, n_hidden : sizes, see `ImageEncoder` and `PlaceHead`.
    map_weight : weight of the lesion maps in the loss.
    learning_rate, weight_decay, steps : AdamW with a one-cycle schedule.
    seed : initial weights.
    """

    calibration: Tensor
    """Log temperature and shift, shape ``(2, 1 + modalities)``."""

    def __init__(
        self,
        *,
        panels: Mapping[str, Mapping[str, Any]],
        images: Mapping[str, Mapping[str, Any]],
        n_targets: int,
        grid: tuple[int, int],
        width: int,
        n_blocks: int,
        n_evidence: int,
        n_hidden: int,
        map_weight: float,
        learning_rate: float,
        weight_decay: float,
        steps: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        with torch.random.fork_rng(devices=[]):  # layers of torch start from the global generator
            torch.manual_seed(seed)
            self.images = nn.ModuleDict(
                {
                    name: ImageEncoder(
                        channels=told["channels"],
                        matrix=(told["matrix"][0], told["matrix"][1]),
                        n_shots=told["n_shots"],
                        grid=(grid[0], grid[1]),
                        width=width,
                        n_blocks=n_blocks,
                        n_evidence=n_evidence,
                    )
                    for name, told in images.items()
                }
            )
            self.panels = nn.ModuleDict(
                {
                    name: PanelEncoder(
                        n_members=1,
                        n_shots=told["n_shots"],
                        shot=np.array(told["shot"], dtype=np.int64),
                        n_evidence=n_evidence,
                        generator=torch.Generator().manual_seed(seed),
                    )
                    for name, told in panels.items()
                }
            )
            self.head = PlaceHead(
                n_evidence=n_evidence, n_hidden=n_hidden, n_targets=n_targets, n_places=grid[0] * grid[1]
            )
        # convolutions of few channels are quicker so
        nn.utils.convert_conv2d_weight_memory_format(self.images, torch.channels_last)
        self.register_buffer("calibration", torch.zeros(2, 1 + len(panels) + len(images)))
        self.map_weight = map_weight
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.steps = steps

    @property
    def n_places(self) -> int:
        """Number of places of the grid."""
        grid = self.hparams["grid"]
        return int(grid[0] * grid[1])

    def panels_standardise(self, features: Mapping[str, Tensor]) -> None:
        """Set mean and scale of every value from learning patients, shape ``(patients, features)`` each."""
        for name, values in features.items():
            cast(PanelEncoder, self.panels[name]).standardise(values, torch.ones(1, len(values)))

    def images_standardise(self, modality: str, images: Tensor) -> None:
        """Set mean and scale of every channel of a modality; see `ImageEncoder.standardise`."""
        cast(ImageEncoder, self.images[modality]).standardise(images)

    def encode_image(self, modality: str, images: Tensor, sampling: Tensor) -> Tensor:
        """Return what a modality adds, less what its absence adds: ``(patients, places, evidence)``."""
        encoder = cast(ImageEncoder, self.images[modality])
        evidence: Tensor = encoder(images, sampling) - encoder.absent
        return evidence

    def encode_panel(self, modality: str, features: Tensor, counts: Tensor) -> Tensor:
        """Return what a panel adds, less what its absence adds: ``(patients, evidence)``; absent ones add 0.

        Parameters
        ----------
        features : shape ``(patients, features)``, NaN where unknown.
        counts : shape ``(patients or 1, shots)``; a count between 0 and 1 adds a share.
        """
        encoder = cast(PanelEncoder, self.panels[modality])
        evidence, done = encoder(features)
        taken = done.to(evidence.dtype) * counts.clamp(max=1)
        added: Tensor = torch.einsum("ns,nse->ne", taken, evidence[0] - encoder.absent[0])
        return added

    def absent(self) -> Tensor:
        """Return the evidence of a patient of whom nothing was measured, shape ``(evidence,)``."""
        images = [encoder.absent for encoder in self.images.values() if isinstance(encoder, ImageEncoder)]
        panels = [encoder.absent[0].sum(0) for encoder in self.panels.values() if isinstance(encoder, PanelEncoder)]
        return torch.stack(images + panels).sum(0)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """Return the loss over diagnoses, places and protocols."""
        taken: Tensor = batch["taken"]  # subsets, modalities; images first, then panels
        added = torch.stack(
            [self.encode_image(name, batch["images"][name], batch["sampling"][name]) for name in self.images]
        )
        evidence = (taken[:, : len(self.images)].to(added.dtype) @ added.flatten(1)).view(-1, *added.shape[1:])
        shared = self.absent().expand(len(taken), added.shape[1], -1)
        for index, name in enumerate(self.panels, start=len(self.images)):
            panel = self.encode_panel(name, batch["panels"][name], batch["panel_counts"][name])
            shared = shared + taken[:, index].to(panel.dtype)[:, None, None] * panel
        evidence = evidence + shared[:, :, None]
        subsets = len(taken)
        logits, maps = self.head(evidence.flatten(0, 1))
        target = batch["target"].to(logits.dtype).repeat(subsets, 1)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        total: Tensor = loss.mean()
        self.log("loss", loss[:, 0].mean().detach(), prog_bar=False, batch_size=1)
        if batch["lesions"] is not None and self.map_weight > 0:
            lesions = batch["lesions"].flatten(2).transpose(1, 2).to(maps.dtype).repeat(subsets, 1, 1)
            total = total + self.map_weight * nn.functional.binary_cross_entropy_with_logits(maps, lesions)
        return total

    def configure_optimizers(self) -> Any:
        """AdamW with a one-cycle schedule over the fixed number of steps."""
        shrunk = [weight for name, weight in self.named_parameters() if weight.ndim > 1]
        free = [weight for name, weight in self.named_parameters() if weight.ndim <= 1]
        optimiser = torch.optim.AdamW(
            [{"params": shrunk, "weight_decay": self.weight_decay}, {"params": free, "weight_decay": 0.0}],
            lr=self.learning_rate,
        )
        return one_cycle(optimiser, self.learning_rate, self.steps)
