"""A scan of the prostate study as a flat problem: its lines of k-space, and the image they should give."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scanwise.design import ImagingModality
from scanwise.model import Measurements
from scanwise.physics import fft2c
from scanwise.pipeline import Run

IMAGE = 32
"""Side of the image that is reconstructed; where a voxel of the scan is smaller, voxels are averaged."""


def train_length(modality: Any) -> int | None:
    """Return how many lines an echo train has, `None` where shots are no lines of echo trains."""
    length = modality.shots.what.get("train_length") if isinstance(modality, ImagingModality) else None
    return None if length is None else int(np.max(length))


def image_of_lines(run: Run, name: str, patients: NDArray[np.int64]) -> Measurements:
    """Return scans of patients, complete: lines of the coil-combined image, and that image, coarser.

    Parameters
    ----------
    run : a study of which the cohort is there.
    name : a modality whose shots are lines.
    patients : whose scans.
    """
    modality: Any = run.menu.modalities[name]
    measured = modality.measure(run.cohort.data(name, patients), modality.standard, np.random.default_rng(0))
    image = torch.from_numpy(modality.adjoint(measured))[:, 0]
    turned = image.mT if getattr(modality, "phase_axis", "y") == "x" else image
    side = turned.shape[1] // IMAGE
    target = turned.real.unflatten(2, (IMAGE, side)).unflatten(1, (IMAGE, side)).mean((2, 4)).flatten(1)
    values = torch.view_as_real(fft2c(turned)).flatten(2)
    return Measurements(values.float().numpy(), target.float().numpy(), "values")
