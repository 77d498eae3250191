"""Encoders: from what was measured to evidence that adds up across modalities."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scanwise.design import ImagingModality, Menu, PatientData, Patients, panel_features
from scanwise.errors import ScanwiseError


def check_panels(menu: Menu) -> None:
    """Raise a `ScanwiseError` where a menu offers more than test panels."""
    for name, modality in menu.modalities.items():
        if isinstance(modality, ImagingModality):
            raise ScanwiseError(f"this model reads tests, but {name!r} is an imaging modality", "use model=imaging")


def menu_features(
    data: PatientData, menu: Menu, modality: str, patients: Patients | None = None
) -> tuple[Tensor, NDArray[np.int64]]:
    """Return the features of everything a panel offers, ``(patients, features)``, and the shot of each feature."""
    rows = np.arange(len(data.label)) if patients is None else patients
    everything = np.ones(len(menu.modalities[modality].shots), dtype=np.int64)
    measured = menu.modalities[modality].measure(data.data(modality, rows), everything, np.random.default_rng(0))
    features, shot = panel_features(measured.data, data.columns(modality))
    return torch.as_tensor(features, dtype=torch.float32), shot


class PanelEncoder(nn.Module):
    """Evidence of a test panel: a shot that was taken adds a linear map of its values, an absent one a constant.

    For one patient, with ``t_s = 1`` where shot ``s`` was taken and done, 0 where not,

        evidence = sum_s t_s (W_s x_s + U_s u_s) + (1 - t_s) a_s        (1)
        gain     = sum_s (t_s - 1/2) g_s                                (2)

    ``x`` are standardised values, 0 where unknown, and ``u`` marks values that are unknown although the shot was done.
    Values are encoded once; evidence of any number of protocols is then added up (`DiagnosisNetwork.decode`).
    All networks of an ensemble ("members") live side by side in one tensor, each with its own standardisation.

    Parameters
    ----------
    n_members : networks side by side.
    n_shots : shots of the modality.
    shot : shot of every feature, shape ``(features,)``.
    n_evidence : length of the evidence vector.
    generator : source of the initial weights.
    """

    mean: Tensor
    scale: Tensor
    of_shot: Tensor

    def __init__(
        self, *, n_members: int, n_shots: int, shot: NDArray[np.int64], n_evidence: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        n_features = len(shot)
        self.register_buffer("mean", torch.zeros(n_members, n_features))
        self.register_buffer("scale", torch.ones(n_members, n_features))
        self.register_buffer("of_shot", nn.functional.one_hot(torch.as_tensor(shot), n_shots).float())
        spread = 0.3 / math.sqrt(n_features)
        self.weight = nn.Parameter(torch.randn(n_members, n_features, n_evidence, generator=generator) * spread)
        self.unknown = nn.Parameter(torch.zeros(n_members, n_features, n_evidence))
        self.absent = nn.Parameter(torch.zeros(n_members, n_shots, n_evidence))
        self.gain = nn.Parameter(torch.zeros(n_members, n_shots, n_evidence))

    def penalised(self) -> list[Tensor]:
        """Weights that the Gaussian prior shrinks to zero."""
        return [self.weight, self.unknown, self.gain]

    def standardise(self, features: Tensor, learns: Tensor) -> None:
        """Set mean and scale of every member from the patients it learns from.

        Parameters
        ----------
        features : shape ``(patients, features)``, NaN where unknown.
        learns : 1 where a member learns from a patient, shape ``(members, patients)``.
        """
        # double precision: of a large mean and a small spread nothing would be left in single precision
        learns = learns.double()
        known = (~features.isnan()).double()
        total = (learns @ known).clamp(min=1.0)
        value = features.nan_to_num().double()
        mean, square = learns @ value / total, learns @ (value**2) / total
        variance = square - mean**2
        constant = variance <= 1e-10 * square  # relative, whatever the unit
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(constant, 1.0, variance.clamp(min=0.0).sqrt()))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Encode the values once.

        Parameters
        ----------
        features : shape ``(patients, features)``, NaN where unknown.

        Returns
        -------
        evidence : what each shot would add, ``W_s x_s + U_s u_s``, shape ``(members, patients, shots, evidence)``.
        done : whether a patient has the shot, shape ``(patients, shots)``.
        """
        known = ~features.isnan()
        done = (known.float() @ self.of_shot) > 0
        value = torch.where(known, (features - self.mean[:, None]) / self.scale[:, None], 0.0)
        unknown = (~known & (done.float() @ self.of_shot.T > 0)).float()
        shots = self.of_shot.shape[1]
        if shots == 1:
            evidence = value @ self.weight + unknown @ self.unknown
            return evidence[:, :, None], done
        evidence = torch.einsum("mnfs,mfe->mnse", value[..., None] * self.of_shot, self.weight)
        evidence = evidence + torch.einsum("nfs,mfe->mnse", unknown[..., None] * self.of_shot, self.unknown)
        return evidence, done
