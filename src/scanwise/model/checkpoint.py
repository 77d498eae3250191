"""Checkpoints that appear complete or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import lightning.pytorch as pl

from scanwise.artifacts import GOES_ON
from scanwise.design import Fold
from scanwise.errors import ScanwiseError

Network = TypeVar("Network", bound=pl.LightningModule)


def save_checkpoint(run: pl.Trainer, path: Path, fold: Fold) -> None:
    """Write the weights of a trained network under a temporary name, and then give them theirs.

    Raises
    ------
    ScanwiseError
        If the file cannot be written, e.g. because the disk is full.
    """
    temporary = path.with_name(f".{path.name}")
    try:
        run.save_checkpoint(temporary, weights_only=True)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch calls a full disk a RuntimeError
        raise ScanwiseError(
            f"the checkpoint of fold {fold.name} could not be written to {str(path.parent)!r}: {error}", GOES_ON
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(kind: type[Network], path: Path, fold: str) -> Network:
    """Load what `save_checkpoint` wrote, on the CPU, ready to answer.

    Raises
    ------
    ScanwiseError
        If there is no checkpoint, or it is damaged.
    """
    if not path.exists():
        raise ScanwiseError(f"there is no checkpoint for fold {fold}", "run stage=fit first")
    try:
        return kind.load_from_checkpoint(path, map_location="cpu", weights_only=True).eval()
    except Exception as error:  # torch raises several kinds for a torn archive
        raise ScanwiseError(f"the checkpoint of fold {fold} is damaged", "delete it and run stage=fit again") from error
