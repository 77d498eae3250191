"""An organ that only X-rays see, and CT of it; organs that magnets see are as they were."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from organ_scenario import BREAST, SAID, SITES, organ

from scanwise.composing import CONF
from scanwise.design import Menu, Setup
from scanwise.design.cost import Cost
from scanwise.errors import ScanwiseError
from scanwise.modalities.computed_tomography import ComputedTomography

PLACES = {"one": {"share": 0.5, **SAID}, "two": {"share": 0.5, "noise": 2.0, **SAID}}
LIVER = CONF / "cohort" / "liver.yaml"


def dense() -> dict[str, Any]:
    """The breast of the other tests, as X-rays see it."""
    spec = copy.deepcopy(BREAST)
    spec["tissues"] = {
        "air": {"attenuation_per_cm": {"mean": 0.0, **SAID}, "iodine_mg_per_ml": {"mean": 0.0, **SAID}},
        "gland": {
            "attenuation_per_cm": {"mean": 0.20, "sd": 0.002, **SAID},
            "iodine_mg_per_ml": {"mean": 1.0, "sd": 0.1, **SAID},
            "texture": {"attenuation_per_cm": 0.05, "iodine_mg_per_ml": 0.2, **SAID},
        },
    }
    for name, value in (("cyst", 0.193), ("dcis", 0.205), ("mass", 0.21)):
        spec["findings"][name]["tissue"] = {"attenuation_per_cm": {"mean": value, **SAID}}
    return spec


def ct(**settings) -> ComputedTomography:
    given = {"matrix": (16, 24), "fov_mm": (40.0, 60.0), "views": 20, "photons": 1e5, **settings}
    return ComputedTomography("ct", **given)


def test_sites_need_no_field_where_nothing_is_magnetic():
    patients = organ(dense(), sites=PLACES, n=60)

    cohort = patients.load(Menu([ct()]))

    data = cohort.data("ct", np.arange(60))
    assert data.shape == (60, 2, 16, 24)
    noise = np.exp(data[:, 1].mean(axis=(1, 2)))
    site = np.array([name == "two" for name in cohort.site])
    assert noise[site].mean() > 1.7 * noise[~site].mean()


def test_magnets_need_their_field():
    with pytest.raises(ScanwiseError, match=r"sites\.one needs field_t"):
        organ(BREAST, sites={"one": {"share": 1.0, **SAID}})


def test_iodine_has_a_texture_of_its_own():
    maps = organ(dense(), sites=PLACES, n=12).scene(np.arange(4)).maps

    gland = maps["iodine_mg_per_ml"] > 0.5
    density, iodine = (maps[name][gland] for name in ("attenuation_per_cm", "iodine_mg_per_ml"))
    assert abs(np.corrcoef(density, iodine)[0, 1]) < 0.5


def test_what_x_rays_see_is_an_error_where_the_organ_has_it_not():
    menu = Menu([ct()])
    with pytest.raises(ScanwiseError, match="renders no 'attenuation_per_cm', which this modality needs"):
        organ(BREAST, sites=SITES, n=12).load(menu)


def test_an_attenuation_in_hounsfield_units_is_refused():
    spec = dense()
    spec["tissues"]["gland"]["attenuation_per_cm"]["mean"] = 55.0
    with pytest.raises(ScanwiseError, match="attenuation_per_cm"):
        organ(spec, sites=PLACES, n=12)


def test_the_liver_that_is_shipped_has_the_ct_numbers_that_it_says():
    liver = instantiate(OmegaConf.load(LIVER), n=200, cache=None, _convert_="all")
    menu = Menu(
        [
            ct(matrix=(64, 64), fov_mm=(352.0, 352.0)),
            ComputedTomography("portal", matrix=(64, 64), fov_mm=(352.0, 352.0), photons=1e5, contrast_setup="iodine"),
        ],
        [Setup("iodine", Cost(contrast_ml=100.0))],
    )

    cohort = liver.load(menu)

    truth = cohort.truth
    hu = 1000 * (np.asarray(truth["tissue_liver_attenuation_per_cm"]) / 0.193 - 1)
    assert hu.mean() == pytest.approx(57, abs=2)
    lesion = np.asarray(truth["lesion_kind"]) == "metastasis"
    found = 1000 * (np.asarray(truth["lesion_attenuation_per_cm"])[lesion] / 0.193 - 1)
    assert found.mean() == pytest.approx(42, abs=2)
    assert set(np.asarray(truth["lesion_patient"])[lesion]) <= set(np.flatnonzero(cohort.label))
    native, portal = (cohort.data(name, np.arange(200))[:, 0].astype(float) for name in ("ct", "portal"))
    bodies = (native > -500).any(axis=(1, 2))
    assert bodies.all()
    assert (native[:, [0, -1]] == -1000).all(), "the whole body is in the field of view"
    assert (native[:, :, [0, -1]] == -1000).all()
    in_liver = np.s_[:, 28:34, 16:24]
    assert (portal - native)[in_liver].mean() == pytest.approx(55, abs=10)
