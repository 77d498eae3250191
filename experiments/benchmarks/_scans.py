"""A scan of the prostate study as a flat problem: its lines of k-space, and the image they should give."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from _patterns import image_of, lines_of
from numpy.typing import NDArray
from torch import Tensor

from scanwise.design import ImagingModality
from scanwise.model import Measurements
from scanwise.pipeline import Run


def train_length(modality: Any) -> int | None:
    """Return how many lines an echo train has, `None` where shots are no lines of echo trains."""
    length = modality.shots.what.get("train_length") if isinstance(modality, ImagingModality) else None
    return None if length is None else int(np.max(length))


def image_of_lines(run: Run, name: str, patients: NDArray[np.int64]) -> Measurements:
    """Return scans of patients, complete: lines of the coil-combined image, and the real part of that image.

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
    lines = lines_of(turned).float()
    return Measurements(lines.numpy(), real_image(lines).numpy(), "values", inverse=real_image)


def real_image(lines: Tensor) -> Tensor:
    """Return the real part of the image of k-space, shape ``(patients, voxels)``.

    Parameters
    ----------
    lines : as from `lines_of`; those not taken are 0.
    """
    return image_of(lines).real.flatten(1)
