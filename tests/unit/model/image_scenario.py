"""Made-up patients with a bright spot where the disease is: a scan that shows it, one that shows nothing, a marker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanwise.design import Column, Fold, ImagingModality, Measurement, Menu, Patients, Scene, ShotTable, make_scheme
from scanwise.modalities.panel import TestPanel
from scanwise.model import ImageModel

N_LEARN, N_NEW = 240, 300
GRID = (4, 6)


class Spot(ImagingModality):
    """A scan whose shots are averages of one image."""

    channels = ("image",)

    def __init__(self, name: str, matrix: tuple[int, int]) -> None:
        self.name = self.title = name
        self.matrix = matrix
        self.shots = ShotTable.build(["a", "b", "c"], seconds=60.0, what={"standard": np.array([1, 1, 2])}, max_count=4)
        self.schemes = (make_scheme("subset"), make_scheme("averages"))

    @classmethod
    def example(cls) -> Self:
        return cls("spot", (8, 12))

    def example_data(self, patients: int, seed: int) -> NDArray[Any]:
        return np.random.default_rng(seed).normal(size=(patients, 1, *self.matrix))

    def synthesise(self, scene: Scene) -> NDArray[np.float16]:
        return scene.map("t2_s")[:, None].astype(np.float16)

    def measure(self, data: NDArray[Any], counts: NDArray[np.int64], rng: Any) -> Measurement:
        asked = np.broadcast_to(counts, (len(data), 3))
        asked = np.where(np.isnan(data[:, 0, 0, 0])[:, None], 0, asked)
        noise = np.stack([one.normal(size=data.shape[1:]) for one in rng]) if isinstance(rng, Sequence) else None
        noise = rng.normal(size=data.shape) if noise is None else noise
        level = 1.0 / np.sqrt(np.maximum(asked.sum(1), 1))[:, None, None, None]
        image = np.where((asked.sum(1) > 0)[:, None, None, None], data + level * noise, np.nan)
        return Measurement(image, asked)

    def relaxed(self, data: NDArray[Any], counts: Tensor, rng: np.random.Generator) -> Tensor:
        noise = torch.as_tensor(rng.normal(size=data.shape), dtype=torch.float32)
        return torch.as_tensor(data, dtype=torch.float32) + noise / counts.sum().clamp(min=1).sqrt()

    def adjoint(self, measurement: Measurement) -> NDArray[np.complex64]:
        return np.nan_to_num(measurement.data).astype(np.complex64)

    def reconstruct(self, measurement: Measurement) -> NDArray[np.float32]:
        return np.nan_to_num(measurement.data).astype(np.float32)


@dataclass(frozen=True)
class MadeUpScans:
    """Patient data by row number, as `scanwise.design.PatientData` asks for."""

    label: NDArray[np.int64]
    values: Mapping[str, NDArray[Any]]
    drawn: NDArray[np.float32] | None
    targets: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    def data(self, modality: str, patients: Patients) -> NDArray[Any]:
        return self.values[modality][patients]

    def columns(self, modality: str) -> tuple[Column, ...]:
        return (Column("marker", shot=0, slot=0),) if modality == "marker" else ()

    def done(self, modality: str) -> NDArray[np.bool_]:
        return ~np.isnan(self.values[modality].reshape(len(self.label), -1)).all(axis=1)

    def lesions(self, patients: Patients) -> NDArray[np.float32] | None:
        return None if self.drawn is None else self.drawn[patients]

    def changed(self, modality: str, rows: object, value: object) -> MadeUpScans:
        """Return a copy with other values in some rows of one modality."""
        values = {name: array.copy() for name, array in self.values.items()}
        values[modality][rows] = value
        return replace(self, values=values)


def make_scans(n: int = N_LEARN + N_NEW, *, seed: int = 0, shuffled: bool = False) -> MadeUpScans:
    """Draw patients: half are sick, with a spot of 2 x 2 voxels in the scan that shows; the marker knows a little."""
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < 0.5).astype(np.int64)
    shows, blind = np.zeros((n, 1, 8, 12)), np.zeros((n, 1, 12, 18))
    drawn = np.zeros((n, 2, 8, 12), dtype=np.float32)
    for row in np.flatnonzero(label):
        y, x = 2 * rng.integers(0, 4), 2 * rng.integers(0, 6)
        shows[row, 0, y : y + 2, x : x + 2] = 2.5
        drawn[row, :, y : y + 2, x : x + 2] = 1.0
    marker = rng.normal(size=(n, 1, 1)) + 1.0 * label[:, None, None]
    if shuffled:
        order = rng.permutation(n)
        label, drawn = label[order], drawn[order]
    values = {"shows": shows, "blind": blind, "marker": marker}
    return MadeUpScans(label, values, drawn, targets={"second": label.copy()})


def make_scan_menu() -> Menu:
    return Menu(
        [TestPanel("marker", {"marker": {"money": 5.0}}), Spot("shows", (8, 12)), Spot("blind", (12, 18))],
        always=None,
    )


def make_scan_fold(n_learn: int = N_LEARN, n_new: int = N_NEW) -> Fold:
    """One split: the first patients learn, the others search and judge."""
    learn, rest = np.arange(n_learn), np.arange(n_learn, n_learn + n_new)
    return Fold(0, 0, learn, np.full(n_learn, -1), rest[: n_new // 2], rest[n_new // 2 :])


def make_image_model(**changes: Any) -> ImageModel:
    settings = {"grid": GRID, "width": 8, "n_blocks": 1, "n_evidence": 6, "n_hidden": 12, "steps": 200}
    return ImageModel(**{**settings, "learning_rate": 0.01, "batch_size": 40, "subsets_per_step": 5, **changes})
