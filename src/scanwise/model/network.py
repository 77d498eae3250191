"""One network that reads any protocol: evidence adds up, one head decides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor, nn

from scanwise.model.encoders import PanelEncoder

Features = Mapping[str, Tensor]
"""Features per modality, shape ``(patients, features)`` each, NaN where unknown."""


class Head(nn.Module):
    """From summed evidence ``z`` and gain ``g`` to a logit: ``z (v + g) + w tanh(z V + c) + b``.

    The linear readout ``v + g`` depends on what was sampled, so that a value may count for less once a better test is
    there; the small hidden layer starts at zero and catches what is not linear.
    """

    def __init__(self, *, n_members: int, n_evidence: int, n_hidden: int, generator: torch.Generator) -> None:
        super().__init__()

        def normal(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(n_members, *shape, generator=generator) / math.sqrt(n_evidence))

        self.readout = normal(n_evidence)
        self.hidden = normal(n_evidence, n_hidden)
        self.hidden_bias = nn.Parameter(torch.zeros(n_members, n_hidden))
        self.out = nn.Parameter(torch.zeros(n_members, n_hidden))
        self.bias = nn.Parameter(torch.zeros(n_members))

    def penalised(self) -> list[Tensor]:
        """Weights that the Gaussian prior shrinks to zero."""
        return [self.readout, self.hidden, self.out]

    def forward(self, evidence: Tensor, gain: Tensor) -> Tensor:
        """Return logits, shape ``(members, protocols, patients)``, from two ``(members, protocols, patients, evidence)``."""
        linear = (evidence * (self.readout[:, None, None] + gain)).sum(-1)
        hidden = torch.tanh(torch.einsum("mpne,meh->mpnh", evidence, self.hidden) + self.hidden_bias[:, None, None])
        return linear + torch.einsum("mpnh,mh->mpn", hidden, self.out) + self.bias[:, None, None]


class DiagnosisNetwork(pl.LightningModule):
    """Set fusion of modalities, trained on many protocols at once.

    Every training step encodes each modality once and decodes several protocols from it (the sandwich rule of slimmable
    networks: the full protocol, the smallest, and others; Yu and Huang 2019, arXiv 1903.05134). The loss is the mean
    cross-entropy over protocols and patients plus a Gaussian prior on the weights,
    ``precision / (2 n) * sum w^2`` for ``n`` learning patients, the penalty of logistic regression with
    ``C = 1 / precision``.

    Parameters
    ----------
    panels : ``{modality: {"n_shots": int, "shot": [shot of every feature]}}``.
    n_members : networks side by side, each learning from its own part of the patients.
    n_evidence, n_hidden : sizes of the evidence vector and of the hidden layer of the head.
    prior_precision : strength of the Gaussian prior on the weights.
    learning_rate : peak of the one-cycle schedule.
    steps : length of training.
    seed : initial weights.
    """

    def __init__(
        self,
        *,
        panels: Mapping[str, Mapping[str, Any]],
        n_members: int,
        n_evidence: int,
        n_hidden: int,
        prior_precision: float,
        learning_rate: float,
        steps: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        generator = torch.Generator().manual_seed(seed)
        self.encoders = nn.ModuleDict(
            {
                name: PanelEncoder(
                    n_members=n_members,
                    n_shots=panel["n_shots"],
                    shot=np.array(panel["shot"], dtype=np.int64),
                    n_evidence=n_evidence,
                    generator=generator,
                )
                for name, panel in panels.items()
            }
        )
        self.head = Head(n_members=n_members, n_evidence=n_evidence, n_hidden=n_hidden, generator=generator)
        self.register_buffer("temperature", torch.ones(()))
        self.prior_precision = prior_precision
        self.learning_rate = learning_rate
        self.steps = steps

    def encode(self, name: str, features: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Return evidence and gain of one modality for several settings (see `PanelEncoder.forward`)."""
        evidence: tuple[Tensor, Tensor] = self.encoders[name](features, counts)
        return evidence

    def forward(self, features: Features, counts: Mapping[str, Tensor]) -> Tensor:
        """Return logits before calibration, shape ``(members, protocols, patients)``.

        Parameters
        ----------
        features : per modality, shape ``(patients, features)``.
        counts : per modality, shape ``(protocols, shots)``.
        """
        parts = [self.encode(name, features[name], counts[name]) for name in self.encoders]
        evidence = torch.stack([part[0] for part in parts]).sum(0)
        gain = torch.stack([part[1] for part in parts]).sum(0)
        logits: Tensor = self.head(evidence, gain)
        return logits

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """Return the penalised loss, summed over members (they share no weights)."""
        logits = self(batch["features"], batch["counts"])
        label = batch["label"].float().expand_as(logits)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, label, reduction="none").mean(1)
        learns = batch["learns"]  # members, patients
        data_term = ((loss * learns).sum(1) / learns.sum(1).clamp(min=1.0)).sum()
        penalised = [*self.head.penalised(), *(w for encoder in self.encoders.values() for w in encoder.penalised())]  # type: ignore[operator]
        prior = torch.stack([(weight**2).sum() for weight in penalised]).sum()
        total: Tensor = data_term + prior * self.prior_precision / (2.0 * batch["n_learn"])
        self.log("loss", data_term.detach() / len(learns), prog_bar=False, batch_size=1)
        return total

    def configure_optimizers(self) -> Any:
        """Adam with a one-cycle schedule over the fixed number of steps."""
        optimiser = torch.optim.Adam(self.parameters(), lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self.learning_rate, total_steps=self.steps, pct_start=0.2
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

