"""Virtual patients whose signal can be written down."""

from __future__ import annotations

import numpy as np

from scanwise.design import Scene

TISSUE = {
    "proton_density": 0.9,
    "t1_s": 1.6,
    "t2_s": 0.09,
    "adc_mm2_per_s": 0.0015,
    "kurtosis": 0.0,
    "ktrans_per_s": 0.003,
    "ve": 0.3,
    "vp": 0.02,
}


def scene_of(
    rendered: tuple[int, int], patients: int = 2, *, noise: float = 1.0, field_t: float = 3.0, **maps
) -> Scene:
    """Return patients of one tissue; a map may be given as a number or as an image."""
    ones = np.ones(patients, dtype=np.float32)
    values = {**TISSUE, **maps}
    return Scene(
        maps={name: np.broadcast_to(value, (patients, *rendered)).astype(np.float32) for name, value in values.items()},
        fov_mm=(96.0, 96.0),
        field_t=field_t * ones,
        noise=noise * ones,
        gain=np.ones((patients, *rendered), dtype=np.float32),
        arterial_scale=ones,
    )


def spots(rendered: tuple[int, int], *, inside: float, outside: float, seed: int = 0) -> np.ndarray:
    """Return an image of discs of one value on a ground of another."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in rendered), indexing="ij")
    image = np.full(rendered, outside)
    for _ in range(9):
        centre, radius = rng.uniform(-0.8, 0.8, 2), rng.uniform(0.08, 0.3)
        image[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2] = inside
    return image


def error(image: np.ndarray, truth: np.ndarray) -> float:
    """Return the relative error of an image in the least-squares sense."""
    return float(np.linalg.norm(image - truth) / np.linalg.norm(truth))
