"""Every modality tells its console settings as plain data, and they follow the counts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from scanwise.design import modality_kinds
from scanwise.modalities import load_all
from scanwise.modalities.diffusion import DiffusionWeighted
from scanwise.modalities.dynamic import DynamicContrast
from scanwise.modalities.flair import Flair
from scanwise.modalities.panel import TestPanel
from scanwise.modalities.t1_weighted import T1Weighted
from scanwise.modalities.turbo_spin_echo import TurboSpinEcho

load_all()
COMMON = {"snr": 50.0, "reference_voxel_mm3": 10.0, "matrix": (12, 10)}


@pytest.mark.parametrize("kind", sorted(modality_kinds()))
def test_settings_are_plain_and_named(kind):
    modality = modality_kinds()[kind].example()
    for counts in (modality.standard, np.eye(1, len(modality.shots), dtype=np.int64)[0]):
        settings = modality.console(counts.tolist())
        assert json.loads(json.dumps(settings)) == settings
        assert not settings or "sequence" in settings or "matrix" in settings


def test_a_blood_test_has_nothing_to_set():
    panel = TestPanel.example()
    assert panel.console(panel.standard.tolist()) == {}


def test_a_turbo_spin_echo_tells_train_and_acceleration():
    scan = TurboSpinEcho("t2w", phase_axis="x", train_length=5, echo_time_s=0.025, slice_mm=2.5, **COMMON)
    counts = [2, 0, 1, 0, 1, 0, 1, 0, 0, 0]
    assert scan.console(counts) == {
        "sequence": "turbo spin echo",
        "matrix": [12, 10],
        "slice_mm": 2.5,
        "lines_taken": 4,
        "lines_in_all": 10,
        "acceleration": 2.5,
        "averages": 1.25,
        "phase_axis": "x",
        "repetition_time_s": 4.0,
        "echo_time_s": 0.025,
        "echo_spacing_s": 0.0125,
        "echo_train_length": 5,
    }


def test_flair_tells_its_inversion_time():
    settings = Flair("flair", train_length=4, echo_time_s=0.03, inversion_time_s=2.2, **COMMON).console([1] * 12)
    assert (settings["sequence"], settings["inversion_time_s"]) == ("inversion recovery turbo spin echo", 2.2)


def test_t1_weighted_tells_flip_angle_and_contrast():
    before = T1Weighted("t1w", flip_angle_deg=70.0, **COMMON).console([1] * 12)
    assert (before["sequence"], before["flip_angle_deg"]) == ("spoiled gradient echo", 70.0)
    assert "after_contrast_s" not in before
    spin = T1Weighted("t1w", sequence="spin_echo", echo_time_s=0.012, **COMMON).console([1] * 12)
    assert (spin["sequence"], spin["flip_angle_deg"]) == ("spin echo", 90.0)
    after = T1Weighted("t1w", post_contrast_s=120, contrast_setup="agent", **COMMON).console([1] * 12)
    assert (after["after_contrast_s"], after["dose_mmol_per_kg"]) == (120.0, 0.1)


def test_diffusion_tells_what_is_taken():
    settings = DiffusionWeighted("dwi", b_values=(0, 500, 1000), averages=(1, 2, 4), **COMMON).console([1, 0, 8])
    assert settings["b_values_s_per_mm2"] == [0.0, 1000.0]
    assert settings["averages_of_b_values"] == [1, 8]


def test_dynamic_tells_its_frames():
    settings = DynamicContrast("dce", frames=4, frame_s=10.0, arrival_s=20.0, **COMMON).console([1, 0, 1, 0])
    assert settings["frames_end_s"] == [10.0, 30.0]
    assert (settings["bolus_arrival_s"], settings["flip_angle_deg"]) == (20.0, 15.0)
