"""Every registered kind of imaging modality keeps the contract; a new file is all it takes to be among them."""

from __future__ import annotations

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
from _contracts import MODALITY_CONTRACT, everything, examples, measure
from _imaging_contract import RELAXED_CONTRACT, contract_of, rendered_for, scene_of

import scanwise.modalities
from scanwise.design import ImagingModality, Measurement, modality_kinds
from scanwise.modalities import load_all
from scanwise.modalities._imaging import VirtualScan
from scanwise.modalities.computed_tomography import ComputedTomography
from scanwise.modalities.diffusion import DiffusionWeighted
from scanwise.modalities.dynamic import DynamicContrast
from scanwise.modalities.turbo_spin_echo import TurboSpinEcho

load_all()

KINDS, MISSING = examples({kind: cls for kind, cls in modality_kinds().items() if issubclass(cls, ImagingModality)})
EXAMPLES: dict[str, ImagingModality] = {
    **KINDS,
    "frames that cost their own time": DynamicContrast(
        "frames", frames=4, arrival_s=15.0, matrix=(8, 13), snr=500.0, reference_voxel_mm3=300.0
    ),
    "one b-value": DiffusionWeighted(
        "b800", b_values=[800], averages=[3], matrix=(13, 8), snr=60.0, reference_voxel_mm3=300.0, parallel_imaging=2.0
    ),
    "CT without contrast": ComputedTomography(
        "native",
        matrix=(13, 8),
        fov_mm=(96.0, 80.0),
        views=7,
        photons=3e4,
        usual_output=1,
        max_output=1,
        kernel="ram_lak",
        window_hu=(-1000.0, 1000.0),
        electronic_photons=0.0,
        schemes=["sparse_views"],
    ),
    "one coil, lines along x": TurboSpinEcho(
        "single", phase_axis="x", n_coils=1, train_length=8, matrix=(13, 16), snr=60.0, reference_voxel_mm3=150.0
    ),
}


def test_all_kinds_are_there():
    assert {*KINDS, *MISSING} >= {"turbo_spin_echo", "flair", "t1w", "dwi", "dce", "dce_lines", "radial_t1w", "ct"}


@pytest.mark.parametrize(
    ("example", "check"),
    [
        pytest.param(example, check, id=f"{example}-{check.__name__}")
        for example, modality in EXAMPLES.items()
        for check in (*MODALITY_CONTRACT, *contract_of(modality))
    ],
)
def test_imaging_modality(example, check):
    check(EXAMPLES[example])


@pytest.mark.parametrize("check", RELAXED_CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize("example", EXAMPLES)
def test_gradients_in_the_counts(example, check):
    check(EXAMPLES[example])


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_blank_object_is_noise_alone(example):
    modality = copy.copy(EXAMPLES[example])
    assert isinstance(modality, VirtualScan)
    modality.blank = True

    data = modality.synthesise(scene_of(3, rendered_for(modality)))

    assert data.shape[2:] == modality.matrix
    assert not data.any()
    assert np.isfinite(modality.reconstruct(measure(modality, data, everything(modality)))).all()


# ---- one file

NEW_FILE = '''
"""Computed tomography of a made-up kind: one shot is one exposure of the density, which falls with each."""

import numpy as np

from scanwise.design import ImagingModality, Measurement, ShotTable, Whole, register_modality
from scanwise.errors import ScanwiseError


@register_modality("made_up_tomography")
class MadeUpTomography(ImagingModality):
    name = "tomography"
    title = "tomography"
    schemes = (Whole(),)
    matrix = (7, 10)
    channels = ("density",)

    def __init__(self):
        self.shots = ShotTable.build(["low", "high"], seconds=1.0, msv=[1.0, 2.0], max_count=2)

    @classmethod
    def example(cls):
        return cls()

    def example_data(self, patients, seed):
        return np.random.default_rng(seed).uniform(5, 9, size=(patients, 2, 7, 10)).astype(np.float16)

    def synthesise(self, scene):
        if scene.gain.shape[1] < 7 or scene.gain.shape[2] < 10:
            raise ScanwiseError(f"it must be in [1, {scene.gain.shape[1]}], the size of the rendered matrix")
        image = (scene.map("proton_density") * scene.gain)[:, :7, :10]
        image = image / (3 * scene.noise / scene.field_t)[:, None, None]
        return np.stack([3 * image, 5 * image], axis=1).astype(np.float16)

    def measure(self, data, counts, rng):
        if data.shape[2:] != self.matrix:
            raise ScanwiseError("it must have shape (patients, 2, 7, 10): all patients of a cohort need one matrix")
        if np.shape(counts)[-1] != 2:
            raise ScanwiseError("it has 2 shots and so on, but the counts have more")
        if not np.issubdtype(counts.dtype, np.integer) or counts.min() < 0:
            raise ScanwiseError("counts must be whole numbers >= 0")
        taken = np.where(np.isnan(data).any(axis=(2, 3)), 0, np.broadcast_to(counts, data.shape[:2]))
        one = isinstance(rng, np.random.Generator)
        noise = rng.normal(size=data.shape) if one else np.stack([each.normal(size=data.shape[1:]) for each in rng])
        noise = noise / np.sqrt(np.maximum(taken, 1))[:, :, None, None]
        return Measurement(np.where(taken[:, :, None, None] > 0, data + noise, np.nan), taken)

    def adjoint(self, measurement):
        there = measurement.counts[:, :, None, None] > 0
        return np.where(there, measurement.data, 0).astype(np.complex64)

    def reconstruct(self, measurement):
        image = self.adjoint(measurement).real.sum(axis=1, keepdims=True)
        return image / np.maximum(np.abs(image).mean(axis=(2, 3), keepdims=True), 1e-6)
'''


def test_a_new_imaging_modality_is_one_file(tmp_path: Path, monkeypatch):
    (tmp_path / "made_up_tomography.py").write_text(NEW_FILE)
    monkeypatch.setattr("scanwise.design.modality._MODALITIES", modality_kinds())
    monkeypatch.setattr(scanwise.modalities, "__path__", [*scanwise.modalities.__path__, str(tmp_path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    try:
        load_all()
        newcomer = modality_kinds()["made_up_tomography"].example()
        for check in (*MODALITY_CONTRACT, *contract_of(newcomer)):
            check(newcomer)
    finally:
        sys.modules.pop("scanwise.modalities.made_up_tomography", None)
        vars(scanwise.modalities).pop("made_up_tomography", None)


# ---- the contract itself


class Deaf(DiffusionWeighted):
    def measure(self, data, counts, rng):
        measured = super().measure(data, np.minimum(counts, 1), rng)
        return Measurement(measured.data, np.where(measured.counts, counts, 0))


class Frozen(DiffusionWeighted):
    def measure(self, data, counts, rng):
        return super().measure(data, counts, np.random.default_rng(0))


class Entangled(DiffusionWeighted):
    def measure(self, data, counts, rng):
        first = rng if isinstance(rng, np.random.Generator) else rng[0]
        return super().measure(data, counts, first)


class Gullible(DiffusionWeighted):
    def _magnitudes(self, measurement):
        return super()._magnitudes(Measurement(np.nan_to_num(measurement.data), np.ones_like(measurement.counts)))


class Raw(TurboSpinEcho):
    def reconstruct(self, measurement):
        return self.solve(measurement)[:, None].numpy()


class Magnitude(TurboSpinEcho):
    def adjoint(self, measurement):
        return np.abs(super().adjoint(measurement))


class Mixed(DynamicContrast):
    def reconstruct(self, measurement):
        images = super().reconstruct(measurement)
        return images - images[:1]  # the others are seen relative to the first


class Tolerant(DynamicContrast):
    def measure(self, data, counts, rng):
        return super().measure(data, np.abs(counts), rng)


class Brighter(TurboSpinEcho):
    def synthesise(self, scene):
        return (super().synthesise(scene) * scene.noise[:, None, None, None]).astype(np.float16)


class Numb(ComputedTomography):
    """Its photons do not follow the tube."""

    def measure(self, data, counts, rng):
        measured = super().measure(data, np.minimum(counts, 1), rng)
        return Measurement(measured.data, np.where(measured.counts, counts, 0))


class Silent(ComputedTomography):
    """Its scanners are all alike."""

    def synthesise(self, scene):
        data = super().synthesise(scene)
        data[:, 1] = 0
        return data


class Magnetic(ComputedTomography):
    def synthesise(self, scene):
        return (super().synthesise(scene) * scene.field_t[:, None, None, None]).astype(np.float16)


class Dim(ComputedTomography):
    """Its electronics are as loud as the photons."""

    def measure(self, data, counts, rng):
        return super().measure(data, np.minimum(counts, 1), rng)


@pytest.mark.parametrize(
    ("broken", "by"),
    [
        (Deaf, "check_thermal_noise"),
        (Deaf, "check_averaging"),
        (Frozen, "check_random_state"),
        (Entangled, "check_streams_per_patient"),
        (Gullible, "check_absent_shots_say_nothing"),
        (Raw, "check_any_scale"),
        (Magnitude, "check_images"),
        (Mixed, "check_any_scale"),
        (Tolerant, "check_bad_measurements"),
        (Brighter, "check_images_over_the_noise"),
        (Numb, "check_photon_noise"),
        (Silent, "check_photon_noise"),
        (Magnetic, "check_no_magnet"),
        (Dim, "check_many_photons"),
    ],
)
def test_the_contract_finds_what_is_broken(broken, by):
    check = next(check for check in contract_of(broken.example()) if check.__name__ == by)
    check(broken.__base__.example())
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(broken.example())
