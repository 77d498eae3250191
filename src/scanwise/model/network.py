"""One network that reads any protocol: evidence adds up, one head decides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
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
        """Return logits, shape ``(members, rows)``, from two tensors of shape ``(members, rows, evidence)``."""
        linear = (evidence * (self.readout[:, None] + gain)).sum(-1)
        hidden = torch.tanh(torch.baddbmm(self.hidden_bias[:, None], evidence, self.hidden))
        return linear + torch.bmm(hidden, self.out[:, :, None])[..., 0] + self.bias[:, None]

    def of_member(self, member: int, evidence: Tensor, gain: Tensor) -> Tensor:
        """Return the logits of one member, shape ``(...)``, from two tensors of shape ``(..., evidence)``."""
        linear = (evidence * (self.readout[member] + gain)).sum(-1)
        hidden = torch.tanh(evidence @ self.hidden[member] + self.hidden_bias[member])
        return linear + hidden @ self.out[member] + self.bias[member]


@dataclass(frozen=True, eq=False)
class Encoded:
    """What all shots of all modalities would add to the evidence of a batch of patients."""

    evidence: Tensor
    """Shape ``(patients, shots, members * evidence)``, less what the absence of the shot adds."""
    done: Tensor
    """Whether a patient has the shot, shape ``(patients, shots)``."""


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

    calibration: Tensor
    """Log temperature and shift, shape ``(2, 1 + modalities)``."""

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
        self.register_buffer("calibration", torch.zeros(2, 1 + len(panels)))
        self.prior_precision = prior_precision
        self.learning_rate = learning_rate
        self.steps = steps

    def standardise(self, features: Features, learns: Tensor) -> None:
        """Set mean and scale of every value from the patients each member learns from (see `PanelEncoder`)."""
        for name, encoder in zip(self.encoders, self._panels(), strict=True):
            encoder.standardise(features[name], learns)

    def encode(self, features: Features) -> Encoded:
        """Encode every modality once.

        Parameters
        ----------
        features : per modality, shape ``(patients, features)``, NaN where unknown.
        """
        parts = [encoder(features[name]) for name, encoder in zip(self.encoders, self._panels(), strict=True)]
        evidence = torch.cat([part[0] for part in parts], dim=2) - self._absent()[:, None]
        members, patients, shots, length = evidence.shape
        flat = evidence.permute(1, 2, 0, 3).reshape(patients, shots, members * length)
        return Encoded(flat, torch.cat([part[1] for part in parts], dim=1))

    def decode(self, encoded: Encoded, counts: Tensor) -> Tensor:
        """Read the evidence for several protocols.

        Returns logits before calibration, shape ``(members, protocols, patients)``.

        Parameters
        ----------
        encoded : what `encode` returned.
        counts : shape ``(protocols, shots)``, the shots of all modalities side by side.
        """
        patients, protocols = len(encoded.done), len(counts)
        members, length = self.head.readout.shape
        taken = (encoded.done[:, None, :] & (counts > 0)[None]).to(encoded.evidence.dtype)  # patients, protocols, shots

        def by_member(values: Tensor) -> Tensor:
            rows = values.reshape(patients * protocols, members, length)
            return rows.transpose(0, 1).contiguous()

        absent = self._absent().sum(1).reshape(-1)
        evidence = by_member(torch.bmm(taken, encoded.evidence) + absent)
        gains = torch.cat([encoder.gain for encoder in self._panels()], dim=1)
        gain = by_member((taken - 0.5) @ gains.transpose(0, 1).reshape(taken.shape[-1], members * length))
        logits: Tensor = self.head(evidence, gain)
        return logits.reshape(members, patients, protocols).transpose(1, 2)

    def adds(self, encoded: Encoded, columns: slice, counts: Tensor, member: int) -> tuple[Tensor, Tensor]:
        """Return what some shots add to the evidence and to the gain of one member, for several settings of them.

        Parameters
        ----------
        encoded : what `encode` returned.
        columns : which shots, of all modalities side by side.
        counts : shape ``(settings, shots in columns)``.
        member : which network.

        Returns
        -------
        Two tensors of shape ``(settings, patients, evidence)``; both are 0 where nothing is taken.
        """
        taken = (encoded.done[:, columns] & (counts > 0)[:, None]).to(encoded.evidence.dtype)
        length = self.head.readout.shape[1]
        evidence = encoded.evidence[:, columns, member * length : (member + 1) * length]
        gain = torch.cat([encoder.gain[member] for encoder in self._panels()])[columns]
        return torch.einsum("kns,nse->kne", taken, evidence), taken @ gain

    def nothing(self, member: int) -> tuple[Tensor, Tensor]:
        """Return evidence and gain of a patient of whom nothing was measured, shape ``(evidence,)`` each."""
        gain = torch.cat([encoder.gain[member] for encoder in self._panels()])
        return self._absent()[member].sum(0), -0.5 * gain.sum(0)

    def forward(self, features: Features, counts: Tensor) -> Tensor:
        """Encode once, decode every protocol; see `encode` and `decode`."""
        return self.decode(self.encode(features), counts)

    def calibrated(self, logits: Tensor, counts: Tensor) -> Tensor:
        """Return logits over a temperature, plus a shift, both of the protocol: ``logit / T + s``.

        ``log T`` and ``s`` are linear in the share of each modality's shots that is taken: a network may be too sure
        with one set of tests and not sure enough with another (Guo et al. 2017, section 4, per protocol).

        Parameters
        ----------
        logits : shape ``(protocols, patients)``.
        counts : shape ``(protocols, shots)``.
        """
        log_temperature, shift = self.calibration @ self.protocol_features(counts).T
        return logits * torch.exp(-log_temperature)[:, None] + shift[:, None]

    def protocol_features(self, counts: Tensor) -> Tensor:
        """Return 1 and the share of each modality's shots that is taken, shape ``(protocols, 1 + modalities)``."""
        sizes = [encoder.absent.shape[1] for encoder in self._panels()]
        shares = [part.float().mean(1) for part in (counts > 0).split(sizes, dim=1)]
        return torch.stack([torch.ones_like(shares[0]), *shares], dim=1)

    def _panels(self) -> list[PanelEncoder]:
        return [encoder for encoder in self.encoders.values() if isinstance(encoder, PanelEncoder)]

    def _absent(self) -> Tensor:
        return torch.cat([encoder.absent for encoder in self._panels()], dim=1)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        """Return the penalised loss, summed over members (they share no weights)."""
        logits = self(batch["features"], batch["counts"])
        label = batch["label"].float().expand_as(logits)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, label, reduction="none").mean(1)
        learns = batch["learns"]  # members, patients
        data_term = ((loss * learns).sum(1) / learns.sum(1).clamp(min=1.0)).sum()
        penalised = self.head.penalised() + [weight for encoder in self._panels() for weight in encoder.penalised()]
        prior = torch.stack([(weight**2).sum() for weight in penalised]).sum()
        total: Tensor = data_term + prior * self.prior_precision / (2.0 * batch["n_learn"])
        self.log("loss", data_term.detach() / len(learns), prog_bar=False, batch_size=1)
        return total

    def configure_optimizers(self) -> Any:
        """Adam with a one-cycle schedule over the fixed number of steps."""
        optimiser = torch.optim.Adam(self.parameters(), lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            self.learning_rate,
            total_steps=self.steps,
            pct_start=0.3 if self.steps == 5 else 0.2,  # torch divides by the length of the warm-up less one step
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
