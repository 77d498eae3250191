from __future__ import annotations

import json

import numpy as np
import pytest

from scanwise.cohort import About, Cohort
from scanwise.design import Column
from scanwise.errors import ScanwiseError


def make(**changes) -> Cohort:
    blood = np.full((5, 2, 3), np.nan)
    blood[:, 0, 0] = [1.0, 2.0, 3.0, 4.0, np.nan]
    blood[:3, 1, :3] = np.arange(9.0).reshape(3, 3)
    arguments = {
        "label": [0, 1, 0, 1, 1],
        "site": ["north", "north", "south", "south", "south"],
        "data": {"blood": blood, "scan": np.arange(5 * 2 * 4.0).reshape(5, 2, 4)},
        "columns": {"blood": [Column("sugar", 0, 0), *(Column(f"lipid{i}", 1, i) for i in range(3))]},
        "shots": {"blood": ["sugar", "lipids"]},
        "covariates": {"age": [50.0, 60.0, np.nan, 70.0, 40.0]},
        "patient": ["SECRET-1", "SECRET-2", "SECRET-3", "SECRET-4", "SECRET-5"],
        "about": About(title="A study", notes=("one note",)),
    }
    return Cohort("small", **{**arguments, **changes})


def test_data_come_by_row_number_and_are_copies():
    cohort = make()
    taken = cohort.data("blood", np.array([3, 1]))
    assert taken.shape == (2, 2, 3)
    np.testing.assert_array_equal(taken[:, 0, 0], [4.0, 2.0])
    taken[:] = 0.0
    assert cohort.data("blood", np.array([3]))[0, 0, 0] == 4.0
    assert not cohort.label.flags.writeable


def test_a_study_has_no_key_for_what_was_not_done():
    last = make()[4]
    assert sorted(last.data) == ["scan"]
    assert (last.site, last.label, dict(last.covariates)) == ("south", 1, {"age": 40.0})
    assert "age" not in make()[2].covariates
    assert [study.label for study in make()] == [0, 1, 0, 1, 1]


def test_a_row_outside_is_an_index_error():
    with pytest.raises(IndexError, match="row 5 of a cohort of 5"):
        make()[5]


def test_data_card_counts_and_never_names_a_patient():
    cohort = make()
    card = cohort.describe()
    assert (card["n_patients"], card["n_positive"], card["virtual"]) == (5, 3, False)
    assert card["sites"] == [{"site": "north", "n": 2, "n_positive": 1}, {"site": "south", "n": 3, "n_positive": 2}]
    blood = card["missing"][0]
    assert (blood["modality"], blood["share_done"]) == ("blood", 0.8)
    assert blood["shots"] == [{"shot": "sugar", "share_done": 0.8}, {"shot": "lipids", "share_done": 0.6}]
    told = json.dumps(card) + repr(cohort) + repr(cohort[0]) + repr(vars(cohort))
    assert "SECRET" not in told


def test_what_was_done_is_looked_for_or_told():
    assert make().done("blood").tolist() == [True, True, True, True, False]
    told = make(done={"scan": np.array([True, False, True, True, True])})
    assert told.done("scan").tolist() == [True, False, True, True, True]
    assert told.describe()["missing"][1]["share_done"] == 0.8
    assert sorted(told[1].data) == ["blood"]
    assert not told.done("blood").flags.writeable


def test_targets_and_lesions_are_told_or_absent():
    assert make().targets == {}
    assert make().lesions(np.array([0])) is None
    cohort = make(
        targets={"any": [0, 1, 1, 1, 1]},
        lesions=lambda patients: np.full((len(patients), 2, 3, 4), 0.5, dtype=np.float32),
        truth={"drawn": np.arange(5)},
    )
    assert cohort.targets["any"].tolist() == [0, 1, 1, 1, 1]
    assert cohort.lesions(np.array([2, 4])).shape == (2, 2, 3, 4)
    assert cohort.truth["drawn"].tolist() == [0, 1, 2, 3, 4]
    assert cohort.fingerprint != make().fingerprint


def test_memory_maps_are_not_copied_and_hashed_by_their_digest(tmp_path):
    np.save(tmp_path / "scan.npy", np.arange(5 * 2 * 4.0).reshape(5, 2, 4))
    mapped = np.load(tmp_path / "scan.npy", mmap_mode="r")
    data = {"blood": make().data("blood", np.arange(5)), "scan": mapped}

    cohort = make(data=data, digests={"scan": "abc"})

    assert cohort._data["scan"] is mapped
    assert type(cohort.data("scan", np.array([1]))) is np.ndarray
    assert cohort.done("scan").all()
    assert cohort.fingerprint == make(data=data, digests={"scan": "abc"}).fingerprint
    assert cohort.fingerprint != make(data=data, digests={"scan": "abd"}).fingerprint
    assert make(data=data).fingerprint == make().fingerprint


def test_assumptions_are_on_the_data_card():
    assumed = [{"what": "x", "value": {"mean": 1.0}, "source": "none found", "confidence": "assumed"}]
    assert make(assumptions=assumed).describe()["assumptions"] == assumed
    assert make().describe()["assumptions"] == []


def test_patients_who_are_not_made_up_cannot_be_drawn_again():
    assert make().doubts == {}
    with pytest.raises(ScanwiseError, match="cannot be drawn again"):
        make().redrawn(np.arange(2), {})


def test_repr_is_one_line():
    assert repr(make()) == "Cohort('small', 5 patients, 3 positive, 2 sites; blood, scan)"
    assert repr(make()[4]) == "Study(site='south', label=1; scan)"


@pytest.mark.parametrize(
    "changes",
    [
        {"label": [1, 1, 0, 1, 1]},
        {"site": ["north", "south", "south", "south", "south"]},
        {"covariates": {"age": [51.0, 60.0, np.nan, 70.0, 40.0]}},
        {"data": {"blood": np.zeros((5, 2, 3)), "scan": np.arange(5 * 2 * 4.0).reshape(5, 2, 4)}},
        {"columns": {"blood": [Column("salt", 0, 0)]}},
    ],
    ids=["label", "site", "covariate", "data", "column"],
)
def test_fingerprint_moves_with_everything_that_counts(changes):
    assert make(**changes).fingerprint != make().fingerprint


def test_fingerprint_does_not_move_with_names_texts_or_identifiers():
    other = make(patient=None, about=About())
    assert other.fingerprint == make().fingerprint
    assert len(other.fingerprint) == 64


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"label": [0, 1, 0, 1, 2]}, "every label must be 0 or 1"),
        ({"label": [1, 1, 1, 1, 1]}, "both classes, but all 5 patients have label 1"),
        ({"label": []}, "one label per patient"),
        ({"site": ["north"]}, "'site' must have one row per patient"),
        ({"patient": ["a", "b", "a", "c", "d"]}, "rows 0 and 2 are the same patient"),
        ({"patient": ["a"]}, "one patient identifier per row"),
        ({"targets": {"any": [0, 1, 2, 1, 1]}}, "target must be 0 or 1, but another value of 'any'"),
        ({"targets": {"any": [0, 1]}}, "'any' must have one row per patient"),
        ({"done": {"scan": np.array([True])}}, "'done scan' must have one row per patient"),
        ({"columns": {"blood": [Column("sugar", 0, 3)]}}, "'sugar' of 'blood' points outside"),
    ],
)
def test_bad_cohorts_are_refused(changes, match):
    with pytest.raises(ScanwiseError, match=match):
        make(**changes)


def test_an_unknown_modality_is_an_error_with_a_suggestion():
    with pytest.raises(ScanwiseError, match=r"no data of 'blod'\n.*'blood'"):
        make().data("blod", np.array([0]))


def test_an_unknown_text_is_an_error_with_a_suggestion():
    with pytest.raises(ScanwiseError, match=r"unknown key 'tilte'\n.*'title'"):
        About.from_mapping({"tilte": "x"})
