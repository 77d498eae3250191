from __future__ import annotations

import math

import numpy as np
import pytest
from modality_scenario import scene_of

from scanwise.errors import ScanwiseError
from scanwise.modalities.flair import Flair


def flair(**settings) -> Flair:
    return Flair(
        "flair",
        **{
            "matrix": (20, 16),
            "train_length": 10,
            "echo_time_s": 0.1,
            "snr": 100.0,
            "reference_voxel_mm3": 86.4,
            **settings,
        },
    )


def test_uniform_tissue_has_the_signal_of_the_equation_over_the_noise():
    data = flair().synthesise(scene_of((40, 32), proton_density=0.8, t1_s=1.2, t2_s=0.08))

    # voxels of 96/20 x 96/16 x 3 mm = 86.4 mm^3; 10 echoes every 10 ms shorten the recovery
    inverted = 1 - 2 * math.exp(-2.5 / 1.2) + math.exp(-(9.0 - 0.1) / 1.2)
    np.testing.assert_allclose(data, 100 * 0.8 * inverted * math.exp(-0.1 / 0.08), rtol=2e-3)


def test_fluid_is_nulled_and_tissue_is_not():
    t1_s = 4.3
    inversion = t1_s * (math.log(2) - math.log(1 + math.exp(-(9.0 - 0.1) / t1_s)))

    fluid, tissue = (
        flair(inversion_time_s=inversion).synthesise(scene_of((40, 32), **maps)).mean()
        for maps in ({"t1_s": t1_s, "t2_s": 2.0}, {"t1_s": 1.0, "t2_s": 0.08})
    )

    assert abs(fluid) < 0.05
    assert tissue > 10


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inversion_time_s": 8.95}, "TI \\+ TE must not be above TR"),
        ({"inversion_time_s": 0.0}, "TI must be"),
        ({"echo_time_s": 0.2}, "effective TE must be one of the 10 echoes"),
    ],
)
def test_wrong_timing_is_refused(settings, message):
    with pytest.raises(ScanwiseError, match=message):
        flair(**settings)
