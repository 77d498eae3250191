from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from modality_scenario import TISSUE, scene_of

from scanwise.errors import ScanwiseError
from scanwise.modalities.t1_weighted import T1Weighted
from scanwise.physics import ParkerAif, extended_tofts


def t1w(**settings) -> T1Weighted:
    return T1Weighted("t1w", **{"matrix": (16, 20), "snr": 100.0, "reference_voxel_mm3": 86.4, **settings})


def test_gradient_echo():
    data = t1w().synthesise(scene_of((32, 40)))

    lost = 1 - math.exp(-0.15 / 1.6)
    angle = math.radians(70)
    steady = math.sin(angle) * lost / (1 - math.cos(angle) * (1 - lost))
    decay = math.exp(-0.0025 * (1 / 0.09 + 15))
    np.testing.assert_allclose(data, 100 * 0.9 * steady * decay, rtol=2e-3)


def test_spin_echo():
    data = t1w(sequence="spin_echo", repetition_time_s=0.6, echo_time_s=0.012).synthesise(scene_of((32, 40)))

    np.testing.assert_allclose(data, 100 * 0.9 * (1 - math.exp(-0.6 / 1.6)) * math.exp(-0.012 / 0.09), rtol=2e-3)


def test_contrast_agent_shortens_t1_by_what_has_reached_the_tissue():
    modality = t1w(
        sequence="spin_echo",
        repetition_time_s=0.6,
        echo_time_s=0.012,
        post_contrast_s=240.0,
        contrast_setup="contrast",
        setups=["scanner"],
    )
    kinetics = {name: torch.tensor([TISSUE[name]], dtype=torch.float64) for name in ("ktrans_per_s", "ve", "vp")}
    agent = extended_tofts(**kinetics, time_s=torch.tensor([240.0], dtype=torch.float64), aif=ParkerAif()).item()
    t1_s, t2_s = 1 / (1 / 1.6 + 4.5 * agent), 1 / (1 / 0.09 + 5.5 * agent)

    data = modality.synthesise(scene_of((32, 40)))

    assert agent > 0.2
    expected = 100 * 0.9 * (1 - math.exp(-0.6 / t1_s)) * math.exp(-0.012 / t2_s)
    np.testing.assert_allclose(data, expected, rtol=3e-3)
    assert set(modality.shots.setups) == {("scanner", "contrast")}
    no_agent = modality.synthesise(scene_of((32, 40), ktrans_per_s=0.0, vp=0.0))
    np.testing.assert_allclose(no_agent, 100 * 0.9 * (1 - math.exp(-0.6 / 1.6)) * math.exp(-0.012 / 0.09), rtol=2e-3)


def test_an_organ_needs_kinetics_only_where_contrast_is_given():
    maps = {name: value for name, value in scene_of((32, 40)).maps.items() if name not in ("ktrans_per_s", "ve", "vp")}
    scene = scene_of((32, 40))
    bare = type(scene)(maps, scene.fov_mm, scene.field_t, scene.noise, scene.gain, scene.arterial_scale)

    assert t1w().synthesise(bare).any()
    with pytest.raises(ScanwiseError, match="renders no 'ktrans_per_s'"):
        t1w(post_contrast_s=60.0, contrast_setup="contrast").synthesise(bare)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sequence": "spin_eco"}, "did you mean 'spin_echo'"),
        ({"post_contrast_s": 60.0}, "both post_contrast_s and contrast_setup or neither"),
        ({"contrast_setup": "contrast"}, "both post_contrast_s and contrast_setup or neither"),
        ({"echo_time_s": 0.2}, "TE must not be above TR"),
        ({"flip_angle_deg": 0.0}, "flip angle must be"),
        ({"post_contrast_s": -1.0, "contrast_setup": "contrast"}, "frame time must be"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ScanwiseError, match=message):
        t1w(**settings)
