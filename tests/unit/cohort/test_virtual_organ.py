"""Virtual organs: what is drawn, what is rendered, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hydra.utils import instantiate
from organ_scenario import BREAST, GUESSED, SAID, SITES, FakeScan, breast, organ
from scipy.special import kv
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression

from scanwise.cohort.virtual._anatomy import Canvas, Outline, Texture, paint, pooled
from scanwise.cohort.virtual._patients import MAX_T2_OVER_T1, world_shift
from scanwise.cohort.virtual._spec import assumptions
from scanwise.design import Menu
from scanwise.errors import ScanwiseError
from scanwise.modalities.panel import TestPanel

MENU = Menu([TestPanel("history", {"age": {}}), FakeScan()])


# ---- numbers that are otherwise -----------------------------------------------------------------------------------


def test_patients_drawn_again_are_the_same_but_for_what_was_moved():
    cohort = organ(worlds=[1, 2]).load(MENU)
    patients = np.append(np.array([61, 7]), np.flatnonzero(cohort.label == 1)[0])
    same = cohort.redrawn(patients, {})
    for name in ("history", "scan"):
        np.testing.assert_array_equal(same.data(name, np.arange(3)), cohort.data(name, patients))
    np.testing.assert_array_equal(same.label, cohort.label[patients])
    assert cohort.doubts["findings.mass.tissue.t2_s"] == pytest.approx({"low": 0.05, "value": 0.06, "high": 0.07})

    moved = cohort.redrawn(np.arange(70), {"findings.mass.tissue.t2_s": 1.0})

    sick = cohort.label == 1
    before, after = (one.data("scan", np.arange(70)).astype(float) for one in (cohort, moved))
    np.testing.assert_array_equal(
        after[~sick & (cohort.targets["any"] == 0)], before[~sick & (cohort.targets["any"] == 0)]
    )
    assert (after[sick].sum(axis=(1, 2, 3)) > before[sick].sum(axis=(1, 2, 3))).all(), "a longer T2 is brighter"
    np.testing.assert_array_equal(moved.data("history", np.arange(70)), cohort.data("history", np.arange(70)))


def test_every_doubt_moves_some_patient_and_no_other_number_can_be_moved():
    open_ = {
        "tissues.gland.t1_s.between_worlds": 0.0,  # the scan does not see it
        "tissues.gland.t2_s.between_worlds": 0.01,
        "findings.cyst.per_patient.between_worlds": 0.5,
        "covariates.age.between_worlds": 2.0,
    }
    cohort = organ(breast(**open_)).load(MENU)
    assert len(cohort.doubts) == 4
    assert cohort.doubts["covariates.age"] == {"low": 53.0, "value": 55.0, "high": 57.0}
    before = cohort.redrawn(np.arange(70), {})
    for where in cohort.doubts:
        after = cohort.redrawn(np.arange(70), {where: 1.0})
        assert any(
            (before.data(name, np.arange(70)) != after.data(name, np.arange(70))).any() for name in MENU.modalities
        )
    with pytest.raises(ScanwiseError, match="no number the literature leaves open") as error:
        cohort.redrawn(np.arange(70), {"findings.mass.tissue.t2": 1.0})
    assert "findings.mass.tissue.t2_s" in str(error.value)


# ---- an organ is one YAML -----------------------------------------------------------------------------------------


def test_an_organ_is_one_yaml(tmp_path):
    told = {"_target_": "scanwise.cohort.virtual.organ.VirtualOrgan", "name": "breast", "n": 30, "organ": BREAST}
    path = tmp_path / "breast.yaml"
    path.write_text(yaml.safe_dump({**told, "sites": SITES, "about": {"title": "A disc"}}), "utf-8")

    cohort = instantiate(yaml.safe_load(path.read_text("utf-8")), _convert_="all").load(MENU)

    assert repr(cohort).startswith("Cohort('breast', 30 patients, ")
    assert cohort.data("scan", np.arange(30)).shape == (30, 1, 16, 24)
    assert cohort.data("history", np.arange(30)).shape == (30, 1, 1)
    card = cohort.describe()
    assert (card["virtual"], card["title"]) == (True, "A disc")
    assert [row["share_done"] for row in card["missing"]] == [1.0, 1.0]
    json.dumps(card)


def test_a_cohort_tells_what_the_design_asks_for():
    cohort = organ().load(MENU)
    patients = np.array([5, 2, 60])

    masks = cohort.lesions(patients)

    assert masks.shape == (3, 2, 8, 12)
    assert masks.dtype == np.float32
    assert sorted(cohort.targets) == ["any"]
    assert (cohort.targets["any"] >= cohort.label).all()
    assert (cohort.targets["any"] > cohort.label).any()
    assert cohort.done("scan").all()
    assert cohort.columns("scan") == ()
    assert cohort.columns("history")[0].unit == "years"
    np.testing.assert_array_equal(cohort.covariates["age"], cohort.data("history", np.arange(70))[:, 0, 0])
    assert set(cohort.sites) == {"north", "south"}
    assert cohort[5].data["scan"].shape == (1, 16, 24)


def test_masks_are_where_the_lesions_are_and_only_of_the_ill():
    made = organ(n=200)
    cohort, truth = made.load(MENU), made.truth()
    masks = cohort.lesions(np.arange(200))
    area = masks.sum((2, 3)) * (40 / 8) * (60 / 12)

    assert (area[cohort.label == 0, 0] == 0).all()
    assert (area[cohort.label == 1, 0] > 0).all()
    assert (area[cohort.targets["any"] == 0, 1] == 0).all()
    owned = np.isin(truth["lesion_kind"], ["mass", "dcis"])
    once = np.flatnonzero(np.bincount(truth["lesion_patient"][owned], minlength=200) == 1)
    for row in once:
        lesion = np.flatnonzero(owned & (truth["lesion_patient"] == row))[0]
        assert area[row, 1] == pytest.approx(truth["lesion_area_mm2"][lesion], rel=0.02, abs=1.0)
        y, x = truth["lesion_y_mm"][lesion], truth["lesion_x_mm"][lesion]
        assert masks[row, 1, int((y + 20) // 5), int((x + 30) // 5)] > 0


def test_a_scene_is_what_was_rendered_and_physical():
    made = organ()
    together, alone = made.scene(np.array([4, 61, 9])), made.scene(np.array([61]))

    for name in together.maps:
        np.testing.assert_array_equal(together.map(name)[1], alone.map(name)[0])
    np.testing.assert_array_equal(together.gain[1], alone.gain[0])
    assert set(together.maps) == {"proton_density", "t1_s", "t2_s"}
    assert (together.map("t2_s") <= np.float32(MAX_T2_OVER_T1) * together.map("t1_s") + 1e-7).all()
    assert together.fov_mm == (40, 60)
    stored = made.load(MENU).data("scan", np.array([4, 61, 9]))
    np.testing.assert_array_equal(stored, FakeScan().synthesise(together))


def test_drawn_tissue_is_what_the_map_shows():
    spec = breast(**{"tissues.gland.texture": None, "findings.cyst.per_patient.negative": 0.0})
    made = organ(spec)
    truth = made.truth()
    healthy = np.flatnonzero(truth["diagnosis"] == "healthy")[:5]

    scene = made.scene(healthy)

    stretch = (truth["field_t"][healthy] / 3.0) ** 0.3
    np.testing.assert_allclose(scene.map("t2_s")[:, 16, 25], truth["tissue_gland_t2_s"][healthy], rtol=1e-6)
    np.testing.assert_allclose(scene.map("t1_s")[:, 16, 25], truth["tissue_gland_t1_s"][healthy] * stretch, rtol=1e-6)
    np.testing.assert_allclose(scene.map("t2_s")[:, 0, 0], 0.05, rtol=1e-6)


# ---- what depends on what -----------------------------------------------------------------------------------------


def test_a_patient_does_not_depend_on_how_many_there_are_nor_on_the_workers():
    small, large = organ(n=60, workers=1).load(MENU), organ(n=130, workers=3).load(MENU)
    rows = np.arange(60)

    np.testing.assert_array_equal(small.label, large.label[:60])
    assert small.site.tolist() == large.site[:60].tolist()
    np.testing.assert_array_equal(small.data("scan", rows), large.data("scan", rows))
    np.testing.assert_array_equal(small.lesions(rows), large.lesions(rows))


def test_seeds_decide():
    assert organ().load(MENU).fingerprint == organ().load(MENU).fingerprint
    assert organ(seed=4).load(MENU).fingerprint != organ().load(MENU).fingerprint


def test_worlds_move_means_and_share_the_patients():
    published, one = organ(n=300).truth(), organ(n=300, worlds=[7]).truth()
    shift = world_shift(7, "tissues.gland.t1_s", 0.2)

    assert shift != 0
    assert world_shift(0, "tissues.gland.t1_s", 0.2) == 0
    np.testing.assert_allclose(one["tissue_gland_t1_s"] - published["tissue_gland_t1_s"], shift, atol=1e-9)
    np.testing.assert_array_equal(one["tissue_gland_t2_s"], published["tissue_gland_t2_s"])
    np.testing.assert_array_equal(one["label"], published["label"])


def test_worlds_are_as_wide_as_told():
    shifts = [world_shift(world, "a", 2.0) for world in range(1, 801)]

    assert np.std(shifts) == pytest.approx(2.0, rel=0.1)
    assert np.mean(shifts) == pytest.approx(0.0, abs=0.25)


def test_patients_are_dealt_to_worlds_in_turn():
    made = organ(n=90, worlds=[2, 5])
    cohort = made.load()

    assert made.truth()["world"].tolist() == [2, 5] * 45
    assert set(cohort.sites) == {f"world {world} / {site}" for world in (2, 5) for site in ("north", "south")}


def test_a_null_cohort_permutes_diagnoses_targets_and_masks_together():
    plain, null = organ().load(MENU), organ(label_shuffled=True).load(MENU)
    rows = np.arange(70)

    assert null.label.sum() == plain.label.sum()
    assert (null.label != plain.label).any()
    np.testing.assert_array_equal(null.data("scan", rows), plain.data("scan", rows))
    ill = null.lesions(rows).sum((2, 3)) > 0
    np.testing.assert_array_equal(ill[:, 0], null.label == 1)
    np.testing.assert_array_equal(ill[:, 1], null.targets["any"] == 1)


# ---- shapes and textures ------------------------------------------------------------------------------------------


def test_an_ellipse_has_its_area_and_stays_in_its_box():
    canvas = Canvas((60.0, 90.0), (120, 150))
    outline = Outline(y=3.0, x=-5.0, half_y=8.0, half_x=14.0, turn=0.7)
    box = canvas.box(outline)

    share = canvas.ellipse(outline, box)

    assert share.sum() * 0.5 * 0.6 == pytest.approx(np.pi * 8 * 14, rel=0.01)
    whole = canvas.ellipse(outline, (slice(None), slice(None)))
    assert whole.sum() == pytest.approx(float(share.sum()), rel=1e-6)
    assert whole[tuple(box)].shape == share.shape != whole.shape


def test_harmonics_move_the_radius():
    canvas = Canvas((60.0, 60.0), (240, 240))
    outline = Outline(y=0.0, x=0.0, half_y=10.0, half_x=10.0, harmonics=((2, 0.2, 0.0), (3, 0.0, 0.1)), edge_mm=0.25)

    share = canvas.ellipse(outline, (slice(None), slice(None)))

    angle = np.arctan2(canvas.y[:, None], canvas.x[None, :])
    radius = np.hypot(canvas.y[:, None], canvas.x[None, :])
    inside = radius < 10 * (1 + 0.2 * np.cos(2 * angle) + 0.1 * np.sin(3 * angle))
    assert np.abs((share > 0.5).astype(int) - inside).mean() < 1e-3


def test_a_sector_opens_from_the_middle():
    canvas = Canvas((40.0, 40.0), (80, 80))
    outline = Outline(y=0.0, x=0.0, half_y=15.0, half_x=15.0)

    share = canvas.sector(outline, (10.0, 0.0), 6.0, (slice(None), slice(None)), 0.5)

    def at(y, x):
        return share[int((y + 20) / 0.5), int((x + 20) / 0.5)]

    assert at(10, 0) == 1
    assert at(10, 2.5) == 1
    assert at(10, 3.8) == 0
    assert at(5, 2.5) == 0
    assert at(-10, 0) == 0


def test_paint_keeps_what_is_not_given():
    stack = np.zeros((2, 4, 5), dtype=np.float32)
    share = np.full((2, 3), 0.25, dtype=np.float32)

    paint(stack, (slice(1, 3), slice(0, 3)), share, np.array([4.0, 8.0], np.float32), np.array([1.0, 0.0], np.float32))

    assert stack[0, 1:3, 0:3].tolist() == [[1.0] * 3] * 2
    assert stack[1].max() == 0
    assert stack.sum() == 6.0


@pytest.mark.parametrize("scale_mm", [4.0, 8.0])
def test_texture_is_a_matern_field_of_unit_variance(scale_mm):
    canvas = Canvas((80.0, 96.0), (80, 96))
    texture = Texture(canvas, scale_mm)
    normal = np.random.default_rng(0).standard_normal((80, *texture.shape), dtype=np.float32)

    field = texture(normal)

    assert field.shape == (80, 80, 96)
    assert (field**2).mean() == pytest.approx(1.0, rel=0.1)
    inner = field[:, 20:60, 20:76]
    correlation = (inner[:, :, :-8] * inner[:, :, 8:]).mean() / (inner**2).mean()
    lag = 8.0 / scale_mm  # Matern of smoothness 2: 2^(1 - nu) / gamma(nu) lag^nu K_nu(lag)
    assert correlation == pytest.approx(0.5 * lag**2 * kv(2, lag), abs=0.05)


def test_pooling_is_a_mean_of_blocks():
    fine = np.arange(2 * 4 * 6, dtype=np.float32).reshape(2, 4, 6)

    assert pooled(fine, (2, 2))[1, 0, 1] == fine[1, :2, 3:].mean()


# ---- what is only assumed -----------------------------------------------------------------------------------------


def test_assumptions_are_listed_with_value_and_source():
    listed = organ().load(MENU).describe()["assumptions"]

    assert [row["what"] for row in listed] == [
        "organ.texture",
        "organ.scanner",
        "organ.tissues.gland.texture",
        "organ.findings.cyst.per_patient",
    ]
    assert listed[3] == {
        "what": "organ.findings.cyst.per_patient",
        "value": {"negative": 1.0, "positive": 0.5},
        **GUESSED,
    }


def test_low_confidence_is_an_assumption_too():
    assert [row["what"] for row in assumptions({"a": {"value": 1, "source": "s", "confidence": "low"}})] == ["a"]
    assert assumptions({"a": {"value": 1, "source": "s", "confidence": "medium"}}) == []


# ---- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"tissues.gland.t2_s": {"mean": 0.08}}, r"organ\.tissues\.gland\.t2_s\.mean has no source"),
        ({"tissues.gland.t2_s": {"mean": 0.08, "source": "s"}}, r"gland\.t2_s\.mean has no confidence"),
        ({"tissues.gland.t2_s": {"mean": 0.08, "source": " ", "confidence": "high"}}, "has no source"),
        ({"prevalence": {"value": 0.3}}, r"organ\.prevalence\.value has no source"),
        ({"diagnoses.cancer": {"share": 1.0, "lesion": "mass"}}, r"organ\.diagnoses\.cancer\.share has no source"),
        ({"tissues.gland.t2_s": {"mean": 0.08, "source": "s", "confidence": "hihg"}}, "confidence must.*\n.*'high'"),
        ({"tissues.gland.t2_s.mean": 2.0}, r"T2 must not be above T1, but organ\.tissues\.gland has"),
        ({"tissues.gland.t2_s.mean": 80.0}, r"t2_s\.mean must be in \[0\.002, 5\], but is 80\n.*unit"),
        ({"tissues.gland.proton_density.mean": -1.0}, "must be in"),
        ({"tissues.gland.t2_s.sd": -0.1}, r"standard deviation must be >= 0, but organ\.tissues\.gland\.t2_s\.sd"),
        ({"tissues.gland.t2_s.between_worlds": -0.1}, "standard deviation must be >= 0"),
        ({"tissues.gland.t2_s.men": 0.1}, "unknown key 'men'\n.*'mean'"),
        ({"tissues.gland.t2": {"mean": 0.08, **SAID}}, "unknown key 't2'\n.*'t2_s'"),
        ({"tissues.gland.t1_s": None}, r"organ\.tissues\.gland has no t1_s"),
        ({"tissues.gland.source": "s"}, "source, but no confidence"),
        ({"tissues.gland.t2_adc_correlation": {"value": 1.5, **SAID}}, r"correlation must be in \[-1, 1\]"),
        ({"findings.cyst.tissue.adc_mm2_per_s": {"mean": 1e-3, **SAID}}, "sets adc_mm2_per_s, which no tissue"),
        ({"findings.cyst.tissue.t2_s.mean": -0.4}, "must be in"),
        ({"findings.cyst.zone": {"disk": 1.0, **SAID}}, "no region\n.*'disc'"),
        ({"findings.cyst.zone.disc": 0.7}, r"shares of organ\.findings\.cyst\.zone must sum to 1"),
        ({"findings.cyst.shape": "star"}, "shape must be one of"),
        ({"findings.cyst.shape": "diffuse"}, "must not have diameter_mm"),
        ({"findings.cyst.diameter_mm": None}, "needs diameter_mm"),
        ({"findings.cyst.per_patient": None}, "either `number`"),
        ({"findings.cyst.per_patient.negative": -1.0}, "at least 0"),
        ({"findings.mass.number.shares": [0.5, 0.6]}, "must sum to 1"),
        ({"findings.cyst.opacity": {"low": 0.8, "high": 0.2, **SAID}}, "low <= high"),
        ({"diagnoses.cancer.lesion": "mas"}, "must be a finding with `number`.*\n.*'mass'"),
        ({"diagnoses.dcis.lesion": None}, "no diagnosis brings it"),
        ({"diagnoses.dcis.share": 0.4}, "shares of the negative diagnoses must sum to 1"),
        ({"positive": []}, "both classes, but no diagnosis is positive"),
        ({"positive": ["healthy", "dcis", "cancer"]}, "both classes, but no diagnosis is negative"),
        ({"positive": ["cancre"]}, "no diagnosis\n.*'cancer'"),
        ({"prevalence.value": 1.0}, "must be between 0 and 1"),
        ({"background": "water"}, "background must be a tissue"),
        ({"regions.disc.tissue": "glnd"}, "not defined\n.*'gland'"),
        ({"regions.disc.inside": "disc"}, "is inside itself"),
        ({"regions.disc.follows": "volume"}, "names 'volume', which is not defined"),
        ({"regions.disc.size": [0, 3]}, r"size must be above 0"),
        ({"regions.disc.size": [3]}, "two numbers, y and x"),
        ({"geometry.matrix": [30, 48]}, "multiple of lesion_matrix"),
        ({"geometry.matrix": [32.5, 48]}, "whole numbers"),
        ({"covariates.age.by": {"cancr": 3.0}}, "no diagnosis\n.*'cancer'"),
        ({"covariate_correlation": {"negative": {"age-weight": 0.3, **SAID}}}, "two covariates as `one-other`"),
        ({"tissue": {}}, "organ has an unknown key 'tissue'\n.*'tissues'"),
        ({"scanner.gain_sd": -1.0}, "gain_sd must be at least 0"),
        ({"texture.scale_mm": 0.0}, "scale_mm must be above 0"),
    ],
)
def test_bad_organs_are_refused(changes, match):
    spec = breast(**changes)
    with pytest.raises(ScanwiseError, match=match):
        organ(spec)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"sites": {"north": {"share": 0.9, "field_t": 3.0, **SAID}}}, "shares of the sites must sum to 1"),
        ({"sites": {"north": {"share": 1.0, "field_t": 3.0}}}, r"sites\.north\.share has no source"),
        ({"sites": {"north": {"share": 1.0, "field_t": -3.0, **SAID}}}, "field_t must be above 0"),
        ({"sites": {"n": {"share": 1.0, "field_t": 3.0, "shift": {"agee": 1.0}, **SAID}}}, "no covariate\n.*'age'"),
        ({"sites": {}}, "at least one site"),
        ({"n": 1}, "`n` of a virtual organ"),
        ({"seed": -1}, "`seed` of a virtual organ"),
        ({"worlds": []}, "different whole numbers"),
        ({"worlds": [1, 1]}, "different whole numbers"),
        ({"about": {"tilte": ""}}, "unknown key 'tilte'"),
    ],
)
def test_bad_settings_are_refused(changes, match):
    with pytest.raises(ScanwiseError, match=match):
        organ(**changes)


def test_one_class_is_refused():
    spec = breast(**{"prevalence.value": 1e-9})
    with pytest.raises(ScanwiseError, match="both classes, but all 70 patients have label 0"):
        organ(spec).load(MENU)


def test_a_menu_the_organ_cannot_serve_is_refused():
    with pytest.raises(ScanwiseError, match=r"menu offers history\.agee.*\n.*'age'"):
        organ().load(Menu([TestPanel("history", {"agee": {}})]))
    with pytest.raises(ScanwiseError, match="renders no 'adc_mm2_per_s'"):
        organ().load(Menu([FakeScan(needs="adc_mm2_per_s")]))


def test_a_scan_finer_than_the_organ_is_refused():
    scan = FakeScan()
    scan.matrix = (64, 48)
    with pytest.raises(ScanwiseError, match=r"rendered at least as finely.*matrix \(64, 48\) and the organ \(32, 48\)"):
        organ().load(Menu([scan]))


def test_mixed_matrix_sizes_are_refused():
    scan = FakeScan()
    scan.matrix = (16, 12)
    with pytest.raises(ScanwiseError, match=r"images of shape \(2, images, 16, 12\), but made \(2, 1, 16, 24\)"):
        organ().load(Menu([scan]))


def test_images_out_of_range_are_refused():
    class Loud(FakeScan):
        def synthesise(self, scene):
            return np.full((len(scene), 1, *self.matrix), np.inf, dtype=np.float16)

    with pytest.raises(ScanwiseError, match="not finite"):
        organ().load(Menu([Loud()]))


def test_unknown_rows_are_refused():
    with pytest.raises(ScanwiseError, match="numbered 0 to 69"):
        organ().scene(np.array([70]))


def test_prostate_is_shipped_with_all_its_sources():
    path = Path(__file__).resolve().parents[3] / "conf" / "cohort" / "prostate.yaml"
    told = yaml.safe_load(path.read_text("utf-8"))
    told.pop("cache")
    cohort = instantiate({**told, "n": 40}, _convert_="all").load()
    card = cohort.describe()

    assert card["virtual"]
    assert "organ.findings.mimic.per_patient" not in [row["what"] for row in card["assumptions"]]
    assert {"organ.scanner", "organ.spread"} <= {row["what"] for row in card["assumptions"]}
    assert all(row["source"] and row["value"] for row in card["assumptions"])


# ---- the prostate against what was published ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def prostate_truth():
    path = Path(__file__).resolve().parents[3] / "conf" / "cohort" / "prostate.yaml"
    told = yaml.safe_load(path.read_text("utf-8"))
    told.pop("cache")
    return instantiate({**told, "n": 2000, "seed": 11, "worlds": [0]}, _convert_="all").truth()


def area_under(label, value) -> float:
    ranks, positive = rankdata(value), int(label.sum())
    return (ranks[label].sum() - positive * (positive + 1) / 2) / (positive * (len(label) - positive))


@pytest.mark.parametrize(("parameter", "published"), [("t2_s", 0.85), ("adc_mm2_per_s", 0.84)])
def test_cancer_and_mimic_overlap_as_published(prostate_truth, parameter, published):
    chosen = np.isin(prostate_truth["lesion_kind"], ["cancer", "mimic"])
    cancer = prostate_truth["lesion_kind"][chosen] == "cancer"

    assert min(cancer.sum(), (~cancer).sum()) > 300
    assert area_under(cancer, -prostate_truth[f"lesion_{parameter}"][chosen]) == pytest.approx(published, abs=0.04)


def test_clinical_values_know_as_much_as_published(prostate_truth):
    label = prostate_truth["label"]
    values = np.stack(
        [
            prostate_truth["covariate_age"],
            np.log(prostate_truth["covariate_psa"]),
            np.log(prostate_truth["covariate_volume"]),
        ],
        axis=1,
    )
    values = (values - values.mean(0)) / values.std(0)
    model = LogisticRegression().fit(values, label)

    assert area_under(label == 1, model.decision_function(values)) == pytest.approx(0.753, abs=0.04)
    for column, (published, sign) in enumerate([(0.62, 1), (0.63, 1), (0.64, -1)]):
        assert area_under(label == 1, sign * values[:, column]) == pytest.approx(published, abs=0.05)


def test_the_population_is_as_published(prostate_truth):
    truth = prostate_truth
    cancer = truth["lesion_kind"] == "cancer"

    assert truth["label"].mean() == pytest.approx(0.283, abs=0.03)
    assert (truth["diagnosis"] == "isup1").mean() == pytest.approx(0.152, abs=0.025)
    assert (truth["lesion_zone"][cancer] == "gland").mean() == pytest.approx(0.67, abs=0.06)
    diameter = truth["lesion_diameter_mm"][cancer]
    assert np.median(diameter) == pytest.approx(16.6, abs=1.5)
    assert (diameter < 10).mean() == pytest.approx(0.14, abs=0.05)
    assert (diameter >= 15).mean() == pytest.approx(0.58, abs=0.07)
    t2, adc = truth["tissue_peripheral_zone_t2_s"], truth["tissue_peripheral_zone_adc_mm2_per_s"]
    assert np.corrcoef(t2, adc)[0, 1] == pytest.approx(0.515, abs=0.06)
