"""A tiny organ and a tiny scanner for the tests of virtual organs."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.cohort import VirtualOrgan
from scanwise.design import ImagingModality, Measurement, Scene, ShotTable

SAID = {"source": "made up for a test", "confidence": "high"}
GUESSED = {"source": "made up for a test", "confidence": "assumed"}

SITES = {
    "north": {"share": 0.5, "field_t": 3.0, **SAID},
    "south": {"share": 0.5, "field_t": 1.5, "noise": 1.2, "odds": 0.8, "shift": {"age": 1.0}, **SAID},
}

BREAST: dict[str, Any] = {
    "geometry": {
        "fov_mm": [40, 60],
        "matrix": [32, 48],
        "lesion_matrix": [8, 12],
        "t1_field_exponent": 0.3,
        **SAID,
    },
    "texture": {"scale_mm": 4.0, **GUESSED},
    "scanner": {"gain_sd": 0.1, "shading_sd": 0.1, "noise_sd": 0.1, "arterial_sd": 0.1, **GUESSED},
    "prevalence": {"value": 0.4, **SAID},
    "diagnoses": {
        "healthy": {"share": 0.7, **SAID},
        "dcis": {"share": 0.3, "grade": 1, "lesion": "dcis", **SAID},
        "cancer": {"share": 1.0, "grade": 3, "lesion": "mass", **SAID},
    },
    "positive": ["cancer"],
    "targets": {"any": ["dcis", "cancer"]},
    "covariates": {
        "age": {"mean": 55.0, "sd": 8.0, "low": 20, "high": 95, "by": {"cancer": 60.0}, "unit": "years", **SAID}
    },
    "background": "air",
    "tissues": {
        "air": {
            "proton_density": {"mean": 0.0, **SAID},
            "t1_s": {"mean": 1.0, **SAID},
            "t2_s": {"mean": 0.05, **SAID},
        },
        "gland": {
            "proton_density": {"mean": 0.9, **SAID},
            "t1_s": {"mean": 1.4, "sd": 0.1, "between_worlds": 0.2, **SAID},
            "t2_s": {"mean": 0.08, "sd": 0.005, **SAID},
            "texture": {"t2_s": 0.1, **GUESSED},
        },
    },
    "regions": {
        "disc": {"tissue": "gland", "centre": [0, 2], "size": [30, 44], "centre_sd": 1.0, "outline_sd": 0.03, **SAID},
    },
    "findings": {
        "cyst": {
            "zone": {"disc": 1.0, **SAID},
            "per_patient": {"negative": 1.0, "positive": 0.5, **GUESSED},
            "diameter_mm": {"mean": 6.0, "sd": 1.0, **SAID},
            "tissue": {"t2_s": {"mean": 0.4, "sd": 0.05, **SAID}},
        },
        "dcis": {
            "number": {"shares": [0.0, 1.0], **SAID},
            "zone": {"disc": 1.0, **SAID},
            "diameter_mm": {"mean": 5.0, **SAID},
            "tissue": {"t2_s": {"mean": 0.065, "sd": 0.005, **SAID}},
        },
        "mass": {
            "number": {"shares": [0.0, 0.8, 0.2], **SAID},
            "zone": {"disc": 1.0, **SAID},
            "diameter_mm": {"log": True, "mean": 2.3, "sd": 0.2, "low": 4, "high": 20, **SAID},
            "tissue": {"t2_s": {"mean": 0.06, "sd": 0.008, "between_worlds": 0.01, **SAID}},
        },
    },
}


def breast(**changes: Any) -> dict[str, Any]:
    """The organ with nodes replaced: ``breast(prevalence={...})``, or ``{"tissues.gland.t2_s.mean": 3}``."""
    spec = copy.deepcopy(BREAST)
    for path, value in changes.items():
        node = spec
        *outer, last = path.split(".")
        for key in outer:
            node = node[key]
        if value is None:
            del node[last]
        else:
            node[last] = value
    return spec


def organ(spec: dict[str, Any] | None = None, **changes: Any) -> VirtualOrgan:
    told = {"name": "breast", "organ": spec or BREAST, "sites": SITES, "n": 70, "seed": 3, **changes}
    return VirtualOrgan(**told)


class FakeScan(ImagingModality):
    """T2 weighting of every ``step``-th point, without any physics."""

    schemes = ()
    calls = 0

    def __init__(
        self, name: str = "scan", *, echo_s: float = 0.05, step: int = 2, money: float = 1.0, needs: str = "t2_s"
    ) -> None:
        self.name = name
        self.title = f"Scan {name}"
        self.echo_s = echo_s
        self.step = step
        self.needs = needs
        self.matrix = (32 // step, 48 // step)
        self.channels = ("image",)
        self.shots = ShotTable.build([f"line{i}" for i in range(self.matrix[0])], money=money)

    @classmethod
    def example(cls) -> FakeScan:
        return cls()

    def example_data(self, patients: int, seed: int) -> NDArray[Any]:
        return np.zeros((patients, 1, *self.matrix), dtype=np.float16)

    def synthesise(self, scene: Scene) -> NDArray[np.float16]:
        type(self).calls += len(scene)
        image = scene.map("proton_density") * np.exp(-self.echo_s / scene.map(self.needs)) * scene.gain
        image = 20 * image / scene.noise[:, None, None]
        return image[:, None, :: self.step, :: self.step].astype(np.float16)

    def measure(self, data: NDArray[Any], counts: NDArray[np.int64], rng: np.random.Generator) -> Measurement:
        raise NotImplementedError

    def adjoint(self, measurement: Measurement) -> NDArray[np.complex64]:
        raise NotImplementedError

    def reconstruct(self, measurement: Measurement) -> NDArray[np.float32]:
        raise NotImplementedError
