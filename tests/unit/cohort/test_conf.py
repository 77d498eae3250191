"""The cohorts and menus that are shipped, against the real data where they are at hand."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy.stats import rankdata

from scanwise.cohort import Crossfit, SiteSplit
from scanwise.design import Cost, Menu, Protocol, Setup

REPOSITORY = Path(__file__).resolve().parents[3]
CONF = REPOSITORY / "conf"
DATA = Path(os.environ.get("SCANWISE_DATA", REPOSITORY.parent / "shared" / "data"))
NAMES = ["heart", "glioma", "spectf", "virtual_panel"]

needs_data = pytest.mark.skipif(
    not (DATA / "heart").is_dir(), reason="the cohorts are not shipped; set SCANWISE_DATA to the folder that holds them"
)


def read_cohort(name: str, **changes):
    config = OmegaConf.load(CONF / "cohort" / f"{name}.yaml")
    if "root" in config:
        changes = {"root": str(DATA), **changes}
    return instantiate(OmegaConf.merge(config, changes), _convert_="all")


def read_menu(name: str) -> Menu:
    config = OmegaConf.to_container(OmegaConf.load(CONF / "menu" / f"{name}.yaml"))
    modalities = [instantiate({"name": key, **rest}, _convert_="all") for key, rest in config["modalities"].items()]
    setups = [
        Setup(key, Cost(**{axis: value for axis, value in rest.items() if axis != "title"}), rest["title"])
        for key, rest in config["setups"].items()
    ]
    always = Protocol({m.name: [1] * len(m.shots) for m in modalities if m.name in config["always"]})
    return Menu(modalities, setups, always=always, currency=config["currency"], source=config["source"])


@pytest.mark.parametrize("name", NAMES)
def test_menus_state_their_source_and_comment_their_numbers(name):
    text = (CONF / "menu" / f"{name}.yaml").read_text("utf-8")
    assert read_menu(name).source
    assert text.startswith("#")
    assert "assumed" in text.lower()


def test_turneys_prices_fall_out_of_shared_setups():
    menu = read_menu("heart")
    everything = menu.everything()
    assert menu.price(everything).money == pytest.approx(323.97, abs=1e-9)
    assert menu.price_unshared(everything).money == pytest.approx(600.57, abs=1e-9)
    assert menu.price(menu.protocol()).money == pytest.approx(4.00, abs=1e-9)
    assert menu.price(menu.protocol("exercise")).money == pytest.approx(4 + 89.30, abs=1e-9)
    assert menu.price(menu.protocol("exercise", "fluoroscopy")).money == pytest.approx(4 + 89.30 + 100.90, abs=1e-9)
    assert menu.price(menu.protocol()).visits == 1
    assert menu.price(menu.protocol("blood")).visits == menu.price(everything).visits == 2


@pytest.mark.parametrize(
    ("name", "cost"),
    [
        ("glioma", Cost(minutes=32, money=248, contrast_ml=7.5, visits=1)),
        ("spectf", Cost(minutes=60, money=430, msv=10, visits=1)),
    ],
)
def test_illustrative_menus_add_up_as_their_comments_say(name, cost):
    menu = read_menu(name)
    assert menu.price(menu.everything()).to_dict() == pytest.approx(cost.to_dict())


def test_every_sequence_of_the_glioma_menu_needs_the_others():
    menu = read_menu("glioma")
    for name, modality in menu.modalities.items():
        assert sorted([name, *modality.requires]) == ["flair", "t1", "t1gd", "t2"]


def test_the_virtual_panel_fits_its_menu_and_every_split():
    cohort = read_cohort("virtual_panel").load(read_menu("virtual_panel"))
    assert cohort.modalities == tuple(read_menu("virtual_panel").modalities)
    assert cohort.describe()["virtual"] is True
    assert len(Crossfit(repeats=2).folds(cohort, 0)) == 10
    assert len(SiteSplit(learn=["northside"], judge=["southside"]).folds(cohort, 0)) == 1


@needs_data
def test_heart_is_what_its_source_says():
    cohort = read_cohort("heart").load(read_menu("heart"))
    card = cohort.describe()
    rows = {entry["site"]: (entry["n"], round(entry["n_positive"] / entry["n"], 3)) for entry in card["sites"]}
    assert rows == {
        "cleveland": (303, 0.459),
        "hungarian": (294, 0.361),
        "switzerland": (123, 0.935),
        "va": (200, 0.745),
    }
    assert sum("in every cell" in note for note in card["notes"]) == 2
    assert len(card["files"]) == 4
    cholesterol = cohort.data("blood", np.arange(len(cohort)))[:, cohort.shots("blood").index("chol"), 0]
    assert np.isnan(cholesterol[cohort.site == "switzerland"]).all()
    assert np.isnan(cholesterol[cohort.site == "va"]).sum() == 49 + 7
    codes = {column.name: column.levels for modality in cohort.modalities for column in cohort.columns(modality)}
    assert codes["thal"] == (3.0, 6.0, 7.0)
    assert codes["age"] == ()


@needs_data
def test_heart_of_one_centre():
    cohort = read_cohort("heart", sites=["cleveland"]).load(read_menu("heart"))
    assert (len(cohort), int(cohort.label.sum()), cohort.sites) == (303, 139, ("cleveland",))
    shares = {entry["modality"]: entry["share_done"] for entry in cohort.describe()["missing"]}
    assert shares["fluoroscopy"] == pytest.approx(299 / 303)
    assert shares["exercise"] == 1.0


@needs_data
@pytest.mark.parametrize(("features", "sizes"), [("oedema", [55, 55, 55, 55]), ("all", [165, 229, 165, 165])])
def test_glioma_has_the_features_its_source_counts(features, sizes):
    cohort = read_cohort("glioma", features=features).load(read_menu("glioma"))
    assert (len(cohort), int(cohort.label.sum())) == (167, 102)
    assert [len(cohort.columns(modality)) for modality in ("t1", "t1gd", "t2", "flair")] == sizes
    assert re.search(r"TCGA-\w\w-\w{4}", repr(cohort.describe()) + repr(vars(cohort))) is None


@needs_data
def test_glioma_missing_values_and_the_trap():
    cohort = read_cohort("glioma", features="all").load(read_menu("glioma"))
    values = np.concatenate(
        [
            cohort.data(modality, np.arange(167))[:, 0, : len(cohort.columns(modality))]
            for modality in cohort.modalities
        ],
        1,
    )
    shares = [np.isnan(values[cohort.label == label]).mean() for label in (1, 0)]
    np.testing.assert_allclose(shares, [0.026, 0.124], atol=0.001)
    assert "2 x '#DIV/0!', 1 x 'Inf'" in " ".join(cohort.describe()["notes"])
    volume = next(column.slot for column in cohort.columns("t1gd") if column.name == "VOLUME_ET")
    ranks = rankdata(cohort.data("t1gd", np.arange(167))[:, 0, volume])
    area = (ranks[cohort.label == 1].sum() - 102 * 103 / 2) / (102 * 65)
    assert area > 0.92


@needs_data
def test_spectf_has_22_regions_at_rest_and_22_under_stress():
    cohort = read_cohort("spectf").load(read_menu("spectf"))
    assert (len(cohort), int(cohort.label.sum())) == (267, 212)
    assert [column.name for column in cohort.columns("rest")] == [f"F{region}R" for region in range(1, 23)]
    assert [column.name for column in cohort.columns("stress")] == [f"F{region}S" for region in range(1, 23)]
    # first line of the training file: 1,59,52,70,67,...
    np.testing.assert_array_equal(cohort.data("rest", np.array([0]))[0, 0, :2], [59, 70])
    np.testing.assert_array_equal(cohort.data("stress", np.array([0]))[0, 0, :2], [52, 67])


def test_a_cohort_is_added_by_yaml_alone(tmp_path):
    (tmp_path / "new.csv").write_text("who;ward;psa;pirads;cancer\na1;x;4.5;?;no\na2;y;9.5;5;yes\n")
    (tmp_path / "new.yaml").write_text(
        """
_target_: scanwise.cohort.table.TableCohort
name: new
root: ${oc.env:SCANWISE_TEST_ROOT}
files: [{path: new.csv}]
patient: who
site: ward
missing: ["?"]
label: {column: cancer, positive: {equals: ["yes"]}}
modalities: {blood: {psa: psa}, mri: {pirads: pirads}}
columns: {pirads: {levels: [1, 2, 3, 4, 5]}}
"""
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCANWISE_TEST_ROOT", str(tmp_path))
        cohort = instantiate(OmegaConf.load(tmp_path / "new.yaml"), _convert_="all").load()
    assert repr(cohort) == "Cohort('new', 2 patients, 1 positive, 2 sites; blood, mri)"
    assert sorted(cohort[0].data) == ["blood"]
