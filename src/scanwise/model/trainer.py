"""Where training runs: one quiet Lightning trainer for every fit."""

from __future__ import annotations

import atexit
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger

from scanwise.errors import ScanwiseError

Progress = Callable[[int, int, str], None]
"""``progress(done, total, text)``, called often; cheap."""

_ACCELERATORS = ("cpu", "gpu", "auto")


@dataclass(frozen=True)
class TrainerSettings:
    """How Lightning runs; the code path is the same everywhere.

    Parameters
    ----------
    accelerator : ``"cpu"``, ``"gpu"`` or ``"auto"``.
    devices : how many.
    strategy : ``"auto"``, or ``"ddp_spawn"`` for several devices (it leaves the command line alone, unlike ``"ddp"``).
    precision : ``"32-true"``, ``"bf16-mixed"`` or ``"16-mixed"``.
    threads : CPU threads of torch, `None` = as torch likes; for small networks one is as quick and minds no neighbours.
    log : write the training loss as CSV beside the checkpoint.

    Raises
    ------
    ScanwiseError
        For an unknown accelerator or fewer than one device.
    """

    accelerator: str = "cpu"
    devices: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
    threads: int | None = None
    log: bool = True

    def __post_init__(self) -> None:
        if self.accelerator not in _ACCELERATORS:
            raise ScanwiseError(f"trainer.accelerator must be one of {_ACCELERATORS}, but got {self.accelerator!r}")
        if self.threads is not None and self.threads < 1:
            raise ScanwiseError(f"trainer.threads must be at least 1, but got {self.threads}")
        if self.devices < 1:
            raise ScanwiseError(f"trainer.devices must be at least 1, but got {self.devices}")

    def build(self, *, steps: int, directory: Path, progress: Progress | None = None) -> pl.Trainer:
        """Return a trainer for `steps` optimiser steps that prints nothing of its own."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
            logging.getLogger(name).setLevel(logging.ERROR)
        callbacks: list[Callback] = [_Report(progress, steps)] if progress else []
        if self.devices > 1:
            callbacks.append(_LeaveGroup())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pl.Trainer(
                accelerator=self.accelerator,
                devices=self.devices,
                strategy=self.strategy,
                precision=self.precision,  # type: ignore[arg-type]
                max_steps=steps,
                callbacks=callbacks,
                logger=CSVLogger(directory, name="", version="") if self.log else False,
                log_every_n_steps=max(1, steps // 50),
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                deterministic="warn",
                default_root_dir=directory,
            )


def one_cycle(optimiser: torch.optim.Optimizer, largest: float | list[float], steps: int) -> dict[str, Any]:
    """Return what `configure_optimizers` returns: a one-cycle schedule over a fixed number of steps.

    Parameters
    ----------
    optimiser : whose learning rate goes up and down.
    largest : largest learning rate, or one for each group of weights.
    steps : of the training.
    """
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, largest, total_steps=max(steps, 6), pct_start=0.15)
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@contextmanager
def quiet_training() -> Iterator[None]:
    """Keep Lightning's advice about workers and logging to itself, and torch's global generator as it was.

    A `DataLoader` draws from the global generator.
    """
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        yield


class _Report(Callback):
    """Tell the caller how far training is."""

    def __init__(self, progress: Progress, steps: int) -> None:
        self._progress = progress
        self._steps = steps

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        step = trainer.global_step
        if step % max(1, self._steps // 40) == 0 or step == self._steps:
            loss = trainer.callback_metrics.get("loss")
            self._progress(step, self._steps, "" if loss is None else f"loss {float(loss):.3f}")


class _LeaveGroup(Callback):
    """Leave the process group before a process ends: gloo's threads would abort it (Lightning does so for nccl)."""

    def on_fit_start(self, trainer: pl.Trainer, *args: Any) -> None:
        if torch.distributed.is_initialized():
            atexit.register(torch.distributed.destroy_process_group)
